//! Asking with patience, and what bytes tell where a remote's word does not decide.

use super::{Opening, Transfer, interrupted};
use crate::chunk::ByteRange;
use crate::engine::overlap::{self, Compared};
use crate::engine::retry::Backoff;
use crate::engine::stream;
use crate::fault::{Fault, Kind};
use crate::partial::PartialFile;
use crate::source::{Answer, Ask, Body, Head, Source};

impl Transfer<'_> {
    /// Tries `work` by the retry policy until it comes to something, or all is stopped.
    pub(super) async fn patiently<T>(&self, work: impl AsyncFn() -> Result<T, Fault>) -> Result<T, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        loop {
            let fault = tokio::select! {
                done = work() => match done {
                    Ok(done) => return Ok(done),
                    Err(fault) => fault,
                },
                () = self.tools.stop.wait() => return Err(interrupted()),
            };
            self.pause(&mut backoff, fault).await?;
        }
    }

    /// Compares samples of what is here, in `runs` and given by `read`, with what `source` has.
    pub(super) async fn compared(
        &self,
        runs: &[ByteRange],
        read: overlap::ReadAt<'_>,
        source: &dyn Source,
    ) -> Result<Compared, Fault> {
        let fetch = async |range| self.patiently(async || overlap::fetch(source, range).await).await;
        overlap::compare(runs, read, fetch).await
    }

    /// Shows by bytes that `opening` is an answer about what is in `file`; gives the answer to go on with, or `None`
    /// where the bytes are others.
    pub(super) async fn weighed(&self, file: &PartialFile, opening: Opening) -> Result<Option<Opening>, Fault> {
        let runs: Vec<ByteRange> = file.held().runs().collect();
        let source = self.places().nth(opening.by).unwrap_or(&self.order.source).clone();
        match self.compared(&runs, &|buffer, at| file.read_at(buffer, at), &*source).await? {
            Compared::Same => {
                file.edit(|record| record.sampled |= !runs.is_empty());
                Ok(Some(opening))
            }
            Compared::Differs => Ok(None),
            Compared::NoRanges => {
                // Then all that is here is compared while the whole passes by.
                let (head, body) = self.patiently(async || self.whole().await).await?;
                let range = ByteRange::new(0, head.total.unwrap_or(stream::NO_END));
                Ok(Some(Opening { head, by: 0, range, body, ranged: false, form: opening.form }))
            }
        }
    }

    /// The whole from its first byte on.
    pub(super) async fn whole(&self) -> Result<(Head, Box<dyn Body>), Fault> {
        match self.order.source.ask(Ask::whole()).await? {
            Answer::Whole { head, body } => Ok((head, body)),
            Answer::Part { .. } | Answer::Beyond { .. } | Answer::Unfit { .. } | Answer::Unchanged => {
                Err(Fault::new(Kind::Other, format!("{} does not send the whole file", self.order.source.host())))
            }
        }
    }
}
