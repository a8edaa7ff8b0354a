//! The chunk-index handshake, version 1: its documents, fields and paths, read and printed for both ends.
//!
//! The protocol is described in prose by the handshake document; this file is its grammar and nothing else. Where
//! the prose leaves a form open, it is settled here: digests in documents are lower-case hexadecimal by algorithm
//! name, in fields they are RFC 9530 byte sequences; ids are 32 hexadecimal digits; sets are runs (`"0-5,9"`);
//! every URL in a document is path-absolute. Unknown keys are ignored, so that both ends can grow.

use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout, MAX_CHUNKS};
use crate::digest::{Algorithm, Digest, Hasher, hex, unhex};
use crate::record::IfExists;
use crate::wire::digest_fields;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// The version a server announces in [`HANDSHAKE`].
pub const VERSION: &str = "1";
/// Field of the discovery reply: the versions spoken.
pub const HANDSHAKE: &str = "onward-handshake";
/// Field of the discovery reply: [`Limits`].
pub const LIMITS: &str = "onward-limits";
/// Field of a `PUT`: `1` lets the server forget what it holds of these bytes, durably, before it writes.
pub const REPLACE: &str = "onward-replace";
/// Field of a `PUT`: the digest of its body (RFC 9530, section 2).
pub const CONTENT_DIGEST: &str = "content-digest";
/// The media type of refusals (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// The longest document a client may send, in bytes.
pub const MAX_REQUEST: usize = 64 << 10;
/// The longest document a server may send, in bytes: [`MAX_CHUNKS`] digests, or as many runs, fit with room to spare.
pub const MAX_REPLY: usize = 2 << 20;
/// An offer names at most so many ranges.
pub const MAX_PROOF_RANGES: usize = 16;
/// An offer names at most so many bytes to prove, all ranges together.
pub const MAX_PROOF_BYTES: u64 = 16 << 20;
/// The algorithms of piece and whole-file digests, the preferred one first.
pub const DIGESTS: [Algorithm; 3] = [Algorithm::Crc64Nvme, Algorithm::Sha256, Algorithm::Md5];

/// 128 random bits in 32 lower-case hexadecimal digits: a client's key, a server's upload id, a nonce.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// An id from its bits.
    pub fn new(bits: [u8; 16]) -> Self {
        Self(hex(&bits))
    }

    /// Reads the text form; `None` for anything but 32 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(digit)).then(|| Self(text.to_string()))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 16 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        unhex(&self.0).unwrap_or_default()
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not 32 lower-case hexadecimal digits")
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ids are capabilities: a debug print shows only their beginning.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.0[..4])
    }
}

/// Digests by algorithm, in documents `{"sha-256": "hex", …}`. Names this program does not know are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests(pub Vec<Digest>);

impl Digests {
    /// The digest by `algorithm`, where it is told.
    pub fn get(&self, algorithm: Algorithm) -> Option<&Digest> {
        self.0.iter().find(|digest| digest.algorithm == algorithm)
    }

    /// Adds `digest`, in the place of an older one by the same algorithm.
    pub fn set(&mut self, digest: Digest) {
        self.0.retain(|old| old.algorithm != digest.algorithm);
        self.0.push(digest);
        self.0.sort_by_key(|digest| digest.algorithm);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the value of `Content-Digest` or `Repr-Digest` (RFC 9530, sections 2 and 3).
    pub fn to_field(&self) -> String {
        digest_fields::print(&self.0)
    }

    /// Reads the value of `Content-Digest` or `Repr-Digest`; see [`digest_fields::read`].
    pub fn from_field(value: &str) -> Option<Self> {
        let mut digests = Self::default();
        digest_fields::read(value)?.into_iter().for_each(|digest| digests.set(digest));
        Some(digests)
    }
}

/// The algorithm of exactly this wire name: unlike people, peers must spell it as registered.
fn algorithm(name: &str) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
}

impl Serialize for Digests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|digest| (digest.algorithm.name(), digest.hex())))
    }
}

impl<'de> Deserialize<'de> for Digests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut digests = Self::default();
        for (name, text) in BTreeMap::<String, String>::deserialize(deserializer)? {
            if let Some(algorithm) = algorithm(&name) {
                let digest = Digest::from_hex(algorithm, &text);
                digests.set(digest.ok_or_else(|| serde::de::Error::custom(format!("not a {name} in hexadecimal")))?);
            }
        }
        Ok(digests)
    }
}

