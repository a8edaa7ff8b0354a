//! What the user wants, as plain values: flags win over the environment, that over the config file, that over the
//! defaults. Resolving is a pure function of the parsed flags and of a [`Surroundings`]; commands and engines see
//! only the structs here, never clap's.
//!
//! Every setting of the config file (`$XDG_CONFIG_HOME/onward/config.toml`) is a long flag's name with its value, as
//! in `limit-rate = "16M"`; the environment's is `ONWARD_LIMIT_RATE`. For uploads a table `[host."URL"]` of the file goes
//! before the rest of it.

mod download;
mod file;
mod layers;
mod link;
mod parse;
mod upload;

pub use layers::{Surroundings, load, resolve, wants_json};
pub use parse::parse_url;

use crate::digest::{Algorithm, Digest};
use crate::engine::push::Assume;
use crate::event::FileId;
use crate::net::IpChoice;
use crate::record::Existing;
use crate::remote::{Field, Manner, dialect};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Cookies as the user gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cookies {
    /// `name=value; name=value`, for the origin given.
    Pairs(Secret),
    /// The text of a Netscape `cookies.txt`; every line says where its cookie may go.
    File(Secret),
}

/// How to reach the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Headers given by the user, in their order; bound to the origin given.
    pub headers: Vec<(String, Secret)>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// Bearer token.
    pub token: Option<Secret>,
    /// Cookies given by the user.
    pub cookies: Vec<Cookies>,
    /// The text of the netrc file, where one is to be used.
    pub netrc: Option<Secret>,
    /// More certificate authorities (PEM files).
    pub cacert: Vec<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
    /// Follow redirects from https to http.
    pub allow_downgrade: bool,
    /// The proxy to go through; without one the environment decides.
    pub proxy: Option<String>,
    /// Which addresses to use.
    pub ip: IpChoice,
    /// What to call ourselves.
    pub user_agent: String,
    /// At most this many bytes a second, all files together.
    pub limit_rate: Option<u64>,
    /// For one attempt to connect.
    pub connect_timeout: Duration,
    /// For one connection on which nothing moves.
    pub stall_timeout: Duration,
    /// For the whole run.
    pub max_time: Option<Duration>,
    /// Tries without progress; `None` is endless.
    pub retries: Option<u32>,
    /// Whether somebody wants to hear of each request.
    pub heard: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            login: None,
            token: None,
            cookies: Vec::new(),
            allow_downgrade: false,
            netrc: None,
            cacert: Vec::new(),
            insecure: false,
            proxy: None,
            ip: IpChoice::Any,
            user_agent: concat!("onward/", env!("CARGO_PKG_VERSION")).into(),
            limit_rate: None,
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
            max_time: None,
            retries: Some(10),
            heard: false,
        }
    }
}

/// How much is fetched ahead of what reads a pipe, unless told otherwise, in bytes.
pub const BUFFER: u64 = 64 << 20;

/// How a file is moved, whichever way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// Connections a file; `None` is as many as help.
    pub connections: Option<u32>,
    /// Large files at once.
    pub jobs: u32,
    /// The chunk size asked for, in bytes.
    pub chunk_size: Option<u64>,
    /// Changed content is a failure, not a reason to start over.
    pub no_restart: bool,
}

/// A list of checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChecksumFile {
    /// A file that was read.
    Text {
        /// Its path, safe to print.
        name: String,
        /// What it holds.
        text: String,
    },
    /// One to be fetched.
    Url(Url),
}

impl ChecksumFile {
    /// Its own name, the last part of its path: it may tell the algorithm.
    pub fn name(&self) -> String {
        match self {
            Self::Text { name, .. } => name.rsplit('/').next().unwrap_or_default().to_string(),
            Self::Url(url) => crate::wire::filename::of_url(url),
        }
    }
}

/// A command line that prints a fresh URL. It may hold secrets.
pub type UrlCommand = Option<Secret>;

/// One file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// From where: `http` or `https`.
    pub url: Url,
    /// Where else the same is to be had.
    pub mirrors: Vec<Url>,
    /// Whether a secret of the URL is masked, so that it cannot be asked.
    pub masked: bool,
    /// The file to write, where it was named; not yet joined to a folder.
    pub output: Option<PathBuf>,
    /// The digest the content must have.
    pub checksum: Option<Digest>,
    /// Whose it is, where a file says so.
    pub checksum_by: Option<String>,
    /// What to do about a file that is already there.
    pub existing: Existing,
    /// Whether a record that somebody else may have written is believed.
    pub trust: bool,
    /// What a record says must be given; only that goes to the place it names. `None`: the user named the place.
    pub needs: Option<Vec<String>>,
}

/// The settings of `onward download`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// What to fetch, in the order given.
    pub files: Vec<Fetch>,
    /// The event id of the first of them.
    pub first: FileId,
    /// The beginning of the one file, as another program left it.
    pub adopt: Option<PathBuf>,
    /// Where the heads of replies are written.
    pub heads: Option<PathBuf>,
    /// What prints a fresh URL, where there is one file.
    pub url_command: UrlCommand,
    /// Where the digests of all files are listed.
    pub checksum_file: Option<ChecksumFile>,
    /// The folder to write into; an `output` that is relative is joined to it.
    pub dir: PathBuf,
    /// Create that folder if it is not there.
    pub create_dirs: bool,
    /// Say what would be done, move nothing.
    pub dry_run: bool,
    /// Connections slower than this many bytes a second over this time are replaced.
    pub least: Option<(u64, Duration)>,
    /// Give files the remote's time.
    pub remote_time: bool,
    /// Samples are not proof enough.
    pub strict: bool,
    /// The most that is fetched ahead of what reads a pipe, in bytes.
    pub buffer: u64,
    /// How.
    pub work: Work,
    /// Through what.
    pub link: Link,
}

