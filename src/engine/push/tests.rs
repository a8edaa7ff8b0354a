//! The upload loop against remotes that exist only here: every shape of server there is, with every trick one plays.

// A test may write a file without ceremony.
#![allow(clippy::disallowed_methods)]

use super::*;
use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::ByteRange;
use crate::digest::{Crc, Hasher};
use crate::remote::{Answer, Claim, Digests, Held, Identify, Order, Part, Put, Repeat, Standing};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

const CHUNK: u64 = 100_000;

/// What a server can say about what it holds.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Shape {
    Set,
    Prefix,
    Blind,
}

/// What a server does with one part, out of the ordinary.
#[derive(Clone, Debug)]
enum Trick {
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
struct Store {
    bytes: Vec<u8>,
    held: ByteSet,
    sent: Vec<ByteRange>,
    replaced: u64,
    done: bool,
    opened: u32,
    abandoned: u32,
    keys: Vec<String>,
}

struct Fake {
    terms: Terms,
    shape: Shape,
    source: PathBuf,
    store: Rc<RefCell<Store>>,
    tricks: RefCell<VecDeque<(usize, Trick)>>,
    puts: Cell<usize>,
    closes: RefCell<VecDeque<Closed>>,
    stop: Stop,
    claim: RefCell<Option<Claim>>,
    taken: Cell<bool>,
    lie: Cell<bool>,
    shows_digests: bool,
}

impl Fake {
    fn published(&self) -> Published {
        let store = self.store.borrow();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(if self.lie.get() { b"lie" } else { &store.bytes });
        Published {
            place: "http://h/f".parse().unwrap(),
            digests: vec![hasher.finish(), Crc::of(&store.bytes).digest()],
        }
    }

    fn standing(&self) -> State {
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

    fn take(&self, part: &Part, keep: u64) -> Put {
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

    fn trick(&self) -> Option<Trick> {
        let number = self.puts.get();
        self.puts.set(number + 1);
        let mut tricks = self.tricks.borrow_mut();
        tricks.front().is_some_and(|(at, _)| *at <= number).then(|| tricks.pop_front().unwrap().1)
    }

    async fn put_one(&self, part: &Part) -> Result<Put, Fault> {
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
struct Ears(Mutex<Vec<Event>>);

impl Observer for Ears {
    fn on(&self, _: FileId, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A source, a server, and what was heard.
struct World {
    dir: tempfile::TempDir,
    source: PathBuf,
    fake: Rc<Fake>,
    ground: Ground,
    job: Job,
    ears: Arc<Ears>,
}

fn content(length: u64) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251 + n / 7919) as u8).collect()
}

fn terms(shape: Shape) -> Terms {
    Terms {
        order: if shape == Shape::Set { Order::Any } else { Order::Sequential },
        part: 1..=40_000,
        multiple: 1,
        chunk_max: None,
        parallel: 4,
        replace: shape == Shape::Set,
        repeat: if shape == Shape::Blind { Repeat::Appends } else { Repeat::Safe },
        file_max: None,
    }
}

impl World {
    fn new(length: u64, shape: Shape) -> Self {
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
        let remotes = Rc::new(Remotes::new(Rc::new(crate::net::Net::new(Default::default()))));
        Self {
            job: Job {
                file: 0,
                source: source.clone(),
                destination: Destination { url, access: Default::default() },
                if_exists: IfExists::Fail,
                keep_existing: false,
                chunk_size: Some(CHUNK),
                connections: Some(2),
                no_restart: false,
                trust: false,
            },
            ground: Ground { remotes, pace: Pace::unlimited(), observer: ears.clone(), stop, policy },
            dir,
            source,
            fake,
            ears,
        }
    }

    fn tricks(self, tricks: impl IntoIterator<Item = (usize, Trick)>) -> Self {
        self.fake.tricks.borrow_mut().extend(tricks);
        self
    }

    /// One run, as a new process would make it.
    fn run(&self) -> Result<Outcome, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ground = Ground { stop: self.fake.stop.clone(), ..self.ground.clone() };
        let remote: Rc<dyn Remote> = self.fake.clone();
        let connect = async |_: Option<&Session>| Ok(remote.clone());
        runtime.block_on(tokio::task::LocalSet::new().run_until(send(&self.job, &ground, connect)))
    }

    /// What a stop left can be gone on with: the token is renewed.
    fn again(self) -> Self {
        let fake = Rc::try_unwrap(self.fake).ok().unwrap();
        Self { fake: Rc::new(Fake { stop: Stop::new(), ..fake }), ..self }
    }

    fn arrived(&self) {
        assert_eq!(
            self.fake.store.borrow().bytes,
            std::fs::read(&self.source).unwrap(),
            "the content is not the source's"
        );
        let left: Vec<_> =
            std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["f"], "the record is still there");
    }

    fn sent(&self) -> u64 {
        self.fake.store.borrow().sent.iter().map(ByteRange::len).sum()
    }

    fn heard(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.ears.0.lock().unwrap().iter().filter(|event| wanted(event)).count()
    }
}

#[test]
fn every_shape_of_server_and_every_edge_of_a_size() {
    for shape in [Shape::Set, Shape::Prefix, Shape::Blind] {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 299_993] {
            let world = World::new(length, shape);
            let outcome = world.run().unwrap_or_else(|fault| panic!("{shape:?} {length}: {fault}"));
            world.arrived();
            assert_eq!(
                (world.sent(), outcome.moved, outcome.already),
                (length, length, if length == 0 { 0 } else { outcome.already })
            );
            assert!(outcome.proof.is_some());
        }
    }
}

#[test]
fn lost_answers_are_asked_about_before_anything_is_sent_again() {
    for shape in [Shape::Set, Shape::Prefix] {
        let world =
            World::new(500_000, shape).tricks([(1, Trick::LoseAnswer), (5, Trick::LosePart), (9, Trick::LoseAnswer)]);
        world.run().unwrap();
        world.arrived();
        assert!(world.sent() <= 500_000 + 4 * 40_000, "{shape:?}: {}", world.sent());
        assert!(world.heard(|event| matches!(event, Event::Retry { .. })) >= 3);
    }
}

#[test]
fn a_server_that_appends_and_cannot_tell_is_never_sent_a_part_twice() {
    let world = World::new(500_000, Shape::Blind).tricks([(3, Trick::LoseAnswer)]);
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Unknown, 10));
    let store = world.fake.store.borrow();
    assert_eq!(store.sent.len(), 4);
    assert!(store.sent.windows(2).all(|two| two[0].end == two[1].start), "{:?}", store.sent);
}

