//! Bytes of a file that were read a moment ago and are about to be sent: whoever reads a part for its checksum leaves
//! its blocks here, so that the request finds them in the processor's cache instead of reading them again. The memory
//! is bounded and used over and over; where it does not reach, the file is read a second time.

use crate::chunk::ByteRange;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// How much of a file is read at once, in bytes.
pub const BLOCK: usize = 128 << 10;
/// So many blocks are kept for later at most, in all requests together: two parts of 4 MiB.
const MOST_KEPT: usize = 64;

/// Blocks that nobody uses just now, and how many are kept for later.
struct Stock {
    free: Vec<Box<[u8]>>,
    kept: usize,
}

static STOCK: Mutex<Stock> = Mutex::new(Stock { free: Vec::new(), kept: 0 });

fn stock() -> std::sync::MutexGuard<'static, Stock> {
    STOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A block out of the stock, to which it goes back.
struct Block {
    memory: Box<[u8]>,
    length: usize,
    /// It counts as kept for later.
    kept: bool,
}

impl Block {
    fn take() -> Self {
        let memory = stock().free.pop().unwrap_or_else(|| vec![0; BLOCK].into());
        Self { memory, length: 0, kept: false }
    }

    /// Counts it as kept, where there is room.
    fn keep(mut self) -> Option<Self> {
        let mut stock = stock();
        self.kept = stock.kept < MOST_KEPT;
        stock.kept += usize::from(self.kept);
        drop(stock);
        self.kept.then_some(self)
    }

    fn read(&mut self, file: &File, range: ByteRange) -> io::Result<()> {
        self.length = range.len().min(BLOCK as u64) as usize;
        file.read_exact_at(&mut self.memory[..self.length], range.start)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut stock = stock();
        stock.kept -= usize::from(self.kept);
        if stock.free.len() < MOST_KEPT {
            stock.free.push(std::mem::take(&mut self.memory));
        }
    }
}

/// Bytes of a file from `range.start` on: a block, or less where the range ends before.
///
/// # Errors
/// Those of reading; [`io::ErrorKind::UnexpectedEof`] where the file is shorter than the range.
pub fn read_block(file: &File, range: ByteRange) -> io::Result<Bytes> {
    let mut block = Block::take();
    block.read(file, range)?;
    Ok(Bytes::from_owner(block))
}

/// Blocks of one part, by where they begin. Clones share them; each is sent once, and whoever comes again reads the file.
#[derive(Clone, Default)]
pub struct Warm(Arc<Mutex<VecDeque<(u64, Bytes)>>>);

impl Warm {
    /// Reads a range of a file, block by block in order, and keeps as many as there is room for.
    ///
    /// # Errors
    /// Those of reading; [`io::ErrorKind::UnexpectedEof`] where the file is shorter than the range.
    pub fn read(file: &File, range: ByteRange, mut see: impl FnMut(&[u8])) -> io::Result<Self> {
        let mut kept = VecDeque::new();
        let mut rest = range;
        while !rest.is_empty() {
            let mut block = Block::take();
            block.read(file, rest)?;
            see(block.as_ref());
            let at = rest.start;
            rest = ByteRange::new(at + block.length as u64, rest.end);
            kept.extend(block.keep().map(|block| (at, Bytes::from_owner(block))));
        }
        Ok(Self(Arc::new(Mutex::new(kept))))
    }

    /// The first bytes of a range, if they are here.
    pub(super) fn take(&self, range: ByteRange) -> Option<Bytes> {
        let (at, most) = (range.start, usize::try_from(range.len()).unwrap_or(usize::MAX));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.front().is_some_and(|(start, _)| *start < at) {
            kept.pop_front();
        }
        let (start, mut bytes) = kept.pop_front_if(|(start, _)| *start == at)?;
        let now = bytes.split_to(most.min(bytes.len()));
        if bytes.has_remaining() {
            kept.push_front((start + now.len() as u64, bytes));
        }
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(length: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..length).map(|at| (at / 3) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    /// All of `range`, from memory or from the file, as a request takes it; and how much of it came from memory.
    fn sent(warm: &Warm, file: &File, range: ByteRange, most: u64) -> (Vec<u8>, usize) {
        let (mut bytes, mut at, mut from_memory) = (Vec::new(), range.start, 0);
        while at < range.end {
            let next = ByteRange::new(at, range.end.min(at + most));
            let kept = warm.take(next);
            from_memory += kept.as_ref().map_or(0, Bytes::len);
            let block = kept.unwrap_or_else(|| read_block(file, next).unwrap());
            at += block.len() as u64;
            bytes.extend_from_slice(&block);
        }
        (bytes, from_memory)
    }

    #[test]
    fn what_is_sent_is_the_range_once_twice_and_in_frames_of_any_size() {
        let (file, bytes) = file(3 * BLOCK + 5);
        for most in [BLOCK as u64, 1000, u64::MAX / 2] {
            let range = ByteRange::new(7, bytes.len() as u64 - 3);
            let mut seen = Vec::new();
            let warm = Warm::read(&file, range, |block| seen.extend_from_slice(block)).unwrap();
            assert_eq!(seen, bytes[7..bytes.len() - 3]);
            for _ in 0..2 {
                assert_eq!(sent(&warm, &file, range, most).0, seen);
            }
            // From somewhere in the middle: what lies before is let go.
            let warm = Warm::read(&file, range, |_| ()).unwrap();
            let later = ByteRange::new(2 * BLOCK as u64 + 1, range.end);
            assert_eq!(sent(&warm, &file, later, most).0, bytes[later.start as usize..later.end as usize]);
        }
        assert_eq!(read_block(&file, ByteRange::new(0, u64::MAX / 2)).unwrap().len(), BLOCK);
        let beyond = ByteRange::new(bytes.len() as u64 - 1, bytes.len() as u64 + 1);
        assert_eq!(read_block(&file, beyond).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let (file, bytes) = file((MOST_KEPT + 9) * BLOCK);
        let whole = ByteRange::new(0, bytes.len() as u64);
        for _ in 0..3 {
            let warm = Warm::read(&file, whole, |_| ()).unwrap();
            assert!(stock().kept <= MOST_KEPT);
            let (same, from_memory) = sent(&warm, &file, whole, BLOCK as u64);
            assert!(same == bytes && from_memory > 0 && from_memory <= MOST_KEPT * BLOCK);
        }
        assert!(stock().free.len() <= MOST_KEPT);
    }
}
