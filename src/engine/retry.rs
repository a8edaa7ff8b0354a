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

/// What the world looks like to somebody who waits. The clocks have no common beginning; only differences count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// A clock that stands still while the machine sleeps.
    pub awake: Duration,
    /// One that does not.
    pub whole: Duration,
    /// What tells this network from another one, where that can be known.
    pub network: Option<u64>,
}

/// Why a wait need not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The machine has slept and is awake again.
    Woke,
    /// The network is another one.
    Network,
}

/// A machine that was away for less than this has not slept: clocks are read one after the other.
const SLEPT: Duration = Duration::from_secs(3);

/// One wait between two tries. It ends early when the machine woke up or the network changed, because what failed before
/// says nothing about that; only what the server asked for is waited in full.
#[derive(Debug, Clone)]
pub struct Pause {
    began: Scene,
    wait: Duration,
    asked: Duration,
    change: Option<Change>,
}

impl Pause {
    /// A wait that begins at `began`; `asked`: at least so long, says the server.
    pub fn new(wait: Duration, asked: Option<Duration>, began: Scene) -> Self {
        Self { began, wait, asked: asked.unwrap_or_default(), change: None }
    }

    /// How much longer to wait, seen at `now`; `None` when it is over.
    pub fn left(&mut self, now: &Scene) -> Option<Duration> {
        let awake = now.awake.saturating_sub(self.began.awake);
        let whole = now.whole.saturating_sub(self.began.whole).max(awake);
        let change = match (self.began.network, now.network) {
            _ if whole - awake >= SLEPT => Some(Change::Woke),
            (Some(before), Some(after)) if before != after => Some(Change::Network),
            _ => None,
        };
        self.change = self.change.or(change);
        let wait = if self.change.is_some() { self.asked } else { self.wait };
        wait.checked_sub(whole).filter(|left| !left.is_zero())
    }

    /// What has ended it early, or would have, had it not been over by itself.
    pub fn change(&self) -> Option<Change> {
        self.change
    }

    /// Makes this wait last until `other` would be over too. Both begin now or have begun.
    pub fn or_longer(self, other: Self, now: &Scene) -> Self {
        let (mut mine, mut theirs) = (self.clone(), other.clone());
        match mine.left(now) >= theirs.left(now) {
            true => self,
            false => Self { change: self.change.or(other.change), ..other },
        }
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

    /// `awake` seconds later, of which the machine slept none; then `slept` seconds of sleep.
    fn scene(awake: u64, slept: u64, network: u64) -> Scene {
        let awake = Duration::from_secs(1000 + awake);
        // The two clocks do not begin together.
        Scene { awake, whole: awake + Duration::from_secs(500 + slept), network: Some(network) }
    }

    #[test]
    fn a_wait_lasts_as_long_as_it_was_meant_to() {
        let mut pause = Pause::new(Duration::from_secs(60), None, scene(0, 0, 1));
        assert_eq!(pause.left(&scene(0, 0, 1)), Some(Duration::from_secs(60)));
        assert_eq!(pause.left(&scene(59, 1, 1)), None, "a moment between two clocks is no sleep, but it counts");
        assert_eq!(pause.change(), None);
        let mut pause = Pause::new(Duration::from_secs(60), None, scene(0, 0, 1));
        assert_eq!(pause.left(&Scene { network: None, ..scene(20, 0, 1) }), Some(Duration::from_secs(40)));
        assert_eq!((pause.left(&scene(60, 0, 1)), pause.change()), (None, None));
    }

    #[test]
    fn waking_up_and_another_network_end_a_wait() {
        let mut pause = Pause::new(Duration::from_secs(60), None, scene(0, 0, 1));
        assert_eq!((pause.left(&scene(2, 5, 1)), pause.change()), (None, Some(Change::Woke)));
        let mut pause = Pause::new(Duration::from_secs(60), None, scene(0, 0, 1));
        assert_eq!(pause.left(&scene(10, 0, 1)), Some(Duration::from_secs(50)));
        assert_eq!((pause.left(&scene(11, 0, 2)), pause.change()), (None, Some(Change::Network)));
    }

    #[test]
    fn what_the_server_asked_for_is_waited_whatever_changes() {
        let asked = Duration::from_secs(30);
        let mut pause = Pause::new(Duration::from_secs(60), Some(asked), scene(0, 0, 1));
        assert_eq!(pause.left(&scene(10, 0, 2)), Some(Duration::from_secs(20)));
        assert_eq!(
            pause.left(&scene(29, 0, 1)),
            Some(Duration::from_secs(1)),
            "the network is back: it has changed all the same"
        );
        assert_eq!(pause.left(&scene(30, 0, 1)), None);
        let mut slept = Pause::new(Duration::from_secs(60), Some(asked), scene(0, 0, 1));
        assert_eq!(slept.left(&scene(1, 40, 1)), None, "asleep is waited too");
    }

    #[test]
    fn the_longer_of_two_waits_counts() {
        let now = scene(0, 0, 1);
        let (short, long) =
            (Pause::new(Duration::from_secs(1), None, now), Pause::new(Duration::from_secs(9), None, now));
        assert_eq!(short.clone().or_longer(long.clone(), &now).left(&now), Some(Duration::from_secs(9)));
        assert_eq!(long.or_longer(short, &now).left(&now), Some(Duration::from_secs(9)));
    }

    #[test]
    fn permanent_faults_stop_at_once() {
        let mut backoff = Backoff::new(Policy { tries: None, ..Policy::default() });
        assert_eq!(backoff.after(&Fault::status(403, ""), 0.5), Next::Stop);
    }
}
