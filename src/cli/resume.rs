//! `onward resume`.

use super::{Link, Show};
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

/// The flags of `onward resume`.
#[derive(Debug, Clone, Default, Args)]
pub struct Resume {
    /// Where to look [default: this folder]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// Descend into folders
    #[arg(short, long)]
    pub recursive: bool,

    /// Of a source with several destinations only this one
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub to: Vec<String>,

    /// Follow this record although it may have been planted
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub trust: Vec<PathBuf>,

    /// Go on from this URL instead of the recorded one, as when a signed link has expired (one download only)
    ///
    /// What is here is compared with samples of what is there first.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,

    /// Run CMD when the link has expired; the first line it prints is the fresh one (one download only)
    #[arg(long, value_name = "CMD", conflicts_with = "url", value_hint = ValueHint::CommandString)]
    pub url_command: Option<String>,

    /// Connections a file [default: as many as help]
    #[arg(short = 'x', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: Option<u32>,

    /// Large files at once [default: 3]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: Option<u32>,

    /// Fail (exit 4) instead of starting over when the content has changed
    #[arg(long)]
    pub no_restart: bool,

    /// Send uploads anew, and have the server forget what of them has arrived
    #[arg(long, conflicts_with = "assume")]
    pub restart: bool,

    /// What became of a part that was never answered: `stored`, go on behind it; `lost`, send it again
    #[arg(long, value_name = "FATE")]
    pub assume: Option<Assume>,

    /// Send this field in every form
    #[arg(short = 'F', long = "field", value_name = "K=V", value_parser = super::field)]
    pub fields: Vec<(String, String)>,

    /// How to reach the other side.
    #[command(flatten)]
    pub link: Link,

    /// What to show.
    #[command(flatten)]
    pub show: Show,
}

/// What a person knows of a part that was sent and never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Assume {
    /// The server has it
    Stored,
    /// The server does not have it
    Lost,
}
