//! `onward download`: each URL a transfer of its own, all on one thread.

use super::fresh::UrlCommand;
use super::run::{Deadline, block_on_until, policy};
use super::signals::reader_gone;
use super::{checksums, heads, link};
use crate::config::{self, Fetch};
use crate::disk;
use crate::engine::Stop;
use crate::engine::pace::Pace;
use crate::engine::pour::{self, Poured, pour};
use crate::engine::pull::{self, Into, Tools, pull};
use crate::event::{Event, FileId, Observer, Outcome};
use crate::fault::{Fault, Kind};
use crate::net::{self, Lane, Net};
use crate::record::Existing;
use crate::report;
use crate::source::http::Http;
use crate::source::{Answer, Ask, Source};
use crate::units;
use crate::wire::{filename, mask};
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use url::Url;

/// Transfers at once that bytes come for, small ones included.
const AT_ONCE: usize = 16;
/// Transfers at once, those included that have all their bytes and wait for the disk.
const UNDER_WAY: usize = 128;

/// Downloads all that `settings` names. What becomes of each file is told to the observer.
pub fn run(settings: config::Download, observer: &Arc<dyn Observer>, stop: &Stop) -> Result<(), Fault> {
    refuse_doubles(&settings)?;
    link::for_one_origin(&settings.link, settings.files.iter().map(|fetch| (&fetch.url, fetch.needs.as_deref())))?;
    folders(&settings)?;
    let all = all(settings, observer.clone(), stop.clone());
    // As a task: each time the runtime's own future is woken costs a system call.
    block_on_until(stop, async { ended(tokio::task::spawn_local(all).await)? })
}

async fn all(mut settings: config::Download, observer: Arc<dyn Observer>, stop: Stop) -> Result<(), Fault> {
    let deadline = Deadline::start(&settings.link, &stop);
    let mut net = link::net(&settings.link, &observer);
    if let Some(path) = &settings.heads {
        net = net.telling(heads::writer(path, observer.clone())?);
    }
    let net = Rc::new(net);
    let tools = Tools {
        observer: observer.clone(),
        pace: Pace::new(settings.link.limit_rate),
        stop,
        policy: policy(&settings.link),
        least: settings.least,
        records: Rc::default(),
        claims: Rc::default(),
        memory: Rc::default(),
        hosts: Rc::default(),
        large: Arc::new(Semaphore::new(settings.work.jobs.max(1) as usize)),
    };
    if let Err(fault) = checksums::look_up(&mut settings, &net, &tools).await {
        return Err(deadline.name(fault));
    }
    let settings = Rc::new(settings);
    let turns = Arc::new(Semaphore::new(AT_ONCE.max(settings.work.jobs as usize)));
    let mut transfers = JoinSet::new();
    for index in 0..settings.files.len() {
        while transfers.len() >= UNDER_WAY
            && let Some(transfer) = transfers.join_next().await
        {
            ended(transfer)?;
        }
        let turn = turns.clone().acquire_owned().await.ok();
        let (settings, net, tools) = (settings.clone(), net.clone(), tools.clone());
        let (deadline, observer) = (deadline.clone(), observer.clone());
        // On the heap from the start: a task is moved several times before it runs, and this one is large.
        transfers.spawn_local(Box::pin(async move {
            let file = settings.first + index as FileId;
            let fetch = &settings.files[index];
            let event = match one(&settings, fetch, (file, turn), net, &tools).await {
                Ok(Some(outcome)) => Event::Done(outcome),
                Ok(None) => return,
                Err(fault) if flows(&settings, fetch) => Event::Failed(pour::for_good(deadline.name(fault))),
                Err(fault) => Event::Failed(deadline.name(fault)),
            };
            observer.on(file, &event);
        }));
    }
    while let Some(transfer) = transfers.join_next().await {
        ended(transfer)?;
    }
    Ok(())
}

