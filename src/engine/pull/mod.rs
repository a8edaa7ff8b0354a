//! One download, from the look at what an earlier run left to the final name.
//!
//! The first request is the transfer: it asks for the first missing byte and everything behind it, and its answer
//! says what the remote can do. What an earlier run left is used only if [`crate::plan`] says so, for this answer.

mod at_once;
mod claims;
mod evidence;
mod existing;
mod fill;
mod finish;
mod open;
mod prefix;
mod records;
mod small;

use at_once::AtOnce;
pub use claims::Claims;
pub use finish::digests_wanted;

use super::crew::First;
use super::pace::Pace;
use super::retry::{Backoff, Next, Policy, jitter};
use super::slow::Least;
use super::{Stop, outlook};
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Digest};
use crate::disk;
use crate::event::{Direction, Event, FileId, Observer, Outcome};
use crate::fault::{Fault, Kind};
use crate::memory::finished::Memory;
use crate::memory::hosts::Hosts;
use crate::partial::{PartialFile, Place, Slot};
use crate::plan::{Address, Now, Plan, plan};
use crate::record::{Existing, Kind as RecordKind, Record, Validator};
use crate::source::{Body, Head, Source};
use crate::units;
use crate::wire::validator::{Form, Likeness, compare};
pub use records::Records;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// How often a remote may change while it is being downloaded before that is a failure.
const RESTARTS: u32 = 5;

/// Where the file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Into {
    /// To this path.
    File(PathBuf),
    /// Into this folder, under the name the remote proposes.
    Folder(PathBuf),
}

/// What is to be downloaded, and how.
pub struct Order {
    /// The file's number in this run.
    pub file: FileId,
    /// From where.
    pub source: Rc<dyn Source>,
    /// Where else the same is said to be had.
    pub mirrors: Vec<Rc<dyn Source>>,
    /// The URL as the user gave it, secrets masked: what the record says.
    pub url: String,
    /// What the user must give again to go on.
    pub needs: Vec<String>,
    /// Where to.
    pub into: Into,
    /// The name that the URL itself suggests, shown until the remote has answered.
    pub name: String,
    /// The chunk size asked for, in bytes.
    pub chunk_size: Option<u64>,
    /// How many connections; `None` finds out.
    pub connections: Option<u32>,
    /// The digest the content must have.
    pub checksum: Option<Digest>,
    /// Whose it is, where that is not the user.
    pub checksum_by: Option<String>,
    /// What to do about a finished file of that name.
    pub existing: Existing,
    /// Whether changed content is a failure instead of a reason to start over.
    pub no_restart: bool,
    /// Whether the file gets the remote's time.
    pub remote_time: bool,
    /// Whether samples are not proof enough.
    pub strict: bool,
    /// Whether a record that somebody else may have written is believed.
    pub trust: bool,
    /// The beginning of the file as another program left it, to go on from.
    pub adopt: Option<PathBuf>,
    /// Its turn among those that are under way, given back once all bytes are here: others need not wait for the disk.
    pub turn: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// What all downloads of a run share.
#[derive(Clone)]
pub struct Tools {
    /// Who hears what happens.
    pub observer: Arc<dyn Observer>,
    /// The rate limit.
    pub pace: Pace,
    /// When to give up.
    pub stop: Stop,
    /// When to try again.
    pub policy: Policy,
    /// Connections slower than this are replaced.
    pub least: Least,
    /// What lies unfinished in the folders of this run.
    pub records: Rc<Records>,
    /// The paths that are some file's of this run.
    pub claims: Rc<Claims>,
    /// What is remembered of finished downloads.
    pub memory: Rc<Memory>,
    /// What is remembered of hosts.
    pub hosts: Rc<Hosts>,
    /// Says how many large files may be under way; a permit is taken once a file turns out to be one.
    pub large: Arc<tokio::sync::Semaphore>,
}

/// An answer that is open, and what it is the answer to.
struct Opening {
    head: Head,
    /// Whose answer it is: 0 is the URL itself, then come the mirrors.
    by: usize,
    /// The bytes its body holds.
    range: ByteRange,
    body: Box<dyn Body>,
    /// Whether it is a range, so that others can be had.
    ranged: bool,
    form: Form,
}

impl Opening {
    /// As a crew takes it.
    fn first(self) -> First {
        First { range: self.range, body: self.body, digest: self.head.body_digest().cloned(), took: self.head.took }
    }
}

/// What came of trying to fill the file.
enum Filled {
    Complete,
    Changed(String),
}

/// How one attempt ended.
enum Attempt {
    Done(Outcome),
    /// The remote has other content than what is here: why.
    StartOver(String),
    /// What is there is not all: fetch the rest.
    GoOn,
    /// What has arrived is wrong, though the remote has not changed: why.
    Again(String),
}

struct Transfer<'a> {
    tools: &'a Tools,
    order: Order,
    moved: u64,
    already: u64,
    /// The content came out wrong once, and all of it was fetched again.
    wrong_once: bool,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Downloads one file. Every end but `Done` and `Failed`, which belong to the caller, is told to the observer.
pub async fn pull(tools: &Tools, order: Order) -> Result<Outcome, Fault> {
    Transfer { tools, order, moved: 0, already: 0, wrong_once: false, permit: None }.run().await
}

impl Transfer<'_> {
    fn tell(&self, event: Event) {
        self.tools.observer.on(self.order.file, &event);
    }

