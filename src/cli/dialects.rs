//! `onward dialects`.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// The arguments of `onward dialects`.
#[derive(Debug, Clone, Args)]
pub struct Dialects {
    /// What to do with them
    #[command(subcommand)]
    pub deed: Option<Deed>,
}

/// What can be done with dialects; without one they are listed.
#[derive(Debug, Clone, Subcommand)]
pub enum Deed {
    /// Print a dialect, to start one of your own from
    Show {
        /// Its name, or a file
        #[arg(value_name = "NAME|FILE", value_hint = ValueHint::FilePath)]
        name: String,
    },
    /// Read a dialect and say what is wrong with it, line by line
    Check {
        /// The file; `-` is stdin
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Draft a dialect from a request copied in a browser ("Copy as cURL")
    ///
    /// Paste the request that sent the first or second chunk of a file. Cookies, logins and tokens in it are not put into the
    /// draft; which of them must be given is said there.
    FromCurl {
        /// The file that holds the command [default: stdin]
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
}
