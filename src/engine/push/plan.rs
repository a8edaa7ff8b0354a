//! Which bytes to send next, how many at once, over how many connections: arithmetic on what was seen, no clock of
//! its own.
//!
//! A piece is sized to a fraction of a second of one connection, because what is under way when a process is killed is
//! sent again. Connections are added while the total grows by them: on a fast line every further one costs, on a long
//! one it is the only way to fill it.

use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::remote::{Habits, Order, Terms};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The work of one connection that a piece is sized to, in seconds.
const PIECE_TIME: f64 = 0.4;
/// The same where a piece must be answered before the next may leave: each answer costs a round trip. Never near the
/// ten seconds that a remote which drops cut pieces could cost.
const LONE_PIECE_TIME: f64 = 2.0;
/// The same where of a piece that is cut its front counts.
const KEPT_PIECE_TIME: f64 = 5.0;
/// The first piece, before anything is known of the line.
const FIRST_PIECE: u64 = 1 << 20;
/// A smaller piece than this is not worth its request.
pub(super) const LEAST_PIECE: u64 = 16 << 10;
/// Parts that count whole or not at all take no longer than this together, in seconds: so much is lost by a kill.
pub(super) const WHOLE_TIME: f64 = 10.0;
/// Pieces are whole multiples of this where the terms leave it open.
const GRAIN: u64 = 4 << 10;
/// As many connections as are ever tried without being told to.
const MOST_CONNECTIONS: usize = 16;
/// A further connection stays when the total grows by this factor.
const GROWTH: f64 = 1.12;
/// The total is measured over this time, and over at least this many pieces.
const EPOCH: Duration = Duration::from_millis(600);
const EPOCH_PIECES: u32 = 4;
/// After so long a settled number of connections is put to the test again.
const SETTLED_FOR: Duration = Duration::from_secs(20);

/// How large the pieces are.
#[derive(Debug, Clone)]
pub struct Pieces {
    size: u64,
    cap: u64,
    floor: u64,
    multiple: u64,
    uniform: bool,
    time: f64,
}

impl Pieces {
    /// The first pieces under these terms, with at most `rate` bytes a second to come, to a host that is known to take
    /// no larger request than `limit`.
    pub fn new(terms: &Terms, rate: Option<u64>, limit: Option<u64>) -> Self {
        let time = piece_time(terms);
        let floor = LEAST_PIECE.clamp(*terms.part.start(), *terms.part.end());
        let paced = rate.map_or(FIRST_PIECE, |rate| FIRST_PIECE.min((rate as f64 * time) as u64));
        let cap = limit.map_or(*terms.part.end(), |limit| limit.clamp(floor, *terms.part.end()));
        let multiple = terms.multiple.max(1);
        let mut pieces = Self { size: 0, cap, floor, multiple, uniform: false, time };
        pieces.set(paced);
        if let Some(size) = terms.uniform {
            (pieces.size, pieces.uniform) = (size.max(1), true);
        }
        pieces
    }

    /// The terms have changed: what was learned of the line holds, the time a piece may take is theirs.
    pub fn retune(&mut self, terms: &Terms) {
        self.time = piece_time(terms);
        self.cap = self.cap.min(*terms.part.end());
        self.floor = LEAST_PIECE.clamp(*terms.part.start(), *terms.part.end());
        self.set(self.size);
    }

    fn set(&mut self, size: u64) {
        if self.uniform {
            return;
        }
        let grain = if self.multiple > 1 { self.multiple } else { GRAIN };
        let size = size.clamp(self.floor, self.cap.max(self.floor));
        // The most that was asked for is no uneven number.
        let even = size <= grain || size == self.cap && self.multiple == 1;
        self.size = if even { size } else { size - size % grain };
    }

    /// The bytes of the next piece.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A piece of `bytes` took this long, from its first byte to its answer.
    pub fn took(&mut self, bytes: u64, time: Duration) {
        // The last piece of a chunk may be small and says little.
        if bytes * 2 >= self.size {
            let rate = bytes as f64 / time.as_secs_f64().max(1e-6);
            let wanted = (rate * self.time) as u64;
            self.set(wanted.clamp(self.size / 4, self.size.saturating_mul(2)));
        }
    }

    /// A piece failed without an answer: try with less at stake.
    pub fn shrink(&mut self) {
        self.set(self.size / 2);
    }

