//! The network: the only place that opens outbound connections, and the only one that knows the HTTP client
//! library. It sends one request and gives one answer; redirects are followed by a loop of its own, because the
//! library hands secrets to the second hop. Foreign errors become faults here.

use crate::chunk::ByteRange;
use crate::fault::{Fault, Kind};
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode, Version};
use http_body::{Frame, SizeHint};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use url::Url;

/// Which version of the Internet Protocol may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpChoice {
    /// Whichever answers.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// What holds for all connections of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The longest time for a connection, name look-up and TLS included.
    pub connect_timeout: Duration,
    /// The longest time without a byte moving, in either direction.
    pub stall_timeout: Duration,
    /// Files of certificates in PEM form that are trusted beside the system's.
    pub cacert: Vec<PathBuf>,
    /// Whether certificates are not checked at all.
    pub insecure: bool,
    /// The proxy for every request, instead of the environment's.
    pub proxy: Option<String>,
    /// The version of the Internet Protocol.
    pub ip: IpChoice,
    /// What the program calls itself.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
            cacert: Vec::new(),
            insecure: false,
            proxy: None,
            ip: IpChoice::Any,
            user_agent: concat!("onward/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// Whether a request may share a connection with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lane {
    /// Any connection, an HTTP/2 one shared with other requests included.
    #[default]
    Shared,
    /// An HTTP/1.1 connection of its own: parallel ranges over one HTTP/2 connection would share one TCP flow.
    Own,
}

/// Whoever counts bytes on their way and may hold the next ones back.
pub trait Gauge: Send + Sync {
    /// `bytes` went by; the answer is how long to wait before the next ones, zero to go on.
    fn pass(&self, bytes: usize) -> Duration;

    /// How many bytes to move in one go, at most `most`: under a low rate less, so that no wait becomes long.
    fn frame(&self, most: usize) -> usize {
        most
    }
}

/// The content of a request. Cheap to clone, so that a request can be sent again.
#[derive(Clone, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// A few bytes in memory.
    Bytes(Bytes),
    /// A part of a file, read while it is sent.
    File {
        /// The file; read at given places, so its cursor does not matter.
        file: Arc<File>,
        /// Which bytes of it.
        range: ByteRange,
        /// Told of every block that is sent.
        gauge: Arc<dyn Gauge>,
    },
    /// Parts in their order, as a form has them: a head, a file's bytes, a tail.
    Parts(Vec<Body>),
}

impl Body {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.len(),
            Self::Parts(parts) => parts.iter().map(Self::len).sum(),
        }
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One request.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to; `user:password@` in it is the caller's to take out (see [`Access`]).
    pub url: Url,
    /// The fields, beside those that the client adds itself (Host, Content-Length, User-Agent).
    pub headers: HeaderMap,
    /// The content.
    pub body: Body,
    /// Whether it may share a connection.
    pub lane: Lane,
}

impl Request {
    /// A request without fields or content.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::Empty, lane: Lane::Shared }
    }

    /// The same with one more field; a value that cannot be sent is left out.
    pub fn header(mut self, name: HeaderName, value: impl AsRef<[u8]>) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_ref()) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same with content.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The same on another lane.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }
}

/// The head of an answer, and its content still to come.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// Who answered: the URL of the last hop.
    pub url: Url,
    /// The version of HTTP it came by.
    pub version: Version,
    inner: reqwest::Response,
    stall: Duration,
}

