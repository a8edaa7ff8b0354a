//! How an upload ends: the whole is closed and compared, or somebody else's file has the name, or what there is to go on
//! with is left behind.

use super::keeper::Keeper;
use super::{MOST_DIFFERENT, MOST_ROUNDS, Step, Upload};
use crate::digest::{Algorithm, Digest};
use crate::disk;
use crate::event::{Event, Outcome};
use crate::fault::{Fault, Kind};
use crate::record::Existing;
use crate::remote::{Closed, Published};
use std::rc::Rc;

impl Upload<'_> {
    pub(super) async fn close(&mut self, keeper: &mut Keeper) -> Result<Step, Fault> {
        if let Some(step) = self.check_samples().await? {
            return Ok(step);
        }
        self.digest_to_compare().await?;
        let whole = self.ledger.sum(self.ledger.layout().whole());
        let whole = whole.ok_or_else(|| Fault::new(Kind::Other, "the sum of the whole is not known"))?;
        let mut digests = vec![whole.digest()];
        digests.extend(self.digests.iter().cloned());
        if let Some(session) = self.remote.closing(&self.session) {
            self.session = Rc::new(session);
            self.save_now(keeper).await?;
        }
        let (remote, session, want) = (self.remote.clone(), self.session.clone(), self.want());
        let closed = self.patience.insist(async || remote.close(&session, &digests, &want).await).await;
        let closed = closed.map_err(|fault| self.end_unheard(fault));
        if let Some(session) = self.remote.amended() {
            self.session = Rc::new(session);
        }
        disk::point("upload-closed");
        match closed? {
            Closed::Published(published) => Ok(Step::Done(published)),
            Closed::Pending(wait) => Ok(Step::Check(wait)),
            Closed::Taken(fault) => Err(self.name_taken(fault).kept("the server keeps the upload whole")),
            Closed::Gone => Ok(Step::Anew(self.gone())),
            Closed::Missing(missing) => {
                self.wanting(MOST_ROUNDS, "the server misses bytes that it said it had")?;
                missing.runs().for_each(|run| drop(self.ledger.forget(run)));
                self.ask_again().await
            }
            Closed::Suspect(_) => {
                self.wanting(MOST_DIFFERENT, "the server finds that the whole does not fit its digest")?;
                self.voice.warn("the whole did not fit its digest at the server; every chunk is compared");
                self.record.stamp = None;
                self.ask_again().await
            }
            Closed::Ambiguous(fault) => {
                let wait = self.patience.wait_after(fault).map_err(|fault| self.end_unheard(fault))?;
                Ok(Step::Check(wait))
            }
        }
    }

    /// What a person has looked at and found complete.
    pub(super) fn assumed(&self) -> Published {
        Published { place: self.remote.place(), digests: Vec::new(), shows: None }
    }

    /// Counts ends at which the whole was found wanting, of which `most` are borne: bytes that move in between are no
    /// progress when they lead to the same end.
    pub(super) fn wanting(&mut self, most: u32, why: &str) -> Result<(), Fault> {
        self.wanted += 1;
        match self.wanted > most {
            true => Err(Fault::new(Kind::Integrity, format!("{why}, again and again"))),
            false => Ok(()),
        }
    }

    /// A finished file has the name. It may be the same content: then that is what was wanted.
    pub(super) async fn taken(&mut self, length: Option<u64>, fault: Fault) -> Result<Step, Fault> {
        if self.job.existing == Existing::Keep {
            self.voice.warn("a file of that name is there and is left alone");
            return Ok(Step::Done(Published { place: self.remote.place(), digests: Vec::new(), shows: None }));
        }
        let known = self.digest(Algorithm::Md5).is_some();
        let can_be_same = length.is_none_or(|length| length == self.source.length());
        if known || !can_be_same || self.remote.identify().is_none() {
            return Err(self.name_taken(fault));
        }
        self.hash_whole().await?;
        Ok(Step::Open)
    }

    /// The fault that other content has the name. Who asked to replace it and was refused is better served by the
    /// server's own words.
    fn name_taken(&self, fault: Fault) -> Fault {
        match self.job.existing {
            Existing::Replace => fault,
            Existing::Refuse | Existing::Keep => Fault { kind: Kind::Exists, hint: None, ..fault },
        }
    }

    pub(super) fn done(&mut self, published: Published) -> Result<Outcome, Fault> {
        let whole = self.ledger.sum(self.ledger.layout().whole()).map(|crc| crc.digest());
        let ours = |theirs: &Digest| {
            let found = self.digests.iter().chain(&whole).find(|ours| ours.algorithm == theirs.algorithm);
            found.map(|ours| (ours.clone(), ours == theirs))
        };
        let mut compared: Vec<(Digest, bool)> = published.digests.iter().filter_map(ours).collect();
        if let Some((digest, _)) = compared.iter().find(|(_, agrees)| !agrees) {
            let text = format!("{} was stored with another {} than it has here", self.name(), digest.algorithm);
            return Err(Fault::new(Kind::Integrity, text).hint("remove it at the server and send it again"));
        }
        // One is told: the one asked for, else the strongest.
        compared.sort_by_key(|(digest, _)| {
            let place = Algorithm::ALL.iter().position(|one| *one == digest.algorithm);
            (self.job.digest != Some(digest.algorithm), place)
        });
        if let Some(asked) = self.job.digest.filter(|asked| compared.iter().all(|(one, _)| one.algorithm != *asked)) {
            self.voice.warn(format!("the server does not show its {asked}: it could not be compared"));
        }
        let proof = compared.first().map(|(digest, _)| digest.clone());
        let shows = published.shows.map(|shows| if self.sampled > 0 { format!("{shows} and samples") } else { shows });
        let worth = proof.as_ref().map(|digest| digest.algorithm.to_string()).or(shows);
        if let Some(digest) = &proof {
            let (alg, digest) = (digest.algorithm.to_string(), digest.hex());
            self.voice.tell(Event::Verified { alg, digest, by: "server".into() });
        }
        let already = match (self.job.existing == Existing::Keep, self.ledger.held().is_empty()) {
            (true, true) => 0,
            (false, true) => self.source.length(),
            (_, false) => self.already,
        };
        Ok(Outcome { place: published.place.to_string(), moved: self.meter.run(), already, proof: worth })
    }

    /// Ends without success: the record stays if there is anything to go on with.
    pub(super) async fn leave(&mut self, keeper: Keeper, fault: Fault) -> Result<Outcome, Fault> {
        let may_have_begun = self.begun && matches!(fault.kind, Kind::Network | Kind::Busy | Kind::Interrupted);
        let holds = self.session.text("upload").is_some() || !self.ledger.held().is_empty();
        let known = self.record.sent.is_some() || self.record.identity.is_some() || !self.record.prefix.is_empty();
        let worth = self.found || may_have_begun || holds || known;
        let left = match worth && fault.kind != Kind::Held {
            true => {
                let record = self.snapshot();
                keeper.leave(&record).await
            }
            false if fault.kind == Kind::Held => Ok(()),
            false => keeper.remove().await,
        };
        if let Err(also) = left {
            self.voice.warn(format!("the record could not be written: {also}"));
        }
        let (done, count) = (self.record.done.len(), self.ledger.layout().count());
        Err(match (fault.kept.is_some(), self.ledger.held().is_empty()) {
            (false, false) => {
                let held = crate::units::bytes(self.ledger.held().len());
                fault.kept(format!("the server keeps {done} of {count} chunks, {held} in all"))
            }
            _ => fault,
        })
    }
}
