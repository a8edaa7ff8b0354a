//! `onward man`: the manual page, with a section for every subcommand.

use crate::cli;
use crate::fault::{Fault, Kind};
use crate::report;

/// Prints the manual page in roff.
pub fn run() -> Result<(), Fault> {
    let page = page().map_err(|error| Fault::new(Kind::Other, format!("the manual page cannot be made: {error}")))?;
    report::text(&page)
}

/// The manual page in roff.
fn page() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(cli::command()).render(&mut page)?;
    Ok(page)
}
