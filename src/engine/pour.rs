//! A download into something that cannot be gone back in: stdout, a FIFO, `/dev/null`. The bytes go out in order, and
//! what went out stays out. Several connections fetch ahead within a bounded window; one that drops is taken up again
//! at the exact byte. Nothing is recorded.
//!
//! A remote that serves no ranges is read in one stream; when that breaks, it is read again from the beginning, and
//! what went out already is compared by its sum while it passes.
//!
//! Where answers do not say that they are of the content whose bytes are out, there is one connection, and each further
//! answer must begin with the bytes that went out last. That is evidence, not proof: `--strict` does not take it.

use super::crew::{Crew, End, First};
use super::drain::{Broken, Drain};
use super::lead::Lead;
use super::meter::Meter;
use super::outlook;
use super::pipe::Pipe;
use super::pull::{Tools, digests_wanted, interrupted};
use super::retry::{Backoff, Next, jitter};
use super::sink::Sink;
use super::slow::Slow;
use super::spans::Spans;
use super::supplier::Supplier;
use super::tail::TAIL;
use crate::chunk::{ByteRange, DEFAULT_CHUNK};
use crate::digest::{Digest, RunningCrc};
use crate::disk;
use crate::event::{Direction, Event, FileId, Outcome};
use crate::fault::{Fault, Kind};
use crate::record::Validator;
use crate::source::{Answer, Ask, Body, Head, Source};
use crate::wire::validator::{Form, Likeness, best_form, compare};
use bytes::Bytes;
use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How much goes out at once, in bytes.
const BATCH: usize = 1 << 20;

/// What is to be poured, and where.
pub struct Order {
    /// The file's number in this run.
    pub file: FileId,
    /// From where.
    pub source: Rc<dyn Source>,
    /// Where else the same is said to be had.
    pub mirrors: Vec<Rc<dyn Source>>,
    /// What it is written to; `None` opens the path.
    pub into: Option<File>,
    /// The path; `-` is stdout.
    pub path: PathBuf,
    /// The URL for people.
    pub url: String,
    /// Whether samples are not proof enough.
    pub strict: bool,
    /// The digest the content must have.
    pub checksum: Option<Digest>,
    /// Whose digest that is, where it is not the user's own.
    pub checksum_by: Option<String>,
    /// How many connections; `None` finds out.
    pub connections: Option<u32>,
    /// The most that is fetched ahead of what has gone out, in bytes.
    pub buffer: u64,
    /// How much to ask for at once, in bytes.
    pub chunk_size: Option<u64>,
}

/// How it ended.
#[derive(Debug)]
pub enum Poured {
    /// All of it has gone out.
    Done(Outcome),
    /// Whoever read has gone away: no failure of ours.
    ReaderGone,
}

/// How far it is.
struct Pour<'a> {
    tools: &'a Tools,
    order: Order,
    drain: Drain,
    /// What the content was called by its first answer, and its length.
    kept: Option<(Validator, Option<u64>)>,
    wanted: Vec<(Digest, String)>,
    moved: u64,
    /// How many of the bytes that went out last are asked for again; none as long as answers say what they are of.
    overlap: u64,
    /// Bytes went out that only samples speak for.
    sampled: bool,
    /// The last answer came whole, and did not say whether anything follows it.
    unended: bool,
}

/// What came of one answer.
enum Once {
    /// All has gone out.
    Done,
    /// There may be more, and nothing has failed.
    More,
}

/// Pours one file.
pub async fn pour(tools: &Tools, mut order: Order) -> Result<Poured, Fault> {
    let name = disk::shown(&order.path);
    let remote = order.url.clone();
    tools.observer.on(order.file, &Event::Started { name, direction: Direction::Download, remote, total: None });
    let into = order.into.take();
    let work = async {
        let into = match into {
            Some(into) => into,
            None => open(order.path.clone()).await?,
        };
        let drain = Drain::new(into, &order.path);
        let (kept, wanted) = (None, Vec::new());
        let mut pour = Pour { tools, order, drain, kept, wanted, moved: 0, overlap: 0, sampled: false, unended: false };
        pour.run().await.map_err(|broken| pour.cut(broken))
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = tools.stop.wait() => Err(Broken::Fault(interrupted())),
    };
    match outcome {
        Ok(outcome) => Ok(Poured::Done(outcome)),
        Err(Broken::Gone) => Ok(Poured::ReaderGone),
        Err(Broken::Fault(fault)) => Err(fault),
    }
}

