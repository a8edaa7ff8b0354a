//! Beginning, asking what is there, ending and forgetting, as the dialect has it.

use super::facts::{self, At, SHORT};
use super::{Form, Mode};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::fault::{Fault, Kind, Verdict};
use crate::net::{Options, Request, shown};
use crate::remote::{Closed, EXISTS, Held, Manifest, Published, Put, Remote, SIZE, Session, Standing, State};
use crate::wire::dialect::{Call, Finish, Hash, Have, Place, Reply, Trust, fits_any, words};
use crate::wire::retry_after;
use serde_json::Value;
use std::time::SystemTime;

/// A longer answer than this is none, in bytes.
const LONGEST_ANSWER: usize = 4 << 20;
/// In a session: the server has said that the file is complete.
pub(super) const COMPLETE: &str = "complete";
/// In a session: what the server has said of the upload that it began.
pub(super) const CAPTURED: &str = "captured";
/// In a session: the call that ends the upload was made, and what came of it is not known.
pub(super) const ENDING: &str = "ending";
/// A server that asks so often to wait for the end is not going to get there.
const MOST_WAITS: u32 = 300;

impl Form {
    /// Sends a request and reads the answer whole.
    pub(super) async fn call(&self, request: Request, call: &Call) -> Result<Reply, Fault> {
        let head = request.method == http::Method::HEAD;
        // What the user says about silence counts more than what the page was written for.
        let own = self.net.options().stall_timeout != Options::default().stall_timeout;
        let request = Request { known: self.known.clone(), ..request.stall(call.stall.filter(|_| !own)) };
        let response = self.net.ask(&request, &self.destination.access).await?;
        let (status, headers) = (response.status.as_u16(), response.headers.clone());
        let known = response.known.clone();
        let body = match status {
            _ if head => Vec::new(),
            // A refusal may come before the chunk has gone out, and its words be lost with the connection.
            400.. => response.bytes(LONGEST_ANSWER).await.unwrap_or_default().to_vec(),
            _ => response.bytes(LONGEST_ANSWER).await?.to_vec(),
        };
        Ok(Reply { known, ..Reply::new(status, headers, body, call.parse) })
    }

    /// What an answer that is no success means.
    pub(super) fn failure(&self, reply: &Reply, call: &Call) -> Fault {
        let (place, status) = (shown(&self.base), reply.status);
        let said = words(reply, &call.message).map(|words| format!(": {words}")).unwrap_or_default();
        let wait = retry_after::wait(&reply.headers, SystemTime::now());
        if fits_any(&call.retry, reply) {
            return Fault {
                status: Some(status),
                ..Fault::new(Kind::Busy, format!("{place} answered {status}{said}"))
            }
            .wait(wait);
        }
        if fits_any(&call.fatal, reply) && status >= 300 {
            let kind = if matches!(status, 404 | 410) { Kind::NotFound } else { Kind::Refused };
            return Fault { status: Some(status), ..Fault::new(kind, format!("{place} answered {status}{said}")) };
        }
        match status {
            200..=299 if said.is_empty() && reply.json.is_none() && !reply.body.is_empty() => {
                let text = format!(
                    "{place} answered {status} with something that the dialect {} does not know",
                    self.given.name.escape_debug()
                );
                Fault::new(Kind::Refused, text).hint("check the URL and --dialect; a page to log in answers so, too")
            }
            200..=299 => Fault::new(Kind::Refused, format!("{place} answered {status}, and that it failed{said}"))
                .hint("see to what the server says, then run the same command again"),
            300..=399 => Fault::new(Kind::Refused, format!("{place} redirects uploads elsewhere ({status})"))
                .hint("give the URL that takes them, and what logs you in: -b, -u or -H"),
            _ => Fault::status(status, format!("{place} answered {status}{said}")).wait(wait),
        }
    }

