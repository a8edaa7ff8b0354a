//! One download, from the look at what an earlier run left to the final name.
//!
//! The first request is the transfer: it asks for the first missing byte and everything behind it, and its answer
//! says what the remote can do. What an earlier run left is used only if [`crate::plan`] says so, for this answer.

use super::adapt::{Adapt, Sample};
use super::crew::{Crew, End, next_form};
use super::meter::Meter;
use super::pace::Pace;
use super::retry::{Backoff, Next, Policy, jitter};
use super::spans::Spans;
use super::stream::{self, Streamed};
use super::{Existing, Stop};
use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, DEFAULT_CHUNK, Layout};
use crate::digest::{Algorithm, Digest};
use crate::disk::{self, Spot};
use crate::event::{Direction, Event, FileId, Observer, Outcome};
use crate::fault::{Fault, Kind};
use crate::partial::{Follower, PartialFile, Place, Slot};
use crate::plan::{Now, Plan, plan};
use crate::record::{IfExists, Kind as RecordKind, Record};
use crate::source::{Answer, Ask, Body, Head, Source};
use crate::units;
use crate::wire::validator::{Form, best_form};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a remote may change while it is being downloaded before that is a failure.
const RESTARTS: u32 = 5;
/// How often the crew is looked at.
const BEAT: Duration = Duration::from_millis(100);
/// Claims are of about this much work for one connection.
const CLAIM: f64 = 3.0;

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
    /// What to do about a finished file of that name.
    pub existing: Existing,
    /// Whether changed content is a failure instead of a reason to start over.
    pub no_restart: bool,
    /// Whether a record that somebody else may have written is believed.
    pub trust: bool,
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
    /// Says how many large files may be under way; a permit is taken once a file turns out to be one.
    pub large: Arc<tokio::sync::Semaphore>,
}

/// An answer that is open, and what it is the answer to.
struct Opening {
    head: Head,
    /// The bytes its body holds.
    range: ByteRange,
    body: Box<dyn Body>,
    /// Whether it is a range, so that others can be had.
    ranged: bool,
    form: Form,
}

/// What came of trying to fill the file.
enum Filled {
    Complete,
    Changed(String),
}

/// How one attempt ended.
enum Attempt {
    Done(Outcome),
    StartOver(String),
}

struct Transfer<'a> {
    tools: &'a Tools,
    order: Order,
    moved: u64,
    already: u64,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Downloads one file. Every end but `Done` and `Failed`, which belong to the caller, is told to the observer.
pub async fn pull(tools: &Tools, order: Order) -> Result<Outcome, Fault> {
    Transfer { tools, order, moved: 0, already: 0, permit: None }.run().await
}

