//! The two instruments of debug builds: places where the tests kill the process or let the disk fail, and the log of all
//! changes that a power cut is replayed from.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

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
pub(super) fn may_fail(name: &str) -> io::Result<()> {
    match cfg!(debug_assertions) && std::env::var("ONWARD_FAIL_AT").is_ok_and(|wanted| wanted == name) {
        true => Err(rustix::io::Errno::IO.into()),
        false => Ok(()),
    }
}

/// Writes one line of the disk log (`ONWARD_DISK_LOG=FILE`, debug builds only): tab-separated operation, inode and
/// arguments, in the order the operations took effect.
pub(super) fn note(line: impl FnOnce() -> String) {
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

pub(super) fn inode(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}
