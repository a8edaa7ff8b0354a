//! Small contents of files that nobody has begun yet: their bytes are all here before there is any file, which is then
//! written and named by the disk's own thread. What is not that simple goes the usual way, with the bytes that have come.

use super::{Opening, Transfer, interrupted, shown_place};
use crate::chunk::ByteRange;
use crate::event::Outcome;
use crate::fault::Fault;
use crate::partial::publish_whole;
use crate::source::{Body, Pending};
use crate::wire::validator::instant;
use bytes::Bytes;
use std::path::Path;
use std::time::Duration;

/// More bytes than this are written as they come: a hundred files may wait for a slow disk at once.
const SMALL: u64 = 64 << 10;
/// What takes longer is written as it comes, so that little of it is only in memory.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What came of it.
// Moved once for each file, and where there are thousands of them it is the small variant.
#[allow(clippy::large_enum_variant)]
pub(super) enum AtOnce {
    /// The file is there.
    Done(Outcome),
    /// It is for the usual way.
    Not(Opening),
}

impl Transfer<'_> {
    /// Takes a small content in and publishes it at `path`, where nothing is in the way.
    pub(super) async fn at_once(&mut self, path: &Path, opening: Opening) -> Result<AtOnce, Fault> {
        let head = &opening.head;
        let Some(length) = head.total.filter(|length| (1..=SMALL).contains(length)) else {
            return Ok(AtOnce::Not(opening));
        };
        let alone = self.places().count() == 1 && self.tools.pace.rate().is_none();
        let unchecked = self.order.checksum.is_none() && head.digest().is_none() && head.body_digest().is_none();
        if !alone || !unchecked || opening.range != ByteRange::new(0, length) {
            return Ok(AtOnce::Not(opening));
        }
        let Opening { head, by, range, mut body, ranged, form } = opening;
        let mut content = Vec::with_capacity(length as usize);
        let came = tokio::select! {
            came = tokio::time::timeout(AT_ONCE, read(&mut *body, &mut content, length)) => came,
            () = self.tools.stop.wait() => return Err(interrupted()),
        };
        let modified = head.validator.last_modified.as_deref().and_then(instant).filter(|_| self.order.remote_time);
        let content = Bytes::from(content);
        if content.len() as u64 == length {
            // Others need not wait for the disk.
            drop(self.order.turn.take());
            // Where something is in the way, the usual way finds out what, and says so.
            let then = self.tools.memory.reminder(path, &self.order.url, &head.validator, None);
            if publish_whole(path, content.clone(), modified, then).await?.is_some() {
                self.moved += length;
                let place = shown_place(path);
                return Ok(AtOnce::Done(Outcome { place, moved: self.moved, already: 0, proof: None }));
            }
        }
        let fault = came.ok().and_then(Result::err);
        let rest: Box<dyn Body> = Box::new(Come { content: Some(content), fault, rest: body });
        Ok(AtOnce::Not(Opening { head, by, range, body: rest, ranged, form }))
    }
}

/// Reads until `length` bytes are here or the answer ends. May be dropped at any time: what was read is in `content`.
async fn read(body: &mut dyn Body, content: &mut Vec<u8>, length: u64) -> Result<(), Fault> {
    while (content.len() as u64) < length
        && let Some(bytes) = body.next().await?
    {
        content.extend_from_slice(&bytes);
    }
    Ok(())
}

/// What has come of an answer, and the rest of it.
struct Come {
    content: Option<Bytes>,
    fault: Option<Fault>,
    rest: Box<dyn Body>,
}

impl Body for Come {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>> {
        if let Some(content) = self.content.take().filter(|content| !content.is_empty()) {
            return Box::pin(std::future::ready(Ok(Some(content))));
        }
        if let Some(fault) = self.fault.take() {
            return Box::pin(std::future::ready(Err(fault)));
        }
        self.rest.next()
    }
}
