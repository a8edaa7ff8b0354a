//! The record of an upload: a sidecar beside the source, its lock, and its atomic replacement.
//!
//! The source is the user's own file, so nothing of ours is ever locked or written in it: the lock is an empty
//! `NAME.<8 hex of the destination>.partial.lock`, the record `NAME.<8 hex>.partial.toml`. One source can be on its way
//! to several destinations. Where that place cannot be written both lie in the state folder; where that cannot be
//! written either, the upload still runs, and says that it keeps no record.

use crate::digest::{Algorithm, Hasher, hex};
use crate::disk;
use crate::fault::{Fault, Kind as FaultKind};
use crate::partial::{SIDECAR_SUFFIX, Sidecar, held, read_sidecar};
use crate::record::{Kind, Owner, Record};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The suffix of the lock.
pub const LOCK_SUFFIX: &str = ".partial.lock";
/// A record of another machine that is younger than this means that the machine is still at it.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Bytes of the source's name that are kept in the name of a record in the state folder.
const NAME_KEPT: usize = 100;

/// Where the record of one upload lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path of record and lock without their suffixes.
    stem: PathBuf,
    /// The source as the record has it: its name, or its whole path where the record lies in the state folder.
    file: String,
    /// Whether a record that somebody else may have written is believed.
    pub trust: bool,
}

impl Place {
    /// Beside the source.
    pub fn beside(source: &Path, destination: &str) -> Self {
        let name = source.file_name().unwrap_or_default();
        Self {
            stem: disk::with_suffix(source, format!(".{}", tag(destination, 4))),
            file: name.to_string_lossy().into_owned(),
            trust: false,
        }
    }

    /// In the state folder, if this user has one.
    pub fn in_state(source: &Path, destination: &str) -> Option<Self> {
        let source = std::path::absolute(source).ok()?;
        let file = source.to_str()?.to_string();
        let name = source.file_name()?.to_string_lossy();
        let name: String =
            name.char_indices().take_while(|(at, c)| at + c.len_utf8() <= NAME_KEPT).map(|(_, c)| c).collect();
        let stem = disk::state_folder()?.join(format!("{name}.{}", tag(&format!("{file}\n{destination}"), 8)));
        Some(Self { stem, file, trust: false })
    }

    /// The place whose record is `sidecar`, for the record that was read there. `None` when the names do not fit each
    /// other: then the record speaks of another file than the one it lies beside.
    pub fn of_sidecar(sidecar: &Path, record: &Record) -> Option<Self> {
        let stem = sidecar.file_name()?.to_str()?.strip_suffix(SIDECAR_SUFFIX)?;
        let (name, _) = stem.rsplit_once('.').filter(|(_, tag)| tag.len() >= 8)?;
        let file = Path::new(&record.file);
        let fits = match file.is_absolute() {
            true => disk::state_folder().is_some_and(|folder| folder == disk::folder_of(sidecar)),
            false => record.file == name && file.file_name().is_some_and(|own| own == file.as_os_str()),
        };
        fits.then(|| Self { stem: sidecar.with_file_name(stem), file: record.file.clone(), trust: false })
    }

    /// The record's path.
    pub fn sidecar(&self) -> PathBuf {
        disk::with_suffix(&self.stem, SIDECAR_SUFFIX)
    }

    /// The lock's path.
    pub fn lock(&self) -> PathBuf {
        disk::with_suffix(&self.stem, LOCK_SUFFIX)
    }

    /// The source.
    pub fn source(&self) -> PathBuf {
        disk::folder_of(&self.stem).join(&self.file)
    }
}

/// The first `bytes` bytes of a destination's sha-256, in hexadecimal.
fn tag(destination: &str, bytes: usize) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(destination.as_bytes());
    hex(&hasher.finish().bytes[..bytes])
}

/// An upload's record with its lock held. Dropped, the lock is gone and the record stays as it was last saved.
pub struct RecordFile {
    place: Place,
    lock: Option<File>,
    record: Option<Record>,
    problem: Option<String>,
    token: String,
    written: bool,
}

impl RecordFile {
    /// Takes the lock on the record of `source` on its way to `destination` and reads it. Another process that is at
    /// it is a fault of kind `Held`.
    pub fn take(source: &Path, destination: &str, trust: bool) -> Result<Self, Fault> {
        let beside = Place { trust, ..Place::beside(source, destination) };
        let in_state = Place::in_state(source, destination).map(|place| Place { trust, ..place });
        let is_there = |place: &Place| place.sidecar().try_exists().unwrap_or(false);
        if let Some(place) = in_state.as_ref().filter(|place| is_there(place) && !is_there(&beside)) {
            return Self::at(place.clone());
        }
        let refused = match Self::at(beside.clone()) {
            Err(fault) if fault.kind == FaultKind::Local => fault,
            other => return other,
        };
        if let Some(place) = in_state {
            let at = disk::create_dirs(&disk::folder_of(&place.sidecar())).and_then(|()| Self::at(place));
            match at {
                Err(fault) if fault.kind == FaultKind::Local => {}
                other => return other,
            }
        }
        let problem = format!("no record is kept, so this upload cannot be resumed: {refused}");
        Ok(Self {
            lock: None,
            record: None,
            problem: Some(problem),
            token: disk::token(),
            written: false,
            place: beside,
        })
    }

