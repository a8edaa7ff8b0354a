//! The connections of one download: each takes a claim, asks its supplier for the bytes, and puts them where they
//! belong. Which bytes an answer holds was settled by the source; whether they are of the right content, by the supplier.

use super::meter::Meter;
use super::pace::Pace;
use super::sink::{Outlet, Sink};
use super::slow::{Least, Slow};
use super::spans::{Claim, ClaimId, Spans};
use super::supplier::{Reply, Supplier};
use crate::chunk::ByteRange;
use crate::digest::Digest;
use crate::fault::{Fault, Kind};
use crate::source::Body;
use bytes::{Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Why a connection has nothing more to do.
#[derive(Debug)]
pub enum End {
    /// Nothing is left to claim.
    Idle,
    /// Something went wrong; what it did not fetch is free again.
    Fault(Fault),
    /// The remote has other content now: why.
    Changed(String),
    /// The remote does not serve ranges as it should: why.
    NoRanges(String),
}

/// An answer that is open when the crew sets out.
pub struct First {
    /// The bytes it holds.
    pub range: ByteRange,
    /// Those bytes, from the first one on.
    pub body: Box<dyn Body>,
    /// What these very bytes are said to hash to.
    pub digest: Option<Digest>,
    /// How long its head took, connecting included where that was needed.
    pub took: Duration,
}

/// What the connections of one download share.
pub struct Crew {
    /// Where bytes come from: the URL itself first, then its mirrors.
    pub suppliers: Vec<Rc<Supplier>>,
    /// Which of them the content is known by.
    pub main: usize,
    /// What the content is said to hash to.
    pub digests: Vec<Digest>,
    /// Where they go.
    pub sink: Sink,
    /// What is missing.
    pub spans: RefCell<Spans>,
    /// How fast it goes.
    pub meter: RefCell<Meter>,
    /// The rate limit.
    pub pace: Pace,
    /// Bytes of the file that are there.
    pub done: Cell<u64>,
    /// Connections that are receiving.
    pub busy: Cell<u32>,
    /// There may be more to do than a moment ago.
    pub news: Notify,
    /// Connections slower than this are replaced.
    pub least: Least,
    /// The media type the content was said to be of.
    pub media: Option<String>,
    /// Whether bytes were taken that are only shown by samples to be of this content.
    pub sampled: Cell<bool>,
    /// The claims' outlets: whoever cuts a claim shrinks its outlet.
    outlets: RefCell<HashMap<ClaimId, Way>>,
}

/// The way in of one claim's bytes.
#[derive(Clone)]
struct Way {
    outlet: Rc<RefCell<Outlet>>,
    /// Its connection is to let go of it: somebody else has fetched what it lacked, or the connection is not needed.
    over: Rc<Notify>,
    /// Its connection is to end although there is more to do.
    surplus: Rc<Cell<bool>>,
}

/// A claim that is given back when its connection ends, however it ends.
struct Held<'a> {
    crew: &'a Crew,
    id: ClaimId,
    way: Way,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.crew.outlets.borrow_mut().remove(&self.id);
        self.crew.spans.borrow_mut().release(self.id);
    }
}

/// Counts a connection as receiving while it lives.
struct Busy<'a>(&'a Cell<u32>);

