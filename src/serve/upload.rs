//! One upload as the server has it in memory: what it is, where it stands, and whose turn it is to write which chunk.

use super::known::Entry;
use super::receipt::Receipt;
use crate::byteset::ByteSet;
use crate::chunk::Layout;
use crate::digest::{Algorithm, Digest};
use crate::partial::{Follower, PartialFile};
use crate::record::IfExists;
use crate::wire::handshake::{Complete, Digests, Id, Problem, Reason};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, watch};

/// A writer that got no byte for so long gives way to another.
const STALLED: Duration = Duration::from_secs(5);
/// How long somebody waits for a writer that was told to give way.
const GIVE_WAY: Duration = Duration::from_secs(2);

/// The length that an upload is taken to have whose own is not known yet: no file is longer.
pub const NO_END: u64 = u64::MAX / 2;

/// The protocol of an upload that grows from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// tus 1.0.0.
    Tus,
    /// The IETF's resumable upload.
    Ietf,
}

/// What such an upload has beside the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Who made it.
    pub protocol: Protocol,
    /// What the client said of the file, as it said it (tus).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// `partial`, or `final;` and the URLs of the parts (tus).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concat: Option<String>,
    /// The entity tag of the one version of a finished file that it may replace, where the client said so (IETF).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// What the client says the whole is (IETF).
    #[serde(default, skip_serializing_if = "Digests::is_empty")]
    pub digests: Digests,
}

impl Line {
    /// What every upload by this protocol has.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, metadata: String::new(), concat: None, replaces: None, digests: Digests::default() }
    }

    /// Whether it is a part of a file, which gets no name of its own.
    pub fn is_part(&self) -> bool {
        self.concat.as_deref() == Some("partial")
    }

    /// Whether it is joined from parts, so that nobody sends its bytes.
    pub fn is_joined(&self) -> bool {
        self.concat.is_some() && !self.is_part()
    }

    /// The uploads it is joined from, by the ids in their URLs.
    pub fn parts(&self) -> impl Iterator<Item = Id> {
        let urls = self.concat.as_deref().and_then(|concat| concat.strip_prefix("final;")).unwrap_or_default();
        urls.split_ascii_whitespace().filter_map(|url| Id::parse(url.rsplit('/').next()?))
    }
}

/// What never changes of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its id, the secret part of its URL.
    pub id: Id,
    /// Whose it is.
    pub domain: String,
    /// The client's key.
    pub key: Id,
    /// The folder its name is relative to, below the root; empty for the root.
    pub folder: String,
    /// The name told at *begin*.
    pub name: String,
    /// How the file is cut; [`NO_END`] long while nobody knows better ([`Upload::layout`]).
    pub layout: Layout,
    /// When the source was last changed, as the client told.
    pub modified: Option<String>,
    /// Digests to be computed beside the transfer.
    pub want: Vec<Algorithm>,
    /// For uploads that grow from their beginning; `None`: the handshake's.
    pub line: Option<Line>,
}

/// One upload.
pub struct Upload {
    /// What never changes.
    pub head: Head,
    /// What changes without anybody waiting for the disk.
    facts: Mutex<Facts>,
    /// Where it stands; locked while that changes.
    pub phase: tokio::sync::Mutex<Phase>,
    /// How many requests are at it.
    users: AtomicUsize,
}

/// The quickly changing part of an upload.
pub struct Facts {
    /// What to do when the name is taken.
    pub if_exists: IfExists,
    /// The MD5 the client told.
    pub md5: Option<Digest>,
    /// When the client was last heard of.
    pub touched: SystemTime,
    /// Whether any byte has arrived.
    pub begun: bool,
    /// The offer that waits for its proof.
    pub offer: Option<Offered>,
    /// What the last check was asked for.
    pub asked: Option<Complete>,
    /// Why the last check failed, while nobody has been told; gone with the next byte.
    pub untold: Option<Problem>,
    /// The length, where it was told after the beginning.
    pub length: Option<u64>,
    /// The client has said that no more will come.
    pub ended: bool,
    /// Its bytes have become a part of a finished file.
    pub joined: bool,
    /// Chunks that are being written.
    writers: HashMap<u64, Arc<Turn>>,
}

/// An offer of equal content.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Its nonce.
    pub nonce: Id,
    /// The bytes to be proven.
    pub ranges: ByteSet,
    /// Where the content is.
    pub candidate: Candidate,
}

/// Content that may be equal.
#[derive(Debug, Clone)]
pub enum Candidate {
    /// A finished file, in this version.
    Finished(Entry),
    /// Another unfinished upload of the same domain.
    Unfinished(Id),
}

/// Shows how a check ended, once it has.
pub type Over = watch::Receiver<Option<Result<(), Problem>>>;

