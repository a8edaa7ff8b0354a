//! The connections of one download: each takes a claim, asks for its bytes, and writes them where they belong. Which
//! bytes an answer holds was settled by the source; whether they are of the right content is settled here, for every
//! answer.

use super::meter::Meter;
use super::pace::Pace;
use super::sink::{Outlet, Sink};
use super::spans::{Claim, ClaimId, Spans};
use crate::chunk::ByteRange;
use crate::digest::{Digest, Hasher};
use crate::fault::{Fault, Kind};
use crate::record::Validator;
use crate::source::{Answer, Ask, Body, Head, Source};
use crate::units;
use crate::wire::validator::{Form, Likeness, best_form, compare};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// At most this many bytes are asked for again to be compared.
const PROBE: u64 = 64 << 10;

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
    pub sink: Sink,
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
    /// Whether answers do not say that they are of the same content: then bytes are compared.
    doubtful: Cell<bool>,
    /// Bytes of the file that are there.
    pub done: Cell<u64>,
    /// Connections that are receiving.
    pub busy: Cell<u32>,
    /// Whether this remote has answered with a range at all: then a whole file means that it did not like the
    /// condition, else that it knows no ranges.
    pub ranged: Cell<bool>,
    /// How many bytes to ask for at once.
    pub want: Cell<u64>,
    /// There may be more to do than a moment ago.
    pub news: Notify,
    /// Connections slower than this are replaced.
    pub least: Least,
    /// The claims' outlets: whoever cuts a claim shrinks its outlet.
    outlets: RefCell<HashMap<ClaimId, Rc<RefCell<Outlet>>>>,
}

/// An answer under way that fits its claim.
struct Reply {
    body: Box<dyn Body>,
    /// Bytes of it that are here already.
    ready: Option<Bytes>,
    end: u64,
    /// What these very bytes are said to hash to, and the hash so far.
    digest: Option<(Digest, Hasher)>,
}

