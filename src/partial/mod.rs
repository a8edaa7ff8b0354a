//! A file that is not complete yet: its data, the set of bytes that have arrived, the lock, and the sidecar that
//! survives whatever happens to this process or this machine.
//!
//! # The crash story
//!
//! `NAME.partial` holds the data, `NAME.partial.toml` the record. What a reader may believe at any moment:
//!
//! 1. *Nothing written down yet* (the first fraction of a second): there is a data file without a record. It proves
//!    nothing; the next run parks it as `NAME.old.partial` and starts over. Nothing is under the final name.
//! 2. *A tick has passed*: the record lists what was written by then under `[recent]`, with this boot's id. A
//!    `kill -9` takes the process, not the page cache: under the same boot id those bytes count. After a power cut
//!    the boot id is another one and they do not.
//! 3. *A sync has ended*: what was written **before it began** moves to `done` and `[within]` in the next record.
//!    A power cut cannot take it: data first ([`crate::disk::sync_data`]), then the record that claims it
//!    (temporary file, sync, rename).
//! 4. *Killed between the sync and the new record*: the old record stands and claims less than is there.
//! 5. *Killed inside the replacement of the record*: the rename is atomic, so the old or the new one stands; a left
//!    over temporary file is removed by the next writer, which holds the lock.
//! 6. *A sync fails*: the kernel may have thrown away any byte since the last good one and will not tell again, so
//!    those bytes leave the set and the transfer stops; syncing twice and hoping is how data gets lost.
//! 7. *Bytes are taken back* (damage, a changed source): the record without them is durable before the first of
//!    them is overwritten. Bytes in the set are never written: [`PartialFile::writer`] refuses.
//! 8. *Publishing*: the data is synced, then the record says `publishing` with inode and length, then one rename
//!    gives the final name, the folder is synced, the record is removed. Killed before the rename: all bytes are in
//!    the record, the next run publishes. Killed after it: no data file, and that very inode under the final name
//!    means done. What stood under the final name stays until that rename.
//!
//! After an unclean end, or when the data file is not as the record left it, every old byte is read again and
//! compared with its CRC-64 before the file may be published ([`PartialFile::prove`]): beside the transfer, never
//! before its first new byte.

mod draft;
mod follow;
pub mod ledger;
pub mod record_file;
mod recorder;
mod writer;

pub use draft::Draft;
pub use follow::Follower;
pub use writer::Writer;

use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Crc, RunningCrc};
use crate::disk::{self, Spot};
use crate::fault::{Fault, Kind as FaultKind};
use crate::record::{BadRecord, IfExists, Kind, MAX_TEXT, Owner, Piece, Publishing, Record, Stamp};
use ledger::Ledger;
use recorder::{Alive, Shared, State};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The suffix of the data file.
pub const DATA_SUFFIX: &str = ".partial";
/// The suffix of the record.
pub const SIDECAR_SUFFIX: &str = ".partial.toml";
/// A record of another machine that is younger than this means that the machine is still at it.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Where the parts of one unfinished file lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The data.
    pub data: PathBuf,
    /// The record.
    pub sidecar: PathBuf,
    /// The final name, as the record has it.
    pub file: String,
    /// Whether a record that somebody else may have written is believed.
    pub trust: bool,
}

impl Place {
    /// Beside the final path: `NAME.partial` and `NAME.partial.toml`.
    pub fn beside(target: &Path) -> Self {
        Self {
            data: disk::with_suffix(target, DATA_SUFFIX),
            sidecar: disk::with_suffix(target, SIDECAR_SUFFIX),
            file: target.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            trust: false,
        }
    }

    /// In a receiver's own folder, under the upload's id: `file` is the name the sender wants.
    pub fn received(dir: &Path, id: &str, file: &str) -> Self {
        Self { file: file.to_string(), ..Self::beside(&dir.join(id)) }
    }

