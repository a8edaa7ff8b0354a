//! JSON lines for programs: with `--progress json` stderr holds nothing else.
//!
//! Every line is one object with `"v": 1`, `"time"` (RFC 3339, UTC, milliseconds) and `"event"`. What is about a file
//! also has `"id"` (counted from 0 in the order of the command line) and `"file"` (its name for people). Bytes and
//! rates (bytes a second) are integers; times (`wait`, `eta`) are seconds and may have a fraction; what is not known is
//! absent. URLs are masked, except in `done`. New events and keys may be added under the same `v`; a reader skips
//! what it does not know.
//!
//! | event | keys |
//! |---|---|
//! | `started` | `direction` (`download`, `upload`), `remote`, `total` |
//! | `resumed` | `offset` (bytes that are there), `total` |
//! | `redirect` | `from`, `to`, `status` |
//! | `hashing` | `done`, `total`; at most five a second a file |
//! | `progress` | `run` (bytes this run moved), `done` (bytes that are there), `total`, `rate`, `eta`, `connections`; at most five a second a file |
//! | `retry` | `error`, `wait`, `attempt` |
//! | `restarted` | `why` |
//! | `verified` | `alg`, `digest`, `by` |
//! | `warning` | `text` |
//! | `detail` | `text`; only with `-v` |
//! | `done` | `path` (download) or `url` (upload), `moved`, `already`, `proof` |
//! | `failed` | `code`, `error`, `kept`, `hint` |
//! | `summary` | the last line: `done`, `failed`, `unfinished` (files), `code` (the exit code) |

use super::seen::{Seen, Tally};
use super::{Face, NO_FILE, message};
use crate::event::{Direction, Event, FileId, Progress};
use crate::fault::Fault;
use serde_json::{Map, Value, json};
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
        message(&object(file, event, seen, SystemTime::now()).to_string());
    }
}

/// The object of one line.
fn object(file: FileId, event: &Event, seen: Option<&Seen>, time: SystemTime) -> Value {
    let (name, body) = body(event, seen);
    let mut object = Map::new();
    object.insert("v".into(), 1.into());
    object.insert("time".into(), humantime::format_rfc3339_millis(time).to_string().into());
    object.insert("event".into(), name.into());
    if file != NO_FILE {
        object.insert("id".into(), file.into());
    }
    if let Some(seen) = seen {
        object.insert("file".into(), seen.name.clone().into());
    }
    if let Value::Object(body) = body {
        object.extend(body.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(object)
}

/// The event's name and its own keys; those that are null are not known.
fn body(event: &Event, seen: Option<&Seen>) -> (&'static str, Value) {
    match event {
        Event::Started { direction, remote, total, .. } => {
            let direction = if *direction == Direction::Upload { "upload" } else { "download" };
            ("started", json!({"direction": direction, "remote": remote, "total": total}))
        }
        Event::Resumed { offset, total } => ("resumed", json!({"offset": offset, "total": total})),
        Event::Redirect { from, to, status } => ("redirect", json!({"from": from, "to": to, "status": status})),
        Event::Hashing { done, total } => ("hashing", json!({"done": done, "total": total})),
        Event::Progress(progress) => ("progress", progress_body(progress)),
        Event::Retry { error, wait, attempt } => {
            ("retry", json!({"error": error.what, "wait": wait.as_secs_f64(), "attempt": attempt}))
        }
        Event::Restarted { why } => ("restarted", json!({"why": why})),
        Event::Verified { alg, digest, by } => ("verified", json!({"alg": alg, "digest": digest, "by": by})),
        Event::Warning { text } => ("warning", json!({"text": text})),
        Event::Detail { text } => ("detail", json!({"text": text})),
        Event::Done(outcome) => {
            let upload = seen.is_some_and(|seen| seen.direction == Direction::Upload);
            let place = if upload { "url" } else { "path" };
            let mut body = json!({"moved": outcome.moved, "already": outcome.already, "proof": outcome.proof});
            body[place] = outcome.place.clone().into();
            ("done", body)
        }
        Event::Failed(fault) => ("failed", failed_body(fault)),
        Event::Summary { done, failed, unfinished, code } => {
            ("summary", json!({"done": done, "failed": failed, "unfinished": unfinished, "code": code}))
        }
    }
}

fn progress_body(progress: &Progress) -> Value {
    json!({
        "run": progress.run,
        "done": progress.done,
        "total": progress.total,
        "rate": progress.rate,
        "eta": progress.eta.map(|eta| eta.as_secs_f64()),
        "connections": progress.connections,
    })
}

fn failed_body(fault: &Fault) -> Value {
    json!({"code": fault.code(), "error": fault.what, "kept": fault.kept, "hint": fault.next()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_absent() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let event = Event::Progress(Progress { run: 5, done: 7, rate: 3, connections: 2, ..Progress::default() });
        let line = object(4, &event, None, at).to_string();
        let wanted = json!({"v": 1, "time": "2023-11-14T22:13:20.123Z", "event": "progress", "id": 4, "run": 5,
            "done": 7, "rate": 3, "connections": 2});
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), wanted);
        let summary = Event::Summary { done: 1, failed: 0, unfinished: 2, code: 3 };
        let line = object(NO_FILE, &summary, None, at);
        assert!(line.get("id").is_none() && line.get("file").is_none(), "{line}");
    }
}
