//! A download into something that cannot be gone back in: stdout, a FIFO, `/dev/null`. The bytes go out in order, and
//! what went out stays out. Several connections fetch ahead within a bounded window; one that drops is taken up again
//! at the exact byte. Nothing is recorded.
//!
//! A remote that serves no ranges is read in one stream; when that breaks, it is read again from the beginning, and
//! what went out already is compared by its sum while it passes.

use super::crew::{Crew, End};
use super::drain::{Broken, Drain};
use super::lead::Lead;
use super::meter::Meter;
use super::outlook;
use super::pipe::Pipe;
use super::pull::{Tools, digests_wanted, interrupted};
use super::retry::{Backoff, Next, jitter};
use super::sink::Sink;
use super::spans::Spans;
use super::supplier::Supplier;
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
use std::time::Instant;

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
        Pour { tools, order, drain, kept: None, wanted: Vec::new(), moved: 0 }.run().await
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
            Answer::Part { head, end, body } if head.total.is_some() => {
                self.same(&head)?;
                match self.with_crew(head.total.unwrap_or(end), end, body).await? {
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
        let proof = self.wanted.first().map(|(digest, _)| digest.algorithm.to_string());
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

    /// Several connections fetch ahead; `body` is open and holds the bytes up to `end`.
    async fn with_crew(&mut self, length: u64, end: u64, body: Box<dyn Body>) -> Result<End, Broken> {
        let pipe = Pipe::new(length, self.order.buffer);
        let mut spans = Spans::new([ByteRange::new(0, length)]);
        spans.stay_within(pipe.buffer());
        spans.passed(0);
        let kept = self.kept.as_ref().map(|(validator, _)| validator.clone()).unwrap_or_default();
        let sink = Sink::Pipe(pipe.clone(), self.order.chunk_size.unwrap_or(DEFAULT_CHUNK).max(1));
        let meter = Meter::new(Instant::now(), 0, Some(length));
        let tools = (self.tools.pace.clone(), self.tools.least);
        let mut suppliers = vec![Supplier::known(self.order.source.clone(), kept, true)];
        suppliers.extend(self.order.mirrors.iter().map(|mirror| Supplier::other(mirror.clone())));
        let mut crew = Crew::new(suppliers, 0, sink, spans, meter, tools);
        crew.digests = self.wanted.iter().map(|(digest, _)| digest.clone()).collect();
        let crew = Rc::new(crew);
        let lead = Lead { tools: self.tools, file: self.order.file, connections: self.order.connections };
        let ended = {
            let leading = lead.run(&crew, Form::Tag, (ByteRange::new(0, end), body));
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
        Ok(ended?)
    }

    /// One stream, again and again until one gets through.
    async fn alone(&mut self, mut opening: Option<Answer>) -> Result<(), Broken> {
        let mut backoff = Backoff::new(self.tools.policy);
        loop {
            let before = self.drain.at();
            let fault = match self.once(opening.take()).await {
                Ok(()) => return Ok(()),
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

    /// One answer, as far as it reaches.
    async fn once(&mut self, opening: Option<Answer>) -> Result<(), Broken> {
        let at = self.drain.at();
        let answer = match opening {
            Some(answer) => answer,
            None => {
                let kept = self.kept.as_ref().map(|(validator, _)| validator.clone());
                let form = kept.as_ref().map_or(Form::Bare, |kept| best_form(kept, Form::Tag));
                let from = self.kept.as_ref().map(|_| at);
                self.order.source.ask(Ask { from, kept, form, ..Ask::whole() }).await?
            }
        };
        match answer {
            Answer::Part { head, end, mut body } => {
                self.same(&head)?;
                let total = head.total.or(self.kept.as_ref().and_then(|(_, length)| *length));
                self.copy(&mut *body, 0, total).await?;
                match self.drain.at() == end && total.is_none_or(|total| total == end) {
                    true => Ok(()),
                    false => Err(Fault::new(Kind::Network, "the answer ended early").into()),
                }
            }
            Answer::Whole { head, mut body } => {
                self.same(&head)?;
                self.copy(&mut *body, at, head.total).await
            }
            Answer::Beyond { head } if head.total == Some(at) => Ok(()),
            Answer::Beyond { .. } | Answer::Unfit { .. } | Answer::Unchanged => {
                Err(Fault::new(Kind::Other, "the server cannot go on where the connection broke").into())
            }
        }
    }

    /// Whether it is still the content whose first bytes are out already.
    fn same(&mut self, head: &Head) -> Result<(), Fault> {
        for hop in &head.hops {
            self.tell(Event::Redirect { from: hop.from.clone(), to: hop.to.clone(), status: hop.status });
        }
        let Some((kept, length)) = &self.kept else {
            self.wanted = digests_wanted(self.order.checksum.as_ref(), self.order.checksum_by.as_deref(), head);
            self.drain.hash(self.wanted.iter().map(|(digest, _)| digest.clone()));
            self.kept = Some((head.validator.clone(), head.total));
            return Ok(());
        };
        match compare(kept, *length, &head.validator, head.total) {
            Likeness::Different(_) | Likeness::CannotTell if head.html && head.total != *length => {
                Err(Fault::new(Kind::Network, "a web page came where the file was expected"))
            }
            Likeness::Different(why) => Err(changed(&why)),
            Likeness::Same | Likeness::CannotTell => Ok(()),
        }
    }

    /// Lets bytes out; the first `skip` of them are out already and are compared instead.
    async fn copy(&mut self, body: &mut dyn Body, mut skip: u64, total: Option<u64>) -> Result<(), Broken> {
        let mut again = RunningCrc::default();
        let mut meter = Meter::new(Instant::now(), self.drain.at(), total);
        let mut batch: Vec<Bytes> = Vec::new();
        loop {
            let next = tokio::select! {
                biased;
                next = body.next() => next,
                () = std::future::ready(()), if !batch.is_empty() => {
                    self.let_out(&mut batch, &mut meter).await?;
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
            let wait = self.tools.pace.pass(bytes.len());
            let old = bytes.split_to(usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len()));
            skip -= old.len() as u64;
            again.update(&old);
            if skip == 0 && !old.is_empty() && again.crc() != self.drain.crc().crc() {
                return Err(changed("its first bytes are others").into());
            }
            batch.push(bytes);
            if !wait.is_zero() || batch.iter().map(Bytes::len).sum::<usize>() >= BATCH {
                self.let_out(&mut batch, &mut meter).await?;
                tokio::time::sleep(wait).await;
            }
        }
        self.let_out(&mut batch, &mut meter).await?;
        match skip {
            0 => Ok(()),
            _ => Err(changed("it has become shorter").into()),
        }
    }

    async fn let_out(&mut self, batch: &mut Vec<Bytes>, meter: &mut Meter) -> Result<(), Broken> {
        self.drain.pass(std::mem::take(batch)).await?;
        meter.set_done(self.drain.at());
        let now = Instant::now();
        if meter.due(now) {
            let progress = meter.progress(now, 1);
            self.tell(Event::Progress(progress));
        }
        Ok(())
    }
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
