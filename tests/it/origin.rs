//! A scripted HTTP/1.1 origin that serves pages honestly until it is told to lie.
//!
//! A test first says what is there (`origin.page("/f", Page::of(&content).etag("\"v1\""))`), then what goes wrong and
//! when (`origin.when(first(), cut_after(5000))`), and afterwards asks what was requested and how many bytes went out.
//! Rules are tried in the order they were given, and every rule that fits is applied.

use crate::world::Content;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
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
        };
        answer.set("Content-Type", kind);
        answer.set("Content-Length", body.len().to_string());
        answer
    }
}

/// When a rule applies.
pub type When = Box<dyn Fn(&Ask) -> bool + Send + Sync>;

/// The first request to a path.
pub fn first() -> When {
    nth(1)
}

/// The `n`th request to a path, from 1.
pub fn nth(n: usize) -> When {
    Box::new(move |ask| ask.nth == n)
}

/// All but the first `n - 1` requests to a path.
pub fn from(n: usize) -> When {
    Box::new(move |ask| ask.nth >= n)
}

/// The first `n` requests to a path.
pub fn up_to(n: usize) -> When {
    Box::new(move |ask| ask.nth <= n)
}

pub fn always() -> When {
    Box::new(|_| true)
}

/// Requests for bytes that do not begin at zero.
pub fn going_on() -> When {
    Box::new(|ask| ask.start() > 0)
}

/// Requests to this path.
pub fn at(path: &str) -> When {
    let path = path.to_string();
    Box::new(move |ask| ask.path() == path)
}

/// Requests that come while more than `n` connections are open.
pub fn crowded(n: usize) -> When {
    Box::new(move |ask| ask.open > n)
}

pub fn both(a: When, b: When) -> When {
    Box::new(move |ask| a(ask) && b(ask))
}

type ToPage = Box<dyn Fn(&Ask, &mut Page) + Send + Sync>;
type ToAnswer = Box<dyn Fn(&Ask, &mut Answer) + Send + Sync>;

/// What goes wrong.
pub enum Lie {
    /// The request is understood as another one.
    Ask(Box<dyn Fn(&mut Ask) + Send + Sync>),
    /// Something else is there.
    Page(ToPage),
    /// The answer is not what it would have been.
    Answer(ToAnswer),
    /// The connection is reset without an answer.
    Refuse,
}

fn answer(change: impl Fn(&Ask, &mut Answer) + Send + Sync + 'static) -> Lie {
    Lie::Answer(Box::new(change))
}

/// The connection is closed after `n` body bytes, whatever was promised.
pub fn cut_after(n: u64) -> Lie {
    answer(move |_, a| a.stop = Some((n, Stop::Close)))
}

/// The connection is reset (RST) after `n` body bytes.
pub fn reset_after(n: u64) -> Lie {
    answer(move |_, a| a.stop = Some((n, Stop::Reset)))
}

/// Nothing more comes after `n` body bytes, and the connection stays open.
pub fn stall_after(n: u64) -> Lie {
    answer(move |_, a| a.stop = Some((n, Stop::Stall)))
}

/// The answer's head comes only after `time`.
pub fn late(time: Duration) -> Lie {
    answer(move |_, a| a.wait = time)
}

/// The body comes at so many bytes a second.
pub fn at_rate(bytes_per_s: u64) -> Lie {
    answer(move |_, a| a.rate = Some(bytes_per_s))
}

/// The server takes no notice of `Range`: 200 and the whole.
pub fn ignore_range() -> Lie {
    Lie::Ask(Box::new(|ask| ask.headers.retain(|(n, _)| n != "range" && n != "if-range")))
}

/// The server takes no notice of `If-Range`: 206 whatever the validator says.
pub fn ignore_if_range() -> Lie {
    Lie::Ask(Box::new(|ask| ask.headers.retain(|(n, _)| n != "if-range")))
}