    /// The server takes no pieces of `bytes` bytes: never so large a one again. `false`: there is no smaller one.
    pub fn refuse(&mut self, bytes: u64) -> bool {
        if bytes <= self.floor || self.uniform {
            return false;
        }
        self.cap = self.cap.min(bytes / 2).max(self.floor);
        self.set(self.size);
        true
    }
}

/// How long a piece may take under these terms, in seconds.
fn piece_time(terms: &Terms) -> f64 {
    match (terms.order, terms.keeps_cut) {
        (Order::Any, _) => PIECE_TIME,
        (Order::Sequential, false) => LONE_PIECE_TIME,
        (Order::Sequential, true) => KEPT_PIECE_TIME,
    }
}

/// How many connections are worth having.
#[derive(Debug, Clone)]
pub struct Connections {
    now: usize,
    most: usize,
    fixed: bool,
    best: f64,
    before: usize,
    epoch: Instant,
    bytes: u64,
    pieces: u32,
    settled: Option<Instant>,
    /// The bytes of a part that counts whole or not at all.
    whole: Option<u64>,
}

impl Connections {
    /// As many as asked for, or as many as help, within the terms.
    pub fn new(asked: Option<u32>, terms: &Terms, now: Instant) -> Self {
        let most = match terms.order {
            Order::Sequential => 1,
            Order::Any => terms.parallel.max(1).min(asked.map_or(MOST_CONNECTIONS, |n| n as usize)),
        };
        let fixed = asked.is_some();
        Self {
            now: if fixed { most } else { 1 },
            most,
            fixed,
            best: 0.0,
            before: 1,
            epoch: now,
            bytes: 0,
            pieces: 0,
            settled: None,
            whole: None,
        }
    }

    /// The same where a part has `part` bytes and counts whole or not at all, at most `limit` bytes a second are wanted
    /// and `rate` are to be expected at first: no more of them than would be lost together.
    pub fn bounded(mut self, part: Option<u64>, limit: Option<u64>, rate: Option<u64>) -> Self {
        self.whole = part;
        let within = |rate: Option<u64>| rate.map_or(usize::MAX, |rate| self.within(rate as f64));
        let (most, now) = (within(limit), within(rate));
        self.most = self.most.min(most);
        self.now = self.now.min(self.most).min(now);
        self
    }

    /// How many whole parts go out in time together at `rate` bytes a second.
    fn within(&self, rate: f64) -> usize {
        self.whole.map_or(usize::MAX, |part| (rate * WHOLE_TIME / part.max(1) as f64) as usize).max(1)
    }

    /// How many to use.
    pub fn now(&self) -> usize {
        self.now
    }

    /// A piece of `bytes` was stored at `now`; at most `limit` bytes a second are wanted at all.
    pub fn stored(&mut self, bytes: u64, now: Instant, limit: Option<u64>) {
        self.bytes += bytes;
        self.pieces += 1;
        let time = now.saturating_duration_since(self.epoch);
        if time < EPOCH || self.pieces < EPOCH_PIECES {
            return;
        }
        let rate = self.bytes as f64 / time.as_secs_f64();
        (self.epoch, self.bytes, self.pieces) = (now, 0, 0);
        match self.fixed {
            true => self.now = self.most,
            false => self.weigh(rate, now, limit),
        }
        self.now = self.now.min(self.within(rate));
    }

    /// The total was `rate` bytes a second with as many as now: whether more or fewer are better.
    fn weigh(&mut self, rate: f64, now: Instant, limit: Option<u64>) {
        let sated = limit.is_some_and(|limit| rate > 0.85 * limit as f64);
        match self.settled {
            Some(since) if now.saturating_duration_since(since) < SETTLED_FOR => {}
            Some(_) => {
                self.settled = None;
                self.best = rate;
                self.climb(now, sated);
            }
            None if rate > self.best * GROWTH => {
                self.best = rate;
                self.climb(now, sated);
            }
            None => {
                self.now = self.before;
                self.settled = Some(now);
            }
        }
    }

    fn climb(&mut self, now: Instant, sated: bool) {
        self.before = self.now;
        match sated || self.now >= self.most {
            true => self.settled = Some(now),
            false => self.now = (self.now * 2).min(self.most),
        }
    }

    /// Nothing could be sent until `now`: what was measured across that time says nothing of the line.
    pub fn rested(&mut self, now: Instant) {
        (self.epoch, self.bytes, self.pieces) = (now, 0, 0);
    }

