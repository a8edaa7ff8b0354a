//! The IETF's resumable upload (draft-ietf-httpbis-resumable-upload), the client's half, over the drafts that servers
//! speak: the upload is made with nothing in it, which tells its URL in the answer itself, and then grows from its
//! beginning. A server is believed only when it shows a field of this protocol. The grammar is [`crate::wire::rufh`]'s.

use super::answer::Answered;
use super::endpoint::{endpoints, name_at};
use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Digest};
use crate::fault::{Fault, Kind};
use crate::net::{Lane, Net, Request};
use crate::record::IfExists;
use crate::remote::{
    Answer, Closed, Destination, Held, Manifest, Manner, Order, Part, Published, Put, Remote, Repeat, Session,
    Standing, State, Terms,
};
use crate::wire::rufh::{self as wire, Interop, Limits};
use crate::wire::{disposition, media_type};
use http::Method;
use http::header::{CONTENT_DISPOSITION, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use url::Url;

/// The protocol's name, in records and for people.
pub const NAME: &str = "ietf";
/// The chunk size: a part never crosses a chunk's border.
const CHUNK: u64 = 64 << 20;

/// Whether a reply to `OPTIONS` announces it.
pub fn announced(fields: &HeaderMap) -> bool {
    Limits::of_headers(fields).is_some() || fields.contains_key(wire::INTEROP)
}

/// The client's end, bound to one destination.
pub struct Ietf {
    net: Rc<Net>,
    destination: Destination,
    endpoints: Vec<Url>,
    drafts: Vec<Interop>,
    draft: Cell<Option<Interop>>,
    limits: Cell<Limits>,
    layout: Cell<Option<Layout>>,
    /// Bytes that were acknowledged in this run, and whether the last part left without an answer.
    stored: Cell<u64>,
    unanswered: Cell<bool>,
    finished: RefCell<Option<Published>>,
    expires: Cell<Option<SystemTime>>,
}

impl Ietf {
    /// The client for `destination`, whose server announced `fields`; a saved session goes on in its draft.
    pub fn new(
        net: Rc<Net>,
        destination: Destination,
        manner: &Manner,
        fields: &HeaderMap,
        saved: Option<&Session>,
    ) -> Self {
        let number = |session: &Session| session.text("interop")?.parse().ok().map(Interop);
        let limits = saved.and_then(|session| Limits::parse(session.text("limits")?));
        let endpoint = saved.and_then(|session| session.text("endpoint")?.parse().ok());
        Self {
            endpoints: endpoint.map_or_else(|| endpoints(&destination), |endpoint| vec![endpoint]),
            drafts: if manner.interop.is_empty() { Interop::KNOWN.to_vec() } else { manner.interop.clone() },
            draft: Cell::new(saved.and_then(number)),
            limits: Cell::new(limits.or_else(|| Limits::of_headers(fields)).unwrap_or_default()),
            layout: Cell::default(),
            stored: Cell::default(),
            unanswered: Cell::default(),
            finished: RefCell::default(),
            expires: Cell::default(),
            net,
            destination,
        }
    }

    fn draft(&self) -> Interop {
        self.draft.get().or_else(|| self.drafts.first().copied()).unwrap_or(Interop::KNOWN[0])
    }

    fn length(&self) -> u64 {
        self.layout.get().map_or(0, |layout| layout.length())
    }

    fn request(&self, method: Method, url: Url) -> Request {
        let request = Request::new(method, url).lane(Lane::Own);
        request.header(HeaderName::from_static(wire::INTEROP), self.draft().0.to_string())
    }

    async fn send(&self, request: Request) -> Result<Answered, Fault> {
        let method = request.method.clone();
        let response = match request.body.is_empty() {
            true => self.net.fetch(request, &self.destination.access, &mut |_, _, _| {}).await?,
            false => self.net.ask(&request, &self.destination.access).await?,
        };
        let answer = Answered::read(response, &method).await;
        if let Some(limits) = Limits::of_headers(&answer.fields) {
            self.limits.set(limits);
            if let Some(age) = limits.max_age {
                self.expires.set(SystemTime::now().checked_add(Duration::from_secs(age)));
            }
        }
        Ok(answer)
    }

    fn upload(session: &Session) -> Result<Url, Fault> {
        let url = session.text("upload").and_then(|url| url.parse().ok());
        url.ok_or_else(|| {
            Fault::new(Kind::Other, "the record holds no upload to go on with").hint("--restart begins anew")
        })
    }

    /// Makes the upload by the newest draft that the server takes.
    async fn begin(&self, session: &Session, manifest: &Manifest) -> Result<(Session, State), Fault> {
        self.fits(manifest.layout.length())?;
        let (mut last, mut deaf) = (None, false);
        for endpoint in &self.endpoints {
            for draft in &self.drafts {
                self.draft.set(Some(*draft));
                let answer = self.send(self.creation(endpoint, manifest)).await?;
                let location = answer.field(LOCATION.as_str()).and_then(|told| answer.url.join(told.trim()).ok());
                match (answer.code(), location) {
                    (200..=299, Some(url)) if self.is_believed(&answer, &url).await? => {
                        let session = session.clone().with("upload", url.as_str()).with("endpoint", endpoint.as_str());
                        let session = session.with("interop", draft.0.to_string());
                        if let Err(fault) = self.fits(manifest.layout.length()) {
                            // Only its making has shown the limits. Nothing is in it; not told, it expires.
                            let _ = self.forget(&session).await;
                            return Err(fault);
                        }
                        return Ok((session.with("limits", self.limits.get().print()), open(0)));
                    }
                    (200..=299, _) => deaf = true,
                    // The draft may be another, or the URL.
                    (400 | 404 | 405 | 412 | 415 | 501, _) => last = Some(answer.fault("take")),
                    (409, _) => return Ok((session.clone(), State::Taken(None, answer.fault("store")))),
                    _ => return Err(answer.fault("take")),
                }
                if deaf || matches!(answer.code(), 404 | 405) {
                    break;
                }
            }
        }
        let numbers: Vec<String> = self.drafts.iter().map(|draft| draft.0.to_string()).collect();
        let none = "the server shows no sign of the IETF's resumable upload";
        let fault = last.filter(|_| !deaf).unwrap_or_else(|| Fault::new(Kind::Refused, none));
        Err(fault.hint(format!("drafts with the interop numbers {} were tried", numbers.join(", "))))
    }

    /// Limits that are known are obeyed: a file outside of them is not sent at all.
    fn fits(&self, length: u64) -> Result<(), Fault> {
        let limits = self.limits.get();
        let (word, limit) = match (limits.min_size, limits.max_size) {
            (Some(least), _) if length < least => ("least", least),
            (_, Some(most)) if length > most => ("most", most),
            _ => return Ok(()),
        };
        let text = format!("the file is {length} bytes long; the server takes at {word} {limit} bytes");
        Err(Fault::new(Kind::Refused, text))
    }

    fn creation(&self, endpoint: &Url, manifest: &Manifest) -> Request {
        let name = name_at(endpoint, &self.destination, &manifest.name);
        let (complete, value) = self.draft().complete(false);
        let request = match manifest.if_exists {
            IfExists::Fail => self.request(Method::POST, endpoint.clone()),
            IfExists::Replace => self.request(Method::PUT, self.destination.url.clone()),
        };
        let request = request
            .header(HeaderName::from_static(complete), value)
            .header(CONTENT_TYPE, media_type::of_name(&name))
            .header(CONTENT_DISPOSITION, disposition::print("inline", &name));
        match self.draft().has_limits() {
            true => request.header(HeaderName::from_static(wire::LENGTH), manifest.layout.length().to_string()),
            false => request,
        }
    }

    /// Whether an answer to a creation, or the upload it names, shows that it was understood: a plain 201 may be anything.
    async fn is_believed(&self, answer: &Answered, url: &Url) -> Result<bool, Fault> {
        if answer.fields.contains_key(crate::wire::tus::RESUMABLE) {
            return Ok(false);
        }
        if wire::is_spoken(&answer.fields) {
            return Ok(true);
        }
        let head = self.send(self.request(Method::HEAD, url.clone())).await?;
        Ok(head.status.is_success() && wire::offset(&head.fields).is_some())
    }

    /// Asks how far the upload is: its offset and whether it says that it is complete; `None`: there is none.
    async fn look(&self, session: &Session) -> Result<Option<(u64, bool)>, Fault> {
        let answer = self.send(self.request(Method::HEAD, Self::upload(session)?)).await?;
        let nonsense =
            |why: &str| Err(Fault::new(Kind::Other, format!("{} contradicts itself: {why}", answer.place())));
        let length = self.length();
        match (answer.code(), wire::offset(&answer.fields)) {
            (200..=299, _) if wire::length(&answer.fields).is_some_and(|told| told != length) => {
                nonsense("the upload has another length")
            }
            (200..=299, Some(offset)) if offset > length => nonsense("it holds more than the file has"),
            (200..=299, Some(offset)) if offset < length && wire::complete(&answer.fields) == Some(true) => {
                Err(self.ended(&answer, offset))
            }
            (200..=299, Some(offset)) => {
                Ok(Some((offset, wire::complete(&answer.fields) == Some(true) && offset == length)))
            }
            (200..=299, None) => nonsense("it does not say how far the upload is"),
            (404 | 410, _) => Ok(None),
            _ => Err(answer.fault("say how far it is with")),
        }
    }

    async fn ask(&self, session: &Session) -> Result<State, Fault> {
        if let Some(published) = self.finished.borrow().clone() {
            return Ok(State::Done(published));
        }
        match self.look(session).await? {
            Some((offset, _)) => {
                self.unanswered.set(false);
                Ok(open(offset))
            }
            None if self.unanswered.get() => Err(self.unknown()),
            None => Ok(State::Gone),
        }
    }

    /// The last part left, its answer was lost, and the upload's URL is gone: it may be complete.
    fn unknown(&self) -> Fault {
        let text = "the last part was sent, its answer was lost, and the server no longer knows the upload: it may be complete";
        Fault::new(Kind::Unknown, text).hint("look at the server; --restart sends the file anew")
    }

    async fn send_part(&self, session: &Session, part: &Part) -> Result<Put, Fault> {
        let last = part.range.end == self.length();
        let answer = match self.send(self.append(session, part, last)?).await {
            Err(fault) if fault.kind == Kind::Network => {
                self.unanswered.set(last);
                return Ok(Put::Ambiguous(fault));
            }
            other => other?,
        };
        let (offset, complete) = (wire::offset(&answer.fields), wire::complete(&answer.fields));
        match answer.code() {
            200..=299 if complete == Some(true) && !(last && offset.is_none_or(|told| told >= part.range.end)) => {
                Err(self.ended(&answer, offset.unwrap_or(part.range.end)))
            }
            200..=299 => {
                let kept = offset.unwrap_or(part.range.end).min(part.range.end);
                if kept < part.range.start {
                    let text = format!("{} went back from byte {} to {kept}", answer.place(), part.range.start);
                    return Err(Fault::new(Kind::Other, text).hint("--restart begins the upload anew"));
                }
                self.stored.set(self.stored.get() + (kept - part.range.start));
                if last && kept == part.range.end && complete != Some(false) {
                    self.published(&answer);
                }
                Ok(Put::Stored(ByteRange::new(part.range.start, kept)))
            }
            // The target itself has spoken, and that is its last word on this upload.
            400.. if complete == Some(true) && answer.code() != 409 => Err(answer.fault("take")),
            409 => match offset {
                Some(offset) if offset != part.range.start => Ok(Put::Conflict(Held::Prefix(offset))),
                _ => Ok(Put::Ambiguous(answer.passing("take a part of"))),
            },
            413 | 423 | 401 | 407 => Err(answer.fault("take a part of")),
            404 | 410 => Ok(Put::Gone),
            408 | 425 | 429 | 500.. => Ok(Put::Ambiguous(answer.passing("take a part of"))),
            _ => Err(answer.fault("take a part of")),
        }
    }

    /// The target itself has answered before it had all: that is its last word on this upload.
    fn ended(&self, answer: &Answered, held: u64) -> Fault {
        let (place, length) = (answer.place(), self.length());
        let text = format!("{place} ended the upload after {held} of {length} bytes: it does not have the whole file");
        Fault::new(Kind::Refused, text).hint("look at the server; --restart sends the file anew")
    }

    fn append(&self, session: &Session, part: &Part, last: bool) -> Result<Request, Fault> {
        Ok(self.appending(Self::upload(session)?, part.range.start, last).body(part.body()))
    }

    fn appending(&self, url: Url, offset: u64, last: bool) -> Request {
        let (name, value) = self.draft().complete(last);
        let request = self
            .request(Method::PATCH, url)
            .header(HeaderName::from_static(wire::OFFSET), offset.to_string())
            .header(HeaderName::from_static(name), value);
        match self.draft().append_type() {
            Some(kind) => request.header(CONTENT_TYPE, kind),
            None => request,
        }
    }

    /// The answer that ends the upload: where the file is, if it says so. Its word is worth a count of bytes where it
    /// tells one.
    fn published(&self, answer: &Answered) -> Published {
        let told = [CONTENT_LOCATION, LOCATION].into_iter().find_map(|name| answer.field(name.as_str()));
        let place = told.and_then(|told| answer.url.join(told.trim()).ok());
        self.complete(place, wire::offset(&answer.fields) == Some(self.length()))
    }

    fn complete(&self, place: Option<Url>, counted: bool) -> Published {
        let place = place.unwrap_or_else(|| self.destination.url.clone());
        let published = Published { place, digests: Vec::new(), shows: counted.then(|| "size".into()) };
        *self.finished.borrow_mut() = Some(published.clone());
        published
    }

    async fn finish(&self, session: &Session) -> Result<Closed, Fault> {
        if let Some(published) = self.finished.borrow().clone() {
            return Ok(Closed::Published(published));
        }
        let stands = match self.look(session).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Closed::Ambiguous(fault)),
            other => other?,
        };
        let length = self.length();
        match stands {
            Some((offset, _)) if offset < length => Ok(Closed::Missing(ByteSet::of(ByteRange::new(offset, length)))),
            // All bytes are there. That it is the end has to be said, and the answer to that may be told again.
            Some((_, complete)) => {
                let answer = match self.send(self.appending(Self::upload(session)?, length, true)).await {
                    Err(fault) if fault.kind == Kind::Network => return Ok(Closed::Ambiguous(fault)),
                    other => other?,
                };
                match answer.code() {
                    200..=299 => {
                        // The question before has counted.
                        let published = Published { shows: Some("size".into()), ..self.published(&answer) };
                        *self.finished.borrow_mut() = Some(published.clone());
                        Ok(Closed::Published(published))
                    }
                    _ if complete => Ok(Closed::Published(self.complete(None, true))),
                    409 => Ok(Closed::Taken(answer.fault("publish"))),
                    _ => Err(answer.fault("publish")),
                }
            }
            None if self.unanswered.get() => Err(self.unknown()),
            None => Ok(Closed::Gone),
        }
    }

    async fn forget(&self, session: &Session) -> Result<(), Fault> {
        let Ok(url) = Self::upload(session) else { return Ok(()) };
        let answer = self.send(self.request(Method::DELETE, url)).await?;
        *self.finished.borrow_mut() = None;
        match answer.code() {
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(answer.fault("forget")),
        }
    }
}

