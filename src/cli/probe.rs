//! `onward probe`.

use super::{Link, Show};
use clap::{Args, ValueHint};

/// The flags of `onward probe`.
#[derive(Debug, Clone, Default, Args)]
pub struct Probe {
    /// What to look at
    #[arg(value_name = "URL", required = true, value_hint = ValueHint::Url)]
    pub urls: Vec<String>,

    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Measure one connection against four: up to 32 MiB and 8 s
    #[arg(long)]
    pub speed: bool,

    /// How to reach the other side.
    #[command(flatten)]
    pub link: Link,

    /// What to show.
    #[command(flatten)]
    pub show: Show,
}
