//! TLS over a connection, with as few copies as the library allows: many records are read at once into one buffer,
//! decrypted where they lie, and their content goes from there to whoever reads. The usual way round (`tokio-rustls`)
//! copies each record twice more, and asks the system for each by itself.

use bytes::{Buf, BytesMut};
use rustls::ClientConfig;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls_pki_types::ServerName;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once, in bytes, with which a whole message of a handshake has room (the library takes 64 KiB at
/// most). Half of it was 6 % slower, a quarter 20 %; twice as much was no faster.
const CAME: usize = 256 << 10;
/// How much content is encrypted at once, in bytes.
const PIECE: usize = 64 << 10;
/// What a record is longer than its content, in bytes, at most: head, explicit nonce, type, tag.
const AROUND: usize = 40;
/// The content of a record is no longer, in bytes (RFC 8446, section 5.1).
const RECORD: usize = 16 << 10;

/// A connection over `S` as a client has it, after its handshake.
pub(super) struct Secured<S> {
    line: S,
    tls: UnbufferedClientConnection,
    came: Came,
    /// Content that found no room where it was asked for.
    plain: BytesMut,
    going: Going,
    /// The other side has said that it has nothing more to say.
    over: bool,
    /// What came could not be believed: nothing that comes later is looked at.
    failed: Option<rustls::Error>,
}

/// Bytes of the line that are not decrypted yet.
struct Came {
    bytes: Box<[u8]>,
    there: Range<usize>,
}

/// Bytes for the line.
#[derive(Default)]
struct Going {
    bytes: Vec<u8>,
    there: Range<usize>,
}

/// Why nothing was put among the bytes for the line.
enum Refused {
    /// It needs so much room, in bytes.
    Room(usize),
    Fails(io::Error),
}

/// Where a connection stands once nothing more can be made of what has come.
#[derive(Debug, PartialEq, Eq)]
enum Stands {
    /// Some content was given.
    Content,
    /// The handshake waits for the other side.
    Handshake,
    /// Content may go both ways.
    Open,
    /// Both sides have said that they have nothing more to say.
    Closed,
}

impl Going {
    /// Puts more bytes behind those that are there, which `fill` writes into the room that it is given; it tells how
    /// many those were.
    fn put(&mut self, least: usize, mut fill: impl FnMut(&mut [u8]) -> Result<usize, Refused>) -> io::Result<()> {
        if self.there.is_empty() {
            self.there = 0..0;
        }
        let mut room = least;
        loop {
            if self.bytes.len() < self.there.end + room {
                self.bytes.resize(self.there.end + room, 0);
            }
            match fill(&mut self.bytes[self.there.end..]) {
                Ok(more) => {
                    self.there.end += more;
                    return Ok(());
                }
                Err(Refused::Room(needed)) if needed > room => room = needed,
                Err(Refused::Room(_)) => return Err(io::ErrorKind::OutOfMemory.into()),
                Err(Refused::Fails(error)) => return Err(error),
            }
        }
    }
}

impl From<EncodeError> for Refused {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(short) => Self::Room(short.required_size),
            other => Self::Fails(io::Error::other(other)),
        }
    }
}

impl From<EncryptError> for Refused {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(short) => Self::Room(short.required_size),
            other => Self::Fails(io::Error::other(other)),
        }
    }
}

