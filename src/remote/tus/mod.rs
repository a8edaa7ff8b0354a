//! tus 1.0.0, the client's half: an upload is a URL that grows from its beginning, and says how far it is.
//!
//! A server that can join uploads gets a large file as a few of them at once, one for each chunk, joined at the end;
//! every other one gets the file in parts one after the other. What a part's answer leaves open is asked for (`HEAD`),
//! but never while a part is under way: servers break that off then. The grammar is [`crate::wire::tus`]'s.

mod create;

use super::answer::Answered;
use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Digest, Hasher, RunningCrc};
use crate::fault::{Fault, Kind};
use crate::net::{Lane, Net, Request};
use crate::remote::{
    Answer, Closed, Destination, Held, Manifest, Manner, Order, Part, Published, Put, Remote, Repeat, Session,
    Standing, State, Terms,
};
use crate::wire::tus::{self as wire, Abilities, Extension};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{HeaderValue, Method};
use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use url::Url;

/// The protocol's name, in records and for people.
pub const NAME: &str = "tus";
/// The chunk size where parts go one after the other: a part never crosses a chunk's border.
const LONE_CHUNK: u64 = 64 << 20;
/// A file of fewer chunks than this goes in one piece.
const LEAST_SPLIT: u64 = 5;
/// Into so many uploads a file is split where they can be joined: their URLs must fit into one field.
const MOST_SPLIT: u64 = 16;
/// The algorithms taken for the checksum of a part, the best first: fast, and not to be forged.
const CHECKSUMS: [Algorithm; 4] = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Sha512, Algorithm::Md5];
/// How much is read at once for a checksum, in bytes.
const BLOCK: u64 = 128 << 10;
/// The pause where a server says that an upload is locked.
const LOCKED: Duration = Duration::from_secs(1);

/// The field that every request but `OPTIONS` carries.
pub const VERSION_FIELD: (HeaderName, &str) = (HeaderName::from_static(wire::RESUMABLE), wire::VERSION);

/// Whether a reply announces a version of tus that this program speaks.
pub fn announced(fields: &HeaderMap) -> bool {
    Abilities::from_headers(fields).is_some_and(|abilities| abilities.speaks())
}

/// Whether a reply is that of an upload: a ready-made one, whose URL was given as the destination.
pub fn is_upload(fields: &HeaderMap) -> bool {
    fields.contains_key(wire::RESUMABLE) && wire::offset(fields).is_some()
}

/// The client's end, bound to one destination.
pub struct Tus {
    net: Rc<Net>,
    destination: Destination,
    manner: Manner,
    abilities: Abilities,
    endpoints: Vec<Url>,
    layout: Cell<Option<Layout>>,
    /// Whether the file goes as several uploads; not known before it is opened.
    split: Cell<Option<bool>>,
    /// The algorithm of the checksums of parts, where the server takes any.
    checksum: Cell<Option<Algorithm>>,
    /// Where a part was sent from that was not answered: a server that stands there has dropped it whole.
    unanswered: Cell<Option<u64>>,
    /// Whether the parts may have been joined already, by a request whose answer nobody has seen.
    joined: Cell<bool>,
    /// Whether it was seen to drop parts that are cut.
    drops: Cell<bool>,
    /// Whether the upload was made before its length was known, and the server still waits for that.
    deferred: Cell<bool>,
    /// The first bytes of the file, to go along with the making of the upload.
    front: RefCell<Option<Part>>,
    /// The session, where an answer has changed it.
    amended: RefCell<Option<Session>>,
    /// Bytes that were acknowledged in this run.
    stored: Cell<u64>,
    finished: RefCell<Option<Published>>,
    expires: Cell<Option<SystemTime>>,
}

