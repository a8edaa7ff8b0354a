//! A request's `Range` and conditions (RFC 9110, sections 13 and 14): which bytes of a file are asked for, and
//! whether they are wanted at all. Pure functions of the request's fields and what the file is now.
//!
//! One range is answered as asked. A request for several ranges is answered with the whole file, which the RFC
//! allows: nobody who downloads sends one, and it is a known way to make a server work hard. So is any range of an
//! empty file, which has none. A range that does not parse is no range (section 14.2).

use super::content_range::number;
use crate::chunk::ByteRange;
use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use std::time::{Duration, SystemTime};

/// Which bytes a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// All of them.
    Whole,
    /// These.
    Part(ByteRange),
    /// Some that are not there: 416.
    Nowhere,
}

/// Reads the value of `Range` for a file of `length` bytes.
pub fn parse(value: &str, length: u64) -> Asked {
    match one_range(value, length) {
        _ if length == 0 => Asked::Whole,
        None => Asked::Whole,
        Some(range) if range.is_empty() => Asked::Nowhere,
        Some(range) => Asked::Part(range),
    }
}

/// The one range that `value` names, cut at the end of the file; empty when it lies past it.
fn one_range(value: &str, length: u64) -> Option<ByteRange> {
    let (unit, set) = value.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list may have empty elements (section 5.6.1); more than one that is not is more than one range.
    let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    let (spec, None) = (specs.next()?, specs.next()) else { return None };
    let range = match spec.split_once('-')? {
        ("", suffix) => {
            let suffix = big_number(suffix)?;
            ByteRange::new(length.saturating_sub(suffix), length)
        }
        (first, "") => ByteRange::new(big_number(first)?, length),
        (first, last) => {
            let (first, last) = (big_number(first)?, big_number(last)?);
            if last < first {
                return None;
            }
            ByteRange::new(first, last.saturating_add(1))
        }
    };
    Some(ByteRange::new(range.start.min(length), range.end.min(length)))
}

/// A number that may be too large to be meant: past 64 bits it counts as the largest.
fn big_number(digits: &str) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| number(digits).unwrap_or(u64::MAX))
}

/// What a file is called now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Its entity tag with quotes; always a strong one.
    pub etag: String,
    /// Its modification time.
    pub modified: SystemTime,
}

/// What the conditions of a request make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// They hold, or there are none.
    Proceed,
    /// The client has this very content: 304.
    NotModified,
    /// The content is not the one the client means: 412.
    Failed,
}

