//! What file servers have proven that they can do, so that they are not tried again for every file. It holds as long as
//! the server says the same about itself.

use super::{Note, Notes};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// How long a proof is believed, in seconds.
const FRESH: u64 = 24 * 60 * 60;

/// What one server has proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// `scheme://name:port` of the server.
    pub host: String,
    /// What it said about itself then.
    pub said: String,
    /// How pieces are written, where they can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// Whether a file can be moved to another name.
    pub moves: bool,
    /// When that was proven, in seconds since 1970.
    pub proven: u64,
}

impl Note for Shelf {
    type Key = String;
    const FILE: &'static str = "shelves.jsonl";
    fn key(&self) -> String {
        self.host.clone()
    }
}

/// What is known of all file servers.
#[derive(Default)]
pub struct Shelves(Notes<Shelf>);

impl Shelves {
    /// Nothing is known, and nothing is kept beyond this run.
    pub fn of_this_run() -> Self {
        Self(Notes::of_this_run())
    }

    /// What `host` has proven, if that is fresh and it still says of itself what it `said` then.
    pub fn get(&self, host: &str, said: &str) -> Option<Shelf> {
        self.0.get(&host.to_string()).filter(|known| known.said == said && now().saturating_sub(known.proven) < FRESH)
    }

    /// Writes down what `host` has proven.
    pub fn learn(&self, host: &str, said: &str, way: Option<&str>, moves: bool) {
        let (host, said, way) = (host.to_string(), said.to_string(), way.map(str::to_string));
        self.0.put(Shelf { host, said, way, moves, proven: now() });
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