impl Tus {
    /// The client for `destination`, whose server announced `fields`; for a saved session what it holds counts.
    pub fn new(
        net: Rc<Net>,
        destination: Destination,
        manner: Manner,
        fields: &HeaderMap,
        saved: Option<&Session>,
    ) -> Self {
        let saved = saved.filter(|session| session.text("protocol").is_some());
        let fields = saved.map_or_else(|| fields.clone(), remembered);
        let abilities = Abilities::from_headers(&fields).unwrap_or_default();
        let best = CHECKSUMS.into_iter().find(|algorithm| abilities.checksums.contains(algorithm));
        let endpoint = saved.and_then(|session| session.text("endpoint")?.parse().ok());
        Self {
            endpoints: endpoint.map_or_else(|| super::endpoint::endpoints(&destination), |endpoint| vec![endpoint]),
            checksum: Cell::new(best.filter(|_| abilities.has(Extension::Checksum))),
            split: Cell::new(saved.map(|session| session.0.contains_key("parts"))),
            layout: Cell::default(),
            unanswered: Cell::default(),
            joined: Cell::new(saved.is_some_and(|session| session.text(create::JOINING).is_some())),
            drops: Cell::default(),
            deferred: Cell::default(),
            front: RefCell::default(),
            amended: RefCell::default(),
            stored: Cell::default(),
            finished: RefCell::default(),
            expires: Cell::default(),
            abilities,
            manner,
            net,
            destination,
        }
    }

    fn may_split(&self) -> bool {
        self.abilities.has(Extension::Concatenation) && self.manner.connections != Some(1)
    }

    fn splits(&self) -> bool {
        self.split.get().unwrap_or_else(|| self.may_split())
    }

    fn request(&self, method: Method, url: Url) -> Request {
        let request = Request::new(method, url).lane(Lane::Own);
        request.header(HeaderName::from_static(wire::RESUMABLE), wire::VERSION)
    }

    async fn send(&self, request: Request) -> Result<Answered, Fault> {
        let method = request.method.clone();
        let response = match request.body.is_empty() {
            true => self.net.fetch(request, &self.destination.access, &mut |_, _, _| {}).await?,
            false => self.net.ask(&request, &self.destination.access).await?,
        };
        let answer = Answered::read(response, &method).await;
        if let Some(expires) = wire::expires(&answer.fields) {
            self.expires.set(Some(expires));
        }
        Ok(answer)
    }

    /// Asks how far an upload is; `None`: there is no such upload.
    async fn look(&self, url: Url, length: u64) -> Result<Option<u64>, Fault> {
        let answer = self.send(self.request(Method::HEAD, url)).await?;
        self.deferred.set(wire::length(&answer.fields) == Some(wire::Length::Deferred));
        let nonsense =
            |why: &str| Err(Fault::new(Kind::Other, format!("{} contradicts itself: {why}", answer.place())));
        match (answer.code(), wire::offset(&answer.fields)) {
            (200..=299, Some(offset)) if offset > length => nonsense("it holds more than the file has"),
            (200..=299, Some(offset)) => match wire::length(&answer.fields) {
                Some(wire::Length::Known(told)) if told != length => nonsense("the upload has another length"),
                _ => Ok(Some(offset)),
            },
            (200..=299, None) => nonsense("it does not say how far the upload is"),
            // Some servers answer 400 where they know nothing of an upload, and one may be forbidden to know.
            (400 | 403 | 404 | 410, _) => Ok(None),
            _ => Err(answer.fault("say how far it is with")),
        }
    }

    fn layout(&self) -> Layout {
        self.layout.get().unwrap_or(Layout::new(0, 1))
    }

    /// The upload that holds `at`, and where in the file it begins.
    fn upload_at(&self, session: &Session, at: u64) -> Result<(Url, u64), Fault> {
        let lost = || Fault::new(Kind::Other, "the record holds no upload to go on with").hint("--restart begins anew");
        let (url, start) = match session.0.get("parts").and_then(toml::Value::as_array) {
            Some(parts) => {
                let index = self.layout().index_of(at);
                (parts.get(index as usize).and_then(toml::Value::as_str), self.layout().range(index).start)
            }
            None => (session.text("upload"), 0),
        };
        Ok((url.and_then(|url| url.parse().ok()).ok_or_else(lost)?, start))
    }

