//! What `onward probe` found, for people and as JSON.

use crate::engine::probe::{Condition, Findings, Range, Verdict};
use crate::units;
use serde_json::{Value, json};

/// Said where no upload protocol shows: a page's endpoint may take uploads all the same.
const NO_UPLOADS: &str = "none announced; form pages announce nothing: use --dialect";

/// A few lines for each URL, the verdict last.
pub fn page(url: &str, found: &Findings) -> String {
    let mut lines = vec![url.to_string()];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<10} {}", escaped(&value)));
    for (_, to, status) in &found.hops {
        line("redirect", format!("{status} to {to}"));
    }
    if found.error.is_none() {
        line("length", found.length.map_or("not told".into(), |length| format!("{} ({length})", units::bytes(length))));
        line("type", found.media.clone().unwrap_or_else(|| "not told".into()));
        line("version", version(found));
        line("ranges", ranges(found));
        line("If-Range", if_range(found));
        line("digests", list(&found.digests));
        line("HTTP", list(&found.versions));
    }
    match found.uploads.is_empty() {
        false => line("uploads", found.uploads.join(", ")),
        true if found.error.is_none() => line("uploads", NO_UPLOADS.into()),
        true => {}
    }
    if let Some(speed) = &found.speed {
        let (one, several) = (units::bytes(speed.one), units::bytes(speed.several));
        line("speed", format!("{one}/s by one connection, {several}/s by {}", speed.connections));
    }
    line("resumable", sentence(found));
    lines.join("\n") + "\n"
}

/// One JSON object; what is not known is null.
pub fn object(url: &str, found: &Findings) -> Value {
    let (resumable, why) = match found.verdict() {
        Verdict::Safely => ("safely", None),
        Verdict::ByOverlap(why) => ("overlap", Some(why)),
        Verdict::No(why) => ("no", Some(why)),
    };
    let hops = found.hops.iter().map(|(from, to, status)| json!({"from": from, "to": to, "status": status}));
    json!({
        "v": 1,
        "url": url,
        "final": found.place,
        "redirects": hops.collect::<Vec<_>>(),
        "error": found.error,
        "status": found.status,
        "length": found.length,
        "type": found.media,
        "coding": found.coding,
        "etag": found.validator.etag,
        "etag_strong": found.tag_is_strong(),
        "last_modified": found.validator.last_modified,
        "stable": found.stable,
        "ranges": {"middle": range(&found.middle), "open": range(&found.open), "beyond": range(&found.beyond)},
        "if_range": {"etag": condition(found.by_tag), "date": condition(found.by_date)},
        "digests": found.digests,
        "http": found.versions,
        "uploads": found.uploads,
        "speed": found.speed.map(|speed| {
            json!({"one": speed.one, "several": speed.several, "connections": speed.connections})
        }),
        "bytes": found.bytes,
        "resumable": resumable,
        "why": why,
        "verdict": sentence(found),
    })
}

fn sentence(found: &Findings) -> String {
    match found.verdict() {
        Verdict::Safely => "yes, safely".into(),
        Verdict::ByOverlap(why) => format!("yes, by overlap: {why}"),
        Verdict::No(why) => format!("no: {why}"),
    }
}

fn version(found: &Findings) -> String {
    let strength = if found.tag_is_strong() { "" } else { " (weak)" };
    let tag = found.validator.etag.as_ref().map(|tag| format!("ETag {tag}{strength}"));
    let date = found.validator.last_modified.as_ref().map(|date| format!("of {date}"));
    let both: Vec<String> = tag.into_iter().chain(date).collect();
    match (both.is_empty(), found.stable) {
        (true, _) => "not told".into(),
        (false, Some(false)) => format!("{}; another one over another connection", both.join(", ")),
        (false, _) => both.join(", "),
    }
}

fn ranges(found: &Findings) -> String {
    match (&found.middle, &found.open, &found.beyond) {
        (Range::Honest, Range::Honest | Range::Unasked, Range::Honest | Range::Unasked) => "honest".into(),
        (Range::Honest, Range::Honest | Range::Unasked, Range::Whole) => "honest, but none is refused".into(),
        (Range::Honest, Range::Honest | Range::Unasked, Range::Wrong(why)) => format!("honest, but {why}"),
        (Range::Honest, Range::Whole, _) => "honest where they have an end".into(),
        (Range::Whole, ..) => "not looked at".into(),
        (Range::Unasked, ..) => "not asked".into(),
        (Range::Wrong(why), ..) | (_, Range::Wrong(why), _) => why.clone(),
    }
}

fn if_range(found: &Findings) -> String {
    format!("by ETag {}, by date {}", condition(found.by_tag), condition(found.by_date))
}

fn range(range: &Range) -> String {
    match range {
        Range::Unasked => "unasked".into(),
        Range::Honest => "honest".into(),
        Range::Whole => "whole".into(),
        Range::Wrong(why) => why.clone(),
    }
}

fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Unavailable => "unavailable",
        Condition::Works => "works",
        Condition::Ignored => "ignored",
        Condition::Denied => "denied",
    }
}

fn list(all: &[impl AsRef<str>]) -> String {
    match all {
        [] => "none".into(),
        all => all.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "),
    }
}

/// What a server sent, without anything that could move the cursor.
fn escaped(text: &str) -> String {
    super::words::clean(text)
}
