//! The end of a download: digests compared, the final name given, or what has arrived kept.

use super::{Attempt, Transfer, shown_place};
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::disk::{self, Spot};
use crate::event::{Event, Outcome};
use crate::fault::{Fault, Kind};
use crate::partial::{Follower, PartialFile};
use crate::record::{IfExists, Record};
use crate::units;
use crate::wire::validator::instant;
use std::path::Path;

impl Transfer<'_> {
    /// The digests that a file with this record is held to.
    pub(super) fn digests_wanted(&self, record: &Record) -> Vec<(Digest, String)> {
        digests_wanted(self.order.checksum.as_ref(), self.order.checksum_by.as_deref(), record.offered.as_ref())
    }

    /// Commits what has arrived and says in the fault what became of it.
    pub(super) async fn kept(&self, file: PartialFile, fault: Fault) -> Fault {
        let saved = file.clone().keep().await;
        // Only now: on a full disk the last bytes may have gone to make room for the record.
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
        let (fault, kept) = match saved {
            Ok(()) => (fault, kept),
            Err(worse) => {
                let kept = "what its last record says is kept; nothing newer could be written down".to_string();
                (if fault.kind == Kind::Interrupted { worse } else { fault }, kept)
            }
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
    ) -> Result<Attempt, Fault> {
        if follower.is_none() && file.needs_proof() && !file.prove().await?.is_empty() {
            // Only reached when nothing was missing: the next attempt fetches what was damaged.
            let text = "what the earlier run left is damaged in places, which are fetched again".to_string();
            self.tell(Event::Warning { text });
            file.keep().await?;
            return Ok(Attempt::GoOn);
        }
        let record = file.record();
        let wanted = self.digests_wanted(&record);
        let algorithms: Vec<Algorithm> = wanted.iter().map(|(digest, _)| digest.algorithm).collect();
        let follower = follower.or_else(|| self.follow(&file, &algorithms));
        let found = self.digests_of(&file, follower, &algorithms).await?;
        for ((digest, by), found) in wanted.iter().zip(&found) {
            if digest == found {
                self.verified(digest, by);
            } else if self.wrong_once {
                return Err(self.condemned(file, digest, found, by).await);
            } else {
                // Memory, disk or wire: all of it once more decides whether the bytes or the digest are wrong.
                self.wrong_once = true;
                file.keep().await?;
                return Ok(Attempt::Again(format!("its {} is not the {by}'s", digest.algorithm)));
            }
        }
        let proof = match wanted.first() {
            Some((digest, _)) => Some(digest.algorithm.to_string()),
            None if record.sampled && self.order.strict => {
                file.keep().await?;
                return Err(only_samples()
                    .kept("all bytes are kept")
                    .hint("give --checksum, or run it without --strict"));
            }
            None => record.sampled.then(|| "overlap".to_string()),
        };
        let if_exists = IfExists::from(self.order.existing);
        let (moved, already) = (self.moved, self.already);
        let validator = record.validator;
        if self.order.remote_time {
            file.set_modified(validator.last_modified.as_deref().and_then(instant))?;
        }
        drop(self.order.turn.take());
        let stamp = file.finish(Spot::at(path)?, if_exists).await?;
        let digest = wanted.first().map(|(digest, _)| digest.to_string());
        self.tools.memory.remember(path, &stamp, &self.order.url, &validator, digest);
        Ok(Attempt::Done(Outcome { place: shown_place(path), moved, already, proof }))
    }

    /// Starts hashing for digests that cannot be put together from the sums of pieces.
    pub(super) fn follow(&self, file: &PartialFile, algorithms: &[Algorithm]) -> Option<Follower> {
        let serial = algorithms.iter().any(|algorithm| *algorithm != Algorithm::Crc64Nvme);
        serial.then(|| file.follow(algorithms))
    }

    /// The digests of the complete file, in the order of `algorithms`.
    async fn digests_of(
        &self,
        file: &PartialFile,
        follower: Option<Follower>,
        algorithms: &[Algorithm],
    ) -> Result<Vec<Digest>, Fault> {
        if let Some(follower) = follower {
            return follower.digests().await;
        }
        let whole = ByteRange::new(0, file.length().unwrap_or(0));
        let sum = file.sum(whole).filter(|_| !algorithms.is_empty());
        Ok(sum.map(|crc| crc.digest()).into_iter().collect())
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
            Ok(Ok(bad)) => {
                fault.kept(format!("the bytes are kept as {}", disk::shown(&bad))).hint("the next run starts fresh")
            }
            Ok(Err(taken)) => fault
                .kept(format!("the bytes are not kept: {} is there already and stays", disk::shown(&taken)))
                .hint("the next run starts fresh"),
            Err(_) => fault.hint("the next run starts fresh"),
        }
    }
}

/// Samples are no proof.
pub(super) fn only_samples() -> Fault {
    Fault::new(Kind::Integrity, "only samples of the bytes could be compared, and --strict wants proof")
}

/// The digests a content is held to, and whose they are: the user's first.
pub fn digests_wanted(checksum: Option<&Digest>, by: Option<&str>, offered: Option<&Digest>) -> Vec<(Digest, String)> {
    let by = by.unwrap_or("user");
    let mut wanted: Vec<(Digest, String)> = checksum.iter().map(|digest| ((*digest).clone(), by.to_string())).collect();
    if let Some(offer) = offered.filter(|offer| wanted.iter().all(|(digest, _)| digest.algorithm != offer.algorithm)) {
        wanted.push((offer.clone(), "server".to_string()));
    }
    wanted
}
