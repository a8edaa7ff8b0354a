//! Bytes coming in at the end of an upload. Without a checksum each counts as soon as it is written, so that a cut
//! request keeps what it brought; with one, none counts before the whole request agrees with it.

use super::super::connection::{Cut, Inbound};
use super::super::upload::{ChunkTurn, NO_END, Phase, Upload};
use super::{Growing, Outcome, behind, unknown};
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::digest::{Digest, Hasher};
use crate::fault::Fault;
use crate::partial::{Draft, PartialFile, Writer};
use crate::wire::handshake::{Problem, Reason};
use http::HeaderMap;
use std::sync::Arc;

/// The disk's free space is looked at again after so many bytes of a file that never said how long it is.
const LOOK_EVERY: u64 = 16 << 20;
/// Bytes of a draft are read back in blocks of so many.
const BLOCK: usize = 1 << 20;

/// What a request brings.
pub struct Append {
    /// Where its first byte belongs.
    pub at: u64,
    /// The length of the whole, where the request tells it.
    pub length: Option<u64>,
    /// Whether the upload ends with the request: the IETF's protocol says so, tus knows by the length.
    pub last: bool,
    /// What the bytes must be.
    pub expect: Option<Expect>,
    /// Whether the bytes of a cut request count although nobody can compare them any more: a checksum may be there to
    /// vouch for each byte that is kept (tus), or to vouch for a message (the IETF's protocol).
    pub keep_cut: bool,
}

/// Where the checksums of a request are.
pub enum Expect {
    /// In its head: the bytes must fit all of them.
    Head(Vec<Digest>),
    /// Behind its body.
    Trailer {
        /// Reads it there; `None`: the field is not among the trailers.
        read: fn(&HeaderMap) -> Outcome<Option<Digest>>,
        /// Whether the head says that it will come. Where it does not, the bytes count as they come, and are taken back
        /// should a checksum be there that they do not fit.
        announced: bool,
    },
}

/// Why a request brought less than it meant to.
pub enum Stopped {
    /// The upload stands elsewhere.
    Offset {
        /// There.
        expected: u64,
        /// Where the request said it stood.
        provided: u64,
    },
    /// The file has its name: nothing can be added.
    Complete,
    /// Two requests disagree on the length, or this one goes past it.
    Length(String),
    /// The bytes are not those of the checksum; none of them count.
    Mismatch,
    /// The body ended early; what came counts, unless it had a checksum.
    Cut(Cut),
    /// Another request took over.
    Overtaken,
    /// Anything else.
    Refused(Box<Problem>),
}

impl From<Box<Problem>> for Stopped {
    fn from(problem: Box<Problem>) -> Self {
        Self::Refused(problem)
    }
}

/// Who writes.
enum Pen {
    /// What is written counts.
    Sure(Writer),
    /// It counts when it is accepted.
    Draft(Box<Draft>, Vec<(Digest, Hasher)>),
}

impl Pen {
    /// Who writes into `room` what has to be as `expect` says; `None`: somebody else does.
    fn of(file: &PartialFile, room: ByteRange, expect: Option<&Expect>) -> Option<Self> {
        let told = match expect {
            None | Some(Expect::Trailer { announced: false, .. }) => return file.writer(room).map(Self::Sure),
            Some(Expect::Trailer { .. }) => &[][..],
            Some(Expect::Head(told)) => told,
        };
        let hashers = told.iter().map(|told| (told.clone(), Hasher::new(told.algorithm))).collect();
        Some(Self::Draft(Box::new(file.draft(room)?), hashers))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Sure(writer) => writer.write(bytes),
            Self::Draft(draft, hashers) => {
                hashers.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
                draft.write(bytes)
            }
        }
    }
}

