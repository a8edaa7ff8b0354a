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
//! 9. *Old data makes way* for another content (`parked`): the new record, which names its inode, is durable before the
//!    rename to `NAME.old.partial`. Killed between the two: the record names the very file that is still `NAME.partial`,
//!    so it says nothing of it, and the next run parks it. Where nothing comes in its place, it has its name again before
//!    that record goes; killed between those two is the same. No kill leaves a parked file that no record names.
//! 10. *A small file that comes in one piece* ([`publish_whole`]) is no part of this story: it has no name before it is
//!     finished, and a kill or a power cut before that leaves nothing.
//!
//! After an unclean end, or when the data file is not as the record left it, every old byte is read again and
//! compared with its CRC-64 before the file may be published ([`PartialFile::prove`]): beside the transfer, never
//! before its first new byte.

mod bell;
mod draft;
mod follow;
pub mod ledger;
mod parked;
mod publish;
pub mod record_file;
mod recorder;
mod slot;
#[cfg(test)]
mod tests;
mod unnamed;
mod writer;
mod young;

pub use draft::Draft;
pub use follow::Follower;
pub use slot::Slot;
pub use unnamed::publish_whole;
pub use writer::Writer;

use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Crc, RunningCrc};
use crate::disk::{self, Spot};
use crate::fault::{Fault, Kind as FaultKind};
use crate::record::{BadRecord, IfExists, Kind, MAX_TEXT, Owner, Piece, Record, Stamp};
use publish::Begun;
use recorder::{Alive, Shared};
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
        read_sidecar(&self.sidecar).is_ok_and(|sidecar| self.is_published_by(&sidecar))
    }

    fn is_published_by(&self, sidecar: &Sidecar) -> bool {
        let Sidecar::Record(record) = sidecar else { return false };
        let target = self.sidecar.with_file_name(&self.file);
        match (&record.publishing, std::fs::symlink_metadata(target)) {
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

    /// Whether its data still lies where it was opened: nobody has removed or replaced it.
    pub fn is_there(&self) -> bool {
        disk::is_still(&self.shared.data, &self.shared.place.data)
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
        self.shared.grown.ring();
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
            Err(_) => Err(Fault::new(FaultKind::Interrupted, "the file was closed before it was safe")),
        }
    }

    /// Takes bytes out of the set; durable before it returns. Damaged runs that `bytes` touches go whole: the answer
    /// is what went.
    pub async fn forget(&self, bytes: &ByteSet) -> Result<ByteSet, Fault> {
        let (shared, bytes) = (self.shared.clone(), bytes.clone());
        blocking(move || {
            let gone = shared.forget(&bytes);
            shared.save(true).map(|()| gone)
        })
        .await
    }

    /// The CRC-64/NVME of bytes that are all there; `range` begins and ends on chunk borders or the file's end.
    pub fn sum(&self, range: ByteRange) -> Option<Crc> {
        let mut state = self.shared.lock();
        state.settle();
        state.ledger.sum(range)
    }

    /// The sum of the whole, when all of it is there. From then on nobody may write to the file, whatever is taken out
    /// of the set: what is hashed now is what will be published.
    pub fn seal(&self) -> Option<Crc> {
        let mut state = self.shared.lock();
        state.settle();
        let whole = ByteRange::new(0, state.record.length?);
        let sum = state.ledger.sum(whole).filter(|_| state.claimed.is_empty())?;
        state.sealed = true;
        drop(state);
        self.shared.grown.ring();
        Some(sum)
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
        self.shared.grown.ring();
        Ok(gone)
    }

    /// Hashes the file from its beginning as it grows, on a thread of its own.
    pub fn follow(&self, algorithms: &[Algorithm]) -> Follower {
        Follower::start(&self.shared, algorithms)
    }

    /// Publishes the complete file: sync, one rename, sync of the folder, record removed. Nobody may be writing.
    /// The final name being taken under [`IfExists::Fail`] is a fault of kind `Local`; the bytes stay.
    pub async fn finish(self, into: Spot, if_exists: IfExists) -> Result<Stamp, Fault> {
        publish::publish(Begun::new(self.shared.clone(), into, if_exists)).await
    }

    /// A clean end before the file is complete: the last commit, and the lock goes.
    pub async fn keep(self) -> Result<(), Fault> {
        blocking(move || self.shared.keep()).await
    }

    /// The content is wrong: the data goes to `NAME.bad`, the record is removed. `Err` of the path where something has
    /// that name, which may be the user's own: it stays, and the data, of which nothing is right, goes.
    pub async fn condemn(self) -> Result<Result<PathBuf, PathBuf>, Fault> {
        blocking(move || self.shared.condemn()).await
    }

    /// Forgets the transfer: data and record are removed, and what was parked for it has its name again.
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

    /// What is left of `run` without `bytes`, with sums: those of the disk, when together they give the run's own.
    fn parts_left(&self, run: &Piece, bytes: &ByteSet) -> Vec<Piece> {
        let mut buffer = vec![0; 1 << 20];
        let (mut left, mut whole) = (Vec::new(), Crc::EMPTY);
        let mut borders: Vec<ByteRange> = bytes.within(run.range).runs().chain(bytes.missing(run.range)).collect();
        borders.sort_by_key(|part| part.start);
        for part in borders {
            let Some(sum) = self.sum_on_disk(part, &mut buffer) else { return Vec::new() };
            whole = whole.then(Crc { sum, len: part.len() });
            if !bytes.touches(part) {
                left.push(Piece { range: part, sum });
            }
        }
        if whole.sum == run.sum { left } else { Vec::new() }
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

    fn parked_inode(&self) -> Option<u64> {
        self.lock().record.parked
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
            Err(_) => state.sync_failed(),
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
        self.save_or_make_room()?;
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

    /// Writes the record. Where the disk is full and more has come than the last one says, or there was none yet, the last
    /// bytes make room for it: without it all of the new ones would be lost.
    fn save_or_make_room(&self) -> Result<(), Fault> {
        /// More than any record needs, in bytes.
        const ROOM: u64 = 64 << 10;
        let saved = self.save(false);
        let (held, recorded) = {
            let state = self.lock();
            (state.ledger.held().clone(), state.recorded)
        };
        if !saved.as_ref().is_err_and(disk::is_full) || held.len() <= recorded + ROOM {
            return saved;
        }
        self.cut_off(ByteRange::new(held.end().saturating_sub(ROOM), held.end()))?;
        self.save(false)
    }

    /// Gives the space of the last bytes back. What stands before them in a run of theirs stays where the run as a whole
    /// is what was written.
    fn cut_off(&self, last: ByteRange) -> Result<(), Fault> {
        let (pieces, length) = {
            let state = self.lock();
            (state.ledger.pieces(), state.record.length)
        };
        let mut buffer = vec![0; 1 << 20];
        let mut fronts = Vec::new();
        for Piece { range, sum } in pieces.iter().filter(|piece| piece.range.start < last.start) {
            if range.end > last.start {
                let (front, back) = (ByteRange::new(range.start, last.start), ByteRange::new(last.start, range.end));
                let mut crc =
                    |range: ByteRange| Some(Crc { sum: self.sum_on_disk(range, &mut buffer)?, len: range.len() });
                let whole = crc(front).zip(crc(back)).filter(|(front, back)| front.then(*back).sum == *sum);
                fronts.extend(whole.map(|(crc, _)| (front, crc)));
            }
        }
        self.forget(&ByteSet::of(last));
        let mut state = self.lock();
        fronts.into_iter().for_each(|(front, crc)| state.ledger.add(front, crc));
        drop(state);
        disk::set_length(&self.data, last.start)
            .and_then(|()| length.map_or(Ok(()), |length| disk::set_length(&self.data, length)))
            .map_err(|e| disk::fault("set the length of", &self.place.data, &e))
    }

    fn condemn(&self) -> Result<Result<PathBuf, PathBuf>, Fault> {
        self.stop_recorder();
        self.lock().gone = true;
        let bad = self.place.sidecar.with_file_name(format!("{}.bad", self.place.file));
        if !disk::rename_if_free(&self.place.data, &bad)? {
            disk::remove(&self.place.data)?;
            return self.condemned().map(|()| Err(bad));
        }
        self.condemned().map(|()| Ok(bad))
    }

    fn condemned(&self) -> Result<(), Fault> {
        // One copy of what is wrong is enough: the bad one is as long as an earlier one that was parked.
        self.place.remove_parked(self.parked_inode())?;
        self.place.remove_record()?;
        disk::unlock(&self.data);
        Ok(())
    }

    fn discard(&self) -> Result<(), Fault> {
        self.stop_recorder();
        self.lock().gone = true;
        self.place.withdraw(self.parked_inode())?;
        disk::unlock(&self.data);
        Ok(())
    }
}
