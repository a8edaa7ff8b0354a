//! What a file server can do, proven on a throw-away name: what it announces says too little, and a server that does
//! not know `Content-Range` answers "created" all the same and keeps only the last piece.

use super::pieces::Way;
use super::{Look, Shelf, allows, listed};
use crate::chunk::ByteRange;
use crate::fault::{Fault, Kind};
use crate::net::Body;
use crate::remote::Session;
use http::Method;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName};
use url::Url;

/// What is written to the throw-away name, in two pieces.
const TEXT: &[u8] = b"onward tries what this server can do; this file may be removed\n";
/// Where the second piece begins.
const CUT: u64 = 20;

/// What was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// How pieces are written, where they can be.
    pub way: Option<Way>,
    /// Whether a file can be moved to another name in its folder.
    pub moves: bool,
}

impl Proof {
    /// What a session of an earlier run was begun with.
    pub fn of(session: &Session) -> Option<Self> {
        let way = session.text("way")?;
        Some(Self { way: Way::from_name(way), moves: way != super::put::IN_PLACE })
    }

    /// As it is kept in the notes of earlier runs; `None` for words that say nothing to this version.
    pub fn from_words(way: &Option<String>, moves: bool) -> Option<Self> {
        match way {
            None => Some(Self { way: None, moves }),
            Some(name) => Way::from_name(name).map(|way| Self { way: Some(way), moves }),
        }
    }

    /// What a reply to `OPTIONS` announces.
    pub fn announced(fields: &HeaderMap) -> Self {
        Self { way: None, moves: super::announced(fields) && allows(fields, "MOVE") }
    }

    /// The best protocol for such a server.
    pub fn protocol(&self) -> &'static str {
        self.way.filter(|_| self.moves).map_or(super::PUT, Way::protocol)
    }
}

/// Tries on a throw-away name beside the destination what a server can do that answered `OPTIONS` with `fields`.
pub async fn prove(shelf: &Shelf, fields: &HeaderMap) -> Result<Proof, Fault> {
    let token = crate::disk::token();
    let name = format!("onward-{}", token.get(..12).unwrap_or(&token));
    let (first, second) = (shelf.sibling(&format!("{name}.try"))?, shelf.sibling(&format!("{name}.moved"))?);
    let outcome = tried(shelf, fields, &first, &second).await;
    // Whatever came of it, nothing is left behind. A name that is not there is no failure.
    for url in [&first, &second] {
        if !matches!(shelf.look(url).await, Ok(Look::Absent)) {
            shelf.remove(url).await.ok();
        }
    }
    outcome
}

async fn tried(shelf: &Shelf, fields: &HeaderMap, first: &Url, second: &Url) -> Result<Proof, Fault> {
    let candidates = match (listed(fields, "dav", "sabredav-partialupdate"), allows(fields, "PATCH")) {
        (true, _) => [Some(Way::Sabre), Some(Way::Range)],
        (false, true) => [Some(Way::Dufs), Some(Way::Range)],
        (false, false) => [Some(Way::Range), None],
    };
    let mut way = None;
    for candidate in candidates.into_iter().flatten() {
        if adds(shelf, candidate, first).await? {
            way = Some(candidate);
            break;
        }
    }
    Ok(Proof { way, moves: moves(shelf, first, second).await? })
}

/// Whether two pieces written in this way become one file.
async fn adds(shelf: &Shelf, way: Way, url: &Url) -> Result<bool, Fault> {
    let total = TEXT.len() as u64;
    let start = way.placeholder(total);
    let request = shelf.request(Method::PUT, url.clone());
    let request = match start.is_empty() {
        true => request.header(CONTENT_LENGTH, "0"),
        false => request.body(Body::Bytes(bytes::Bytes::from_static(start))),
    };
    let reply = shelf.send(request).await?;
    if !reply.status.is_success() {
        return Err(reply.fault("take"));
    }
    // The second piece laps over the first by one byte, as dufs has to be told.
    for range in [ByteRange::new(0, CUT), ByteRange::new(CUT - 1, total)] {
        let body = bytes::Bytes::from_static(&TEXT[range.start as usize..range.end as usize]);
        let request = way.write(shelf.request(Method::PUT, url.clone()), range, total, Body::Bytes(body));
        let reply = shelf.send(request).await?;
        if let Some(other) = reply.elsewhere(url) {
            shelf.remove(&other).await?;
            return Ok(false);
        }
        match reply.status.as_u16() {
            200 | 201 | 204 => {}
            408 | 425 | 429 | 500 | 502..=504 => return Err(reply.fault("take a piece of")),
            _ => return Ok(false),
        }
    }
    let request = shelf.request(Method::GET, url.clone()).header(ACCEPT_ENCODING, "identity");
    let reply = shelf.send(request).await?;
    Ok(reply.status.as_u16() == 200 && reply.body == TEXT)
}

/// Whether a name can be moved.
async fn moves(shelf: &Shelf, from: &Url, to: &Url) -> Result<bool, Fault> {
    let request = shelf
        .request(Method::from_bytes(b"MOVE").map_err(|e| Fault::new(Kind::Other, e.to_string()))?, from.clone())
        .header(HeaderName::from_static("destination"), to.as_str())
        .header(HeaderName::from_static("overwrite"), "F");
    let reply = shelf.send(request).await?;
    match reply.status.as_u16() {
        200 | 201 | 204 => Ok(matches!(shelf.look(to).await?, Look::There(_))),
        408 | 425 | 429 | 500 | 502..=504 => Err(reply.fault("give another name to")),
        _ => Ok(false),
    }
}
