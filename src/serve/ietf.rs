//! The IETF's resumable upload (draft-ietf-httpbis-resumable-upload), the server's end, in the drafts that clients
//! speak: each request of the protocol is one function here. The fields and how the drafts differ are in `wire::rufh`,
//! what an upload is and how it grows in `growing`.

use super::Site;
use super::check;
use super::connection::{Cut, Inbound};
use super::growing::{Append, Expect, Growing, Outcome, Stopped, Wish, problem};
use super::handshake::folder_name;
use super::reply::{self, Answer, Reply, field, retry_after};
use super::upload::{Line, Protocol, Upload};
use crate::digest::Digest;
use crate::wire::handshake::{Digests, Id, PROBLEM_JSON, Problem, Reason};
use crate::wire::rufh::{self, INTEROP, Interop, LENGTH, LIMIT, Limits, OFFSET, PARTIAL_UPLOAD};
use crate::wire::tus::{METADATA, Metadata};
use crate::wire::{digest_fields, disposition, filename, percent, range};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LOCATION, CONTENT_TYPE, HeaderName, LOCATION};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The drafts spoken, by their interop numbers.
const SPOKEN: std::ops::RangeInclusive<u8> = 3..=10;
/// What a request without a number speaks: the newest draft, or the standard that will come of it.
const NEWEST: Interop = Interop(10);
/// What an upload knows.
const METHODS: &str = "GET, HEAD, PATCH, DELETE, OPTIONS";
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// What is said to `OPTIONS`.
pub fn announce(site: &Site, reply: &mut Reply) {
    let limits =
        Limits { max_size: site.rules.max_file_size, max_age: Some(site.rules.expire.as_secs()), ..Limits::default() };
    add(reply, LIMIT, &limits.print());
    field(reply, ACCEPT_PATCH, PARTIAL_UPLOAD);
}

/// Whether a request speaks this protocol.
pub fn is_meant(headers: &HeaderMap) -> bool {
    [INTEROP, rufh::COMPLETE, rufh::INCOMPLETE].iter().any(|name| headers.contains_key(*name))
}

/// A creation: `POST` to a folder, or `PUT` to the file's own URL (`path` is the URL's path behind the base).
pub async fn create(site: &Site, domain: &str, path: &str, request: &Parts, inbound: &mut Inbound) -> Answer {
    let made = async {
        let draft = draft(&request.headers)?;
        let handler = Handler { growing: Growing::of(site, domain)?, draft };
        handler.create(path, request, inbound).await
    };
    made.await.map_err(refused)
}

/// A request to the URL of upload `id`.
pub async fn answer(site: &Site, domain: &str, id: &Id, request: &Parts, inbound: &mut Inbound) -> Answer {
    let answered = async {
        let draft = draft(&request.headers)?;
        let growing = Growing::of(site, domain)?;
        let upload = growing.find(id, Protocol::Ietf)?;
        let _use = upload.in_use();
        let handler = Handler { growing, draft };
        match request.method {
            Method::HEAD | Method::GET => handler.head(&upload, request).await,
            Method::PATCH => handler.patch(&upload, request, inbound).await,
            Method::DELETE => {
                bare(&request.headers)?;
                handler.growing.give_up(&upload).await.map(|()| reply::empty(StatusCode::NO_CONTENT))
            }
            _ => problem(Reason::Method, format!("an upload knows {METHODS}")),
        }
    };
    answered.await.map_err(refused)
}

fn refused(mut problem: Box<Problem>) -> Box<Reply> {
    if problem.reason() == Some(Reason::Busy) {
        problem.status = 423;
    }
    let mut reply = reply::problem(&problem);
    match problem.reason() {
        Some(Reason::TooMany) => retry_after(&mut reply, Duration::from_secs(60)),
        Some(Reason::Busy | Reason::Unavailable) => retry_after(&mut reply, Duration::from_secs(1)),
        Some(Reason::Method) => field(&mut reply, ALLOW, METHODS),
        _ => {}
    }
    Box::new(reply)
}

