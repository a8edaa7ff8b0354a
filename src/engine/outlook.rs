//! Looks around while somebody waits: the clocks, and whether the network is still the same one.

use super::retry::{Backoff, Change, Pause, Scene};
use crate::net;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The network is looked at no more often than this.
const LOOK: Duration = Duration::from_secs(1);

/// Where scenes come from.
#[derive(Default)]
pub struct Outlook {
    network: Cell<Option<(Instant, Option<u64>)>>,
}

impl Outlook {
    /// The scene now.
    pub fn scene(&self) -> Scene {
        let network = match self.network.get() {
            Some((seen, network)) if seen.elapsed() < LOOK => network,
            _ => {
                let network = net::ways();
                self.network.set(Some((Instant::now(), network)));
                network
            }
        };
        Scene { awake: clock(rustix::time::ClockId::Monotonic), whole: whole(), network }
    }
}

fn clock(id: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(target_os = "linux")]
fn whole() -> Duration {
    clock(rustix::time::ClockId::Boottime)
}

/// The monotonic clock of other systems may count sleep or not; the wall clock does, and a person who sets it forward
/// only has a try made early.
#[cfg(not(target_os = "linux"))]
fn whole() -> Duration {
    clock(rustix::time::ClockId::Realtime)
}

/// Waits, at most for `wait`, and says why it was not so long. After a change tries are counted from the beginning.
pub async fn rest(backoff: &mut Backoff, wait: Duration, asked: Option<Duration>) -> Option<Change> {
    let outlook = Outlook::default();
    let mut pause = Pause::new(wait, asked, outlook.scene());
    while let Some(left) = pause.left(&outlook.scene()) {
        tokio::time::sleep(left.min(LOOK)).await;
    }
    if pause.change().is_some() {
        backoff.progress();
    }
    pause.change()
}

/// What is said of a wait that ended early.
pub fn told(change: Change) -> &'static str {
    match change {
        Change::Woke => "the machine was asleep: trying again at once",
        Change::Network => "the network has changed: trying again at once",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::retry::Policy;

    #[tokio::test]
    async fn a_rest_comes_to_its_end() {
        let mut backoff = Backoff::new(Policy::default());
        let began = Instant::now();
        rest(&mut backoff, Duration::from_millis(30), Some(Duration::from_millis(30))).await;
        assert!(began.elapsed() >= Duration::from_millis(30));
        let (one, two) = (Outlook::default().scene(), Outlook::default().scene());
        assert!(two.awake >= one.awake && two.whole >= one.whole);
    }
}
