//! Plain `PUT` (RFC 9110, section 9.3.4): one request holds the whole file, and what is cut is sent again from its
//! front. It is the last resort, for servers that cannot do better, and says so before it starts.
//!
//! Where the server can move files, the bytes go to a name of their own and are moved when they are whole. Where it
//! cannot, they go to the destination itself: whether a cut upload leaves half a file there is the server's doing. In
//! both ways a lost answer is settled by looking (`HEAD`) before anything is sent again.

use super::super::{
    Answer, Closed, Held, Manifest, Order, Part, Published, Put as Outcome, Remote, Repeat, Session, Standing, State,
    Terms,
};
use super::{Look, Shelf, size, taken};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::fault::{Fault, Kind};
use crate::record::IfExists;
use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use std::cell::Cell;
use url::Url;

/// The way of a file that goes to a name of its own first, in records.
const MOVED: &str = "move";
/// The way of a file that goes straight to its final name, in records.
pub(super) const IN_PLACE: &str = "in place";

/// The client's end, bound to one destination.
pub struct Put {
    shelf: Shelf,
    moves: bool,
    length: Cell<u64>,
    if_exists: Cell<IfExists>,
    /// Whether bytes may have gone out under this session: then what is half there is ours.
    sent: Cell<bool>,
    /// Whether the user has given the upload up.
    abandoned: Cell<bool>,
}

impl Put {
    /// Puts onto `shelf`; by way of a name beside the destination when the server `moves` files.
    pub fn new(shelf: Shelf, moves: bool) -> Self {
        Self {
            shelf,
            moves,
            length: Cell::new(0),
            if_exists: Cell::new(IfExists::Fail),
            sent: Cell::new(false),
            abandoned: Cell::new(false),
        }
    }

    fn is_moved(session: &Session) -> bool {
        session.text("way") == Some(MOVED)
    }

    async fn begin(&self, session: &Session) -> Result<(Session, State), Fault> {
        let final_url = &self.shelf.destination.url;
        let there = self.shelf.look(final_url).await?;
        if let (Look::There(seen), IfExists::Fail) = (&there, self.if_exists.get()) {
            return Ok((session.clone(), State::Taken(seen.length, taken(final_url))));
        }
        let key = session.text("key").unwrap_or_default();
        let upload = if Self::is_moved(session) { self.shelf.beside(key)? } else { final_url.clone() };
        let session = session.clone().with("upload", upload.as_str()).with("was", there.text());
        let state = match Self::is_moved(&session) {
            // An answer to an earlier opening may have been lost.
            true => self.state(&session, true).await?,
            false => nothing(),
        };
        Ok((session, state))
    }

    /// How far the upload is. `fresh`: that nothing is there yet is no loss.
    async fn state(&self, session: &Session, fresh: bool) -> Result<State, Fault> {
        let url = self.shelf.told(session)?;
        let there = self.shelf.look(&url).await?;
        let whole = there.length() == Some(self.length.get());
        if Self::is_moved(session) {
            return match there {
                Look::There(_) if whole => Ok(self.all()),
                Look::There(_) => Ok(nothing()),
                Look::Absent if fresh => Ok(nothing()),
                Look::Absent => match self.shelf.moved(session, self.length.get()).await? {
                    // Its own name is only there once the whole was put there.
                    State::Gone if !self.abandoned.get() => Ok(nothing()),
                    other => Ok(other),
                },
                Look::Blind(_) => Ok(State::Open(Standing { held: Held::Unknown, joined: false, claim: None })),
            };
        }
        let news = session.text("was").is_some_and(|was| was != there.text());
        Ok(match there {
            Look::There(seen) if whole && news => {
                State::Done(Published { place: url, digests: seen.digests, shows: size() })
            }
            Look::Blind(_) => State::Open(Standing { held: Held::Unknown, joined: false, claim: None }),
            _ if self.abandoned.get() => State::Gone,
            _ => nothing(),
        })
    }

