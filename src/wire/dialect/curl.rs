//! A request as browsers copy it: `curl 'https://…' -H '…' --data-raw $'…'`, in the shell's quoting or that of Windows.

use crate::wire::percent;

/// What a request's body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    None,
    /// The fields of a form, in their order.
    Urlencoded(Vec<(String, String)>),
    /// The parts of a form, in their order.
    Multipart(Vec<Part>),
    /// JSON.
    Json(serde_json::Value),
    /// Anything else.
    Raw,
}

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// The file's name, of a file.
    pub filename: Option<String>,
    /// The value, of a plain field.
    pub value: String,
}

/// A request that somebody has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The URL without its query.
    pub url: String,
    /// The fields of the query.
    pub query: Vec<(String, String)>,
    /// The headers, in their order; cookies are among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub content: Content,
}

/// The words of a command line.
pub struct Shell;

impl Shell {
    /// Splits a command as a POSIX shell does, `$'…'` included; `^` of Windows is undone before.
    pub fn words(text: &str) -> Result<Vec<String>, String> {
        let text = if text.contains("^\"") {
            text.replace("^\r\n", " ").replace("^\n", " ").replace('^', "")
        } else {
            text.into()
        };
        let (mut words, mut word, mut rest) = (Vec::new(), None::<String>, text.as_str());
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
                '\'' => {
                    let end = rest.find('\'').ok_or("a quote is never closed")?;
                    word.get_or_insert_default().push_str(&rest[..end]);
                    rest = &rest[end + 1..];
                }
                '$' if rest.starts_with('\'') => {
                    let (text, behind) = escaped(&rest[1..])?;
                    word.get_or_insert_default().push_str(&text);
                    rest = behind;
                }
                '"' => rest = double_quoted(rest, word.get_or_insert_default())?,
                '\\' => {
                    let Some(next) = rest.chars().next() else { break };
                    rest = &rest[next.len_utf8()..];
                    if next == '\r' && rest.starts_with('\n') {
                        rest = &rest[1..];
                    }
                    if !matches!(next, '\n' | '\r') {
                        word.get_or_insert_default().push(next);
                    }
                }
                other => word.get_or_insert_default().push(other),
            }
        }
        words.extend(word);
        Ok(words)
    }
}

fn double_quoted<'t>(mut rest: &'t str, word: &mut String) -> Result<&'t str, String> {
    loop {
        let c = rest.chars().next().ok_or("a quote is never closed")?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Ok(rest),
            '\\' => {
                let next = rest.chars().next().ok_or("a quote is never closed")?;
                rest = &rest[next.len_utf8()..];
                match next {
                    '"' | '\\' | '$' | '`' => word.push(next),
                    '\n' => {}
                    other => word.extend(['\\', other]),
                }
            }
            other => word.push(other),
        }
    }
}

/// The text of `$'…'`, and what stands behind it. Bytes that are no UTF-8 become replacement characters.
fn escaped(text: &str) -> Result<(String, &str), String> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    loop {
        let c = rest.chars().next().ok_or("a quote is never closed")?;
        rest = &rest[c.len_utf8()..];
        if c == '\'' {
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        let kind = rest.chars().next().ok_or("a quote is never closed")?;
        rest = &rest[kind.len_utf8()..];
        let digits = |most: usize, radix| rest.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        match kind {
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            '0'..='7' => {
                let more = digits(2, 8);
                let code = format!("{kind}{}", &rest[..more]);
                bytes.push((u32::from_str_radix(&code, 8).unwrap_or_default() & 0xff) as u8);
                rest = &rest[more..];
            }
            'x' | 'u' | 'U' => {
                let count = digits(
                    match kind {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    },
                    16,
                );
                let code = u32::from_str_radix(&rest[..count], 16).unwrap_or_default();
                match kind {
                    'x' => bytes.push((code & 0xff) as u8),
                    _ => bytes.extend(char::from_u32(code).unwrap_or('\u{fffd}').to_string().bytes()),
                }
                rest = &rest[count..];
            }
            other => bytes.extend(other.to_string().bytes()),
        }
    }
}

