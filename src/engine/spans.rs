//! Who fetches what: the missing bytes of a file, cut into claims, one for each connection. Pure: ranges in, ranges
//! out.
//!
//! An idle connection takes unclaimed bytes first, lowest offset first, so that the prefix grows and can be hashed
//! while it is warm. When there are none, the second half of the claim that has most left is free, if that is worth
//! a request. A claim is at most half of a fair share of what is left: they become smaller towards the end, so that all
//! connections end at about the same time, and few are cut, which costs a connection what is on its way to it.
//!
//! Where order matters (a digest that runs over the file from its beginning, a pipe), no claim reaches further than a
//! window ahead of what is complete, or of what has gone out: hashing keeps up, and memory stays bounded.

use crate::byteset::ByteSet;
use crate::chunk::ByteRange;

/// A claim with less than this left is not cut, in bytes.
const WORTH_CUTTING: u64 = 2 << 20;
/// No claim is made smaller than this so that all end at once, in bytes.
const LEAST: u64 = 512 << 10;
/// A cut falls on a multiple of this, in bytes, so that few odd runs come into being.
const GRAIN: u64 = 64 << 10;

/// The name of a claim.
pub type ClaimId = u64;

/// A claim as it was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub id: ClaimId,
    /// Its bytes.
    pub range: ByteRange,
    /// The claim that was cut for it, and where that one ends now.
    pub cut: Option<(ClaimId, u64)>,
}

/// How far ahead work may be.
#[derive(Debug, Clone, Copy)]
struct Window {
    size: u64,
    /// Where it begins; `None` is at the first missing byte.
    from: Option<u64>,
}

/// The missing bytes of one file.
#[derive(Debug)]
pub struct Spans {
    free: ByteSet,
    claims: Vec<(ClaimId, ByteRange)>,
    next_id: ClaimId,
    window: Option<Window>,
}

impl Spans {
    /// All of `missing` is to be fetched.
    pub fn new(missing: impl IntoIterator<Item = ByteRange>) -> Self {
        Self { free: missing.into_iter().collect(), claims: Vec::new(), next_id: 0, window: None }
    }

    /// From now on nothing further than `size` bytes ahead of the first missing byte is claimed.
    pub fn stay_within(&mut self, size: u64) {
        self.window = Some(Window { size: size.max(1), from: None });
    }

    /// The window begins at `at`, wherever the first missing byte is: what lies between is there and takes room.
    pub fn passed(&mut self, at: u64) {
        if let Some(window) = &mut self.window {
            window.from = Some(at);
        }
    }

    /// One past the last byte that may be claimed now.
    fn limit(&self) -> u64 {
        let Some(window) = self.window else { return u64::MAX };
        window.from.unwrap_or_else(|| self.front()).saturating_add(window.size)
    }

    /// The first missing byte, claimed or not.
    fn front(&self) -> u64 {
        let claimed = self.claims.iter().map(|(_, range)| range).filter(|range| !range.is_empty());
        claimed.map(|range| range.start).chain(self.first().map(|run| run.start)).min().unwrap_or(0)
    }

    /// A claim with less than this left is not cut, in bytes.
    pub fn worth_cutting(&self) -> u64 {
        self.window.map_or(WORTH_CUTTING, |window| WORTH_CUTTING.min((window.size / 4).max(1)))
    }

    /// How much to claim at once of `want`, and on multiples of what it is to end: within a window small enough that
    /// all connections find room in it.
    fn measure(&self, want: u64, align: u64) -> (u64, u64) {
        let most = match self.window {
            Some(window) => (window.size / 16).max(1),
            None if self.claims.is_empty() => u64::MAX,
            None => (self.left() / (2 * (self.claims.len() as u64 + 1))).max(LEAST),
        };
        let (want, align) = (want.clamp(1, most), align.max(1));
        (want, if align > want { GRAIN.min(want) } else { align })
    }

    /// The first unclaimed byte.
    pub fn first(&self) -> Option<ByteRange> {
        self.free.runs().next()
    }

    /// Whether nothing is missing and nothing is being fetched.
    pub fn is_done(&self) -> bool {
        self.free.is_empty() && self.claims.is_empty()
    }

    /// Bytes that are missing, claimed ones included.
    pub fn left(&self) -> u64 {
        self.free.len() + self.claims.iter().map(|(_, range)| range.len()).sum::<u64>()
    }

    /// Claims that are out.
    pub fn claimed(&self) -> usize {
        self.claims.len()
    }

    /// The first unclaimed bytes, at most `most` of them, wherever the window ends: an answer that is open already.
    pub fn take_open(&mut self, most: u64) -> Option<Claim> {
        let run = self.first()?;
        let range = ByteRange::new(run.start, run.end.min(run.start.saturating_add(most)));
        self.free.forget(range);
        (!range.is_empty()).then(|| self.claim(range, None))
    }