    /// Whether the final name holds the very inode that the record was about to publish.
    pub fn is_published(&self) -> bool {
        let Ok(Sidecar::Record(record)) = read_sidecar(&self.sidecar) else { return false };
        let target = self.sidecar.with_file_name(&self.file);
        match (record.publishing, std::fs::symlink_metadata(target)) {
            (Some(mark), Ok(meta)) => {
                // An empty data file is what a run leaves that was killed as soon as it had the lock.
                let no_data = match std::fs::symlink_metadata(&self.data) {
                    Ok(data) => data.len() == 0,
                    Err(e) => e.kind() == std::io::ErrorKind::NotFound,
                };
                meta.ino() == mark.inode && meta.len() == mark.length && no_data
            }
            _ => false,
        }
    }

    /// Removes the record, and what a kill may have left of writing one.
    fn remove_record(&self) -> Result<(), Fault> {
        disk::remove(&self.sidecar)?;
        disk::remove(&disk::with_suffix(&self.sidecar, disk::NEW_SUFFIX)).map(drop)
    }

    /// Where old data goes that a new start must not destroy yet.
    fn parked(&self) -> PathBuf {
        let name = self.data.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(DATA_SUFFIX).unwrap_or(&name);
        self.data.with_file_name(format!("{name}.old{DATA_SUFFIX}"))
    }
}

/// What lies at a sidecar's path.
pub enum Sidecar {
    /// Nothing.
    None,
    /// A record that may be used.
    Record(Box<Record>),
    /// A record, but not one that only this user can have written: why.
    Doubtful(Box<Record>, String),
    /// Something that is no record: why.
    Damaged(String),
}

/// Reads the sidecar at `path`, whoever wrote it. A newer version is a fault: guessing would lose bytes.
pub fn read_sidecar(path: &Path) -> Result<Sidecar, Fault> {
    let Some(private) = disk::read_private(path, MAX_TEXT)? else { return Ok(Sidecar::None) };
    let text = String::from_utf8_lossy(&private.text);
    match (Record::from_toml(&text), private.doubt) {
        (Ok(record), None) => Ok(Sidecar::Record(Box::new(record))),
        (Ok(record), Some(doubt)) => Ok(Sidecar::Doubtful(Box::new(record), doubt)),
        (Err(BadRecord::Damaged(why)), _) => Ok(Sidecar::Damaged(why)),
        (Err(newer), _) => Err(Fault::new(FaultKind::Local, format!("{} cannot be used: {newer}", disk::shown(path)))
            .hint("use a newer onward, or remove that file to start over")),
    }
}

/// The lock on the data file is held; nothing is decided yet. Dropped without a decision, it leaves no trace.
pub struct Slot {
    place: Place,
    data: Option<File>,
    created: bool,
    record: Option<Record>,
    problem: Option<String>,
    published: bool,
}

impl Slot {
    /// Takes the lock and reads what is there. A transfer that another process is at is a fault of kind `Held`.
    pub fn take(place: Place) -> Result<Self, Fault> {
        if !disk::fits(&disk::with_suffix(&place.sidecar, disk::NEW_SUFFIX)) {
            return Err(Fault::new(
                FaultKind::Local,
                format!("{} is too long a name to keep a record beside it", place.file),
            )
            .hint("give a shorter one with -o"));
        }
        let published = place.is_published();
        let (data, created) = open_locked(&place)?;
        let mut slot = Self { place, data: Some(data), created, record: None, problem: None, published };
        slot.read_record()?;
        Ok(slot)
    }

