//! Names: folders, and how a file gets a name, changes it and loses it. What must survive a power cut is synced here,
//! the folder included.

use super::bytes::{create_private, is_still, sync_data, write_at};
use super::instruments::{inode, may_fail, note, point};
use super::{fault, shown};
use crate::fault::{Fault, Kind};
use crate::record::IfExists;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A name in an opened folder: what is done to it cannot be led elsewhere by somebody who swaps the folder.
#[derive(Debug)]
pub struct Spot {
    dir: File,
    name: OsString,
    shown: PathBuf,
}

impl Spot {
    /// The spot of `path`; opens its folder.
    pub fn at(path: &Path) -> Result<Self, Fault> {
        let name =
            path.file_name().ok_or_else(|| Fault::new(Kind::Local, format!("{} is not a file name", shown(path))))?;
        Ok(Self { dir: open_dir(&folder_of(path))?, name: name.to_owned(), shown: path.to_owned() })
    }

    /// The spot `name` in the folder `dir`, which people know as `shown`.
    pub fn in_dir(dir: File, name: impl Into<OsString>, shown: PathBuf) -> Self {
        Self { dir, name: name.into(), shown }
    }

    /// The path for people.
    pub fn path(&self) -> &Path {
        &self.shown
    }

    /// Makes the names in the folder survive a power cut.
    pub fn sync_folder(&self) -> Result<(), Fault> {
        sync_open_dir(&self.dir, &folder_of(&self.shown))
    }

    /// Which folder it is in: device and inode.
    pub fn folder(&self) -> io::Result<(u64, u64)> {
        self.dir.metadata().map(|meta| (meta.dev(), meta.ino()))
    }

    /// Whether something in its folder is called like it, with `suffix` behind.
    pub fn has_beside(&self, suffix: &str) -> bool {
        let mut name = self.name.clone();
        name.push(suffix);
        rustix::fs::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The mode of the regular file that has this name now; `None` when there is none.
    fn mode(&self) -> Option<u32> {
        let stat = rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        // Narrower on some systems.
        #[allow(clippy::useless_conversion)]
        let mode = u32::from(stat.st_mode);
        rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file().then_some(mode & 0o777)
    }
}

/// The folder a path lies in.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(super) fn open_dir(path: &Path) -> Result<File, Fault> {
    File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Fault::new(Kind::Local, format!("the folder {} does not exist", shown(path)))
            .hint("create it, or add --create-dirs"),
        _ => fault("open the folder", path, &e),
    })
}

/// Creates the folder `path` with all its parents, mode 0777 less the umask, so that they survive a power cut.
pub fn create_dirs(path: &Path) -> Result<(), Fault> {
    let missing: Vec<&Path> = path.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.is_dir()).collect();
    for at in missing.into_iter().rev() {
        match std::fs::create_dir(at) {
            Ok(()) => made_dir(at)?,
            // Somebody else made it meanwhile.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && at.is_dir() => {}
            Err(e) => return Err(fault("create the folder", at, &e)),
        }
    }
    Ok(())
}

/// A folder was made: its name survives a power cut from now on.
fn made_dir(path: &Path) -> Result<(), Fault> {
    note(|| format!("mkdir\t{}", path.display()));
    sync_dir(&folder_of(path))
}

/// Opens the folder `parts` below the open folder `root`, following no symlink at any step; with `create`, makes
/// what is missing, so that it survives a power cut. `None` when it is not there.
pub fn folder_below(root: &File, parts: &[&str], create: bool) -> Result<Option<File>, Fault> {
    use rustix::io::Errno;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = PathBuf::from(parts.join("/"));
    let lost = |e: Errno| fault("open the folder", &path, &e.into());
    let mut at = root.try_clone().map_err(|e| fault("open the folder", &path, &e))?;
    for part in parts {
        let next = match rustix::fs::openat(&at, *part, flags, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                match rustix::fs::mkdirat(&at, *part, Mode::from_raw_mode(0o777)) {
                    Ok(()) => sync_open_dir(&at, &path)?,
                    // Somebody else made it meanwhile.
                    Err(Errno::EXIST) => {}
                    Err(e) => return Err(lost(e)),
                }
                rustix::fs::openat(&at, *part, flags, Mode::empty())
            }
            Err(Errno::NOENT) => return Ok(None),
            other => other,
        };
        at = File::from(next.map_err(lost)?);
    }
    Ok(Some(at))
}

