//! Where uploads go: the one trait that every upload protocol stands behind, one protocol per file.
//!
//! A protocol file speaks the wire and nothing else. It never sleeps and never tries again: it says what happened, and
//! the engine decides. What a protocol can do is data ([`Terms`]) checked before the first
//! byte; what only some can do is a trait of its own ([`Identify`], [`Digests`]), handed out where it exists.
//!
//! The server-side shapes out there (an offset, a set of parts, a yes or no for each part, nothing at all) are the
//! three cases of [`Held`]; "I do not know whether it arrived" is an answer of its own ([`Put::Ambiguous`]) because a
//! server that appends would store a repeated part twice.

use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Crc, Digest};
use crate::fault::{Fault, Kind};
use crate::net::{Access, Body, Gauge, Lane, Net, Request, Warm};
use crate::record::IfExists;
use crate::wire::content_range::ContentRange;
use crate::wire::percent;
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use http::{Method, StatusCode};
use std::fs::File;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use url::Url;

mod answer;
mod choose;
pub mod dav;
pub mod dialect;
mod endpoint;
pub mod handshake;
pub mod rufh;
pub mod tus;
pub mod up2k;

pub use choose::{Manner, Protocol, Remotes, Wish};

/// What a call to a remote gives. Uploads run on one thread, so futures need not be `Send`.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + 'a>>;

/// All that a protocol needs to find its upload again, opaque to everybody else: the record's `[session]`. It may hold
/// a capability, so it is never shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session(pub toml::Table);

impl Session {
    /// The text under `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// The number that is written as text under `key`.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }

    /// The same with `value` under `key`.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), toml::Value::String(value.into()));
        self
    }
}

/// In which order parts may arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In any, several at once.
    Any,
    /// One after the other from the front; the next only after the answer to the one before.
    Sequential,
}

/// What sending the same part twice does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// No harm.
    Safe,
    /// It is appended twice: never done unless the remote says that it does not have it.
    Appends,
}

/// What a remote asks of its client and can do for it. Known once it was discovered; opening may narrow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// In which order parts may arrive.
    pub order: Order,
    /// Bytes of one part; the last part of a file may be shorter. A part never crosses a chunk's border, so the
    /// chunk size is a multiple of the least part.
    pub part: RangeInclusive<u64>,
    /// Every part but the last of the file has exactly this many bytes, where the remote insists on it.
    pub uniform: Option<u64>,
    /// Whether of a part that was cut on its way the front counts: then little is lost by large ones.
    pub keeps_cut: bool,
    /// Every part is a multiple of this many bytes, the last one of a chunk excepted.
    pub multiple: u64,
    /// The chunk size in bytes where nobody asks for one; `None` leaves it to the file's length.
    pub chunk: Option<u64>,
    /// The largest chunk size in bytes, where there is a limit.
    pub chunk_max: Option<u64>,
    /// Parts that may be under way at once.
    pub parallel: usize,
    /// Whether bytes that are held can be sent anew because the source changed.
    pub replace: bool,
    /// What sending the same part twice does.
    pub repeat: Repeat,
    /// The largest file in bytes, where there is a limit.
    pub file_max: Option<u64>,
}

/// What only some protocols ask for; what holds for most is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Habits {
    /// The bytes behind the last whole part belong to it, so that it is up to twice as long.
    pub merged: bool,
    /// The last part of the file is sent after the answers to all others.
    pub last_last: bool,
    /// That the remote claims to hold bytes does not count without a receipt of ours: it only knows that something of
    /// that name is there.
    pub unproven: bool,
    /// It can never say what it holds.
    pub silent: bool,
    /// A part of unknown fate is left behind by beginning anew under another name, without asking anybody.
    pub begins_anew: bool,
    /// The digest that must be known before the upload is opened.
    pub early: Option<Early>,
}

/// A digest that identifies the content to the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Early {
    /// By which algorithm.
    pub algorithm: crate::digest::Algorithm,
    /// Over so many of the first bytes; over all when there is no number.
    pub first: Option<u64>,
}