    /// What the server holds.
    async fn ask(&self, session: &Session) -> Result<State, Fault> {
        if let Some(published) = self.finished.borrow().clone() {
            return Ok(State::Done(published));
        }
        let layout = self.layout();
        if !session.0.contains_key("parts") && session.text("upload").is_none() {
            return Ok(State::Gone);
        }
        let held = match self.splits() {
            false => match self.look(self.upload_at(session, 0)?.0, layout.length()).await? {
                Some(offset) => Held::Prefix(offset),
                None => return self.settled_elsewhere(session).await,
            },
            true => {
                let mut held = ByteSet::new();
                for index in 0..layout.count() {
                    let chunk = layout.range(index);
                    match self.look(self.upload_at(session, chunk.start)?.0, chunk.len()).await? {
                        Some(offset) => held.insert(ByteRange::new(chunk.start, chunk.start + offset)),
                        None => return self.settled_elsewhere(session).await,
                    }
                }
                Held::Bytes(held)
            }
        };
        self.learn(&held);
        Ok(State::Open(Standing { held, joined: false, claim: None }))
    }

    /// A server that still stands where an unanswered part began drops what is cut.
    fn learn(&self, held: &Held) {
        let Some(from) = self.unanswered.take() else { return };
        let stands = match held {
            Held::Prefix(offset) => *offset == from,
            Held::Bytes(held) => !held.contains(ByteRange::new(from, from + 1)),
            Held::Unknown => false,
        };
        self.drops.set(self.drops.get() || stands);
    }

    /// The upload's URL knows nothing any more. Where complete files show under a URL of their own it may be there.
    async fn settled_elsewhere(&self, session: &Session) -> Result<State, Fault> {
        let Some(place) = create::file_of(&self.destination.url) else { return Ok(State::Gone) };
        let request = Request::new(Method::HEAD, place.clone()).lane(Lane::Own);
        let answer = self.send(request).await?;
        let since = session.text("begun").and_then(|text| humantime::parse_rfc3339(text).ok());
        let changed = answer.field("last-modified").and_then(crate::wire::validator::instant);
        let length = answer.field("content-length").and_then(|text| text.parse::<u64>().ok());
        let is_it = answer.status.is_success()
            && length == Some(self.layout().length())
            && since.zip(changed).is_some_and(|(since, changed)| changed >= since);
        match is_it {
            true => Ok(State::Done(self.published(place))),
            false => Ok(State::Gone),
        }
    }

    /// How much the server's word is worth: it has counted the bytes, and where every part of this run had a checksum it
    /// has compared them.
    fn published(&self, place: Url) -> Published {
        let all = self.stored.get() == self.layout().length() && self.stored.get() > 0;
        let shows = match self.checksum.get().filter(|_| all) {
            Some(algorithm) => format!("{algorithm} of every part"),
            None => "size".into(),
        };
        let published = Published { place, digests: Vec::new(), shows: Some(shows) };
        *self.finished.borrow_mut() = Some(published.clone());
        published
    }

