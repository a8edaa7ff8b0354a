//! copyparty's up2k: the server is told what every chunk is called by its content, and says which of them it lacks.
//! Nothing but the file is needed to go on; two versions of a source never mix; content the server has is not sent.
//! The price is that all of the file is read before its first byte goes out. The grammar is [`crate::wire::up2k`]'s.
//!
//! An unfinished file has its name already, and beside it stands `NAME.PARTIAL` (or `.NAME.PARTIAL`): only that tells
//! it from a finished one, because what has arrived of it is shown to whoever asks.
//!
//! A chunk counts whole or not at all, and how long it is the file's length says: on a slow line one of them may take
//! minutes, and a broken connection costs what has gone out of it; fewer are under way at once, that is all that can be
//! done. The server does take a chunk in pieces (`X-Up2k-Subc: OFFSET`, `handle_post_binary` in its `httpcli.py`, seen
//! in 1.20.26), but those are for proxies that take no large requests, and nothing to go on with:
//!
//! - Where the next piece begins is written down before this one is read, the chunk's digest while it is. After a
//!   piece that was cut neither its own beginning is taken nor the byte up to which it came: 400, and the chunk begins
//!   at 0. The beginning of the next one is taken, and then the digest is wrong.
//! - The digest is of what came in, not of what is on the disk, and is kept by the chunk's name only. A piece is
//!   damaged on its way to one file, and the same piece of another file follows: the first one passes, damaged.
//! - Of a chunk that is in the file twice, the copy is made from the last piece's offset on: other bytes, no error.
//!
//! Two things about that server (1.20) are worth knowing. Killed, it may have forgotten the file, and then keeps the
//! half one and gives its name to nobody: it is told to replace that. And it keeps files open for a while, by name:
//! what is sent under the name of an upload just forgotten can go to the file that was removed, and is then announced
//! as complete. So a forgotten name rests before it is used again, and samples of what is published are compared.

use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Digest};
use crate::fault::{Fault, Kind};
use crate::net::{Body, Lane, Net, Request, Response, same_origin};
use crate::record::IfExists;
use crate::remote::{
    Announced, Answer, ByContent, Closed, Destination, Held, Manifest, Order, Part, Published, Put, Remote, Repeat,
    Session, Show, Standing, State, Terms,
};
use crate::wire::mask::Known;
use crate::wire::up2k::{self as wire, Told};
use crate::wire::{percent, retry_after};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// The protocol's name, in records and for people.
pub const NAME: &str = "up2k";
/// The pause where the server is busy with the very file.
const SHORT: Duration = Duration::from_secs(2);
/// How long a forgotten name rests: the server closes its files within this time.
const REST: Duration = Duration::from_secs(16);
/// No answer is longer, in bytes: the largest lists 4096 chunks.
const MAX_REPLY: usize = 1 << 20;

