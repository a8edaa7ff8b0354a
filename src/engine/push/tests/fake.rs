//! A remote that exists only in memory: every shape of server there is, with every trick one plays.

use super::super::*;
use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::ByteRange;
use crate::digest::{Crc, Hasher};
use crate::remote::{Answer, Claim, Closed, Digests, Held, Identify, Order, Part, Put, Repeat, Standing};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

pub(super) const CHUNK: u64 = 100_000;

/// What a server can say about what it holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Shape {
    Set,
    Prefix,
    Blind,
}

/// What a server does with one part, out of the ordinary.
#[derive(Clone, Debug)]
pub(super) enum Trick {
    /// Stores it; the answer is lost.
    LoseAnswer,
    /// The part is lost.
    LosePart,
    Busy,
    TooLarge,
    Damage,
    Forget,
    /// Stores only this many bytes of it.
    Keep(u64),
    /// Somebody writes these bytes into the source, or cuts it to this length, before the part is read.
    Write(u64, Vec<u8>),
    Cut(u64),
    /// The run is stopped; the part arrives or does not.
    Stop(bool),
}

#[derive(Default)]
pub(super) struct Store {
    pub(super) bytes: Vec<u8>,
    pub(super) held: ByteSet,
    pub(super) sent: Vec<ByteRange>,
    pub(super) replaced: u64,
    pub(super) done: bool,
    pub(super) opened: u32,
    pub(super) abandoned: u32,
    pub(super) keys: Vec<String>,
}

pub(super) struct Fake {
    pub(super) terms: Terms,
    pub(super) shape: Shape,
    pub(super) source: PathBuf,
    pub(super) store: Rc<RefCell<Store>>,
    pub(super) tricks: RefCell<VecDeque<(usize, Trick)>>,
    pub(super) puts: Cell<usize>,
    pub(super) closes: RefCell<VecDeque<Closed>>,
    pub(super) stop: Stop,
    pub(super) claim: RefCell<Option<Claim>>,
    pub(super) taken: Cell<bool>,
    pub(super) lie: Cell<bool>,
    pub(super) shows_digests: bool,
}

impl Fake {
    pub(super) fn published(&self) -> Published {
        let store = self.store.borrow();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(if self.lie.get() { b"lie" } else { &store.bytes });
        Published {
            place: "http://h/f".parse().unwrap(),
            digests: vec![hasher.finish(), Crc::of(&store.bytes).digest()],
            shows: None,
        }
    }

    pub(super) fn standing(&self) -> State {
        let store = self.store.borrow();
        if store.done {
            drop(store);
            return State::Done(self.published());
        }
        let held = match self.shape {
            Shape::Set => Held::Bytes(store.held.clone()),
            Shape::Prefix => Held::Prefix(store.held.prefix()),
            Shape::Blind => Held::Unknown,
        };
        State::Open(Standing { held, joined: false, claim: self.claim.borrow().clone() })
    }

    pub(super) fn take(&self, part: &Part, keep: u64) -> Put {
        let range = ByteRange::new(part.range.start, part.range.start + keep.min(part.range.len()));
        let mut bytes = vec![0; range.len() as usize];
        part.file.read_exact_at(&mut bytes, range.start).unwrap();
        let mut store = self.store.borrow_mut();
        if part.range == range && Crc::of(&bytes) != part.crc {
            return Put::Damaged;
        }
        let end = range.end as usize;
        if store.bytes.len() < end {
            store.bytes.resize(end, 0);
        }
        if self.terms.order == Order::Sequential && store.held.prefix() != range.start {
            return Put::Conflict(Held::Prefix(store.held.prefix()));
        }
        if store.held.touches(range) && store.bytes[range.start as usize..end] != bytes {
            if !part.replace {
                return Put::Differs;
            }
            store.replaced += range.len();
        }
        store.bytes[range.start as usize..end].copy_from_slice(&bytes);
        store.held.insert(range);
        Put::Stored(range)
    }

    pub(super) fn trick(&self) -> Option<Trick> {
        let number = self.puts.get();
        self.puts.set(number + 1);
        let mut tricks = self.tricks.borrow_mut();
        tricks.front().is_some_and(|(at, _)| *at <= number).then(|| tricks.pop_front().unwrap().1)
    }

