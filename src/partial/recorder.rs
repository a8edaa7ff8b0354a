//! Keeps the record true while bytes arrive: a tick writes down what was written since the last one, a background
//! sync makes it durable, and nobody who writes ever waits for either.

use super::bell::Bell;
use super::ledger::Ledger;
use super::writer::OpenRun;
use super::{Place, held, young};
use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::disk;
use crate::fault::{Fault, Kind};
use crate::record::{Piece, PrefixHash, Record};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// How often the record is renewed while bytes arrive: what a kill costs.
const TICK: Duration = Duration::from_millis(500);
/// A file that is complete before this has passed never gets a record.
const FIRST: Duration = Duration::from_millis(250);

/// How long is waited at once where nothing but news ends the wait.
const PATIENCE: Duration = Duration::from_secs(3600);

type Waiter = oneshot::Sender<Result<(), Fault>>;

/// What the writers, the recorder and the hasher of one file share.
pub struct Shared {
    pub place: Place,
    pub data: File,
    state: Mutex<State>,
    /// The recorder waits here.
    wake: Bell,
    /// Whoever waits for bytes waits here.
    pub grown: Bell,
    /// Set when there is something new to write down; spares the writers a lock.
    dirty: AtomicBool,
    running: AtomicBool,
    failed: AtomicBool,
    born: Instant,
    /// Held while the record is replaced: an older one must not follow a newer, nor two share one temporary name.
    saving: Mutex<()>,
}

/// The part that changes.
pub struct State {
    pub record: Record,
    pub ledger: Ledger,
    pub open: Vec<Arc<Mutex<OpenRun>>>,
    /// Ranges that writers may write.
    pub claimed: ByteSet,
    /// Old bytes that must be compared with their sums before the file may be published.
    pub unproven: Vec<Piece>,
    /// Whether a record lies on the disk.
    pub on_disk: bool,
    /// How many bytes the record on the disk speaks of.
    pub recorded: u64,
    /// The owner token of the run that this one goes on from.
    previous: Option<String>,
    /// Something of the record beside the bytes was changed.
    pub edited: bool,
    /// The transfer was forgotten: nothing is written down any more.
    pub gone: bool,
    /// The file is being checked: nobody may write to it any more, so bytes that leave the set do not come back.
    pub sealed: bool,
    /// For each who hashes the prefix: the first byte taken out since he last looked.
    hashing: Vec<Weak<AtomicU64>>,
    /// Saved hash states with the number of bytes they cover.
    pub hashed: Vec<(String, PrefixHash)>,
    /// Why the transfer cannot go on.
    lost: Option<Fault>,
    stop: bool,
    syncing: bool,
    synced: bool,
    waiting: Vec<Waiter>,
    joined: Vec<Waiter>,
    thread: Option<JoinHandle<()>>,
}

impl State {
    pub fn new(record: Record, ledger: Ledger, unproven: Vec<Piece>, on_disk: bool, previous: Option<String>) -> Self {
        Self {
            recorded: if on_disk { ledger.held().len() } else { 0 },
            record,
            ledger,
            open: Vec::new(),
            claimed: ByteSet::new(),
            unproven,
            on_disk,
            previous,
            edited: false,
            gone: false,
            sealed: false,
            hashing: Vec::new(),
            hashed: Vec::new(),
            lost: None,
            stop: false,
            syncing: false,
            synced: false,
            waiting: Vec::new(),
            joined: Vec::new(),
            thread: None,
        }
    }

    /// Tells the ledger of all that is written.
    pub fn settle(&mut self) {
        for run in &self.open {
            run.lock().unwrap_or_else(PoisonError::into_inner).settle(&mut self.ledger);
        }
    }

    /// Tells the ledger of what one writer has written.
    pub fn settle_one(&mut self, run: &Mutex<OpenRun>) {
        run.lock().unwrap_or_else(PoisonError::into_inner).settle(&mut self.ledger);
    }

    /// Reserves `range` for one writer and tells how the file is cut. `None`: some of it is there already, or is
    /// somebody else's, or the file is sealed.
    pub fn claim(&mut self, range: ByteRange) -> Option<Layout> {
        self.settle();
        if self.sealed || range.is_empty() || self.ledger.held().touches(range) || self.claimed.touches(range) {
            return None;
        }
        self.claimed.insert(range);
        Some(self.ledger.layout())
    }

    /// Whether no more bytes will come.
    pub fn is_stopped(&self) -> bool {
        self.stop || self.sealed
    }

    /// Somebody hashes the prefix: where he will see the first byte taken out since he last looked, `u64::MAX` for none.
    pub fn watch_taken_out(&mut self) -> Arc<AtomicU64> {
        let first = Arc::new(AtomicU64::new(u64::MAX));
        self.hashing.retain(|other| other.strong_count() > 0);
        self.hashing.push(Arc::downgrade(&first));
        first
    }

