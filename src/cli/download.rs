//! `onward download`.

use super::{Link, Show};
use crate::units;
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// The flags of `onward download`.
#[derive(Debug, Clone, Default, Args)]
pub struct Download {
    /// What to download
    #[arg(value_name = "URL", required_unless_present = "input", value_hint = ValueHint::Url)]
    pub urls: Vec<String>,

    /// Write to this file (one URL only); `-` is stdout
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// Write into this folder
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    /// Create the folder if it is not there
    #[arg(long)]
    pub create_dirs: bool,

    /// Read more URLs from FILE, one a line; `-` is stdin
    #[arg(short, long, value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,

    /// Connections a file [default: as many as help]
    #[arg(short = 'x', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: Option<u32>,

    /// Large files at once [default: 3]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: Option<u32>,

    /// Chunk size, as in 8M; raised until there are at most 10,000 [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub chunk_size: Option<u64>,

    /// Another URL of the same file, used beside the first once it is shown to be the same; repeatable (one file only)
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub mirror: Vec<String>,

    /// How much to fetch ahead, in memory, of what reads a pipe (`-o -`, a FIFO) [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub buffer: Option<u64>,

    /// The digest the file must have, as in sha256:HEX (one URL only)
    #[arg(long, value_name = "ALG:HEX")]
    pub checksum: Option<String>,

    /// Run CMD when the link has expired; the first line it prints is the fresh one (one URL only)
    ///
    /// It is run by `sh -c`, and only when it is needed. Neither the command nor its links are ever stored.
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub url_command: Option<String>,

    /// Find each file's digest in this list, as SHA256SUMS files are (GNU or BSD lines)
    #[arg(long, value_name = "FILE|URL", conflicts_with = "checksum", value_hint = ValueHint::FilePath)]
    pub checksum_file: Option<String>,

    /// Go on from the beginning that curl, wget or a browser left in FILE, after comparing samples (one URL only)
    ///
    /// FILE is copied, and stays as it is until the finished file takes its name. Without -o that is FILE's own, less
    /// an ending such as .part or .crdownload.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run", value_hint = ValueHint::FilePath)]
    pub adopt: Option<PathBuf>,

    /// Write the head of each reply to FILE, secrets masked
    #[arg(short = 'D', long, value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    pub dump_header: Option<PathBuf>,

    /// Replace an existing file, once the new one is complete
    #[arg(long, conflicts_with = "no_clobber")]
    pub overwrite: bool,

    /// Leave an existing file alone and count it as done
    #[arg(long)]
    pub no_clobber: bool,

    /// Fail (exit 4) instead of starting over when the remote file has changed
    #[arg(long)]
    pub no_restart: bool,

    /// Replace a connection slower than this, as in 10K [default: none]
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub speed_limit: Option<u64>,

    /// How long it may be slower than --speed-limit [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "speed_limit")]
    pub speed_time: Option<Duration>,

    /// Give the file the time of the remote one
    #[arg(short = 'R', long)]
    pub remote_time: bool,

    /// Fail (exit 5) where only comparing samples shows that a resumed file is right
    #[arg(long)]
    pub strict: bool,

    /// Say what would be done, and move nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How to reach the other side.
    #[command(flatten)]
    pub link: Link,

    /// What to show.
    #[command(flatten)]
    pub show: Show,
}
