//! Lines for logs: one when a file has been at it for a second, one after ten seconds, then one every sixty seconds or
//! ten percent, one at each retry, and one at the end. No line is ever rewritten.

use super::seen::{Seen, Tally};
use super::{Face, message, words};
use crate::event::{Event, FileId};
use crate::fault::Fault;
use crate::units;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A file that is over sooner is told of once, at its end.
const SOON: Duration = Duration::from_secs(1);
/// The first line on how far it is comes after this long.
const FIRST: Duration = Duration::from_secs(10);
/// Later ones come at least this often.
const PERIOD: Duration = Duration::from_secs(60);
/// Or sooner when this many percent have been added.
const STEP: u64 = 10;

/// The face of plain lines.
pub struct Plain {
    told: BTreeMap<FileId, Told>,
    /// Files of which nobody has heard yet that they have begun.
    begun: BTreeSet<FileId>,
}

/// What was last said of a file's progress.
struct Told {
    at: Instant,
    percent: u64,
    first: bool,
}

impl Told {
    /// Whether `percent` at `now` deserves a line.
    fn is_old(&self, percent: u64, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at);
        match self.first {
            true => since >= FIRST,
            false => since >= PERIOD || percent >= self.percent + STEP,
        }
    }
}

impl Plain {
    /// A face that has said nothing.
    pub fn new() -> Self {
        Self { told: BTreeMap::new(), begun: BTreeSet::new() }
    }

    /// Says that a file has begun, before anything else is said of it.
    fn begin(&mut self, file: FileId, seen: &Seen) {
        if self.begun.remove(&file) {
            say(Some(seen), &words::started(seen));
        }
    }

    fn over(&mut self, file: FileId) {
        self.told.remove(&file);
        self.begun.remove(&file);
    }

    fn progress(&mut self, file: FileId, seen: &Seen, now: Instant) {
        let percent = seen.total.map_or(0, |total| words::percent(seen.progress.done, total));
        let told = self.told.entry(file).or_insert(Told { at: seen.since, percent, first: true });
        if told.is_old(percent, now) {
            *told = Told { at: now, percent, first: false };
            say(Some(seen), &how_far(seen, now));
        }
    }
}

impl Face for Plain {
    fn show(&mut self, file: FileId, event: &Event, seen: Option<&Seen>, tally: &Tally, now: Instant) {
        match (event, seen) {
            (Event::Started { .. } | Event::Progress(_) | Event::Done(_) | Event::Failed(_), _) | (_, None) => {}
            (_, Some(seen)) => self.begin(file, seen),
        }
        match (event, seen) {
            (Event::Started { .. }, _) => drop(self.begun.insert(file)),
            (Event::Resumed { offset, total }, seen) => say(seen, &words::resumed(*offset, *total)),
            (Event::Progress(_), Some(seen)) => self.progress(file, seen, now),
            (Event::Retry { error, wait, attempt }, seen) => say(seen, &words::retry(error, *wait, *attempt)),
            (Event::Restarted { why }, seen) => say(seen, &format!("starting over: {why}")),
            (Event::Redirect { to, status, .. }, seen) => say(seen, &format!("redirected to {to} ({status})")),
            (Event::Verified { alg, digest, .. }, seen) => say(seen, &format!("{alg} agrees: {digest}")),
            (Event::Warning { text }, seen) => say(seen, &format!("warning: {text}")),
            (Event::Detail { text }, seen) => say(seen, text),
            (Event::Head { text }, seen) => text.lines().for_each(|line| say(seen, line)),
            (Event::Protocol { about, .. }, seen) => say(seen, &words::protocol(about)),
            (Event::Done(outcome), Some(seen)) => {
                let took = now.saturating_duration_since(seen.since);
                say(Some(seen), &format!("done: {}", words::done(outcome, seen, took)));
                self.over(file);
            }
            (Event::Failed(fault), seen) => {
                failure(fault, seen);
                self.over(file);
            }
            (Event::Summary { done, failed, unfinished, .. }, _) if tally.over() > 1 => {
                say(None, &words::summary(*done, *failed, *unfinished));
            }
            _ => {}
        }
    }

    fn tick(&mut self, tally: &Tally, now: Instant) {
        for (file, seen) in &tally.files {
            if now.saturating_duration_since(seen.since) >= SOON {
                self.begin(*file, seen);
            }
            self.progress(*file, seen, now);
        }
    }
}

fn say(seen: Option<&Seen>, text: &str) {
    let name = seen.map(|seen| format!("{}: ", seen.name)).unwrap_or_default();
    message(&format!("onward: {name}{}", words::clean(text)));
}

fn failure(fault: &Fault, seen: Option<&Seen>) {
    say(seen, &fault.what);
    for line in words::after_failure(fault) {
        message(&format!("        {line}"));
    }
}

fn how_far(seen: &Seen, now: Instant) -> String {
    let progress = &seen.progress;
    let mut text = words::amount(progress.done, seen.total);
    if let Some(total) = seen.total {
        text = format!("{} %, {text}", words::percent(progress.done, total));
    }
    let idle = now.saturating_duration_since(seen.moved);
    match (idle >= FIRST, progress.eta) {
        (true, _) => text + &format!(", nothing has moved for {}", units::period(idle)),
        (false, None) => text + &format!(", {}", units::bytes_per_second(progress.rate)),
        (false, Some(eta)) => {
            text + &format!(", {}, {} left", units::bytes_per_second(progress.rate), units::period(eta))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_at_ten_seconds_then_every_minute_or_ten_percent() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = Told { at: start, percent: 0, first: true };
        assert!(!first.is_old(50, at(9)), "a fast file says nothing in between");
        assert!(first.is_old(0, at(10)), "nor does a slow one keep silent");
        let later = Told { at: at(10), percent: 7, first: false };
        assert!(!later.is_old(16, at(69)) && later.is_old(17, at(11)) && later.is_old(7, at(70)));
    }
}