/// Whether the folder that answered `OPTIONS` with `fields` is one of copyparty's. It says so in its listing only.
pub async fn speaks(net: &Net, destination: &Destination, folder: &Url, fields: &HeaderMap) -> Result<bool, Fault> {
    if !["POST", "PUT"].iter().all(|method| super::dav::allows(fields, method)) {
        return Ok(false);
    }
    // A folder that is not there yet has no listing; it is made by the upload.
    for place in [folder.clone(), folder.join("/").unwrap_or_else(|_| folder.clone())] {
        let mut url = place;
        url.set_query(Some("ls"));
        let answer = net.ask(&Request::new(Method::GET, url).lane(Lane::Own), &destination.access).await?;
        let is_json = answer.field(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
        if answer.status == StatusCode::OK {
            return Ok(is_json && wire::is_listing(&answer.bytes(MAX_REPLY * 8).await?));
        }
    }
    Ok(false)
}

/// The client's end, bound to one destination.
pub struct Up2k {
    net: Rc<Net>,
    destination: Destination,
    folder: Url,
    name: String,
    layout: Cell<Option<Layout>>,
    modified: Cell<u64>,
    replace: Cell<bool>,
    /// The names of all chunks, in order.
    chunks: RefCell<Vec<String>>,
    /// What the server said last.
    told: RefCell<Option<Told>>,
    /// Whether the user has given the upload up.
    abandoned: Cell<bool>,
    /// When the name was forgotten.
    forgotten: Cell<Option<Instant>>,
}

impl Up2k {
    /// The client for `destination`, whose folder answered.
    pub fn new(net: Rc<Net>, destination: Destination, announced: &Announced) -> Result<Self, Fault> {
        Ok(Self {
            name: super::name(&destination.url)?,
            folder: super::folder(&announced.folder)?,
            layout: Cell::new(None),
            modified: Cell::new(0),
            replace: Cell::new(false),
            chunks: RefCell::default(),
            told: RefCell::default(),
            abandoned: Cell::new(false),
            forgotten: Cell::new(None),
            net,
            destination,
        })
    }

    async fn send(&self, request: Request) -> Result<Reply, Fault> {
        Reply::read(self.net.ask(&request.lane(Lane::Own), &self.destination.access).await?).await
    }

    /// Tells the server of all chunks and hears which of them are missing.
    async fn shake(&self, replace: bool) -> Result<Told, Fault> {
        let layout = self.layout.get().ok_or_else(|| Fault::new(Kind::Other, "the upload was not opened"))?;
        let chunks = self.chunks.borrow().clone();
        let expected = if layout.length() == 0 { 0 } else { layout.count() };
        if chunks.len() as u64 != expected {
            return Err(Fault::new(Kind::Other, "the names of the chunks are not known"));
        }
        let ask = wire::Ask {
            hash: chunks,
            name: self.name.clone(),
            lmod: self.modified.get(),
            size: layout.length(),
            replace,
        };
        let text = serde_json::to_vec(&ask).map_err(|e| Fault::new(Kind::Other, e.to_string()))?;
        let request = Request::new(Method::POST, self.folder.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Body::Bytes(text.into()));
        let reply = self.send(request).await?;
        if reply.status != StatusCode::OK {
            return Err(reply.fault("take"));
        }
        let told = Told::parse(&reply.body).ok_or_else(|| {
            Fault::new(Kind::Refused, format!("{} does not answer as copyparty does", crate::net::shown(&self.folder)))
        })?;
        *self.told.borrow_mut() = Some(told.clone());
        Ok(told)
    }

    /// The same for an upload that was begun before: under the name that it has had.
    async fn go_on(&self, session: &Session) -> Result<Told, Fault> {
        let told = self.shake(self.replace.get()).await?;
        let begun = session.text("upload").and_then(|text| Url::parse(text).ok());
        let Some(begun) = begun.filter(|url| same_origin(url, &self.folder)) else { return Ok(told) };
        if super::name(&begun)? == told.name {
            return Ok(told);
        }
        // The server has forgotten it, and half of it stands in the way.
        self.forget(&told).await?;
        let half = self.length_of(begun.clone()).await? == Some(0) && self.is_unfinished(&begun).await?;
        let told = if half { self.shake(true).await? } else { told };
        if half && super::name(&begun)? == told.name {
            return Ok(told);
        }
        *self.told.borrow_mut() = None;
        let text = format!("{} is taken by something else by now", crate::net::shown(&begun));
        Err(Fault::new(Kind::Refused, text).hint("look at it; then remove it, or choose another name"))
    }

    /// The bytes of the chunks that are missing.
    fn missing(&self, told: &Told) -> ByteSet {
        let missing: HashSet<&str> = told.hash.iter().map(String::as_str).collect();
        let Some(layout) = self.layout.get() else { return ByteSet::new() };
        let chunks = self.chunks.borrow();
        let indices = (0..).zip(chunks.iter()).filter(|(_, name)| missing.contains(name.as_str()));
        indices.map(|(index, _)| layout.range(index)).collect()
    }

    fn state(&self, told: &Told) -> State {
        if told.hash.is_empty() {
            return State::Done(self.published(told));
        }
        let mut held = ByteSet::of(self.layout.get().map(|layout| layout.whole()).unwrap_or_default());
        held.subtract(&self.missing(told));
        State::Open(Standing { held: Held::Bytes(held), joined: false, claim: None })
    }

    fn published(&self, told: &Told) -> Published {
        let place = self.below(&format!("{}{}", told.purl, told.name));
        Published {
            place: place.unwrap_or_else(|| self.place()),
            digests: Vec::new(),
            shows: Some("sha-512 of every chunk".into()),
        }
    }

    /// The URL of a path that the server told, which is not escaped.
    fn below(&self, path: &str) -> Option<Url> {
        let url = self.folder.join(&percent::encode(path.as_bytes(), "/-._~")).ok()?;
        same_origin(&url, &self.folder).then_some(url)
    }

    async fn begin(&self, session: &Session) -> Result<(Session, State), Fault> {
        if let Some(rest) = self.forgotten.get().and_then(|since| REST.checked_sub(since.elapsed())) {
            let text = format!("{} was just forgotten by the server", crate::net::shown(&self.destination.url));
            return Err(Fault::new(Kind::Busy, text).wait(Some(rest)));
        }
        let there = self.length_of(self.destination.url.clone()).await?;
        if there.is_some() && !self.replace.get() && !self.is_unfinished(&self.destination.url).await? {
            return Ok((session.clone(), State::Taken(there, self.taken())));
        }
        let told = self.shake(self.replace.get()).await?;
        if told.name != self.name && there.is_some() && !self.replace.get() {
            // It stores beside what is there rather than on top of it; that was not asked for.
            self.forget(&told).await?;
            return Ok((session.clone(), State::Taken(there, self.taken())));
        }
        let place = self.below(&format!("{}{}", told.purl, told.name)).unwrap_or_else(|| self.place());
        Ok((session.clone().with("upload", place.as_str()), self.state(&told)))
    }

    fn taken(&self) -> Fault {
        Fault::new(Kind::Refused, format!("{} is there already", crate::net::shown(&self.destination.url)))
    }

    /// Whether what has this name is still being uploaded, by whomever.
    async fn is_unfinished(&self, url: &Url) -> Result<bool, Fault> {
        let name = super::name(url)?;
        for beside in [format!("{name}.PARTIAL"), format!(".{name}.PARTIAL")] {
            let beside = url.join(&percent::encode(beside.as_bytes(), "-._~")).unwrap_or_else(|_| url.clone());
            if self.length_of(beside).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The length of what has a name, if anything has.
    async fn length_of(&self, url: Url) -> Result<Option<u64>, Fault> {
        let request = Request::new(Method::HEAD, url).lane(Lane::Own);
        let answer = self.net.ask(&request, &self.destination.access).await?;
        let length = answer.field(CONTENT_LENGTH).and_then(|value| value.parse::<u64>().ok());
        Ok((answer.status == StatusCode::OK).then_some(length.unwrap_or(0)))
    }

    async fn send_part(&self, session: &Session, part: &Part) -> Result<Put, Fault> {
        if self.abandoned.get() {
            return Ok(Put::Gone);
        }
        let known = self.told.borrow().clone();
        let told = match known {
            Some(told) => told,
            None => self.go_on(session).await?,
        };
        let index = part.layout.index_of(part.range.start) as usize;
        let name = self.chunks.borrow().get(index).cloned().unwrap_or_default();
        let url = self.below(&told.purl).ok_or_else(|| Fault::new(Kind::Other, "the server names no folder"))?;
        let request = Request::new(Method::POST, url)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(HeaderName::from_static(wire::HASH), &name)
            .header(HeaderName::from_static(wire::WARK), &told.wark)
            .body(part.body());
        let reply = match self.send(request).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Put::Ambiguous(fault)),
            other => other?,
        };
        let words = reply.words();
        match reply.status.as_u16() {
            200 | 201 => Ok(Put::Stored(part.range)),
            400 if words.contains("already got that") => Ok(Put::Stored(part.range)),
            400 if words.contains("got corrupted") => Ok(Put::Damaged),
            400 if words.contains("already being written") => Err(reply.busy("take a piece of")),
            // A server that was started anew may have forgotten the file, or some of its chunks.
            400 if words.contains("unknown wark") || words.contains("unknown chunk") => {
                let told = self.go_on(session).await?;
                match self.state(&told) {
                    State::Open(standing) => Ok(Put::Conflict(standing.held)),
                    _ => Ok(Put::Stored(part.range)),
                }
            }
            _ => Err(reply.fault("take a piece of")),
        }
    }

    /// Makes the server forget a file that is not finished.
    async fn forget(&self, told: &Told) -> Result<(), Fault> {
        let place = format!("{}{}", told.purl, told.name);
        let Some(url) = self.below(&place) else { return Ok(()) };
        self.forget_path(url, place).await
    }

    async fn forget_path(&self, url: Url, path: String) -> Result<(), Fault> {
        if !self.is_unfinished(&url).await? {
            return Ok(());
        }
        let text = serde_json::to_vec(&[path]).map_err(|e| Fault::new(Kind::Other, e.to_string()))?;
        let mut url = self.folder.clone();
        url.set_path("/");
        url.set_query(Some("delete&unpost"));
        let request = Request::new(Method::POST, url).header(CONTENT_TYPE, "application/json");
        let reply = self.send(request.body(Body::Bytes(text.into()))).await?;
        match reply.status.as_u16() {
            200 => {
                self.forgotten.set(Some(Instant::now()));
                Ok(())
            }
            400 | 404 if reply.words().contains("not found") => Ok(()),
            _ => Err(reply.fault("forget")),
        }
    }
}

impl Remote for Up2k {
    fn protocol(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Url {
        self.destination.url.clone()
    }

    fn about(&self) -> String {
        "copyparty's up2k: chunks in any order, each called by its content".into()
    }

    fn terms(&self) -> Terms {
        let any = self.told.borrow().as_ref().is_none_or(|told| told.sprs);
        Terms {
            order: if any { Order::Any } else { Order::Sequential },
            // Always a whole chunk.
            part: u64::MAX..=u64::MAX,
            uniform: None,
            keeps_cut: false,
            multiple: 1,
            chunk: None,
            chunk_max: None,
            parallel: usize::MAX,
            replace: true,
            repeat: Repeat::Safe,
            file_max: None,
        }
    }

    fn chunk_size(&self, length: u64) -> Option<u64> {
        Some(wire::chunk_size(length))
    }

    fn prepare(&self) -> Session {
        Session::default().with("protocol", NAME).with("key", crate::disk::token())
    }

    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        self.abandoned.set(false);
        self.layout.set(Some(manifest.layout));
        self.replace.set(manifest.if_exists == IfExists::Replace);
        let since = manifest.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.modified.set(since.map_or(0, |since| since.as_secs()));
        Box::pin(async move {
            match session.text("upload") {
                Some(_) => Ok((session.clone(), self.state(&self.go_on(session).await?))),
                None => self.begin(session).await,
            }
        })
    }

    fn held<'a>(&'a self, session: &'a Session) -> Answer<'a, State> {
        Box::pin(async move {
            match self.abandoned.get() {
                true => Ok(State::Gone),
                false => Ok(self.state(&self.go_on(session).await?)),
            }
        })
    }

    fn put<'a>(&'a self, session: &'a Session, part: &'a Part) -> Answer<'a, Put> {
        Box::pin(self.send_part(session, part))
    }

    fn close<'a>(&'a self, session: &'a Session, _: &'a [Digest], _: &'a [Algorithm]) -> Answer<'a, Closed> {
        Box::pin(async move {
            let told = self.go_on(session).await?;
            Ok(match told.hash.is_empty() {
                true => Closed::Published(self.published(&told)),
                false => Closed::Missing(self.missing(&told)),
            })
        })
    }

    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(async move {
            self.abandoned.set(true);
            let url = session.text("upload").and_then(|text| Url::parse(text).ok());
            let Some(url) = url.filter(|url| same_origin(url, &self.folder)) else { return Ok(()) };
            let path = percent::decode(url.path().as_bytes()).and_then(|path| String::from_utf8(path).ok());
            match path {
                Some(path) => self.forget_path(url, path).await,
                None => Ok(()),
            }
        })
    }

    fn by_content(&self) -> Option<&dyn ByContent> {
        Some(self)
    }

    fn show(&self) -> Option<&dyn Show> {
        Some(self)
    }
}

