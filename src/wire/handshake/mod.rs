//! The chunk-index handshake, version 1: its documents, fields and paths, read and printed for both ends.
//!
//! The protocol is described in prose by the handshake document; this file is its grammar and nothing else. Where
//! the prose leaves a form open, it is settled here: digests in documents are lower-case hexadecimal by algorithm
//! name, in fields they are RFC 9530 byte sequences; ids are 32 hexadecimal digits; sets are runs (`"0-5,9"`);
//! every URL in a document is path-absolute. Unknown keys are ignored, so that both ends can grow.

mod problem;
#[cfg(test)]
mod tests;
mod values;

pub use problem::{Problem, Reason};
pub use values::{Digests, Id};
use values::{algorithm, md5, runs};

use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout, MAX_CHUNKS};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::record::IfExists;
use serde::{Deserialize, Serialize};
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
