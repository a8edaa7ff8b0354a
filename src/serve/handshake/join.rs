//! *identify*: equal content that the server holds is offered, and taken up by who can prove to have it too.

use super::{Handler, Outcome, note_facts, problem};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::disk;
use crate::serve::check::{self, Content, Order};
use crate::serve::known::Entry;
use crate::serve::reply::{self, Reply};
use crate::serve::store::in_background;
use crate::serve::upload::{Candidate, Offered, Phase, Upload};
use crate::wire::handshake::{Id, Identity, MAX_PROOF_RANGES, Reason, Status, proof};
use http::StatusCode;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// A proof asks for ranges of at most so many bytes.
const PROOF_RANGE: u64 = 64 << 10;

impl Handler<'_> {
    /// Looks for equal content and lays an offer beside the upload, in place of an older one.
    pub(super) async fn offer(&self, upload: &Arc<Upload>, join: bool, equal: Option<Entry>) {
        let md5 = upload.facts().md5.clone();
        let offered = match (join, md5) {
            (true, Some(md5)) => self.candidate(upload, &md5, equal).await,
            _ => None,
        };
        upload.facts().offer = offered;
    }

    async fn candidate(&self, upload: &Arc<Upload>, md5: &Digest, equal: Option<Entry>) -> Option<Offered> {
        let layout = upload.head.layout;
        let finished = equal.or_else(|| self.finished_with(md5, layout.length()));
        if let Some(entry) = finished {
            let ranges = some_of(&ByteSet::of(layout.whole()));
            return Some(Offered { nonce: nonce()?, ranges, candidate: Candidate::Finished(entry) });
        }
        for other in self.store.unfinished_with(md5, &upload.head) {
            let mut phase = other.phase.lock().await;
            if let Ok(Some(file)) = self.store.file(&other, &mut phase).await {
                let held = file.held();
                if !held.is_empty() {
                    let candidate = Candidate::Unfinished(other.head.id.clone());
                    return Some(Offered { nonce: nonce()?, ranges: some_of(&held), candidate });
                }
            }
        }
        None
    }

    fn finished_with(&self, md5: &Digest, size: u64) -> Option<Entry> {
        let there = |entry: &Entry| {
            let parts: Vec<&str> = entry.path.split('/').collect();
            self.store.root.file(&parts).and_then(|file| disk::stamp(&file).ok()).as_ref() == Some(&entry.stamp)
        };
        self.store.known.with_md5(self.domain, md5, size).into_iter().rev().find(there)
    }

    /// *identify*, and the taking up of an offer.
    pub(super) async fn identify(
        &self,
        upload: &Arc<Upload>,
        identity: Identity,
        patience: Duration,
    ) -> Outcome<Reply> {
        upload.touch(false);
        if let (Some(nonce), Some(given)) = (&identity.nonce, &identity.proof) {
            return self.join(upload, nonce, given, patience).await;
        }
        let Some(md5) = identity.md5 else { return problem(Reason::BadRequest, "an md5 is needed") };
        let if_exists = {
            let mut facts = upload.facts();
            facts.md5 = Some(md5.clone());
            facts.if_exists
        };
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        drop(phase);
        if let Some(file) = file {
            note_facts(&file, if_exists, Some(md5));
            self.offer(upload, true, None).await;
        }
        self.ask(upload).await
    }

    async fn join(&self, upload: &Arc<Upload>, nonce: &Id, given: &str, patience: Duration) -> Outcome<Reply> {
        let offered = upload.facts().offer.take_if(|offered| offered.nonce == *nonce);
        let Some(offered) = offered else { return problem(Reason::ProofFailed, "there is no such offer (any more)") };
        match &offered.candidate {
            Candidate::Finished(entry) => {
                let parts: Vec<&str> = entry.path.split('/').collect();
                let Some(file) = self.store.root.file(&parts) else {
                    return problem(Reason::ProofFailed, "the equal file is not there any more");
                };
                let read = move |buffer: &mut [u8], at| file.read_exact_at(buffer, at).is_ok();
                proven(&offered, given, read).await?;
                self.adopt(upload, entry.clone(), patience).await
            }
            Candidate::Unfinished(id) => {
                let Some(other) = self.store.find(id, self.domain) else {
                    return problem(Reason::ProofFailed, "the equal upload is not there any more");
                };
                let mut phase = other.phase.lock().await;
                let Some(file) = self.store.file(&other, &mut phase).await? else {
                    return problem(Reason::ProofFailed, "the equal upload has ended; tell the md5 again");
                };
                drop(phase);
                let read = move |buffer: &mut [u8], at| file.read_at(buffer, at).is_ok();
                proven(&offered, given, read).await?;
                other.touch(false);
                let status = Status { joined: true, ..self.status(&other).await? };
                Ok(reply::json(StatusCode::OK, &status))
            }
        }
    }

    /// Lets a finished file's content be this upload's.
    async fn adopt(&self, upload: &Arc<Upload>, entry: Entry, patience: Duration) -> Outcome<Reply> {
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let (Some(file), false) = (file, matches!(*phase, Phase::Checking(..))) else {
            drop(phase);
            return self.ask(upload).await;
        };
        if upload.has_writers() {
            return problem(Reason::Busy, "chunks are being written");
        }
        let Some(md5) = upload.facts().md5.clone() else { return problem(Reason::BadRequest, "an md5 is needed") };
        let order = Order {
            target: check::parts_of(&upload.head.folder, &upload.head.name),
            content: Content::Equal(entry, md5),
        };
        let over = check::start(self.store, upload, &mut phase, file, order);
        drop(phase);
        self.wait(upload, over, StatusCode::OK, patience).await
    }
}