/// Sets in documents are their runs.
mod runs {
    use super::{ByteSet, Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(set: &ByteSet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(set)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSet, D::Error> {
        let text = String::deserialize(deserializer)?;
        ByteSet::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// MD5 in documents is 32 hexadecimal digits, no object around it.
mod md5 {
    use super::{Algorithm, Deserialize, Deserializer, Digest, Serializer};

    pub fn serialize<S: Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.serialize_str(&digest.hex()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let digest = Digest::from_hex(Algorithm::Md5, &text);
        digest.map(Some).ok_or_else(|| serde::de::Error::custom("not an MD5 in hexadecimal"))
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_true(flag: &bool) -> bool {
    *flag
}

fn yes() -> bool {
    true
}

/// The body of *begin*: `POST {base}`, where the base is the URL of the folder the name is relative to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// 128 random bits the client saved before it sent them: the same key with the same credentials is the same
    /// upload.
    pub key: Id,
    /// A relative path of ordinary parts.
    pub name: String,
    /// The length in bytes.
    pub size: u64,
    /// The chunk size in bytes; at most [`MAX_CHUNKS`] chunks.
    pub chunk_size: u64,
    /// What to do when the name is taken.
    #[serde(default)]
    pub if_exists: IfExists,
    /// The source's modification time (RFC 3339), for the published file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The MD5 of the content, where it is already known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "md5")]
    pub md5: Option<Digest>,
    /// Whether the server may offer equal content that it holds ([`Status::other`]).
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub join: bool,
    /// Names of digests the client will want to see at the end, so that the server can compute them beside the
    /// transfer instead of by a second read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub want: Vec<String>,
}

impl Begin {
    /// How the file is cut; `None` where size and chunk size cannot be.
    pub fn layout(&self) -> Option<Layout> {
        let possible = self.chunk_size > 0 && self.size <= i64::MAX as u64 && self.chunk_size <= i64::MAX as u64;
        (possible && self.size.div_ceil(self.chunk_size) <= MAX_CHUNKS).then(|| Layout::new(self.size, self.chunk_size))
    }
}

/// The algorithms that `names` know.
pub fn wanted(names: &[String]) -> Vec<Algorithm> {
    names.iter().filter_map(|name| algorithm(name)).collect()
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing has arrived.
    New,
    /// Some of it is there, or all of it and not yet finished.
    Partial,
    /// All of it is there and is being checked.
    Verifying,
    /// Published; nothing is left to do.
    Complete,
}

/// What the server knows of an upload: the reply to *begin*, *ask*, *identify* and *finish*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The upload's URL, path-absolute. A capability: never shown.
    pub upload: String,
    /// How far it is.
    pub state: State,
    /// The chunks held whole.
    #[serde(with = "runs")]
    pub have: IndexSet,
    /// Runs held of chunks that are not whole: chunk index to bytes counted from the chunk's start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub within: BTreeMap<u64, Runs>,
    /// The length in bytes.
    pub size: u64,
    /// The chunk size in bytes.
    pub chunk_size: u64,
    /// The name, as told at *begin*.
    pub name: String,
    /// The URL of the finished file, path-absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When the server forgets the upload if nothing more arrives (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Equal content that the server may already hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Offer>,
    /// The digests of the whole content as the server computed them; only when complete.
    #[serde(default, skip_serializing_if = "Digests::is_empty")]
    pub digests: Digests,
    /// Set when this is another upload than the one asked, joined by a proof: it is not the client's to delete.
    #[serde(default, skip_serializing_if = "is_false")]
    pub joined: bool,
}

impl Status {
    /// All bytes held, as offsets in the file; `None` when the document contradicts itself.
    pub fn held(&self) -> Option<ByteSet> {
        let layout = Layout::new(self.size, self.chunk_size);
        if self.chunk_size == 0 || self.have.end() > layout.count() {
            return None;
        }
        let mut held: ByteSet = self.have.runs().map(|run| chunks_to_bytes(&layout, run)).collect();
        for (index, runs) in &self.within {
            let chunk = layout.range(*index);
            if runs.0.end() > chunk.len() {
                return None;
            }
            runs.0.runs().for_each(|run| held.insert(ByteRange::new(chunk.start + run.start, chunk.start + run.end)));
        }
        Some(held)
    }

    /// The two sets, `have` and `within`, that say `held`.
    pub fn sets(layout: &Layout, held: &ByteSet) -> (IndexSet, BTreeMap<u64, Runs>) {
        let (mut have, mut within) = (IndexSet::new(), BTreeMap::<u64, Runs>::new());
        for run in held.runs() {
            for piece in layout.split(run) {
                let index = layout.index_of(piece.start);
                let chunk = layout.range(index);
                if piece == chunk {
                    have.insert(ByteRange::new(index, index + 1));
                } else {
                    let inside = ByteRange::new(piece.start - chunk.start, piece.end - chunk.start);
                    within.entry(index).or_default().0.insert(inside);
                }
            }
        }
        (have, within)
    }
}

fn chunks_to_bytes(layout: &Layout, run: ByteRange) -> ByteRange {
    ByteRange::new(layout.range(run.start).start, layout.range(run.end - 1).end)
}

/// A set as it stands in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs(#[serde(with = "runs")] pub ByteSet);

/// Equal content that the server may hold already: an offer until the client proves that it has the content too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// [`State::Complete`]: a finished file, which becomes this upload's content at once; [`State::Partial`]: another
    /// unfinished upload, to go on with.
    pub state: State,
    /// Good for one proof.
    pub nonce: Id,
    /// The bytes to prove, at most [`MAX_PROOF_RANGES`] runs and [`MAX_PROOF_BYTES`] bytes, ascending.
    #[serde(with = "runs")]
    pub ranges: ByteSet,
}

impl Offer {
    /// Whether the offer keeps the bounds, within a file of `size` bytes.
    pub fn fits(&self, size: u64) -> bool {
        let small = self.ranges.runs().count() <= MAX_PROOF_RANGES && self.ranges.len() <= MAX_PROOF_BYTES;
        small && self.ranges.end() <= size
    }
}

/// The hasher of a proof of possession: it has taken the nonce's 16 bytes and wants the offered ranges, ascending.
pub fn proof(nonce: &Id) -> Hasher {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&nonce.bytes());
    hasher
}

/// The body of *identify*: `POST {upload}/identity`. With `nonce` and `proof` it takes an offer up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The MD5 of the content.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "md5")]
    pub md5: Option<Digest>,
    /// The nonce of the offer taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Id>,
    /// sha-256 of the nonce's bytes and the offered ranges' bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// The body of *finish*: `POST {upload}/complete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// Digests of the whole content; the server checks each that it knows and wants at least one.
    pub digests: Digests,
    /// Another name than *begin* told, relative to the same folder; with a leading `/`, to the server's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Names of digests the client wants in the reply, computed by the server over what it stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub want: Vec<String>,
}

/// The reply to *compare*: the digests of those of the chunks asked for that are held whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkDigests {
    /// The algorithm's name; `crc64nvme`.
    pub algorithm: String,
    /// Which chunks.
    #[serde(with = "runs")]
    pub chunks: IndexSet,
    /// Their digests in hexadecimal, ascending by chunk.
    pub digests: Vec<String>,
}

