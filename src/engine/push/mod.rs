//! Sends one local file to a remote: the life of an upload.
//!
//! What may be believed, and why nothing is ever mixed:
//!
//! 1. *The record with a fresh session is on disk before anything is sent*, so a lost answer to the opening leaves no
//!    orphan: the next run opens the same session again.
//! 2. *A receipt* is a range with its sum, added when the remote said "stored" and the source's stamp was still the one
//!    under which the bytes were read. Receipts go to the record twice a second.
//! 3. *Killed between "stored" and the record*: the remote is asked first in the next run, and its word wins. Bytes it
//!    holds without a receipt of ours were read from the very source that the record's stamp describes; if that stamp
//!    still fits they count, and their sums are read again from the source.
//! 4. *The source changed* (size, mtime, ctime, inode): every chunk the remote holds is compared with the source, by
//!    the remote's own digests where it shows them and by our receipts otherwise. What differs is *stale*: that mark and
//!    the new stamp reach the record in one step, before the first changed byte is sent.
//! 5. *The whole* is closed with the sum combined from all receipts: what the remote stored is what was sent.
//! 6. *Killed between the remote's "published" and the record's removal*: the next run asks, hears "complete", and
//!    removes the record.

mod begin;
mod content;
mod early;
mod ending;
mod keeper;
mod late;
mod local;
mod patience;
mod plan;
mod settle;
mod sky;
#[cfg(test)]
mod tests;
mod transfer;

use crate::digest::{Algorithm, Digest};
use crate::disk;
use crate::engine::Stop;
use crate::engine::meter::Meter;
use crate::engine::pace::Pace;
use crate::engine::retry::Policy;
use crate::event::{Direction, Event, FileId, Observer, Outcome};
use crate::fault::{Fault, Kind};
use crate::memory::hosts::Hosts;
use crate::net::shown;
use crate::partial::ledger::Ledger;
use crate::partial::record_file::RecordFile;
use crate::record::{Existing, Record};
use crate::remote::{Destination, Held, Manifest, Published, Remote, Remotes, Repeat, Session, State, Terms};
use keeper::Keeper;
use local::{Beside, Source};
use patience::{Patience, Voice};
use plan::Pieces;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Files up to this length are hashed before they are sent: it takes no time that anybody would notice.
const SMALL: u64 = 8 << 20;
/// Files up to this length have no record before they have taken half a second, or failed.
const TINY: u64 = 1 << 20;
/// An upload that is begun anew, or found wanting at its end, so often without a byte in between will not succeed.
const MOST_ROUNDS: u32 = 5;
/// A whole that was sent so often and is still another one at the remote will not become the right one.
const MOST_DIFFERENT: u32 = 2;

/// What all uploads of a run share.
#[derive(Clone)]
pub struct Ground {
    /// Finds the remote of a destination.
    pub remotes: Rc<Remotes>,
    /// The rate limit.
    pub pace: Pace,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// What ends it early.
    pub stop: Stop,
    /// When to try again.
    pub policy: Policy,
    /// What is remembered of hosts.
    pub hosts: Rc<Hosts>,
}

/// One file to send.
#[derive(Clone)]
pub struct Job {
    /// Its number in events.
    pub file: FileId,
    /// The local file.
    pub source: PathBuf,
    /// Where to.
    pub destination: Destination,
    /// What to do when the name is taken.
    pub existing: Existing,
    /// The chunk size asked for, in bytes; a record that is gone on with has its own.
    pub chunk_size: Option<u64>,
    /// Connections, where a number is asked for.
    pub connections: Option<u32>,
    /// A source that is not the one of the record is a failure, not a reason to start over.
    pub no_restart: bool,
    /// Whether a record that somebody else may have written is believed.
    pub trust: bool,
    /// The protocol that must be spoken, where one is asked for.
    pub protocol: Option<&'static str>,
    /// What an earlier run has begun is forgotten, here and at the remote.
    pub restart: bool,
    /// What is to be believed of a part of which nobody can say whether it has arrived.
    pub assume: Option<Assume>,
    /// The digest of the whole to compare at the end; `None` is whichever costs no time.
    pub digest: Option<Algorithm>,
}

