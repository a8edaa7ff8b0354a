//! How long a server asks us to stay away: `Retry-After` (RFC 9110, section 10.2.3) and the rate limit fields that
//! servers send beside or instead of it.

use crate::wire::content_range::number;
use crate::wire::validator::instant;
use http::HeaderMap;
use std::time::{Duration, SystemTime};

/// Longer than this nobody is made to wait: a server that says more is wrong or will be asked again sooner.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A larger number of seconds than this is a moment since 1970, as some services send it.
const MOMENT: u64 = 1_000_000_000;

/// How long to wait, by a reply that says no (429, 503 …); `now` is our clock, used where the reply has no `Date`.
/// `Retry-After` counts most; then what is left of a used-up rate limit. Never more than [`LONGEST`].
pub fn wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    // A date is a moment of the server's clock, which may be off: measure it against the server's own.
    let clock = text("date").and_then(instant).unwrap_or(now);
    let wait = text("retry-after")
        .and_then(|value| retry_after(value, clock))
        .or_else(|| text("ratelimit").and_then(rate_limit))
        .or_else(|| reset(text("ratelimit-remaining"), text("ratelimit-reset"), clock))
        .or_else(|| reset(text("x-ratelimit-remaining"), text("x-ratelimit-reset"), clock));
    wait.map(|wait| wait.min(LONGEST))
}

/// `Retry-After`: seconds (a fraction, which the grammar does not know, is rounded up) or a date.
fn retry_after(value: &str, clock: SystemTime) -> Option<Duration> {
    seconds(value).or_else(|| Some(instant(value)?.duration_since(clock).unwrap_or_default()))
}

fn seconds(value: &str) -> Option<Duration> {
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let whole = number(whole)?;
    let more = match part.is_empty() || part.bytes().all(|b| b == b'0') {
        true => 0,
        false => part.bytes().all(|b| b.is_ascii_digit()).then_some(1)?,
    };
    Some(Duration::from_secs(whole.saturating_add(more)))
}

/// `RateLimit: "default";r=0;t=30` (draft-ietf-httpapi-ratelimit-headers): of the used-up policies the one that takes
/// longest. The older form, `limit=10, remaining=0, reset=30`, is read too.
fn rate_limit(value: &str) -> Option<Duration> {
    if let Ok(list) = sfv::Parser::new(value).parse::<sfv::List>() {
        return list.iter().filter_map(used_up).max();
    }
    let dictionary: sfv::Dictionary = sfv::Parser::new(value).parse().ok()?;
    let value = |key: &str| match dictionary.get(key)? {
        sfv::ListEntry::Item(item) => u64::try_from(i64::from(item.bare_item.as_integer()?)).ok(),
        sfv::ListEntry::InnerList(_) => None,
    };
    (value("remaining")? == 0).then(|| value("reset").map(Duration::from_secs))?
}

fn used_up(entry: &sfv::ListEntry) -> Option<Duration> {
    let sfv::ListEntry::Item(item) = entry else { return None };
    let value = |key: &str| u64::try_from(i64::from(item.params.get(key)?.as_integer()?)).ok();
    (value("r")? == 0).then(|| value("t").map(Duration::from_secs))?
}

/// `RateLimit-Reset` and its elder `X-RateLimit-Reset`: seconds, or a moment since 1970. They come with every reply,
/// so they count only when nothing is left.
fn reset(remaining: Option<&str>, reset: Option<&str>, clock: SystemTime) -> Option<Duration> {
    if number(remaining?)? > 0 {
        return None;
    }
    let wait = seconds(reset?)?;
    if wait.as_secs() < MOMENT {
        return Some(wait);
    }
    let moment = SystemTime::UNIX_EPOCH.checked_add(wait)?;
    Some(moment.duration_since(clock).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn now() -> SystemTime {
        instant("Sun, 22 Nov 2026 12:00:00 GMT").unwrap()
    }

    fn waits(fields: &[(&str, &str)]) -> Option<u64> {
        wait(&headers(fields), now()).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_in_both_forms() {
        assert_eq!(waits(&[("retry-after", "120")]), Some(120));
        assert_eq!(waits(&[("retry-after", " 0 ")]), Some(0));
        assert_eq!(waits(&[("retry-after", "1.2")]), Some(2));
        assert_eq!(waits(&[("retry-after", "2.000")]), Some(2));
        assert_eq!(waits(&[("retry-after", "Sun, 22 Nov 2026 12:01:30 GMT")]), Some(90));
        assert_eq!(waits(&[("retry-after", "Sun, 22 Nov 2026 11:00:00 GMT")]), Some(0), "already over");
        let by_its_clock =
            [("retry-after", "Sun, 22 Nov 2026 15:00:10 GMT"), ("date", "Sun, 22 Nov 2026 15:00:00 GMT")];
        assert_eq!(waits(&by_its_clock), Some(10), "a server three hours ahead");
        assert_eq!(waits(&[("retry-after", "99999999999")]), Some(LONGEST.as_secs()));
        for value in ["", "-1", "soon", "1h", "1.x", "99999999999999999999999"] {
            assert_eq!(waits(&[("retry-after", value)]), None, "{value}");
        }
    }

    #[test]
    fn rate_limits() {
        assert_eq!(waits(&[("ratelimit", "\"default\";r=0;t=30")]), Some(30));
        assert_eq!(waits(&[("ratelimit", "\"burst\";r=0;t=5, \"day\";r=0;t=300, \"x\";r=9;t=999")]), Some(300));
        assert_eq!(waits(&[("ratelimit", "\"default\";r=5;t=30")]), None);
        assert_eq!(waits(&[("ratelimit", "limit=10, remaining=0, reset=7")]), Some(7));
        assert_eq!(waits(&[("ratelimit", "limit=10, remaining=3, reset=7")]), None);
        assert_eq!(waits(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "12")]), Some(12));
        assert_eq!(waits(&[("ratelimit-remaining", "4"), ("ratelimit-reset", "12")]), None);
        assert_eq!(waits(&[("ratelimit-reset", "12")]), None);
        let moment = now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 60;
        assert_eq!(waits(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &moment.to_string())]), Some(60));
        assert_eq!(waits(&[("retry-after", "3"), ("ratelimit", "\"default\";r=0;t=30")]), Some(3));
        assert_eq!(waits(&[("ratelimit", "\"default\";r=0;t=-3")]), None);
        assert_eq!(waits(&[]), None);
    }

    proptest! {
        #[test]
        fn nobody_waits_for_ever(value in "[ -~]{0,30}", seconds in any::<u64>()) {
            for field in ["retry-after", "ratelimit"] {
                prop_assert!(waits(&[(field, &value)]).is_none_or(|wait| wait <= LONGEST.as_secs()));
            }
            prop_assert!(waits(&[("retry-after", &seconds.to_string())]).unwrap() <= LONGEST.as_secs());
            let fields = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*seconds.to_string())];
            prop_assert!(waits(&fields).is_none_or(|wait| wait <= LONGEST.as_secs()));
        }
    }
}