    pub(super) async fn put_one(&self, part: &Part) -> Result<Put, Fault> {
        self.store.borrow_mut().sent.push(part.range);
        let network = || Fault::new(Kind::Network, "cut");
        let trick = self.trick();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        part.gauge.pass(part.range.len() as usize);
        match trick {
            None => Ok(self.take(part, u64::MAX)),
            Some(Trick::LoseAnswer) => {
                self.take(part, u64::MAX);
                Ok(Put::Ambiguous(network()))
            }
            Some(Trick::LosePart) => Ok(Put::Ambiguous(network())),
            Some(Trick::Busy) => Err(Fault::status(503, "busy")),
            Some(Trick::TooLarge) => Err(Fault::status(413, "too large")),
            Some(Trick::Damage) => Ok(Put::Damaged),
            Some(Trick::Forget) => {
                self.store.borrow_mut().held = ByteSet::new();
                Ok(Put::Gone)
            }
            Some(Trick::Keep(bytes)) => Ok(self.take(part, bytes)),
            Some(Trick::Write(at, bytes)) => {
                let file = std::fs::OpenOptions::new().write(true).open(&self.source).unwrap();
                file.write_all_at(&bytes, at).unwrap();
                file.set_modified(std::time::SystemTime::now() + Duration::from_secs(self.puts.get() as u64)).unwrap();
                Ok(self.take(part, u64::MAX))
            }
            Some(Trick::Cut(length)) => {
                std::fs::OpenOptions::new().write(true).open(&self.source).unwrap().set_len(length).unwrap();
                Ok(Put::Damaged)
            }
            Some(Trick::Stop(arrives)) => {
                self.stop.trip();
                if arrives {
                    self.take(part, u64::MAX);
                }
                std::future::pending().await
            }
        }
    }
}

impl Remote for Fake {
    fn protocol(&self) -> &'static str {
        "fake"
    }
    fn place(&self) -> url::Url {
        "http://h/f".parse().unwrap()
    }
    fn terms(&self) -> Terms {
        self.terms.clone()
    }
    fn prepare(&self) -> Session {
        Session::default().with("protocol", "fake").with("key", disk::token())
    }
    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        Box::pin(async move {
            let mut store = self.store.borrow_mut();
            store.opened += 1;
            let key = session.text("key").unwrap().to_string();
            if !store.keys.contains(&key) {
                store.keys.push(key);
            }
            drop(store);
            if self.taken.get() && manifest.md5.is_none() {
                return Ok((session.clone(), State::Taken(None, Fault::status(409, "it exists"))));
            }
            Ok((session.clone(), self.standing()))
        })
    }
    fn held<'a>(&'a self, _: &'a Session) -> Answer<'a, State> {
        Box::pin(async move { Ok(self.standing()) })
    }
    fn put<'a>(&'a self, _: &'a Session, part: &'a Part) -> Answer<'a, Put> {
        Box::pin(self.put_one(part))
    }
    fn close<'a>(&'a self, _: &'a Session, digests: &'a [Digest], _: &'a [Algorithm]) -> Answer<'a, Closed> {
        Box::pin(async move {
            if let Some(answer) = self.closes.borrow_mut().pop_front() {
                return Ok(answer);
            }
            let mut store = self.store.borrow_mut();
            if !digests.contains(&Crc::of(&store.bytes).digest()) {
                return Ok(Closed::Suspect(ByteSet::new()));
            }
            store.done = true;
            drop(store);
            Ok(Closed::Published(self.published()))
        })
    }
    fn abandon<'a>(&'a self, _: &'a Session) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut store = self.store.borrow_mut();
            *store = Store { abandoned: store.abandoned + 1, keys: store.keys.clone(), ..Store::default() };
            Ok(())
        })
    }
    fn identify(&self) -> Option<&dyn Identify> {
        self.shows_digests.then_some(self)
    }
    fn digests(&self) -> Option<&dyn Digests> {
        self.shows_digests.then_some(self)
    }
}

impl Identify for Fake {
    fn identify<'a>(&'a self, _: &'a Session, _: &'a Digest) -> Answer<'a, State> {
        Box::pin(async move { Ok(self.standing()) })
    }
    fn join<'a>(
        &'a self,
        session: &'a Session,
        claim: &'a Claim,
        proof: &'a Digest,
    ) -> Answer<'a, Option<(Session, State)>> {
        Box::pin(async move {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(&claim.nonce);
            let store = self.store.borrow();
            claim.ranges.runs().for_each(|run| hasher.update(&store.bytes[run.start as usize..run.end as usize]));
            if hasher.finish() != *proof {
                return Ok(None);
            }
            drop(store);
            self.claim.borrow_mut().take();
            if claim.complete {
                return Ok(Some((session.clone(), State::Done(self.published()))));
            }
            let session = session.clone().with("upload", "joined");
            match self.standing() {
                State::Open(standing) => Ok(Some((session, State::Open(Standing { joined: true, ..standing })))),
                other => Ok(Some((session, other))),
            }
        })
    }
}

