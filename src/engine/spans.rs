//! Who fetches what: the missing bytes of a file, cut into claims, one for each connection. Pure: ranges in, ranges
//! out.
//!
//! An idle connection takes unclaimed bytes first, lowest offset first, so that the prefix grows and can be hashed
//! while it is warm. When there are none it takes the second half of the claim that has most left, if that is worth
//! a request.

use crate::byteset::ByteSet;
use crate::chunk::ByteRange;

/// A claim with less than this left is not cut, in bytes.
const WORTH_CUTTING: u64 = 2 << 20;
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

/// The missing bytes of one file.
#[derive(Debug)]
pub struct Spans {
    free: ByteSet,
    claims: Vec<(ClaimId, ByteRange)>,
    next_id: ClaimId,
}

impl Spans {
    /// All of `missing` is to be fetched.
    pub fn new(missing: impl IntoIterator<Item = ByteRange>) -> Self {
        Self { free: missing.into_iter().collect(), claims: Vec::new(), next_id: 0 }
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

    /// Bytes to fetch: about `want` of them, which end on a multiple of `align` where they can. With `cut`, a claim
    /// that has much left may be cut in two when nothing is unclaimed.
    pub fn take(&mut self, want: u64, align: u64, cut: bool) -> Option<Claim> {
        if let Some(run) = self.first() {
            let wanted = run.start.saturating_add(want.max(1)).div_ceil(align.max(1)).saturating_mul(align.max(1));
            let range = ByteRange::new(run.start, wanted.min(run.end));
            self.free.forget(range);
            return Some(self.claim(range, None));
        }
        if !cut {
            return None;
        }
        let (id, victim) = self.claims.iter().copied().max_by_key(|(_, range)| range.len())?;
        if victim.len() < WORTH_CUTTING {
            return None;
        }
        let middle = (victim.start + victim.len().div_ceil(2)).next_multiple_of(GRAIN).min(victim.end);
        let range = ByteRange::new(middle, victim.end);
        self.set(id, ByteRange::new(victim.start, middle));
        (!range.is_empty()).then(|| self.claim(range, Some((id, middle))))
    }

    /// Whether another connection would find something to do.
    pub fn has_work(&self) -> bool {
        !self.free.is_empty() || self.claims.iter().any(|(_, range)| range.len() >= WORTH_CUTTING)
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
        let all = spans.take(u64::MAX / 2, 8 * MIB, true).unwrap();
        assert_eq!(all.range, ByteRange::new(0, 100 * MIB));
        spans.advance(all.id, 20 * MIB);
        let half = spans.take(MIB, 8 * MIB, true).unwrap();
        assert_eq!((half.range, half.cut), (ByteRange::new(60 * MIB, 100 * MIB), Some((all.id, 60 * MIB))));
        assert_eq!(spans.take(MIB, MIB, false), None);
        spans.release(half.id);
        let again = spans.take(3 * MIB, 8 * MIB, true).unwrap();
        assert_eq!((again.range, again.cut), (ByteRange::new(60 * MIB, 64 * MIB), None));
    }

    #[test]
    fn small_rests_are_left_alone() {
        let mut spans = Spans::new([ByteRange::new(0, WORTH_CUTTING - 1)]);
        spans.take(u64::MAX / 2, 1, true).unwrap();
        assert_eq!(spans.take(1, 1, true), None);
    }

    proptest! {
        /// However claims are taken, advanced and released: no byte is claimed twice and none is lost.
        #[test]
        fn every_byte_once(steps in prop::collection::vec((0u8..3, 1u64..40, 0u64..64), 1..80)) {
            let total = 200 * GRAIN;
            let mut spans = Spans::new([ByteRange::new(0, total)]);
            let mut fetched = ByteSet::new();
            let mut out: Vec<(ClaimId, u64)> = Vec::new();
            for (what, size, pick) in steps {
                match what {
                    0 => out.extend(spans.take(size * GRAIN, GRAIN, true).map(|claim| (claim.id, claim.range.start))),
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
