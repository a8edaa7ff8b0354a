//! Hashes the beginning of a file as it grows, so that no second, cold read is needed at the end. The bytes are read
//! back from the page cache, on a thread of its own.

use super::recorder::Shared;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::fault::{Fault, Kind};
use crate::record::PrefixHash;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// How much is read and hashed at once, in bytes.
const BLOCK: usize = 256 << 10;
/// After how many bytes the hash state is given to the record.
const SAVE_EVERY: u64 = 16 << 20;

/// The digests of a file that is still growing.
pub struct Follower {
    outcome: oneshot::Receiver<Result<Vec<Digest>, Fault>>,
}

impl Follower {
    pub(super) fn start(shared: &Arc<Shared>, algorithms: &[Algorithm]) -> Self {
        let (tell, outcome) = oneshot::channel();
        let (shared, algorithms) = (shared.clone(), algorithms.to_vec());
        let work = move || drop(tell.send(run(&shared, &algorithms)));
        // Without a thread the sender is dropped, and `digests` says so.
        drop(std::thread::Builder::new().name("hasher".into()).spawn(work));
        Self { outcome }
    }

    /// The digests of the whole file, in the order asked for. Resolves once every byte is there.
    pub async fn digests(self) -> Result<Vec<Digest>, Fault> {
        match self.outcome.await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::new(Kind::Other, "the hashing thread ended early")),
        }
    }
}

/// How far the hashing is.
struct Prefix {
    at: u64,
    hashers: Vec<Hasher>,
    /// The first byte taken out of the set since the last look.
    taken_out: Arc<AtomicU64>,
}

impl Prefix {
    /// From the beginning.
    fn fresh(algorithms: &[Algorithm], taken_out: Arc<AtomicU64>) -> Self {
        Self { at: 0, hashers: algorithms.iter().map(|alg| Hasher::new(*alg)).collect(), taken_out }
    }

    /// Whether bytes that are hashed already have left the set.
    fn is_stale(&self) -> bool {
        self.taken_out.load(Ordering::Relaxed) < self.at
    }

    /// From where an earlier run's saved states end, when there is one for every algorithm and the bytes under
    /// them need no proof; else from the beginning.
    fn restored(shared: &Shared, algorithms: &[Algorithm]) -> Self {
        let mut state = shared.lock();
        let restore = |alg: &Algorithm| {
            let saved = state.record.prefix.get(alg.name())?;
            Some((saved.bytes, Hasher::restore(*alg, &saved.state)?))
        };
        let restored: Option<Vec<(u64, Hasher)>> = algorithms.iter().map(restore).collect();
        let fresh = Self::fresh(algorithms, state.watch_taken_out());
        match restored {
            Some(all) if !all.is_empty() && state.unproven.is_empty() => {
                let at = all[0].0;
                if at > state.ledger.held().prefix() || all.iter().any(|(bytes, _)| *bytes != at) {
                    return fresh;
                }
                Self { at, hashers: all.into_iter().map(|(_, hasher)| hasher).collect(), ..fresh }
            }
            _ => fresh,
        }
    }

    fn save(&self, shared: &Shared) {
        let states = self.hashers.iter().filter_map(|hasher| {
            let hash = PrefixHash { bytes: self.at, state: hasher.save()? };
            Some((hasher.algorithm().name().to_string(), hash))
        });
        let states = states.collect();
        let mut state = shared.lock();
        if !self.is_stale() {
            state.hashed = states;
        }
    }
}

fn run(shared: &Shared, algorithms: &[Algorithm]) -> Result<Vec<Digest>, Fault> {
    let mut prefix = Prefix::restored(shared, algorithms);
    let mut buffer = vec![0; BLOCK];
    let mut saved = prefix.at;
    while let Some(end) = next(shared, algorithms, &mut prefix)? {
        while prefix.at < end {
            let block = &mut buffer[..usize::try_from(end - prefix.at).unwrap_or(usize::MAX).min(BLOCK)];
            let read = shared.data.read_exact_at(block, prefix.at);
            read.map_err(|e| crate::disk::fault("read", &shared.place.data, &e))?;
            prefix.hashers.iter_mut().for_each(|hasher| hasher.update(block));
            prefix.at += block.len() as u64;
            if prefix.is_stale() {
                break;
            }
        }
        if prefix.at >= saved + SAVE_EVERY || prefix.at < saved {
            saved = prefix.at;
            prefix.save(shared);
        }
    }
    Ok(prefix.hashers.into_iter().map(Hasher::finish).collect())
}

/// Waits until there is more to hash and says up to where; `None` when all of the file is hashed. Bytes that were
/// taken back behind us mean starting over.
fn next(shared: &Shared, algorithms: &[Algorithm], prefix: &mut Prefix) -> Result<Option<u64>, Fault> {
    let mut state = shared.lock();
    loop {
        if prefix.is_stale() {
            *prefix = Prefix::fresh(algorithms, prefix.taken_out.clone());
        }
        prefix.taken_out.store(u64::MAX, Ordering::Relaxed);
        let end = state.ledger.held().prefix();
        if end > prefix.at {
            return Ok(Some(end));
        }
        if state.record.length == Some(prefix.at) && state.unproven.is_empty() {
            return Ok(None);
        }
        if state.is_stopped() {
            return Err(Fault::new(Kind::Interrupted, "the transfer ended before its digest was known"));
        }
        state = shared.wait_grown(state);
    }
}
