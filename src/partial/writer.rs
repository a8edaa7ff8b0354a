//! One contiguous run of bytes on its way into the file. Bytes count once they are written; the sum runs along.

use super::ledger::Ledger;
use super::publish::SMALL;
use super::recorder::Shared;
use crate::chunk::{ByteRange, Layout};
use crate::digest::RunningCrc;
use crate::fault::Fault;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that a writer has written and the ledger has not been told of yet; always within one chunk.
#[derive(Default)]
pub struct OpenRun {
    start: u64,
    crc: RunningCrc,
}

impl OpenRun {
    /// Tells the ledger, and begins a new run behind it.
    pub fn settle(&mut self, ledger: &mut Ledger) {
        let crc = self.crc.crc();
        let range = ByteRange::new(self.start, self.start + crc.len);
        if !range.is_empty() {
            ledger.add(range, crc);
        }
        *self = Self { start: range.end, crc: RunningCrc::default() };
    }
}

/// Writes consecutive bytes of a range that nobody else may write. Dropping it gives back what it did not write.
pub struct Writer {
    shared: Arc<Shared>,
    run: Arc<Mutex<OpenRun>>,
    layout: Layout,
    start: u64,
    at: u64,
    end: u64,
    /// Whether these are all bytes of a small file.
    whole: bool,
}

impl Writer {
    pub(super) fn claim(shared: &Arc<Shared>, range: ByteRange) -> Option<Self> {
        let mut state = shared.lock();
        let layout = state.claim(range)?;
        let run = Arc::new(Mutex::new(OpenRun { start: range.start, crc: RunningCrc::default() }));
        state.open.push(run.clone());
        let whole = range.start == 0 && range.end <= SMALL && state.record.length == Some(range.end);
        drop(state);
        Some(Self { shared: shared.clone(), run, layout, start: range.start, at: range.start, end: range.end, whole })
    }

    /// Where the next byte goes.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// One past the last byte it may write.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Gives the bytes from `end` on to others. What is written stays written.
    pub fn shrink(&mut self, end: u64) {
        let end = end.clamp(self.at, self.end);
        self.shared.lock().claimed.forget(ByteRange::new(end, self.end));
        (self.end, self.whole) = (end, false);
    }

    /// Writes the next bytes. They count when this returns.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.shared.may_write(bytes, ByteRange::new(self.at, self.end))?;
        let mut rest = bytes;
        // The ledger hears of every chunk that is complete: whoever hashes the prefix waits for that.
        while !rest.is_empty() {
            let border = (self.layout.index_of(self.at) + 1).saturating_mul(self.layout.chunk_size());
            let (now, later) = rest.split_at(usize::try_from(border - self.at).unwrap_or(usize::MAX).min(rest.len()));
            self.write_in_chunk(now)?;
            if self.at == border {
                self.shared.lock().settle_one(&self.run);
                self.shared.grown.ring();
            }
            rest = later;
        }
        match self.whole && self.at == self.end {
            true => self.shared.completed(),
            false => self.shared.touched(),
        }
        Ok(())
    }

    fn write_in_chunk(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.put(bytes, self.at)?;
        run.crc.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.settle_one(&self.run);
        state.open.retain(|run| !Arc::ptr_eq(run, &self.run));
        // What was written is in the ledger by now, and nobody may claim it for that reason.
        state.claimed.forget(ByteRange::new(self.start, self.end));
        drop(state);
        self.shared.grown.ring();
    }
}
