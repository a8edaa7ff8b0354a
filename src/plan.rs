//! What to do with what an earlier run left, given what the remote says now: one pure match.

use crate::record::{Record, Validator};
use crate::wire::validator::{Likeness, compare};

/// What the remote says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// What it calls the content.
    pub validator: Validator,
    /// The length in bytes, where told.
    pub length: Option<u64>,
    /// Whether it is the very URL of the record.
    pub same_url: bool,
    /// Whether an HTML page came where the file was expected.
    pub html: bool,
    /// Whether it answered the conditional range request with a range: "unchanged", by a server that honours it.
    pub ranged: bool,
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
    /// This is not the file but a page put in its way: why. Nothing may be written.
    Impostor(String),
}

/// Decides.
pub fn plan(record: &Record, now: &Now) -> Plan {
    let likeness = compare(&record.validator, record.length, &now.validator, now.length);
    let another_length = record.length.is_some() && now.length.is_some() && record.length != now.length;
    if now.html && !now.ranged && !matches!(likeness, Likeness::Same) && (another_length || now.length.is_none()) {
        return Plan::Impostor("a web page came where the file was expected".into());
    }
    match likeness {
        // Another place may call the same bytes something else; their number cannot differ.
        Likeness::Different(_) if !now.same_url && !another_length => Plan::Compare,
        Likeness::Different(why) => Plan::Restart(why),
        Likeness::Same if now.same_url => Plan::Resume,
        Likeness::Same | Likeness::CannotTell => Plan::Compare,
    }
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
        Now { validator, length, same_url: true, html: false, ranged: true }
    }

    #[test]
    fn the_remote_decides_where_it_can() {
        assert_eq!(plan(&record(), &now(Some("\"a\""), Some(100))), Plan::Resume);
        assert!(matches!(plan(&record(), &now(Some("\"b\""), Some(100))), Plan::Restart(_)));
        assert!(matches!(plan(&record(), &now(Some("\"a\""), Some(101))), Plan::Restart(_)));
        assert_eq!(plan(&record(), &now(None, Some(100))), Plan::Compare);
        let mirror = Now { same_url: false, ..now(Some("\"a\""), Some(100)) };
        assert_eq!(plan(&record(), &mirror), Plan::Compare);
        let mirror = Now { same_url: false, ..now(Some("\"b\""), Some(100)) };
        assert_eq!(plan(&record(), &mirror), Plan::Compare);
        let mirror = Now { same_url: false, ..now(Some("\"a\""), Some(101)) };
        assert!(matches!(plan(&record(), &mirror), Plan::Restart(_)));
    }

    #[test]
    fn a_login_page_is_not_a_new_version() {
        let page = Now { html: true, ranged: false, ..now(None, Some(5)) };
        assert!(matches!(plan(&record(), &page), Plan::Impostor(_)));
        let endless = Now { html: true, ranged: false, ..now(None, None) };
        assert!(matches!(plan(&record(), &endless), Plan::Impostor(_)));
    }
}
