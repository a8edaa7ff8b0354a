//! The command line as clap sees it: names, help texts, and which flags exclude each other. Nothing is decided here;
//! `config` turns these types, the environment and the config file into the plain settings the commands take.

mod cancel;
mod completions;
mod demo;
mod download;
mod resume;
mod serve;
mod shared;
mod status;
mod upload;

pub use cancel::Cancel;
pub use completions::{Completions, Man};
pub use demo::Demo;
pub use download::Download;
pub use resume::Resume;
pub use serve::Serve;
pub use shared::{Link, ProgressStyle, Retries, Show, retries};
pub use status::Status;
pub use upload::Upload;

use crate::fault::EXIT_CODES;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser, Subcommand};

/// Calm: bold for what structures the page, one colour for what is typed.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default().dimmed());

/// Moves big files in chunks, keeps its progress beside the file, and goes on where it stopped.
///
/// Run the same command again and it continues; nothing that has arrived moves twice. Progress is kept in a readable
/// NAME.partial.toml beside the file, whatever ends the process.
#[derive(Debug, Parser)]
#[command(name = "onward", version, styles = STYLES, max_term_width = 100, arg_required_else_help = true)]
#[command(subcommand_required = true, disable_help_subcommand = true, propagate_version = true)]
#[command(after_help = exit_codes())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download files; the same command again continues
    #[command(visible_alias = "get", after_long_help = exit_codes())]
    Download(Download),
    /// Upload files to `onward serve`; the same command again continues
    #[command(visible_alias = "put", after_long_help = exit_codes())]
    Upload(Upload),
    /// Receive uploads into a folder and serve its files
    Serve(Serve),
    /// Finish what was left unfinished, with nothing given again
    #[command(after_long_help = exit_codes())]
    Resume(Resume),
    /// List what is unfinished
    Status(Status),
    /// Forget an unfinished transfer, here and at the server
    #[command(after_long_help = exit_codes())]
    Cancel(Cancel),
    /// Prove the installation: move a file both ways, killed half-way, on this machine alone
    Demo(Demo),
    /// Print the completion script of a shell
    Completions(Completions),
    /// Print the manual page
    Man(Man),
}

impl Command {
    /// What to show, where the subcommand has it as flags.
    pub fn show(&self) -> Option<&Show> {
        match self {
            Self::Download(flags) => Some(&flags.show),
            Self::Upload(flags) => Some(&flags.show),
            Self::Serve(flags) => Some(&flags.show),
            Self::Resume(flags) => Some(&flags.show),
            Self::Cancel(flags) => Some(&flags.show),
            Self::Demo(flags) => Some(&flags.show),
            Self::Status(_) | Self::Completions(_) | Self::Man(_) => None,
        }
    }
}

/// The whole command line, for completions and the manual page.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The table of exit codes as help shows it.
fn exit_codes() -> String {
    let rows = EXIT_CODES.iter().map(|(code, meaning)| format!("  {code:>2}  {meaning}\n"));
    let several = "Several files: the code all failures share, else the first present of 5, 8, 10, 4, 6, 7, 1, 9, 3.";
    format!("Exit codes:\n{}\n{several}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_holds_together() {
        super::command().debug_assert();
    }
}
