//! Which bytes of a file have arrived, how safe each of them is, and the checksum of every run. Pure bookkeeping:
//! values in, values out.
//!
//! Runs never cross a chunk's border and neighbours of equal safety are joined, so a finished chunk is one run.

use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::digest::Crc;
use crate::record::{Piece, Record};
use std::collections::BTreeMap;

/// How safe written bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Safety {
    /// In the page cache: a kill does not hurt them, a power cut does.
    Written,
    /// A sync that covers them is running.
    Syncing,
    /// A sync that covers them has ended well.
    Durable,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    end: u64,
    sum: u64,
    safety: Safety,
    /// Whether nobody has compared these bytes with their sum since an unclean end. They are not joined with proven
    /// ones: what is found damaged must go without taking good bytes along.
    doubtful: bool,
}

impl Run {
    fn crc(&self, start: u64) -> Crc {
        Crc { sum: self.sum, len: self.end - start }
    }
}

/// The runs of one file.
#[derive(Debug)]
pub struct Ledger {
    layout: Layout,
    runs: BTreeMap<u64, Run>,
    held: ByteSet,
}

impl Ledger {
    /// A ledger in which nothing has arrived.
    pub fn new(layout: Layout) -> Self {
        Self { layout, runs: BTreeMap::new(), held: ByteSet::new() }
    }

    /// The ledger that a record describes, as far as it counts under this boot. Bytes the record has no sum for are
    /// left out: nothing could prove them.
    pub fn from_record(record: &Record, boot: &str) -> Self {
        let mut ledger = Self::new(record.layout());
        let mut take = |pieces: &[Piece], safety| {
            for piece in pieces {
                if !ledger.held.touches(piece.range) {
                    ledger.put(piece.range, piece.sum, safety);
                }
            }
        };
        take(&record.durable_pieces(), Safety::Durable);
        if record.recent_boot.as_deref() == Some(boot) {
            take(&record.recent, Safety::Written);
        }
        ledger
    }

    /// How the file is cut.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The length became known: from now on this is how the file is cut (the chunk size stays).
    pub fn set_length(&mut self, length: u64) {
        self.layout = Layout::new(length, self.layout.chunk_size());
    }

    /// All bytes that are there, however safe.
    pub fn held(&self) -> &ByteSet {
        &self.held
    }

    /// Bytes were written; `range` lies within one chunk and holds nothing that was there.
    pub fn add(&mut self, range: ByteRange, crc: Crc) {
        debug_assert!(range.len() == crc.len && !self.held.touches(range), "{range:?} is there already");
        if !range.is_empty() {
            self.put(range, crc.sum, Safety::Written);
        }
    }

    fn put(&mut self, range: ByteRange, sum: u64, safety: Safety) {
        self.held.insert(range);
        self.runs.insert(range.start, Run { end: range.end, sum, safety, doubtful: false });
        self.join_around(range.start);
    }

    /// Joins the run at `start` with its neighbours where chunk and safety allow it.
    fn join_around(&mut self, start: u64) {
        let before = self.runs.range(..start).next_back().map(|(at, _)| *at);
        let start = match before {
            Some(before) if self.join(before, start) => before,
            _ => start,
        };
        if let Some(run) = self.runs.get(&start).copied() {
            self.join(start, run.end);
        }
    }

    fn join(&mut self, left: u64, right: u64) -> bool {
        let (Some(a), Some(b)) = (self.runs.get(&left).copied(), self.runs.get(&right).copied()) else { return false };
        let same_chunk = self.layout.index_of(left) == self.layout.index_of(right);
        if a.end != right || a.safety != b.safety || a.doubtful != b.doubtful || !same_chunk {
            return false;
        }
        let sum = a.crc(left).then(b.crc(right)).sum;
        self.runs.insert(left, Run { end: b.end, sum, ..a });
        self.runs.remove(&right);
        true
    }

    fn turn(&mut self, from: Safety, to: Safety) {
        let starts: Vec<u64> = self.runs.iter().filter(|(_, run)| run.safety == from).map(|(at, _)| *at).collect();
        for start in &starts {
            if let Some(run) = self.runs.get_mut(start) {
                run.safety = to;
            }
        }
        // A run may have been joined away by the one before it; then there is nothing at its start.
        starts.iter().for_each(|start| self.join_around(*start));
    }

    /// All that is there must be compared with its sums; gives the runs with theirs.
    pub fn doubt(&mut self) -> Vec<Piece> {
        self.runs.values_mut().for_each(|run| run.doubtful = true);
        self.pieces()
    }

    /// What is still there has been compared and agrees.
    pub fn vouch(&mut self) {
        let starts: Vec<u64> = self.runs.keys().copied().collect();
        self.runs.values_mut().for_each(|run| run.doubtful = false);
        starts.iter().for_each(|start| self.join_around(*start));
    }

