//! `GET` and `HEAD`: files with ranges and conditions, folders as plain pages.

use super::reply::{self, Answer, Body, Reply, field, refuse};
use super::root::{self, Found, etag};
use super::{Site, listing};
use crate::chunk::ByteRange;
use crate::disk;
use crate::wire::handshake::{Digests, Reason};
use crate::wire::range::{self, Asked, Current, Outcome};
use crate::wire::{media_type, percent};
use cap_std::fs::Dir;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE, ETAG, HeaderName,
    LAST_MODIFIED, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, StatusCode};
use std::fs::{File, Metadata};
use std::time::SystemTime;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Answers a `GET` or `HEAD` for `path`, which is the URL's path behind the base.
pub async fn answer(site: &Site, request: &Parts, path: &str) -> Answer {
    if site.rules.upload_only {
        return Err(refuse(Reason::Forbidden, "this server only takes uploads"));
    }
    let nothing = || refuse(Reason::NotFound, "there is nothing under this name");
    let (parts, folder) = root::path_parts(path).ok_or_else(nothing)?;
    match site.root.find(&parts).ok_or_else(nothing)? {
        Found::File(..) if folder => Err(nothing()),
        Found::File(file, meta) => file_reply(site, request, &parts, file, &meta),
        Found::Folder(_) if !folder => Ok(moved(request)),
        Found::Folder(dir) => folder_reply(dir, path, parts.is_empty()).await,
    }
}

/// A folder without its slash: relative links would lead astray.
fn moved(request: &Parts) -> Reply {
    let mut reply = reply::empty(StatusCode::MOVED_PERMANENTLY);
    field(&mut reply, LOCATION, &format!("{}/", request.uri.path()));
    reply
}

async fn folder_reply(dir: Dir, path: &str, top: bool) -> Answer {
    let shown = percent::decode(path.as_bytes()).unwrap_or_default();
    let title = format!("/{}", String::from_utf8_lossy(&shown));
    let page = tokio::task::spawn_blocking(move || root::rows(&dir).map(|rows| listing::page(&title, &rows, top)));
    match page.await {
        Ok(Ok(page)) => {
            let mut reply = reply::text(StatusCode::OK, "text/html; charset=utf-8", page);
            field(&mut reply, CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
            Ok(reply)
        }
        _ => Err(refuse(Reason::Server, "the folder cannot be read")),
    }
}

fn file_reply(site: &Site, request: &Parts, parts: &[std::ffi::OsString], file: File, meta: &Metadata) -> Answer {
    let now = Current { etag: etag(meta), modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH) };
    let length = meta.len();
    let asked = match (range::conditions(&request.headers, &now), request.method == Method::GET) {
        (Outcome::NotModified, _) => return Ok(described(reply::empty(StatusCode::NOT_MODIFIED), &now)),
        (Outcome::Failed, _) => return Err(refuse(Reason::Precondition, "the file is not the one the request means")),
        (Outcome::Proceed, true) => range::asked(&request.headers, &now, length, SystemTime::now()),
        // A range means nothing to any other method (RFC 9110, section 14.2).
        (Outcome::Proceed, false) => Asked::Whole,
    };
    let range = match asked {
        Asked::Whole => ByteRange::new(0, length),
        Asked::Part(range) => range,
        Asked::Nowhere => {
            let mut reply = *refuse(Reason::Range, format!("the file has {length} bytes"));
            field(&mut reply, CONTENT_RANGE, &format!("bytes */{length}"));
            return Err(Box::new(reply));
        }
    };
    disk::will_stream(&file, range.start);
    let known = known_digests(site, parts, &file);
    let status = if asked == Asked::Whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    let mut reply = described(reply::with_body(status, Body::File { file, rest: range }), &now);
    if status == StatusCode::PARTIAL_CONTENT {
        field(&mut reply, CONTENT_RANGE, &format!("bytes {}-{}/{length}", range.start, range.end - 1));
    }
    if !known.is_empty() {
        field(&mut reply, REPR_DIGEST, &known.to_field());
    }
    field(
        &mut reply,
        CONTENT_TYPE,
        media_type::of_name(parts.last().and_then(|name| name.to_str()).unwrap_or_default()),
    );
    Ok(reply)
}

/// What every reply about a file says.
fn described(mut reply: Reply, now: &Current) -> Reply {
    field(&mut reply, ACCEPT_RANGES, "bytes");
    field(&mut reply, ETAG, &now.etag);
    if now.modified >= SystemTime::UNIX_EPOCH {
        // A time to come is replaced by the reply's own, which both fields then have from one clock (section 8.8.2.1).
        let clock = SystemTime::now();
        field(&mut reply, DATE, &httpdate::fmt_http_date(clock));
        field(&mut reply, LAST_MODIFIED, &httpdate::fmt_http_date(now.modified.min(clock)));
    }
    field(&mut reply, CACHE_CONTROL, "no-cache");
    // An uploaded page must not act in the name of whoever looks at it.
    field(&mut reply, X_CONTENT_TYPE_OPTIONS, "nosniff");
    field(&mut reply, CONTENT_SECURITY_POLICY, "sandbox");
    reply
}

/// The digests this server computed of this very content, where it did.
fn known_digests(site: &Site, parts: &[std::ffi::OsString], file: &File) -> Digests {
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part.to_str()).collect();
    let (Some(texts), Ok(stamp)) = (texts, disk::stamp(file)) else { return Digests::default() };
    site.known.of_file(&texts.join("/"), &stamp).map(|known| known.digests).unwrap_or_default()
}
