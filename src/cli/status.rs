//! `onward status`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// The flags of `onward status`.
#[derive(Debug, Clone, Default, Args)]
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
