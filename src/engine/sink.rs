//! Where a crew's bytes go: into a partial file, or through a pipe. The one place that asks which.

use super::pipe::Pipe;
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::fault::{Fault, Kind};
use crate::partial::{PartialFile, Writer};
use bytes::Bytes;
use std::rc::Rc;

/// Where bytes go. Clones are the same place.
#[derive(Clone)]
pub enum Sink {
    /// A file that is recorded and can be gone on with.
    File(PartialFile),
    /// Bytes that leave in order and are gone; requests are of pieces of this many bytes.
    Pipe(Rc<Pipe>, u64),
}

/// Consecutive bytes of a range on their way in.
pub enum Outlet {
    /// Into a file.
    File(Writer),
    /// Into a pipe.
    Pipe {
        /// Which.
        pipe: Rc<Pipe>,
        /// Where the next byte goes.
        at: u64,
        /// One past the last byte.
        end: u64,
    },
}

impl Sink {
    /// The length of the content in bytes, where known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::File(file) => file.length(),
            Self::Pipe(pipe, _) => Some(pipe.length()),
        }
    }

    /// On multiples of what requests should end.
    pub fn chunk_size(&self) -> u64 {
        match self {
            Self::File(file) => file.layout().chunk_size(),
            Self::Pipe(_, piece) => *piece,
        }
    }

    /// The right to put in the bytes of a range; `None` when somebody else has it.
    pub fn outlet(&self, range: ByteRange) -> Option<Outlet> {
        match self {
            Self::File(file) => file.writer(range).map(Outlet::File),
            Self::Pipe(pipe, _) => Some(Outlet::Pipe { pipe: pipe.clone(), at: range.start, end: range.end }),
        }
    }

    /// Waits until a byte at `at` has room. `false`: it had room at once.
    pub async fn room(&self, at: u64) -> bool {
        match self {
            Self::Pipe(pipe, _) if !pipe.has_room(at) => {
                pipe.room(at).await;
                true
            }
            Self::File(_) | Self::Pipe(..) => false,
        }
    }

    /// These bytes turned out wrong: they are to be had again. Gives what is missing now.
    pub async fn take_back(&self, wrong: ByteRange) -> Result<ByteSet, Fault> {
        match self {
            Self::File(file) => {
                let mut gone = file.held();
                file.forget(&ByteSet::of(wrong)).await?;
                gone.subtract(&file.held());
                Ok(gone)
            }
            Self::Pipe(pipe, _) if pipe.withdraw(wrong) => Ok(ByteSet::of(wrong)),
            Self::Pipe(..) => {
                let text = "bytes came that do not match their Content-Digest, and some of them have gone out already";
                Err(Fault::new(Kind::Integrity, text))
            }
        }
    }

    /// The bytes just before `at`, at most `most` of them, as far as they can be read.
    pub fn before(&self, at: u64, most: u64) -> Vec<u8> {
        match self {
            Self::File(file) => {
                let held = file.held();
                let run = held.runs().find(|run| run.start < at && at <= run.end);
                let start = run.map_or(at, |run| run.start.max(at.saturating_sub(most)));
                let mut bytes = vec![0; usize::try_from(at - start).unwrap_or(0)];
                match file.read_at(&mut bytes, start) {
                    Ok(()) => bytes,
                    Err(_) => Vec::new(),
                }
            }
            Self::Pipe(pipe, _) => pipe.before(at, most),
        }
    }

    /// The bytes from `at` on, at most `most` of them, as far as they can be read.
    pub fn after(&self, at: u64, most: u64) -> Vec<u8> {
        let known = self.known();
        let end = known.iter().find(|run| run.start <= at && at < run.end).map_or(at, |run| run.end.min(at + most));
        self.read(ByteRange::new(at, end)).unwrap_or_default()
    }

    /// The bytes that can be read again.
    pub fn known(&self) -> Vec<ByteRange> {
        match self {
            Self::File(file) => file.held().runs().collect(),
            Self::Pipe(..) => Vec::new(),
        }
    }

    /// The bytes of a range, where they are here.
    pub fn read(&self, range: ByteRange) -> Option<Vec<u8>> {
        let Self::File(file) = self else { return None };
        let mut bytes = vec![0; usize::try_from(range.len()).ok()?];
        let here = file.held().contains(range) && file.read_at(&mut bytes, range.start).is_ok();
        here.then_some(bytes)
    }

    /// How many bytes of the content are there or have gone out.
    pub fn done(&self) -> u64 {
        match self {
            Self::File(file) => file.held().len(),
            Self::Pipe(pipe, _) => pipe.at(),
        }
    }
}

impl Outlet {
    /// Where the next byte goes.
    pub fn at(&self) -> u64 {
        match self {
            Self::File(writer) => writer.at(),
            Self::Pipe { at, .. } => *at,
        }
    }

    /// One past the last byte it may put in.
    pub fn end(&self) -> u64 {
        match self {
            Self::File(writer) => writer.end(),
            Self::Pipe { end, .. } => *end,
        }
    }

    /// Gives the bytes from `to` on to others.
    pub fn shrink(&mut self, to: u64) {
        match self {
            Self::File(writer) => writer.shrink(to),
            Self::Pipe { at, end, .. } => *end = to.clamp(*at, *end),
        }
    }

    /// Puts the next bytes in.
    pub fn put(&mut self, bytes: Bytes) -> Result<(), Fault> {
        match self {
            Self::File(writer) => writer.write(&bytes),
            Self::Pipe { pipe, at, .. } => {
                pipe.put(*at, bytes.clone());
                *at += bytes.len() as u64;
                Ok(())
            }
        }
    }
}
