//! Sets of numbers kept as runs: which bytes have arrived, which chunks are done.
//!
//! The text form, used in sidecars and on the wire, names runs with both ends included: `"0-120,124"`; the
//! empty set is `""`.

use crate::chunk::ByteRange;
use rangemap::RangeSet;
use std::fmt;

/// A set of byte offsets (or of chunk indices: see [`IndexSet`]), held as runs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ByteSet(RangeSet<u64>);

/// A set of chunk indices; the same runs, read as indices.
pub type IndexSet = ByteSet;

/// Why a text is not a set of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRuns(String);

impl fmt::Display for BadRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a list of runs like \"0-5,9\": {}", self.0)
    }
}

impl std::error::Error for BadRuns {}

impl ByteSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set that holds `range` and nothing else.
    pub fn of(range: ByteRange) -> Self {
        let mut set = Self::new();
        set.insert(range);
        set
    }

    /// Reads the text form. Runs must ascend and not overlap, as they do wherever this program wrote them.
    pub fn parse(text: &str) -> Result<Self, BadRuns> {
        let mut set = Self::new();
        let mut floor = 0;
        if text.is_empty() {
            return Ok(set);
        }
        let bad = || BadRuns(text.chars().take(40).collect());
        for run in text.split(',') {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let number = |s: &str| match s.bytes().all(|b| b.is_ascii_digit()) {
                true => s.parse::<u64>().map_err(|_| bad()),
                false => Err(bad()),
            };
            let (first, last) = (number(first)?, number(last)?);
            if first < floor || last < first || last == u64::MAX {
                return Err(bad());
            }
            floor = last + 1;
            set.insert(ByteRange::new(first, floor));
        }
        Ok(set)
    }

    /// Adds `range`.
    pub fn insert(&mut self, range: ByteRange) {
        if !range.is_empty() {
            self.0.insert(range.start..range.end);
        }
    }

    /// Takes `range` out.
    pub fn forget(&mut self, range: ByteRange) {
        if !range.is_empty() {
            self.0.remove(range.start..range.end);
        }
    }

    /// Adds all that `other` holds.
    pub fn union(&mut self, other: &Self) {
        other.runs().for_each(|run| self.insert(run));
    }

    /// Takes out all that `other` holds.
    pub fn subtract(&mut self, other: &Self) {
        other.runs().for_each(|run| self.forget(run));
    }

    /// The maximal runs, ascending.
    pub fn runs(&self) -> impl Iterator<Item = ByteRange> + '_ {
        self.0.iter().map(|run| ByteRange::new(run.start, run.end))
    }

    /// The runs of `within` that are not in the set, ascending.
    pub fn missing(&self, within: ByteRange) -> impl Iterator<Item = ByteRange> + '_ {
        let outer = within.start..within.end.max(within.start + u64::from(within.is_empty()));
        let gaps = if within.is_empty() { Vec::new() } else { self.0.gaps(&outer).collect() };
        gaps.into_iter().map(|gap| ByteRange::new(gap.start, gap.end))
    }

    /// The runs of the set that lie in `within`, cut at its ends.
    pub fn within(&self, within: ByteRange) -> Self {
        let mut cut = Self::new();
        if !within.is_empty() {
            for run in self.0.overlapping(&(within.start..within.end)) {
                cut.insert(ByteRange::new(run.start, run.end).intersect(&within));
            }
        }
        cut
    }

    /// Whether every byte of `range` is in the set; true for an empty range.
    pub fn contains(&self, range: ByteRange) -> bool {
        self.missing(range).next().is_none()
    }

    /// Whether any byte of `range` is in the set.
    pub fn touches(&self, range: ByteRange) -> bool {
        !range.is_empty() && self.0.overlaps(&(range.start..range.end))
    }

    /// The length of the run that starts at zero.
    pub fn prefix(&self) -> u64 {
        self.0.get(&0).map_or(0, |run| run.end)
    }

    /// The number of members.
    pub fn len(&self) -> u64 {
        self.runs().map(|run| run.len()).sum()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One past the greatest member; 0 for the empty set.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |run| run.end)
    }
}

impl fmt::Display for ByteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.runs().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match run.len() {
                1 => write!(f, "{comma}{}", run.start)?,
                _ => write!(f, "{comma}{}-{}", run.start, run.end - 1)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ByteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl FromIterator<ByteRange> for ByteSet {
    fn from_iter<I: IntoIterator<Item = ByteRange>>(runs: I) -> Self {
        let mut set = Self::new();
        runs.into_iter().for_each(|run| set.insert(run));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn text_form() {
        let set = ByteSet::parse("0-120,124").unwrap();
        assert_eq!((set.len(), set.prefix(), set.to_string().as_str()), (122, 121, "0-120,124"));
        assert_eq!(ByteSet::parse("").unwrap(), ByteSet::new());
        for bad in ["-", "1-", "5-2", "3,1", "0-5,5", "+1", " 1", "1,,2", "18446744073709551615", "x"] {
            assert!(ByteSet::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        /// The set behaves as a set of numbers does, whatever is done to it.
        #[test]
        fn like_a_plain_set(steps in prop::collection::vec((any::<bool>(), 0u64..80, 0u64..20), 0..40)) {
            let (mut runs, mut plain) = (ByteSet::new(), BTreeSet::new());
            for (add, start, len) in steps {
                let range = ByteRange::new(start, start + len);
                if add {
                    runs.insert(range);
                    plain.extend(start..start + len);
                } else {
                    runs.forget(range);
                    plain.retain(|n| !(start..start + len).contains(n));
                }
            }
            prop_assert_eq!(runs.len() as usize, plain.len());
            prop_assert_eq!(runs.runs().flat_map(|r| r.start..r.end).collect::<BTreeSet<_>>(), plain.clone());
            prop_assert_eq!(ByteSet::parse(&runs.to_string()).unwrap(), runs.clone());
            let gaps: BTreeSet<u64> = runs.missing(ByteRange::new(5, 70)).flat_map(|r| r.start..r.end).collect();
            prop_assert_eq!(gaps, (5..70).filter(|n| !plain.contains(n)).collect::<BTreeSet<_>>());
        }

        /// Any text at all is read or refused, and what is read prints as it was.
        #[test]
        fn any_text(text in "[0-9,-]{0,24}") {
            if let Ok(set) = ByteSet::parse(&text) {
                prop_assert_eq!(ByteSet::parse(&set.to_string()).unwrap(), set);
            }
        }
    }
}
