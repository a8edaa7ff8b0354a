//! The least speed a connection must have: one that is slower for too long is given up, so that another can be tried.

use crate::fault::{Fault, Kind};
use crate::units;
use std::time::{Duration, Instant};

/// The slowest a connection may be: bytes a second, over how long.
pub type Least = Option<(u64, Duration)>;

/// Watches one connection for being slower than it may be.
pub struct Slow {
    least: Least,
    since: Instant,
    moved: u64,
}

impl Slow {
    /// A connection from `now` on.
    pub fn new(least: Least, now: Instant) -> Self {
        Self { least, since: now, moved: 0 }
    }

    /// Somebody else was slow for so long, not the connection.
    pub fn excuse(&mut self, waited: Duration) {
        self.since += waited;
    }

    /// `bytes` came from `host` by `now`; a fault of kind `Network` when that is too slow.
    pub fn moved(&mut self, bytes: usize, now: Instant, host: impl FnOnce() -> String) -> Result<(), Fault> {
        let Some((least, over)) = self.least else { return Ok(()) };
        self.moved += bytes as u64;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < over {
            return Ok(());
        }
        if (self.moved as f64) < least as f64 * elapsed.as_secs_f64() {
            let (rate, period) = (units::bytes_per_second(least), units::period(elapsed));
            return Err(Fault::new(Kind::Network, format!("{} was slower than {rate} for {period}", host())));
        }
        (self.since, self.moved) = (now, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_connection_is_blamed() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let host = || "host".to_string();
        let mut slow = Slow::new(Some((100, 2 * second)), start);
        assert!(slow.moved(1, start + second, host).is_ok(), "too early to say");
        assert!(slow.moved(200, start + 2 * second, host).is_ok());
        slow.excuse(10 * second);
        assert!(slow.moved(1, start + 13 * second, host).is_ok(), "one second of its own");
        let fault = slow.moved(1, start + 14 * second, host).unwrap_err();
        assert_eq!((fault.kind, fault.what.starts_with("host was slower than")), (Kind::Network, true));
        assert!(Slow::new(None, start).moved(0, start + 99 * second, host).is_ok());
    }
}
