//! What to do with what an earlier run left, given what the remote says now: one pure match.

use crate::record::{Record, Validator};
use crate::wire::media_type::is_page;
use crate::wire::validator::{Likeness, compare};

/// Whether an answer comes from where the record's bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// From the very URL.
    Same,
    /// From a URL that differs at most in its secrets, which no record holds: they may name another file.
    Unsure,
    /// From another one.
    Other,
}

/// What the remote says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// What it calls the content.
    pub validator: Validator,
    /// The length in bytes, where told.
    pub length: Option<u64>,
    /// Whether it is the URL of the record.
    pub address: Address,
    /// The media type it says the content is of.
    pub media: Option<String>,
    /// Whether it answered the conditional range request with a range: "unchanged", by a server that honours it.
    pub ranged: bool,
}

/// What is known of the content.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What it was called.
    pub validator: &'a Validator,
    /// Its length in bytes.
    pub length: Option<u64>,
    /// The media type it was said to be of.
    pub media: Option<&'a str>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Go on with the bytes that are there.
    Resume,
    /// Go on only if bytes that are there equal the remote's: its word does not decide.
    Compare,
    /// Start over: why, as a clause for people.
    Restart(String),
    /// This is not the file but something put in its way: why. Nothing may be written.
    Impostor(String),
}

/// Decides.
pub fn plan(record: &Record, now: &Now) -> Plan {
    let known = Known { validator: &record.validator, length: record.length, media: record.media.as_deref() };
    if let Some(why) = impostor(known, now) {
        return Plan::Impostor(why);
    }
    let another_length = record.length.is_some() && now.length.is_some() && record.length != now.length;
    match compare(&record.validator, record.length, &now.validator, now.length) {
        // Another place may call the same bytes something else; their number cannot differ.
        Likeness::Different(_) if now.address == Address::Other && !another_length => Plan::Compare,
        Likeness::Different(why) => Plan::Restart(why),
        Likeness::Same if now.address == Address::Same => Plan::Resume,
        Likeness::Same | Likeness::CannotTell => Plan::Compare,
    }
}

/// Why an answer with the whole is not the file but what a network's login, a proxy or a failing server put in its
/// way. The next version of a file may be of any length, but it is of the same type or called something.
pub fn impostor(known: Known, now: &Now) -> Option<String> {
    let same = matches!(compare(known.validator, known.length, &now.validator, now.length), Likeness::Same);
    let as_long = now.length.is_some() && (known.length.is_none() || known.length == now.length);
    if now.ranged || same || as_long {
        return None;
    }
    let nameless = |validator: &Validator| validator.etag.is_none() && validator.last_modified.is_none();
    let page = |media: Option<&str>| media.is_some_and(is_page);
    let media = now.media.as_deref();
    if page(media) {
        let a_version = page(known.media) && (!nameless(&now.validator) || nameless(known.validator));
        return (!a_version).then(|| "a web page came where the file was expected".to_string());
    }
    let short = match (now.length, known.length) {
        (Some(now), Some(known)) => now < known / 2,
        (None, Some(_)) => known.media.is_some(),
        (_, None) => false,
    };
    let odd = short && nameless(&now.validator) && media != known.media;
    odd.then(|| format!("something else ({}) came where the file was expected", media.unwrap_or("of no type")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    fn record() -> Record {
        let mut record = Record::new(Kind::Download, "http://h/f", "f", 10);
        record.length = Some(100);
        record.validator.etag = Some("\"a\"".into());
        record
    }

    fn now(etag: Option<&str>, length: Option<u64>) -> Now {
        let validator = Validator { etag: etag.map(str::to_string), last_modified: None, date: None };
        Now { validator, length, address: Address::Same, media: Some("application/octet-stream".into()), ranged: true }
    }

    #[test]
    fn the_remote_decides_where_it_can() {
        assert_eq!(plan(&record(), &now(Some("\"a\""), Some(100))), Plan::Resume);
        assert!(matches!(plan(&record(), &now(Some("\"b\""), Some(100))), Plan::Restart(_)));
        assert!(matches!(plan(&record(), &now(Some("\"a\""), Some(101))), Plan::Restart(_)));
        assert_eq!(plan(&record(), &now(None, Some(100))), Plan::Compare);
        let mirror = Now { address: Address::Other, ..now(Some("\"a\""), Some(100)) };
        assert_eq!(plan(&record(), &mirror), Plan::Compare);
        let mirror = Now { address: Address::Other, ..now(Some("\"b\""), Some(100)) };
        assert_eq!(plan(&record(), &mirror), Plan::Compare);
        let mirror = Now { address: Address::Other, ..now(Some("\"a\""), Some(101)) };
        assert!(matches!(plan(&record(), &mirror), Plan::Restart(_)));
    }

    #[test]
    fn a_url_that_may_name_another_file_proves_nothing() {
        let unsure = |etag, length| Now { address: Address::Unsure, ..now(Some(etag), Some(length)) };
        assert_eq!(plan(&record(), &unsure("\"a\"", 100)), Plan::Compare);
        assert!(matches!(plan(&record(), &unsure("\"b\"", 100)), Plan::Restart(_)));
    }

    /// What becomes of an answer of `media` and `length` to a download of `was`.
    fn whole(was: Option<&str>, media: Option<&str>, etag: Option<&str>, length: Option<u64>) -> Plan {
        let record = Record { media: was.map(str::to_string), ..record() };
        plan(&record, &Now { media: media.map(str::to_string), ranged: false, ..now(etag, length) })
    }

    #[test]
    fn a_login_page_is_not_a_new_version() {
        let file = Some("application/zip");
        for was in [file, None] {
            for page in ["text/html", "application/xhtml+xml", "application/json", "text/plain"] {
                assert!(matches!(whole(was, Some(page), None, Some(5)), Plan::Impostor(_)), "{was:?} {page}");
            }
        }
        assert!(matches!(whole(file, None, None, Some(5)), Plan::Impostor(_)));
        assert!(matches!(whole(file, Some("text/html"), Some("\"p\""), None), Plan::Impostor(_)));
        assert!(matches!(whole(file, Some("text/plain"), None, None), Plan::Impostor(_)));
    }

    #[test]
    fn a_new_version_is_no_login_page() {
        let (zip, html) = (Some("application/zip"), Some("text/html"));
        assert!(matches!(whole(zip, zip, None, Some(5)), Plan::Restart(_)));
        assert!(matches!(whole(zip, Some("text/plain"), Some("\"b\""), Some(5)), Plan::Restart(_)));
        assert!(matches!(whole(zip, Some("text/plain"), None, Some(99)), Plan::Restart(_)));
        assert!(matches!(whole(html, html, Some("\"b\""), Some(5)), Plan::Restart(_)));
        assert!(matches!(whole(html, html, None, Some(5)), Plan::Impostor(_)), "it had a name before");
        assert_eq!(whole(None, zip, None, None), Plan::Compare, "a record of old, a server that tells nothing");
    }
}
