//! File servers: what the protocols share that store a file by `PUT` (RFC 9110) and know WebDAV (RFC 4918) or a part
//! of it. Bytes go to a name of their own beside the destination and are moved onto it when they are whole, wherever
//! the server can move: then the final name never holds half a file, and a cut upload leaves the old file alone.

mod pieces;
mod proof;
mod put;

pub use pieces::{Pieces, Way};
pub use proof::{Proof, prove};
pub use put::Put;

use super::{Closed, Destination, Published, Remote, Session, State};
use crate::digest::Digest;
use crate::fault::{Fault, Kind};
use crate::net::{Lane, Net, Request, Response, same_origin};
use crate::record::IfExists;
use crate::wire::content_range::ContentRange;
use crate::wire::{digest_fields, percent, retry_after};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED,
    LOCATION, RANGE,
};
use http::{Method, StatusCode};
use std::rc::Rc;
use std::time::SystemTime;
use url::Url;

/// Plain `PUT`: the protocol's name, in records and for people.
pub const PUT: &str = "put";
/// `PUT` with `Content-Range`, as Apache and lighttpd honour it.
pub const PUT_RANGE: &str = "put-range";
/// `PATCH` with `X-Update-Range`, as SabreDAV and dufs have it.
pub const PATCH: &str = "patch";

/// No more of a server's explanation is read than this, in bytes.
const MAX_WORDS: usize = 64 << 10;

/// Whether a reply to `OPTIONS` announces a file server that speaks WebDAV.
pub fn announced(fields: &HeaderMap) -> bool {
    fields.contains_key("dav") && (allows(fields, "MOVE") || allows(fields, "PUT") || allows(fields, "PATCH"))
}

/// Whether a reply to `OPTIONS` lists `method`.
pub fn allows(fields: &HeaderMap, method: &str) -> bool {
    listed(fields, ALLOW.as_str(), method)
}

