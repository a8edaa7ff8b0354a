//! A scripted HTTP/1.1 origin that serves pages honestly until it is told to lie.
//!
//! A test first says what is there (`origin.page("/f", Page::of(&content).etag("\"v1\""))`), then what goes wrong and
//! when (`origin.when(first(), cut_after(5000))`), and afterwards asks what was requested and how many bytes went out.
//! Rules are tried in the order they were given, and every rule that fits is applied.

mod claims;
mod lies;
mod noise;
mod talk;
mod tests;

pub use claims::*;
pub use lies::*;
pub use noise::*;

use crate::world::Content;
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls;

/// What is there under one path.
#[derive(Clone)]
pub struct Page {
    content: Content,
    etag: Option<String>,
    last_modified: Option<String>,
    headers: Vec<(String, String)>,
    ranges: bool,
}

impl Page {
    /// A page with this content, a strong ETag derived from nothing but `"v1"`, a date, and ranges.
    pub fn of(content: &Content) -> Self {
        Self {
            content: content.clone(),
            etag: Some("\"v1\"".into()),
            last_modified: Some("Tue, 17 Nov 2015 09:42:18 GMT".into()),
            headers: Vec::new(),
            ranges: true,
        }
    }

    /// Another ETag, quotes and all.
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.into());
        self
    }

    pub fn no_etag(mut self) -> Self {
        self.etag = None;
        self
    }

    pub fn last_modified(mut self, date: &str) -> Self {
        self.last_modified = Some(date.into());
        self
    }

    pub fn no_date(mut self) -> Self {
        self.last_modified = None;
        self
    }

    /// A server without ranges: no `Accept-Ranges`, every answer is 200 and whole.
    pub fn no_ranges(mut self) -> Self {
        self.ranges = false;
        self
    }

    /// One more field on every answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// One request, as a rule sees it.
#[derive(Clone)]
pub struct Ask {
    pub method: String,
    /// The target as sent, with its query.
    pub target: String,
    /// Field names in lower case.
    pub headers: Vec<(String, String)>,
    /// The how-many-th request to this path it is, from 1.
    pub nth: usize,
    /// The how-many-th connection to the origin it came on, from 1.
    pub connection: usize,
    /// Connections open when it came, this one included.
    pub open: usize,
}

