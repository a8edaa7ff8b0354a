//! One connection to the origin: reads requests, answers as an honest server would, and lets the lies change that.

use super::noise::{Noise, Raw};
use super::{Answer, Ask, Asked, Lie, Page, Shared, Stop};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_rustls::rustls;

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<Arc<rustls::ServerConfig>>) {
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
            // What lies in the kernel unread counts as sent: little of it keeps the counts of bytes honest.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, 64 << 10);
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
        if let Some(raw) = &answer.noise.instead {
            return self.send_raw(raw).map(|()| false);
        }
        let mut head = format!("{} {} {}\r\n", answer.version, answer.status, reason(answer.status));
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if answer.chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        }
        head.push_str("\r\n");
        self.send_head(&head, &answer.noise)?;
        let wire = self.wire.get_mut();
        if ask.method == "HEAD" || matches!(answer.status, 204 | 304) {
            return wire.flush().map(|()| true);
        }
        let whole = self.send_body(&answer, sent)?;
        if whole && answer.chunked {
            self.wire.get_mut().write_all(b"0\r\n\r\n")?;
        }
        self.wire.get_mut().write_all(&answer.noise.after)?;
        self.wire.get_mut().flush()?;
        Ok(whole && !answer.close)
    }

    fn send_head(&mut self, head: &str, noise: &Noise) -> std::io::Result<()> {
        let wire = self.wire.get_mut();
        wire.write_all(&noise.before)?;
        match noise.drip {
            None => wire.write_all(head.as_bytes()),
            Some(pause) => head.bytes().try_for_each(|byte| {
                std::thread::sleep(pause);
                wire.write_all(&[byte])
            }),
        }
    }

    /// Sends bytes that are no answer; what repeats does so until the peer has had enough of it.
    fn send_raw(&mut self, raw: &Raw) -> std::io::Result<()> {
        self.wire.get_mut().write_all(&raw.start)?;
        while !raw.again.is_empty() && !self.shared.stopping.load(Ordering::SeqCst) {
            self.wire.get_mut().write_all(&raw.again)?;
        }
        self.wire.get_mut().flush()
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