/// Evaluates the conditions of a `GET` or `HEAD` in the order of RFC 9110, section 13.2.2; `If-Range` is not among
/// them (see [`asked`]).
pub fn conditions(headers: &HeaderMap, now: &Current) -> Outcome {
    if let Some(tags) = joined(headers, IF_MATCH) {
        if !names(&tags, &now.etag, true) {
            return Outcome::Failed;
        }
    } else if date(headers, IF_UNMODIFIED_SINCE).is_some_and(|date| seconds(now.modified) > seconds(date)) {
        return Outcome::Failed;
    }
    if let Some(tags) = joined(headers, IF_NONE_MATCH) {
        if names(&tags, &now.etag, false) {
            return Outcome::NotModified;
        }
    } else if date(headers, IF_MODIFIED_SINCE).is_some_and(|date| seconds(now.modified) <= seconds(date)) {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether the conditions of a request that puts a file where `now` is, or nothing, hold (RFC 9110, section 13.2.2;
/// `If-Modified-Since` is for reading alone). `None`: it has none.
pub fn may_put(headers: &HeaderMap, now: Option<&Current>) -> Option<bool> {
    let named = |tags: &str, strong| now.is_some_and(|now| names(tags, &now.etag, strong));
    let old = |date| now.is_none_or(|now| seconds(now.modified) <= seconds(date));
    let meant = match joined(headers, IF_MATCH) {
        Some(tags) => Some(named(&tags, true)),
        None => date(headers, IF_UNMODIFIED_SINCE).map(old),
    };
    let other = joined(headers, IF_NONE_MATCH).map(|tags| !named(&tags, false));
    (meant.is_some() || other.is_some()).then(|| meant != Some(false) && other != Some(false))
}

/// Which bytes a request asks for, its `If-Range` heard: when that names other content, all of them (section 13.1.5).
/// `clock` is the time of the answer.
pub fn asked(headers: &HeaderMap, now: &Current, length: u64, clock: SystemTime) -> Asked {
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Asked::Whole };
    let Ok(range) = range.to_str() else { return Asked::Whole };
    match headers.get(IF_RANGE) {
        Some(value) if !value.to_str().is_ok_and(|value| same_content(value.trim(), now, clock)) => Asked::Whole,
        _ => parse(range, length),
    }
}

/// Whether an `If-Range` value names this content: a strong tag that is equal, or a date that is equal and old
/// enough that no second change can hide in it (section 8.8.2.2).
fn same_content(value: &str, now: &Current, clock: SystemTime) -> bool {
    if value.starts_with('"') || value.starts_with("W/") {
        return value == now.etag;
    }
    let old_enough = clock.duration_since(now.modified).is_ok_and(|age| age >= Duration::from_secs(2));
    old_enough && httpdate::parse_http_date(value).is_ok_and(|date| seconds(date) == seconds(now.modified))
}

/// All lines of one field as one list; a line that is no text makes the list match nothing.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("")).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    httpdate::parse_http_date(line.to_str().ok()?.trim()).ok()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether a list of entity tags names `etag` (or all, by `*`). A strong comparison takes no weak tag.
fn names(list: &str, etag: &str, strong: bool) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list.trim_start_matches([' ', '\t', ',']);
    while let Some((weak, tag, after)) = next_tag(rest) {
        if tag == etag && !(strong && weak) {
            return true;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    false
}

/// The first tag of a list: whether it is weak, the tag with its quotes, and what follows.
fn next_tag(list: &str) -> Option<(bool, &str, &str)> {
    let (weak, quoted) = match list.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, list),
    };
    let end = quoted.strip_prefix('"')?.find('"')? + 2;
    Some((weak, &quoted[..end], &quoted[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn part(start: u64, end: u64) -> Asked {
        Asked::Part(ByteRange::new(start, end))
    }

    #[test]
    fn ranges_of_rfc_9110_section_14_1_2() {
        for (value, asked) in [
            ("bytes=0-499", part(0, 500)),
            ("bytes=500-999", part(500, 1000)),
            ("bytes=-500", part(9500, 10_000)),
            ("bytes=9500-", part(9500, 10_000)),
            ("bytes=0-", part(0, 10_000)),
            ("bytes=0-0", part(0, 1)),
            ("bytes=-1", part(9999, 10_000)),
            ("BYTES=0-0", part(0, 1)),
            (" bytes=, 5-9 ,", part(5, 10)),
            // Past the end is cut, a suffix longer than the file is the whole file.
            ("bytes=9999-20000", part(9999, 10_000)),
            ("bytes=-20000", part(0, 10_000)),
            ("bytes=0-99999999999999999999999", part(0, 10_000)),
            ("bytes=-99999999999999999999999", part(0, 10_000)),
            // Not there.
            ("bytes=10000-", Asked::Nowhere),
            ("bytes=10000-10001", Asked::Nowhere),
            ("bytes=99999999999999999999999-", Asked::Nowhere),
            ("bytes=-0", Asked::Nowhere),
            // Several, another unit, and what does not parse.
            ("bytes=0-0,-1", Asked::Whole),
            ("bytes=0-1,2-3", Asked::Whole),
            ("chunks=0-1", Asked::Whole),
            ("bytes 0-1", Asked::Whole),
            ("bytes=5-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=1 -2", Asked::Whole),
            ("bytes=0x1-2", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(parse(value, 10_000), asked, "{value:?}");
        }
        for value in ["bytes=0-", "bytes=-1", "bytes=5-"] {
            assert_eq!(parse(value, 0), Asked::Whole, "{value:?} of an empty file");
        }
    }

    fn fields(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

    /// Modified in the middle of the second that [`DATE`] names.
    fn current() -> Current {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        Current { etag: "\"a\"".into(), modified }
    }

    #[test]
    fn conditions_in_their_order() {
        use Outcome::{Failed, NotModified, Proceed};
        let weak = "W/\"a\"";
        for (pairs, outcome) in [
            (vec![], Proceed),
            (vec![(IF_MATCH, "\"a\"")], Proceed),
            (vec![(IF_MATCH, "\"b\", \"a\"")], Proceed),
            (vec![(IF_MATCH, "\"b\""), (IF_MATCH, "\"a\"")], Proceed),
            (vec![(IF_MATCH, "*")], Proceed),
            (vec![(IF_MATCH, weak)], Failed),
            (vec![(IF_MATCH, "\"b\"")], Failed),
            (vec![(IF_MATCH, "a")], Failed),
            (vec![(IF_MATCH, "\"a, b\"")], Failed),
            (vec![(IF_UNMODIFIED_SINCE, DATE)], Proceed),
            (vec![(IF_UNMODIFIED_SINCE, BEFORE)], Failed),
            (vec![(IF_UNMODIFIED_SINCE, "yesterday")], Proceed),
            (vec![(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, BEFORE)], Proceed),
            (vec![(IF_NONE_MATCH, "\"a\"")], NotModified),
            (vec![(IF_NONE_MATCH, weak)], NotModified),
            (vec![(IF_NONE_MATCH, "*")], NotModified),
            (vec![(IF_NONE_MATCH, "\"b\"")], Proceed),
            (vec![(IF_MODIFIED_SINCE, DATE)], NotModified),
            (vec![(IF_MODIFIED_SINCE, BEFORE)], Proceed),
            (vec![(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, DATE)], Proceed),
        ] {
            assert_eq!(conditions(&fields(&pairs), &current()), outcome, "{pairs:?}");
        }
    }

    #[test]
    fn if_range_lets_only_the_same_content_through() {
        let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ask = |tag: &str, clock| asked(&fields(&[(RANGE, "bytes=5-"), (IF_RANGE, tag)]), &current(), 10, clock);
        assert_eq!(ask("\"a\"", clock), part(5, 10));
        assert_eq!(ask(DATE, clock), part(5, 10));
        for other in ["\"b\"", "W/\"a\"", BEFORE, "a", "", "*"] {
            assert_eq!(ask(other, clock), Asked::Whole, "{other}");
        }
        // A file that changed just now may change again within the same second.
        assert_eq!(ask(DATE, current().modified + Duration::from_secs(1)), Asked::Whole);
        assert_eq!(asked(&fields(&[(RANGE, "bytes=5-")]), &current(), 10, clock), part(5, 10));
        assert_eq!(asked(&fields(&[(RANGE, "bytes=5-"), (RANGE, "bytes=6-")]), &current(), 10, clock), Asked::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_file(value in "bytes=[0-9]{0,3}-[0-9]{0,3}(,[0-9]{0,2}-?)?", length in 0u64..600) {
            if let Asked::Part(range) = parse(&value, length) {
                prop_assert!(!range.is_empty() && range.end <= length);
            }
        }

        #[test]
        fn any_text_is_read_or_ignored(value in "\\PC{0,40}", length in any::<u64>()) {
            let _ = parse(&value, length);
            let _ = names(&value, "\"a\"", true);
        }
    }
}
