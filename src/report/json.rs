//! JSON lines for programs: with `--progress json` stderr holds nothing else.
//!
//! Every line is one object with `"v": 1`, `"time"` (RFC 3339, UTC, milliseconds) and `"event"`. What is about a file
//! also has `"id"` (counted from 0 in the order of the command line) and `"file"` (its name for people). Bytes and
//! rates (bytes a second) are integers; times (`wait`, `eta`) are seconds and may have a fraction; what is not known is
//! absent. URLs are masked; what a program needs unmasked is the line on stdout. New events and keys may be added under the same `v`; a reader skips
//! what it does not know.
//!
//! | event | keys |
//! |---|---|
//! | `start` | `direction` (`download`, `upload`), `remote`, `total` |
//! | `protocol` | `name` (as in `--protocol`), `about`: by which protocol an upload is made |
//! | `resumed` | `offset` (bytes that are there), `total` |
//! | `redirect` | `from`, `to`, `status` |
//! | `hashing` | `done`, `total`; at most five a second a file |
//! | `progress` | `run` (bytes this run moved), `done` (bytes that are there), `total`, `rate`, `eta`, `connections`; at most five a second a file |
//! | `retry` | `error`, `wait`, `attempt` |
//! | `restarted` | `why` |
//! | `verified` | `alg`, `digest`, `by` |
//! | `warning` | `text` |
//! | `detail` | `text`; only with `-v`: requests, and decisions with their reasons |
//! | `head` | `text`; only with `-vv`: the fields of requests and answers, a line each, secrets masked |
//! | `done` | `path` (download) or `url` (upload), `moved`, `already`, `proof` |
//! | `failed` | `code`, `error`, `kept`, `hint` |
//! | `summary` | the last line: `done`, `failed`, `unfinished` (files), `code` (the exit code) |

use super::seen::{Seen, Tally};
use super::{Face, NO_FILE, message};
use crate::event::{Direction, Event, FileId, Progress};
use crate::fault::Fault;
use crate::wire::mask;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// The least time between two `progress` lines of a file.
const BEAT: Duration = Duration::from_millis(200);

/// The face of JSON lines.
#[derive(Default)]
pub struct Json {
    told: BTreeMap<FileId, Instant>,
}

impl Face for Json {
    fn show(&mut self, file: FileId, event: &Event, seen: Option<&Seen>, _tally: &Tally, now: Instant) {
        if matches!(event, Event::Progress(_) | Event::Hashing { .. }) {
            if self.told.get(&file).is_some_and(|told| now.saturating_duration_since(*told) < BEAT) {
                return;
            }
            self.told.insert(file, now);
        }
        message(&line(file, event, seen, SystemTime::now()));
    }
}

