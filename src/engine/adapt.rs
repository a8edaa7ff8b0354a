//! How many connections help: found out while bytes move. On a fast line every further connection only costs, on a
//! server that gives each one little, sixteen are needed. Pure: measurements in, a number out.

use std::time::Duration;

/// No transfer opens more than this by itself.
pub const MOST: u32 = 16;
/// A measurement shorter than this says nothing.
const PROBE: Duration = Duration::from_millis(20);
/// From so many bytes a second on, a pause of the other side that nobody would notice is a good part of `PROBE`, and
/// there is hardly anything to be won in a hurry:
const FAST: f64 = 200e6;
/// so that a measurement there takes this long.
const FAST_PROBE: Duration = Duration::from_millis(100);
/// How long a new number of connections is watched before it is found useless: they have to get up to speed.
const SETTLE: Duration = Duration::from_millis(400);
/// After a step that did not help, this long until the next try.
const REST: Duration = Duration::from_secs(20);
/// A step must raise the rate by this factor to have helped.
const GAIN: f64 = 1.15;
/// A step is to so many times the connections: on a long line every round of trying costs.
const STEP: u32 = 4;
/// Above this share of one processor the machine is the limit, not the line: no more connections, and before long a
/// single one is put to the test, as each costs.
const BUSY: f64 = 0.6;

/// An answer whose head takes longer has come a long way: a connection over it is slow for its first second.
const FAR: Duration = Duration::from_millis(100);
/// How many connections a host that is far away gets before anything is measured.
const FEW: u32 = 4;

/// With how many connections to begin where nothing is known but that the first head took so long; `None`: one.
pub fn first_guess(took: Duration) -> Option<u32> {
    (took >= FAR).then_some(FEW)
}

/// One look at the transfer.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Time since the transfer began.
    pub now: Duration,
    /// Bytes moved since the transfer began.
    pub moved: u64,
    /// Processor time this process has used since the transfer began.
    pub cpu: Duration,
    /// Bytes that are still missing.
    pub left: u64,
    /// The user's limit in bytes a second, where there is one.
    pub limit: Option<u64>,
}

/// The search for the right number.
#[derive(Debug, Clone)]
pub struct Adapt {
    wanted: u32,
    fixed: bool,
    ceiling: u32,
    /// As many as other transfers leave.
    share: u32,
    /// The number that was found to help.
    helped: Option<u32>,
    since: Option<Sample>,
    /// What the number now, or the one that the others do not leave yet, is compared with.
    before: Option<(u32, f64)>,
    /// How many there were, and how fast, before a single one was put to the test.
    above: Option<(u32, f64)>,
    /// A single one was too few when that was put to the test.
    one_is_few: bool,
    /// Since when the machine has been the limit without a break.
    busy_since: Option<Duration>,
    rest_until: Duration,
}

impl Adapt {
    /// As many as `fixed` says, else up to what helps, beginning with `first` (one, if it is `None`). Where the host is
    /// known, at most as many as it has `allowed`.
    pub fn new(fixed: Option<u32>, allowed: Option<u32>, first: Option<u32>) -> Self {
        let ceiling = allowed.unwrap_or(MOST).clamp(1, MOST);
        Self {
            wanted: fixed.unwrap_or_else(|| first.unwrap_or(1).min(ceiling)).max(1),
            fixed: fixed.is_some(),
            ceiling,
            share: u32::MAX,
            helped: None,
            since: None,
            before: None,
            above: None,
            one_is_few: false,
            busy_since: None,
            rest_until: Duration::ZERO,
        }
    }

    /// How many connections there should be now.
    pub fn wanted(&self) -> u32 {
        self.wanted.min(self.share)
    }

    /// How many there would be if no other transfer wanted any.
    pub fn asks(&self) -> u32 {
        self.wanted
    }

    /// How many the host allows, for all that is known.
    pub fn ceiling(&self) -> u32 {
        self.ceiling
    }

    /// Other transfers leave so many. That the user has fixed a number goes before.
    pub fn allow(&mut self, share: u32) {
        let before = self.wanted();
        self.share = if self.fixed { u32::MAX } else { share.max(1) };
        if self.wanted() < before {
            (self.before, self.since) = (None, None);
        }
    }

