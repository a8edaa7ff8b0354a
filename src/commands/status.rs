//! `onward status`: what is unfinished, read from the records alone.

use super::unfinished::{self, Search, Unfinished};
use crate::config::Status;
use crate::disk;
use crate::event::{Event, Observer};
use crate::fault::Fault;
use crate::record::{Kind, Record};
use crate::report::{self, NO_FILE, Row};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Lists what is unfinished.
pub fn run(settings: &Status, observer: &dyn Observer) -> Result<(), Fault> {
    let Search { found, problems } = unfinished::find(&settings.paths, settings.recursive);
    let now = SystemTime::now();
    match settings.json {
        true => {
            let lines = found.iter().map(|one| format!("{}\n", object(one, now)));
            report::text(lines.collect::<String>().as_bytes())?;
        }
        false if found.is_empty() && !problems.is_empty() => {}
        false => report::table(&found.iter().map(|one| row(one, now)).collect::<Vec<_>>())?,
    }
    for problem in problems {
        observer.on(NO_FILE, &Event::Failed(problem));
    }
    Ok(())
}

fn row(one: &Unfinished, now: SystemTime) -> Row {
    let file = disk::shown(&name(one));
    let Some(record) = one.record() else {
        return Row { file, state: one.problem().unwrap_or_default().to_string(), ..Row::default() };
    };
    Row {
        file,
        way: way(record.kind),
        done: record.held(disk::boot_id()).len(),
        total: record.length,
        age: Some(age(record, now)),
        state: state(one, record),
        remote: one.remote().unwrap_or_default(),
    }
}

/// The file; of one that is received the name it is to have, for on the disk it has that of its secret URL.
fn name(one: &Unfinished) -> PathBuf {
    match one.record() {
        Some(record) if record.kind == Kind::Receive => PathBuf::from(&record.file),
        _ => one.file().to_path_buf(),
    }
}

fn way(kind: Kind) -> &'static str {
    match kind {
        Kind::Download => "download",
        Kind::Upload => "upload",
        Kind::Receive => "receive",
    }
}

fn age(record: &Record, now: SystemTime) -> Duration {
    now.duration_since(record.updated).unwrap_or_default()
}

fn state(one: &Unfinished, record: &Record) -> String {
    if let Some(doubt) = one.problem() {
        return format!("not trusted: {doubt}");
    }
    match record.owner.as_ref().filter(|owner| unfinished::is_alive(record, owner)) {
        Some(owner) if owner.host == disk::host_name() => format!("running, pid {}", owner.pid),
        Some(owner) => format!("running on {}, pid {}", owner.host, owner.pid),
        None if !record.needs.is_empty() => format!("stopped, wants {}", record.needs.join(" ")),
        None => "stopped".into(),
    }
}

/// The JSON form: bytes as integers, `age` in seconds; what is not known is null.
fn object(one: &Unfinished, now: SystemTime) -> Value {
    let record = one.record();
    let owner = record.and_then(|record| {
        let owner = record.owner.as_ref()?;
        let alive = unfinished::is_alive(record, owner);
        Some(json!({"host": owner.host, "pid": owner.pid, "alive": alive}))
    });
    json!({
        "v": 1,
        "file": name(one).to_string_lossy(),
        "record": one.sidecar.to_string_lossy(),
        "direction": record.map(|record| way(record.kind)),
        "remote": one.remote(),
        "done": record.map(|record| record.held(disk::boot_id()).len()),
        "total": record.and_then(|record| record.length),
        "updated": record.map(|record| humantime::format_rfc3339_seconds(record.updated).to_string()),
        "age": record.map(|record| age(record, now).as_secs()),
        "needs": record.map(|record| &record.needs),
        "owner": owner,
        "problem": one.problem(),
    })
}