/// What a person knows of a part that was sent and never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assume {
    /// The remote has it.
    Stored,
    /// It has not.
    Lost,
}

/// Sends the file of `job`. Runs where local tasks can be: pieces are tasks of this thread.
pub async fn run(job: &Job, ground: &Ground) -> Result<Outcome, Fault> {
    let connect = async |saved: Option<&Session>| ground.remotes.choose(job.destination.clone(), saved).await;
    send(job, ground, connect).await
}

/// Sends the file of `job` to whatever remote `connect` gives.
async fn send(
    job: &Job,
    ground: &Ground,
    connect: impl AsyncFn(Option<&Session>) -> Result<Rc<dyn Remote>, Fault>,
) -> Result<Outcome, Fault> {
    let source = Source::open(&job.source)?;
    let voice = Voice::new(job.file, ground.observer.clone());
    let place = shown(&job.destination.url);
    voice.tell(Event::Started {
        name: disk::shown(&job.source),
        direction: Direction::Upload,
        remote: place.clone(),
        total: Some(source.length()),
    });
    let file = RecordFile::take(&job.source, &place, job.trust)?;
    if let Some(problem) = file.problem() {
        voice.warn(problem);
    }
    let mut patience = Patience::new(ground.policy, ground.stop.clone(), voice.clone());
    let mut saved = file.record().filter(|record| record.url == place).cloned();
    let mut session = saved.as_ref().map(|record| Session(record.session.clone()));
    if job.restart && saved.take().is_some() {
        session = begin::forgotten(session.as_ref(), &connect, &patience, &voice).await?;
    }
    let remote = patience.insist(async || connect(session.as_ref()).await).await?;
    if let Some(asked) = job.protocol.filter(|asked| *asked != remote.protocol()) {
        let text = format!("this upload was begun by the protocol {}, not by {asked}", remote.protocol());
        return Err(Fault::new(Kind::Usage, text).hint("--restart forgets what was begun"));
    }
    voice.tell(Event::Protocol { name: remote.protocol().into(), about: remote.about() });
    if let Some(caveat) = remote.caveat() {
        voice.warn(caveat);
    }
    if saved.is_none() {
        remote.expect(source.length());
        begin::fit(&*remote, begin::body_limit(job, ground), begin::known_rate(job, ground), job.connections);
    }
    let mut upload = Upload::new(job, ground, source, remote, patience, voice)?;
    let mut keeper = Keeper::new(file);
    // What fails before the record is adopted leaves it as it is.
    upload.adopt(saved).await?;
    match upload.live(&mut keeper).await {
        Ok(outcome) => keeper.remove().await.map(|()| outcome),
        Err(fault) => upload.leave(keeper, fault).await,
    }
}

/// Makes the remote of a record's session forget its upload.
pub async fn abandon(destination: Destination, record: &Record, ground: &Ground) -> Result<(), Fault> {
    let session = Session(record.session.clone());
    let voice = Voice::new(0, ground.observer.clone());
    let mut patience = Patience::new(ground.policy, ground.stop.clone(), voice);
    let choose = async || ground.remotes.choose(destination.clone(), Some(&session)).await;
    let remote = patience.insist(choose).await?;
    patience.insist(async || remote.abandon(&session).await).await
}

/// What is to be done next.
enum Step {
    /// Begin the session, or find it again.
    Open,
    /// Send what is missing.
    Send,
    /// Say that all is there.
    Close,
    /// The remote is checking the whole: ask again after this time.
    Check(Duration),
    /// The session is lost, for this reason: begin anew.
    Anew(String),
    /// A finished file has the name; its length, where told.
    Taken(Option<u64>, Fault),
    /// It is there.
    Done(Published),
}

