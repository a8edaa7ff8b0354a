//! One place that the content can be had from: the URL itself, or a mirror. What it calls the content, how it wants to be
//! asked, and whether its bytes count at all are settled here, for every answer.

use super::crew::{Crew, End};
use super::meter::Meter;
use super::overlap;
use super::pull::now;
use super::sink::Sink;
use crate::chunk::ByteRange;
use crate::digest::{Digest, Hasher};
use crate::fault::{Fault, Kind};
use crate::plan::{Address, Known, impostor};
use crate::record::Validator;
use crate::source::{Answer, Ask, Body, Head, Source};
use crate::wire::validator::{Form, Likeness, best_form, compare};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

/// At most this many bytes are asked for again to be compared.
const PROBE: u64 = 64 << 10;
/// Why bytes show that it is another content.
const DIFFERS: &str = "bytes that are here differ from the remote's";

/// One place.
pub struct Supplier {
    /// Where.
    pub source: Rc<dyn Source>,
    /// What it calls the content.
    kept: RefCell<Validator>,
    /// Whether it has been shown to have the same content as is here.
    proven: Cell<bool>,
    /// Whether it has answered with a range at all: then a whole file means that it did not like the condition, else
    /// that it knows no ranges.
    ranged: Cell<bool>,
    /// How further ranges are asked for: without a condition, as long as the answers say what they are of.
    condition: Cell<Form>,
    /// Whether an answer came without the validators that the content had before.
    mute: Cell<bool>,
    /// Whether answers do not say that they are of the same content: then bytes are compared.
    doubtful: Cell<bool>,
    /// Whether such bytes have been compared since the doubt arose.
    compared: Cell<bool>,
    /// Whether samples are all that shows that it has the same content.
    sampled: Cell<bool>,
    /// What it gave, and how fast.
    pub meter: RefCell<Meter>,
    /// Connections to it that are at work.
    pub busy: Cell<u32>,
    /// How many bytes to ask it for at once.
    pub want: Cell<u64>,
}

/// An answer under way that fits its claim.
pub struct Reply {
    /// What is still to come.
    pub body: Box<dyn Body>,
    /// Bytes of it that are here already.
    pub ready: Option<Bytes>,
    /// One past the last byte that will come.
    pub end: u64,
    /// What these very bytes are said to hash to, and the hash so far.
    pub digest: Option<(Digest, Hasher)>,
}

impl Reply {
    /// An answer that ends at `end` and whose bytes are said to hash to `digest`.
    pub fn new(body: Box<dyn Body>, end: u64, digest: Option<Digest>) -> Self {
        let digest = digest.map(|digest| (digest.clone(), Hasher::new(digest.algorithm)));
        Self { body, ready: None, end, digest }
    }
}

impl Supplier {
    /// The place that the content is known by: it is called `kept` there. `ranged`: it has answered with a range.
    pub fn known(source: Rc<dyn Source>, kept: Validator, ranged: bool) -> Rc<Self> {
        Rc::new(Self { proven: Cell::new(true), ranged: Cell::new(ranged), ..Self::new(source, kept) })
    }

    /// A place that must be shown to have the same content before it gives a byte.
    pub fn other(source: Rc<dyn Source>) -> Rc<Self> {
        Rc::new(Self::new(source, Validator::default()))
    }

    fn new(source: Rc<dyn Source>, kept: Validator) -> Self {
        Self {
            source,
            kept: RefCell::new(kept),
            proven: Cell::new(false),
            ranged: Cell::new(false),
            condition: Cell::new(Form::Bare),
            mute: Cell::new(false),
            doubtful: Cell::new(false),
            compared: Cell::new(false),
            sampled: Cell::new(false),
            meter: RefCell::new(Meter::new(Instant::now(), 0, None)),
            busy: Cell::new(0),
            want: Cell::new(0),
        }
    }

