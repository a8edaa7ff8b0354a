//! The `Content-Disposition` field (RFC 6266): which name a server proposes for what it sends. `filename*` (RFC 8187)
//! comes before `filename`; quoted strings are read by their rules, and the broken forms that real servers send are
//! read the way browsers read them. What comes out is the server's word: [`crate::wire::filename`] makes it safe.

use crate::wire::percent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The name proposed by the field's value, as the server means it, not made safe. `None` when there is none.
pub fn file_name(value: &[u8]) -> Option<String> {
    let text = text_of(value);
    let mut plain = None;
    let mut extended = None;
    for (name, value) in parameters(&text) {
        if name.eq_ignore_ascii_case("filename*") && extended.is_none() {
            extended = extended_value(&value);
        } else if name.eq_ignore_ascii_case("filename") && plain.is_none() && !value.trim().is_empty() {
            plain = Some(value);
        }
    }
    extended.or_else(|| plain.map(|value| encoded_words(&value).or_else(|| escapes(&value)).unwrap_or(value)))
}

/// The field for a name: `attachment; filename="plain"`, with `filename*` where the name is not plain ASCII.
pub fn print(kind: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    let field = format!("{kind}; filename=\"{plain}\"");
    if plain == name {
        return field;
    }
    // The attr-char set of RFC 8187, section 3.2.1.
    format!("{field}; filename*=UTF-8''{}", percent::encode(name.as_bytes(), "!#$&+-.^_`|~"))
}

/// Field bytes as text: UTF-8 where they are that, which servers send against the rules, else ISO-8859-1.
fn text_of(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_string(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The `name=value` pairs, quotes undone. The disposition type has no `=` and drops out; where a server forgot it, the
/// first pair is found all the same.
fn parameters(text: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ';']).unwrap_or(rest.len());
        let name = rest[..end].trim();
        rest = &rest[end..];
        match rest.strip_prefix('=') {
            Some(tail) => {
                let (value, tail) = value(tail.trim_start());
                pairs.push((name, value));
                rest = tail;
            }
            None => rest = rest.strip_prefix(';').unwrap_or(rest),
        }
    }
    pairs
}

/// One parameter's value and what follows its semicolon. Outside of quotes everything up to the semicolon belongs to
/// it, blanks too: `filename=my file.pdf` is common.
fn value(text: &str) -> (String, &str) {
    let after = |rest: &'_ str| rest.find(';').map_or(rest.len(), |at| at + 1);
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_string(), &text[after(text)..]);
    };
    // A DOS path in quotes was written by somebody who knew of no quoted pairs.
    let dos_path = matches!(quoted.as_bytes(), [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic());
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = &quoted[at + 1..];
                return (value, &rest[after(rest)..]);
            }
            '\\' if !dos_path => value.extend(chars.next().map(|(_, c)| c)),
            _ => value.push(c),
        }
    }
    (value, "")
}

/// An RFC 8187 value, `UTF-8'en'%e2%82%ac`; `None` where it is not one, so that the plain name gets its turn.
fn extended_value(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = percent::decode(text.as_bytes())?;
    let text = in_charset(charset, bytes)?;
    (!text.trim().is_empty()).then_some(text)
}