    /// Takes bytes out of the set, and with them every hash state that covers any of them. Of the runs they cut,
    /// what is in `known` stays.
    pub fn forget(&mut self, bytes: &ByteSet, known: &[Piece]) -> ByteSet {
        self.settle();
        let mut gone = ByteSet::new();
        for range in bytes.runs() {
            gone.union(&self.ledger.forget_but(range, known));
        }
        for range in gone.runs() {
            self.unproven.retain(|piece| piece.range.intersect(&range).is_empty());
        }
        self.taken_out(&gone);
        gone
    }

    /// A sync failed: what it was to save leaves the set.
    pub fn sync_failed(&mut self) {
        let gone = self.ledger.sync_failed();
        self.taken_out(&gone);
    }

    /// What was hashed over bytes that have left the set says nothing of those that will take their place.
    fn taken_out(&mut self, gone: &ByteSet) {
        let Some(first) = gone.runs().next().map(|run| run.start) else { return };
        self.record.prefix.retain(|_, hash| hash.bytes <= first);
        self.hashed.retain(|(_, hash)| hash.bytes <= first);
        for hashing in self.hashing.iter().filter_map(Weak::upgrade) {
            hashing.fetch_min(first, Ordering::Relaxed);
        }
    }

    /// The record as of now.
    pub fn snapshot(&mut self) -> Record {
        self.settle();
        let mut record = self.record.clone();
        self.ledger.fill(&mut record, disk::boot_id());
        record.updated = SystemTime::now();
        let durable = record.durable().prefix();
        let saved = self.hashed.iter().filter(|(_, hash)| hash.bytes <= durable).cloned();
        record.prefix.extend(saved);
        record
    }
}

