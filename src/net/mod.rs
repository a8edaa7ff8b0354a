//! The network: the only place that opens outbound connections, and the only one that knows the HTTP client
//! library. It sends one request and gives one answer; logging in and following redirects are loops of its own.
//! Foreign errors become faults here.

mod access;
mod body;
mod client;
mod direct;
mod heard;
mod line;
mod proxied;
mod pulse;
mod redirect;
mod secured;
mod trust;
mod warm;
mod ways;
mod words;

pub use access::{Access, login_hint};
pub use body::{Body, Gauge};
pub use warm::Warm;
pub use ways::ways;
pub use words::shown;

use crate::event::Observer;
use crate::fault::{Fault, Kind};
use crate::wire::mask::Known;
use body::Outgoing;
use bytes::{Bytes, BytesMut};
use client::{Client, Incoming};
use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, StatusCode, Uri, Version};
use proxied::Proxies;
use pulse::Pulse;
use rustls::ClientConfig;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use url::Url;
use words::{fault_of, host, silent};

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
    /// The longest time without a byte moving, in either direction, on an established connection.
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
    /// Whether a redirect may lead from https to http.
    pub allow_downgrade: bool,
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
            allow_downgrade: false,
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
    /// How long no byte of it may move, where that is not the same as for all others.
    pub stall: Option<Duration>,
    /// What is in it and must not be shown, beside the secrets of its URL and the fields that are marked as such.
    pub known: Known,
}