#[test]
fn passing_trouble_passes() {
    let world = World::new(500_000, Shape::Set).tricks([
        (0, Trick::Busy),
        (2, Trick::Damage),
        (4, Trick::Busy),
        (6, Trick::Keep(10_000)),
    ]);
    world.run().unwrap();
    world.arrived();
    let hopeless = World::new(500_000, Shape::Set).tricks((0..99).map(|_| (0, Trick::Busy)));
    let fault = hopeless.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Busy, 3));
}

#[test]
fn a_piece_that_is_too_large_is_halved_and_the_chunk_is_not() {
    let world = World::new(500_000, Shape::Set).tricks([(0, Trick::TooLarge), (1, Trick::TooLarge)]);
    world.run().unwrap();
    world.arrived();
    let store = world.fake.store.borrow();
    assert!(store.sent[3..].iter().all(|range| range.len() <= 20_000), "{:?}", store.sent);
    drop(store);
    let hopeless = World::new(500_000, Shape::Set).tricks((0..99).map(|_| (0, Trick::TooLarge)));
    assert_eq!(hopeless.run().unwrap_err().status, Some(413));
}

#[test]
fn a_lost_upload_is_begun_anew_and_that_is_said() {
    let world = World::new(500_000, Shape::Set).tricks([(6, Trick::Forget)]);
    world.run().unwrap();
    world.arrived();
    assert_eq!(world.fake.store.borrow().keys.len(), 2, "another key");
    assert_eq!(world.heard(|event| matches!(event, Event::Restarted { .. })), 1);
}

#[test]
fn a_stopped_run_leaves_a_record_and_the_next_one_sends_the_rest() {
    let cases =
        [(Shape::Set, true), (Shape::Set, false), (Shape::Prefix, true), (Shape::Prefix, false), (Shape::Blind, false)];
    for (shape, arrives) in cases {
        let world = World::new(500_000, shape).tricks([(7, Trick::Stop(arrives))]);
        let fault = world.run().unwrap_err();
        assert_eq!(fault.kind, Kind::Interrupted);
        assert!(fault.kept.as_ref().is_some_and(|kept| kept.contains("of 5 chunks")), "{fault:?}");
        let before = world.sent();
        assert!(before < 400_000);
        let world = world.again();
        let outcome = world.run().unwrap();
        world.arrived();
        assert!(world.sent() <= 500_000 + 2 * 40_000, "{shape:?}: {}", world.sent());
        assert!(outcome.already > 0 && outcome.already + outcome.moved >= 500_000, "{outcome:?}");
        assert_eq!(world.heard(|event| matches!(event, Event::Resumed { .. })), 1);
        assert_eq!(world.fake.store.borrow().keys.len(), 1, "the same key");
    }
}