/// A field of a form, as the user gave it. The value may be a secret, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// What is to be stored, as the remote has to know it before the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The source's own name.
    pub name: String,
    /// How it is cut, length and chunk size; frozen.
    pub layout: Layout,
    /// What to do when the name is taken.
    pub if_exists: IfExists,
    /// The source's modification time.
    pub modified: Option<SystemTime>,
    /// The MD5 of the content, where it is already known.
    pub md5: Option<Digest>,
    /// The digest that the remote's habits ask for.
    pub early: Option<Digest>,
    /// Digests of the whole that will be compared at the end; the remote may compute them beside the transfer.
    pub want: Vec<crate::digest::Algorithm>,
}

impl Manifest {
    /// A file that is cut like this, of which nothing else is known.
    pub fn of(layout: Layout) -> Self {
        Self {
            name: String::new(),
            layout,
            if_exists: IfExists::Fail,
            modified: None,
            md5: None,
            early: None,
            want: Vec::new(),
        }
    }
}

/// What a remote says that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// These bytes.
    Bytes(ByteSet),
    /// This many from the front.
    Prefix(u64),
    /// It cannot tell: the receipts in the record are all there is.
    Unknown,
}

/// An unfinished upload as the remote sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// What it holds.
    pub held: Held,
    /// Whether this upload was begun by somebody else and joined by a proof: then it is not ours to delete, and its
    /// bytes are compared before they count.
    pub joined: bool,
    /// Equal content that the remote may hold elsewhere.
    pub claim: Option<Claim>,
}

/// An offer of content that the remote may already hold, to be taken up by proving that one has it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whether all of it is there; otherwise it is another unfinished upload.
    pub complete: bool,
    /// What the proof starts with.
    pub nonce: Vec<u8>,
    /// Which bytes to prove.
    pub ranges: ByteSet,
}

pub use crate::event::{EXISTS, SIZE};

/// A file that is complete at the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where.
    pub place: Url,
    /// Digests of the whole as the remote computed them.
    pub digests: Vec<Digest>,
    /// How much its word is worth where it shows no digest: [`EXISTS`], [`SIZE`], or `"sha-1 of every part"`; `None`: it has
    /// taken the upload and says no more.
    pub shows: Option<String>,
}

/// How far an upload is, at [`Remote::open`] and [`Remote::held`].
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Bytes may be sent.
    Open(Standing),
    /// All of it is there and is being checked; ask again after this time.
    Checking(Duration),
    /// Complete.
    Done(Published),
    /// A finished file has the name; its length, where told. Nothing was begun.
    Taken(Option<u64>, Fault),
    /// There is no such upload any more: begin anew.
    Gone,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq)]
pub enum Put {
    /// These bytes of it count and survive a power cut: all of them, or a front part of them.
    Stored(ByteRange),
    /// Something of it left and no answer came: ask before sending it again.
    Ambiguous(Fault),
    /// The remote holds other bytes there. They count only once they were replaced.
    Differs,
    /// What the remote received is not what was promised: damaged on the way, or the source changed under the send.
    Damaged,
    /// The remote stands elsewhere than the part presumes.
    Conflict(Held),
    /// There is no such upload any more.
    Gone,
}

/// What became of the whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Closed {
    /// It is stored under its name.
    Published(Published),
    /// It is being checked: ask [`Remote::held`] after this time.
    Pending(Duration),
    /// These bytes are missing.
    Missing(ByteSet),
    /// The whole does not fit its digest; these bytes may be wrong (all of them when the set is empty).
    Suspect(ByteSet),
    /// The name was taken meanwhile; the upload stays whole.
    Taken(Fault),
    /// It may be published or not: ask before closing again.
    Ambiguous(Fault),
    /// There is no such upload any more.
    Gone,
}

/// One part on its way.
#[derive(Clone)]
pub struct Part {
    /// Which bytes; within one chunk.
    pub range: ByteRange,
    /// How the file is cut.
    pub layout: Layout,
    /// The checksum of the bytes, from a first read.
    pub crc: Crc,
    /// The source.
    pub file: Arc<File>,
    /// What is still in memory of that first read.
    pub warm: Warm,
    /// Told of every block that is sent.
    pub gauge: Arc<dyn Gauge>,
    /// Send it anew although the remote holds bytes there: the source changed.
    pub replace: bool,
}

