//! The conformance suite: what every upload protocol must do, run over each implementation. A protocol that comes later
//! adds one [`Target`] and one test.

use crate::fileservers;
use crate::forms::page::{Act, Asked, Page, json};
use crate::growing_peer;
use crate::peer;
use crate::receiver::Receiver;
use crate::shelf_peer::{self, Flavour};
use crate::tus_servers::{self, Tus};
use crate::world::{Content, World};
use onward::chunk::{ByteRange, Layout};
use onward::digest::{Algorithm, Crc, Digest, Hasher};
use onward::net::{Access, Gauge, Net};
use onward::remote::dialect::{Given, library};
use onward::remote::{
    self, Closed, Destination, Held, Manifest, Manner, Order, Part, Protocol, Put, Remote, Remotes, Session, State,
    Wish,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The chunk size where a protocol leaves a choice.
const CHUNK: u64 = 64 << 10;

struct Free;
impl Gauge for Free {
    fn pass(&self, _: usize) -> Duration {
        Duration::ZERO
    }
}

/// A server that speaks the protocol.
trait Target {
    fn url(&self, name: &str) -> String;
    /// Where uploads are made, where that is not the folder of `url`.
    fn base(&self, url: &url::Url) -> Option<url::Url> {
        url.join(".").ok()
    }
    /// What it holds under the name, once that is published at `place`; no place was told before.
    fn stored(&self, name: &str, place: Option<&url::Url>) -> Option<Vec<u8>>;
    /// The chunk size.
    fn chunk(&self) -> u64 {
        CHUNK
    }
    /// A length of a few chunks and a bit.
    fn length(&self) -> u64 {
        5 * self.chunk() + 1234
    }
    /// Whether it is told the sums of parts and of the whole, and compares.
    fn compares(&self) -> bool {
        true
    }
    /// Whether an upload that is given up is told from a finished one when a part comes: else asking tells.
    fn tells_gone(&self) -> bool {
        true
    }
    /// The protocol to speak to it, where it speaks several.
    fn protocol(&self) -> Wish {
        Wish::Auto
    }
    /// The form dialect that it wants to be talked to in.
    fn dialect(&self) -> Option<&'static str> {
        None
    }
}

/// A page that keeps chunks in the way of a form dialect.
struct Forms {
    page: Page,
    dialect: &'static str,
    files: Arc<Mutex<BTreeMap<String, Kept>>>,
}

/// One file of such a page: its chunks by their number, and whether the last one has come.
#[derive(Default)]
struct Kept {
    chunks: BTreeMap<u64, Vec<u8>>,
    complete: bool,
}

impl Forms {
    fn new(dialect: &'static str) -> Self {
        let files: Arc<Mutex<BTreeMap<String, Kept>>> = Arc::default();
        let shared = files.clone();
        let page = Page::new(move |asked, _| {
            let mut files = shared.lock().unwrap();
            match dialect {
                "check-file" => Self::check_file(&mut files, asked),
                "form-sequence" => {
                    let kept = files.entry(asked.field("fileName")).or_default();
                    kept.chunks.insert(kept.chunks.len() as u64, asked.file());
                    kept.complete |= asked.field("isLastChunk") == "1";
                    Act::Say(200, "text/html", "{\"status\":200}".into())
                }
                _ => Self::resumable(&mut files, asked),
            }
        });
        Self { page, dialect, files }
    }

    fn check_file(files: &mut BTreeMap<String, Kept>, asked: &Asked) -> Act {
        let index = match asked.call() {
            "checkFile" => {
                let kept = files.entry(asked.field("name")).or_default();
                return match (kept.complete, kept.chunks.len()) {
                    (true, _) => json(serde_json::json!({"state": 2})),
                    (_, 0) => json(serde_json::json!({"state": 0})),
                    (_, count) => json(serde_json::json!({"state": 1, "maxChuck": count - 1})),
                };
            }
            _ => asked.number("chunk"),
        };
        let kept = files.entry(asked.field("fileName")).or_default();
        kept.chunks.insert(index, asked.file());
        kept.complete |= asked.field("isLastChunk") == "true";
        json(serde_json::json!({"ret": true, "chunk": index}))
    }

