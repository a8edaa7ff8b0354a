//! What is sent and answered, told to whoever wants to know: one line a request, and the heads with their secrets
//! masked.

use super::{Request, Response};
use crate::event::{Event, NO_FILE, Observer};
use crate::fault::Fault;
use crate::wire::mask;
use http::HeaderMap;
use std::sync::Arc;
use std::time::Instant;
use url::Url;

/// One request on its way.
pub(super) struct Heard {
    ears: Arc<dyn Observer>,
    line: String,
    began: Instant,
}

impl Heard {
    /// Tells of `request`.
    pub(super) fn sent(ears: Arc<dyn Observer>, request: &Request) -> Self {
        let url = shown(&request.url);
        let mut line = format!("{} {url}", request.method);
        for name in ["range", "content-range"] {
            if let Some(range) = request.headers.get(name) {
                line += &format!(" ({})", String::from_utf8_lossy(range.as_bytes()));
            }
        }
        let size = match request.body.len() {
            0 => String::new(),
            size => format!("\n> content of {size} bytes"),
        };
        let text = format!("> {} {url}{}{size}", request.method, fields('>', &request.headers));
        ears.on(NO_FILE, &Event::Head { text: request.known.hide(&text) });
        let line = request.known.hide(&line);
        Self { ears, line, began: Instant::now() }
    }

    /// Tells of what came back.
    pub(super) fn answered(self, answer: &Result<Response, Fault>) {
        let took = self.began.elapsed().as_millis();
        let told = match answer {
            Ok(answer) => {
                let text = format!(
                    "< {:?} {}{}",
                    answer.version,
                    answer.status,
                    answer.known.hide(&fields('<', &answer.headers))
                );
                self.ears.on(NO_FILE, &Event::Head { text });
                format!("{} by {:?}", answer.status.as_u16(), answer.version)
            }
            Err(fault) => fault.to_string(),
        };
        self.ears.on(NO_FILE, &Event::Detail { text: format!("{}: {told} after {took} ms", self.line) });
    }
}

/// The fields, a line each.
fn fields(mark: char, headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        let value = match value.is_sensitive() {
            true => "***".to_string(),
            false => capabilities(&mask::masked_field(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))),
        };
        text += &format!("\n{mark} {name}: {value}");
    }
    text
}

/// A URL as it may stand in a log.
fn shown(url: &Url) -> String {
    capabilities(&super::shown(url))
}

/// `text` with those parts of paths hidden that nobody can guess: the URL of an unfinished upload lets whoever reads it
/// write to it.
fn capabilities(text: &str) -> String {
    /// Shorter ones can be guessed, and are names.
    const LEAST: usize = 20;
    let secret = |part: &str| {
        let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+' | b'~'));
        part.len() >= LEAST && plain && part.bytes().any(|b| b.is_ascii_digit())
    };
    if !text.contains('/') {
        return text.to_string();
    }
    // A field may hold several, parted by blanks.
    let one = |text: &str| {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let parts: Vec<&str> = path.split('/').map(|part| if secret(part) { "***" } else { part }).collect();
        query.map_or(parts.join("/"), |query| format!("{}?{query}", parts.join("/")))
    };
    text.split(' ').map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::{AUTHORIZATION, ETAG, LOCATION, SET_COOKIE};

    #[test]
    fn heads_are_shown_without_their_secrets() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer hush"));
        headers.insert(SET_COOKIE, HeaderValue::from_static("id=hush; Path=/"));
        headers.insert(LOCATION, HeaderValue::from_static("/up/0123456789abcdef0123456789abcdef?sig=hush"));
        headers.insert(
            "upload-concat",
            HeaderValue::from_static("final;/u/0123456789abcdef00ff1 /u/0123456789abcdef00ff2"),
        );
        headers.insert(ETAG, HeaderValue::from_static("\"v1\""));
        let mut own = HeaderValue::from_static("hush");
        own.set_sensitive(true);
        headers.insert("x-own", own);
        let text = fields('<', &headers);
        assert!(!text.contains("hush") && !text.contains("0123456789abcdef"), "{text}");
        assert!(text.contains("\n< etag: \"v1\"") && text.contains("\n< location: /up/***?sig=***"), "{text}");
    }

    #[test]
    fn names_of_files_stay_readable() {
        for name in ["http://h/debian-13.1.0-amd64-netinst.iso", "/a/b.bin", "bytes 0-5/10", "text/html"] {
            assert_eq!(capabilities(name), name);
        }
    }
}