/// What a server announces in [`LIMITS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The largest chunk size in bytes.
    pub chunk_max: Option<u64>,
    /// The largest file in bytes.
    pub file_max: Option<u64>,
    /// The algorithms it takes for pieces and wholes.
    pub digests: Vec<Algorithm>,
}

impl Limits {
    /// The field's value, a dictionary (RFC 9651, section 3.2). Numbers past that grammar's 15 digits are left out:
    /// they limit nothing.
    pub fn to_field(&self) -> String {
        let names = |sep: &str| self.digests.iter().map(|alg| alg.name()).collect::<Vec<_>>().join(sep);
        let number = |key: &str, n: Option<u64>| n.filter(|n| *n < 1_000_000_000_000_000).map(|n| format!("{key}={n}"));
        [
            number("chunk-max", self.chunk_max),
            number("file-max", self.file_max),
            (!self.digests.is_empty()).then(|| format!("digests=\"{}\"", names(" "))),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
    }

    /// Reads the field's value; what is not understood limits nothing.
    pub fn from_field(value: &str) -> Self {
        let Ok(fields) = sfv::Parser::new(value).parse::<sfv::Dictionary>() else { return Self::default() };
        let item = |key: &str| match fields.get(key) {
            Some(sfv::ListEntry::Item(item)) => Some(&item.bare_item),
            _ => None,
        };
        let number = |key: &str| item(key)?.as_integer().and_then(|n| u64::try_from(i64::from(n)).ok());
        let names = item("digests").and_then(|names| names.as_string()).map(|names| names.as_str());
        Self {
            chunk_max: number("chunk-max"),
            file_max: number("file-max"),
            digests: names.unwrap_or_default().split(' ').filter_map(algorithm).collect(),
        }
    }
}

/// What a request below an upload's URL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The upload itself: ask, give up.
    Upload,
    /// One chunk: send.
    Chunk(u64),
    /// The chunks' digests: compare.
    Digests,
    /// The content's identity: identify.
    Identity,
    /// The end: finish.
    Complete,
}

