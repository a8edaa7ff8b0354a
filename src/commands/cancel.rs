//! `onward cancel`: forgets unfinished transfers. The other side is told first, so that nothing is left there that
//! nobody remembers; then the record goes, and a download's data. An upload's source is never touched.

use super::link;
use super::resume::{is_trusted, is_wanted, usable};
use super::unfinished::{self, Search, Unfinished};
use crate::config::{Cancel, parse_url};
use crate::disk::{self, shown};
use crate::event::{Event, Observer};
use crate::fault::{Fault, Kind as FaultKind};
use crate::net::Net;
use crate::partial::record_file::RecordFile;
use crate::partial::{Place, Slot, record_file};
use crate::record::Kind;
use crate::remote::{self, Destination, Session};
use crate::report::{NO_FILE, Report};
use std::rc::Rc;

/// Forgets what `settings` name; a failure with one does not stop the others.
pub async fn run(settings: Cancel, report: &Report) -> Result<(), Fault> {
    let Search { found, problems } = unfinished::find(&settings.paths, false);
    if found.is_empty() && problems.is_empty() {
        report.note("nothing is unfinished here");
    }
    let net = Rc::new(Net::new(link::options(&settings.link)));
    let mut faults = problems;
    for one in &found {
        match forget(one, &settings, net.clone()).await {
            Ok(true) => report.note(&format!("forgotten: {}", shown(&one.file()))),
            Ok(false) => {}
            Err(fault) => faults.push(fault),
        }
    }
    faults.into_iter().for_each(|fault| report.on(NO_FILE, &Event::Failed(fault)));
    Ok(())
}

/// Forgets one transfer; `false` when it is not one of those asked for.
async fn forget(one: &Unfinished, settings: &Cancel, net: Rc<Net>) -> Result<bool, Fault> {
    match one.record().map(|record| record.kind) {
        Some(Kind::Upload) => forget_upload(one, settings, net).await,
        Some(Kind::Receive) => Err(Fault::new(
            FaultKind::Usage,
            format!("{} belongs to an upload that `onward serve` receives", shown(&one.sidecar)),
        )
        .hint("its sender can cancel it; otherwise it expires")),
        // Removing a record follows nothing it says, so it does not matter who wrote it.
        Some(Kind::Download) | None => forget_download(one).map(|()| true),
    }
}

fn forget_download(one: &Unfinished) -> Result<(), Fault> {
    let place = Place { trust: true, ..Place::beside(&one.file()) };
    let (data, sidecar) = (place.data.clone(), place.sidecar.clone());
    let slot = Slot::take(place)?;
    disk::remove(&sidecar)?;
    disk::remove(&data)?;
    slot.release();
    Ok(())
}

async fn forget_upload(one: &Unfinished, settings: &Cancel, net: Rc<Net>) -> Result<bool, Fault> {
    let trust = is_trusted(one, &settings.trust);
    let record = usable(one, trust, "would have us")?;
    if !is_wanted(record, &settings.to) {
        return Ok(false);
    }
    let mut place = record_file::Place::of_sidecar(&one.sidecar, record)
        .ok_or_else(|| Fault::new(FaultKind::Local, format!("{} fits no source", shown(&one.sidecar))))?;
    place.trust = trust;
    let file = RecordFile::at(place)?;
    let mut url = parse_url(&record.url)?;
    let access = link::access(&settings.link, &mut url)?;
    let session = Session(record.session.clone());
    let told = async {
        let remote = remote::choose(net, Destination { url, access }, Some(&session)).await?;
        remote.abandon(&session).await
    };
    told.await.map_err(|fault: Fault| {
        fault
            .kept("the record stays, so that it can be tried again")
            .hint(format!("to forget it here alone, remove {}", shown(&one.sidecar)))
    })?;
    file.remove()?;
    Ok(true)
}
