//! `onward serve`.

use super::Show;
use crate::units;
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// The flags of `onward serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct Serve {
    /// The folder [default: this one]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    /// Listen here; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,

    /// Tokens that open the door, one `name:token` a line
    ///
    /// Uploads of one name are not seen by another. ONWARD_SERVE_TOKEN gives a single token without a file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,

    /// Speak https with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,

    /// Take no uploads
    #[arg(long, conflicts_with = "upload_only")]
    pub read_only: bool,

    /// Give out no files and no listing
    #[arg(long)]
    pub upload_only: bool,

    /// Let uploads replace finished files, when they ask to
    #[arg(long)]
    pub allow_overwrite: bool,

    /// How equal content gets a second name [default: copy]
    #[arg(long, value_name = "HOW", value_enum)]
    pub dedupe: Option<Dedupe>,

    /// Refuse larger uploads than this
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub max_file_size: Option<u64>,

    /// Unfinished uploads a token may have [default: 100]
    #[arg(long, value_name = "N")]
    pub max_unfinished: Option<u32>,

    /// Keep this much of the disk free [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub min_free: Option<u64>,

    /// Serve below this path, as behind a reverse proxy [default: /]
    #[arg(long, value_name = "PATH")]
    pub base_path: Option<String>,

    /// Forget an unfinished upload when nothing was heard of it for this long [default: 7d]
    ///
    /// One without a single byte goes after an hour.
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub expire: Option<Duration>,

    /// Answer to this host name too, beside this machine's own; `*` for any
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,

    /// Let browser pages of this origin (as in `https://example.org`) up- and download; repeatable
    ///
    /// `*` lets all pages, and is taken only together with a token.
    #[arg(long, alias = "allow-origin", value_name = "ORIGIN")]
    pub cors: Vec<String>,

    /// Stop when stdin ends, so that no server outlives the process that started it
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,

    /// What to show.
    #[command(flatten)]
    pub show: Show,
}

/// How content that the server holds already gets a second name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dedupe {
    /// Share the blocks where the filesystem can, else copy
    Copy,
    /// A hard link, where the filesystem can: who writes into one of the files changes both
    Link,
}