    async fn run(&mut self) -> Result<Outcome, Fault> {
        let (remote, name) = (self.order.url.clone(), self.order.name.clone());
        self.tell(Event::Started { name, direction: Direction::Download, remote, total: None });
        let mut target = self.known_target()?;
        if let Some(path) = &target {
            self.tools.claims.claim(path, self.order.file)?;
            if let Some(outcome) = self.published(path)? {
                return Ok(outcome);
            }
            if let Some(outcome) = Box::pin(self.already_there(path)).await? {
                return Ok(outcome);
            }
        }
        let mut slot = match &target {
            Some(path) => Some(self.slot(path)?),
            None => None,
        };
        if let Some(path) = &target
            && let Some(prefix) = self.order.adopt.take()
            && let Some(own) = slot.take()
        {
            match own.record().is_some() {
                // The same command again: what was taken over then is gone on from.
                true => slot = Some(own),
                false => Box::pin(self.take_over(*own, path, &prefix)).await?,
            }
        }
        let mut fresh = false;
        for _ in 0..=RESTARTS {
            match self.attempt(&mut target, slot.take(), fresh).await? {
                Attempt::Done(outcome) => return Ok(outcome),
                Attempt::StartOver(why) if self.order.no_restart => {
                    return Err(Fault::new(Kind::Changed, format!("the file has changed at its source: {why}"))
                        .kept("what was fetched of the old one is kept")
                        .hint("without --no-restart it is downloaded anew"));
                }
                Attempt::StartOver(why) | Attempt::Again(why) => {
                    self.tell(Event::Restarted { why });
                    fresh = true;
                }
                Attempt::GoOn => {}
            }
        }
        Err(Fault::new(Kind::Changed, "the file keeps changing at its source").hint("try again when it has settled"))
    }

    /// The final path, where it is known before the remote has answered: given, or told by a record of this URL.
    fn known_target(&self) -> Result<Option<PathBuf>, Fault> {
        match &self.order.into {
            Into::File(path) => disk::resolve_links(path).map(Some),
            Into::Folder(folder) => {
                let url = &self.order.url;
                let unfinished = self.tools.records.target(folder, url);
                Ok(match self.is_masked() {
                    // Only the answer tells which file it is; what is finished waits for its word.
                    true => unfinished.filter(|path| std::fs::symlink_metadata(path).is_err()),
                    false => unfinished.or_else(|| self.tools.memory.find(folder, url)),
                })
            }
        }
    }

    /// On the heap, as the record: thousands of tasks are moved around that have neither.
    fn slot(&self, target: &Path) -> Result<Box<Slot>, Fault> {
        let slot = Box::new(Slot::take(Place { trust: self.order.trust, ..Place::beside(target) })?);
        if let Some(problem) = slot.problem() {
            self.tell(Event::Warning { text: format!("starting over: {problem}") });
        }
        Ok(slot)
    }

    fn verified(&self, digest: &Digest, by: &str) {
        self.tell(Event::Verified { alg: digest.algorithm.to_string(), digest: digest.hex(), by: by.to_string() });
    }

