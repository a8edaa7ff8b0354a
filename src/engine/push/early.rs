//! The digest that some remotes know a file by: computed before their first request, shown while it is, gone on with
//! after an interruption, and kept with the stamp of the source it was computed of.

use super::Upload;
use super::keeper::Keeper;
use super::local::Beside;
use super::transfer::SAVE_EVERY;
use crate::digest::Digest;
use crate::disk;
use crate::event::Event;
use crate::fault::{Fault, Kind};
use crate::partial::ledger::Ledger;
use crate::remote::Early;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often it is shown how far it is.
const BEAT: Duration = Duration::from_millis(100);

impl Upload<'_> {
    /// Sees to it that the record has the digest that the remote asks for, of the source as it is now.
    pub(super) async fn identify_early(&mut self, keeper: &mut Keeper) -> Result<(), Fault> {
        let Some(early) = self.remote.habits().early else { return Ok(()) };
        let fits = self.record.stamp.as_ref() == Some(self.source.stamp());
        let known = self.record.identity.take();
        if fits && known.as_ref().is_some_and(|known| known.algorithm == early.algorithm) {
            self.record.identity = known;
            return Ok(());
        }
        // With a digest of what may be another content the record stays as it is until the new one is known: otherwise
        // nobody would compare them. Without one it is of this very source.
        let keep = known.is_none();
        if keep {
            if !fits {
                self.record.prefix.clear();
            }
            self.record.stamp = Some(self.source.stamp().clone());
        }
        self.record.identity.clone_from(&known);
        let found = self.hash_early(early, keep, keeper).await?;
        self.record.stamp = Some(self.source.stamp().clone());
        match known {
            Some(known) if known != found => self.is_another(&known)?,
            // A digest of the beginning alone does not show that the rest is the same.
            Some(_) if early.first.is_some() => self.record.stamp = None,
            _ => {}
        }
        self.record.identity = Some(found);
        self.record.prefix.clear();
        self.beside = None;
        Ok(())
    }

    async fn hash_early(&mut self, early: Early, keep: bool, keeper: &mut Keeper) -> Result<Digest, Fault> {
        let total = early.first.unwrap_or(u64::MAX).min(self.source.length());
        let from = if keep { self.record.prefix.clone() } else { BTreeMap::new() };
        let mut beside = Beside::of_first(&self.source, total, &[early.algorithm], &from);
        let mut saved = Instant::now();
        self.voice.tell(Event::Hashing { done: beside.at(), total });
        let digests = loop {
            tokio::select! {
                biased;
                () = self.ground.stop.wait() => {
                    self.keep_state(keep, &beside);
                    return Err(super::patience::stopped());
                }
                digests = beside.digests() => break digests.map_err(|e| self.source.fault(&e))?,
                () = tokio::time::sleep(BEAT) => self.voice.tell(Event::Hashing { done: beside.at(), total }),
            }
            if keep && saved.elapsed() >= SAVE_EVERY && keeper.idle() {
                saved = Instant::now();
                self.keep_state(keep, &beside);
                let record = self.snapshot();
                self.saved(keeper.save(record).await)?;
            }
        };
        self.voice.tell(Event::Hashing { done: total, total });
        let digest = digests.into_iter().next();
        digest.ok_or_else(|| Fault::new(Kind::Other, "the digest of the file is not known"))
    }

    fn keep_state(&mut self, keep: bool, beside: &Beside) {
        if let Some(state) = beside.saved().filter(|_| keep) {
            self.record.prefix = state;
        }
    }

    /// The remote would know this content by another name: what it holds belongs to the old one.
    fn is_another(&mut self, known: &Digest) -> Result<(), Fault> {
        let why = format!("its {} is no longer the one that its upload began with", known.algorithm);
        if self.job.no_restart {
            return Err(Fault::new(Kind::Changed, format!("{}: {why}", disk::shown(&self.job.source))));
        }
        self.voice.tell(Event::Restarted { why });
        self.session = Rc::new(self.remote.prepare());
        self.ledger = Ledger::new(self.ledger.layout());
        self.record.stale = Default::default();
        self.record.sent = None;
        Ok(())
    }
}
