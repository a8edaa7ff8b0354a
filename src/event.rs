//! All that the engines say to the outside. Bars, plain lines, JSON lines and the tests' double are observers of
//! the same events; an engine never prints.

use crate::fault::Fault;
use std::pin::Pin;
use std::time::Duration;
use url::Url;

/// Which of the files of this run an event is about, counted from 0 in the order of the command line.
pub type FileId = u64;

/// The direction of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the network to a local file.
    Download,
    /// From a local file to the network.
    Upload,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes moved by this run, re-sent ones counted again.
    pub run: u64,
    /// Bytes of the file that are there, whoever moved them.
    pub done: u64,
    /// The length of the file, where known.
    pub total: Option<u64>,
    /// Bytes a second, smoothed over the last few seconds of this run.
    pub rate: u64,
    /// The time left at that rate, where it can be told.
    pub eta: Option<Duration>,
    /// Connections that are moving bytes now.
    pub connections: u32,
}

/// What became of a finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The path written or the URL stored: the one line on stdout, unmasked.
    pub place: String,
    /// Bytes moved by this run.
    pub moved: u64,
    /// Bytes that were already there before this run.
    pub already: u64,
    /// What shows that the content is right beyond what was sent (`"sha-256"`, `"overlap"`), where anything does; for what
    /// only says that something is there, [`EXISTS`] or [`SIZE`].
    pub proof: Option<String>,
}

/// The proof of what is there under its name, and nothing more is known of it.
pub const EXISTS: &str = "exists";
/// The proof of what has the right length; samples may have been compared beside it.
pub const SIZE: &str = "size";

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Work on a file begins; `name` is for people and already safe to print.
    Started {
        /// The name shown for this file from now on.
        name: String,
        /// Which way.
        direction: Direction,
        /// The remote place, secrets masked.
        remote: String,
        /// The length in bytes, where known.
        total: Option<u64>,
    },
    /// Which protocol is spoken, where that had to be found out or chosen.
    Protocol {
        /// Its name, as in `--protocol`.
        name: String,
        /// What is spoken, for people.
        about: String,
    },
    /// An earlier run's bytes are used: `offset` of them are there.
    Resumed {
        /// Bytes that are there.
        offset: u64,
        /// The length in bytes, where known.
        total: Option<u64>,
    },
    /// The server sent us elsewhere (both URLs masked).
    Redirect {
        /// From where.
        from: String,
        /// To where.
        to: String,
        /// The status that said so.
        status: u16,
    },
    /// A digest is being computed over bytes that are not moving: `done` of `total` bytes.
    Hashing {
        /// Bytes hashed.
        done: u64,
        /// Bytes to hash.
        total: u64,
    },
    /// How far it is.
    Progress(Progress),
    /// A fault that may pass: the next try comes after `wait`.
    Retry {
        /// What went wrong.
        error: Fault,
        /// How long until the next try.
        wait: Duration,
        /// The how-many-th try without progress comes next, from 1.
        attempt: u32,
    },
    /// What was there could not be used; the transfer begins anew.
    Restarted {
        /// Why.
        why: String,
    },
    /// The content was compared with a digest and agrees.
    Verified {
        /// The algorithm, as in `sha-256`.
        alg: String,
        /// The digest in lower-case hexadecimal.
        digest: String,
        /// Whose digest it is: `"user"`, `"server"`, or a file's name.
        by: String,
    },
    /// Something the user should know that is not a failure.
    Warning {
        /// One sentence.
        text: String,
    },
    /// Something said only when asked for with `-v`.
    Detail {
        /// One sentence.
        text: String,
    },
    /// The head of a request or an answer, said only when asked for with `-vv`.
    Head {
        /// A line for each field, secrets masked.
        text: String,
    },
    /// The file is complete.
    Done(Outcome),
    /// The file is not, and will not be in this run.
    Failed(Fault),
    /// The run is over; belongs to no file.
    Summary {
        /// Files complete.
        done: u64,
        /// Files that failed for good.
        failed: u64,
        /// Files that the same command would go on with.
        unfinished: u64,
        /// The exit code.
        code: u8,
    },
}

/// The file of events that belong to no file.
pub const NO_FILE: FileId = FileId::MAX;

/// Whoever wants to know.
pub trait Observer: Send + Sync {
    /// Something happened to `file`. Must not block for long: it is called from the transfer itself.
    fn on(&self, file: FileId, event: &Event);
}

/// Whoever can give what no record holds, when it is needed.
pub trait Secrets {
    /// A URL of the same file that is fresh, where the one in use has expired.
    fn fresh_url(&self) -> Pin<Box<dyn Future<Output = Result<Url, Fault>> + '_>>;
}