    /// The server cannot take so many: half of them, for a while.
    pub fn refused(&mut self, now: Instant) {
        self.now = (self.now / 2).max(1);
        self.before = self.now;
        self.settled = Some(now);
        if self.fixed {
            self.most = self.now;
        }
    }
}

/// What is left to send, and in which pieces.
#[derive(Debug, Clone)]
pub struct Queue {
    layout: Layout,
    order: Order,
    least: u64,
    most: u64,
    uniform: bool,
    habits: Habits,
    first: u64,
}

impl Queue {
    /// All of the file.
    pub fn new(layout: Layout, terms: &Terms, habits: Habits) -> Self {
        let (least, most) = (*terms.part.start(), *terms.part.end());
        Self { layout, order: terms.order, least, most, uniform: terms.uniform.is_some(), habits, first: 0 }
    }

    /// Bytes were taken back: look from the front again.
    pub fn rewind(&mut self) {
        self.first = 0;
    }

    /// The next piece of about `size` bytes that is not `held`, in a chunk that is not `busy`.
    pub fn next(&mut self, held: &ByteSet, busy: &BTreeSet<u64>, size: u64) -> Option<ByteRange> {
        if self.order == Order::Sequential && !busy.is_empty() {
            return None;
        }
        for index in self.first..self.layout.count() {
            let gap = held.missing(self.layout.range(index)).next();
            match gap {
                None if index == self.first => self.first += 1,
                None => {}
                Some(_) if busy.contains(&index) => {}
                Some(gap) => {
                    let piece = self.cut(gap, size);
                    let others = self.layout.length() - piece.len();
                    if self.habits.last_last && piece.end == self.layout.length() && held.len() < others {
                        return None;
                    }
                    return Some(piece);
                }
            }
        }
        None
    }