    /// The server refused a connection while `open` others were working: never more than those again in this run.
    pub fn refused(&mut self, open: u32) {
        self.ceiling = self.ceiling.min(open.max(1));
        self.wanted = self.wanted.min(self.ceiling);
        (self.before, self.above) = (None, None);
    }

    /// The largest number that this run has learned is allowed, where it is below the usual one.
    pub fn limit(&self) -> Option<u32> {
        (self.ceiling < MOST).then_some(self.ceiling)
    }

    /// How many connections were found to help in this run; `None` while that was not put to the test.
    pub fn helped(&self) -> Option<u32> {
        self.helped
    }

    /// Looks at the transfer; maybe changes its mind.
    pub fn look(&mut self, sample: Sample) {
        let Some(since) = self.since else {
            self.since = Some(sample);
            return;
        };
        let over = sample.now.saturating_sub(since.now);
        if self.fixed || over < PROBE {
            return;
        }
        let rate = (sample.moved - since.moved) as f64 / over.as_secs_f64();
        let cpu = sample.cpu.saturating_sub(since.cpu).as_secs_f64() / over.as_secs_f64();
        if rate >= FAST && over < FAST_PROBE || !self.judge(rate, over, sample.now) {
            return;
        }
        self.since = Some(sample);
        self.before = (self.wanted() < self.wanted).then_some((self.wanted(), rate));
        let busy = rate >= FAST && cpu >= BUSY;
        self.busy_since = self.busy_since.or(Some(since.now)).filter(|_| busy);
        if self.before.is_some() || self.shrink(rate, &sample) {
            return;
        }
        if sample.now >= self.rest_until {
            self.grow(rate, cpu, &sample);
        }
    }

    /// What came of the number that is being put to the test, if one is. Whether that is known by now.
    fn judge(&mut self, rate: f64, over: Duration, at: Duration) -> bool {
        let now = self.wanted();
        if let Some((more, faster)) = self.above {
            let enough = rate * GAIN >= faster;
            // What loses half of what it could is seen at once.
            let plain = enough || rate < faster / f64::from(more).sqrt();
            if !plain && over < SETTLE {
                return false;
            }
            self.above = None;
            if !enough {
                (self.wanted, self.one_is_few) = (more, true);
            }
            self.rest_until = at + REST;
            self.helped = Some(self.wanted);
        }
        // What is less than twice as many cannot be told from noise.
        if let Some((fewer, slower)) = self.before.filter(|(fewer, _)| now >= fewer * 2) {
            // Half of what the step could have brought at best is enough to see it at once.
            let plain = rate >= slower * f64::from(now / fewer).sqrt();
            if !plain && over < SETTLE {
                return false;
            }
            if rate < slower * GAIN {
                self.wanted = fewer;
                self.rest_until = at + REST;
            }
            // Of more than the others leave nothing was learned.
            if self.wanted() == self.wanted {
                self.helped = Some(self.wanted);
            }
        }
        true
    }

    /// Tries a single one where a fast machine is the limit: the number may be one that was remembered, or have come from
    /// a moment in which the other side paused. Whether it does. (Where less comes, handshakes and slow starts would be
    /// judged; and a server that holds back for a second what it gives may be fast for a moment.)
    fn shrink(&mut self, rate: f64, sample: &Sample) -> bool {
        let long = self.busy_since.is_some_and(|since| sample.now.saturating_sub(since) >= SETTLE);
        if !long || self.one_is_few || self.wanted == 1 || (sample.left as f64) < rate * 0.3 {
            return false;
        }
        self.above = Some((self.wanted, rate));
        self.wanted = 1;
        true
    }

