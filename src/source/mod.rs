//! Where downloads come from: something that can be asked for bytes from an offset on, and that says with every
//! answer what it calls the content. One source a file.

pub mod http;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::record::Validator;
use crate::wire::digest_fields::Offer;
use crate::wire::validator::Form;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A future that an engine waits for on its own thread.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Which bytes are wanted.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The first one; `None` asks for the whole without a range.
    pub from: Option<u64>,
    /// One past the last one; `None` for all that follow.
    pub end: Option<u64>,
    /// What the content was called before: bytes of another content are not wanted.
    pub kept: Option<Validator>,
    /// How that condition is put.
    pub form: Form,
    /// Whether the bytes come over a connection of their own.
    pub alone: bool,
    /// Nothing is wanted if the content is still called this.
    pub unless: Option<Validator>,
}

impl Ask {
    /// The whole content, unconditionally.
    pub fn whole() -> Self {
        Self { from: None, end: None, kept: None, form: Form::Bare, alone: false, unless: None }
    }

    /// The bytes of a range, unconditionally.
    pub fn range(from: u64, end: Option<u64>) -> Self {
        Self { from: Some(from), end, ..Self::whole() }
    }
}

/// A hop of a redirect, both URLs masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// The status that said so.
    pub status: u16,
}

/// What an answer says about the content.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// What the remote calls it.
    pub validator: Validator,
    /// The length of the whole in bytes, where told.
    pub total: Option<u64>,
    /// A safe file name for it.
    pub name: String,
    /// Whether it is an HTML page.
    pub html: bool,
    /// The media type it is said to be of, without parameters.
    pub media: Option<String>,
    /// Digests the remote offers for the whole, strongest first.
    pub digests: Vec<Offer>,
    /// Digests of this very answer's bytes, strongest first.
    pub body_digests: Vec<Offer>,
    /// How the answer was reached, where that is new.
    pub hops: Vec<Hop>,
    /// Whether the end of the content is told by nothing but the end of the connection.
    pub open_ended: bool,
    /// From the last request until this head was here, connecting included where that was needed.
    pub took: Duration,
}

impl Head {
    /// The strongest digest the remote offers for the whole: one is enough to hold it to.
    pub fn digest(&self) -> Option<&Digest> {
        self.digests.first().map(|offer| &offer.digest)
    }

    /// The strongest digest of this very answer's bytes.
    pub fn body_digest(&self) -> Option<&Digest> {
        self.body_digests.first().map(|offer| &offer.digest)
    }
}

/// An answer to an [`Ask`].
pub enum Answer {
    /// The bytes asked for, or the first of them: from the offset asked for up to `end`.
    Part {
        /// About the content.
        head: Head,
        /// One past the last byte that will come.
        end: u64,
        /// The bytes.
        body: Box<dyn Body>,
    },
    /// The whole content from its first byte, whatever was asked for.
    Whole {
        /// About the content.
        head: Head,
        /// The bytes.
        body: Box<dyn Body>,
    },
    /// There are no bytes at that offset.
    Beyond {
        /// About the content; its total where told.
        head: Head,
    },
    /// The content is still what [`Ask::unless`] calls it.
    Unchanged,
    /// Something that cannot be used for a range: why.
    Unfit {
        /// As a clause for people.
        why: String,
    },
}

/// Bytes on their way in.
pub trait Body {
    /// The next ones; `None` at the proper end. An end that comes too early is a fault of kind `Network`.
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>>;
}

/// Something to download from.
pub trait Source {
    /// Asks for bytes; resolves at the head of the answer. Refusals and failures are faults.
    fn ask(&self, ask: Ask) -> Pending<'_, Result<Answer, Fault>>;
    /// The place for people, secrets masked.
    fn shown(&self) -> String;
    /// The host, for what is remembered about it.
    fn host(&self) -> String;
}
