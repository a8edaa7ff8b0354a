//! What is remembered of finished downloads, so that the same command asked again costs one question and no bytes:
//! which URL a path was filled from, and what the remote called the content. Kept in the state folder; losing it
//! costs a comparison, never a file.

use crate::disk;
use crate::record::{Stamp, Validator};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A longer file of notes than this is written anew without what later notes have replaced, in bytes.
const LONG: usize = 1 << 20;
/// How many notes are kept then.
const KEEP: usize = 2000;

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

/// The notes of all finished downloads.
#[derive(Default)]
pub struct Memory {
    notes: RefCell<Option<HashMap<PathBuf, Finished>>>,
}

impl Memory {
    /// The note about the file at `path`, if the file is still as it was then and came from `url`.
    pub fn recall(&self, path: &Path, url: &str) -> Option<Finished> {
        let path = std::fs::canonicalize(path).ok()?;
        let stamp = disk::stamp(&std::fs::File::open(&path).ok()?).ok()?;
        let mut notes = self.notes.borrow_mut();
        let note = notes.get_or_insert_with(read).get(&path)?;
        (note.url == url && note.size == stamp.size && note.mtime == stamp.mtime).then(|| note.clone())
    }

    /// The file in `folder` that was filled from `url` and is still as it was then.
    pub fn find(&self, folder: &Path, url: &str) -> Option<PathBuf> {
        let real = std::fs::canonicalize(folder).ok()?;
        let named = {
            let mut notes = self.notes.borrow_mut();
            let notes = notes.get_or_insert_with(read);
            let mut paths = notes.values().filter(|note| note.url == url && note.path.parent() == Some(&real));
            folder.join(paths.next()?.path.file_name()?)
        };
        self.recall(&named, url).map(|_| named)
    }

    /// Writes a note. Failing to is no failure of the download.
    pub fn remember(&self, path: &Path, stamp: &Stamp, url: &str, validator: &Validator, digest: Option<String>) {
        let (Some(file), Ok(path)) = (notes_file(), std::fs::canonicalize(path)) else { return };
        let note = Finished {
            path: path.clone(),
            size: stamp.size,
            mtime: stamp.mtime.clone(),
            url: url.to_string(),
            validator: validator.clone(),
            digest,
        };
        if let Ok(line) = serde_json::to_string(&note) {
            let _ = disk::append_note(&file, &line);
        }
        if let Some(notes) = self.notes.borrow_mut().as_mut() {
            notes.insert(path, note);
        }
    }
}

fn notes_file() -> Option<PathBuf> {
    Some(disk::state_folder()?.join("finished.jsonl"))
}

fn read() -> HashMap<PathBuf, Finished> {
    let Some(file) = notes_file() else { return HashMap::new() };
    let Ok(text) = std::fs::read_to_string(&file) else { return HashMap::new() };
    let notes = parse(&text);
    if text.len() > LONG {
        let _ = disk::replace(&file, print(&notes).as_bytes(), false);
    }
    notes.into_iter().map(|note| (note.path.clone(), note)).collect()
}

/// The notes of a text, the later one of two about the same path, in their order. Lines that are none are skipped:
/// two processes may have written at once.
fn parse(text: &str) -> Vec<Finished> {
    let mut seen = HashMap::new();
    let mut notes: Vec<Finished> = text
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Finished>(line).ok())
        .filter(|note| seen.insert(note.path.clone(), ()).is_none())
        .take(KEEP)
        .collect();
    notes.reverse();
    notes
}

fn print(notes: &[Finished]) -> String {
    notes.iter().filter_map(|note| serde_json::to_string(note).ok()).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(path: &str, size: u64) -> Finished {
        Finished {
            path: path.into(),
            size,
            mtime: "1.0".into(),
            url: "http://h/f".into(),
            validator: Validator::default(),
            digest: None,
        }
    }

    #[test]
    fn the_last_word_counts_and_damage_is_skipped() {
        let text =
            format!("{}garbage\n{{\"path\":3}}\n{}", print(&[note("/a", 1), note("/b", 2)]), print(&[note("/a", 3)]));
        assert_eq!(parse(&text), [note("/b", 2), note("/a", 3)]);
        assert_eq!(parse(&print(&parse(&text))), parse(&text));
    }
}
