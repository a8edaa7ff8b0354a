//! `onward status`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// The flags of `onward status`.
#[derive(Debug, Clone, Default, Args)]
#[command(long_about = "List what is unfinished: how much is done, where it comes from or goes to, and whether a \
process is at it. Reads the records only: no network, no lock.")]
pub struct Status {
    /// Where to look [default: this folder]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// Descend into folders
    #[arg(short, long)]
    pub recursive: bool,

    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}