    /// A sync begins that covers all that is written now. `false`: there is nothing for it to do.
    pub fn sync_begins(&mut self) -> bool {
        self.turn(Safety::Written, Safety::Syncing);
        self.runs.values().any(|run| run.safety == Safety::Syncing)
    }

    /// The running sync ended well.
    pub fn sync_ended(&mut self) {
        self.turn(Safety::Syncing, Safety::Durable);
    }

    /// A sync failed: nothing that came after the last good one can be believed, the kernel may have dropped it.
    /// Gives what went.
    pub fn sync_failed(&mut self) -> ByteSet {
        let doubtful: ByteSet = self.runs_where(|safety| safety != Safety::Durable).map(|piece| piece.range).collect();
        doubtful.runs().for_each(|range| drop(self.forget(range)));
        doubtful
    }

    /// The runs that `bytes` touch and do not cover, with their sums.
    pub fn cut_by(&self, bytes: &ByteSet) -> Vec<Piece> {
        self.runs_where(|_| true).filter(|run| bytes.touches(run.range) && !bytes.contains(run.range)).collect()
    }

    /// Takes out every run that `range` touches, whole: of a part of a run the sum is not known. Gives what went.
    pub fn forget(&mut self, range: ByteRange) -> ByteSet {
        self.forget_but(range, &[])
    }

    /// The same, but for the parts beside `range` whose sums are `known`.
    pub fn forget_but(&mut self, range: ByteRange, known: &[Piece]) -> ByteSet {
        let first = self.runs.range(..=range.start).next_back().map_or(range.start, |(at, _)| *at);
        let touched: Vec<(u64, Run)> = self
            .runs
            .range(first..range.end.max(first))
            .filter(|(at, run)| **at < range.end && run.end > range.start)
            .map(|(at, run)| (*at, *run))
            .collect();
        let mut gone = ByteSet::new();
        for (start, run) in touched {
            let whole = ByteRange::new(start, run.end);
            self.runs.remove(&start);
            self.held.forget(whole);
            gone.insert(whole);
            let inside = |piece: &&Piece| piece.range.intersect(&whole) == piece.range;
            for piece in known.iter().filter(inside).filter(|piece| piece.range.intersect(&range).is_empty()) {
                self.put(piece.range, piece.sum, run.safety);
                gone.forget(piece.range);
            }
        }
        gone
    }

    /// Whether anything is written that a power cut would take.
    pub fn is_dirty(&self) -> bool {
        self.runs.values().any(|run| run.safety != Safety::Durable)
    }

    /// The sum of `range`, when all of it is there and it begins and ends where runs do.
    pub fn sum(&self, range: ByteRange) -> Option<Crc> {
        let mut crc = Crc::EMPTY;
        let mut at = range.start;
        for (start, run) in self.runs.range(range.start..range.end) {
            if *start != at || run.end > range.end {
                return None;
            }
            crc = crc.then(run.crc(*start));
            at = run.end;
        }
        (at == range.end).then_some(crc)
    }

    /// All runs with their sums, ascending.
    pub fn pieces(&self) -> Vec<Piece> {
        self.runs_where(|_| true).collect()
    }

    fn runs_where(&self, wanted: impl Fn(Safety) -> bool) -> impl Iterator<Item = Piece> {
        self.runs
            .iter()
            .filter(move |(_, run)| wanted(run.safety))
            .map(|(start, run)| Piece { range: ByteRange::new(*start, run.end), sum: run.sum })
    }

    /// Writes what is there into a record.
    pub fn fill(&self, record: &mut Record, boot: &str) {
        record.done = ByteSet::new();
        record.done_sums.clear();
        record.within.clear();
        for piece in self.joined(|safety| safety == Safety::Durable) {
            let index = self.layout.index_of(piece.range.start);
            match piece.range == self.layout.range(index) {
                true => {
                    record.done.insert(ByteRange::new(index, index + 1));
                    record.done_sums.push(piece.sum);
                }
                false => record.within.push(piece),
            }
        }
        record.recent = self.joined(|safety| safety != Safety::Durable);
        record.recent_boot = (!record.recent.is_empty()).then(|| boot.to_string());
    }

