//! `onward completions SHELL`: the script that the committed `completions/` hold.

use crate::cli;
use crate::fault::Fault;
use crate::report;
use clap_complete::Shell;

/// Prints the completion script of `shell`.
pub fn run(shell: Shell) -> Result<(), Fault> {
    report::text(&script(shell))
}

/// The completion script of `shell`.
pub fn script(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "onward", &mut text);
    text
}
