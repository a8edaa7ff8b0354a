//! Is it still the same content? Entity tags and dates (RFC 9110, section 8.8): what may be put into `If-Range`, and
//! what a reply's validators say beside those of the record.
//!
//! Many servers ignore `If-Range` and answer 206 with the new bytes, some answer 200 to it though nothing changed,
//! some have an entity tag per node. So the condition is a ladder of forms, and every reply is compared all the same.

use crate::record::Validator;
use http::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// An entity tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Equal weak tags mean "as good as", not "the same bytes".
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a str,
    /// Whether it is written by the grammar: an unquoted one (some object stores) may be compared, not sent.
    pub well_formed: bool,
}

impl<'a> EntityTag<'a> {
    /// Reads a tag as a server sends it; `None` when nothing is in it (`""` names every content there is).
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = value.trim();
        let (weak, quoted) = match value.strip_prefix("W/").or_else(|| value.strip_prefix("w/")) {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let opaque = inner.unwrap_or(quoted);
        let legal = |b: u8| b > b' ' && b != b'"' && b != 0x7f;
        let well_formed = inner.is_some() && !value.starts_with("w/") && opaque.bytes().all(legal);
        (!opaque.is_empty() && opaque != "\"").then_some(Self { weak, opaque, well_formed })
    }

    /// Whether equal tags of this kind mean equal bytes, and a server can be asked by it.
    pub fn is_strong(&self) -> bool {
        !self.weak && self.well_formed
    }
}

/// The rungs of the ladder, in the order to be tried; which one works is remembered for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `If-Range` with the strong entity tag.
    Tag,
    /// `If-Range` with the date.
    Date,
    /// No condition: the reply's validators are compared with the record.
    Bare,
}

/// The value of `If-Range` in this form, verbatim as the server sent it; `None` where it must not be sent: never a
/// weak or malformed tag, never a date that is not strong.
pub fn if_range(kept: &Validator, form: Form) -> Option<&str> {
    match form {
        Form::Tag => {
            let tag = kept.etag.as_deref()?;
            EntityTag::parse(tag)?.is_strong().then(|| tag.trim())
        }
        Form::Date => date_is_strong(kept).then_some(kept.last_modified.as_deref()?.trim()),
        Form::Bare => None,
    }
}

/// The first form from `from` on that this validator can be asked by.
pub fn best_form(kept: &Validator, from: Form) -> Form {
    let forms: &[Form] = match from {
        Form::Tag => &[Form::Tag, Form::Date],
        Form::Date => &[Form::Date],
        Form::Bare => &[],
    };
    forms.iter().copied().find(|form| if_range(kept, *form).is_some()).unwrap_or(Form::Bare)
}

/// Whether the `Last-Modified` is a strong validator (RFC 9110, section 8.8.2.2): at least a second older than the
/// reply's own `Date`, so that a second change within its second cannot hide. Without a `Date` it is not.
pub fn date_is_strong(kept: &Validator) -> bool {
    let time = |text: &Option<String>| text.as_deref().and_then(instant);
    match (time(&kept.last_modified), time(&kept.date)) {
        (Some(modified), Some(date)) => modified + Duration::from_secs(1) <= date,
        _ => false,
    }
}

/// The validators of a reply. What is not text is as good as absent.
pub fn of_headers(headers: &HeaderMap) -> Validator {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim().to_string());
    Validator {
        etag: text(ETAG).filter(|tag| EntityTag::parse(tag).is_some()),
        last_modified: text(LAST_MODIFIED).filter(|date| instant(date).is_some()),
        date: text(DATE).filter(|date| instant(date).is_some()),
    }
}

/// What comparing a reply with the record comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Likeness {
    /// It is the same content, byte by byte, by the server's word.
    Same,
    /// It is another content; why, as a clause for people.
    Different(String),
    /// The server's word does not decide: bytes must be compared.
    CannotTell,
}

/// Compares what the record kept with what a reply says; lengths in bytes, where known.
///
/// Length first: nothing overrules it. Then strong tags; tags that differ while length and date agree are what
/// networks with a tag per node send, and mean neither yes nor no. Then dates.
pub fn compare(kept: &Validator, kept_length: Option<u64>, now: &Validator, now_length: Option<u64>) -> Likeness {
    let same_length = match (kept_length, now_length) {
        (Some(kept), Some(now)) if kept != now => {
            return Likeness::Different(format!("its length was {kept} bytes and is {now} now"));
        }
        (Some(_), Some(_)) => true,
        _ => false,
    };
    let tags = tags(kept, now);
    match (tags, dates(kept, now)) {
        (Some(Agreement::Equal), _) => Likeness::Same,
        (Some(Agreement::Unequal), Some(Agreement::Equal)) if same_length => Likeness::CannotTell,
        // Equal dates without a `Date` beside them; with one they would show a file rewritten within its second.
        (Some(Agreement::Unequal), Some(Agreement::Roughly))
            if same_length && !is_made_up(kept) && !is_made_up(now) =>
        {
            Likeness::CannotTell
        }
        (Some(Agreement::Unequal), _) => Likeness::Different("its entity tag has changed".into()),
        (_, Some(Agreement::Unequal)) => Likeness::Different(format!(
            "it was changed {}, and had been changed {}",
            now.last_modified.as_deref().unwrap_or_default(),
            kept.last_modified.as_deref().unwrap_or_default()
        )),
        (_, Some(Agreement::Equal)) if same_length => Likeness::Same,
        _ => Likeness::CannotTell,
    }
}