    fn resumable(files: &mut BTreeMap<String, Kept>, asked: &Asked) -> Act {
        let kept = files.entry(asked.field("resumableFilename")).or_default();
        let index = asked.number("resumableChunkNumber");
        let status = match asked.method.as_str() {
            "GET" if kept.chunks.contains_key(&index) => 200,
            "GET" => 404,
            _ => {
                kept.chunks.insert(index, asked.file());
                kept.complete = kept.chunks.len() as u64 == asked.number("resumableTotalChunks");
                200
            }
        };
        Act::Say(status, "text/plain", String::new())
    }
}

impl Target for Forms {
    fn url(&self, name: &str) -> String {
        self.page.url(&format!("/up/{name}"))
    }
    fn stored(&self, name: &str, _: Option<&url::Url>) -> Option<Vec<u8>> {
        let files = self.files.lock().unwrap();
        files.get(name).filter(|kept| kept.complete).map(|kept| kept.chunks.values().flatten().copied().collect())
    }
    fn length(&self) -> u64 {
        8 * CHUNK + 1234
    }
    fn compares(&self) -> bool {
        false
    }
    fn dialect(&self) -> Option<&'static str> {
        Some(self.dialect)
    }
}

/// A receiver of ours, spoken to by one of its other protocols.
struct Growing(Receiver, Protocol);

impl Target for Growing {
    fn url(&self, name: &str) -> String {
        self.0.url(name)
    }
    fn stored(&self, name: &str, _: Option<&url::Url>) -> Option<Vec<u8>> {
        std::fs::read(self.0.path(name)).ok()
    }
    fn compares(&self) -> bool {
        false
    }
    fn protocol(&self) -> Wish {
        Wish::Only(self.1)
    }
}

/// A tus server that others wrote. An upload there is nowhere but at its own URL, which is told at its end only.
struct Foreign<'a>(&'a World, Tus);

impl Target for Foreign<'_> {
    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.1.endpoint.trim_end_matches('/'))
    }
    fn base(&self, _: &url::Url) -> Option<url::Url> {
        self.1.endpoint.parse().ok()
    }
    fn stored(&self, name: &str, place: Option<&url::Url>) -> Option<Vec<u8>> {
        std::fs::read(self.1.content(self.0, name, place?.as_str())).ok()
    }
    fn tells_gone(&self) -> bool {
        // SeaweedFS removes an upload's URL when it is complete, too.
        !self.1.endpoint.contains("/.tus/")
    }
    fn compares(&self) -> bool {
        false
    }
}

impl Target for growing_peer::Peer {
    fn url(&self, name: &str) -> String {
        growing_peer::Peer::url(self, &format!("/files/{name}"))
    }
    fn stored(&self, _: &str, _: Option<&url::Url>) -> Option<Vec<u8>> {
        let desk = self.desk();
        desk.uploads.last().filter(|upload| upload.complete && !upload.gone).map(|upload| upload.bytes.clone())
    }
    fn compares(&self) -> bool {
        false
    }
}

impl Target for fileservers::Shelf {
    fn url(&self, name: &str) -> String {
        fileservers::Shelf::url(self, name)
    }
    fn stored(&self, name: &str, _: Option<&url::Url>) -> Option<Vec<u8>> {
        // An unfinished file of copyparty's has its name already.
        let unfinished = self.path(&format!("{name}.PARTIAL")).exists();
        std::fs::read(self.path(name)).ok().filter(|_| !unfinished)
    }
    fn chunk(&self) -> u64 {
        self.chunk.unwrap_or(CHUNK)
    }
    fn compares(&self) -> bool {
        false
    }
}

impl Target for shelf_peer::Peer {
    fn url(&self, name: &str) -> String {
        shelf_peer::Peer::url(self, name)
    }
    fn stored(&self, name: &str, _: Option<&url::Url>) -> Option<Vec<u8>> {
        self.file(name)
    }
    fn compares(&self) -> bool {
        false
    }
}

impl Target for Receiver {
    fn url(&self, name: &str) -> String {
        Receiver::url(self, name)
    }
    fn stored(&self, name: &str, _: Option<&url::Url>) -> Option<Vec<u8>> {
        std::fs::read(self.path(name)).ok()
    }
}

impl Target for peer::Receiver {
    fn url(&self, name: &str) -> String {
        peer::Receiver::url(self, name)
    }
    fn stored(&self, name: &str, _: Option<&url::Url>) -> Option<Vec<u8>> {
        self.desk().uploads.iter().find(|upload| upload.name == name && upload.done).map(|upload| upload.bytes.clone())
    }
}