    fn grow(&mut self, rate: f64, cpu: f64, sample: &Sample) {
        // More connections cannot pay for themselves in the last moments, nor when the machine or the user's limit
        // is what holds the transfer back.
        let limited = sample.limit.is_some_and(|limit| rate > limit as f64 * 0.8);
        let worth_it = sample.left as f64 > rate * 0.3 && rate > 0.0 && cpu < BUSY && !limited;
        let more = (self.wanted * STEP).min(self.ceiling);
        if worth_it && more > self.wanted {
            self.before = Some((self.wanted, rate));
            self.wanted = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a transfer of 10 GiB on a line that gives `rate(connections)` bytes a second; the number settled on.
    fn settle(adapt: &mut Adapt, cpu_share: f64, rate: impl Fn(u32) -> f64) -> u32 {
        let mut moved = 0.0;
        for tick in 0..100u32 {
            let now = Duration::from_millis(u64::from(tick) * 100);
            moved += rate(adapt.wanted()) / 10.0;
            adapt.look(Sample { now, moved: moved as u64, cpu: now.mul_f64(cpu_share), left: 10 << 30, limit: None });
        }
        adapt.wanted()
    }

    #[test]
    fn one_where_the_machine_is_the_limit_many_where_the_server_gives_each_little() {
        assert_eq!(settle(&mut Adapt::new(None, None, None), 0.9, |_| 1.5e9), 1);
        assert_eq!(settle(&mut Adapt::new(None, None, None), 0.1, |n| 20e6 * f64::from(n)), 16);
        assert_eq!(settle(&mut Adapt::new(None, None, None), 0.1, |n| 60e6f64.min(20e6 * f64::from(n))), 4);
        assert_eq!(settle(&mut Adapt::new(None, None, None), 0.1, |_| 60e6), 1);
    }

    #[test]
    fn what_the_user_or_the_server_says_holds() {
        assert_eq!(settle(&mut Adapt::new(Some(7), None, None), 0.1, |n| 20e6 * f64::from(n)), 7);
        assert_eq!(settle(&mut Adapt::new(None, Some(3), None), 0.1, |n| 20e6 * f64::from(n)), 3);
        let mut adapt = Adapt::new(None, None, None);
        settle(&mut adapt, 0.1, |n| 20e6 * f64::from(n));
        adapt.refused(5);
        assert_eq!(settle(&mut adapt, 0.1, |n| 20e6 * f64::from(n)), 5);
        assert_eq!(adapt.limit(), Some(5));
    }

    #[test]
    fn what_helped_is_found_quickly_and_used_at_once_the_next_time() {
        let mut adapt = Adapt::new(None, None, None);
        let mut moved = 0;
        for tick in 0..4 {
            adapt.look(Sample {
                now: Duration::from_millis(100 * tick),
                moved,
                cpu: Duration::ZERO,
                left: 10 << 30,
                limit: None,
            });
            moved += 2_000_000 * u64::from(adapt.wanted());
        }
        assert_eq!((adapt.wanted(), adapt.helped()), (16, Some(16)), "after 300 ms");
        assert_eq!(Adapt::new(None, None, adapt.helped()).wanted(), 16);
        assert_eq!(Adapt::new(None, Some(3), Some(16)).wanted(), 3);
        let begins = |took| Adapt::new(None, None, first_guess(Duration::from_millis(took))).wanted();
        assert_eq!((begins(5), begins(160)), (1, 4), "near, far");
        let mut adapt = Adapt::new(None, None, None);
        settle(&mut adapt, 0.1, |_| 60e6);
        assert_eq!(adapt.helped(), Some(1));
    }

    /// A second of a transfer on a line that gives each connection 20 MB/s.
    fn second(adapt: &mut Adapt, (now, moved): &mut (Duration, u64)) {
        for _ in 0..10 {
            *now += Duration::from_millis(100);
            *moved += 2_000_000 * u64::from(adapt.wanted());
            adapt.look(Sample { now: *now, moved: *moved, cpu: Duration::ZERO, left: 10 << 30, limit: None });
        }
    }

    #[test]
    fn one_is_tried_where_the_machine_is_the_limit() {
        let begun_with = |n| Adapt::new(None, None, Some(n));
        let each_costs = |n: u32| 2e9 / (1.0 + f64::from(n - 1) / 10.0);
        for (first, costs) in [(16, true), (4, true), (16, false)] {
            let mut adapt = begun_with(first);
            let n = settle(&mut adapt, 0.95, |n| if costs { each_costs(n) } else { 2e9 });
            assert_eq!((n, adapt.helped(), adapt.limit()), (1, Some(1), None), "{first} {costs}");
        }
        let mut adapt = begun_with(16);
        assert_eq!(settle(&mut adapt, 0.95, |n| 60e6 * f64::from(n)), 16, "they are needed");
        assert_eq!(adapt.helped(), Some(16));
        assert_eq!(settle(&mut begun_with(16), 0.95, |_| 50e6), 16, "what is slow is not judged by the processor");
        let mut adapt = begun_with(16);
        for tick in 0..300u64 {
            let now = Duration::from_millis(25 * tick);
            let (moved, cpu) = (60_000_000 * tick.div_ceil(40), Duration::from_millis(25 * tick.div_ceil(40)));
            adapt.look(Sample { now, moved, cpu, left: 10 << 30, limit: None });
            assert_eq!(adapt.wanted(), 16, "what comes once a second, at {tick}");
        }
        assert_eq!(settle(&mut Adapt::new(Some(16), None, None), 0.95, each_costs), 16, "the user's word");
    }

    #[test]
    fn a_pause_of_the_other_side_is_no_reason_for_more_on_a_fast_line() {
        let mut adapt = Adapt::new(None, None, None);
        let (mut moved, mut cpu) = (0, Duration::ZERO);
        for tick in 0..200u64 {
            let paused = tick % 8 == 3;
            adapt.look(Sample { now: Duration::from_millis(25 * tick), moved, cpu, left: 10 << 30, limit: None });
            assert_eq!(adapt.wanted(), 1, "at {tick}");
            moved += if paused { 15_000_000 } else { 50_000_000 };
            cpu += Duration::from_millis(if paused { 5 } else { 24 });
        }
    }

    #[test]
    fn what_others_do_not_leave_is_not_what_does_not_help() {
        let mut at = Default::default();
        let mut adapt = Adapt::new(None, None, None);
        for (share, helped) in [(4, 4), (8, 4), (16, 16), (1, 16)] {
            adapt.allow(share);
            second(&mut adapt, &mut at);
            assert_eq!((adapt.wanted(), adapt.asks(), adapt.helped()), (share, 16, Some(helped)));
        }
        assert_eq!(adapt.limit(), None, "others are no limit of the host");
        let mut fixed = Adapt::new(Some(20), None, None);
        fixed.allow(2);
        assert_eq!(fixed.wanted(), 20);
    }

    #[test]
    fn what_others_leave_again_is_put_to_the_test() {
        let mut adapt = Adapt::new(None, None, Some(16));
        adapt.allow(4);
        assert_eq!(settle(&mut adapt, 0.1, |n| 60e6f64.min(20e6 * f64::from(n))), 4);
        adapt.allow(16);
        let mut moved = 6e8;
        for tick in 101..110u32 {
            let now = Duration::from_millis(u64::from(tick) * 100);
            moved += 60e6 / 10.0;
            adapt.look(Sample { now, moved: moved as u64, cpu: Duration::ZERO, left: 10 << 30, limit: None });
        }
        assert_eq!((adapt.wanted(), adapt.asks(), adapt.helped()), (4, 4, Some(4)));
    }

    proptest::proptest! {
        /// Whatever the others leave from second to second: it is kept to, and once they are gone all is as if alone.
        #[test]
        fn others_come_and_go(shares in proptest::collection::vec(1u32..=20, 0..20)) {
            let mut at = Default::default();
            let (mut adapt, mut best) = (Adapt::new(None, None, None), None);
            for share in shares {
                adapt.allow(share);
                second(&mut adapt, &mut at);
                proptest::prop_assert!(adapt.wanted() <= share.min(MOST));
                proptest::prop_assert!(adapt.helped() >= best, "{:?} after {best:?}", adapt.helped());
                best = adapt.helped();
            }
            adapt.allow(MOST);
            second(&mut adapt, &mut at);
            proptest::prop_assert_eq!((adapt.wanted(), adapt.limit()), (MOST, None));
        }
    }
}