impl Part {
    /// The same, and another gauge is told of what goes out.
    pub fn body_seen_by(&self, gauge: Arc<dyn Gauge>) -> Body {
        Body::File { file: self.file.clone(), range: self.range, gauge, warm: self.warm.clone() }
    }

    /// The bytes as a request's content.
    pub fn body(&self) -> Body {
        match self.range.is_empty() {
            true => Body::Empty,
            false => self.body_seen_by(self.gauge.clone()),
        }
    }
}

/// One upload protocol, bound to one destination.
pub trait Remote {
    /// The protocol's name, for people and for the record.
    fn protocol(&self) -> &'static str;

    /// What is spoken with this server, for people: the protocol, its version and what matters of its abilities.
    fn about(&self) -> String {
        self.protocol().into()
    }

    /// The destination: what it was told to be, or what the remote said.
    fn place(&self) -> Url;

    /// What it asks and can.
    fn terms(&self) -> Terms;

    /// The chunk size for a file of `length` bytes where nobody asks for one; `None` leaves it to [`Terms::chunk`].
    fn chunk_for(&self, _length: u64) -> Option<u64> {
        None
    }

    /// When the remote forgets the unfinished upload, where it has said so.
    fn expires(&self) -> Option<SystemTime> {
        None
    }

    /// Whether a session without its upload, opened again, finds that upload by its key.
    fn finds_again(&self) -> bool {
        false
    }

    /// What it asks beyond its terms.
    fn habits(&self) -> Habits {
        Habits::default()
    }

    /// Told how long the file is, before its terms are asked for.
    fn expect(&self, _length: u64) {}

    /// Cuts the file into parts half as large from now on, in a session yet to be prepared; `false` when it cannot.
    fn halve(&self) -> bool {
        false
    }

    /// What must be given again to go on, beside what lets one in.
    fn needs(&self) -> Vec<String> {
        Vec::new()
    }

    /// The session as the remote wants it from now on, when the answer to the last part or closing has changed it.
    fn amended(&self) -> Option<Session> {
        None
    }

    /// Whether the first bytes can go along with the opening of a new upload.
    fn takes_front(&self) -> bool {
        false
    }

    /// Hands over the first part, before the opening that it can go along with; `None` takes it back.
    fn offer(&self, _front: Option<Part>) {}

    /// The session to save before the closing, where a closing whose answer is lost must not be done again.
    fn closing(&self, _session: &Session) -> Option<Session> {
        None
    }

    /// Whether the upload of `session` was closed and nobody heard what came of it, where the remote has no way to say it.
    fn end_is_unknown(&self, _session: &Session) -> bool {
        false
    }

    /// A session for a new upload. Pure: it is saved before anything is sent, so that a lost answer leaves no orphan.
    fn prepare(&self) -> Session;

    /// Begins the upload of `session`, or finds it again. Gives the session to save from now on.
    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)>;

    /// How far the upload is.
    fn held<'a>(&'a self, session: &'a Session) -> Answer<'a, State>;

    /// Sends one part.
    fn put<'a>(&'a self, session: &'a Session, part: &'a Part) -> Answer<'a, Put>;

    /// Says that all parts are there. `digests` are of the whole; of those in `want` the remote's own are asked for.
    fn close<'a>(
        &'a self,
        session: &'a Session,
        digests: &'a [Digest],
        want: &'a [crate::digest::Algorithm],
    ) -> Answer<'a, Closed>;

    /// Forgets the upload. Only ever called because a person said so.
    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()>;

    /// What the user has to know before the first byte, one sentence.
    fn caveat(&self) -> Option<String> {
        None
    }

    /// The chunk size in bytes of a file of `length` bytes, where the protocol leaves no choice.
    fn chunk_size(&self, _length: u64) -> Option<u64> {
        None
    }

    /// The ability to take the content's identity late, where there is one.
    fn identify(&self) -> Option<&dyn Identify> {
        None
    }

    /// The ability to show digests of what is held, where there is one.
    fn digests(&self) -> Option<&dyn Digests> {
        None
    }

    /// The digest of the whole that it can show at the end: worth computing beside the transfer.
    fn proves(&self) -> Option<Algorithm> {
        None
    }

    /// Whether it may tell some digest of the whole at the end, so that having one of a small file is worth it.
    fn may_show_digest(&self) -> bool {
        false
    }

    /// The need to know all chunks by their content before the first byte, where there is one.
    fn by_content(&self) -> Option<&dyn ByContent> {
        None
    }

    /// The ability to show the bytes that are held, where there is one.
    fn show(&self) -> Option<&dyn Show> {
        None
    }
}

