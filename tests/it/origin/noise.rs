//! Lies below HTTP: bytes before, after and instead of an answer, heads without end, connections that end unsaid.

use super::lies::answer;
use super::{Lie, Stop};
use std::time::Duration;

/// What goes over the wire beside the answer.
#[derive(Default)]
pub(super) struct Noise {
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// The head comes byte by byte, with this pause before each.
    pub drip: Option<Duration>,
    pub instead: Option<Raw>,
}

/// Bytes that are no answer.
#[derive(Clone)]
pub(super) struct Raw {
    pub start: Vec<u8>,
    /// Sent again and again, unless it is empty.
    pub again: Vec<u8>,
}

/// These bytes before the head: interim answers, mostly.
pub fn noise_before(bytes: impl Into<Vec<u8>>) -> Lie {
    let bytes = bytes.into();
    answer(move |_, a| a.noise.before = bytes.clone())
}

/// These bytes after the body, on a connection that stays open.
pub fn noise_after(bytes: impl Into<Vec<u8>>) -> Lie {
    let bytes = bytes.into();
    answer(move |_, a| a.noise.after = bytes.clone())
}

/// These bytes instead of an answer, and the connection is closed.
pub fn raw(bytes: impl Into<Vec<u8>>) -> Lie {
    endless(bytes, "")
}

/// `start`, and then `again` and again, for as long as the peer takes it.
pub fn endless(start: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Lie {
    // Some hundred at once: a system call for each would be slower than any peer.
    let raw = Raw { start: start.into(), again: again.into().repeat(256) };
    answer(move |_, a| a.noise.instead = Some(raw.clone()))
}

/// The head comes a byte at a time.
pub fn drips_head(pause: Duration) -> Lie {
    answer(move |_, a| a.noise.drip = Some(pause))
}

/// No byte of the content from `offset` on comes: silence.
pub fn silent_from(offset: u64) -> Lie {
    answer(move |_, a| {
        if matches!(a.status, 200 | 206) && a.end > offset {
            a.stop = Some((offset.saturating_sub(a.start), Stop::Stall));
        }
    })
}

/// The connection is closed after this answer, though nothing announced it.
pub fn closes_unsaid() -> Lie {
    answer(|_, a| a.close = true)
}
