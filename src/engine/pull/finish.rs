//! The end of a download: digests compared, the final name given, or what has arrived kept.

use super::{Attempt, Transfer, shown_place};
use crate::digest::{Algorithm, Digest};
use crate::disk::{self, Spot};
use crate::engine::Existing;
use crate::event::{Event, Outcome};
use crate::fault::{Fault, Kind};
use crate::partial::{Follower, PartialFile};
use crate::record::IfExists;
use crate::source::Head;
use crate::units;
use std::path::Path;

impl Transfer<'_> {
    /// The digests this content is held to, and whose they are: the user's first.
    pub(super) fn digests_wanted(&self, head: &Head) -> Vec<(Digest, String)> {
        let mut wanted: Vec<(Digest, String)> =
            self.order.checksum.iter().map(|digest| (digest.clone(), "user".to_string())).collect();
        // One of the server's is enough, and the strongest comes first.
        if let Some(offer) = head
            .digests
            .first()
            .filter(|offer| wanted.iter().all(|(digest, _)| digest.algorithm != offer.digest.algorithm))
        {
            wanted.push((offer.digest.clone(), "server".to_string()));
        }
        wanted
    }

    /// Commits what has arrived and says in the fault what became of it.
    pub(super) async fn kept(&self, file: PartialFile, fault: Fault) -> Fault {
        let (held, layout) = (file.held(), file.layout());
        let kept = match (held.is_empty(), file.length()) {
            (true, _) => "nothing had arrived yet".to_string(),
            (false, Some(length)) => {
                let done = (0..layout.count()).filter(|index| held.contains(layout.range(*index))).count();
                let amount = format!("{} of {}", units::bytes(held.len()), units::bytes(length));
                format!("kept {amount} ({done} of {} chunks)", layout.count())
            }
            (false, None) => format!("kept {}", units::bytes(held.len())),
        };
        let fault = match file.keep().await {
            Ok(()) => fault,
            Err(worse) if fault.kind == Kind::Interrupted => worse,
            Err(_) => fault,
        };
        let retry = matches!(fault.kind, Kind::Network | Kind::Busy | Kind::Interrupted | Kind::OutOfTime);
        let fault = fault.kept(kept);
        if retry { fault.hint("run the same command again to go on") } else { fault }
    }

    /// Everything has arrived: verify, publish.
    pub(super) async fn complete(
        &mut self,
        file: PartialFile,
        path: &Path,
        follower: Option<Follower>,
        wanted: Option<Vec<(Digest, String)>>,
    ) -> Result<Attempt, Fault> {
        if follower.is_none() && file.needs_proof() && !file.prove().await?.is_empty() {
            // Only reached when nothing was missing: the next attempt fetches what was damaged.
            let text = "what the earlier run left is damaged in places, which are fetched again".to_string();
            self.tell(Event::Warning { text });
            file.keep().await?;
            return Ok(Attempt::GoOn);
        }
        let wanted = wanted.unwrap_or_else(|| self.digests_wanted(&Head::default()));
        let algorithms: Vec<Algorithm> = wanted.iter().map(|(digest, _)| digest.algorithm).collect();
        let follower = follower.or_else(|| (!algorithms.is_empty()).then(|| file.follow(&algorithms)));
        let mut proof = None;
        if let Some(follower) = follower {
            let found = follower.digests().await?;
            for ((digest, by), found) in wanted.iter().zip(&found) {
                if digest != found {
                    return Err(self.condemned(file, digest, found, by).await);
                }
                self.verified(digest, by);
                proof.get_or_insert(digest.algorithm.to_string());
            }
        }
        let if_exists = match self.order.existing {
            Existing::Replace => IfExists::Replace,
            Existing::Refuse | Existing::Keep => IfExists::Fail,
        };
        let (moved, already) = (self.moved, self.already);
        let validator = file.record().validator;
        let stamp = file.finish(Spot::at(path)?, if_exists).await?;
        let digest = wanted.first().map(|(digest, _)| digest.to_string());
        self.tools.memory.remember(path, &stamp, &self.order.url, &validator, digest);
        Ok(Attempt::Done(Outcome { place: shown_place(path), moved, already, proof }))
    }

    /// The content is wrong: it does not get its name, and the next run starts fresh.
    pub(super) async fn condemned(&self, file: PartialFile, wanted: &Digest, found: &Digest, by: &str) -> Fault {
        let text = format!(
            "the content is wrong: its {} is {}, the {by}'s is {}",
            wanted.algorithm,
            found.hex(),
            wanted.hex()
        );
        let fault = Fault::new(Kind::Integrity, text);
        match file.condemn().await {
            Ok(bad) => {
                fault.kept(format!("the bytes are kept as {}", disk::shown(&bad))).hint("the next run starts fresh")
            }
            Err(_) => fault.hint("the next run starts fresh"),
        }
    }
}
