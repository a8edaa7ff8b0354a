//! Asks until there is an answer: the one loop that sleeps between tries, and the voice that tells about it.

use crate::engine::Stop;
use crate::engine::outlook;
use crate::engine::retry::{Backoff, Change, Next, Pause, Policy, jitter};
use crate::event::{Event, FileId, Observer};
use crate::fault::{Fault, Kind};
use std::sync::Arc;
use std::time::Duration;

/// Tells the observer about one file.
#[derive(Clone)]
pub struct Voice {
    file: FileId,
    observer: Arc<dyn Observer>,
}

impl Voice {
    /// The voice of `file`.
    pub fn new(file: FileId, observer: Arc<dyn Observer>) -> Self {
        Self { file, observer }
    }

    /// Tells one thing.
    pub fn tell(&self, event: Event) {
        self.observer.on(self.file, &event);
    }

    /// Something the user should know.
    pub fn warn(&self, text: impl Into<String>) {
        self.tell(Event::Warning { text: text.into() });
    }

    /// Something for those who want to know more.
    pub fn detail(&self, text: impl Into<String>) {
        self.tell(Event::Detail { text: text.into() });
    }
}

/// How often was tried, and whether to try again.
pub struct Patience {
    backoff: Backoff,
    stop: Stop,
    voice: Voice,
}

impl Patience {
    /// By `policy`, until `stop`.
    pub fn new(policy: Policy, stop: Stop, voice: Voice) -> Self {
        Self { backoff: Backoff::new(policy), stop, voice }
    }

    /// Something moved.
    pub fn progress(&mut self) {
        self.backoff.progress();
    }

    /// How long to wait after `fault`, told to the observer; the fault again when it is over.
    pub fn wait_after(&mut self, fault: Fault) -> Result<Duration, Fault> {
        match self.backoff.after(&fault, jitter()) {
            Next::Stop => Err(fault),
            Next::Wait(wait) => {
                self.voice.tell(Event::Retry { error: fault, wait, attempt: self.backoff.failed() });
                Ok(wait)
            }
        }
    }

    /// A wait is over: after a change tries are counted from the beginning.
    pub fn waited(&mut self, pause: &Pause) {
        if pause.change().is_some() {
            self.backoff.progress();
            self.tell_of(pause.change());
        }
    }

    fn tell_of(&self, change: Option<Change>) {
        if let Some(change) = change {
            self.voice.detail(outlook::told(change));
        }
    }

    /// `work`, unless the run is stopped first.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            () = self.stop.wait() => Err(stopped()),
            done = work => Ok(done),
        }
    }

    /// Asks until there is an answer, or no use in asking.
    pub async fn insist<T>(&mut self, ask: impl AsyncFn() -> Result<T, Fault>) -> Result<T, Fault> {
        loop {
            match self.unless_stopped(ask()).await? {
                Ok(answer) => return Ok(answer),
                Err(fault) => {
                    let asked = fault.wait;
                    let wait = self.wait_after(fault)?;
                    let mut backoff = self.backoff.clone();
                    let change = self.unless_stopped(outlook::rest(&mut backoff, wait, asked)).await?;
                    self.backoff = backoff;
                    self.tell_of(change);
                }
            }
        }
    }
}

/// The fault that the run was stopped.
pub fn stopped() -> Fault {
    Fault::new(Kind::Interrupted, "stopped")
}
