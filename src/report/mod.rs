//! What the user sees: the only code that writes messages.

use crate::config::Show;
use crate::event::{Event, FileId, Observer};
use crate::fault::{Fault, exit_code_of_all};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// The observer of a run: passes events on to the chosen face, prints results, and counts for the exit code.
pub struct Report {
    tally: Mutex<Tally>,
}

/// What became of the files so far.
#[derive(Default)]
struct Tally {
    done: u64,
    failed: u64,
    unfinished: u64,
    codes: Vec<u8>,
}

impl Report {
    /// The report that `show` asks for.
    pub fn new(_show: Show) -> Arc<Self> {
        Arc::new(Self { tally: Mutex::default() })
    }

    /// Shows how it ended and gives the exit code.
    pub fn end(&self, outcome: Result<(), Fault>) -> u8 {
        let mut tally = self.tally.lock().unwrap_or_else(|e| e.into_inner());
        if let Err(fault) = outcome {
            let _ = writeln!(std::io::stderr(), "onward: {fault}");
            tally.codes.push(fault.code());
        }
        exit_code_of_all(&tally.codes)
    }
}

impl Observer for Report {
    fn on(&self, _file: FileId, event: &Event) {
        let mut tally = self.tally.lock().unwrap_or_else(|e| e.into_inner());
        match event {
            Event::Done(outcome) => {
                tally.done += 1;
                let _ = line(&outcome.place);
            }
            Event::Failed(fault) => {
                match fault.code() {
                    3 => tally.unfinished += 1,
                    _ => tally.failed += 1,
                }
                tally.codes.push(fault.code());
                let _ = writeln!(std::io::stderr(), "onward: {fault}");
            }
            _ => {}
        }
    }
}

/// Shows clap's answer (an error, help, the version) and gives its exit code.
pub fn usage(answer: &clap::Error) -> u8 {
    let _ = answer.print();
    u8::try_from(answer.exit_code()).unwrap_or(2)
}

/// Writes one result line to stdout, flushed. A reader that has gone away is no failure.
pub fn line(text: &str) -> Result<(), Fault> {
    self::text(format!("{text}\n").as_bytes())
}

/// Writes a text to stdout, flushed. A reader that has gone away is no failure.
pub fn text(bytes: &[u8]) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Fault::new(crate::fault::Kind::Local, format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