/// The draft of a request.
fn draft(headers: &HeaderMap) -> Outcome<Interop> {
    match (headers.contains_key(INTEROP), Interop::of_headers(headers)) {
        (false, _) => Ok(NEWEST),
        (true, Some(draft)) if SPOKEN.contains(&draft.0) => Ok(draft),
        _ => problem(Reason::BadRequest, "the drafts with interop numbers 3 to 10 are spoken here"),
    }
}

/// Requests about an upload, not with one, say nothing of it.
fn bare(headers: &HeaderMap) -> Outcome<()> {
    match [OFFSET, rufh::COMPLETE, rufh::INCOMPLETE].into_iter().find(|name| headers.contains_key(*name)) {
        Some(name) => problem(Reason::BadRequest, format!("{name} has no place in this request")),
        None => Ok(()),
    }
}

/// Where a file is to be.
struct Target {
    folder: String,
    name: String,
    /// Whether it may take the place of another file.
    replace: bool,
    /// Of which version alone, by its entity tag.
    version: Option<String>,
}

struct Handler<'a> {
    growing: Growing<'a>,
    draft: Interop,
}

impl Handler<'_> {
    async fn create(&self, path: &str, request: &Parts, inbound: &mut Inbound) -> Outcome<Reply> {
        let headers = &request.headers;
        let Some(last) = rufh::complete(headers).or((self.draft.0 < 5).then_some(true)) else {
            return problem(Reason::BadRequest, "Upload-Complete: ?1 or ?0 is needed");
        };
        let Target { folder, name, replace, version } = self.target(path, request)?;
        let ends = inbound.announced().filter(|_| last);
        let length = rufh::length(headers).or(ends);
        if let (Some(told), Some(ends)) = (length, ends)
            && told != ends
        {
            return Ok(self.inconsistent(format!("Upload-Length is {told}, the complete content has {ends} bytes")));
        }
        let expect = expected(headers)?;
        let digests = Digests(digests(headers, "repr-digest")?);
        let line = Line { replaces: version, digests, ..Line::new(Protocol::Ietf) };
        let upload = self.growing.create(Wish { folder, name, length, replace, line }).await?;
        let _use = upload.in_use();
        if headers.contains_key(INTEROP) && inbound.announced() != Some(0) {
            inbound.interim(&self.resumable(&upload)).await;
        }
        let brought = self.append(&upload, Append { at: 0, length: None, last, expect, keep_cut: true }, inbound).await;
        let mut reply = self.brought(&upload, brought, last, StatusCode::CREATED).await;
        field(&mut reply, LOCATION, &self.growing.path(&upload));
        Ok(reply)
    }

    /// Where the file is to be, and what it may take the place of.
    fn target(&self, path: &str, request: &Parts) -> Outcome<Target> {
        let bad = || Box::new(Problem::new(Reason::BadName, "files cannot be put there"));
        if request.method != Method::PUT {
            let (folder, name) = (folder_name(path).ok_or_else(bad)?, told_name(&request.headers));
            return Ok(Target { folder, name, replace: false, version: None });
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = percent::decode(name.as_bytes()).and_then(|name| String::from_utf8(name).ok()).ok_or_else(bad)?;
        if name.is_empty() || name.contains('/') || folder.ends_with('/') {
            return Err(bad());
        }
        let folder = folder_name(folder).ok_or_else(bad)?;
        let parts = check::parts_of(&folder, &name);
        let now = self.growing.site.root.version(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        match range::may_put(&request.headers, now.as_ref()) {
            None => Ok(Target { folder, name, replace: true, version: None }),
            // What holds for this version, or for nothing, need not hold for what comes between.
            Some(true) => {
                let version = now.map(|now| now.etag);
                Ok(Target { folder, name, replace: version.is_some(), version })
            }
            Some(false) => problem(Reason::Precondition, "what has this name is not what the request means"),
        }
    }

    /// The interim reply that tells the upload's URL before its bytes are read.
    fn resumable(&self, upload: &Upload) -> String {
        let (path, number) = (self.growing.path(upload), self.draft.0);
        let mut head = format!("HTTP/1.1 104 Upload Resumption Supported\r\nLocation: {path}\r\n{INTEROP}: {number}");
        if self.draft.has_limits() {
            head.push_str(&format!("\r\n{LIMIT}: {}", self.limits(upload).print()));
        }
        head
    }

    async fn append(&self, upload: &Arc<Upload>, append: Append, inbound: &mut Inbound) -> Result<u64, Stopped> {
        let last = append.last;
        let offset = self.growing.append(upload, append, inbound).await?;
        // Some clients take the announced length for the end, whatever they said of it.
        if last || upload.length() == Some(offset) {
            self.growing.finish(upload).await?;
        }
        Ok(offset)
    }

    /// The reply to a request that brought bytes.
    async fn brought(
        &self,
        upload: &Arc<Upload>,
        brought: Result<u64, Stopped>,
        last: bool,
        status: StatusCode,
    ) -> Reply {
        let offset = match brought {
            Ok(offset) => offset,
            Err(stopped) => return self.stopped(stopped),
        };
        let mut reply = reply::empty(status);
        add(&mut reply, OFFSET, &offset.to_string());
        self.complete(&mut reply, last);
        match last {
            true => self.place(&mut reply, upload).await,
            false => self.limit(&mut reply, upload),
        }
        reply
    }

    /// Says where the file is, once it is complete.
    async fn place(&self, reply: &mut Reply, upload: &Arc<Upload>) {
        if let Ok(Some(path)) = self.growing.stand(upload).await.map(|stand| stand.path) {
            let parts: Vec<String> = path.split('/').map(|part| percent::encode(part.as_bytes(), "-._~")).collect();
            field(reply, CONTENT_LOCATION, &format!("{}{}", self.growing.site.base, parts.join("/")));
        }
    }

    fn complete(&self, reply: &mut Reply, complete: bool) {
        let (name, value) = self.draft.complete(complete);
        add(reply, name, value);
    }

    fn limits(&self, upload: &Upload) -> Limits {
        let left = self.growing.store.expires(upload).duration_since(SystemTime::now()).unwrap_or_default();
        Limits { max_size: self.growing.site.rules.max_file_size, max_age: Some(left.as_secs()), ..Limits::default() }
    }

    fn limit(&self, reply: &mut Reply, upload: &Upload) {
        if self.draft.has_limits() {
            add(reply, LIMIT, &self.limits(upload).print());
        }
    }

    async fn head(&self, upload: &Arc<Upload>, request: &Parts) -> Outcome<Reply> {
        bare(&request.headers)?;
        let mut stand = self.growing.stand(upload).await?;
        let ended = upload.facts().ended || upload.length() == Some(stand.offset);
        if ended && !stand.done {
            self.growing.finish(upload).await?;
            stand = self.growing.stand(upload).await?;
        }
        let mut reply = reply::empty(StatusCode::NO_CONTENT);
        field(&mut reply, CACHE_CONTROL, "no-store");
        add(&mut reply, OFFSET, &stand.offset.to_string());
        self.complete(&mut reply, stand.done);
        if let Some(length) = stand.length {
            add(&mut reply, LENGTH, &length.to_string());
        }
        self.limit(&mut reply, upload);
        Ok(reply)
    }

    async fn patch(&self, upload: &Arc<Upload>, request: &Parts, inbound: &mut Inbound) -> Outcome<Reply> {
        let headers = &request.headers;
        let typed = headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PARTIAL_UPLOAD.as_bytes()));
        if self.draft.append_type().is_some() && !typed {
            let problem = Problem::new(Reason::BadRequest, format!("bytes come as {PARTIAL_UPLOAD}"));
            let mut reply = *refused(Box::new(Problem { status: 415, ..problem }));
            field(&mut reply, ACCEPT_PATCH, PARTIAL_UPLOAD);
            return Ok(reply);
        }
        let Some(at) = rufh::offset(headers) else { return problem(Reason::BadRequest, "Upload-Offset is needed") };
        let Some(last) = rufh::complete(headers).or((!self.draft.append_must_say()).then_some(true)) else {
            return problem(Reason::BadRequest, "Upload-Complete: ?1 or ?0 is needed");
        };
        let append = Append { at, length: rufh::length(headers), last, expect: expected(headers)?, keep_cut: true };
        let mut brought = self.append(upload, append, inbound).await;
        if matches!(brought, Err(Stopped::Complete))
            && (last, upload.length(), inbound.announced()) == (true, Some(at), Some(0))
        {
            // The final reply was lost: here it is again.
            brought = Ok(at);
        }
        Ok(self.brought(upload, brought, last, StatusCode::NO_CONTENT).await)
    }

    fn stopped(&self, stopped: Stopped) -> Reply {
        match stopped {
            Stopped::Offset { expected, provided } => {
                let mut problem =
                    rufh::Problem::new(rufh::Reason::MismatchingOffset, 409, "the upload stands elsewhere");
                (problem.expected_offset, problem.provided_offset) = (Some(expected), Some(provided));
                let mut reply = of_protocol(&problem);
                add(&mut reply, OFFSET, &expected.to_string());
                self.complete(&mut reply, false);
                reply
            }
            Stopped::Complete => {
                let mut reply =
                    of_protocol(&rufh::Problem::new(rufh::Reason::Completed, 400, "the upload is complete"));
                self.complete(&mut reply, true);
                reply
            }
            Stopped::Length(why) => self.inconsistent(why),
            Stopped::Mismatch => {
                let text = "the bytes are not those of Content-Digest; none of them count";
                *refused(Box::new(Problem::new(Reason::DigestMismatch, text)))
            }
            Stopped::Cut(Cut::Idle) => *reply::refuse(Reason::Timeout, "the body did not come"),
            Stopped::Cut(Cut::Gone) => *reply::refuse(Reason::BadRequest, "the body was cut"),
            Stopped::Overtaken => *reply::refuse(Reason::BadRequest, "another request took over"),
            Stopped::Refused(problem) => *refused(problem),
        }
    }

    fn inconsistent(&self, why: String) -> Reply {
        let problem = rufh::Problem::new(rufh::Reason::InconsistentLength, 400, "the lengths told do not agree");
        let mut reply = of_protocol(&rufh::Problem { detail: why, ..problem });
        self.complete(&mut reply, false);
        reply
    }
}