impl Transfer<'_> {
    fn tell(&self, event: Event) {
        self.tools.observer.on(self.order.file, &event);
    }

    async fn run(&mut self) -> Result<Outcome, Fault> {
        let (remote, name) = (self.order.url.clone(), self.order.name.clone());
        self.tell(Event::Started { name, direction: Direction::Download, remote, total: None });
        let mut target = self.known_target()?;
        if let Some(path) = &target
            && let Some(outcome) = self.already_there(path).await?
        {
            return Ok(outcome);
        }
        let mut slot = match &target {
            Some(path) => Some(self.slot(path)?),
            None => None,
        };
        let mut fresh = false;
        for _ in 0..=RESTARTS {
            match self.attempt(&mut target, slot.take(), fresh).await? {
                Attempt::Done(outcome) => return Ok(outcome),
                Attempt::StartOver(why) if self.order.no_restart => {
                    return Err(Fault::new(Kind::Changed, format!("the file has changed at its source: {why}"))
                        .kept("what was fetched of the old one is kept")
                        .hint("without --no-restart it is downloaded anew"));
                }
                Attempt::StartOver(why) => self.tell(Event::Restarted { why }),
            }
            fresh = true;
        }
        Err(Fault::new(Kind::Changed, "the file keeps changing at its source").hint("try again when it has settled"))
    }

    /// The final path, where it is known before the remote has answered: given, or told by a record of this URL.
    fn known_target(&self) -> Result<Option<PathBuf>, Fault> {
        match &self.order.into {
            Into::File(path) => disk::resolve_links(path).map(Some),
            Into::Folder(folder) => Ok(record_of(folder, &self.order.url)),
        }
    }

    fn slot(&self, target: &Path) -> Result<Slot, Fault> {
        let slot = Slot::take(Place { trust: self.order.trust, ..Place::beside(target) })?;
        if let Some(problem) = slot.problem() {
            self.tell(Event::Warning { text: format!("starting over: {problem}") });
        }
        Ok(slot)
    }

    /// What there is to say about a finished file of that name before a byte moves.
    async fn already_there(&self, path: &Path) -> Result<Option<Outcome>, Fault> {
        let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
        if meta.is_dir() {
            return Err(Fault::new(Kind::Local, format!("{} is a folder", disk::shown(path)))
                .hint("use -d to download into it"));
        }
        let done = |proof| Outcome { place: shown_place(path), moved: 0, already: meta.len(), proof };
        match (self.order.existing, &self.order.checksum) {
            (Existing::Keep, _) => Ok(Some(done(None))),
            (Existing::Replace, _) => Ok(None),
            (Existing::Refuse, Some(wanted)) => match digest_of(path.to_owned(), wanted.algorithm).await? == *wanted {
                true => {
                    self.verified(wanted, "user");
                    Ok(Some(done(Some(wanted.algorithm.to_string()))))
                }
                false => Err(exists(path)),
            },
            (Existing::Refuse, None) => Err(exists(path)),
        }
    }

    fn verified(&self, digest: &Digest, by: &str) {
        self.tell(Event::Verified { alg: digest.algorithm.to_string(), digest: digest.hex(), by: by.to_string() });
    }

    async fn attempt(
        &mut self,
        target: &mut Option<PathBuf>,
        slot: Option<Slot>,
        fresh: bool,
    ) -> Result<Attempt, Fault> {
        let slot = match (slot, target.as_deref()) {
            (None, Some(path)) => Some(self.slot(path)?),
            (slot, _) => slot,
        };
        if let (Some(slot), Some(path)) = (&slot, target.as_deref())
            && slot.is_published()
        {
            return self.published(path);
        }
        let record = slot.as_ref().and_then(|slot| slot.record()).filter(|_| !fresh).cloned();
        if let (Some(record), Some(path)) = (&record, target.as_deref())
            && record.length == Some(record.held(disk::boot_id()).len())
            && let Some(slot) = slot
        {
            // Everything is there: a kill came between the last byte and the final name.
            let file = slot.resume()?;
            self.resumed(&file);
            return self.complete(file, path, None, None).await;
        }
        let opening = self.open(record.as_ref()).await?;
        opening.head.hops.iter().for_each(|hop| {
            self.tell(Event::Redirect { from: hop.from.clone(), to: hop.to.clone(), status: hop.status });
        });
        let opening = match opening.head.total.unwrap_or(u64::MAX) >= DEFAULT_CHUNK && self.permit.is_none() {
            true => match self.large_turn(opening, record.as_ref()).await? {
                Some(opening) => opening,
                None => return Err(Fault::new(Kind::Interrupted, "stopped")),
            },
            false => opening,
        };
        let (slot, path) = match (slot, target.clone()) {
            (Some(slot), Some(path)) => (slot, path),
            _ => {
                let path = self.named(&opening.head);
                if let Some(outcome) = self.already_there(&path).await? {
                    return Ok(Attempt::Done(outcome));
                }
                (self.slot(&path)?, path)
            }
        };
        *target = Some(path.clone());
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
            Some(Plan::Impostor(why)) => {
                return Err(Fault::new(Kind::Network, why)
                    .kept("what was there is kept")
                    .hint("log in to the network, then run the same command again"));
            }
            _ => {}
        }
        let resumes = matches!(verdict, Some(Plan::Resume | Plan::Compare));
        let file = match resumes {
            true => slot.resume()?,
            false => slot.begin(self.new_record(&opening.head, &path))?,
        };
        if resumes {
            self.resumed(&file);
        }
        if verdict == Some(Plan::Compare) && opening.ranged {
            // The remote's word does not decide; bytes do.
            match super::overlap::compare(&file, &*self.order.source).await? {
                true => {}
                false => {
                    drop(file);
                    return Ok(Attempt::StartOver("bytes that are here differ from the remote's".into()));
                }
            }
        }
        self.fill_and_complete(file, &path, opening).await
    }

    fn resumed(&mut self, file: &PartialFile) {
        self.already = file.held().len();
        self.tell(Event::Resumed { offset: self.already, total: file.length() });
    }

    fn judge(&self, record: &Record, opening: &Opening) -> Option<Plan> {
        let head = &opening.head;
        Some(plan(
            record,
            &Now {
                validator: head.validator.clone(),
                length: head.total,
                same_url: record.url == self.order.url,
                html: head.html,
                ranged: opening.ranged,
            },
        ))
    }

    /// An earlier run was killed after the final rename: only its record is left.
    fn published(&self, path: &Path) -> Result<Attempt, Fault> {
        self.slot_cleared(path)?;
        let already = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Ok(Attempt::Done(Outcome { place: shown_place(path), moved: 0, already, proof: None }))
    }

    fn slot_cleared(&self, path: &Path) -> Result<(), Fault> {
        disk::remove(&Place::beside(path).sidecar).map(drop)
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
        record.validator = head.validator.clone();
        record.checksum = self.order.checksum.clone();
        record.if_exists = match self.order.existing {
            Existing::Replace => IfExists::Replace,
            Existing::Refuse | Existing::Keep => IfExists::Fail,
        };
        record
    }

    /// Waits for this large file's turn. An answer that would have to wait is let go and asked for again.
    async fn large_turn(&mut self, opening: Opening, record: Option<&Record>) -> Result<Option<Opening>, Fault> {
        if let Ok(permit) = self.tools.large.clone().try_acquire_owned() {
            self.permit = Some(permit);
            return Ok(Some(opening));
        }
        drop(opening);
        let turn = self.tools.large.clone().acquire_owned();
        tokio::select! {
            permit = turn => self.permit = permit.ok(),
            () = self.tools.stop.wait() => return Ok(None),
        }
        self.open(record).await.map(Some)
    }

    /// Asks until an answer is open, by the retry policy.
    async fn open(&self, record: Option<&Record>) -> Result<Opening, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        loop {
            let fault = tokio::select! {
                opened = self.open_once(record) => match opened {
                    Ok(opening) => return Ok(opening),
                    Err(fault) => fault,
                },
                () = self.tools.stop.wait() => return Err(interrupted()),
            };
            self.pause(&mut backoff, fault).await?;
        }
    }

    /// Waits as long as the policy says, or gives the fault back.
    async fn pause(&self, backoff: &mut Backoff, fault: Fault) -> Result<(), Fault> {
        let Next::Wait(wait) = backoff.after(&fault, jitter()) else { return Err(fault) };
        self.tell(Event::Retry { error: fault, wait, attempt: backoff.failed() });
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.tools.stop.wait() => Err(interrupted()),
        }
    }

    /// One answer, from the first missing byte on where the remote allows it.
    async fn open_once(&self, record: Option<&Record>) -> Result<Opening, Fault> {
        let held = record.map(|record| record.held(disk::boot_id())).unwrap_or_default();
        let end = record.and_then(|record| record.length);
        let gap = held.missing(ByteRange::new(0, end.unwrap_or(stream::NO_END))).next().unwrap_or_default();
        let kept = record.map(|record| record.validator.clone());
        let mut form = kept.as_ref().map_or(Form::Bare, |kept| best_form(kept, Form::Tag));
        let mut from = Some(gap.start);
        loop {
            // Up to the end when nothing is there behind it, so that a fresh start needs no length.
            let until = (held.end() > gap.start).then_some(gap.end);
            let ask = Ask { from, end: until.filter(|_| from.is_some()), kept: kept.clone(), form, alone: false };
            let whole = |head: Head, body, form| {
                let range = ByteRange::new(0, head.total.unwrap_or(stream::NO_END));
                Opening { head, range, body, ranged: false, form }
            };
            match self.order.source.ask(ask).await? {
                Answer::Part { head, end, body } => {
                    return Ok(Opening { head, range: ByteRange::new(gap.start, end), body, ranged: true, form });
                }
                Answer::Whole { head, body } => {
                    // Was it the condition that this server does not know? Only a server that calls the content the
                    // same is asked again.
                    let same = record.is_some_and(|record| {
                        from.is_some()
                            && gap.start > 0
                            && !matches!(plan(record, &now(&head)), Plan::Restart(_) | Plan::Impostor(_))
                    });
                    match next_form(form).filter(|_| same) {
                        Some(next) => form = next,
                        None => return Ok(whole(head, body, form)),
                    }
                }
                Answer::Beyond { head } if head.total == Some(0) && gap.start == 0 => {
                    return Ok(Opening {
                        head,
                        range: ByteRange::default(),
                        body: Box::new(Nothing),
                        ranged: true,
                        form,
                    });
                }
                Answer::Beyond { head } if head.total.is_some() && end.is_some() && head.total != end => {
                    return Ok(Opening {
                        head,
                        range: ByteRange::default(),
                        body: Box::new(Nothing),
                        ranged: true,
                        form,
                    });
                }
                Answer::Beyond { .. } | Answer::Unfit { .. } if from.is_some() => from = None,
                Answer::Beyond { .. } => {
                    return Err(Fault::new(
                        Kind::Other,
                        format!("{} denies a range that was not asked for", self.order.source.host()),
                    ));
                }
                Answer::Unfit { why } => {
                    return Err(Fault::new(
                        Kind::Other,
                        format!("{} cannot be downloaded from: {why}", self.order.source.host()),
                    ));
                }
            }
        }
    }

    async fn fill_and_complete(&mut self, file: PartialFile, path: &Path, opening: Opening) -> Result<Attempt, Fault> {
        let wanted = self.digests_wanted(&opening.head);
        let algorithms: Vec<Algorithm> = wanted.iter().map(|(digest, _)| digest.algorithm).collect();
        let follower = (!algorithms.is_empty()).then(|| file.follow(&algorithms));
        if opening.head.open_ended {
            let text = "the server announces no length: whether it sent everything cannot be checked".to_string();
            self.tell(Event::Warning { text });
        }
        let filled = self.fill(&file, opening).await;
        match filled {
            Ok(Filled::Complete) => self.complete(file, path, follower, Some(wanted)).await,
            Ok(Filled::Changed(why)) => {
                drop(file);
                Ok(Attempt::StartOver(why))
            }
            Err(fault) => Err(self.kept(file, fault).await),
        }
    }

    /// The digests this content is held to, and whose they are: the user's first.
    fn digests_wanted(&self, head: &Head) -> Vec<(Digest, String)> {
        let mut wanted: Vec<(Digest, String)> =
            self.order.checksum.iter().map(|digest| (digest.clone(), "user".to_string())).collect();
        // One of the server's is enough, and the strongest comes first.
        if let Some(offer) = head
            .digests
            .first()
            .filter(|offer| wanted.iter().all(|(digest, _)| digest.algorithm != offer.digest.algorithm))
        {
            wanted.push((offer.digest.clone(), "server".to_string()));
        }
        wanted
    }

    /// Commits what has arrived and says in the fault what became of it.
    async fn kept(&self, file: PartialFile, fault: Fault) -> Fault {
        let (held, layout) = (file.held(), file.layout());
        let kept = match (held.is_empty(), file.length()) {
            (true, _) => "nothing had arrived yet".to_string(),
            (false, Some(length)) => {
                let done = (0..layout.count()).filter(|index| held.contains(layout.range(*index))).count();
                let amount = format!("{} of {}", units::bytes(held.len()), units::bytes(length));
                format!("kept {amount} ({done} of {} chunks)", layout.count())
            }
            (false, None) => format!("kept {}", units::bytes(held.len())),
        };
        let fault = match file.keep().await {
            Ok(()) => fault,
            Err(worse) if fault.kind == Kind::Interrupted => worse,
            Err(_) => fault,
        };
        let retry = matches!(fault.kind, Kind::Network | Kind::Busy | Kind::Interrupted | Kind::OutOfTime);
        let fault = fault.kept(kept);
        if retry { fault.hint("run the same command again to go on") } else { fault }
    }

    async fn fill(&mut self, file: &PartialFile, opening: Opening) -> Result<Filled, Fault> {
        let Some(length) = file.length() else {
            return self.stream(file, Some(opening)).await;
        };
        let whole_over_old = !opening.ranged && !file.held().is_empty();
        if whole_over_old {
            return self.stream(file, Some(opening)).await;
        }
        let spans = Spans::new(file.held().missing(ByteRange::new(0, length)));
        let meter = Meter::new(Instant::now(), file.held().len(), Some(length));
        let crew = Crew::new(self.order.source.clone(), file.clone(), spans, meter, self.tools.pace.clone());
        crew.form.set(opening.form);
        let crew = Rc::new(crew);
        let ended = self.lead(&crew, (opening.range, opening.body)).await;
        self.moved += crew.meter.borrow().run();
        match ended? {
            End::Idle => Ok(Filled::Complete),
            End::Changed(why) => Ok(Filled::Changed(why)),
            End::NoRanges(why) => {
                self.tell(Event::Detail { text: format!("one stream only: {why}") });
                drop(crew);
                self.stream(file, None).await
            }
            End::Fault(fault) => Err(fault),
        }
    }

    /// Leads the connections until nothing is missing.
    async fn lead(&self, crew: &Rc<Crew>, first: (ByteRange, Box<dyn Body>)) -> Result<End, Fault> {
        let begun = Instant::now();
        let cpu = super::cpu_time();
        let mut adapt = Adapt::new(self.order.connections, None);
        let mut backoff = Backoff::new(self.tools.policy);
        let mut hands: JoinSet<End> = JoinSet::new();
        let mut proof: JoinSet<Result<ByteSet, Fault>> = JoinSet::new();
        if crew.file.needs_proof() {
            let file = crew.file.clone();
            proof.spawn_local(async move { file.prove().await });
        }
        hands.spawn_local(crew.clone().work(Some(first).filter(|(range, _)| !range.is_empty())));
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = None;
        let mut moved_at_fault = 0;
        loop {
            tokio::select! {
                () = self.tools.stop.wait() => return Err(interrupted()),
                Some(proven) = proof.join_next() => self.proven(crew, proven)?,
                Some(end) = hands.join_next() => match end {
                    Ok(End::Idle) => {}
                    Ok(End::Fault(fault)) => {
                        let moved = crew.meter.borrow().run();
                        if moved > moved_at_fault {
                            backoff.progress();
                        }
                        moved_at_fault = moved;
                        pause = Some(self.after(fault, &mut backoff, &mut adapt, hands.len())?);
                    }
                    Ok(End::NoRanges(_)) if !hands.is_empty() => adapt.refused(1),
                    Ok(end) => return Ok(end),
                    Err(e) => return Err(Fault::new(Kind::Other, format!("a connection's task ended early: {e}"))),
                },
                _ = beat.tick() => {
                    let sample = Sample {
                        now: begun.elapsed(),
                        moved: crew.meter.borrow().run(),
                        cpu: super::cpu_time().saturating_sub(cpu),
                        left: crew.spans.borrow().left(),
                        limit: self.tools.pace.rate(),
                    };
                    adapt.look(sample);
                    self.progress(crew);
                }
                () = until(pause), if pause.is_some() => pause = None,
            }
            if hands.is_empty() && proof.is_empty() && crew.spans.borrow().is_done() {
                self.progress(crew);
                return Ok(End::Idle);
            }
            while pause.is_none() && hands.len() < adapt.wanted() as usize && crew.spans.borrow().has_work() {
                hands.spawn_local(crew.clone().work(None));
                tokio::task::yield_now().await;
            }
        }
    }

    /// What to do after a connection failed while `others` work on: until when no new one is opened.
    fn after(&self, fault: Fault, backoff: &mut Backoff, adapt: &mut Adapt, others: usize) -> Result<Instant, Fault> {
        if matches!(fault.kind, Kind::Local | Kind::Held | Kind::Integrity | Kind::Usage) {
            return Err(fault);
        }
        if others > 0 {
            // Too many for this host, or one bad connection: the others go on.
            if fault.kind != Kind::Network || fault.what.starts_with("cannot connect") {
                adapt.refused(others as u32);
            }
            self.tell(Event::Detail { text: format!("one connection less: {fault}") });
            return Ok(Instant::now() + fault.wait.unwrap_or(Duration::from_secs(1)));
        }
        let Next::Wait(wait) = backoff.after(&fault, jitter()) else { return Err(fault) };
        self.tell(Event::Retry { error: fault, wait, attempt: backoff.failed() });
        Ok(Instant::now() + wait)
    }

    fn proven(&self, crew: &Crew, proven: Result<Result<ByteSet, Fault>, tokio::task::JoinError>) -> Result<(), Fault> {
        let damaged = proven.map_err(|e| Fault::new(Kind::Other, format!("a proof ended early: {e}")))??;
        if !damaged.is_empty() {
            self.tell(Event::Warning {
                text: format!("{} of the earlier run are damaged and fetched again", units::bytes(damaged.len())),
            });
            crew.spans.borrow_mut().add(&damaged);
            crew.done.set(crew.done.get().saturating_sub(damaged.len()));
        }
        Ok(())
    }

    fn progress(&self, crew: &Crew) {
        let now = Instant::now();
        let mut meter = crew.meter.borrow_mut();
        if !meter.due(now) && !crew.spans.borrow().is_done() {
            return;
        }
        let connections = crew.busy.get();
        let progress = meter.progress(now, connections);
        let claim = (progress.rate as f64 * CLAIM / f64::from(connections.max(1))) as u64;
        crew.want.set(claim.clamp(crew.file.layout().chunk_size(), 1 << 30));
        drop(meter);
        self.tell(Event::Progress(progress));
    }

    /// Fetches the whole in one stream, again and again until one gets through.
    async fn stream(&mut self, file: &PartialFile, mut opening: Option<Opening>) -> Result<Filled, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        let mut meter = Meter::new(Instant::now(), file.held().len(), file.length());
        let damaged = match file.needs_proof() {
            true => file.prove().await?,
            false => ByteSet::new(),
        };
        if !damaged.is_empty() {
            self.tell(Event::Warning {
                text: format!("{} of the earlier run are damaged and fetched again", units::bytes(damaged.len())),
            });
        }
        loop {
            let before = file.held().len();
            let streamed = tokio::select! {
                streamed = self.stream_once(file, opening.take(), &mut meter) => streamed,
                () = self.tools.stop.wait() => Err(interrupted()),
            };
            self.moved = meter.run();
            match streamed {
                Ok(filled) => return Ok(filled),
                Err(fault) => {
                    if file.held().len() > before {
                        backoff.progress();
                    }
                    self.pause(&mut backoff, fault).await?;
                }
            }
        }
    }

    async fn stream_once(
        &self,
        file: &PartialFile,
        opening: Option<Opening>,
        meter: &mut Meter,
    ) -> Result<Filled, Fault> {
        let (head, mut body) = match opening.filter(|opening| opening.range.start == 0) {
            Some(opening) => (opening.head, opening.body),
            None => match self.order.source.ask(whole()).await? {
                Answer::Whole { head, body } => (head, body),
                Answer::Part { .. } | Answer::Beyond { .. } | Answer::Unfit { .. } => {
                    return Err(Fault::new(
                        Kind::Other,
                        format!("{} does not send the whole file", self.order.source.host()),
                    ));
                }
            },
        };
        match plan(&file.record(), &now(&head)) {
            Plan::Restart(why) => return Ok(Filled::Changed(why)),
            Plan::Impostor(why) => return Err(Fault::new(Kind::Network, why)),
            Plan::Resume | Plan::Compare => {}
        }
        let tell = |progress| self.tell(Event::Progress(progress));
        match stream::drink(file, &mut *body, &self.tools.pace, meter, &tell).await? {
            Streamed::Complete => Ok(Filled::Complete),
            Streamed::Differs => Ok(Filled::Changed("bytes that are here differ from the remote's".into())),
        }
    }

    /// Everything has arrived: verify, publish.
    async fn complete(
        &mut self,
        file: PartialFile,
        path: &Path,
        follower: Option<Follower>,
        wanted: Option<Vec<(Digest, String)>>,
    ) -> Result<Attempt, Fault> {
        if follower.is_none() && file.needs_proof() && !file.prove().await?.is_empty() {
            // Only reached when nothing was missing: the next attempt fetches what was damaged.
            file.keep().await?;
            return Ok(Attempt::StartOver("what the earlier run left is damaged".into()));
        }
        let wanted = wanted.unwrap_or_else(|| self.digests_wanted(&Head::default()));
        let algorithms: Vec<Algorithm> = wanted.iter().map(|(digest, _)| digest.algorithm).collect();
        let follower = follower.or_else(|| (!algorithms.is_empty()).then(|| file.follow(&algorithms)));
        let mut proof = None;
        if let Some(follower) = follower {
            let found = follower.digests().await?;
            for ((digest, by), found) in wanted.iter().zip(&found) {
                if digest != found {
                    return Err(self.condemned(file, digest, found, by).await);
                }
                self.verified(digest, by);
                proof.get_or_insert(digest.algorithm.to_string());
            }
        }
        let if_exists = match self.order.existing {
            Existing::Replace => IfExists::Replace,
            Existing::Refuse | Existing::Keep => IfExists::Fail,
        };
        let (moved, already) = (self.moved, self.already);
        file.finish(Spot::at(path)?, if_exists).await?;
        Ok(Attempt::Done(Outcome { place: shown_place(path), moved, already, proof }))
    }

    /// The content is wrong: it does not get its name, and the next run starts fresh.
    async fn condemned(&self, file: PartialFile, wanted: &Digest, found: &Digest, by: &str) -> Fault {
        let text = format!(
            "the content is wrong: its {} is {}, the {by}'s is {}",
            wanted.algorithm,
            found.hex(),
            wanted.hex()
        );
        let fault = Fault::new(Kind::Integrity, text);
        match file.condemn().await {
            Ok(bad) => {
                fault.kept(format!("the bytes are kept as {}", disk::shown(&bad))).hint("the next run starts fresh")
            }
            Err(_) => fault.hint("the next run starts fresh"),
        }
    }
}

