//! Bars for people at a terminal: one a file, a total below when there are several, and lines above for what is worth
//! keeping on the screen. A file that is over in a moment never gets a bar, so that thousands of them do not flicker.

use super::bar::{self, Cells, Signs};
use super::seen::{Seen, Tally};
use super::terminal::{self, Terminal};
use super::{Face, message, words};
use crate::event::{Event, FileId, Outcome};
use crate::fault::Fault;
use crate::units;
use console::{measure_text_width, style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A file that moves nothing for this long is shown as standing still.
const STILL: Duration = Duration::from_secs(4);
/// The total is drawn again no sooner than this.
const BEAT: Duration = Duration::from_millis(200);

/// The face of bars.
pub struct Human {
    multi: MultiProgress,
    bars: BTreeMap<FileId, Bar>,
    total: Option<ProgressBar>,
    total_drawn: Option<Instant>,
    signs: Signs,
    results_are_seen: bool,
}

/// One file's bar, and what is said beside it in place of the rate.
struct Bar {
    bar: ProgressBar,
    note: Option<Note>,
}

/// Something that goes on for a while.
enum Note {
    /// Said as it is.
    Fixed(String),
    /// A wait that ends at a time.
    Until(Instant, String),
}

impl Human {
    /// An empty screen.
    pub fn new() -> Self {
        Self {
            multi: MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
                Box::new(Terminal::new()),
                10,
            )),
            bars: BTreeMap::new(),
            total: None,
            total_drawn: None,
            signs: if speaks_unicode() { Signs::UNICODE } else { Signs::ASCII },
            results_are_seen: std::io::stdout().is_terminal(),
        }
    }

    /// A line that stays, above the bars.
    fn say(&self, text: &str) {
        match self.bars.is_empty() && self.total.is_none() {
            true => message(text),
            false => self.multi.suspend(|| message(text)),
        }
    }

    fn bar(&mut self, file: FileId) -> &mut Bar {
        self.bars.entry(file).or_insert_with(|| {
            let bar = ProgressBar::no_length().with_style(bare_style());
            let bar = match &self.total {
                Some(total) => self.multi.insert_before(total, bar),
                None => self.multi.add(bar),
            };
            Bar { bar, note: None }
        })
    }

    fn note(&mut self, file: FileId, note: Option<Note>) {
        self.bar(file).note = note;
    }

    fn draw(&mut self, file: FileId, seen: &Seen, tally: &Tally, now: Instant) {
        let (width, names) = self.columns(tally);
        let signs = self.signs;
        let bar = self.bar(file);
        let note = match &bar.note {
            Some(Note::Fixed(text)) => Some(text.clone()),
            Some(Note::Until(end, text)) => {
                let left = Duration::from_secs(end.saturating_duration_since(now).as_secs_f64().ceil() as u64);
                Some(format!("again in {}: {text}", units::period(left)))
            }
            None => still(seen, now),
        };
        let cells = Cells { note, ..cells(seen) };
        bar.bar.set_message(bar::line(&cells, width, names, signs));
        self.draw_total(tally, now);
    }

    fn draw_total(&mut self, tally: &Tally, now: Instant) {
        let several = tally.expected.max(tally.over() + tally.files.len() as u64) > 1;
        let fresh = self.total_drawn.is_some_and(|drawn| now.saturating_duration_since(drawn) < BEAT);
        if !several || fresh {
            return;
        }
        self.total_drawn = Some(now);
        let (width, names) = self.columns(tally);
        let line = bar::line(&total_cells(tally, now), width, names, self.signs);
        let multi = &self.multi;
        let total = self.total.get_or_insert_with(|| multi.add(ProgressBar::no_length().with_style(bare_style())));
        total.set_message(line);
    }

    /// The columns of the terminal, and how many of them names get.
    fn columns(&self, tally: &Tally) -> (usize, usize) {
        let width = width();
        let total = tally.expected.max(2).to_string();
        let label = if self.total.is_some() { format!("{total} of {total} files") } else { String::new() };
        let names = tally.files.values().map(|seen| seen.name.as_str()).chain([label.as_str()]);
        (width, bar::name_column(names, width))
    }

    fn over(&mut self, file: FileId) {
        if let Some(bar) = self.bars.remove(&file) {
            bar.bar.finish_and_clear();
            self.multi.remove(&bar.bar);
        }
    }

    fn done(&mut self, outcome: &Outcome, seen: &Seen, now: Instant) {
        let took = now.saturating_duration_since(seen.since);
        // On a terminal this line is the result; elsewhere the result is on stdout and this one names the file.
        let place = if self.results_are_seen { words::clean(&outcome.place) } else { seen.name.clone() };
        let details = words::done(outcome, seen, took);
        let tick = style(self.signs.tick).for_stderr().green();
        let dim = |text: String| style(text).for_stderr().dim().to_string();
        if measure_text_width(&place) + measure_text_width(&details) + 4 <= width() {
            return self.say(&format!("{tick} {place}  {}", dim(details)));
        }
        let lines = words::wrap(&details, width() - 2).into_iter().map(dim);
        self.say(&format!("{tick} {place}\n  {}", lines.collect::<Vec<_>>().join("\n  ")));
    }

    fn failed(&mut self, fault: &Fault, seen: Option<&Seen>) {
        let cross = style(self.signs.cross).for_stderr();
        let cross = if fault.code() == 3 { cross.yellow() } else { cross.red() };
        let mut text = marked(&cross.to_string(), seen, &fault.what);
        for line in words::after_failure(fault).iter().flat_map(|line| words::wrap(line, width() - 2)) {
            text.push_str(&format!("\n  {}", style(line).for_stderr().dim()));
        }
        self.say(&text);
    }

    fn remark(&self, seen: Option<&Seen>, text: &str) {
        self.say(&marked(" ", seen, text));
    }

    fn warn(&self, seen: Option<&Seen>, text: &str) {
        self.say(&marked(&style('!').for_stderr().yellow().to_string(), seen, text));
    }
}