/// One upload by hand, part by part.
struct Hand<'a> {
    target: &'a dyn Target,
    name: &'static str,
    content: Content,
    file: Arc<File>,
    layout: Layout,
    remote: Rc<dyn Remote>,
    session: Session,
}

impl<'a> Hand<'a> {
    async fn new(world: &World, target: &'a dyn Target, name: &'static str, length: u64) -> Self {
        Self::lying(world, target, name, length, length).await
    }

    /// Of a file that is said to have `told` bytes.
    async fn lying(world: &World, target: &'a dyn Target, name: &'static str, length: u64, told: u64) -> Self {
        // Equal content under two names would be one upload to some.
        let content =
            Content::random(name.bytes().fold(length, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)), length);
        let path = world.path(name);
        content.write_to(&path);
        let remote = connect(target, name, None).await;
        let session = remote.prepare();
        assert_ne!(session, remote.prepare(), "every upload is another one");
        let layout = Layout::new(told, remote.chunk_size(told).unwrap_or(target.chunk()));
        let file = Arc::new(File::open(path).unwrap());
        let mut hand = Self { target, name, content, file, layout, remote, session };
        match hand.open().await {
            State::Open(standing) if told > 0 => assert_eq!(held(&standing.held).unwrap_or(0), 0),
            State::Open(_) => {}
            // Nothing is missing of an empty file.
            State::Done(_) if told == 0 => {}
            other => panic!("it does not begin: {other:?}"),
        }
        hand
    }

    fn manifest(&self) -> Manifest {
        let early = self.remote.habits().early.map(|early| self.content.hashed(early.algorithm));
        Manifest { name: self.name.into(), early, ..Manifest::of(self.layout) }
    }

    async fn open(&mut self) -> State {
        if let Some(by_content) = self.remote.by_content() {
            let chunk = |range: ByteRange| {
                let mut hasher = Hasher::new(by_content.algorithm());
                hasher.update(&self.content.part(range.start, range.end));
                hasher.finish()
            };
            let chunks = self.layout.split(ByteRange::new(0, self.content.len()));
            by_content.take(&chunks.map(chunk).collect::<Vec<Digest>>());
        }
        let (session, state) = self.remote.open(&self.session, &self.manifest()).await.unwrap();
        self.session = session;
        state
    }

    /// Goes on as a new process would: nothing is left but the session.
    async fn reopen(&mut self) -> State {
        let session = Session(toml::from_str(&toml::to_string(&self.session.0).unwrap()).unwrap());
        self.remote = connect(self.target, self.name, Some(&session)).await;
        self.session = session;
        self.open().await
    }

    /// The parts that the terms allow: halves of chunks.
    fn parts(&self) -> Vec<ByteRange> {
        if self.target.dialect().is_some() {
            return self.whole_chunks();
        }
        let half =
            (self.layout.chunk_size() / 2).clamp(*self.remote.terms().part.start(), *self.remote.terms().part.end());
        let chunks = self.layout.split(ByteRange::new(0, self.content.len()));
        let halves = |chunk: ByteRange| {
            (chunk.start..chunk.end)
                .step_by(half as usize)
                .map(move |at| ByteRange::new(at, at.saturating_add(half).min(chunk.end)))
        };
        chunks.flat_map(halves).collect()
    }

    /// The chunks of a form: each at once, and a merged tail in the last of them.
    fn whole_chunks(&self) -> Vec<ByteRange> {
        let mut chunks: Vec<ByteRange> = self.layout.split(self.layout.whole()).collect();
        if self.remote.habits().merged && self.content.len() > CHUNK {
            let tail = chunks.pop().unwrap();
            chunks.last_mut().unwrap().end = tail.end;
        }
        chunks
    }

    async fn put(&self, range: ByteRange) -> Put {
        self.put_as(range, Crc::of(&self.content.part(range.start, range.end)), &self.file, false).await
    }

    async fn put_as(&self, range: ByteRange, crc: Crc, file: &Arc<File>, replace: bool) -> Put {
        let (file, gauge) = (file.clone(), Arc::new(Free));
        let part = Part { range, layout: self.layout, crc, file, warm: Default::default(), gauge, replace };
        self.remote.put(&self.session, &part).await.unwrap()
    }

    async fn put_all(&self, parts: &[ByteRange]) {
        for range in parts {
            assert_eq!(self.put(*range).await, Put::Stored(*range));
        }
    }

    async fn close_as(&self, digest: Digest) -> Closed {
        let mut closed = self.remote.close(&self.session, &[digest], &[]).await.unwrap();
        while let Closed::Pending(wait) = closed {
            tokio::time::sleep(wait.min(Duration::from_millis(100))).await;
            closed = match self.remote.held(&self.session).await.unwrap() {
                State::Checking(wait) => Closed::Pending(wait),
                State::Done(published) => Closed::Published(published),
                other => panic!("neither done nor being checked: {other:?}"),
            };
        }
        closed
    }

    /// Closes, and fails unless the content is published.
    async fn arrives(&self) {
        let digest = self.content.hashed(Algorithm::Crc64Nvme);
        let Closed::Published(published) = self.close_as(digest).await else {
            panic!("{} is not published", self.name)
        };
        // A file may be called by its upload's URL.
        let own = self.session.text("upload").is_some_and(|upload| published.place.as_str() == upload);
        let form = self.target.dialect().is_some();
        assert!(own || form || published.place.path().ends_with(self.name), "{}", published.place);
        assert!(
            self.target.stored(self.name, Some(&published.place)).as_deref() == Some(&self.content.bytes()),
            "{} is not the content",
            self.name
        );
        let again = self.remote.held(&self.session).await.unwrap();
        assert!(matches!(again, State::Done(_)), "a finished upload keeps answering: {again:?}");
    }

    fn unpublished(&self) {
        assert_eq!(self.target.stored(self.name, None), None, "{} is published", self.name);
    }
}

