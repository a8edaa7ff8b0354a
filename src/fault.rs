//! What can go wrong, seen from the user: of which kind it is decides whether to try again and with which exit
//! code to end. Foreign errors become a [`Fault`] at the border (`net`, `disk`) and nowhere else.

use std::fmt;
use std::time::Duration;

/// The kinds of failure, cut so that each has one exit code and one answer to "shall I try again?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that fits no other kind.
    Other,
    /// The command line asks for something that cannot be.
    Usage,
    /// The network failed, the peer was silent, or it cut an answer short: may pass.
    Network,
    /// The server is there but cannot just now (408, 425, 429, 5xx): may pass.
    Busy,
    /// The server cannot show that it is who it should be (TLS). On a line that has worked before this may be a
    /// captive portal, and pass.
    Untrusted,
    /// The time given with `--max-time` is over.
    OutOfTime,
    /// The user stopped it.
    Interrupted,
    /// The content is not what the record speaks of: the remote changed, or an upload's source did.
    Changed,
    /// The bytes are there and are wrong.
    Integrity,
    /// The server refuses (401, 403, 407, 413, 451, 507 and other refusals that waiting does not mend).
    Refused,
    /// There is nothing under that name (404, 410).
    NotFound,
    /// This machine's files: full, no permission, a target that exists.
    Local,
    /// Other content has the name at the remote, and nobody asked to replace it.
    Exists,
    /// Another process is at it.
    Held,
    /// It may have happened or not, and nobody can tell.
    Unknown,
}

/// What the retry policy may do with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, after the policy's own back-off.
    Retry,
    /// Try again, not before this much time has passed (the server said so).
    Wait(Duration),
    /// Trying again does not help.
    GiveUp,
}

/// One failure: what happened, what became of the bytes, what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which kind.
    pub kind: Kind,
    /// What happened, one sentence without a full stop, secrets masked, safe to print.
    pub what: String,
    /// What to do next, where there is something to do.
    pub hint: Option<String>,
    /// What became of the bytes ("412 of 900 chunks kept"), where there were any.
    pub kept: Option<String>,
    /// How long the server asked us to wait.
    pub wait: Option<Duration>,
    /// The status the server answered with, where it did.
    pub status: Option<u16>,
}

impl Fault {
    /// A fault of `kind` with its sentence.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, kept: None, wait: None, status: None }
    }

    /// The same with a hint; an earlier hint stays.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The same with a word on what became of the bytes.
    pub fn kept(mut self, kept: impl Into<String>) -> Self {
        self.kept = Some(kept.into());
        self
    }

    /// The same with the time the server asked us to wait.
    pub fn wait(mut self, wait: Option<Duration>) -> Self {
        self.wait = wait;
        self
    }

    /// The fault that an unexpected status of the server means.
    pub fn status(status: u16, what: impl Into<String>) -> Self {
        let kind = match status {
            404 | 410 => Kind::NotFound,
            408 | 425 | 429 | 500 | 502 | 503 | 504 => Kind::Busy,
            401 | 403 | 407 | 413 | 451 | 507 => Kind::Refused,
            400..=499 => Kind::Refused,
            _ => Kind::Other,
        };
        Self { status: Some(status), ..Self::new(kind, what) }
    }

    /// Whether trying again can help, and when.
    pub fn verdict(&self) -> Verdict {
        match (self.kind, self.wait) {
            (Kind::Network | Kind::Busy, Some(wait)) => Verdict::Wait(wait),
            (Kind::Network | Kind::Busy, None) => Verdict::Retry,
            _ => Verdict::GiveUp,
        }
    }

    /// What to do next: the hint, else what goes for every fault of its kind.
    pub fn next(&self) -> Option<String> {
        let by_kind = match self.kind {
            Kind::Network | Kind::Busy | Kind::OutOfTime | Kind::Interrupted => "run the same command again to go on",
            Kind::Changed => "without --no-restart the same command starts over",
            Kind::Integrity => "run the same command again to fetch what is wrong once more",
            Kind::Refused if matches!(self.status, Some(401)) => "log in with -u, --token-file, --netrc or -H",
            Kind::NotFound => "check the URL",
            Kind::Exists => "--overwrite replaces it, --no-clobber leaves it alone, --name chooses another name",
            Kind::Local => "mend that and run the same command again",
            Kind::Held => "wait for it, or end it; `onward status` names it",
            Kind::Unknown => "look at the server, then run the same command again",
            Kind::Usage => "--help after the subcommand says how, as in `onward download --help`",
            Kind::Refused | Kind::Untrusted | Kind::Other => return self.hint.clone(),
        };
        Some(self.hint.clone().unwrap_or_else(|| by_kind.to_string()))
    }

    /// The same fault as seen by a transfer that has had bytes from this very host: a name that cannot be trusted now
    /// is a captive portal or a proxy in the way, not the host.
    pub fn after_bytes(self) -> Self {
        match self.kind {
            Kind::Untrusted => Self { kind: Kind::Network, ..self },
            _ => self,
        }
    }

    /// The exit code of a run that ends with this fault.
    pub fn code(&self) -> u8 {
        exit_code(self.kind)
    }
}

/// The exit codes, the one place that knows them.
fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Other | Kind::Untrusted => 1,
        Kind::Usage => 2,
        Kind::Network | Kind::Busy | Kind::OutOfTime | Kind::Interrupted => 3,
        Kind::Changed => 4,
        Kind::Integrity => 5,
        Kind::Refused => 6,
        Kind::NotFound => 7,
        Kind::Local | Kind::Exists => 8,
        Kind::Held => 9,
        Kind::Unknown => 10,
    }
}

/// What each exit code means, for `--help`, the man page and the README.
pub const EXIT_CODES: [(u8, &str); 11] = [
    (0, "done"),
    (1, "another failure"),
    (2, "wrong usage"),
    (3, "not finished; the same command goes on (network, 5xx, --max-time)"),
    (4, "content changed (the remote under --no-restart, or an upload's source)"),
    (5, "integrity failure: the bytes are wrong"),
    (6, "refused by the server (401, 403, 407, 413, 451, 507)"),
    (7, "not there (404, 410)"),
    (8, "local files (disk full, no permission, target exists and differs)"),
    (9, "held by another process"),
    (10, "outcome unknown"),
];

/// The exit code of several files: the code all failures share, else the first present of a fixed order in which
/// 3 comes last, so that 3 always means "run it again". 0 without failures.
pub fn exit_code_of_all(codes: &[u8]) -> u8 {
    match codes {
        [] => 0,
        [first, rest @ ..] if rest.iter().all(|code| code == first) => *first,
        _ => [5, 8, 10, 4, 6, 7, 1, 9, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(1),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_share_one_code() {
        assert_eq!(exit_code_of_all(&[]), 0);
        assert_eq!(exit_code_of_all(&[3, 3]), 3);
        assert_eq!(exit_code_of_all(&[3, 7]), 7);
        assert_eq!(exit_code_of_all(&[9, 3, 6]), 6);
        assert_eq!(exit_code_of_all(&[8, 5]), 5);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(Fault::status(status, "").verdict(), Verdict::Retry, "{status}");
        }
        for status in [400, 401, 403, 404, 410, 413, 451, 501, 507] {
            assert_eq!(Fault::status(status, "").verdict(), Verdict::GiveUp, "{status}");
        }
        let told = Fault::status(503, "").wait(Some(Duration::from_secs(7)));
        assert_eq!(told.verdict(), Verdict::Wait(Duration::from_secs(7)));
    }
}
