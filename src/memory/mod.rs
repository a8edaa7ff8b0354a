//! Small facts that are remembered from run to run, one JSON line each, in a file of the state folder. Nothing
//! depends on them: losing them costs a question or a comparison, never a file. Two processes may write at once.

pub mod finished;
pub mod hosts;
pub mod share;
pub mod shelves;

use crate::disk;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::Arc;

/// A longer file than this is written anew without what later notes have replaced, in bytes.
const LONG: usize = 1 << 20;
/// How many notes are kept then.
const KEEP: usize = 2000;

/// One fact, by what it is about.
pub trait Note: Clone + Serialize + DeserializeOwned {
    /// What it is about: a later note about the same replaces an earlier one.
    type Key: Clone + Eq + Hash;
    /// The file's name in the state folder.
    const FILE: &'static str;
    /// What this one is about.
    fn key(&self) -> Self::Key;
}

/// All notes of one kind, read when first asked for.
pub struct Notes<N: Note> {
    known: OnceCell<RefCell<HashMap<N::Key, N>>>,
    /// The file, opened when first written to; `None` in it: there is no place for notes.
    file: OnceCell<Option<Arc<File>>>,
}

impl<N: Note> Default for Notes<N> {
    fn default() -> Self {
        Self { known: OnceCell::new(), file: OnceCell::new() }
    }
}

impl<N: Note> Notes<N> {
    /// Notes of this run alone: no file is read or written.
    pub fn of_this_run() -> Self {
        Self { known: OnceCell::from(RefCell::default()), file: OnceCell::from(None) }
    }

    /// The note about `key`.
    pub fn get(&self, key: &N::Key) -> Option<N> {
        self.known().borrow().get(key).cloned()
    }

    /// All that was known when this run began.
    pub fn all(&self) -> Vec<N> {
        self.known().borrow().values().cloned().collect()
    }

    /// Writes a note. Failing to is no failure of the work it is about.
    pub fn put(&self, note: N) {
        self.pen().write(&note);
        if let Some(known) = self.known.get() {
            known.borrow_mut().insert(note.key(), note);
        }
    }

    /// Whoever writes notes on another thread; what is known in this run stays as it is.
    pub fn pen(&self) -> Pen {
        let open = || file::<N>().and_then(|path| disk::open_notes(&path).ok()).map(Arc::new);
        Pen(self.file.get_or_init(open).clone())
    }

    fn known(&self) -> &RefCell<HashMap<N::Key, N>> {
        self.known.get_or_init(|| RefCell::new(read()))
    }
}

/// Writes notes, where there is a place for them.
pub struct Pen(Option<Arc<File>>);

impl Pen {
    fn write(&self, note: &impl Note) {
        if let (Some(file), Ok(line)) = (&self.0, serde_json::to_string(note)) {
            let _ = disk::append_note(file, line);
        }
    }
}

fn file<N: Note>() -> Option<PathBuf> {
    Some(disk::state_folder()?.join(N::FILE))
}

fn read<N: Note>() -> HashMap<N::Key, N> {
    let Some(file) = file::<N>() else { return HashMap::new() };
    let Ok(text) = std::fs::read_to_string(&file) else { return HashMap::new() };
    let notes = parse::<N>(&text);
    if text.len() > LONG {
        let _ = disk::replace(&file, print(&notes).as_bytes(), false);
    }
    notes.into_iter().map(|note| (note.key(), note)).collect()
}

/// The notes of a text, the later one of two about the same, in their order. Lines that are none are skipped.
fn parse<N: Note>(text: &str) -> Vec<N> {
    let mut seen = HashMap::new();
    let mut notes: Vec<N> = text
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<N>(line).ok())
        .filter(|note| seen.insert(note.key(), ()).is_none())
        .take(KEEP)
        .collect();
    notes.reverse();
    notes
}

fn print<N: Note>(notes: &[N]) -> String {
    notes.iter().filter_map(|note| serde_json::to_string(note).ok()).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Fact {
        about: String,
        is: u64,
    }

    impl Note for Fact {
        type Key = String;
        const FILE: &'static str = "facts.jsonl";
        fn key(&self) -> String {
            self.about.clone()
        }
    }

    fn fact(about: &str, is: u64) -> Fact {
        Fact { about: about.into(), is }
    }

    #[test]
    fn the_last_word_counts_and_damage_is_skipped() {
        let text =
            format!("{}garbage\n{{\"about\":3}}\n{}", print(&[fact("a", 1), fact("b", 2)]), print(&[fact("a", 3)]));
        assert_eq!(parse::<Fact>(&text), [fact("b", 2), fact("a", 3)]);
        assert_eq!(parse::<Fact>(&print(&parse::<Fact>(&text))), parse::<Fact>(&text));
    }
}
