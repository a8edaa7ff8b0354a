//! The native handshake, the client's half: chunks in any order and in parallel, every piece and the whole proven.
//! The grammar is [`crate::wire::handshake`]'s, shared with the server; the protocol is described there in prose.

use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Digest};
use crate::fault::{Fault, Kind};
use crate::net::{Body, Lane, Net, Request, Response, same_origin};
use crate::remote::{
    Announced, Answer, Claim, Closed, Destination, Digests, Held, Identify, Manifest, Order, Part, Published, Put,
    Remote, Repeat, Session, Standing, State, Terms,
};
use crate::wire::handshake::{self as wire, Begin, Complete, Id, Identity, Limits, Place, Problem, Reason};
use crate::wire::mask::Known;
use crate::wire::retry_after;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use http::{Method, StatusCode};
use serde::Serialize;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use url::Url;

/// The protocol's name, in records and for people.
pub const NAME: &str = "handshake";
/// The pause where a server says "later" and not when.
const SHORT: Duration = Duration::from_secs(1);
/// Runs of chunks in one question for digests: its URL stays short.
const RUNS_ASKED: usize = 200;

/// Whether a reply to `OPTIONS` announces a version of the handshake that this program speaks.
pub fn announced(headers: &HeaderMap) -> bool {
    let versions = headers.get(wire::HANDSHAKE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    versions.split(',').any(|version| version.trim() == wire::VERSION)
}

/// The client's end, bound to one destination.
pub struct Handshake {
    net: Rc<Net>,
    destination: Destination,
    folder: Url,
    name: String,
    limits: Limits,
    layout: Cell<Option<Layout>>,
}

impl Handshake {
    /// The client for `destination`, whose server announced `announced`.
    pub fn new(net: Rc<Net>, destination: Destination, announced: &Announced) -> Result<Self, Fault> {
        let limits = announced.fields.get(wire::LIMITS).and_then(|value| value.to_str().ok());
        Ok(Self {
            name: super::name(&destination.url)?,
            folder: announced.folder.clone(),
            limits: limits.map(Limits::from_field).unwrap_or_default(),
            layout: Cell::new(None),
            net,
            destination,
        })
    }

    fn request(&self, method: Method, url: Url) -> Request {
        Request::new(method, url).lane(Lane::Own)
    }

    /// A request with a document.
    fn tell(&self, method: Method, url: Url, document: &impl Serialize) -> Result<Request, Fault> {
        let text = serde_json::to_vec(document).map_err(|e| Fault::new(Kind::Other, e.to_string()))?;
        Ok(self.request(method, url).header(CONTENT_TYPE, "application/json").body(Body::Bytes(text.into())))
    }

    async fn send(&self, request: Request) -> Result<Reply, Fault> {
        Reply::read(self.net.ask(&request, &self.destination.access).await?).await
    }

    /// The URL of `place` below the upload of `session`; `None` while the session has none.
    fn below(&self, session: &Session, place: Place) -> Option<Url> {
        let upload = session.text("upload")?;
        Url::parse(&format!("{upload}{place}")).ok()
    }

    fn upload(&self, session: &Session, place: Place) -> Result<Url, Fault> {
        self.below(session, place)
            .ok_or_else(|| Fault::new(Kind::Other, "the record holds no upload to go on with").hint("start it anew"))
    }

    /// A URL that the server told us: path-absolute, of the origin that told it, so that no token travels.
    fn local(&self, from: &Url, told: &str) -> Result<Url, Fault> {
        from.join(told).ok().filter(|url| same_origin(url, from)).ok_or_else(|| {
            Fault::new(Kind::Other, format!("{} names a URL of another server", crate::net::shown(from)))
        })
    }

    /// What a status document says.
    fn state(&self, reply: &Reply) -> Result<(State, wire::Status), Fault> {
        let status: wire::Status = reply.document()?;
        let nonsense = || Fault::new(Kind::Other, format!("{} contradicts itself about this upload", reply.place()));
        if self.layout.get().is_some_and(|own| own != Layout::new(status.size, status.chunk_size)) {
            return Err(nonsense());
        }
        let state = match status.state {
            wire::State::Complete => State::Done(self.published(reply, &status)?),
            wire::State::Verifying => State::Checking(reply.wait.unwrap_or(SHORT)),
            wire::State::New | wire::State::Partial => State::Open(Standing {
                held: Held::Bytes(status.held().ok_or_else(nonsense)?),
                joined: status.joined,
                claim: status.other.as_ref().filter(|offer| offer.fits(status.size)).map(claim),
            }),
        };
        Ok((state, status))
    }

    fn published(&self, reply: &Reply, status: &wire::Status) -> Result<Published, Fault> {
        let place = match &status.file {
            Some(file) => self.local(&reply.url, file)?,
            None => self.place(),
        };
        Ok(Published { place, digests: status.digests.0.clone(), shows: None })
    }

    /// The session and state of a reply that names its upload.
    fn opened(&self, session: &Session, reply: &Reply) -> Result<(Session, State), Fault> {
        let (state, status) = self.state(reply)?;
        let upload = self.local(&reply.url, &status.upload)?;
        let session = session.clone().with("upload", upload.as_str());
        Ok((if status.joined { session.with("joined", "yes") } else { session }, state))
    }

    async fn begin(&self, session: &Session, manifest: &Manifest) -> Result<(Session, State), Fault> {
        let key = session.text("key").and_then(Id::parse);
        let begin = Begin {
            key: key.ok_or_else(|| Fault::new(Kind::Other, "the record's upload key is damaged"))?,
            name: self.name.clone(),
            size: manifest.layout.length(),
            chunk_size: manifest.layout.chunk_size(),
            if_exists: manifest.if_exists,
            modified: manifest.modified.map(|time| humantime::format_rfc3339_nanos(time).to_string()),
            md5: manifest.md5.clone(),
            join: true,
            want: names(&manifest.want),
        };
        let reply = self.send(self.tell(Method::POST, self.folder.clone(), &begin)?).await?;
        match (reply.status.as_u16(), reply.reason()) {
            (200 | 201, _) => self.opened(session, &reply),
            (_, Some(Reason::Exists)) => Ok((
                session.clone(),
                State::Taken(reply.problem.as_ref().and_then(|problem| problem.size), reply.fault("store")),
            )),
            (_, Some(Reason::KeyReused)) => Ok((session.clone(), State::Gone)),
            _ => Err(reply.fault("store")),
        }
    }

    async fn ask(&self, session: &Session) -> Result<(Session, State), Fault> {
        let reply = self.send(self.request(Method::GET, self.upload(session, Place::Upload)?)).await?;
        match reply.status.as_u16() {
            200 => self.opened(session, &reply),
            404 | 410 => Ok((session.clone(), State::Gone)),
            _ => Err(reply.fault("say how far it is with")),
        }
    }

    async fn send_part(&self, session: &Session, part: &Part) -> Result<Put, Fault> {
        let index = part.layout.index_of(part.range.start);
        let chunk = part.layout.range(index);
        let sum = wire::Digests(vec![part.crc.digest()]);
        let mut request = self
            .request(Method::PUT, self.upload(session, Place::Chunk(index))?)
            .header(HeaderName::from_static(wire::CONTENT_DIGEST), sum.to_field())
            .body(part.body());
        if part.range != chunk {
            let (first, last) = (part.range.start - chunk.start, part.range.end - 1 - chunk.start);
            request = request.header(CONTENT_RANGE, format!("bytes {first}-{last}/{}", chunk.len()));
        }
        if part.replace {
            request = request.header(HeaderName::from_static(wire::REPLACE), "1");
        }
        let reply = match self.send(request).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Put::Ambiguous(fault)),
            other => other?,
        };
        match (reply.status.as_u16(), reply.reason()) {
            (200 | 201 | 204, _) => Ok(Put::Stored(part.range)),
            (404 | 410, _) => Ok(Put::Gone),
            (_, Some(Reason::Differs)) => Ok(Put::Differs),
            (_, Some(Reason::DigestMismatch)) => Ok(Put::Damaged),
            (_, Some(Reason::Busy)) => {
                Err(Fault { kind: Kind::Busy, ..reply.fault("take a piece of") }.wait(reply.wait.or(Some(SHORT))))
            }
            _ => Err(reply.fault("take a piece of")),
        }
    }

    async fn finish(&self, session: &Session, digests: &[Digest], want: &[Algorithm]) -> Result<Closed, Fault> {
        let document = Complete { digests: wire::Digests(digests.to_vec()), name: None, want: names(want) };
        let url = self.upload(session, Place::Complete)?;
        let reply = match self.send(self.tell(Method::POST, url, &document)?).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Closed::Ambiguous(fault)),
            other => other?,
        };
        let bytes = |told: Option<&wire::Runs>| {
            let layout = self.layout.get().unwrap_or(Layout::new(0, 1));
            told.map(|chunks| bytes_of(&layout, &chunks.0)).unwrap_or_default()
        };
        let problem = reply.problem.as_ref();
        match (reply.status.as_u16(), reply.reason()) {
            (202, _) => Ok(Closed::Pending(reply.wait.unwrap_or(SHORT))),
            (200 | 201, _) => match self.state(&reply)? {
                (State::Done(published), _) => Ok(Closed::Published(published)),
                (State::Checking(wait), _) => Ok(Closed::Pending(wait)),
                _ => Err(Fault::new(Kind::Other, format!("{} says both done and not done", reply.place()))),
            },
            (404 | 410, _) => Ok(Closed::Gone),
            (_, Some(Reason::Incomplete)) => Ok(Closed::Missing(bytes(problem.and_then(|p| p.missing.as_ref())))),
            (_, Some(Reason::Suspect)) => Ok(Closed::Suspect(bytes(problem.and_then(|p| p.suspect.as_ref())))),
            (_, Some(Reason::NameTaken | Reason::Exists)) => Ok(Closed::Taken(reply.fault("publish"))),
            _ => Err(reply.fault("publish")),
        }
    }

    async fn compare(&self, session: &Session, chunks: &IndexSet) -> Result<Vec<(u64, u64)>, Fault> {
        let mut all = Vec::new();
        let runs: Vec<ByteRange> = chunks.runs().collect();
        for some in runs.chunks(RUNS_ASKED) {
            let asked: IndexSet = some.iter().copied().collect();
            let mut url = self.upload(session, Place::Digests)?;
            url.set_query(wire::digests_query(&asked).strip_prefix('?'));
            let reply = self.send(self.request(Method::GET, url)).await?;
            if reply.status != StatusCode::OK {
                return Err(reply.fault("show digests of"));
            }
            let told: wire::ChunkDigests = reply.document()?;
            let told_of = told.chunks.runs().flat_map(|run| run.start..run.end);
            let sums = told.digests.iter().map(|hex| u64::from_str_radix(hex, 16).ok());
            let known = told.algorithm == Algorithm::Crc64Nvme.name();
            all.extend(told_of.zip(sums).filter(|_| known).filter_map(|(index, sum)| Some((index, sum?))));
        }
        Ok(all)
    }

    async fn take_up(
        &self,
        session: &Session,
        claim: &Claim,
        proof: &Digest,
    ) -> Result<Option<(Session, State)>, Fault> {
        let document =
            Identity { md5: None, nonce: Id::parse(&crate::digest::hex(&claim.nonce)), proof: Some(proof.hex()) };
        let reply = self.send(self.tell(Method::POST, self.upload(session, Place::Identity)?, &document)?).await?;
        match (reply.status.as_u16(), reply.reason()) {
            (200 | 201, _) => {
                // Another upload of this content that is to get another name is somebody else's business.
                let status: wire::Status = reply.document()?;
                let ours = !status.joined || status.name == self.name;
                if ours { self.opened(session, &reply).map(Some) } else { Ok(None) }
            }
            // The content it has is read to its end first.
            (202, _) => Ok(Some((session.clone(), State::Checking(reply.wait.unwrap_or(SHORT))))),
            (_, Some(Reason::ProofFailed)) => Ok(None),
            _ => Err(reply.fault("take the proof for")),
        }
    }
}

