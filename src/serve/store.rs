//! The uploads that are not finished, and for a while those that are: kept in the server's own folder `.onward/`, so
//! that they survive a restart and a kill. In memory is a short entry for each; its file is open only while
//! somebody is at it.
//!
//! `uploads/ID.partial` and `uploads/ID.partial.toml` hold an unfinished upload, `done/ID.toml` the receipt of a
//! finished one. The receipt is written *before* the file gets its final name, naming the inode that is to get it:
//! whatever moment a kill comes at, the next start can tell.

use super::Rules;
use super::head::{self, ENDED, JOINED};
use super::known::{Entry, Known};
use super::receipt::Receipt;
use super::root::Root;
use super::upload::{Head, Line, Opened, Phase, Upload};
use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Digest};
use crate::disk;
use crate::event::{Event, Observer};
use crate::fault::{Fault, Kind};
use crate::partial::{Follower, PartialFile, Place, Sidecar, Slot, read_sidecar};
use crate::record::{IfExists, Record};
use crate::wire::handshake::{Begin, Id, Problem, Reason, wanted};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// An upload without a byte is forgotten after this time.
const EMPTY_LIMIT: Duration = Duration::from_secs(3600);
/// A part of a file that has been joined is forgotten after this time: its bytes are on the disk a second time.
const JOINED_LIMIT: Duration = Duration::from_secs(600);
/// So many files get their names at once.
const NAMING: u32 = 64;
/// A file nobody was at for so long is closed.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// All uploads of one root.
pub struct Store {
    /// The served tree.
    pub root: Arc<Root>,
    /// What is known of finished files.
    pub known: Arc<Known>,
    /// The bounds.
    pub rules: Rules,
    /// Held by whoever reads a whole file to check it: one at a time.
    pub checking: tokio::sync::Mutex<()>,
    /// Finished files that are being read to know their digests, by path: who asks meanwhile waits for the same.
    pub reading: Mutex<HashMap<String, watch::Receiver<Option<Option<Entry>>>>>,
    /// Held while this process serves the folder.
    _lock: File,
    /// A place by each file that gets its name; all of them by one that replaces a certain version.
    naming: Semaphore,
    observer: Arc<dyn Observer>,
    uploads: PathBuf,
    done: PathBuf,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    by_id: HashMap<Id, Arc<Upload>>,
    by_key: HashMap<(String, Id), Id>,
}

impl Store {
    /// Opens the server's folder under `root` and reads what is there.
    pub fn open(root: Arc<Root>, rules: Rules, observer: Arc<dyn Observer>) -> Result<Self, Fault> {
        let dir = root.path().join(crate::wire::names::PRIVATE);
        let (uploads, done) = (dir.join("uploads"), dir.join("done"));
        disk::create_private_dir(&dir)?;
        let lock = lock(&dir.join("lock"))?;
        disk::create_dirs(&uploads)?;
        disk::create_dirs(&done)?;
        let known = Arc::new(Known::open(&dir)?);
        let checking = tokio::sync::Mutex::new(());
        let (reading, naming, shelf) = (Mutex::default(), Semaphore::new(NAMING as usize), Mutex::default());
        let store = Self { root, known, rules, checking, reading, _lock: lock, naming, observer, uploads, done, shelf };
        store.load_receipts();
        store.load_uploads();
        Ok(store)
    }

    /// The refusal that a fault of the disk means. What it says of paths is for the operator, not for the client.
    pub fn trouble(&self, fault: &Fault) -> Box<Problem> {
        if disk::is_full(fault) {
            let problem = Problem::new(Reason::NoSpace, "the server's disk is full");
            return Box::new(problem.hint("what has arrived is kept; try again when there is room"));
        }
        if fault.kind == Kind::Interrupted {
            return Box::new(Problem::new(Reason::Unavailable, "the upload was closed meanwhile; ask again"));
        }
        self.tell(Event::Warning { text: fault.what.clone() });
        Box::new(match fault.kind {
            Kind::Held => Problem::new(Reason::Unavailable, "another process of the server is at this upload"),
            _ => Problem::new(Reason::Server, "the server could not work on its disk"),
        })
    }