/// Options of curl that take a value and say nothing about the request's form.
const OTHER_OPTIONS: [&str; 12] = [
    "-o",
    "--output",
    "-x",
    "--proxy",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--cacert",
    "--cert",
    "--key",
    "--resolve",
];

impl Asked {
    /// Reads a pasted command.
    pub fn from_curl(text: &str) -> Result<Self, String> {
        let words = Shell::words(text.trim())?;
        let (first, words) = words.split_first().ok_or("it is empty")?;
        if !first.trim_end_matches(".exe").ends_with("curl") {
            return Err("it does not begin with `curl`".into());
        }
        let (mut url, mut method, mut headers) = (None, None, Vec::new());
        let (mut data, mut form) = (Vec::<String>::new(), Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (option, glued) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value.to_string())),
                _ => (word.as_str(), None),
            };
            let mut value =
                || glued.clone().or_else(|| words.next().cloned()).ok_or_else(|| format!("{option} has no value"));
            match option {
                "-X" | "--request" => method = Some(value()?),
                "-H" | "--header" => headers.extend(header(&value()?)),
                "-b" | "--cookie" => headers.push(("Cookie".into(), value()?)),
                "-u" | "--user" => headers.push(("Authorization".into(), value()?)),
                "-A" | "--user-agent" => headers.push(("User-Agent".into(), value()?)),
                "-e" | "--referer" => headers.push(("Referer".into(), value()?)),
                "-d" | "--data" | "--data-raw" | "--data-ascii" | "--data-binary" | "--data-urlencode" => {
                    data.push(value()?)
                }
                "-F" | "--form" | "--form-string" => form.push(form_field(&value()?)),
                "--url" => url = Some(value()?),
                "-I" | "--head" => method = Some("HEAD".into()),
                "-G" | "--get" => method = Some("GET".into()),
                other if OTHER_OPTIONS.contains(&other) => drop(value()?),
                other if other.starts_with('-') => {}
                other => url = Some(other.to_string()),
            }
        }
        let url = url.ok_or("it names no URL")?;
        let content = content(&headers, data, form);
        let method = method.unwrap_or_else(|| if content == Content::None { "GET".into() } else { "POST".into() });
        let (url, query) = url.split_once('?').map_or((url.as_str(), ""), |(url, query)| (url, query));
        Ok(Self { method, url: url.into(), query: pairs(query), headers, content })
    }

    /// The names of all fields, wherever they stand; those inside of a JSON value too.
    pub fn names(&self) -> Vec<&str> {
        let headers = self.headers.iter().map(|(name, _)| name.as_str());
        let query = self.query.iter().map(|(name, _)| name.as_str());
        let inside: Vec<&str> = match &self.content {
            Content::Urlencoded(fields) => fields.iter().map(|(name, _)| name.as_str()).collect(),
            Content::Multipart(parts) => parts.iter().map(|part| part.name.as_str()).collect(),
            Content::Json(serde_json::Value::Object(map)) => map.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        headers.chain(query).chain(inside).collect()
    }
}

fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    Some((name.trim().to_string(), value.trim().to_string()))
}

fn form_field(text: &str) -> Part {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let file = value.strip_prefix('@').or_else(|| value.strip_prefix('<'));
    let filename = file.map(|file| {
        let named = file.split(';').find_map(|part| part.trim().strip_prefix("filename="));
        named.unwrap_or_else(|| file.split(';').next().unwrap_or_default()).trim_matches('"').to_string()
    });
    let value = if filename.is_some() { String::new() } else { value.to_string() };
    Part { name: name.into(), filename, value }
}

fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn content(headers: &[(String, String)], data: Vec<String>, form: Vec<Part>) -> Content {
    let kind = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = kind.map(|(_, value)| value.to_ascii_lowercase()).unwrap_or_default();
    let text = data.join("&");
    if !form.is_empty() {
        return Content::Multipart(form);
    }
    if data.is_empty() {
        return Content::None;
    }
    if kind.starts_with("multipart/") || text.contains("Content-Disposition: form-data") {
        return Content::Multipart(parts(&text));
    }
    if kind.contains("json") {
        return serde_json::from_str(&text).map_or(Content::Raw, Content::Json);
    }
    match kind.is_empty() || kind.contains("urlencoded") {
        true if percent::decode(text.as_bytes()).is_some() && text.contains('=') => Content::Urlencoded(pairs(&text)),
        _ => Content::Raw,
    }
}