    /// Begins the upload, or finds it again.
    pub(super) async fn begin(&self, session: &Session, manifest: &Manifest) -> Result<(Session, State), Fault> {
        let fresh = session.text("opened").is_none();
        let mut session = session.clone();
        if let Some(digest) = &manifest.early {
            session = session.with("hash", digest.hex());
        }
        if session.text("id").is_none() {
            let id = self.dialect.identity.id.fill(&self.facts(&session, None, None));
            let id = id.map_err(|missing| {
                Fault::new(Kind::Usage, format!("the dialect's id asks for {{{}}}, which is not known", missing.0))
            })?;
            session = session.with("id", id);
        }
        if let Some(create) = self.dialect.create.as_ref().filter(|_| fresh) {
            let request = facts::request(&create.call, &self.base, &self.facts(&session, None, None), &self.fields)?;
            let reply = self.call(request, &create.call).await?;
            if fits_any(&create.instant, &reply) {
                return Ok((session, State::Done(self.told_complete(create.trust))));
            }
            let fine = fits_any(&create.call.ok, &reply) || create.call.ok.is_empty() && reply.status / 100 == 2;
            if !fine || fits_any(&create.call.fatal, &reply) {
                return Err(self.failure(&reply, &create.call));
            }
            session.0.insert(CAPTURED.into(), self.captured(&create.capture, &reply)?.into());
        }
        let unasked = fresh && self.dialect.have.as_ref().is_none_or(|have| !self.worth_asking(have));
        let state = match unasked {
            true => self.open_with(self.nothing()),
            false => self.standing(&session).await?,
        };
        Ok((session.with("opened", "yes"), state))
    }

    /// What a reply that begins an upload says of it.
    pub(super) fn captured(&self, wanted: &[(String, Place)], reply: &Reply) -> Result<toml::Table, Fault> {
        let one = |(name, place): &(String, Place)| {
            let value = place.text(reply).filter(|value| !value.is_empty()).ok_or_else(|| {
                let text = format!("{} began an upload without saying its {name:?}", shown(&self.base));
                Fault::new(Kind::Other, text)
            })?;
            Ok((name.clone(), value.into()))
        };
        wanted.iter().map(one).collect()
    }

    /// Whether the answer to the first chunk, which names the upload, is still to come.
    pub(super) fn is_nameless(&self, session: &Session) -> bool {
        !self.dialect.send.capture.is_empty() && !session.0.contains_key(CAPTURED)
    }

    /// Whether the server has named the upload, so that its "not found" means that this very upload is gone.
    pub(super) fn is_named(&self, session: &Session) -> bool {
        self.dialect.create.is_some() || session.0.contains_key(CAPTURED)
    }

    /// Whether an upload of which nothing was sent can learn anything: a mere "something of that name is there" proves
    /// nothing about its content.
    fn worth_asking(&self, have: &Have) -> bool {
        !have.instant.is_empty() || have.mode != Mode::Each || !self.habits().unproven
    }

    fn nothing(&self) -> Held {
        match &self.dialect.have {
            None => Held::Unknown,
            Some(_) => Held::Bytes(ByteSet::new()),
        }
    }

    fn open_with(&self, held: Held) -> State {
        State::Open(Standing { held, joined: false, claim: None })
    }

    pub(super) fn published(&self) -> Published {
        Published { place: self.base.clone(), digests: Vec::new(), shows: None }
    }

    /// What the server says that it holds.
    pub(super) async fn standing(&self, session: &Session) -> Result<State, Fault> {
        if self.run.borrow().done || session.text(COMPLETE).is_some() {
            return Ok(State::Done(self.published()));
        }
        if self.is_nameless(session) {
            // Whatever may have arrived lies under a name that nobody has heard.
            return Ok(self.open_with(Held::Prefix(0)));
        }
        if self.repeats_end(session) {
            let there = self.looked_up(session).await?;
            return Ok(there.map_or_else(|| self.open_with(Held::Unknown), State::Done));
        }
        let Some(have) = &self.dialect.have else { return Ok(self.open_with(Held::Unknown)) };
        if have.mode == Mode::Each {
            return self.each(session, have).await;
        }
        let request = facts::request(&have.call, &self.base, &self.facts(session, None, None), &self.fields)?;
        let reply = self.call(request, &have.call).await?;
        if fits_any(&have.instant, &reply) {
            return Ok(State::Done(self.told_complete(have.trust)));
        }
        let yes = match have.yes.is_empty() {
            true => reply.status / 100 == 2,
            false => fits_any(&have.yes, &reply),
        };
        if !yes {
            return match reply.status {
                _ if fits_any(&have.no, &reply) => Ok(self.open_with(Held::Prefix(0))),
                404 | 410 if self.is_named(session) => Ok(State::Gone),
                _ => Err(self.failure(&reply, &have.call)),
            };
        }
        self.told(have, &reply).map(|held| self.open_with(held))
    }