impl Request {
    /// A request without fields or content.
    pub fn new(method: Method, url: Url) -> Self {
        let known = Known::default();
        Self { method, url, headers: HeaderMap::new(), body: Body::Empty, lane: Lane::Shared, stall: None, known }
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

    /// The same with its own limit of silence.
    pub fn stall(mut self, stall: Option<Duration>) -> Self {
        self.stall = stall;
        self
    }

    /// What of it must not be shown.
    fn secrets(&self) -> Known {
        let mut known = self.known.clone();
        known.add_url(&self.url);
        for value in self.headers.values().filter(|value| value.is_sensitive()) {
            known.add_field(&String::from_utf8_lossy(value.as_bytes()));
        }
        known
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
    /// From the request until its head was here, connecting included where that was needed.
    pub took: Duration,
    /// What was sent and must not be shown where the answer repeats it.
    pub known: Known,
    inner: Incoming,
    stall: Duration,
}

impl Response {
    /// The next bytes of the content, `None` at its proper end. An end before the announced one is a fault.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        match tokio::time::timeout(self.stall, self.inner.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(e)) => Err(fault_of(e, &self.url)),
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

/// Whoever hears of replies.
type Hear = Box<dyn Fn(&Response)>;

/// Builds connections and sends requests over them.
pub struct Net {
    options: Options,
    /// By way (through a proxy or not), scheme (https or not) and lane: a client that only speaks http needs no
    /// certificates, which matters in a container without any, and for the time to the first byte.
    clients: [OnceLock<Client>; 8],
    /// Which requests go through a proxy.
    proxies: OnceLock<Proxies>,
    /// Whom all of them believe, once one of them speaks TLS.
    trust: OnceLock<ClientConfig>,
    /// Origins over TLS that answer by HTTP/1.1 although HTTP/2 was offered.
    old: Mutex<HashSet<String>>,
    /// Who wants to know what is sent and answered.
    ears: Option<Arc<dyn Observer>>,
    /// Who is told of the heads of replies.
    heads: Option<Hear>,
}

impl Net {
    /// A network by these rules. Nothing is opened before the first request.
    pub fn new(options: Options) -> Self {
        let (clients, proxies, trust, old) = Default::default();
        Self { options, clients, proxies, trust, old, ears: None, heads: None }
    }

    /// The same, telling `observer` of every request and its answer.
    pub fn heard_by(self, observer: &Arc<dyn Observer>) -> Self {
        Self { ears: Some(observer.clone()), ..self }
    }

    /// The same, and `hear` is told of every reply of [`Net::fetch`] that is no redirect.
    pub fn telling(self, hear: impl Fn(&Response) + 'static) -> Self {
        Self { heads: Some(Box::new(hear)), ..self }
    }

    /// The rules.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sends one request and waits for the head of the answer. Redirects are answers like others.
    pub async fn send(&self, request: Request) -> Result<Response, Fault> {
        let tls = request.url.scheme() == "https";
        let place = request.url[..url::Position::BeforePath].to_string();
        let lane = if tls && self.is_old(&place) { Lane::Shared } else { request.lane };
        let to = Uri::try_from(request.url.as_str())
            .map_err(|e| Fault::new(Kind::Usage, format!("this request cannot be made: {e}")))?;
        let client = self.client(&to, tls, lane)?;
        let heard = self.ears.as_ref().map(|ears| heard::Heard::sent(ears.clone(), &request));
        let answer = self.exchange(client, to, request).await;
        if let Some(heard) = heard {
            heard.answered(&answer);
        }
        let by_http1 = answer.as_ref().is_ok_and(|answer| answer.version < Version::HTTP_2);
        if tls && lane == Lane::Shared && by_http1 {
            self.old.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
        }
        answer
    }

    async fn exchange(&self, client: &Client, to: Uri, request: Request) -> Result<Response, Fault> {
        let known = request.secrets();
        let Request { method, url, mut headers, body, stall, .. } = request;
        let stall = stall.unwrap_or(self.options.stall_timeout);
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if let Ok(name) = HeaderValue::from_str(&self.options.user_agent) {
            headers.entry(USER_AGENT).or_insert(name);
        }
        let pulse = Pulse::new();
        let mut message = http::Request::new(Outgoing::new(body, pulse.clone()));
        (*message.method_mut(), *message.uri_mut(), *message.headers_mut()) = (method, to, headers);
        let asked = Instant::now();
        let answer = pulse.watch(client.send(message), stall).await.ok_or_else(|| silent(&url, stall))?;
        let (head, inner) = answer.map_err(|e| fault_of(e, &url))?;
        let (status, headers, version) = (head.status, head.headers, head.version);
        Ok(Response { status, headers, version, took: asked.elapsed(), known, url, inner, stall })
    }

    /// Sends a request with what `access` has for its URL, and keeps what the answer sets for later ones. Where the
    /// server asks for a login in its own way (Digest), the request is sent again so: its content must lie still.
    /// Redirects are answers like others.
    pub async fn ask(&self, request: &Request, access: &Access) -> Result<Response, Fault> {
        /// Content larger than this, in bytes, is not sent only to learn how to log in.
        const LARGE: u64 = 64 << 10;
        /// Answers to challenges, a nonce that grew too old included.
        const ANSWERS: usize = 3;
        if request.body.len() > LARGE && access.is_undecided(&request.url) {
            let look = Request::new(Method::HEAD, request.url.clone()).lane(request.lane);
            let mut signed = look;
            let proof = access.sign(&mut signed);
            let answer = self.send(signed).await?;
            access.hear(&answer);
            // Nothing else than a challenge says anything about the request to come.
            if answer.status == StatusCode::UNAUTHORIZED {
                access.answers_challenge(&answer, &proof);
            }
        }
        for _ in 0..ANSWERS {
            let mut signed = request.clone();
            let proof = access.sign(&mut signed);
            let answer = self.send(signed).await?;
            access.hear(&answer);
            if !access.answers_challenge(&answer, &proof) {
                return Ok(answer);
            }
            // Read to its end, so that the connection serves for the answer as well; it need not be.
            let _ = tokio::time::timeout(Duration::from_secs(1), answer.bytes(LARGE as usize)).await;
        }
        let mut signed = request.clone();
        access.sign(&mut signed);
        let answer = self.send(signed).await?;
        access.hear(&answer);
        Ok(answer)
    }

    /// Whether the lanes lead to connections of one kind there: then they share a pool, or the idle connection of one
    /// would count against a server's limit when the other asks.
    fn is_old(&self, place: &str) -> bool {
        self.old.lock().unwrap_or_else(PoisonError::into_inner).contains(place)
    }

    fn client(&self, to: &Uri, tls: bool, lane: Lane) -> Result<&Client, Fault> {
        // Plain http is HTTP/1.1 in either lane: one pool, or its idle connection would count against a server's limit.
        let own = !tls || lane == Lane::Own;
        let proxied = self.proxies.get_or_init(|| Proxies::of(&self.options)).before(to);
        let slot = &self.clients[usize::from(proxied.is_some()) * 4 + usize::from(tls) * 2 + usize::from(own)];
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let needs_tls = tls || proxied.as_ref().is_some_and(|proxy| proxy.speaks_tls);
        let rules = needs_tls.then(|| self.tls(own)).transpose()?;
        let client = match proxied {
            Some(_) => Client::Proxied(proxied::client(&self.options, own, rules)?),
            None => Client::Direct(Box::new(direct::client(&self.options, rules))),
        };
        Ok(slot.get_or_init(|| client))
    }

    /// The rules of TLS for a client that speaks only HTTP/1.1, or HTTP/2 as well.
    fn tls(&self, http1: bool) -> Result<ClientConfig, Fault> {
        let mut rules = self.trust()?.clone();
        let spoken: &[&[u8]] = if http1 { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
        rules.alpn_protocols = spoken.iter().map(|name| name.to_vec()).collect();
        Ok(rules)
    }

    /// The rules of TLS, loaded when the first client needs them.
    fn trust(&self) -> Result<&ClientConfig, Fault> {
        if let Some(rules) = self.trust.get() {
            return Ok(rules);
        }
        let rules = trust::rules(&self.options.cacert, self.options.insecure)?;
        Ok(self.trust.get_or_init(|| rules))
    }
}

/// Scheme, host and port: what a secret is bound to (RFC 6454; another port is another origin).
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

fn percent_decode(text: &str) -> String {
    let bytes = crate::wire::percent::decode(text.as_bytes()).unwrap_or_else(|| text.as_bytes().to_vec());
    String::from_utf8_lossy(&bytes).into_owned()
}