/// The server takes no notice of `If-Match` and its like.
pub fn ignore_conditions() -> Lie {
    Lie::Ask(Box::new(|ask| ask.headers.retain(|(n, _)| !n.starts_with("if-"))))
}

/// The server answers 200 and the whole to every `If-Range` with an ETag, though nothing changed.
pub fn if_range_etag_never_fits() -> Lie {
    Lie::Ask(Box::new(|ask| {
        if ask.header("if-range").is_some_and(|v| v.starts_with('"')) {
            ask.headers.retain(|(n, _)| n != "range" && n != "if-range");
        }
    }))
}

/// 206 with a Content-Range of its own making: `(start, last, total)` in, the field's value out.
pub fn content_range(of: impl Fn(u64, u64, u64) -> String + Send + Sync + 'static) -> Lie {
    answer(move |_, a| {
        if a.status == 206 {
            let value = of(a.start, a.end.saturating_sub(1), a.content.len());
            a.set("Content-Range", value);
        }
    })
}

/// A 206 of other bytes than its Content-Range names: shifted by `by` bytes.
pub fn shifted_body(by: u64) -> Lie {
    answer(move |_, a| {
        if a.status == 206 && a.start >= by {
            (a.start, a.end) = (a.start - by, a.end - by);
        }
    })
}

/// A legal 206 that gives no more than `n` bytes of what was asked for, and says so.
pub fn short_206(n: u64) -> Lie {
    answer(move |_, a| {
        if a.status == 206 && a.end - a.start > n {
            a.end = a.start + n;
            a.set("Content-Range", format!("bytes {}-{}/{}", a.start, a.end - 1, a.content.len()));
            a.set("Content-Length", n.to_string());
        }
    })
}

/// `n` bytes more than Content-Range or the page's length promise (and as many as Content-Length says).
pub fn longer_by(n: usize) -> Lie {
    answer(move |_, a| {
        a.extra = vec![b'x'; n];
        a.set("Content-Length", (a.end - a.start + n as u64).to_string());
    })
}

/// Chunked transfer coding, so that no length is told.
pub fn chunked() -> Lie {
    answer(|_, a| {
        a.unset("Content-Length");
        a.chunked = true;
    })
}

/// No length at all: the body ends with the connection.
pub fn until_close() -> Lie {
    answer(|_, a| {
        a.unset("Content-Length");
        a.close = true;
    })
}

/// HTTP/1.0: no persistent connection.
pub fn http10() -> Lie {
    answer(|_, a| {
        a.version = "HTTP/1.0";
        a.close = true;
    })
}

/// The whole as gzip, though nobody asked.
pub fn gzipped() -> Lie {
    answer(|_, a| {
        let packed = gzip(&a.content.bytes());
        a.content = Content::of(packed);
        (a.status, a.start, a.end) = (200, 0, a.content.len());
        a.unset("Content-Range");
        a.set("Content-Encoding", "gzip");
        a.set("Content-Length", a.end.to_string());
    })
}

/// Ranges of the gzip bytes, as some servers serve precompressed files.
pub fn gzipped_ranges() -> Lie {
    Lie::Page(Box::new(|_, page| {
        page.content = Content::of(gzip(&page.content.bytes()));
        page.headers.push(("Content-Encoding".into(), "gzip".into()));
    }))
}

/// Another status with a short text, and this field if it is not empty.
pub fn status(code: u16, field: &'static str) -> Lie {
    answer(move |_, a| {
        *a = Answer::text(code, "text/plain", "not now\n");
        if let Some((name, value)) = field.split_once(": ") {
            a.set(name, value);
        }
    })
}

/// 416, with `Content-Range: bytes */TOTAL` where a total is given.
pub fn unsatisfiable(total: Option<u64>) -> Lie {
    answer(move |_, a| {
        *a = Answer::text(416, "text/plain", "no such range\n");
        if let Some(total) = total {
            a.set("Content-Range", format!("bytes */{total}"));
        }
    })
}