    async fn send_part(&self, session: &Session, part: &Part) -> Result<Put, Fault> {
        let (url, start) = self.upload_at(session, part.range.start)?;
        let mut request = self
            .request(Method::PATCH, url.clone())
            .header(HeaderName::from_static(wire::OFFSET), (part.range.start - start).to_string())
            .header(CONTENT_TYPE, wire::CONTENT_TYPE)
            .body(part.body());
        if self.deferred.get() {
            request = request.header(HeaderName::from_static(wire::LENGTH), self.layout().length().to_string());
        }
        let checksum = self.checksum.get();
        if let Some(algorithm) = checksum {
            let Some(digest) = hashed(part, algorithm) else { return Ok(Put::Damaged) };
            request = request.header(HeaderName::from_static(wire::CHECKSUM), wire::print_checksum(&digest));
        }
        let answer = match self.send(request).await {
            Err(fault) if fault.kind == Kind::Network => {
                self.unanswered.set(Some(part.range.start));
                return Ok(Put::Ambiguous(fault));
            }
            other => other?,
        };
        match answer.code() {
            200..=299 => match wire::offset(&answer.fields) {
                Some(offset) => {
                    self.deferred.set(false);
                    self.kept(part, start + offset, &answer)
                }
                None => Ok(Put::Ambiguous(answer.passing("say how much it took of"))),
            },
            // A mismatch; 417 is one server's word for it.
            wire::CHECKSUM_MISMATCH => Ok(Put::Damaged),
            417 if checksum.is_some() => Ok(Put::Damaged),
            409 => self.elsewhere(url, start, part, &answer).await,
            413 | 423 | 401 | 407 => Err(answer.fault("take a part of")),
            404 | 410 if create::file_of(&self.destination.url).is_some() => {
                // It may be complete, and its URL gone with that: asking settles it.
                Ok(Put::Ambiguous(answer.passing("take a part of")))
            }
            404 | 410 => Ok(Put::Gone),
            408 | 425 | 429 | 500.. => Ok(Put::Ambiguous(answer.passing("take a part of"))),
            _ => self.refused(url, part, &answer).await,
        }
    }

    /// The part was taken as far as the new offset, which is the truth whatever was sent.
    fn kept(&self, part: &Part, offset: u64, answer: &Answered) -> Result<Put, Fault> {
        if offset < part.range.start {
            let text = format!("{} went back from byte {} to {offset}", answer.place(), part.range.start);
            return Err(Fault::new(Kind::Other, text).hint("--restart begins the upload anew"));
        }
        let kept = ByteRange::new(part.range.start, offset.min(part.range.end));
        self.stored.set(self.stored.get() + kept.len());
        Ok(Put::Stored(kept))
    }

    /// 409: the server stands elsewhere, or it means that the upload is locked.
    async fn elsewhere(&self, url: Url, start: u64, part: &Part, answer: &Answered) -> Result<Put, Fault> {
        if self.splits() {
            // Other parts are under way, which a question would break off: the engine asks once they have landed.
            return Ok(Put::Ambiguous(answer.passing("take a part of")));
        }
        match self.look(url, self.layout().length()).await? {
            Some(offset) if start + offset == part.range.start => {
                let fault = answer.passing("take a part of");
                Err(Fault { wait: fault.wait.or(Some(LOCKED)), ..fault })
            }
            Some(offset) => Ok(Put::Conflict(Held::Prefix(offset))),
            None => Ok(Put::Gone),
        }
    }

    /// A refusal that may mean many things: that another request broke this one off, that the checksum's algorithm is
    /// not known after all, that there is no such upload, or just that.
    async fn refused(&self, url: Url, part: &Part, answer: &Answered) -> Result<Put, Fault> {
        let said = answer.words().to_ascii_lowercase();
        if answer.code() == 400 && said.contains("interrupt") {
            return Ok(Put::Ambiguous(answer.passing("take a part of")));
        }
        if answer.code() == 400 && (said.contains("checksum") || said.contains("algorithm")) {
            self.checksum.set(None);
            return Ok(Put::Ambiguous(answer.passing("take a part of")));
        }
        let length = if self.splits() {
            self.layout().range(self.layout().index_of(part.range.start)).len()
        } else {
            self.layout().length()
        };
        match self.look(url, length).await? {
            None => Ok(Put::Gone),
            Some(_) => Err(answer.fault("take a part of")),
        }
    }

