//! Bytes: files opened and locked, written at a place, copied, allocated and synced.

use super::instruments::{inode, note};
use super::{fault, shown};
use crate::fault::{Fault, Kind};
use crate::record::Stamp;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

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
