//! What is read of the source beside the pieces themselves: the names of its chunks for a remote that calls them by
//! their content, samples to compare with what a remote shows, and a digest that a remote can show at its end.

use super::keeper::Keeper;
use super::local::{Beside, ChunkDigests};
use super::{MOST_DIFFERENT, Step, Upload};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::Digest;
use crate::event::Event;
use crate::fault::Fault;
use crate::partial::ledger::Ledger;
use crate::record::PrefixHash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often hashing is shown.
const BEAT: Duration = Duration::from_millis(200);
/// How often the names that are known are saved.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// The length of a sample in bytes.
const SAMPLE: u64 = 16 << 10;
/// Samples of one file, its two ends among them.
const SAMPLES: u64 = 8;

impl Upload<'_> {
    /// Has every chunk's digest computed and told to a remote that calls chunks by their content. An earlier run's are
    /// used as long as the source is the same.
    pub(super) async fn name_chunks(&mut self, keeper: &mut Keeper) -> Result<(), Fault> {
        let remote = self.remote.clone();
        let Some(by_content) = remote.by_content() else { return Ok(()) };
        let (algorithm, layout) = (by_content.algorithm(), self.ledger.layout());
        let key = format!("{algorithm} of chunks");
        if self.record.stamp.as_ref() != Some(self.source.stamp()) {
            self.other_content().await?;
        }
        let known = self.record.prefix.get(&key).map(|saved| unpacked(&saved.state, algorithm)).unwrap_or_default();
        let mut work = ChunkDigests::start(&self.source, algorithm, layout, known);
        let mut saved = Instant::now();
        let digests = loop {
            tokio::select! {
                biased;
                () = self.ground.stop.wait() => {
                    self.keep_names(&key, &work.known());
                    return Err(super::patience::stopped());
                }
                digests = work.digests() => break digests.map_err(|e| self.source.fault(&e))?,
                () = tokio::time::sleep(BEAT) => {
                    self.voice.tell(Event::Hashing { done: work.at(), total: layout.length() });
                    if saved.elapsed() >= SAVE_EVERY && keeper.idle() {
                        saved = Instant::now();
                        self.keep_names(&key, &work.known());
                        self.save_now(keeper).await?;
                    }
                }
            }
        };
        self.keep_names(&key, &digests);
        by_content.take(&digests);
        Ok(())
    }

    /// The source has another content than the upload began with: it is another upload, and the server is to forget
    /// the one of which nothing can be used.
    pub(super) async fn other_content(&mut self) -> Result<(), Fault> {
        self.voice.tell(Event::Restarted { why: format!("{} has changed since its upload began", self.name()) });
        if self.patience.unless_stopped(self.remote.abandon(&self.session)).await?.is_err() {
            self.voice.detail("the server could not be told to forget the old upload");
        }
        self.session = Rc::new(self.remote.prepare());
        self.ledger = Ledger::new(self.ledger.layout());
        self.record.prefix.clear();
        self.record.stale = Default::default();
        self.record.stamp = Some(self.source.stamp().clone());
        Ok(())
    }

    fn keep_names(&mut self, key: &str, digests: &[Digest]) {
        let bytes = self.ledger.layout().length().min(digests.len() as u64 * self.ledger.layout().chunk_size());
        if bytes > 0 {
            self.record.prefix.insert(key.into(), PrefixHash { bytes, state: packed(digests) });
        }
    }

    /// Compares samples of what the remote holds with the source, where it shows them. What differs is sent anew.
    pub(super) async fn check_samples(&mut self) -> Result<Option<Step>, Fault> {
        let remote = self.remote.clone();
        let Some(show) = remote.show() else { return Ok(None) };
        let (layout, session) = (self.ledger.layout(), self.session.clone());
        let mut compared = 0;
        for range in samples(layout.length()) {
            let Ok(shown) = self.patience.unless_stopped(show.bytes(&session, range)).await? else { break };
            let Some(shown) = shown else { break };
            let mut own = Vec::with_capacity(range.len() as usize);
            self.source.read(range, |block| own.extend_from_slice(block)).map_err(|e| self.source.fault(&e))?;
            if own == shown {
                compared += 1;
                continue;
            }
            self.wanting(MOST_DIFFERENT, "the server shows other bytes than were sent")?;
            self.voice.warn("a sample of what the server holds is not what was sent; its chunk is sent again");
            let chunks = ByteRange::new(layout.index_of(range.start), layout.index_of(range.end - 1) + 1);
            (chunks.start..chunks.end).for_each(|index| drop(self.ledger.forget(layout.range(index))));
            self.record.stale.union(&ByteSet::of(chunks));
            return Ok(Some(Step::Send));
        }
        self.sampled = compared;
        Ok(None)
    }

    /// Begins to compute the digest that the remote can show at the end, beside the transfer.
    pub(super) fn begin_digest(&mut self) {
        let Some(algorithm) = self.compares() else { return };
        if self.beside.is_none() && self.digest(algorithm).is_none() {
            self.beside = Some(Beside::start(&self.source, &[algorithm], &self.record.prefix));
        }
    }

    /// Waits for that digest.
    pub(super) async fn digest_to_compare(&mut self) -> Result<(), Fault> {
        self.begin_digest();
        // It may have been told on the way already.
        if self.compares().is_none_or(|algorithm| self.digest(algorithm).is_some()) {
            return Ok(());
        }
        let Some(mut beside) = self.beside.take() else { return Ok(()) };
        let total = self.source.length();
        self.digests = loop {
            tokio::select! {
                biased;
                () = self.ground.stop.wait() => return Err(super::patience::stopped()),
                digests = beside.digests() => break digests.map_err(|e| self.source.fault(&e))?,
                () = tokio::time::sleep(BEAT) => self.voice.tell(Event::Hashing { done: beside.at(), total }),
            }
        };
        Ok(())
    }
}

