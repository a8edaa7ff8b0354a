//! SIGINT, SIGTERM and SIGHUP: the first trips the [`Stop`] token, so that the command commits and says how to go
//! on; a second one ends the process at once. Either way it ends *by the signal*, with the default action
//! restored, because that is how a shell knows that its loop is to stop too.
//!
//! They are waited for on a thread of its own: the transfer's thread may be in the middle of a write.

use crate::engine::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals as Incoming;
use signal_hook::low_level::emulate_default_handler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whether the reader of our output has gone away.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// Whoever read what this process writes has gone away: once all is said it ends as by SIGPIPE, which is how a shell
/// knows that its pipe was closed.
pub fn reader_gone() {
    READER_GONE.store(true, Ordering::SeqCst);
}

/// The watch over the signals of this process.
pub struct Signals {
    stop: Stop,
    caught: Arc<AtomicI32>,
}

impl Signals {
    /// Begins to watch. Where that cannot be, signals keep their default action, which is safe too.
    pub fn watch() -> Self {
        let watch = Self { stop: Stop::new(), caught: Arc::default() };
        let ignored = ignored_signals();
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        if let Ok(mut incoming) = Incoming::new(wanted) {
            let (stop, caught) = (watch.stop.clone(), watch.caught.clone());
            std::thread::spawn(move || {
                for signal in incoming.forever() {
                    if caught.swap(signal, Ordering::SeqCst) != 0 {
                        let _ = emulate_default_handler(signal);
                    }
                    stop.trip();
                }
            });
        }
        watch
    }

    /// The token that the first signal trips.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Ends the process by the signal that was caught; returns when there was none.
    pub fn raise_again(&self) {
        match self.caught.load(Ordering::SeqCst) {
            0 if READER_GONE.load(Ordering::SeqCst) => drop(emulate_default_handler(SIGPIPE)),
            0 => {}
            signal => drop(emulate_default_handler(signal)),
        }
    }
}

/// The mask of signals that whoever started us has switched off, as `nohup` does for SIGHUP and a shell for the
/// SIGINT of its background jobs: they stay off. Known on Linux only.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
