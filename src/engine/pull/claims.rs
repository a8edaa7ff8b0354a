//! The final paths that the downloads of one run are about to write: two that turn out to have the same name must not
//! overwrite each other, and a server may tell the name only with its answer.

use crate::disk;
use crate::event::FileId;
use crate::fault::{Fault, Kind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Who has which path, finished ones included.
#[derive(Default)]
pub struct Claims {
    files: RefCell<HashMap<PathBuf, FileId>>,
    /// The real paths of the folders of this run.
    folders: RefCell<HashMap<PathBuf, PathBuf>>,
}

impl Claims {
    /// Takes `path` for `file`. That another file of this run has it is a fault of kind `Local`.
    pub fn claim(&self, path: &Path, file: FileId) -> Result<(), Fault> {
        let key = self.real(disk::folder_of(path)).join(path.file_name().unwrap_or_default());
        if *self.files.borrow_mut().entry(key).or_insert(file) == file {
            return Ok(());
        }
        let text = format!("{} is the name of another file of this very command, too", disk::shown(path));
        Err(Fault::new(Kind::Local, text)
            .kept("nothing of this one was written")
            .hint("download it by itself with -o, or into another folder with -d"))
    }

    fn real(&self, folder: PathBuf) -> PathBuf {
        let mut folders = self.folders.borrow_mut();
        if let Some(real) = folders.get(&folder) {
            return real.clone();
        }
        let real = std::fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
        folders.insert(folder, real.clone());
        real
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_is_one_file_s() {
        let claims = Claims::default();
        claims.claim(Path::new("a"), 0).unwrap();
        claims.claim(Path::new("./a"), 0).unwrap();
        claims.claim(Path::new("b"), 1).unwrap();
        assert_eq!(claims.claim(Path::new("./a"), 1).unwrap_err().code(), 8);
    }
}