async fn connect(target: &dyn Target, name: &str, saved: Option<&Session>) -> Rc<dyn Remote> {
    let url: url::Url = target.url(name).parse().unwrap();
    let base = target.base(&url);
    let destination = Destination { url, base, access: Access::default() };
    let dialect = target.dialect().map(|name| Given {
        name: name.into(),
        text: library::text(name).unwrap().into(),
        embedded: true,
    });
    let part = Some(CHUNK).filter(|_| dialect.is_some());
    let manner = Manner { protocol: target.protocol(), connections: Some(1), dialect, part, ..Manner::default() };
    Remotes::new(Rc::new(Net::new(Default::default())), manner).choose(destination, saved).await.unwrap()
}

/// How many bytes the remote says that it holds.
fn held(held: &Held) -> Option<u64> {
    match held {
        Held::Bytes(set) => Some(set.len()),
        Held::Prefix(length) => Some(*length),
        Held::Unknown => None,
    }
}

/// All that is asked of every protocol.
fn conforms(target: &dyn Target) {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        in_order(&world, target).await;
        empty(&world, target).await;
        let length = target.length();
        if connect(target, "one-request", None).await.chunk_size(length) == Some(length) {
            return in_one_request(&world, target).await;
        }
        out_of_order(&world, target).await;
        twice(&world, target).await;
        stopped_and_reopened(&world, target).await;
        if target.dialect().is_some() {
            // A form has no words for what is missing, and none to be forgotten by.
            return;
        }
        a_lying_size(&world, target).await;
        if target.compares() {
            a_wrong_whole(&world, target).await;
            a_damaged_part(&world, target).await;
            replaced(&world, target).await;
        }
        abandoned(&world, target).await;
        opened_twice(&world, target).await;
    });
}

async fn in_order(world: &World, target: &dyn Target) {
    let hand = Hand::new(world, target, "in-order", target.length()).await;
    hand.put_all(&hand.parts()).await;
    hand.arrives().await;
}

async fn empty(world: &World, target: &dyn Target) {
    Hand::new(world, target, "empty", 0).await.arrives().await;
}

/// What is asked where a file goes in one request: nothing counts before all of it has come.
async fn in_one_request(world: &World, target: &dyn Target) {
    let mut hand = Hand::new(world, target, "one-request", target.length()).await;
    let State::Open(standing) = hand.reopen().await else { panic!("it is not open any more") };
    assert_eq!(held(&standing.held).unwrap_or(0), 0);
    hand.unpublished();
    let whole = hand.layout.whole();
    assert_eq!((hand.put(whole).await, hand.put(whole).await), (Put::Stored(whole), Put::Stored(whole)));
    hand.arrives().await;
}