impl Show for Up2k {
    fn bytes<'a>(&'a self, session: &'a Session, range: ByteRange) -> Answer<'a, Option<bytes::Bytes>> {
        Box::pin(async move {
            let url = session.text("upload").and_then(|text| Url::parse(text).ok());
            let Some(url) = url.filter(|url| same_origin(url, &self.folder)) else { return Ok(None) };
            let length = self.layout.get().map_or(0, |layout| layout.length());
            super::shown(&self.net, &self.destination, url, range, length).await
        })
    }
}

impl ByContent for Up2k {
    fn algorithm(&self) -> Algorithm {
        wire::ALGORITHM
    }

    fn take(&self, digests: &[Digest]) {
        *self.chunks.borrow_mut() = digests.iter().map(wire::chunk_name).collect();
        *self.told.borrow_mut() = None;
    }
}

/// An answer, read whole.
struct Reply {
    status: StatusCode,
    url: Url,
    wait: Option<Duration>,
    body: bytes::Bytes,
    known: Known,
}

impl Reply {
    async fn read(response: Response) -> Result<Self, Fault> {
        let (status, url, known) = (response.status, response.url.clone(), response.known.clone());
        let wait = retry_after::wait(&response.headers, SystemTime::now());
        let body = match status {
            StatusCode::OK => response.bytes(MAX_REPLY).await?,
            _ => response.bytes(MAX_REPLY).await.unwrap_or_default(),
        };
        Ok(Self { status, url, wait, body, known })
    }

    /// The first line of what an error says, without its mark-up.
    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.trim_start_matches("<pre>").lines().next().unwrap_or_default().trim_end();
        line.chars()
            .take(200)
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect()
    }

    fn busy(&self, what: &str) -> Fault {
        Fault { kind: Kind::Busy, ..self.fault(what) }.wait(self.wait.or(Some(SHORT)))
    }

    /// The fault that this answer means when the server was asked to do `what` with the file.
    fn fault(&self, what: &str) -> Fault {
        let status = self.status.as_u16();
        let text = format!(
            "{} will not {what} the file ({status}): {}",
            crate::net::shown(&self.url),
            self.known.hide(&self.words())
        );
        let fault = Fault::status(status, text).wait(self.wait);
        match status {
            401 | 403 => fault.hint("give the password with -u :PASSWORD or -H 'PW: PASSWORD'"),
            409 => fault.hint("the server keeps no second copy of content it has"),
            // The same content is under way to another place, or a file is being finished.
            422 => Fault { kind: Kind::Busy, ..fault }.wait(self.wait.or(Some(SHORT))),
            _ => fault,
        }
    }
}
