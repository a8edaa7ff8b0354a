//! *finish*: the whole is checked and published, and whoever cannot wait for that is told to ask again.

use super::{Handler, Outcome, problem};
use crate::digest::Digest;
use crate::serve::check::{self, Content, Order};
use crate::serve::reply::{self, Reply, field, retry_after};
use crate::serve::upload::{Over, Phase, Upload};
use crate::wire::content_range::number;
use crate::wire::handshake::{Complete, DIGESTS, Digests, Reason, State, Status, wanted};
use crate::wire::names;
use http::StatusCode;
use http::header::LOCATION;
use http::request::Parts;
use std::sync::Arc;
use std::time::Duration;

impl Handler<'_> {
    /// *finish*.
    pub(super) async fn finish(&self, upload: &Arc<Upload>, complete: Complete, patience: Duration) -> Outcome<Reply> {
        upload.touch(false);
        let target = self.target(upload, complete.name.as_deref())?;
        if !complete.digests.0.iter().any(|digest| DIGESTS.contains(&digest.algorithm)) {
            return problem(Reason::DigestRequired, "a digest of the whole is needed: crc64nvme, sha-256 or md5");
        }
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let over = match (&mut *phase, file) {
            (Phase::Done(receipt), _) => {
                let status = self.finished(upload, receipt);
                agrees(&complete.digests, &receipt.digests)?;
                return Ok(done(StatusCode::CREATED, &status));
            }
            (Phase::Checking(_, over), _) => over.clone(),
            (Phase::Open(opened), Some(file)) => {
                // The end of a check that nobody waited for: told once, before the same is checked again.
                let (untold, asked) = {
                    let mut facts = upload.facts();
                    (facts.untold.take(), facts.asked.replace(complete.clone()))
                };
                if let Some(problem) = untold.filter(|_| asked.as_ref() == Some(&complete)) {
                    return Err(Box::new(problem));
                }
                let held = file.held();
                if !held.contains(upload.head.layout.whole()) {
                    return Err(check::incomplete(&upload.head.layout, &held));
                }
                if upload.has_writers() {
                    return problem(Reason::Busy, "chunks are being written");
                }
                let (digests, want) = (complete.digests.clone(), wanted(&complete.want));
                let content = Content::Sent { digests, want, follower: opened.follower.take() };
                check::start(self.store, upload, &mut phase, file, Order { target, content })
            }
            _ => return problem(Reason::UnknownUpload, "it is gone"),
        };
        drop(phase);
        self.wait(upload, over, StatusCode::CREATED, patience).await
    }

    fn target(&self, upload: &Arc<Upload>, name: Option<&str>) -> Outcome<Vec<String>> {
        let target = check::parts_of(&upload.head.folder, name.unwrap_or(&upload.head.name));
        let told = name.map_or(Ok(()), |name| names::parts(name.strip_prefix('/').unwrap_or(name)).map(drop));
        match told.and_then(|()| names::parts(&target.join("/")).map(drop)) {
            Ok(()) => Ok(target),
            Err(e) => problem(Reason::BadName, e.to_string()),
        }
    }

    /// Waits a while for the end of a check, then says that it goes on.
    pub(super) async fn wait(
        &self,
        upload: &Arc<Upload>,
        mut over: Over,
        status: StatusCode,
        patience: Duration,
    ) -> Outcome<Reply> {
        let ended = match tokio::time::timeout(patience, over.wait_for(Option::is_some)).await {
            Ok(ended) => ended.ok().and_then(|verdict| verdict.clone()),
            Err(_) => {
                let mut reply = reply::json(StatusCode::ACCEPTED, &self.bare(upload, State::Verifying));
                retry_after(&mut reply, Duration::from_secs(1));
                return Ok(reply);
            }
        };
        upload.facts().untold = None;
        match ended {
            Some(Ok(())) => Ok(done(status, &self.status(upload).await?)),
            Some(Err(problem)) => Err(Box::new(problem)),
            None => problem(Reason::Server, "the check ended early"),
        }
    }
}

fn done(status: StatusCode, document: &Status) -> Reply {
    let mut reply = reply::json(status, document);
    if let Some(file) = &document.file {
        field(&mut reply, LOCATION, file);
    }
    reply
}

/// Whether the digests of a repeated *finish* are those of the file.
fn agrees(told: &Digests, known: &Digests) -> Outcome<()> {
    let differs = |digest: &&Digest| known.get(digest.algorithm).is_some_and(|known| known != *digest);
    match told.0.iter().find(differs) {
        Some(digest) => problem(Reason::Suspect, format!("the finished file is not {digest}")),
        None => Ok(()),
    }
}

/// How long the client wants the reply to wait for a check, at most `most` (RFC 7240: `respond-async`, `wait=N`).
pub(super) fn patience(request: &Parts, most: Duration) -> Duration {
    let lines = request.headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let wishes = lines.flat_map(|line| line.split([',', ';'])).map(str::trim);
    let asked = wishes.filter_map(|wish| match wish {
        "respond-async" => Some(Duration::ZERO),
        _ => wish.strip_prefix("wait=").and_then(number).map(Duration::from_secs),
    });
    asked.min().map_or(most, |asked| asked.min(most))
}