fn in_charset(charset: &str, bytes: Vec<u8>) -> Option<String> {
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" | "us-ascii" | "ascii" => String::from_utf8(bytes).ok(),
        "iso-8859-1" | "latin1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

/// A plain name that was percent-encoded, as many servers do: only where every `%` begins an escape and decoding
/// brings out what needed one (a blank, or a letter beyond ASCII). `100%25` and `%41` stay as they are.
fn escapes(value: &str) -> Option<String> {
    let decoded = String::from_utf8(percent::decode(value.as_bytes())?).ok()?;
    (value.is_ascii() && decoded.contains(|c: char| c == ' ' || !c.is_ascii()) && decoded != value).then_some(decoded)
}

/// A plain name in the encoded words of mail (RFC 2047), `=?UTF-8?B?…?=`, which some servers send.
fn encoded_words(value: &str) -> Option<String> {
    value.trim().starts_with("=?").then_some(())?;
    let mut name = String::new();
    for word in value.split_ascii_whitespace() {
        let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
        let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = match encoding {
            "B" | "b" => STANDARD.decode(text).ok()?,
            "Q" | "q" => percent::decode(text.replace('%', "=25").replace('_', " ").replace('=', "%").as_bytes())?,
            _ => return None,
        };
        name.push_str(&in_charset(charset, bytes)?);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(value: &str) -> Option<String> {
        file_name(value.as_bytes())
    }

    #[test]
    fn as_the_rfc_has_it() {
        for (value, expected) in [
            ("attachment; filename=\"foo.html\"", "foo.html"),
            ("attachment; filename=foo.html", "foo.html"),
            ("inline; FILENAME = foo.html ; size=3", "foo.html"),
            ("attachment; filename=\"f\\oo.html\"", "foo.html"),
            ("attachment; filename=\"\\\"quoting\\\" tested.html\"", "\"quoting\" tested.html"),
            ("attachment; filename=\"a;b.txt\"; x=y", "a;b.txt"),
            ("attachment; foo=\"filename=bar\"; filename=\"foo.html\"", "foo.html"),
            ("attachment; filename=\"foo-ae.html\"; filename*=UTF-8''foo-%c3%a4.html", "foo-ä.html"),
            ("attachment; filename*=UTF-8''foo-%c3%a4.html; filename=\"foo-ae.html\"", "foo-ä.html"),
            ("attachment; filename*=iso-8859-1'de'foo-%E4.html", "foo-ä.html"),
            ("attachment; filename*=UTF-8''A-%2541.html", "A-%41.html"),
            ("attachment; filename=\"foo-%41.html\"", "foo-%41.html"),
            ("attachment; filename=\"foo-ä.html\"", "foo-ä.html"),
        ] {
            assert_eq!(name(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn broken_forms_of_real_servers() {
        for (value, expected) in [
            ("filename=\"foo.html\"", "foo.html"),
            ("filename=foo.html", "foo.html"),
            ("attachment;filename=my file (1).pdf", "my file (1).pdf"),
            ("attachment; filename=\"foo.html", "foo.html"),
            ("attachment; filename=\"foo.html\" junk; x=1", "foo.html"),
            ("attachment;; ;filename=foo.html;", "foo.html"),
            ("attachment; filename=\"\"; filename=\"second.txt\"", "second.txt"),
            ("attachment; filename=\"first\"; filename=\"second\"", "first"),
            ("attachment; filename*=\"UTF-8''foo%20bar\"", "foo bar"),
            ("attachment; filename*=UTF8''x%20y", "x y"),
            ("attachment; filename*=UTF-8''%zz; filename=plain", "plain"),
            ("attachment; filename*=UTF-8''%ff; filename=plain", "plain"),
            ("attachment; filename*=koi8-r''%ff; filename=plain", "plain"),
            ("attachment; filename*=foo.html; filename=plain", "plain"),
            ("attachment; filename=\"my%20file.pdf\"", "my file.pdf"),
            ("attachment; filename=\"%E5%86%99.jpg\"", "写.jpg"),
            ("attachment; filename=\"100%.pdf\"", "100%.pdf"),
            ("attachment; filename=\"C:\\dir\\file.txt\"", "C:\\dir\\file.txt"),
            ("attachment; filename=\"=?UTF-8?B?5YaZ55yfLmpwZw==?=\"", "写真.jpg"),
            ("attachment; filename=\"=?utf-8?Q?a=C3=A4_b.txt?=\"", "aä b.txt"),
            ("attachment; filename=\"=?x?\"", "=?x?"),
        ] {
            assert_eq!(name(value).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(file_name(b"attachment; filename=\"foo-\xe4.html\"").as_deref(), Some("foo-ä.html"));
        for value in
            ["", "attachment", "attachment; filename", "attachment; filename=", "; ;", "attachment; filename=\"\""]
        {
            assert_eq!(name(value), None, "{value}");
        }
    }

    #[test]
    fn printing() {
        assert_eq!(print("attachment", "big.iso"), "attachment; filename=\"big.iso\"");
        let field = print("inline", "a\"b\r\n€.txt");
        assert_eq!(field, "inline; filename=\"a_b___.txt\"; filename*=UTF-8''a%22b%0D%0A%E2%82%AC.txt");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(wanted in "[^ ]\\PC{0,20}") {
            prop_assume!(!wanted.trim().is_empty() && !wanted.starts_with("=?"));
            prop_assert_eq!(name(&print("attachment", &wanted)), Some(wanted));
        }

        #[test]
        fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = file_name(&value);
        }

        #[test]
        fn bytes_near_the_grammar_too(value in "(attachment|;|=|filename|\\*|\"|\\\\|UTF-8''|%|=\\?|\\?=|[a-zé ]){0,20}") {
            let _ = file_name(value.as_bytes());
        }
    }
}
