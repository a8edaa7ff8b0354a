//! `onward demo`.

use super::Show;
use crate::units;
use clap::Args;

/// The flags of `onward demo`.
#[derive(Debug, Clone, Default, Args)]
pub struct Demo {
    /// The size of the file [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub size: Option<u64>,

    /// What to show.
    #[command(flatten)]
    pub show: Show,
}
