//! Data that a new start must not destroy yet: it goes out of the way as `NAME.old.partial` until the new file is
//! there. The record holds its inode, because the name alone proves nothing: it may be the data of another download,
//! of a file whose own name ends in `.old`, or something the user put there.

use super::{DATA_SUFFIX, Place};
use crate::disk;
use crate::fault::{Fault, Kind};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

impl Place {
    /// A name out of the way that nobody has.
    pub(super) fn free_parking(&self) -> Result<PathBuf, Fault> {
        let free = |path: &PathBuf| std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound);
        self.parking().into_iter().find(free).ok_or_else(|| self.in_the_way())
    }

    /// Moves the data out of the way, to such a name.
    pub(super) fn park(&self, name: &Path) -> Result<(), Fault> {
        match disk::rename_if_free(&self.data, name)? {
            true => Ok(()),
            false => Err(self.in_the_way()),
        }
    }

    fn in_the_way(&self) -> Fault {
        let [name, _] = self.parking();
        let text =
            format!("{} cannot be moved out of the way: {} is taken", disk::shown(&self.data), disk::shown(&name));
        Fault::new(Kind::Local, text).hint("move one of them away, then run the same command again")
    }

    /// Where the file is that was parked under this inode; `None` when it is gone or was never there.
    pub(super) fn parked(&self, inode: Option<u64>) -> Option<PathBuf> {
        let inode = inode?;
        let is_it = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == inode);
        self.parking().into_iter().find(is_it)
    }

    /// Removes what was parked under this inode, unless another transfer has taken it up; the answer is what went.
    pub(super) fn remove_parked(&self, inode: Option<u64>) -> Result<Option<PathBuf>, Fault> {
        let Some((path, _lock)) = self.lock_parked(inode)? else { return Ok(None) };
        Ok(disk::remove(&path)?.then_some(path))
    }

    /// Removes data and record; what was parked for them gets its own name again, as nothing has come in its place. The
    /// caller holds the lock on the data.
    pub(super) fn withdraw(&self, inode: Option<u64>) -> Result<(), Fault> {
        let Some((path, _lock)) = self.lock_parked(inode)? else {
            self.remove_record()?;
            return disk::remove(&self.data).map(drop);
        };
        disk::remove(&self.data)?;
        disk::point("withdrawing");
        // Where the name is taken again, another process goes on by this record, and the parked file is its own now.
        if disk::rename_if_free(&path, &self.data)? {
            disk::point("withdrawn");
            self.remove_record()?;
        }
        Ok(())
    }

    /// What was parked under this inode, with its lock; `None` also for what another transfer has taken up.
    fn lock_parked(&self, inode: Option<u64>) -> Result<Option<(PathBuf, File)>, Fault> {
        let Some(path) = self.parked(inode) else { return Ok(None) };
        // What cannot be opened as ours is not ours to touch.
        let Ok(Some(file)) = disk::open_existing(&path) else { return Ok(None) };
        let free = disk::try_lock(&file, &path)? && disk::is_still(&file, &path);
        Ok(free.then_some((path, file)))
    }

    fn parking(&self) -> [PathBuf; 2] {
        let name = self.data.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(DATA_SUFFIX).unwrap_or(&name);
        [".old", ".parked"].map(|ending| self.data.with_file_name(format!("{name}{ending}{DATA_SUFFIX}")))
    }
}
