//! `onward demo`.

use super::Show;
use crate::units;
use clap::Args;

/// The flags of `onward demo`.
#[derive(Debug, Clone, Default, Args)]
#[command(long_about = "Prove the installation, on this machine alone.

Starts `onward serve` on a free loopback port in a temporary folder, makes a file, uploads it and kills the upload \
half-way, resumes it, downloads the file back with another kill, compares the MD5s, and says what had to move twice. \
Everything is removed afterwards.")]
pub struct Demo {
    /// The size of the file [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub size: Option<u64>,

    /// What to show.
    #[command(flatten)]
    pub show: Show,
}