impl Place {
    /// Reads what follows the upload's URL: nothing, or a `/` and one part.
    pub fn parse(tail: &str) -> Option<Self> {
        match tail {
            "" => Some(Self::Upload),
            "/digests" => Some(Self::Digests),
            "/identity" => Some(Self::Identity),
            "/complete" => Some(Self::Complete),
            _ => super::content_range::number(tail.strip_prefix('/')?).map(Self::Chunk),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload => Ok(()),
            Self::Chunk(index) => write!(f, "/{index}"),
            Self::Digests => f.write_str("/digests"),
            Self::Identity => f.write_str("/identity"),
            Self::Complete => f.write_str("/complete"),
        }
    }
}

/// The query of *compare*, with its question mark.
pub fn digests_query(chunks: &IndexSet) -> String {
    format!("?chunks={chunks}")
}

/// Reads the query of *compare* (without its question mark); `None` for anything but `chunks=` and runs.
pub fn read_digests_query(query: &str) -> Option<IndexSet> {
    IndexSet::parse(&query.strip_prefix("chunks=")?.replace("%2C", ",").replace("%2c", ",")).ok()
}

/// Why a server refuses. Each has one status and one problem type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The request is not what the protocol says.
    BadRequest,
    /// The name cannot be used.
    BadName,
    /// No credentials, or wrong ones.
    Unauthorized,
    /// The server does not do this at all (read-only, upload-only, no leave to overwrite).
    Forbidden,
    /// A page of another origin asked.
    ForeignOrigin,
    /// The `Host` is none of the server's.
    ForeignHost,
    /// Nothing there.
    NotFound,
    /// The method does not fit the place.
    Method,
    /// There is no such upload (any more): begin again.
    UnknownUpload,
    /// A finished file has the name.
    Exists,
    /// Another upload completed under the name first.
    NameTaken,
    /// The key belongs to an upload of another size or name.
    KeyReused,
    /// Another request writes this chunk.
    Busy,
    /// These bytes are held and are others.
    Differs,
    /// Not all chunks are there ([`Problem::missing`]).
    Incomplete,
    /// Something of the request is larger than the server takes.
    TooLarge,
    /// No digest came with the bytes.
    DigestRequired,
    /// The body is not what its digest says.
    DigestMismatch,
    /// The whole is not what its digest says ([`Problem::suspect`]).
    Suspect,
    /// The proof of possession is wrong, or the offer is gone.
    ProofFailed,
    /// Too many unfinished uploads, or requests.
    TooMany,
    /// Not now: busy checking, or stopping.
    Unavailable,
    /// No space for it.
    NoSpace,
    /// The client was silent for too long.
    Timeout,
    /// The range asked for is not in the file.
    Range,
    /// A condition of the request does not hold.
    Precondition,
    /// A fault of the server.
    Server,
}