/// The parts of a form's body as a browser has copied it.
fn parts(body: &str) -> Vec<Part> {
    let Some(border) = body.lines().map(str::trim_end).find(|line| line.starts_with("--")) else { return Vec::new() };
    let part = |text: &str| {
        let text = text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n'))?;
        let (head, value) = text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n"))?;
        let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition"))?;
        let attribute = |name: &str| {
            let (_, rest) = disposition.split_once(&format!("; {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_string())
        };
        let value = value.strip_suffix("\r\n").or_else(|| value.strip_suffix('\n')).unwrap_or(value);
        Some(Part { name: attribute("name")?, filename: attribute("filename"), value: value.into() })
    };
    body.split(border).filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_shells_quotes() {
        let words = Shell::words("curl 'a b' \"c\\\"$d\" e\\ f $'g\\'\\u4f60\\r\\n\\x41' \\\n  -H x").unwrap();
        assert_eq!(words, ["curl", "a b", "c\"$d", "e f", "g'你\r\nA", "-H", "x"]);
        assert_eq!(
            Shell::words("curl ^\"http://h/?a=1^&b=2^\" ^\n -H ^\"A: b^\"").unwrap(),
            ["curl", "http://h/?a=1&b=2", "-H", "A: b"]
        );
        for open in ["curl 'a", "curl \"a", "curl $'a", "curl $'a\\"] {
            assert!(Shell::words(open).is_err(), "{open}");
        }
    }

    #[test]
    fn a_form_copied_in_chrome() {
        let text = "curl 'https://h/up?x=1' \\\n -H 'content-type: multipart/form-data; boundary=----WebKitFormBoundaryAbC' \\\n \
                    -b 'sid=secret' --data-raw $'------WebKitFormBoundaryAbC\\r\\nContent-Disposition: form-data; \
                    name=\"chunk\"\\r\\n\\r\\n0\\r\\n------WebKitFormBoundaryAbC\\r\\nContent-Disposition: form-data; name=\"file\"; \
                    filename=\"blob\"\\r\\nContent-Type: application/octet-stream\\r\\n\\r\\n\\r\\n------WebKitFormBoundaryAbC--\\r\\n'";
        let asked = Asked::from_curl(text).unwrap();
        assert_eq!((asked.method.as_str(), asked.url.as_str()), ("POST", "https://h/up"));
        assert_eq!(asked.query, [("x".to_string(), "1".to_string())]);
        let Content::Multipart(parts) = &asked.content else { panic!("{asked:?}") };
        assert_eq!((parts[0].name.as_str(), parts[0].value.as_str(), &parts[0].filename), ("chunk", "0", &None));
        assert_eq!((parts[1].name.as_str(), parts[1].filename.as_deref()), ("file", Some("blob")));
        assert_eq!(asked.names(), ["content-type", "Cookie", "x", "chunk", "file"]);
    }

    #[test]
    fn other_bodies_and_refusals() {
        let content = |text: &str| Asked::from_curl(text).unwrap().content;
        assert_eq!(content("curl http://h"), Content::None);
        assert_eq!(
            content("curl http://h -d a=1 -d 'b=%20'"),
            Content::Urlencoded(vec![("a".into(), "1".into()), ("b".into(), " ".into())])
        );
        assert_eq!(
            content("curl http://h -H 'Content-Type: application/json' --data-raw '{\"a\":1}'"),
            Content::Json(serde_json::json!({"a": 1}))
        );
        assert_eq!(
            content("curl http://h -X PATCH -H 'Content-Type: application/offset+octet-stream' --data-binary @x"),
            Content::Raw
        );
        assert!(
            matches!(content("curl http://h -F a=1 -F 'file=@x.bin;filename=blob'"), Content::Multipart(parts) if parts[1].filename.as_deref() == Some("blob"))
        );
        for bad in ["", "wget http://h", "curl -H", "curl"] {
            assert!(Asked::from_curl(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_paste_is_read_or_refused(text in "curl [\\PC'\"$\\\\\r\n=:;-]{0,80}") {
            let _ = Asked::from_curl(&text);
        }
    }
}