/// Makes sure that `path` is a real folder of this user that nobody else may look into, created if need be.
pub fn create_private_dir(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => made_dir(path)?,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(fault("create the folder", path, &e)),
    }
    let meta = std::fs::symlink_metadata(path).map_err(|e| fault("look at", path, &e))?;
    match meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(Fault::new(Kind::Local, format!("{} is not a folder of your own", shown(path)))),
    }
}

/// The suffix of a small file while it is being replaced.
pub const NEW_SUFFIX: &str = ".new";

/// Replaces the small file `path` by `bytes`, mode 0600: temporary file, sync, rename. With `sync_folder` the
/// rename itself survives a power cut too.
pub fn replace(path: &Path, bytes: &[u8], sync_folder: bool) -> Result<(), Fault> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(NEW_SUFFIX);
    let temp = path.with_file_name(name);
    let file = loop {
        match create_private(&temp)? {
            Some(file) => break file,
            // Left by a kill: the lock on the data file says that nobody else is writing it now.
            None => remove(&temp).map(drop)?,
        }
    };
    let written = write_at(&file, bytes, 0).and_then(|()| sync_data(&file)).and_then(|()| {
        std::fs::rename(&temp, path)?;
        note(|| format!("rename\t{}\t{}\t{}", inode(&file), temp.display(), path.display()));
        Ok(())
    });
    if let Err(e) = written {
        let _ = remove(&temp);
        return Err(fault("write", path, &e));
    }
    match sync_folder {
        true => sync_dir(&folder_of(path)),
        false => Ok(()),
    }
}

/// Makes the names in a folder survive a power cut.
pub fn sync_dir(path: &Path) -> Result<(), Fault> {
    sync_open_dir(&open_dir(path)?, path)
}

pub(super) fn sync_open_dir(dir: &File, path: &Path) -> Result<(), Fault> {
    match dir.sync_all() {
        // Some network filesystems cannot sync a folder; there is nothing more to be done there.
        Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            Err(fault("sync the folder", path, &e))
        }
        _ => {
            note(|| format!("syncdir\t{}", path.display()));
            Ok(())
        }
    }
}

/// Removes a file; `false` when there was none.
pub fn remove(path: &Path) -> Result<bool, Fault> {
    match std::fs::remove_file(path) {
        Ok(()) => {
            note(|| format!("remove\t{}", path.display()));
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(fault("remove", path, &e)),
    }
}

/// Removes a folder of our own with all that is in it; symlinks in it are removed, not followed.
pub fn remove_tree(path: &Path) -> Result<(), Fault> {
    std::fs::remove_dir_all(path).map_err(|e| fault("remove", path, &e))
}

/// Renames within a folder, replacing what has the new name.
pub fn rename(from: &Path, to: &Path) -> Result<(), Fault> {
    std::fs::rename(from, to).map_err(|e| fault("rename", from, &e))?;
    note(|| format!("rename\t0\t{}\t{}", from.display(), to.display()));
    Ok(())
}

/// Renames within a folder; `false`: something has the new name, and keeps it.
pub fn rename_if_free(from: &Path, to: &Path) -> Result<bool, Fault> {
    match rename_unless_taken(from, &Spot::at(to)?) {
        Ok(()) => {
            note(|| format!("rename\t0\t{}\t{}", from.display(), to.display()));
            Ok(true)
        }
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(e) => Err(fault("rename", from, &e.into())),
    }
}

/// Gives the finished file `from` its final name, which survives a power cut once its folder is synced
/// ([`Spot::sync_folder`]). `false`: the name is taken and may not be replaced. The file gets the mode of the one it
/// replaces, or what the umask leaves of 0666.
pub fn publish(file: &File, from: &Path, into: &Spot, if_exists: IfExists) -> Result<bool, Fault> {
    let lost = |e: io::Error| fault("give its final name to", into.path(), &e);
    // A rename goes by name: what has the name now must be the file that was written and checked.
    if !is_still(file, from) {
        let text = format!("{} is no longer the file that was written", shown(from));
        return Err(Fault::new(Kind::Local, text).hint("somebody else has replaced it; run the same command again"));
    }
    let mode = into.mode().unwrap_or(0o666 & !umask());
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(lost)?;
    let renamed = match if_exists {
        IfExists::Replace => rustix::fs::renameat(CWD, from, &into.dir, &into.name),
        IfExists::Fail => rename_unless_taken(from, into),
    };
    match renamed {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(lost)?;
            return Ok(false);
        }
        Err(e) => return Err(lost(e.into())),
    }
    note(|| format!("rename\t{}\t{}\t{}", inode(file), from.display(), into.path().display()));
    point("published");
    may_fail("published").map_err(lost)?;
    Ok(true)
}