    /// Takes the lock at a known place and reads what is there.
    pub fn at(place: Place) -> Result<Self, Fault> {
        if !disk::fits(&disk::with_suffix(&place.sidecar(), ".new")) {
            return Err(Fault::new(
                FaultKind::Local,
                format!("{} is too long a name to keep a record beside it", place.file),
            ));
        }
        let lock = open_locked(&place)?;
        let mut file =
            Self { place, lock: Some(lock), record: None, problem: None, token: disk::token(), written: false };
        file.read()?;
        Ok(file)
    }

    fn read(&mut self) -> Result<(), Fault> {
        let shown = disk::shown(&self.place.sidecar());
        let record = match read_sidecar(&self.place.sidecar())? {
            Sidecar::None => return Ok(()),
            Sidecar::Damaged(why) => {
                self.problem = Some(format!("the record {shown} is damaged: {why}"));
                return Ok(());
            }
            Sidecar::Doubtful(_, doubt) if !self.place.trust => {
                // It would send the source to wherever it says.
                let text = format!("{shown} may be somebody else's: {doubt}");
                return Err(Fault::new(FaultKind::Refused, text).hint(
                    "look at it; then `onward resume --trust PATH` goes on with it, or remove it to start over",
                ));
            }
            Sidecar::Record(record) | Sidecar::Doubtful(record, _) => record,
        };
        if let Some(owner) = elsewhere(&record) {
            return Err(held(&self.place.file, owner));
        }
        match record.kind == Kind::Upload && record.file == self.place.file {
            true => self.record = Some(*record),
            false => self.problem = Some(format!("the record {shown} speaks of another transfer")),
        }
        Ok(())
    }

    /// The record that was found.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Why what was found cannot be used, or why nothing is kept.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Where it lies.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Replaces the record by `record`, in one atomic step, as ours.
    pub fn save(&mut self, record: &Record) -> Result<(), Fault> {
        let owner = Owner {
            host: disk::host_name().to_string(),
            pid: std::process::id(),
            boot: disk::boot_id().to_string(),
            token: self.token.clone(),
        };
        self.write(Record { owner: Some(owner), ..record.clone() })
    }

    /// Leaves the record for the next run: saved once more, without an owner, unlocked.
    pub fn leave(mut self, record: &Record) -> Result<(), Fault> {
        disk::point("record-left");
        self.write(Record { owner: None, ..record.clone() })?;
        self.unlock()
    }

    /// The upload is over: the record goes, then the lock.
    pub fn remove(mut self) -> Result<(), Fault> {
        if self.lock.is_some() {
            disk::remove(&self.place.sidecar())?;
            // What a kill in the middle of a replacement left.
            disk::remove(&disk::with_suffix(&self.place.sidecar(), ".new"))?;
        }
        self.unlock()
    }

    fn write(&mut self, record: Record) -> Result<(), Fault> {
        if self.lock.is_none() {
            return Ok(());
        }
        self.still_ours()?;
        let record = Record { file: self.place.file.clone(), updated: SystemTime::now(), ..record };
        disk::replace(&self.place.sidecar(), record.to_toml().as_bytes(), !self.written)?;
        self.written = true;
        Ok(())
    }

