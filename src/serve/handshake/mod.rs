//! The chunk-index handshake, the server's end: each request of the protocol is one function in this folder. The grammar is in
//! `wire::handshake`, what is kept in `store`, the end of an upload in `check`.

mod begin;
mod finish;
mod join;
mod send;

use super::Site;
use super::check;
use super::connection::Inbound;
use super::ietf;
use super::receipt::Receipt;
use super::reply::{self, Answer, Reply, field, refuse, retry_after};
use super::store::Store;
use super::tus;
use super::upload::{Candidate, Phase, Upload};
use crate::byteset::IndexSet;
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::partial::PartialFile;
use crate::record::IfExists;
use crate::wire::handshake::{
    Begin, ChunkDigests, DIGESTS, Digests, HANDSHAKE, Id, LIMITS, Limits, MAX_REQUEST, Offer, Place, Problem, Reason,
    State, Status, VERSION, read_digests_query,
};
use crate::wire::{names, percent};
use http::header::{ALLOW, HeaderName, LOCATION};
use http::request::Parts;
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// Where uploads are, below the base.
pub const UPLOADS: &str = ".onward/uploads/";
/// The largest chunk taken, in bytes.
const CHUNK_MAX: u64 = 4 << 30;

/// A refusal on its way to become a reply.
type Outcome<T> = Result<T, Box<Problem>>;

fn refused(problem: Box<Problem>) -> Box<Reply> {
    let mut reply = reply::problem(&problem);
    match problem.reason() {
        Some(Reason::TooMany) => retry_after(&mut reply, Duration::from_secs(60)),
        Some(Reason::Busy) => retry_after(&mut reply, Duration::from_secs(1)),
        Some(Reason::Unavailable) => retry_after(&mut reply, Duration::from_secs(5)),
        _ => {}
    }
    Box::new(reply)
}

fn problem<T>(reason: Reason, detail: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Problem::new(reason, detail)))
}

/// *discover*: which protocol this is, and its limits.
pub fn discover(site: &Site) -> Reply {
    let mut reply = reply::empty(StatusCode::NO_CONTENT);
    field(&mut reply, ALLOW, site.methods());
    if !site.rules.read_only {
        tus::announce(site, &mut reply);
        ietf::announce(site, &mut reply);
        let limits =
            Limits { chunk_max: Some(CHUNK_MAX), file_max: site.rules.max_file_size, digests: DIGESTS.to_vec() };
        field(&mut reply, HeaderName::from_static(HANDSHAKE), VERSION);
        field(&mut reply, HeaderName::from_static(LIMITS), &limits.to_field());
    }
    reply
}

fn store(site: &Site) -> Result<&Arc<Store>, Box<Reply>> {
    site.store.as_ref().ok_or_else(|| refuse(Reason::Forbidden, "this server takes no uploads"))
}

/// Reads a document of the protocol.
async fn document<T: serde::de::DeserializeOwned>(inbound: &mut Inbound) -> Result<T, Box<Reply>> {
    let text = inbound.document(MAX_REQUEST).await?;
    serde_json::from_slice(&text)
        .map_err(|e| refuse(Reason::BadRequest, format!("the document is not understood: {e}")))
}

/// *begin*: `POST` to the folder `folder` (the URL's path behind the base).
pub async fn begin(site: &Site, domain: &str, folder: &str, inbound: &mut Inbound) -> Answer {
    let store = store(site)?;
    let begin: Begin = document(inbound).await?;
    let bad = |e| refuse(Reason::BadName, format!("{e}"));
    let folder = folder_name(folder).ok_or_else(|| refuse(Reason::BadName, "files cannot be put into this folder"))?;
    names::parts(&begin.name).map_err(bad)?;
    let target = check::parts_of(&folder, &begin.name);
    names::parts(&target.join("/")).map_err(bad)?;
    let handler = Handler { site, store, domain };
    let (status, upload) = handler.begin(folder, begin, &target).await.map_err(refused)?;
    let _use = upload.in_use();
    let document = handler.status(&upload).await.map_err(refused)?;
    let mut reply = reply::json(status, &document);
    field(&mut reply, LOCATION, &document.upload);
    Ok(reply)
}

/// The folder that a URL's path names, as a name; `None` for what is no ordinary folder.
pub fn folder_name(path: &str) -> Option<String> {
    let (parts, _) = super::root::path_parts(path)?;
    let texts: Vec<&str> = parts.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let name = texts.join("/");
    // The rules for names hold for folders too.
    (name.is_empty() || names::parts(&format!("{name}/x")).is_ok()).then_some(name)
}

/// A request below the URL of upload `id`.
pub async fn answer(
    site: &Site,
    domain: &str,
    id: &Id,
    place: Place,
    request: &Parts,
    inbound: &mut Inbound,
) -> Answer {
    let store = store(site)?;
    let unknown = || {
        let problem = Problem::new(Reason::UnknownUpload, "it was given up, has expired, or never was");
        Box::new(reply::problem(&problem.hint("begin the upload again")))
    };
    let upload = store.find(id, domain).filter(|upload| upload.head.line.is_none()).ok_or_else(unknown)?;
    let _use = upload.in_use();
    let handler = Handler { site, store, domain };
    let patience = finish::patience(request, site.rules.patience);
    match (place, &request.method) {
        (Place::Upload, &Method::DELETE) => handler.give_up(&upload).await.map_err(refused),
        (Place::Upload, _) => handler.ask(&upload).await.map_err(refused),
        (Place::Chunk(index), _) => handler.send(&upload, index, request, inbound).await.map_err(refused),
        (Place::Digests, _) => handler.compare(&upload, request.uri.query()).await.map_err(refused),
        (Place::Identity, _) => {
            let identity = document(inbound).await?;
            handler.identify(&upload, identity, patience).await.map_err(refused)
        }
        (Place::Complete, _) => {
            let complete = document(inbound).await?;
            handler.finish(&upload, complete, patience).await.map_err(refused)
        }
    }
}

