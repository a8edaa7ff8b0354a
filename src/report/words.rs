//! The wording that bars and plain lines share, so that both say the same thing about the same event.

use crate::event::{Direction, EXISTS, Outcome, SIZE};
use crate::fault::Fault;
use crate::report::seen::Seen;
use crate::units;
use console::measure_text_width;
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

/// `0.24 of 4.00 GiB`, both in the unit of the whole; or just what is done while the length is unknown.
pub fn amount(done: u64, total: Option<u64>) -> String {
    let Some(total) = total else { return units::bytes(done) };
    let whole = units::bytes(total);
    let Some((number, unit)) = whole.split_once(' ') else { return whole };
    let share = number.parse::<f64>().unwrap_or(0.0) * done.min(total) as f64 / (total.max(1)) as f64;
    match unit {
        "B" => format!("{done} of {whole}"),
        _ if done == total => format!("{number} of {whole}"),
        _ if share < 9.995 => format!("{share:.2} of {whole}"),
        _ if share < 99.95 => format!("{share:.1} of {whole}"),
        _ => format!("{share:.0} of {whole}"),
    }
}

/// `text` cut into lines of at most `width` columns where words meet; a word that is longer gets a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines
            .last_mut()
            .filter(|line| line.is_empty() || measure_text_width(line) + 1 + measure_text_width(word) <= width);
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_string()),
        }
    }
    lines
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

/// By which protocol an upload is made.
pub fn protocol(about: &str) -> String {
    format!("speaking {about}")
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
    format!("{}; again in {} (try {attempt})", error.what, units::period(wait))
}

/// What a finished file amounts to: `4.00 GiB in 41s (100 MiB/s), 1.56 GiB moved, sha-256 verified`.
pub fn done(outcome: &Outcome, seen: &Seen, took: Duration) -> String {
    if outcome.moved == 0 && outcome.already > 0 {
        return format!("{}, all of it was there{}", units::bytes(outcome.already), proofs(outcome, &seen.verified));
    }
    let total = seen.total.unwrap_or(outcome.moved + outcome.already);
    let mut text = format!("{} in {}", units::bytes(total), units::period(took));
    if took >= Duration::from_millis(500) {
        let rate = (outcome.moved as f64 / took.as_secs_f64()) as u64;
        let _ = write!(text, " ({})", units::bytes_per_second(rate));
    }
    let other = outcome.moved != total && units::bytes(outcome.moved) != units::bytes(total);
    if outcome.already > 0 || other {
        let _ = write!(text, ", {} moved", units::bytes(outcome.moved));
    }
    text + &proofs(outcome, &seen.verified)
}

/// What shows that the content is right, and how much that is worth: a name or a length verifies nothing.
fn proofs(outcome: &Outcome, verified: &[String]) -> String {
    let mut proofs: Vec<&str> = verified.iter().map(String::as_str).collect();
    match outcome.proof.as_deref() {
        Some(EXISTS) if proofs.is_empty() => return ", by its name alone: no content was compared".into(),
        Some(SIZE) if proofs.is_empty() => return ", by its size: no content was compared".into(),
        Some(proof) if proof.starts_with(SIZE) && proofs.is_empty() => return format!(", {proof} compared"),
        Some(proof) if proof != EXISTS && !proof.starts_with(SIZE) && !proofs.contains(&proof) => proofs.push(proof),
        _ => {}
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
    fn only_content_is_verified() {
        let said = |proof: &str, verified: &[&str]| {
            let outcome = Outcome { place: String::new(), moved: 0, already: 1, proof: Some(proof.into()) };
            proofs(&outcome, &verified.iter().map(|alg| alg.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(said("exists", &[]), ", by its name alone: no content was compared");
        assert_eq!(said("size", &[]), ", by its size: no content was compared");
        assert_eq!(said("size and samples", &[]), ", size and samples compared");
        assert_eq!(said("md5", &["sha-256"]), ", sha-256 and md5 verified");
        assert_eq!(said("size", &["sha-256"]), ", sha-256 verified");
    }

    #[test]
    fn a_hundred_percent_is_all() {
        assert_eq!((percent(999, 1000), percent(1000, 1000), percent(0, 0), percent(5, 2)), (99, 100, 100, 100));
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }

    #[test]
    fn amounts_name_their_unit_once() {
        assert_eq!(amount(5 << 29, Some(4 << 30)), "2.50 of 4.00 GiB");
        assert_eq!(amount(5 << 23, Some(4 << 30)), "0.04 of 4.00 GiB");
        assert_eq!(amount(300, Some(999)), "300 of 999 B");
        assert_eq!(amount(150 << 20, Some(200 << 20)), "150 of 200 MiB");
        assert_eq!(amount(7, None), "7 B");
    }

    #[test]
    fn lines_break_where_words_meet() {
        assert_eq!(wrap("aa bb cc averylongword d", 5), ["aa bb", "cc", "averylongword", "d"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