const REASONS: [(Reason, &str, u16, &str); 27] = [
    (Reason::BadRequest, "bad-request", 400, "The request is not understood"),
    (Reason::BadName, "bad-name", 400, "The name cannot be used"),
    (Reason::Unauthorized, "unauthorized", 401, "A token is needed"),
    (Reason::Forbidden, "forbidden", 403, "The server does not do this"),
    (Reason::ForeignOrigin, "foreign-origin", 403, "Pages of other origins are not served"),
    (Reason::ForeignHost, "foreign-host", 421, "This host name is not served here"),
    (Reason::NotFound, "not-found", 404, "There is nothing here"),
    (Reason::Method, "method", 405, "The method does not fit this place"),
    (Reason::UnknownUpload, "unknown-upload", 404, "There is no such upload"),
    (Reason::Exists, "exists", 409, "A file of that name exists"),
    (Reason::NameTaken, "name-taken", 409, "The name was taken meanwhile"),
    (Reason::KeyReused, "key-reused", 409, "The key belongs to another upload"),
    (Reason::Busy, "busy", 409, "Another request writes this chunk"),
    (Reason::Differs, "differs", 409, "Other bytes are held there"),
    (Reason::Incomplete, "incomplete", 409, "Chunks are missing"),
    (Reason::TooLarge, "too-large", 413, "It is too large"),
    (Reason::DigestRequired, "digest-required", 400, "A digest is needed"),
    (Reason::DigestMismatch, "digest-mismatch", 422, "The bytes do not fit their digest"),
    (Reason::Suspect, "suspect", 422, "The whole does not fit its digest"),
    (Reason::ProofFailed, "proof-failed", 403, "The proof of possession is wrong"),
    (Reason::TooMany, "too-many", 429, "Too many at once"),
    (Reason::Unavailable, "unavailable", 503, "Not now"),
    (Reason::NoSpace, "no-space", 507, "There is no space for it"),
    (Reason::Timeout, "timeout", 408, "The request took too long"),
    (Reason::Range, "range", 416, "The file has no such range"),
    (Reason::Precondition, "precondition", 412, "A condition does not hold"),
    (Reason::Server, "server", 500, "The server failed"),
];

/// What problem types begin with.
const TYPE: &str = "urn:onward:";

impl Reason {
    fn row(self) -> &'static (Reason, &'static str, u16, &'static str) {
        REASONS.iter().find(|row| row.0 == self).unwrap_or(&REASONS[0])
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().2
    }

    /// The reason a problem type names.
    pub fn from_type(text: &str) -> Option<Self> {
        let slug = text.strip_prefix(TYPE)?;
        REASONS.iter().find(|row| row.1 == slug).map(|row| row.0)
    }
}

