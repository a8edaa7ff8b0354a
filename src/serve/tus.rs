//! tus 1.0.0, the server's end, with every extension of its specification: each request of the protocol is one
//! function here. The fields are in `wire::tus`, what an upload is and how it grows in `growing`.

use super::Site;
use super::connection::{Cut, Inbound};
use super::growing::{Append, Expect, Growing, Outcome, Stopped, Wish, nameless, problem};
use super::handshake::{UPLOADS, folder_name};
use super::reply::{self, Answer, Reply, field, retry_after};
use super::upload::{Line, Protocol, Upload};
use crate::digest::{Algorithm, Digest};
use crate::wire::filename;
use crate::wire::handshake::{Id, Problem, Reason};
use crate::wire::tus::{
    self, Abilities, BadChecksum, CHECKSUM, CHECKSUM_MISMATCH, CONCAT, CONTENT_TYPE, Concat, DEFER_LENGTH, EXPIRES,
    Extension, LENGTH, Length, METADATA, Metadata, OFFSET, RESUMABLE, VERSION, VERSIONS,
};
use http::header::{ALLOW, CACHE_CONTROL, HeaderName, LOCATION, TRAILER};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// What an upload knows.
const METHODS: &str = "HEAD, PATCH, DELETE, OPTIONS";
/// A file is joined from so many parts at most.
const MAX_PARTS: usize = 1000;
/// Fields that mean nothing when they are there twice.
const ONCE: [&str; 8] = [RESUMABLE, OFFSET, LENGTH, DEFER_LENGTH, METADATA, CONCAT, CHECKSUM, tus::METHOD_OVERRIDE];

/// What is said to `OPTIONS`.
pub fn announce(site: &Site, reply: &mut Reply) {
    let abilities = Abilities {
        versions: vec![VERSION.into()],
        extensions: Extension::ALL.to_vec(),
        max_size: site.rules.max_file_size,
        checksums: Algorithm::ALL.to_vec(),
    };
    add(reply, RESUMABLE, VERSION);
    for (name, value) in abilities.fields() {
        add(reply, name, &value);
    }
}

/// Whether a request speaks this protocol, or means to.
pub fn is_meant(headers: &HeaderMap) -> bool {
    let by_type =
        headers.get(http::header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == CONTENT_TYPE.as_bytes());
    by_type || [RESUMABLE, DEFER_LENGTH, METADATA, CONCAT].iter().any(|name| headers.contains_key(*name))
}

/// *creation*: `POST` to the folder `folder` (the URL's path behind the base).
pub async fn create(site: &Site, domain: &str, folder: &str, request: &Parts, inbound: &mut Inbound) -> Answer {
    let made = async {
        sound(&request.headers)?;
        let growing = Growing::of(site, domain)?;
        Ok(Handler { growing }.create(folder, request, inbound).await)
    };
    made.await.and_then(|made| made).map(spoken).map_err(refused)
}

/// A request to the URL of upload `id`, whose method, overridden or not, is `method`.
pub async fn answer(
    site: &Site,
    domain: &str,
    id: &Id,
    method: &Method,
    request: &Parts,
    inbound: &mut Inbound,
) -> Answer {
    let answered = async {
        sound(&request.headers)?;
        let growing = Growing::of(site, domain)?;
        let upload = growing.find(id, Protocol::Tus)?;
        let _use = upload.in_use();
        let handler = Handler { growing };
        match *method {
            Method::HEAD => handler.head(&upload).await,
            Method::PATCH => handler.patch(&upload, request, inbound).await,
            Method::DELETE => handler.growing.give_up(&upload).await.map(|()| reply::empty(StatusCode::NO_CONTENT)),
            _ => problem(Reason::Method, format!("an upload knows {METHODS}")),
        }
    };
    answered.await.map(spoken).map_err(refused)
}

/// Every reply tells the version.
fn spoken(mut reply: Reply) -> Reply {
    if !reply.headers().contains_key(RESUMABLE) {
        add(&mut reply, RESUMABLE, VERSION);
    }
    reply
}