#[test]
fn a_source_that_changes_under_the_send_is_never_mixed() {
    // A chunk that was sent, one under way, one to come; again and again.
    for at in [10, 150_000, 250_000, 499_000] {
        for number in [1, 4, 9, 13] {
            let world = World::new(500_000, Shape::Set).tricks([(number, Trick::Write(at, b"something new".to_vec()))]);
            world.run().unwrap_or_else(|fault| panic!("{at} {number}: {fault}"));
            world.arrived();
            assert!(world.sent() <= 500_000 + CHUNK + 6 * 40_000, "only what changed is sent again: {}", world.sent());
        }
    }
}

#[test]
fn a_source_that_changed_between_two_runs_is_compared() {
    let world = World::new(500_000, Shape::Set).tricks([(9, Trick::Stop(false))]);
    world.run().unwrap_err();
    let mut bytes = content(500_000);
    bytes[20_000] ^= 1;
    std::fs::write(&world.source, &bytes).unwrap();
    let world = world.again();
    world.run().unwrap();
    world.arrived();
    assert!(world.fake.store.borrow().replaced > 0);
    assert!(world.sent() <= 500_000 + CHUNK + 3 * 40_000, "{}", world.sent());
}

#[test]
fn a_server_that_cannot_replace_refuses_a_changed_source() {
    let world = World::new(500_000, Shape::Prefix).tricks([(9, Trick::Stop(false))]);
    world.run().unwrap_err();
    let mut bytes = content(500_000);
    bytes[20_000] ^= 1;
    std::fs::write(&world.source, &bytes).unwrap();
    let world = world.again();
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Changed, 4));
    bytes[20_000] ^= 1;
    std::fs::write(&world.source, &bytes).unwrap();
    let world = world.again();
    world.run().unwrap();
    world.arrived();
}

#[test]
fn a_source_that_only_was_touched_goes_on() {
    for shape in [Shape::Set, Shape::Prefix] {
        let world = World::new(500_000, shape).tricks([(9, Trick::Stop(false))]);
        world.run().unwrap_err();
        std::fs::write(&world.source, content(500_000)).unwrap();
        let world = world.again();
        world.run().unwrap();
        world.arrived();
        assert!(world.sent() <= 500_000 + 3 * 40_000, "{shape:?}: {}", world.sent());
    }
}

#[test]
fn another_length_stops_the_run_and_is_a_new_upload_in_the_next() {
    let world = World::new(500_000, Shape::Set).tricks([(6, Trick::Cut(450_000))]);
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Changed, 4));
    let strict = World { job: Job { no_restart: true, ..world.job.clone() }, ..world };
    assert_eq!(strict.run().unwrap_err().kind, Kind::Changed);
    let world = World { job: Job { no_restart: false, ..strict.job.clone() }, ..strict };
    world.run().unwrap();
    world.arrived();
    assert_eq!(world.heard(|event| matches!(event, Event::Restarted { .. })), 1);
    assert_eq!(world.fake.store.borrow().abandoned, 1, "what nobody can go on with is given up");
}

#[test]
fn a_source_that_never_rests_is_given_up() {
    let tricks = (0..200).map(|n| (n, Trick::Write(n as u64, vec![n as u8; 3])));
    let fault = World::new(500_000, Shape::Set).tricks(tricks).run().unwrap_err();
    assert_eq!(fault.kind, Kind::Changed, "{fault}");
}

#[test]
fn all_that_can_be_said_at_the_end() {
    let closes = [
        Closed::Pending(Duration::from_millis(1)),
        Closed::Ambiguous(Fault::new(Kind::Network, "cut")),
        Closed::Missing(ByteSet::of(ByteRange::new(0, CHUNK))),
        Closed::Suspect(ByteSet::new()),
    ];
    for close in closes {
        let world = World::new(500_000, Shape::Set);
        if let Closed::Missing(missing) = &close {
            let store = world.fake.store.clone();
            let missing = missing.clone();
            store.borrow_mut().held.subtract(&missing);
        }
        world.fake.closes.borrow_mut().push_back(close.clone());
        world.run().unwrap_or_else(|fault| panic!("{close:?}: {fault}"));
        world.arrived();
    }
    let taken = World::new(500_000, Shape::Set);
    taken.fake.closes.borrow_mut().push_back(Closed::Taken(Fault::status(409, "taken")));
    let fault = taken.run().unwrap_err();
    assert_eq!((fault.kind, fault.kept.as_deref()), (Kind::Refused, Some("the server keeps the upload whole")));
    taken.run().unwrap();
    assert_eq!(taken.sent(), 500_000, "nothing is sent again");
    let damaged = World::new(500_000, Shape::Set);
    damaged.fake.closes.borrow_mut().extend((0..99).map(|_| Closed::Suspect(ByteSet::new())));
    assert_eq!(damaged.run().unwrap_err().kind, Kind::Integrity);
}

