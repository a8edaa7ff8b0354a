//! The loop that moves bytes: pieces out, receipts in, the record saved beside it.
//!
//! A connection is free for the next piece as soon as it has sent its own, not when the answer is there: the receiver
//! syncs its disk before it answers, and answers many at once. So there may be twice as many pieces under way as
//! connections, each in a chunk of its own.

use super::keeper::Keeper;
use super::local::Change;
use super::plan::{Connections, Queue, WHOLE_TIME};
use super::sky::{Ahead, Flight, Flow, Front, Sky, Valve};
use super::{Step, Upload};
use crate::chunk::ByteRange;
use crate::digest::Crc;
use crate::disk;
use crate::engine::outlook::Outlook;
use crate::event::Event;
use crate::fault::{Fault, Kind};
use crate::net::Warm;
use crate::record::Piece;
use crate::remote::{Part, Put, Repeat};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often the loop looks around when nothing happens.
const BEAT: Duration = Duration::from_millis(100);
/// How long an answer is waited for when the run is stopped, where without it nobody knows what became of a part.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often the record is saved while bytes move.
pub(super) const SAVE_EVERY: Duration = Duration::from_millis(500);
/// A source that changes oftener than this during one run is given up.
const MOST_CHANGES: u32 = 5;
/// Reading a piece of more bytes than this would hold up everything else on this thread.
const LONG_PIECE: u64 = 64 << 20;
/// The rate of an upload is known well enough after this time: the first bytes fill buffers.
const RATE_KNOWN: Duration = Duration::from_secs(3);
/// Parts that take a little longer than they should are not worth what beginning anew costs.
const LONG: f64 = 1.5;

