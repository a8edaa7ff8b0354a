//! All that is under way to the remote, and what was learned about the line: pieces, what has left of each, the wait after
//! a failure.

use super::Upload;
use super::plan::{Connections, Queue};
use crate::chunk::ByteRange;
use crate::digest::Crc;
use crate::engine::outlook::Outlook;
use crate::engine::pace::Pace;
use crate::engine::retry::Pause;
use crate::fault::Fault;
use crate::net::{Gauge, Warm};
use crate::record::Stamp;
use crate::remote::{Part, Put};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// Counts what goes out, for all pieces of one upload.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) moved: AtomicU64,
    pub(super) handed: Notify,
}

/// Counts what goes out of one piece, and holds it to the rate.
pub(super) struct Valve {
    pub(super) flow: Arc<Flow>,
    pub(super) pace: Pace,
    pub(super) sent: AtomicU64,
    pub(super) length: u64,
}

impl Valve {
    pub(super) fn is_through(&self) -> bool {
        self.sent.load(Ordering::Relaxed) >= self.length
    }
}

impl Gauge for Valve {
    fn pass(&self, bytes: usize) -> Duration {
        self.flow.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 >= self.length {
            self.flow.handed.notify_one();
        }
        self.pace.pass(bytes)
    }

    fn frame(&self, most: usize) -> usize {
        self.pace.frame(most)
    }
}

/// The first piece, on its way along with the opening.
pub(super) struct Front {
    pub(super) part: Part,
    pub(super) valve: Arc<Valve>,
}

impl Front {
    /// How many of its bytes have left.
    pub(super) fn sent(&self) -> u64 {
        self.valve.sent.load(Ordering::Relaxed)
    }
}

/// One piece under way.
pub(super) struct Flight {
    pub(super) range: ByteRange,
    pub(super) crc: Crc,
    pub(super) valve: Arc<Valve>,
    pub(super) since: Instant,
}

/// The sum of the piece that is probably next, read while the one before it goes out.
pub(super) struct Ahead {
    pub(super) range: ByteRange,
    /// The version of the source it is read from.
    pub(super) stamp: Stamp,
    pub(super) sum: JoinHandle<io::Result<(Crc, Warm)>>,
}

/// All that is under way, and what was learned about the line.
pub(super) struct Sky {
    pub(super) ahead: Option<Ahead>,
    pub(super) tasks: JoinSet<(u64, Result<Put, Fault>)>,
    pub(super) flights: BTreeMap<u64, Flight>,
    pub(super) flow: Arc<Flow>,
    pub(super) counted: u64,
    pub(super) next: u64,
    pub(super) connections: Connections,
    pub(super) queue: Queue,
    /// Nothing is sent before this is over.
    pub(super) pause: Option<Pause>,
    pub(super) outlook: Outlook,
    pub(super) begun: Instant,
    pub(super) saved: Instant,
    pub(super) dirty: bool,
    /// A piece was refused as too large (413), and no smaller one has passed yet.
    pub(super) refused: bool,
}

impl Sky {
    pub(super) fn busy(&self, upload: &Upload<'_>) -> BTreeSet<u64> {
        let layout = upload.ledger.layout();
        self.flights.values().map(|flight| layout.index_of(flight.range.start)).collect()
    }

    pub(super) fn sending(&self) -> usize {
        self.flights.values().filter(|flight| !flight.valve.is_through()).count()
    }

    pub(super) fn has_room(&self) -> bool {
        let most = self.connections.now();
        self.flights.len() < 2 * most && self.sending() < most
    }

    pub(super) fn wait(&mut self, wait: Duration, asked: Option<Duration>) {
        let now = self.outlook.scene();
        let pause = Pause::new(wait, asked, now);
        self.pause = Some(match self.pause.take() {
            Some(before) => before.or_longer(pause, &now),
            None => pause,
        });
    }
}