    /// Bytes to fetch: about `want` of them, which end on a multiple of `align` where they can. When nothing is
    /// unclaimed, a claim that has much left is cut in two.
    pub fn take(&mut self, want: u64, align: u64) -> Option<Claim> {
        if let Some(range) = self.next_free(want, align) {
            self.free.forget(range);
            return Some(self.claim(range, None));
        }
        let (id, victim, range) = self.next_cut(want, align)?;
        self.set(id, ByteRange::new(victim.start, range.start));
        self.free.insert(ByteRange::new(range.end, victim.end));
        Some(self.claim(range, Some((id, range.start))))
    }

    /// Whether another connection that wants that much would find something to do.
    pub fn has_work(&self, want: u64, align: u64) -> bool {
        self.next_free(want, align).is_some() || self.next_cut(want, align).is_some()
    }

    fn next_free(&self, want: u64, align: u64) -> Option<ByteRange> {
        let run = self.first()?;
        let (want, align) = self.measure(want, align);
        let wanted = run.start.saturating_add(want);
        if self.window.is_none() {
            return Some(ByteRange::new(run.start, run.end.min(wanted - wanted % align)));
        }
        // A window that opens byte by byte must not lead to requests for a few bytes each.
        let end = wanted.div_ceil(align).saturating_mul(align).min(run.end).min(self.limit());
        (end >= run.end.min(wanted)).then(|| ByteRange::new(run.start, end))
    }

    /// The claim to cut, what it is now, and what is cut out of it.
    fn next_cut(&self, want: u64, align: u64) -> Option<(ClaimId, ByteRange, ByteRange)> {
        if !self.free.is_empty() && self.window.is_none() {
            return None;
        }
        let reach = ByteRange::new(0, self.limit());
        let (id, victim) = self.claims.iter().copied().max_by_key(|(_, range)| range.intersect(&reach).len())?;
        let within = victim.intersect(&reach);
        if within.len() < self.worth_cutting() {
            return None;
        }
        let (half, want) = (within.len().div_ceil(2), self.measure(want, align).0.min(within.len()));
        // Within a window the front comes first: pieces of equal size, one behind the other.
        let keep = if self.window.is_some() { half.min(want) } else { half };
        let middle = (victim.start + keep).next_multiple_of(GRAIN).min(within.end);
        let range = ByteRange::new(middle, within.end.min(middle.saturating_add(want.next_multiple_of(GRAIN))));
        (!range.is_empty()).then_some((id, victim, range))
    }

    fn claim(&mut self, range: ByteRange, cut: Option<(ClaimId, u64)>) -> Claim {
        let id = self.next_id;
        self.next_id += 1;
        self.claims.push((id, range));
        Claim { id, range, cut }
    }

    fn set(&mut self, id: ClaimId, range: ByteRange) {
        if let Some(claim) = self.claims.iter_mut().find(|(at, _)| *at == id) {
            claim.1 = range;
        }
    }

    /// What a claim lacks from `at` on becomes a claim of its own.
    pub fn overtake(&mut self, id: ClaimId, at: u64) -> Option<Claim> {
        let (_, slow) = self.claims.iter().copied().find(|(own, _)| *own == id)?;
        let range = ByteRange::new(at.max(slow.start), slow.end);
        if range.is_empty() {
            return None;
        }
        self.set(id, ByteRange::new(slow.start, range.start));
        Some(self.claim(range, Some((id, range.start))))
    }

    /// The claims that are out, with what they still lack.
    pub fn claims(&self) -> &[(ClaimId, ByteRange)] {
        &self.claims
    }

    /// Where a claim ends now.
    pub fn end_of(&self, id: ClaimId) -> Option<u64> {
        self.claims.iter().find(|(at, _)| *at == id).map(|(_, range)| range.end)
    }

    /// The bytes of a claim before `at` have arrived.
    pub fn advance(&mut self, id: ClaimId, at: u64) {
        if let Some(claim) = self.claims.iter_mut().find(|(own, _)| *own == id) {
            claim.1 = ByteRange::new(at.min(claim.1.end), claim.1.end);
        }
    }

    /// The claim ends; what it did not fetch is free again.
    pub fn release(&mut self, id: ClaimId) {
        if let Some(at) = self.claims.iter().position(|(own, _)| *own == id) {
            let (_, range) = self.claims.swap_remove(at);
            self.free.insert(range);
        }
    }

    /// The file ends at `length` after all: what lies behind is not missing.
    pub fn cut_at(&mut self, length: u64) {
        self.free.forget(ByteRange::new(length, u64::MAX));
        for (_, range) in &mut self.claims {
            *range = range.intersect(&ByteRange::new(0, length));
        }
    }