    fn read_record(&mut self) -> Result<(), Fault> {
        let place = &self.place;
        let record = match read_sidecar(&place.sidecar)? {
            Sidecar::None => return Ok(()),
            Sidecar::Damaged(why) => {
                self.problem = Some(format!("the record {} is damaged: {why}", disk::shown(&place.sidecar)));
                return Ok(());
            }
            Sidecar::Doubtful(_, doubt) if !place.trust => {
                let text = format!("{} may be somebody else's: {doubt}", disk::shown(&place.sidecar));
                return Err(Fault::new(FaultKind::Local, text).hint(
                    "look at it; then `onward resume --trust PATH` goes on with it, or remove it to start over",
                ));
            }
            Sidecar::Record(record) | Sidecar::Doubtful(record, _) => record,
        };
        if let Some(owner) = elsewhere(&record) {
            return Err(held(&place.file, owner));
        }
        if record.file != place.file {
            self.problem = Some(format!("the record {} speaks of another file", disk::shown(&place.sidecar)));
        } else if self.created && !self.published && !record.held(disk::boot_id()).is_empty() {
            self.problem = Some(format!("the data file {} is gone", disk::shown(&place.data)));
        } else if record.done_sums.len() as u64 != record.done.len() {
            self.problem = Some(format!("the record {} lacks checksums", disk::shown(&place.sidecar)));
        } else {
            self.record = Some(*record);
        }
        Ok(())
    }

    /// The record that may be gone on with.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Why what is there cannot be gone on with.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether an earlier run got as far as the final rename: the file is complete, only the record was left.
    pub fn is_published(&self) -> bool {
        self.published
    }

    /// Starts a fresh file by this record. Data that is there is parked beside it until the new one is longer.
    pub fn begin(mut self, mut record: Record) -> Result<PartialFile, Fault> {
        let mut data = self.take_data()?;
        if !self.created && data.metadata().is_ok_and(|meta| meta.len() > 0) {
            disk::rename(&self.place.data, &self.place.parked())?;
            data = open_locked(&self.place)?.0;
        }
        self.place.remove_record()?;
        self.created = true;
        if let Some(length) = record.length
            && let Err(fault) = self.reserve(&data, length)
        {
            disk::remove(&self.place.data)?;
            return Err(fault);
        }
        record.file = self.place.file.clone();
        let ledger = Ledger::new(record.layout());
        record.owner = None;
        Ok(self.open(data, record, ledger, Vec::new(), false))
    }

    /// Goes on with what the record says is there. A slot without a record has nothing to go on with.
    pub fn resume(mut self) -> Result<PartialFile, Fault> {
        let Some(record) = self.record.take() else {
            return Err(Fault::new(FaultKind::Local, format!("there is no record of {}", self.place.file)));
        };
        let data = self.take_data()?;
        let mut ledger = Ledger::from_record(&record, disk::boot_id());
        let now = disk::stamp(&data).map_err(|e| disk::fault("look at", &self.place.data, &e))?;
        let clean = record.stamp.as_ref() == Some(&now);
        let unproven = if clean { Vec::new() } else { ledger.doubt() };
        if let Some(length) = record.length.filter(|length| *length != now.size) {
            disk::set_length(&data, length).map_err(|e| disk::fault("set the length of", &self.place.data, &e))?;
        }
        Ok(self.open(data, record, ledger, unproven, true))
    }

    /// Lets go. A data file that only this slot created is removed again.
    pub fn release(self) {}

    /// Removes what an earlier run left behind after it had published the file.
    pub fn clear(mut self) -> Result<(), Fault> {
        self.place.remove_record()?;
        self.created = true;
        Ok(())
    }

    fn take_data(&mut self) -> Result<File, Fault> {
        self.data.take().ok_or_else(|| Fault::new(FaultKind::Other, "the data file was taken twice"))
    }

    fn reserve(&self, data: &File, length: u64) -> Result<(), Fault> {
        // What the record itself, a directory and the filesystem's own bookkeeping may need.
        const MARGIN: u64 = 1 << 20;
        if let Some(free) = disk::free_space(data).filter(|free| length.saturating_add(MARGIN.min(length)) > *free) {
            let text = format!(
                "no room for {}: it needs {}, {} are free",
                self.place.file,
                crate::units::bytes(length),
                crate::units::bytes(free)
            );
            return Err(Fault::new(FaultKind::Local, text).hint(disk::FULL));
        }
        disk::allocate(data, &self.place.data, length)
    }

