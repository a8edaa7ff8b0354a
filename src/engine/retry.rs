//! When to try again, as a value: the loop sleeps, the policy does not.
//!
//! Tries are counted only while nothing moves: a transfer that keeps getting bytes through may fail as often as it
//! likes, one that gets none stops after [`Policy::tries`].

use crate::fault::{Fault, Verdict};
use std::time::Duration;

/// How often and how patiently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many tries without progress are made again after a failure; `None` never stops.
    pub tries: Option<u32>,
    /// The wait before the first of them; each further one waits twice as long.
    pub first: Duration,
    /// No wait of our own is longer than this. What the server asks for may be.
    pub cap: Duration,
}

impl Default for Policy {
    /// Ten tries, 1 s doubling to 60 s: about five minutes of silence.
    fn default() -> Self {
        Self { tries: Some(10), first: Duration::from_secs(1), cap: Duration::from_secs(60) }
    }
}

/// What to do after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this much time.
    Wait(Duration),
    /// Trying again does not help, or it was tried often enough.
    Stop,
}

/// One transfer's place in its policy.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: Policy,
    failed: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, failed: 0 }
    }

    /// Something failed. `jitter` in `0.0..1.0` spreads the waits of many clients: the wait is between 3/4 and 5/4
    /// of the doubled one, at most [`Policy::cap`], and never shorter than the server asked for.
    pub fn after(&mut self, fault: &Fault, jitter: f64) -> Next {
        let floor = match fault.verdict() {
            Verdict::GiveUp => return Next::Stop,
            Verdict::Retry => Duration::ZERO,
            Verdict::Wait(asked) => asked,
        };
        if self.policy.tries.is_some_and(|tries| self.failed >= tries) {
            return Next::Stop;
        }
        let doubled = self.policy.first.saturating_mul(1 << self.failed.min(20)).min(self.policy.cap);
        self.failed = self.failed.saturating_add(1);
        let spread = doubled.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0));
        Next::Wait(spread.min(self.policy.cap).max(floor))
    }

    /// Bytes got through: the count starts anew.
    pub fn progress(&mut self) {
        self.failed = 0;
    }

    /// How many tries in a row have failed.
    pub fn failed(&self) -> u32 {
        self.failed
    }
}

/// A random number in `0.0..1.0` for [`Backoff::after`]; 0.5 where the system has no randomness to give.
pub fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &mut Backoff, fault: &Fault) -> Vec<u64> {
        let mut waits = Vec::new();
        while let Next::Wait(wait) = backoff.after(fault, 0.5) {
            waits.push(wait.as_secs());
        }
        waits
    }

    #[test]
    fn doubles_to_the_cap_and_stops() {
        let mut backoff = Backoff::new(Policy::default());
        let waits = waits(&mut backoff, &Fault::status(503, ""));
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(waits.iter().sum::<u64>(), 303, "about five minutes");
    }

    #[test]
    fn progress_starts_the_count_anew() {
        let mut backoff = Backoff::new(Policy { tries: Some(2), ..Policy::default() });
        let busy = Fault::status(503, "");
        assert_eq!(waits(&mut backoff, &busy), [1, 2]);
        backoff.progress();
        assert_eq!(waits(&mut backoff, &busy), [1, 2]);
        assert_eq!(Backoff::new(Policy { tries: Some(0), ..Policy::default() }).after(&busy, 0.5), Next::Stop);
    }

    #[test]
    fn endless_when_asked() {
        let mut backoff = Backoff::new(Policy { tries: None, ..Policy::default() });
        for _ in 0..10_000 {
            assert!(matches!(backoff.after(&Fault::status(503, ""), 0.9), Next::Wait(_)));
        }
    }

    #[test]
    fn the_server_sets_the_floor_and_jitter_stays_in_bounds() {
        let mut backoff = Backoff::new(Policy::default());
        let told = Fault::status(429, "").wait(Some(Duration::from_secs(300)));
        assert_eq!(backoff.after(&told, 0.0), Next::Wait(Duration::from_secs(300)));
        let short = Fault::status(429, "").wait(Some(Duration::ZERO));
        assert_eq!(backoff.after(&short, 0.0), Next::Wait(Duration::from_millis(1500)));
        assert_eq!(backoff.after(&short, 1.0), Next::Wait(Duration::from_secs(5)));
        assert!((0.0..1.0).contains(&jitter()));
    }

    #[test]
    fn permanent_faults_stop_at_once() {
        let mut backoff = Backoff::new(Policy { tries: None, ..Policy::default() });
        assert_eq!(backoff.after(&Fault::status(403, ""), 0.5), Next::Stop);
    }
}
