//! What every transferring command does alike: one runtime on this thread, one deadline, one token to stop by.

use crate::config::Link;
use crate::engine::Stop;
use crate::engine::retry::Policy;
use crate::fault::{Fault, Kind};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Runs `work` on the runtime that was measured fastest for one machine's transfers: a single thread.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(|e| Fault::new(Kind::Other, format!("cannot start: {e}")))?;
    let outcome = runtime.block_on(work);
    // A thread that still syncs or hashes must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(outcome)
}

/// After `stop`, what is still to be saved gets this long: the records are written first, and whoever pressed Ctrl-C
/// waits no longer than that for a disk that does not answer.
const LAST_SAVES: Duration = Duration::from_millis(1700);

/// Like [`block_on`], but once `stop` is tripped `work` has only a moment to wind up.
pub fn block_on_until<T>(stop: &Stop, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let over = async {
        stop.wait().await;
        tokio::time::sleep(LAST_SAVES).await;
    };
    block_on(async {
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = over => Err(Fault::new(Kind::Interrupted, "stopped while the disk was still saving")
                .kept("what the records say is kept")),
        }
    })?
}

/// The deadline of `--max-time`: trips the token when it is over, and is known as the reason afterwards.
#[derive(Clone, Default)]
pub struct Deadline(Rc<Cell<bool>>);

impl Deadline {
    /// Starts the clock. Must be called on the runtime.
    pub fn start(link: &Link, stop: &Stop) -> Self {
        let deadline = Self::default();
        if let Some(time) = link.max_time {
            let (stop, over) = (stop.clone(), deadline.0.clone());
            tokio::task::spawn_local(async move {
                tokio::time::sleep(time).await;
                over.set(true);
                stop.trip();
            });
        }
        deadline
    }

    /// A fault as the user is to see it: stopped by the clock, not by a signal.
    pub fn name(&self, fault: Fault) -> Fault {
        match self.0.get() && fault.kind == Kind::Interrupted {
            true => Fault { kind: Kind::OutOfTime, what: "the time of --max-time is over".into(), ..fault },
            false => fault,
        }
    }
}

/// The retry policy that `link` asks for.
pub fn policy(link: &Link) -> Policy {
    Policy { tries: link.retries, ..Policy::default() }
}