    fn open(
        &mut self,
        data: File,
        mut record: Record,
        ledger: Ledger,
        unproven: Vec<Piece>,
        on_disk: bool,
    ) -> PartialFile {
        let previous = record.owner.take().map(|owner| owner.token);
        record.owner = Some(Owner {
            host: disk::host_name().to_string(),
            pid: std::process::id(),
            boot: disk::boot_id().to_string(),
            token: disk::token(),
        });
        record.stamp = None;
        record.publishing = None;
        self.created = false;
        let state = State::new(record, ledger, unproven, on_disk, previous);
        let shared = Arc::new(Shared::new(self.place.clone(), data, state));
        PartialFile { _alive: Arc::new(Alive(shared.clone())), shared }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Only while the lock is still ours: after `take_data` the file belongs to somebody else.
        if self.created && self.data.is_some() {
            let _ = disk::remove(&self.place.data);
        }
    }
}

/// Opens or creates the data file and takes its lock. Once held, the descriptor must still be the path's file: a
/// process that finished in between has renamed it away.
fn open_locked(place: &Place) -> Result<(File, bool), Fault> {
    for _ in 0..100 {
        let (file, created) = match disk::open_existing(&place.data)? {
            Some(file) => (file, false),
            None => match disk::create_private(&place.data)? {
                Some(file) => (file, true),
                None => continue,
            },
        };
        if !disk::try_lock(&file, &place.data)? {
            return Err(held_by_record(place));
        }
        if disk::is_still(&file, &place.data) {
            return Ok((file, created));
        }
    }
    Err(held_by_record(place))
}

fn held_by_record(place: &Place) -> Fault {
    let owner = match read_sidecar(&place.sidecar) {
        Ok(Sidecar::Record(record) | Sidecar::Doubtful(record, _)) => record.owner,
        _ => None,
    };
    match owner {
        Some(owner) => held(&place.file, &owner),
        None => Fault::new(FaultKind::Held, format!("another process is transferring {}", place.file))
            .hint("wait for it, or stop it and run this again"),
    }
}

/// The fault that somebody else is at the transfer.
pub fn held(file: &str, owner: &Owner) -> Fault {
    let host = match owner.host == disk::host_name() {
        true => String::new(),
        false => format!(" on {}", owner.host.escape_debug()),
    };
    Fault::new(FaultKind::Held, format!("{file} is being transferred by process {}{host}", owner.pid))
        .hint("wait for it, or stop it and run this again")
}

/// The owner of a record that another machine has renewed a moment ago: locks cannot be trusted across machines.
pub fn elsewhere(record: &Record) -> Option<&Owner> {
    let owner = record.owner.as_ref().filter(|owner| owner.host != disk::host_name())?;
    let age = record.updated.elapsed().unwrap_or_default();
    (age < HEARTBEAT && record.stamp.is_none()).then_some(owner)
}

/// An unfinished file that this process holds. Clones are the same file.
#[derive(Clone)]
pub struct PartialFile {
    shared: Arc<Shared>,
    /// The last clone's end stops the recorder.
    _alive: Arc<Alive>,
}

impl PartialFile {
    /// The bytes that are there.
    pub fn held(&self) -> ByteSet {
        let mut state = self.shared.lock();
        state.settle();
        state.ledger.held().clone()
    }

    /// The length in bytes, where known.
    pub fn length(&self) -> Option<u64> {
        self.shared.lock().record.length
    }

    /// How the file is cut.
    pub fn layout(&self) -> Layout {
        self.shared.lock().ledger.layout()
    }

    /// The record as it would be written now.
    pub fn record(&self) -> Record {
        self.shared.lock().snapshot()
    }

    /// Where its parts lie.
    pub fn place(&self) -> &Place {
        &self.shared.place
    }

    /// Writes bytes of `range` in order from its start. `None`: some of them are there already, or another writer
    /// has claimed them. The claim ends with the writer.
    pub fn writer(&self, range: ByteRange) -> Option<Writer> {
        Writer::claim(&self.shared, range)
    }