/// One file to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// The local file.
    pub source: PathBuf,
    /// The URL it is to have.
    pub dest: Url,
    /// The destination as it was given, where it was.
    pub base: Option<Url>,
    /// What to do about a remote file that is already there.
    pub existing: Existing,
    /// Whether a record that somebody else may have written is believed.
    pub trust: bool,
    /// What a record says must be given; only that goes to the place it names. `None`: the user named the place.
    pub needs: Option<Vec<String>>,
}

/// The settings of `onward upload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What to send, in the order given.
    pub files: Vec<Send>,
    /// The event id of the first of them.
    pub first: FileId,
    /// Forget what earlier runs have begun, here and at the server.
    pub restart: bool,
    /// What to believe of parts that nobody can say the fate of.
    pub assume: Option<Assume>,
    /// The digest of the whole to compare with the server; `None` is whichever is at hand.
    pub digest: Option<Algorithm>,
    /// How servers are spoken to.
    pub manner: Manner,
    /// How.
    pub work: Work,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward dialects`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialects {
    /// Name all, those in this folder too.
    List(Option<PathBuf>),
    /// Print one.
    Show(dialect::Given),
    /// Say what is wrong with the text of the file of this name.
    Check(String, String),
    /// Draft one of this request.
    FromCurl(Secret),
}

/// The settings of `onward resume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Fields that go into every form.
    pub fields: Vec<Field>,
    /// Where to look; never empty.
    pub paths: Vec<PathBuf>,
    /// Descend into folders.
    pub recursive: bool,
    /// Only these destinations of an upload; all when empty.
    pub to: Vec<String>,
    /// Another URL of the one download there is.
    pub url: Option<Url>,
    /// What prints a fresh URL of the one download there is.
    pub url_command: UrlCommand,
    /// Records to follow although they may have been planted.
    pub trust: Vec<PathBuf>,
    /// Send unfinished uploads anew, whatever of them has arrived.
    pub restart: bool,
    /// What to believe of parts that nobody can say the fate of.
    pub assume: Option<Assume>,
    /// How. The chunk size is the record's.
    pub work: Work,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where to look; never empty.
    pub paths: Vec<PathBuf>,
    /// Descend into folders.
    pub recursive: bool,
    /// JSON lines in place of a table.
    pub json: bool,
}

/// The settings of `onward probe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What to look at; never empty.
    pub urls: Vec<Url>,
    /// JSON lines in place of pages.
    pub json: bool,
    /// Measure whether connections help.
    pub speed: bool,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward cancel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// What to forget; never empty.
    pub paths: Vec<PathBuf>,
    /// Only these destinations of an upload; all when empty.
    pub to: Vec<String>,
    /// Records to follow although they may have been planted.
    pub trust: Vec<PathBuf>,
    /// Fields that go into every form.
    pub fields: Vec<Field>,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The folder.
    pub dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names and tokens; empty means that anybody who can connect may come in.
    pub tokens: Vec<(String, Secret)>,
    /// Certificate chain and key (PEM files).
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Take no uploads.
    pub read_only: bool,
    /// Give out nothing.
    pub upload_only: bool,
    /// Uploads may replace finished files.
    pub allow_overwrite: bool,
    /// Equal content gets its second name by a hard link.
    pub links: bool,
    /// The largest upload taken, in bytes.
    pub max_file_size: Option<u64>,
    /// Unfinished uploads a token may have.
    pub max_unfinished: u32,
    /// Bytes of the disk to keep free.
    pub min_free: u64,
    /// The path below which everything lies: begins and ends with `/`.
    pub base_path: String,
    /// How long an upload is kept after its last sign of life.
    pub expire: Duration,
    /// Host names answered to beside this machine's own.
    pub hosts: Vec<String>,
    /// Origins whose pages may send requests.
    pub origins: Vec<String>,
    /// Stop when stdin ends.
    pub until_stdin_ends: bool,
}

/// The settings of `onward demo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// The size of the file, in bytes.
    pub size: u64,
}

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Show {
    /// How progress is shown.
    pub progress: Progress,
    /// Failures only.
    pub quiet: bool,
    /// How much more to say, from 0.
    pub verbose: u8,
}

/// How progress is shown, once `auto` is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bars.
    Bars,
    /// Lines for logs.
    Plain,
    /// JSON lines.
    Json,
    /// Not at all.
    None,
}

/// One command with its settings.
#[derive(Debug, Clone)]
pub enum Command {
    /// `onward download`
    Download(Download),
    /// `onward upload`
    Upload(Upload),
    /// `onward serve`
    Serve(Serve),
    /// `onward resume`
    Resume(Resume),
    /// `onward status`
    Status(Status),
    /// `onward probe`
    Probe(Probe),
    /// `onward cancel`
    Cancel(Cancel),
    /// `onward dialects`
    Dialects(Dialects),
    /// `onward demo`
    Demo(Demo),
    /// `onward completions`
    Completions(clap_complete::Shell),
    /// `onward man`
    Man,
}

impl Show {
    /// For commands that move nothing.
    pub const SILENT: Self = Self { progress: Progress::None, quiet: false, verbose: 0 };
}