/// A failure as the user is to see it: the same command would begin at the first byte again, so that what elsewhere
/// means "run it again to go on" is a failure like others.
pub fn for_good(fault: Fault) -> Fault {
    match fault.kind {
        Kind::Network | Kind::Busy | Kind::OutOfTime => Fault { kind: Kind::Other, ..fault },
        _ => fault,
    }
    .kept("what had arrived in order has gone out")
    .hint("the same command begins at the first byte again")
}

/// Opens what is to be written to. A FIFO is open once somebody reads it.
async fn open(path: PathBuf) -> Result<File, Fault> {
    let opened = tokio::task::spawn_blocking(move || disk::open_stream(&path)).await;
    opened.map_err(|e| Fault::new(Kind::Other, format!("opening ended early: {e}")))?
}

impl Pour<'_> {
    async fn run(&mut self) -> Result<Outcome, Broken> {
        match self.first().await? {
            Answer::Part { head, end, body } if head.total.is_some() && vouches(&head) => {
                self.same(&head)?;
                let digest = head.body_digest().cloned();
                let first = First { range: ByteRange::new(0, end), body, digest, took: head.took };
                match self.with_crew(head.total.unwrap_or(end), first).await? {
                    End::Idle => {}
                    End::NoRanges(why) => {
                        self.tell(Event::Detail { text: format!("one stream only: {why}") });
                        self.alone(None).await?;
                    }
                    End::Changed(why) => return Err(changed(&why).into()),
                    End::Fault(fault) => return Err(fault.into()),
                }
            }
            answer => self.alone(Some(answer)).await?,
        }
        Ok(self.verify()?)
    }

    /// What a failure is after bytes have gone out: whatever the reason, the pipe is cut for good.
    fn cut(&self, broken: Broken) -> Broken {
        match broken {
            Broken::Fault(fault) if self.drain.at() > 0 && matches!(fault.kind, Kind::Refused | Kind::NotFound) => {
                Broken::Fault(Fault { kind: Kind::Other, ..fault })
            }
            broken => broken,
        }
    }

    fn tell(&self, event: Event) {
        self.tools.observer.on(self.order.file, &event);
    }

    fn verify(&self) -> Result<Outcome, Fault> {
        for ((wanted, by), found) in self.wanted.iter().zip(self.drain.digests()) {
            if found != *wanted {
                let text = format!(
                    "the content is wrong: its {} is {}, the {by}'s is {}; its bytes have been passed on already",
                    wanted.algorithm,
                    found.hex(),
                    wanted.hex()
                );
                return Err(Fault::new(Kind::Integrity, text).hint("do not use what came out of the pipe"));
            }
            let (alg, digest, by) = (wanted.algorithm.to_string(), found.hex(), by.clone());
            self.tell(Event::Verified { alg, digest, by });
        }
        let proof = match self.wanted.first() {
            Some((digest, _)) => Some(digest.algorithm.to_string()),
            None => self.sampled.then(|| "overlap".to_string()),
        };
        Ok(Outcome { place: self.order.path.display().to_string(), moved: self.moved, already: 0, proof })
    }

    /// The first answer, by the retry policy.
    async fn first(&self) -> Result<Answer, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        let mut ask = Ask::range(0, None);
        loop {
            match self.order.source.ask(ask.clone()).await {
                Ok(Answer::Beyond { head }) if head.total == Some(0) => return Ok(Answer::Beyond { head }),
                Ok(Answer::Beyond { .. } | Answer::Unfit { .. }) if ask.from.is_some() => ask = Ask::whole(),
                Ok(answer) => return Ok(answer),
                Err(fault) => self.pause(&mut backoff, fault).await?,
            }
        }
    }

    async fn pause(&self, backoff: &mut Backoff, fault: Fault) -> Result<(), Fault> {
        let Next::Wait(wait) = backoff.after(&fault, jitter()) else { return Err(fault) };
        let asked = fault.wait;
        self.tell(Event::Retry { error: fault, wait, attempt: backoff.failed() });
        if let Some(change) = outlook::rest(backoff, wait, asked).await {
            self.tell(Event::Detail { text: outlook::told(change).into() });
        }
        Ok(())
    }

    /// Several connections fetch ahead; `first` is open.
    async fn with_crew(&mut self, length: u64, first: First) -> Result<End, Broken> {
        let pipe = Pipe::new(length, self.order.buffer);
        let mut spans = Spans::new([ByteRange::new(0, length)]);
        spans.stay_within(pipe.buffer());
        spans.passed(0);
        let kept = self.kept.as_ref().map(|(validator, _)| validator.clone()).unwrap_or_default();
        let sink = Sink::Pipe(pipe.clone(), self.order.chunk_size.unwrap_or(DEFAULT_CHUNK).max(1));
        let meter = Meter::new(Instant::now(), 0, Some(length));
        let tools = (self.tools.pace.clone(), self.tools.least);
        let mut suppliers = vec![Supplier::known(self.order.source.clone(), kept, true)];
        if self.is_strict() && !self.order.mirrors.is_empty() {
            let text = "mirrors are not used: only samples would show that they have the same file (--strict)";
            self.tell(Event::Detail { text: text.into() });
        } else {
            suppliers.extend(self.order.mirrors.iter().map(|mirror| Supplier::other(mirror.clone())));
        }
        let mut crew = Crew::new(suppliers, 0, sink, spans, meter, tools);
        crew.digests = self.wanted.iter().map(|(digest, _)| digest.clone()).collect();
        let crew = Rc::new(crew);
        let lead = Lead { tools: self.tools, file: self.order.file, connections: self.order.connections };
        let ended = {
            let leading = lead.run(&crew, Form::Tag, first);
            let draining = let_out(&mut self.drain, &pipe, &crew);
            tokio::pin!(leading, draining);
            tokio::select! {
                ended = &mut leading => {
                    if !matches!(ended, Ok(End::Idle)) {
                        pipe.close();
                    }
                    draining.await?;
                    ended
                }
                out = &mut draining => {
                    out?;
                    leading.await
                }
            }
        };
        self.moved += crew.meter.borrow().run();
        self.sampled |= crew.suppliers.iter().skip(1).any(|mirror| mirror.meter.borrow().run() > 0);
        Ok(ended?)
    }

    /// One stream, again and again until one gets through.
    async fn alone(&mut self, mut opening: Option<Answer>) -> Result<(), Broken> {
        let mut backoff = Backoff::new(self.tools.policy);
        loop {
            let before = self.drain.at();
            let fault = match self.once(opening.take()).await {
                Ok(Once::Done) => return Ok(()),
                Ok(Once::More) => {
                    backoff.progress();
                    continue;
                }
                Err(Broken::Gone) => return Err(Broken::Gone),
                Err(Broken::Fault(fault)) => fault,
            };
            if self.drain.at() > before {
                backoff.progress();
            }
            let fault = if self.drain.at() > 0 { fault.after_bytes() } else { fault };
            self.pause(&mut backoff, fault).await?;
        }
    }

    /// Whether nothing but a digest may speak for bytes that no answer vouches for, and there is none.
    fn is_strict(&self) -> bool {
        self.order.strict && self.wanted.is_empty()
    }

    /// One answer, as far as it reaches.
    async fn once(&mut self, opening: Option<Answer>) -> Result<Once, Broken> {
        let at = self.drain.at();
        let unended = std::mem::take(&mut self.unended);
        let mut here = Vec::new();
        let answer = match opening {
            Some(answer) => answer,
            None => {
                here = self.drain.last(self.overlap);
                let kept = self.kept.as_ref().map(|(validator, _)| validator.clone());
                let form = kept.as_ref().map_or(Form::Bare, |kept| best_form(kept, Form::Tag));
                let from = self.kept.as_ref().map(|_| at - here.len() as u64);
                self.order.source.ask(Ask { from, kept, form, ..Ask::whole() }).await?
            }
        };
        match answer {
            Answer::Part { head, end, body } => self.part(&head, end, body, here).await,
            Answer::Whole { head, mut body } => {
                self.same(&head)?;
                self.copy(&mut *body, Bytes::new(), at, head.total).await?;
                Ok(Once::Done)
            }
            Answer::Beyond { head } if head.total == Some(at) => Ok(Once::Done),
            // All there was came, as far as this server tells its length at all.
            Answer::Beyond { head } if unended && head.total.is_none() => Ok(Once::Done),
            Answer::Beyond { .. } | Answer::Unfit { .. } | Answer::Unchanged => {
                Err(Fault::new(Kind::Other, "the server cannot go on where the connection broke").into())
            }
        }
    }

    /// Takes up a part that ends before `end` and must begin with the bytes that are `here`.
    async fn part(&mut self, head: &Head, end: u64, mut body: Box<dyn Body>, here: Vec<u8>) -> Result<Once, Broken> {
        let (at, lap) = (self.drain.at(), here.len() as u64);
        let sure = self.same(head)?;
        if !sure && at > 0 && here.is_empty() {
            self.overlap = TAIL;
            return Ok(Once::More);
        }
        if lap > 0 && end <= at {
            // A server of short ranges: half of what it gives at once is for comparing.
            self.overlap = (lap - (at - end)) / 2;
            return match self.overlap {
                0 => Err(Fault::new(Kind::Other, "its ranges are too short to be compared").into()),
                _ => Ok(Once::More),
            };
        }
        if !sure && lap > 0 {
            if self.is_strict() {
                let text = "the connection broke, and only samples show that the rest is of the same content, \
                            where --strict wants proof";
                return Err(Fault::new(Kind::Integrity, text)
                    .hint("give --checksum, or run it without --strict")
                    .into());
            }
            self.sampled = true;
        }
        let total = head.total.or(self.kept.as_ref().and_then(|(_, length)| *length));
        let behind = self.agrees(&mut *body, &here).await?;
        self.copy(&mut *body, behind, 0, total).await?;
        if total == Some(self.drain.at()) {
            return Ok(Once::Done);
        }
        // Where nobody has said how long the whole is, the next answer tells whether anything follows.
        self.unended = total.is_none();
        match self.drain.at() == end {
            true => Ok(Once::More),
            false => Err(Fault::new(Kind::Network, "the answer ended early").into()),
        }
    }

    /// Compares the first bytes of an answer with those that went out last; gives back what came behind them.
    async fn agrees(&mut self, body: &mut dyn Body, here: &[u8]) -> Result<Bytes, Broken> {
        let (mut left, mut behind) = (here, Bytes::new());
        while !left.is_empty() {
            let early = || Fault::new(Kind::Network, "the answer ended early");
            behind = body.next().await?.ok_or_else(early)?;
            self.moved += behind.len() as u64;
            let (old, later) = left.split_at(left.len().min(behind.len()));
            if behind.split_to(old.len()) != old {
                return Err(changed("bytes that are out already are others").into());
            }
            left = later;
        }
        Ok(behind)
    }

    /// Whether an answer is of the content whose first bytes are out already. `false`: its head does not tell.
    fn same(&mut self, head: &Head) -> Result<bool, Fault> {
        for hop in &head.hops {
            self.tell(Event::Redirect { from: hop.from.clone(), to: hop.to.clone(), status: hop.status });
        }
        let Some((kept, length)) = &mut self.kept else {
            self.wanted =
                digests_wanted(self.order.checksum.as_ref(), self.order.checksum_by.as_deref(), head.digest());
            self.drain.hash(self.wanted.iter().map(|(digest, _)| digest.clone()));
            self.kept = Some((head.validator.clone(), head.total));
            self.overlap = if vouches(head) { 0 } else { TAIL };
            return Ok(true);
        };
        match compare(kept, *length, &head.validator, head.total) {
            Likeness::Different(_) | Likeness::CannotTell if head.html && head.total != *length => {
                Err(Fault::new(Kind::Network, "a web page came where the file was expected"))
            }
            Likeness::Different(why) => Err(changed(&why)),
            likeness => {
                *length = length.or(head.total);
                Ok(likeness == Likeness::Same)
            }
        }
    }

    /// Lets bytes out, `first` and then those of `body`, of which the first `skip` are out already and are compared
    /// instead.
    async fn copy(
        &mut self,
        body: &mut dyn Body,
        first: Bytes,
        mut skip: u64,
        total: Option<u64>,
    ) -> Result<(), Broken> {
        let mut again = RunningCrc::default();
        let mut meter = Meter::new(Instant::now(), self.drain.at(), total);
        let mut slow = Slow::new(self.tools.least, Instant::now());
        let mut batch = Vec::from_iter(Some(first).filter(|first| !first.is_empty()));
        loop {
            let next = tokio::select! {
                biased;
                next = body.next() => next,
                () = std::future::ready(()), if !batch.is_empty() => {
                    slow.excuse(self.let_out(&mut batch, &mut meter).await?);
                    continue;
                }
            };
            let mut bytes = match next {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(fault) => {
                    self.let_out(&mut batch, &mut meter).await?;
                    return Err(fault.into());
                }
            };
            self.moved += bytes.len() as u64;
            meter.moved(bytes.len() as u64);
            let came = bytes.len();
            let wait = self.tools.pace.pass(bytes.len());
            let old = bytes.split_to(usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len()));
            skip -= old.len() as u64;
            again.update(&old);
            if skip == 0 && !old.is_empty() && again.crc() != self.drain.crc().crc() {
                return Err(changed("its first bytes are others").into());
            }
            batch.push(bytes);
            if !wait.is_zero() || batch.iter().map(Bytes::len).sum::<usize>() >= BATCH {
                slow.excuse(self.let_out(&mut batch, &mut meter).await?);
                tokio::time::sleep(wait).await;
            }
            if let Err(fault) = slow.moved(came, Instant::now(), || self.order.source.host()) {
                self.let_out(&mut batch, &mut meter).await?;
                return Err(fault.into());
            }
        }
        self.let_out(&mut batch, &mut meter).await?;
        match skip {
            0 => Ok(()),
            _ => Err(changed("it has become shorter").into()),
        }
    }

    /// Lets a batch out, and says how long its reader took.
    async fn let_out(&mut self, batch: &mut Vec<Bytes>, meter: &mut Meter) -> Result<Duration, Broken> {
        let begun = Instant::now();
        self.drain.pass(std::mem::take(batch)).await?;
        meter.set_done(self.drain.at());
        let now = Instant::now();
        if meter.due(now) {
            let progress = meter.progress(now, 1);
            self.tell(Event::Progress(progress));
        }
        Ok(begun.elapsed())
    }
}

/// Whether a further answer with the same head would be known to be of the same content.
fn vouches(head: &Head) -> bool {
    compare(&head.validator, head.total, &head.validator, head.total) == Likeness::Same
}

/// Lets out what has arrived, in order, until all of it has or the pipe is closed.
async fn let_out(drain: &mut Drain, pipe: &Pipe, crew: &Crew) -> Result<(), Broken> {
    loop {
        let batch = pipe.take(BATCH).await;
        if batch.is_empty() {
            return Ok(());
        }
        pipe.pass(drain.pass(batch).await?);
        crew.spans.borrow_mut().passed(pipe.at());
        crew.news.notify_one();
    }
}

fn changed(why: &str) -> Fault {
    Fault::new(Kind::Changed, format!("the file changed while it was being passed on: {why}"))
}