    fn all(&self) -> State {
        let held = Held::Bytes(ByteSet::of(ByteRange::new(0, self.length.get())));
        State::Open(Standing { held, joined: false, claim: None })
    }

    /// The whole file in one request.
    async fn send_all(&self, session: &Session, part: &Part) -> Result<Outcome, Fault> {
        if self.abandoned.get() {
            return Ok(Outcome::Gone);
        }
        let url = self.shelf.told(session)?;
        let request = self.shelf.request(Method::PUT, url.clone()).header(CONTENT_TYPE, "application/octet-stream");
        let mut request = match part.range.is_empty() {
            true => request.header(CONTENT_LENGTH, "0"),
            false => request.body(part.body()),
        };
        if !Self::is_moved(session) {
            let (name, value) = match self.condition(session, &url).await? {
                Condition::None => (None, String::new()),
                Condition::Absent => (Some(IF_NONE_MATCH), "*".to_string()),
                Condition::Still(tag) => (Some(IF_MATCH), tag),
            };
            if let Some(name) = name {
                request = request.header(name, value);
            }
        }
        self.sent.set(true);
        let reply = match self.shelf.send(request).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Outcome::Ambiguous(fault)),
            other => other?,
        };
        match reply.status.as_u16() {
            200 | 201 | 204 => match reply.elsewhere(&url) {
                None => Ok(Outcome::Stored(part.range)),
                Some(other) => {
                    let text = format!("the server stored the file as {}", crate::net::shown(&other));
                    Err(Fault::new(Kind::Refused, text).hint("it does not overwrite files; choose another name"))
                }
            },
            412 => Err(Fault { status: Some(412), ..taken(&url) }.hint("look at it, then --overwrite replaces it")),
            _ => Err(reply.fault("take")),
        }
    }

    /// Under which condition a `PUT` onto the destination itself may replace what is there.
    async fn condition(&self, session: &Session, url: &Url) -> Result<Condition, Fault> {
        let there = self.shelf.look(url).await?;
        let was = session.text("was").unwrap_or_default();
        match (&there, self.if_exists.get()) {
            (Look::Absent, IfExists::Fail) => Ok(Condition::Absent),
            // What came since we have begun to send is our own half.
            (Look::There(_), IfExists::Fail) if !self.sent.get() => Err(taken(url)),
            (Look::There(seen), _) if there.text() == was || self.sent.get() => {
                Ok(seen.tag.clone().map_or(Condition::None, Condition::Still))
            }
            _ => Ok(Condition::None),
        }
    }

    async fn finish(&self, session: &Session, digests: &[Digest]) -> Result<Closed, Fault> {
        let url = self.shelf.told(session)?;
        let length = self.length.get();
        let mut there = self.shelf.look(&url).await?;
        if length == 0 && there.length() != Some(0) {
            if let Some(closed) = self.empty(session, &url).await? {
                return Ok(closed);
            }
            there = self.shelf.look(&url).await?;
        }
        let seen = matches!(there, Look::There(_));
        let shown = match there {
            Look::There(seen) => {
                if seen.length.is_some_and(|there| there != length) {
                    return Ok(Closed::Missing(ByteSet::of(ByteRange::new(0, length))));
                }
                seen.digests
            }
            Look::Absent => match Self::is_moved(session) {
                true => return self.gone(session).await,
                false => return Ok(Closed::Missing(ByteSet::of(ByteRange::new(0, length)))),
            },
            // It took the whole and lets nobody look: its word is all there is.
            Look::Blind(_) => Vec::new(),
        };
        let differs = |shown: &Digest| digests.iter().any(|own| own.algorithm == shown.algorithm && own != shown);
        if shown.iter().any(differs) {
            return Ok(Closed::Suspect(ByteSet::new()));
        }
        match Self::is_moved(session) {
            true => self.shelf.publish(&url, self.if_exists.get(), shown).await,
            false => Ok(Closed::Published(Published { place: url, digests: shown, shows: size().filter(|_| seen) })),
        }
    }

    /// Its own name is gone: it was moved and the answer lost, or somebody took it away.
    async fn gone(&self, session: &Session) -> Result<Closed, Fault> {
        Ok(match self.shelf.moved(session, self.length.get()).await? {
            State::Done(published) => Closed::Published(published),
            _ => Closed::Missing(ByteSet::of(ByteRange::new(0, self.length.get()))),
        })
    }

    /// An empty file has no part, so it is sent when it is closed. `None`: it was taken.
    async fn empty(&self, session: &Session, url: &Url) -> Result<Option<Closed>, Fault> {
        if Self::is_moved(session)
            && let State::Done(published) = self.shelf.moved(session, 0).await?
        {
            return Ok(Some(Closed::Published(published)));
        }
        let request = self.shelf.request(Method::PUT, url.clone()).header(CONTENT_LENGTH, "0");
        let reply = match self.shelf.send(request).await {
            Err(fault) if fault.kind == Kind::Network => return Ok(Some(Closed::Ambiguous(fault))),
            other => other?,
        };
        match reply.status.as_u16() {
            200 | 201 | 204 => Ok(None),
            _ => Err(reply.fault("take")),
        }
    }
}