/// Whether the comma-separated field `name` lists `token`.
fn listed(fields: &HeaderMap, name: &str, token: &str) -> bool {
    let values = fields.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// What a file server said about itself, as one text: what was proven of it holds while this stays the same.
pub fn fingerprint(fields: &HeaderMap) -> String {
    let all = ["server", "dav", "allow", "ms-author-via"].iter().flat_map(|name| fields.get_all(*name));
    all.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join("; ")
}

/// One destination at a file server.
pub struct Shelf {
    net: Rc<Net>,
    destination: Destination,
    /// The destination's folder.
    folder: Url,
}

/// The client for `shelf` by this `protocol`, whose server has given this `proof`.
pub fn connect(shelf: Shelf, protocol: &str, proof: Proof) -> Result<Rc<dyn Remote>, Fault> {
    match proof.way.filter(|_| proof.moves) {
        _ if protocol == PUT => Ok(Rc::new(Put::new(shelf, proof.moves))),
        Some(way) if way.protocol() == protocol => Ok(Rc::new(Pieces::new(shelf, way))),
        _ => {
            let text = format!(
                "{} does not do what {protocol} needs: tried on a throw-away name, it {}",
                crate::net::shown(&shelf.folder),
                if proof.moves { "did not put the pieces together" } else { "could not move a file to another name" }
            );
            Err(Fault::new(Kind::Refused, text).hint("--protocol auto takes the best that it can do"))
        }
    }
}

/// What `HEAD` shows under a name.
#[derive(Debug, Clone, PartialEq)]
enum Look {
    /// A file.
    There(Seen),
    /// Nothing.
    Absent,
    /// The server does not let us look; with this status.
    Blind(u16),
}

/// What `HEAD` tells of a file.
#[derive(Debug, Clone, PartialEq, Default)]
struct Seen {
    length: Option<u64>,
    /// What tells this version from others, as one text.
    version: String,
    /// The strong entity tag.
    tag: Option<String>,
    digests: Vec<Digest>,
}

impl Look {
    /// As it is kept in a session, to see later whether the file under a name is still the same.
    fn text(&self) -> String {
        match self {
            Self::There(seen) => format!("{} {}", seen.length.map_or("?".into(), |n| n.to_string()), seen.version),
            Self::Absent => "nothing".into(),
            Self::Blind(status) => format!("blind {status}"),
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::There(seen) => seen.length,
            _ => None,
        }
    }
}

impl Shelf {
    /// The shelf that holds `destination`, whose folder answered at `folder`.
    pub fn new(net: Rc<Net>, destination: Destination, folder: Url) -> Self {
        Self { net, destination, folder }
    }

    fn request(&self, method: Method, url: Url) -> Request {
        Request::new(method, url).lane(Lane::Own)
    }

    async fn ask(&self, request: Request) -> Result<Response, Fault> {
        self.net.ask(&request, &self.destination.access).await
    }

    async fn send(&self, request: Request) -> Result<Reply, Fault> {
        Reply::read(self.ask(request).await?).await
    }

    /// Where the bytes of the upload called `key` wait until they are whole: beside the destination.
    fn beside(&self, key: &str) -> Result<Url, Fault> {
        let name = super::name(&self.destination.url)?;
        let (short, key) = (name.chars().take(80).collect::<String>(), key.get(..12).unwrap_or(key));
        self.sibling(&format!("{short}.onward-{key}.part"))
    }

    /// The URL of `name` in the folder.
    fn sibling(&self, name: &str) -> Result<Url, Fault> {
        let mut url = super::folder(&self.folder)?;
        url.set_path(&format!("{}{}", url.path(), percent::encode(name.as_bytes(), "-._~")));
        Ok(url)
    }

    /// The URL that a session names, which must be of the destination's origin: a record is outside data.
    fn told(&self, session: &Session) -> Result<Url, Fault> {
        let url = session.text("upload").and_then(|text| Url::parse(text).ok());
        url.filter(|url| same_origin(url, &self.destination.url))
            .ok_or_else(|| Fault::new(Kind::Other, "the record holds no upload to go on with").hint("start it anew"))
    }

    async fn look(&self, url: &Url) -> Result<Look, Fault> {
        let request = self
            .request(Method::HEAD, url.clone())
            .header(ACCEPT_ENCODING, "identity")
            .header(CACHE_CONTROL, "no-cache")
            .header(HeaderName::from_static("want-repr-digest"), "sha-256=10, sha-512=3, md5=1");
        let response = self.ask(request).await?;
        let (status, headers) = (response.status.as_u16(), response.headers);
        Ok(match status {
            200 => match seen(&headers) {
                seen if seen.length.is_some() => Look::There(seen),
                seen => Look::There(Seen { length: self.length(url).await?, ..seen }),
            },
            404 | 410 => Look::Absent,
            408 | 425 | 429 | 500 | 502..=504 => {
                let wait = retry_after::wait(&headers, SystemTime::now());
                let text = format!("{} answered {status} when asked what it holds", crate::net::shown(url));
                return Err(Fault::status(status, text).wait(wait));
            }
            _ => Look::Blind(status),
        })
    }

    /// The length of a file by a `GET` of its first byte: Apache's `HEAD` is silent about that of an empty one.
    async fn length(&self, url: &Url) -> Result<Option<u64>, Fault> {
        let request = self.request(Method::GET, url.clone()).header(ACCEPT_ENCODING, "identity");
        let response = self.ask(request.header(RANGE, "bytes=0-0")).await?;
        let told = response.field(CONTENT_RANGE).and_then(ContentRange::parse).and_then(|told| told.total());
        Ok(match response.status.as_u16() {
            200 => seen(&response.headers).length,
            206 | 416 => told,
            _ => None,
        })
    }

    /// Moves what is whole onto the destination.
    async fn publish(&self, from: &Url, if_exists: IfExists, digests: Vec<Digest>) -> Result<Closed, Fault> {
        let to = &self.destination.url;
        let overwrite = if if_exists == IfExists::Replace { "T" } else { "F" };
        if if_exists == IfExists::Fail && matches!(self.look(to).await?, Look::There(_)) {
            // Some servers ignore `Overwrite: F`.
            return Ok(Closed::Taken(taken(to)));
        }
        let request = self
            .request(Method::from_bytes(b"MOVE").unwrap_or_default(), from.clone())
            .header(HeaderName::from_static("destination"), to.as_str())
            .header(HeaderName::from_static("overwrite"), overwrite);
        let reply = match self.send(request).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Closed::Ambiguous(fault)),
            other => other?,
        };
        match reply.status.as_u16() {
            200 | 201 | 204 => Ok(Closed::Published(Published { place: to.clone(), digests, shows: size() })),
            412 if if_exists == IfExists::Fail => Ok(Closed::Taken(taken(to))),
            404 | 410 => Ok(Closed::Gone),
            _ => {
                let fault = reply.fault("give its final name to");
                Err(fault.hint(format!("the whole file is there as {}", crate::net::shown(from))))
            }
        }
    }

    /// Removes what is under `url`.
    async fn remove(&self, url: &Url) -> Result<(), Fault> {
        let reply = self.send(self.request(Method::DELETE, url.clone())).await?;
        match reply.status.as_u16() {
            200 | 202 | 204 | 404 | 410 => Ok(()),
            _ => Err(reply.fault("remove")),
        }
    }

    /// What an upload is whose own name is gone: finished, if what the destination holds has its length and is not what
    /// was there when it began.
    async fn moved(&self, session: &Session, length: u64) -> Result<State, Fault> {
        let there = self.look(&self.destination.url).await?;
        let news = session.text("was").is_some_and(|was| was != there.text());
        Ok(match there {
            Look::There(seen) if news && seen.length == Some(length) => {
                State::Done(Published { place: self.destination.url.clone(), digests: seen.digests, shows: size() })
            }
            _ => State::Gone,
        })
    }
}

