//! *send*: a piece of a chunk is taken, and acknowledged once it survives a power cut.

use super::{Handler, Outcome, problem};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::Digest;
use crate::partial::PartialFile;
use crate::serve::connection::{Cut, Inbound};
use crate::serve::piece::{Ground, Piece, Refused};
use crate::serve::reply::{self, Reply};
use crate::serve::upload::{ChunkTurn, Phase, Upload};
use crate::wire::content_range::ContentRange;
use crate::wire::handshake::{CONTENT_DIGEST, DIGESTS, Digests, Problem, REPLACE, Reason};
use http::StatusCode;
use http::header::CONTENT_RANGE;
use http::request::Parts;
use std::sync::Arc;

impl Handler<'_> {
    /// *send*.
    pub(super) async fn send(
        &self,
        upload: &Arc<Upload>,
        index: u64,
        request: &Parts,
        inbound: &mut Inbound,
    ) -> Outcome<Reply> {
        let chunk = upload.head.layout.range(index);
        if chunk.is_empty() {
            return problem(Reason::NotFound, format!("the file has no chunk {index}"));
        }
        let range = piece_range(request, chunk)?;
        let length_fits = inbound.announced().is_none_or(|length| length == range.len());
        if !length_fits {
            return problem(
                Reason::BadRequest,
                format!("{} bytes were announced for a piece of {}", inbound.announced().unwrap_or(0), range.len()),
            );
        }
        let digests = piece_digests(request)?;
        if self.store.root.free_space() < self.site.rules.min_free {
            return problem(Reason::NoSpace, "the server's disk is full");
        }
        let replaces = request.headers.get(REPLACE).is_some_and(|value| value.as_bytes() == b"1");
        let (ground, turn) = self.enter(upload, index, replaces).await?;
        if replaces {
            self.replace(&ground, range).await?;
        }
        let file = match &ground {
            Ground::Partial(file) => Some(file.clone()),
            Ground::Finished(_) => None,
        };
        let piece = Piece::new(ground, range, &digests);
        let new = receive(piece, &turn, inbound).await.map_err(|refused| self.not_taken(refused, index))?;
        upload.touch(new);
        if let Some(file) = file {
            self.safe(upload, &file).await?;
        }
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    /// The file to write to and the right to write one chunk of it, taken together: whoever checks the whole looks for
    /// writers under the same lock. Who `replaces` takes bytes out, and what is being checked must stay as it is.
    async fn enter(&self, upload: &Arc<Upload>, index: u64, replaces: bool) -> Outcome<(Ground, ChunkTurn)> {
        let turn = upload.turn(index).await?;
        let mut phase = upload.phase.lock().await;
        let file = self.store.file(upload, &mut phase).await?;
        let ground = match (&*phase, file) {
            (Phase::Checking(..), _) if replaces => return problem(Reason::Busy, "the whole is being checked"),
            (_, Some(file)) => Ground::Partial(file),
            (Phase::Done(receipt), None) => {
                let parts: Vec<&str> = receipt.path.split('/').collect();
                let same =
                    |file: &std::fs::File| file.metadata().is_ok_and(|meta| meta.len() == upload.head.layout.length());
                let file = self.store.root.file(&parts).filter(same);
                Ground::Finished(file.ok_or_else(|| Box::new(Problem::new(Reason::Differs, "the upload is complete")))?)
            }
            _ => return problem(Reason::UnknownUpload, "it is gone"),
        };
        Ok((ground, turn))
    }

    /// Forgets what is held of `range`, durably, so that it may be written anew.
    async fn replace(&self, ground: &Ground, range: ByteRange) -> Outcome<()> {
        let Ground::Partial(file) = ground else {
            return problem(Reason::Differs, "the upload is complete");
        };
        match file.held().touches(range) {
            true => file.forget(&ByteSet::of(range)).await.map(drop).map_err(|fault| self.store.trouble(&fault)),
            false => Ok(()),
        }
    }

    /// Waits until all that was accepted survives a power cut. A file whose sync failed is opened anew: what its
    /// record claims is what is left.
    async fn safe(&self, upload: &Arc<Upload>, file: &PartialFile) -> Outcome<()> {
        match file.durable().await {
            Ok(()) => Ok(()),
            Err(fault) => {
                self.store.reopen(upload).await;
                Err(self.store.trouble(&fault))
            }
        }
    }

    fn not_taken(&self, refused: Refused, index: u64) -> Box<Problem> {
        Box::new(match refused {
            Refused::TooLong => Problem::new(Reason::BadRequest, "the body is longer than the piece"),
            Refused::TooShort => Problem::new(Reason::BadRequest, "the body ended before the piece did"),
            Refused::Differs => Problem::new(Reason::Differs, format!("other bytes of chunk {index} are held"))
                .hint("if the source changed, send it with Onward-Replace: 1"),
            Refused::Busy => Problem::new(Reason::Busy, format!("chunk {index} is being written by another request")),
            Refused::Mismatch(told) => {
                Problem::new(Reason::DigestMismatch, format!("the bytes are not those of {told}; none of them count"))
            }
            Refused::Disk(fault) => return self.store.trouble(&fault),
        })
    }
}

/// Which bytes of the file a `PUT` to `chunk` sends.
fn piece_range(request: &Parts, chunk: ByteRange) -> Outcome<ByteRange> {
    let mut fields = request.headers.get_all(CONTENT_RANGE).iter();
    let (Some(value), None) = (fields.next(), fields.next()) else {
        return match request.headers.contains_key(CONTENT_RANGE) {
            true => problem(Reason::BadRequest, "there is more than one Content-Range"),
            false => Ok(chunk),
        };
    };
    match value.to_str().ok().and_then(ContentRange::parse) {
        Some(ContentRange::Part { range, total: Some(total) }) if total == chunk.len() => {
            Ok(ByteRange::new(chunk.start + range.start, chunk.start + range.end))
        }
        _ => problem(Reason::BadRequest, format!("Content-Range must be bytes a-b/{} within the chunk", chunk.len())),
    }
}

/// The digests a `PUT` must come with.
fn piece_digests(request: &Parts) -> Outcome<Vec<Digest>> {
    let lines: Vec<&str> =
        request.headers.get_all(CONTENT_DIGEST).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    let Some(digests) = Digests::from_field(&lines.join(", ")) else {
        return problem(Reason::DigestRequired, "Content-Digest cannot be read");
    };
    let known: Vec<Digest> = digests.0.into_iter().filter(|digest| DIGESTS.contains(&digest.algorithm)).collect();
    match known.is_empty() {
        true => problem(Reason::DigestRequired, "a Content-Digest by crc64nvme, sha-256 or md5 is needed"),
        false => Ok(known),
    }
}

/// Takes a piece from the body, unless a writer in its place has to be let through.
async fn receive(mut piece: Piece, turn: &ChunkTurn, inbound: &mut Inbound) -> Result<bool, Refused> {
    loop {
        let next = tokio::select! {
            biased;
            next = inbound.next() => next,
            () = turn.must_yield() => return Err(Refused::Busy),
        };
        match next {
            Ok(Some(bytes)) => {
                turn.beat();
                piece.take(&bytes)?;
            }
            Ok(None) => return piece.accept(),
            Err(Cut::Gone | Cut::Idle) => return Err(Refused::TooShort),
        }
    }
}