    /// The first piece of a gap: about `size` bytes, but so that no piece smaller than the least is left over.
    fn cut(&self, gap: ByteRange, size: u64) -> ByteRange {
        if self.uniform {
            // On the grid of parts, wherever the remote stands.
            let end = gap.end.min((gap.start / size + 1) * size);
            let rest = self.layout.length() - end;
            let merged = self.habits.merged && rest < size && gap.end == self.layout.length();
            return ByteRange::new(gap.start, if merged { gap.end } else { end });
        }
        let left = gap.len().saturating_sub(size);
        let end = match left > 0 && left < self.least && gap.end != self.layout.length() {
            false => gap.end.min(gap.start.saturating_add(size)),
            true if gap.len() <= self.most => gap.end,
            true => gap.end - self.least,
        };
        ByteRange::new(gap.start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Repeat;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn terms() -> Terms {
        Terms {
            order: Order::Any,
            part: 1..=u64::MAX,
            uniform: None,
            keeps_cut: false,
            multiple: 1,
            chunk: None,
            chunk_max: None,
            parallel: usize::MAX,
            replace: true,
            repeat: Repeat::Safe,
            file_max: None,
        }
    }

    #[test]
    fn pieces_follow_the_line() {
        let mut pieces = Pieces::new(&terms(), None, None);
        assert_eq!(pieces.size(), MIB);
        for _ in 0..20 {
            let size = pieces.size();
            pieces.took(size, Duration::from_secs_f64(size as f64 / (16 * MIB) as f64));
        }
        assert!(pieces.size().abs_diff(16 * MIB * 4 / 10) < MIB / 8, "{}", pieces.size());
        for _ in 0..20 {
            pieces.took(pieces.size(), Duration::from_secs(10));
        }
        assert_eq!(pieces.size(), LEAST_PIECE);
        assert_eq!(Pieces::new(&terms(), Some(MIB), None).size(), 4 * MIB / 10 / GRAIN * GRAIN);
    }

    /// A server that is away for a while is not taken for a line that further connections do not help.
    #[test]
    fn an_outage_does_not_cost_connections() {
        let now = Instant::now();
        let mut connections = Connections::new(None, &terms(), now);
        let mut at = now;
        let epoch = |connections: &mut Connections, at: &mut Instant, rate: u64| {
            for _ in 0..EPOCH_PIECES {
                *at += EPOCH / EPOCH_PIECES;
                connections.stored(rate, *at, None);
            }
        };
        epoch(&mut connections, &mut at, MIB);
        epoch(&mut connections, &mut at, 2 * MIB);
        assert_eq!(connections.now(), 4);
        at += Duration::from_secs(8);
        connections.rested(at);
        epoch(&mut connections, &mut at, 4 * MIB);
        assert_eq!(connections.now(), 8);
    }

    #[test]
    fn a_refused_size_is_never_tried_again() {
        let mut pieces = Pieces::new(&terms(), None, None);
        assert!(pieces.refuse(MIB));
        assert_eq!(pieces.size(), MIB / 2);
        pieces.took(pieces.size(), Duration::from_millis(1));
        assert_eq!(pieces.size(), MIB / 2);
        let mut tries = 0;
        while pieces.refuse(pieces.size()) {
            tries += 1;
        }
        assert_eq!((tries, pieces.size()), (5, LEAST_PIECE));
    }

    #[test]
    fn the_terms_bound_the_pieces() {
        let odd = Terms { part: 5 * MIB..=6 * MIB, multiple: 256 << 10, ..terms() };
        let mut pieces = Pieces::new(&odd, None, None);
        assert_eq!(pieces.size(), 5 * MIB);
        pieces.took(5 * MIB, Duration::from_millis(1));
        assert_eq!(pieces.size(), 6 * MIB);
    }

    #[test]
    fn a_host_that_is_known_to_refuse_is_not_asked_again() {
        let mut pieces = Pieces::new(&terms(), None, Some(300 << 10));
        assert_eq!(pieces.size(), 300 << 10);
        pieces.took(pieces.size(), Duration::from_millis(1));
        assert_eq!(pieces.size(), 300 << 10);
        assert_eq!(Pieces::new(&terms(), None, Some(1)).size(), LEAST_PIECE, "never below what is worth a request");
    }

    #[test]
    fn uniform_parts_have_one_size_but_for_the_last() {
        let six = Terms { uniform: Some(6 * MIB), order: Order::Sequential, ..terms() };
        let mut pieces = Pieces::new(&six, Some(1000), None);
        pieces.took(6 * MIB, Duration::from_secs(600));
        pieces.shrink();
        assert!(pieces.size() == 6 * MIB && !pieces.refuse(6 * MIB));
        let mut queue = Queue::new(Layout::new(20 * MIB, 12 * MIB), &six, Habits::default());
        let mut held = ByteSet::new();
        let mut sizes = Vec::new();
        while let Some(piece) = queue.next(&held, &BTreeSet::new(), pieces.size()) {
            sizes.push(piece.len() / MIB);
            held.insert(piece);
        }
        assert_eq!(sizes, [6, 6, 6, 2]);
        let mut odd = ByteSet::of(ByteRange::new(0, 7 * MIB));
        let mut queue = Queue::new(Layout::new(20 * MIB, 12 * MIB), &six, Habits::default());
        assert_eq!(queue.next(&odd, &BTreeSet::new(), 6 * MIB), Some(ByteRange::new(7 * MIB, 12 * MIB)));
        odd.insert(ByteRange::new(7 * MIB, 20 * MIB));
        assert_eq!(queue.next(&odd, &BTreeSet::new(), 6 * MIB), None);
    }

    #[test]
    fn no_piece_is_smaller_than_the_least_but_the_last_of_the_file() {
        let terms = Terms { part: 5 * MIB..=100 * MIB, order: Order::Sequential, ..terms() };
        for size in [5 * MIB, 7 * MIB, 9 * MIB, 40 * MIB] {
            let mut queue = Queue::new(Layout::new(71 * MIB, 30 * MIB), &terms, Habits::default());
            let mut held = ByteSet::new();
            while let Some(piece) = queue.next(&held, &BTreeSet::new(), size) {
                assert!(piece.len() >= 5 * MIB || piece.end == 71 * MIB, "{piece:?} of {size}");
                held.insert(piece);
            }
            assert_eq!(held.len(), 71 * MIB);
        }
    }

    fn settle(connections: &mut Connections, start: Instant, rate_of: impl Fn(usize) -> f64, limit: Option<u64>) {
        let mut now = start;
        for _ in 0..200 {
            now += Duration::from_secs_f64(MIB as f64 / rate_of(connections.now()));
            connections.stored(MIB, now, limit);
        }
    }

    #[test]
    fn connections_grow_while_they_help() {
        let (start, mib) = (Instant::now(), MIB as f64);
        let mut fast = Connections::new(None, &terms(), start);
        settle(&mut fast, start, |_| 20.0 * mib, None);
        assert_eq!(fast.now(), 1, "one fills this line");
        let mut long = Connections::new(None, &terms(), start);
        settle(&mut long, start, |n| (2.0 * n as f64).min(13.0) * mib, None);
        assert_eq!(long.now(), 8, "each brings its own share");
        let mut paced = Connections::new(None, &terms(), start);
        settle(&mut paced, start, |_| 10.0 * mib, Some(10 * MIB));
        assert_eq!(paced.now(), 1, "the limit is reached");
    }

    #[test]
    fn whole_parts_under_way_together_take_no_ten_seconds() {
        let (start, mib) = (Instant::now(), MIB as f64);
        let most = |part, limit, rate| Connections::new(Some(8), &terms(), start).bounded(part, limit, rate).now();
        assert_eq!(most(Some(MIB), None, None), 8);
        for rate in [MIB / 4, 1] {
            let two_or_one = if rate > 1 { 2 } else { 1 };
            assert_eq!(most(Some(MIB), Some(rate), None), two_or_one, "two of them take eight seconds");
            assert_eq!(most(Some(MIB), None, Some(rate)), two_or_one, "a host that is known to be slow");
        }
        assert_eq!(most(None, Some(1), Some(1)), 8, "where a front part counts the number is free");
        // Every further connection would bring more, and have more at stake.
        let slow = |part| {
            let mut connections = Connections::new(None, &terms(), start).bounded(part, None, None);
            settle(&mut connections, start, |n| n.min(4) as f64 * 0.1 * mib, None);
            connections.now()
        };
        assert!(slow(None) >= 4);
        assert_eq!(slow(Some(MIB)), 1);
        assert!(slow(Some(MIB / 8)) >= 4);
    }

    /// A number that was asked for is no reason to have minutes of work at stake: it is had where the line allows it.
    #[test]
    fn a_told_number_of_whole_parts_follows_the_measured_rate() {
        let (start, mib) = (Instant::now(), MIB as f64);
        let mut told = Connections::new(Some(8), &terms(), start).bounded(Some(MIB), None, None);
        let slow = start + Duration::from_secs(2000);
        settle(&mut told, start, |_| 0.1 * mib, None);
        assert_eq!(told.now(), 1);
        settle(&mut told, slow, |_| 4.0 * mib, None);
        assert_eq!(told.now(), 8);
        told.refused(slow);
        settle(&mut told, slow + Duration::from_secs(50), |_| 4.0 * mib, None);
        assert_eq!(told.now(), 4, "the server has said no to more");
    }

    #[test]
    fn told_numbers_and_sequential_terms_are_kept() {
        let start = Instant::now();
        let mut told = Connections::new(Some(3), &terms(), start);
        settle(&mut told, start, |n| n as f64 * MIB as f64, None);
        assert_eq!(told.now(), 3);
        told.refused(start);
        assert_eq!(told.now(), 1);
        let one = Terms { order: Order::Sequential, ..terms() };
        assert_eq!(Connections::new(Some(9), &one, start).now(), 1);
    }

    proptest! {
        /// Whatever size is asked for, every byte is sent exactly once, and no two pieces share a chunk.
        #[test]
        fn every_byte_once(length in 0u64..5000, chunk in 1u64..700, sizes in prop::collection::vec(1u64..900, 1..20)) {
            let layout = Layout::new(length, chunk);
            let mut queue = Queue::new(layout, &terms(), Habits::default());
            let (mut held, mut busy, mut flying) = (ByteSet::new(), BTreeSet::new(), Vec::new());
            let mut turn = 0;
            loop {
                let size = sizes[turn % sizes.len()];
                turn += 1;
                match queue.next(&held, &busy, size) {
                    Some(piece) => {
                        prop_assert!(!piece.is_empty() && !held.touches(piece));
                        prop_assert!(busy.insert(layout.index_of(piece.start)));
                        prop_assert_eq!(layout.index_of(piece.start), layout.index_of(piece.end - 1));
                        flying.push(piece);
                    }
                    None if flying.is_empty() => break,
                    None => {}
                }
                let landed = if turn % 3 == 0 || flying.len() > 2 { flying.pop() } else { None };
                if let Some(piece) = landed {
                    busy.remove(&layout.index_of(piece.start));
                    held.insert(piece);
                }
            }
            prop_assert_eq!(held.len(), length);
        }
    }
}
