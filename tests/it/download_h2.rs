//! HTTP/2 that ends in the middle of an answer: a stream that is reset, a connection that is said to go away. A real
//! HTTP/2 server answers; what stands between it and the wire adds the frame. What is asked for afterwards comes over
//! HTTP/1.1, as further connections do.

use crate::download::download;
use crate::origin::{Identity, Origin, Page};
use crate::world::{Content, World, same};
use bytes::Bytes;
use http::Version;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, copy, duplex, split};

const LEN: u64 = 2 << 20;

/// The frame types of RFC 9113, section 6, that matter here.
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// How an answer ends in its middle.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// The stream is reset with this error code; the connection lives on.
    Reset(u32),
    /// The connection goes away with this error code; streams up to the one given were or will be served. It is closed
    /// behind it.
    GoesAway(u32, Option<u32>),
    /// The connection goes away when this stream is done, which goes on.
    GoesAwayLater,
}

/// In which version a request came, and the first byte it asked for.
type Asked = (Version, u64);

/// A server of one file.
struct Peer {
    address: SocketAddr,
    /// The requests so far.
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Peer {
    /// Serves `content`; over HTTP/2, the first answer of a connection ends after `after` bytes, as `ends` says.
    fn start(identity: &Identity, content: &Content, after: u64, ends: Ends) -> Self {
        let mut tls = (*identity.config()).clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (content, log) = (Bytes::from(content.bytes()), asked.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, content, log) = (acceptor.clone(), content.clone(), log.clone());
                tokio::spawn(async move {
                    let Ok(wire) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, content.clone(), log.clone()));
                    if wire.get_ref().1.alpn_protocol() != Some(b"h2") {
                        let http1 = hyper::server::conn::http1::Builder::new();
                        return drop(http1.serve_connection(TokioIo::new(wire), service).await);
                    }
                    let (inner, server) = duplex(64 << 10);
                    let (mut from_wire, to_wire) = split(wire);
                    let (from_server, mut to_server) = split(inner);
                    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(server), service);
                    tokio::select! {
                        _ = serving => {}
                        _ = copy(&mut from_wire, &mut to_server) => {}
                        _ = outward(from_server, to_wire, (after, ends)) => {}
                    }
                });
            }
        });
        Self { address, asked, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/file.bin", self.address.port())
    }
}

/// What an honest server answers.
async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
    content: Bytes,
    log: Arc<Mutex<Vec<Asked>>>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let range = request.headers().get("range").and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let (first, last) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let start: usize = first.parse().unwrap();
    let end = last.parse::<usize>().map_or(content.len(), |last| last + 1).min(content.len());
    log.lock().unwrap().push((request.version(), start as u64));
    let answer = hyper::Response::builder()
        .status(206)
        .header("etag", "\"v1\"")
        .header("content-range", format!("bytes {start}-{}/{}", end - 1, content.len()))
        .header("content-length", (end - start).to_string());
    Ok(answer.body(Full::new(content.slice(start..end))).unwrap())
}

/// Passes the server's frames on, and adds the one that ends it.
async fn outward(
    mut server: ReadHalf<tokio::io::DuplexStream>,
    mut wire: impl AsyncWrite + Unpin,
    fault: (u64, Ends),
) -> std::io::Result<()> {
    let (mut passed, mut cut, mut fault) = (0, 0, Some(fault));
    loop {
        let mut head = [0; 9];
        server.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut body = vec![0; length as usize];
        server.read_exact(&mut body).await?;
        // Nothing may follow on a stream that was reset.
        if stream == 0 || stream != cut {
            wire.write_all(&[&head[..], &body].concat()).await?;
            wire.flush().await?;
        }
        passed += if head[3] == DATA { u64::from(length) } else { 0 };
        let Some((_, ends)) = fault.take_if(|(after, _)| passed >= *after) else { continue };
        let (added, leaves) = match ends {
            Ends::Reset(code) => (frame(RST_STREAM, stream, &code.to_be_bytes()), false),
            Ends::GoesAway(code, served) => (goaway(served.unwrap_or(stream), code), true),
            Ends::GoesAwayLater => (goaway(stream, 0), false),
        };
        if matches!(ends, Ends::Reset(_)) {
            cut = stream;
        }
        wire.write_all(&added).await?;
        wire.flush().await?;
        if leaves {
            return wire.shutdown().await;
        }
    }
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

fn frame(kind: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&length[1..], &[kind, 0], &stream.to_be_bytes(), body].concat()
}

#[test]
fn answers_that_end_in_their_middle() {
    const INTERNAL_ERROR: u32 = 2;
    const CANCEL: u32 = 8;
    const ENHANCE_YOUR_CALM: u32 = 11;
    let identity = Identity::new();
    let other = Origin::start();
    other.page("/small", Page::of(&Content::random(121, 100)));
    for (ends, goes_on) in [
        (Ends::Reset(INTERNAL_ERROR), true),
        (Ends::Reset(CANCEL), true),
        (Ends::Reset(0), true),
        (Ends::GoesAway(0, None), true),
        (Ends::GoesAway(ENHANCE_YOUR_CALM, None), true),
        (Ends::GoesAway(INTERNAL_ERROR, Some(0)), true),
        (Ends::GoesAwayLater, false),
    ] {
        let (world, content) = (World::new(), Content::random(120, LEN));
        std::fs::write(world.path("ca.pem"), &identity.cert_pem).unwrap();
        let peer = Peer::start(&identity, &content, LEN / 4, ends);
        // With a second file: several begin on one HTTP/2 connection, a single one would not.
        let ended = download(&world, &peer.url()).arg(other.url("/small")).args(["-x1", "--cacert", "ca.pem"]).run();
        let asked = peer.asked.lock().unwrap().clone();
        assert_eq!(ended.code(), Some(0), "{ends:?}, asked {asked:?}\n{}", ended.story());
        same(&world.path("file.bin"), &content);
        world.holds_only(&["ca.pem", "file.bin", "small"]);
        assert_eq!(asked[0], (Version::HTTP_2, 0), "{ends:?}, asked {asked:?}");
        let done = ended.events_called("done").into_iter().find(|done| done["file"] == "file.bin").unwrap();
        let moved = done["moved"].as_u64().unwrap();
        assert!(moved <= LEN * 115 / 100, "{ends:?}: {moved} bytes, asked {asked:?}");
        let later = asked.iter().any(|(_, start)| *start > 0);
        assert_eq!(later, goes_on, "{ends:?}: asked {asked:?}\n{}", ended.story());
    }
}