/// Where an upload stands.
pub enum Phase {
    /// On the disk, nobody is at it.
    Closed,
    /// Its file is open.
    Open(Opened),
    /// It is being checked; the outcome will be seen here.
    Checking(PartialFile, Over),
    /// Finished.
    Done(Arc<Receipt>),
    /// Given up.
    Gone,
}

/// An open file.
pub struct Opened {
    /// The file.
    pub file: PartialFile,
    /// Whoever hashes it as it grows, when somebody wanted that.
    pub follower: Option<Follower>,
    /// When it was last asked for.
    pub used: Instant,
}

/// A use of an upload: while there is one, its file is not closed.
pub struct Use(Arc<Upload>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The right to write one chunk, until it is dropped.
pub struct ChunkTurn {
    upload: Arc<Upload>,
    index: u64,
    turn: Arc<Turn>,
}

/// One writer as others see it.
pub struct Turn {
    /// When it last got bytes.
    beat: Mutex<Instant>,
    /// Told to give way.
    pub yields: Notify,
    /// Notified when it is over.
    over: Notify,
}

impl ChunkTurn {
    /// Bytes came.
    pub fn beat(&self) {
        *self.turn.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Resolves when this writer is to give way.
    pub async fn must_yield(&self) {
        self.turn.yields.notified().await;
    }
}

impl Drop for ChunkTurn {
    fn drop(&mut self) {
        let mut facts = self.upload.facts();
        if facts.writers.get(&self.index).is_some_and(|turn| Arc::ptr_eq(turn, &self.turn)) {
            facts.writers.remove(&self.index);
        }
        drop(facts);
        self.turn.over.notify_one();
    }
}

impl Upload {
    /// An upload as it is put on the shelf.
    pub fn new(
        head: Head,
        if_exists: IfExists,
        md5: Option<Digest>,
        touched: SystemTime,
        begun: bool,
        phase: Phase,
    ) -> Self {
        let facts = Facts {
            if_exists,
            md5,
            touched,
            begun,
            offer: None,
            asked: None,
            untold: None,
            length: None,
            ended: false,
            joined: false,
            writers: HashMap::new(),
        };
        Self { head, facts: Mutex::new(facts), phase: tokio::sync::Mutex::new(phase), users: AtomicUsize::new(0) }
    }

    /// The quickly changing part. Never held across an await.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The length in bytes, once it is known.
    pub fn length(&self) -> Option<u64> {
        let told = self.facts().length;
        told.or_else(|| (self.head.layout.length() != NO_END).then_some(self.head.layout.length()))
    }

    /// How the file is cut.
    pub fn layout(&self) -> Layout {
        Layout::new(self.length().unwrap_or(NO_END), self.head.layout.chunk_size())
    }

    /// What never changes, with the length that was told since.
    pub fn head_now(&self) -> Head {
        Head { layout: self.layout(), ..self.head.clone() }
    }

    /// Begins a use.
    pub fn in_use(self: &Arc<Self>) -> Use {
        self.users.fetch_add(1, Ordering::SeqCst);
        Use(self.clone())
    }

    /// Whether any request is at it.
    pub fn is_used(&self) -> bool {
        self.users.load(Ordering::SeqCst) > 0
    }

    /// Whether any chunk is being written.
    pub fn has_writers(&self) -> bool {
        !self.facts().writers.is_empty()
    }

    /// The client was heard of; `bytes`: some arrived.
    pub fn touch(&self, bytes: bool) {
        let mut facts = self.facts();
        facts.touched = SystemTime::now();
        facts.begun |= bytes;
        if bytes {
            facts.untold = None;
        }
    }

    /// The right to write chunk `index`. A writer that has stalled is told to give way.
    pub async fn turn(self: &Arc<Self>, index: u64) -> Result<ChunkTurn, Box<Problem>> {
        let busy =
            || Box::new(Problem::new(Reason::Busy, format!("chunk {index} is being written by another request")));
        for _ in 0..2 {
            let other = {
                let mut facts = self.facts();
                match facts.writers.get(&index) {
                    Some(other) => other.clone(),
                    None => {
                        let turn = Arc::new(Turn {
                            beat: Mutex::new(Instant::now()),
                            yields: Notify::new(),
                            over: Notify::new(),
                        });
                        facts.writers.insert(index, turn.clone());
                        return Ok(ChunkTurn { upload: self.clone(), index, turn });
                    }
                }
            };
            if other.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < STALLED {
                return Err(busy());
            }
            other.yields.notify_one();
            let _ = tokio::time::timeout(GIVE_WAY, other.over.notified()).await;
        }
        Err(busy())
    }

    /// Stops all who write.
    pub async fn stop_writers(&self) {
        let turns: Vec<Arc<Turn>> = self.facts().writers.values().cloned().collect();
        for turn in turns {
            turn.yields.notify_one();
            let _ = tokio::time::timeout(GIVE_WAY, turn.over.notified()).await;
        }
    }
}
