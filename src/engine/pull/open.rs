//! The first answer of a download: which request brings it depends on what is there already and on what the remote
//! honours.

use super::{Opening, Transfer, interrupted, now};
use crate::chunk::ByteRange;
use crate::disk;
use crate::engine::crew::next_form;
use crate::engine::retry::Backoff;
use crate::engine::stream;
use crate::fault::{Fault, Kind};
use crate::plan::{Plan, plan};
use crate::record::{Record, Validator};
use crate::source::{Answer, Ask, Body, Head};
use crate::wire::validator::{Form, best_form};

impl Transfer<'_> {
    /// Waits for this large file's turn. An answer that would have to wait is let go and asked for again.
    pub(super) async fn large_turn(
        &mut self,
        opening: Opening,
        record: Option<&Record>,
    ) -> Result<Option<Opening>, Fault> {
        if let Ok(permit) = self.tools.large.clone().try_acquire_owned() {
            self.permit = Some(permit);
            return Ok(Some(opening));
        }
        drop(opening);
        let turn = self.tools.large.clone().acquire_owned();
        tokio::select! {
            permit = turn => self.permit = permit.ok(),
            () = self.tools.stop.wait() => return Ok(None),
        }
        self.open(record).await.map(Some)
    }

    /// Asks until an answer is open, by the retry policy.
    pub(super) async fn open(&self, record: Option<&Record>) -> Result<Opening, Fault> {
        let mut backoff = Backoff::new(self.tools.policy);
        loop {
            let fault = tokio::select! {
                opened = self.open_once(record) => match opened {
                    Ok(opening) => return Ok(opening),
                    Err(fault) => fault,
                },
                () = self.tools.stop.wait() => return Err(interrupted()),
            };
            self.pause(&mut backoff, fault).await?;
        }
    }

    /// One answer, from the first missing byte on where the remote allows it.
    pub(super) async fn open_once(&self, record: Option<&Record>) -> Result<Opening, Fault> {
        let held = record.map(|record| record.held(disk::boot_id())).unwrap_or_default();
        let end = record.and_then(|record| record.length);
        let gap = held.missing(ByteRange::new(0, end.unwrap_or(stream::NO_END))).next().unwrap_or_default();
        // What another place called the content is no condition for this one.
        let kept = record.map(|record| match record.url == self.order.url {
            true => record.validator.clone(),
            false => Validator::default(),
        });
        let usual = self.tools.hosts.get(&self.order.source.host()).map_or(Form::Tag, |host| host.form);
        let mut form = kept.as_ref().map_or(usual, |kept| best_form(kept, usual));
        let mut from = Some(gap.start);
        loop {
            // Up to the end when nothing is there behind it, so that a fresh start needs no length.
            let until = (held.end() > gap.start).then_some(gap.end);
            let end_asked = until.filter(|_| from.is_some());
            let ask = Ask { from, end: end_asked, kept: kept.clone(), form, ..Ask::whole() };
            let whole = |head: Head, body, form| {
                let range = ByteRange::new(0, head.total.unwrap_or(stream::NO_END));
                Opening { head, range, body, ranged: false, form }
            };
            match self.order.source.ask(ask).await? {
                Answer::Part { head, end, body } => {
                    return Ok(Opening { head, range: ByteRange::new(gap.start, end), body, ranged: true, form });
                }
                Answer::Whole { head, body } => {
                    // Bytes of this file came from here before: a web page in its place may pass.
                    if let Some(Plan::Impostor(why)) = record.map(|record| plan(record, &now(&head))) {
                        return Err(impostor(why));
                    }
                    // Was it the condition that this server does not know? Only a server that calls the content the
                    // same is asked again.
                    let same = record.is_some_and(|record| {
                        from.is_some()
                            && gap.start > 0
                            && !matches!(plan(record, &now(&head)), Plan::Restart(_) | Plan::Impostor(_))
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
                    return Ok(Opening {
                        head,
                        range: ByteRange::default(),
                        body: Box::new(Nothing),
                        ranged: true,
                        form,
                    });
                }
                Answer::Beyond { .. } | Answer::Unfit { .. } if from.is_some() => from = None,
                Answer::Beyond { .. } => {
                    return Err(self.odd(Kind::Other, "denies a range that was not asked for"));
                }
                Answer::Unchanged => return Err(self.odd(Kind::Network, "answered 304 out of place")),
                Answer::Unfit { why } => {
                    return Err(self.odd(Kind::Other, &format!("cannot be downloaded from: {why}")));
                }
            }
        }
    }

    fn odd(&self, kind: Kind, what: &str) -> Fault {
        Fault::new(kind, format!("{} {what}", self.order.source.host()))
    }
}

/// A page was put in the file's way.
pub(super) fn impostor(why: String) -> Fault {
    Fault::new(Kind::Network, why)
        .kept("what was there is kept")
        .hint("log in to the network, then run the same command again")
}

/// No bytes at all.
struct Nothing;

impl Body for Nothing {
    fn next(&mut self) -> crate::source::Pending<'_, Result<Option<bytes::Bytes>, Fault>> {
        Box::pin(async { Ok(None) })
    }
}