/// Keys and values in the order they are written; those that are null are not known and left out.
type Pairs = Vec<(&'static str, Value)>;

/// The object of one line.
fn line(file: FileId, event: &Event, seen: Option<&Seen>, time: SystemTime) -> String {
    let (name, body) = body(event, seen);
    let mut pairs: Pairs = vec![
        ("v", 1.into()),
        ("time", humantime::format_rfc3339_millis(time).to_string().into()),
        ("event", name.into()),
        ("id", if file == NO_FILE { Value::Null } else { file.into() }),
        ("file", seen.map(|seen| seen.name.clone()).into()),
    ];
    pairs.extend(body);
    let known = pairs.iter().filter(|(_, value)| !value.is_null());
    let texts: Vec<String> = known.map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", texts.join(","))
}

/// The event's name and its own keys.
fn body(event: &Event, seen: Option<&Seen>) -> (&'static str, Pairs) {
    let text = |text: &str| Value::from(text);
    match event {
        Event::Started { direction, remote, total, .. } => {
            let direction = if *direction == Direction::Upload { "upload" } else { "download" };
            ("start", vec![("direction", text(direction)), ("remote", text(remote)), ("total", (*total).into())])
        }
        Event::Protocol { name, about } => ("protocol", vec![("name", text(name)), ("about", text(about))]),
        Event::Resumed { offset, total } => ("resumed", vec![("offset", (*offset).into()), ("total", (*total).into())]),
        Event::Redirect { from, to, status } => {
            ("redirect", vec![("from", text(from)), ("to", text(to)), ("status", (*status).into())])
        }
        Event::Hashing { done, total } => ("hashing", vec![("done", (*done).into()), ("total", (*total).into())]),
        Event::Progress(progress) => ("progress", progress_body(progress)),
        Event::Retry { error, wait, attempt } => {
            let wait = wait.as_secs_f64().into();
            ("retry", vec![("error", text(&error.what)), ("wait", wait), ("attempt", (*attempt).into())])
        }
        Event::Restarted { why } => ("restarted", vec![("why", text(why))]),
        Event::Verified { alg, digest, by } => {
            ("verified", vec![("alg", text(alg)), ("digest", text(digest)), ("by", text(by))])
        }
        Event::Warning { text: said } => ("warning", vec![("text", text(said))]),
        Event::Detail { text: said } => ("detail", vec![("text", text(said))]),
        Event::Head { text: said } => ("head", vec![("text", text(said))]),
        Event::Done(outcome) => {
            let upload = seen.is_some_and(|seen| seen.direction == Direction::Upload);
            let place = match upload {
                true => ("url", text(&mask::masked_reference(&outcome.place))),
                false => ("path", text(&outcome.place)),
            };
            let (moved, already) = (outcome.moved.into(), outcome.already.into());
            ("done", vec![place, ("moved", moved), ("already", already), ("proof", outcome.proof.clone().into())])
        }
        Event::Failed(fault) => ("failed", failed_body(fault)),
        Event::Summary { done, failed, unfinished, code } => {
            let (done, failed, unfinished) = ((*done).into(), (*failed).into(), (*unfinished).into());
            let code = (*code).into();
            ("summary", vec![("done", done), ("failed", failed), ("unfinished", unfinished), ("code", code)])
        }
    }
}

fn progress_body(progress: &Progress) -> Pairs {
    vec![
        ("run", progress.run.into()),
        ("done", progress.done.into()),
        ("total", progress.total.into()),
        ("rate", progress.rate.into()),
        ("eta", progress.eta.map(|eta| eta.as_secs_f64()).into()),
        ("connections", progress.connections.into()),
    ]
}

fn failed_body(fault: &Fault) -> Pairs {
    vec![
        ("code", fault.code().into()),
        ("error", fault.what.clone().into()),
        ("kept", fault.kept.clone().into()),
        ("hint", fault.next().into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;
    use crate::fault::Kind;
    use std::collections::BTreeSet;

    /// One of each.
    fn events() -> Vec<Event> {
        let (text, place) = (|| "x".to_string(), || "p".to_string());
        let outcome = Outcome { place: place(), moved: 0, already: 0, proof: None };
        let (error, wait) = (Fault::new(Kind::Network, "x"), Duration::ZERO);
        vec![
            Event::Started { name: text(), direction: Direction::Download, remote: text(), total: None },
            Event::Protocol { name: text(), about: text() },
            Event::Resumed { offset: 0, total: None },
            Event::Redirect { from: text(), to: text(), status: 302 },
            Event::Hashing { done: 0, total: 0 },
            Event::Progress(Progress::default()),
            Event::Retry { error: error.clone(), wait, attempt: 1 },
            Event::Restarted { why: text() },
            Event::Verified { alg: text(), digest: text(), by: text() },
            Event::Warning { text: text() },
            Event::Detail { text: text() },
            Event::Head { text: text() },
            Event::Done(outcome),
            Event::Failed(error),
            Event::Summary { done: 0, failed: 0, unfinished: 0, code: 0 },
        ]
    }

    /// The words in backticks that stand outside of brackets and are no flags.
    fn named(text: &str) -> BTreeSet<&str> {
        let mut depth = 0;
        let words = text.split('`').enumerate().filter_map(|(nth, part)| {
            let is_word = nth % 2 == 1;
            if !is_word {
                depth += part.matches('(').count() as i32 - part.matches(')').count() as i32;
            }
            (is_word && depth == 0 && !part.starts_with('-')).then_some(part)
        });
        words.collect()
    }

    #[test]
    fn the_documents_name_the_events_that_there_are() {
        let events = events();
        let there: BTreeSet<&str> = events.iter().map(|event| body(event, None).0).collect();
        assert_eq!(there.len(), events.len());
        let readme = include_str!("../../README.md");
        let told = readme.split_once("The events are ").unwrap().1.split_once("Bytes are integers").unwrap().0;
        assert_eq!(named(told), there, "the README's");
        let table = include_str!("json.rs").lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
        assert_eq!(table.collect::<BTreeSet<_>>(), there, "the table at the top of this file");
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let event = Event::Progress(Progress { run: 5, done: 7, rate: 3, connections: 2, ..Progress::default() });
        let wanted = r#"{"v":1,"time":"2023-11-14T22:13:20.123Z","event":"progress","id":4,"run":5,"done":7,"rate":3,"connections":2}"#;
        assert_eq!(line(4, &event, None, at), wanted);
        let summary = Event::Summary { done: 1, failed: 0, unfinished: 2, code: 3 };
        let wanted = r#"{"v":1,"time":"2023-11-14T22:13:20.123Z","event":"summary","done":1,"failed":0,"unfinished":2,"code":3}"#;
        assert_eq!(line(NO_FILE, &summary, None, at), wanted);
        let odd = Event::Warning { text: "a \"b\"\n\u{1b}".into() };
        assert!(line(NO_FILE, &odd, None, at).ends_with(r#""text":"a \"b\"\n\u001b"}"#));
    }
}
