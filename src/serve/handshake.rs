//! The chunk-index handshake, the server's end: each request of the protocol is one function here. The grammar is in
//! `wire::handshake`, what is kept in `store`, the end of an upload in `check`.

use super::Site;
use super::check::{self, Content, Order};
use super::connection::{Cut, Inbound};
use super::known::Entry;
use super::piece::{Ground, Piece, Refused};
use super::receipt::Receipt;
use super::reply::{self, Answer, Reply, field, refuse, retry_after};
use super::root::Taken;
use super::store::{Store, in_background};
use super::upload::{Candidate, ChunkTurn, Offered, Over, Phase, Upload};
use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::disk;
use crate::partial::PartialFile;
use crate::record::IfExists;
use crate::wire::content_range::{ContentRange, number};
use crate::wire::handshake::{
    Begin, CONTENT_DIGEST, ChunkDigests, Complete, DIGESTS, Digests, HANDSHAKE, Id, Identity, LIMITS, Limits,
    MAX_PROOF_RANGES, MAX_REQUEST, Offer, Place, Problem, REPLACE, Reason, State, Status, VERSION, proof,
    read_digests_query, wanted,
};
use crate::wire::{names, percent};
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_RANGE, HeaderName, LOCATION};
use http::request::Parts;
use http::{Method, StatusCode};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// Where uploads are, below the base.
pub const UPLOADS: &str = ".onward/uploads/";
/// The largest chunk taken, in bytes.
const CHUNK_MAX: u64 = 4 << 30;
/// A proof asks for ranges of at most so many bytes.
const PROOF_RANGE: u64 = 64 << 10;
/// How long *begin* waits for the digest of a file that has the name.
const EXISTING_PATIENCE: Duration = Duration::from_secs(20);

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
    field(&mut reply, ALLOW, super::METHODS);
    if !site.rules.read_only {
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
fn folder_name(path: &str) -> Option<String> {
    let (parts, _) = super::root::path_parts(path)?;
    let texts: Vec<&str> = parts.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let name = texts.join("/");
    // The rules for names hold for folders too, but for the suffix rule, which is about files.
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
    let upload = store.find(id, domain).ok_or_else(unknown)?;
    let _use = upload.in_use();
    let handler = Handler { site, store, domain };
    let patience = patience(request, site.rules.patience);
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
    /// New, or known by its key.
    async fn begin(&self, folder: String, begin: Begin, target: &[String]) -> Outcome<(StatusCode, Arc<Upload>)> {
        if let Some(upload) = self.store.find_key(&begin.key, self.domain) {
            return self.begin_again(upload, &folder, &begin).await;
        }
        let Some(layout) = begin.layout() else {
            return problem(Reason::BadRequest, "this chunk size gives no chunks or more than 10000");
        };
        let rules = &self.site.rules;
        if rules.max_file_size.is_some_and(|most| begin.size > most) {
            return problem(
                Reason::TooLarge,
                format!("files may have at most {} bytes", rules.max_file_size.unwrap_or(0)),
            );
        }
        if begin.chunk_size > CHUNK_MAX {
            return problem(Reason::TooLarge, format!("chunks may have at most {CHUNK_MAX} bytes"));
        }
        let equal = self.may_take(target, &begin).await?;
        let needed = if equal.is_some() { 0 } else { begin.size };
        if self.store.root.free_space() < needed.saturating_add(rules.min_free) {
            let problem = Problem::new(Reason::NoSpace, "the server has no room for this file");
            return Err(Box::new(problem.hint("try again when there is room, or send it elsewhere")));
        }
        let key = begin.key.clone();
        let upload = self.store.begin(self.domain, folder, &begin, layout).await?;
        if upload.head.key == key && upload.head.name == begin.name {
            self.offer(&upload, begin.join, equal).await;
        }
        Ok((StatusCode::CREATED, upload))
    }

    async fn begin_again(
        &self,
        upload: Arc<Upload>,
        folder: &str,
        begin: &Begin,
    ) -> Outcome<(StatusCode, Arc<Upload>)> {
        let head = &upload.head;
        let same = (head.folder.as_str(), head.name.as_str(), head.layout.length(), head.layout.chunk_size())
            == (folder, begin.name.as_str(), begin.size, begin.chunk_size);
        if !same {
            return problem(Reason::KeyReused, "the key belongs to an upload of another name, size or chunk size");
        }
        let changed = {
            let mut facts = upload.facts();
            let changed = facts.if_exists != begin.if_exists || (begin.md5.is_some() && facts.md5 != begin.md5);
            facts.if_exists = begin.if_exists;
            facts.md5 = begin.md5.clone().or(facts.md5.take());
            changed
        };
        upload.touch(false);
        let mut phase = upload.phase.lock().await;
        if let (true, Some(file)) = (changed, self.store.file(&upload, &mut phase).await?) {
            let (if_exists, md5) = (begin.if_exists, upload.facts().md5.clone());
            note_facts(&file, if_exists, md5);
        }
        drop(phase);
        self.offer(&upload, begin.join, None).await;
        Ok((StatusCode::OK, upload))
    }

    /// Whether an upload may be meant for `target`. Tells what stands there, when it is the very same content.
    async fn may_take(&self, target: &[String], begin: &Begin) -> Outcome<Option<Entry>> {
        let texts: Vec<&str> = target.iter().map(String::as_str).collect();
        let taken = match self.store.root.taken(&texts) {
            Ok(taken) => taken,
            Err(_) => return problem(Reason::BadName, "a part of the name is a symbolic link or no folder"),
        };
        let size = match taken {
            Taken::Free => return Ok(None),
            Taken::Other => {
                return Err(Box::new(Problem::new(Reason::Exists, "something that is no file has this name")));
            }
            Taken::File(_) if begin.if_exists == IfExists::Replace && self.site.rules.allow_overwrite => {
                return Ok(None);
            }
            Taken::File(size) => size,
        };
        let exists = || {
            let hint = match (begin.if_exists, self.site.rules.allow_overwrite) {
                (_, true) => "ask to replace it, or choose another name",
                (_, false) => "choose another name; this server replaces no files",
            };
            let problem = Problem::new(Reason::Exists, "a finished file has this name").hint(hint);
            Box::new(Problem { size: Some(size), ..problem })
        };
        let Some(md5) = begin.md5.as_ref().filter(|_| begin.join && begin.size == size) else { return Err(exists()) };
        let looking = check::content_of(self.store, target.join("/"));
        let entry = match tokio::time::timeout(EXISTING_PATIENCE, looking).await {
            Ok(entry) => entry.ok_or_else(exists)?,
            Err(_) => return problem(Reason::Unavailable, "the file of that name is being read to compare it"),
        };
        // What may not be read by name may not be guessed at either.
        let visible = !self.site.rules.upload_only || entry.domain == self.domain;
        match visible && entry.has_md5(md5) {
            true => Ok(Some(entry)),
            false => Err(exists()),
        }
    }

    /// Looks for equal content and lays an offer beside the upload, in place of an older one.
    async fn offer(&self, upload: &Arc<Upload>, join: bool, equal: Option<Entry>) {
        let md5 = upload.facts().md5.clone();
        let offered = match (join, md5) {
            (true, Some(md5)) => self.candidate(upload, &md5, equal).await,
            _ => None,
        };
        upload.facts().offer = offered;
    }

    async fn candidate(&self, upload: &Arc<Upload>, md5: &Digest, equal: Option<Entry>) -> Option<Offered> {
        let layout = upload.head.layout;
        let finished = equal.or_else(|| self.finished_with(md5, layout.length()));
        if let Some(entry) = finished {
            let ranges = some_of(&ByteSet::of(layout.whole()));
            return Some(Offered { nonce: nonce()?, ranges, candidate: Candidate::Finished(entry) });
        }
        for other in self.store.unfinished_with(md5, &upload.head) {
            let mut phase = other.phase.lock().await;
            if let Ok(Some(file)) = self.store.file(&other, &mut phase).await {
                let held = file.held();
                if !held.is_empty() {
                    let candidate = Candidate::Unfinished(other.head.id.clone());
                    return Some(Offered { nonce: nonce()?, ranges: some_of(&held), candidate });
                }
            }
        }
        None
    }

    fn finished_with(&self, md5: &Digest, size: u64) -> Option<Entry> {
        let there = |entry: &Entry| {
            let parts: Vec<&str> = entry.path.split('/').collect();
            self.store.root.file(&parts).and_then(|file| disk::stamp(&file).ok()).as_ref() == Some(&entry.stamp)
        };
        self.store.known.with_md5(self.domain, md5, size).into_iter().rev().find(there)
    }

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

    /// *send*.
    async fn send(&self, upload: &Arc<Upload>, index: u64, request: &Parts, inbound: &mut Inbound) -> Outcome<Reply> {
        let chunk = upload.head.layout.range(index);
        if chunk.is_empty() {
            return problem(Reason::NotFound, format!("the file has no chunk {index}"));
        }
        let range = piece_range(request, chunk)?;
        let length_fits = inbound.announced().is_none_or(|length| length == range.len());
        if !length_fits {
            return problem(
                Reason::BadRequest,
                format!("{} bytes were announced for a piece of {}", inbound.announced().unwrap_or(0), range.len()),
            );
        }
        if request.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding.as_bytes() != b"identity") {
            return problem(Reason::BadRequest, "pieces are sent as they are, without a Content-Encoding");
        }
        let digests = piece_digests(request)?;
        if self.store.root.free_space() < self.site.rules.min_free {
            return problem(Reason::NoSpace, "the server's disk is full");
        }
        let (ground, turn) = self.enter(upload, index).await?;
        if request.headers.get(REPLACE).is_some_and(|value| value.as_bytes() == b"1") {
            self.replace(&ground, range).await?;
        }
        let file = match &ground {
            Ground::Partial(file) => Some(file.clone()),
            Ground::Finished(_) => None,
        };
        let piece = Piece::new(ground, range, &digests);
        let new = receive(piece, &turn, inbound).await.map_err(|refused| self.not_taken(refused, index))?;
        upload.touch(new);
        if let Some(file) = file {
            self.safe(upload, &file).await?;
        }
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    /// The file to write to and the right to write one chunk of it, taken together: whoever checks the whole looks for
    /// writers under the same lock.
    async fn enter(&self, upload: &Arc<Upload>, index: u64) -> Outcome<(Ground, ChunkTurn)> {
        let turn = upload.turn(index).await?;
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let ground = match (&*phase, file) {
            (_, Some(file)) => Ground::Partial(file),
            (Phase::Done(receipt), None) => {
                let parts: Vec<&str> = receipt.path.split('/').collect();
                let same =
                    |file: &std::fs::File| file.metadata().is_ok_and(|meta| meta.len() == upload.head.layout.length());
                let file = self.store.root.file(&parts).filter(same);
                Ground::Finished(file.ok_or_else(|| Box::new(Problem::new(Reason::Differs, "the upload is complete")))?)
            }
            _ => return problem(Reason::UnknownUpload, "it is gone"),
        };
        Ok((ground, turn))
    }

    /// Forgets what is held of `range`, durably, so that it may be written anew.
    async fn replace(&self, ground: &Ground, range: ByteRange) -> Outcome<()> {
        let Ground::Partial(file) = ground else {
            return problem(Reason::Differs, "the upload is complete");
        };
        match file.held().touches(range) {
            true => file.forget(&ByteSet::of(range)).await.map(drop).map_err(|fault| self.store.trouble(&fault)),
            false => Ok(()),
        }
    }

    /// Waits until all that was accepted survives a power cut. A file whose sync failed is opened anew: what its
    /// record claims is what is left.
    async fn safe(&self, upload: &Arc<Upload>, file: &PartialFile) -> Outcome<()> {
        match file.durable().await {
            Ok(()) => Ok(()),
            Err(fault) => {
                self.store.reopen(upload).await;
                Err(self.store.trouble(&fault))
            }
        }
    }

    fn not_taken(&self, refused: Refused, index: u64) -> Box<Problem> {
        Box::new(match refused {
            Refused::TooLong => Problem::new(Reason::BadRequest, "the body is longer than the piece"),
            Refused::TooShort => Problem::new(Reason::BadRequest, "the body ended before the piece did"),
            Refused::Differs => Problem::new(Reason::Differs, format!("other bytes of chunk {index} are held"))
                .hint("if the source changed, send it with Onward-Replace: 1"),
            Refused::Busy => Problem::new(Reason::Busy, format!("chunk {index} is being written by another request")),
            Refused::Mismatch(told) => {
                Problem::new(Reason::DigestMismatch, format!("the bytes are not those of {told}; none of them count"))
            }
            Refused::Disk(fault) => return self.store.trouble(&fault),
        })
    }

    /// *identify*, and the taking up of an offer.
    async fn identify(&self, upload: &Arc<Upload>, identity: Identity, patience: Duration) -> Outcome<Reply> {
        upload.touch(false);
        if let (Some(nonce), Some(given)) = (&identity.nonce, &identity.proof) {
            return self.join(upload, nonce, given, patience).await;
        }
        let Some(md5) = identity.md5 else { return problem(Reason::BadRequest, "an md5 is needed") };
        let if_exists = {
            let mut facts = upload.facts();
            facts.md5 = Some(md5.clone());
            facts.if_exists
        };
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        drop(phase);
        if let Some(file) = file {
            note_facts(&file, if_exists, Some(md5));
            self.offer(upload, true, None).await;
        }
        self.ask(upload).await
    }

    async fn join(&self, upload: &Arc<Upload>, nonce: &Id, given: &str, patience: Duration) -> Outcome<Reply> {
        let offered = upload.facts().offer.take_if(|offered| offered.nonce == *nonce);
        let Some(offered) = offered else { return problem(Reason::ProofFailed, "there is no such offer (any more)") };
        match &offered.candidate {
            Candidate::Finished(entry) => {
                let parts: Vec<&str> = entry.path.split('/').collect();
                let Some(file) = self.store.root.file(&parts) else {
                    return problem(Reason::ProofFailed, "the equal file is not there any more");
                };
                let read = move |buffer: &mut [u8], at| file.read_exact_at(buffer, at).is_ok();
                proven(&offered, given, read).await?;
                self.adopt(upload, entry.clone(), patience).await
            }
            Candidate::Unfinished(id) => {
                let Some(other) = self.store.find(id, self.domain) else {
                    return problem(Reason::ProofFailed, "the equal upload is not there any more");
                };
                let mut phase = other.phase.lock().await;
                let Some(file) = self.store.file(&other, &mut phase).await? else {
                    return problem(Reason::ProofFailed, "the equal upload has ended; tell the md5 again");
                };
                drop(phase);
                let read = move |buffer: &mut [u8], at| file.read_at(buffer, at).is_ok();
                proven(&offered, given, read).await?;
                other.touch(false);
                let status = Status { joined: true, ..self.status(&other).await? };
                Ok(reply::json(StatusCode::OK, &status))
            }
        }
    }

    /// Lets a finished file's content be this upload's.
    async fn adopt(&self, upload: &Arc<Upload>, entry: Entry, patience: Duration) -> Outcome<Reply> {
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let (Some(file), false) = (file, matches!(*phase, Phase::Checking(..))) else {
            drop(phase);
            return self.ask(upload).await;
        };
        if upload.has_writers() {
            return problem(Reason::Busy, "chunks are being written");
        }
        let Some(md5) = upload.facts().md5.clone() else { return problem(Reason::BadRequest, "an md5 is needed") };
        let order = Order {
            target: check::parts_of(&upload.head.folder, &upload.head.name),
            content: Content::Equal(entry, md5),
        };
        let over = check::start(self.store, upload, &mut phase, file, order);
        drop(phase);
        self.wait(upload, over, StatusCode::OK, patience).await
    }

    /// *finish*.
    async fn finish(&self, upload: &Arc<Upload>, complete: Complete, patience: Duration) -> Outcome<Reply> {
        upload.touch(false);
        let target = self.target(upload, complete.name.as_deref())?;
        if !complete.digests.0.iter().any(|digest| DIGESTS.contains(&digest.algorithm)) {
            return problem(Reason::DigestRequired, "a digest of the whole is needed: crc64nvme, sha-256 or md5");
        }
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let over = match (&mut *phase, file) {
            (Phase::Done(receipt), _) => {
                let status = self.finished(upload, receipt);
                agrees(&complete.digests, &receipt.digests)?;
                return Ok(done(StatusCode::CREATED, &status));
            }
            (Phase::Checking(_, over), _) => over.clone(),
            (Phase::Open(opened), Some(file)) => {
                // The end of a check that nobody waited for: told once, before the same is checked again.
                let (untold, asked) = {
                    let mut facts = upload.facts();
                    (facts.untold.take(), facts.asked.replace(complete.clone()))
                };
                if let Some(problem) = untold.filter(|_| asked.as_ref() == Some(&complete)) {
                    return Err(Box::new(problem));
                }
                let held = file.held();
                if !held.contains(upload.head.layout.whole()) {
                    return Err(check::incomplete(&upload.head.layout, &held));
                }
                if upload.has_writers() {
                    return problem(Reason::Busy, "chunks are being written");
                }
                let (digests, want) = (complete.digests.clone(), wanted(&complete.want));
                let content = Content::Sent { digests, want, follower: opened.follower.take() };
                check::start(self.store, upload, &mut phase, file, Order { target, content })
            }
            _ => return problem(Reason::UnknownUpload, "it is gone"),
        };
        drop(phase);
        self.wait(upload, over, StatusCode::CREATED, patience).await
    }

    fn target(&self, upload: &Arc<Upload>, name: Option<&str>) -> Outcome<Vec<String>> {
        let target = check::parts_of(&upload.head.folder, name.unwrap_or(&upload.head.name));
        let told = name.map_or(Ok(()), |name| names::parts(name.strip_prefix('/').unwrap_or(name)).map(drop));
        match told.and_then(|()| names::parts(&target.join("/")).map(drop)) {
            Ok(()) => Ok(target),
            Err(e) => problem(Reason::BadName, e.to_string()),
        }
    }

    /// Waits a while for the end of a check, then says that it goes on.
    async fn wait(
        &self,
        upload: &Arc<Upload>,
        mut over: Over,
        status: StatusCode,
        patience: Duration,
    ) -> Outcome<Reply> {
        let ended = match tokio::time::timeout(patience, over.wait_for(Option::is_some)).await {
            Ok(ended) => ended.ok().and_then(|verdict| verdict.clone()),
            Err(_) => {
                let mut reply = reply::json(StatusCode::ACCEPTED, &self.bare(upload, State::Verifying));
                retry_after(&mut reply, Duration::from_secs(1));
                return Ok(reply);
            }
        };
        upload.facts().untold = None;
        match ended {
            Some(Ok(())) => Ok(done(status, &self.status(upload).await?)),
            Some(Err(problem)) => Err(Box::new(problem)),
            None => problem(Reason::Server, "the check ended early"),
        }
    }
}

fn done(status: StatusCode, document: &Status) -> Reply {
    let mut reply = reply::json(status, document);
    if let Some(file) = &document.file {
        field(&mut reply, LOCATION, file);
    }
    reply
}

/// Whether the digests of a repeated *finish* are those of the file.
fn agrees(told: &Digests, known: &Digests) -> Outcome<()> {
    let differs = |digest: &&Digest| known.get(digest.algorithm).is_some_and(|known| known != *digest);
    match told.0.iter().find(differs) {
        Some(digest) => problem(Reason::Suspect, format!("the finished file is not {digest}")),
        None => Ok(()),
    }
}

/// How long the client wants the reply to wait for a check, at most `most` (RFC 7240: `respond-async`, `wait=N`).
fn patience(request: &Parts, most: Duration) -> Duration {
    let lines = request.headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let wishes = lines.flat_map(|line| line.split([',', ';'])).map(str::trim);
    let asked = wishes.filter_map(|wish| match wish {
        "respond-async" => Some(Duration::ZERO),
        _ => wish.strip_prefix("wait=").and_then(number).map(Duration::from_secs),
    });
    asked.min().map_or(most, |asked| asked.min(most))
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

/// Which bytes of the file a `PUT` to `chunk` sends.
fn piece_range(request: &Parts, chunk: ByteRange) -> Outcome<ByteRange> {
    let mut fields = request.headers.get_all(CONTENT_RANGE).iter();
    let (Some(value), None) = (fields.next(), fields.next()) else {
        return match request.headers.contains_key(CONTENT_RANGE) {
            true => problem(Reason::BadRequest, "there is more than one Content-Range"),
            false => Ok(chunk),
        };
    };
    match value.to_str().ok().and_then(ContentRange::parse) {
        Some(ContentRange::Part { range, total: Some(total) }) if total == chunk.len() => {
            Ok(ByteRange::new(chunk.start + range.start, chunk.start + range.end))
        }
        _ => problem(Reason::BadRequest, format!("Content-Range must be bytes a-b/{} within the chunk", chunk.len())),
    }
}

/// The digests a `PUT` must come with.
fn piece_digests(request: &Parts) -> Outcome<Vec<Digest>> {
    let lines: Vec<&str> =
        request.headers.get_all(CONTENT_DIGEST).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    let Some(digests) = Digests::from_field(&lines.join(", ")) else {
        return problem(Reason::DigestRequired, "Content-Digest cannot be read");
    };
    let known: Vec<Digest> = digests.0.into_iter().filter(|digest| DIGESTS.contains(&digest.algorithm)).collect();
    match known.is_empty() {
        true => problem(Reason::DigestRequired, "a Content-Digest by crc64nvme, sha-256 or md5 is needed"),
        false => Ok(known),
    }
}

/// Takes a piece from the body, unless a writer in its place has to be let through.
async fn receive(mut piece: Piece, turn: &ChunkTurn, inbound: &mut Inbound) -> Result<bool, Refused> {
    loop {
        let next = tokio::select! {
            biased;
            next = inbound.next() => next,
            () = turn.must_yield() => return Err(Refused::Busy),
        };
        match next {
            Ok(Some(bytes)) => {
                turn.beat();
                piece.take(&bytes)?;
            }
            Ok(None) => return piece.accept(),
            Err(Cut::Gone | Cut::Idle) => return Err(Refused::TooShort),
        }
    }
}

/// Whether the client has the bytes that were offered.
async fn proven(offered: &Offered, given: &str, read: impl Fn(&mut [u8], u64) -> bool + Send + 'static) -> Outcome<()> {
    let (nonce, ranges) = (offered.nonce.clone(), offered.ranges.clone());
    let hashed = in_background(move || {
        let mut hasher = proof(&nonce);
        let mut buffer = vec![0; PROOF_RANGE as usize];
        for range in ranges.runs() {
            let mut at = range.start;
            while at < range.end {
                let block = &mut buffer[..(range.end - at).min(PROOF_RANGE) as usize];
                if !read(block, at) {
                    return Ok(None);
                }
                hasher.update(block);
                at += block.len() as u64;
            }
        }
        Ok(Some(hasher.finish()))
    });
    let given = Digest::from_hex(Algorithm::Sha256, given);
    match hashed.await {
        Ok(Some(expected)) if given.as_ref() == Some(&expected) => Ok(()),
        _ => problem(Reason::ProofFailed, "the proof is not that of the bytes offered"),
    }
}

/// Some ranges of what is held, chosen anew each time so that no proof can be prepared: all of it when it is little.
fn some_of(held: &ByteSet) -> ByteSet {
    let total = held.len();
    if total <= MAX_PROOF_RANGES as u64 * PROOF_RANGE && held.runs().count() <= MAX_PROOF_RANGES {
        return held.clone();
    }
    let mut chosen = ByteSet::new();
    for _ in 0..MAX_PROOF_RANGES {
        let mut bits = [0; 8];
        // Without randomness the ranges are at least spread: a proof still needs their bytes.
        let _ = getrandom::fill(&mut bits);
        let mut skip = u64::from_le_bytes(bits) % total;
        for run in held.runs() {
            if skip < run.len() {
                let start = run.start + skip;
                chosen.insert(ByteRange::new(start, (start + PROOF_RANGE).min(run.end)));
                break;
            }
            skip -= run.len();
        }
    }
    chosen
}

fn nonce() -> Option<Id> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok().map(|()| Id::new(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::handshake::MAX_PROOF_BYTES;
    use proptest::prelude::*;

    #[test]
    fn folders_that_files_may_be_put_into() {
        for (path, name) in
            [("", Some("")), ("a/b/", Some("a/b")), ("a%20b", Some("a b")), ("x.partial/", Some("x.partial"))]
        {
            assert_eq!(folder_name(path).as_deref(), name);
        }
        for bad in ["..", "a/../b", ".onward/", "a//b", "%00", ".ssh", "%ff", "a%2fb"] {
            assert_eq!(folder_name(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Whatever is held, an offer asks for held bytes and keeps its bounds.
        #[test]
        fn offers_keep_their_bounds(runs in prop::collection::vec((0u64..1 << 40, 1u64..1 << 32), 1..40)) {
            let held: ByteSet = runs.into_iter().map(|(start, len)| ByteRange::new(start, start + len)).collect();
            let chosen = some_of(&held);
            prop_assert!(!chosen.is_empty() && chosen.runs().count() <= MAX_PROOF_RANGES);
            prop_assert!(chosen.len() <= MAX_PROOF_BYTES && chosen.runs().all(|run| held.contains(run)));
        }
    }
}
