//! The receiver and file server: one site is one folder, served to whoever the door lets in. Here a request finds its
//! handler; the handlers know HTTP's words, only `connection` knows the library that speaks them.
//!
//! One file per upload protocol: what they share (uploads kept, checked and published) is in `store` and `check`.

mod check;
mod connection;
mod content;
mod door;
mod files;
mod growing;
mod handshake;
mod head;
mod ietf;
mod interim;
mod known;
mod listing;
mod piece;
mod receipt;
mod reply;
mod root;
mod store;
mod tus;
mod upload;

use crate::disk;
use crate::event::{Event, Observer};
use crate::fault::{Fault, Kind};
use crate::wire::handshake::{Id, Place, Problem, Reason};
use crate::wire::names;
use crate::wire::tus::{METHOD_OVERRIDE, RESUMABLE};
use connection::Inbound;
use door::Door;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONTENT_ENCODING,
    TRANSFER_ENCODING, VARY,
};
use http::request::Parts;
use http::{Method, StatusCode};
use known::Known;
use reply::{Answer, Reply, field, refuse};
use root::Root;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use upload::Protocol;

/// What is served, and to whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder.
    pub dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names of trust domains with their tokens; empty: everybody who can connect.
    pub tokens: Vec<(String, String)>,
    /// Certificate chain and key, PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The path all URLs begin with; begins and ends with `/`.
    pub base_path: String,
    /// Host names served beside this machine's own.
    pub hosts: Vec<String>,
    /// Foreign origins whose pages may send requests.
    pub origins: Vec<String>,
    /// The bounds.
    pub rules: Rules,
}

/// What clients may do, and how much of it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Take no uploads.
    pub read_only: bool,
    /// Give out nothing.
    pub upload_only: bool,
    /// Uploads may replace finished files.
    pub allow_overwrite: bool,
    /// Equal content gets its second name by a hard link where that can be, instead of by a copy.
    pub links: bool,
    /// The largest upload in bytes.
    pub max_file_size: Option<u64>,
    /// Unfinished uploads a trust domain may have.
    pub max_unfinished: u32,
    /// Bytes of the disk to keep free.
    pub min_free: u64,
    /// How long an upload is kept after its last byte, and its receipt after its end.
    pub expire: Duration,
    /// How long a reply waits for a check before it says that the check goes on.
    pub patience: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            read_only: false,
            upload_only: false,
            allow_overwrite: false,
            links: false,
            max_file_size: None,
            max_unfinished: 100,
            min_free: 256 << 20,
            expire: Duration::from_secs(7 * 24 * 3600),
            patience: Duration::from_secs(5),
        }
    }
}

/// A server that listens, and serves once it is run.
pub struct Server {
    site: Arc<Site>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    url: String,
}

impl Server {
    /// Opens the folder and the listening socket. What an operator should know is told to `observer`.
    pub async fn bind(options: Options, observer: Arc<dyn Observer>) -> Result<Self, Fault> {
        if options.tokens.is_empty() && !options.listen.ip().is_loopback() {
            return Err(Fault::new(Kind::Usage, "other machines can connect, so a token is needed")
                .hint("give --token-file or ONWARD_SERVE_TOKEN, or listen on 127.0.0.1"));
        }
        if options.tokens.is_empty() && options.origins.iter().any(|origin| origin == "*") {
            let text = "`--cors '*'` lets every page that anybody visits read and write here, so a token is needed";
            return Err(Fault::new(Kind::Usage, text)
                .hint("give --token-file or ONWARD_SERVE_TOKEN, or name the page's origin"));
        }
        if options.tls.is_none() && !options.listen.ip().is_loopback() {
            let text =
                "tokens and files travel unencrypted: give --tls-cert and --tls-key, or put a TLS proxy in front";
            observer.on(0, &Event::Warning { text: text.into() });
        }
        let tls = options.tls.as_ref().map(|(cert, key)| acceptor(cert, key)).transpose()?;
        let listener = listen(options.listen).map_err(|e| {
            Fault::new(Kind::Local, format!("cannot listen on {}: {e}", options.listen)).hint("choose another --listen")
        })?;
        let address = listener.local_addr().unwrap_or(options.listen);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}:{}{}", host_of(address.ip()), address.port(), options.base_path);
        Ok(Self { site: Arc::new(Site::open(options, observer)?), listener, tls, url })
    }

    /// The URL of the served folder.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until `stop` resolves; then lets what is under way finish for a moment and closes all files.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let sweeping = tokio::spawn(sweep(self.site.clone()));
        connection::serve(self.site.clone(), self.listener, self.tls, stop).await;
        sweeping.abort();
        if let Some(store) = &self.site.store {
            store.close_all().await;
        }
    }
}

