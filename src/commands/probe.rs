//! `onward probe`: one URL after the other, each looked at by the engine and told by the report.

use super::link;
use super::run::{Deadline, block_on};
use crate::config::Probe;
use crate::engine::Stop;
use crate::engine::probe::{Order, probe};
use crate::fault::{Fault, Kind};
use crate::net::{self, Net};
use crate::report;

/// Probes all URLs of `settings`. Whatever a server does is a finding, not a failure.
pub fn run(settings: &Probe, stop: &Stop) -> Result<(), Fault> {
    block_on(all(settings, stop))?
}

async fn all(settings: &Probe, stop: &Stop) -> Result<(), Fault> {
    let deadline = Deadline::start(&settings.link, stop);
    let net = Net::new(link::options(&settings.link));
    for url in &settings.urls {
        let mut url = url.clone();
        let access = link::access(&settings.link, &mut url)?;
        let shown = net::shown(&url);
        let order = Order { url, access, speed: settings.speed };
        let found = tokio::select! {
            found = probe(&net, &order) => found,
            () = stop.wait() => return Err(deadline.name(Fault::new(Kind::Interrupted, "stopped"))),
        };
        report::text(
            match settings.json {
                true => format!("{}\n", report::probe::object(&shown, &found)),
                false => report::probe::page(&shown, &found),
            }
            .as_bytes(),
        )?;
    }
    Ok(())
}