/// One upload under way.
struct Upload<'a> {
    job: &'a Job,
    ground: &'a Ground,
    remote: Rc<dyn Remote>,
    terms: Terms,
    source: Source,
    patience: Patience,
    voice: Voice,
    record: Record,
    session: Rc<Session>,
    /// Receipts: what the remote holds, with the sums of what was sent.
    ledger: Ledger,
    /// How large a piece this line and this server like.
    pieces: Pieces,
    /// Digests of the whole source, as far as they are known.
    digests: Vec<Digest>,
    beside: Option<Beside>,
    meter: Meter,
    /// Bytes that were there before this run.
    already: u64,
    /// Whether anything may have reached the remote under this session, so that the record is worth leaving.
    begun: bool,
    /// Whether an earlier run left a record.
    found: bool,
    /// Whether the remote was told the digest of the whole.
    identified: bool,
    /// How often in a row something had to be done again without a byte moving.
    rounds: u32,
    /// How often the source has changed during this run.
    changes: u32,
    /// Whether something left and no answer came, and the remote was not asked since.
    doubt: bool,
    /// Claims of the remote that were not taken up.
    declined: u32,
    /// Whether the user knows that the record cannot be written.
    unsaved: bool,
    /// How often the whole was found wanting at its end.
    wanted: u32,
    /// Whether the user says that a closing of unknown outcome was one.
    ended: bool,
    /// Samples of what the remote holds that were compared with the source.
    sampled: u32,
    /// Whether parts were made smaller because larger ones were refused, and none has passed since.
    smaller: bool,
}

impl<'a> Upload<'a> {
    fn new(
        job: &'a Job,
        ground: &'a Ground,
        source: Source,
        remote: Rc<dyn Remote>,
        patience: Patience,
        voice: Voice,
    ) -> Result<Self, Fault> {
        let terms = remote.terms();
        let length = source.length();
        let layout = begin::layout(job, &*remote, length)?;
        let url = shown(&job.destination.url);
        let mut record = Record::new(crate::record::Kind::Upload, url, "", layout.chunk_size());
        record.length = Some(length);
        record.if_exists = job.existing.into();
        record.needs = [job.destination.access.names(), remote.needs()].concat();
        record.stamp = Some(source.stamp().clone());
        Ok(Self {
            session: Rc::new(remote.prepare()),
            ledger: Ledger::new(layout),
            pieces: Pieces::new(&terms, ground.pace.rate(), begin::body_limit(job, ground)),
            meter: Meter::new(Instant::now(), 0, Some(length)),
            digests: Vec::new(),
            beside: None,
            already: 0,
            begun: false,
            found: false,
            identified: false,
            rounds: 0,
            changes: 0,
            doubt: false,
            declined: 0,
            unsaved: false,
            wanted: 0,
            ended: false,
            sampled: 0,
            smaller: false,
            job,
            ground,
            remote,
            terms,
            source,
            patience,
            voice,
            record,
        })
    }

    /// From step to step until it is done.
    async fn live(&mut self, keeper: &mut Keeper) -> Result<Outcome, Fault> {
        self.hash_if_small()?;
        let mut step = if self.ended { Step::Done(self.assumed()) } else { Step::Open };
        loop {
            step = match step {
                Step::Open => self.open(keeper).await?,
                Step::Send => self.transfer(keeper).await?,
                Step::Close => self.close(keeper).await?,
                Step::Check(wait) => self.check(wait).await?,
                Step::Anew(why) => self.anew(why)?,
                Step::Taken(length, fault) => self.taken(length, fault).await?,
                Step::Done(published) => return self.done(published),
            };
        }
    }

    fn hash_if_small(&mut self) -> Result<(), Fault> {
        let plain = self.job.digest == Some(Algorithm::Crc64Nvme);
        let compared = self.remote.identify().is_some() || self.remote.may_show_digest();
        if self.source.length() > SMALL || !compared || plain {
            return Ok(());
        }
        let mut hashers = [Algorithm::Md5, Algorithm::Sha256].map(crate::digest::Hasher::new);
        let whole = self.ledger.layout().whole();
        self.source
            .read(whole, |block| hashers.iter_mut().for_each(|hasher| hasher.update(block)))
            .map_err(|e| self.source.fault(&e))?;
        self.digests = hashers.into_iter().map(crate::digest::Hasher::finish).collect();
        Ok(())
    }