/// A transfer ended; what came of it has been told.
fn ended<T>(joined: Result<T, JoinError>) -> Result<T, Fault> {
    joined.map_err(|e| Fault::new(Kind::Other, format!("a transfer ended early: {e}")))
}

/// One file. `None`: there is no outcome, because it was a dry run or its reader has gone away.
async fn one(
    settings: &config::Download,
    fetch: &Fetch,
    (file, turn): (FileId, Option<OwnedSemaphorePermit>),
    net: Rc<Net>,
    tools: &Tools,
) -> Result<Option<Outcome>, Fault> {
    if tools.stop.tripped() {
        return Err(Fault::new(Kind::Interrupted, "stopped before it began"));
    }
    let mut url = fetch.url.clone();
    let access = link::access(&link::needed(&settings.link, fetch.needs.as_deref()), &mut url)?;
    let mut needs = access.names();
    needs.extend(mask::has_secret(&url).then(|| "url".to_string()));
    let shown = net::shown(&url);
    let name = filename::of_url(&url);
    let mirrors = mirrors(settings, fetch, &net)?;
    // Many small files go well together over one HTTP/2 connection; a single file is faster without its frames.
    let lane = if settings.files.len() > 1 { Lane::Shared } else { Lane::Own };
    let source = source(Http::new(net, url, access).beginning_on(lane), settings, fetch, (file, tools));
    let target = target(settings, fetch);
    if settings.dry_run {
        let target = target.unwrap_or_else(|| settings.dir.join(&name));
        return Box::pin(look(&*source, target)).await.map(|()| None);
    }
    if let Some(path) = target.as_ref().filter(|_| flows(settings, fetch)) {
        let order = pour::Order {
            file,
            source,
            mirrors,
            into: is_stdout(path).then(report::data_out).transpose()?,
            path: path.clone(),
            url: shown,
            strict: settings.strict,
            checksum: fetch.checksum.clone(),
            checksum_by: fetch.checksum_by.clone(),
            connections: settings.work.connections,
            buffer: settings.buffer,
            chunk_size: settings.work.chunk_size,
        };
        return Box::pin(poured(tools, order)).await;
    }
    let existing = existing(settings, fetch, target.as_deref());
    let order = pull::Order {
        file,
        source,
        mirrors,
        url: shown,
        needs,
        name: target.as_ref().map_or(name, |path| disk::shown(Path::new(path.file_name().unwrap_or_default()))),
        into: target.map_or_else(|| Into::Folder(settings.dir.clone()), Into::File),
        chunk_size: settings.work.chunk_size,
        connections: settings.work.connections,
        checksum: fetch.checksum.clone(),
        checksum_by: fetch.checksum_by.clone(),
        existing,
        no_restart: settings.work.no_restart,
        remote_time: settings.remote_time,
        strict: settings.strict,
        trust: fetch.trust,
        adopt: settings.adopt.clone(),
        turn,
    };
    pull(tools, order).await.map(Some)
}

/// The source, with whoever gives a fresh URL when that one has expired.
fn source(http: Http, settings: &config::Download, fetch: &Fetch, own: (FileId, &Tools)) -> Rc<dyn Source> {
    let Some(command) = settings.url_command.clone() else { return Rc::new(http) };
    let secrets = UrlCommand { command, observer: own.1.observer.clone(), file: own.0 };
    Rc::new(http.renewed_by(Rc::new(secrets), !fetch.masked))
}

/// What to do about a file of that name. The beginning that is gone on from gives way to the finished file.
fn existing(settings: &config::Download, fetch: &Fetch, target: Option<&Path>) -> Existing {
    match (&settings.adopt, target) {
        (Some(prefix), Some(path)) if is_one_file(prefix, path) => Existing::Replace,
        _ => fetch.existing,
    }
}

fn is_one_file(a: &Path, b: &Path) -> bool {
    std::fs::canonicalize(a).is_ok_and(|a| std::fs::canonicalize(b).is_ok_and(|b| a == b))
}