/// What a length that was looked up is worth as a proof.
fn size() -> Option<String> {
    Some("size".into())
}

/// The fault that a finished file has the name.
fn taken(url: &Url) -> Fault {
    Fault::new(Kind::Refused, format!("{} is there already", crate::net::shown(url)))
}

fn seen(headers: &HeaderMap) -> Seen {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = text(ETAG).map(str::to_string);
    let versions: Vec<&str> = [ETAG, LAST_MODIFIED].into_iter().filter_map(text).collect();
    Seen {
        length: text(CONTENT_LENGTH).and_then(|value| value.trim().parse().ok()),
        // A weak tag may become a strong one of the same version, and the other way round.
        version: versions.join(" ").replace("W/", ""),
        tag: tag.filter(|tag| tag.starts_with('"')),
        digests: digest_fields::offered(headers, false).whole.into_iter().map(|offer| offer.digest).collect(),
    }
}

/// An answer, with as much of its words as matters.
struct Reply {
    status: StatusCode,
    url: Url,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Reply {
    async fn read(response: Response) -> Result<Self, Fault> {
        let (status, url, headers) = (response.status, response.url.clone(), response.headers.clone());
        // A server that goes on and on, or breaks off here, has said its status all the same.
        let body = response.bytes(MAX_WORDS).await.unwrap_or_default();
        Ok(Self { status, url, headers, body })
    }

    /// Where the file was stored instead of `asked`, by a server that never overwrites.
    fn elsewhere(&self, asked: &Url) -> Option<Url> {
        let last = |url: &Url| url.path_segments().and_then(|mut all| all.next_back().map(str::to_string));
        let told = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        told.and_then(|told| asked.join(told).ok()).filter(|url| same_origin(url, asked) && last(url) != last(asked))
    }

    /// The fault that this answer means when the server was asked to do `what` with the file.
    fn fault(&self, what: &str) -> Fault {
        let status = self.status.as_u16();
        let (place, words) = (crate::net::shown(&self.url), self.status.canonical_reason().unwrap_or("no words"));
        let text = format!("{place}: the server answered {status} ({words}) when asked to {what} the file");
        let fault = Fault::status(status, text).wait(retry_after::wait(&self.headers, SystemTime::now()));
        match status {
            401 => fault.hint("give credentials with -u, --token-file, --netrc or -H"),
            403 => fault.hint("this login may not write there"),
            404 | 409 => fault.hint("the folder has to be there before a file can be put into it"),
            405 | 501 => fault.hint("no files are taken at this place; check the URL"),
            415 => fault.hint("the server takes no files of this name or kind"),
            423 => Fault { kind: Kind::Busy, ..fault },
            _ => fault,
        }
    }
}
