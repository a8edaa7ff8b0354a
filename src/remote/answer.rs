//! An answer of an upload server, read whole, for protocols that talk in header fields: its status and fields, and
//! what of its content is worth telling to people.

use crate::fault::{Fault, Kind};
use crate::net::Response;
use crate::wire::{retry_after, rufh};
use http::{HeaderMap, Method, StatusCode};
use std::time::{Duration, SystemTime};
use url::Url;

/// More than this of an answer's content is not read, in bytes.
const MOST: usize = 64 << 10;
/// So much of a server's own words is shown, in characters.
const SHOWN: usize = 300;

/// An answer.
pub struct Answered {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub url: Url,
    wait: Option<Duration>,
    words: String,
}

impl Answered {
    /// Reads an answer to `method`. What comes after the head counts for nothing but its words: if it cannot be read,
    /// the head has said it all.
    pub async fn read(response: Response, method: &Method) -> Self {
        let (status, url, fields) = (response.status, response.url.clone(), response.headers.clone());
        let wait = retry_after::wait(&fields, SystemTime::now());
        let known = response.known.clone();
        let empty = *method == Method::HEAD || status == StatusCode::NO_CONTENT;
        let body = if empty { Default::default() } else { response.bytes(MOST).await.unwrap_or_default() };
        let words = match rufh::Problem::parse(&body) {
            Some(problem) => problem.words(),
            None if fields.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain")) => {
                String::from_utf8_lossy(&body).trim().to_string()
            }
            None => String::new(),
        };
        let words = known.hide(&words);
        let words = words.chars().take(SHOWN).flat_map(|c| if c.is_control() { ' '.into() } else { Some(c) }).collect();
        Self { status, fields, url, wait, words }
    }

    /// The status as a number.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// A field as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.to_str().ok()
    }

    /// The server's own words, on one line; empty when it has none for people.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Who answered. An upload's own URL is a capability, so only the server is named.
    pub fn place(&self) -> String {
        match (self.url.host_str(), self.url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_string(),
            _ => "the server".into(),
        }
    }

    /// The fault that this answer means when the server was asked to do `what` with the file.
    pub fn fault(&self, what: &str) -> Fault {
        let status = self.code();
        let text = match self.words.is_empty() {
            false => format!("{} will not {what} the file: {} ({status})", self.place(), self.words),
            true if self.status.is_redirection() => {
                format!("{} redirects ({status}) where it was asked to {what} the file", self.place())
            }
            true => format!("{} answered {status} when asked to {what} the file", self.place()),
        };
        let fault = Fault::status(status, text).wait(self.wait);
        match status {
            401 => fault.hint("give credentials with -u, --token-file, --netrc or -H"),
            // Locked: somebody else, or we a moment ago, are at it.
            423 => Fault { kind: Kind::Busy, ..fault },
            _ => fault,
        }
    }

    /// The same as something that may pass, whatever the status says.
    pub fn passing(&self, what: &str) -> Fault {
        Fault { kind: Kind::Busy, ..self.fault(what) }
    }
}