/// A redirect.
pub fn redirect(code: u16, to: impl Into<String>) -> Lie {
    let to = to.into();
    answer(move |_, a| {
        *a = Answer::text(code, "text/html", "<a href=elsewhere>moved</a>\n");
        a.set("Location", to.clone());
    })
}

/// A login page: 200, HTML, where a file was expected.
pub fn login_page() -> Lie {
    answer(|_, a| {
        *a = Answer::text(200, "text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title><form>…</form>\n");
        a.set("Cache-Control", "no-store");
    })
}

/// Another page altogether: the content has changed.
pub fn changed_to(page: Page) -> Lie {
    Lie::Page(Box::new(move |_, p| *p = page.clone()))
}

/// Each connection is told another ETag, as by a fleet of servers that do not agree.
pub fn etag_per_connection() -> Lie {
    Lie::Page(Box::new(|ask, page| page.etag = Some(format!("\"node-{}\"", ask.connection))))
}

/// One more field, or another value for it.
pub fn field(name: &'static str, value: impl Into<String>) -> Lie {
    let value = value.into();
    answer(move |_, a| a.set(name, value.clone()))
}

pub fn without(name: &'static str) -> Lie {
    answer(move |_, a| a.unset(name))
}

/// One byte of the content is wrong on the way.
pub fn flip_byte(at: u64) -> Lie {
    Lie::Page(Box::new(move |_, page| page.content = page.content.flipped(at)))
}

/// The connection is closed after this answer.
pub fn then_close() -> Lie {
    answer(|_, a| {
        a.close = true;
        a.set("Connection", "close");
    })
}

/// The connection is reset without an answer.
pub fn refuse() -> Lie {
    Lie::Refuse
}

/// Whatever else a test needs.
pub fn so_that(change: impl Fn(&Ask, &mut Answer) + Send + Sync + 'static) -> Lie {
    answer(change)
}