    /// Like [`PartialFile::writer`], but what is written counts only once [`Draft::accept`] says so.
    pub fn draft(&self, range: ByteRange) -> Option<Draft> {
        Draft::claim(&self.shared, range)
    }

    /// Reads bytes that are there.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<(), Fault> {
        self.shared.data.read_exact_at(buffer, at).map_err(|e| disk::fault("read", &self.shared.place.data, &e))
    }

    /// Changes what the record says beside the bytes; saved with the next commit.
    pub fn edit(&self, change: impl FnOnce(&mut Record)) {
        let mut state = self.shared.lock();
        change(&mut state.record);
        state.edited = true;
        drop(state);
        self.shared.touched();
    }

    /// The length became known, at the end of a stream that did not announce it.
    pub fn set_length(&self, length: u64) -> Result<(), Fault> {
        let mut state = self.shared.lock();
        state.settle();
        state.ledger.set_length(length);
        state.record.length = Some(length);
        drop(state);
        self.shared.grown.notify_all();
        disk::set_length(&self.shared.data, length)
            .map_err(|e| disk::fault("set the length of", &self.shared.place.data, &e))
    }

    /// Gives the data file a modification time, which the published file keeps; `None` leaves it as it is.
    pub fn set_modified(&self, time: Option<SystemTime>) -> Result<(), Fault> {
        match time {
            Some(time) => disk::set_modified(&self.shared.place.data, time),
            None => Ok(()),
        }
    }

    /// Resolves when all that was written before this call survives a power cut. All who wait join one sync.
    pub async fn durable(&self) -> Result<(), Fault> {
        match self.shared.ask_for_sync().await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::new(FaultKind::Other, "the file was closed before it was safe")),
        }
    }

    /// Takes bytes out of the set; durable before it returns. Runs that `bytes` touches go whole: the answer is what
    /// went.
    pub async fn forget(&self, bytes: &ByteSet) -> Result<ByteSet, Fault> {
        let gone = self.shared.forget(bytes);
        let shared = self.shared.clone();
        blocking(move || shared.save(true)).await.map(|()| gone)
    }

    /// The CRC-64/NVME of bytes that are all there; `range` begins and ends on chunk borders or the file's end.
    pub fn sum(&self, range: ByteRange) -> Option<Crc> {
        let mut state = self.shared.lock();
        state.settle();
        state.ledger.sum(range)
    }

    /// Whether old bytes wait for their proof.
    pub fn needs_proof(&self) -> bool {
        !self.shared.lock().unproven.is_empty()
    }

    /// Reads again the old bytes that nobody vouches for, forgets the damaged ones, and says what is to be fetched
    /// again for that.
    pub async fn prove(&self) -> Result<ByteSet, Fault> {
        let shared = self.shared.clone();
        let damaged = blocking(move || Ok(shared.damaged())).await?;
        let gone = match damaged.is_empty() {
            true => damaged,
            false => self.forget(&damaged).await?,
        };
        let mut state = self.shared.lock();
        state.unproven.clear();
        state.ledger.vouch();
        drop(state);
        // Whoever hashes the prefix may have waited for the proof alone.
        self.shared.grown.notify_all();
        Ok(gone)
    }

    /// Hashes the file from its beginning as it grows, on a thread of its own.
    pub fn follow(&self, algorithms: &[Algorithm]) -> Follower {
        Follower::start(&self.shared, algorithms)
    }

    /// Publishes the complete file: sync, one rename, sync of the folder, record removed. Nobody may be writing.
    /// The final name being taken under [`IfExists::Fail`] is a fault of kind `Local`; the bytes stay.
    pub async fn finish(self, into: Spot, if_exists: IfExists) -> Result<Stamp, Fault> {
        blocking(move || self.shared.finish(&into, if_exists)).await
    }

    /// A clean end before the file is complete: the last commit, and the lock goes.
    pub async fn keep(self) -> Result<(), Fault> {
        blocking(move || self.shared.keep()).await
    }

    /// The content is wrong: the data goes to `NAME.bad` (the path returned), the record is removed.
    pub async fn condemn(self) -> Result<PathBuf, Fault> {
        blocking(move || self.shared.condemn()).await
    }

    /// Forgets the transfer: data and record are removed.
    pub async fn discard(self) -> Result<(), Fault> {
        blocking(move || self.shared.discard()).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(e) => Err(Fault::new(FaultKind::Other, format!("a disk thread ended early: {e}"))),
    }
}

