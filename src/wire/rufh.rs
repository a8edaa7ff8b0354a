//! Resumable uploads of the IETF (draft-ietf-httpbis-resumable-upload): its fields, limits and problem types, for both
//! ends, over the drafts that are in use. A draft is known by its interop number; the differences between them are
//! told by [`Interop`] and nowhere else.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

/// Whether the content reaches the end of the upload, or the answer is that of its target.
pub const COMPLETE: &str = "upload-complete";
/// The same turned round, up to interop number 4, and by mistake of some servers later.
pub const INCOMPLETE: &str = "upload-incomplete";
/// An offset in the upload, in bytes.
pub const OFFSET: &str = "upload-offset";
/// The length of the whole upload, in bytes.
pub const LENGTH: &str = "upload-length";
/// What the server asks of uploads: [`Limits`].
pub const LIMIT: &str = "upload-limit";
/// The interop number; goes away with the final RFC.
pub const INTEROP: &str = "upload-draft-interop-version";
/// The media type of an append, from interop number 6 on.
pub const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// One draft of the protocol, by its interop number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interop(pub u8);

impl Interop {
    /// The numbers to be tried by a client, newest first; settings may say otherwise.
    pub const KNOWN: [Self; 6] = [Self(10), Self(9), Self(8), Self(6), Self(5), Self(3)];

    /// Reads [`INTEROP`]; `None` when it is absent or no small number.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        integer(headers, INTEROP).and_then(|n| u8::try_from(n).ok()).map(Self)
    }

    /// The field that says whether an upload is complete, as this draft has it.
    pub fn complete(self, complete: bool) -> (&'static str, &'static str) {
        match (self.0 >= 5, complete) {
            (true, true) => (COMPLETE, "?1"),
            (true, false) => (COMPLETE, "?0"),
            (false, true) => (INCOMPLETE, "?0"),
            (false, false) => (INCOMPLETE, "?1"),
        }
    }

    /// The media type an append must have, where this draft wants one.
    pub fn append_type(self) -> Option<&'static str> {
        (self.0 >= 6).then_some(PARTIAL_UPLOAD)
    }

    /// Whether an append must say if it is the last; before that, one which does not is.
    pub fn append_must_say(self) -> bool {
        self.0 >= 10
    }

    /// Whether this draft knows [`LENGTH`] and [`LIMIT`].
    pub fn has_limits(self) -> bool {
        self.0 >= 6
    }
}

/// Whether a message says its upload is complete, in either spelling; the newer one counts if both are there. `None`
/// when neither is there or it is no boolean: an unreadable field is an absent one.
pub fn complete(headers: &HeaderMap) -> Option<bool> {
    boolean(headers, COMPLETE).or_else(|| boolean(headers, INCOMPLETE).map(|incomplete| !incomplete))
}

/// Reads [`OFFSET`].
pub fn offset(headers: &HeaderMap) -> Option<u64> {
    integer(headers, OFFSET)
}

/// Reads [`LENGTH`].
pub fn length(headers: &HeaderMap) -> Option<u64> {
    integer(headers, LENGTH)
}

/// Whether a reply shows that its sender knows this protocol; a bare 2xx or 104 elsewhere may be anything.
pub fn is_spoken(headers: &HeaderMap) -> bool {
    complete(headers).is_some() || offset(headers).is_some() || Limits::of_headers(headers).is_some()
}

/// What a server asks of uploads; sizes in bytes, the age in seconds. A known limit must be obeyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The largest upload.
    pub max_size: Option<u64>,
    /// The smallest upload.
    pub min_size: Option<u64>,
    /// The largest content of one request.
    pub max_append_size: Option<u64>,
    /// The smallest content of one request, except an empty one and the last.
    pub min_append_size: Option<u64>,
    /// How long an unfinished upload lives, from now.
    pub max_age: Option<u64>,
}