    /// Tells the operator.
    pub fn tell(&self, event: Event) {
        self.observer.on(0, &event);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to give a file its name; `alone`: nobody else may between a look at what has the name and the rename.
    pub async fn naming_turn(&self, alone: bool) -> Option<SemaphorePermit<'_>> {
        // `None` only once the semaphore is closed, which nobody does.
        self.naming.acquire_many(if alone { NAMING } else { 1 }).await.ok()
    }

    /// Where the receipts lie.
    pub fn receipt_file(&self, id: &Id) -> PathBuf {
        self.done.join(format!("{id}.toml"))
    }

    fn load_receipts(&self) {
        for path in files(&self.done) {
            let Some(receipt) = Receipt::read(&path) else {
                let _ = disk::remove(&path);
                continue;
            };
            if receipt.complete || self.was_published(&receipt) {
                let _ = disk::remove(&self.place(&receipt.head.id, "").sidecar);
                let finished = receipt.finished;
                let head = receipt.head.clone();
                let phase = Phase::Done(Arc::new(Receipt { complete: true, ..receipt }));
                self.put(Arc::new(Upload::new(head, IfExists::Fail, None, finished, true, phase)));
            } else {
                // Killed before the rename: the upload itself is still there.
                let _ = disk::remove(&path);
            }
        }
    }

    /// Whether the very inode that a receipt names got its final name.
    pub fn was_published(&self, receipt: &Receipt) -> bool {
        let parts: Vec<&str> = receipt.path.split('/').collect();
        let stamp = self.root.file(&parts).and_then(|file| disk::stamp(&file).ok());
        let data_is_left = self.place(&receipt.head.id, "").data.try_exists().unwrap_or(true);
        !data_is_left
            && stamp.is_some_and(|stamp| stamp.inode == receipt.inode && stamp.size == receipt.head.layout.length())
    }

