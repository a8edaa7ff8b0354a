//! What the user sees: the only code that writes messages. Results go to stdout, one line a finished file; all else
//! goes to stderr, in one of three faces: bars for people at a terminal, plain lines for logs, JSON lines for
//! programs.

mod bar;
mod human;
mod json;
mod plain;
pub mod probe;
mod seen;
mod table;
mod terminal;
mod words;

pub use crate::event::NO_FILE;
pub use table::Row;
pub use words::clean;

use crate::event::{Event, FileId, Observer};
use crate::fault::{Fault, Kind, exit_code_of_all};
use seen::{Seen, Tally};
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The place of what went to stdout: nothing else is written there then.
pub const STDOUT: &str = "-";

/// What to show, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// How progress is shown.
    pub style: Style,
    /// Failures only.
    pub quiet: bool,
    /// How much more than usual: 1 is requests and decisions, 2 also the heads of requests and answers.
    pub verbose: u8,
}

/// The ways of showing progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One bar a file.
    Bars,
    /// Now and then a line.
    Plain,
    /// One JSON object a line.
    Json,
    /// Warnings and failures as plain lines.
    None,
}

/// One way of showing events.
trait Face: Send {
    /// Shows `event`; `seen` is what is known of its file, `tally` of the run.
    fn show(&mut self, file: FileId, event: &Event, seen: Option<&Seen>, tally: &Tally, now: Instant);
    /// Called about once a second, for what is to be said when nothing happens.
    fn tick(&mut self, _tally: &Tally, _now: Instant) {}
    /// Prints a result line to stdout without spoiling what is on the screen.
    fn result(&mut self, line: &str) {
        let _ = self::line(line);
    }
}

/// The observer of a run: passes events on to the chosen face, prints results, and counts for the exit code.
pub struct Report {
    inner: Mutex<Inner>,
}

struct Inner {
    choice: Choice,
    tally: Tally,
    face: Box<dyn Face>,
}

/// Whether messages go to a terminal.
pub fn on_terminal() -> bool {
    std::io::stderr().is_terminal()
}

impl Report {
    /// The report that `choice` asks for.
    pub fn new(choice: Choice) -> Arc<Self> {
        let face: Box<dyn Face> = match choice.style {
            // Under -q only failures are shown, and no bar needs to make room for them.
            Style::Bars if !choice.quiet => Box::new(human::Human::new()),
            Style::Json => Box::new(json::Json::default()),
            Style::Bars | Style::Plain | Style::None => Box::new(plain::Plain::new()),
        };
        let report = Arc::new(Self { inner: Mutex::new(Inner { choice, tally: Tally::default(), face }) });
        if !choice.quiet && matches!(choice.style, Style::Bars | Style::Plain) {
            let weak = Arc::downgrade(&report);
            std::thread::spawn(move || tick(&weak));
        }
        report
    }

    /// Says how many files the run is about, where that is known before.
    pub fn expect(&self, files: u64) {
        self.lock().tally.expected = files;
    }

    /// Says something that belongs to no file and is no failure; a JSON reader learns it from the summary.
    pub fn note(&self, text: &str) {
        let inner = &mut *self.lock();
        if !inner.choice.quiet && inner.choice.style != Style::Json {
            message(&format!("onward: {}", clean(text)));
        }
    }

    /// Shows how the run ended and gives the exit code.
    pub fn end(&self, outcome: Result<(), Fault>) -> u8 {
        if let Err(fault) = outcome {
            self.on(NO_FILE, &Event::Failed(fault));
        }
        let inner = &mut *self.lock();
        let code = exit_code_of_all(&inner.tally.codes);
        let (done, failed, unfinished) = (inner.tally.done, inner.tally.failed, inner.tally.unfinished);
        inner.pass(NO_FILE, &Event::Summary { done, failed, unfinished, code });
        code
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Report {
    fn on(&self, file: FileId, event: &Event) {
        self.lock().pass(file, event);
    }
}

impl Inner {
    fn pass(&mut self, file: FileId, event: &Event) {
        let now = Instant::now();
        self.tally.before(file, event, now);
        if self.choice.wants(event) {
            self.face.show(file, event, self.tally.files.get(&file), &self.tally, now);
        }
        if let Event::Done(outcome) = event
            && outcome.place != STDOUT
        {
            self.face.result(&outcome.place);
        }
        self.tally.after(file, event);
    }
}

impl Choice {
    /// Whether `event` is to be shown at all.
    fn wants(&self, event: &Event) -> bool {
        let json = self.style == Style::Json;
        match event {
            Event::Failed(_) => true,
            Event::Summary { .. } if json => true,
            _ if self.quiet => false,
            Event::Warning { .. } => true,
            Event::Detail { .. } => self.verbose > 0,
            Event::Head { .. } => self.verbose > 1,
            Event::Redirect { .. } | Event::Protocol { .. } => json || self.verbose > 0,
            _ => self.style != Style::None,
        }
    }
}

/// Wakes the face about once a second until the report is gone.
fn tick(report: &Weak<Report>) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let Some(report) = report.upgrade() else { return };
        let inner = &mut *report.lock();
        inner.face.tick(&inner.tally, Instant::now());
    }
}

/// Shows clap's answer (an error, help, the version) and gives its exit code. `json`: errors are shown as JSON lines.
pub fn usage(answer: &clap::Error, json: bool) -> u8 {
    match json && answer.use_stderr() {
        true => {
            let text = answer.render().to_string();
            let what = text.trim_start_matches("error: ").lines().next().unwrap_or_default().to_string();
            let choice = Choice { style: Style::Json, quiet: false, verbose: 0 };
            Report::new(choice).end(Err(Fault::new(Kind::Usage, what)))
        }
        false => {
            let _ = answer.print();
            u8::try_from(answer.exit_code()).unwrap_or(2)
        }
    }
}

/// stdout as something that data is written to.
pub fn data_out() -> Result<File, Fault> {
    let cannot = |e| Fault::new(Kind::Local, format!("stdout cannot be written: {e}"));
    std::io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(cannot)
}

/// Writes one result line to stdout, flushed. A reader that has gone away is no failure.
pub fn line(text: &str) -> Result<(), Fault> {
    self::text(format!("{text}\n").as_bytes())
}

/// Writes a text to stdout, flushed. A reader that has gone away is no failure.
pub fn text(bytes: &[u8]) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fault::new(Kind::Local, format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints the table of what is unfinished; to a terminal no wider than it is.
pub fn table(rows: &[Row]) -> Result<(), Fault> {
    let term = console::Term::stdout();
    let width = term.is_term().then(|| usize::from(term.size().1).max(20));
    match rows.is_empty() {
        true => message("onward: nothing is unfinished here"),
        false => text(table::table(rows, width).as_bytes())?,
    }
    Ok(())
}

/// Writes one message line to stderr. There is nobody to tell if that fails.
fn message(text: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
