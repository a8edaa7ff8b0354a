//! The end of a pipe: bytes leave in order, are hashed on their way, and cannot be taken back. Writing may block for as
//! long as the reader likes, so it is done on a thread of its own.

use super::tail::Tail;
use crate::digest::{Digest, Hasher, RunningCrc};
use crate::disk;
use crate::fault::{Fault, Kind};
use bytes::Bytes;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why nothing more can go out, or be had.
#[derive(Debug)]
pub enum Broken {
    /// Whoever read has gone away.
    Gone,
    /// Something went wrong.
    Fault(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What runs along.
#[derive(Default)]
struct Sums {
    /// Of all that went out, against which a second delivery of the same bytes is held.
    crc: RunningCrc,
    hashers: Vec<Hasher>,
}

/// The end of a pipe.
pub struct Drain {
    into: Arc<File>,
    path: PathBuf,
    at: u64,
    sums: Option<Sums>,
    tail: Tail,
}

impl Drain {
    /// Bytes go into `into`, which is called `path`.
    pub fn new(into: File, path: &Path) -> Self {
        Self { into: Arc::new(into), path: path.to_owned(), at: 0, sums: Some(Sums::default()), tail: Tail::default() }
    }

    /// What goes out is hashed for these digests, too. Nothing may have gone out yet.
    pub fn hash(&mut self, digests: impl Iterator<Item = Digest>) {
        if let Some(sums) = &mut self.sums {
            sums.hashers = digests.map(|digest| Hasher::new(digest.algorithm)).collect();
        }
    }

    /// How many bytes have gone out.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The last bytes that have gone out, at most `most` of them; not many more than [`TAIL`](super::tail::TAIL).
    pub fn last(&self, most: u64) -> Vec<u8> {
        self.tail.last(most)
    }

    /// The sum of all that has gone out.
    pub fn crc(&self) -> RunningCrc {
        self.sums.as_ref().map(|sums| sums.crc.clone()).unwrap_or_default()
    }

    /// The digests of all that has gone out, in the order asked for.
    pub fn digests(&self) -> Vec<Digest> {
        let hashers = self.sums.iter().flat_map(|sums| &sums.hashers);
        hashers.map(|hasher| hasher.clone().finish()).collect()
    }

    /// Lets bytes out, and says how many. Must be waited for to its end: what goes out in the meantime is not known.
    pub async fn pass(&mut self, batch: Vec<Bytes>) -> Result<u64, Broken> {
        let ended_early = || Broken::Fault(Fault::new(Kind::Other, "writing ended early"));
        let (into, mut sums) = (self.into.clone(), self.sums.take().ok_or_else(ended_early)?);
        let work = tokio::task::spawn_blocking(move || {
            let mut passed = 0;
            for bytes in &batch {
                disk::write_on(&into, bytes)?;
                sums.crc.update(bytes);
                sums.hashers.iter_mut().for_each(|hasher| hasher.update(bytes));
                passed += bytes.len() as u64;
            }
            Ok::<_, std::io::Error>((sums, passed, batch))
        });
        let (sums, passed, batch) = match work.await.map_err(|_| ended_early())? {
            Ok(done) => done,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(Broken::Gone),
            Err(error) => return Err(Broken::Fault(disk::fault("write to", &self.path, &error))),
        };
        self.sums = Some(sums);
        self.at += passed;
        batch.iter().for_each(|bytes| self.tail.push(bytes));
        Ok(passed)
    }
}