    /// Whether the call that ends the upload, of unknown outcome, can be made again with nothing before it.
    fn repeats_end(&self, session: &Session) -> bool {
        session.text(ENDING) == Some("yes") && !self.wants_last_reply()
    }

    /// Whether the server has a way to say that the whole file is there.
    pub(super) fn tells_complete(&self) -> bool {
        let create = self.dialect.create.as_ref().filter(|create| create.capture.is_empty());
        create.is_some_and(|create| !create.instant.is_empty())
            || self.dialect.have.as_ref().is_some_and(|have| !have.instant.is_empty())
    }

    /// The whole file as the server says that it has it, where it has a way to say so and does. Its chunks may be gone by
    /// then, so they are no sign.
    async fn looked_up(&self, session: &Session) -> Result<Option<Published>, Fault> {
        let create = self.dialect.create.as_ref().filter(|create| create.capture.is_empty());
        if let Some(create) = create.filter(|create| !create.instant.is_empty()) {
            let request = facts::request(&create.call, &self.base, &self.facts(session, None, None), &self.fields)?;
            let there = fits_any(&create.instant, &self.call(request, &create.call).await?);
            return Ok(there.then(|| self.told_complete(create.trust)));
        }
        let Some(have) = self.dialect.have.as_ref().filter(|have| !have.instant.is_empty()) else { return Ok(None) };
        let there = fits_any(&have.instant, &self.ask_for(session, have, 0).await?);
        Ok(there.then(|| self.told_complete(have.trust)))
    }

    /// A file of which the server has said that all of it is there, and what it went by.
    fn told_complete(&self, trust: Trust) -> Published {
        let hash = self.dialect.identity.hash.filter(|_| trust == Trust::Hash);
        let shows = match (trust, hash) {
            (_, Some(Hash { algorithm, first: None })) => algorithm.to_string(),
            (_, Some(Hash { algorithm, first: Some(first) })) => {
                format!("{algorithm} of the first {}", crate::units::bytes(first))
            }
            (Trust::Size, None) => SIZE.into(),
            _ => EXISTS.into(),
        };
        Published { shows: Some(shows), ..self.published() }
    }

    /// What a "yes" says is there.
    fn told(&self, have: &Have, reply: &Reply) -> Result<Held, Fault> {
        let unclear = |what: &str| {
            Fault::new(Kind::Other, format!("{} says that it holds a part, and {what}", shown(&self.base)))
        };
        let number = || have.at.as_ref().and_then(|place| place.number(reply));
        let length = self.plan.get().length;
        match have.mode {
            Mode::Offset => {
                let offset = number().ok_or_else(|| unclear("not how much of it"))?;
                match offset > length {
                    true => Err(unclear("more of it than there is")),
                    false => Ok(Held::Prefix(offset)),
                }
            }
            Mode::Highest => {
                let told = number().ok_or_else(|| unclear("not up to which chunk"))?;
                let held = told.checked_sub(have.base).ok_or_else(|| unclear("up to a chunk that is none"))?;
                // Not even all of them are the whole file: the last one is sent again, saying that it is the last.
                let chunks = held.saturating_add(1).min(self.count() - 1);
                Ok(Held::Prefix(self.range(chunks).start))
            }
            Mode::List | Mode::Each => {
                let list = have.at.as_ref().and_then(|place| place.value(reply)).unwrap_or(Value::Null);
                Ok(self.but_the_last(self.listed(&list, have.base)))
            }
        }
    }

    /// The bytes of the chunks whose numbers are listed; what is no number of ours is passed over.
    fn listed(&self, list: &Value, base: u64) -> ByteSet {
        let number = |value: &Value| match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let indices = items.iter().filter_map(number).filter_map(|told| told.checked_sub(base));
        indices.filter(|index| *index < self.count()).map(|index| self.range(index)).collect()
    }

