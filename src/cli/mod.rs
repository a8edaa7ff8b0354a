//! The command line as clap sees it: names, help texts, and which flags exclude each other. Nothing is decided here;
//! `config` turns these types, the environment and the config file into the plain settings the commands take.

mod cancel;
mod completions;
mod demo;
mod dialects;
mod download;
mod probe;
mod resume;
mod serve;
mod shared;
mod status;
mod upload;

pub use cancel::Cancel;
pub use completions::{Completions, Man};
pub use demo::Demo;
pub use dialects::{Deed, Dialects};
pub use download::Download;
pub use probe::Probe;
pub use resume::{Assume, Resume};
pub use serve::{Dedupe, Serve};
pub use shared::{Link, ProgressStyle, Retries, Show, field, retries};
pub use status::Status;
pub use upload::{Upload, protocol};

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
    ///
    /// Each file arrives as NAME.partial with its record NAME.partial.toml beside it, and gets its name only when it is
    /// complete and checked. One file's failure does not stop the others. The path of each finished file goes to stdout.
    #[command(visible_alias = "get", after_long_help = exit_codes())]
    Download(Download),
    /// Upload files to a server; the same command again continues
    ///
    /// DEST is a URL. With several FILEs, with --name, or when it ends in `/`, it is a folder and the name is appended. The
    /// record of an unfinished upload lies beside its source. Content that the server already has is not sent. The URL
    /// of each finished file goes to stdout.
    #[command(visible_alias = "put", after_long_help = exit_codes())]
    Upload(Upload),
    /// Receive uploads into a folder and serve its files
    ///
    /// The first line on stdout is the base URL. Browsers, curl, wget and `onward download` can fetch and resume; `onward
    /// upload` can send. Unfinished uploads are kept in .onward/ under the folder, which is never served. A token is
    /// required unless only this machine can connect; it is also the password of a browser login, with any user name.
    Serve(Serve),
    /// Finish what was left unfinished, with nothing given again
    ///
    /// PATH is a folder, the file itself, an upload's source, the .partial or the .partial.toml. What a record cannot hold,
    /// such as a password, must be given again, and the message says which. A record that is not yours, or that others
    /// may write, is shown and not followed unless --trust names it.
    #[command(after_long_help = exit_codes())]
    Resume(Resume),
    /// List what is unfinished
    ///
    /// How much is done, where it comes from or goes to, and whether a process is at it. Reads the records only: no
    /// network, no lock.
    Status(Status),
    /// Say what a server can do for a download, without downloading
    ///
    /// Asks a few small questions: redirects, length, what names the version, whether ranges are honest, which
    /// If-Range works, digests, HTTP versions and upload protocols. The last line says whether a broken download could be
    /// gone on with. Exit 0 whatever that is.
    #[command(after_long_help = exit_codes())]
    Probe(Probe),
    /// Forget an unfinished transfer, here and at the server
    ///
    /// Tells the server, then removes the .partial and its record, and the .old.partial that starting over has left. An
    /// upload's source is never touched.
    #[command(after_long_help = exit_codes())]
    Cancel(Cancel),
    /// Prove the installation: move a file both ways, killed half-way
    ///
    /// Starts `onward serve` on a free loopback port in a temporary folder, makes a file, uploads it and kills the upload
    /// half-way, resumes it, downloads the file back with another kill, compares the MD5s, and says what had to move
    /// twice. Everything is removed afterwards.
    Demo(Demo),
    /// List the form dialects that `upload --dialect` speaks; print, check or draft one
    ///
    /// A dialect is a TOML file that says how a web page's upload endpoint wants to be talked to. One of your own is found by
    /// its path, or by its name in the folder dialects/ beside the config file.
    Dialects(Dialects),
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
            Self::Probe(flags) => Some(&flags.show),
            Self::Demo(flags) => Some(&flags.show),
            Self::Status(_) | Self::Dialects(_) | Self::Completions(_) | Self::Man(_) => None,
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
