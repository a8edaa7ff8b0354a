//! The end of files: data synced, the final name given, the folder synced, the record removed. Small ones end in
//! groups, all that are complete just now together: their folder is synced once for them, and a disk that is slow to say
//! that it has their data is asked about many of them at a time, which it answers together.

use super::recorder::Shared;
use super::{FaultKind, blocking};
use crate::chunk::ByteRange;
use crate::disk::{self, Spot};
use crate::fault::Fault;
use crate::record::{IfExists, Publishing, Stamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

/// Longer files end by themselves, in bytes: others would have to wait for their sync.
pub(super) const SMALL: u64 = 1 << 20;
/// A disk that takes longer over one sync is asked about many at a time.
const SLOW: Duration = Duration::from_micros(500);
/// About so many then.
const HANDS: usize = 16;

/// A complete file on its way to its name, step by step: those of a group take each step together.
pub(super) trait Ending: Send + Sync {
    /// Makes its data safe.
    fn save(&self) -> Result<(), Fault>;
    /// Gives it its name.
    fn give_name(&self) -> Result<(), Fault>;
    /// Where that is.
    fn spot(&self) -> Result<&Spot, Fault>;
    /// Removes what was needed to go on, and says what it is now.
    fn clear(&self) -> Result<Stamp, Fault>;
}

/// The end of a file that was begun under another name.
pub(super) struct Begun {
    shared: Arc<Shared>,
    into: Spot,
    if_exists: IfExists,
}

/// Whoever waits for the end.
type Waiter = oneshot::Sender<Result<Stamp, Fault>>;

/// The groups that are gathering, by the runtime that they gather on: one goes with its runtime.
static GATHERING: LazyLock<Mutex<Groups>> = LazyLock::new(Mutex::default);

type Groups = HashMap<runtime::Id, Vec<(Box<dyn Ending>, Waiter)>>;

/// Held by the group that is with the disk: the next one grows meanwhile.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn gathering() -> MutexGuard<'static, Groups> {
    GATHERING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Publishes a file; what it was is told once that survives a power cut.
pub(super) async fn publish(ending: Begun) -> Result<Stamp, Fault> {
    if ending.shared.lock().ledger.held().end() > SMALL {
        return blocking(move || ending.alone()).await;
    }
    in_a_group(Box::new(ending)).await
}

/// Publishes a small file.
pub(super) async fn in_a_group(ending: Box<dyn Ending>) -> Result<Stamp, Fault> {
    let (tell, told) = oneshot::channel();
    let runtime = Handle::current().id();
    let is_first = {
        let mut groups = gathering();
        let group = groups.entry(runtime).or_default();
        group.push((ending, tell));
        group.len() == 1
    };
    if is_first {
        tokio::spawn(lead(Group(runtime)));
    }
    told.await.unwrap_or_else(|_| Err(Fault::new(FaultKind::Other, "a disk thread ended early")))
}

/// Leads the group that is gathering to its end. A task of its own: whoever was first in it may go away.
async fn lead(group: Group) {
    // All whose last bytes came with the same look at the sockets, or while another group is with the disk.
    tokio::task::yield_now().await;
    let turn = TURN.lock().await;
    let (endings, waiters): (Vec<Box<dyn Ending>>, Vec<Waiter>) = group.take().into_iter().unzip();
    let ended = tokio::task::spawn_blocking(move || together(&endings)).await;
    drop(turn);
    for (waiter, outcome) in waiters.into_iter().zip(ended.into_iter().flatten()) {
        drop(waiter.send(outcome));
    }
}

/// A group that gathers, by its runtime. Without its leader it is none: the next file is the first of another.
struct Group(runtime::Id);

impl Group {
    fn take(self) -> Vec<(Box<dyn Ending>, Waiter)> {
        let gathered = gathering().remove(&self.0).unwrap_or_default();
        // The next one may be gathering by now, with a leader of its own.
        std::mem::forget(self);
        gathered
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        gathering().remove(&self.0);
    }
}

fn together(endings: &[Box<dyn Ending>]) -> Vec<Result<Stamp, Fault>> {
    let each = || endings.iter().map(|ending| &**ending);
    let name = |(ending, saved): (&dyn Ending, Result<(), Fault>)| saved.and_then(|()| ending.give_name());
    let named: Vec<Result<(), Fault>> = each().zip(save(endings)).map(name).collect();
    let mut folders: HashMap<(u64, u64), Result<(), Fault>> = HashMap::new();
    let mut end = |(ending, named): (&dyn Ending, Result<(), Fault>)| {
        named?;
        let spot = ending.spot()?;
        match spot.folder() {
            Ok(folder) => folders.entry(folder).or_insert_with(|| spot.sync_folder()).clone()?,
            Err(_) => spot.sync_folder()?,
        }
        ending.clear()
    };
    each().zip(named).map(&mut end).collect()
}

/// Makes the data of all of them safe; what came of it, in their order.
fn save(endings: &[Box<dyn Ending>]) -> Vec<Result<(), Fault>> {
    let saved: Vec<OnceLock<_>> = endings.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let one = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some((ending, saved)) = endings.get(at).zip(saved.get(at)) else { return false };
        saved.set(ending.save()).is_ok()
    };
    let begun = Instant::now();
    one();
    if begun.elapsed() > SLOW {
        std::thread::scope(|scope| {
            for _ in 0..HANDS.min(endings.len().saturating_sub(1)) {
                // A thread that cannot be had leaves its work to the others, or to what comes below.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || while one() {});
            }
        });
    }
    while one() {}
    let missed = || Err(Fault::new(FaultKind::Other, "a disk thread ended early"));
    saved.into_iter().map(|saved| saved.into_inner().unwrap_or_else(missed)).collect()
}