impl Digests for Fake {
    fn digests<'a>(&'a self, _: &'a Session, chunks: &'a IndexSet) -> Answer<'a, Vec<(u64, u64)>> {
        Box::pin(async move {
            let store = self.store.borrow();
            let sum = |index: u64| {
                let (start, end) = (index * CHUNK, ((index + 1) * CHUNK).min(store.bytes.len() as u64));
                (index, Crc::of(&store.bytes[start as usize..end as usize]).sum)
            };
            Ok(chunks.runs().flat_map(|run| run.start..run.end).map(sum).collect())
        })
    }
}

#[derive(Default)]
pub(super) struct Ears(Mutex<Vec<Event>>);

impl Observer for Ears {
    fn on(&self, _: FileId, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A source, a server, and what was heard.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) source: PathBuf,
    pub(super) fake: Rc<Fake>,
    pub(super) ground: Ground,
    pub(super) job: Job,
    pub(super) ears: Arc<Ears>,
}

pub(super) fn content(length: u64) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251 + n / 7919) as u8).collect()
}

pub(super) fn terms(shape: Shape) -> Terms {
    Terms {
        order: if shape == Shape::Set { Order::Any } else { Order::Sequential },
        part: 1..=40_000,
        uniform: None,
        keeps_cut: false,
        multiple: 1,
        chunk: None,
        chunk_max: None,
        parallel: 4,
        replace: shape == Shape::Set,
        repeat: if shape == Shape::Blind { Repeat::Appends } else { Repeat::Safe },
        file_max: None,
    }
}

impl World {
    pub(super) fn new(length: u64, shape: Shape) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("f");
        std::fs::write(&source, content(length)).unwrap();
        let (ears, stop) = (Arc::new(Ears::default()), Stop::new());
        let url: url::Url = "http://h/f".parse().unwrap();
        let fake = Rc::new(Fake {
            terms: terms(shape),
            shape,
            source: source.clone(),
            store: Rc::default(),
            tricks: RefCell::default(),
            puts: Cell::new(0),
            closes: RefCell::default(),
            stop: stop.clone(),
            claim: RefCell::default(),
            taken: Cell::new(false),
            lie: Cell::new(false),
            shows_digests: shape == Shape::Set,
        });
        let policy = Policy { tries: Some(4), first: Duration::from_millis(1), cap: Duration::from_millis(4) };
        let remotes = Rc::new(Remotes::new(Rc::new(crate::net::Net::new(Default::default())), Default::default()));
        Self {
            job: Job {
                file: 0,
                source: source.clone(),
                destination: Destination { url, base: None, access: Default::default() },
                existing: Existing::Refuse,
                chunk_size: Some(CHUNK),
                connections: Some(2),
                no_restart: false,
                trust: false,
                protocol: None,
                restart: false,
                assume: None,
                digest: None,
            },
            ground: Ground {
                remotes,
                pace: Pace::unlimited(),
                observer: ears.clone(),
                stop,
                policy,
                hosts: Rc::new(crate::memory::hosts::Hosts::of_this_run()),
            },
            dir,
            source,
            fake,
            ears,
        }
    }

    pub(super) fn tricks(self, tricks: impl IntoIterator<Item = (usize, Trick)>) -> Self {
        self.fake.tricks.borrow_mut().extend(tricks);
        self
    }

    /// One run, as a new process would make it.
    pub(super) fn run(&self) -> Result<Outcome, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ground = Ground { stop: self.fake.stop.clone(), ..self.ground.clone() };
        let remote: Rc<dyn Remote> = self.fake.clone();
        let connect = async |_: Option<&Session>| Ok(remote.clone());
        runtime.block_on(tokio::task::LocalSet::new().run_until(send(&self.job, &ground, connect)))
    }

    /// What a stop left can be gone on with: the token is renewed.
    pub(super) fn again(self) -> Self {
        let fake = Rc::try_unwrap(self.fake).ok().unwrap();
        Self { fake: Rc::new(Fake { stop: Stop::new(), ..fake }), ..self }
    }

    pub(super) fn arrived(&self) {
        assert_eq!(
            self.fake.store.borrow().bytes,
            std::fs::read(&self.source).unwrap(),
            "the content is not the source's"
        );
        let left: Vec<_> =
            std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["f"], "the record is still there");
    }

    pub(super) fn sent(&self) -> u64 {
        self.fake.store.borrow().sent.iter().map(ByteRange::len).sum()
    }

    pub(super) fn heard(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.ears.0.lock().unwrap().iter().filter(|event| wanted(event)).count()
    }
}