fn open(offset: u64) -> State {
    State::Open(Standing { held: Held::Prefix(offset), joined: false, claim: None })
}

impl Remote for Ietf {
    fn protocol(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> String {
        let limits = self.limits.get().print();
        match self.draft.get() {
            Some(draft) => format!("the IETF's resumable upload, interop number {} ({limits})", draft.0),
            None => format!("the IETF's resumable upload ({limits})"),
        }
    }

    fn place(&self) -> Url {
        self.destination.url.clone()
    }

    fn terms(&self) -> Terms {
        let limits = self.limits.get();
        let most = limits.max_append_size.unwrap_or(u64::MAX).max(1);
        Terms {
            order: Order::Sequential,
            part: limits.min_append_size.unwrap_or(1).clamp(1, most)..=most,
            uniform: None,
            keeps_cut: true,
            multiple: 1,
            chunk: Some(CHUNK),
            chunk_max: None,
            parallel: 1,
            replace: false,
            repeat: Repeat::Safe,
            file_max: limits.max_size,
        }
    }

    fn expires(&self) -> Option<SystemTime> {
        self.expires.get()
    }

    fn prepare(&self) -> Session {
        let session = Session::default().with("protocol", NAME).with("key", crate::disk::token());
        match self.endpoints.first() {
            Some(endpoint) => session.with("endpoint", endpoint.as_str()),
            None => session,
        }
    }

    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        self.layout.set(Some(manifest.layout));
        Box::pin(async move {
            match session.text("upload") {
                Some(_) => Ok((session.clone(), self.ask(session).await?)),
                None => self.begin(session, manifest).await,
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
        Box::pin(self.finish(session))
    }

    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(self.forget(session))
    }
}