/// A claim that is given back when its connection ends, however it ends.
struct Held<'a> {
    crew: &'a Crew,
    id: ClaimId,
    outlet: Rc<RefCell<Outlet>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.crew.outlets.borrow_mut().remove(&self.id);
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
    /// A crew for what `spans` says is missing in `sink` of the content that is called `kept`.
    pub fn new(
        source: Rc<dyn Source>,
        kept: Validator,
        sink: Sink,
        spans: Spans,
        meter: Meter,
        tools: (Pace, Least),
    ) -> Self {
        let (pace, least) = tools;
        let done = sink.done();
        Self {
            source,
            kept,
            ranged: Cell::new(false),
            want: Cell::new(sink.chunk_size()),
            news: Notify::new(),
            least,
            sink,
            spans: RefCell::new(spans),
            meter: RefCell::new(meter),
            pace,
            condition: Cell::new(Form::Bare),
            mute: Cell::new(false),
            doubtful: Cell::new(false),
            done: Cell::new(done),
            busy: Cell::new(0),
            outlets: RefCell::default(),
        }
    }

    /// The life of one connection. `first` is an answer that is already open, from its first byte on.
    pub async fn work(self: Rc<Self>, first: Option<(ByteRange, Box<dyn Body>)>) -> End {
        let _busy = Busy::new(&self.busy);
        let mut first = first;
        loop {
            let claim = match &first {
                Some((range, _)) => self.spans.borrow_mut().take_open(range.len()),
                None => self.spans.borrow_mut().take(self.want.get(), self.sink.chunk_size()),
            };
            let Some(claim) = claim else { return End::Idle };
            let held = match self.hold(claim) {
                Ok(held) => held,
                Err(fault) => return End::Fault(fault),
            };
            let reply = match first.take() {
                Some((range, body)) => Ok(Reply { body, ready: None, end: range.end, digest: None }),
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

    /// Whether another connection would find something to do.
    pub fn has_work(&self) -> bool {
        self.spans.borrow().has_work(self.want.get(), self.sink.chunk_size())
    }

    fn hold(&self, claim: Claim) -> Result<Held<'_>, Fault> {
        if let Some((victim, end)) = claim.cut
            && let Some(outlet) = self.outlets.borrow().get(&victim)
        {
            outlet.borrow_mut().shrink(end);
        }
        let Some(outlet) = self.sink.outlet(claim.range) else {
            self.spans.borrow_mut().release(claim.id);
            return Err(Fault::new(Kind::Other, format!("bytes {:?} were claimed twice", claim.range)));
        };
        let outlet = Rc::new(RefCell::new(outlet));
        self.outlets.borrow_mut().insert(claim.id, outlet.clone());
        Ok(Held { crew: self, id: claim.id, outlet })
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
            let here = self.overlap(range);
            let from = range.start - here.len() as u64;
            let ask = Ask { kept, form, alone: true, ..Ask::range(from, Some(end)) };
            match self.source.ask(ask).await.map_err(End::Fault)? {
                Answer::Part { head, end, body } => {
                    let sure = self.check(&head)?;
                    if self.wants_condition(&head.validator) {
                        continue;
                    }
                    self.ranged.set(true);
                    let offer = head.body_digests.into_iter().next().map(|offer| offer.digest);
                    let digest = offer.map(|digest| (digest.clone(), Hasher::new(digest.algorithm)));
                    let mut reply = Reply { body, ready: None, end, digest };
                    self.agrees(&mut reply, &here).await?;
                    if !sure && !self.doubtful.replace(true) {
                        self.probe(range).await?;
                    }
                    return Ok(reply);
                }
                Answer::Whole { head, .. } => {
                    self.check(&head)?;
                    match next_form(form).filter(|_| self.ranged.get()) {
                        Some(next) => self.condition.set(next),
                        None => return Err(End::NoRanges("it answers ranges with the whole file".into())),
                    }
                }
                Answer::Beyond { head } => match (head.total, self.sink.length()) {
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

    /// The bytes before a range to ask for again with it, where only bytes tell whether it is still the same content:
    /// what is here of them, few beside the range itself.
    fn overlap(&self, range: ByteRange) -> Vec<u8> {
        match self.doubtful.get() {
            true => self.sink.before(range.start, PROBE.min(range.len() / 16)),
            false => Vec::new(),
        }
    }

    /// Compares the first bytes of an answer with those that are here.
    async fn agrees(&self, reply: &mut Reply, here: &[u8]) -> Result<(), End> {
        let mut left = here;
        while !left.is_empty() {
            let next = reply.body.next().await.map_err(End::Fault)?;
            let text = "an answer ended before what was asked for began";
            let mut bytes = next.ok_or_else(|| End::Fault(Fault::new(Kind::Network, text)))?;
            self.meter.borrow_mut().moved(bytes.len() as u64);
            if let Some((_, hash)) = &mut reply.digest {
                hash.update(&bytes);
            }
            let (old, later) = left.split_at(left.len().min(bytes.len()));
            if bytes.split_to(old.len()) != old {
                return Err(End::Changed("bytes that are here differ from the remote's".into()));
            }
            left = later;
            reply.ready = Some(bytes).filter(|bytes| !bytes.is_empty());
        }
        Ok(())
    }

    /// Compares the bytes before a range with the remote's, in a request of its own: the answer that gave rise to
    /// the doubt is open already.
    async fn probe(&self, range: ByteRange) -> Result<(), End> {
        let here = self.sink.before(range.start, PROBE.min(range.len() / 16));
        if here.is_empty() {
            return Ok(());
        }
        let from = range.start - here.len() as u64;
        let ask = Ask { alone: true, ..Ask::range(from, Some(range.start)) };
        match self.source.ask(ask).await.map_err(End::Fault)? {
            Answer::Part { head, end, body } if end == range.start => {
                self.check(&head)?;
                self.agrees(&mut Reply { body, ready: None, end, digest: None }, &here).await
            }
            _ => Ok(()),
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

    /// Whether an answer is of the content that the record speaks of. `false`: its head does not tell.
    fn check(&self, head: &Head) -> Result<bool, End> {
        let length = self.sink.length();
        match compare(&self.kept, length, &head.validator, head.total) {
            // A login page has another length or none: nothing about the file itself has changed.
            Likeness::Different(_) | Likeness::CannotTell if head.html && head.total != length => {
                Err(End::Fault(Fault::new(Kind::Network, "a web page came where the file was expected")))
            }
            Likeness::Different(why) => Err(End::Changed(why)),
            Likeness::Same => Ok(true),
            Likeness::CannotTell => Ok(false),
        }
    }

    /// Bytes that are not what their own answer says: they are missing again, and this connection is to blame.
    async fn take_back(&self, wrong: ByteRange) -> Result<(), Fault> {
        let gone = self.sink.take_back(wrong).await?;
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
        let start = held.outlet.borrow().at();
        let mut slow = Slow::new(self.least, Instant::now());
        loop {
            let (at, end) = {
                let outlet = held.outlet.borrow();
                (outlet.at(), outlet.end())
            };
            if at >= end.min(reply.end) {
                let wrong =
                    reply.digest.filter(|_| at == reply.end).filter(|(said, hash)| hash.clone().finish() != *said);
                return Ok(wrong.map(|_| ByteRange::new(start, at)));
            }
            if self.sink.room(at).await {
                // Whoever reads the pipe was slow, not the connection.
                slow = Slow::new(self.least, Instant::now());
                continue;
            }
            let bytes = match reply.ready.take() {
                Some(bytes) => bytes,
                None => {
                    let Some(bytes) = reply.body.next().await? else { return Ok(None) };
                    self.meter.borrow_mut().moved(bytes.len() as u64);
                    if let Some((_, hash)) = &mut reply.digest {
                        hash.update(&bytes);
                    }
                    bytes
                }
            };
            let came = bytes.len();
            self.put(held, bytes)?;
            slow.moved(came, Instant::now(), &self.source.host())?;
            let wait = self.pace.pass(came);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn put(&self, held: &Held<'_>, mut bytes: Bytes) -> Result<(), Fault> {
        let mut outlet = held.outlet.borrow_mut();
        // The claim may have been cut while these bytes were on their way: what is behind the cut is another's.
        bytes.truncate(usize::try_from(outlet.end() - outlet.at()).unwrap_or(usize::MAX));
        let mine = bytes.len() as u64;
        outlet.put(bytes)?;
        self.spans.borrow_mut().advance(held.id, outlet.at());
        self.done.set(self.done.get() + mine);
        self.meter.borrow_mut().set_done(self.done.get());
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