fn claim(offer: &wire::Offer) -> Claim {
    Claim { complete: offer.state == wire::State::Complete, nonce: offer.nonce.bytes(), ranges: offer.ranges.clone() }
}

fn names(algorithms: &[Algorithm]) -> Vec<String> {
    algorithms.iter().map(|algorithm| algorithm.name().to_string()).collect()
}

fn bytes_of(layout: &Layout, chunks: &IndexSet) -> ByteSet {
    chunks.runs().map(|run| ByteRange::new(layout.range(run.start).start, layout.range(run.end - 1).end)).collect()
}

impl Remote for Handshake {
    fn protocol(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Url {
        self.destination.url.clone()
    }

    fn about(&self) -> String {
        "the onward handshake: chunks in any order, each proven".into()
    }

    fn finds_again(&self) -> bool {
        true
    }

    fn terms(&self) -> Terms {
        Terms {
            order: Order::Any,
            part: 1..=u64::MAX,
            uniform: None,
            keeps_cut: false,
            multiple: 1,
            chunk: None,
            chunk_max: self.limits.chunk_max,
            parallel: usize::MAX,
            replace: true,
            repeat: Repeat::Safe,
            file_max: self.limits.file_max,
        }
    }

    fn prepare(&self) -> Session {
        Session::default().with("protocol", NAME).with("key", crate::disk::token())
    }

    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        self.layout.set(Some(manifest.layout));
        Box::pin(async move {
            match session.text("upload") {
                Some(_) => self.ask(session).await,
                None => self.begin(session, manifest).await,
            }
        })
    }