/// Remotes that call chunks by their content: what they hold is what the source has, whatever became of it since.
pub trait ByContent {
    /// The digest that chunks are called by.
    fn algorithm(&self) -> Algorithm;

    /// Takes the digests of all chunks, in order, before the upload is opened.
    fn take(&self, digests: &[Digest]);
}

/// Remotes that show the bytes they hold of an unfinished upload, so that samples of them can be compared.
pub trait Show {
    /// The bytes of `range`; `None` where they cannot be shown.
    fn bytes<'a>(&'a self, session: &'a Session, range: ByteRange) -> Answer<'a, Option<bytes::Bytes>>;
}

/// Remotes that may find equal content once they know the MD5, whenever it comes.
pub trait Identify {
    /// Tells the MD5 of the content.
    fn identify<'a>(&'a self, session: &'a Session, md5: &'a Digest) -> Answer<'a, State>;

    /// Takes up `claim` with the sha-256 over its nonce and its ranges. Gives the session to go on with, which may
    /// be another upload's. `None`: the proof was not taken, go on as before.
    fn join<'a>(
        &'a self,
        session: &'a Session,
        claim: &'a Claim,
        proof: &'a Digest,
    ) -> Answer<'a, Option<(Session, State)>>;
}

/// Remotes that show the digests of chunks they hold.
pub trait Digests {
    /// The CRC-64/NVME of those of `chunks` that are held whole, by index.
    fn digests<'a>(&'a self, session: &'a Session, chunks: &'a IndexSet) -> Answer<'a, Vec<(u64, u64)>>;
}

/// A destination as the user gave it, with what lets one in.
#[derive(Clone)]
pub struct Destination {
    /// The URL of the file to be, logins taken out.
    pub url: Url,
    /// The destination to the letter, where this run was given it: a protocol whose uploads are made at one URL, whatever
    /// the files are called, makes them there.
    pub base: Option<Url>,
    /// What the user gave for its origin.
    pub access: Access,
}

/// What a server said about itself.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The folder that answered: the destination's own, or where it redirected to.
    pub folder: Url,
    /// The fields of its reply; none when it was not asked.
    pub fields: http::HeaderMap,
}

/// The bytes of `range` of what is under `url` and has `length` bytes, where the server shows them.
async fn shown(
    net: &Net,
    destination: &Destination,
    url: Url,
    range: ByteRange,
    length: u64,
) -> Result<Option<bytes::Bytes>, Fault> {
    let request = Request::new(Method::GET, url)
        .lane(Lane::Own)
        .header(ACCEPT_ENCODING, "identity")
        .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
    let response = net.ask(&request, &destination.access).await?;
    let told = response.field(CONTENT_RANGE).and_then(ContentRange::parse);
    let all = response.status == StatusCode::OK && range.start == 0 && range.end == length;
    let part = matches!(told, Some(ContentRange::Part { range: told, .. }) if told == range);
    if !(all || response.status == StatusCode::PARTIAL_CONTENT && part) {
        return Ok(None);
    }
    Ok(Some(response.bytes(range.len() as usize).await?).filter(|bytes| bytes.len() as u64 == range.len()))
}

/// The folder of a destination: its URL without the last segment, the query and the fragment.
pub fn folder(url: &Url) -> Result<Url, Fault> {
    let mut folder = url.join(".").map_err(|_| no_file(url))?;
    folder.set_query(None);
    folder.set_fragment(None);
    Ok(folder)
}

/// The name of a destination in its folder: the last segment of its path, decoded.
pub fn name(url: &Url) -> Result<String, Fault> {
    let segment = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let decoded = percent::decode(segment.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.filter(|name| !name.is_empty()).ok_or_else(|| no_file(url))
}

fn no_file(url: &Url) -> Fault {
    Fault::new(Kind::Usage, format!("{} does not name a file", crate::net::shown(url)))
        .hint("end the URL with the file's name, or with / to keep the local one")
}