impl Begun {
    pub(super) fn new(shared: Arc<Shared>, into: Spot, if_exists: IfExists) -> Self {
        Self { shared, into, if_exists }
    }

    fn alone(&self) -> Result<Stamp, Fault> {
        self.save()?;
        self.give_name()?;
        self.into.sync_folder()?;
        self.clear()
    }

    /// The length of the file, all of which must be there.
    fn length(&self) -> Result<u64, Fault> {
        self.shared.stop_recorder();
        let mut state = self.shared.lock();
        state.settle();
        let length = state.record.length.unwrap_or_else(|| state.ledger.held().end());
        match state.ledger.held().contains(ByteRange::new(0, length)) && state.unproven.is_empty() {
            true => Ok(length),
            false => Err(Fault::new(FaultKind::Other, format!("{} is not complete", self.shared.place.file))),
        }
    }

    fn stamp(&self, path: &std::path::Path) -> Result<Stamp, Fault> {
        disk::stamp(&self.shared.data).map_err(|e| disk::fault("look at", path, &e))
    }
}

impl Ending for Begun {
    /// The data is made safe, and the record, where there is one, says what is about to happen.
    fn save(&self) -> Result<(), Fault> {
        let shared = &self.shared;
        let length = self.length()?;
        shared.sync()?;
        disk::point("data-synced");
        let stamp = self.stamp(&shared.place.data)?;
        if stamp.size != length {
            let text =
                format!("{} is {} bytes long where {length} were written", disk::shown(&shared.place.data), stamp.size);
            return Err(Fault::new(FaultKind::Local, text).hint("somebody else changed it; run the same command again"));
        }
        let had_sidecar = {
            let mut state = shared.lock();
            state.record.publishing = Some(Publishing { inode: stamp.inode, length });
            state.on_disk
        };
        if had_sidecar {
            // With its folder: a filesystem that keeps renames in no order must not keep the next one without this.
            shared.save(true)?;
            disk::point("sidecar-replaced");
        }
        Ok(())
    }

    fn give_name(&self) -> Result<(), Fault> {
        let shared = &self.shared;
        if !disk::publish(&shared.data, &shared.place.data, &self.into, self.if_exists)? {
            shared.lock().record.publishing = None;
            shared.keep()?;
            return Err(Fault::new(FaultKind::Local, format!("{} exists", disk::shown(self.into.path())))
                .hint("add --overwrite to replace it, or choose another name with -o")
                .kept("all bytes are kept"));
        }
        Ok(())
    }

    fn spot(&self) -> Result<&Spot, Fault> {
        Ok(&self.into)
    }

    /// What was needed to go on goes.
    fn clear(&self) -> Result<Stamp, Fault> {
        let (shared, had_sidecar) = (&self.shared, self.shared.lock().on_disk);
        // Before the record goes: it alone says whose that is.
        shared.place.remove_parked(shared.parked_inode())?;
        if had_sidecar {
            disk::remove(&shared.place.sidecar)?;
        }
        self.stamp(self.into.path())
    }
}
