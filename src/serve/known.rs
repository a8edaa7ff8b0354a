//! What is known about the content of finished files: digests by path for `Repr-Digest`, paths by MD5 for uploads of
//! equal content. Everything is looked up on the disk when it is asked for, so that memory does not grow with the
//! number of files, and counts only while the file is the very one it was (device, inode, size, times).

use crate::digest::{Algorithm, Digest, Hasher, hex};
use crate::disk;
use crate::fault::Fault;
use crate::record::Stamp;
use crate::wire::handshake::Digests;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many paths of one MD5 are remembered.
const MAX_PATHS: usize = 8;
/// A larger entry than this is none of ours, in bytes.
const MAX_ENTRY: u64 = 64 << 10;

/// One finished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the root.
    pub path: String,
    /// Who sent it; empty when nobody did.
    pub domain: String,
    /// The MD5 its sender told, where this server has not computed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_md5: Option<String>,
    /// What this server computed over its content.
    pub digests: Digests,
    /// Which version of the file this is about.
    pub stamp: Stamp,
}

impl Entry {
    /// Whether its MD5 is this one, as far as is known.
    pub fn has_md5(&self, md5: &Digest) -> bool {
        match self.digests.get(Algorithm::Md5) {
            Some(computed) => computed == md5,
            None => self.claimed_md5.as_deref() == Some(md5.hex().as_str()),
        }
    }
}

/// The index; its files lie in `known/` and `md5/` of the server's own folder.
pub struct Known {
    by_path: PathBuf,
    by_md5: PathBuf,
    /// One writer at a time.
    writing: Mutex<()>,
    /// What is on its way to the disk, by path.
    fresh: Mutex<HashMap<String, Entry>>,
}

impl Known {
    /// The index in the server's folder `dir`, for reading only: nothing is created.
    pub fn at(dir: &Path) -> Self {
        Self { by_path: dir.join("known"), by_md5: dir.join("md5"), writing: Mutex::default(), fresh: Mutex::default() }
    }

    /// The index in the server's folder `dir`, which is created as needed.
    pub fn open(dir: &Path) -> Result<Self, Fault> {
        let known = Self::at(dir);
        disk::create_dirs(&known.by_path)?;
        disk::create_dirs(&known.by_md5)?;
        Ok(known)
    }

    /// What is known of the file `path` as it is now.
    pub fn of_file(&self, path: &str, now: &Stamp) -> Option<Entry> {
        self.entry(path).filter(|entry| entry.stamp == *now)
    }

    /// The entries of `domain` whose MD5 is this one and whose length is `size`, the newest last. Whether the files
    /// are still as they were is for the caller to see.
    pub fn with_md5(&self, domain: &str, md5: &Digest, size: u64) -> Vec<Entry> {
        let fits = |entry: &Entry| entry.domain == domain && entry.stamp.size == size && entry.has_md5(md5);
        let mut paths = self.paths(domain, md5);
        let fresh: Vec<String> = self.fresh().values().filter(|entry| fits(entry)).map(|e| e.path.clone()).collect();
        paths.extend(fresh.into_iter().filter(|path| !paths.contains(path)).collect::<Vec<_>>());
        paths.iter().filter_map(|path| self.entry(path)).filter(fits).collect()
    }

    fn fresh(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells at once what [`Known::remember`] will write soon.
    pub fn announce(&self, entry: &Entry) {
        self.fresh().insert(entry.path.clone(), entry.clone());
    }

    /// Remembers a finished file that was announced, in place of what was known under its path, unless something newer
    /// was announced since.
    pub fn remember(&self, entry: &Entry) -> Result<(), Fault> {
        let written = self.write(entry);
        let mut fresh = self.fresh();
        if fresh.get(&entry.path) == Some(entry) {
            fresh.remove(&entry.path);
        }
        written
    }

    fn write(&self, entry: &Entry) -> Result<(), Fault> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fresh().get(&entry.path) != Some(entry) {
            return Ok(());
        }
        let text = toml::to_string(entry).unwrap_or_default();
        disk::replace(&self.path_file(&entry.path), text.as_bytes(), false)?;
        let claimed = entry.claimed_md5.as_deref().and_then(|text| Digest::from_hex(Algorithm::Md5, text));
        let Some(md5) = entry.digests.get(Algorithm::Md5).cloned().or(claimed) else { return Ok(()) };
        let mut paths = self.paths(&entry.domain, &md5);
        paths.retain(|path| *path != entry.path);
        paths.push(entry.path.clone());
        let first = paths.len().saturating_sub(MAX_PATHS);
        disk::replace(&self.md5_file(&entry.domain, &md5), paths[first..].join("\n").as_bytes(), false)
    }

