//! The wording that bars and plain lines share, so that both say the same thing about the same event.

use crate::event::{Direction, Outcome};
use crate::fault::Fault;
use crate::report::seen::Seen;
use crate::units;
use std::fmt::Write;
use std::time::Duration;

/// `text` with everything escaped that could steer a terminal: control characters and the marks that turn the
/// direction of writing.
pub fn clean(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c.is_control() || turns {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    safe
}

/// How much of the whole is done, rounded down: 100 means all.
pub fn percent(done: u64, total: u64) -> u64 {
    match total {
        0 => 100,
        _ => (u128::from(done.min(total)) * 100 / u128::from(total)) as u64,
    }
}

/// `2.44 of 4.00 GiB`, or just what is done while the length is unknown.
pub fn amount(done: u64, total: Option<u64>) -> String {
    let Some(total) = total else { return units::bytes(done) };
    let (done, total) = (units::bytes(done), units::bytes(total));
    match (done.split_once(' '), total.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {total}"),
        _ => format!("{done} of {total}"),
    }
}

/// What begins.
pub fn started(seen: &Seen) -> String {
    let (verb, way) = match seen.direction {
        Direction::Download => ("downloading", "from"),
        Direction::Upload => ("uploading", "to"),
    };
    let size = seen.total.map(|total| format!(" {}", units::bytes(total))).unwrap_or_default();
    format!("{verb}{size} {way} {}", seen.remote)
}

/// That an earlier run's bytes are used.
pub fn resumed(offset: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("resumed at {} % ({})", percent(offset, total), amount(offset, Some(total))),
        None => format!("resumed at {}", units::bytes(offset)),
    }
}

/// That it is tried again.
pub fn retry(error: &Fault, wait: Duration, attempt: u32) -> String {
    format!("{}; try {attempt} comes in {}", error.what, units::period(wait))
}

/// What a finished file amounts to: `4.00 GiB in 41s (100 MiB/s), 1.56 GiB moved, sha-256 verified`.
pub fn done(outcome: &Outcome, seen: &Seen, took: Duration) -> String {
    if outcome.moved == 0 && outcome.already > 0 {
        return format!("{}, all of it was there{}", units::bytes(outcome.already), proofs(outcome, seen));
    }
    let total = seen.total.unwrap_or(outcome.moved + outcome.already);
    let mut text = format!("{} in {}", units::bytes(total), units::period(took));
    if took >= Duration::from_millis(500) {
        let rate = (outcome.moved as f64 / took.as_secs_f64()) as u64;
        let _ = write!(text, " ({})", units::bytes_per_second(rate));
    }
    if outcome.already > 0 || outcome.moved > total {
        let _ = write!(text, ", {} moved", units::bytes(outcome.moved));
    }
    text + &proofs(outcome, seen)
}

fn proofs(outcome: &Outcome, seen: &Seen) -> String {
    let mut proofs: Vec<&str> = seen.verified.iter().map(String::as_str).collect();
    if let Some(proof) = outcome.proof.as_deref().filter(|proof| !proofs.contains(proof)) {
        proofs.push(proof);
    }
    match proofs.is_empty() {
        true => String::new(),
        false => format!(", {} verified", proofs.join(" and ")),
    }
}

/// The lines of a failure after its first: what became of the bytes, and what to do next.
pub fn after_failure(fault: &Fault) -> Vec<String> {
    [fault.kept.clone(), fault.next()].into_iter().flatten().map(|line| clean(&line)).collect()
}

/// How several files ended: `12 files: 11 done, 1 failed`.
pub fn summary(done: u64, failed: u64, unfinished: u64) -> String {
    let mut text = format!("{} files: {done} done", done + failed + unfinished);
    for (count, word) in [(failed, "failed"), (unfinished, "not finished")] {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_the_network_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}d é 火"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c\\u{9b}d é 火");
    }

    #[test]
    fn a_hundred_percent_is_all() {
        assert_eq!((percent(999, 1000), percent(1000, 1000), percent(0, 0), percent(5, 2)), (99, 100, 100, 100));
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }

    #[test]
    fn amounts_name_their_unit_once() {
        assert_eq!(amount(5 << 29, Some(4 << 30)), "2.50 of 4.00 GiB");
        assert_eq!(amount(5 << 19, Some(4 << 30)), "2.50 MiB of 4.00 GiB");
        assert_eq!(amount(7, None), "7 B");
    }
}
