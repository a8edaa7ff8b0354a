//! The questions of a probe: each small, each with little time, each over a connection of its own where that matters.

use super::{Condition, Order, PATIENCE, Range};
use crate::fault::{Fault, Kind};
use crate::net::{Lane, Net, Request, Response, shown};
use crate::record::Validator;
use crate::remote::{Destination, dav, up2k};
use crate::wire::content_range::ContentRange;
use crate::wire::validator;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use http::{Method, Version};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use url::Url;

/// How much is asked for first, in bytes.
const FIRST: u64 = 2048;
/// How much is asked for otherwise, in bytes.
pub const FEW: u64 = 1024;
/// One answer's content may take this long.
const BODY: Duration = Duration::from_secs(10);

/// An answer whose content has been read as far as it matters.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The fields.
    pub headers: HeaderMap,
    /// Who answered.
    pub url: Url,
    /// By which version of HTTP.
    pub version: &'static str,
    /// What the file is called.
    pub validator: Validator,
    /// How long it is, as told.
    pub total: Option<u64>,
    /// The first bytes of the content.
    pub body: Vec<u8>,
    /// Whether there were more of them than asked for.
    more: bool,
}

impl Reply {
    /// A field as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// Whether this is the range that was asked for, of a file of this length.
    pub fn is_range(&self, from: u64, end: Option<u64>, length: Option<u64>) -> Range {
        let wrong = |why: &str| Range::Wrong(why.to_string());
        match self.status {
            206 => {}
            200 => return Range::Whole,
            status => return Range::Wrong(format!("a range is answered with {status}")),
        }
        let told = self.text("content-range").and_then(|value| ContentRange::parse(&value));
        let Some(ContentRange::Part { range, total }) = told else {
            return wrong("a part is sent that does not say which one it is");
        };
        if range.start != from || end.is_some_and(|end| range.end > end) {
            return wrong("another range is sent than was asked for");
        }
        if length.is_some() && total.is_some() && length != total {
            return wrong("ranges disagree about the length of the file");
        }
        if self.more || (self.body.len() as u64) != range.len().min(FIRST) {
            return wrong("a range has another number of bytes than it says");
        }
        Range::Honest
    }
}

/// Whoever asks one server.
pub struct Asker<'a> {
    net: &'a Net,
    /// What is probed.
    pub order: &'a Order,
    until: Instant,
    /// Bytes of content that were read.
    pub bytes: u64,
}

impl<'a> Asker<'a> {
    /// Somebody who has asked nothing yet.
    pub fn new(net: &'a Net, order: &'a Order) -> Self {
        Self { net, order, until: Instant::now() + PATIENCE, bytes: 0 }
    }