/// A refusal in the words of this protocol.
fn refused(mut problem: Box<Problem>) -> Box<Reply> {
    match problem.reason() {
        Some(Reason::Busy) => problem.status = 423,
        Some(Reason::DigestMismatch) => problem.status = CHECKSUM_MISMATCH,
        _ => {}
    }
    let mut reply = spoken(reply::problem(&problem));
    match problem.reason() {
        Some(Reason::TooMany) => retry_after(&mut reply, Duration::from_secs(60)),
        Some(Reason::Busy | Reason::Unavailable) => retry_after(&mut reply, Duration::from_secs(1)),
        Some(Reason::Precondition) => add(&mut reply, VERSIONS, VERSION),
        Some(Reason::Method) => field(&mut reply, ALLOW, METHODS),
        _ => {}
    }
    Box::new(reply)
}

/// The version is ours, and nothing is said twice.
fn sound(headers: &HeaderMap) -> Outcome<()> {
    if headers.get(RESUMABLE).is_none_or(|value| value.as_bytes() != VERSION.as_bytes()) {
        return problem(Reason::Precondition, "Tus-Resumable: 1.0.0 is needed, the version spoken here");
    }
    match ONCE.iter().find(|name| headers.get_all(**name).iter().count() > 1) {
        Some(twice) => problem(Reason::BadRequest, format!("there is more than one {twice}")),
        None => Ok(()),
    }
}

struct Handler<'a> {
    growing: Growing<'a>,
}