/// `text` about a file, a mark in front of its first line.
fn marked(mark: &str, seen: Option<&Seen>, text: &str) -> String {
    let name = seen.map(|seen| format!("{}: ", seen.name)).unwrap_or_default();
    format!("{mark} {}", words::wrap(&format!("{name}{}", words::clean(text)), width() - 2).join("\n  "))
}

/// The columns that may be used now.
fn width() -> usize {
    usize::from(terminal::width())
}

impl Face for Human {
    fn show(&mut self, file: FileId, event: &Event, seen: Option<&Seen>, tally: &Tally, now: Instant) {
        match event {
            Event::Started { .. } => {}
            Event::Resumed { offset, total } => self.remark(seen, &words::resumed(*offset, *total)),
            Event::Progress(_) => self.note(file, None),
            Event::Hashing { done, total } => {
                self.note(file, Some(Note::Fixed(format!("checking, {} %", words::percent(*done, *total)))));
            }
            Event::Retry { error, wait, .. } => {
                self.note(file, Some(Note::Until(now + *wait, words::clean(&error.what))));
            }
            Event::Restarted { why } => self.warn(seen, &format!("starting over: {why}")),
            Event::Redirect { to, status, .. } => self.remark(seen, &format!("redirected to {to} ({status})")),
            Event::Verified { .. } => {}
            Event::Warning { text } => self.warn(seen, text),
            Event::Detail { text } => self.remark(seen, text),
            Event::Head { text } => text.lines().for_each(|line| self.remark(seen, line)),
            Event::Protocol { about, .. } => self.remark(seen, &words::protocol(about)),
            Event::Done(outcome) => {
                self.over(file);
                if let Some(seen) = seen {
                    self.done(outcome, seen, now);
                }
            }
            Event::Failed(fault) => {
                self.over(file);
                self.failed(fault, seen);
            }
            Event::Summary { done, failed, unfinished, .. } => {
                if let Some(total) = self.total.take() {
                    total.finish_and_clear();
                }
                if tally.over() > 1 {
                    self.say(&format!("  {}", words::summary(*done, *failed, *unfinished)));
                }
            }
        }
        if let (Event::Progress(_) | Event::Hashing { .. } | Event::Retry { .. }, Some(seen)) = (event, seen) {
            self.draw(file, seen, tally, now);
        }
    }

    fn tick(&mut self, tally: &Tally, now: Instant) {
        for (file, seen) in &tally.files {
            if self.bars.contains_key(file) || now.saturating_duration_since(seen.since) >= Duration::from_secs(1) {
                self.draw(*file, seen, tally, now);
            }
        }
    }

    fn result(&mut self, line: &str) {
        if !self.results_are_seen {
            let _ = super::line(line);
        }
    }
}

/// The bar's text is made by [`bar::line`]; indicatif keeps it on the screen.
fn bare_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn cells(seen: &Seen) -> Cells {
    let progress = &seen.progress;
    Cells {
        name: seen.name.clone(),
        done: progress.done,
        before: seen.resumed.unwrap_or(0),
        total: seen.total,
        amount: words::amount(progress.done, seen.total),
        rate: units::bytes_per_second(progress.rate),
        left: progress.eta.map(units::period).unwrap_or_default(),
        note: None,
    }
}

/// All files in one line. Without the length of each there is no percentage.
fn total_cells(tally: &Tally, now: Instant) -> Cells {
    let files = || tally.files.values();
    let all = tally.expected.max(tally.over() + tally.files.len() as u64);
    let begun = tally.over() + tally.files.len() as u64 >= all;
    let length = files().map(|seen| seen.total).sum::<Option<u64>>().filter(|_| begun);
    let total = length.map(|length| length + tally.bytes_over);
    let done = tally.bytes_over + files().map(|seen| seen.progress.done).sum::<u64>();
    let moving = files().filter(|seen| now.saturating_duration_since(seen.moved) < STILL);
    let rate = moving.map(|seen| seen.progress.rate).sum::<u64>();
    let left = total.filter(|_| rate > 0).map(|total| Duration::from_secs((total - done.min(total)).div_ceil(rate)));
    Cells {
        name: format!("{} of {all} files", tally.over()),
        done,
        before: 0,
        total,
        amount: words::amount(done, total),
        rate: units::bytes_per_second(rate),
        left: left.map(units::period).unwrap_or_default(),
        note: None,
    }
}

/// What to say of a file that does not move.
fn still(seen: &Seen, now: Instant) -> Option<String> {
    let idle = now.saturating_duration_since(seen.moved);
    let complete = seen.total.is_some_and(|total| seen.progress.done >= total) && seen.progress.done > 0;
    match (seen.progress.run, complete) {
        (_, true) => Some("finishing".into()),
        (0, _) => Some("connecting".into()),
        _ => (idle >= STILL).then(|| format!("nothing has moved for {}", units::period(idle))),
    }
}

/// Whether the locale is one of UTF-8.
fn speaks_unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
