//! The served tree: what a URL's path names in it, and where an upload may be put. Nothing outside is ever opened:
//! reading goes through a capability of the root that refuses `..` and symbolic links that lead out, writing follows
//! no symbolic link at all.

use crate::disk;
use crate::fault::{Fault, Kind};
use crate::wire::range::Current;
use crate::wire::{names, percent};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{AtFlags, FileType, OFlags};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A listing shows at most so many names.
const MAX_ROWS: usize = 10_000;

/// A folder and all below it.
pub struct Root {
    dir: Dir,
    /// The same folder, opened so that it can be synced.
    top: File,
    path: PathBuf,
}

/// What a path names.
pub enum Found {
    /// A regular file.
    File(File, Metadata),
    /// A folder.
    Folder(Dir),
}

/// One line of a listing.
pub struct Row {
    /// The name as it is on the disk.
    pub name: OsString,
    /// Whether it is a folder.
    pub folder: bool,
    /// Length in bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: SystemTime,
}

/// The lines of a listing.
pub struct Rows {
    /// In their order.
    pub rows: Vec<Row>,
    /// Whether there are more names than are shown.
    pub cut: bool,
}

/// What stands under the name an upload is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing.
    Free,
    /// A regular file of so many bytes.
    File(u64),
    /// Something that can never be replaced by a file.
    Other,
}

impl Root {
    /// Opens the folder to be served.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let lost = |e: std::io::Error| Fault::new(Kind::Local, format!("cannot serve {}: {e}", disk::shown(path)));
        let path = path.canonicalize().map_err(lost)?;
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).map_err(lost)?;
        let top = File::open(&path).map_err(lost)?;
        Ok(Self { dir, top, path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `parts` name; `None` for nothing, for what is private or unfinished, and for what leads out.
    pub fn find(&self, parts: &[OsString]) -> Option<Found> {
        if parts.iter().any(|part| hidden(part)) {
            return None;
        }
        if parts.is_empty() {
            return Some(Found::Folder(self.dir.try_clone().ok()?));
        }
        // What a link inside leads to is as hidden as it is itself.
        let path = self.dir.canonicalize(parts.iter().collect::<PathBuf>()).ok()?;
        if path.iter().any(hidden) {
            return None;
        }
        let mut options = OpenOptions::new();
        // A FIFO must not hold the server up until somebody writes to it.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = self.dir.open_with(&path, &options).ok()?.into_std();
        match file.metadata().ok()? {
            meta if meta.is_file() => Some(Found::File(file, meta)),
            meta if meta.is_dir() => Some(Found::Folder(Dir::from_std_file(file))),
            _ => None,
        }
    }

    /// The version of the regular file that `parts` name.
    pub fn version(&self, parts: &[&str]) -> Option<Current> {
        let meta = self.file(parts)?.metadata().ok()?;
        Some(Current { etag: etag(&meta), modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH) })
    }

    /// Opens the regular file stored under a name given at upload.
    pub fn file(&self, parts: &[&str]) -> Option<File> {
        let parts: Vec<OsString> = parts.iter().map(OsString::from).collect();
        match self.find(&parts)? {
            Found::File(file, _) => Some(file),
            Found::Folder(_) => None,
        }
    }

    /// The open folder that the file `parts` is to lie in; `None` when it is not there and not to be made.
    pub fn folder_of(&self, parts: &[&str], create: bool) -> Result<Option<File>, Fault> {
        let folders = parts.split_last().map_or(&[][..], |(_, folders)| folders);
        disk::folder_below(&self.top, folders, create)
    }

    /// What stands under the name `parts` now.
    pub fn taken(&self, parts: &[&str]) -> Result<Taken, Fault> {
        let (Some(name), Some(folder)) = (parts.last(), self.folder_of(parts, false)?) else { return Ok(Taken::Free) };
        match rustix::fs::statat(&folder, *name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                Ok(Taken::File(u64::try_from(stat.st_size).unwrap_or(0)))
            }
            Ok(_) => Ok(Taken::Other),
            Err(rustix::io::Errno::NOENT) => Ok(Taken::Free),
            Err(e) => Err(disk::fault("look at", Path::new(name), &e.into())),
        }
    }

    /// Bytes that may still be written below the root.
    pub fn free_space(&self) -> u64 {
        disk::free_space(&self.top).unwrap_or(u64::MAX)
    }
}

/// The rows of a folder: folders first, then by name; what is hidden is left out.
pub fn rows(folder: &Dir) -> std::io::Result<Rows> {
    let mut rows = Vec::new();
    let mut entries = folder.entries()?;
    for entry in entries.by_ref().take(MAX_ROWS) {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_symlink()
            && folder.canonicalize(Path::new(&name)).is_ok_and(|to| to.iter().any(hidden))
        {
            continue;
        }
        // Through the capability: a link that leads out is not shown as what it leads to.
        let Ok(meta) = folder.metadata(Path::new(&name)) else { continue };
        if hidden(&name) || !(meta.is_file() || meta.is_dir()) {
            continue;
        }
        let modified = meta.modified().map_or(SystemTime::UNIX_EPOCH, |time| time.into_std());
        rows.push(Row { name, folder: meta.is_dir(), size: meta.len(), modified });
    }
    rows.sort_by(|a, b| b.folder.cmp(&a.folder).then_with(|| a.name.cmp(&b.name)));
    Ok(Rows { rows, cut: entries.next().is_some() })
}

