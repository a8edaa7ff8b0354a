//! What a server's answer means: places in it, and predicates over it.
//!
//! A form endpoint says "stored" in as many ways as there are sites: by a status, by a field of a JSON body that comes as
//! text/html, by `"1"` where 1 was meant. All of that is data here; comparison can be JavaScript's, because the pages that
//! these endpoints were written for are.

use crate::wire::mask::Known;
use crate::wire::percent;
use http::HeaderMap;
use serde_json::Value;

/// A reply, read whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The fields.
    pub headers: HeaderMap,
    /// The content.
    pub body: Vec<u8>,
    /// The content as JSON, where it is to be read so and is.
    pub json: Option<Value>,
    /// What was sent and must not be shown where the answer repeats it.
    pub known: Known,
}

/// How a body is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parse {
    /// As JSON when its type says so.
    #[default]
    ByType,
    /// As JSON whatever its type says; what is not JSON is a failure.
    Json,
    /// Never as JSON.
    Text,
}

impl Reply {
    /// A reply read as `parse` says.
    pub fn new(status: u16, headers: HeaderMap, body: Vec<u8>, parse: Parse) -> Self {
        let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let as_json = match parse {
            Parse::ByType => kind.to_ascii_lowercase().contains("json"),
            Parse::Json => true,
            Parse::Text => false,
        };
        // A byte order mark, as ASP pages print it, is no JSON.
        let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body);
        let json = as_json.then(|| serde_json::from_slice(text).ok()).flatten();
        Self { status, headers, body, json, known: Known::default() }
    }
}

/// The value at a dotted path, as in `files.0.error`; an empty path is the whole.
pub fn at<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(json, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

/// A place in a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The whole body, trimmed.
    Body,
    /// A header.
    Header(String),
    /// A JSON path.
    Json(String),
    /// The end of a range in a header: one more than its last number, as `Range: 0-99` gives 100.
    RangeEnd(String),
}

impl Place {
    /// Reads `body`, `header:NAME`, `json:PATH` or `range-end:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None => (text == "body").then_some(Self::Body),
            Some(("header", name)) => (!name.is_empty()).then(|| Self::Header(name.into())),
            Some(("range-end", name)) => (!name.is_empty()).then(|| Self::RangeEnd(name.into())),
            Some(("json", path)) => Some(Self::Json(path.into())),
            Some(_) => None,
        }
    }

    /// What stands there, as JSON.
    pub fn value(&self, reply: &Reply) -> Option<Value> {
        let header = |name: &str| reply.headers.get(name)?.to_str().ok().map(str::to_string);
        match self {
            Self::Body => Some(Value::String(String::from_utf8_lossy(&reply.body).trim().to_string())),
            Self::Header(name) => header(name).map(Value::String),
            Self::Json(path) => at(reply.json.as_ref()?, path).cloned(),
            Self::RangeEnd(name) => {
                let text = header(name)?;
                let last = text.rsplit(['-', '=', ',', ' ']).next()?;
                last.trim().parse::<u64>().ok()?.checked_add(1).map(Value::from)
            }
        }
    }

    /// What stands there as text; nothing where it is null, a list or an object.
    pub fn text(&self, reply: &Reply) -> Option<String> {
        match self.value(reply)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        }
    }

    /// What stands there as a whole number from 0; nothing where it is none. Text counts as JavaScript's `Number` has it.
    pub fn number(&self, reply: &Reply) -> Option<u64> {
        match self.value(reply)? {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) if !text.trim().is_empty() => {
                text.trim().parse().ok().or_else(|| whole(number_of(&text)))
            }
            _ => None,
        }
    }
}

fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0 && number < 9e15).then_some(number as u64)
}

/// Statuses that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statuses {
    /// All of one hundred: 2 is 200 to 299.
    Class(u16),
    /// These.
    These(Vec<u16>),
}

impl Statuses {
    /// Whether `status` is one of them.
    pub fn contains(&self, status: u16) -> bool {
        match self {
            Self::Class(class) => status / 100 == *class,
            Self::These(these) => these.contains(&status),
        }
    }
}

/// What a JSON value or a header must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// There, whatever it is; a JSON null is not.
    Present,
    /// This.
    Equal(Value),
}

/// A condition on a reply: all its parts must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predicate {
    /// The status is one of these.
    pub status: Option<Statuses>,
    /// JSON paths and what must stand there.
    pub json: Vec<(String, Wanted)>,
    /// JSON paths at which something stands that JavaScript takes for true.
    pub truthy: Vec<String>,
    /// JSON paths at which nothing stands, or something that JavaScript takes for false.
    pub falsy: Vec<String>,
    /// Headers and what they must be.
    pub header: Vec<(String, Wanted)>,
    /// The body contains this.
    pub body: Option<String>,
    /// This does not hold.
    pub not: Option<Box<Predicate>>,
    /// JSON values are compared as JavaScript's `==` does.
    pub loose: bool,
}

