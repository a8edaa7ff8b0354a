//! The unfinished downloads that lay in a folder when the run first looked there, by their URL: a folder is read once
//! for thousands of files, not once for each.

use crate::partial::{Place, SIDECAR_SUFFIX, Sidecar, read_sidecar};
use crate::record::Kind;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// URL, secrets masked, to the target of its record.
type Targets = HashMap<String, PathBuf>;

/// What was found, folder by folder.
#[derive(Default)]
pub struct Records(RefCell<HashMap<PathBuf, Targets>>);

impl Records {
    /// The target of the download record in `folder` that speaks of this URL. What the run itself has begun since is
    /// not among them: it holds those targets already.
    pub fn target(&self, folder: &Path, url: &str) -> Option<PathBuf> {
        let mut folders = self.0.borrow_mut();
        if !folders.contains_key(folder) {
            folders.insert(folder.to_owned(), read(folder));
        }
        folders.get(folder)?.get(url).cloned()
    }
}

fn read(folder: &Path) -> Targets {
    let Ok(entries) = std::fs::read_dir(folder) else { return Targets::new() };
    let mut sidecars: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(SIDECAR_SUFFIX))
        .collect();
    // Of two records of one URL the first by name counts: inserted last.
    sidecars.sort_by(|a, b| b.cmp(a));
    sidecars.iter().filter_map(|sidecar| target(sidecar)).collect()
}

fn target(sidecar: &Path) -> Option<(String, PathBuf)> {
    match read_sidecar(sidecar) {
        Ok(Sidecar::Record(record)) if record.kind == Kind::Download => {
            let target = sidecar.with_file_name(&record.file);
            (Place::beside(&target).sidecar == sidecar).then_some((record.url.clone(), target))
        }
        _ => None,
    }
}
