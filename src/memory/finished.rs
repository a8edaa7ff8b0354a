//! What is remembered of finished downloads, so that the same command asked again costs one question and no bytes:
//! which URL a path was filled from, and what the remote called the content.

use super::{Note, Notes};
use crate::disk;
use crate::record::{Stamp, Validator};
use serde::{Deserialize, Serialize};
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One finished download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes when it was finished.
    pub size: u64,
    /// Its modification time then, as in [`Stamp::mtime`].
    pub mtime: String,
    /// From where, secrets masked.
    pub url: String,
    /// What the remote called it.
    pub validator: Validator,
    /// The digest that was verified, as `ALG:HEX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Note for Finished {
    type Key = PathBuf;
    const FILE: &'static str = "finished.jsonl";
    fn key(&self) -> PathBuf {
        self.path.clone()
    }
}

/// The notes of all finished downloads.
#[derive(Default)]
pub struct Memory {
    notes: Notes<Finished>,
    /// What was known when the run began, by URL: asked for thousands of files.
    by_url: OnceCell<HashMap<String, Vec<PathBuf>>>,
    /// The real paths of the folders of this run.
    real: RefCell<HashMap<PathBuf, Option<PathBuf>>>,
}

impl Memory {
    /// The note about the file at `path`, if the file is still as it was then and came from `url`.
    pub fn recall(&self, path: &Path, url: &str) -> Option<Finished> {
        let path = std::fs::canonicalize(path).ok()?;
        let stamp = disk::stamp(&std::fs::File::open(&path).ok()?).ok()?;
        self.notes.get(&path).filter(|note| note.url == url && note.size == stamp.size && note.mtime == stamp.mtime)
    }

    /// The file in `folder` that was filled from `url` and is still as it was then.
    pub fn find(&self, folder: &Path, url: &str) -> Option<PathBuf> {
        let paths = self.by_url.get_or_init(|| by_url(self.notes.all())).get(url)?;
        let real = self.real(folder)?;
        let path = paths.iter().find(|path| path.parent() == Some(&real))?;
        let named = folder.join(path.file_name()?);
        self.recall(&named, url).map(|_| named)
    }

    /// Writes a note about the finished file at `path`, which is no symlink.
    pub fn remember(&self, path: &Path, stamp: &Stamp, url: &str, validator: &Validator, digest: Option<String>) {
        self.reminder(path, url, validator, digest)(stamp);
    }

    /// The same, for another thread to do once the file is finished.
    pub fn reminder(
        &self,
        path: &Path,
        url: &str,
        validator: &Validator,
        digest: Option<String>,
    ) -> impl FnOnce(&Stamp) + Send + use<> {
        let place = self.real(&disk::folder_of(path)).zip(path.file_name()).map(|(folder, name)| folder.join(name));
        let (url, validator, pen) = (url.to_string(), validator.clone(), self.notes.pen());
        move |stamp: &Stamp| {
            let Some(path) = place else { return };
            pen.write(&Finished { path, size: stamp.size, mtime: stamp.mtime.clone(), url, validator, digest });
        }
    }

    fn real(&self, folder: &Path) -> Option<PathBuf> {
        let mut real = self.real.borrow_mut();
        if !real.contains_key(folder) {
            real.insert(folder.to_owned(), std::fs::canonicalize(folder).ok());
        }
        real.get(folder).cloned().flatten()
    }
}

fn by_url(notes: Vec<Finished>) -> HashMap<String, Vec<PathBuf>> {
    let mut paths: HashMap<String, Vec<PathBuf>> = HashMap::new();
    notes.into_iter().for_each(|note| paths.entry(note.url).or_default().push(note.path));
    paths
}