fn of_protocol(problem: &rufh::Problem) -> Reply {
    let status = problem.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_REQUEST);
    reply::text(status, PROBLEM_JSON, serde_json::to_vec(problem).unwrap_or_default())
}

fn add(reply: &mut Reply, name: &'static str, value: &str) {
    field(reply, HeaderName::from_static(name), value);
}

/// The name that the client tells beside the URL, made safe; one of our own when it tells none.
fn told_name(headers: &HeaderMap) -> String {
    let disposed = headers.get(CONTENT_DISPOSITION).and_then(|value| disposition::file_name(value.as_bytes()));
    // tus-js-client says it in tus's words.
    let metadata = || Metadata::parse(headers.get(METADATA)?.to_str().ok()?)?.file_name().map(str::to_string);
    match disposed.or_else(metadata) {
        Some(name) => filename::safe(&name),
        None => super::growing::nameless(),
    }
}

/// The digests that the bytes of a request must have.
fn expected(headers: &HeaderMap) -> Outcome<Option<Expect>> {
    let digests = digests(headers, "content-digest")?;
    Ok((!digests.is_empty()).then_some(Expect::Head(digests)))
}

/// The digests in a field, by all algorithms known here.
fn digests(headers: &HeaderMap, name: &str) -> Outcome<Vec<Digest>> {
    let lines: Vec<&str> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    match digest_fields::read(&lines.join(", ")) {
        Some(digests) => Ok(digests),
        None => problem(Reason::BadRequest, format!("{name} cannot be read")),
    }
}
