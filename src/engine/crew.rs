//! The connections of one download: each takes a claim, asks for its bytes, and writes them where they belong. Which
//! bytes an answer holds was settled by the source; whether they are of the right content is settled here, for every
//! answer.

use super::meter::Meter;
use super::pace::Pace;
use super::spans::{Claim, ClaimId, Spans};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::{Digest, Hasher};
use crate::fault::{Fault, Kind};
use crate::partial::{PartialFile, Writer};
use crate::record::Validator;
use crate::source::{Answer, Ask, Body, Head, Source};
use crate::units;
use crate::wire::validator::{Form, Likeness, best_form, compare};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Why a connection has nothing more to do.
#[derive(Debug)]
pub enum End {
    /// Nothing is left to claim.
    Idle,
    /// Something went wrong; what it did not fetch is free again.
    Fault(Fault),
    /// The remote has other content now: why.
    Changed(String),
    /// The remote does not serve ranges as it should: why.
    NoRanges(String),
}

/// What the connections of one download share.
pub struct Crew {
    /// Where bytes come from.
    pub source: Rc<dyn Source>,
    /// Where they go.
    pub file: PartialFile,
    /// What is missing.
    pub spans: RefCell<Spans>,
    /// How fast it goes.
    pub meter: RefCell<Meter>,
    /// The rate limit.
    pub pace: Pace,
    /// What the content is called.
    pub kept: Validator,
    /// How further ranges are asked for: without a condition, as long as the answers say what they are of.
    condition: Cell<Form>,
    /// Whether an answer came without the validators that the content had before.
    mute: Cell<bool>,
    /// Bytes of the file that are there.
    pub done: Cell<u64>,
    /// Connections that are receiving.
    pub busy: Cell<u32>,
    /// Whether this remote has answered with a range at all: then a whole file means that it did not like the
    /// condition, else that it knows no ranges.
    pub ranged: Cell<bool>,
    /// How many bytes to ask for at once.
    pub want: Cell<u64>,
    /// Connections slower than this are replaced.
    pub least: Least,
    /// The claims' writers: whoever cuts a claim shrinks its writer.
    writers: RefCell<HashMap<ClaimId, Rc<RefCell<Writer>>>>,
}

/// An answer under way that fits its claim.
struct Reply {
    body: Box<dyn Body>,
    end: u64,
    /// What these very bytes are said to hash to, and the hash so far.
    digest: Option<(Digest, Hasher)>,
}

/// A claim that is given back when its connection ends, however it ends.
struct Held<'a> {
    crew: &'a Crew,
    id: ClaimId,
    writer: Rc<RefCell<Writer>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.crew.writers.borrow_mut().remove(&self.id);
        self.crew.spans.borrow_mut().release(self.id);
    }
}

/// Counts a connection as receiving while it lives.
struct Busy<'a>(&'a Cell<u32>);