    fn load_uploads(&self) {
        for path in files(&self.uploads) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(id) = name.strip_suffix(".partial.toml").and_then(Id::parse) {
                self.load_upload(id, &path);
            } else if name.strip_suffix(".partial").and_then(Id::parse).is_some() {
                let sidecar = disk::with_suffix(&path, ".toml");
                if !sidecar.try_exists().unwrap_or(true) {
                    // Killed before it was told of: nobody was promised a byte of it.
                    remove_unless_locked(&path);
                }
            } else if old(&path, self.rules.expire) {
                let _ = disk::remove(&path);
            }
        }
    }

    fn load_upload(&self, id: Id, sidecar: &Path) {
        if self.shelf().by_id.contains_key(&id) {
            let _ = disk::remove(sidecar);
            return;
        }
        let record = match read_sidecar(sidecar) {
            Ok(Sidecar::Record(record)) => record,
            _ => {
                // Damaged, or not ours: it gets the time an upload gets, in case a person wants to look.
                if old(sidecar, self.rules.expire) {
                    let _ = disk::remove(sidecar);
                    remove_unless_locked(&sidecar.with_extension(""));
                }
                return;
            }
        };
        let Some((head, md5)) = head::of_record(&id, &record) else { return };
        // Nobody sends the bytes of a file that is joined: it is as alive as its parts.
        let joined = head.line.as_ref().is_some_and(Line::is_joined);
        let begun = joined || !record.held(disk::boot_id()).is_empty();
        let upload = Upload::new(head, record.if_exists, md5, record.updated, begun, Phase::Closed);
        {
            let mark = |key: &str| record.session.get(key).and_then(toml::Value::as_bool).unwrap_or(false);
            let mut facts = upload.facts();
            (facts.ended, facts.joined) = (mark(ENDED), mark(JOINED));
        }
        self.put(Arc::new(upload));
    }

    fn put(&self, upload: Arc<Upload>) {
        let mut shelf = self.shelf();
        shelf.by_key.insert((upload.head.domain.clone(), upload.head.key.clone()), upload.head.id.clone());
        shelf.by_id.insert(upload.head.id.clone(), upload);
    }

    /// Whether `domain` may learn more of the finished file `parts` than that there is one: it can read it, or has sent
    /// it.
    pub fn may_know(&self, parts: &[&str], domain: &str) -> bool {
        let own = || {
            let stamp = disk::stamp(&self.root.file(parts)?).ok()?;
            self.known.of_file(&parts.join("/"), &stamp).filter(|entry| entry.domain == domain)
        };
        !self.rules.upload_only || own().is_some()
    }

    /// The upload of this id, for its own domain only.
    pub fn find(&self, id: &Id, domain: &str) -> Option<Arc<Upload>> {
        self.shelf().by_id.get(id).filter(|upload| upload.head.domain == domain).cloned()
    }

    /// The upload of this key.
    pub fn find_key(&self, key: &Id, domain: &str) -> Option<Arc<Upload>> {
        let shelf = self.shelf();
        shelf.by_key.get(&(domain.to_string(), key.clone())).and_then(|id| shelf.by_id.get(id)).cloned()
    }

    /// The files of `domain` that are to be joined from parts, `part` among them.
    pub fn joins_of(&self, part: &Id, domain: &str) -> Vec<Arc<Upload>> {
        let wants = |upload: &&Arc<Upload>| {
            let concat = upload.head.line.as_ref().and_then(|line| line.concat.as_deref());
            upload.head.domain == domain && concat.is_some_and(|urls| urls.contains(part.as_str()))
        };
        self.shelf().by_id.values().filter(wants).cloned().collect()
    }

    /// The parts of `upload` have become a finished file.
    pub fn parts_are_joined(&self, upload: &Upload) {
        let parts = upload.head.line.iter().flat_map(Line::parts);
        for part in parts.filter_map(|id| self.find(&id, &upload.head.domain)) {
            part.facts().joined = true;
            part.touch(false);
        }
    }

    /// Unfinished uploads of `domain` other than `but` whose content is said to have this MD5, cut the same way.
    pub fn unfinished_with(&self, md5: &Digest, but: &Head) -> Vec<Arc<Upload>> {
        let shelf = self.shelf();
        let all = shelf.by_id.values().filter(|upload| upload.head.domain == but.domain && upload.head.id != but.id);
        let fits = |upload: &&Arc<Upload>| {
            let facts = upload.facts();
            // Who joins an upload that is to get another name would store the file in the wrong place.
            let same_place = upload.head.folder == but.folder && upload.head.name == but.name;
            same_place && upload.head.layout == but.layout && facts.begun && facts.md5.as_ref() == Some(md5)
        };
        all.filter(fits).cloned().collect()
    }

    /// Begins an upload; or gives the one that the same key began at this very moment.
    pub async fn begin(
        self: &Arc<Self>,
        domain: &str,
        folder: String,
        begin: &Begin,
        layout: Layout,
    ) -> Result<Arc<Upload>, Box<Problem>> {
        let head = Head {
            id: new_id()?,
            domain: domain.to_string(),
            key: begin.key.clone(),
            folder,
            name: begin.name.clone(),
            layout,
            modified: begin.modified.clone(),
            want: wanted(&begin.want),
            line: None,
        };
        self.begin_head(head, begin.if_exists, begin.md5.clone()).await
    }

    /// The same for what is known of an upload already.
    pub async fn begin_head(
        self: &Arc<Self>,
        head: Head,
        if_exists: IfExists,
        md5: Option<Digest>,
    ) -> Result<Arc<Upload>, Box<Problem>> {
        let record = head::to_record(&head, if_exists, md5.as_ref());
        let upload = Upload::new(head, if_exists, md5, SystemTime::now(), false, Phase::Closed);
        // On a task of its own: a client that goes away must not leave half an upload behind.
        let store = self.clone();
        let made = tokio::spawn(async move { store.create(Arc::new(upload), record).await });
        made.await.unwrap_or_else(|_| Err(Box::new(Problem::new(Reason::Server, "a task ended early"))))
    }

    async fn create(&self, upload: Arc<Upload>, record: Record) -> Result<Arc<Upload>, Box<Problem>> {
        // Locked before anybody else can see it: whoever sends the same key waits for the file to be there.
        let mut phase = upload.phase.lock().await;
        if let Some(other) = self.reserve(&upload)? {
            return Ok(other);
        }
        let place = self.place(&upload.head.id, leaf(&upload.head.name));
        // Whoever has cleared the folder away under us has not switched uploads off.
        let folders = disk::create_dirs(&self.uploads).and_then(|()| disk::create_dirs(&self.done));
        let made = match folders {
            Ok(()) => make(place, record).await,
            Err(fault) => Err(fault),
        };
        match made {
            Ok(file) => {
                let follower = follower(&file, &upload.head);
                *phase = Phase::Open(Opened { file, follower, used: Instant::now() });
                drop(phase);
                Ok(upload)
            }
            Err(fault) => {
                *phase = Phase::Gone;
                self.drop_entry(&upload);
                Err(self.trouble(&fault))
            }
        }
    }

    /// Puts a new upload on the shelf, unless its key is there already or its domain has too many.
    fn reserve(&self, upload: &Arc<Upload>) -> Result<Option<Arc<Upload>>, Box<Problem>> {
        let mut shelf = self.shelf();
        let key = (upload.head.domain.clone(), upload.head.key.clone());
        if let Some(other) = shelf.by_key.get(&key).and_then(|id| shelf.by_id.get(id)) {
            return Ok(Some(other.clone()));
        }
        let unfinished = |other: &&Arc<Upload>| {
            // A phase that is locked is one that changes: it counts.
            let done = other.phase.try_lock().is_ok_and(|phase| matches!(*phase, Phase::Done(_)));
            // Parts of a finished file are finished, although they may be used again for a while.
            other.head.domain == upload.head.domain && !done && !other.facts().joined
        };
        let count = shelf.by_id.values().filter(unfinished).count();
        if count >= self.rules.max_unfinished as usize {
            let text = format!("{count} uploads are unfinished already");
            let problem =
                Problem::new(Reason::TooMany, text).hint("finish or cancel one of them, or wait until they expire");
            return Err(Box::new(problem));
        }
        shelf.by_key.insert(key, upload.head.id.clone());
        shelf.by_id.insert(upload.head.id.clone(), upload.clone());
        Ok(None)
    }

    /// The open file of an upload whose phase is locked; opens it if need be. `None`: it is finished or gone.
    pub async fn file(&self, upload: &Arc<Upload>, phase: &mut Phase) -> Result<Option<PartialFile>, Box<Problem>> {
        match phase {
            Phase::Done(_) | Phase::Gone => return Ok(None),
            Phase::Checking(file, _) => return Ok(Some(file.clone())),
            Phase::Open(opened) if opened.file.is_there() => {
                opened.used = Instant::now();
                return Ok(Some(opened.file.clone()));
            }
            Phase::Open(_) => {
                // Somebody has removed it under us: what was acknowledged is lost, and the client is told to begin anew.
                let text = format!("the upload of {} was removed by somebody else", leaf(&upload.head.name));
                self.tell(Event::Warning { text });
                if let Phase::Open(opened) = std::mem::replace(phase, Phase::Gone) {
                    let _ = opened.file.discard().await;
                }
                self.drop_entry(upload);
                return Ok(None);
            }
            Phase::Closed => {}
        }
        let place = self.place(&upload.head.id, leaf(&upload.head.name));
        match in_background(move || open(&place)).await {
            Ok(Some(file)) => {
                *phase = Phase::Open(Opened {
                    follower: follower(&file, &upload.head),
                    file: file.clone(),
                    used: Instant::now(),
                });
                Ok(Some(file))
            }
            Ok(None) => {
                *phase = Phase::Gone;
                self.drop_entry(upload);
                Ok(None)
            }
            Err(fault) => Err(self.trouble(&fault)),
        }
    }

    /// A file that can no longer be relied on (a sync failed): what its record claims is all that is left.
    pub async fn reopen(&self, upload: &Arc<Upload>) {
        let mut phase = upload.phase.lock().await;
        if matches!(*phase, Phase::Open(_)) {
            *phase = Phase::Closed;
        }
    }

    /// Takes an upload off the shelf.
    pub fn drop_entry(&self, upload: &Upload) {
        let mut shelf = self.shelf();
        shelf.by_id.remove(&upload.head.id);
        let key = (upload.head.domain.clone(), upload.head.key.clone());
        if shelf.by_key.get(&key) == Some(&upload.head.id) {
            shelf.by_key.remove(&key);
        }
    }

    /// Gives an upload up; of a finished one only the receipt goes. `false`: somebody is at it.
    pub async fn give_up(self: &Arc<Self>, upload: &Arc<Upload>) -> Result<bool, Box<Problem>> {
        let (store, upload) = (self.clone(), upload.clone());
        let gone = tokio::spawn(async move {
            let mut phase = upload.phase.lock().await;
            if matches!(*phase, Phase::Checking(..)) || upload.has_writers() {
                return Ok(false);
            }
            store.remove(&upload, &mut phase).await.map(|()| true)
        });
        gone.await.unwrap_or_else(|_| Err(Box::new(Problem::new(Reason::Server, "a task ended early"))))
    }

    async fn remove(&self, upload: &Arc<Upload>, phase: &mut Phase) -> Result<(), Box<Problem>> {
        match self.file(upload, phase).await? {
            Some(file) => {
                *phase = Phase::Gone;
                self.drop_entry(upload);
                file.discard().await.map_err(|fault| self.trouble(&fault))
            }
            None => {
                *phase = Phase::Gone;
                self.drop_entry(upload);
                let path = self.receipt_file(&upload.head.id);
                in_background(move || disk::remove(&path)).await.map(drop).map_err(|fault| self.trouble(&fault))
            }
        }
    }

    /// When an upload is forgotten if nothing more is heard of it. A file that is joined waits for its parts as long as
    /// one of them lives.
    pub fn expires(&self, upload: &Upload) -> SystemTime {
        let parts = upload.head.line.iter().flat_map(Line::parts);
        let parts = parts.filter_map(|id| self.find(&id, &upload.head.domain)).map(|part| self.expires_alone(&part));
        parts.fold(self.expires_alone(upload), SystemTime::max)
    }

    fn expires_alone(&self, upload: &Upload) -> SystemTime {
        let facts = upload.facts();
        let limit = match (facts.begun, facts.joined) {
            (true, false) => self.rules.expire,
            (true, true) => self.rules.expire.min(JOINED_LIMIT),
            (false, _) => self.rules.expire.min(EMPTY_LIMIT),
        };
        facts.touched + limit
    }

    /// Forgets what has expired and closes what nobody is at.
    pub async fn sweep(&self) {
        let all: Vec<Arc<Upload>> = self.shelf().by_id.values().cloned().collect();
        for upload in all {
            let Ok(mut phase) = upload.phase.try_lock() else { continue };
            let idle = !upload.is_used() && !matches!(*phase, Phase::Checking(..));
            if idle && self.expires(&upload) <= SystemTime::now() {
                let _ = self.remove(&upload, &mut phase).await;
            } else if idle && matches!(&*phase, Phase::Open(opened) if opened.used.elapsed() >= OPEN_LIMIT) {
                close(&mut phase).await;
            }
        }
    }

    /// Forgets what is known of files that are gone or changed.
    pub fn sweep_known(&self) {
        self.known.sweep(|path, stamp| {
            let parts: Vec<&str> = path.split('/').collect();
            self.root.file(&parts).and_then(|file| disk::stamp(&file).ok()).as_ref() == Some(stamp)
        });
    }

    /// Closes all files cleanly.
    pub async fn close_all(&self) {
        let all: Vec<Arc<Upload>> = self.shelf().by_id.values().cloned().collect();
        for upload in all {
            close(&mut *upload.phase.lock().await).await;
        }
    }

    fn place(&self, id: &Id, file: &str) -> Place {
        Place::received(&self.uploads, id.as_str(), file)
    }
}

