//! What a report remembers of each file, so that no face has to.

use crate::event::{Direction, Event, FileId, Progress};
use std::collections::BTreeMap;
use std::time::Instant;

/// One file, as far as its events have told.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The name to show, safe to print.
    pub name: String,
    /// Which way.
    pub direction: Direction,
    /// The remote place, safe to print.
    pub remote: String,
    /// The length in bytes, where known.
    pub total: Option<u64>,
    /// When work on it began.
    pub since: Instant,
    /// Bytes that an earlier run had moved.
    pub resumed: Option<u64>,
    /// How far it is.
    pub progress: Progress,
    /// When its bytes last grew.
    pub moved: Instant,
    /// The algorithms whose digests agreed.
    pub verified: Vec<String>,
}

/// The files of a run and what became of them.
#[derive(Debug, Default)]
pub struct Tally {
    /// Files that are being worked on.
    pub files: BTreeMap<FileId, Seen>,
    /// How many files the run is about, where known.
    pub expected: u64,
    /// Files complete.
    pub done: u64,
    /// Files failed for good.
    pub failed: u64,
    /// Files that the same command would go on with.
    pub unfinished: u64,
    /// Bytes of the files that are over, done or not.
    pub bytes_over: u64,
    /// The exit code of each failure.
    pub codes: Vec<u8>,
}

impl Tally {
    /// Takes in what `event` tells of `file`, before it is shown.
    pub fn before(&mut self, file: FileId, event: &Event, now: Instant) {
        if let Event::Started { name, direction, remote, total } = event {
            let seen = Seen {
                name: super::words::clean(name),
                direction: *direction,
                remote: super::words::clean(remote),
                total: *total,
                since: now,
                resumed: None,
                progress: Progress { total: *total, ..Progress::default() },
                moved: now,
                verified: Vec::new(),
            };
            self.files.insert(file, seen);
        }
        let Some(seen) = self.files.get_mut(&file) else { return };
        match event {
            Event::Resumed { offset, total } => {
                seen.resumed = Some(*offset);
                seen.total = total.or(seen.total);
                seen.progress = Progress { done: *offset, total: seen.total, ..Progress::default() };
            }
            Event::Restarted { .. } => {
                seen.resumed = None;
                seen.progress = Progress { total: seen.total, ..Progress::default() };
            }
            Event::Progress(progress) => {
                if progress.run != seen.progress.run || progress.done != seen.progress.done {
                    seen.moved = now;
                }
                seen.total = progress.total.or(seen.total);
                seen.progress = *progress;
            }
            Event::Retry { .. } => {
                seen.progress = Progress { rate: 0, eta: None, connections: 0, ..seen.progress };
            }
            Event::Verified { alg, .. } if !seen.verified.contains(alg) => seen.verified.push(alg.clone()),
            _ => {}
        }
    }

    /// Counts what is over, after it is shown.
    pub fn after(&mut self, file: FileId, event: &Event) {
        match event {
            Event::Done(outcome) => {
                self.done += 1;
                self.bytes_over += outcome.moved + outcome.already;
            }
            Event::Failed(fault) => self.count(fault.code()),
            _ => return,
        }
        self.files.remove(&file);
    }

    /// Counts a failure by its exit code.
    pub fn count(&mut self, code: u8) {
        match code {
            3 => self.unfinished += 1,
            _ => self.failed += 1,
        }
        self.codes.push(code);
    }

    /// Files that are over.
    pub fn over(&self) -> u64 {
        self.done + self.failed + self.unfinished
    }
}
