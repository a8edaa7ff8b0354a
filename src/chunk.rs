//! How a file is cut: fixed-size chunks, numbered from zero. Arithmetic only.
//!
//! The chunk is the unit of record and of verification. The last chunk may be short; an empty file has no
//! chunks at all.

use std::fmt;

/// The chunk size of a file that does not need a larger one, in bytes.
pub const DEFAULT_CHUNK: u64 = 8 << 20;
/// No transfer has more chunks than this, so that its record stays small whatever the size of the file.
pub const MAX_CHUNKS: u64 = 10_000;

/// Bytes `start..end` of a file, half open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// One past the last byte; never below `start`.
    pub end: u64,
}

impl ByteRange {
    /// The range `start..end`; an inverted pair gives the empty range at `start`.
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes that both ranges hold.
    pub fn intersect(&self, other: &Self) -> Self {
        let start = self.start.max(other.start);
        Self::new(start, self.end.min(other.end))
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// The plan by which one file is cut, frozen when the transfer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    length: u64,
    chunk_size: u64,
}

impl Layout {
    /// Cuts `length` bytes into chunks of `chunk_size` bytes (at least 1).
    pub fn new(length: u64, chunk_size: u64) -> Self {
        Self { length, chunk_size: chunk_size.max(1) }
    }

    /// The chunk size for a file of `length` bytes: what was asked for, else [`DEFAULT_CHUNK`], doubled until
    /// there are at most [`MAX_CHUNKS`] chunks.
    pub fn chunk_size_for(length: u64, asked: Option<u64>) -> u64 {
        let mut size = asked.unwrap_or(DEFAULT_CHUNK).max(1);
        while length.div_ceil(size) > MAX_CHUNKS {
            size = size.saturating_mul(2);
        }
        size
    }

    /// The length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The size in bytes of every chunk but the last.
    pub fn chunk_size(&self) -> u64 {
        self.chunk_size
    }

    /// The number of chunks; 0 for an empty file.
    pub fn count(&self) -> u64 {
        self.length.div_ceil(self.chunk_size)
    }

    /// The whole file as a range.
    pub fn whole(&self) -> ByteRange {
        ByteRange::new(0, self.length)
    }

    /// The chunk that holds the byte at `offset`.
    pub fn index_of(&self, offset: u64) -> u64 {
        offset / self.chunk_size
    }

    /// The bytes of chunk `index`, cut at the end of the file; empty for an index past it.
    pub fn range(&self, index: u64) -> ByteRange {
        let start = index.saturating_mul(self.chunk_size).min(self.length);
        ByteRange::new(start, start.saturating_add(self.chunk_size).min(self.length))
    }

    /// Cuts `range` where chunks meet.
    pub fn split(&self, range: ByteRange) -> impl Iterator<Item = ByteRange> + use<> {
        let size = self.chunk_size;
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let end = ((at / size + 1).saturating_mul(size)).min(range.end);
            let piece = ByteRange::new(at, end);
            at = end;
            Some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_double_until_the_record_is_small() {
        assert_eq!(Layout::chunk_size_for(0, None), DEFAULT_CHUNK);
        assert_eq!(Layout::chunk_size_for(DEFAULT_CHUNK * MAX_CHUNKS, None), DEFAULT_CHUNK);
        assert_eq!(Layout::chunk_size_for(DEFAULT_CHUNK * MAX_CHUNKS + 1, None), 2 * DEFAULT_CHUNK);
        assert_eq!(Layout::chunk_size_for(30_000, Some(1)), 4);
        assert!(Layout::new(u64::MAX, Layout::chunk_size_for(u64::MAX, None)).count() <= MAX_CHUNKS);
    }

    #[test]
    fn edges_of_a_layout() {
        let empty = Layout::new(0, 10);
        assert_eq!((empty.count(), empty.range(0)), (0, ByteRange::new(0, 0)));
        let odd = Layout::new(25, 10);
        assert_eq!((odd.count(), odd.range(2), odd.range(3)), (3, ByteRange::new(20, 25), ByteRange::new(25, 25)));
        assert_eq!(
            odd.split(ByteRange::new(5, 25)).collect::<Vec<_>>(),
            [ByteRange::new(5, 10), ByteRange::new(10, 20), ByteRange::new(20, 25)]
        );
    }
}
