//! Bytes that are written before anybody knows whether they are right: a receiver reads a piece to its end before it
//! can compare the digest. They lie in the file, outside the set, until they are accepted; dropped before that,
//! they never were.

use super::recorder::Shared;
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Crc, RunningCrc};
use crate::disk;
use crate::fault::Fault;
use std::fs::File;
use std::sync::Arc;

/// Writes consecutive bytes of a range that nobody else may write.
pub struct Draft {
    shared: Arc<Shared>,
    layout: Layout,
    claim: ByteRange,
    at: u64,
    /// The chunks, or parts of chunks, that are written to their border.
    runs: Vec<(ByteRange, Crc)>,
    running: RunningCrc,
}

impl Draft {
    pub(super) fn claim(shared: &Arc<Shared>, range: ByteRange) -> Option<Self> {
        let layout = shared.lock().claim(range)?;
        let (runs, running) = (Vec::new(), RunningCrc::default());
        Some(Self { shared: shared.clone(), layout, claim: range, at: range.start, runs, running })
    }

    /// Where the next byte goes.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Writes the next bytes. They do not count yet.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.shared.may_write(bytes, ByteRange::new(self.at, self.claim.end))?;
        self.shared.put(bytes, self.at)?;
        self.count(bytes);
        Ok(())
    }

    /// Takes the next bytes from the same place in `from`, and fills `buffer`, which says how many, with them. Where the
    /// filesystem can, both files share them afterwards.
    pub fn copy_in(&mut self, from: &File, buffer: &mut [u8]) -> Result<(), Fault> {
        self.shared.may_write(buffer, ByteRange::new(self.at, self.claim.end))?;
        disk::copy_in(from, &self.shared.data, self.at, buffer)
            .map_err(|e| disk::fault("write", &self.shared.place.data, &e))?;
        self.count(buffer);
        Ok(())
    }

    fn count(&mut self, bytes: &[u8]) {
        for piece in self.layout.split(ByteRange::new(self.at, self.at + bytes.len() as u64)) {
            let inside = (piece.start - self.at) as usize..(piece.end - self.at) as usize;
            self.running.update(&bytes[inside]);
            if piece.end % self.layout.chunk_size() == 0 {
                self.end_run(piece.end);
            }
        }
        self.at += bytes.len() as u64;
    }

    fn end_run(&mut self, end: u64) {
        let crc = std::mem::take(&mut self.running).crc();
        if crc.len > 0 {
            self.runs.push((ByteRange::new(end - crc.len, end), crc));
        }
    }

    /// The sum of what was written.
    pub fn sum(&self) -> Crc {
        self.runs.iter().map(|(_, crc)| *crc).chain([self.running.crc()]).fold(Crc::EMPTY, Crc::then)
    }

    /// From now on what was written counts.
    pub fn accept(mut self) {
        self.end_run(self.at);
        let mut state = self.shared.lock();
        for (range, crc) in std::mem::take(&mut self.runs) {
            state.ledger.add(range, crc);
        }
        drop(state);
        self.shared.touched();
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.shared.lock().claimed.forget(self.claim);
        self.shared.grown.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partial::{Place, Slot};
    use crate::record::{Kind as RecordKind, Record};

    #[tokio::test]
    async fn only_what_is_accepted_counts() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..2500u32).map(|n| (n * 131 % 253) as u8).collect();
        let place = || Place::received(folder.path(), "id", "f");
        let mut record = Record::new(RecordKind::Receive, "", "f", 1000);
        record.length = Some(2500);
        let file = Slot::take(place()).unwrap().begin(record).unwrap();
        let mut lost = file.draft(ByteRange::new(0, 1500)).unwrap();
        lost.write(&content[..700]).unwrap();
        assert!(file.draft(ByteRange::new(1400, 1600)).is_none() && file.writer(ByteRange::new(0, 1)).is_none());
        file.durable().await.unwrap();
        assert!(file.held().is_empty());
        drop(lost);
        let mut kept = file.draft(ByteRange::new(500, 2500)).unwrap();
        assert!(kept.write(&[0; 2001]).is_err());
        for piece in content[500..].chunks(333) {
            kept.write(piece).unwrap();
        }
        assert!(file.held().is_empty());
        kept.accept();
        assert_eq!(file.held().to_string(), "500-2499");
        assert_eq!(file.sum(ByteRange::new(1000, 2000)), Some(Crc::of(&content[1000..2000])));
        file.durable().await.unwrap();
        assert!(file.draft(ByteRange::new(400, 501)).is_none());
        drop(file);
        let again = loop {
            // The recorder thread may still hold the lock for a moment.
            match Slot::take(place()) {
                Ok(slot) => break slot.resume().unwrap(),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        };
        assert_eq!(again.held().to_string(), "500-2499");
        assert!(again.prove().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn bytes_of_another_file_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|n| (n * 131 % 253) as u8).collect();
        std::fs::write(folder.path().join("source"), &content).unwrap();
        let source = File::open(folder.path().join("source")).unwrap();
        let mut record = Record::new(RecordKind::Receive, "", "f", 100_000);
        record.length = Some(300_000);
        let file = Slot::take(Place::received(folder.path(), "id", "f")).unwrap().begin(record).unwrap();
        let mut draft = file.draft(ByteRange::new(5, 300_000)).unwrap();
        let mut buffer = vec![0; 200_000];
        draft.copy_in(&source, &mut buffer).unwrap();
        assert!(buffer == content[5..200_005]);
        draft.copy_in(&source, &mut buffer[..99_995]).unwrap();
        assert!(draft.copy_in(&source, &mut buffer[..1]).is_err(), "past the end of the claim");
        draft.accept();
        let mut there = vec![0; 299_995];
        file.read_at(&mut there, 5).unwrap();
        assert!(there == content[5..]);
        assert_eq!(file.sum(ByteRange::new(100_000, 300_000)), Some(Crc::of(&content[100_000..])));
        // A source that is too short is no success.
        std::fs::write(folder.path().join("source"), &content[..3]).unwrap();
        let source = File::open(folder.path().join("source")).unwrap();
        assert!(file.draft(ByteRange::new(0, 5)).unwrap().copy_in(&source, &mut buffer[..5]).is_err());
    }
}
