//! Small contents: one answer that comes at once is written down as it is. There is no crew to lead, which for
//! thousands of small files would be most of the work.

use super::{Opening, Transfer, interrupted};
use crate::chunk::ByteRange;
use crate::fault::Fault;
use crate::partial::{PartialFile, Writer};
use crate::source::{Body, Pending};
use bytes::Bytes;
use std::time::Duration;

/// More bytes than this are for a crew.
const SMALL: u64 = 1 << 20;
/// What takes longer is for a crew: it says how far it has come, and what becomes of a connection that fails.
const AT_ONCE: Duration = Duration::from_millis(200);

impl Transfer<'_> {
    /// Writes a small content down. Gives back what is left of the answer where it is not that small, does not come at
    /// once, or breaks off.
    pub(super) async fn take_in(&mut self, file: &PartialFile, opening: Opening) -> Result<Option<Opening>, Fault> {
        let whole = ByteRange::new(0, file.length().unwrap_or(u64::MAX));
        let alone = self.places().count() == 1 && self.tools.pace.rate().is_none();
        let plain = opening.range == whole && opening.head.body_digest().is_none();
        if !alone || !plain || whole.is_empty() || whole.len() > SMALL {
            return Ok(Some(opening));
        }
        let Some(mut writer) = file.writer(whole) else { return Ok(Some(opening)) };
        let Opening { head, by, mut body, ranged, form, .. } = opening;
        let came = tokio::select! {
            came = tokio::time::timeout(AT_ONCE, copy(&mut *body, &mut writer)) => came,
            () = self.tools.stop.wait() => return Err(interrupted()),
        };
        let at = writer.at();
        drop(writer);
        self.moved += at;
        let body = match came {
            _ if at == whole.end => return Ok(None),
            Ok(Err(Broken::Here(fault))) => return Err(fault),
            Ok(Err(Broken::There(fault))) => Box::new(Ends(Some(fault))),
            Ok(Ok(())) => Box::new(Ends(None)),
            Err(_) => body,
        };
        Ok(Some(Opening { head, by, range: ByteRange::new(at, whole.end), body, ranged, form }))
    }
}

/// On which side something went wrong.
enum Broken {
    Here(Fault),
    There(Fault),
}

/// Moves bytes until the claim is full or the answer ends. May be dropped at any time: what was read is written.
async fn copy(body: &mut dyn Body, writer: &mut Writer) -> Result<(), Broken> {
    while writer.at() < writer.end()
        && let Some(bytes) = body.next().await.map_err(Broken::There)?
    {
        writer.write(&bytes).map_err(Broken::Here)?;
    }
    Ok(())
}

/// The rest of an answer that has ended already, perhaps by a fault.
struct Ends(Option<Fault>);

impl Body for Ends {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>> {
        let end = self.0.take().map_or(Ok(None), Err);
        Box::pin(std::future::ready(end))
    }
}
