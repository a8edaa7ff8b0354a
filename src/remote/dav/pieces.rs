//! File servers that take a file piece by piece: `PUT` with `Content-Range` (Apache's mod_dav, lighttpd), and `PATCH`
//! with `X-Update-Range` (SabreDAV, dufs).
//!
//! None of them is a standard, and a server that does not know `Content-Range` replaces the file by the piece: so it is
//! spoken only after a proof on a throw-away name ([`super::prove`]). Pieces go to a name beside the destination, in
//! order, and `HEAD` tells how many bytes are there. Every piece names its place, dufs' included: its `append` would
//! store a piece twice that is repeated, or that an earlier process still had under way, so a piece at the very end
//! begins one byte before it. What a name holds is moved onto the destination when it is whole.

use super::super::{
    Answer, Closed, Held, Manifest, Order, Part, Put, Remote, Repeat, Session, Show, Standing, State, Terms,
};
use super::{Look, Reply, Shelf, taken};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::fault::{Fault, Kind};
use crate::net::{Body, Request};
use crate::record::IfExists;
use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use std::cell::Cell;
use url::Url;

/// How a server is told where a piece belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `PUT` with `Content-Range`.
    Range,
    /// `PATCH` as SabreDAV has it.
    Sabre,
    /// `PATCH` as dufs has it.
    Dufs,
}

impl Way {
    /// The protocol that it belongs to.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Range => super::PUT_RANGE,
            Self::Sabre | Self::Dufs => super::PATCH,
        }
    }

    /// Its name, in records and notes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Sabre => "sabre",
            Self::Dufs => "dufs",
        }
    }

    /// The way of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Range, Self::Sabre, Self::Dufs].into_iter().find(|way| way.name() == name)
    }

    /// What a name is begun with. dufs takes no range in an empty file, so one byte stands there that the first piece
    /// replaces.
    pub(super) fn placeholder(self, length: u64) -> &'static [u8] {
        if self == Self::Dufs && length > 0 { b"\0" } else { b"" }
    }

    /// How many of the `there` bytes of a name are of the file.
    fn prefix(self, there: u64) -> u64 {
        if self == Self::Dufs && there == 1 { 0 } else { there }
    }

    /// Where to begin so that bytes get to `start`, with `there` in place.
    fn from(self, start: u64, there: u64) -> u64 {
        if self == Self::Dufs && start >= there { start.saturating_sub(1) } else { start }
    }

    /// The request that writes `body` to `range` of a name, of `total` bytes in the end.
    pub(super) fn write(self, request: Request, range: ByteRange, total: u64, body: Body) -> Request {
        let (first, last) = (range.start, range.end - 1);
        let update = HeaderName::from_static("x-update-range");
        let request = match self {
            Self::Range => request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_RANGE, format!("bytes {first}-{last}/{total}")),
            Self::Sabre => request
                .header(CONTENT_TYPE, "application/x-sabredav-partialupdate")
                .header(update, format!("bytes={first}-{last}")),
            Self::Dufs => request
                .header(CONTENT_TYPE, "application/x-sabredav-partialupdate")
                .header(update, format!("bytes={first}-")),
        };
        Request { method: self.method(), ..request.body(body) }
    }

    fn method(self) -> Method {
        if self == Self::Range { Method::PUT } else { Method::PATCH }
    }
}

/// The client's end, bound to one destination.
pub struct Pieces {
    shelf: Shelf,
    way: Way,
    length: Cell<u64>,
    if_exists: Cell<IfExists>,
    /// How many bytes the name holds, where it was asked or told.
    there: Cell<Option<u64>>,
    /// Whether a piece behind others was seen to be added in this run.
    added: Cell<bool>,
}

impl Pieces {
    /// Puts onto `shelf`, whose server goes this `way`.
    pub fn new(shelf: Shelf, way: Way) -> Self {
        Self {
            shelf,
            way,
            length: Cell::new(0),
            if_exists: Cell::new(IfExists::Fail),
            there: Cell::new(None),
            added: Cell::new(false),
        }
    }

    async fn begin(&self, session: &Session) -> Result<(Session, State), Fault> {
        let final_url = &self.shelf.destination.url;
        let there = self.shelf.look(final_url).await?;
        if let (Look::There(seen), IfExists::Fail) = (&there, self.if_exists.get()) {
            return Ok((session.clone(), State::Taken(seen.length, taken(final_url))));
        }
        let upload = self.shelf.beside(session.text("key").unwrap_or_default())?;
        let session = session.clone().with("upload", upload.as_str()).with("was", there.text());
        // An answer to an earlier opening may have been lost.
        if self.shelf.look(&upload).await? == Look::Absent {
            self.create(&upload).await?;
        }
        let state = self.state(&session).await?;
        Ok((session, state))
    }