impl Predicate {
    /// Whether `reply` is such a one.
    pub fn holds(&self, reply: &Reply) -> bool {
        let json = |path: &str| reply.json.as_ref().and_then(|json| at(json, path));
        let equal = |value: &Value, wanted: &Value| match self.loose {
            true => loosely_equal(value, wanted),
            false => strictly_equal(value, wanted),
        };
        self.status.as_ref().is_none_or(|statuses| statuses.contains(reply.status))
            && self.json.iter().all(|(path, wanted)| match (json(path), wanted) {
                (None, _) => false,
                (Some(value), Wanted::Present) => !value.is_null(),
                (Some(value), Wanted::Equal(wanted)) => equal(value, wanted),
            })
            && self.truthy.iter().all(|path| json(path).is_some_and(truthy))
            && self.falsy.iter().all(|path| !json(path).is_some_and(truthy))
            && self.header.iter().all(|(name, wanted)| {
                let value = reply.headers.get(name.as_str()).map(|value| String::from_utf8_lossy(value.as_bytes()));
                match wanted {
                    Wanted::Present => value.is_some(),
                    Wanted::Equal(wanted) => value.is_some_and(|value| wanted.as_str() == Some(&value)),
                }
            })
            && self.body.as_ref().is_none_or(|part| String::from_utf8_lossy(&reply.body).contains(part))
            && self.not.as_ref().is_none_or(|not| !not.holds(reply))
    }

    /// Whether it looks at the body as JSON.
    pub fn reads_json(&self) -> bool {
        !self.json.is_empty()
            || !self.truthy.is_empty()
            || !self.falsy.is_empty()
            || self.not.as_ref().is_some_and(|not| not.reads_json())
    }
}

/// Whether any of `predicates` holds.
pub fn fits_any(predicates: &[Predicate], reply: &Reply) -> bool {
    predicates.iter().any(|predicate| predicate.holds(reply))
}

/// Equal, and of one type; 1 and 1.0 are one number.
fn strictly_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// What JavaScript takes for true: everything but `false`, 0, NaN, `""` and `null`.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// JavaScript's `==` (ECMA-262, section 7.2.13) between two values from different places, so that lists and objects are never
/// the same one.
pub fn loosely_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Array(_) | Value::Object(_), Value::Array(_) | Value::Object(_)) => false,
        (Value::Array(_) | Value::Object(_), other) => loosely_equal(&Value::String(primitive(a)), other),
        (other, Value::Array(_) | Value::Object(_)) => loosely_equal(other, &Value::String(primitive(b))),
        _ => number(a) == number(b),
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => number_of(text),
        _ => f64::NAN,
    }
}

/// JavaScript's `Number(text)`.
fn number_of(text: &str) -> f64 {
    let text = text.trim();
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).map_or(f64::NAN, |number| number as f64);
    match text.get(..2).map(str::to_ascii_lowercase).as_deref() {
        _ if text.is_empty() => 0.0,
        Some("0x") => radix(&text[2..], 16),
        Some("0o") => radix(&text[2..], 8),
        Some("0b") => radix(&text[2..], 2),
        // Rust reads "inf" and "nan" too; JavaScript only the one word.
        _ => match text.trim_start_matches(['+', '-']).chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => text.parse().unwrap_or(f64::NAN),
            _ => match text {
                "Infinity" | "+Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => f64::NAN,
            },
        },
    }
}