impl Handler<'_> {
    async fn create(&self, folder: &str, request: &Parts, inbound: &mut Inbound) -> Outcome<Reply> {
        let headers = &request.headers;
        let Some(folder) = folder_name(folder) else {
            return problem(Reason::BadName, "files cannot be put into this folder");
        };
        let metadata = metadata(headers)?;
        let concat = concat(headers)?;
        let line = Line {
            metadata: text(headers, METADATA)?.unwrap_or_default().trim().to_string(),
            concat: concat.as_ref().map(Concat::to_string),
            ..Line::new(Protocol::Tus)
        };
        let name = name_of(&metadata);
        let replace = metadata.get("overwrite").is_some_and(|wish| matches!(wish, "" | "1" | "true"));
        if let Some(Concat::Final(urls)) = &concat {
            let wish = Wish { folder, name, length: None, replace, line };
            return self.join(urls, wish, headers).await;
        }
        let length = match tus::length(headers) {
            Some(Length::Known(length)) => Some(length),
            Some(Length::Deferred) => None,
            None => return problem(Reason::BadRequest, "either Upload-Length or Upload-Defer-Length: 1 is needed"),
        };
        let with_bytes = has_type(headers);
        if !with_bytes && inbound.announced() != Some(0) {
            return problem(Reason::BadRequest, format!("bytes come as {CONTENT_TYPE}"));
        }
        let expect = if with_bytes { expected(headers)? } else { None };
        let upload = self.growing.create(Wish { folder, name, length, replace, line }).await?;
        let _use = upload.in_use();
        let mut reply = self.made(&upload);
        let brought = match with_bytes {
            true => {
                self.append(&upload, Append { at: 0, length: None, last: false, expect, keep_cut: false }, inbound)
                    .await
            }
            false => self.settled(&upload, 0).await.map(|()| 0).map_err(Stopped::Refused),
        };
        match brought {
            Ok(offset) if with_bytes => add(&mut reply, OFFSET, &offset.to_string()),
            Ok(_) => {}
            Err(stopped) => {
                // The upload is there all the same: its URL is worth having.
                let location = self.growing.path(&upload);
                reply = *refused(in_words(stopped).1);
                field(&mut reply, LOCATION, &location);
            }
        }
        Ok(reply)
    }

    async fn join(&self, urls: &[String], wish: Wish, headers: &HeaderMap) -> Outcome<Reply> {
        if headers.contains_key(LENGTH) || headers.contains_key(DEFER_LENGTH) {
            return problem(Reason::BadRequest, "the length of a file of parts is that of its parts");
        }
        if urls.len() > MAX_PARTS {
            return problem(Reason::BadRequest, format!("a file has at most {MAX_PARTS} parts"));
        }
        let Some(parts) = urls.iter().map(|url| self.id_of(url)).collect::<Option<Vec<Id>>>() else {
            return problem(Reason::BadRequest, "a part is named by the URL of its upload here");
        };
        let upload = self.growing.join(&parts, wish).await?;
        Ok(self.made(&upload))
    }

    /// The id in the URL of an upload here: path-absolute as we told it, or whole.
    fn id_of(&self, url: &str) -> Option<Id> {
        let path = match url.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/')?..],
            None => url,
        };
        let tail = path.strip_prefix(self.growing.site.base.as_str())?;
        Id::parse(tail.strip_prefix(UPLOADS)?)
    }

    /// The reply to a creation.
    fn made(&self, upload: &Arc<Upload>) -> Reply {
        let mut reply = reply::empty(StatusCode::CREATED);
        field(&mut reply, LOCATION, &self.growing.path(upload));
        self.expires(&mut reply, upload);
        reply
    }

    fn expires(&self, reply: &mut Reply, upload: &Upload) {
        add(reply, EXPIRES, &tus::print_expires(self.growing.store.expires(upload)));
    }

    async fn head(&self, upload: &Arc<Upload>) -> Outcome<Reply> {
        let Some(line) = &upload.head.line else {
            return problem(Reason::Server, "this upload is of another protocol");
        };
        if line.is_joined() {
            self.growing.try_join(upload).await?;
        }
        let mut stand = self.growing.stand(upload).await?;
        if !line.is_joined() {
            // Where the file cannot have its name, "all is there" would be taken for the end.
            self.settled(upload, stand.offset).await?;
            stand.length = upload.length();
        }
        let mut reply = reply::empty(StatusCode::OK);
        field(&mut reply, CACHE_CONTROL, "no-store");
        if !line.is_joined() || stand.done {
            add(&mut reply, OFFSET, &stand.offset.to_string());
        }
        match stand.length {
            Some(length) => add(&mut reply, LENGTH, &length.to_string()),
            None => add(&mut reply, DEFER_LENGTH, "1"),
        }
        if !line.metadata.is_empty() {
            add(&mut reply, METADATA, &line.metadata);
        }
        if let Some(concat) = &line.concat {
            add(&mut reply, CONCAT, concat);
        }
        self.expires(&mut reply, upload);
        Ok(reply)
    }

    async fn patch(&self, upload: &Arc<Upload>, request: &Parts, inbound: &mut Inbound) -> Outcome<Reply> {
        let headers = &request.headers;
        if upload.head.line.as_ref().is_some_and(Line::is_joined) {
            return problem(Reason::Forbidden, "a file of parts takes no bytes");
        }
        if !has_type(headers) {
            let problem = Problem::new(Reason::BadRequest, format!("bytes come as {CONTENT_TYPE}"));
            return Err(Box::new(Problem { status: 415, ..problem }));
        }
        let Some(at) = tus::offset(headers) else { return problem(Reason::BadRequest, "Upload-Offset is needed") };
        let length = match headers.contains_key(LENGTH) {
            false => None,
            true => match tus::length(headers) {
                Some(Length::Known(length)) => Some(length),
                _ => return problem(Reason::BadRequest, "Upload-Length is no number"),
            },
        };
        let expect = expected(headers)?;
        match self.append(upload, Append { at, length, last: false, expect, keep_cut: false }, inbound).await {
            Ok(offset) => {
                let mut reply = reply::empty(StatusCode::NO_CONTENT);
                add(&mut reply, OFFSET, &offset.to_string());
                self.expires(&mut reply, upload);
                Ok(reply)
            }
            Err(Stopped::Complete) if Some(at) == upload.length() && inbound.announced() == Some(0) => {
                let mut reply = reply::empty(StatusCode::NO_CONTENT);
                add(&mut reply, OFFSET, &at.to_string());
                Ok(reply)
            }
            Err(stopped) => {
                let (offset, problem) = in_words(stopped);
                let mut reply = *refused(problem);
                if let Some(offset) = offset {
                    add(&mut reply, OFFSET, &offset.to_string());
                }
                Ok(reply)
            }
        }
    }

    async fn append(&self, upload: &Arc<Upload>, append: Append, inbound: &mut Inbound) -> Result<u64, Stopped> {
        let offset = self.growing.append(upload, append, inbound).await?;
        self.settled(upload, offset).await?;
        Ok(offset)
    }

    /// With its last byte an upload is complete: it gets its name, or is joined where it is a part.
    async fn settled(&self, upload: &Arc<Upload>, offset: u64) -> Outcome<()> {
        if upload.length() != Some(offset) {
            return Ok(());
        }
        match upload.head.line.as_ref().is_some_and(Line::is_part) {
            true => self.growing.part_is_complete(upload).await,
            false => self.growing.finish(upload).await?,
        }
        Ok(())
    }
}

