//! Which transfers of this user want connections to a host just now, and how many: so that all of them together keep to
//! what the host allows.
//!
//! Each transfer has a file in the state folder, under a lock as long as it lives. The kernel lets go of that lock
//! however the process ends, so a file whose lock is free is a dead one's, and whoever sees it removes it. Where there
//! is no place for such files, or no locks, nothing is shared and nobody waits.
//!
//! A transfer has no file until it wants a second connection, or its first is refused for now: thousands of small ones
//! would pay for nothing. So those with one connection are not counted until then. One with mirrors is counted at its
//! main host, for all of its connections. Uploads are not counted.

use crate::disk;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The folder of those files in the state folder.
const FOLDER: &str = "connections";
/// At most so many files are looked at at once.
const FILES: usize = 256;
/// No line of a transfer is longer, in bytes.
const LONGEST: usize = 512;
/// No transfer has more connections than this, whatever its file says.
const MOST: u32 = 64;

/// What one transfer wants of a host, in connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// It keeps so many, whatever the others want.
    pub least: u32,
    /// It has use for so many.
    pub most: u32,
    /// It has so many.
    pub open: u32,
}

/// The place where one transfer tells what it needs, and sees what the others do.
pub struct Share {
    folder: Option<PathBuf>,
    host: String,
    own: Option<Own>,
}

/// The file of a transfer, removed when it ends.
struct Own {
    file: File,
    path: PathBuf,
    told: Option<Need>,
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = disk::remove(&self.path);
    }
}

impl Share {
    /// For a transfer from `host`. Nothing is read or written before the first look.
    pub fn of(host: &str) -> Self {
        Self::within(disk::state_folder().map(|state| state.join(FOLDER)), host)
    }

    fn within(folder: Option<PathBuf>, host: &str) -> Self {
        Self { folder, host: host.into(), own: None }
    }

    /// Tells what this transfer needs now; what the others that want connections to this host need.
    pub fn look(&mut self, need: Need) -> Vec<Need> {
        let Some(folder) = &self.folder else { return Vec::new() };
        if self.own.is_none() {
            self.own = Own::begin(folder);
        }
        let Some(own) = &mut self.own else {
            // No place for it: that is not tried again.
            self.folder = None;
            return Vec::new();
        };
        own.tell(need, &self.host);
        others(folder, &own.path).filter_map(|path| living(&path, &self.host)).collect()
    }
}

impl Own {
    fn begin(folder: &Path) -> Option<Self> {
        for _ in 0..3 {
            let path = folder.join(disk::token());
            let file = disk::create_passing(&path).ok()?;
            let own = Self { file, path, told: None };
            // Somebody who saw it before it was locked has taken it for a dead one's.
            if disk::try_lock(&own.file, &own.path).ok()? && disk::is_still(&own.file, &own.path) {
                return Some(own);
            }
        }
        None
    }

    fn tell(&mut self, need: Need, host: &str) {
        if self.told != Some(need) && disk::write_at(&self.file, print(need, host).as_bytes(), 0).is_ok() {
            self.told = Some(need);
        }
    }
}

/// The files in the folder but one's own.
fn others<'a>(folder: &Path, own: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).filter(move |path| path != own);
    paths.filter(|path| path.file_name().is_some_and(is_token)).take(FILES)
}

fn is_token(name: &OsStr) -> bool {
    name.len() == 32 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit)
}

/// What the transfer of a file needs, if it lives and is from `host`.
fn living(path: &Path, host: &str) -> Option<Need> {
    let file = disk::open_existing(path).ok()??;
    if disk::try_lock(&file, path).ok()? {
        let _ = disk::remove(path);
        return None;
    }
    let mut text = [0; LONGEST];
    let length = file.read_at(&mut text, 0).ok()?;
    parse(&text[..length], host)
}

/// One line. What an earlier, longer one leaves behind it does not count.
fn print(need: Need, host: &str) -> String {
    format!("{} {} {} {host}\n", need.least, need.most, need.open)
}

/// What such a line says, if it is about `host`.
fn parse(text: &[u8], host: &str) -> Option<Need> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.splitn(4, ' ');
    let mut number = || words.next()?.parse::<u32>().ok().map(|number| number.min(MOST));
    let need = Need { least: number()?, most: number()?, open: number()? };
    (words.next()? == host).then_some(need)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    const HOST: &str = "example.org:443";

    fn need(most: u32) -> Need {
        Need { least: 1, most, open: most / 2 }
    }

    fn share(folder: &Path, host: &str) -> Share {
        Share::within(Some(folder.join("state/connections")), host)
    }

    fn names(folder: &Path) -> usize {
        std::fs::read_dir(folder.join("state/connections")).map_or(0, Iterator::count)
    }

    #[test]
    fn transfers_of_one_host_see_each_other_while_they_live() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (share(folder.path(), HOST), share(folder.path(), HOST));
        let mut elsewhere = share(folder.path(), "example.org:80");
        assert_eq!(names(folder.path()), 0, "before the first look");
        assert_eq!(one.look(need(16)), []);
        assert_eq!(elsewhere.look(need(9)), []);
        assert_eq!(two.look(need(4)), [need(16)]);
        assert_eq!(one.look(need(5)), [need(4)]);
        assert_eq!(two.look(need(4)), [need(5)], "a shorter line over a longer one");
        drop(one);
        assert_eq!(two.look(need(4)), []);
        drop((two, elsewhere));
        assert_eq!(names(folder.path()), 0, "after the last");
    }

    #[test]
    fn what_the_dead_left_is_removed_and_what_is_nobodys_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = share(folder.path(), HOST);
        one.look(need(16));
        let place = folder.path().join("state/connections");
        for n in 0..1000 {
            std::fs::write(place.join(format!("{n:032x}")), print(need(16), HOST)).unwrap();
        }
        std::fs::write(place.join("notes"), "mine").unwrap();
        std::fs::create_dir(place.join("d".repeat(32))).unwrap();
        symlink(folder.path().join("gone"), place.join("a".repeat(32))).unwrap();
        symlink("/dev/zero", place.join("b".repeat(32))).unwrap();
        for _ in 0..5 {
            assert_eq!(one.look(need(16)), []);
        }
        assert_eq!(names(folder.path()), 5, "its own, the notes, the folder and the symlinks");
        // Of somebody who lives, but says nothing of sense.
        let path = place.join("c".repeat(32));
        std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
        let file = File::open(&path).unwrap();
        file.lock().unwrap();
        assert_eq!(one.look(need(16)), []);
        assert!(path.try_exists().unwrap());
    }

    #[test]
    fn without_a_place_nothing_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state"), "in the way").unwrap();
        assert_eq!(share(folder.path(), HOST).look(need(16)), []);
        assert_eq!(Share::within(None, HOST).look(need(16)), []);
    }

    proptest! {
        #[test]
        fn whatever_a_file_holds(text in prop::collection::vec(any::<u8>(), 0..64), a: u32, b: u32, c: u32) {
            prop_assert!(parse(&text, HOST).is_none());
            let huge = Need { least: a, most: b, open: c };
            let read = parse(print(huge, HOST).as_bytes(), HOST).unwrap();
            prop_assert_eq!(read, Need { least: a.min(MOST), most: b.min(MOST), open: c.min(MOST) });
            prop_assert_eq!(parse(print(huge, HOST).as_bytes(), "example.org:44"), None);
        }
    }
}