impl Shared {
    /// The old bytes whose content is not what the record says.
    fn damaged(&self) -> ByteSet {
        let pieces = self.lock().unproven.clone();
        let mut buffer = vec![0; 1 << 20];
        let mut wrong = |piece: &Piece| self.sum_on_disk(piece.range, &mut buffer) != Some(piece.sum);
        pieces.into_iter().filter(|piece| wrong(piece)).map(|piece| piece.range).collect()
    }

    /// The sum of bytes as the disk has them; `None` when they cannot be read.
    fn sum_on_disk(&self, range: ByteRange, buffer: &mut [u8]) -> Option<u64> {
        let mut crc = RunningCrc::default();
        let mut at = range.start;
        while at < range.end {
            let block = &mut buffer[..usize::try_from(range.end - at).unwrap_or(usize::MAX).min(1 << 20)];
            self.data.read_exact_at(block, at).ok()?;
            crc.update(block);
            at += block.len() as u64;
        }
        Some(crc.crc().sum)
    }

    fn finish(&self, into: &Spot, if_exists: IfExists) -> Result<Stamp, Fault> {
        self.stop_recorder();
        let length = {
            let mut state = self.lock();
            state.settle();
            let length = state.record.length.unwrap_or_else(|| state.ledger.held().end());
            if !state.ledger.held().contains(ByteRange::new(0, length)) || !state.unproven.is_empty() {
                return Err(Fault::new(FaultKind::Other, format!("{} is not complete", self.place.file)));
            }
            length
        };
        self.sync()?;
        disk::point("data-synced");
        let stamp = disk::stamp(&self.data).map_err(|e| disk::fault("look at", &self.place.data, &e))?;
        if stamp.size != length {
            let text =
                format!("{} is {} bytes long where {length} were written", disk::shown(&self.place.data), stamp.size);
            return Err(Fault::new(FaultKind::Local, text).hint("somebody else changed it; run the same command again"));
        }
        let had_sidecar = {
            let mut state = self.lock();
            state.record.publishing = Some(Publishing { inode: stamp.inode, length });
            state.on_disk
        };
        if had_sidecar {
            // With its folder: a filesystem that keeps renames in no order must not keep the next one without this.
            self.save(true)?;
            disk::point("sidecar-replaced");
        }
        if !disk::publish(&self.data, &self.place.data, into, if_exists)? {
            self.lock().record.publishing = None;
            self.keep()?;
            return Err(Fault::new(FaultKind::Local, format!("{} exists", disk::shown(into.path())))
                .hint("add --overwrite to replace it, or choose another name with -o")
                .kept("all bytes are kept"));
        }
        if had_sidecar {
            disk::remove(&self.place.sidecar)?;
        }
        disk::remove(&self.place.parked())?;
        disk::stamp(&self.data).map_err(|e| disk::fault("look at", into.path(), &e))
    }

    /// Syncs all that is written, here and now.
    fn sync(&self) -> Result<(), Fault> {
        {
            let mut state = self.lock();
            state.settle();
            state.ledger.sync_begins();
        }
        let synced = disk::sync_data(&self.data).map_err(|e| disk::fault("save", &self.place.data, &e));
        let mut state = self.lock();
        match &synced {
            Ok(()) => state.ledger.sync_ended(),
            Err(_) => state.ledger.sync_failed(),
        }
        synced
    }

