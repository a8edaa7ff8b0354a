//! What was learned about a host and holds for its next file too: which form of `If-Range` it honours, how many
//! connections it allows, and how large a request it takes.

use super::{Note, Notes};
use crate::wire::validator::Form;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// How long what was learned is believed, in seconds.
const FRESH: u64 = 24 * 60 * 60;

/// What is known of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `name:port`.
    pub host: String,
    /// The form of condition that works.
    pub form: Form,
    /// The most connections it has not refused; `None` while no refusal was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// The largest request body that passed after a larger one was refused (413), in bytes; `None` while none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<u64>,
    /// How many connections were found to help; `None` while that was not put to the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helped: Option<u32>,
    /// How fast the latest upload of some length to it went, in bytes a second; `None` while there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<u64>,
    /// When that was learned, in seconds since 1970.
    pub learned: u64,
}

impl Note for Host {
    type Key = String;
    const FILE: &'static str = "hosts.jsonl";
    fn key(&self) -> String {
        self.host.clone()
    }
}

/// What is known of all hosts.
#[derive(Default)]
pub struct Hosts(Notes<Host>);

impl Hosts {
    /// Nothing is known, and nothing is kept beyond this run.
    pub fn of_this_run() -> Self {
        Self(Notes::of_this_run())
    }

    /// What is known of `host`, while it is fresh: a bad hour must not slow every later day down.
    pub fn get(&self, host: &str) -> Option<Host> {
        self.0.get(&host.to_string()).filter(|known| now().saturating_sub(known.learned) < FRESH)
    }

    /// Writes down what a transfer has learned: the form of condition that works, the most connections allowed, how
    /// many of them helped.
    pub fn learn(&self, host: &str, form: Form, connections: Option<u32>, helped: Option<u32>) {
        self.note(host, |known| {
            (known.form, known.connections) = (form, connections);
            known.helped = helped.or(known.helped);
        });
    }

    /// Writes down that `host` takes request bodies of `bytes` bytes and no larger ones.
    pub fn learn_body(&self, host: &str, bytes: u64) {
        self.note(host, |known| known.body = Some(bytes));
    }

    /// Writes down that an upload to `host` went at `rate` bytes a second.
    pub fn learn_upload(&self, host: &str, rate: u64) {
        self.note(host, |known| known.upload = Some(rate));
    }

    /// Changes what is known of `host`, and writes it down where that is news.
    fn note(&self, host: &str, change: impl FnOnce(&mut Host)) {
        let nothing = || Host {
            host: host.into(),
            form: Form::Tag,
            connections: None,
            body: None,
            helped: None,
            upload: None,
            learned: 0,
        };
        let before = self.get(host).unwrap_or_else(nothing);
        let mut known = before.clone();
        change(&mut known);
        if known != before {
            self.0.put(Host { learned: now(), ..known });
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