/// What stopped a request, and where the upload stands if that is the reason.
fn in_words(stopped: Stopped) -> (Option<u64>, Box<Problem>) {
    let with = |reason, status, detail: String| Box::new(Problem { status, ..Problem::new(reason, detail) });
    match stopped {
        Stopped::Offset { expected, .. } => {
            (Some(expected), with(Reason::Differs, 409, format!("the upload stands at {expected}")))
        }
        Stopped::Complete => (None, with(Reason::Forbidden, 403, "the upload is complete".into())),
        Stopped::Length(why) => (None, with(Reason::BadRequest, 400, why)),
        Stopped::Mismatch => {
            let text = "the bytes are not those of Upload-Checksum; none of them count";
            (None, Box::new(Problem::new(Reason::DigestMismatch, text)))
        }
        Stopped::Cut(Cut::Idle) => (None, with(Reason::Timeout, 408, "the body did not come".into())),
        Stopped::Cut(Cut::Gone) => (None, with(Reason::BadRequest, 400, "the body was cut".into())),
        Stopped::Overtaken => (None, with(Reason::BadRequest, 400, "another request took over".into())),
        Stopped::Refused(problem) => (None, problem),
    }
}

fn add(reply: &mut Reply, name: &'static str, value: &str) {
    field(reply, HeaderName::from_static(name), value);
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Outcome<Option<&'a str>> {
    match headers.get(name).map(|value| value.to_str()) {
        Some(Err(_)) => problem(Reason::BadRequest, format!("{name} is not ASCII")),
        Some(Ok(text)) => Ok(Some(text)),
        None => Ok(None),
    }
}

fn metadata(headers: &HeaderMap) -> Outcome<Metadata> {
    match text(headers, METADATA)?.map(Metadata::parse) {
        Some(None) => problem(Reason::BadRequest, "Upload-Metadata is not `key base64, key base64`, each key once"),
        Some(Some(metadata)) => Ok(metadata),
        None => Ok(Metadata::default()),
    }
}

fn concat(headers: &HeaderMap) -> Outcome<Option<Concat>> {
    match text(headers, CONCAT)?.map(Concat::parse) {
        Some(None) => problem(Reason::BadRequest, "Upload-Concat is neither `partial` nor `final;` and URLs"),
        Some(concat) => Ok(concat),
        None => Ok(None),
    }
}

/// The name a file gets: the client's, made safe; one of our own when it tells none.
fn name_of(metadata: &Metadata) -> String {
    match metadata.file_name() {
        Some(name) => filename::safe(name),
        None => nameless(),
    }
}

fn has_type(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(http::header::CONTENT_TYPE).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(CONTENT_TYPE)
}

/// Where the checksum that the bytes of a request must have is; trailers may come unannounced, for proxies drop `Trailer`.
fn expected(headers: &HeaderMap) -> Outcome<Option<Expect>> {
    if headers.contains_key(CHECKSUM) {
        return Ok(checksum(headers)?.map(|digest| Expect::Head(vec![digest])));
    }
    let trailers = headers.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    let announced = trailers.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case(CHECKSUM));
    Ok(Some(Expect::Trailer { read: checksum, announced }))
}

fn checksum(headers: &HeaderMap) -> Outcome<Option<Digest>> {
    let Some(value) = text(headers, CHECKSUM)? else { return Ok(None) };
    match tus::checksum(value) {
        Ok(digest) => Ok(Some(digest)),
        Err(BadChecksum::Algorithm) => problem(Reason::BadRequest, "the algorithm of Upload-Checksum is unknown"),
        Err(BadChecksum::Form) => problem(Reason::BadRequest, "Upload-Checksum is not `algorithm base64`"),
    }
}