    fn keep(&self) -> Result<(), Fault> {
        self.stop_recorder();
        let empty = {
            let mut state = self.lock();
            state.settle();
            state.ledger.held().is_empty() && state.record.kind != Kind::Receive
        };
        if empty {
            return self.discard();
        }
        // A kill that follows a signal may come before a slow disk is done: what a kill cannot hurt goes first.
        self.save(false)?;
        disk::point("sidecar-replaced");
        self.sync()?;
        disk::point("data-synced");
        let stamp = disk::stamp(&self.data).map_err(|e| disk::fault("look at", &self.place.data, &e))?;
        {
            let mut state = self.lock();
            state.record.stamp = state.unproven.is_empty().then_some(stamp);
        }
        let saved = self.save(true);
        disk::unlock(&self.data);
        saved
    }

    fn condemn(&self) -> Result<PathBuf, Fault> {
        self.stop_recorder();
        self.lock().gone = true;
        let bad = self.place.sidecar.with_file_name(format!("{}.bad", self.place.file));
        disk::rename(&self.place.data, &bad)?;
        // One copy of what is wrong is enough: the bad one is as long as an earlier one that was parked.
        disk::remove(&self.place.parked())?;
        self.place.remove_record()?;
        disk::unlock(&self.data);
        Ok(bad)
    }

