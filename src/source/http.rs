//! A file behind an http or https URL, fetched by ranges (RFC 9110, section 14). Every answer is taken apart here, so
//! that the engine sees only bytes whose place is certain.

use super::{Answer, Ask, Body, Head, Hop, Pending, Source};
use crate::digest::Algorithm;
use crate::event::Secrets;
use crate::fault::{Fault, Kind};
use crate::net::{Access, Lane, Net, Request, Response, login_hint, shown};
use crate::wire::content_range::ContentRange;
use crate::wire::{digest_fields, filename, media_type, retry_after, validator};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, Method, Version};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::SystemTime;
use tokio::sync::Mutex;
use url::Url;

/// One URL and what is needed to be let in.
pub struct Http {
    net: Rc<Net>,
    at: RefCell<At>,
    /// Who gives a fresh URL when this one has expired.
    secrets: Option<Rc<dyn Secrets>>,
    /// Held while a fresh URL is asked for: connections that find the same one expired wait for it.
    renewing: Mutex<()>,
    /// Over which connections the first request goes.
    lane: Lane,
}

/// Where the file is to be had now.
struct At {
    url: Url,
    access: Access,
    /// Where the redirects led the last time. Signed targets expire: then the URL itself is asked again.
    resolved: Option<Url>,
    /// How often the URL was made fresh.
    renewals: u32,
    /// Whether there is hope in this URL. It is gone once one that was fresh has been refused as well.
    hopeful: bool,
    /// Whether the URL is good for a request at all: a record's is not where a secret was masked.
    whole: bool,
}

impl Http {
    /// The file behind `url`.
    pub fn new(net: Rc<Net>, url: Url, access: Access) -> Self {
        let at = At { url, access, resolved: None, renewals: 0, hopeful: true, whole: true };
        Self { net, at: RefCell::new(at), secrets: None, renewing: Mutex::default(), lane: Lane::Shared }
    }

    /// The same, the first request over connections of this kind.
    pub fn beginning_on(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// The same with somebody who gives a fresh URL when this one has expired, or at once where it is not `whole`.
    pub fn renewed_by(mut self, secrets: Rc<dyn Secrets>, whole: bool) -> Self {
        self.at.get_mut().whole = whole;
        Self { secrets: Some(secrets), ..self }
    }

    async fn fetch(&self, ask: &Ask) -> Result<(Response, Vec<Hop>), Fault> {
        if !self.at.borrow().whole {
            self.renew(0).await?;
        }
        let renewals = self.at.borrow().renewals;
        let answer = self.follow(ask).await?;
        if answer.0.status.is_success() {
            self.at.borrow_mut().hopeful = true;
        }
        if !is_expired(&answer.0) || self.secrets.is_none() || !self.renew(renewals).await? {
            return Ok(answer);
        }
        let answer = self.follow(ask).await?;
        self.at.borrow_mut().hopeful = !is_expired(&answer.0);
        Ok(answer)
    }

    /// Makes the URL fresh, unless somebody else has since it was made so for the `seen`-th time. `false`: it makes no
    /// sense, the last fresh one was refused too.
    async fn renew(&self, seen: u32) -> Result<bool, Fault> {
        let Some(secrets) = &self.secrets else { return Ok(false) };
        let _turn = self.renewing.lock().await;
        if self.at.borrow().renewals > seen {
            return Ok(true);
        }
        if !self.at.borrow().hopeful {
            return Ok(false);
        }
        let mut url = secrets.fresh_url().await?;
        let own = Access::new(&mut url, HeaderMap::new());
        let mut at = self.at.borrow_mut();
        if own.is_login() {
            at.access = own;
        }
        (at.url, at.resolved, at.whole) = (url, None, true);
        at.renewals += 1;
        Ok(true)
    }

    /// Asks where the redirects led the last time, or follows them anew.
    async fn follow(&self, ask: &Ask) -> Result<(Response, Vec<Hop>), Fault> {
        let (url, known) = {
            let at = self.at.borrow();
            (at.url.clone(), at.resolved.clone())
        };
        if let Some(target) = known {
            match self.hop(target.clone(), ask).await {
                Ok(answer) if !is_expired(&answer.0) => return Ok(answer),
                // That host may be gone while the URL leads to another by now.
                Err(fault) if fault.kind != Kind::Network => return Err(fault),
                _ => {}
            }
            // Another connection may have found a new one meanwhile.
            self.at.borrow_mut().resolved.take_if(|resolved| *resolved == target);
        }
        self.hop(url, ask).await
    }

    async fn hop(&self, url: Url, ask: &Ask) -> Result<(Response, Vec<Hop>), Fault> {
        let mut hops = Vec::new();
        let mut note = |from: &Url, to: &Url, status| hops.push(Hop { from: shown(from), to: shown(to), status });
        let access = self.at.borrow().access.clone();
        let answer = self.net.fetch(request(url, ask, self.lane), &access, &mut note).await?;
        // A login page may be where redirects lead to for a while: it is not where the file is.
        if !hops.is_empty() && answer.status.is_success() && !is_html(&answer) {
            self.at.borrow_mut().resolved = Some(answer.url.clone());
        }
        Ok((answer, hops))
    }
}

/// Whether the answer is what signed URLs give when their time is over.
fn is_expired(answer: &Response) -> bool {
    matches!(answer.status.as_u16(), 401 | 403 | 404 | 410)
}

impl Source for Http {
    fn ask(&self, ask: Ask) -> Pending<'_, Result<Answer, Fault>> {
        Box::pin(async move {
            let (answer, hops) = self.fetch(&ask).await?;
            let at = self.at.borrow();
            read(answer, hops, &ask, &at)
        })
    }