    async fn attempt(
        &mut self,
        target: &mut Option<PathBuf>,
        slot: Option<Box<Slot>>,
        fresh: bool,
    ) -> Result<Attempt, Fault> {
        let slot = match (slot, target.as_deref()) {
            (None, Some(path)) => Some(self.slot(path)?),
            (slot, _) => slot,
        };
        let record =
            slot.as_ref().and_then(|slot| slot.record()).filter(|_| !fresh).map(|record| Box::new(record.clone()));
        if let Some(record) = &record
            && self.order.checksum.is_none()
        {
            self.order.checksum = record.checksum.clone();
        }
        if let (Some(record), Some(path)) = (&record, target.as_deref())
            && self.address(0, record) == Address::Same
            && record.length == Some(record.held(disk::boot_id()).len())
            && let Some(slot) = slot
        {
            // Everything is there: a kill came between the last byte and the final name.
            let file = slot.resume()?;
            self.resumed(&file);
            return Box::pin(self.complete(file, path, None)).await;
        }
        let opening = self.open(record.as_deref()).await?;
        opening.head.hops.iter().for_each(|hop| {
            self.tell(Event::Redirect { from: hop.from.clone(), to: hop.to.clone(), status: hop.status });
        });
        if let (Some(record), Some(path)) = (&record, target.as_deref())
            && !self.is_of(record, path, &opening)
        {
            self.tell(Event::Detail { text: format!("{} is of another file", disk::shown(path)) });
            *target = None;
            return Ok(Attempt::GoOn);
        }
        let mut opening = self.in_turn(opening, record.as_deref()).await?;
        let (slot, path) = match (slot, target.clone()) {
            (Some(slot), Some(path)) => (slot, path),
            _ => {
                let path = self.named(&opening.head);
                self.tools.claims.claim(&path, self.order.file)?;
                opening = match self.at_once(&path, opening).await? {
                    AtOnce::Done(outcome) => return Ok(Attempt::Done(outcome)),
                    AtOnce::Not(opening) => opening,
                };
                if let Some(outcome) = Box::pin(self.already_there(&path)).await? {
                    return Ok(Attempt::Done(outcome));
                }
                let slot = self.slot(&path)?;
                if slot.record().is_some_and(|record| record.url == self.order.url) {
                    *target = Some(path);
                    return Ok(Attempt::GoOn);
                }
                (slot, path)
            }
        };
        *target = Some(path.clone());
        Box::pin(self.adopt(slot, &path, record, opening, fresh)).await
    }

    /// Goes on with what is there, or begins anew: as [`crate::plan`] says for this answer.
    async fn adopt(
        &mut self,
        slot: Box<Slot>,
        path: &Path,
        record: Option<Box<Record>>,
        mut opening: Opening,
        fresh: bool,
    ) -> Result<Attempt, Fault> {
        let record = record.filter(|_| slot.record().is_some());
        let verdict = match &record {
            Some(record) => self.judge(record, &opening),
            None => None,
        };
        match verdict {
            Some(Plan::Restart(why)) if !fresh => {
                slot.release();
                return Ok(Attempt::StartOver(why));
            }
            Some(Plan::Impostor(why)) => return Err(open::impostor(why)),
            _ => {}
        }
        let resumes = matches!(verdict, Some(Plan::Resume | Plan::Compare));
        // What a mirror calls the content is not what the URL itself will call it.
        let own = if opening.by == 0 { opening.head.validator.clone() } else { Validator::default() };
        let named = Head { validator: own, ..opening.head.clone() };
        let file = match resumes {
            true => slot.resume()?,
            false => slot.begin(self.new_record(&named, path))?,
        };
        if resumes {
            self.resumed(&file);
            if let Some(digest) = opening.head.digest().cloned() {
                file.edit(|record| record.offered = Some(digest));
            }
            if !self.order.mirrors.is_empty() {
                let mirrors = self.order.mirrors.iter().map(|mirror| mirror.shown()).collect();
                file.edit(|record| record.mirrors = mirrors);
            }
        }
        if verdict == Some(Plan::Compare) && opening.ranged {
            // The remote's word does not decide; bytes do.
            opening = match self.weighed(&file, opening).await {
                Ok(Some(opening)) => opening,
                Ok(None) => {
                    file.keep().await?;
                    return Ok(Attempt::StartOver("bytes that are here differ from the remote's".into()));
                }
                Err(fault) => return Err(self.kept(file, fault).await),
            };
        }
        if resumes && opening.ranged && file.record().url != self.order.url {
            // What is here has been compared: from now on it is this place's.
            let (url, needs) = (self.order.url.clone(), self.order.needs.clone());
            let validator = opening.head.validator.clone();
            file.edit(|record| {
                (record.url, record.needs) = (url, needs);
                record.validator = validator;
            });
        }
        self.fill_and_complete(file, path, opening).await
    }

    fn resumed(&mut self, file: &PartialFile) {
        self.already = file.held().len();
        self.tell(Event::Resumed { offset: self.already, total: file.length() });
    }

    /// The places to ask: the URL itself, then its mirrors, unless what came of them was wrong once.
    fn places(&self) -> impl Iterator<Item = &Rc<dyn Source>> {
        std::iter::once(&self.order.source).chain(self.order.mirrors.iter().filter(|_| !self.wrong_once))
    }

    fn judge(&self, record: &Record, opening: &Opening) -> Option<Plan> {
        let head = &opening.head;
        Some(plan(
            record,
            &Now {
                validator: head.validator.clone(),
                length: head.total,
                address: self.address(opening.by, record),
                media: head.media.clone(),
                ranged: opening.ranged,
            },
        ))
    }