impl Limits {
    /// Reads [`LIMIT`]; `None` when it is absent, unreadable, or a limit this program knows is not a whole number:
    /// that voids the whole field. What it does not know it skips.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        Self::parse(&text(headers, LIMIT)?)
    }

    /// Reads the value of [`LIMIT`].
    pub fn parse(value: &str) -> Option<Self> {
        let fields: sfv::Dictionary = sfv::Parser::new(value).parse().ok()?;
        let mut limits = Self::default();
        for (key, entry) in &fields {
            let place = match key.as_str() {
                "max-size" => &mut limits.max_size,
                "min-size" => &mut limits.min_size,
                "max-append-size" => &mut limits.max_append_size,
                "min-append-size" => &mut limits.min_append_size,
                // `expires` is what the age was called up to draft -05.
                "max-age" | "expires" => &mut limits.max_age,
                _ => continue,
            };
            let sfv::ListEntry::Item(item) = entry else { return None };
            *place = Some(u64::try_from(i64::from(item.bare_item.as_integer()?)).ok()?);
        }
        Some(limits)
    }

    /// Prints the value of [`LIMIT`]; with nothing to say, that there is no limit. Numbers past the 15 digits of the
    /// grammar limit nothing and are left out.
    pub fn print(&self) -> String {
        let member =
            |key: &str, value: Option<u64>| value.filter(|n| *n < 1_000_000_000_000_000).map(|n| format!("{key}={n}"));
        let members: Vec<String> = [
            member("max-size", self.max_size),
            member("min-size", self.min_size),
            member("max-append-size", self.max_append_size),
            member("min-append-size", self.min_append_size),
            member("max-age", self.max_age),
        ]
        .into_iter()
        .flatten()
        .collect();
        match members.is_empty() {
            true => "min-size=0".into(),
            false => members.join(", "),
        }
    }

    /// How many of the `left` bytes the next request may carry, where the client would send `wanted` at a time; `None`
    /// when the limits leave no size to be sent. The last request may be smaller than the least.
    pub fn next(&self, left: u64, wanted: u64) -> Option<u64> {
        let most = self.max_append_size.unwrap_or(u64::MAX);
        let least = self.min_append_size.unwrap_or(0);
        if left <= wanted.min(most) {
            return Some(left);
        }
        let size = wanted.max(least).min(most).min(left);
        (size > 0 && (size >= least || size == left)).then_some(size)
    }
}

/// Problem types of this protocol (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The offset told is not where the upload stands.
    MismatchingOffset,
    /// There is nothing left to append.
    Completed,
    /// Two messages disagree on the length.
    InconsistentLength,
}

impl Reason {
    const ALL: [Self; 3] = [Self::MismatchingOffset, Self::Completed, Self::InconsistentLength];

    /// The type's URI.
    pub fn uri(self) -> &'static str {
        match self {
            Self::MismatchingOffset => "https://iana.org/assignments/http-problem-types#mismatching-upload-offset",
            Self::Completed => "https://iana.org/assignments/http-problem-types#completed-upload",
            Self::InconsistentLength => "https://iana.org/assignments/http-problem-types#inconsistent-upload-length",
        }
    }
}

/// A refusal (RFC 9457), with the members of this protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind, a URI.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The kind, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What happened here, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Where the upload stands.
    #[serde(rename = "expected-offset", default, skip_serializing_if = "Option::is_none")]
    pub expected_offset: Option<u64>,
    /// Where the request said it stood.
    #[serde(rename = "provided-offset", default, skip_serializing_if = "Option::is_none")]
    pub provided_offset: Option<u64>,
}

impl Problem {
    /// A refusal for this reason.
    pub fn new(reason: Reason, status: u16, title: &str) -> Self {
        Self { kind: reason.uri().into(), title: title.into(), status: Some(status), ..Self::default() }
    }

    /// Reads a body; `None` when it is no such document.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The reason, where it is one of this protocol; the host in the URI varied over the drafts.
    pub fn reason(&self) -> Option<Reason> {
        let tail = |uri: &str| uri.rsplit('#').next().map(str::to_string);
        Reason::ALL.into_iter().find(|reason| tail(reason.uri()) == tail(&self.kind) && self.kind.contains('#'))
    }