    fn shown(&self) -> String {
        shown(&self.at.borrow().url)
    }

    fn host(&self) -> String {
        let url = &self.at.borrow().url;
        match url.port_or_known_default() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_string(),
        }
    }
}

/// The digests worth having, the best first.
static WANTED: LazyLock<String> =
    LazyLock::new(|| digest_fields::print_wanted(&[Algorithm::Sha256, Algorithm::Sha512, Algorithm::Crc64Nvme]));

fn request(url: Url, ask: &Ask, lane: Lane) -> Request {
    // A coding would make the bytes of a range those of something else (RFC 9110, section 8.4).
    let mut request = Request::new(Method::GET, url).header(ACCEPT_ENCODING, "identity");
    if !ask.alone {
        request = request.header(HeaderName::from_static("want-repr-digest"), WANTED.as_str());
    }
    if let Some(from) = ask.from {
        let range = match ask.end {
            Some(end) => format!("bytes={from}-{}", end.saturating_sub(1)),
            None => format!("bytes={from}-"),
        };
        request = request.header(RANGE, range);
        if let Some(condition) = ask.kept.as_ref().and_then(|kept| validator::if_range(kept, ask.form)) {
            request = request.header(IF_RANGE, condition);
        }
    }
    if let Some(known) = &ask.unless {
        let tag = known.etag.iter().map(|tag| (IF_NONE_MATCH, tag));
        // RFC 9110, section 13.1.3: the date counts only where no tag is sent.
        let date = known.last_modified.iter().filter(|_| known.etag.is_none()).map(|date| (IF_MODIFIED_SINCE, date));
        for (name, value) in tag.chain(date) {
            request = request.header(name, value);
        }
    }
    request.lane(if ask.alone { Lane::Own } else { lane })
}

/// Takes an answer apart.
fn read(answer: Response, hops: Vec<Hop>, ask: &Ask, at: &At) -> Result<Answer, Fault> {
    let mut head = head(&answer, hops, &at.url);
    let range = list(&answer, CONTENT_RANGE).as_deref().and_then(ContentRange::parse);
    match (answer.status.as_u16(), ask.from, range) {
        (416, _, range) => {
            head.total = range.and_then(|range| range.total());
            Ok(Answer::Beyond { head })
        }
        (304, _, _) if ask.unless.is_some() => Ok(Answer::Unchanged),
        (206, Some(from), range) => part(answer, head, range, from, ask),
        // Some object stores answer a range with 200 and a Content-Range that fits to the byte.
        (200, Some(from), Some(said @ ContentRange::Part { range, total })) if total != Some(range.len()) => {
            match length(&answer) == Some(range.len()) {
                true => part(answer, head, Some(said), from, ask),
                false => Ok(Answer::Unfit { why: "it answered a range with the status of the whole".into() }),
            }
        }
        (200, _, range) => whole(answer, head, range),
        (status, _, _) => Err(refusal(status, &answer, &at.access)),
    }
}

fn head(answer: &Response, hops: Vec<Hop>, url: &Url) -> Head {
    let disposition = answer.headers.get(CONTENT_DISPOSITION).map(|value| value.as_bytes());
    let offers = digest_fields::offered(&answer.headers, answer.status.as_u16() == 200);
    Head {
        validator: validator::of_headers(&answer.headers),
        total: None,
        name: filename::of_reply(disposition, url),
        html: is_html(answer),
        media: media(answer),
        digests: offers.whole,
        body_digests: offers.body,
        hops,
        open_ended: false,
        took: answer.took,
    }
}

fn is_html(answer: &Response) -> bool {
    media(answer).is_some_and(|media| media_type::is_page(&media))
}

fn media(answer: &Response) -> Option<String> {
    answer.field(CONTENT_TYPE).and_then(media_type::essence)
}

/// The `Content-Length` in bytes.
fn length(answer: &Response) -> Option<u64> {
    answer.field(CONTENT_LENGTH).and_then(|text| text.parse().ok())
}

/// All lines of a field as one, in lower case (RFC 9110, section 5.3): the first one alone may not be all it says.
fn list(answer: &Response, name: HeaderName) -> Option<String> {
    let lines: Vec<_> =
        answer.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(", ").to_ascii_lowercase())
}