    async fn finish(&self, session: &Session) -> Result<Closed, Fault> {
        let state = match self.ask(session).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Closed::Ambiguous(fault)),
            other => other?,
        };
        let held = match state {
            State::Open(standing) => standing.held,
            State::Done(published) => return Ok(Closed::Published(published)),
            // The last part was acknowledged a moment ago, so it is complete; its URL is gone with that.
            _ if self.stored.get() > 0 && self.stored.get() == self.layout().length() && !self.splits() => {
                return Ok(Closed::Published(self.published(self.destination.url.clone())));
            }
            _ => return Ok(Closed::Gone),
        };
        let held = match held {
            Held::Prefix(offset) => ByteSet::of(ByteRange::new(0, offset)),
            Held::Bytes(held) => held,
            Held::Unknown => ByteSet::new(),
        };
        let missing: ByteSet = held.missing(self.layout().whole()).collect();
        if !missing.is_empty() {
            return Ok(Closed::Missing(missing));
        }
        let waits = self.deferred.get() || create::file_of(&self.destination.url).is_some();
        if self.layout().length() == 0 && waits {
            // Complete from the start by the specification, but one server makes a file only of what is sent to it, and
            // another has yet to hear that nothing is to come.
            let length = (HeaderName::from_static(wire::LENGTH), "0");
            let nothing = self
                .request(Method::PATCH, self.upload_at(session, 0)?.0)
                .header(HeaderName::from_static(wire::OFFSET), "0")
                .header(CONTENT_TYPE, wire::CONTENT_TYPE);
            let nothing = if self.deferred.get() { nothing.header(length.0, length.1) } else { nothing };
            let answer = self.send(nothing).await?;
            return match answer.status.is_success() {
                true => Ok(Closed::Published(self.published(self.destination.url.clone()))),
                false => Err(answer.fault("store")),
            };
        }
        match self.splits() {
            true => self.join_once(session).await,
            false => Ok(Closed::Published(self.published(self.upload_at(session, 0)?.0))),
        }
    }

    async fn forget(&self, session: &Session) -> Result<(), Fault> {
        let parts = session.0.get("parts").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let urls = parts.iter().filter_map(toml::Value::as_str).chain(session.text("upload"));
        for url in urls.filter_map(|url| url.parse().ok()) {
            let answer = self.send(self.request(Method::DELETE, url)).await?;
            match answer.code() {
                200..=299 | 400 | 404 | 410 => {}
                // Without the extension: it expires, or the server's owner sees to it.
                403 | 405 | 501 if !self.abilities.has(Extension::Termination) => {}
                _ => return Err(answer.fault("forget")),
            }
        }
        *self.finished.borrow_mut() = None;
        Ok(())
    }
}

/// The fields that a session was announced with.
fn remembered(session: &Session) -> HeaderMap {
    let known = [wire::VERSIONS, wire::EXTENSION, wire::MAX_SIZE, wire::CHECKSUM_ALGORITHM];
    let one =
        |name: &'static str| Some((HeaderName::from_static(name), HeaderValue::from_str(session.text(name)?).ok()?));
    known.into_iter().filter_map(one).collect()
}

/// The digest of a part's bytes, from a read of its own; `None` when they are not those that the part was made of.
fn hashed(part: &Part, algorithm: Algorithm) -> Option<Digest> {
    let (mut hasher, mut crc) = (Hasher::new(algorithm), RunningCrc::default());
    let mut buffer = vec![0; BLOCK.min(part.range.len()) as usize];
    let mut at = part.range.start;
    while at < part.range.end {
        let block = &mut buffer[..(part.range.end - at).min(BLOCK) as usize];
        part.file.read_exact_at(block, at).ok()?;
        hasher.update(block);
        crc.update(block);
        at += block.len() as u64;
    }
    (crc.crc() == part.crc).then(|| hasher.finish())
}

/// Whether `url` is where a hosted service takes uploads by tus: such are known by their place and announce nothing.
pub fn is_hosted(url: &Url) -> bool {
    hosted(url).is_some()
}

/// What hosted services want of parts, which no field announces: least and most bytes, the one size, the multiple.
fn hosted(url: &Url) -> Option<(RangeInclusive<u64>, Option<u64>, u64)> {
    const MIB: u64 = 1 << 20;
    let host = url.host_str().unwrap_or_default();
    let within = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    if url.path().contains("/storage/v1/upload/resumable") {
        return Some((6 * MIB..=6 * MIB, Some(6 * MIB), 1));
    }
    let stream = within("api.cloudflare.com") && url.path().contains("/stream");
    let cloudflare = stream || within("cloudflarestream.com") || within("videodelivery.net");
    cloudflare.then_some((5 * MIB..=200 * MIB, None, 256 << 10))
}

