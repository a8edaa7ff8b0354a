//! The MD5 of the whole, computed while bytes move and told to a remote that may have that content already: an offer to
//! save work.

use super::local::Beside;
use super::sky::Sky;
use super::{Step, Upload};
use crate::digest::Algorithm;
use crate::fault::Fault;
use crate::remote::State;
use std::time::{Duration, Instant};

/// How fast a whole is hashed, about, in bytes a second: where the line is faster, no identity is worth its reading.
const HASH_RATE: f64 = 400e6;
/// The line's speed is known well enough after this time.
const LINE_KNOWN: Duration = Duration::from_secs(1);

impl Upload<'_> {
    /// Hashes the whole beside the transfer where that is done long before the transfer is, and tells the remote.
    pub(super) async fn identity(&mut self, sky: &mut Sky, now: Instant) -> Result<Option<Step>, Fault> {
        if self.remote.identify().is_none() || self.identified {
            return Ok(None);
        }
        let Some(beside) = &mut self.beside else {
            if now.saturating_duration_since(sky.begun) >= LINE_KNOWN && self.worth_hashing(now) {
                let algorithms = [Algorithm::Md5, Algorithm::Sha256];
                self.beside = Some(Beside::start(&self.source, &algorithms, &self.record.prefix));
            }
            return Ok(None);
        };
        let Some(digests) = beside.ready() else { return Ok(None) };
        self.identified = true;
        self.digests = digests.map_err(|e| self.source.fault(&e))?;
        self.identify().await
    }

    fn worth_hashing(&mut self, now: Instant) -> bool {
        let rate = self.meter.rate(now) as f64;
        let left = self.source.length().saturating_sub(self.ledger.held().len()) as f64;
        let hashing = self.source.length() as f64 / HASH_RATE;
        self.digests.is_empty() && rate > 0.0 && left / rate > 2.0 * hashing
    }

    /// Tells the remote the MD5. It is an offer to save work: a failure changes nothing.
    async fn identify(&mut self) -> Result<Option<Step>, Fault> {
        let Some(md5) = self.digest(Algorithm::Md5).cloned() else { return Ok(None) };
        let (remote, session) = (self.remote.clone(), self.session.clone());
        let Some(identify) = remote.identify() else { return Ok(None) };
        match self.patience.unless_stopped(identify.identify(&session, &md5)).await? {
            Ok(State::Open(standing)) => match &standing.claim {
                Some(claim) => self.take_up(claim).await,
                None => Ok(None),
            },
            Ok(State::Done(published)) => Ok(Some(Step::Done(published))),
            Ok(_) => Ok(None),
            Err(fault) => {
                self.voice.detail(format!("the server did not take the MD5: {fault}"));
                Ok(None)
            }
        }
    }
}
