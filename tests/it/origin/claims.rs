//! Lies about what the content is: validators that never hold still, digests, the bytes themselves.

use super::lies::{answer, so_that};
use super::{Lie, Page};
use crate::world::Content;
use onward::digest::{Algorithm, Hasher};
use std::time::SystemTime;

/// Each answer has another ETag.
pub fn etag_per_answer() -> Lie {
    Lie::Page(Box::new(|ask, page| page.etag = Some(format!("\"{}-{}\"", ask.connection, ask.nth))))
}

/// The server answers 200 and the whole to every `If-Range`, whatever is in it.
pub fn if_range_never_fits() -> Lie {
    Lie::Ask(Box::new(|ask| {
        if ask.header("if-range").is_some() {
            ask.headers.retain(|(n, _)| n != "range" && n != "if-range");
        }
    }))
}

/// `Last-Modified` is the time of the request.
pub fn modified_now() -> Lie {
    Lie::Page(Box::new(|_, page| page.last_modified = Some(httpdate::fmt_http_date(SystemTime::now()))))
}

/// Another content of the same length and with another ETag at each request.
pub fn another_each_time() -> Lie {
    Lie::Page(Box::new(|ask, page| {
        let seed = 1000 + ask.nth as u64;
        *page = Page::of(&Content::random(seed, page.content.len())).etag(&format!("\"{seed}\"")).no_date();
    }))
}

/// The head is right and the bytes are those of `other`.
pub fn bytes_of(other: &Content) -> Lie {
    let other = other.clone();
    answer(move |_, a| a.content = other.clone())
}

/// `Content-Digest` of the bytes that should come, which need not be those that do.
pub fn content_digest_of(content: &Content) -> Lie {
    let content = content.clone();
    so_that(move |_, a| {
        let field = a.headers.iter().find(|(name, _)| name == "Content-Range").map(|(_, value)| value.clone());
        let range = field.as_deref().and_then(onward::wire::content_range::ContentRange::parse);
        if let Some(onward::wire::content_range::ContentRange::Part { range, .. }) = range {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(&content.part(range.start, range.end));
            use base64::Engine as _;
            let digest = base64::engine::general_purpose::STANDARD.encode(hasher.finish().bytes);
            a.set("Content-Digest", format!("sha-256=:{digest}:"));
        }
    })
}
