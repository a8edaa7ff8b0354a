//! Which claim is so slow that it is worth fetching a second time elsewhere: one that is too small to be cut in two, is
//! far slower than connections of this very transfer have been, and will keep everybody waiting. Pure: places in, a
//! name out.

use super::spans::ClaimId;
use crate::chunk::ByteRange;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a claim is watched before it is judged.
const WATCH: Duration = Duration::from_secs(2);
/// After how long its rate says what a connection can do here.
const GLANCE: Duration = Duration::from_millis(500);
/// A claim that will take less than this is waited for.
const WORTH_IT: Duration = Duration::from_secs(2);
/// This many times slower than the fastest has been is slow.
const SLOWER: f64 = 4.0;

/// The watch over the claims of one transfer.
#[derive(Debug, Default)]
pub struct Watch {
    seen: HashMap<ClaimId, VecDeque<(Instant, u64)>>,
    /// The fastest that a single claim has been, in bytes a second.
    best: f64,
    hedged: Vec<ClaimId>,
}

impl Watch {
    /// Looks at what the claims still lack at `now`; names one of less than `small` bytes that is worth a second
    /// request, each only once. With `idle`, somebody would be free to make it.
    pub fn look(&mut self, now: Instant, claims: &[(ClaimId, ByteRange)], small: u64, idle: bool) -> Option<ClaimId> {
        self.seen.retain(|id, _| claims.iter().any(|(claim, _)| claim == id));
        let mut slowest: Option<(ClaimId, f64)> = None;
        for (id, range) in claims {
            let seen = self.seen.entry(*id).or_default();
            seen.push_back((now, range.start));
            while seen.len() > 2 && now.saturating_duration_since(seen[1].0) >= WATCH {
                seen.pop_front();
            }
            let over = now.saturating_duration_since(seen[0].0);
            if over < GLANCE || range.is_empty() {
                continue;
            }
            let rate = (range.start - seen[0].1) as f64 / over.as_secs_f64();
            self.best = self.best.max(rate);
            if over < WATCH || range.len() >= small {
                continue;
            }
            if slowest.is_none_or(|(_, slow)| rate < slow) && !self.hedged.contains(id) {
                let left = range.len() as f64 / rate;
                slowest = Some((*id, rate)).filter(|_| left > WORTH_IT.as_secs_f64()).or(slowest);
            }
        }
        let (id, _) = slowest.filter(|(_, rate)| idle && self.best > 0.0 && *rate < self.best / SLOWER)?;
        self.hedged.push(id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Watches claims of `lens` bytes that move at `rates` bytes a second; when each is named.
    fn named(claims: &[(u64, u64)], seconds: u64, idle: bool) -> Vec<(ClaimId, u64)> {
        let (start, mut watch, mut named) = (Instant::now(), Watch::default(), Vec::new());
        for tick in 0..seconds * 10 {
            let now = start + Duration::from_millis(tick * 100);
            let left = |(id, (len, rate)): (usize, &(u64, u64))| {
                let at = (rate * tick / 10).min(*len);
                (at < *len).then(|| (id as ClaimId, ByteRange::new(at, *len)))
            };
            let left: Vec<_> = claims.iter().enumerate().filter_map(left).collect();
            named.extend(watch.look(now, &left, u64::MAX, idle).map(|id| (id, tick / 10)));
        }
        named
    }

    #[test]
    fn the_tail_that_keeps_everybody_waiting() {
        assert_eq!(named(&[(10_000, 1000), (10_000, 10)], 6, true), [(1, 2)]);
        assert_eq!(named(&[(10_000, 1000), (10_000, 0)], 6, true), [(1, 2)], "silent");
        assert_eq!(named(&[(10_000, 1000), (10_000, 10)], 6, false), [], "all are at work");
    }

    #[test]
    fn ordinary_transfers_cost_nothing() {
        assert_eq!(named(&[(100_000, 1000)], 60, true), [], "a slow line is slow for everybody");
        assert_eq!(named(&[(100_000, 1000), (100_000, 400)], 60, true), [], "not so much slower");
        assert_eq!(named(&[(100_000, 1000), (400, 100)], 60, true), [], "nearly there");
    }
}