impl<'a> Busy<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Crew {
    /// A crew for what `spans` says is missing in `sink` of the content that is known by the `main` of `suppliers`.
    pub fn new(
        suppliers: Vec<Rc<Supplier>>,
        main: usize,
        sink: Sink,
        spans: Spans,
        meter: Meter,
        tools: (Pace, Least),
    ) -> Self {
        let (pace, least) = tools;
        let done = sink.done();
        suppliers.iter().for_each(|supplier| supplier.want.set(sink.chunk_size()));
        Self {
            suppliers,
            main,
            digests: Vec::new(),
            news: Notify::new(),
            least,
            media: None,
            sampled: Cell::new(false),
            sink,
            spans: RefCell::new(spans),
            meter: RefCell::new(meter),
            pace,
            done: Cell::new(done),
            busy: Cell::new(0),
            outlets: RefCell::default(),
        }
    }

    /// So many connections are too many: they are cut, those with the last bytes first. What they did not fetch is free.
    /// One that ended by itself would stay open, unused.
    pub fn dismiss(&self, surplus: usize) {
        let outlets = self.outlets.borrow();
        let mut ways: Vec<&Way> = outlets.values().collect();
        // Those that were told so before are among them.
        ways.sort_by_key(|way| std::cmp::Reverse((way.surplus.get(), way.outlet.borrow().at())));
        for way in ways.iter().take(surplus) {
            way.surplus.set(true);
            way.over.notify_one();
        }
    }

    /// The supplier that the content is known by.
    pub fn main(&self) -> &Supplier {
        &self.suppliers[self.main]
    }

    /// The life of one connection. `first` is an answer that is already open.
    pub async fn work(self: Rc<Self>, by: Rc<Supplier>, first: Option<First>) -> End {
        let _busy = (Busy::new(&self.busy), Busy::new(&by.busy));
        let mut first = first;
        if let Err(end) = by.prove(&self).await {
            return end;
        }
        loop {
            let claim = match &first {
                Some(first) => self.spans.borrow_mut().take_open(first.range.len()),
                None => self.spans.borrow_mut().take(by.want.get(), self.sink.chunk_size()),
            };
            let Some(claim) = claim else { return End::Idle };
            let held = match self.hold(claim) {
                Ok(held) => held,
                Err(fault) => return End::Fault(fault),
            };
            let reply = match first.take() {
                Some(first) => Ok(Some(Reply::new(first.body, first.range.end, first.digest))),
                None => tokio::select! {
                    reply = by.ask(&self, claim.range, || self.end_of(&held, claim.range)) => reply.map(Some),
                    () = held.way.over.notified() => Ok(None),
                },
            };
            let outcome = match reply {
                Ok(Some(reply)) => self.copy(&by, &held, reply).await.map_err(End::Fault),
                Ok(None) => Ok(None),
                Err(end) => Err(end),
            };
            let surplus = held.way.surplus.get();
            drop(held);
            let outcome = match outcome {
                Ok(Some(wrong)) => self.take_back(&by, wrong).await.map_err(End::Fault),
                Ok(None) => Ok(()),
                Err(end) => Err(end),
            };
            match outcome {
                // What the answer came over becomes free only now: the next request would open another beside it.
                Ok(()) if !surplus => tokio::task::yield_now().await,
                Ok(()) => return End::Idle,
                Err(end) => return end,
            }
        }
    }

    /// Bytes are about to be taken of which only samples were compared. The record says so before it counts them.
    pub fn only_sampled(&self) {
        if !self.sampled.replace(true)
            && let Sink::File(file) = &self.sink
        {
            file.edit(|record| record.sampled = true);
        }
    }

    /// Compares, now that all is here, what could not be compared while it came.
    pub async fn confirm(&self) -> Result<(), End> {
        for supplier in &self.suppliers {
            supplier.confirm(self).await?;
        }
        Ok(())
    }

    /// Whether another connection to `by` would find something to do.
    pub fn has_work(&self, by: &Supplier) -> bool {
        self.spans.borrow().has_work(by.want.get(), self.sink.chunk_size())
    }

    fn end_of(&self, held: &Held<'_>, range: ByteRange) -> u64 {
        self.spans.borrow().end_of(held.id).unwrap_or(range.end)
    }

    /// A second request for what a claim still lacks. All of it is fetched before anything of it is put in; whoever is
    /// first wins, and what the other has is dropped.
    pub async fn hedge(self: Rc<Self>, by: Rc<Supplier>, slow: ClaimId) -> End {
        let _busy = (Busy::new(&self.busy), Busy::new(&by.busy));
        match self.overtake(&by, slow).await {
            Ok(()) => End::Idle,
            Err(end) => end,
        }
    }

    async fn overtake(&self, by: &Supplier, slow: ClaimId) -> Result<(), End> {
        by.prove(self).await?;
        let way = self.outlets.borrow().get(&slow).cloned();
        let Some(way) = way else { return Ok(()) };
        let lacks = || {
            let outlet = way.outlet.borrow();
            ByteRange::new(outlet.at(), outlet.end())
        };
        let range = lacks();
        let mut reply = by.ask(self, range, || range.end).await?;
        let mut got = BytesMut::new();
        while (got.len() as u64) < range.len().min(reply.end.saturating_sub(range.start)) && !lacks().is_empty() {
            let next = match reply.ready.take() {
                Some(bytes) => Some(bytes),
                None => reply.body.next().await.map_err(End::Fault)?,
            };
            let Some(bytes) = next else { break };
            self.meter.borrow_mut().moved(bytes.len() as u64);
            by.meter.borrow_mut().moved(bytes.len() as u64);
            let wait = self.pace.pass(bytes.len());
            got.extend_from_slice(&bytes);
            tokio::time::sleep(wait).await;
        }
        let rest = lacks();
        let mut got = got.freeze();
        if rest.is_empty() || got.len() as u64 != range.len() || !self.outlets.borrow().contains_key(&slow) {
            return Ok(());
        }
        let Some(claim) = self.spans.borrow_mut().overtake(slow, rest.start) else { return Ok(()) };
        let held = self.hold(claim).map_err(End::Fault)?;
        way.over.notify_one();
        let mine = got.split_off(usize::try_from(claim.range.start - range.start).unwrap_or(got.len()));
        self.put(&held, mine).map_err(End::Fault)
    }

    fn hold(&self, claim: Claim) -> Result<Held<'_>, Fault> {
        if let Some((victim, end)) = claim.cut
            && let Some(way) = self.outlets.borrow().get(&victim)
        {
            way.outlet.borrow_mut().shrink(end);
        }
        let Some(outlet) = self.sink.outlet(claim.range) else {
            self.spans.borrow_mut().release(claim.id);
            return Err(Fault::new(Kind::Other, format!("bytes {:?} were claimed twice", claim.range)));
        };
        let way = Way { outlet: Rc::new(RefCell::new(outlet)), over: Rc::default(), surplus: Rc::default() };
        self.outlets.borrow_mut().insert(claim.id, way.clone());
        Ok(Held { crew: self, id: claim.id, way })
    }

    /// Bytes that are not what their own answer says: they are missing again, and this connection is to blame.
    async fn take_back(&self, by: &Supplier, wrong: ByteRange) -> Result<(), Fault> {
        let gone = self.sink.take_back(wrong).await?;
        self.spans.borrow_mut().add(&gone);
        self.done.set(self.done.get().saturating_sub(gone.len()));
        Err(Fault::new(Kind::Network, format!("{} sent bytes that do not match its Content-Digest", by.source.host())))
    }

    /// Moves the bytes of an answer into the claim, as far as both reach. Gives back the bytes that turned out not
    /// to be what the answer says of itself.
    async fn copy(&self, by: &Supplier, held: &Held<'_>, mut reply: Reply) -> Result<Option<ByteRange>, Fault> {
        let start = held.way.outlet.borrow().at();
        let mut slow = Slow::new(self.least, Instant::now());
        loop {
            let (at, end) = {
                let outlet = held.way.outlet.borrow();
                (outlet.at(), outlet.end())
            };
            if at >= end.min(reply.end) {
                let wrong =
                    reply.digest.filter(|_| at == reply.end).filter(|(said, hash)| hash.clone().finish() != *said);
                return Ok(wrong.map(|_| ByteRange::new(start, at)));
            }
            let asked = Instant::now();
            if self.sink.room(at).await {
                // Whoever reads the pipe was slow, not the connection.
                slow.excuse(asked.elapsed());
                continue;
            }
            let bytes = match reply.ready.take() {
                Some(bytes) => bytes,
                None => {
                    let next = tokio::select! {
                        biased;
                        next = reply.body.next() => next?,
                        () = held.way.over.notified() => return Ok(None),
                    };
                    let Some(bytes) = next else { return Ok(None) };
                    self.meter.borrow_mut().moved(bytes.len() as u64);
                    by.meter.borrow_mut().moved(bytes.len() as u64);
                    if let Some((_, hash)) = &mut reply.digest {
                        hash.update(&bytes);
                    }
                    bytes
                }
            };
            let came = bytes.len();
            self.put(held, bytes)?;
            slow.moved(came, Instant::now(), || by.source.host())?;
            let wait = self.pace.pass(came);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn put(&self, held: &Held<'_>, mut bytes: Bytes) -> Result<(), Fault> {
        let mut outlet = held.way.outlet.borrow_mut();
        // The claim may have been cut while these bytes were on their way: what is behind the cut is another's.
        bytes.truncate(usize::try_from(outlet.end() - outlet.at()).unwrap_or(usize::MAX));
        let mine = bytes.len() as u64;
        outlet.put(bytes)?;
        self.spans.borrow_mut().advance(held.id, outlet.at());
        self.done.set(self.done.get() + mine);
        self.meter.borrow_mut().set_done(self.done.get());
        Ok(())
    }
}
