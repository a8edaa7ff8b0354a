//! `onward upload`, and the upload half of `resume` and `cancel`: settings become jobs for the engine.

use crate::chunk::DEFAULT_CHUNK;
use crate::commands::link;
use crate::commands::run::{self, Deadline};
use crate::config::{Cancel, Link, Send, Upload};
use crate::disk::shown;
use crate::engine::Stop;
use crate::engine::pace::Pace;
use crate::engine::push::{self, Ground, Job};
use crate::event::{Event, FileId, Observer};
use crate::fault::{Fault, Kind};
use crate::record::Record;
use crate::remote::{Destination, Manner, Remotes, Wish};
use crate::wire::names;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::JoinSet;
use url::Url;

/// Files that are small enough to count as nothing go out this many at a time.
const SMALL_AT_ONCE: usize = 8;

/// Uploads all files of `settings`. What becomes of each is told to `observer`; a failed one never stops the others.
pub fn run(settings: Upload, observer: &Arc<dyn Observer>, stop: &Stop) -> Result<(), Fault> {
    link::for_one_origin(&settings.link, settings.files.iter().map(|send| (&send.dest, send.needs.as_deref())))?;
    run::block_on_until(stop, all(&settings, observer, stop))
}

async fn all(settings: &Upload, observer: &Arc<dyn Observer>, stop: &Stop) -> Result<(), Fault> {
    let deadline = Deadline::start(&settings.link, stop);
    let ground = Rc::new(ground(&settings.link, settings.manner.clone(), observer, stop));
    let mut waiting: VecDeque<(FileId, &Send)> = (settings.first..).zip(&settings.files).collect();
    let (mut running, mut large, mut small) = (JoinSet::new(), 0, 0);
    loop {
        while let Some((file, send)) = waiting.front() {
            let is_small = std::fs::metadata(&send.source).is_ok_and(|meta| meta.len() < DEFAULT_CHUNK);
            let (count, most) = match is_small {
                true => (&mut small, SMALL_AT_ONCE),
                false => (&mut large, settings.work.jobs.max(1) as usize),
            };
            if *count >= most {
                break;
            }
            if let Some(job) = job(*file, send, settings, &*ground.observer) {
                *count += 1;
                let (ground, deadline) = (ground.clone(), deadline.clone());
                running.spawn_local(async move {
                    one(&job, &ground, &deadline).await;
                    is_small
                });
            }
            waiting.pop_front();
        }
        match running.join_next().await {
            Some(Ok(true)) => small -= 1,
            Some(Ok(false)) => large -= 1,
            Some(Err(e)) => return Err(Fault::new(Kind::Other, format!("an upload ended by itself: {e}"))),
            None => return Ok(()),
        }
    }
}

async fn one(job: &Job, ground: &Ground, deadline: &Deadline) {
    let event = match push::run(job, ground).await {
        Ok(outcome) => Event::Done(outcome),
        Err(fault) => Event::Failed(deadline.name(fault)),
    };
    ground.observer.on(job.file, &event);
}

/// Makes the server of `record` forget its upload. The record itself is the caller's to remove.
pub fn forget(record: &Record, settings: &Cancel, observer: &Arc<dyn Observer>, stop: &Stop) -> Result<(), Fault> {
    let through = &settings.link;
    let mut url: Url =
        record.url.parse().map_err(|_| Fault::new(Kind::Local, "the record's destination is not a URL"))?;
    let access = link::access(&link::needed(through, Some(&record.needs)), &mut url)?;
    run::block_on(async {
        let deadline = Deadline::start(through, stop);
        let manner = Manner { fields: settings.fields.clone(), ..Manner::default() };
        let ground = ground(through, manner, observer, stop);
        push::abandon(Destination { url, base: None, access }, record, &ground)
            .await
            .map_err(|fault| deadline.name(fault))
    })?
}

fn ground(through: &Link, manner: Manner, observer: &Arc<dyn Observer>, stop: &Stop) -> Ground {
    let net = Rc::new(link::net(through, observer));
    Ground {
        remotes: Rc::new(Remotes::new(net, manner).remembering()),
        pace: Pace::new(through.limit_rate),
        observer: observer.clone(),
        stop: stop.clone(),
        policy: run::policy(through),
        hosts: Rc::default(),
    }
}

/// The engine's job for one file; `None`, and told, when there is none.
fn job(file: FileId, send: &Send, settings: &Upload, observer: &dyn Observer) -> Option<Job> {
    let name = send.source.file_name().unwrap_or_default().to_string_lossy();
    if names::ours(&name) {
        let text = format!("{} is skipped: it belongs to an unfinished transfer", shown(&send.source));
        observer.on(file, &Event::Warning { text });
        return None;
    }
    match prepared(file, send, settings) {
        Ok(job) => Some(job),
        Err(fault) => {
            observer.on(file, &Event::Failed(fault));
            None
        }
    }
}

fn prepared(file: FileId, send: &Send, settings: &Upload) -> Result<Job, Fault> {
    if send.source.as_os_str() == "-" {
        let text = "what comes through a pipe cannot be uploaded yet: it could not be read again after an interruption";
        return Err(Fault::new(Kind::Usage, text).hint("save it to a file and upload that"));
    }
    if send.source.is_dir() {
        let text = format!("{} is a folder, and only files can be uploaded yet", shown(&send.source));
        return Err(Fault::new(Kind::Usage, text).hint("give its files, as in `onward upload FOLDER/* URL/`"));
    }
    let mut url = send.dest.clone();
    let access = link::access(&link::needed(&settings.link, send.needs.as_deref()), &mut url)?;
    let mut base = send.base.clone();
    if let Some(base) = &mut base {
        // The login in it is in `access`, too.
        let _ = (base.set_username(""), base.set_password(None));
    }
    Ok(Job {
        file,
        source: send.source.clone(),
        destination: Destination { url, base, access },
        existing: send.existing,
        chunk_size: settings.work.chunk_size,
        connections: settings.work.connections,
        no_restart: settings.work.no_restart,
        trust: send.trust,
        protocol: match settings.manner.protocol {
            Wish::Auto => None,
            Wish::Only(protocol) => Some(protocol.name()),
        },
        restart: settings.restart,
        assume: settings.assume,
        digest: settings.digest,
    })
}