/// Gives an open file one more name, by a hard link that survives a power cut. By its descriptor: whatever has its old
/// name by now, it is this very file. `false`: the name is taken and may not be replaced. `spare` is a name beside it
/// that is free to be used. Known on Linux, on filesystems with hard links only; elsewhere it is a fault.
pub fn link(file: &File, into: &Spot, if_exists: IfExists, spare: &Path) -> Result<bool, Fault> {
    let lost = |e: rustix::io::Errno| fault("link", into.path(), &e.into());
    let name = |at: &Spot| link_open(file, at);
    match if_exists {
        IfExists::Fail => match name(into) {
            Err(rustix::io::Errno::EXIST) => return Ok(false),
            other => other.map_err(lost)?,
        },
        IfExists::Replace => {
            remove(spare)?;
            let beside = Spot::at(spare)?;
            name(&beside).map_err(lost)?;
            let renamed = rustix::fs::renameat(&beside.dir, &beside.name, &into.dir, &into.name);
            // Where both were the same file already, a rename does nothing (rename(2)).
            remove(spare)?;
            renamed.map_err(lost)?;
        }
    }
    note(|| format!("link\t{}\t{}", inode(file), into.path().display()));
    sync_open_dir(&into.dir, &folder_of(into.path()))?;
    Ok(true)
}

/// Creates a file in the folder of `beside` that has no name: it is gone with its last descriptor, however the process
/// ends, unless [`name_unnamed`] gives it one. Its mode is what the umask leaves of 0666. `None` where there are no such
/// files (open(2), `O_TMPFILE`): other systems, some filesystems.
#[cfg(target_os = "linux")]
pub fn create_unnamed(beside: &Spot) -> Result<Option<File>, Fault> {
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(&beside.dir, ".", flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => {
            let file = File::from(file);
            note(|| format!("create\t{}\t", inode(&file)));
            Ok(Some(file))
        }
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(e) => Err(fault("create", beside.path(), &e.into())),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn create_unnamed(_: &Spot) -> Result<Option<File>, Fault> {
    Ok(None)
}

/// Gives a finished file of [`create_unnamed`] its name, which survives a power cut once its folder is synced. `false`: the
/// name is taken.
pub fn name_unnamed(file: &File, into: &Spot) -> Result<bool, Fault> {
    match link_open(file, into) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Ok(false),
        Err(e) => return Err(fault("give its final name to", into.path(), &e.into())),
    }
    note(|| format!("link\t{}\t{}", inode(file), into.path().display()));
    point("published");
    Ok(true)
}

/// By its descriptor; systems before Linux 6.10 let only root do so without a detour by its link in `/proc`.
fn link_open(file: &File, into: &Spot) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::linkat(file, "", &into.dir, &into.name, AtFlags::EMPTY_PATH) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => {}
        other => return other,
    }
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, &own, &into.dir, &into.name, AtFlags::SYMLINK_FOLLOW)
}

fn rename_unless_taken(from: &Path, into: &Spot) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, from, &into.dir, &into.name, RenameFlags::NOREPLACE) {
        // Not every filesystem knows the flag; a hard link refuses a taken name everywhere.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(CWD, from, &into.dir, &into.name, AtFlags::empty())?;
            rustix::fs::unlink(from)
        }
        other => other,
    }
}

/// The umask of this process.
pub(super) fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let told = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))
            .and_then(|v| u32::from_str_radix(v.trim(), 8).ok());
        told.unwrap_or_else(|| {
            // Asking means setting; put it back at once.
            let old = rustix::process::umask(Mode::from_raw_mode(0o077));
            rustix::process::umask(old);
            #[allow(clippy::useless_conversion)]
            u32::from(old.as_raw_mode())
        })
    })
}

/// Appends a suffix to the last component of a path.
pub fn with_suffix(path: &Path, suffix: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// The real file behind `path`: symlinks followed, also one that points to nothing yet.
pub fn resolve_links(path: &Path) -> Result<PathBuf, Fault> {
    let mut at = path.to_owned();
    for _ in 0..40 {
        match std::fs::read_link(&at) {
            Ok(next) => at = folder_of(&at).join(next),
            Err(_) => return Ok(at),
        }
    }
    Err(Fault::new(Kind::Local, format!("{} is a loop of symlinks", shown(path))))
}

/// Whether a name fits into the filesystem's limit of 255 bytes.
pub fn fits(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_bytes().len() <= 255)
}