    fn manifest(&self) -> Manifest {
        Manifest {
            name: self.job.source.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            layout: self.ledger.layout(),
            if_exists: self.job.existing.into(),
            modified: self.source.modified(),
            md5: self.digest(Algorithm::Md5).cloned(),
            early: self.record.identity.clone(),
            want: self.want(),
        }
    }

    fn digest(&self, algorithm: Algorithm) -> Option<&Digest> {
        self.digests.iter().find(|digest| digest.algorithm == algorithm)
    }

    /// The digest that is computed beside the transfer for the end: the one asked for, or what the remote can show. The
    /// CRC-64 is there without that.
    fn compares(&self) -> Option<Algorithm> {
        match self.job.digest {
            Some(Algorithm::Crc64Nvme) => None,
            asked => asked.or_else(|| self.remote.proves()),
        }
    }

    /// The strong digest that is compared at the end: one that was asked for, or that we have too.
    fn want(&self) -> Vec<Algorithm> {
        if let Some(asked) = self.job.digest {
            return self.compares().filter(|algorithm| *algorithm == asked).into_iter().collect();
        }
        self.digest(Algorithm::Sha256).map(|digest| digest.algorithm).into_iter().collect()
    }

    async fn open(&mut self, keeper: &mut Keeper) -> Result<Step, Fault> {
        self.identify_early(keeper).await?;
        if self.keeps_from_the_start() {
            self.save_now(keeper).await?;
            disk::point("upload-key-saved");
        }
        self.name_chunks(keeper).await?;
        self.begun = true;
        let manifest = self.manifest();
        let front = self.front()?;
        self.remote.offer(front.as_ref().map(|front| front.part.clone()));
        let (remote, session) = (self.remote.clone(), self.session.clone());
        let (session, state) = self.patience.insist(async || remote.open(&session, &manifest).await).await?;
        disk::point("upload-opened");
        self.session = Rc::new(session);
        self.retune();
        if let Some(expires) = self.remote.expires() {
            let until = humantime::format_rfc3339_seconds(expires);
            self.voice.detail(format!("the server keeps it unfinished until {until}"));
        }
        let along = front.map_or(0, |front| front.sent());
        // What left while the source changed is no receipt.
        let sound = along == 0 || self.source.change() == local::Change::None;
        let trust = sound && self.record.stamp.as_ref() == Some(self.source.stamp());
        let step = self.settle(state, trust || self.remote.by_content().is_some()).await?;
        if matches!(step, Step::Send) {
            let held = self.ledger.held().len();
            self.already = held.saturating_sub(along);
            self.meter = Meter::new(Instant::now(), held, Some(self.source.length()));
            self.meter.moved(along);
            if self.already > 0 {
                self.voice.tell(Event::Resumed { offset: self.already, total: Some(self.source.length()) });
            }
            if self.keeps_from_the_start() {
                self.save_now(keeper).await?;
            }
        }
        Ok(step)
    }

    /// A file that is gone in a moment is not worth a record's syncs: if it takes longer, or fails, it gets one. What a
    /// kill in that moment leaves at the server holds less than this, and expires.
    fn keeps_from_the_start(&self) -> bool {
        self.found || self.source.length() > TINY || self.terms.repeat == Repeat::Appends
    }