impl Shared {
    pub fn new(place: Place, data: File, state: State) -> Self {
        Self {
            place,
            data,
            state: Mutex::new(state),
            wake: Bell::default(),
            grown: Bell::default(),
            dirty: AtomicBool::new(false),
            running: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            born: Instant::now(),
            saving: Mutex::new(()),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until bytes have arrived or somebody says that something has changed.
    pub fn wait_grown<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.grown.wait(state, PATIENCE)
    }

    /// Why the transfer cannot go on, if it cannot.
    pub fn lost(&self) -> Option<Fault> {
        match self.failed.load(Ordering::Relaxed) {
            true => self.lock().lost.clone(),
            false => None,
        }
    }

    /// Whether `bytes` fit into what is left of a claim, in a file that can still be saved.
    pub fn may_write(&self, bytes: &[u8], left: ByteRange) -> Result<(), Fault> {
        if bytes.len() as u64 > left.len() {
            return Err(Fault::new(Kind::Network, "more bytes came than were promised"));
        }
        self.lost().map_or(Ok(()), Err)
    }

    /// Writes `bytes` where they belong; the ledger is not told.
    pub fn put(&self, bytes: &[u8], at: u64) -> Result<(), Fault> {
        disk::write_at(&self.data, bytes, at).map_err(|e| disk::fault("write", &self.place.data, &e))
    }

    fn lose(&self, state: &mut State, fault: Fault) {
        state.lost.get_or_insert(fault);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// A small file is complete, about to be published: nobody need see to it, unless its recorder runs already.
    pub fn completed(self: &Arc<Self>) {
        if self.running.load(Ordering::Relaxed) {
            self.touched();
        }
    }

    /// Something is new. Starts the recorder once the file has lived long enough to deserve a record.
    pub fn touched(self: &Arc<Self>) {
        if self.running.load(Ordering::Relaxed) {
            if !self.dirty.swap(true, Ordering::Relaxed) {
                // Through the lock: the recorder may be between looking and waiting.
                drop(self.lock());
                self.wake.ring();
            }
        } else if self.born.elapsed() >= FIRST {
            self.dirty.store(true, Ordering::Relaxed);
            self.start_recorder();
        } else if !self.dirty.swap(true, Ordering::Relaxed) {
            young::watch(self, self.born + FIRST);
        }
    }

    fn start_recorder(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.thread.is_some() || state.stop {
            return;
        }
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || shared.record_until_stopped());
        match thread {
            Ok(thread) => {
                state.thread = Some(thread);
                self.running.store(true, Ordering::Relaxed);
            }
            Err(e) => self.lose(&mut state, Fault::new(Kind::Other, format!("cannot start a thread: {e}"))),
        }
    }

    /// Ends the recorder and waits for it and for its sync.
    pub fn stop_recorder(&self) {
        let thread = {
            let mut state = self.lock();
            state.stop = true;
            state.thread.take()
        };
        self.wake.ring();
        self.grown.ring();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }

    /// Joins the next sync.
    pub fn ask_for_sync(self: &Arc<Self>) -> oneshot::Receiver<Result<(), Fault>> {
        let (tell, told) = oneshot::channel();
        let mut state = self.lock();
        match &state.lost {
            Some(lost) => drop(tell.send(Err(lost.clone()))),
            // Nobody would ever answer.
            None if state.stop => drop(tell),
            None => state.waiting.push(tell),
        }
        drop(state);
        self.start_recorder();
        self.wake.ring();
        told
    }

    /// Takes bytes out of the set, in memory; the caller saves the record. Runs of which only a part goes are read
    /// again: when they are sound, the sums of what stays are known.
    pub fn forget(&self, bytes: &ByteSet) -> ByteSet {
        let cut = {
            let mut state = self.lock();
            state.settle();
            state.ledger.cut_by(bytes)
        };
        let known: Vec<Piece> = cut.iter().flat_map(|run| self.parts_left(run, bytes)).collect();
        let gone = self.lock().forget(bytes, &known);
        self.grown.ring();
        gone
    }

    fn record_until_stopped(self: &Arc<Self>) {
        let mut due = Instant::now();
        loop {
            let mut state = self.lock();
            let tick = loop {
                let now = Instant::now();
                let dirty = self.dirty.load(Ordering::Relaxed);
                if state.stop && !state.syncing && !state.synced {
                    // Whoever still waits hears that nothing will come: the sender is dropped.
                    state.waiting.clear();
                    return;
                }
                if state.synced || (!state.waiting.is_empty() && !state.syncing && !state.stop) {
                    break false;
                }
                if dirty && now >= due && !state.stop {
                    break true;
                }
                let patience = if dirty && !state.stop { due.saturating_duration_since(now) } else { PATIENCE };
                state = self.wake.wait(state, patience);
            };
            let ended = std::mem::take(&mut state.synced);
            // Before the next sync begins: who joins that one must not hear of this one's end.
            let joined = if ended { std::mem::take(&mut state.joined) } else { Vec::new() };
            let ask = (tick || !state.waiting.is_empty()) && !state.syncing && !state.stop;
            if ask {
                self.begin_sync(&mut state);
            }
            drop(state);
            if tick {
                self.dirty.store(false, Ordering::Relaxed);
                due = Instant::now() + TICK;
            }
            if tick || ended {
                self.commit(joined);
            }
        }
    }

    /// Starts a sync on a thread of its own, for all that is written now and all who wait now.
    fn begin_sync(self: &Arc<Self>, state: &mut State) {
        state.settle();
        let joined = std::mem::take(&mut state.waiting);
        state.joined.extend(joined);
        let needed = state.ledger.sync_begins();
        if !needed {
            state.synced = !state.joined.is_empty();
            return;
        }
        state.syncing = true;
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("sync".into()).spawn(move || shared.run_sync());
        if let Err(e) = thread {
            state.syncing = false;
            state.sync_failed();
            self.lose(state, Fault::new(Kind::Other, format!("cannot start a thread: {e}")));
        }
    }

    fn run_sync(self: &Arc<Self>) {
        let synced = disk::sync_data(&self.data);
        disk::point("data-synced");
        let mut state = self.lock();
        match synced {
            Ok(()) => state.ledger.sync_ended(),
            Err(e) => {
                state.sync_failed();
                self.lose(&mut state, disk::fault("save", &self.place.data, &e));
            }
        }
        state.syncing = false;
        state.synced = true;
        drop(state);
        self.wake.ring();
        self.grown.ring();
    }

    /// Writes the record, and tells those who waited for the sync that has ended.
    fn commit(&self, joined: Vec<Waiter>) {
        let saved = self.save(!joined.is_empty());
        disk::point("sidecar-replaced");
        let mut state = self.lock();
        if let Err(fault) = saved {
            self.lose(&mut state, fault);
        }
        let outcome = state.lost.clone().map_or(Ok(()), Err);
        for waiter in joined {
            let _ = waiter.send(outcome.clone());
        }
    }

    /// Writes the record to the disk. Another process's token in the one that is there means that the transfer is no
    /// longer ours. With `sync_folder` the new record itself survives a power cut.
    pub fn save(&self, sync_folder: bool) -> Result<(), Fault> {
        let _alone = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (record, held, first) = {
            let mut state = self.lock();
            if state.gone {
                return Ok(());
            }
            state.edited = false;
            (state.snapshot(), state.ledger.held().len(), !state.on_disk)
        };
        self.check_owner(&record, first)?;
        disk::replace(&self.place.sidecar, record.to_toml().as_bytes(), sync_folder || first)?;
        let mut state = self.lock();
        (state.on_disk, state.recorded) = (true, held);
        Ok(())
    }

    fn check_owner(&self, record: &Record, first: bool) -> Result<(), Fault> {
        let Ok(Some(there)) = disk::read_private(&self.place.sidecar, crate::record::MAX_TEXT) else { return Ok(()) };
        let text = String::from_utf8_lossy(&there.text);
        let mine = record.owner.as_ref().map(|owner| owner.token.clone());
        let ours = mine.into_iter().chain(self.lock().previous.clone()).any(|token| text.contains(&token));
        if first || ours {
            return Ok(());
        }
        match Record::from_toml(&text).ok().and_then(|other| other.owner) {
            Some(owner) => Err(held(&self.place.file, &owner)),
            None => Ok(()),
        }
    }
}

/// Ends the recorder when the last user of the file is gone without having said how to end.
pub struct Alive(pub Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stop = true;
        drop(state);
        self.0.wake.ring();
        self.0.grown.ring();
    }
}
