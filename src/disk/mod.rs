//! The disk: the only place that creates, writes, syncs, renames or removes files. What it promises is what the
//! crash story of `partial` is built on; foreign errors become faults here.
//!
//! Debug builds carry two instruments for the tests: [`point`] kills the process at a named place, and the disk
//! log writes down every change in order, so that a power cut can be replayed from what had been synced.

mod bytes;
mod here;
mod instruments;
mod names;

pub use bytes::*;
pub use here::*;
pub use instruments::*;
pub use names::*;

use crate::fault::{Fault, Kind};
use std::io;
use std::path::Path;

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
