//! Everything a server, a proxy or a network is known to do to a download, as a list of rows: what goes wrong, and
//! what must come of it, for a download that begins and for one that goes on after a kill. The test of the table runs
//! all of them; the comparison with other programs (`tests/bench/rivals.rs`) runs the same list.

mod answers;
mod connections;
mod contents;
mod disks;
mod ranges;
mod redirects;

use crate::origin::{Lie, Origin, Page, When};
use crate::world::Content;
use std::path::Path;
use std::sync::Mutex;

/// How long the content of a row is, in bytes.
pub const LEN: u64 = 4 << 20;

/// What a row plays with.
pub struct Stage {
    /// Where the download asks.
    pub origin: Origin,
    /// Another host.
    pub elsewhere: Origin,
    /// What is there.
    pub content: Content,
    /// What may be there later.
    pub newer: Content,
    /// What is there now.
    now: Mutex<Content>,
}

impl Stage {
    /// A stage for a row: the content under `/file.bin`, served honestly.
    pub fn new() -> Self {
        let content = Content::random(40, LEN);
        let (origin, elsewhere) = (Origin::serving(&content), Origin::start());
        let now = Mutex::new(content.clone());
        Self { origin, elsewhere, content, newer: Content::random(41, LEN), now }
    }

    /// What a download should end in.
    pub fn right(&self) -> Content {
        self.now.lock().unwrap().clone()
    }

    /// The plain truth again: the content as it was, on servers that are no odder than `server` makes them.
    pub fn honest(&self, server: Script) {
        for origin in [&self.origin, &self.elsewhere] {
            origin.honest_again();
            origin.at_most_connections(usize::MAX);
        }
        *self.now.lock().unwrap() = self.content.clone();
        self.page(self.plain());
        server(self);
    }

    /// From now on, `lie` whenever `when`.
    pub fn when(&self, when: When, lie: Lie) {
        self.origin.when(when, lie);
    }

    /// What is under `/file.bin`.
    pub fn page(&self, page: Page) {
        self.origin.page("/file.bin", page);
    }

    /// The content as it is served without anybody's doing.
    pub fn plain(&self) -> Page {
        Page::of(&self.content)
    }

    /// The page of the newer content, with validators of its own.
    pub fn changed(&self) -> Page {
        self.changed_to(&self.newer)
    }

    /// The same of any content.
    pub fn changed_to(&self, content: &Content) -> Page {
        *self.now.lock().unwrap() = content.clone();
        Page::of(content).etag("\"v2\"").last_modified("Wed, 18 Nov 2015 09:42:18 GMT")
    }
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Must {
    /// The right file, and not more bytes than this many hundredths of its size, an earlier run's included. What the
    /// server gave to a socket counts.
    Finish(u64),
    /// The same, and the program says that it started over.
    Renew(u64),
    /// This exit code, and nothing under the final name; what an earlier run left is kept, and once the server is
    /// honest again the same command finishes.
    Refuse(i32),
}

/// The least that may be asked of it where bytes are not sent twice by the fault itself.
pub const CHEAP: Must = Must::Finish(115);

/// What sets the stage.
pub type Script = fn(&Stage);

/// One row.
pub struct Fault {
    /// What goes wrong, in words for the table.
    pub what: &'static str,
    /// How the server is made from the start, also for the run before a resumed one.
    pub server: Script,
    /// What goes wrong then.
    pub script: Script,
    /// What is asked for: `/file.bin` unless said otherwise.
    pub path: &'static str,
    /// More flags for onward; `{sha256}` stands for the right digest.
    pub args: &'static [&'static str],
    /// What happens to the files of the killed run: the data, and the record.
    pub disk: fn(&Path, &Path),
    /// What must come of a download that begins.
    pub fresh: Option<Must>,
    /// What must come of one that goes on.
    pub resumed: Option<Must>,
}

fn fault(what: &'static str, script: Script) -> Fault {
    Fault { what, server: |_| {}, script, path: "/file.bin", args: &[], disk: |_, _| {}, fresh: None, resumed: None }
}

/// A fault of a server that is odd all the time, not only now.
fn odd_server(what: &'static str, server: Script) -> Fault {
    Fault { server, ..fault(what, |_| {}) }
}

impl Fault {
    fn then(self, script: Script) -> Self {
        Self { script, ..self }
    }

    fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    fn with(self, args: &'static [&'static str]) -> Self {
        Self { args, ..self }
    }

    fn fresh(self, must: Must) -> Self {
        Self { fresh: Some(must), ..self }
    }

    fn resumed(self, must: Must) -> Self {
        Self { resumed: Some(must), ..self }
    }

    fn both(self, must: Must) -> Self {
        self.fresh(must).resumed(must)
    }
}

/// A part of the list under its heading.
pub struct Chapter {
    /// The heading.
    pub title: &'static str,
    /// Its rows.
    pub faults: Vec<Fault>,
}

/// The whole list.
pub fn all() -> Vec<Chapter> {
    let chapter = |title, faults| Chapter { title, faults };
    vec![
        chapter("Connections that break, stall or drip", connections::breaking()),
        chapter("Heads that lie or never end", connections::heads()),
        chapter("Ranges that are ignored, denied or lied about", ranges::ranges()),
        chapter("Answers that are not the file", answers::impostors()),
        chapter("Refusals, limits and servers that are busy", answers::refusals()),
        chapter("Validators that are weak, missing or contradict each other", contents::validators()),
        chapter("Content that changes", contents::changes()),
        chapter("Wrong bytes, and digests that tell", contents::digests()),
        chapter("Redirects", redirects::redirects()),
        chapter("Disks that lost or changed something", disks::disks()),
    ]
}