async fn out_of_order(world: &World, target: &dyn Target) {
    let hand = Hand::new(world, target, "out-of-order", target.length()).await;
    let mut parts = hand.parts();
    parts.reverse();
    parts.swap(1, 5);
    if hand.remote.terms().order == Order::Any {
        hand.put_all(&parts).await;
        return hand.arrives().await;
    }
    if target.dialect().is_some() {
        // Who appends does not notice; that nobody sends so is the engine's to see to.
        return;
    }
    let answer = hand.put(parts[0]).await;
    assert!(matches!(answer, Put::Conflict(_)), "{answer:?}");
}

async fn twice(world: &World, target: &dyn Target) {
    let hand = Hand::new(world, target, "twice", target.length()).await;
    let parts = hand.parts();
    if hand.remote.terms().repeat == remote::Repeat::Safe && hand.remote.terms().order == Order::Any {
        for range in &parts {
            assert_eq!((hand.put(*range).await, hand.put(*range).await), (Put::Stored(*range), Put::Stored(*range)));
        }
        hand.arrives().await;
        let digest = hand.content.hashed(Algorithm::Crc64Nvme);
        assert!(matches!(hand.close_as(digest).await, Closed::Published(_)), "closing twice is closing once");
    }
}

async fn stopped_and_reopened(world: &World, target: &dyn Target) {
    let mut hand = Hand::new(world, target, "reopened", target.length()).await;
    let parts = hand.parts();
    hand.put_all(&parts[..5]).await;
    let State::Open(standing) = hand.reopen().await else { panic!("it is not open any more") };
    let sent: u64 = parts[..5].iter().map(ByteRange::len).sum();
    assert!(held(&standing.held).is_none_or(|held| held == sent), "{standing:?}, {sent} were stored");
    if let Some(digests) = hand.remote.digests() {
        let told = digests.digests(&hand.session, &onward::byteset::ByteSet::parse("0-4").unwrap()).await.unwrap();
        let sum =
            |index: u64| (index, Crc::of(&hand.content.part(index * target.chunk(), (index + 1) * target.chunk())).sum);
        assert_eq!(told, [sum(0), sum(1)], "the digests of the chunks held whole");
    }
    hand.put_all(&parts[5..]).await;
    hand.arrives().await;
}

async fn a_lying_size(world: &World, target: &dyn Target) {
    if connect(target, "lying", None).await.by_content().is_some() {
        // What is not there has no content to be called by.
        return;
    }
    let hand = Hand::lying(world, target, "lying", target.length(), target.length() + 2 * target.chunk()).await;
    let chunks = hand.layout.split(ByteRange::new(0, 5 * target.chunk())).collect::<Vec<_>>();
    hand.put_all(&chunks).await;
    let closed = hand.close_as(hand.content.hashed(Algorithm::Crc64Nvme)).await;
    let Closed::Missing(missing) = closed else { panic!("what never came is not missed: {closed:?}") };
    assert_eq!(
        missing.runs().collect::<Vec<_>>(),
        [ByteRange::new(5 * target.chunk(), target.length() + 2 * target.chunk())]
    );
    hand.unpublished();
}

async fn a_wrong_whole(world: &World, target: &dyn Target) {
    let hand = Hand::new(world, target, "wrong", target.length()).await;
    hand.put_all(&hand.parts()).await;
    let closed = hand.close_as(hand.content.flipped(7).hashed(Algorithm::Crc64Nvme)).await;
    assert!(matches!(closed, Closed::Suspect(_)), "{closed:?}");
    hand.unpublished();
    hand.arrives().await;
}

async fn a_damaged_part(world: &World, target: &dyn Target) {
    let hand = Hand::new(world, target, "damaged", target.length()).await;
    let range = ByteRange::new(0, 1000);
    assert_eq!(hand.put_as(range, Crc { sum: 1, len: 1000 }, &hand.file, false).await, Put::Damaged);
    let State::Open(standing) = hand.remote.held(&hand.session).await.unwrap() else { panic!("it is not open") };
    assert!(held(&standing.held).is_none_or(|held| held == 0), "damaged bytes count: {standing:?}");
    hand.put_all(&hand.parts()).await;
    hand.arrives().await;
}

