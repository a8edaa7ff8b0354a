//! Why a server of the handshake refuses, as a document both ends understand (RFC 9457).

use super::Runs;
use serde::{Deserialize, Serialize};

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

pub(super) const REASONS: [(Reason, &str, u16, &str); 27] = [
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