    fn held<'a>(&'a self, session: &'a Session) -> Answer<'a, State> {
        Box::pin(async move { Ok(self.ask(session).await?.1) })
    }

    fn put<'a>(&'a self, session: &'a Session, part: &'a Part) -> Answer<'a, Put> {
        Box::pin(self.send_part(session, part))
    }

    fn close<'a>(&'a self, session: &'a Session, digests: &'a [Digest], want: &'a [Algorithm]) -> Answer<'a, Closed> {
        Box::pin(self.finish(session, digests, want))
    }

    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(async move {
            // A session that was saved and never opened holds nothing; one that was only joined is not ours.
            let Some(url) = self.below(session, Place::Upload).filter(|_| session.text("joined").is_none()) else {
                return Ok(());
            };
            let reply = self.send(self.request(Method::DELETE, url)).await?;
            match reply.status.as_u16() {
                200 | 204 | 404 | 410 => Ok(()),
                _ => Err(reply.fault("forget")),
            }
        })
    }

    fn identify(&self) -> Option<&dyn Identify> {
        Some(self)
    }

    fn digests(&self) -> Option<&dyn Digests> {
        Some(self)
    }
}

impl Identify for Handshake {
    fn identify<'a>(&'a self, session: &'a Session, md5: &'a Digest) -> Answer<'a, State> {
        Box::pin(async move {
            let document = Identity { md5: Some(md5.clone()), nonce: None, proof: None };
            let url = self.upload(session, Place::Identity)?;
            let reply = self.send(self.tell(Method::POST, url, &document)?).await?;
            match reply.status.as_u16() {
                200 => Ok(self.state(&reply)?.0),
                404 | 410 => Ok(State::Gone),
                _ => Err(reply.fault("take the MD5 of")),
            }
        })
    }

    fn join<'a>(
        &'a self,
        session: &'a Session,
        claim: &'a Claim,
        proof: &'a Digest,
    ) -> Answer<'a, Option<(Session, State)>> {
        Box::pin(self.take_up(session, claim, proof))
    }
}