#[test]
fn bytes_damaged_at_the_server_are_found_and_replaced() {
    let world = World::new(500_000, Shape::Set).tricks([(9, Trick::Stop(false))]);
    world.run().unwrap_err();
    world.fake.store.borrow_mut().bytes[10] ^= 0xff;
    let world = world.again();
    world.run().unwrap();
    world.arrived();
    assert!(world.fake.store.borrow().replaced > 0);
}

#[test]
fn what_the_server_stored_is_compared_before_success_is_told() {
    let world = World::new(500_000, Shape::Set);
    world.fake.lie.set(true);
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Integrity, 5));
}

#[test]
fn a_taken_name_with_the_same_content_is_done_without_a_byte() {
    let world = World::new(500_000, Shape::Set);
    world.fake.store.borrow_mut().bytes = content(500_000);
    world.fake.claim.replace(Some(Claim {
        complete: true,
        nonce: vec![7; 16],
        ranges: ByteSet::of(ByteRange::new(5, 900)),
    }));
    world.fake.taken.set(true);
    let outcome = world.run().unwrap();
    assert_eq!((world.sent(), outcome.moved, outcome.already), (0, 0, 500_000));
    assert_eq!(outcome.proof.as_deref(), Some("sha-256"));
    world.arrived();
}

#[test]
fn a_taken_name_is_refused_or_left_alone() {
    // A server that knows no identities cannot show that the content is the same.
    let world = World::new(500_000, Shape::Prefix);
    world.fake.taken.set(true);
    let fault = world.run().unwrap_err();
    assert_eq!(fault.status, Some(409));
    assert!(fault.hint.unwrap().contains("--overwrite"));
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 1, "nothing was begun, so nothing is left");
    let world = World { job: Job { keep_existing: true, ..world.job.clone() }, ..world };
    assert_eq!(world.run().unwrap().moved, 0);
}

#[test]
fn an_upload_of_the_same_content_is_joined_and_a_different_one_is_not() {
    for damaged in [false, true] {
        let world = World::new(500_000, Shape::Set);
        {
            let mut store = world.fake.store.borrow_mut();
            store.bytes = content(500_000);
            store.held = ByteSet::of(ByteRange::new(0, 250_000));
            if damaged {
                store.bytes[150_000] ^= 1;
            }
        }
        let ranges = ByteSet::of(ByteRange::new(0, 1000));
        world.fake.claim.replace(Some(Claim { complete: false, nonce: vec![1; 16], ranges }));
        let outcome = world.run().unwrap();
        world.arrived();
        match damaged {
            // Two whole chunks count; of the half one nobody has shown a digest.
            false => assert_eq!((world.sent(), outcome.already), (300_000, 200_000)),
            true => assert!(world.sent() > 300_000),
        }
    }
}

#[test]
fn a_wrong_proof_changes_nothing() {
    let world = World::new(500_000, Shape::Set);
    world.fake.store.borrow_mut().bytes = vec![9; 500_000];
    world.fake.claim.replace(Some(Claim {
        complete: true,
        nonce: vec![1; 16],
        ranges: ByteSet::of(ByteRange::new(0, 9)),
    }));
    world.run().unwrap();
    world.arrived();
    assert_eq!(world.sent(), 500_000);
}

#[test]
fn terms_are_checked_before_the_first_byte() {
    let small = |terms: Terms| {
        let world = World::new(500_000, Shape::Set);
        let fake = Rc::try_unwrap(world.fake).ok().unwrap();
        World { fake: Rc::new(Fake { terms, ..fake }), ..world }
    };
    let file = small(Terms { file_max: Some(499_999), ..terms(Shape::Set) });
    assert_eq!(file.run().unwrap_err().kind, Kind::Refused);
    assert_eq!(file.fake.store.borrow().opened, 0);
    let chunk = small(Terms { chunk_max: Some(60_000), ..terms(Shape::Set) });
    chunk.run().unwrap();
    assert_eq!(small(Terms { chunk_max: Some(10), ..terms(Shape::Set) }).run().unwrap_err().kind, Kind::Refused);
}