/// Whether the client has the bytes that were offered.
async fn proven(offered: &Offered, given: &str, read: impl Fn(&mut [u8], u64) -> bool + Send + 'static) -> Outcome<()> {
    let (nonce, ranges) = (offered.nonce.clone(), offered.ranges.clone());
    let hashed = in_background(move || {
        let mut hasher = proof(&nonce);
        let mut buffer = vec![0; PROOF_RANGE as usize];
        for range in ranges.runs() {
            let mut at = range.start;
            while at < range.end {
                let block = &mut buffer[..(range.end - at).min(PROOF_RANGE) as usize];
                if !read(block, at) {
                    return Ok(None);
                }
                hasher.update(block);
                at += block.len() as u64;
            }
        }
        Ok(Some(hasher.finish()))
    });
    let given = Digest::from_hex(Algorithm::Sha256, given);
    match hashed.await {
        Ok(Some(expected)) if given.as_ref() == Some(&expected) => Ok(()),
        _ => problem(Reason::ProofFailed, "the proof is not that of the bytes offered"),
    }
}

/// Some ranges of what is held, chosen anew each time so that no proof can be prepared: all of it when it is little.
fn some_of(held: &ByteSet) -> ByteSet {
    let total = held.len();
    if total <= MAX_PROOF_RANGES as u64 * PROOF_RANGE && held.runs().count() <= MAX_PROOF_RANGES {
        return held.clone();
    }
    let mut chosen = ByteSet::new();
    for _ in 0..MAX_PROOF_RANGES {
        let mut bits = [0; 8];
        // Without randomness the ranges are at least spread: a proof still needs their bytes.
        let _ = getrandom::fill(&mut bits);
        let mut skip = u64::from_le_bytes(bits) % total;
        for run in held.runs() {
            if skip < run.len() {
                let start = run.start + skip;
                chosen.insert(ByteRange::new(start, (start + PROOF_RANGE).min(run.end)));
                break;
            }
            skip -= run.len();
        }
    }
    chosen
}

fn nonce() -> Option<Id> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok().map(|()| Id::new(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::handshake::MAX_PROOF_BYTES;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is held, an offer asks for held bytes and keeps its bounds.
        #[test]
        fn offers_keep_their_bounds(runs in prop::collection::vec((0u64..1 << 40, 1u64..1 << 32), 1..40)) {
            let held: ByteSet = runs.into_iter().map(|(start, len)| ByteRange::new(start, start + len)).collect();
            let chosen = some_of(&held);
            prop_assert!(!chosen.is_empty() && chosen.runs().count() <= MAX_PROOF_RANGES);
            prop_assert!(chosen.len() <= MAX_PROOF_BYTES && chosen.runs().all(|run| held.contains(run)));
        }
    }
}