fn unbelievable(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The other side is gone too early; `when` says how one can tell.
fn cut_off(when: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the connection was closed {when}"))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secured<S> {
    /// Secures `line` by `rules` with a server of this name.
    pub(super) async fn connect(rules: Arc<ClientConfig>, name: ServerName<'static>, line: S) -> io::Result<Self> {
        let tls = UnbufferedClientConnection::new(rules, name).map_err(io::Error::other)?;
        let came = Came { bytes: vec![0; CAME].into(), there: 0..0 };
        let (plain, going) = (BytesMut::new(), Going::default());
        let mut secured = Self { line, tls, came, plain, going, over: false, failed: None };
        poll_fn(|cx| secured.poll_handshake(cx)).await?;
        Ok(secured)
    }

    /// The protocol that was agreed on above TLS, if one was (ALPN, RFC 7301).
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let stands = self.advance(None, |_, _| Ok(()));
            // What goes out is an alert, where that failed.
            let sent = self.poll_send(cx);
            match stands? {
                Stands::Content => continue,
                Stands::Open if !self.tls.is_handshaking() => return sent,
                Stands::Open | Stands::Handshake => {}
                Stands::Closed => self.over = true,
            }
            if let Poll::Ready(Err(error)) = sent {
                return Poll::Ready(Err(error));
            }
            if self.over || ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(cut_off("in the middle of the TLS handshake")));
            }
        }
    }

    /// Makes of what has come whatever can be made: content goes to `into`, or is kept where that has no room; answers
    /// of TLS's own are put among the bytes for the line. It stops at content that somebody asked for, and when
    /// nothing is left; content may be sent then, and `act` is told so.
    fn advance(
        &mut self,
        mut into: Option<&mut ReadBuf<'_>>,
        mut act: impl FnMut(&mut WriteTraffic<'_, ClientConnectionData>, &mut Going) -> io::Result<()>,
    ) -> io::Result<Stands> {
        if let Some(error) = &self.failed {
            return Err(unbelievable(error.clone()));
        }
        loop {
            let there = self.came.there.clone();
            let UnbufferedStatus { mut discard, state, .. } = self.tls.process_tls_records(&mut self.came.bytes[there]);
            let stands = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(unbelievable)?;
                        discard += record.discard;
                        let room = into.as_ref().map_or(0, |into| into.remaining()).min(record.payload.len());
                        let (now, later) = record.payload.split_at(room);
                        into.iter_mut().for_each(|into| into.put_slice(now));
                        self.plain.extend_from_slice(later);
                    }
                    into.is_some().then_some(Stands::Content)
                }
                Ok(ConnectionState::EncodeTlsData(mut words)) => {
                    self.going.put(RECORD, |room| Ok(words.encode(room)?))?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(words)) => {
                    words.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.over = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    act(&mut traffic, &mut self.going)?;
                    Some(Stands::Open)
                }
                Ok(ConnectionState::Closed) => Some(Stands::Closed),
                Ok(ConnectionState::BlockedHandshake) => Some(Stands::Handshake),
                Ok(_) => return Err(io::ErrorKind::Unsupported.into()),
                Err(error) => {
                    self.failed = Some(error.clone());
                    self.came.there.start += discard;
                    self.last_words();
                    return Err(unbelievable(error));
                }
            };
            self.came.there.start += discard;
            if let Some(stands) = stands {
                return Ok(stands);
            }
        }
    }

    /// After a failure: what TLS wants the other side to be told. It comes before what lies there is looked at again, and
    /// is asked for once: the library does not stand being asked after its last word.
    fn last_words(&mut self) {
        let there = self.came.there.clone();
        let status = self.tls.process_tls_records(&mut self.came.bytes[there]);
        if let Ok(ConnectionState::EncodeTlsData(mut words)) = status.state {
            // Without room for it there is none.
            let _ = self.going.put(RECORD, |room| Ok(words.encode(room)?));
        }
    }

    /// Reads more; how many bytes came. None: the line has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Came { bytes, there } = &mut self.came;
        if there.start > 0 {
            bytes.copy_within(there.clone(), 0);
            *there = 0..there.len();
        }
        let mut room = ReadBuf::new(&mut bytes[there.end..]);
        if room.remaining() == 0 {
            // The library refuses what is too long long before.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        ready!(Pin::new(&mut self.line).poll_read(cx, &mut room))?;
        let more = room.filled().len();
        there.end += more;
        Poll::Ready(Ok(more))
    }

    /// Sends what there is to be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Going { bytes, there } = &mut self.going;
        while there.start < there.end {
            match ready!(Pin::new(&mut self.line).poll_write(cx, &bytes[there.clone()]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => there.start += sent,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts the beginning of `content` and sends of it what can be sent now; how many bytes of content that were. What
    /// lies in several places goes in records of its own, but all of it at once.
    fn poll_content(&mut self, cx: &mut Context<'_>, content: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let mut taken = 0;
        let stands = self.advance(None, |traffic, going| {
            for part in content {
                let piece = &part[..part.len().min(PIECE - taken)];
                if !piece.is_empty() {
                    let room = piece.len() + (piece.len() / RECORD + 1) * AROUND;
                    going.put(room, |room| Ok(traffic.encrypt(piece, room)?))?;
                    taken += piece.len();
                }
            }
            Ok(())
        })?;
        if stands != Stands::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // They are taken: what cannot go now goes before the next ones, or when the line is flushed.
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let kept = this.plain.len().min(buf.remaining());
        if kept > 0 || buf.remaining() == 0 {
            buf.put_slice(&this.plain[..kept]);
            this.plain.advance(kept);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        loop {
            let stands = loop {
                match this.advance(Some(buf), |_, _| Ok(())) {
                    Ok(Stands::Content) if buf.remaining() > 0 => {}
                    other => break other,
                }
            };
            // Answers of TLS's own; whether they can be sent is for those to hear who write. (One task reads and writes, so
            // nobody's waker is lost.)
            let _ = this.poll_send(cx);
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            stands?;
            if this.over {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_fill(cx))? == 0 {
                // Whatever came may have been cut off.
                return Poll::Ready(Err(cut_off("without the end of TLS")));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_content(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_content(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        // Each piece is encrypted where it lies: nobody needs to join them before.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.line).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // TLS says goodbye once, however often it is asked to.
        let _ = this.advance(None, |traffic, going| going.put(AROUND, |room| Ok(traffic.queue_close_notify(room)?)));
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.line).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::{ServerConfig, SupportedProtocolVersion};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    type Served = TlsStream<DuplexStream>;

    /// A line on which one byte that comes is another one.
    struct Tampered {
        line: DuplexStream,
        at: Option<usize>,
        read: usize,
    }

    impl AsyncRead for Tampered {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.line).poll_read(cx, buf))?;
            let read = self.read;
            if let Some(byte) = self.at.and_then(|at| buf.filled_mut()[before..].get_mut(at.checked_sub(read)?)) {
                *byte ^= 0x55;
            }
            self.read += buf.filled().len() - before;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Tampered {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.line).poll_write(cx, buf)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.line).poll_flush(cx)
        }
        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.line).poll_shutdown(cx)
        }
    }

    /// What two ends need to believe each other, made once: a key takes its time.
    struct Ends {
        certificate: CertificateDer<'static>,
        acceptor: TlsAcceptor,
    }

    fn ends(version: &'static SupportedProtocolVersion) -> Ends {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        Ends { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

    impl Ends {
        fn rules(&self) -> Arc<ClientConfig> {
            let mut known = rustls::RootCertStore::empty();
            known.add(self.certificate.clone()).unwrap();
            let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(crypto).with_safe_default_protocol_versions().unwrap();
            Arc::new(builder.with_root_certificates(known).with_no_client_auth())
        }

        /// A client that reads all it is given over a line that holds so many bytes, each read of at most `room` bytes,
        /// one byte of what comes after the handshake being another one; the server does as `serve` says.
        fn run<F: Future<Output = ()>>(
            &self,
            (holds, room, tampered): (usize, usize, Option<usize>),
            sends: &[u8],
            serve: impl FnOnce(Served) -> F,
        ) -> (Vec<u8>, io::Result<()>) {
            let (near, far) = duplex(holds);
            let line = Tampered { line: near, at: None, read: 0 };
            let mut got = Vec::new();
            let client = async {
                let name = ServerName::try_from("localhost").unwrap();
                let mut secured = Secured::connect(self.rules(), name, line).await?;
                secured.line.at = tampered.map(|at| secured.line.read + at);
                let (mut from, mut to) = tokio::io::split(secured);
                let write = async {
                    to.write_all(sends).await?;
                    to.flush().await
                };
                let read = async {
                    let mut space = vec![0; room];
                    loop {
                        match from.read(&mut space).await? {
                            0 => return Ok(()),
                            n => got.extend_from_slice(&space[..n]),
                        }
                    }
                };
                let (written, read) = tokio::join!(write, read);
                read.and(written)
            };
            let server = async {
                if let Ok(line) = self.acceptor.accept(far).await {
                    serve(line).await;
                }
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (ended, ()) = runtime.block_on(async { tokio::join!(client, server) });
            (got, ended)
        }
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn content_goes_both_ways_at_once() {
        for ends in VERSIONS.map(ends) {
            let all = content(700_000);
            let (got, ended) = ends.run((5_000, 300_000, None), &all, |line| async {
                let (mut from, mut to) = tokio::io::split(line);
                tokio::io::copy(&mut (&mut from).take(700_000), &mut to).await.unwrap();
                to.shutdown().await.unwrap();
            });
            assert!(got == all, "{} bytes", got.len());
            ended.unwrap();
        }
    }

    #[test]
    fn an_end_without_goodbye_is_no_end() {
        for ends in VERSIONS.map(ends) {
            for goodbye in [true, false] {
                let (got, ended) = ends.run((70_000, 9_000, None), b"", |mut line| async move {
                    line.write_all(&content(50_000)).await.unwrap();
                    match goodbye {
                        true => line.shutdown().await.unwrap(),
                        false => line.flush().await.unwrap(),
                    }
                });
                assert!(got == content(50_000), "{} bytes", got.len());
                let kind = ended.map_err(|e| e.kind());
                assert_eq!(kind, if goodbye { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof) });
            }
        }
    }

    #[test]
    fn what_lies_in_several_places_goes_at_once_and_in_order() {
        let ends = ends(&rustls::version::TLS13);
        let (near, far) = duplex(500_000);
        let name = ServerName::try_from("localhost").unwrap();
        let all = content(100_000);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ((first, _line), got) = runtime.block_on(async {
            let client = async {
                let mut to = Secured::connect(ends.rules(), name, near).await.unwrap();
                let parts = [&all[..0], &all[..9], &all[9..30_000], &[], &all[30_000..]].map(io::IoSlice::new);
                let first = to.write_vectored(&parts).await.unwrap();
                to.write_all(&all[first..]).await.unwrap();
                to.shutdown().await.unwrap();
                (first, to)
            };
            let server = async {
                let mut got = Vec::new();
                ends.acceptor.accept(far).await.unwrap().read_to_end(&mut got).await.unwrap();
                got
            };
            tokio::join!(client, server)
        });
        assert_eq!(first, PIECE);
        assert!(got == all, "{} bytes", got.len());
    }

    #[test]
    fn who_hangs_up_in_the_handshake_is_said_to() {
        let ends = ends(&rustls::version::TLS13);
        let (near, far) = duplex(20_000);
        drop(far);
        let name = ServerName::try_from("localhost").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let refused = runtime.block_on(Secured::connect(ends.rules(), name, near)).err().unwrap();
        assert!(matches!(refused.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof), "{refused}");
        let (near, mut far) = duplex(20_000);
        let name = ServerName::try_from("localhost").unwrap();
        let refused = runtime.block_on(async {
            let heard = async move { far.read_u8().await };
            tokio::join!(Secured::connect(ends.rules(), name, near), heard).0.err().unwrap()
        });
        assert_eq!(refused.to_string(), "the connection was closed in the middle of the TLS handshake");
    }

    #[test]
    fn keys_change_in_between() {
        let ends = ends(&rustls::version::TLS13);
        let all = content(300_000);
        let (got, ended) = ends.run((20_000, 50_000, None), &all, |line| async {
            let mut line = line;
            let mut piece = vec![0; 100_000];
            for _ in 0..3 {
                line.read_exact(&mut piece).await.unwrap();
                line.get_mut().1.refresh_traffic_keys().unwrap();
                line.write_all(&piece).await.unwrap();
                line.flush().await.unwrap();
            }
            line.shutdown().await.unwrap();
        });
        assert!(got == all, "{} bytes", got.len());
        ended.unwrap();
    }

    #[test]
    fn whom_nobody_knows_is_told_so_and_given_nothing() {
        let (known, stranger) = (ends(&rustls::version::TLS13), ends(&rustls::version::TLS13));
        let (near, far) = duplex(20_000);
        let name = ServerName::try_from("localhost").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (client, server) = runtime.block_on(async {
            tokio::join!(Secured::connect(known.rules(), name, near), async {
                let mut line = stranger.acceptor.accept(far).await?;
                line.read_u8().await
            })
        });
        let refused = client.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(refused.to_string().starts_with("invalid peer certificate"), "{refused}");
        let told = server.unwrap_err().to_string();
        assert!(told.starts_with("received fatal alert"), "{told}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever byte is changed on the way: what was given is right, and there is no end that looks like one.
        #[test]
        fn nothing_that_was_changed_is_believed(
            (tls13, at) in (any::<bool>(), 0usize..60_000),
            (holds, room) in (1usize..40_000, 1usize..40_000),
        ) {
            let ends = ends(VERSIONS[usize::from(tls13)]);
            let all = content(60_000);
            let serve = |mut line: Served| async move {
                // It may have been refused by now.
                let _ = line.write_all(&content(60_000)).await;
                let _ = line.shutdown().await;
            };
            let (got, ended) = ends.run((holds, room, Some(at)), b"", serve);
            prop_assert!(ended.is_err() || got == all);
            prop_assert!(all.starts_with(&got), "{} bytes", got.len());
            let (got, ended) = ends.run((holds, room, None), b"", serve);
            prop_assert!(ended.is_ok() && got == all, "{} bytes, {ended:?}", got.len());
        }
    }
}
