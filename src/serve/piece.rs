//! A piece of a chunk on its way in: bytes that are held already are compared, the others are written, and none of
//! them counts before the digest of the whole piece agrees. Nothing is collected in memory.

use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::{Digest, Hasher};
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
}

impl Piece {
    /// A piece of the file on `ground`, to be held to `digests`.
    pub fn new(ground: Ground, range: ByteRange, digests: &[Digest]) -> Self {
        let hashers = digests.iter().map(|digest| (digest.clone(), Hasher::new(digest.algorithm))).collect();
        let held = ground.held(range);
        Self { ground, range, at: range.start, held, draft: None, written: Vec::new(), hashers }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if bytes.len() as u64 > self.range.end - self.at {
            return Err(Refused::TooLong);
        }
        self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = ByteRange::new(self.at, self.at + rest.len() as u64);
            let gap = self.held.missing(left).next();
            let held_end = gap.map_or(left.end, |gap| gap.start);
            let (now, later) = if held_end > self.at {
                rest.split_at((held_end - self.at) as usize)
            } else {
                rest.split_at(gap.map_or(0, |gap| gap.len()) as usize)
            };
            match held_end > self.at {
                true => self.compare(now)?,
                false => self.write(now)?,
            }
            self.at += now.len() as u64;
            rest = later;
        }
        Ok(())
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

    fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if self.draft.as_ref().is_none_or(|draft| draft.at() != self.at) {
            self.written.extend(self.draft.take());
            let gap = self.held.missing(ByteRange::new(self.at, self.range.end)).next().ok_or(Refused::Busy)?;
            let Ground::Partial(file) = &self.ground else { return Err(Refused::Differs) };
            self.draft = Some(file.draft(gap).ok_or(Refused::Busy)?);
        }
        match &mut self.draft {
            Some(draft) => draft.write(bytes).map_err(Refused::Disk),
            None => Err(Refused::Busy),
        }
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
        let new = !self.written.is_empty();
        self.written.drain(..).for_each(Draft::accept);
        Ok(new)
    }
}
