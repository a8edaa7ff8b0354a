//! `--adopt`: going on from a prefix that another program left. It is copied once samples of it equal the remote's
//! bytes, and stays untouched: whatever goes wrong, it is there as it was, until the finished file takes its name.

use super::{Transfer, interrupted};
use crate::chunk::ByteRange;
use crate::disk;
use crate::engine::overlap::{self, Compared};
use crate::event::Event;
use crate::fault::{Fault, Kind};
use crate::partial::{PartialFile, Slot};
use crate::record::Record;
use crate::source::{Answer, Ask, Head};
use crate::units;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What programs that fetch several parts at once leave beside a file, which then has holes, and which they are.
const PARTS: [(&str, &str); 3] = [(".aria2", "aria2"), (".st", "axel"), (".lftp-pget-status", "lftp")];
/// Bytes copied in one go.
const BLOCK: u64 = 1 << 20;

impl Transfer<'_> {
    /// Makes a partial file of `prefix`, with a record to go on from. Does nothing where it has no byte.
    pub(super) async fn take_over(&mut self, slot: Slot, path: &Path, prefix: &Path) -> Result<(), Fault> {
        refuse_parts(prefix)?;
        let file = disk::open_source(prefix)?;
        let stamp = |file: &File| disk::stamp(file).map_err(|e| disk::fault("look at", prefix, &e));
        let before = stamp(&file)?;
        let length = disk::dense_prefix(&file).unwrap_or(before.size).min(before.size);
        if length < before.size {
            let text = format!("{} has a hole: only the {} before it count", shown(prefix), units::bytes(length));
            self.tell(Event::Warning { text });
        }
        if length == 0 {
            slot.release();
            return Ok(());
        }
        let untouched = |fault: Fault| fault.kept(format!("{} is untouched", shown(prefix)));
        let head = self.ask_about(prefix, length).await.map_err(untouched)?;
        let read =
            |buffer: &mut [u8], at: u64| file.read_exact_at(buffer, at).map_err(|e| disk::fault("read", prefix, &e));
        let whole = [ByteRange::new(0, length)];
        match self.compared(&whole, &read, &*self.order.source).await.map_err(untouched)? {
            Compared::Same => {}
            Compared::Differs => {
                let text = format!("{} is not the beginning of what the server has now", shown(prefix));
                return Err(untouched(Fault::new(Kind::Changed, text)).hint("without --adopt it is downloaded anew"));
            }
            Compared::NoRanges => return Err(untouched(self.incomparable(prefix, "sends no ranges"))),
        }
        let partial = slot.begin(Record { sampled: true, ..self.new_record(&head, path) })?;
        if let Err(fault) = self.copy_in(&partial, length, &read).await {
            partial.discard().await?;
            return Err(untouched(fault));
        }
        if stamp(&file)? != before {
            partial.discard().await?;
            let text = format!("{} is being written by another program", shown(prefix));
            return Err(Fault::new(Kind::Held, text).hint("end that one first"));
        }
        partial.keep().await?;
        self.tell(Event::Detail { text: format!("{} of {} are taken over", units::bytes(length), shown(prefix)) });
        Ok(())
    }

    async fn copy_in(&self, partial: &PartialFile, length: u64, read: overlap::ReadAt<'_>) -> Result<(), Fault> {
        let odd = || Fault::new(Kind::Other, "bytes of a new partial file are taken already");
        let mut writer = partial.writer(ByteRange::new(0, length)).ok_or_else(odd)?;
        let mut block = vec![0; BLOCK as usize];
        while writer.at() < length {
            if self.tools.stop.tripped() {
                return Err(interrupted());
            }
            let at = writer.at();
            let block = &mut block[..(length - at).min(BLOCK) as usize];
            read(block, at)?;
            writer.write(block)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn incomparable(&self, prefix: &Path, why: &str) -> Fault {
        let host = self.order.source.host();
        let text = format!("{host} {why}, so {} cannot be compared with what it has", shown(prefix));
        Fault::new(Kind::Other, text).hint("without --adopt it is downloaded from the beginning")
    }

    /// What the remote says of a file of which the first `length` bytes are to be here: its last one of them is asked.
    async fn ask_about(&self, prefix: &Path, length: u64) -> Result<Head, Fault> {
        let last = Ask::range(length - 1, Some(length));
        let answer = self.patiently(async || self.order.source.ask(last.clone()).await).await?;
        let host = self.order.source.host();
        let cannot = |why: &str| Err(self.incomparable(prefix, why));
        let longer = |total: Option<u64>| {
            let there = total.map_or("fewer bytes".to_string(), |total| format!("only {total} bytes"));
            let text = format!("{} has {length} bytes, and {host} has {there}", shown(prefix));
            Err(Fault::new(Kind::Changed, text).hint("it is another version, or not this file"))
        };
        match answer {
            Answer::Part { head, .. } if head.total.is_none_or(|total| total >= length) => Ok(head),
            Answer::Whole { head, .. } if head.total.is_none_or(|total| total >= length) => {
                cannot(if head.html { "sent a web page" } else { "sends no ranges" })
            }
            Answer::Part { head, .. } | Answer::Whole { head, .. } | Answer::Beyond { head } => longer(head.total),
            Answer::Unfit { why } => cannot(&format!("cannot be asked for ranges ({why})")),
            Answer::Unchanged => cannot("answered 304 out of place"),
        }
    }
}

fn shown(path: &Path) -> String {
    disk::shown(path)
}

fn refuse_parts(prefix: &Path) -> Result<(), Fault> {
    for (suffix, program) in PARTS {
        let control = disk::with_suffix(prefix, suffix);
        if std::fs::symlink_metadata(&control).is_ok() {
            let text = format!("{} was fetched by {program} in parts and may have holes", shown(prefix));
            return Err(Fault::new(Kind::Local, text)
                .kept("it is untouched")
                .hint(format!("finish it with {program}; if it is a plain prefix, remove {}", shown(&control))));
        }
    }
    Ok(())
}