    /// Whether the `by`-th place is where the bytes of `record` came from. Its URL has its secrets masked, and what is
    /// masked often names the file.
    fn address(&self, by: usize, record: &Record) -> Address {
        match by == 0 && record.url == self.order.url {
            false => Address::Other,
            true if self.is_masked() => Address::Unsure,
            true => Address::Same,
        }
    }

    /// Whether an answer is of the file that `record` at `path` is of: where it goes is the user's word, or the URL's
    /// as long as it has no secrets; else its own name or what it calls the content shows it.
    fn is_of(&self, record: &Record, path: &Path, opening: &Opening) -> bool {
        let head = &opening.head;
        matches!(self.order.into, Into::File(_))
            || self.address(opening.by, record) != Address::Unsure
            || path.file_name() == Some(OsStr::new(&head.name))
            || compare(&record.validator, record.length, &head.validator, head.total) == Likeness::Same
    }

    /// Whether the URL holds secrets, which records and notes do not.
    fn is_masked(&self) -> bool {
        self.order.needs.iter().any(|need| need == "url")
    }

    /// An earlier run was killed after the final rename: only its record is left, and that goes.
    fn published(&self, path: &Path) -> Result<Option<Outcome>, Fault> {
        let place = Place { trust: self.order.trust, ..Place::beside(path) };
        if !place.is_published() {
            return Ok(None);
        }
        Slot::take(place)?.clear()?;
        let already = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Ok(Some(Outcome { place: shown_place(path), moved: 0, already, proof: None }))
    }

    /// The path for a name that only the answer told.
    fn named(&self, head: &Head) -> PathBuf {
        match &self.order.into {
            Into::File(path) => path.clone(),
            Into::Folder(folder) => folder.join(&head.name),
        }
    }

    fn new_record(&self, head: &Head, path: &Path) -> Record {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let length = head.total;
        let chunk_size = Layout::chunk_size_for(length.unwrap_or(0), self.order.chunk_size);
        if self.order.chunk_size.is_some_and(|asked| asked != chunk_size) {
            let text = format!("chunks are {} each, so that there are at most 10,000", units::bytes(chunk_size));
            self.tell(Event::Warning { text });
        }
        let mut record = Record::new(RecordKind::Download, self.order.url.clone(), name, chunk_size);
        record.length = length;
        record.needs = self.order.needs.clone();
        record.mirrors = self.order.mirrors.iter().map(|mirror| mirror.shown()).collect();
        record.validator = head.validator.clone();
        record.media = head.media.clone();
        record.offered = head.digest().cloned();
        record.checksum = self.order.checksum.clone();
        record.if_exists = self.order.existing.into();
        record
    }

    async fn fill_and_complete(&mut self, file: PartialFile, path: &Path, opening: Opening) -> Result<Attempt, Fault> {
        let wanted = self.digests_wanted(&file.record());
        let algorithms: Vec<Algorithm> = wanted.iter().map(|(digest, _)| digest.algorithm).collect();
        let follower = self.follow(&file, &algorithms);
        if opening.head.open_ended {
            let text = "the server announces no length: whether it sent everything cannot be checked".to_string();
            self.tell(Event::Warning { text });
        }
        let filled = self.fill(&file, opening, follower.is_some()).await;
        match filled {
            Ok(Filled::Complete) => self.complete(file, path, follower).await,
            Ok(Filled::Changed(why)) => {
                file.keep().await?;
                Ok(Attempt::StartOver(why))
            }
            Err(fault) => Err(self.kept(file, fault).await),
        }
    }

    /// Waits as long as the policy says, or gives the fault back.
    async fn pause(&self, backoff: &mut Backoff, fault: Fault) -> Result<(), Fault> {
        let Next::Wait(wait) = backoff.after(&fault, jitter()) else { return Err(fault) };
        let asked = fault.wait;
        self.tell(Event::Retry { error: fault, wait, attempt: backoff.failed() });
        let change = tokio::select! {
            change = outlook::rest(backoff, wait, asked) => change,
            () = self.tools.stop.wait() => return Err(interrupted()),
        };
        if let Some(change) = change {
            self.tell(Event::Detail { text: outlook::told(change).into() });
        }
        Ok(())
    }
}

/// What an answer with the whole content says.
pub(super) fn now(head: &Head, address: Address) -> Now {
    Now { validator: head.validator.clone(), length: head.total, address, media: head.media.clone(), ranged: false }
}

pub(super) fn interrupted() -> Fault {
    Fault::new(Kind::Interrupted, "stopped")
}

/// The path as a result line has it.
fn shown_place(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