    /// These bytes are missing again.
    pub fn add(&mut self, missing: &ByteSet) {
        self.free.union(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn unclaimed_bytes_first_then_the_largest_claim_is_cut() {
        let mut spans = Spans::new([ByteRange::new(0, 100 * MIB)]);
        let all = spans.take(u64::MAX / 2, 8 * MIB).unwrap();
        assert_eq!(all.range, ByteRange::new(0, 100 * MIB));
        spans.advance(all.id, 20 * MIB);
        let second = spans.take(u64::MAX / 2, 8 * MIB).unwrap();
        assert_eq!((second.range, second.cut), (ByteRange::new(60 * MIB, 80 * MIB), Some((all.id, 60 * MIB))));
        let third = spans.take(3 * MIB, 8 * MIB).unwrap();
        assert_eq!((third.range, third.cut), (ByteRange::new(80 * MIB, 83 * MIB), None));
        spans.release(second.id);
        let again = spans.take(3 * MIB, 8 * MIB).unwrap();
        assert_eq!((again.range, again.cut), (ByteRange::new(60 * MIB, 63 * MIB), None));
    }

    #[test]
    fn claims_become_smaller_towards_the_end_so_that_all_end_at_once() {
        let mut spans = Spans::new([ByteRange::new(0, 256 * MIB)]);
        let mut claims: Vec<Claim> = (0..4).map(|_| spans.take(64 * MIB, 8 * MIB).unwrap()).collect();
        let mut sizes = Vec::new();
        while let Some(next) = spans.take(64 * MIB, 8 * MIB) {
            sizes.push(next.range.len());
            claims.push(next);
            let ready = claims.remove(0);
            spans.advance(ready.id, ready.range.end);
            spans.release(ready.id);
        }
        assert!(sizes.len() < 60 && sizes.iter().all(|size| *size >= LEAST / 2), "{sizes:?}");
        assert!(sizes[0] >= 16 * MIB && sizes[sizes.len() - 4..].iter().all(|size| *size <= 2 * MIB), "{sizes:?}");
    }

    #[test]
    fn small_rests_are_left_alone() {
        let mut spans = Spans::new([ByteRange::new(0, WORTH_CUTTING - 1)]);
        spans.take(u64::MAX / 2, 1).unwrap();
        assert_eq!(spans.take(1, 1), None);
    }

    #[test]
    fn nothing_is_claimed_beyond_the_window() {
        let mut spans = Spans::new([ByteRange::new(0, 1000 * MIB)]);
        spans.stay_within(64 * MIB);
        let open = spans.take_open(1000 * MIB).unwrap();
        assert_eq!(open.range, ByteRange::new(0, 1000 * MIB));
        // An open answer is cut near its front, and what lies behind goes in pieces of one size.
        let second = spans.take(8 * MIB, MIB).unwrap();
        assert_eq!((second.range, second.cut), (ByteRange::new(4 * MIB, 8 * MIB), Some((open.id, 4 * MIB))));
        let mut last = second;
        while let Some(next) = spans.take(8 * MIB, MIB).filter(|next| next.cut.is_none()) {
            assert_eq!(next.range.start, last.range.end);
            last = next;
        }
        assert_eq!(last.range.end, 64 * MIB);
        // The window moves with the first missing byte, by whole pieces.
        spans.advance(open.id, 3 * MIB);
        assert!(spans.next_free(8 * MIB, MIB).is_none_or(|range| range.end <= 67 * MIB));
        spans.advance(open.id, 4 * MIB);
        spans.release(open.id);
        assert_eq!(spans.next_free(8 * MIB, MIB), Some(ByteRange::new(64 * MIB, 68 * MIB)));
        // What has arrived and not gone out takes room too.
        spans.passed(0);
        assert_eq!(spans.next_free(8 * MIB, MIB), None);
    }

    proptest! {
        /// However claims are taken, advanced and released: no byte is claimed twice and none is lost.
        #[test]
        fn every_byte_once(
            window in prop::option::of(1u64..100),
            steps in prop::collection::vec((0u8..3, 1u64..40, 0u64..64), 1..80),
        ) {
            let total = 200 * GRAIN;
            let mut spans = Spans::new([ByteRange::new(0, total)]);
            if let Some(window) = window {
                spans.stay_within(window * GRAIN);
            }
            let mut fetched = ByteSet::new();
            let mut out: Vec<(ClaimId, u64)> = Vec::new();
            for (what, size, pick) in steps {
                match what {
                    0 => {
                        let (work, limit) = (spans.has_work(size * GRAIN, GRAIN), spans.limit());
                        let claim = spans.take(size * GRAIN, GRAIN);
                        prop_assert_eq!(work, claim.is_some());
                        prop_assert!(claim.is_none_or(|claim| claim.range.end <= limit && !claim.range.is_empty()));
                        prop_assert!(work || spans.claimed() > 0 || spans.is_done(), "it would wait for ever");
                        out.extend(claim.map(|claim| (claim.id, claim.range.start)));
                    }
                    1 if !out.is_empty() => {
                        let index = pick as usize % out.len();
                        let (id, at) = out[index];
                        let end = spans.end_of(id).unwrap().min(at + size * 1000);
                        prop_assert!(!fetched.touches(ByteRange::new(at, end)));
                        fetched.insert(ByteRange::new(at, end));
                        spans.advance(id, end);
                        out[index].1 = end;
                    }
                    _ if !out.is_empty() => {
                        let (id, _) = out.swap_remove(pick as usize % out.len());
                        spans.release(id);
                    }
                    _ => {}
                }
                prop_assert_eq!(spans.left() + fetched.len(), total);
            }
        }
    }
}
