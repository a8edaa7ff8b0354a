//! The rate limit: one bucket for the whole process, however many files and connections draw from it.
//!
//! It is a clock of debts: every byte that goes by moves the moment at which all is paid for, and whoever moved it
//! waits until that moment. Users that move pieces of equal size take turns, so the rate is shared fairly. The burst
//! is small: what is moved in one go is what a kill can lose.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far behind the clock may fall while nobody draws: the burst, as time at the full rate.
const BURST: Duration = Duration::from_millis(50);

/// A limit on bytes a second, shared by all its clones; or no limit.
#[derive(Debug, Clone, Default)]
pub struct Pace(Option<Arc<Bucket>>);

#[derive(Debug)]
struct Bucket {
    rate: u64,
    paid: Mutex<Instant>,
}

impl Pace {
    /// At most `rate` bytes a second; `None` is no limit. Zero is taken as one.
    pub fn new(rate: Option<u64>) -> Self {
        Self(rate.map(|rate| Arc::new(Bucket { rate: rate.max(1), paid: Mutex::new(Instant::now()) })))
    }

    /// No limit.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// The limit in bytes a second.
    pub fn rate(&self) -> Option<u64> {
        self.0.as_ref().map(|bucket| bucket.rate)
    }

    /// How many bytes to move in one go, so that waits stay short and turns are fair: a twentieth of a second's
    /// worth, between 1 KiB and `at_most`.
    pub fn frame(&self, at_most: usize) -> usize {
        let share = self.rate().map_or(usize::MAX, |rate| usize::try_from(rate / 20).unwrap_or(usize::MAX));
        share.max(1 << 10).min(at_most)
    }

    /// `bytes` went by: how long to hold back the next ones. Zero means go on.
    pub fn pass(&self, bytes: usize) -> Duration {
        match &self.0 {
            Some(bucket) => bucket.pass(Instant::now(), bytes),
            None => Duration::ZERO,
        }
    }
}

impl Bucket {
    fn pass(&self, now: Instant, bytes: usize) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = (*paid).max(now.checked_sub(BURST).unwrap_or(now)) + cost;
        paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u64, now: Instant) -> Bucket {
        Bucket { rate, paid: Mutex::new(now) }
    }

    #[test]
    fn the_rate_holds_over_time() {
        let start = Instant::now();
        let (bucket, mut now, mut moved) = (bucket(1 << 20, start), start, 0u64);
        while now < start + Duration::from_secs(10) {
            now += bucket.pass(now, 16 << 10);
            moved += 16 << 10;
        }
        assert!(moved.abs_diff(10 << 20) <= 64 << 10, "{moved}");
    }

    #[test]
    fn two_users_take_turns() {
        let start = Instant::now();
        let bucket = bucket(1 << 20, start);
        let mut users = [(start, 0u64), (start, 0u64)];
        for _ in 0..1000 {
            let user = if users[0].0 <= users[1].0 { &mut users[0] } else { &mut users[1] };
            user.0 += bucket.pass(user.0, 16 << 10);
            user.1 += 1;
        }
        assert!(users[0].1.abs_diff(users[1].1) <= 1, "{users:?}");
    }

    #[test]
    fn silence_saves_up_no_more_than_the_burst() {
        let start = Instant::now();
        let bucket = bucket(1 << 20, start);
        let later = start + Duration::from_secs(3600);
        let wait = bucket.pass(later, 1 << 20);
        assert!(wait >= Duration::from_secs(1) - BURST && wait <= Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn no_limit_never_waits_and_frames_follow_the_rate() {
        assert_eq!(Pace::unlimited().pass(usize::MAX), Duration::ZERO);
        assert_eq!(Pace::unlimited().frame(256 << 10), 256 << 10);
        assert_eq!(Pace::new(Some(2 << 20)).frame(256 << 10), 104_857);
        assert_eq!(Pace::new(Some(0)).frame(256 << 10), 1 << 10);
    }
}