/// Where to look: both ends, and places between that nobody can foresee.
fn samples(length: u64) -> Vec<ByteRange> {
    if length <= SAMPLE * SAMPLES {
        return Some(ByteRange::new(0, length)).filter(|range| !range.is_empty()).into_iter().collect();
    }
    let between = length / (SAMPLES - 1);
    let inner = (1..SAMPLES - 1).map(|n| {
        let jitter = (crate::engine::retry::jitter() * between as f64) as u64;
        ByteRange::new((n * between + jitter / 2).min(length - SAMPLE), 0)
    });
    let starts = std::iter::once(0).chain(inner.map(|range| range.start)).chain([length - SAMPLE]);
    starts.map(|at| ByteRange::new(at, at + SAMPLE)).collect()
}

/// Digests as text for the record.
fn packed(digests: &[Digest]) -> String {
    let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.bytes.iter().copied()).collect();
    STANDARD_NO_PAD.encode(bytes)
}

/// The digests of such a text; none of one that is damaged.
fn unpacked(text: &str, algorithm: crate::digest::Algorithm) -> Vec<Digest> {
    let bytes = STANDARD_NO_PAD.decode(text).unwrap_or_default();
    if !bytes.len().is_multiple_of(algorithm.size()) {
        return Vec::new();
    }
    bytes.chunks_exact(algorithm.size()).filter_map(|one| Digest::new(algorithm, one.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algorithm, Hasher};
    use proptest::prelude::*;

    #[test]
    fn names_survive_the_record() {
        let digest = |text: &[u8]| {
            let mut hasher = Hasher::new(Algorithm::Sha512);
            hasher.update(text);
            hasher.finish()
        };
        let digests = vec![digest(b"a"), digest(b"b")];
        assert_eq!(unpacked(&packed(&digests), Algorithm::Sha512), digests);
        assert_eq!(unpacked("AAAA", Algorithm::Sha512), []);
        assert_eq!(unpacked("not base64!", Algorithm::Sha512), []);
    }

    proptest! {
        #[test]
        fn samples_lie_inside_and_touch_both_ends(length in 0u64..10_000_000) {
            let samples = samples(length);
            prop_assert!(samples.iter().all(|range| range.end <= length && !range.is_empty()));
            prop_assert!(samples.len() as u64 <= SAMPLES);
            if length > 0 {
                prop_assert_eq!(samples.first().map(|range| range.start), Some(0));
                prop_assert_eq!(samples.last().map(|range| range.end), Some(length));
            }
        }
    }
}