impl Ask {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The first byte asked for: 0 without a Range.
    pub fn start(&self) -> u64 {
        let range = self.header("range").and_then(|r| r.strip_prefix("bytes="));
        range.and_then(|r| r.split('-').next()?.parse().ok()).unwrap_or(0)
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What is about to be sent; a lie changes it.
pub struct Answer {
    pub version: &'static str,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub content: Content,
    /// The body: bytes `start..end` of the content, then `extra`.
    pub start: u64,
    pub end: u64,
    pub extra: Vec<u8>,
    chunked: bool,
    chunked_by: usize,
    wait: Duration,
    stop: Option<(u64, Stop)>,
    rate: Option<u64>,
    close: bool,
    noise: Noise,
}

/// How a body ends too early.
#[derive(Clone, Copy)]
enum Stop {
    Close,
    Reset,
    Stall,
}

impl Answer {
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.unset(name);
        self.headers.push((name.into(), value.into()));
    }

    pub fn unset(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Becomes a small page of its own, with status 200.
    pub fn page(&mut self, kind: &str, text: &str) {
        *self = Self::text(200, kind, text);
    }

    fn text(status: u16, kind: &str, body: &str) -> Self {
        let mut answer = Self {
            version: "HTTP/1.1",
            status,
            headers: Vec::new(),
            content: Content::of(body),
            start: 0,
            end: body.len() as u64,
            extra: Vec::new(),
            chunked: false,
            chunked_by: 64 << 10,
            wait: Duration::ZERO,
            stop: None,
            rate: None,
            close: false,
            noise: Noise::default(),
        };
        answer.set("Date", httpdate::fmt_http_date(SystemTime::now()));
        answer.set("Content-Type", kind);
        answer.set("Content-Length", body.len().to_string());
        answer
    }
}

/// One request that came, and what was sent for it.
#[derive(Clone)]
pub struct Asked {
    pub ask: Ask,
    pub status: u16,
    sent: Arc<AtomicU64>,
}

impl Asked {
    /// Body bytes given to the socket.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Shared {
    pages: Mutex<HashMap<String, Page>>,
    rules: Mutex<Vec<(When, Arc<Lie>)>>,
    log: Mutex<Vec<Asked>>,
    counts: Mutex<HashMap<String, usize>>,
    streams: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    limit: AtomicUsize,
    stopping: AtomicBool,
}

/// The origin. It ends when dropped.
pub struct Origin {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

impl Origin {
    /// An origin with nothing there yet.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// The same over TLS.
    pub fn start_tls(identity: &Identity) -> Self {
        Self::with(Some(identity.config()))
    }

    /// The usual case: one page, under `/file.bin`.
    pub fn serving(content: &Content) -> Self {
        let origin = Self::start();
        origin.page("/file.bin", Page::of(content));
        origin
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { limit: AtomicUsize::new(usize::MAX), ..Shared::default() });
        let scheme = if tls.is_some() { "https" } else { "http" };
        std::thread::spawn({
            let shared = shared.clone();
            move || talk::accept(&listener, &shared, tls)
        });
        Self { address, scheme, shared }
    }

    /// Puts a page there, in place of an earlier one.
    pub fn page(&self, path: &str, page: Page) {
        self.shared.pages.lock().unwrap().insert(path.into(), page);
    }

    /// From now on, `lie` whenever `when`.
    pub fn when(&self, when: When, lie: Lie) -> &Self {
        self.shared.rules.lock().unwrap().push((when, Arc::new(lie)));
        self
    }

    /// From now on the plain truth again; requests are counted anew.
    pub fn honest_again(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.shared.counts.lock().unwrap().clear();
    }

    /// Connections past `n` are reset as soon as they are accepted.
    pub fn at_most_connections(&self, n: usize) {
        self.shared.limit.store(n, Ordering::SeqCst);
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The same under the name `localhost`, which is another origin.
    pub fn url_by_name(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Bytes of the content given to the sockets so far; more than the peer has read, where it left early.
    pub fn sent(&self) -> u64 {
        self.asked().iter().filter(|asked| asked.status < 300).map(Asked::sent).sum()
    }

    /// Forgets what was requested so far.
    pub fn forget_log(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// Cuts all open connections.
    pub fn drop_connections(&self) {
        self.shared.streams.lock().unwrap().drain(..).for_each(|s| drop(s.shutdown(Shutdown::Both)));
    }

    /// The requests in words, for messages.
    pub fn story(&self) -> String {
        let line = |a: &Asked| {
            let range = a.ask.header("range").unwrap_or("-");
            let if_range = a.ask.header("if-range").unwrap_or("-");
            format!(
                "  {} {} range={range} if-range={if_range} connection={} -> {} ({} bytes)\n",
                a.ask.method,
                a.ask.target,
                a.ask.connection,
                a.status,
                a.sent()
            )
        };
        self.asked().iter().map(line).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.drop_connections();
        let _ = TcpStream::connect(self.address);
    }
}

/// A self-signed certificate for 127.0.0.1 and localhost.
pub struct Identity {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Identity {
    pub fn new() -> Self {
        Self::such(&["127.0.0.1", "localhost"], |_| {})
    }

    /// One that calls itself an authority, as `openssl req -x509` makes it.
    pub fn authority(names: &[&str], last_year: i32) -> Self {
        Self::such(names, |wanted| {
            wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            wanted.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        })
    }

    fn such(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let mut wanted =
            rcgen::CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        change(&mut wanted);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { cert_pem: wanted.self_signed(&key).unwrap().pem(), key_pem: key.serialize_pem() }
    }

    /// What a server needs to speak TLS under this name.
    pub fn config(&self) -> Arc<rustls::ServerConfig> {
        use rustls_pki_types::pem::PemObject;
        let cert = rustls_pki_types::CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![cert], key).unwrap())
    }
}
