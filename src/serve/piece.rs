//! A piece of a chunk on its way in: bytes that are held already are compared, the others are written, and none of
//! them counts before the digest of the whole piece agrees. Nothing is collected in memory.

use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Crc, Digest, Hasher};
use crate::disk;
use crate::fault::Fault;
use crate::partial::{Draft, PartialFile};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Held bytes are compared in blocks of so many bytes.
const BLOCK: usize = 64 << 10;

/// Where bytes that are held lie, and whether more may be written there.
pub enum Ground {
    /// An unfinished file.
    Partial(PartialFile),
    /// A finished one: all is held.
    Finished(File),
}

impl Ground {
    fn held(&self, range: ByteRange) -> ByteSet {
        match self {
            Self::Partial(file) => file.held().within(range),
            Self::Finished(_) => ByteSet::of(range),
        }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<(), Fault> {
        match self {
            Self::Partial(file) => file.read_at(buffer, at),
            Self::Finished(file) => {
                file.read_exact_at(buffer, at).map_err(|e| disk::fault("read", Path::new("a finished file"), &e))
            }
        }
    }
}

/// Why a piece is not taken.
#[derive(Debug)]
pub enum Refused {
    /// More bytes than the piece has.
    TooLong,
    /// The connection ended before the piece did.
    TooShort,
    /// Other bytes are held there.
    Differs,
    /// Somebody else is writing there.
    Busy,
    /// Its bytes are not what this digest says.
    Mismatch(Digest),
    /// The disk failed.
    Disk(Fault),
}

/// The piece.
pub struct Piece {
    ground: Ground,
    range: ByteRange,
    at: u64,
    held: ByteSet,
    draft: Option<Draft>,
    written: Vec<Draft>,
    hashers: Vec<(Digest, Hasher)>,
    /// What the sum of all bytes must be, where all of them are written: then it is known without hashing them again.
    sums: Vec<Digest>,
}

impl Piece {
    /// A piece of the file on `ground`, to be held to `digests`.
    pub fn new(ground: Ground, range: ByteRange, digests: &[Digest]) -> Self {
        let held = ground.held(range);
        let is_sum = |digest: &Digest| digest.algorithm == Algorithm::Crc64Nvme && held.is_empty();
        let (sums, others): (Vec<Digest>, Vec<Digest>) = digests.iter().cloned().partition(is_sum);
        let hashers = others.into_iter().map(|digest| (digest.clone(), Hasher::new(digest.algorithm))).collect();
        Self { ground, range, at: range.start, held, draft: None, written: Vec::new(), hashers, sums }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if bytes.len() as u64 > self.range.end - self.at {
            return Err(Refused::TooLong);
        }
        self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
        let mut rest = bytes;
        while !rest.is_empty() {
            let (length, held) = self.next(rest.len());
            let (now, later) = rest.split_at(length);
            match held {
                true => self.compare(now)?,
                false => self.draft()?.write(now).map_err(Refused::Disk)?,
            }
            self.at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Takes the next bytes from the same place in `from`, and fills `buffer`, which says how many, with them; what is
    /// missing here is shared with that file where the filesystem can.
    pub fn copy(&mut self, from: &File, buffer: &mut [u8]) -> Result<(), Refused> {
        let mut rest = &mut buffer[..];
        while !rest.is_empty() {
            let (length, held) = self.next(rest.len());
            let (now, later) = rest.split_at_mut(length);
            match held {
                true => {
                    let lost = |e| Refused::Disk(disk::fault("read", Path::new("a finished file"), &e));
                    from.read_exact_at(now, self.at).map_err(lost)?;
                    self.compare(now)?;
                }
                false => self.draft()?.copy_in(from, now).map_err(Refused::Disk)?,
            }
            self.at += now.len() as u64;
            rest = later;
        }
        self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(buffer));
        Ok(())
    }

    /// How many of the next `most` bytes are alike, and whether they are held.
    fn next(&self, most: usize) -> (usize, bool) {
        let left = ByteRange::new(self.at, self.at + most as u64);
        match self.held.missing(left).next() {
            None => (most, true),
            Some(gap) if gap.start > self.at => ((gap.start - self.at) as usize, true),
            Some(gap) => (gap.len() as usize, false),
        }
    }

    fn compare(&self, bytes: &[u8]) -> Result<(), Refused> {
        let mut buffer = [0; BLOCK];
        let mut at = self.at;
        for block in bytes.chunks(BLOCK) {
            let there = &mut buffer[..block.len()];
            self.ground.read_at(there, at).map_err(Refused::Disk)?;
            if there != block {
                return Err(Refused::Differs);
            }
            at += block.len() as u64;
        }
        Ok(())
    }

    /// Whoever writes what comes next.
    fn draft(&mut self) -> Result<&mut Draft, Refused> {
        if self.draft.as_ref().is_none_or(|draft| draft.at() != self.at) {
            self.written.extend(self.draft.take());
            let gap = self.held.missing(ByteRange::new(self.at, self.range.end)).next().ok_or(Refused::Busy)?;
            let Ground::Partial(file) = &self.ground else { return Err(Refused::Differs) };
            self.draft = Some(file.draft(gap).ok_or(Refused::Busy)?);
        }
        self.draft.as_mut().ok_or(Refused::Busy)
    }

    /// The end of the body: from now on the bytes count, when they are all there and as their digests say. Tells
    /// whether any of them are new.
    pub fn accept(mut self) -> Result<bool, Refused> {
        if self.at != self.range.end {
            return Err(Refused::TooShort);
        }
        for (told, hasher) in std::mem::take(&mut self.hashers) {
            if hasher.finish() != told {
                return Err(Refused::Mismatch(told));
            }
        }
        self.written.extend(self.draft.take());
        let sum = self.written.iter().map(Draft::sum).fold(Crc::EMPTY, Crc::then).digest();
        if let Some(told) = self.sums.iter().find(|told| **told != sum) {
            return Err(Refused::Mismatch(told.clone()));
        }
        let new = !self.written.is_empty();
        self.written.drain(..).for_each(Draft::accept);
        Ok(new)
    }
}
