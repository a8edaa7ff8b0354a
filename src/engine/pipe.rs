//! What has arrived for a pipe and not gone out yet: several connections put bytes in wherever they belong, one reader
//! takes them out in order. Memory is bounded: nothing is put in further ahead of what has gone out than the buffer is
//! large.

use super::tail::Tail;
use crate::chunk::ByteRange;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::Notify;

/// The bytes of one file on their way into a pipe.
pub struct Pipe {
    length: u64,
    buffer: u64,
    segments: RefCell<BTreeMap<u64, Bytes>>,
    /// Everything before has been taken to be written.
    taken: Cell<u64>,
    /// Everything before has gone out.
    passed: Cell<u64>,
    /// What was taken last, in order; ends at `taken`.
    tail: RefCell<Tail>,
    closed: Cell<bool>,
    arrived: Notify,
    room: Notify,
}

impl Pipe {
    /// For a file of `length` bytes, with at most `buffer` bytes in memory.
    pub fn new(length: u64, buffer: u64) -> Rc<Self> {
        Rc::new(Self {
            length,
            buffer: buffer.max(1),
            segments: RefCell::default(),
            taken: Cell::new(0),
            passed: Cell::new(0),
            tail: RefCell::default(),
            closed: Cell::new(false),
            arrived: Notify::new(),
            room: Notify::new(),
        })
    }

    /// The length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The most that is kept in memory, in bytes.
    pub fn buffer(&self) -> u64 {
        self.buffer
    }

    /// Everything before this byte has gone out.
    pub fn at(&self) -> u64 {
        self.passed.get()
    }

    /// Puts bytes in at `at`. Nobody else may put any there.
    pub fn put(&self, at: u64, bytes: Bytes) {
        if !bytes.is_empty() {
            self.segments.borrow_mut().insert(at, bytes);
        }
        if at == self.taken.get() {
            self.arrived.notify_one();
        }
    }

    /// Whether a byte at `at` has room.
    pub fn has_room(&self, at: u64) -> bool {
        at < self.passed.get().saturating_add(self.buffer)
    }

    /// Resolves when a byte at `at` has room.
    pub async fn room(&self, at: u64) {
        loop {
            let moved = self.room.notified();
            if self.has_room(at) {
                return;
            }
            moved.await;
        }
    }

    /// Nothing more comes in; what is there in order still goes out.
    pub fn close(&self) {
        self.closed.set(true);
        self.arrived.notify_one();
    }

    /// The next bytes in order, at most about `most` of them, as soon as there are some; none once all were taken, or
    /// all there are after it was closed.
    pub async fn take(&self, most: usize) -> Vec<Bytes> {
        loop {
            let batch = self.ready(most);
            if !batch.is_empty() || self.taken.get() >= self.length || self.closed.get() {
                return batch;
            }
            self.arrived.notified().await;
        }
    }

    fn ready(&self, most: usize) -> Vec<Bytes> {
        let (mut batch, mut amount) = (Vec::new(), 0);
        let mut segments = self.segments.borrow_mut();
        while amount < most
            && let Some(entry) = segments.first_entry().filter(|entry| *entry.key() == self.taken.get())
        {
            let bytes = entry.remove();
            amount += bytes.len();
            self.taken.set(self.taken.get() + bytes.len() as u64);
            self.tail.borrow_mut().push(&bytes);
            batch.push(bytes);
        }
        batch
    }

    /// `bytes` more have gone out.
    pub fn pass(&self, bytes: u64) {
        self.passed.set(self.passed.get() + bytes);
        self.room.notify_waiters();
    }

    /// Takes bytes back that turned out wrong; `false` when some of them are on their way out.
    pub fn withdraw(&self, range: ByteRange) -> bool {
        if range.start < self.taken.get() {
            return false;
        }
        self.segments.borrow_mut().retain(|at, _| !(range.start..range.end).contains(at));
        true
    }

    /// The bytes just before `at` that are still in memory, at most `most` of them.
    pub fn before(&self, at: u64, most: u64) -> Vec<u8> {
        let mut pieces: Vec<Bytes> = Vec::new();
        let (segments, tail) = (self.segments.borrow(), self.tail.borrow());
        let (mut start, mut amount) = (at, 0u64);
        let mut older = tail.backwards();
        while amount < most {
            let segment =
                segments.range(..start).next_back().filter(|(from, bytes)| **from + bytes.len() as u64 == start);
            let bytes = match segment {
                Some((_, bytes)) => bytes,
                None if start == self.taken.get() || (start < self.taken.get() && !pieces.is_empty()) => {
                    match older.next() {
                        Some(bytes) => bytes,
                        None => break,
                    }
                }
                None => break,
            };
            start -= bytes.len() as u64;
            amount += bytes.len() as u64;
            pieces.push(bytes.clone());
        }
        let all: Vec<u8> = pieces.into_iter().rev().flatten().collect();
        let surplus = all.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        all[surplus..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn out_in_order_whatever_the_order_in() {
        let pipe = Pipe::new(10, 100);
        pipe.put(4, Bytes::from_static(b"456"));
        assert_eq!(pipe.before(7, 2), b"56");
        let reader = async {
            let mut all = Vec::new();
            loop {
                let batch = pipe.take(2).await;
                if batch.is_empty() {
                    return all;
                }
                batch.iter().for_each(|bytes| all.extend_from_slice(bytes));
            }
        };
        let writer = async {
            tokio::task::yield_now().await;
            pipe.put(0, Bytes::from_static(b"0123"));
            tokio::task::yield_now().await;
            pipe.put(7, Bytes::from_static(b"789"));
        };
        let (all, ()) = tokio::join!(reader, writer);
        assert_eq!(all, b"0123456789");
        assert_eq!(pipe.before(10, 5), b"56789");
        assert_eq!(pipe.before(9, 5), b"", "only what ends there is known");
    }

    #[tokio::test]
    async fn what_has_not_gone_out_takes_room() {
        let pipe = Pipe::new(100, 10);
        assert!(pipe.has_room(9) && !pipe.has_room(10));
        let waiting = pipe.room(12);
        let passing = async {
            pipe.pass(2);
            tokio::task::yield_now().await;
            assert!(!pipe.has_room(12));
            pipe.pass(1);
        };
        tokio::join!(waiting, passing);
    }

    #[tokio::test]
    async fn wrong_bytes_are_taken_back_only_before_they_leave() {
        let pipe = Pipe::new(10, 100);
        pipe.put(0, Bytes::from_static(b"01"));
        pipe.put(5, Bytes::from_static(b"56"));
        assert_eq!(pipe.take(100).await.concat(), b"01");
        assert!(!pipe.withdraw(ByteRange::new(0, 2)));
        assert!(pipe.withdraw(ByteRange::new(5, 7)));
        assert_eq!(pipe.before(7, 9), b"");
    }
}
