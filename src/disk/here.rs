//! This machine and this user: which boot it is, what it is called, where notes that nothing depends on are kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

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
pub fn append_note(mut file: &File, mut line: String) -> io::Result<()> {
    line.push('\n');
    file.write_all(line.as_bytes())
}