impl Growing<'_> {
    /// Takes what a request brings. The answer is where the upload stands then; that much survives a power cut.
    pub async fn append(&self, upload: &Arc<Upload>, append: Append, inbound: &mut Inbound) -> Result<u64, Stopped> {
        let turn = upload.turn(0).await.map_err(|_| busy())?;
        let file = {
            let mut phase = upload.phase.lock().await;
            match (self.store.file(upload, &mut phase).await?, &*phase) {
                (_, Phase::Done(_)) => return Err(Stopped::Complete),
                (_, Phase::Checking(..)) => return Err(busy()),
                (Some(file), _) => file,
                (None, _) => return Err(unknown().into()),
            }
        };
        let room = self.enter(upload, &file, &append, inbound.announced()).await?;
        let (start, last) = (append.at, append.last);
        let taken = match room.is_empty() {
            // Nothing to write, but a body that is there all the same is too long.
            true => match inbound.next().await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(too_long(&file)),
                Err(cut) => Err(Stopped::Cut(cut)),
            },
            false => self.take(&file, room, append, &turn, inbound).await,
        };
        let offset = file.held().prefix();
        upload.touch(offset > start);
        match (&taken, last) {
            (Ok(()), true) if upload.length().is_some_and(|length| length != offset) => {
                self.safe(upload, &file).await?;
                let text = format!("the upload ends at {offset} bytes, not at its length");
                return Err(Stopped::Length(text));
            }
            (Ok(()), true) => self.end(upload, &file).await?,
            _ => self.safe(upload, &file).await?,
        }
        taken.map(|()| offset)
    }

    /// Compares what a request says with what is there, and tells which bytes it may bring.
    async fn enter(
        &self,
        upload: &Arc<Upload>,
        file: &PartialFile,
        append: &Append,
        announced: Option<u64>,
    ) -> Result<ByteRange, Stopped> {
        let held = file.held();
        let offset = held.prefix();
        if append.at != offset {
            // The answer tells how much is there: that is a promise.
            self.safe(upload, file).await?;
            return Err(Stopped::Offset { expected: offset, provided: append.at });
        }
        let behind = behind(&held);
        if !behind.is_empty() {
            file.forget(&behind).await.map_err(|fault| self.store.trouble(&fault))?;
        }
        let end = announced.map(|bytes| offset.saturating_add(bytes));
        let told = append.length.or(end.filter(|_| append.last));
        match (upload.length(), told) {
            (Some(known), Some(told)) if known != told => {
                return Err(Stopped::Length(format!("the length was told to be {known}, now {told}")));
            }
            (None, Some(told)) if told < offset => {
                return Err(Stopped::Length(format!("{offset} bytes are there, more than {told}")));
            }
            // By the announced end alone the length is known only once all of it has come.
            (None, Some(told)) if append.length.is_some() => self.set_length(upload, file, told)?,
            _ => {}
        }
        let most = self.site.rules.max_file_size.unwrap_or(NO_END - 1);
        if upload.length().is_none() && end.is_some_and(|end| end > most) {
            let text = format!("files may have at most {most} bytes");
            return Err(Stopped::Refused(Box::new(Problem::new(Reason::TooLarge, text))));
        }
        let limit = upload.length().unwrap_or(most);
        if end.is_some_and(|end| end > limit) {
            return Err(Stopped::Length("the body goes past the length of the file".into()));
        }
        if self.store.root.free_space() < self.site.rules.min_free {
            return Err(full().into());
        }
        Ok(ByteRange::new(offset, end.unwrap_or(limit)))
    }

    /// Writes the body into `room`.
    async fn take(
        &self,
        file: &PartialFile,
        room: ByteRange,
        append: Append,
        turn: &ChunkTurn,
        inbound: &mut Inbound,
    ) -> Result<(), Stopped> {
        let mut pen = Pen::of(file, room, append.expect.as_ref()).ok_or_else(busy)?;
        let (mut at, mut look) = (room.start, room.start + LOOK_EVERY);
        // The byte that would make it complete waits for the end of a body that has not said how long it is.
        let (open_end, mut last) = (inbound.announced().is_none(), None);
        loop {
            let next = tokio::select! {
                biased;
                next = inbound.next() => next,
                () = turn.must_yield() => return Err(Stopped::Overtaken),
            };
            let bytes = match next {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(cut) => {
                    if let (true, Pen::Draft(draft, _)) = (append.keep_cut, pen) {
                        draft.accept();
                    }
                    return Err(Stopped::Cut(cut));
                }
            };
            turn.beat();
            if bytes.len() as u64 > room.end - at || last.is_some() {
                return Err(too_long(file));
            }
            if at >= look {
                look = at + LOOK_EVERY;
                if self.store.root.free_space() < self.site.rules.min_free {
                    return Err(full().into());
                }
            }
            let mut now = &bytes[..];
            at += now.len() as u64;
            if let (true, true, Some((end, rest))) = (open_end, at == room.end, now.split_last()) {
                (last, now) = (Some(*end), rest);
            }
            pen.write(now).map_err(|fault| self.store.trouble(&fault))?;
        }
        if let Some(end) = last {
            pen.write(&[end]).map_err(|fault| self.store.trouble(&fault))?;
        }
        self.accept(file, ByteRange::new(room.start, at), pen, append.expect, inbound.trailers()).await
    }

    /// The end of the body: what was written counts from now on when it is what its checksums say, else not any more.
    async fn accept(
        &self,
        file: &PartialFile,
        written: ByteRange,
        pen: Pen,
        expect: Option<Expect>,
        trailers: &HeaderMap,
    ) -> Result<(), Stopped> {
        match (pen, self.compare(file, written, expect, trailers)) {
            (Pen::Draft(draft, hashers), Ok(())) => {
                if hashers.into_iter().any(|(told, hasher)| hasher.finish() != told) {
                    return Err(Stopped::Mismatch);
                }
                draft.accept();
                Ok(())
            }
            (Pen::Sure(writer), Err(stopped)) => {
                drop(writer);
                file.forget(&ByteSet::of(written)).await.map_err(|fault| self.store.trouble(&fault))?;
                Err(stopped)
            }
            (_, compared) => compared,
        }
    }

    /// Holds what was written to the checksum behind the body, where one is.
    fn compare(
        &self,
        file: &PartialFile,
        written: ByteRange,
        expect: Option<Expect>,
        trailers: &HeaderMap,
    ) -> Result<(), Stopped> {
        let Some(Expect::Trailer { read, announced }) = expect else { return Ok(()) };
        match read(trailers)? {
            None if announced => {
                let problem = Problem::new(Reason::BadRequest, "the checksum that was announced did not come");
                Err(Stopped::Refused(Box::new(problem)))
            }
            None => Ok(()),
            Some(told) => match digest_on_disk(file, written, &told).map_err(|fault| self.store.trouble(&fault))? {
                computed if computed == told => Ok(()),
                _ => Err(Stopped::Mismatch),
            },
        }
    }
}

/// The digest of bytes that were just written.
fn digest_on_disk(file: &PartialFile, range: ByteRange, like: &Digest) -> Result<Digest, Fault> {
    let (mut hasher, mut buffer, mut at) = (Hasher::new(like.algorithm), vec![0; BLOCK], range.start);
    while at < range.end {
        let block = &mut buffer[..usize::try_from(range.end - at).unwrap_or(BLOCK).min(BLOCK)];
        file.read_at(block, at)?;
        hasher.update(block);
        at += block.len() as u64;
    }
    Ok(hasher.finish())
}

/// The body goes past what there is room for.
fn too_long(file: &PartialFile) -> Stopped {
    match file.length() {
        Some(_) => Stopped::Length("the body goes past the length of the file".into()),
        None => Stopped::Refused(Box::new(Problem::new(Reason::TooLarge, "files may not be as long as this body"))),
    }
}

fn busy() -> Stopped {
    Stopped::Refused(Box::new(Problem::new(Reason::Busy, "another request writes this upload")))
}

fn full() -> Box<Problem> {
    let problem = Problem::new(Reason::NoSpace, "the server's disk is full");
    Box::new(problem.hint("what has arrived is kept; try again when there is room"))
}
