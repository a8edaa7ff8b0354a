//! The final paths that the downloads of one run are about to write: two that turn out to have the same name must not
//! overwrite each other, and a server may tell the name only with its answer.

use crate::disk;
use crate::event::FileId;
use crate::fault::{Fault, Kind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Who has which path, finished ones included.
#[derive(Default)]
pub struct Claims {
    /// By the number of the folder and the name in it: a whole path is slow to look up, and there are thousands.
    files: RefCell<HashMap<(usize, OsString), FileId>>,
    /// The folders of this run as they are called, each with the number of the real one.
    folders: RefCell<HashMap<PathBuf, usize>>,
    /// The real paths of the folders.
    real: RefCell<Vec<PathBuf>>,
}

impl Claims {
    /// Takes `path` for `file`. That another file of this run has it is a fault of kind `Local`.
    pub fn claim(&self, path: &Path, file: FileId) -> Result<(), Fault> {
        let key = (self.folder(disk::folder_of(path)), path.file_name().unwrap_or_default().to_owned());
        if *self.files.borrow_mut().entry(key).or_insert(file) == file {
            return Ok(());
        }
        let text = format!("{} is the name of another file of this very command, too", disk::shown(path));
        Err(Fault::new(Kind::Local, text)
            .kept("nothing of this one was written")
            .hint("download it by itself with -o, or into another folder with -d"))
    }

    fn folder(&self, folder: PathBuf) -> usize {
        let mut folders = self.folders.borrow_mut();
        if let Some(number) = folders.get(&folder) {
            return *number;
        }
        let path = std::fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
        let mut real = self.real.borrow_mut();
        let number = real.iter().position(|known| *known == path).unwrap_or(real.len());
        if number == real.len() {
            real.push(path);
        }
        folders.insert(folder, number);
        number
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
