//! When a rule applies, and what can go wrong: the words a test is written with.

use super::{Answer, Ask, Page, Stop};
use crate::world::Content;
use std::time::Duration;

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

pub(super) fn answer(change: impl Fn(&Ask, &mut Answer) + Send + Sync + 'static) -> Lie {
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