    async fn create(&self, url: &Url) -> Result<(), Fault> {
        let body = bytes::Bytes::from_static(self.way.placeholder(self.length.get()));
        let request = self.shelf.request(Method::PUT, url.clone());
        let request = match body.is_empty() {
            true => request.header(CONTENT_LENGTH, "0"),
            false => request.body(Body::Bytes(body)),
        };
        let reply = self.shelf.send(request).await?;
        match reply.status.as_u16() {
            200 | 201 | 204 => Ok(()),
            _ => Err(reply.fault("take")),
        }
    }

    async fn state(&self, session: &Session) -> Result<State, Fault> {
        let url = self.shelf.told(session)?;
        Ok(match self.shelf.look(&url).await? {
            Look::Absent => self.shelf.moved(session, self.length.get()).await?,
            look => {
                let there = self.prefix(&url, &look)?;
                if there > self.length.get() {
                    // Of no use: begun again under another name.
                    self.shelf.remove(&url).await?;
                    return Ok(State::Gone);
                }
                self.there.set(Some(there));
                State::Open(Standing { held: Held::Prefix(there), joined: false, claim: None })
            }
        })
    }

    fn prefix(&self, url: &Url, look: &Look) -> Result<u64, Fault> {
        look.length().map(|there| self.way.prefix(there)).ok_or_else(|| {
            let text = format!("{} does not say how many bytes it holds", crate::net::shown(url));
            Fault::new(Kind::Refused, text).hint("--protocol put sends the file in one request")
        })
    }

    async fn send_part(&self, session: &Session, part: &Part) -> Result<Put, Fault> {
        let url = self.shelf.told(session)?;
        let there = match self.there.get() {
            Some(there) => there,
            None => match self.state(session).await? {
                State::Open(_) => self.there.get().unwrap_or(0),
                _ => return Ok(Put::Gone),
            },
        };
        if part.range.start > there {
            return Ok(Put::Conflict(Held::Prefix(there)));
        }
        let range = ByteRange::new(self.way.from(part.range.start, there), part.range.end);
        let body = Part { range, ..part.clone() }.body();
        let request = self.way.write(self.shelf.request(Method::PUT, url.clone()), range, part.layout.length(), body);
        let reply = match self.shelf.send(request).await {
            Err(fault) if fault.kind == Kind::Network => {
                self.there.set(None);
                return Ok(Put::Ambiguous(fault));
            }
            other => other?,
        };
        match reply.status.as_u16() {
            200 | 201 | 204 => self.stored(&url, part, there).await,
            404 | 410 => Ok(Put::Gone),
            400 | 409 | 416 => self.elsewhere(&url, there, &reply).await,
            _ => Err(reply.fault("take a piece of")),
        }
    }

    /// The server says that it has the piece. The first one behind others shows whether it is added to them.
    async fn stored(&self, url: &Url, part: &Part, there: u64) -> Result<Put, Fault> {
        let now = there.max(part.range.end);
        if !self.added.get() && part.range.start > 0 {
            let seen = self.shelf.look(url).await?.length();
            if seen.is_none_or(|seen| seen < now) {
                self.there.set(None);
                let text = format!("{} does not add pieces to a file: it replaces it", crate::net::shown(url));
                return Err(Fault::new(Kind::Refused, text).hint("--protocol put sends the file in one request"));
            }
            self.added.set(true);
        }
        self.there.set(Some(now));
        Ok(Put::Stored(part.range))
    }

    /// A piece was refused because of its place: where does the name end?
    async fn elsewhere(&self, url: &Url, presumed: u64, reply: &Reply) -> Result<Put, Fault> {
        let look = self.shelf.look(url).await?;
        if look == Look::Absent {
            return Ok(Put::Gone);
        }
        let there = self.prefix(url, &look)?;
        self.there.set(Some(there));
        match there == presumed {
            true => Err(reply.fault("take a piece of")),
            false => Ok(Put::Conflict(Held::Prefix(there))),
        }
    }