/// No bytes at all.
struct Nothing;

impl Body for Nothing {
    fn next(&mut self) -> crate::source::Pending<'_, Result<Option<bytes::Bytes>, Fault>> {
        Box::pin(async { Ok(None) })
    }
}

fn whole() -> Ask {
    Ask { from: None, end: None, kept: None, form: Form::Bare, alone: false }
}

/// What an answer with the whole content says.
fn now(head: &Head) -> Now {
    Now { validator: head.validator.clone(), length: head.total, same_url: true, html: head.html, ranged: false }
}

fn interrupted() -> Fault {
    Fault::new(Kind::Interrupted, "stopped")
}

fn exists(path: &Path) -> Fault {
    Fault::new(Kind::Local, format!("{} exists, and whether it is this file cannot be told", disk::shown(path)))
        .hint("--overwrite replaces it, --no-clobber leaves it alone, -o gives another name")
}

/// The path as a result line has it.
fn shown_place(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// The target of the download record in `folder` that speaks of this URL.
fn record_of(folder: &Path, url: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(crate::partial::SIDECAR_SUFFIX))
        .filter_map(|path| match crate::partial::read_sidecar(&path) {
            Ok(crate::partial::Sidecar::Record(record)) if record.kind == RecordKind::Download && record.url == url => {
                let target = path.with_file_name(&record.file);
                (Place::beside(&target).sidecar == path).then_some(target)
            }
            _ => None,
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

async fn digest_of(path: PathBuf, algorithm: Algorithm) -> Result<Digest, Fault> {
    let hashed = tokio::task::spawn_blocking(move || super::digest_file(&path, algorithm)).await;
    hashed.map_err(|e| Fault::new(Kind::Other, format!("hashing ended early: {e}")))?
}
