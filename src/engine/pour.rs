//! A download into something that is no regular file: `/dev/null`, a FIFO. The bytes go out in order over one
//! connection; nothing is recorded, but a dropped connection is taken up again at the exact byte.

use super::meter::Meter;
use super::pull::Tools;
use super::retry::{Backoff, Next, jitter};
use crate::digest::{Digest, Hasher, RunningCrc};
use crate::disk;
use crate::event::{Direction, Event, FileId, Outcome};
use crate::fault::{Fault, Kind};
use crate::record::Validator;
use crate::source::{Answer, Ask, Body, Source};
use crate::wire::validator::{Form, Likeness, best_form, compare};
use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

/// What is to be poured, and where.
pub struct Order {
    /// The file's number in this run.
    pub file: FileId,
    /// From where.
    pub source: Rc<dyn Source>,
    /// Where to.
    pub sink: File,
    /// The sink's name.
    pub path: PathBuf,
    /// The URL for people.
    pub url: String,
    /// The digest the content must have.
    pub checksum: Option<Digest>,
}

/// How far it is.
struct Pour<'a> {
    tools: &'a Tools,
    order: Order,
    at: u64,
    /// The sum of what went out, against which a second delivery of the same bytes is held.
    sum: RunningCrc,
    hasher: Option<Hasher>,
    kept: Option<(Validator, Option<u64>)>,
    meter: Meter,
}

/// Pours one file.
pub async fn pour(tools: &Tools, order: Order) -> Result<Outcome, Fault> {
    let name = disk::shown(&order.path);
    let remote = order.url.clone();
    tools.observer.on(order.file, &Event::Started { name, direction: Direction::Download, remote, total: None });
    let hasher = order.checksum.as_ref().map(|digest| Hasher::new(digest.algorithm));
    let meter = Meter::new(Instant::now(), 0, None);
    let mut pour = Pour { tools, order, at: 0, sum: RunningCrc::default(), hasher, kept: None, meter };
    tokio::select! {
        outcome = pour.run() => outcome,
        () = tools.stop.wait() => Err(Fault::new(Kind::Interrupted, "stopped")),
    }
}

impl Pour<'_> {
    async fn run(&mut self) -> Result<Outcome, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        loop {
            let before = self.at;
            match self.once().await {
                Ok(()) => return self.verify(),
                Err(fault) => {
                    if self.at > before {
                        backoff.progress();
                    }
                    let Next::Wait(wait) = backoff.after(&fault, jitter()) else { return Err(fault) };
                    self.tell(Event::Retry { error: fault, wait, attempt: backoff.failed() });
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn tell(&self, event: Event) {
        self.tools.observer.on(self.order.file, &event);
    }

    fn verify(&mut self) -> Result<Outcome, Fault> {
        let mut proof = None;
        if let (Some(hasher), Some(wanted)) = (self.hasher.take(), &self.order.checksum) {
            let found = hasher.finish();
            if found != *wanted {
                let text = format!("the content is wrong: its {} is {}", wanted.algorithm, found.hex());
                return Err(Fault::new(Kind::Integrity, text).kept("all of it has gone out already"));
            }
            self.tell(Event::Verified { alg: wanted.algorithm.to_string(), digest: found.hex(), by: "user".into() });
            proof = Some(wanted.algorithm.to_string());
        }
        let moved = self.meter.run();
        Ok(Outcome { place: self.order.path.display().to_string(), moved, already: 0, proof })
    }

    /// One answer, as far as it reaches.
    async fn once(&mut self) -> Result<(), Fault> {
        let kept = self.kept.as_ref().map(|(validator, _)| validator.clone());
        let form = kept.as_ref().map_or(Form::Bare, |kept| best_form(kept, Form::Tag));
        let from = if self.kept.is_some() { Some(self.at) } else { None };
        match self.order.source.ask(Ask { from, kept, form, ..Ask::whole() }).await? {
            Answer::Part { head, end, mut body } => {
                self.same(&head.validator, head.total)?;
                self.copy(&mut *body, 0).await?;
                match self.at == end && head.total.is_none_or(|total| total == end) {
                    true => Ok(()),
                    false => Err(Fault::new(Kind::Network, "the answer ended early")),
                }
            }
            Answer::Whole { head, mut body } => {
                self.same(&head.validator, head.total)?;
                self.meter.set_total(head.total);
                self.copy(&mut *body, self.at).await
            }
            Answer::Beyond { head } if head.total == Some(self.at) => Ok(()),
            Answer::Beyond { .. } | Answer::Unfit { .. } | Answer::Unchanged => {
                Err(Fault::new(Kind::Other, "the server cannot go on where the connection broke"))
            }
        }
    }

    /// Whether it is still the content whose first bytes are out already.
    fn same(&mut self, validator: &Validator, total: Option<u64>) -> Result<(), Fault> {
        match &self.kept {
            None => self.kept = Some((validator.clone(), total)),
            Some((kept, length)) => {
                if let Likeness::Different(why) = compare(kept, *length, validator, total) {
                    return Err(Fault::new(
                        Kind::Changed,
                        format!("the file changed while it was being streamed: {why}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Lets bytes out; the first `skip` of them are out already and are compared instead.
    async fn copy(&mut self, body: &mut dyn Body, mut skip: u64) -> Result<(), Fault> {
        let mut again = RunningCrc::default();
        while let Some(bytes) = body.next().await? {
            let (old, new) = bytes.split_at(usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len()));
            skip -= old.len() as u64;
            again.update(old);
            if skip == 0 && !old.is_empty() && again.crc() != self.sum.crc() {
                return Err(Fault::new(Kind::Changed, "the file changed while it was being streamed"));
            }
            disk::write_on(&self.order.sink, new).map_err(|e| disk::fault("write to", &self.order.path, &e))?;
            self.sum.update(new);
            if let Some(hasher) = &mut self.hasher {
                hasher.update(new);
            }
            self.at += new.len() as u64;
            self.meter.moved(bytes.len() as u64);
            self.meter.set_done(self.at);
            let now = Instant::now();
            if self.meter.due(now) {
                let progress = self.meter.progress(now, 1);
                self.tell(Event::Progress(progress));
            }
            let wait = self.tools.pace.pass(bytes.len());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        match skip {
            0 => Ok(()),
            _ => Err(Fault::new(Kind::Changed, "the file became shorter while it was being streamed")),
        }
    }
}
