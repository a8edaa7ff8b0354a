//! The last bytes that went out of a pipe, kept to hold another answer against them.

use bytes::Bytes;
use std::collections::VecDeque;

/// How many of them are kept at least, in bytes, where there were so many.
pub const TAIL: u64 = 64 << 10;

/// The last bytes, in the pieces they came in.
#[derive(Debug, Default)]
pub struct Tail {
    pieces: VecDeque<Bytes>,
    held: u64,
}

impl Tail {
    /// These went out behind all others.
    pub fn push(&mut self, bytes: &Bytes) {
        self.pieces.push_back(bytes.clone());
        self.held += bytes.len() as u64;
        while let Some(first) = self.pieces.front().map(|first| first.len() as u64)
            && self.held - first >= TAIL
        {
            self.pieces.pop_front();
            self.held -= first;
        }
    }

    /// The pieces, the last one first.
    pub fn backwards(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter().rev()
    }

    /// The last bytes, at most `most` of them.
    pub fn last(&self, most: u64) -> Vec<u8> {
        let all: Vec<u8> = self.pieces.iter().flatten().copied().collect();
        let surplus = all.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        all[surplus..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_and_not_many_more() {
        let mut tail = Tail::default();
        for n in 0..100u8 {
            tail.push(&Bytes::from(vec![n; 10_000]));
        }
        assert!((TAIL..TAIL + 10_000).contains(&tail.held), "{}", tail.held);
        let last = tail.last(10_001);
        assert_eq!((last.len(), last[0], last[1], last[10_000]), (10_001, 98, 99, 99));
        assert_eq!(tail.last(u64::MAX).len() as u64, tail.held);
        assert!(Tail::default().last(5).is_empty());
    }
}