impl Response {
    /// The next bytes of the content, `None` at its proper end. An end before the announced one is a fault.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        match tokio::time::timeout(self.stall, self.inner.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(e)) => Err(fault_of(&e, &self.url)),
            Err(_) => Err(silent(&self.url, self.stall)),
        }
    }

    /// All of the content, refused when it is longer than `at_most` bytes.
    pub async fn bytes(mut self, at_most: usize) -> Result<Bytes, Fault> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if all.len() + bytes.len() > at_most {
                let text = format!(
                    "{} answered with more than {at_most} bytes where a short answer was expected",
                    host(&self.url)
                );
                return Err(Fault::new(Kind::Other, text));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// A field as text; `None` when it is missing or not text.
    pub fn field(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Builds connections and sends requests over them.
pub struct Net {
    options: Options,
    /// By scheme (https or not) and lane: a client that only speaks http needs no certificates, which matters in a
    /// container without any, and for the time to the first byte.
    clients: [OnceLock<reqwest::Client>; 4],
}

impl Net {
    /// A network by these rules. Nothing is opened before the first request.
    pub fn new(options: Options) -> Self {
        Self { options, clients: Default::default() }
    }

    /// The rules.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sends one request and waits for the head of the answer. Redirects are answers like others.
    pub async fn send(&self, request: Request) -> Result<Response, Fault> {
        let client = self.client(request.url.scheme() == "https", request.lane)?;
        let Request { method, url, headers, body, .. } = request;
        let moved = Arc::new(AtomicU64::new(0));
        let has_body = !body.is_empty();
        let mut builder = client.request(method, url.clone()).headers(headers);
        if has_body {
            builder = builder.body(reqwest::Body::wrap(Outgoing::new(body, moved.clone())));
        }
        let sent = builder.send();
        let answer = match has_body {
            false => tokio::time::timeout(self.options.connect_timeout + self.options.stall_timeout, sent)
                .await
                .map_err(|_| silent(&url, self.options.stall_timeout))?,
            true => while_moving(sent, &moved, self.options.connect_timeout + self.options.stall_timeout)
                .await
                .ok_or_else(|| silent(&url, self.options.stall_timeout))?,
        };
        let mut inner = answer.map_err(|e| fault_of(&e, &url))?;
        Ok(Response {
            status: inner.status(),
            headers: std::mem::take(inner.headers_mut()),
            version: inner.version(),
            url,
            inner,
            stall: self.options.stall_timeout,
        })
    }

    /// Sends a request with what the user gave for this origin, and follows redirects: up to 10, never from https
    /// to http, never with a secret to another origin (RFC 9110, section 15.4). `on_redirect` hears of every hop.
    pub async fn fetch(
        &self,
        request: Request,
        access: &Access,
        on_redirect: &mut dyn FnMut(&Url, &Url, u16),
    ) -> Result<Response, Fault> {
        const HOPS: usize = 10;
        let mut hop = request.clone();
        let mut seen = vec![hop.url.clone()];
        loop {
            for (name, value) in access.headers_for(&hop.url) {
                if let Some(name) = name {
                    hop.headers.insert(name, value);
                }
            }
            let answer = self.send(hop.clone()).await?;
            let Some(next) = redirect(&answer, &hop.method)? else { return Ok(answer) };
            if seen.contains(&next) {
                let text = format!("{} is a loop of redirects: it leads back to {}", shown(&request.url), shown(&next));
                return Err(Fault::new(Kind::Other, text));
            }
            if seen.len() > HOPS {
                return Err(Fault::new(
                    Kind::Other,
                    format!("{} leads through more than {HOPS} redirects", shown(&request.url)),
                ));
            }
            if hop.url.scheme() == "https" && next.scheme() != "https" {
                let text = format!("{} leads from https to {}", shown(&hop.url), shown(&next));
                return Err(Fault::new(Kind::Refused, text).hint("give the http URL itself if that is what you want"));
            }
            on_redirect(&hop.url, &next, answer.status.as_u16());
            seen.push(next.clone());
            hop = Request { url: next, ..request.clone() };
            if answer.status == StatusCode::SEE_OTHER && hop.method != Method::HEAD {
                hop.method = Method::GET;
                hop.body = Body::Empty;
            }
        }
    }

    fn client(&self, tls: bool, lane: Lane) -> Result<&reqwest::Client, Fault> {
        let slot = &self.clients[usize::from(tls) * 2 + usize::from(lane == Lane::Own)];
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = self.build(tls, lane)?;
        Ok(slot.get_or_init(|| client))
    }

    fn build(&self, tls: bool, lane: Lane) -> Result<reqwest::Client, Fault> {
        let options = &self.options;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(options.connect_timeout)
            .user_agent(&options.user_agent)
            .tls_danger_accept_invalid_certs(options.insecure);
        if lane == Lane::Own || !tls {
            builder = builder.http1_only();
        }
        builder = match options.ip {
            IpChoice::Any => builder,
            IpChoice::V4 => builder.local_address(std::net::IpAddr::from([0, 0, 0, 0])),
            IpChoice::V6 => builder.local_address(std::net::IpAddr::from([0u16; 8])),
        };
        if let Some(proxy) = &options.proxy {
            let proxy = reqwest::Proxy::all(proxy).map_err(|_| Fault::new(Kind::Usage, "the proxy is not a URL"))?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_env()));
        }
        let proxied_by_tls = options.proxy.as_deref().is_some_and(|p| p.starts_with("https"))
            || ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
                .iter()
                .any(|name| std::env::var(name).is_ok_and(|value| value.starts_with("https")));
        if !tls && !proxied_by_tls {
            return finish(builder.tls_certs_only([]));
        }
        let certs = self.certificates()?;
        finish(if certs.is_empty() { builder } else { builder.tls_certs_merge(certs) })
    }

    fn certificates(&self) -> Result<Vec<reqwest::Certificate>, Fault> {
        let mut all = Vec::new();
        for path in &self.options.cacert {
            let pem = std::fs::read(path).map_err(|e| crate::disk::fault("read", path, &e))?;
            let certs = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certs.is_empty() {
                let text = format!("{} holds no certificate in PEM form", crate::disk::shown(path));
                return Err(Fault::new(Kind::Local, text));
            }
            all.extend(certs);
        }
        Ok(all)
    }
}