/// What a list or an object becomes beside a number or a text.
fn primitive(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(primitive).collect::<Vec<_>>().join(","),
        Value::Object(_) => "[object Object]".into(),
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The server's own words at the first of `places` that has some, else at the usual ones; cut and made safe to print.
pub fn words(reply: &Reply, places: &[Place]) -> Option<String> {
    const LONGEST: usize = 200;
    const USUAL: [&str; 7] = ["message", "msg", "error.message", "error", "errors.0", "detail", "reason"];
    let told = places.iter().find_map(|place| place.text(reply));
    let usual = || USUAL.iter().find_map(|path| Place::Json((*path).into()).text(reply));
    let text = told.or_else(usual)?;
    let text: String = reply.known.hide(text.trim()).chars().take(LONGEST).flat_map(shown).collect();
    (!text.is_empty()).then_some(text)
}

/// A character as it may be printed on a terminal.
fn shown(c: char) -> Vec<char> {
    match c {
        '\n' | '\t' => vec![' '],
        // Marks that turn the direction of the line around could make the message say something else.
        '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => c.escape_unicode().collect(),
        c if c.is_control() => percent::encode(c.to_string().as_bytes(), "").chars().collect(),
        c => vec![c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn reply(status: u16, body: &str) -> Reply {
        Reply::new(status, HeaderMap::new(), body.into(), Parse::Json)
    }

    fn equal(path: &str, value: Value, loose: bool) -> Predicate {
        Predicate { json: vec![(path.into(), Wanted::Equal(value))], loose, ..Predicate::default() }
    }

    #[test]
    fn loose_comparison_is_javascripts() {
        let yes = [
            (json!("1"), json!(1)),
            (json!(" 1.0 "), json!(1)),
            (json!(true), json!(1)),
            (json!("0x10"), json!(16)),
            (json!(""), json!(0)),
            (json!([1]), json!(1)),
            (json!([]), json!("")),
            (json!(null), json!(null)),
            (json!("Infinity"), json!("Infinity")),
        ];
        for (a, b) in yes {
            assert!(loosely_equal(&a, &b) && loosely_equal(&b, &a), "{a} == {b}");
        }
        let no = [
            (json!("2"), json!(1)),
            (json!(null), json!(0)),
            (json!("one"), json!(1)),
            (json!({}), json!(1)),
            (json!("1"), json!("1.0")),
            (json!("inf"), json!("Infinity")),
            (json!([1]), json!([1])),
            (json!("nan"), json!(0)),
        ];
        for (a, b) in no {
            assert!(!loosely_equal(&a, &b) && !loosely_equal(&b, &a), "{a} != {b}");
        }
    }

    #[test]
    fn predicates_hold_as_a_whole() {
        let told = reply(200, r#"{"state":"1","ret":"ok","n":0,"files":[{"error":"full"}],"none":null}"#);
        assert!(equal("state", json!(1), true).holds(&told));
        assert!(!equal("state", json!(1), false).holds(&told));
        let present = |path: &str| Predicate { json: vec![(path.into(), Wanted::Present)], ..Predicate::default() };
        assert!(present("files.0.error").holds(&told));
        assert!(!present("files.1.error").holds(&told) && !present("none").holds(&told));
        let truthy =
            Predicate { truthy: vec!["ret".into()], falsy: vec!["n".into(), "absent".into()], ..Predicate::default() };
        assert!(truthy.holds(&told));
        assert!(!Predicate { not: Some(Box::new(truthy)), ..Predicate::default() }.holds(&told));
        let status = Predicate { status: Some(Statuses::Class(2)), ..Predicate::default() };
        assert!(status.holds(&told) && !status.holds(&reply(301, "")));
        assert!(Predicate { body: Some("full".into()), ..Predicate::default() }.holds(&told));
        assert!(!equal("state", json!(1), true).holds(&reply(200, "<html>")), "no JSON at all");
    }

    #[test]
    fn json_by_type_or_by_decree() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "text/html".parse().unwrap());
        let read = |parse| Reply::new(200, headers.clone(), b"\xEF\xBB\xBF{\"a\":1}".to_vec(), parse).json;
        assert_eq!((read(Parse::ByType), read(Parse::Json)), (None, Some(json!({"a": 1}))));
        assert_eq!(read(Parse::Text), None);
    }

    #[test]
    fn places() {
        let mut told = reply(200, r#"{"n":"07","big":3.0,"bad":-1,"half":0.5,"list":[2],"no":null}"#);
        told.headers.insert("range", "bytes=0-99".parse().unwrap());
        let number = |text: &str| Place::parse(text).unwrap().number(&told);
        assert_eq!((number("json:n"), number("json:big"), number("range-end:Range")), (Some(7), Some(3), Some(100)));
        for none in ["json:bad", "json:half", "json:list", "json:no", "json:absent", "header:x", "range-end:x"] {
            assert_eq!(number(none), None, "{none}");
        }
        assert_eq!(Place::parse("header:Range").unwrap().text(&told).as_deref(), Some("bytes=0-99"));
        for bad in ["", "cookie:x", "header:", "json"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_are_found_cut_and_safe() {
        assert_eq!(
            words(&reply(200, r#"{"ret":false,"msg":"disk\n\u001b[31mfull\u202e"}"#), &[]).unwrap(),
            "disk %1B[31mfull\\u{202e}"
        );
        let own = [Place::Json("why".into())];
        assert_eq!(words(&reply(200, r#"{"why":"a","msg":"b"}"#), &own).unwrap(), "a");
        assert_eq!(words(&reply(200, "plain"), &own), None);
        let long = format!(r#"{{"msg":"{}"}}"#, "x".repeat(5000));
        assert_eq!(words(&reply(200, &long), &[]).unwrap().len(), 200);
    }

    proptest! {
        #[test]
        fn loose_comparison_takes_sides_with_nobody(a in "\\PC{0,8}", b in any::<i32>()) {
            let (a, b) = (Value::from(a), Value::from(b));
            prop_assert_eq!(loosely_equal(&a, &b), loosely_equal(&b, &a));
        }

        #[test]
        fn any_body_has_safe_words(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let told = Reply::new(200, HeaderMap::new(), body, Parse::Json);
            prop_assert!(words(&told, &[Place::Body]).is_none_or(|words| !words.contains(char::is_control)));
        }
    }
}