async fn replaced(world: &World, target: &dyn Target) {
    let mut hand = Hand::new(world, target, "replaced", target.length()).await;
    if !hand.remote.terms().replace {
        return;
    }
    let parts = hand.parts();
    hand.put_all(&parts).await;
    let changed = hand.content.flipped(100);
    changed.write_to(&world.path("replaced.new"));
    let file = Arc::new(File::open(world.path("replaced.new")).unwrap());
    let (first, crc) = (parts[0], Crc::of(&changed.part(parts[0].start, parts[0].end)));
    assert_eq!(hand.put_as(first, crc, &file, false).await, Put::Differs);
    assert_eq!(hand.put_as(first, crc, &file, true).await, Put::Stored(first));
    hand.content = changed;
    // A replacement may cost the rest of its chunk; it is sent again then.
    let rest = ByteRange::new(first.end, target.chunk());
    assert_eq!(hand.put(rest).await, Put::Stored(rest));
    hand.arrives().await;
}

async fn abandoned(world: &World, target: &dyn Target) {
    let hand = Hand::new(world, target, "abandoned", target.length()).await;
    let parts = hand.parts();
    hand.put_all(&parts[..3]).await;
    hand.remote.abandon(&hand.session).await.unwrap();
    hand.remote.abandon(&hand.session).await.unwrap();
    assert_eq!(hand.remote.held(&hand.session).await.unwrap(), State::Gone);
    match hand.put(parts[3]).await {
        Put::Ambiguous(_) if !target.tells_gone() => {
            assert_eq!(hand.remote.held(&hand.session).await.unwrap(), State::Gone);
        }
        answer => assert_eq!(answer, Put::Gone),
    }
    hand.unpublished();
}

/// A lost answer to the opening leaves no orphan: the same session opened again is the same upload.
async fn opened_twice(world: &World, target: &dyn Target) {
    let mut hand = Hand::new(world, target, "opened-twice", target.length()).await;
    let parts = hand.parts();
    hand.put_all(&parts[..2]).await;
    if !hand.remote.finds_again() {
        return;
    }
    hand.session.0.remove("upload");
    let State::Open(standing) = hand.reopen().await else { panic!("it is not open any more") };
    let sent: u64 = parts[..2].iter().map(ByteRange::len).sum();
    assert!(held(&standing.held).is_none_or(|held| held == sent), "{standing:?}");
    hand.put_all(&parts[2..]).await;
    hand.arrives().await;
}

#[test]
fn the_handshake_with_serve() {
    let world = World::new();
    conforms(&Receiver::start(&world));
}

#[test]
fn the_handshake_with_a_receiver_written_from_the_document() {
    conforms(&peer::Receiver::honest());
}

#[test]
fn check_file_with_a_scripted_page() {
    conforms(&Forms::new("check-file"));
}

#[test]
fn form_sequence_with_a_scripted_page() {
    conforms(&Forms::new("form-sequence"));
}

#[test]
fn resumable_with_a_scripted_page() {
    conforms(&Forms::new("resumable"));
}

#[test]
fn tus_with_serve() {
    let world = World::new();
    conforms(&Growing(Receiver::start(&world), Protocol::Tus));
}

#[test]
fn the_ietf_s_protocol_with_serve() {
    let world = World::new();
    conforms(&Growing(Receiver::start(&world), Protocol::Ietf));
}

#[test]
fn the_ietf_s_protocol_with_a_server_written_from_the_draft() {
    conforms(&growing_peer::Peer::honest(growing_peer::IETF));
}

#[test]
fn tus_with_servers_of_others() {
    for start in [tus_servers::tus_node, tus_servers::tus_py, tus_servers::seaweedfs] {
        let world = World::new();
        if let Some(tus) = start(&world) {
            conforms(&Foreign(&world, tus));
        }
    }
}

#[test]
fn put_range_with_apache() {
    let world = World::new();
    if let Some(shelf) = fileservers::apache(&world) {
        conforms(&shelf);
    }
}

#[test]
fn put_range_with_lighttpd() {
    let world = World::new();
    if let Some(shelf) = fileservers::lighttpd(&world) {
        conforms(&shelf);
    }
}

#[test]
fn plain_put_with_nginx() {
    let world = World::new();
    if let Some(shelf) = fileservers::nginx(&world) {
        conforms(&shelf);
    }
}

#[test]
fn up2k_with_copyparty() {
    let world = World::new();
    if let Some(shelf) = fileservers::copyparty(&world) {
        conforms(&shelf);
    }
}

#[test]
fn patch_with_dufs_and_sabredav_as_documented() {
    conforms(&shelf_peer::Peer::start(Flavour::Dufs));
    conforms(&shelf_peer::Peer::start(Flavour::Sabre));
}