    /// The first bytes, over whatever connection; an unreachable server is a fault.
    pub async fn first(&mut self, hops: &mut Vec<(String, String, u16)>) -> Result<Reply, Fault> {
        let request = self.request(Method::GET, Lane::Shared).header(RANGE, format!("bytes=0-{}", FIRST - 1));
        let mut note = |from: &Url, to: &Url, status| hops.push((shown(from), shown(to), status));
        let asked = self.net.fetch(request, &self.order.access, &mut note);
        let answer = match timeout_at(self.until, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Fault::new(Kind::Network, "the server did not answer in time")),
        };
        Ok(self.read(answer, FIRST).await)
    }

    /// A range over a new connection; `None` when no answer came.
    pub async fn range(&mut self, from: u64, end: Option<u64>, condition: Option<&str>) -> Option<Reply> {
        let last = end.map_or(String::new(), |end| (end - 1).to_string());
        let mut request = self.request(Method::GET, Lane::Own).header(RANGE, format!("bytes={from}-{last}"));
        if let Some(condition) = condition {
            request = request.header(IF_RANGE, condition);
        }
        let answer = self.alone(request).await?;
        Some(self.read(answer, end.map_or(FEW, |end| end - from)).await)
    }

    /// What a condition that fits and one that does not give.
    pub async fn condition(&mut self, fits: &str, differs: &str) -> Condition {
        let mut status = Vec::new();
        for value in [fits, differs] {
            match self.range(0, Some(FEW), Some(value)).await {
                Some(reply) => status.push(reply.status),
                None => return Condition::Unavailable,
            }
        }
        match status[..] {
            [206, 206] => Condition::Ignored,
            [206, _] => Condition::Works,
            _ => Condition::Denied,
        }
    }

    /// The upload protocols that the URL and its folder announce, or let be seen without writing.
    pub async fn uploads(&mut self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let folder = self.order.url.join(".").unwrap_or_else(|_| self.order.url.clone());
        for url in [self.order.url.clone(), folder.clone()] {
            let of_folder = url == folder;
            let request = Request { url, ..self.request(Method::OPTIONS, Lane::Own) };
            let Some(answer) = self.alone(request).await else { continue };
            let mut found = announced(&answer.headers);
            if of_folder && self.speaks_up2k(&answer).await {
                found.push(up2k::NAME.into());
            }
            for protocol in found {
                if !all.contains(&protocol) {
                    all.push(protocol);
                }
            }
        }
        all
    }

    /// Whether the folder that gave this answer to `OPTIONS` is copyparty's, which only its listing tells.
    async fn speaks_up2k(&self, answer: &Response) -> bool {
        let (url, access) = (self.order.url.clone(), self.order.access.clone());
        let destination = Destination { url, base: None, access };
        let asked = up2k::speaks(self.net, &destination, &answer.url, &answer.headers);
        answer.status.is_success() && matches!(timeout_at(self.until, asked).await, Ok(Ok(true)))
    }

    /// The range's bytes over a connection of its own, for their number and not for themselves.
    pub async fn drain(&self, from: u64, end: u64, until: Instant) -> u64 {
        let request = self.request(Method::GET, Lane::Own).header(RANGE, format!("bytes={from}-{}", end - 1));
        let mut bytes = 0;
        let net = Net::new(self.net.options().clone());
        let asked = timeout_at(until, net.fetch(request, &self.order.access, &mut |_, _, _| {})).await;
        let Ok(Ok(mut answer)) = asked else { return 0 };
        if answer.status.as_u16() != 206 {
            return 0;
        }
        while bytes < end - from {
            match timeout_at(until, answer.chunk()).await {
                Ok(Ok(Some(block))) => bytes += block.len() as u64,
                _ => break,
            }
        }
        bytes
    }

    fn request(&self, method: Method, lane: Lane) -> Request {
        let request = Request::new(method, self.order.url.clone()).header(ACCEPT_ENCODING, "identity").lane(lane);
        let wanted = [crate::digest::Algorithm::Sha256, crate::digest::Algorithm::Sha512];
        let wanted = crate::wire::digest_fields::print_wanted(&wanted);
        request.header(HeaderName::from_static("want-repr-digest"), wanted)
    }

    /// Asks over a connection that nothing else has used.
    async fn alone(&self, request: Request) -> Option<Response> {
        let net = Net::new(self.net.options().clone());
        timeout_at(self.until, net.fetch(request, &self.order.access, &mut |_, _, _| {})).await.ok()?.ok()
    }

    /// Reads at most `wanted` bytes of the content, and notes whether there would be more.
    async fn read(&mut self, mut answer: Response, wanted: u64) -> Reply {
        let range = answer.field(CONTENT_RANGE).and_then(ContentRange::parse);
        let chunked = answer.headers.contains_key(TRANSFER_ENCODING);
        let length = answer.field(CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok()).filter(|_| !chunked);
        let status = answer.status.as_u16();
        let total = match status {
            200 => length,
            _ => range.and_then(|range| range.total()),
        };
        let until = (Instant::now() + BODY).min(self.until);
        let (mut body, mut more) = (Vec::new(), false);
        while !more {
            match timeout_at(until, answer.chunk()).await {
                Ok(Ok(Some(block))) => body.extend_from_slice(&block),
                _ => break,
            }
            more = body.len() as u64 > wanted;
        }
        self.bytes += body.len() as u64;
        body.truncate(wanted as usize);
        Reply {
            status,
            validator: validator::of_headers(&answer.headers),
            url: answer.url.clone(),
            version: match answer.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            headers: std::mem::take(&mut answer.headers),
            total,
            body,
            more,
        }
    }
}

/// What the fields of an answer to `OPTIONS` say about uploads.
fn announced(headers: &HeaderMap) -> Vec<String> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_string());
    let mut all = Vec::new();
    if let Some(versions) = text(crate::wire::handshake::HANDSHAKE) {
        all.push(format!("onward handshake ({versions})"));
    }
    if let Some(versions) = text("tus-version").or_else(|| text("tus-resumable")) {
        let extensions = text("tus-extension").map_or(String::new(), |names| format!("; {names}"));
        all.push(format!("tus ({versions}{extensions})"));
    }
    let draft = text("upload-draft-interop-version").map(|version| format!("interop {version}"));
    if let Some(terms) = draft.or_else(|| text("upload-limit")) {
        all.push(format!("IETF resumable uploads ({terms})"));
    }
    all.extend(text("dav").map(|classes| format!("WebDAV ({classes})")));
    all.extend(text("accept-patch").map(|types| format!("PATCH ({types})")));
    let allowed = text("allow").unwrap_or_default().to_ascii_uppercase();
    if allowed.split(',').any(|method| method.trim() == "PUT") {
        all.push("PUT".into());
    }
    if dav::announced(headers) {
        all.push("PATCH or PUT with Content-Range (possible: proven only by writing)".into());
    }
    all
}
