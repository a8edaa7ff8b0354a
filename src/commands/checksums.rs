//! `--checksum-file`: the list is read or fetched once, and every file must be found in it before a byte moves.

use super::link;
use crate::config::{ChecksumFile, Download, Fetch, Link};
use crate::disk;
use crate::engine::pull::Tools;
use crate::engine::retry::{Backoff, Next, jitter};
use crate::event::{Event, FileId};
use crate::fault::{Fault, Kind};
use crate::net::{self, Access, Net, Request, same_origin};
use crate::source::http::Http;
use crate::source::{Answer, Ask, Source};
use crate::wire::checksum_file::{self, Entry, Missing};
use crate::wire::filename;
use http::Method;
use std::rc::Rc;
use url::Url;

/// A longer list than this is refused, in bytes.
const LARGEST: usize = 32 << 20;
/// So many of the names that a list does have are shown when the one looked for is missing.
const SHOWN: usize = 3;

/// Gives every file of `settings` its digest by the checksum file, where there is one.
pub async fn look_up(settings: &mut Download, net: &Rc<Net>, tools: &Tools) -> Result<(), Fault> {
    let Some(list) = settings.checksum_file.take() else { return Ok(()) };
    let (place, text) = match &list {
        ChecksumFile::Text { name, text } => (name.clone(), text.clone().into_bytes()),
        ChecksumFile::Url(url) => (net::shown(url), fetch(settings, url.clone(), net, tools).await?),
    };
    let named = list.name();
    let entries = checksum_file::parse(&text, &named);
    for index in 0..settings.files.len() {
        let digest = find(&entries, &settings.files[index], &settings.link, net).await;
        let digest = digest.map_err(|missing| explain(missing, &entries, &settings.files[index], &place))??;
        let fetch = &mut settings.files[index];
        fetch.checksum = Some(digest);
        fetch.checksum_by = Some(named.clone());
    }
    Ok(())
}

/// The list behind a URL. What the user gave for the files' own origin does not go elsewhere.
async fn fetch(settings: &Download, mut url: Url, net: &Net, tools: &Tools) -> Result<Vec<u8>, Fault> {
    let at_home = settings.files.iter().any(|fetch| same_origin(&fetch.url, &url));
    let access = match at_home {
        true => link::access(&settings.link, &mut url)?,
        false => link::access(&link::elsewhere(&settings.link), &mut url)?,
    };
    let mut backoff = Backoff::new(tools.policy);
    loop {
        let fault = tokio::select! {
            text = once(&url, &access, net) => match text {
                Ok(text) => return Ok(text),
                Err(fault) => fault,
            },
            () = tools.stop.wait() => return Err(Fault::new(Kind::Interrupted, "stopped before it began")),
        };
        let Next::Wait(wait) = backoff.after(&fault, jitter()) else { return Err(fault) };
        let attempt = backoff.failed();
        tools.observer.on(settings.first as FileId, &Event::Retry { error: fault, wait, attempt });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = tools.stop.wait() => return Err(Fault::new(Kind::Interrupted, "stopped before it began")),
        }
    }
}

async fn once(url: &Url, access: &Access, net: &Net) -> Result<Vec<u8>, Fault> {
    let request = Request::new(Method::GET, url.clone()).header(http::header::ACCEPT_ENCODING, "identity");
    let answer = net.fetch(request, access, &mut |_, _, _| {}).await?;
    let status = answer.status.as_u16();
    if status != 200 {
        let text = format!("the checksum file {} cannot be had: the server answered {status}", net::shown(url));
        let fault = Fault::status(status, text);
        return Err(match status {
            401 => fault.hint(net::login_hint(&answer.headers, access.is_login())),
            _ => fault,
        });
    }
    answer.bytes(LARGEST).await.map(Vec::from)
}

type Found = Result<crate::digest::Digest, Fault>;

/// The digest of one file: under the name it is to have, the URL's own, and at last the one the server gives it.
async fn find(entries: &[Entry], fetch: &Fetch, link: &Link, net: &Rc<Net>) -> Result<Found, Missing> {
    let output =
        fetch.output.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let own = [output.clone(), Some(filename::of_url(&fetch.url))];
    let mut missing = Missing::NotListed;
    for name in own.iter().flatten() {
        match checksum_file::digest_for(entries, name) {
            Ok(digest) => return Ok(Ok(digest.clone())),
            Err(Missing::NotListed) => {}
            Err(worse) => missing = worse,
        }
    }
    if missing != Missing::NotListed || output.is_some() {
        return Err(missing);
    }
    let name = match name_by_server(fetch, link, net).await {
        Ok(name) => name,
        Err(fault) => return Ok(Err(fault)),
    };
    checksum_file::digest_for(entries, &name).map(|digest| Ok(digest.clone()))
}

/// What the server calls the file, by an answer whose content is not read.
async fn name_by_server(fetch: &Fetch, link: &Link, net: &Rc<Net>) -> Result<String, Fault> {
    let mut url = fetch.url.clone();
    let access = link::access(link, &mut url)?;
    match Http::new(net.clone(), url, access).ask(Ask::range(0, Some(1))).await? {
        Answer::Part { head, .. } | Answer::Whole { head, .. } | Answer::Beyond { head } => Ok(head.name),
        Answer::Unchanged | Answer::Unfit { .. } => Ok(filename::of_url(&fetch.url)),
    }
}

fn explain(missing: Missing, entries: &[Entry], fetch: &Fetch, place: &str) -> Fault {
    let url = net::shown(&fetch.url);
    let name = match &fetch.output {
        Some(output) => disk::shown(output),
        None => filename::of_url(&fetch.url),
    };
    match missing {
        Missing::NoEntries => Fault::new(Kind::Usage, format!("{place} holds no checksum that onward can read"))
            .hint("lines of sha256sum and its kin and of BSD's tools are known; is it a page about the file?"),
        Missing::Ambiguous => Fault::new(Kind::Usage, format!("{place} has different checksums for {name} ({url})"))
            .hint("give the right one with --checksum ALG:HEX"),
        Missing::NotListed => {
            let names: Vec<String> = entries
                .iter()
                .filter_map(|entry| entry.name.as_ref())
                .take(SHOWN)
                .map(|name| name.escape_debug().to_string())
                .collect();
            let more = if entries.len() > names.len() { ", …" } else { "" };
            Fault::new(Kind::Usage, format!("{place} has no checksum for {name} ({url})")).hint(format!(
                "it lists {}{more}: name the file so with -o, or give --checksum ALG:HEX",
                names.join(", ")
            ))
        }
    }
    .kept("nothing was fetched")
}