struct Handler<'a> {
    site: &'a Site,
    store: &'a Arc<Store>,
    domain: &'a str,
}

impl Handler<'_> {
    /// The status document as of now.
    async fn status(&self, upload: &Arc<Upload>) -> Outcome<Status> {
        let head = &upload.head;
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let (state, held) = match (&*phase, file) {
            (Phase::Done(receipt), _) => return Ok(self.finished(upload, receipt)),
            (Phase::Checking(..), Some(file)) => (State::Verifying, file.held()),
            (_, Some(file)) => {
                let held = file.held();
                (if held.is_empty() { State::New } else { State::Partial }, held)
            }
            (_, None) => return problem(Reason::UnknownUpload, "it is gone"),
        };
        drop(phase);
        let (have, within) = Status::sets(&head.layout, &held);
        let other = upload.facts().offer.as_ref().map(|offered| Offer {
            state: match offered.candidate {
                Candidate::Finished(_) => State::Complete,
                Candidate::Unfinished(_) => State::Partial,
            },
            nonce: offered.nonce.clone(),
            ranges: offered.ranges.clone(),
        });
        let mut status = self.bare(upload, state);
        (status.have, status.within, status.other) = (have, within, other);
        Ok(status)
    }

    fn finished(&self, upload: &Arc<Upload>, receipt: &Receipt) -> Status {
        let mut status = self.bare(upload, State::Complete);
        status.have = IndexSet::of(ByteRange::new(0, upload.head.layout.count()));
        let path: Vec<String> = receipt.path.split('/').map(|part| percent::encode(part.as_bytes(), "-._~")).collect();
        status.file = Some(format!("{}{}", self.site.base, path.join("/")));
        status.digests = receipt.digests.clone();
        status
    }

    /// A status document that says nothing of bytes.
    fn bare(&self, upload: &Arc<Upload>, state: State) -> Status {
        let head = &upload.head;
        Status {
            upload: format!("{}{UPLOADS}{}", self.site.base, head.id),
            state,
            have: IndexSet::new(),
            within: Default::default(),
            size: head.layout.length(),
            chunk_size: head.layout.chunk_size(),
            name: head.name.clone(),
            file: None,
            expires: Some(humantime::format_rfc3339_seconds(self.store.expires(upload)).to_string()),
            other: None,
            digests: Digests::default(),
            joined: false,
        }
    }

    /// *ask*.
    async fn ask(&self, upload: &Arc<Upload>) -> Outcome<Reply> {
        Ok(reply::json(StatusCode::OK, &self.status(upload).await?))
    }

    /// *give up*.
    async fn give_up(&self, upload: &Arc<Upload>) -> Outcome<Reply> {
        upload.stop_writers().await;
        match self.store.give_up(upload).await? {
            true => Ok(reply::empty(StatusCode::NO_CONTENT)),
            false => problem(Reason::Busy, "the upload is being worked on"),
        }
    }

    /// *compare*.
    async fn compare(&self, upload: &Arc<Upload>, query: Option<&str>) -> Outcome<Reply> {
        let Some(asked) = query.and_then(read_digests_query) else {
            return problem(Reason::BadRequest, "the query is ?chunks= and a list of runs");
        };
        let mut phase = upload.phase.lock().await;
        let Some(file) = self.store.file(upload, &mut phase).await? else {
            return problem(Reason::BadRequest, "the upload is complete; the file's digests are in its status");
        };
        drop(phase);
        let layout = upload.head.layout;
        let (mut chunks, mut digests) = (IndexSet::new(), Vec::new());
        let all = ByteRange::new(0, layout.count());
        for index in asked.within(all).runs().flat_map(|run| run.start..run.end) {
            if let Some(crc) = file.sum(layout.range(index)) {
                chunks.insert(ByteRange::new(index, index + 1));
                digests.push(crc.digest().hex());
            }
        }
        let algorithm = Algorithm::Crc64Nvme.name().to_string();
        Ok(reply::json(StatusCode::OK, &ChunkDigests { algorithm, chunks, digests }))
    }
}

/// Writes the changed facts into the record.
fn note_facts(file: &PartialFile, if_exists: IfExists, md5: Option<Digest>) {
    file.edit(|record| {
        record.if_exists = if_exists;
        if let Some(md5) = md5 {
            record.session.insert("md5".into(), md5.hex().into());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_files_may_be_put_into() {
        for (path, name) in [("", Some("")), ("a/b/", Some("a/b")), ("a%20b", Some("a b"))] {
            assert_eq!(folder_name(path).as_deref(), name);
        }
        for bad in
            ["..", "a/../b", ".onward/", "a//b", "%00", ".ssh", "%ff", "a%2fb", "x.partial/", "a/x.partial.toml/"]
        {
            assert_eq!(folder_name(bad), None, "{bad}");
        }
    }
}
