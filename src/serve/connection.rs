//! Connections: accepting them, TLS, the limits on how long and how much a peer may make us wait, and the request's
//! body as it comes in. The only file beside `mod` that knows the HTTP server library.

use super::Site;
use super::interim::{Interim, WithInterim};
use super::reply::{Reply, refuse};
use crate::wire::handshake::Reason;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// How long a peer may take for the head of a request, and be idle between two.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const TLS_LIMIT: Duration = Duration::from_secs(15);
/// How long the body of a request may make no progress.
pub const BODY_LIMIT: Duration = Duration::from_secs(60);
/// How long a connection may move no byte in either direction, whatever it is doing.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// How long connections may go on after the stop was asked for: what is acknowledged is safe, the rest is sent again.
const STOP_LIMIT: Duration = Duration::from_millis(1500);
/// The most bytes of head a request may have.
const MAX_HEAD: usize = 64 << 10;
/// The most fields a request may have.
const MAX_FIELDS: usize = 100;
/// A refused body is read away up to here, so that the client gets to see the refusal instead of a reset.
const DRAIN: u64 = 16 << 20;
/// And no longer than this.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The body of a request.
pub struct Inbound {
    body: Incoming,
    touched: bool,
    expects: bool,
    trailers: http::HeaderMap,
    /// Where there is a way for interim replies.
    interim: Option<Arc<Interim>>,
}

/// Why a body ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The connection broke.
    Gone,
    /// Nothing came for [`BODY_LIMIT`].
    Idle,
}

impl Inbound {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        self.touched = true;
        loop {
            match tokio::time::timeout(BODY_LIMIT, self.body.frame()).await {
                Err(_) => return Err(Cut::Idle),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Cut::Gone),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(frame) => self.trailers = frame.into_trailers().unwrap_or_default(),
                },
            }
        }
    }

    /// The whole body, when it is at most `limit` bytes and comes in time: a document is small, so dripping is no excuse.
    pub async fn document(&mut self, limit: usize) -> Result<Vec<u8>, Box<Reply>> {
        let late = || refuse(Reason::Timeout, "the request's body did not come");
        let mut all = Vec::new();
        let reading = async {
            loop {
                match self.next().await {
                    Ok(None) => return Ok(()),
                    Ok(Some(bytes)) if all.len() + bytes.len() <= limit => all.extend_from_slice(&bytes),
                    Ok(Some(_)) => {
                        return Err(refuse(Reason::TooLarge, format!("a document has at most {limit} bytes")));
                    }
                    Err(Cut::Idle) => return Err(late()),
                    Err(Cut::Gone) => return Err(refuse(Reason::BadRequest, "the request's body was cut")),
                }
            }
        };
        match tokio::time::timeout(BODY_LIMIT, reading).await {
            Ok(read) => read.map(|()| all),
            Err(_) => Err(late()),
        }
    }

    /// Sends an interim reply, where the transport has one; `head` is its status line and fields.
    pub async fn interim(&self, head: &str) {
        if let Some(interim) = &self.interim {
            interim.send(head).await;
        }
    }

    /// The fields behind the body; none before its end.
    pub fn trailers(&self) -> &http::HeaderMap {
        &self.trailers
    }

    /// The number of bytes the client announced, where it did.
    pub fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Reads away what is left of a body nobody wants. A client that waits for a word before it sends gets none.
    async fn drain(mut self) {
        if self.body.is_end_stream() || (self.expects && !self.touched) {
            return;
        }
        let reading = async {
            let mut read = 0;
            while let Ok(Some(bytes)) = self.next().await {
                read += bytes.len() as u64;
                if read > DRAIN {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_LIMIT, reading).await;
    }
}

/// Serves connections of `listener` until `stop` resolves, then lets the open ones finish for a while.
pub async fn serve(site: Arc<Site>, listener: TcpListener, tls: Option<TlsAcceptor>, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(most_connections()));
    tokio::pin!(stop);
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, or the peer was gone already: neither is mended by trying at once.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (site, tls, watcher) = (site.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            one(site, stream, tls, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_LIMIT, graceful.shutdown()).await;
}

/// As many connections as the process may have descriptors for: each needs one for itself, one for a file.
fn most_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(4096);
    usize::try_from(files / 4).unwrap_or(1024).clamp(16, 1024)
}

async fn one(site: Arc<Site>, stream: TcpStream, tls: Option<TlsAcceptor>, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let pulse = Arc::new(Pulse::new());
    let stream = Watched { stream, pulse: pulse.clone() };
    let work = async {
        match tls {
            None => speak_one(site, stream, watcher).await,
            Some(tls) => {
                let Ok(Ok(stream)) = tokio::time::timeout(TLS_LIMIT, tls.accept(stream)).await else { return };
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => speak_two(site, stream, watcher).await,
                    _ => speak_one(site, stream, watcher).await,
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = pulse.stops() => {}
    }
}

/// HTTP/1.1.
async fn speak_one(site: Arc<Site>, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, watcher: Watcher) {
    let interim = Arc::new(Interim::default());
    let stream = WithInterim::new(stream, interim.clone());
    let service = service_fn(move |request| answer(site.clone(), request, Some(interim.clone())));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Who has said all may still listen.
        .half_close(true)
        .header_read_timeout(HEAD_LIMIT)
        .max_headers(MAX_FIELDS)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(connection).await;
}

/// HTTP/2.
async fn speak_two(site: Arc<Site>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, watcher: Watcher) {
    let service = service_fn(move |request| answer(site.clone(), request, None));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(connection).await;
}

async fn answer(
    site: Arc<Site>,
    request: http::Request<Incoming>,
    interim: Option<Arc<Interim>>,
) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    // A client of HTTP/1.0 knows no interim replies.
    let interim = interim.filter(|_| parts.version == http::Version::HTTP_11);
    let expects = parts.headers.contains_key(http::header::EXPECT);
    let mut inbound = Inbound { body, touched: false, expects, trailers: http::HeaderMap::new(), interim };
    let reply = site.answer(&parts, &mut inbound).await;
    inbound.drain().await;
    Ok(reply)
}

/// When a connection last moved a byte.
struct Pulse {
    since: Instant,
    last: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { since: Instant::now(), last: AtomicU64::new(0) }
    }

    fn beat(&self) {
        self.last.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Resolves when nothing has moved for [`IDLE_LIMIT`].
    async fn stops(&self) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let idle = self.since.elapsed().saturating_sub(last);
            match IDLE_LIMIT.checked_sub(idle) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }
}

/// A stream whose every moved byte is a beat of its pulse.
struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.pulse.beat();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.pulse.beat();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if written.is_ready() {
            self.pulse.beat();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