    /// What the server lists, without the last chunk where ending needs the reply to the one that completed the file and
    /// this run has not seen it: it is got by sending a chunk again.
    fn but_the_last(&self, mut held: ByteSet) -> Held {
        let length = self.plan.get().length;
        let complete = length > 0 && held.contains(ByteRange::new(0, length));
        let asked = self.run.borrow().last.as_ref().is_some_and(|last| self.asks_for_end(last));
        let mut run = self.run.borrow_mut();
        run.unseen = complete && !asked;
        if run.unseen {
            run.last = None;
        }
        drop(run);
        if self.wants_last_reply() {
            held.forget(self.range(self.count() - 1));
        }
        Held::Bytes(held)
    }

    /// Whether the reply to a chunk asks for the call that ends the upload.
    pub(super) fn asks_for_end(&self, reply: &Reply) -> bool {
        let when = self.dialect.finish.as_ref().and_then(|finish| finish.when.as_ref());
        when.is_some_and(|when| when.holds(reply))
    }

    /// Whether ending needs the reply to a chunk, and there is none in this run.
    fn wants_last_reply(&self) -> bool {
        let needs = self.dialect.finish.as_ref().is_some_and(|finish| finish.when.is_some());
        needs && self.run.borrow().last.is_none()
    }

    /// Asks for chunk after chunk, a few at once.
    async fn each(&self, session: &Session, have: &Have) -> Result<State, Fault> {
        let mut held = ByteSet::new();
        let indices: Vec<u64> = (0..self.count()).collect();
        for some in indices.chunks(self.dialect.chunks.parallel.max(1)) {
            let questions = some.iter().map(|index| self.ask_for(session, have, *index));
            for (index, reply) in some.iter().zip(together(questions).await) {
                let reply = reply?;
                if fits_any(&have.instant, &reply) {
                    return Ok(State::Done(self.told_complete(have.trust)));
                }
                if fits_any(&have.yes, &reply) {
                    held.insert(self.range(*index));
                } else if !fits_any(&have.no, &reply) {
                    return Err(self.failure(&reply, &have.call));
                }
            }
        }
        Ok(self.open_with(self.but_the_last(held)))
    }

    async fn ask_for(&self, session: &Session, have: &Have, index: u64) -> Result<Reply, Fault> {
        let at = At { index, range: self.range(index), part: None };
        let request = facts::request(&have.call, &self.base, &self.facts(session, None, Some(at)), &self.fields)?;
        self.call(request, &have.call).await
    }

    /// Says that all is there.
    pub(super) async fn end(&self, session: &Session) -> Result<Closed, Fault> {
        if !self.repeats_end(session)
            && let Some(closed) = self.send_empty(session).await?
        {
            return Ok(closed);
        }
        // The empty chunk's answer may have changed it.
        let session = &self.run.borrow().latest.clone().unwrap_or_else(|| session.clone());
        let last = self.run.borrow().last.clone();
        let asked =
            |finish: &&Finish| finish.when.is_none() || last.as_ref().is_some_and(|last| self.asks_for_end(last));
        let Some(finish) = self.dialect.finish.as_ref().filter(asked) else { return self.ended_by_itself() };
        let facts = self.facts(session, last.as_ref(), None);
        let request = facts::request(&finish.call, &self.base, &facts, &self.fields)?;
        match self.call(request, &finish.call).await {
            Err(fault) if fault.kind == Kind::Network => {
                self.amend(session, ENDING, "yes");
                Ok(Closed::Ambiguous(fault))
            }
            other => self.finished(session, finish, &other?),
        }
    }

    /// The end, where no call says that all is there: the reply to a chunk has said it.
    fn ended_by_itself(&self) -> Result<Closed, Fault> {
        let (done, unseen) = (self.run.borrow().done, self.run.borrow().unseen);
        let unsaid = match self.dialect.send.done.is_empty() {
            true if unseen && self.dialect.finish.is_some() => "has every chunk and never asked for them to be joined",
            false if !done => "took every chunk and never said that the file is complete",
            _ => {
                self.run.borrow_mut().done = true;
                return Ok(Closed::Published(self.published()));
            }
        };
        let text = format!("{} {unsaid}", shown(&self.base));
        Err(Fault::new(Kind::Unknown, text).hint("look at the server; `onward resume --restart` sends it anew"))
    }

