//! `onward completions` and `onward man`: the command line describing itself.

use clap::Args;
use clap_complete::Shell;

/// The arguments of `onward completions`.
#[derive(Debug, Clone, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The arguments of `onward man`: there are none.
#[derive(Debug, Clone, Args)]
pub struct Man {}
