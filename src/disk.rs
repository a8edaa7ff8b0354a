//! The disk: the only place that creates, writes, syncs, renames or removes files. What it promises is what the
//! crash story of `partial` is built on; foreign errors become faults here.
//!
//! Debug builds carry two instruments for the tests: [`point`] kills the process at a named place, and the disk
//! log writes down every change in order, so that a power cut can be replayed from what had been synced.

use crate::fault::{Fault, Kind};
use crate::record::{IfExists, Stamp};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// What to do about a full disk.
pub const FULL: &str = "free some space and run the same command again";

/// Whether a fault means that there was no room.
pub fn is_full(fault: &Fault) -> bool {
    fault.kind == Kind::Local && fault.hint.as_deref() == Some(FULL)
}

/// The fault that a failed disk operation means.
pub fn fault(doing: &str, path: &Path, error: &io::Error) -> Fault {
    let shown = shown(path);
    let hint = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => FULL,
        Some(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM | rustix::io::Errno::ROFS) => {
            "choose a place you may write to with -o or -d"
        }
        Some(rustix::io::Errno::NOENT) => "check the path",
        _ => return Fault::new(Kind::Local, format!("cannot {doing} {shown}: {}", reason(error))),
    };
    Fault::new(Kind::Local, format!("cannot {doing} {shown}: {}", reason(error))).hint(hint)
}

/// The system's words for an error, without the error number that std appends.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A path for people: control characters escaped.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

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

fn open_dir(path: &Path) -> Result<File, Fault> {
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

/// Creates `path`, which must not exist, for reading and writing; mode 0600. `None` when it exists.
pub fn create_private(path: &Path) -> Result<Option<File>, Fault> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    match file {
        Ok(file) => {
            note(|| format!("create\t{}\t{}", inode(&file), path.display()));
            Ok(Some(file))
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(e) => Err(fault("create", path, &e)),
    }
}

/// Opens the file `path` of our own for reading and writing, following no symlink; `None` when there is none. One that
/// somebody else has planted is refused: they could go on writing to it after it was checked. It gets mode 0600.
pub fn open_existing(path: &Path) -> Result<Option<File>, Fault> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fault("open", path, &e)),
    };
    let meta = file.metadata().map_err(|e| fault("look at", path, &e))?;
    let doubt = match &meta {
        meta if !meta.is_file() => "it is not a regular file",
        meta if meta.uid() != rustix::process::geteuid().as_raw() => "it belongs to another user",
        meta if meta.nlink() > 1 => "it has another name, too (a hard link)",
        _ => "",
    };
    if !doubt.is_empty() {
        return Err(Fault::new(Kind::Local, format!("{} is in the way: {doubt}", shown(path)))
            .hint("look at it; move it away or remove it, then run the same command again"));
    }
    if meta.mode() & 0o077 != 0 {
        // A filesystem without modes refuses, and gives all files the same anyway.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o600));
    }
    Ok(Some(file))
}

/// Opens something that is not a regular file (`/dev/null`, a FIFO) for writing.
pub fn open_stream(path: &Path) -> Result<File, Fault> {
    OpenOptions::new().write(true).open(path).map_err(|e| fault("write to", path, &e))
}

/// Opens a file for writing that is no transfer's: emptied, with the mode that the user's mask leaves.
pub fn create_plain(path: &Path) -> Result<File, Fault> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(|e| fault("write to", path, &e))
}

/// Where a file's first hole begins, its length where it has none; `None` where that cannot be told.
pub fn dense_prefix(file: &File) -> Option<u64> {
    #[cfg(target_os = "linux")]
    return rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0)).ok();
    #[cfg(not(target_os = "linux"))]
    return file.metadata().ok().map(|meta| meta.len());
}

/// Opens a regular file for reading.
pub fn open_source(path: &Path) -> Result<File, Fault> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| fault("read", path, &e))?;
    match file.metadata().map_err(|e| fault("look at", path, &e))? {
        meta if meta.is_file() => Ok(file),
        meta if meta.is_dir() => Err(Fault::new(Kind::Usage, format!("{} is a folder", shown(path)))),
        _ => Err(Fault::new(Kind::Usage, format!("{} is not a regular file", shown(path)))),
    }
}

/// Takes the exclusive lock of a file if nobody has it. `false`: somebody has.
pub fn try_lock(file: &File, path: &Path) -> Result<bool, Fault> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        // A filesystem without locks: the owner token in the sidecar is what is left.
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(e)) => Err(fault("lock", path, &e)),
    }
}

/// Gives the lock of a file back, however many descriptors of it are still open in this process.
pub fn unlock(file: &File) {
    // A filesystem without locks has nothing to give back.
    let _ = file.unlock();
}

