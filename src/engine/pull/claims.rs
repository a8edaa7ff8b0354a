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
pub struct Claims(RefCell<HashMap<PathBuf, FileId>>);

impl Claims {
    /// Takes `path` for `file`. That another file of this run has it is a fault of kind `Local`.
    pub fn claim(&self, path: &Path, file: FileId) -> Result<(), Fault> {
        let real = std::fs::canonicalize(disk::folder_of(path)).unwrap_or_else(|_| disk::folder_of(path));
        let key = real.join(path.file_name().unwrap_or_default());
        if *self.0.borrow_mut().entry(key).or_insert(file) == file {
            return Ok(());
        }
        let text = format!("{} is the name of another file of this very command, too", disk::shown(path));
        Err(Fault::new(Kind::Local, text)
            .kept("nothing of this one was written")
            .hint("download it by itself with -o, or into another folder with -d"))
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
