//! One file a subcommand, wiring only; here the one place that knows which is which, and the runtimes they run on.

mod cancel;
mod checksums;
mod completions;
mod demo;
mod dialects;
pub mod download;
mod fresh;
mod heads;
pub mod link;
mod man;
mod probe;
mod resume;
mod run;
mod serve;
mod signals;
mod status;
mod unfinished;
pub mod upload;

pub use signals::Signals;

use crate::config::{self, Command};
use crate::engine::Stop;
use crate::event::Observer;
use crate::fault::Fault;
use crate::report::{Choice, Report, Style};
use std::sync::Arc;

/// Runs `command` to its end. What becomes of each file is told to `report`; the error is for what belongs to none.
pub fn run(command: Command, report: &Arc<Report>, stop: Stop) -> Result<(), Fault> {
    let observer: Arc<dyn Observer> = report.clone();
    match command {
        Command::Completions(shell) => completions::run(shell),
        Command::Download(settings) => {
            report.expect(settings.files.len() as u64);
            download::run(settings, &observer, &stop)
        }
        Command::Dialects(settings) => dialects::run(&settings),
        Command::Demo(settings) => demo::run(&settings, report, &stop),
        Command::Man => man::run(),
        Command::Resume(settings) => resume::run(settings, report, &stop),
        Command::Serve(settings) => serve::run(settings, observer, &stop),
        Command::Cancel(settings) => cancel::run(&settings, report, &stop),
        Command::Probe(settings) => probe::run(&settings, &stop),
        Command::Status(settings) => status::run(&settings, &*observer),
        Command::Upload(settings) => {
            report.expect(settings.files.len() as u64);
            upload::run(settings, &observer, &stop)
        }
    }
}

/// How the settings want events to be shown.
pub fn choice(show: config::Show) -> Choice {
    let style = match show.progress {
        config::Progress::Bars => Style::Bars,
        config::Progress::Plain => Style::Plain,
        config::Progress::Json => Style::Json,
        config::Progress::None => Style::None,
    };
    Choice { style, quiet: show.quiet, verbose: show.verbose }
}