impl Digests for Handshake {
    fn digests<'a>(&'a self, session: &'a Session, chunks: &'a IndexSet) -> Answer<'a, Vec<(u64, u64)>> {
        Box::pin(self.compare(session, chunks))
    }
}

/// An answer, read whole.
struct Reply {
    status: StatusCode,
    url: Url,
    wait: Option<Duration>,
    location: Option<String>,
    body: bytes::Bytes,
    problem: Option<Problem>,
    known: Known,
}

impl Reply {
    async fn read(response: Response) -> Result<Self, Fault> {
        let (status, url, known) = (response.status, response.url.clone(), response.known.clone());
        let wait = retry_after::wait(&response.headers, SystemTime::now());
        let location = response.field(LOCATION).map(str::to_string);
        let body = match status {
            StatusCode::NO_CONTENT => bytes::Bytes::new(),
            // These may mean that another writer is at it, or that the content is wrong: without words nobody knows.
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => response.bytes(wire::MAX_REPLY).await?,
            status if status.is_success() => response.bytes(wire::MAX_REPLY).await?,
            // Other refusals may come before the piece has gone out, and their words be lost with the connection.
            _ => response.bytes(wire::MAX_REPLY).await.unwrap_or_default(),
        };
        let problem = (!status.is_success()).then(|| serde_json::from_slice(&body).ok()).flatten();
        Ok(Self { status, url, wait, location, body, problem, known })
    }

    /// Who answered, for people: the upload's own URL is a capability, so only the server is named.
    fn place(&self) -> String {
        match (self.url.host_str(), self.url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_string(),
            _ => "the server".into(),
        }
    }

    fn reason(&self) -> Option<Reason> {
        self.problem.as_ref().and_then(Problem::reason)
    }

    fn document<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Fault::new(
                Kind::Other,
                format!("{} answered {} with something that is no status", self.place(), self.status),
            )
        })
    }

    /// The fault that this answer means when it was asked to do `what`.
    fn fault(&self, what: &str) -> Fault {
        let status = self.status.as_u16();
        let plain = |text: &str| plain(&self.known.hide(text));
        let said = self.problem.as_ref().map(|problem| match problem.detail.is_empty() {
            true => plain(&problem.title),
            false => plain(&problem.detail),
        });
        let text = match (&said, &self.location) {
            (Some(said), _) if !said.is_empty() => format!("{} will not {what} the file: {said}", self.place()),
            (_, Some(_)) if self.status.is_redirection() => {
                format!("{} redirects ({status}) where it was asked to {what} the file", self.place())
            }
            _ => format!("{} answered {status} when asked to {what} the file", self.place()),
        };
        let fault = Fault::status(status, text).wait(self.wait);
        let hint = self.problem.as_ref().and_then(|problem| problem.hint.as_deref()).map(plain);
        match (hint, status) {
            (Some(hint), _) => fault.hint(hint),
            (None, 401) => fault.hint("give credentials with -u, --token-file, --netrc or -H"),
            _ => fault,
        }
    }
}

/// A peer's words on one line: control characters escaped, cut at a bearable length.
fn plain(text: &str) -> String {
    text.chars().take(300).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