fn finish(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Fault> {
    builder.build().map_err(|e| {
        Fault::new(Kind::Local, format!("cannot set up the HTTP client: {}", innermost(&e)))
            .hint("for https a set of CA certificates is needed: install ca-certificates, or give --cacert FILE")
    })
}

/// Where an answer redirects to; `None` when it does not.
fn redirect(answer: &Response, method: &Method) -> Result<Option<Url>, Fault> {
    let safe = *method == Method::GET || *method == Method::HEAD;
    match answer.status.as_u16() {
        303 | 307 | 308 => {}
        301 | 302 if safe => {}
        _ => return Ok(None),
    }
    let Some(location) = answer.headers.get(LOCATION) else { return Ok(None) };
    // Old servers send raw UTF-8 here; the URL parser escapes it.
    let location = String::from_utf8_lossy(location.as_bytes());
    let bad =
        || Fault::new(Kind::Other, format!("{} redirects to something that is not an http URL", shown(&answer.url)));
    let mut next = answer.url.join(location.trim()).map_err(|_| bad())?;
    if !matches!(next.scheme(), "http" | "https") || next.host_str().is_none() {
        return Err(bad());
    }
    // RFC 9110, section 10.2.2: a Location without a fragment inherits it; we never send one.
    next.set_fragment(None);
    Ok(Some(next))
}

/// Waits for `sent` as long as bytes move; `None` once none has for `patience`.
async fn while_moving<F: Future>(sent: F, moved: &AtomicU64, patience: Duration) -> Option<F::Output> {
    let mut sent = std::pin::pin!(sent);
    loop {
        let before = moved.load(Ordering::Relaxed);
        if let Ok(answer) = tokio::time::timeout(patience, &mut sent).await {
            return Some(answer);
        }
        if moved.load(Ordering::Relaxed) == before {
            return None;
        }
    }
}

/// A body on its way out.
struct Outgoing {
    rest: std::collections::VecDeque<Body>,
    left: u64,
    moved: Arc<AtomicU64>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// How much of a file is read at once, in bytes.
const BLOCK: u64 = 128 << 10;

impl Outgoing {
    fn new(body: Body, moved: Arc<AtomicU64>) -> Self {
        let left = body.len();
        let rest = match body {
            Body::Parts(parts) => parts.into(),
            one => [one].into(),
        };
        Self { rest, left, moved, pause: None }
    }

    /// The next block, and how long to wait after it.
    fn block(&mut self) -> std::io::Result<Option<(Bytes, Duration)>> {
        loop {
            match self.rest.pop_front() {
                None => return Ok(None),
                Some(Body::Empty) => {}
                Some(Body::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Body::Bytes(bytes)) => return Ok(Some((bytes, Duration::ZERO))),
                Some(Body::Parts(parts)) => parts.into_iter().rev().for_each(|part| self.rest.push_front(part)),
                Some(Body::File { range, .. }) if range.is_empty() => {}
                Some(Body::File { file, range, gauge }) => {
                    let end = range.end.min(range.start + gauge.frame(BLOCK as usize).max(1) as u64);
                    let mut block = BytesMut::zeroed((end - range.start) as usize);
                    file.read_exact_at(&mut block, range.start)?;
                    let wait = gauge.pass(block.len());
                    self.rest.push_front(Body::File { file, range: ByteRange::new(end, range.end), gauge });
                    return Ok(Some((block.freeze(), wait)));
                }
            }
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(pause) = self.pause.as_mut() {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some((block, wait)) = self.block()? else { return Poll::Ready(None) };
        self.moved.fetch_add(block.len() as u64, Ordering::Relaxed);
        self.left -= block.len() as u64;
        if !wait.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        Poll::Ready(Some(Ok(Frame::data(block))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Scheme, host and port: what a secret is bound to (RFC 6454; another port is another origin).
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// What the user gave to be let in, bound to the origin it was given for.
#[derive(Clone, Default)]
pub struct Access {
    origin: Option<Url>,
    headers: HeaderMap,
}

impl Access {
    /// Access to the origin of `url` with these fields. A login inside the URL becomes an Authorization field
    /// unless there is one, and is taken out of the URL.
    pub fn new(url: &mut Url, mut headers: HeaderMap) -> Self {
        if !url.username().is_empty() || url.password().is_some() {
            let plain = |text: &str| percent_decode(text);
            let login = (plain(url.username()), plain(url.password().unwrap_or_default()));
            headers.entry(AUTHORIZATION).or_insert_with(|| basic(&login.0, &login.1));
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        headers.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
        Self { origin: Some(url.clone()), headers }
    }

    /// The fields that may go to `url`: all of them to the origin they were given for, none elsewhere.
    pub fn headers_for(&self, url: &Url) -> HeaderMap {
        match &self.origin {
            Some(origin) if same_origin(origin, url) => self.headers.clone(),
            _ => HeaderMap::new(),
        }
    }

    /// The names of the fields, for the record of what must be given again.
    pub fn names(&self) -> Vec<String> {
        self.headers.keys().map(|name| format!("header:{name}")).collect()
    }
}

/// The value of an Authorization field that logs in with name and password (RFC 7617).
pub fn basic(user: &str, password: &str) -> HeaderValue {
    let value = crate::wire::auth::basic(user, password);
    let mut value = HeaderValue::try_from(value).expect("base64 is a valid field value");
    value.set_sensitive(true);
    value
}

fn percent_decode(text: &str) -> String {
    let bytes: Vec<u8> = url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
        .map(|(_, value)| value.into_owned().into_bytes())
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A URL for people, logs and records: secrets masked, control characters are escaped by the URL itself.
pub fn shown(url: &Url) -> String {
    crate::wire::mask::masked(url)
}

fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_string(),
        _ => "the server".into(),
    }
}

fn silent(url: &Url, patience: Duration) -> Fault {
    Fault::new(Kind::Network, format!("{} sent nothing for {} s", host(url), patience.as_secs()))
}

/// The fault that an error of the HTTP library means.
fn fault_of(error: &reqwest::Error, url: &Url) -> Fault {
    let cause = innermost(error);
    let host = host(url);
    if cause.contains("invalid peer certificate") || cause.contains("CertNotValid") {
        let text = format!("{host} could not be trusted: {cause}");
        return Fault::new(Kind::Untrusted, text)
            .hint("check the name and the clock; --cacert FILE trusts one more authority");
    }
    if error.is_builder() || error.is_request() && cause.contains("invalid URL") {
        return Fault::new(Kind::Usage, format!("this request cannot be made: {cause}"));
    }
    if error.is_timeout() && error.is_connect() {
        return Fault::new(Kind::Network, format!("{host} could not be reached in time"));
    }
    if error.is_connect() {
        return Fault::new(Kind::Network, format!("cannot connect to {host}: {cause}"));
    }
    if error.is_body() || error.is_decode() {
        return Fault::new(Kind::Network, format!("{host} broke off in the middle: {cause}"));
    }
    Fault::new(Kind::Network, format!("{host} did not answer: {cause}"))
}

/// The words of the first cause: what libraries wrap around it tells a user nothing.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(next) = at.source() {
        at = next;
    }
    let text = at.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .chars()
        .flat_map(char::escape_default)
        .collect::<String>()
        .replace("\\'", "'")
        .replace("\\\"", "\"")
}