    /// Forgets what no longer speaks of a file that is there: `stands` tells, given path and version.
    pub fn sweep(&self, stands: impl Fn(&str, &Stamp) -> bool) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files(&self.by_path) {
            if read(&file).is_none_or(|entry| !stands(&entry.path, &entry.stamp)) {
                let _ = disk::remove(&file);
            }
        }
        for file in files(&self.by_md5) {
            if lines(&file).iter().all(|path| self.entry(path).is_none()) {
                let _ = disk::remove(&file);
            }
        }
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        if let Some(entry) = self.fresh().get(path) {
            return Some(entry.clone());
        }
        read(&self.path_file(path)).filter(|entry| entry.path == path)
    }

    fn paths(&self, domain: &str, md5: &Digest) -> Vec<String> {
        lines(&self.md5_file(domain, md5))
    }

    fn path_file(&self, path: &str) -> PathBuf {
        self.by_path.join(format!("{}.toml", &hash(path)[..32]))
    }

    fn md5_file(&self, domain: &str, md5: &Digest) -> PathBuf {
        self.by_md5.join(format!("{}-{}", md5.hex(), &hash(domain)[..16]))
    }
}

fn hash(text: &str) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(text.as_bytes());
    hex(&hasher.finish().bytes)
}

fn read(file: &Path) -> Option<Entry> {
    let private = disk::read_private(file, MAX_ENTRY).ok()??;
    toml::from_str(std::str::from_utf8(&private.text).ok()?).ok()
}

fn lines(file: &Path) -> Vec<String> {
    let text = disk::read_private(file, MAX_ENTRY).ok().flatten().map(|private| private.text).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_string).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, domain: &str, size: u64) -> Entry {
        let mut digests = Digests::default();
        digests.set(Digest::parse("crc64nvme:ae8b14860a799888").unwrap());
        let stamp = Stamp { size, mtime: "1.000000002".into(), ctime: None, device: 1, inode: 2 };
        let claimed_md5 = Some("25f9e794323b453885f5181f1b624d0b".to_string());
        Entry { path: path.into(), domain: domain.into(), claimed_md5, digests, stamp }
    }

    fn remember(known: &Known, entry: &Entry) {
        known.announce(entry);
        known.remember(entry).unwrap();
    }

    #[test]
    fn what_is_newer_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::open(dir.path()).unwrap();
        let (old, new) = (entry("a", "ann", 9), entry("a", "ann", 10));
        known.announce(&old);
        remember(&known, &new);
        known.remember(&old).unwrap();
        assert_eq!(known.of_file("a", &new.stamp), Some(new));
    }

    #[test]
    fn found_by_path_and_by_md5_within_a_domain() {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::open(dir.path()).unwrap();
        let md5 = Digest::parse("md5:25f9e794323b453885f5181f1b624d0b").unwrap();
        let (a, b) = (entry("d/a", "ann", 9), entry("b", "bob", 9));
        remember(&known, &a);
        remember(&known, &b);
        assert_eq!(known.of_file("d/a", &a.stamp), Some(a.clone()));
        let other = Stamp { inode: 3, ..a.stamp.clone() };
        assert_eq!(known.of_file("d/a", &other), None);
        assert_eq!(known.with_md5("ann", &md5, 9), std::slice::from_ref(&a));
        assert_eq!(known.with_md5("ann", &md5, 8), []);
        assert_eq!(known.with_md5("eve", &md5, 9), []);
        // What the server computed itself overrules the claim.
        let mut computed = a.clone();
        computed.digests.set(Digest::parse("md5:00f9e794323b453885f5181f1b624d0b").unwrap());
        remember(&known, &computed);
        assert_eq!(known.with_md5("ann", &md5, 9), []);
        for n in 0..2 * MAX_PATHS {
            remember(&known, &entry(&format!("n{n}"), "bob", 9));
        }
        let found = known.with_md5("bob", &md5, 9);
        assert_eq!((found.len(), found.last().map(|e| e.path.as_str())), (MAX_PATHS, Some("n15")));
        known.sweep(|path, _| path == "n15");
        assert_eq!(known.with_md5("bob", &md5, 9).len(), 1);
        assert_eq!((files(&known.by_path).len(), files(&known.by_md5).len()), (1, 1));
    }
}