impl<'a> Busy<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Crew {
    /// A crew for what `spans` says is missing of `file`.
    pub fn new(source: Rc<dyn Source>, file: PartialFile, spans: Spans, meter: Meter, pace: Pace) -> Self {
        let record = file.record();
        let done = file.held().len();
        Self {
            source,
            kept: record.validator,
            ranged: Cell::new(false),
            want: Cell::new(record.chunk_size),
            least: None,
            file,
            spans: RefCell::new(spans),
            meter: RefCell::new(meter),
            pace,
            condition: Cell::new(Form::Bare),
            mute: Cell::new(false),
            done: Cell::new(done),
            busy: Cell::new(0),
            writers: RefCell::default(),
        }
    }

    /// The life of one connection. `first` is an answer that is already open, from its first byte on.
    pub async fn work(self: Rc<Self>, first: Option<(ByteRange, Box<dyn Body>)>) -> End {
        let _busy = Busy::new(&self.busy);
        let mut first = first;
        loop {
            let claim = match &first {
                Some((range, _)) => self.spans.borrow_mut().take(range.len(), 1, false),
                None => self.spans.borrow_mut().take(self.want.get(), self.file.layout().chunk_size(), true),
            };
            let Some(claim) = claim else { return End::Idle };
            let held = match self.hold(claim) {
                Ok(held) => held,
                Err(fault) => return End::Fault(fault),
            };
            let reply = match first.take() {
                Some((range, body)) => Ok(Reply { body, end: range.end, digest: None }),
                None => self.ask(&held, claim.range).await,
            };
            let outcome = match reply {
                Ok(reply) => self.copy(&held, reply).await.map_err(End::Fault),
                Err(end) => Err(end),
            };
            drop(held);
            let outcome = match outcome {
                Ok(Some(wrong)) => self.take_back(wrong).await.map_err(End::Fault),
                Ok(None) => Ok(()),
                Err(end) => Err(end),
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    fn hold(&self, claim: Claim) -> Result<Held<'_>, Fault> {
        if let Some((victim, end)) = claim.cut
            && let Some(writer) = self.writers.borrow().get(&victim)
        {
            writer.borrow_mut().shrink(end);
        }
        let Some(writer) = self.file.writer(claim.range) else {
            self.spans.borrow_mut().release(claim.id);
            return Err(Fault::new(Kind::Other, format!("bytes {:?} were claimed twice", claim.range)));
        };
        let writer = Rc::new(RefCell::new(writer));
        self.writers.borrow_mut().insert(claim.id, writer.clone());
        Ok(Held { crew: self, id: claim.id, writer })
    }

    /// Asks for the bytes of a claim until an answer fits.
    ///
    /// No condition goes with the request: every answer is compared with the record anyway, and a server that answers
    /// a condition with the whole file, though nothing has changed, would cost that answer. Only where answers do not
    /// say what they are of is the server held to a condition, down the ladder of those it honours.
    async fn ask(&self, held: &Held<'_>, range: ByteRange) -> Result<Reply, End> {
        loop {
            let form = best_form(&self.kept, self.condition.get());
            let end = self.spans.borrow().end_of(held.id).unwrap_or(range.end);
            let kept = Some(self.kept.clone()).filter(|_| form != Form::Bare);
            let ask = Ask { kept, form, alone: true, ..Ask::range(range.start, Some(end)) };
            match self.source.ask(ask).await.map_err(End::Fault)? {
                Answer::Part { head, end, body } => {
                    self.check(&head)?;
                    if self.wants_condition(&head.validator) {
                        continue;
                    }
                    self.ranged.set(true);
                    let offer = head.body_digests.into_iter().next().map(|offer| offer.digest);
                    let digest = offer.map(|digest| (digest.clone(), Hasher::new(digest.algorithm)));
                    return Ok(Reply { body, end, digest });
                }
                Answer::Whole { head, .. } => {
                    self.check(&head)?;
                    match next_form(form).filter(|_| self.ranged.get()) {
                        Some(next) => self.condition.set(next),
                        None => return Err(End::NoRanges("it answers ranges with the whole file".into())),
                    }
                }
                Answer::Beyond { head } => match (head.total, self.file.length()) {
                    (Some(now), Some(length)) if now != length => {
                        return Err(End::Changed(format!("its length was {length} bytes and is {now} now")));
                    }
                    _ => return Err(End::NoRanges("it denies bytes that it has announced".into())),
                },
                Answer::Unfit { why } => return Err(End::NoRanges(why)),
                Answer::Unchanged => return Err(End::NoRanges("it answered 304 to a range".into())),
            }
        }
    }

    /// Whether an answer that calls the content nothing is to be had again under a condition: only then does the
    /// server itself vouch for it. Once it has been tried, what comes is taken.
    fn wants_condition(&self, now: &Validator) -> bool {
        let form = best_form(&self.kept, Form::Tag);
        let silent = now.etag.is_none() && now.last_modified.is_none();
        if !silent || form == Form::Bare || self.mute.replace(true) {
            return false;
        }
        self.condition.set(form);
        true
    }

    /// Whether an answer is of the content that the record speaks of.
    fn check(&self, head: &Head) -> Result<(), End> {
        let length = self.file.length();
        match compare(&self.kept, length, &head.validator, head.total) {
            // A login page has another length or none: nothing about the file itself has changed.
            Likeness::Different(_) | Likeness::CannotTell if head.html && head.total != length => {
                Err(End::Fault(Fault::new(Kind::Network, "a web page came where the file was expected")))
            }
            Likeness::Different(why) => Err(End::Changed(why)),
            Likeness::Same | Likeness::CannotTell => Ok(()),
        }
    }

    /// Bytes that are not what their own answer says: they are missing again, and this connection is to blame.
    async fn take_back(&self, wrong: ByteRange) -> Result<(), Fault> {
        let wrong = ByteSet::of(wrong);
        let before = self.file.held();
        self.file.forget(&wrong).await?;
        let mut gone = before;
        gone.subtract(&self.file.held());
        self.spans.borrow_mut().add(&gone);
        self.done.set(self.done.get().saturating_sub(gone.len()));
        Err(Fault::new(
            Kind::Network,
            format!("{} sent bytes that do not match its Content-Digest", self.source.host()),
        ))
    }

    /// Moves the bytes of an answer into the claim, as far as both reach. Gives back the bytes that turned out not
    /// to be what the answer says of itself.
    async fn copy(&self, held: &Held<'_>, mut reply: Reply) -> Result<Option<ByteRange>, Fault> {
        let start = held.writer.borrow().at();
        let mut slow = Slow::new(self.least, Instant::now());
        loop {
            let (at, end) = {
                let writer = held.writer.borrow();
                (writer.at(), writer.end())
            };
            if at >= end.min(reply.end) {
                let wrong =
                    reply.digest.filter(|_| at == reply.end).filter(|(said, hash)| hash.clone().finish() != *said);
                return Ok(wrong.map(|_| ByteRange::new(start, at)));
            }
            let Some(bytes) = reply.body.next().await? else {
                return Ok(None);
            };
            if let Some((_, hash)) = &mut reply.digest {
                hash.update(&bytes);
            }
            self.put(held, &bytes)?;
            slow.moved(bytes.len(), Instant::now(), &self.source.host())?;
            let wait = self.pace.pass(bytes.len());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn put(&self, held: &Held<'_>, bytes: &[u8]) -> Result<(), Fault> {
        let mut writer = held.writer.borrow_mut();
        // The claim may have been cut while these bytes were on their way: what is behind the cut is another's.
        let room = usize::try_from(writer.end() - writer.at()).unwrap_or(usize::MAX);
        let mine = &bytes[..bytes.len().min(room)];
        writer.write(mine)?;
        self.spans.borrow_mut().advance(held.id, writer.at());
        self.done.set(self.done.get() + mine.len() as u64);
        let mut meter = self.meter.borrow_mut();
        meter.moved(bytes.len() as u64);
        meter.set_done(self.done.get());
        Ok(())
    }
}

/// The slowest a connection may be: bytes a second, over how long.
pub type Least = Option<(u64, Duration)>;

/// Watches one connection for being slower than it may be.
struct Slow {
    least: Least,
    since: Instant,
    moved: u64,
}

impl Slow {
    fn new(least: Least, now: Instant) -> Self {
        Self { least, since: now, moved: 0 }
    }

    fn moved(&mut self, bytes: usize, now: Instant, host: &str) -> Result<(), Fault> {
        let Some((least, over)) = self.least else { return Ok(()) };
        self.moved += bytes as u64;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < over {
            return Ok(());
        }
        if (self.moved as f64) < least as f64 * elapsed.as_secs_f64() {
            let text =
                format!("{host} was slower than {} for {}", units::bytes_per_second(least), units::period(elapsed));
            return Err(Fault::new(Kind::Network, text));
        }
        (self.since, self.moved) = (now, 0);
        Ok(())
    }
}

/// The form to try when a server answers this one with the whole file though nothing has changed.
pub fn next_form(form: Form) -> Option<Form> {
    match form {
        Form::Tag => Some(Form::Date),
        Form::Date => Some(Form::Bare),
        Form::Bare => None,
    }
}
