//! Replies and their bodies: nothing, a text, or bytes of a file read block by block as the client takes them.

use crate::chunk::ByteRange;
use crate::wire::handshake::{PROBLEM_JSON, Problem, Reason};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use rustix::buffer::spare_capacity;
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A reply of this server.
pub type Reply = Response<Body>;

/// A reply, or the refusal that takes its place.
pub type Answer = Result<Reply, Box<Reply>>;

/// Bytes read from a file at once.
const BLOCK: u64 = 512 << 10;

/// The body of a reply.
pub enum Body {
    /// No byte.
    Empty,
    /// These bytes.
    Text(Bytes),
    /// Bytes of a file.
    File {
        /// The file.
        file: File,
        /// What is still to be sent of it.
        rest: ByteRange,
    },
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match &mut *self {
            Self::Empty => None,
            Self::Text(text) => {
                let text = std::mem::take(text);
                *self = Self::Empty;
                (!text.is_empty()).then_some(Ok(text))
            }
            Self::File { rest, .. } if rest.is_empty() => None,
            Self::File { file, rest } => {
                let block = read_block(file, *rest);
                if let Ok(bytes) = &block {
                    rest.start += bytes.len() as u64;
                }
                Some(block)
            }
        };
        Poll::Ready(frame.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Body {
    fn left(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Text(text) => text.len() as u64,
            Self::File { rest, .. } => rest.len(),
        }
    }
}

/// The next bytes of a file. A file that has become shorter ends the connection: the length is promised already.
fn read_block(file: &File, rest: ByteRange) -> io::Result<Bytes> {
    let mut block = Vec::with_capacity(rest.len().min(BLOCK) as usize);
    match rustix::io::pread(file, spare_capacity(&mut block), rest.start)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent")),
        _ => Ok(Bytes::from(block)),
    }
}

/// A reply without a body.
pub fn empty(status: StatusCode) -> Reply {
    with_body(status, Body::Empty)
}

/// A reply with a body, and no field but what the body's length implies.
pub fn with_body(status: StatusCode, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
}

/// A document of the protocol. None may be kept by a cache.
pub fn json(status: StatusCode, document: &impl serde::Serialize) -> Reply {
    text(status, "application/json", serde_json::to_vec(document).unwrap_or_default())
}

/// A reply with a text of the given media type, not to be cached.
pub fn text(status: StatusCode, media_type: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = with_body(status, Body::Text(text.into()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A refusal.
pub fn problem(problem: &Problem) -> Reply {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(status, PROBLEM_JSON, serde_json::to_vec(problem).unwrap_or_default())
}

/// A refusal with nothing but its detail.
pub fn refuse(reason: Reason, detail: impl Into<String>) -> Box<Reply> {
    Box::new(problem(&Problem::new(reason, detail)))
}

/// Adds a field; a value that is none is left out.
pub fn field(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().append(name, value);
    }
}

/// Adds `Retry-After` in whole seconds, at least one.
pub fn retry_after(reply: &mut Reply, wait: Duration) {
    field(reply, RETRY_AFTER, &wait.as_secs().max(1).to_string());
}
