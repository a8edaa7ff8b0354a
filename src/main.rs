//! Parse, resolve, run, report, and end as the shell expects.

use clap::Parser;
use onward::cli::Cli;
use onward::commands::{self, Signals};
use onward::config;
use onward::report::{self, Report};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return ExitCode::from(report::usage(&answer, config::wants_json())),
    };
    let (show, command) = config::load(cli, report::on_terminal());
    let report = Report::new(commands::choice(show));
    let signals = Signals::watch();
    let outcome = command.and_then(|command| commands::run(command, &report, signals.stop()));
    let code = report.end(outcome);
    signals.raise_again();
    ExitCode::from(code)
}