    /// Where locks do not hold (some network filesystems) a foreign token in the record is the only sign that another
    /// process has taken over. A record that somebody removed is not: it is written again.
    fn still_ours(&self) -> Result<(), Fault> {
        if !self.written {
            return Ok(());
        }
        let Some(private) = disk::read_private(&self.place.sidecar(), crate::record::MAX_TEXT)? else { return Ok(()) };
        let own = self.token.as_bytes();
        if private.text.windows(own.len()).any(|text| text == own) {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Held, format!("another process has taken over the upload of {}", self.place.file)))
    }

    /// The lock file goes while it is still locked: whoever waits for it finds that it is no longer the path's file.
    fn unlock(&mut self) -> Result<(), Fault> {
        match self.lock.take() {
            Some(_locked) => disk::remove(&self.place.lock()).map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for RecordFile {
    fn drop(&mut self) {
        // Nothing better can be done about a lock that cannot be removed: it is empty and no obstacle.
        let _ = self.unlock();
    }
}

/// Opens or creates the lock file and takes its lock.
fn open_locked(place: &Place) -> Result<File, Fault> {
    let path = place.lock();
    for _ in 0..100 {
        let file = match disk::open_existing(&path)? {
            Some(file) => file,
            None => match disk::create_private(&path)? {
                Some(file) => file,
                None => continue,
            },
        };
        if !disk::try_lock(&file, &path)? {
            break;
        }
        if disk::is_still(&file, &path) {
            return Ok(file);
        }
    }
    let owner = match read_sidecar(&place.sidecar()) {
        Ok(Sidecar::Record(record) | Sidecar::Doubtful(record, _)) => record.owner,
        _ => None,
    };
    Err(match owner {
        Some(owner) => held(&place.file, &owner),
        None => Fault::new(FaultKind::Held, format!("another process is uploading {}", place.file))
            .hint("wait for it, or stop it and run this again"),
    })
}

/// The owner of a record that another machine has renewed a moment ago.
fn elsewhere(record: &Record) -> Option<&Owner> {
    let owner = record.owner.as_ref().filter(|owner| owner.host != disk::host_name())?;
    (record.updated.elapsed().unwrap_or_default() < HEARTBEAT).then_some(owner)
}

#[cfg(test)]
mod tests {
    // A test may write a file without ceremony.
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const DEST: &str = "http://h/f";

    fn record() -> Record {
        let mut record = Record::new(Kind::Upload, DEST, "f", 10);
        record.length = Some(100);
        record
    }

    fn source(dir: &tempfile::TempDir) -> PathBuf {
        let path = dir.path().join("f");
        std::fs::write(&path, [1; 100]).unwrap();
        path
    }

    #[test]
    fn saved_left_found_again_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(&dir);
        let mut file = RecordFile::take(&source, DEST, false).unwrap();
        assert!(file.record().is_none() && file.problem().is_none());
        file.save(&record()).unwrap();
        let sidecar = file.place().sidecar();
        let name = sidecar.file_name().unwrap().to_str().unwrap().to_string();
        assert!(name.starts_with("f.") && name.ends_with(".partial.toml") && name.len() == 1 + 9 + 13, "{name}");
        assert_eq!(std::fs::metadata(&sidecar).unwrap().permissions().mode() & 0o777, 0o600);
        file.leave(&record()).unwrap();
        let again = RecordFile::take(&source, DEST, false).unwrap();
        assert_eq!(again.record().unwrap().length, Some(100));
        assert!(again.record().unwrap().owner.is_none());
        let place = Place::of_sidecar(&sidecar, again.record().unwrap()).unwrap();
        assert_eq!((place.source(), &place), (source, again.place()));
        again.remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the source is left");
    }

    #[test]
    fn one_at_a_time_and_a_stale_lock_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(&dir);
        let mut first = RecordFile::take(&source, DEST, false).unwrap();
        assert_eq!(RecordFile::take(&source, DEST, false).err().unwrap().kind, FaultKind::Held);
        assert!(RecordFile::take(&source, "http://h/other", false).is_ok(), "another destination is another upload");
        first.save(&record()).unwrap();
        let told = RecordFile::take(&source, DEST, false).err().unwrap();
        assert!(told.what.contains(&std::process::id().to_string()), "{told}");
        drop(first);
        std::fs::write(Place::beside(&source, DEST).lock(), "").unwrap();
        assert!(RecordFile::take(&source, DEST, false).unwrap().record().is_some());
    }

    #[test]
    fn who_finds_a_foreign_token_stops() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = RecordFile::take(&source(&dir), DEST, false).unwrap();
        file.save(&record()).unwrap();
        file.save(&record()).unwrap();
        disk::replace(&file.place().sidecar(), record().to_toml().as_bytes(), false).unwrap();
        assert_eq!(file.save(&record()).unwrap_err().kind, FaultKind::Held);
        disk::remove(&file.place().sidecar()).unwrap();
        file.save(&record()).unwrap();
    }

    #[test]
    fn a_record_that_is_not_ours_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(&dir);
        let mut file = RecordFile::take(&source, DEST, false).unwrap();
        file.save(&record()).unwrap();
        let sidecar = file.place().sidecar();
        drop(file);
        std::fs::set_permissions(&sidecar, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(RecordFile::take(&source, DEST, false).err().unwrap().kind, FaultKind::Refused);
        std::fs::set_permissions(&sidecar, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&sidecar, "rubbish").unwrap();
        let found = RecordFile::take(&source, DEST, false).unwrap();
        assert!(found.record().is_none() && found.problem().unwrap().contains("damaged"));
        drop(found);
        let other = Record { file: "g".into(), ..record() };
        disk::replace(&sidecar, other.to_toml().as_bytes(), false).unwrap();
        assert!(RecordFile::take(&source, DEST, false).unwrap().record().is_none());
        assert_eq!(Place::of_sidecar(&sidecar, &other), None);
        assert_eq!(Place::of_sidecar(&sidecar, &Record { file: "../f".into(), ..record() }), None);
        assert_eq!(Place::of_sidecar(&sidecar, &Record { file: "/etc/passwd".into(), ..record() }), None);
    }
}