/// A refusal (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which problem, as a URI.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The problem in a few words, always the same.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong this time.
    #[serde(default)]
    pub detail: String,
    /// What a person can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The chunks that are missing ([`Reason::Incomplete`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Runs>,
    /// The chunks that may be wrong ([`Reason::Suspect`]). Damaged ones are no longer in `have`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Runs>,
    /// The length in bytes of the file in the way ([`Reason::Exists`]): only a file of the same length can be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Problem {
    /// A refusal with its detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let (_, slug, status, title) = *reason.row();
        Self {
            kind: format!("{TYPE}{slug}"),
            title: title.into(),
            status,
            detail: detail.into(),
            hint: None,
            missing: None,
            suspect: None,
            size: None,
        }
    }

    /// The same with a hint for people.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The reason, where the type is one of ours.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_type(&self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> Id {
        Id::new([n; 16])
    }

    #[test]
    fn a_begin_as_anybody_would_write_it() {
        let text = r#"{"key":"000102030405060708090a0b0c0d0e0f","name":"a/b.iso","size":25,"chunk_size":10,
            "if_exists":"replace","md5":"25F9E794323B453885F5181F1B624D0B","unknown":[1]}"#;
        let begin: Begin = serde_json::from_str(text).unwrap();
        assert_eq!((begin.if_exists, begin.join, begin.layout().unwrap().count()), (IfExists::Replace, true, 3));
        assert_eq!(begin.md5.as_ref().unwrap().hex(), "25f9e794323b453885f5181f1b624d0b");
        let again: Begin = serde_json::from_str(&serde_json::to_string(&begin).unwrap()).unwrap();
        assert_eq!(again, begin);
        let short = r#"{"key":"000102030405060708090a0b0c0d0e0f","name":"x","size":0,"chunk_size":1}"#;
        let short: Begin = serde_json::from_str(short).unwrap();
        assert_eq!((short.if_exists, short.md5.clone(), short.layout().unwrap().count()), (IfExists::Fail, None, 0));
        assert!(!serde_json::to_string(&short).unwrap().contains("join"));
    }

    #[test]
    fn a_begin_that_cannot_be() {
        for (from, to) in [
            ("000102030405060708090a0b0c0d0e0f", "00"),
            ("000102030405060708090a0b0c0d0e0f", "000102030405060708090A0B0C0D0E0F"),
            ("\"size\":25", "\"size\":-1"),
            ("\"size\":25", "\"size\":18446744073709551616"),
            ("\"fail\"", "\"maybe\""),
            ("\"name\":\"x\"", "\"nam\":\"x\""),
            ("25f9e794323b453885f5181f1b624d0b", "25f9"),
        ] {
            let good = r#"{"key":"000102030405060708090a0b0c0d0e0f","name":"x","size":25,"chunk_size":1,
                "if_exists":"fail","md5":"25f9e794323b453885f5181f1b624d0b"}"#;
            assert!(serde_json::from_str::<Begin>(good).is_ok());
            assert!(serde_json::from_str::<Begin>(&good.replace(from, to)).is_err(), "{to}");
        }
        let begin = |size, chunk_size| Begin {
            key: id(1),
            name: "x".into(),
            size,
            chunk_size,
            if_exists: IfExists::Fail,
            modified: None,
            md5: None,
            join: true,
            want: vec![],
        };
        assert!(begin(10, 0).layout().is_none());
        assert!(begin(MAX_CHUNKS + 1, 1).layout().is_none() && begin(MAX_CHUNKS, 1).layout().is_some());
        assert!(begin(u64::MAX, u64::MAX).layout().is_none());
    }

    #[test]
    fn a_status_as_the_document_shows_it() {
        let text = r#"{"upload":"/.onward/uploads/x","state":"partial","have":"0-5,9","within":{"121":"0-3145727"},
            "size":1056964608,"chunk_size":8388608,"name":"big.iso"}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        let held = status.held().unwrap();
        assert_eq!(held.len(), 7 * 8_388_608 + 3_145_728);
        assert_eq!(
            Status::sets(&Layout::new(1_056_964_608, 8_388_608), &held),
            (status.have.clone(), status.within.clone())
        );
        let printed = serde_json::to_string(&status).unwrap();
        assert!(printed.contains(r#""within":{"121":"0-3145727"}"#) && !printed.contains("other"), "{printed}");
        assert_eq!(serde_json::from_str::<Status>(&printed).unwrap(), status);
        for (from, to) in [("0-5,9", "0-500"), ("0-3145727", "0-8388608"), ("8388608,", "0,"), ("\"121\"", "\"921\"")] {
            let lie: Status = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
            assert_eq!(lie.held(), None, "{to}");
        }
    }

    #[test]
    fn fields() {
        let mut digests = Digests::default();
        digests.set(Digest::parse("crc64nvme:ae8b14860a799888").unwrap());
        assert_eq!(digests.to_field(), "crc64nvme=:rosUhgp5mIg=:");
        assert_eq!(Digests::from_field("crc64nvme=:rosUhgp5mIg=:").unwrap(), digests);
        assert_eq!(Digests::from_field("new=:AAAA:, crc64nvme=:rosUhgp5mIg=:").unwrap(), digests);
        for bad in ["crc64nvme=:AAAA:", "crc64nvme=rosUhgp5mIg=", "crc64nvme=(:rosUhgp5mIg=:)", "=", "md5=:!:"] {
            assert_eq!(Digests::from_field(bad), None, "{bad}");
        }
        let limits = Limits { chunk_max: Some(1 << 30), file_max: None, digests: DIGESTS.to_vec() };
        assert_eq!(limits.to_field(), "chunk-max=1073741824, digests=\"crc64nvme sha-256 md5\"");
        assert_eq!(Limits::from_field(&limits.to_field()), limits);
        assert_eq!(Limits { file_max: Some(u64::MAX), ..Limits::default() }.to_field(), "");
        assert_eq!(Limits::from_field("chunk-max=-1, file-max=\"9\", digests=7"), Limits::default());
    }

    #[test]
    fn places_below_an_upload() {
        for place in
            [Place::Upload, Place::Chunk(0), Place::Chunk(9999), Place::Digests, Place::Identity, Place::Complete]
        {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        for bad in ["/", "/-1", "/+1", "/1/", "/1/2", "1", "/Complete", "/99999999999999999999"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
        let set = IndexSet::parse("0-5,9").unwrap();
        assert_eq!(digests_query(&set), "?chunks=0-5,9");
        for query in ["chunks=0-5,9", "chunks=0-5%2C9"] {
            assert_eq!(read_digests_query(query), Some(set.clone()));
        }
        assert_eq!(read_digests_query("chunk=0"), None);
    }

    #[test]
    fn every_reason_has_one_row() {
        for (reason, slug, status, _) in REASONS {
            let problem = Problem::new(reason, "why");
            assert_eq!((problem.reason(), problem.status), (Some(reason), status));
            assert_eq!(REASONS.iter().filter(|row| row.0 == reason || row.1 == slug).count(), 1, "{slug}");
        }
        let foreign: Problem = serde_json::from_str(r#"{"title":"No"}"#).unwrap();
        assert_eq!((foreign.reason(), foreign.title.as_str()), (None, "No"));
    }

    #[test]
    fn a_proof_is_the_hash_of_nonce_and_bytes() {
        let mut hasher = proof(&id(0));
        hasher.update(b"abc");
        let mut plain = Hasher::new(Algorithm::Sha256);
        plain.update(&[0; 16]);
        plain.update(b"abc");
        assert_eq!(hasher.finish(), plain.finish());
        let offer = |text: &str| Offer { state: State::Partial, nonce: id(2), ranges: ByteSet::parse(text).unwrap() };
        assert!(offer("0-9,20-29").fits(30) && !offer("0-9,20-29").fits(29) && !offer("0-16777216").fits(1 << 30));
        assert_eq!(format!("{:?}", id(2)), "0202…", "ids are not printed whole");
    }

    proptest! {
        /// What a server says it holds is what a client reads, whatever it holds.
        #[test]
        fn sets_and_bytes_say_the_same(size in 0u64..500, chunk_size in 1u64..60,
                                       runs in prop::collection::vec((0u64..500, 0u64..90), 0..12)) {
            let layout = Layout::new(size, chunk_size);
            let held: ByteSet = runs.into_iter()
                .map(|(start, len)| ByteRange::new(start, start + len).intersect(&layout.whole())).collect();
            let (have, within) = Status::sets(&layout, &held);
            let status = Status {
                upload: "/u".into(), state: State::Partial, have, within, size, chunk_size, name: "n".into(),
                file: None, expires: None, other: None, digests: Digests::default(), joined: false,
            };
            let text = serde_json::to_string(&status).unwrap();
            let read: Status = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.held(), Some(held));
            prop_assert!(text.len() < MAX_REPLY);
        }

        #[test]
        fn digests_survive_their_field(bytes in prop::array::uniform32(any::<u8>()), sum in any::<u64>()) {
            let mut digests = Digests::default();
            digests.set(Digest::new(Algorithm::Sha256, bytes.to_vec()).unwrap());
            digests.set(Digest::new(Algorithm::Crc64Nvme, sum.to_be_bytes().to_vec()).unwrap());
            prop_assert_eq!(Digests::from_field(&digests.to_field()), Some(digests.clone()));
            let text = serde_json::to_string(&digests).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digests>(&text).unwrap(), digests);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = (Digests::from_field(&text), Limits::from_field(&text), Place::parse(&text), Id::parse(&text));
            let _ = (read_digests_query(&text), Reason::from_type(&text));
            let _ = serde_json::from_str::<Begin>(&text);
        }

        /// A status a server could make up: reading what it holds never panics, and never goes past the file.
        #[test]
        fn a_lying_status_is_harmless(have in "[0-9,-]{0,12}", key in any::<u64>(), runs in "[0-9,-]{0,12}",
                                      size in any::<u64>(), chunk_size in any::<u64>()) {
            let text = format!(
                r#"{{"upload":"/u","state":"new","have":"{have}","within":{{"{key}":"{runs}"}},"size":{size},"chunk_size":{chunk_size},"name":""}}"#
            );
            if let Some(held) = serde_json::from_str::<Status>(&text).ok().and_then(|status| status.held()) {
                prop_assert!(held.end() <= size);
            }
        }
    }
}
