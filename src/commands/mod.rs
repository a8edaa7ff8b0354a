//! One file a subcommand, wiring only; here the one place that knows which is which, and the runtimes they run on.

mod cancel;
mod completions;
pub mod download;
pub mod link;
mod man;
mod run;
mod resume;
mod signals;
mod status;
mod unfinished;

pub use signals::Signals;

use crate::config::{self, Command};
use crate::engine::Stop;
use crate::event::Observer;
use crate::fault::{Fault, Kind};
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
        Command::Man => man::run(),
        Command::Cancel(settings) => on_one_thread(cancel::run(settings, report)),
        Command::Status(settings) => status::run(&settings, &*observer),
        _ => {
            let _ = (observer, stop);
            Err(Fault::new(Kind::Other, "this command is still being built"))
        }
    }
}

/// Runs `work` on a runtime of this thread alone, which is the fastest there is for a few connections.
fn on_one_thread<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new(Kind::Other, format!("the runtime cannot start: {error}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// How the settings want events to be shown.
pub fn choice(show: config::Show) -> Choice {
    let style = match show.progress {
        config::Progress::Bars => Style::Bars,
        config::Progress::Plain => Style::Plain,
        config::Progress::Json => Style::Json,
        config::Progress::None => Style::None,
    };
    Choice { style, quiet: show.quiet, verbose: show.verbose > 0 }
}