    fn discard(&self) -> Result<(), Fault> {
        self.stop_recorder();
        self.lock().gone = true;
        self.place.remove_record()?;
        disk::remove(&self.place.data)?;
        disk::unlock(&self.data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 2500;

    fn content() -> Vec<u8> {
        (0..LEN as u32).map(|n| (n * 131 % 253) as u8).collect()
    }

    fn record() -> Record {
        let mut record = Record::new(Kind::Download, "http://h/f", "f", 1000);
        record.length = Some(LEN);
        record
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn target(&self) -> PathBuf {
            self.0.path().join("f")
        }

        fn slot(&self) -> Slot {
            Slot::take(Place::beside(&self.target())).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = std::fs::read_dir(self.0.path())
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn write(file: &PartialFile, start: u64, end: u64) {
        let mut writer = file.writer(ByteRange::new(start, end)).expect("the range is free");
        for piece in content()[start as usize..end as usize].chunks(333) {
            writer.write(piece).unwrap();
        }
    }

    #[tokio::test]
    async fn a_quick_file_leaves_no_record() {
        let folder = Folder::new();
        let file = folder.slot().begin(record()).unwrap();
        write(&file, 1500, LEN);
        write(&file, 0, 1500);
        assert_eq!(file.sum(ByteRange::new(0, LEN)), Some(Crc::of(&content())));
        file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
        assert_eq!(std::fs::read(folder.target()).unwrap(), content());
        assert_eq!(folder.names(), ["f"]);
    }

    #[tokio::test]
    async fn held_bytes_and_claimed_bytes_are_nobody_elses() {
        let folder = Folder::new();
        let file = folder.slot().begin(record()).unwrap();
        write(&file, 100, 200);
        assert!(file.writer(ByteRange::new(150, 160)).is_none() && file.writer(ByteRange::new(0, 101)).is_none());
        let mut one = file.writer(ByteRange::new(200, 1000)).unwrap();
        assert!(file.writer(ByteRange::new(900, 1100)).is_none());
        one.shrink(500);
        assert!(file.writer(ByteRange::new(500, 600)).is_some());
        assert!(one.write(&[0; 301]).is_err());
        one.write(&content()[200..300]).unwrap();
        drop(one);
        assert_eq!(file.held().to_string(), "100-299");
        assert!(file.writer(ByteRange::new(300, 500)).is_some());
    }

    #[tokio::test]
    async fn what_is_durable_comes_back_and_a_clean_end_needs_no_proof() {
        let folder = Folder::new();
        let file = folder.slot().begin(record()).unwrap();
        write(&file, 0, 1700);
        file.durable().await.unwrap();
        let text = std::fs::read_to_string(folder.0.path().join("f.partial.toml")).unwrap();
        assert!(text.contains("done = \"0\"") && text.contains("1 = \"0-699\""), "{text}");
        file.keep().await.unwrap();

        let file = folder.slot().resume().unwrap();
        assert!(!file.needs_proof());
        assert_eq!(file.held().to_string(), "0-1699");
        write(&file, 1700, LEN);
        file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
        assert_eq!(std::fs::read(folder.target()).unwrap(), content());
        assert_eq!(folder.names(), ["f"]);
    }

    #[tokio::test]
    async fn damage_is_found_and_only_damage_is_fetched_again() {
        let folder = Folder::new();
        let file = folder.slot().begin(record()).unwrap();
        write(&file, 0, LEN);
        file.keep().await.unwrap();
        let data = folder.0.path().join("f.partial");
        let mut bytes = std::fs::read(&data).unwrap();
        bytes[1234] ^= 1;
        std::fs::write(&data, &bytes).unwrap();

        let file = folder.slot().resume().unwrap();
        assert!(file.needs_proof());
        let follower = file.follow(&[Algorithm::Md5]);
        assert_eq!(file.prove().await.unwrap().to_string(), "1000-1999");
        write(&file, 1000, 2000);
        let mut md5 = crate::digest::Hasher::new(Algorithm::Md5);
        md5.update(&content());
        assert_eq!(follower.digests().await.unwrap(), [md5.finish()]);
        file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
        assert_eq!(std::fs::read(folder.target()).unwrap(), content());
    }

    #[tokio::test]
    async fn one_process_at_a_time() {
        let folder = Folder::new();
        let file = folder.slot().begin(record()).unwrap();
        let refused = Slot::take(Place::beside(&folder.target())).err().unwrap();
        assert_eq!(refused.kind, FaultKind::Held);
        drop(file);
        folder.slot().release();
    }

    #[tokio::test]
    async fn a_taken_name_is_not_replaced_and_the_bytes_stay() {
        let folder = Folder::new();
        let file = folder.slot().begin(record()).unwrap();
        write(&file, 0, LEN);
        std::fs::write(folder.target(), "good").unwrap();
        let refused = file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Local);
        assert_eq!(std::fs::read(folder.target()).unwrap(), b"good");
        let file = folder.slot().resume().unwrap();
        assert_eq!(file.held().len(), LEN);
        file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Replace).await.unwrap();
        assert_eq!(std::fs::read(folder.target()).unwrap(), content());
    }

    #[tokio::test]
    async fn a_saved_hash_state_goes_on_in_the_next_run() {
        let folder = Folder::new();
        let mut big = record();
        let length = SAVE_STATE_AFTER + 5000;
        big.length = Some(length);
        big.chunk_size = 1 << 20;
        let bytes: Vec<u8> = (0..length).map(|n| (n % 249) as u8).collect();
        let file = folder.slot().begin(big).unwrap();
        let follower = file.follow(&[Algorithm::Sha256]);
        file.writer(ByteRange::new(0, length - 1000)).unwrap().write(&bytes[..bytes.len() - 1000]).unwrap();
        while file.record().prefix.is_empty() {
            file.durable().await.unwrap();
        }
        drop(follower);
        file.keep().await.unwrap();

        let file = folder.slot().resume().unwrap();
        assert!(file.record().prefix["sha-256"].bytes > 0);
        let follower = file.follow(&[Algorithm::Sha256]);
        file.writer(ByteRange::new(length - 1000, length)).unwrap().write(&bytes[bytes.len() - 1000..]).unwrap();
        let mut whole = crate::digest::Hasher::new(Algorithm::Sha256);
        whole.update(&bytes);
        assert_eq!(follower.digests().await.unwrap(), [whole.finish()]);
    }

    const SAVE_STATE_AFTER: u64 = 16 << 20;

    #[tokio::test]
    async fn a_missing_record_parks_the_data() {
        let folder = Folder::new();
        std::fs::write(folder.0.path().join("f.partial"), "old").unwrap();
        let slot = folder.slot();
        assert!(slot.record().is_none());
        let file = slot.begin(record()).unwrap();
        assert!(folder.names().contains(&"f.old.partial".to_string()));
        write(&file, 0, LEN);
        file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
        assert_eq!(folder.names(), ["f"]);
    }
}