async fn poured(tools: &Tools, order: pour::Order) -> Result<Option<Outcome>, Fault> {
    match pour(tools, order).await? {
        Poured::Done(outcome) => Ok(Some(outcome)),
        Poured::ReaderGone => {
            reader_gone();
            Ok(None)
        }
    }
}

/// The mirrors of a file. What the user gave for the URL itself goes to no other origin.
fn mirrors(settings: &config::Download, fetch: &Fetch, net: &Rc<Net>) -> Result<Vec<Rc<dyn Source>>, Fault> {
    let mirror = |url: &Url| {
        let given = link::needed(&settings.link, fetch.needs.as_deref());
        let mut own = url.clone();
        let access = match net::same_origin(url, &fetch.url) {
            true => link::access(&given, &mut own)?,
            false => link::access(&link::elsewhere(&given), &mut own)?,
        };
        Ok(Rc::new(Http::new(net.clone(), own, access)) as Rc<dyn Source>)
    };
    fetch.mirrors.iter().map(mirror).collect()
}

/// Where it goes, if that was said.
fn target(settings: &config::Download, fetch: &Fetch) -> Option<PathBuf> {
    let output = fetch.output.as_ref()?;
    Some(if is_stdout(output) { output.clone() } else { settings.dir.join(output) })
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new(report::STDOUT)
}

/// Whether the file goes to stdout or to something that exists and is neither a regular file nor a folder: that is
/// written to, never renamed over.
fn flows(settings: &config::Download, fetch: &Fetch) -> bool {
    target(settings, fetch).is_some_and(|path| {
        is_stdout(&path) || std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
    })
}

/// Says what a download would do, by one request whose body is not read.
async fn look(source: &dyn Source, target: PathBuf) -> Result<(), Fault> {
    let (head, ranges) = match source.ask(Ask::range(0, None)).await? {
        Answer::Part { head, .. } => (head, "resumable"),
        Answer::Whole { head, .. } => (head, "one stream, not resumable by ranges"),
        Answer::Beyond { head } => (head, "empty"),
        Answer::Unchanged => return Ok(()),
        Answer::Unfit { why } => return report::line(&format!("{}: {why}", source.shown())),
    };
    let length = head.total.map_or("unknown length".to_string(), units::bytes);
    report::line(&format!("{} -> {}: {length}, {ranges}", source.shown(), disk::shown(&target)))
}

/// The folders that files go into are there, or are created where that is asked for.
fn folders(settings: &config::Download) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for fetch in &settings.files {
        let folder = match target(settings, fetch) {
            Some(path) if is_stdout(&path) => continue,
            Some(path) => disk::folder_of(&path),
            None => settings.dir.clone(),
        };
        if !seen.insert(folder.clone()) {
            continue;
        }
        if settings.create_dirs {
            disk::create_dirs(&folder)?;
        } else if !settings.dry_run && std::fs::metadata(&folder).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
            let text = format!("the folder {} is not there", disk::shown(&folder));
            return Err(Fault::new(Kind::Local, text).hint("--create-dirs creates it"));
        }
    }
    Ok(())
}

/// Two arguments that would write one name are refused before a byte moves.
fn refuse_doubles(settings: &config::Download) -> Result<(), Fault> {
    let mut seen: HashMap<PathBuf, &Fetch> = HashMap::new();
    for fetch in &settings.files {
        let target = match &fetch.output {
            Some(output) => settings.dir.join(output),
            None => settings.dir.join(filename::of_url(&fetch.url)),
        };
        if let Some(other) = seen.insert(target.clone(), fetch) {
            let text = format!(
                "{} and {} would both be written to {}",
                net::shown(&other.url),
                net::shown(&fetch.url),
                disk::shown(&target)
            );
            return Err(Fault::new(Kind::Usage, text)
                .hint("download them one by one with -o, or into different folders with -d"));
        }
    }
    Ok(())
}