/// Whether the open file is still the one that `path` names.
pub fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => open.dev() == named.dev() && open.ino() == named.ino(),
        _ => false,
    }
}

/// What tells this file from its next version.
pub fn stamp(file: &File) -> io::Result<Stamp> {
    Ok(stamp_of(&file.metadata()?))
}

/// The same, of metadata that is at hand.
pub fn stamp_of(meta: &std::fs::Metadata) -> Stamp {
    Stamp {
        size: meta.len(),
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        ctime: Some(time(meta.ctime(), meta.ctime_nsec())),
        device: meta.dev(),
        inode: meta.ino(),
    }
}

fn time(seconds: i64, nanoseconds: i64) -> String {
    use std::fmt::Write;
    // Room for all of it: thousands of files are stamped, by several threads that would wait for each other's memory.
    let mut text = String::with_capacity(32);
    let _ = write!(text, "{seconds}.{nanoseconds:09}");
    text
}

/// Writes all of `bytes` at `at`; no cursor is involved.
pub fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)?;
    note(|| format!("write\t{}\t{at}\t{}", inode(file), crate::digest::hex(bytes)));
    Ok(())
}

/// Copies bytes of `from` at `at` to the same place in `to`, and fills `buffer`, which says how many, with what is there
/// then. The kernel copies where it can, sharing the blocks instead where the filesystem can (a reflink).
pub fn copy_in(from: &File, to: &File, at: u64, buffer: &mut [u8]) -> io::Result<()> {
    let copied = in_kernel(from, to, at, buffer.len());
    // Other filesystems, other systems: what the kernel did not copy is copied by hand.
    let (_, rest) = buffer.split_at_mut(copied);
    from.read_exact_at(rest, at + copied as u64)?;
    to.write_all_at(rest, at + copied as u64)?;
    to.read_exact_at(buffer, at)?;
    note(|| format!("write\t{}\t{at}\t{}", inode(to), crate::digest::hex(buffer)));
    Ok(())
}

/// How many bytes the kernel has copied; fewer than asked for where it cannot.
#[cfg(target_os = "linux")]
fn in_kernel(from: &File, to: &File, at: u64, length: usize) -> usize {
    let (mut here, mut there, mut copied) = (at, at, 0);
    while copied < length {
        match rustix::fs::copy_file_range(from, Some(&mut here), to, Some(&mut there), length - copied) {
            Ok(0) | Err(_) => break,
            Ok(n) => copied += n,
        }
    }
    copied
}

#[cfg(not(target_os = "linux"))]
fn in_kernel(_: &File, _: &File, _: u64, _: usize) -> usize {
    0
}

/// Writes all of `bytes` at the cursor of something that is streamed to, however long that takes.
pub fn write_on(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Somebody else who has it open wants it not to block.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Makes the data of the file survive a power cut.
pub fn sync_data(file: &File) -> io::Result<()> {
    // Two lines: a write that another thread logs in between is not covered by this sync.
    note(|| format!("syncing\t{}", inode(file)));
    file.sync_data()?;
    note(|| format!("synced\t{}", inode(file)));
    Ok(())
}

/// Sets the length of the file and, where the filesystem keeps its data on a device, reserves the space.
pub fn allocate(file: &File, path: &Path, length: u64) -> Result<(), Fault> {
    #[cfg(target_os = "linux")]
    reserve(file, path, length)?;
    set_length(file, length).map_err(|e| fault("set the length of", path, &e))
}

/// Reserves the space of all but small files; one in memory would be cleared twice for it.
#[cfg(target_os = "linux")]
fn reserve(file: &File, path: &Path, length: u64) -> Result<(), Fault> {
    const SMALL: u64 = 8 << 20;
    const TMPFS: i64 = 0x0102_1994;
    // The type of the field differs between machines.
    #[allow(clippy::unnecessary_cast)]
    let in_memory = rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type as i64 == TMPFS);
    if length <= SMALL || in_memory {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, length) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => Ok(()),
        Err(e) => Err(fault("reserve space for", path, &e.into())),
    }
}

/// Tells the system that the file will be read from `start` on, where it listens to such words.
pub fn will_stream(file: &File, start: u64) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, start, None, rustix::fs::Advice::Sequential);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, start);
}

/// Gives the file `path` a modification time.
pub fn set_modified(path: &Path, time: SystemTime) -> Result<(), Fault> {
    let set = OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(time));
    set.map_err(|e| fault("set the time of", path, &e))
}

/// Cuts or extends the file to `length` bytes.
pub fn set_length(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    note(|| format!("length\t{}\t{length}", inode(file)));
    Ok(())
}