/// Whether a part names what is never served: our own folder, and unfinished files with their records.
fn hidden(part: &OsStr) -> bool {
    let part = String::from_utf8_lossy(part.as_bytes());
    names::private(&part) || names::ours(&part)
}

/// The parts of a URL's path behind the base, decoded, and whether it ends in `/`. `None` for what can name nothing:
/// bad escapes, an escaped `/`, a NUL, empty parts, `.` and `..`.
pub fn path_parts(path: &str) -> Option<(Vec<OsString>, bool)> {
    let (path, folder) = match path.strip_suffix('/') {
        Some(path) => (path, true),
        None => (path, path.is_empty()),
    };
    if path.is_empty() {
        return Some((Vec::new(), true));
    }
    let part = |text: &str| {
        let bytes = percent::decode(text.as_bytes())?;
        let odd = bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| matches!(b, b'/' | 0));
        (!odd).then(|| OsString::from_vec(bytes))
    };
    Some((path.split('/').map(part).collect::<Option<_>>()?, folder))
}

/// A strong entity tag: it differs whenever the content may. Inodes are used again and modification times are set at
/// will, so the time of the last change of status, which nobody can set, is in it.
pub fn etag(meta: &Metadata) -> String {
    let stamp = disk::stamp_of(meta);
    let ctime = stamp.ctime.unwrap_or_default();
    format!("\"{:x}-{:x}-{}-{ctime}\"", stamp.inode, stamp.size, stamp.mtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_can_name_something() {
        let parts = |path: &str| path_parts(path).map(|(parts, folder)| (parts.join(OsStr::new("|")), folder));
        assert_eq!(parts(""), Some(("".into(), true)));
        assert_eq!(parts("a/b%20c"), Some(("a|b c".into(), false)));
        assert_eq!(parts("a/"), Some(("a".into(), true)));
        assert_eq!(parts("%ff"), Some((OsString::from_vec(vec![0xff]), false)));
        for bad in ["a//b", "//a", "./a", "..", "a/../b", "%2e%2e/x", "a%2fb", "a%00", "a%", "%zz", "a/%2e"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_outside_is_found() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("root");
        for folder in ["root/.onward/uploads", "root/sub", "secret"] {
            std::fs::create_dir_all(outer.path().join(folder)).unwrap();
        }
        for file in
            ["secret/s", "root/f", "root/sub/g", "root/.onward/uploads/u", "root/f.partial", "root/f.partial.toml"]
        {
            disk::replace(&outer.path().join(file), b"x", false).unwrap();
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, inner.join(name)).unwrap();
        link("../secret", "out");
        link("/etc", "abs");
        link("../secret/s", "out.txt");
        link("sub", "in");
        link("loop", "loop");
        link(".onward", "private");
        link("../.onward", "sub/private");
        link("f.partial", "unfinished");
        assert!(std::process::Command::new("mkfifo").arg(inner.join("fifo")).status().unwrap().success());
        let root = Root::open(&inner).unwrap();
        let find = |path: &str| root.find(&path_parts(path).unwrap().0).is_some();
        for good in ["", "f", "sub", "sub/g", "in", "in/g"] {
            assert!(find(good), "{good}");
        }
        for bad in [
            "out",
            "out/s",
            "abs",
            "abs/passwd",
            "out.txt",
            "loop",
            "fifo",
            "none",
            "private",
            "private/uploads/u",
            "sub/private/uploads/u",
            "unfinished",
            ".onward",
            ".onward/uploads/u",
            ".ONWARD",
            "f.partial",
            "f.partial.toml",
            "F.PARTIAL",
            "f/x",
        ] {
            assert!(!find(bad), "{bad}");
        }
        let Some(Found::Folder(top)) = root.find(&[]) else { panic!() };
        let names: Vec<_> = rows(&top).unwrap().rows.into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["in", "sub", "f"]);
        // Writing follows no link, not even an inner one.
        assert!(root.folder_of(&["out", "x"], true).is_err() && root.folder_of(&["in", "x"], true).is_err());
        assert!(root.folder_of(&["new", "deep", "x"], false).unwrap().is_none());
        assert!(root.folder_of(&["new", "deep", "x"], true).unwrap().is_some() && inner.join("new/deep").is_dir());
        assert_eq!(root.taken(&["f"]).unwrap(), Taken::File(1));
        assert_eq!(root.taken(&["sub"]).unwrap(), Taken::Other);
        assert_eq!(root.taken(&["loop"]).unwrap(), Taken::Other);
        assert_eq!(root.taken(&["nowhere", "x"]).unwrap(), Taken::Free);
    }

    #[test]
    fn a_listing_that_is_cut_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let Some(Found::Folder(top)) = root.find(&[]) else { panic!() };
        for n in 0..MAX_ROWS {
            std::os::unix::fs::symlink(".", dir.path().join(format!("f{n}"))).unwrap();
        }
        let all = rows(&top).unwrap();
        assert_eq!((all.rows.len(), all.cut), (MAX_ROWS, false));
        disk::replace(&dir.path().join("one-more"), b"", false).unwrap();
        let some = rows(&top).unwrap();
        assert_eq!((some.rows.len(), some.cut), (MAX_ROWS, true));
    }
}
