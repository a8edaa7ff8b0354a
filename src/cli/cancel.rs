//! `onward cancel`.

use super::{Link, Show};
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// The flags of `onward cancel`.
#[derive(Debug, Clone, Default, Args)]
pub struct Cancel {
    /// The file, an upload's source, the .partial or the record
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::FilePath)]
    pub paths: Vec<PathBuf>,

    /// Of a source with several destinations only this one
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub to: Vec<String>,

    /// Follow this record although it may have been planted
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub trust: Vec<PathBuf>,

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
