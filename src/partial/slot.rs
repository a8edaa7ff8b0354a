//! The moment between taking the lock and deciding what to do with what is there.

use super::ledger::Ledger;
use super::recorder::{Alive, Shared, State};
use super::{PartialFile, Place, Sidecar, elsewhere, held, read_sidecar};
use crate::disk;
use crate::fault::{Fault, Kind as FaultKind};
use crate::record::{Owner, Piece, Record};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Files up to this many bytes get no space ahead: they are written at once.
const SMALL: u64 = 256 << 10;

/// The lock on the data file is held; nothing is decided yet. Dropped without a decision, it leaves no trace.
pub struct Slot {
    place: Place,
    data: Option<File>,
    created: bool,
    record: Option<Record>,
    /// The inode of what an earlier start has parked.
    parked: Option<u64>,
    problem: Option<String>,
    published: bool,
    /// Whether something lies where the record belongs.
    recorded: bool,
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
        let (data, created) = open_locked(&place)?;
        let mut slot = Self {
            place,
            data: Some(data),
            created,
            record: None,
            parked: None,
            problem: None,
            published: false,
            recorded: true,
        };
        slot.read_record()?;
        Ok(slot)
    }

    fn read_record(&mut self) -> Result<(), Fault> {
        let place = &self.place;
        let sidecar = read_sidecar(&place.sidecar)?;
        self.published = place.is_published_by(&sidecar);
        let record = match sidecar {
            Sidecar::None => {
                self.recorded = false;
                return Ok(());
            }
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
        let inode = self.data.as_ref().and_then(|data| data.metadata().ok()).map(|meta| meta.ino());
        if record.parked.is_some() && record.parked == inode && record.held(disk::boot_id()).is_empty() {
            // Killed on the way to park it: the record is of what was to come in its place, nothing of which is there.
            return Ok(());
        }
        self.parked = record.parked.filter(|_| record.file == place.file);
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
        record.file = self.place.file.clone();
        record.owner = None;
        self.parked = self.place.parked(self.parked).and(self.parked);
        if !self.created && data.metadata().is_ok_and(|meta| meta.len() > 0) {
            self.make_way(&data, &mut record)?;
            data = open_locked(&self.place)?.0;
        } else if self.parked.is_some() {
            self.announce(&mut record)?;
        } else if self.recorded || !self.created {
            self.place.remove_record()?;
        }
        self.created = true;
        if let Some(length) = record.length.filter(|length| *length > SMALL)
            && let Err(fault) = self.reserve(&data, length)
        {
            self.created = false;
            self.place.withdraw(self.parked)?;
            return Err(fault);
        }
        let ledger = Ledger::new(record.layout());
        let on_disk = self.parked.is_some();
        Ok(self.open(data, record, ledger, Vec::new(), on_disk))
    }

    /// Frees the name of the data: what is there is parked, as long as what has arrived of it. Of two old ones the longer
    /// one stays.
    fn make_way(&mut self, data: &File, record: &mut Record) -> Result<(), Fault> {
        let look = |e: std::io::Error| disk::fault("look at", &self.place.data, &e);
        let meta = data.metadata().map_err(look)?;
        let there = self.place.parked(self.parked).and_then(|path| std::fs::symlink_metadata(path).ok());
        let known = self.record.as_ref();
        let arrived = known.map(|record| record.held(record.recent_boot.as_deref().unwrap_or_default()).end());
        let length = arrived.unwrap_or(meta.len()).min(meta.len());
        let is_longer = length > there.map_or(0, |meta| meta.len());
        let mut aside = None;
        if is_longer {
            self.place.remove_parked(self.parked)?;
            // Before anything else: where the data cannot make way, it and its record stay as they are.
            aside = Some(self.place.free_parking()?);
            disk::set_length(data, length).map_err(|e| disk::fault("set the length of", &self.place.data, &e))?;
            self.parked = Some(meta.ino());
        }
        if self.parked.is_some() {
            self.announce(record)?;
            disk::point("parking");
        } else {
            self.place.remove_record()?;
        }
        match aside {
            Some(name) => self.place.park(&name),
            None => disk::remove(&self.place.data).map(drop),
        }?;
        disk::point("parked");
        Ok(())
    }

    /// Writes down which file is parked before it goes out of the way: a rename does not change its inode, and without
    /// this nobody would know after a kill whose the file is.
    fn announce(&self, record: &mut Record) -> Result<(), Fault> {
        record.parked = self.parked;
        record.owner = Some(owner());
        record.updated = std::time::SystemTime::now();
        disk::replace(&self.place.sidecar, record.to_toml().as_bytes(), true)
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
        self.place.remove_parked(self.parked)?;
        self.place.remove_record()?;
        self.created = true;
        Ok(())
    }

    /// Removes all that is left of the transfer: data, record, and what an earlier start has parked, which is told.
    pub fn forget(self) -> Result<Option<PathBuf>, Fault> {
        let parked = self.place.remove_parked(self.parked)?;
        self.place.remove_record()?;
        disk::remove(&self.place.data)?;
        Ok(parked)
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
        record.owner = Some(owner());
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

/// This run.
fn owner() -> Owner {
    Owner {
        host: disk::host_name().to_string(),
        pid: std::process::id(),
        boot: disk::boot_id().to_string(),
        token: disk::token(),
    }
}

/// Opens or creates the data file and takes its lock. Once held, the descriptor must still be the path's file: a
/// process that finished in between has renamed it away.
fn open_locked(place: &Place) -> Result<(File, bool), Fault> {
    for _ in 0..100 {
        let (file, created) = match disk::create_private(&place.data)? {
            Some(file) => (file, true),
            None => match disk::open_existing(&place.data)? {
                Some(file) => (file, false),
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
