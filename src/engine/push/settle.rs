//! Brings what the remote says that it holds and what the source is now into one picture, and proves to a remote
//! that one has the content it already holds.

use super::local::{Beside, Sums};
use super::{Step, Upload};
use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Crc, Hasher};
use crate::event::Event;
use crate::fault::{Fault, Kind};
use crate::partial::ledger::Ledger;
use crate::remote::{Claim, Held, Repeat, Session, Standing, State};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Reading more than this without sending anything is shown.
const SHOWN: u64 = 64 << 20;
/// How often it is shown.
const BEAT: Duration = Duration::from_millis(200);

impl Upload<'_> {
    /// Takes over what the remote holds. With `trust` bytes without a receipt are those of the source as it is; without
    /// it every chunk is compared with the source, and what differs will be sent anew.
    pub(super) async fn reconcile(&mut self, held: Held, trust: bool) -> Result<(), Fault> {
        let theirs = match held {
            Held::Bytes(set) => set.within(self.ledger.layout().whole()),
            Held::Prefix(length) => ByteSet::of(ByteRange::new(0, length.min(self.source.length()))),
            Held::Unknown => self.ledger.held().clone(),
        };
        let theirs = if self.remote.habits().unproven { self.receipted(&theirs)? } else { theirs };
        let mut lost = self.ledger.held().clone();
        lost.subtract(&theirs);
        lost.runs().for_each(|run| drop(self.ledger.forget(run)));
        if trust {
            return self.receipts_for(theirs).await;
        }
        let compared = self.compare(&theirs).await?;
        let mut stale = compared.differing;
        stale.union(&compared.unknown);
        if !stale.is_empty() && !self.terms.replace {
            let text =
                format!("{} changed after a part of it was sent, and this server cannot replace bytes", self.name());
            return Err(Fault::new(Kind::Changed, text)
                .hint("bring the old content back to go on, or send it anew with --restart"));
        }
        if !stale.is_empty() {
            self.voice.warn(format!("{} changed: {} of its chunks are sent again", self.name(), stale.len()));
        }
        self.now_as_compared(compared.agreed, stale);
        Ok(())
    }

    /// What of `theirs` we have receipts for, or have sent without hearing of it. What else is there cannot be written
    /// over where the remote appends.
    fn receipted(&self, theirs: &ByteSet) -> Result<ByteSet, Fault> {
        let mut foreign = theirs.clone();
        foreign.subtract(self.ledger.held());
        self.record.sent.iter().for_each(|sent| foreign.forget(sent.range));
        let mut own = theirs.clone();
        own.subtract(&foreign);
        if !foreign.is_empty() {
            let bytes = crate::units::bytes(foreign.len());
            if self.terms.repeat == Repeat::Appends {
                let text =
                    format!("the server has {bytes} under this name that were not sent from here, and appends to them");
                return Err(Fault::new(Kind::Exists, text)
                    .hint("remove them at the server, or choose another name with --name"));
            }
            self.voice.detail(format!(
                "the server says that it has {bytes} more, which proves no content: they are sent again"
            ));
        }
        Ok(own)
    }

    fn now_as_compared(&mut self, agreed: Ledger, stale: IndexSet) {
        self.ledger = agreed;
        self.record.stale = stale;
        self.record.stamp = Some(self.source.stamp().clone());
        self.record.prefix.clear();
    }

    /// Reads the sums of bytes that are held without a receipt. Stale chunks are not among them.
    async fn receipts_for(&mut self, theirs: ByteSet) -> Result<(), Fault> {
        let layout = self.ledger.layout();
        let mut without = theirs;
        without.subtract(self.ledger.held());
        for run in self.record.stale.runs() {
            (run.start..run.end).for_each(|index| without.forget(layout.range(index)));
        }
        let ranges: Vec<ByteRange> = without.runs().flat_map(|run| layout.split(run)).collect();
        for (range, crc) in self.sums(ranges).await? {
            self.ledger.add(range, crc);
        }
        Ok(())
    }

    /// Compares what is held with the source.
    async fn compare(&mut self, theirs: &ByteSet) -> Result<Compared, Fault> {
        let layout = self.ledger.layout();
        let expected = self.expected(theirs).await?;
        let ranges: Vec<ByteRange> = expected.iter().map(|(range, _)| *range).collect();
        let mut compared =
            Compared { agreed: Ledger::new(layout), differing: IndexSet::new(), unknown: IndexSet::new() };
        let mut known = ByteSet::new();
        let one = |range: ByteRange| {
            let index = layout.index_of(range.start);
            ByteRange::new(index, index + 1)
        };
        for ((range, crc), (_, sum)) in self.sums(ranges).await?.into_iter().zip(expected) {
            known.insert(range);
            match crc.sum == sum {
                true => compared.agreed.add(range, crc),
                false => compared.differing.insert(one(range)),
            }
        }
        for run in theirs.runs().flat_map(|run| layout.split(run)).filter(|run| !known.contains(*run)) {
            compared.unknown.insert(one(run));
        }
        compared.unknown.subtract(&compared.differing);
        for stale in compared.differing.runs().chain(compared.unknown.runs()) {
            (stale.start..stale.end).for_each(|index| drop(compared.agreed.forget(layout.range(index))));
        }
        Ok(compared)
    }

    /// What the remote holds, in ranges whose sums are known from it or from our receipts.
    async fn expected(&mut self, theirs: &ByteSet) -> Result<Vec<(ByteRange, u64)>, Fault> {
        let layout = self.ledger.layout();
        let whole: IndexSet = (0..layout.count())
            .filter(|index| theirs.contains(layout.range(*index)))
            .map(|index| ByteRange::new(index, index + 1))
            .collect();
        let mut known: BTreeMap<ByteRange, u64> =
            self.ledger.pieces().into_iter().map(|piece| (piece.range, piece.sum)).collect();
        if self.remote.digests().is_some() && !whole.is_empty() {
            let (remote, session) = (self.remote.clone(), self.session.clone());
            let ask = async || match remote.digests() {
                Some(digests) => digests.digests(&session, &whole).await,
                None => Ok(Vec::new()),
            };
            for (index, sum) in self.patience.insist(ask).await? {
                let chunk = layout.range(index);
                if !chunk.is_empty() && theirs.contains(chunk) {
                    known.retain(|range, _| range.intersect(&chunk).is_empty());
                    known.insert(chunk, sum);
                }
            }
        }
        Ok(known.into_iter().collect())
    }

    /// The sums of `ranges` of the source, read on another thread.
    pub(super) async fn sums(&mut self, ranges: Vec<ByteRange>) -> Result<Vec<(ByteRange, Crc)>, Fault> {
        let total: u64 = ranges.iter().map(ByteRange::len).sum();
        let mut sums = Sums::start(&self.source, ranges.clone());
        let crcs = loop {
            tokio::select! {
                biased;
                () = self.ground.stop.wait() => return Err(super::patience::stopped()),
                crcs = sums.sums() => break crcs.map_err(|e| self.source.fault(&e))?,
                () = tokio::time::sleep(BEAT) => {
                    if total >= SHOWN {
                        self.voice.tell(Event::Hashing { done: sums.at(), total });
                    }
                }
            }
        };
        Ok(ranges.into_iter().zip(crcs).collect())
    }

    /// Computes the digests of the whole source before anything else happens.
    pub(super) async fn hash_whole(&mut self) -> Result<(), Fault> {
        let total = self.source.length();
        let mut beside = Beside::start(&self.source, &[Algorithm::Md5, Algorithm::Sha256], &self.record.prefix);
        self.digests = loop {
            tokio::select! {
                biased;
                () = self.ground.stop.wait() => return Err(super::patience::stopped()),
                digests = beside.digests() => break digests.map_err(|e| self.source.fault(&e))?,
                () = tokio::time::sleep(BEAT) => self.voice.tell(Event::Hashing { done: beside.at(), total }),
            }
        };
        Ok(())
    }

    /// Proves that one has the content that the remote offers, and goes on with it. `None`: go on as before.
    pub(super) async fn take_up(&mut self, claim: &Claim) -> Result<Option<Step>, Fault> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&claim.nonce);
        for run in claim.ranges.runs() {
            self.source.read(run, |block| hasher.update(block)).map_err(|e| self.source.fault(&e))?;
        }
        let proof = hasher.finish();
        let (remote, session) = (self.remote.clone(), self.session.clone());
        let join = async || match remote.identify() {
            Some(identify) => identify.join(&session, claim, &proof).await,
            None => Ok(None),
        };
        match self.patience.insist(join).await? {
            Some((session, State::Open(standing))) => self.join(session, standing).await,
            Some((session, state)) => {
                self.session = Rc::new(session);
                match state {
                    State::Done(published) => Ok(Some(Step::Done(published))),
                    State::Checking(wait) => Ok(Some(Step::Check(wait))),
                    _ => Ok(None),
                }
            }
            None => {
                self.declined += 1;
                self.voice.detail("the server did not take the proof for the content it offered");
                Ok(None)
            }
        }
    }

    /// Another upload of this content was joined. Its bytes count only where its digests are ours, and none of them
    /// is replaced but those that nobody can show a digest of.
    async fn join(&mut self, session: Session, standing: Standing) -> Result<Option<Step>, Fault> {
        let fresh = Ledger::new(self.ledger.layout());
        let own = (self.session.clone(), std::mem::replace(&mut self.ledger, fresh));
        self.session = Rc::new(session);
        let theirs = match standing.held {
            Held::Bytes(set) => set.within(self.ledger.layout().whole()),
            Held::Prefix(length) => ByteSet::of(ByteRange::new(0, length.min(self.source.length()))),
            Held::Unknown => ByteSet::new(),
        };
        let fault = match self.compare(&theirs).await {
            Ok(compared) if compared.differing.is_empty() => {
                self.now_as_compared(compared.agreed, compared.unknown);
                return Ok(Some(Step::Send));
            }
            Ok(_) => None,
            Err(fault) => Some(fault),
        };
        // It is not what it seemed, or cannot be compared: nothing of it was touched.
        self.declined += 1;
        (self.session, self.ledger) = own;
        match fault {
            Some(fault) if fault.kind == Kind::Interrupted => Err(fault),
            _ => {
                self.voice.detail("another upload of this content was offered and is not what it seemed");
                Ok(None)
            }
        }
    }
}

/// What a comparison found.
struct Compared {
    /// Receipts for what fits the source.
    agreed: Ledger,
    /// Chunks of which the remote holds other bytes.
    differing: IndexSet,
    /// Chunks of which nobody can say what the remote holds.
    unknown: IndexSet,
}