    /// The server's words for people, control characters escaped; empty when it has none.
    pub fn words(&self) -> String {
        let said: Vec<&str> = [&*self.title, &*self.detail].into_iter().filter(|text| !text.is_empty()).collect();
        let mut words = String::new();
        for c in said.join(": ").chars() {
            match c.is_control() {
                true => words.extend(c.escape_default()),
                false => words.push(c),
            }
        }
        words
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Option<Vec<&str>> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    Some(lines.filter(|lines| !lines.is_empty())?.join(", "))
}

fn item(headers: &HeaderMap, name: &str) -> Option<sfv::BareItem> {
    let item: sfv::Item = sfv::Parser::new(&text(headers, name)?).parse().ok()?;
    Some(item.bare_item)
}

fn integer(headers: &HeaderMap, name: &str) -> Option<u64> {
    u64::try_from(i64::from(item(headers, name)?.as_integer()?)).ok()
}

fn boolean(headers: &HeaderMap, name: &str) -> Option<bool> {
    item(headers, name)?.as_boolean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn both_spellings_of_the_end() {
        for (fields, expected) in [
            (&[(COMPLETE, "?1")][..], Some(true)),
            (&[(COMPLETE, "?0")], Some(false)),
            (&[(INCOMPLETE, "?1")], Some(false)),
            (&[(INCOMPLETE, "?0")], Some(true)),
            (&[(COMPLETE, "?0"), (INCOMPLETE, "?0")], Some(false)),
            (&[(COMPLETE, "1")], None),
            (&[(COMPLETE, "true")], None),
            (&[(COMPLETE, "?1, ?1")], None),
            (&[], None),
        ] {
            assert_eq!(complete(&headers(fields)), expected, "{fields:?}");
        }
        for interop in Interop::KNOWN {
            for end in [true, false] {
                assert_eq!(complete(&headers(&[interop.complete(end)])), Some(end), "{interop:?}");
            }
        }
    }

    #[test]
    fn the_drafts_differ() {
        assert_eq!(Interop::of_headers(&headers(&[(INTEROP, "6")])), Some(Interop(6)));
        for bad in ["", "x", "6.0", "-1", "300", "6, 7"] {
            assert_eq!(Interop::of_headers(&headers(&[(INTEROP, bad)])), None, "{bad}");
        }
        assert_eq!(Interop(3).complete(false), (INCOMPLETE, "?1"));
        assert_eq!((Interop(5).append_type(), Interop(6).append_type()), (None, Some(PARTIAL_UPLOAD)));
        assert!(Interop(10).append_must_say() && !Interop(9).append_must_say() && !Interop(5).has_limits());
        assert!(Interop::KNOWN.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn numbers() {
        assert_eq!(offset(&headers(&[(OFFSET, "200000")])), Some(200_000));
        assert_eq!(length(&headers(&[(LENGTH, "0")])), Some(0));
        for bad in ["-5", "1.5", "\"5\"", "5 6", "9999999999999999"] {
            assert_eq!(offset(&headers(&[(OFFSET, bad)])), None, "{bad}");
        }
        assert!(is_spoken(&headers(&[(OFFSET, "1")])) && is_spoken(&headers(&[(LIMIT, "min-size=0")])));
        assert!(!is_spoken(&headers(&[("content-length", "1"), (COMPLETE, "yes")])));
    }

    #[test]
    fn limits_as_servers_send_them() {
        let limits = Limits::parse(
            "max-size=1000, min-size=1, max-append-size=100;x=1, min-append-size=10, max-age=3600, new=?1",
        )
        .unwrap();
        assert_eq!((limits.max_size, limits.min_size, limits.max_age), (Some(1000), Some(1), Some(3600)));
        assert_eq!((limits.max_append_size, limits.min_append_size), (Some(100), Some(10)));
        assert_eq!(Limits::parse(&limits.print()), Some(limits));
        assert_eq!(Limits::parse("expires=60").unwrap().max_age, Some(60));
        assert_eq!(Limits::parse("min-size=0"), Some(Limits { min_size: Some(0), ..Limits::default() }));
        assert_eq!(Limits::default().print(), "min-size=0");
        for bad in ["max-size=\"1\"", "max-size=1.5", "max-size=-1", "max-size", "max-size=(1)", "=", "Max-Size=1"] {
            assert_eq!(Limits::parse(bad), None, "{bad}");
        }
        let lines = headers(&[(LIMIT, "max-size=5"), (LIMIT, "max-age=7")]);
        assert_eq!(Limits::of_headers(&lines).unwrap().max_age, Some(7));
    }

    #[test]
    fn the_next_append() {
        let limits = Limits { max_append_size: Some(100), min_append_size: Some(10), ..Limits::default() };
        assert_eq!(limits.next(1000, 50), Some(50));
        assert_eq!(limits.next(1000, 500), Some(100));
        assert_eq!(limits.next(1000, 5), Some(10));
        assert_eq!(limits.next(3, 50), Some(3));
        assert_eq!(limits.next(0, 50), Some(0));
        assert_eq!(Limits::default().next(1000, 500), Some(500));
        let none = Limits { max_append_size: Some(5), min_append_size: Some(10), ..Limits::default() };
        assert_eq!((none.next(1000, 50), none.next(4, 50)), (None, Some(4)));
        assert_eq!(Limits { max_append_size: Some(0), ..Limits::default() }.next(5, 50), None);
    }

    #[test]
    fn problems() {
        let mut problem = Problem::new(Reason::MismatchingOffset, 409, "offset from request does not match");
        problem.expected_offset = Some(12);
        problem.provided_offset = Some(0);
        let text = serde_json::to_string(&problem).unwrap();
        assert!(text.contains("\"expected-offset\":12") && !text.contains("detail"), "{text}");
        assert_eq!(Problem::parse(text.as_bytes()), Some(problem));
        let theirs = br#"{"type":"https://iana.org/assignments/http-problem-types#completed-upload","title":"a\u001b[2J","detail":"b","x":1}"#;
        let theirs = Problem::parse(theirs).unwrap();
        assert_eq!((theirs.reason(), theirs.words().as_str()), (Some(Reason::Completed), "a\\u{1b}[2J: b"));
        assert_eq!(Problem::parse(b"{}").unwrap().reason(), None);
        assert_eq!(Problem::parse(b"offset mismatch"), None);
    }

    proptest! {
        #[test]
        fn limits_are_read_back(a in any::<Option<u32>>(), b in any::<Option<u32>>(), c in any::<Option<u32>>()) {
            let wide = |n: Option<u32>| n.map(u64::from);
            let limits = Limits { max_size: wide(a), min_append_size: wide(b), max_age: wide(c), min_size: Some(0), ..Limits::default() };
            prop_assert_eq!(Limits::parse(&limits.print()), Some(limits));
        }

        #[test]
        fn an_append_keeps_the_limits(left in 1u64..10_000, wanted in 1u64..1000, least in 0u64..500, most in 1u64..1000) {
            let limits = Limits { max_append_size: Some(most), min_append_size: Some(least), ..Limits::default() };
            match limits.next(left, wanted) {
                Some(size) => prop_assert!(size > 0 && size <= most.min(left) && (size >= least || size == left)),
                None => prop_assert!(least > most),
            }
        }

        #[test]
        fn any_text_is_read_or_refused(value in "[ -~]{0,40}", near in "(max-size|max-age|=|,|;|[0-9]|\\?1|\\?0| ){0,12}") {
            for text in [&value, &near] {
                let fields = headers(&[(LIMIT, text), (OFFSET, text), (COMPLETE, text), (INTEROP, text)]);
                let _ = (Limits::of_headers(&fields), is_spoken(&fields), Interop::of_headers(&fields));
                let _ = Problem::parse(text.as_bytes());
            }
        }
    }
}
