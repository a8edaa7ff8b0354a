//! What a request carries, and how it goes out: blocks of a file are read while they are sent, counted, and held back
//! where a rate is to be kept.

use super::pulse::Pulse;
use super::warm::{BLOCK, Warm, read_block};
use crate::chunk::ByteRange;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::fs::File;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Whoever counts bytes on their way and may hold the next ones back.
pub trait Gauge: Send + Sync {
    /// `bytes` went by; the answer is how long to wait before the next ones, zero to go on.
    fn pass(&self, bytes: usize) -> Duration;

    /// How many bytes to move in one go, at most `most`: under a low rate less, so that no wait becomes long.
    fn frame(&self, most: usize) -> usize {
        most
    }
}

/// The content of a request. Cheap to clone, so that a request can be sent again.
#[derive(Clone, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// A few bytes in memory.
    Bytes(Bytes),
    /// A part of a file, read while it is sent.
    File {
        /// The file; read at given places, so its cursor does not matter.
        file: Arc<File>,
        /// Which bytes of it.
        range: ByteRange,
        /// Told of every block that is sent.
        gauge: Arc<dyn Gauge>,
        /// What was read of it already.
        warm: Warm,
    },
    /// Parts in their order, as a form has them: a head, a file's bytes, a tail.
    Parts(Vec<Body>),
}

impl Body {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.len(),
            Self::Parts(parts) => parts.iter().map(Self::len).sum(),
        }
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A body on its way out.
pub(super) struct Outgoing {
    rest: std::collections::VecDeque<Body>,
    left: u64,
    pulse: Arc<Pulse>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Outgoing {
    pub(super) fn new(body: Body, pulse: Arc<Pulse>) -> Self {
        let left = body.len();
        let rest = match body {
            Body::Parts(parts) => parts.into(),
            one => [one].into(),
        };
        Self { rest, left, pulse, pause: None }
    }

    /// The next block, and how long to wait after it.
    fn block(&mut self) -> std::io::Result<Option<(Bytes, Duration)>> {
        loop {
            match self.rest.pop_front() {
                None => return Ok(None),
                Some(Body::Empty) => {}
                Some(Body::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Body::Bytes(bytes)) => return Ok(Some((bytes, Duration::ZERO))),
                Some(Body::Parts(parts)) => parts.into_iter().rev().for_each(|part| self.rest.push_front(part)),
                Some(Body::File { range, .. }) if range.is_empty() => {}
                Some(Body::File { file, range, gauge, warm }) => {
                    let end = range.end.min(range.start + gauge.frame(BLOCK).max(1) as u64);
                    let next = ByteRange::new(range.start, end);
                    let block = match warm.take(next) {
                        Some(block) => block,
                        None => read_block(&file, next)?,
                    };
                    let wait = gauge.pass(block.len());
                    let range = ByteRange::new(range.start + block.len() as u64, range.end);
                    self.rest.push_front(Body::File { file, range, gauge, warm });
                    return Ok(Some((block, wait)));
                }
            }
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(pause) = self.pause.as_mut() {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some((block, wait)) = self.block()? else { return Poll::Ready(None) };
        self.pulse.beat();
        self.left -= block.len() as u64;
        if !wait.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        Poll::Ready(Some(Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