/// Takes the lock of the server's folder: two servers would take each other's uploads for what a dead one has left.
fn lock(path: &Path) -> Result<File, Fault> {
    loop {
        let file = match disk::open_existing(path)? {
            Some(file) => Some(file),
            None => disk::create_private(path)?,
        };
        // `None`: another one has made it at this very moment.
        let Some(file) = file else { continue };
        if disk::try_lock(&file, path)? {
            return Ok(file);
        }
        let folder = path.parent().and_then(Path::parent).unwrap_or(path);
        let text = format!("another process takes uploads for {} already", disk::shown(folder));
        return Err(Fault::new(Kind::Held, text).hint("stop it, or serve the folder a second time with --read-only"));
    }
}

/// Makes the file of a new upload, with a record that survives whatever comes: the key in it must not be lost.
async fn make(place: Place, record: Record) -> Result<PartialFile, Fault> {
    let file = in_background(move || Slot::take(place)?.begin(record)).await?;
    match file.durable().await {
        Ok(()) => Ok(file),
        Err(fault) => {
            let _ = file.discard().await;
            Err(fault)
        }
    }
}

/// Opens what a record describes; `None` when there is no such record, or not the bytes it speaks of.
fn open(place: &Place) -> Result<Option<PartialFile>, Fault> {
    // Looked for before anything is made in a folder that may be gone itself.
    if !place.sidecar.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    let mut tries = 0;
    let slot = loop {
        match Slot::take(place.clone()) {
            // Our own last use of it may still be ending on another thread.
            Err(fault) if fault.kind == Kind::Held && tries < 50 => tries += 1,
            other => break other?,
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    match slot.record().is_some() {
        true => slot.resume().map(Some),
        false => Ok(None),
    }
}

async fn close(phase: &mut Phase) {
    if let Phase::Open(opened) = std::mem::replace(phase, Phase::Closed) {
        // What fails here was not promised: every acknowledged byte is durable already.
        let _ = opened.file.keep().await;
    }
}

/// Hashes beside the transfer what the client will want to see at the end.
fn follower(file: &PartialFile, head: &Head) -> Option<Follower> {
    let follows = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Md5 | Algorithm::Sha256);
    let wanted: Vec<Algorithm> = head.want.iter().copied().filter(follows).collect();
    (!wanted.is_empty()).then(|| file.follow(&wanted))
}

/// The last part of a name.
pub fn leaf(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

pub fn new_id() -> Result<Id, Box<Problem>> {
    let mut bits = [0; 16];
    // An id that can be guessed would be no secret.
    match getrandom::fill(&mut bits) {
        Ok(()) => Ok(Id::new(bits)),
        Err(_) => Err(Box::new(Problem::new(Reason::Server, "the system gives no random numbers"))),
    }
}

/// Runs work that may wait for the disk off the threads that serve connections.
pub async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(e) => Err(Fault::new(Kind::Other, format!("a disk thread ended early: {e}"))),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn old(path: &Path, limit: Duration) -> bool {
    let changed = std::fs::symlink_metadata(path).and_then(|meta| meta.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > limit))
}

fn remove_unless_locked(data: &Path) {
    if let Ok(Some(file)) = disk::open_existing(data)
        && disk::try_lock(&file, data).unwrap_or(false)
    {
        let _ = disk::remove(data);
    }
}

/// The chunks of `held` that are not whole.
pub fn missing(layout: &Layout, held: &ByteSet) -> IndexSet {
    let gaps = held.missing(layout.whole());
    gaps.map(|gap| ByteRange::new(layout.index_of(gap.start), layout.index_of(gap.end - 1) + 1)).collect()
}
