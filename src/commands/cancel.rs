//! `onward cancel`: forgets unfinished transfers. The other side is told first, so that nothing is left there that
//! nobody remembers; then the record goes, and a download's data. An upload's source is never touched.

use super::resume::{Deed, is_trusted, is_wanted, usable};
use super::unfinished::{self, Search, Unfinished};
use super::{link, upload};
use crate::config::Cancel;
use crate::disk::shown;
use crate::engine::Stop;
use crate::event::{Event, Observer};
use crate::fault::{Fault, Kind as FaultKind};
use crate::partial::record_file::RecordFile;
use crate::partial::{Place, Slot, record_file};
use crate::record::Kind;
use crate::report::{NO_FILE, Report};
use std::sync::Arc;
use url::Url;

/// Forgets what `settings` name; a failure with one does not stop the others.
pub fn run(settings: &Cancel, report: &Arc<Report>, stop: &Stop) -> Result<(), Fault> {
    let Search { found, problems } = unfinished::find(&settings.paths, false);
    if found.is_empty() && problems.is_empty() {
        report.note("nothing is unfinished here");
    }
    let observer: Arc<dyn Observer> = report.clone();
    let uploads = found.iter().filter_map(Unfinished::record).filter(|record| record.kind == Kind::Upload);
    let urls: Vec<(Url, &[String])> = uploads
        .filter(|record| is_wanted(record, &settings.to))
        .filter_map(|record| Some((record.url.parse().ok()?, &record.needs[..])))
        .collect();
    link::for_one_origin(&settings.link, urls.iter().map(|(url, needs)| (url, Some(*needs))))?;
    let mut faults = problems;
    for one in &found {
        match forget(one, settings, &observer, stop) {
            Ok(true) => report.note(&format!("forgotten: {}", shown(&one.file()))),
            Ok(false) => {}
            Err(fault) => faults.push(fault),
        }
    }
    faults.into_iter().for_each(|fault| observer.on(NO_FILE, &Event::Failed(fault)));
    Ok(())
}

/// Forgets one transfer; `false` when it is not one of those asked for.
fn forget(one: &Unfinished, settings: &Cancel, observer: &Arc<dyn Observer>, stop: &Stop) -> Result<bool, Fault> {
    match one.record().map(|record| record.kind) {
        Some(Kind::Upload) => forget_upload(one, settings, observer, stop),
        Some(Kind::Receive) => Err(Fault::new(
            FaultKind::Usage,
            format!("{} belongs to an upload that `onward serve` receives", shown(&one.sidecar)),
        )
        .hint("its sender can cancel it; otherwise it expires")),
        // Removing a record follows nothing it says, so it does not matter who wrote it.
        Some(Kind::Download) | None => forget_download(one, observer).map(|()| true),
    }
}

fn forget_download(one: &Unfinished, observer: &Arc<dyn Observer>) -> Result<(), Fault> {
    let place = Place { trust: true, ..Place::beside(&one.file()) };
    if let Some(parked) = Slot::take(place)?.forget()? {
        let text = format!("{}, which an earlier start had left, is removed too", shown(&parked));
        observer.on(NO_FILE, &Event::Warning { text });
    }
    Ok(())
}

fn forget_upload(
    one: &Unfinished,
    settings: &Cancel,
    observer: &Arc<dyn Observer>,
    stop: &Stop,
) -> Result<bool, Fault> {
    let trust = is_trusted(one, &settings.trust);
    let record = usable(one, trust, Deed::Cancel)?;
    if !is_wanted(record, &settings.to) {
        return Ok(false);
    }
    let mut place = record_file::Place::of_sidecar(&one.sidecar, record)
        .ok_or_else(|| Fault::new(FaultKind::Local, format!("{} fits no source", shown(&one.sidecar))))?;
    place.trust = trust;
    let file = RecordFile::at(place)?;
    upload::forget(record, settings, observer, stop).map_err(|fault| {
        let here = format!("to forget it here alone, remove {}", shown(&one.sidecar));
        fault.kept("the record stays, so that it can be tried again").hint(here)
    })?;
    file.remove()?;
    Ok(true)
}