    /// The step that a state of the remote asks for.
    async fn settle(&mut self, state: State, trust: bool) -> Result<Step, Fault> {
        match state {
            State::Done(published) => Ok(Step::Done(published)),
            State::Checking(wait) => Ok(Step::Check(wait)),
            State::Taken(length, fault) => Ok(Step::Taken(length, fault)),
            // What a person has looked at is there.
            State::Gone if self.job.assume == Some(Assume::Stored) && self.is_whole() => Ok(Step::Done(self.assumed())),
            State::Gone => {
                self.may_be_complete()?;
                Ok(Step::Anew(self.gone()))
            }
            State::Open(standing) => {
                let claim = standing.claim.as_ref().filter(|_| self.declined == 0);
                let taken_up = match claim {
                    Some(claim) => self.take_up(claim).await?,
                    None => None,
                };
                if let Some(step) = taken_up {
                    return Ok(step);
                }
                let doubt = std::mem::take(&mut self.doubt);
                if doubt {
                    let again = self.wanted < MOST_ROUNDS;
                    if standing.held == Held::Unknown && self.remote.habits().begins_anew && again {
                        // Bytes move in between: only the count ends it.
                        self.wanted += 1;
                        return Ok(Step::Anew("a part of it left and no answer came: it is sent anew".into()));
                    }
                    self.is_settled(&standing.held)?;
                }
                self.reconcile(standing.held, trust && !standing.joined).await?;
                if doubt {
                    self.record.sent = None;
                }
                Ok(Step::Send)
            }
        }
    }

    async fn check(&mut self, wait: Duration) -> Result<Step, Fault> {
        self.patience.unless_stopped(tokio::time::sleep(wait)).await?;
        self.ask_again().await
    }

    /// Asks the remote how far it is and goes on from there.
    async fn ask_again(&mut self) -> Result<Step, Fault> {
        let (remote, session) = (self.remote.clone(), self.session.clone());
        let state = self.patience.insist(async || remote.held(&session).await).await?;
        self.retune();
        let trust = self.record.stamp.as_ref() == Some(self.source.stamp());
        self.settle(state, trust || self.remote.by_content().is_some()).await
    }

    /// Opening or asking may have taught the remote something about its server.
    fn retune(&mut self) {
        self.terms = self.remote.terms();
        self.pieces.retune(&self.terms);
    }

    /// Why a session that is gone is begun anew.
    fn gone(&self) -> String {
        match self.remote.expires().filter(|expires| *expires <= std::time::SystemTime::now()) {
            Some(_) => "the server kept this upload unfinished only for a time, and that is over".into(),
            None => "the server no longer knows this upload".into(),
        }
    }

    /// The session is lost: a new one, and everything again. What the remote may still hold is found by its content.
    fn anew(&mut self, why: String) -> Result<Step, Fault> {
        self.round(&why)?;
        self.voice.tell(Event::Restarted { why });
        self.session = Rc::new(self.remote.prepare());
        self.ledger = Ledger::new(self.ledger.layout());
        self.record.stale = Default::default();
        self.record.sent = None;
        // Without an early digest nothing of the old session is compared with the new content.
        if self.record.identity.is_none() {
            self.record.stamp = Some(self.source.stamp().clone());
        }
        Ok(Step::Open)
    }

    /// Counts rounds in which nothing moved.
    fn round(&mut self, why: &str) -> Result<(), Fault> {
        self.rounds += 1;
        match self.rounds > MOST_ROUNDS {
            true => Err(Fault::new(Kind::Integrity, format!("{why}, again and again"))),
            false => Ok(()),
        }
    }

    fn is_whole(&self) -> bool {
        self.ledger.held().contains(self.ledger.layout().whole())
    }

    fn name(&self) -> String {
        disk::shown(&self.job.source)
    }

    /// The record as it is to be written now.
    fn snapshot(&mut self) -> Record {
        self.ledger.sync_begins();
        self.ledger.sync_ended();
        self.ledger.fill(&mut self.record, disk::boot_id());
        self.record.session = self.session.0.clone();
        if let Some(saved) = self.beside.as_ref().and_then(Beside::saved) {
            self.record.prefix = saved;
        }
        self.record.clone()
    }

    async fn save_now(&mut self, keeper: &mut Keeper) -> Result<(), Fault> {
        let record = self.snapshot();
        match keeper.save_now(record).await {
            Err(fault) if fault.kind == Kind::Local => {
                self.voice.warn(format!("the record could not be written: {fault}"));
                Ok(())
            }
            other => other,
        }
    }
}