    fn finished(&self, session: &Session, finish: &Finish, reply: &Reply) -> Result<Closed, Fault> {
        if fits_any(&finish.pending, reply) {
            self.amend(session, ENDING, "yes");
            self.run.borrow_mut().waited += 1;
            if self.run.borrow().waited > MOST_WAITS {
                let text = format!("{} has all of the file and does not get done with it", shown(&self.base));
                return Err(Fault::new(Kind::Unknown, text));
            }
            let wait = retry_after::wait(&reply.headers, SystemTime::now());
            return Ok(Closed::Pending(wait.unwrap_or(SHORT)));
        }
        if fits_any(&finish.call.ok, reply) && !fits_any(&finish.call.fatal, reply) {
            self.run.borrow_mut().done = true;
            return Ok(Closed::Published(self.published()));
        }
        if let Some((place, base)) = &finish.missing {
            let missing = place.value(reply).map(|list| self.listed(&list, *base)).unwrap_or_default();
            if !missing.is_empty() {
                self.amend(session, ENDING, "no");
                return Ok(Closed::Missing(missing));
            }
        }
        let fault = self.failure(reply, &finish.call);
        if matches!(reply.status, 408 | 500..=599) && !fits_any(&finish.call.fatal, reply) {
            self.amend(session, ENDING, "yes");
            return Ok(Closed::Ambiguous(fault));
        }
        match fault.verdict() {
            // An end that cannot be had twice fails the second time.
            Verdict::GiveUp if session.text(ENDING) == Some("yes") => {
                let text =
                    format!("what became of the end of the upload is not known, and when asked again {}", fault.what);
                let unknown = Fault { status: fault.status, ..Fault::new(Kind::Unknown, text) };
                let look = "look at the server; `onward resume --assume stored` ends it, `onward resume --restart` sends it anew";
                Err(match reply.status {
                    401 | 403 | 407 => unknown.hint(format!(
                        "log in with -u, --token-file, --netrc, -H or -b to have it asked again; or {look}"
                    )),
                    _ => unknown.hint(look),
                })
            }
            _ => Err(fault),
        }
    }

    /// Sends the chunk without bytes that an empty file has, or that the dialect wants at the end.
    async fn send_empty(&self, session: &Session) -> Result<Option<Closed>, Fault> {
        let length = self.plan.get().length;
        let tail = self.dialect.chunks.empty_tail && length.is_multiple_of(self.part.get());
        if length > 0 && !tail || self.run.borrow().empty {
            return Ok(None);
        }
        let index = if length == 0 { 0 } else { self.count() };
        let at = At { index, range: ByteRange::new(length, length), part: None };
        Ok(match self.send_at(session, at, crate::net::Body::Empty).await? {
            Put::Stored(_) => {
                self.run.borrow_mut().empty = true;
                None
            }
            Put::Gone => Some(Closed::Gone),
            Put::Ambiguous(fault) => Some(Closed::Ambiguous(fault)),
            _ => Some(Closed::Missing(ByteSet::of(ByteRange::new(0, length)))),
        })
    }

    /// Has the server forget the upload, where there is a way to.
    pub(super) async fn forget(&self, session: &Session) -> Result<(), Fault> {
        let Some(abort) = self.dialect.abort.as_ref().filter(|_| session.text("opened").is_some()) else {
            return Ok(());
        };
        let request = facts::request(abort, &self.base, &self.facts(session, None, None), &self.fields)?;
        let reply = self.call(request, abort).await?;
        match reply.status {
            404 | 410 => Ok(()),
            _ if fits_any(&abort.ok, &reply) || abort.ok.is_empty() && reply.status / 100 == 2 => Ok(()),
            _ => Err(self.failure(&reply, abort)),
        }
    }
}

/// The outcomes of several pieces of work that go on at the same time.
async fn together<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut work: Vec<_> = work.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (one, outcome) in &mut work {
            if outcome.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *outcome = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    work.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

/// Whether a place is empty: nothing stands there, or a JSON null.
pub(super) fn is_absent(place: &Place, reply: &Reply) -> bool {
    place.value(reply).is_none_or(|value| value.is_null())
}
