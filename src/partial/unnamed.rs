//! A small file whose bytes are all here before it is begun: it is written without any name, synced, and named in one step.
//! Nobody can meet it half written, so it needs neither a lock nor a record, and a kill leaves nothing of it.

use super::publish::{Ending, in_a_group};
use super::{DATA_SUFFIX, SIDECAR_SUFFIX};
use crate::disk::{self, Spot};
use crate::fault::{Fault, Kind};
use crate::record::Stamp;
use bytes::Bytes;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

/// Writes `content` to a file and publishes it as `path`, which nothing has yet, with the modification time `modified`. What
/// it was is told once that survives a power cut; `then` is called with it on the disk's own thread. `None`: nothing was
/// done. The name, or that of its data or its record, is taken, this is no place for files without a name, or there is no
/// room. A fault: it has its name, and whether that survives a power cut is not known.
pub async fn publish_whole(
    path: &Path,
    content: Bytes,
    modified: Option<SystemTime>,
    then: impl FnOnce(&Stamp) + Send + 'static,
) -> Result<Option<Stamp>, Fault> {
    let named = Arc::new(AtomicBool::new(false));
    let (path, written, then) = (path.to_owned(), OnceLock::new(), Mutex::new(Some(Box::new(then) as Box<_>)));
    let unnamed = Unnamed { path, content, modified, written, named: named.clone(), then };
    match in_a_group(Box::new(unnamed)).await {
        Err(_) if !named.load(Ordering::Relaxed) => Ok(None),
        outcome => outcome.map(Some),
    }
}

type Then = Mutex<Option<Box<dyn FnOnce(&Stamp) + Send>>>;

struct Unnamed {
    path: PathBuf,
    content: Bytes,
    modified: Option<SystemTime>,
    /// The file, once its data is safe, and where it goes.
    written: OnceLock<(File, Spot)>,
    named: Arc<AtomicBool>,
    then: Then,
}

impl Unnamed {
    fn written(&self) -> Result<&(File, Spot), Fault> {
        self.written.get().ok_or_else(|| Fault::new(Kind::Other, "a file was named before it was written"))
    }
}

impl Ending for Unnamed {
    fn save(&self) -> Result<(), Fault> {
        let lost = |doing: &str, e| disk::fault(doing, &self.path, &e);
        let spot = Spot::at(&self.path)?;
        if [DATA_SUFFIX, SIDECAR_SUFFIX].iter().any(|suffix| spot.has_beside(suffix)) {
            return Err(taken(&self.path));
        }
        let Some(file) = disk::create_unnamed(&spot)? else {
            return Err(Fault::new(Kind::Other, "files need a name here from the start"));
        };
        disk::write_at(&file, &self.content, 0).map_err(|e| lost("write", e))?;
        if let Some(time) = self.modified {
            file.set_modified(time).map_err(|e| lost("set the time of", e))?;
        }
        disk::sync_data(&file).map_err(|e| lost("save", e))?;
        self.written.set((file, spot)).map_err(|_| Fault::new(Kind::Other, "a file was written twice"))
    }

    fn give_name(&self) -> Result<(), Fault> {
        let (file, spot) = self.written()?;
        if !disk::name_unnamed(file, spot)? {
            return Err(taken(&self.path));
        }
        self.named.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn spot(&self) -> Result<&Spot, Fault> {
        self.written().map(|(_, spot)| spot)
    }

    fn clear(&self) -> Result<Stamp, Fault> {
        let stamp = disk::stamp(&self.written()?.0).map_err(|e| disk::fault("look at", &self.path, &e))?;
        if let Some(then) = self.then.lock().unwrap_or_else(PoisonError::into_inner).take() {
            then(&stamp);
        }
        Ok(stamp)
    }
}

fn taken(path: &Path) -> Fault {
    Fault::new(Kind::Local, format!("the name {} is taken", disk::shown(path)))
}