    async fn finish(&self, session: &Session, digests: &[Digest]) -> Result<Closed, Fault> {
        let (url, length) = (self.shelf.told(session)?, self.length.get());
        let look = self.shelf.look(&url).await?;
        if look == Look::Absent {
            return Ok(match self.shelf.moved(session, length).await? {
                State::Done(published) => Closed::Published(published),
                _ => Closed::Gone,
            });
        }
        let there = look.length().unwrap_or(0);
        if there < length {
            self.there.set(Some(self.way.prefix(there)));
            return Ok(Closed::Missing(ByteSet::of(ByteRange::new(self.way.prefix(there), length))));
        }
        if there > length {
            self.shelf.remove(&url).await?;
            return Ok(Closed::Gone);
        }
        let mut shown = if let Look::There(seen) = look { seen.digests } else { Vec::new() };
        if self.way == Way::Dufs && digests.iter().any(|digest| digest.algorithm == Algorithm::Sha256) {
            shown.extend(self.hash(&url).await?);
        }
        let differs = |shown: &Digest| digests.iter().any(|own| own.algorithm == shown.algorithm && own != shown);
        if shown.iter().any(differs) {
            return Ok(Closed::Suspect(ByteSet::new()));
        }
        self.shelf.publish(&url, self.if_exists.get(), shown).await
    }

    /// The SHA-256 that dufs computes of a file when it is asked to; `None` where it cannot.
    async fn hash(&self, url: &Url) -> Result<Option<Digest>, Fault> {
        let mut url = url.clone();
        url.set_query(Some("hash"));
        let reply = self.shelf.send(self.shelf.request(Method::GET, url)).await?;
        let text = std::str::from_utf8(&reply.body).unwrap_or_default().trim();
        Ok(Digest::from_hex(Algorithm::Sha256, text).filter(|_| reply.status.as_u16() == 200))
    }
}

impl Remote for Pieces {
    fn protocol(&self) -> &'static str {
        self.way.protocol()
    }

    fn place(&self) -> Url {
        self.shelf.destination.url.clone()
    }

    fn about(&self) -> String {
        match self.way {
            Way::Range => {
                "PUT with Content-Range: pieces in order, to a name of their own that is moved when whole".into()
            }
            Way::Sabre | Way::Dufs => {
                "PATCH with X-Update-Range: pieces in order, to a name of their own that is moved when whole".into()
            }
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            order: Order::Sequential,
            part: 1..=u64::MAX,
            uniform: None,
            // lighttpd and PHP gather a request before they write any of it.
            keeps_cut: self.way == Way::Dufs,
            multiple: 1,
            chunk: None,
            chunk_max: None,
            parallel: 1,
            replace: true,
            repeat: Repeat::Safe,
            file_max: None,
        }
    }

    fn may_show_digest(&self) -> bool {
        true
    }

    fn prepare(&self) -> Session {
        let session = Session::default().with("protocol", self.protocol()).with("way", self.way.name());
        session.with("key", crate::disk::token())
    }

    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        self.length.set(manifest.layout.length());
        self.if_exists.set(manifest.if_exists);
        Box::pin(async move {
            match session.text("upload") {
                Some(_) => Ok((session.clone(), self.state(session).await?)),
                None => self.begin(session).await,
            }
        })
    }

    fn held<'a>(&'a self, session: &'a Session) -> Answer<'a, State> {
        Box::pin(self.state(session))
    }

    fn put<'a>(&'a self, session: &'a Session, part: &'a Part) -> Answer<'a, Put> {
        Box::pin(self.send_part(session, part))
    }

    fn close<'a>(&'a self, session: &'a Session, digests: &'a [Digest], _: &'a [Algorithm]) -> Answer<'a, Closed> {
        Box::pin(self.finish(session, digests))
    }

    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(async move {
            self.there.set(None);
            match session.text("upload") {
                Some(_) => self.shelf.remove(&self.shelf.told(session)?).await,
                None => Ok(()),
            }
        })
    }

    fn proves(&self) -> Option<Algorithm> {
        (self.way == Way::Dufs).then_some(Algorithm::Sha256)
    }

    fn show(&self) -> Option<&dyn Show> {
        Some(self)
    }
}

impl Show for Pieces {
    fn bytes<'a>(&'a self, session: &'a Session, range: ByteRange) -> Answer<'a, Option<bytes::Bytes>> {
        Box::pin(async move {
            let (net, destination) = (&self.shelf.net, &self.shelf.destination);
            crate::remote::shown(net, destination, self.shelf.told(session)?, range, self.length.get()).await
        })
    }
}