/// What must hold of the destination for a `PUT` onto it.
enum Condition {
    /// Nothing that could be asked for.
    None,
    /// Nothing is there.
    Absent,
    /// It is still the one with this tag.
    Still(String),
}

fn nothing() -> State {
    State::Open(Standing { held: Held::Bytes(ByteSet::new()), joined: false, claim: None })
}

impl Remote for Put {
    fn protocol(&self) -> &'static str {
        super::PUT
    }

    fn place(&self) -> Url {
        self.shelf.destination.url.clone()
    }

    fn about(&self) -> String {
        match self.moves {
            true => "plain PUT: one request, to a name of its own that is moved when whole".into(),
            false => "plain PUT: one request".into(),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            order: Order::Sequential,
            // Never less than the whole chunk, and the whole file is one chunk.
            part: u64::MAX..=u64::MAX,
            uniform: None,
            keeps_cut: false,
            multiple: 1,
            chunk: None,
            chunk_max: None,
            parallel: 1,
            replace: true,
            repeat: Repeat::Safe,
            file_max: None,
        }
    }

    fn chunk_size(&self, length: u64) -> Option<u64> {
        Some(length.max(1))
    }

    fn caveat(&self) -> Option<String> {
        let place = match self.moves {
            true => "nothing is seen under its name before it is whole",
            false => "and straight to its final name: this server has no other way",
        };
        Some(format!(
            "this server takes a file in one request only: after a break it is sent again from the front; {place}"
        ))
    }

    fn may_show_digest(&self) -> bool {
        true
    }

    fn prepare(&self) -> Session {
        let way = if self.moves { MOVED } else { IN_PLACE };
        Session::default().with("protocol", super::PUT).with("way", way).with("key", crate::disk::token())
    }

    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        self.length.set(manifest.layout.length());
        self.if_exists.set(manifest.if_exists);
        Box::pin(async move {
            match session.text("upload") {
                Some(_) => {
                    self.sent.set(true);
                    Ok((session.clone(), self.state(session, false).await?))
                }
                None => self.begin(session).await,
            }
        })
    }

    fn held<'a>(&'a self, session: &'a Session) -> Answer<'a, State> {
        Box::pin(self.state(session, false))
    }

    fn put<'a>(&'a self, session: &'a Session, part: &'a Part) -> Answer<'a, Outcome> {
        Box::pin(self.send_all(session, part))
    }

    fn close<'a>(&'a self, session: &'a Session, digests: &'a [Digest], _: &'a [Algorithm]) -> Answer<'a, Closed> {
        Box::pin(self.finish(session, digests))
    }

    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(async move {
            self.abandoned.set(true);
            // What stands under the final name may be what somebody else has put there.
            match session.text("upload").filter(|_| Self::is_moved(session)) {
                Some(_) => self.shelf.remove(&self.shelf.told(session)?).await,
                None => Ok(()),
            }
        })
    }
}