impl Upload<'_> {
    /// Sends what is missing. Ends with the step that comes next; what is still under way then is dropped.
    pub(super) async fn transfer(&mut self, keeper: &mut Keeper) -> Result<Step, Fault> {
        self.begin_digest();
        let mut sky = self.sky();
        let step = self.fly(&mut sky, keeper).await;
        self.count(&mut sky);
        self.learn_rate(&sky);
        step
    }

    async fn fly(&mut self, sky: &mut Sky, keeper: &mut Keeper) -> Result<Step, Fault> {
        loop {
            self.launch(sky, keeper).await?;
            if sky.flights.is_empty() && !self.paused(sky) {
                if self.doubt {
                    return self.ask_again().await;
                }
                // Nothing is under way and nothing could be launched: nothing is missing.
                return Ok(self.watch().await?.unwrap_or(Step::Close));
            }
            tokio::select! {
                biased;
                () = self.ground.stop.wait() => {
                    self.last_words(sky).await?;
                    return Err(super::patience::stopped());
                }
                Some(landed) = sky.tasks.join_next() => {
                    let (id, answer) = landed.map_err(|e| Fault::new(Kind::Other, format!("a piece was lost: {e}")))?;
                    if let Some(step) = self.landed(sky, id, answer).await? {
                        return Ok(step);
                    }
                }
                () = sky.flow.handed.notified() => {}
                () = tokio::time::sleep(BEAT) => {}
            }
            if let Some(step) = self.beat(sky, keeper).await? {
                return Ok(step);
            }
        }
    }

    fn sky(&self) -> Sky {
        let now = Instant::now();
        let (limit, rate) = (self.ground.pace.rate(), super::begin::known_rate(self.job, self.ground));
        Sky {
            ahead: None,
            tasks: JoinSet::new(),
            flights: BTreeMap::new(),
            flow: Arc::new(Flow::default()),
            counted: 0,
            next: 0,
            connections: Connections::new(self.job.connections, &self.terms, now).bounded(
                self.whole_part(),
                limit,
                rate,
            ),
            queue: Queue::new(self.ledger.layout(), &self.terms, self.remote.habits()),
            pause: None,
            outlook: Outlook::default(),
            begun: now,
            saved: now,
            // A small file whose record was put off gets one as soon as it takes its time.
            dirty: true,
            refused: false,
        }
    }

    /// The bytes of a part, where only whole ones count: those of a form, or chunks that are never cut.
    fn whole_part(&self) -> Option<u64> {
        let chunk = self.ledger.layout().chunk_size();
        self.terms.uniform.or((*self.terms.part.start() >= chunk).then_some(chunk))
    }

    /// Sends as many pieces as there is room for.
    async fn launch(&mut self, sky: &mut Sky, keeper: &mut Keeper) -> Result<(), Fault> {
        while !self.doubt && !self.paused(sky) && sky.has_room() {
            let busy = sky.busy(self);
            let Some(range) = sky.queue.next(self.ledger.held(), &busy, self.pieces.size()) else { break };
            if self.source.change() != Change::None {
                // The loop sees to it.
                break;
            }
            let (crc, warm) = self.sum(sky, range).await?;
            if self.mark(Piece { range, sum: crc.sum }) {
                self.save_now(keeper).await?;
                disk::point("part-marked");
            }
            self.send_piece(sky, range, (crc, warm));
            self.look_ahead(sky);
        }
        Ok(())
    }

    /// Has the sum read of the piece that comes next if all goes well.
    fn look_ahead(&self, sky: &mut Sky) {
        let mut held = self.ledger.held().clone();
        sky.flights.values().for_each(|flight| held.insert(flight.range));
        let next = sky.queue.clone().next(&held, &BTreeSet::new(), self.pieces.size());
        if let Some(range) = next.filter(|range| range.len() <= LONG_PIECE) {
            let source = self.source.clone();
            let sum = tokio::task::spawn_blocking(move || source.sum_to_send(range));
            sky.ahead = Some(Ahead { range, stamp: self.source.stamp().clone(), sum });
        }
    }

    /// The sum of a piece, and what is in memory of it. One that takes its time is read beside this thread.
    async fn sum(&mut self, sky: &mut Sky, range: ByteRange) -> Result<(Crc, Warm), Fault> {
        let ahead = sky.ahead.take().filter(|ahead| ahead.range == range && ahead.stamp == *self.source.stamp());
        if let Some(ahead) = ahead
            && let Ok(sum) = ahead.sum.await
        {
            return sum.map_err(|e| self.source.fault(&e));
        }
        if range.len() <= LONG_PIECE {
            return self.source.sum_to_send(range).map_err(|e| self.source.fault(&e));
        }
        let sums = self.sums(vec![range]).await?;
        sums.first()
            .map(|(_, crc)| (*crc, Warm::default()))
            .ok_or_else(|| Fault::new(Kind::Other, "a piece has no sum"))
    }

    /// The run is stopped. What is under way to a remote that appends is given a moment to be answered: otherwise nobody
    /// will ever know.
    async fn last_words(&mut self, sky: &mut Sky) -> Result<(), Fault> {
        if self.terms.repeat == Repeat::Appends {
            while let Ok(Some(Ok((id, answer)))) = tokio::time::timeout(LAST_WORDS, sky.tasks.join_next()).await {
                self.landed(sky, id, answer).await?;
            }
        }
        Ok(())
    }

    /// The first piece of an upload that is yet to be begun, where it can go along with that.
    pub(super) fn front(&self) -> Result<Option<Front>, Fault> {
        if self.found || !self.ledger.held().is_empty() || !self.remote.takes_front() {
            return Ok(None);
        }
        let mut queue = Queue::new(self.ledger.layout(), &self.terms, self.remote.habits());
        let Some(range) = queue.next(self.ledger.held(), &BTreeSet::new(), self.pieces.size()) else { return Ok(None) };
        let summed = self.source.sum_to_send(range).map_err(|e| self.source.fault(&e))?;
        let valve = self.valve(Arc::default(), range);
        let part = self.part(range, summed, valve.clone(), false);
        Ok(Some(Front { part, valve }))
    }

    fn valve(&self, flow: Arc<Flow>, range: ByteRange) -> Arc<Valve> {
        Arc::new(Valve { flow, pace: self.ground.pace.clone(), sent: AtomicU64::new(0), length: range.len() })
    }

    fn part(&self, range: ByteRange, (crc, warm): (Crc, Warm), gauge: Arc<Valve>, replace: bool) -> Part {
        Part { range, layout: self.ledger.layout(), crc, file: self.source.file().clone(), warm, gauge, replace }
    }

    fn send_piece(&self, sky: &mut Sky, range: ByteRange, (crc, warm): (Crc, Warm)) {
        let index = self.ledger.layout().index_of(range.start);
        let valve = self.valve(sky.flow.clone(), range);
        let replace = self.record.stale.contains(ByteRange::new(index, index + 1));
        let part = self.part(range, (crc, warm), valve.clone(), replace);
        let (id, remote, session) = (sky.next, self.remote.clone(), self.session.clone());
        sky.next += 1;
        sky.flights.insert(id, Flight { range, crc, valve, since: Instant::now() });
        sky.tasks.spawn_local(async move { (id, remote.put(&session, &part).await) });
    }

    /// What became of a piece.
    async fn landed(&mut self, sky: &mut Sky, id: u64, answer: Result<Put, Fault>) -> Result<Option<Step>, Fault> {
        let Some(flight) = sky.flights.remove(&id) else { return Ok(None) };
        // The mark of what elsewhere than presumed stands for is needed to see whose bytes they are.
        if !matches!(answer, Ok(Put::Ambiguous(_) | Put::Conflict(_))) {
            self.record.sent = None;
        }
        match answer {
            Ok(Put::Stored(kept)) => return self.stored(sky, &flight, kept).await,
            Ok(Put::Gone) => return Ok(Some(Step::Anew(self.gone()))),
            Ok(Put::Differs) => self.differs(sky, &flight)?,
            Ok(Put::Conflict(held)) => {
                self.failed(sky, Fault::new(Kind::Network, "the server stands elsewhere than its last word"))?;
                self.reconcile(held, true).await?;
                self.record.sent = None;
                sky.queue.rewind();
            }
            Ok(Put::Damaged) => {
                if let Some(step) = self.watch().await? {
                    return Ok(Some(step));
                }
                self.failed(sky, Fault::new(Kind::Network, "a piece was damaged on its way to the server"))?;
            }
            Ok(Put::Ambiguous(fault)) => {
                self.doubt = true;
                self.pieces.shrink();
                self.nobody_can_tell(&fault)?;
                self.failed(sky, fault)?;
            }
            Err(fault) if fault.status == Some(413) && self.pieces.refuse(flight.range.len()) => {
                let (was, now) = (flight.range.len(), self.pieces.size());
                self.voice.detail(format!("the server takes no pieces of {was} bytes: going on with {now}"));
                sky.refused = true;
            }
            Err(fault) if fault.status == Some(413) && self.halved()? => return Ok(Some(Step::Open)),
            Err(fault) => {
                if fault.kind == Kind::Busy {
                    sky.connections.refused(Instant::now());
                }
                self.failed(sky, self.too_large(fault))?;
            }
        }
        Ok(None)
    }

    /// The fault, with what helps where parts have become too large (413) for a server that holds some.
    fn too_large(&self, fault: Fault) -> Fault {
        let part = self.terms.uniform.unwrap_or(self.pieces.size());
        let why = if self.terms.uniform.is_some() { "its parts all have the size of the first; " } else { "" };
        match fault.status == Some(413) && (self.terms.uniform.is_some() || part > *self.terms.part.start()) {
            true => fault
                .hint(format!("{why}add --restart --chunk-size {} to send it anew in smaller ones", (part / 2).max(1))),
            false => fault,
        }
    }

    async fn stored(&mut self, sky: &mut Sky, flight: &Flight, kept: ByteRange) -> Result<Option<Step>, Fault> {
        disk::point("part-acknowledged");
        if let Some(session) = self.remote.amended() {
            self.session = Rc::new(session);
        }
        // What was read while the source changed is no receipt.
        if let Some(step) = self.watch().await? {
            return Ok(Some(step));
        }
        let kept = kept.intersect(&flight.range);
        if kept.is_empty() && !flight.range.is_empty() {
            // A success by its status only: taken for progress, it would be sent at the line's rate for ever.
            self.failed(sky, Fault::new(Kind::Network, "the server took a piece and kept nothing of it"))?;
            return Ok(None);
        }
        let crc = match kept == flight.range {
            true => flight.crc,
            false => self.source.sum(kept).map_err(|e| self.source.fault(&e))?,
        };
        if !self.ledger.held().touches(kept) && kept.start == flight.range.start {
            self.ledger.add(kept, crc);
        }
        let index = self.ledger.layout().index_of(kept.start);
        if self.ledger.held().contains(self.ledger.layout().range(index)) {
            self.record.stale.forget(ByteRange::new(index, index + 1));
        }
        let now = Instant::now();
        self.pieces.took(kept.len(), now.saturating_duration_since(flight.since));
        if std::mem::take(&mut sky.refused) | std::mem::take(&mut self.smaller) {
            self.learn_limit(kept.len());
        }
        sky.connections.stored(kept.len(), now, self.ground.pace.rate());
        sky.dirty = true;
        self.rounds = 0;
        self.patience.progress();
        Ok(None)
    }

    /// Pieces of this many bytes pass where larger ones were refused (413).
    fn learn_limit(&mut self, bytes: u64) {
        let (host, size) = (super::begin::host(self.job), crate::units::bytes(bytes));
        self.voice.warn(format!("{host} refuses larger requests: going on with pieces of {size}, remembered for it"));
        self.ground.hosts.learn_body(&host, bytes);
    }

    /// The remote holds other bytes there than the source has: the chunk is sent anew.
    fn differs(&mut self, sky: &mut Sky, flight: &Flight) -> Result<(), Fault> {
        if !self.terms.replace {
            let text = format!("the server holds other bytes of {} and cannot replace them", self.name());
            return Err(Fault::new(Kind::Changed, text));
        }
        self.round("the server holds other bytes than were sent")?;
        let layout = self.ledger.layout();
        let index = layout.index_of(flight.range.start);
        self.ledger.forget(layout.range(index));
        self.record.stale.insert(ByteRange::new(index, index + 1));
        sky.queue.rewind();
        Ok(())
    }

    /// Whether sending is held up.
    fn paused(&mut self, sky: &mut Sky) -> bool {
        let Some(pause) = &mut sky.pause else { return false };
        if pause.left(&sky.outlook.scene()).is_some() {
            return true;
        }
        self.patience.waited(pause);
        sky.pause = None;
        sky.connections.rested(Instant::now());
        false
    }

    /// A piece failed: wait before the next one, or give up.
    fn failed(&mut self, sky: &mut Sky, fault: Fault) -> Result<(), Fault> {
        if self.paused(sky) {
            // The pieces that were under way together fail together: that is one failure.
            return match fault.verdict() {
                crate::fault::Verdict::GiveUp => Err(fault),
                crate::fault::Verdict::Wait(wait) => {
                    sky.wait(wait, Some(wait));
                    Ok(())
                }
                crate::fault::Verdict::Retry => Ok(()),
            };
        }
        let asked = fault.wait;
        let wait = self.patience.wait_after(fault)?;
        sky.wait(wait, asked);
        Ok(())
    }

    /// Looks whether the source is still what it was; if not, compares all that was sent. The step to go on with.
    async fn watch(&mut self) -> Result<Option<Step>, Fault> {
        match self.source.change() {
            Change::None => return Ok(None),
            Change::Length => return Err(self.source.resized()),
            Change::Content => {}
        }
        self.changes += 1;
        if self.changes > MOST_CHANGES {
            let text = format!("{} keeps changing while it is being sent", self.name());
            return Err(Fault::new(Kind::Changed, text).hint("run the same command again once nothing writes to it"));
        }
        self.source = super::local::Source::open(&self.job.source)?;
        if self.source.length() != self.ledger.layout().length() {
            return Err(self.source.resized());
        }
        (self.digests, self.beside) = (Vec::new(), None);
        if self.remote.by_content().is_some() {
            self.other_content().await?;
            return Ok(Some(Step::Open));
        }
        self.voice.warn(format!("{} changed while it was being sent; what was sent is compared", self.name()));
        self.hash_if_small()?;
        if self.record.identity.is_some() {
            return Ok(Some(Step::Open));
        }
        // The record's stamp no longer fits: whoever asks the remote now compares.
        Ok(Some(self.ask_again().await?))
    }

    /// What is done now and then: progress, record, connections, identity, a look at the source.
    async fn beat(&mut self, sky: &mut Sky, keeper: &mut Keeper) -> Result<Option<Step>, Fault> {
        let now = Instant::now();
        self.show(sky, now);
        if now.saturating_duration_since(sky.saved) >= SAVE_EVERY {
            sky.saved = now;
            if let Some(step) = self.watch().await? {
                return Ok(Some(step));
            }
            if sky.dirty && keeper.idle() {
                sky.dirty = false;
                let record = self.snapshot();
                self.saved(keeper.save(record).await)?;
            }
        }
        if self.takes_too_long(sky, now)? {
            return Ok(Some(Step::Open));
        }
        self.identity(sky, now).await
    }

    /// Whether the first parts, which count whole or not at all, would take so long that they were made smaller. Nothing of
    /// them is stored: none has gone out whole.
    fn takes_too_long(&mut self, sky: &Sky, now: Instant) -> Result<bool, Fault> {
        let time = now.saturating_duration_since(sky.begun);
        let begins_anew = self.terms.repeat == Repeat::Safe || self.remote.habits().begins_anew;
        let nothing = self.terms.uniform.is_some() && self.ledger.held().is_empty() && sky.pause.is_none();
        let under_way = sky.flights.values().all(|flight| !flight.valve.is_through()) && !sky.flights.is_empty();
        if time < RATE_KNOWN || !(begins_anew && nothing && under_way) {
            return Ok(false);
        }
        let rate = sky.flow.moved.load(Ordering::Relaxed) as f64 / time.as_secs_f64();
        let length: u64 = sky.flights.values().map(|flight| flight.range.len()).sum();
        match rate > 0.0 && length as f64 / rate > LONG * WHOLE_TIME {
            true => self.hastened(rate as u64),
            false => Ok(false),
        }
    }

    /// Remembers how fast this host took what was sent, where nothing but the line held it up.
    fn learn_rate(&self, sky: &Sky) {
        let time = sky.begun.elapsed();
        if time >= RATE_KNOWN && self.ground.pace.rate().is_none() && !self.ledger.held().is_empty() {
            let rate = sky.flow.moved.load(Ordering::Relaxed) as f64 / time.as_secs_f64();
            self.ground.hosts.learn_upload(&super::begin::host(self.job), rate as u64);
        }
    }

    /// A record that cannot be written does not stop the transfer; one that was taken over does.
    pub(super) fn saved(&mut self, outcome: Result<(), Fault>) -> Result<(), Fault> {
        match outcome {
            Err(fault) if fault.kind == Kind::Local => {
                if !std::mem::replace(&mut self.unsaved, true) {
                    self.voice.warn(format!("the record could not be written: {fault}"));
                }
                Ok(())
            }
            other => other,
        }
    }

    fn count(&mut self, sky: &mut Sky) {
        let moved = sky.flow.moved.load(Ordering::Relaxed);
        self.meter.moved(moved - std::mem::replace(&mut sky.counted, moved));
    }

    fn show(&mut self, sky: &mut Sky, now: Instant) {
        self.count(sky);
        let meter = &mut self.meter;
        if meter.due(now) {
            let under_way: u64 = sky.flights.values().map(|flight| flight.valve.sent.load(Ordering::Relaxed)).sum();
            meter.set_done((self.ledger.held().len() + under_way).min(self.source.length()));
            let progress = meter.progress(now, sky.sending().min(u32::MAX as usize) as u32);
            self.voice.tell(Event::Progress(progress));
        }
    }
}
