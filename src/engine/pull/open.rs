//! The first answer of a download: which request brings it depends on what is there already and on what the remote
//! honours.

use super::{Opening, Transfer, interrupted, now};
use crate::byteset::ByteSet;
use crate::chunk::{ByteRange, DEFAULT_CHUNK};
use crate::disk;
use crate::engine::retry::Backoff;
use crate::engine::stream;
use crate::engine::supplier::next_form;
use crate::event::Event;
use crate::fault::{Fault, Kind, Verdict};
use crate::memory::share::{Need, Share};
use crate::plan::{Address, Plan, plan};
use crate::record::{Record, Validator};
use crate::source::{Answer, Ask, Body, Head};
use crate::wire::validator::{Form, best_form};

impl Transfer<'_> {
    /// Waits for this file's turn, if it is a large one. An answer that would have to wait is let go and asked for again.
    pub(super) async fn in_turn(&mut self, opening: Opening, record: Option<&Record>) -> Result<Opening, Fault> {
        if opening.head.total.unwrap_or(u64::MAX) < DEFAULT_CHUNK || self.permit.is_some() {
            return Ok(opening);
        }
        if let Ok(permit) = self.tools.large.clone().try_acquire_owned() {
            self.permit = Some(permit);
            return Ok(opening);
        }
        drop(opening);
        let turn = self.tools.large.clone().acquire_owned();
        tokio::select! {
            permit = turn => self.permit = permit.ok(),
            () = self.tools.stop.wait() => return Err(interrupted()),
        }
        self.open(record).await
    }

    /// Asks until an answer is open, by the retry policy: the URL itself, and where that fails its mirrors.
    pub(super) async fn open(&self, record: Option<&Record>) -> Result<Opening, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        let mut share = None;
        loop {
            let mut fault: Option<Fault> = None;
            for by in 0..self.places().count() {
                let worse = tokio::select! {
                    opened = self.open_once(by, record) => match opened {
                        Ok(opening) => return Ok(opening),
                        Err(fault) if self.has_given(by, record) => fault.after_bytes(),
                        Err(fault) => fault,
                    },
                    () = self.tools.stop.wait() => return Err(interrupted()),
                };
                // As long as one of them may come back, waiting is worth it.
                fault = match fault.take() {
                    Some(first) if first.verdict() != Verdict::GiveUp || worse.verdict() == Verdict::GiveUp => {
                        self.tell(Event::Detail { text: worse.what });
                        Some(first)
                    }
                    _ => Some(worse),
                };
            }
            let Some(fault) = fault else { return Err(self.odd(0, Kind::Other, "was not asked")) };
            if fault.kind == Kind::Busy {
                // Where the others have all that the host allows, they leave us one.
                let share = share.get_or_insert_with(|| Share::of(&self.order.source.host()));
                share.look(Need { least: 1, most: 1, open: 0 });
            }
            self.pause(&mut backoff, fault).await?;
        }
    }

    /// Whether bytes of this file came from there in an earlier run.
    fn has_given(&self, by: usize, record: Option<&Record>) -> bool {
        record.is_some_and(|record| {
            self.address(by, record) != Address::Other && !record.held(disk::boot_id()).is_empty()
        })
    }

    /// The bytes to ask for first: the first gap, or the last byte where nothing is missing.
    fn first_gap(held: &ByteSet, end: Option<u64>) -> ByteRange {
        let end = end.unwrap_or(stream::NO_END);
        held.missing(ByteRange::new(0, end)).next().unwrap_or(ByteRange::new(end.saturating_sub(1), end))
    }

    /// One answer, from the first missing byte on where the remote allows it.
    async fn open_once(&self, by: usize, record: Option<&Record>) -> Result<Opening, Fault> {
        let source = self.places().nth(by).unwrap_or(&self.order.source);
        let held = record.map(|record| record.held(disk::boot_id())).unwrap_or_default();
        let end = record.and_then(|record| record.length);
        let gap = Self::first_gap(&held, end);
        let kept = self.condition(by, record);
        let usual = self.tools.hosts.get(&source.host()).map_or(Form::Tag, |host| host.form);
        let mut form = kept.as_ref().map_or(usual, |kept| best_form(kept, usual));
        let mut from = Some(gap.start);
        loop {
            // Up to the end when nothing is there behind it, so that a fresh start needs no length.
            let until = (held.end() > gap.start).then_some(gap.end);
            let end_asked = until.filter(|_| from.is_some());
            let ask = Ask { from, end: end_asked, kept: kept.clone(), form, ..Ask::whole() };
            let whole = |head: Head, body, form| {
                let range = ByteRange::new(0, head.total.unwrap_or(stream::NO_END));
                Opening { head, by, range, body, ranged: false, form }
            };
            let answer = source.ask(ask).await?;
            self.fits(by, end, &answer)?;
            match answer {
                Answer::Part { head, end, body } => {
                    let range = ByteRange::new(gap.start, end);
                    return Ok(Opening { head, by, range, body, ranged: true, form });
                }
                Answer::Whole { head, body } => {
                    let judged = |record: &Record| plan(record, &now(&head, self.address(by, record)));
                    // Bytes of this file came from here before: a web page in its place may pass.
                    if let Some(Plan::Impostor(why)) = record.map(judged) {
                        return Err(impostor(why));
                    }
                    // Was it the condition that this server does not know? Only a server that calls the content the
                    // same is asked again.
                    let same = record.is_some_and(|record| {
                        from.is_some()
                            && gap.start > 0
                            && !matches!(judged(record), Plan::Restart(_) | Plan::Impostor(_))
                    });
                    match next_form(form).filter(|_| same) {
                        Some(next) => form = next,
                        None => return Ok(whole(head, body, form)),
                    }
                }
                // An empty file, or one of another length than the record's: that says it all.
                Answer::Beyond { head }
                    if (head.total == Some(0) && gap.start == 0)
                        || (head.total.is_some() && end.is_some() && head.total != end) =>
                {
                    let range = ByteRange::default();
                    return Ok(Opening { head, by, range, body: Box::new(Nothing), ranged: true, form });
                }
                Answer::Beyond { .. } | Answer::Unfit { .. } if from.is_some() => from = None,
                Answer::Beyond { .. } => {
                    return Err(self.odd(by, Kind::Other, "denies a range that was not asked for"));
                }
                Answer::Unchanged => return Err(self.odd(by, Kind::Network, "answered 304 out of place")),
                Answer::Unfit { why } => {
                    return Err(self.odd(by, Kind::Other, &format!("cannot be downloaded from: {why}")));
                }
            }
        }
    }

    /// What another place called the content is no condition for this one.
    fn condition(&self, by: usize, record: Option<&Record>) -> Option<Validator> {
        record.map(|record| match by == 0 && record.url == self.order.url {
            true => record.validator.clone(),
            false => Validator::default(),
        })
    }

    /// A mirror of another length than the record's is none; that of the URL itself is a change.
    fn fits(&self, by: usize, length: Option<u64>, answer: &Answer) -> Result<(), Fault> {
        let (Answer::Part { head, .. } | Answer::Whole { head, .. } | Answer::Beyond { head }) = answer else {
            return Ok(());
        };
        match (by, head.total, length) {
            (1.., Some(now), Some(length)) if now != length => Err(self.odd(by, Kind::Other, "has another length")),
            _ => Ok(()),
        }
    }

    fn odd(&self, by: usize, kind: Kind, what: &str) -> Fault {
        let source = self.places().nth(by).unwrap_or(&self.order.source);
        Fault::new(kind, format!("{} {what}", source.host()))
    }
}

/// A page was put in the file's way.
pub(super) fn impostor(why: String) -> Fault {
    Fault::new(Kind::Network, why)
        .kept("what was there is kept")
        .hint("log in to the network, then run the same command again; if that is the file now, delete its record")
}

/// No bytes at all.
struct Nothing;

impl Body for Nothing {
    fn next(&mut self) -> crate::source::Pending<'_, Result<Option<bytes::Bytes>, Fault>> {
        Box::pin(async { Ok(None) })
    }
}