    /// Asks for the bytes of a range until an answer fits; `end` says where it ends now.
    ///
    /// No condition goes with the request: every answer is compared with the record anyway, and a server that answers
    /// a condition with the whole file, though nothing has changed, would cost that answer. Only where answers do not
    /// say what they are of is the server held to a condition, down the ladder of those it honours.
    pub async fn ask(&self, crew: &Crew, range: ByteRange, end: impl Fn() -> u64) -> Result<Reply, End> {
        loop {
            let known = self.kept.borrow().clone();
            let form = best_form(&known, self.condition.get());
            let here = self.overlap(crew, range);
            let from = range.start - here.len() as u64;
            let kept = Some(known).filter(|_| form != Form::Bare);
            let ask = Ask { kept, form, alone: true, ..Ask::range(from, Some(end())) };
            match self.source.ask(ask).await.map_err(End::Fault)? {
                Answer::Part { head, end, body } => {
                    let sure = self.check(crew, &head)?;
                    if self.wants_condition(&head.validator) {
                        continue;
                    }
                    self.ranged.set(true);
                    let mut reply = Reply::new(body, end, head.body_digest().cloned());
                    self.agrees(crew, &mut reply, &here).await?;
                    if !sure && matches!(crew.sink, Sink::Pipe(..)) {
                        // Too little is kept of what went out to compare it everywhere.
                        return Err(End::NoRanges("its answers do not say that they are of one content".into()));
                    }
                    if !sure {
                        self.doubt(crew, range).await?;
                    }
                    if !sure || self.sampled.get() {
                        crew.only_sampled();
                    }
                    return Ok(reply);
                }
                Answer::Whole { head, .. } => {
                    self.check(crew, &head)?;
                    match next_form(form).filter(|_| self.ranged.get()) {
                        Some(next) => self.condition.set(next),
                        None => return Err(End::NoRanges("it answers ranges with the whole file".into())),
                    }
                }
                Answer::Beyond { head } => match (head.total, crew.sink.length()) {
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
    fn overlap(&self, crew: &Crew, range: ByteRange) -> Vec<u8> {
        match self.doubtful.get() {
            true => crew.sink.before(range.start, PROBE.min(range.len() / 16)),
            false => Vec::new(),
        }
    }

    /// Compares the first bytes of an answer with those that are here.
    async fn agrees(&self, crew: &Crew, reply: &mut Reply, here: &[u8]) -> Result<(), End> {
        let mut left = here;
        while !left.is_empty() {
            let next = reply.body.next().await.map_err(End::Fault)?;
            let text = "an answer ended before what was asked for began";
            let mut bytes = next.ok_or_else(|| End::Fault(Fault::new(Kind::Network, text)))?;
            crew.meter.borrow_mut().moved(bytes.len() as u64);
            if let Some((_, hash)) = &mut reply.digest {
                hash.update(&bytes);
            }
            let (old, later) = left.split_at(left.len().min(bytes.len()));
            if bytes.split_to(old.len()) != old {
                return Err(End::Changed(DIFFERS.into()));
            }
            left = later;
            reply.ready = Some(bytes).filter(|bytes| !bytes.is_empty());
        }
        Ok(())
    }

    /// Answers do not say what they are of: the bytes that are here are compared, once at their head and elsewhere, and
    /// wherever a range meets them. What lies before a range is asked for together with it, but for the first.
    async fn doubt(&self, crew: &Crew, range: ByteRange) -> Result<(), End> {
        let few = PROBE.min(range.len() / 16);
        let mut samples: Vec<(u64, Vec<u8>)> = Vec::new();
        if !self.doubtful.replace(true) {
            let before = crew.sink.before(range.start, few);
            samples.push((range.start - before.len() as u64, before));
        }
        samples.push((range.end, crew.sink.after(range.end, few)));
        if !self.compared.get() {
            samples.extend(Self::samples(crew));
        }
        self.compare(crew, samples).await
    }

    /// Compares what could not be compared when the doubt arose, because nothing was here yet.
    pub async fn confirm(&self, crew: &Crew) -> Result<(), End> {
        match self.doubtful.get() && !self.compared.get() {
            true => self.compare(crew, Self::samples(crew)).await,
            false => Ok(()),
        }
    }

    /// Bytes that are here, at their head and at random places.
    fn samples(crew: &Crew) -> Vec<(u64, Vec<u8>)> {
        let places = places(crew.sink.length().unwrap_or(0), &crew.sink.known());
        places.into_iter().filter_map(|place| Some((place.start, crew.sink.read(place)?))).collect()
    }

    async fn compare(&self, crew: &Crew, samples: Vec<(u64, Vec<u8>)>) -> Result<(), End> {
        for (at, here) in samples.into_iter().filter(|(_, here)| !here.is_empty()) {
            let theirs = self.sample(crew, ByteRange::new(at, at + here.len() as u64)).await?;
            crew.meter.borrow_mut().moved(theirs.len() as u64);
            if theirs != here {
                return Err(End::Changed(DIFFERS.into()));
            }
            self.compared.set(true);
        }
        Ok(())
    }

    /// Whether an answer that calls the content nothing is to be had again under a condition: only then does the
    /// server itself vouch for it. Once it has been tried, what comes is taken.
    fn wants_condition(&self, now: &Validator) -> bool {
        let form = best_form(&self.kept.borrow(), Form::Tag);
        let silent = now.etag.is_none() && now.last_modified.is_none();
        if !silent || form == Form::Bare || self.mute.replace(true) {
            return false;
        }
        self.condition.set(form);
        true
    }

    /// Whether an answer is of the content that is here. `false`: its head does not tell.
    fn check(&self, crew: &Crew, head: &Head) -> Result<bool, End> {
        let length = crew.sink.length();
        let kept = self.kept.borrow();
        let known = Known { validator: &kept, length, media: crew.media.as_deref() };
        // Nothing about the file itself has changed when a login page passes.
        if let Some(why) = impostor(known, &now(head, Address::Same)) {
            return Err(End::Fault(Fault::new(Kind::Network, why)));
        }
        match compare(&kept, length, &head.validator, head.total) {
            Likeness::Different(why) => Err(End::Changed(why)),
            Likeness::Same => Ok(true),
            Likeness::CannotTell => Ok(false),
        }
    }

    /// Whether this place was shown to have the same content.
    pub fn is_proven(&self) -> bool {
        self.proven.get()
    }

    /// Shows that this place has the same content: the same length, no other digest, and the same bytes wherever they
    /// are compared, with what is here or with what the place that the content is known by gives.
    pub async fn prove(&self, crew: &Crew) -> Result<(), End> {
        if self.proven.get() {
            return Ok(());
        }
        let length = crew.sink.length().unwrap_or(0);
        let mut compared = 0;
        for range in places(length, &crew.sink.known()) {
            let theirs = self.sample(crew, range).await?;
            let ours = match crew.sink.read(range) {
                Some(bytes) => bytes,
                None => match overlap::fetch(&*crew.main().source, range).await {
                    Ok(Some(bytes)) => bytes,
                    // It has troubles of its own; what is here will have to do.
                    Ok(None) | Err(_) => continue,
                },
            };
            crew.meter.borrow_mut().moved(theirs.len() as u64);
            if theirs != ours {
                return Err(End::Changed("its bytes are others".into()));
            }
            compared += 1;
        }
        if compared == 0 {
            let text = format!("there is nothing yet to compare {} with", self.source.shown());
            return Err(End::Fault(Fault::new(Kind::Network, text)));
        }
        self.proven.set(true);
        self.sampled.set(true);
        Ok(())
    }

    /// Bytes of a range, to be compared.
    async fn sample(&self, crew: &Crew, range: ByteRange) -> Result<Vec<u8>, End> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < range.len() {
            let from = range.start + bytes.len() as u64;
            let ask = Ask { alone: true, ..Ask::range(from, Some(range.end)) };
            let (head, mut body) = match self.source.ask(ask).await.map_err(End::Fault)? {
                Answer::Part { head, body, .. } => (head, body),
                Answer::Whole { head, .. } => {
                    self.check(crew, &head)?;
                    return Err(End::NoRanges("it serves no ranges".into()));
                }
                Answer::Beyond { .. } => return Err(End::Changed("it is shorter".into())),
                Answer::Unfit { why } => return Err(End::NoRanges(why)),
                Answer::Unchanged => return Err(End::NoRanges("it answered 304 to a range".into())),
            };
            self.check(crew, &head)?;
            if head.total.is_none() && !self.proven.get() {
                return Err(End::NoRanges("it does not say how long the file is".into()));
            }
            let other =
                |offer: &Digest| crew.digests.iter().any(|own| own.algorithm == offer.algorithm && own != offer);
            if head.digests.iter().any(|offer| other(&offer.digest)) {
                return Err(End::Changed("its digest is another".into()));
            }
            if !self.proven.get() && self.kept.borrow().etag.is_none() && self.kept.borrow().last_modified.is_none() {
                self.kept.replace(head.validator);
            }
            let before = bytes.len();
            while let Some(next) = body.next().await.map_err(End::Fault)? {
                bytes.extend_from_slice(&next);
            }
            if bytes.len() == before {
                return Err(End::NoRanges("it sends empty ranges".into()));
            }
        }
        self.ranged.set(true);
        Ok(bytes)
    }
}

/// Where to compare a file of `length` bytes of which `known` are here: head, tail, somewhere in between, and at two
/// places of what is here.
fn places(length: u64, known: &[ByteRange]) -> Vec<ByteRange> {
    let size = PROBE.min(length.div_ceil(64)).max(1);
    let at = |start: u64| ByteRange::new(start, length.min(start.saturating_add(size)));
    let random = |below: u64| getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15) % below.max(1);
    let mut places = vec![at(0), at(random(length)), at(length.saturating_sub(size))];
    for _ in 0..2 {
        let mut skip = random(known.iter().map(ByteRange::len).sum());
        for run in known {
            if skip < run.len() {
                places.push(ByteRange::new(run.start + skip, run.end.min(run.start + skip + size)));
                break;
            }
            skip -= run.len();
        }
    }
    places.retain(|place| !place.is_empty());
    places.sort();
    places.dedup();
    places
}

/// The form to try when a server answers this one with the whole file though nothing has changed.
pub fn next_form(form: Form) -> Option<Form> {
    match form {
        Form::Tag => Some(Form::Date),
        Form::Date => Some(Form::Bare),
        Form::Bare => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_inside_and_touch_both_ends() {
        for length in [1, 2, 63, 64, 65, 1 << 20, 1 << 30] {
            let known = [ByteRange::new(0, length / 3), ByteRange::new(length / 2, length)];
            let places = places(length, &known);
            assert!(places.iter().all(|place| !place.is_empty() && place.end <= length), "{length}: {places:?}");
            assert!(places.iter().any(|place| place.start == 0) && places.iter().any(|place| place.end == length));
            assert!(places.iter().map(ByteRange::len).sum::<u64>() <= length.max(6) / 6 + 5, "{length}: {places:?}");
        }
        assert!(places(0, &[]).is_empty());
    }
}
