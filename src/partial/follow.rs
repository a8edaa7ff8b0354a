//! Hashes the beginning of a file as it grows, so that no second, cold read is needed at the end. The bytes are read
//! back from the page cache, on a thread of its own.

use super::recorder::Shared;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::fault::{Fault, Kind};
use crate::record::PrefixHash;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
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
    taken_back: u64,
}

impl Prefix {
    /// From the beginning.
    fn fresh(algorithms: &[Algorithm], taken_back: u64) -> Self {
        Self { at: 0, hashers: algorithms.iter().map(|alg| Hasher::new(*alg)).collect(), taken_back }
    }

    /// From where an earlier run's saved states end, when there is one for every algorithm and the bytes under
    /// them need no proof; else from the beginning.
    fn restored(shared: &Shared, algorithms: &[Algorithm]) -> Self {
        let state = shared.lock();
        let restore = |alg: &Algorithm| {
            let saved = state.record.prefix.get(alg.name())?;
            Some((saved.bytes, Hasher::restore(*alg, &saved.state)?))
        };
        let restored: Option<Vec<(u64, Hasher)>> = algorithms.iter().map(restore).collect();
        let fresh = Self::fresh(algorithms, state.taken_back.0);
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
        shared.lock().hashed = states.collect();
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
            if shared.lock().taken_back.0 != prefix.taken_back {
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
        let (count, first) = state.taken_back;
        if count != prefix.taken_back {
            match first < prefix.at {
                true => *prefix = Prefix::fresh(algorithms, count),
                false => prefix.taken_back = count,
            }
        }
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