    /// The runs of such safety as a record has them: neighbours in one chunk joined.
    fn joined(&self, wanted: impl Fn(Safety) -> bool) -> Vec<Piece> {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in self.runs_where(wanted) {
            match joined.last_mut() {
                Some(last)
                    if last.range.end == piece.range.start
                        && self.layout.index_of(last.range.start) == self.layout.index_of(piece.range.start) =>
                {
                    let crc = Crc { sum: last.sum, len: last.range.len() }
                        .then(Crc { sum: piece.sum, len: piece.range.len() });
                    *last = Piece { range: ByteRange::new(last.range.start, piece.range.end), sum: crc.sum };
                }
                _ => joined.push(piece),
            }
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;
    use proptest::prelude::*;

    fn content() -> Vec<u8> {
        (0..100u32).map(|n| (n * 37 % 251) as u8).collect()
    }

    fn add(ledger: &mut Ledger, start: u64, end: u64) {
        let bytes = &content()[start as usize..end as usize];
        ledger.add(ByteRange::new(start, end), Crc::of(bytes));
    }

    fn record_of(ledger: &Ledger) -> Record {
        let mut record = Record::new(Kind::Download, "", "f", 10);
        record.length = Some(100);
        ledger.fill(&mut record, "b");
        record
    }

    #[test]
    fn bytes_become_durable_only_by_the_sync_that_covers_them() {
        let mut ledger = Ledger::new(Layout::new(100, 10));
        add(&mut ledger, 0, 6);
        assert!(ledger.sync_begins());
        add(&mut ledger, 6, 10);
        let during = record_of(&ledger);
        assert_eq!((during.done.to_string().as_str(), during.recent.len()), ("", 1), "{during:?}");
        ledger.sync_ended();
        let after = record_of(&ledger);
        assert_eq!((after.within.len(), after.recent.len()), (1, 1));
        assert!(ledger.sync_begins());
        ledger.sync_ended();
        let full = record_of(&ledger);
        assert_eq!(full.done.to_string(), "0");
        assert_eq!(full.done_sums, [Crc::of(&content()[..10]).sum]);
        assert!(!ledger.sync_begins());
    }

    #[test]
    fn a_failed_sync_takes_back_all_that_came_after_the_last_good_one() {
        let mut ledger = Ledger::new(Layout::new(100, 10));
        add(&mut ledger, 0, 10);
        ledger.sync_begins();
        ledger.sync_ended();
        add(&mut ledger, 10, 20);
        ledger.sync_begins();
        add(&mut ledger, 30, 33);
        ledger.sync_failed();
        assert_eq!(ledger.held().to_string(), "0-9");
    }

    #[test]
    fn forgetting_takes_whole_runs() {
        let mut ledger = Ledger::new(Layout::new(100, 10));
        add(&mut ledger, 0, 10);
        add(&mut ledger, 10, 20);
        add(&mut ledger, 20, 25);
        ledger.forget(ByteRange::new(12, 13));
        assert_eq!(ledger.held().to_string(), "0-9,20-24");
        ledger.forget(ByteRange::new(25, 30));
        assert_eq!(ledger.held().to_string(), "0-9,20-24");
    }

    proptest! {
        /// Whatever arrives in whatever order, with syncs in between: held bytes are exact, sums are those of the
        /// content, and a record brings the same ledger back.
        #[test]
        fn any_order(steps in prop::collection::vec((0u64..100, 1u64..15, 0u8..4), 1..60)) {
            let mut ledger = Ledger::new(Layout::new(100, 10));
            for (start, len, then) in steps {
                let wanted = ByteRange::new(start, (start + len).min(100));
                let gaps: Vec<ByteRange> = ledger.held().missing(wanted).collect();
                for gap in gaps {
                    for piece in ledger.layout().split(gap) {
                        add(&mut ledger, piece.start, piece.end);
                    }
                }
                match then {
                    0 => { ledger.sync_begins(); }
                    1 => ledger.sync_ended(),
                    2 if start % 5 == 0 => drop(ledger.forget(wanted)),
                    3 if start % 5 == 0 => {
                        let cut = ledger.cut_by(&ByteSet::of(wanted));
                        let parts = cut.iter().flat_map(|run| {
                            [(run.range.start, wanted.start), (wanted.end, run.range.end)]
                        });
                        let parts = parts.filter(|(start, end)| start < end).map(|(start, end)| {
                            let sum = Crc::of(&content()[start as usize..end as usize]).sum;
                            Piece { range: ByteRange::new(start, end), sum }
                        });
                        let before = ledger.held().clone();
                        let gone = ledger.forget_but(wanted, &parts.collect::<Vec<_>>());
                        prop_assert_eq!(gone, before.within(wanted), "with all sums known, no more goes than must");
                    }
                    2 if start % 7 == 0 => drop(ledger.doubt()),
                    3 if start % 7 == 0 => ledger.vouch(),
                    _ => {}
                }
            }
            for piece in ledger.pieces() {
                let bytes = &content()[piece.range.start as usize..piece.range.end as usize];
                prop_assert_eq!(piece.sum, Crc::of(bytes).sum);
            }
            let record = Record::from_toml(&record_of(&ledger).to_toml()).unwrap();
            let again = Ledger::from_record(&record, "b");
            prop_assert_eq!(again.held(), ledger.held());
            let after_reboot = Ledger::from_record(&record, "other boot");
            prop_assert_eq!(after_reboot.held(), &record.durable());
            if ledger.held().contains(ByteRange::new(0, 100)) {
                prop_assert_eq!(ledger.sum(ByteRange::new(0, 100)), Some(Crc::of(&content())));
            }
        }
    }
}