/// The codings that were applied without being asked for, those of the transfer included: of them only `chunked` is
/// undone by the time the bytes are here.
fn coding(answer: &Response) -> Option<String> {
    let applied = |name| {
        let list = list(answer, name).unwrap_or_default();
        let named = list.split(',').map(str::trim).filter(|coding| !coding.is_empty() && *coding != "identity");
        named.map(str::to_string).collect::<Vec<_>>()
    };
    let (content, transfer) = (applied(CONTENT_ENCODING), applied(TRANSFER_ENCODING));
    let transfer = if transfer == ["chunked"] { Vec::new() } else { transfer };
    let all = [content, transfer].concat();
    (!all.is_empty()).then(|| all.join(", "))
}

fn part(answer: Response, mut head: Head, said: Option<ContentRange>, from: u64, ask: &Ask) -> Result<Answer, Fault> {
    let unfit = |why: &str| Ok(Answer::Unfit { why: why.to_string() });
    if coding(&answer).is_some() {
        return unfit("its ranges are of a compressed form of the file");
    }
    if media(&answer).as_deref() == Some("multipart/byteranges") {
        return unfit("it wraps one range as if it were several");
    }
    let Some(ContentRange::Part { range, total }) = said else {
        return unfit("it does not say which range it sends");
    };
    if range.start != from || ask.end.is_some_and(|end| range.end > end) {
        return unfit("it sends another range than it was asked for");
    }
    if ask.end.is_none() && ask.kept.is_none() && total.is_none() {
        // Whether its end is the file's end, nobody could tell.
        return unfit("it sends a part and does not say of how much");
    }
    if length(&answer).is_some_and(|told| told != range.len()) {
        return unfit("its range and its length contradict each other");
    }
    head.total = total;
    if range.start == 0 && total == Some(range.end) {
        // All of it in one range: fields that speak of the body speak of the file.
        head.digests = digest_fields::offered(&answer.headers, true).whole;
    }
    let body = Incoming { answer, left: Some(range.len()) };
    Ok(Answer::Part { head, end: range.end, body: Box::new(body) })
}

fn whole(answer: Response, mut head: Head, said: Option<ContentRange>) -> Result<Answer, Fault> {
    if let Some(coding) = coding(&answer) {
        let text = format!("{} sends the file in the coding {:?}, which was not asked for", host(&answer), coding);
        return Err(Fault::new(Kind::Other, text).hint("another mirror, or the operator, can help"));
    }
    let chunked = answer.headers.contains_key(TRANSFER_ENCODING);
    let length = length(&answer).filter(|_| !chunked);
    if let Some(ContentRange::Part { range, total }) = said
        && (range.start > 0 || total != Some(range.end) || length.is_some_and(|length| length != range.len()))
    {
        return Err(no_whole(&answer));
    }
    head.total = length;
    head.open_ended = length.is_none() && !chunked && answer.version < Version::HTTP_2;
    Ok(Answer::Whole { head, body: Box::new(Incoming { answer, left: length }) })
}

fn no_whole(answer: &Response) -> Fault {
    Fault::new(Kind::Other, format!("{} sent a part where the whole was asked for", host(answer)))
}

/// The fault that a status other than success means.
fn refusal(status: u16, answer: &Response, access: &Access) -> Fault {
    let reason = answer.status.canonical_reason().unwrap_or("an unknown status");
    let text = format!("{} answered {status} {reason}", host(answer));
    let fault = match status {
        304 => Fault::new(
            Kind::Network,
            format!("{} answered 304 to a request that asked for no such thing", host(answer)),
        ),
        206 => no_whole(answer),
        204 | 205 => Fault::new(Kind::Network, format!("{text}, which carries no file")),
        _ => Fault::status(status, text),
    };
    let wait = retry_after::wait(&answer.headers, SystemTime::now());
    match status {
        401 => fault.hint(login_hint(&answer.headers, access.is_login())),
        403 => fault.hint(
            "the link may have expired (`onward resume --url URL` goes on with a fresh one), or a login is missing",
        ),
        407 => fault.hint("give the proxy's login in --proxy http://user:password@host"),
        _ => fault,
    }
    .wait(wait)
}

fn host(answer: &Response) -> String {
    answer.url.host_str().unwrap_or("the server").to_string()
}

/// A body that must be as long as it said.
struct Incoming {
    answer: Response,
    left: Option<u64>,
}

impl Incoming {
    async fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        let bytes = self.answer.chunk().await?;
        let Some(left) = self.left.as_mut() else { return Ok(bytes) };
        let came = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if came > *left {
            let text = format!("{} sent more bytes than it had promised", host(&self.answer));
            return Err(Fault::new(Kind::Network, text));
        }
        *left -= came;
        if bytes.is_none() && *left > 0 {
            let text = format!("{} ended the answer {} bytes too early", host(&self.answer), left);
            return Err(Fault::new(Kind::Network, text));
        }
        Ok(bytes)
    }
}

impl Body for Incoming {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>> {
        Box::pin(self.read())
    }
}