impl Remote for Tus {
    fn protocol(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> String {
        let extensions: Vec<&str> = self.abilities.extensions.iter().map(|extension| extension.name()).collect();
        let checksum = self.checksum.get().map(|algorithm| format!("; parts with {algorithm}")).unwrap_or_default();
        match extensions.is_empty() {
            true => format!("tus {}{checksum}", wire::VERSION),
            false => format!("tus {} ({}){checksum}", wire::VERSION, extensions.join(", ")),
        }
    }

    fn place(&self) -> Url {
        self.destination.url.clone()
    }

    fn terms(&self) -> Terms {
        let hosted = hosted(self.endpoints.first().unwrap_or(&self.destination.url));
        let (part, uniform, multiple) = hosted.unwrap_or((1..=u64::MAX, None, 1));
        let splits = self.splits();
        Terms {
            order: if splits { Order::Any } else { Order::Sequential },
            part,
            uniform,
            keeps_cut: self.checksum.get().is_none() && !self.drops.get(),
            multiple,
            chunk: None,
            chunk_max: None,
            parallel: if splits { usize::MAX } else { 1 },
            replace: false,
            repeat: Repeat::Safe,
            file_max: self.abilities.max_size.filter(|most| *most > 0),
        }
    }

    fn chunk_for(&self, length: u64) -> Option<u64> {
        match self.may_split() {
            true => Some(Layout::chunk_size_for(length, None).max(length.div_ceil(MOST_SPLIT))),
            false => Some(LONE_CHUNK),
        }
    }

    fn expires(&self) -> Option<SystemTime> {
        self.expires.get()
    }

    fn takes_front(&self) -> bool {
        // With checksums the first bytes are worth more in a part that is compared.
        !self.splits() && self.checksum.get().is_none() && self.abilities.has(Extension::CreationWithUpload)
    }

    fn offer(&self, front: Option<Part>) {
        *self.front.borrow_mut() = front;
    }

    fn closing(&self, session: &Session) -> Option<Session> {
        (self.splits() && session.text(create::JOINING).is_none()).then(|| session.clone().with(create::JOINING, "yes"))
    }

    fn amended(&self) -> Option<Session> {
        self.amended.take()
    }

    fn prepare(&self) -> Session {
        let mut session = Session::default().with("protocol", NAME).with("key", crate::disk::token());
        if let Some(endpoint) = self.endpoints.first() {
            session = session.with("endpoint", endpoint.as_str());
        }
        if let Some(metadata) = self.manner.metadata.first().map(|_| self.own_metadata()) {
            session = session.with("metadata", metadata);
        }
        self.abilities.fields().into_iter().fold(session, |session, (name, value)| session.with(name, value))
    }

    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        self.layout.set(Some(manifest.layout));
        Box::pin(async move {
            match session.text("upload").is_some() || session.0.contains_key("parts") {
                true => Ok((session.clone(), self.ask(session).await?)),
                false => self.begin(session, manifest).await,
            }
        })
    }

    fn held<'a>(&'a self, session: &'a Session) -> Answer<'a, State> {
        Box::pin(self.ask(session))
    }

    fn put<'a>(&'a self, session: &'a Session, part: &'a Part) -> Answer<'a, Put> {
        self.layout.set(Some(part.layout));
        Box::pin(self.send_part(session, part))
    }

    fn close<'a>(&'a self, session: &'a Session, _: &'a [Digest], _: &'a [Algorithm]) -> Answer<'a, Closed> {
        Box::pin(async move {
            let closed = self.finish(session).await;
            *self.amended.borrow_mut() = self.unmarked(session);
            closed
        })
    }

    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(self.forget(session))
    }
}