/// How far two validators of one kind agree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Equal,
    /// Equal, by a validator that does not speak of bytes.
    Roughly,
    Unequal,
}

fn tags(kept: &Validator, now: &Validator) -> Option<Agreement> {
    let kept = EntityTag::parse(kept.etag.as_deref()?)?;
    let now = EntityTag::parse(now.etag.as_deref()?)?;
    Some(match (kept.opaque == now.opaque, kept.weak || now.weak) {
        (true, false) => Agreement::Equal,
        (true, true) => Agreement::Roughly,
        (false, _) => Agreement::Unequal,
    })
}

fn dates(kept: &Validator, now: &Validator) -> Option<Agreement> {
    let before = instant(kept.last_modified.as_deref()?)?;
    let after = instant(now.last_modified.as_deref()?)?;
    Some(match before == after {
        true if date_is_strong(kept) || date_is_strong(now) => Agreement::Equal,
        true => Agreement::Roughly,
        false if is_made_up(kept) && is_made_up(now) => return None,
        false => Agreement::Unequal,
    })
}

/// A server that answers "modified just now" to every request makes its dates up as it goes.
fn is_made_up(validator: &Validator) -> bool {
    validator.date.is_some() && !date_is_strong(validator)
}

/// An HTTP date in any of its three forms (RFC 9110, section 5.6.7).
pub(crate) fn instant(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: &str = "Tue, 17 Nov 2026 09:42:18 GMT";
    const NEW: &str = "Tue, 17 Nov 2026 09:42:19 GMT";
    const LATER: &str = "Sun, 22 Nov 2026 12:00:00 GMT";

    fn validator(etag: &str, last_modified: &str, date: &str) -> Validator {
        let text = |s: &str| (!s.is_empty()).then(|| s.to_string());
        Validator { etag: text(etag), last_modified: text(last_modified), date: text(date) }
    }

    #[test]
    fn tags_of_real_servers() {
        let tag = |value| EntityTag::parse(value).map(|tag| (tag.weak, tag.opaque, tag.is_strong()));
        for (value, expected) in [
            ("\"6741a1b2-1000000\"", Some((false, "6741a1b2-1000000", true))),
            ("W/\"5f3c\"", Some((true, "5f3c", false))),
            ("w/\"5f3c\"", Some((true, "5f3c", false))),
            ("\"3858f62230ac3c915f300c664312c11f-9\"", Some((false, "3858f62230ac3c915f300c664312c11f-9", true))),
            ("\"5f3c-gzip\"", Some((false, "5f3c-gzip", true))),
            ("d41d8cd98f00b204e9800998ecf8427e", Some((false, "d41d8cd98f00b204e9800998ecf8427e", false))),
            ("\"half", Some((false, "\"half", false))),
            ("\"a b\"", Some((false, "a b", false))),
            ("\"a\"b\"", Some((false, "a\"b", false))),
            ("\"\"", None),
            ("W/\"\"", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(tag(value), expected, "{value}");
        }
    }

    #[test]
    fn only_strong_validators_go_into_a_condition() {
        let strong = validator("\"a\"", OLD, LATER);
        assert_eq!(if_range(&strong, Form::Tag), Some("\"a\""));
        assert_eq!(if_range(&strong, Form::Date), Some(OLD));
        assert_eq!(if_range(&strong, Form::Bare), None);
        for tag in ["W/\"a\"", "a", "\"a b\"", ""] {
            assert_eq!(if_range(&validator(tag, OLD, LATER), Form::Tag), None, "{tag}");
            assert_eq!(best_form(&validator(tag, OLD, LATER), Form::Tag), Form::Date);
        }
        for (modified, date) in [(OLD, OLD), (OLD, ""), ("", LATER), (NEW, OLD), ("yesterday", LATER)] {
            assert_eq!(if_range(&validator("", modified, date), Form::Date), None, "{modified} {date}");
        }
        assert_eq!(if_range(&validator("", OLD, NEW), Form::Date), Some(OLD));
        assert_eq!(best_form(&strong, Form::Tag), Form::Tag);
        assert_eq!(best_form(&strong, Form::Bare), Form::Bare);
        assert_eq!(best_form(&Validator::default(), Form::Tag), Form::Bare);
    }

    #[test]
    fn strong_tags_decide() {
        let kept = validator("\"a\"", OLD, LATER);
        let like = |now: Validator| compare(&kept, Some(10), &now, Some(10));
        assert_eq!(like(validator("\"a\"", OLD, LATER)), Likeness::Same);
        assert_eq!(like(validator("\"a\"", NEW, LATER)), Likeness::Same, "a touched file with the same content");
        assert!(matches!(like(validator("\"b\"", NEW, LATER)), Likeness::Different(_)));
        assert!(matches!(like(validator("\"b\"", "", LATER)), Likeness::Different(_)));
        assert_eq!(compare(&kept, Some(10), &kept, None), Likeness::Same);
        assert!(matches!(compare(&kept, Some(10), &kept, Some(11)), Likeness::Different(_)));
    }

    #[test]
    fn a_tag_per_node_is_no_change() {
        let kept = validator("\"node-1\"", OLD, LATER);
        let now = validator("\"node-2\"", OLD, LATER);
        assert_eq!(compare(&kept, Some(10), &now, Some(10)), Likeness::CannotTell);
        assert!(matches!(compare(&kept, Some(10), &now, None), Likeness::Different(_)));
        let undated = |tag| validator(tag, OLD, "");
        let like = |length| compare(&undated("\"node-1\""), Some(10), &undated("\"node-2\""), length);
        assert_eq!(like(Some(10)), Likeness::CannotTell, "a server without a clock");
        assert!(matches!(like(None), Likeness::Different(_)));
        let fresh = validator("\"node-2\"", OLD, OLD);
        let both_fresh = compare(&validator("\"node-1\"", OLD, OLD), Some(10), &fresh, Some(10));
        assert!(matches!(both_fresh, Likeness::Different(_)), "rewritten within its second");
    }

    #[test]
    fn weak_validators_prove_nothing_alone() {
        let weak = validator("W/\"a\"", "", "");
        assert_eq!(compare(&weak, Some(10), &weak, Some(10)), Likeness::CannotTell);
        assert!(matches!(compare(&weak, None, &validator("W/\"b\"", "", ""), None), Likeness::Different(_)));
        let dated = validator("W/\"a\"", OLD, LATER);
        assert_eq!(compare(&dated, Some(10), &dated, Some(10)), Likeness::Same);
        let fresh = validator("", OLD, OLD);
        assert_eq!(compare(&fresh, Some(10), &fresh, Some(10)), Likeness::CannotTell);
        assert_eq!(compare(&Validator::default(), Some(10), &Validator::default(), Some(10)), Likeness::CannotTell);
        assert_eq!(compare(&validator("\"\"", "", ""), None, &validator("\"\"", "", ""), None), Likeness::CannotTell);
    }

    #[test]
    fn dates_decide_where_there_are_no_tags() {
        let kept = validator("", OLD, LATER);
        assert_eq!(compare(&kept, Some(10), &kept, Some(10)), Likeness::Same);
        assert_eq!(compare(&kept, Some(10), &kept, None), Likeness::CannotTell);
        assert!(matches!(compare(&kept, Some(10), &validator("", NEW, LATER), Some(10)), Likeness::Different(_)));
        let other_form = validator("", "Tuesday, 17-Nov-26 09:42:18 GMT", LATER);
        assert_eq!(compare(&kept, Some(10), &other_form, Some(10)), Likeness::Same);
    }

    #[test]
    fn dates_made_up_at_every_request_say_nothing() {
        let like = compare(&validator("", OLD, OLD), Some(10), &validator("", LATER, LATER), Some(10));
        assert_eq!(like, Likeness::CannotTell);
    }

    #[test]
    fn validators_of_a_reply() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "\"a\"".parse().unwrap());
        headers.insert(LAST_MODIFIED, "not a date".parse().unwrap());
        headers.insert(DATE, http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(of_headers(&headers), validator("\"a\"", "", ""));
    }

    proptest! {
        #[test]
        fn a_condition_is_what_the_server_sent(tag in "(W/)?\"?[ -~é]{0,8}\"?") {
            let kept = validator(&tag, "", "");
            if let Some(value) = if_range(&kept, Form::Tag) {
                prop_assert!(value.starts_with('"') && value.ends_with('"') && value.len() > 2);
                prop_assert_eq!(value, tag.trim());
            }
        }

        #[test]
        fn comparing_is_the_same_both_ways(a in "(W/)?\"[ab]?\"", b in "(W/)?\"[ab]?\"", m in 0usize..3, n in 0usize..3) {
            let dates = ["", OLD, NEW];
            let (one, other) = (validator(&a, dates[m], LATER), validator(&b, dates[n], LATER));
            let plain = |like| matches!(like, Likeness::Same) as u8 + 2 * matches!(like, Likeness::Different(_)) as u8;
            prop_assert_eq!(plain(compare(&one, Some(1), &other, Some(1))), plain(compare(&other, Some(1), &one, Some(1))));
        }
    }
}
