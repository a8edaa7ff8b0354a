//! What to do about a finished file of the same name: whether it is what the remote has now, found out with as few
//! bytes as can be.

use super::finish::only_samples;
use super::{Transfer, shown_place};
use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::disk;
use crate::engine::digest_file;
use crate::engine::overlap::Compared;
use crate::event::Outcome;
use crate::fault::{Fault, Kind};
use crate::record::Existing;
use crate::source::{Answer, Ask};
use crate::wire::validator::{Likeness, compare};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

impl Transfer<'_> {
    /// What there is to say about a finished file of that name before a byte moves.
    pub(super) async fn already_there(&self, path: &Path) -> Result<Option<Outcome>, Fault> {
        let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
        if meta.is_dir() {
            return Err(Fault::new(Kind::Local, format!("{} is a folder", disk::shown(path)))
                .hint("use -d to download into it"));
        }
        let done = |proof| Some(Outcome { place: shown_place(path), moved: 0, already: meta.len(), proof });
        match (self.order.existing, &self.order.checksum) {
            (Existing::Keep, _) => Ok(done(None)),
            (Existing::Replace, _) => Ok(None),
            (Existing::Refuse, _) if !meta.is_file() => Err(exists(path)),
            (Existing::Refuse, Some(wanted)) => self.held_to(path, wanted, "user").await.map(done),
            (Existing::Refuse, None) => self.same_as_remote(path, meta.len()).await.map(done),
        }
    }

    /// Whether a finished file has this digest, and whose that is.
    async fn held_to(&self, path: &Path, wanted: &Digest, by: &str) -> Result<Option<String>, Fault> {
        match digest_of(path.to_owned(), wanted.algorithm).await? == *wanted {
            true => {
                self.verified(wanted, by);
                Ok(Some(wanted.algorithm.to_string()))
            }
            false => Err(exists(path)),
        }
    }

    /// Whether a finished file is what the remote has now: by what is remembered of it, else by comparing bytes.
    /// The answer is the proof; that it is something else is the fault.
    pub(super) async fn same_as_remote(&self, path: &Path, length: u64) -> Result<Option<String>, Fault> {
        let source = &*self.order.source;
        let known = self.tools.memory.recall(path, &self.order.url).filter(|_| !self.is_masked());
        let unless = known.as_ref().map(|known| known.validator.clone());
        let one = Ask { unless: unless.clone(), ..Ask::range(0, Some(1)) };
        let answer = self.patiently(async || source.ask(one.clone()).await).await?;
        let comparable = matches!(answer, Answer::Part { .. });
        let head = match answer {
            Answer::Unchanged => return Ok(None),
            Answer::Part { head, .. } | Answer::Whole { head, .. } => head,
            // Only a file without a byte has no first one.
            Answer::Beyond { head } if length == 0 && head.total.unwrap_or(0) == 0 => return Ok(None),
            Answer::Beyond { head } if head.total.is_some_and(|total| total != length) => return Err(exists(path)),
            Answer::Beyond { .. } | Answer::Unfit { .. } => return Err(unproven(path)),
        };
        if let Some(unless) = unless
            && compare(&unless, Some(length), &head.validator, head.total) == Likeness::Same
        {
            return Ok(None);
        }
        if let Some(offered) = head.digest() {
            return self.held_to(path, offered, "server").await;
        }
        if !comparable && head.total.is_none_or(|total| total == length) {
            return Err(unproven(path));
        }
        let file = disk::open_source(path)?;
        let read =
            |buffer: &mut [u8], at: u64| file.read_exact_at(buffer, at).map_err(|e| disk::fault("read", path, &e));
        let whole = [ByteRange::new(0, length)];
        if head.total != Some(length) {
            return Err(exists(path));
        }
        if self.order.strict {
            return Err(only_samples()
                .kept(format!("{} is untouched", disk::shown(path)))
                .hint("give --checksum, or run it without --strict; --overwrite downloads it anew"));
        }
        match self.compared(&whole, &read, source).await? {
            Compared::Same => Ok(Some("overlap".into())),
            Compared::Differs => Err(exists(path)),
            Compared::NoRanges => Err(unproven(path)),
        }
    }
}

fn exists(path: &Path) -> Fault {
    in_the_way(format!("{} exists and is not what the server has now", disk::shown(path)))
}

/// The server gives no part of the file to compare with.
fn unproven(path: &Path) -> Fault {
    in_the_way(format!("{} exists, and nothing shows that it is what the server has now", disk::shown(path)))
}

fn in_the_way(text: String) -> Fault {
    Fault::new(Kind::Local, text).hint("--overwrite replaces it, --no-clobber leaves it alone, -o gives another name")
}

async fn digest_of(path: PathBuf, algorithm: Algorithm) -> Result<Digest, Fault> {
    let hashed = tokio::task::spawn_blocking(move || digest_file(&path, algorithm)).await;
    hashed.map_err(|e| Fault::new(Kind::Other, format!("hashing ended early: {e}")))?
}