/// Bytes that this user may still write in the filesystem of an open file.
pub fn free_space(file: &File) -> Option<u64> {
    let fs = rustix::fs::fstatvfs(file).ok()?;
    Some(fs.f_bavail.saturating_mul(fs.f_frsize))
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

fn sync_open_dir(dir: &File, path: &Path) -> Result<(), Fault> {
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
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let name = |at: &Spot| rustix::fs::linkat(CWD, &own, &at.dir, &at.name, AtFlags::SYMLINK_FOLLOW);
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

/// A small file that was read, and whether it can only have been written by this user.
pub struct Private {
    /// Its content.
    pub text: Vec<u8>,
    /// Why it may be somebody else's; `None` when it is ours: a regular file, owned by the caller, mode 0600.
    pub doubt: Option<String>,
}

/// Reads a file of at most `limit` bytes, following no symlink; `None` when there is none.
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Private>, Fault> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fault("read", path, &e)),
    };
    let meta = file.metadata().map_err(|e| fault("look at", path, &e))?;
    if !meta.is_file() || meta.len() > limit {
        return Ok(Some(Private { text: Vec::new(), doubt: Some("it is not a small regular file".into()) }));
    }
    let mut text = Vec::with_capacity(meta.len() as usize);
    file.take(limit).read_to_end(&mut text).map_err(|e| fault("read", path, &e))?;
    let doubt = if meta.uid() != rustix::process::geteuid().as_raw() {
        Some("it belongs to another user".to_string())
    } else if meta.mode() & 0o077 != 0 {
        Some(format!("its mode is {:04o}, not 0600", meta.mode() & 0o7777))
    } else {
        None
    };
    Ok(Some(Private { text, doubt }))
}

/// The umask of this process.
fn umask() -> u32 {
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

/// The id of this boot of the machine: what the page cache held under another id is gone.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_string(),
        // No boot id to be had (macOS): a new one for each process means that recent bytes are not counted.
        Err(_) => token(),
    })
}

/// The name of this machine.
pub fn host_name() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// 128 random bits in hexadecimal.
pub fn token() -> String {
    let mut bytes = [0; 16];
    // Without the system's randomness a token can still be told from another process's.
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
        let now = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes[4..12].copy_from_slice(&(now.as_nanos() as u64).to_be_bytes());
    }
    crate::digest::hex(&bytes)
}

/// The folder for what has no place beside a file: `$XDG_STATE_HOME/onward`, or `~/.local/state/onward`. `None`
/// without a home.
pub fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("onward"))
}

/// Opens a file of notes for appending (mode 0600, created with its folder).
pub fn open_notes(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Creates a file (mode 0600) of something that is only true while this process lives, with its folder. Nothing depends
/// on it, so nothing is synced.
pub fn create_passing(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Appends one line to a file of notes. Nothing depends on it, so it is not synced.
pub fn append_note(mut file: &File, line: &str) -> io::Result<()> {
    file.write_all(format!("{line}\n").as_bytes())
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

/// A named place where the tests may kill the process: `ONWARD_CRASH_AT=name`, or `name:3` for the third time the
/// place is passed; or where they hold it up, as a disk that does not answer would: `ONWARD_HOLD_AT=name`. Debug builds
/// only.
pub fn point(name: &'static str) {
    if !cfg!(debug_assertions) {
        return;
    }
    if std::env::var("ONWARD_HOLD_AT").is_ok_and(|wanted| wanted == name) {
        std::thread::sleep(std::time::Duration::from_secs(120));
    }
    static WANTED: OnceLock<Option<(String, usize)>> = OnceLock::new();
    static PASSED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("ONWARD_CRASH_AT").ok()?;
        let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_string(), nth.parse().ok()?))
    });
    let Some((wanted, nth)) = wanted else { return };
    if wanted == name && PASSED.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == *nth {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// A named place where the tests let the disk fail: `ONWARD_FAIL_AT=name`. Debug builds only.
fn may_fail(name: &str) -> io::Result<()> {
    match cfg!(debug_assertions) && std::env::var("ONWARD_FAIL_AT").is_ok_and(|wanted| wanted == name) {
        true => Err(rustix::io::Errno::IO.into()),
        false => Ok(()),
    }
}

/// Writes one line of the disk log (`ONWARD_DISK_LOG=FILE`, debug builds only): tab-separated operation, inode and
/// arguments, in the order the operations took effect.
fn note(line: impl FnOnce() -> String) {
    if !cfg!(debug_assertions) {
        return;
    }
    static LOG: OnceLock<Option<File>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let path = std::env::var_os("ONWARD_DISK_LOG")?;
        OpenOptions::new().append(true).create(true).open(path).ok()
    });
    if let Some(mut log) = log.as_ref() {
        let _ = log.write_all(format!("{}\n", line()).as_bytes());
    }
}

fn inode(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}