/// A valid gzip file that does not compress (stored blocks, RFC 1951 section 3.2.4).
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(65_535).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let len = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(block);
    }
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32;
    out.extend(crc.to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
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
            move || accept(&listener, &shared, tls)
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<Arc<rustls::ServerConfig>>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        if shared.open.load(Ordering::SeqCst) >= shared.limit.load(Ordering::SeqCst) {
            reset(&stream);
            continue;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_open.fetch_max(open, Ordering::SeqCst);
        shared.streams.lock().unwrap().extend(stream.try_clone());
        let (shared, tls) = (shared.clone(), tls.clone());
        std::thread::spawn(move || {
            let _ = stream.set_nodelay(true);
            let raw = stream.try_clone().unwrap();
            let wire: Box<dyn Wire> = match tls {
                None => Box::new(stream),
                Some(config) => {
                    Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream))
                }
            };
            let _ = Talk { wire: BufReader::new(wire), raw: &raw, shared: &shared, number }.on();
            let _ = raw.shutdown(Shutdown::Both);
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Makes the close of `stream` a reset: unsent data is thrown away and the peer gets RST.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One connection.
struct Talk<'a> {
    wire: BufReader<Box<dyn Wire>>,
    raw: &'a TcpStream,
    shared: &'a Shared,
    number: usize,
}

impl Talk<'_> {
    fn on(mut self) -> std::io::Result<()> {
        while let Some(mut ask) = self.read_request()? {
            ask.nth = {
                let mut counts = self.shared.counts.lock().unwrap();
                let count = counts.entry(ask.path().to_string()).or_insert(0);
                *count += 1;
                *count
            };
            let asked = ask.clone();
            let lies: Vec<Arc<Lie>> = {
                let rules = self.shared.rules.lock().unwrap();
                rules.iter().filter(|(when, _)| when(&ask)).map(|(_, lie)| lie.clone()).collect()
            };
            let sent = Arc::new(AtomicU64::new(0));
            let log = |status| {
                let entry = Asked { ask: asked.clone(), status, sent: sent.clone() };
                self.shared.log.lock().unwrap().push(entry);
            };
            if lies.iter().any(|lie| matches!(**lie, Lie::Refuse)) {
                log(0);
                reset(self.raw);
                return Ok(());
            }
            let answer = self.answer(&mut ask, &lies);
            log(answer.status);
            let close = answer.close || asked.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
            if !self.send(&ask, answer, &sent)? || close {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read_request(&mut self) -> std::io::Result<Option<Ask>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.wire.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_string());
        }
        let mut words = lines.first().map(String::as_str).unwrap_or_default().split(' ');
        let (method, target) = (words.next().unwrap_or_default().into(), words.next().unwrap_or_default().into());
        let headers: Vec<(String, String)> = lines
            .iter()
            .skip(1)
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_string()))
            .collect();
        let open = self.shared.open.load(Ordering::SeqCst);
        let ask = Ask { method, target, headers, nth: 0, connection: self.number, open };
        let length = ask.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        std::io::copy(&mut (&mut self.wire).take(length), &mut std::io::sink())?;
        Ok(Some(ask))
    }

    fn answer(&self, ask: &mut Ask, lies: &[Arc<Lie>]) -> Answer {
        let mut page = self.shared.pages.lock().unwrap().get(ask.path()).cloned();
        for lie in lies {
            match (&**lie, &mut page) {
                (Lie::Ask(change), _) => change(ask),
                (Lie::Page(change), Some(page)) => change(ask, page),
                _ => {}
            }
        }
        let mut answer = match &page {
            Some(page) => honest(ask, page),
            None => Answer::text(404, "text/plain", "nothing here\n"),
        };
        for lie in lies {
            if let Lie::Answer(change) = &**lie {
                change(ask, &mut answer);
            }
        }
        answer
    }

    /// Sends the answer; `false` when the connection is not to be used again.
    fn send(&mut self, ask: &Ask, answer: Answer, sent: &AtomicU64) -> std::io::Result<bool> {
        std::thread::sleep(answer.wait);
        let mut head = format!("{} {} {}\r\n", answer.version, answer.status, reason(answer.status));
        head.push_str(&format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())));
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if answer.chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        }
        head.push_str("\r\n");
        let wire = self.wire.get_mut();
        wire.write_all(head.as_bytes())?;
        if ask.method == "HEAD" || matches!(answer.status, 204 | 304) {
            return wire.flush().map(|()| true);
        }
        let whole = self.send_body(&answer, sent)?;
        if whole && answer.chunked {
            self.wire.get_mut().write_all(b"0\r\n\r\n")?;
        }
        self.wire.get_mut().flush()?;
        Ok(whole && !answer.close)
    }

    /// Sends the body; `false` when it was stopped on the way.
    fn send_body(&mut self, answer: &Answer, sent: &AtomicU64) -> std::io::Result<bool> {
        let page = answer.end - answer.start;
        let len = page + answer.extra.len() as u64;
        let (stop, manner) = answer.stop.map_or((len, None), |(at, manner)| (at.min(len), Some(manner)));
        let (mut at, started) = (0, Instant::now());
        let mut block = vec![0; answer.chunked_by];
        while at < stop {
            let mut n = (stop - at).min(block.len() as u64) as usize;
            if let Some(rate) = answer.rate {
                n = n.min((rate / 50).max(1) as usize);
                let due = Duration::from_secs_f64(at as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
            if at < page {
                n = n.min((page - at) as usize);
                answer.content.fill(answer.start + at, &mut block[..n]);
            } else {
                block[..n].copy_from_slice(&answer.extra[(at - page) as usize..(at - page) as usize + n]);
            }
            let wire = self.wire.get_mut();
            if answer.chunked {
                wire.write_all(format!("{n:x}\r\n").as_bytes())?;
            }
            wire.write_all(&block[..n])?;
            if answer.chunked {
                wire.write_all(b"\r\n")?;
            }
            at += n as u64;
            sent.store(at, Ordering::SeqCst);
        }
        match manner {
            None => Ok(true),
            Some(Stop::Close) => self.wire.get_mut().flush().map(|()| false),
            Some(Stop::Reset) => {
                // What was written must get there first: RST throws away what the peer has not read.
                self.wire.get_mut().flush()?;
                std::thread::sleep(Duration::from_millis(100));
                reset(self.raw);
                Ok(false)
            }
            Some(Stop::Stall) => {
                self.wire.get_mut().flush()?;
                self.wait_for_peer_to_leave();
                Ok(false)
            }
        }
    }

    fn wait_for_peer_to_leave(&self) {
        let _ = self.raw.set_read_timeout(Some(Duration::from_millis(50)));
        let mut byte = [0];
        while !self.shared.stopping.load(Ordering::SeqCst) {
            match self.raw.peek(&mut byte) {
                Ok(0) => return,
                Ok(_) => std::thread::sleep(Duration::from_millis(50)),
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }
}

/// What an honest server answers (RFC 9110, sections 13 and 14).
fn honest(ask: &Ask, page: &Page) -> Answer {
    let total = page.content.len();
    let mut answer = Answer::text(200, "application/octet-stream", "");
    answer.content = page.content.clone();
    answer.end = total;
    page.headers.iter().for_each(|(name, value)| answer.set(name, value.clone()));
    page.etag.iter().for_each(|etag| answer.set("ETag", etag.clone()));
    page.last_modified.iter().for_each(|date| answer.set("Last-Modified", date.clone()));
    if page.ranges {
        answer.set("Accept-Ranges", "bytes");
    }
    let strong = |tag: &str| page.etag.as_deref() == Some(tag) && !tag.starts_with("W/");
    if ask.header("if-match").is_some_and(|tags| tags != "*" && !tags.split(", ").any(strong)) {
        return Answer::text(412, "text/plain", "not that one\n");
    }
    let bare = |tag: &str| tag.trim_start_matches("W/").to_string();
    let same = |tag: &str| page.etag.as_deref().map(bare) == Some(bare(tag));
    let not_modified = match (ask.header("if-none-match"), ask.header("if-modified-since")) {
        (Some(tags), _) => tags == "*" || tags.split(", ").any(same),
        (None, Some(date)) => page.last_modified.as_deref() == Some(date),
        (None, None) => false,
    };
    if not_modified {
        answer.status = 304;
        return answer;
    }
    let current = match ask.header("if-range") {
        None => true,
        Some(tag) if tag.contains('"') => strong(tag),
        Some(date) => page.last_modified.as_deref() == Some(date),
    };
    let range = ask.header("range").filter(|_| page.ranges && current).and_then(|r| range_of(r, total));
    match range {
        None => answer.set("Content-Length", total.to_string()),
        Some(Some((start, end))) => {
            answer.status = 206;
            (answer.start, answer.end) = (start, end);
            answer.set("Content-Range", format!("bytes {start}-{}/{total}", end - 1));
            answer.set("Content-Length", (end - start).to_string());
        }
        Some(None) => {
            answer = Answer::text(416, "text/plain", "");
            answer.set("Content-Range", format!("bytes */{total}"));
        }
    }
    answer
}

/// One range of a file of `total` bytes: `None` to ignore the field, `Some(None)` when it cannot be satisfied. A whole
/// empty file is served with 200, as nginx does.
fn range_of(field: &str, total: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (start, end) = match (number(first), number(last)) {
        (Some(0), None) if total == 0 && last.is_empty() => return None,
        (Some(start), None) if last.is_empty() => (start, total),
        (Some(start), Some(last)) if last >= start => (start, (last + 1).min(total)),
        (None, Some(n)) if first.is_empty() => (total.saturating_sub(n), total),
        _ => return None,
    };
    Some((start < end).then_some((start, end)))
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Whatever")
}

/// A self-signed certificate for 127.0.0.1 and localhost.
pub struct Identity {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Identity {
    pub fn new() -> Self {
        let names = ["127.0.0.1".to_string(), "localhost".to_string()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self { cert_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() }
    }

    fn config(&self) -> Arc<rustls::ServerConfig> {
        use rustls_pki_types::pem::PemObject;
        let cert = rustls_pki_types::CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![cert], key).unwrap())
    }
}

/// The origin itself, asked with raw requests: a liar that tells the truth by mistake would prove nothing.
mod tests {
    use super::*;

    /// Sends `request` and gives all that comes until the connection ends.
    fn raw(origin: &Origin, request: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(origin.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let cut = all.windows(4).position(|w| w == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
        (String::from_utf8_lossy(&all[..cut]).into_owned(), all[cut..].to_vec())
    }

    fn get(origin: &Origin, fields: &str) -> (String, Vec<u8>) {
        raw(origin, &format!("GET /file.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"))
    }

    #[test]
    fn honest_answers() {
        let content = Content::random(5, 100_000);
        let origin = Origin::serving(&content);
        let (head, body) = get(&origin, "");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("ETag: \"v1\""), "{head}");
        assert_eq!(body, content.bytes());
        let (head, body) = get(&origin, "Range: bytes=10-19\r\nIf-Range: \"v1\"\r\n");
        assert!(head.contains("206 Partial") && head.contains("Content-Range: bytes 10-19/100000"), "{head}");
        assert_eq!(body, content.part(10, 20));
        assert_eq!(get(&origin, "Range: bytes=-5\r\n").1, content.part(99_995, 100_000));
        assert!(get(&origin, "Range: bytes=10-19\r\nIf-Range: \"v0\"\r\n").0.contains(" 200 "));
        assert!(get(&origin, "Range: bytes=100000-\r\n").0.contains("bytes */100000"));
        assert!(get(&origin, "If-None-Match: W/\"v1\"\r\n").0.contains(" 304 "));
        assert!(get(&origin, "If-Match: \"v0\"\r\n").0.contains(" 412 "));
        assert_eq!(origin.asked().len(), 7);
        assert_eq!(origin.asked()[1].sent(), 10);
    }

    #[test]
    fn lies_are_told_when_asked_for() {
        let content = Content::random(6, 50_000);
        let origin = Origin::serving(&content);
        origin.when(nth(1), cut_after(1000)).when(nth(2), ignore_range()).when(nth(3), longer_by(3));
        origin.when(nth(4), content_range(|s, e, t| format!("bytes {}-{e}/{t}", s + 1)));
        origin.when(nth(5), chunked()).when(nth(6), refuse()).when(nth(7), short_206(4)).when(nth(8), gzipped());
        assert_eq!(get(&origin, "").1.len(), 1000);
        assert_eq!(get(&origin, "Range: bytes=5-9\r\n").1.len(), 50_000);
        assert_eq!(get(&origin, "").1.len(), 50_003);
        assert!(get(&origin, "Range: bytes=5-9\r\n").0.contains("bytes 6-9/50000"));
        let (head, body) = get(&origin, "");
        assert!(head.contains("chunked") && !head.contains("Content-Length") && body.ends_with(b"\r\n0\r\n\r\n"));
        assert_eq!(get(&origin, "").0, "");
        assert!(get(&origin, "Range: bytes=5-\r\n").0.contains("bytes 5-8/50000"));
        let (head, body) = get(&origin, "");
        assert!(head.contains("Content-Encoding: gzip") && body.starts_with(&[0x1f, 0x8b]));
    }

    #[test]
    fn connections_past_the_limit_are_reset() {
        let origin = Origin::serving(&Content::random(1, 10));
        origin.at_most_connections(0);
        assert_eq!(get(&origin, "").0, "");
        origin.at_most_connections(1);
        assert!(get(&origin, "").0.contains(" 200 "));
    }
}
