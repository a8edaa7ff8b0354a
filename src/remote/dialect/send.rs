//! A chunk on its way, and what the answer to it means.

use super::ask::{CAPTURED, COMPLETE, is_absent};
use super::facts::{self, At, Facts};
use super::{Form, Mode};
use crate::fault::{Fault, Kind};
use crate::net::{Body, Gauge, shown};
use crate::remote::{Held, Part, Put, Session, State};
use crate::wire::dialect::{Parse, Place, Reply, fits_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// In a session: a chunk of it was stored.
const BEGUN: &str = "begun";
/// So often in a row may the server's next chunk be no further on.
const MOST_STUCK: u32 = 1;

/// Sees whether anything of a chunk has left.
struct Watch {
    inner: Arc<dyn Gauge>,
    left: AtomicBool,
}

impl Gauge for Watch {
    fn pass(&self, bytes: usize) -> Duration {
        self.left.store(true, Ordering::Relaxed);
        self.inner.pass(bytes)
    }

    fn frame(&self, most: usize) -> usize {
        self.inner.frame(most)
    }
}

impl Form {
    /// Sends one part: a chunk of the dialect, or any run of bytes where it goes by offsets.
    pub(super) async fn send_part(&self, session: &Session, part: &Part) -> Result<Put, Fault> {
        let at = At { index: self.index_of(part.range.start), range: part.range, part: Some(part) };
        if !self.is_by_offset() && part.range != self.range(at.index) {
            // The server stands inside of a chunk that can only be sent whole.
            return Ok(Put::Conflict(Held::Prefix(self.range(at.index).start)));
        }
        let watch = Arc::new(Watch { inner: part.gauge.clone(), left: AtomicBool::new(false) });
        let bytes = part.body_seen_by(watch.clone());
        match self.send_at(session, at, bytes).await? {
            // Where not a byte has left, nothing can have arrived: it may be sent again.
            Put::Ambiguous(fault) if !watch.left.load(Ordering::Relaxed) && fault.status.is_none() => Err(fault),
            Put::Ambiguous(fault) => {
                self.run.borrow_mut().unseen = true;
                Ok(Put::Ambiguous(fault))
            }
            other => Ok(other),
        }
    }

    pub(super) async fn send_at(&self, session: &Session, at: At<'_>, bytes: Body) -> Result<Put, Fault> {
        let resumes = self.resumes(session);
        let outcome = self.send_chunk(session, at, bytes, resumes).await;
        if resumes {
            self.run.borrow_mut().resuming = false;
        }
        outcome
    }

    /// Whether the next request is the first of a run that goes on with an upload, and says so; one under way says it for
    /// all.
    fn resumes(&self, session: &Session) -> bool {
        let mut run = self.run.borrow_mut();
        session.text(BEGUN).is_some() && !run.begun && !std::mem::replace(&mut run.resuming, true)
    }

    async fn send_chunk(&self, session: &Session, at: At<'_>, bytes: Body, resumes: bool) -> Result<Put, Fault> {
        let last = self.run.borrow().last.clone();
        let facts = Facts { resumes, ..self.facts(session, last.as_ref(), Some(at)) };
        let request = facts::chunk(&self.base, &facts, &self.fields, bytes)?;
        let reply = match self.call(request, &self.dialect.send.call).await {
            // Whatever kept the answer from being read, what came of the chunk is not known.
            Err(fault) if fault.status.is_none() => return Ok(Put::Ambiguous(fault)),
            other => other?,
        };
        self.judge(session, at, reply).await
    }

    /// What the answer to a chunk means.
    async fn judge(&self, session: &Session, at: At<'_>, reply: Reply) -> Result<Put, Fault> {
        let send = &self.dialect.send;
        if fits_any(&send.restart, &reply) {
            return Ok(Put::Gone);
        }
        let fatal = fits_any(&send.call.fatal, &reply);
        // A page to log in, or a complaint of the script's, comes with 200 too: what is to be JSON must be JSON.
        let readable = send.call.parse != Parse::Json || reply.json.is_some();
        let done = !fatal && readable && fits_any(&send.done, &reply);
        if fatal || !readable || !done && !fits_any(&send.call.ok, &reply) {
            return self.refused(session, at, &reply, fatal).await;
        }
        self.same_name(&reply)?;
        if self.is_nameless(session) {
            self.amend(session, CAPTURED, self.captured(&send.capture, &reply)?);
        }
        self.renamed(session, &reply);
        let moved = match &send.next {
            Some(place) if !done && at.index + 1 < self.count() => self.next(place, at, &reply)?,
            _ => None,
        };
        if done {
            self.amend(session, COMPLETE, "yes");
        }
        if session.text(BEGUN).is_none() {
            self.amend(session, BEGUN, "yes");
        }
        let mut run = self.run.borrow_mut();
        run.begun = true;
        run.done |= done;
        // Answers may overtake each other: the one that asks for the end is kept.
        if !run.last.as_ref().is_some_and(|last| self.asks_for_end(last)) {
            run.last = Some(reply);
        }
        Ok(moved.unwrap_or(Put::Stored(at.range)))
    }

    /// A chunk that was not taken.
    async fn refused(&self, session: &Session, at: At<'_>, reply: &Reply, fatal: bool) -> Result<Put, Fault> {
        let fault = self.failure(reply, &self.dialect.send.call);
        if fatal {
            return Err(fault);
        }
        let by_offset = self.dialect.have.as_ref().is_some_and(|have| have.mode == Mode::Offset);
        match reply.status {
            404 | 410 if self.is_named(session) => Ok(Put::Gone),
            400 | 409 | 416 if by_offset => match self.standing(session).await {
                Ok(State::Open(standing)) if standing.held != Held::Prefix(at.range.start) => {
                    Ok(Put::Conflict(standing.held))
                }
                Ok(_) => Err(fault),
                Err(unasked) => Ok(Put::Ambiguous(unasked)),
            },
            // It may have failed before or behind the append, or a gateway speaks for it: nobody knows.
            408 | 500..=599 if self.appends() && !fits_any(&self.dialect.send.call.retry, reply) => {
                Ok(Put::Ambiguous(fault))
            }
            _ => Err(fault),
        }
    }

    /// A server that puts a chunk under another name than the file's has begun another file with it.
    fn same_name(&self, reply: &Reply) -> Result<(), Fault> {
        let told = self.dialect.send.same_name.as_ref().and_then(|place| place.text(reply));
        match told.filter(|told| *told != self.name) {
            None => Ok(()),
            Some(told) => {
                let text = format!("{} stored a chunk of {:?} as {told:?}", shown(&self.base), self.name);
                Err(Fault::new(Kind::Refused, text)
                    .hint("remove both at the server, or choose a name that is free and that it keeps: --name"))
            }
        }
    }

    /// The server calls the upload by another id from now on.
    fn renamed(&self, session: &Session, reply: &Reply) {
        let id = self.dialect.send.rename_id.as_ref().and_then(|place| place.text(reply));
        if let Some(id) = id.filter(|id| !id.is_empty() && Some(id.as_str()) != session.text("id")) {
            self.amend(session, "id", id);
        }
    }

    /// Has the session say `value` under `key` from now on.
    pub(super) fn amend(&self, session: &Session, key: &str, value: impl Into<toml::Value>) {
        let mut run = self.run.borrow_mut();
        // Several chunks may be under way: what the answer to one has changed holds for all.
        run.latest.get_or_insert_with(|| session.clone()).0.insert(key.into(), value.into());
        run.amended = true;
    }

    /// What the server says about the chunk to come next; `None` when that is the one behind this.
    fn next(&self, place: &Place, at: At<'_>, reply: &Reply) -> Result<Option<Put>, Fault> {
        if is_absent(place, reply) {
            return Ok(None);
        }
        let nonsense = |what: String| {
            let (server, number) = (shown(&self.base), at.index + self.dialect.chunks.base);
            Fault::new(Kind::Other, format!("{server} was sent chunk {number}, and says that it stored {what}"))
                .hint("check --dialect and --chunk-size against what this server expects")
        };
        let told = place.number(reply).and_then(|told| told.checked_sub(self.dialect.chunks.base));
        let stored = told.filter(|told| *told < self.count()).ok_or_else(|| {
            nonsense(
                place
                    .text(reply)
                    .map_or_else(|| "none".into(), |text| format!("{:?}, which is none", reply.known.hide(&text))),
            )
        })?;
        let mut run = self.run.borrow_mut();
        if stored == at.index {
            run.stuck = 0;
            return Ok(None);
        }
        if stored < at.index {
            run.stuck += 1;
            if run.stuck > MOST_STUCK {
                return Err(nonsense(format!("chunk {} again", stored + self.dialect.chunks.base)));
            }
        }
        // The last one is always sent, since it says that it is the last.
        let next = (stored + 1).min(self.count() - 1);
        Ok(Some(Put::Conflict(Held::Prefix(self.range(next).start))))
    }
}