/// Opens the listening socket, with room for a burst of clients: the usual queue of 128 costs the next one a second.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Forgets what has expired, time and again.
async fn sweep(site: Arc<Site>) {
    let Some(store) = &site.store else { return };
    let often = (site.rules.expire / 4).clamp(Duration::from_millis(200), Duration::from_secs(10));
    let mut rounds: u64 = 0;
    loop {
        tokio::time::sleep(often).await;
        store.sweep().await;
        rounds += 1;
        // An hour, more or less: this reads every entry of the index.
        if rounds.is_multiple_of(360) {
            let store = store.clone();
            let _ = tokio::task::spawn_blocking(move || store.sweep_known()).await;
        }
    }
}

fn host_of(ip: IpAddr) -> String {
    match ip {
        ip if ip.is_unspecified() => disk::host_name().to_string(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, Fault> {
    let lost = |what: &str, path: &Path, e: String| {
        Fault::new(Kind::Local, format!("cannot use the {what} {}: {e}", disk::shown(path)))
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .map_err(|e| lost("certificate", cert, e.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| lost("key", key, e.to_string()))?;
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
    let mut config = config.map_err(|e| lost("certificate", cert, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// One served folder.
struct Site {
    rules: Rules,
    root: Arc<Root>,
    known: Arc<Known>,
    /// `None` when no uploads are taken.
    store: Option<Arc<Store>>,
    door: Door,
    base: String,
}

/// Where a request leads. Who speaks which protocol is decided here and nowhere else.
enum Route<'a> {
    /// What is spoken here.
    Discover,
    /// *begin* of the handshake, for names relative to this folder.
    Begin(&'a str),
    /// *creation* of tus, for a file in this folder.
    TusCreation(&'a str),
    /// A creation of the IETF's protocol, with the path it is for.
    IetfCreation(&'a str),
    /// An upload of the handshake, and what is asked of it.
    Upload(Id, Place),
    /// An upload of tus, and the method meant.
    Tus(Id, Method),
    /// An upload of the IETF's protocol.
    Ietf(Id),
    /// A file or folder.
    Tree(&'a str),
    /// Nothing is there.
    Nowhere,
    /// The method means nothing there; these do.
    Not(&'static str),
}

impl Site {
    fn open(options: Options, observer: Arc<dyn Observer>) -> Result<Self, Fault> {
        let root = Arc::new(Root::open(&options.dir)?);
        let store = match options.rules.read_only {
            true => None,
            false => Some(Arc::new(Store::open(root.clone(), options.rules.clone(), observer)?)),
        };
        let known = match &store {
            Some(store) => store.known.clone(),
            None => Arc::new(Known::at(&root.path().join(names::PRIVATE))),
        };
        let door = Door::new(&options.tokens, &options.hosts, &options.origins);
        Ok(Self { rules: options.rules, root, known, store, door, base: options.base_path })
    }

    /// Answers one request.
    async fn answer(&self, request: &Parts, inbound: &mut Inbound) -> Reply {
        let mut reply = match self.try_answer(request, inbound).await {
            Ok(reply) => reply,
            Err(reply) => *reply,
        };
        if let Some(origin) = self.door.foreign_page(request) {
            field(&mut reply, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            field(&mut reply, VARY, "Origin");
            field(&mut reply, ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        reply
    }

    async fn try_answer(&self, request: &Parts, inbound: &mut Inbound) -> Answer {
        if let Some(reply) = self.preflight(request) {
            return Ok(reply);
        }
        let domain = self.door.enter(request)?;
        as_it_is(request)?;
        match self.route(request, &domain) {
            Route::Discover => Ok(handshake::discover(self)),
            Route::Begin(folder) => handshake::begin(self, &domain, folder, inbound).await,
            Route::TusCreation(folder) => tus::create(self, &domain, folder, request, inbound).await,
            Route::Tus(id, method) => tus::answer(self, &domain, &id, &method, request, inbound).await,
            Route::IetfCreation(path) => ietf::create(self, &domain, path, request, inbound).await,
            Route::Ietf(id) => ietf::answer(self, &domain, &id, request, inbound).await,
            Route::Upload(id, place) => handshake::answer(self, &domain, &id, place, request, inbound).await,
            Route::Tree(path) => files::answer(self, request, path).await,
            Route::Nowhere => Err(refuse(Reason::NotFound, "there is nothing under this name")),
            Route::Not(methods) => {
                let mut reply = *refuse(Reason::Method, "the method means nothing here");
                field(&mut reply, ALLOW, methods);
                Err(Box::new(reply))
            }
        }
    }

    /// The reply to a browser that asks, on behalf of an allowed page and without its token, what it may send.
    fn preflight(&self, request: &Parts) -> Option<Reply> {
        self.door.foreign_page(request)?;
        if request.method != Method::OPTIONS || !request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut reply = reply::empty(StatusCode::NO_CONTENT);
        field(&mut reply, ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        field(&mut reply, ACCESS_CONTROL_ALLOW_HEADERS, SENDABLE);
        field(&mut reply, ACCESS_CONTROL_MAX_AGE, "7200");
        Some(reply)
    }

    fn route<'a>(&self, request: &'a Parts, domain: &str) -> Route<'a> {
        let path = request.uri.path();
        if request.method == Method::OPTIONS {
            return Route::Discover;
        }
        let Some(path) = path.strip_prefix(self.base.as_str()) else { return Route::Nowhere };
        let first = path.split('/').next().unwrap_or_default();
        if names::private(first) {
            return self.upload(path, request, domain);
        }
        // Both protocols have fields of the same names; this one is tus's alone.
        let tus_said = request.headers.contains_key(RESUMABLE);
        match request.method {
            Method::GET | Method::HEAD => Route::Tree(path),
            Method::POST | Method::PUT if !tus_said && ietf::is_meant(&request.headers) => Route::IetfCreation(path),
            Method::POST if tus::is_meant(&request.headers) => Route::TusCreation(path),
            Method::POST => Route::Begin(path),
            _ => Route::Not(self.tree_methods()),
        }
    }

    /// What the tree understands without a protocol's fields.
    fn tree_methods(&self) -> &'static str {
        match (self.rules.read_only, self.rules.upload_only) {
            (true, _) => "GET, HEAD, OPTIONS",
            (_, true) => "POST, OPTIONS",
            _ => "GET, HEAD, POST, OPTIONS",
        }
    }

    /// What is understood somewhere.
    fn methods(&self) -> &'static str {
        match self.rules.read_only {
            true => self.tree_methods(),
            false => METHODS,
        }
    }

    fn upload<'a>(&self, path: &str, request: &Parts, domain: &str) -> Route<'a> {
        let tail = path.strip_prefix(handshake::UPLOADS);
        let split = tail.and_then(|tail| tail.split_at_checked(32));
        let Some((Some(id), Some(place))) = split.map(|(id, tail)| (Id::parse(id), Place::parse(tail))) else {
            return Route::Nowhere;
        };
        let upload = self.store.as_ref().and_then(|store| store.find(&id, domain));
        let line = upload.as_ref().and_then(|upload| upload.head.line.as_ref());
        if let Place::Upload = place {
            match line.map(|line| line.protocol) {
                Some(Protocol::Tus) => return Route::Tus(id, method_meant(request)),
                Some(Protocol::Ietf) => return Route::Ietf(id),
                // Nothing is there: that is said in the words of who asks.
                None if upload.is_none() && tus::is_meant(&request.headers) => {
                    return Route::Tus(id, method_meant(request));
                }
                None if upload.is_none() && ietf::is_meant(&request.headers) => return Route::Ietf(id),
                None => {}
            }
        }
        if upload.is_none() {
            // Whatever the method: that it does not fit would say that something is there.
            return Route::Upload(id, place);
        }
        let methods = match place {
            Place::Upload => "GET, HEAD, DELETE, OPTIONS",
            Place::Chunk(_) => "PUT, OPTIONS",
            Place::Digests => "GET, HEAD, OPTIONS",
            Place::Identity | Place::Complete => "POST, OPTIONS",
        };
        match methods.split(", ").any(|known| known == request.method.as_str()) {
            true => Route::Upload(id, place),
            false => Route::Not(methods),
        }
    }
}

/// Refuses a body that is encoded: its bytes are taken for the file's.
fn as_it_is(request: &Parts) -> Result<(), Box<Reply>> {
    let encoded = |name, plain: &str| {
        let lines = request.headers.get_all(name).iter();
        let mut codings = lines.flat_map(|line| line.to_str().unwrap_or("?").split(',')).map(str::trim);
        codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(plain))
    };
    let (status, detail) = match (encoded(CONTENT_ENCODING, "identity"), encoded(TRANSFER_ENCODING, "chunked")) {
        (false, false) => return Ok(()),
        (true, _) => (415, "bytes are sent as they are, without a Content-Encoding"),
        (_, true) => (501, "of the transfer codings only chunked is known"),
    };
    let mut reply = reply::problem(&Problem { status, ..Problem::new(Reason::BadRequest, detail) });
    if status == 415 {
        field(&mut reply, ACCEPT_ENCODING, "identity");
    }
    Err(Box::new(reply))
}

/// The method of a request, or the one its `POST` stands for where proxies let no other through.
fn method_meant(request: &Parts) -> Method {
    let told = request.headers.get(METHOD_OVERRIDE).filter(|_| request.method == Method::POST);
    let told = told.and_then(|value| Method::from_bytes(&value.as_bytes().to_ascii_uppercase()).ok());
    told.unwrap_or_else(|| request.method.clone())
}

/// What the tree understands, and what the protocols add.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The fields that pages of allowed origins may send. Named one by one: a browser does not count `Authorization` to `*`.
const SENDABLE: &str = "Authorization, Content-Type, Content-Range, Content-Digest, Content-Disposition, \
    Onward-Replace, Range, If-Range, If-None-Match, Prefer, Tus-Resumable, Upload-Length, Upload-Defer-Length, \
    Upload-Offset, Upload-Metadata, Upload-Concat, Upload-Checksum, Upload-Complete, Upload-Incomplete, \
    Upload-Draft-Interop-Version, X-HTTP-Method-Override, X-Requested-With, X-Request-ID";

/// The fields of replies that such pages may read.
const EXPOSED: &str = "Location, Content-Location, Content-Range, ETag, Retry-After, Repr-Digest, Onward-Handshake, \
    Onward-Limits, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Length, \
    Upload-Defer-Length, Upload-Offset, Upload-Metadata, Upload-Concat, Upload-Expires, Upload-Complete, \
    Upload-Incomplete, Upload-Limit, Upload-Draft-Interop-Version";
