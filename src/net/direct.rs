//! The way to a server without a proxy between, right above hyper: reqwest does not let anybody reach the socket, and
//! it is there that an early refusal is heard (`line`).

use super::body::Outgoing;
use super::line::Line;
use super::pulse::{Noted, Noting};
use super::secured::Secured;
use super::{IpChoice, Options};
use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_layer::Layer;
use tower_service::Service;

/// A client that goes straight to servers.
pub(super) type Direct = Client<Noted<Connector>, Outgoing>;

/// A connection that is not used for so long is closed.
const IDLE: Duration = Duration::from_secs(90);
/// The largest read of an HTTP/1.1 connection, in bytes: more was no faster, and sixteen connections have as many.
const BUFFER: usize = 256 << 10;
/// How often a silent connection is asked by TCP whether it is still there, and how often in vain.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(15), 3);
/// How long the system tries to get sent bytes acknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A client by these rules; `tls` says whom it believes, and which versions of HTTP it offers. Without `tls` it speaks
/// plain HTTP/1.1 only.
pub(super) fn client(options: &Options, tls: Option<ClientConfig>) -> Direct {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared among the addresses of a name, so that one that is silent leaves time for the next.
    tcp.set_connect_timeout(Some(options.connect_timeout));
    tcp.set_keepalive(Some(KEEPALIVE.0));
    tcp.set_keepalive_interval(Some(KEEPALIVE.0));
    tcp.set_keepalive_retries(Some(KEEPALIVE.1));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp.set_local_address(match options.ip {
        IpChoice::Any => None,
        IpChoice::V4 => Some(IpAddr::from([0, 0, 0, 0])),
        IpChoice::V6 => Some(IpAddr::from([0u16; 8])),
    });
    let connector = Connector { tcp, tls: tls.map(Arc::new), patience: options.connect_timeout };
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http1_max_buf_size(BUFFER)
        .build(Noting.layer(connector))
}

/// Builds connections.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    tls: Option<Arc<ClientConfig>>,
    patience: Duration,
}

/// A connection took too long to build.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooLate;

impl std::fmt::Display for TooLate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it took too long")
    }
}

impl Error for TooLate {}

type Failure = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.tcp.poll_ready(cx).map_err(Failure::from)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (tcp, tls) = (self.tcp.call(to.clone()), self.tls.clone());
        let built = async move {
            let line = Line::new(tcp.await?.into_inner());
            let Some(tls) = tls else { return Ok(TokioIo::new(Wire::Plain(line))) };
            let host = to.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let secured = Secured::connect(tls, ServerName::try_from(host.to_string())?, line).await?;
            Ok(TokioIo::new(Wire::Tls(Box::new(secured))))
        };
        let patience = self.patience;
        Box::pin(async move { tokio::time::timeout(patience, built).await.map_err(|_| TooLate)? })
    }
}

/// What requests go over.
pub(super) enum Wire {
    Plain(Line<TcpStream>),
    Tls(Box<Secured<Line<TcpStream>>>),
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match self {
            Wire::Tls(stream) if stream.protocol() == Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
