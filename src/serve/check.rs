//! The end of an upload: the whole is checked, gets its name, and only then says so. The work runs on a task of its
//! own, so that a client that goes away changes nothing; whoever asks meanwhile hears that it is going on.

use super::known::Entry;
use super::piece::{Ground, Piece, Refused};
use super::receipt::Receipt;
use super::root::Taken;
use super::store::{Store, in_background, leaf, missing};
use super::upload::{Over, Phase, Upload};
use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Crc, Digest, Hasher, RunningCrc};
use crate::disk::{self, Spot};
use crate::event::Event;
use crate::fault::{Fault, Kind};
use crate::partial::{Follower, PartialFile};
use crate::record::{IfExists, Stamp};
use crate::wire::handshake::{Digests, Problem, Reason, Runs};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// Whole files are read in blocks of so many bytes.
const BLOCK: usize = 1 << 20;

/// What is to be done.
pub struct Order {
    /// The final name: its parts below the root.
    pub target: Vec<String>,
    /// Where the content comes from.
    pub content: Content,
}

/// Where the content comes from, and what shows that it is right.
pub enum Content {
    /// The client sent it; it is held to these digests, and those by `want` are computed too.
    Sent {
        /// What the client says the whole is.
        digests: Digests,
        /// What the client wants to see.
        want: Vec<Algorithm>,
        /// Whoever has been hashing it beside the transfer.
        follower: Option<Follower>,
    },
    /// It is that of these uploads, one behind the other.
    Parts(Vec<PartialFile>),
    /// It is that of a finished file, which the client has proven to have; it is held to this MD5.
    Equal(Entry, Digest),
}

type Outcome<T> = Result<T, Box<Problem>>;

/// Starts the work; `phase` is the upload's, locked by the caller. Whoever has the receiver sees how it ended.
pub fn start(store: &Arc<Store>, upload: &Arc<Upload>, phase: &mut Phase, file: PartialFile, order: Order) -> Over {
    let (tell, over) = watch::channel(None);
    *phase = Phase::Checking(file.clone(), over.clone());
    let (store, upload) = (store.clone(), upload.clone());
    let work = {
        let (store, upload) = (store.clone(), upload.clone());
        tokio::spawn(async move { Work { store: &store, upload: &upload, file: &file }.run(order).await })
    };
    tokio::spawn(async move {
        let early = |_| Err(Box::new(Problem::new(Reason::Server, "the check ended early")));
        let outcome = work.await.unwrap_or_else(early);
        let mut phase = upload.phase.lock().await;
        upload.touch(false);
        let verdict = match outcome {
            Ok(receipt) => {
                let text = format!("received {} ({})", receipt.path, crate::units::bytes(upload.layout().length()));
                store.tell(Event::Detail { text });
                *phase = Phase::Done(Arc::new(receipt));
                store.parts_are_joined(&upload);
                Ok(())
            }
            Err(problem) => {
                upload.facts().untold = Some(*problem.clone());
                // Whatever state the file is in, its record tells what is held.
                if let Phase::Checking(file, _) = std::mem::replace(&mut *phase, Phase::Closed) {
                    let _ = file.keep().await;
                }
                Err(*problem)
            }
        };
        drop(phase);
        tell.send_replace(Some(verdict));
    });
    over
}

struct Work<'a> {
    store: &'a Arc<Store>,
    upload: &'a Arc<Upload>,
    file: &'a PartialFile,
}

impl Work<'_> {
    async fn run(&self, order: Order) -> Outcome<Receipt> {
        match order.content {
            Content::Sent { digests, want, follower } => {
                let computed = self.examine(&digests, &want, follower).await?;
                self.publish(&order.target, computed).await
            }
            Content::Parts(parts) => {
                self.join(parts).await?;
                let computed = self.examine(&Digests::default(), &[], None).await?;
                self.publish(&order.target, computed).await
            }
            Content::Equal(entry, md5) => self.adopt(&order.target, entry, &md5).await,
        }
    }

    fn layout(&self) -> Layout {
        self.upload.layout()
    }

    /// Copies what is missing of the whole from its parts.
    async fn join(&self, parts: Vec<PartialFile>) -> Outcome<()> {
        let file = self.file.clone();
        let copied = in_background(move || {
            let mut start = 0;
            for part in parts {
                let length = part.length().unwrap_or(0);
                copy_part(&part, &file, ByteRange::new(start, start + length))?;
                start += length;
            }
            Ok(())
        });
        copied.await.map_err(|fault| self.store.trouble(&fault))
    }

    /// Compares the whole with what the client says it is; tells what was computed.
    async fn examine(&self, told: &Digests, want: &[Algorithm], follower: Option<Follower>) -> Outcome<Digests> {
        let mut needed: Vec<Algorithm> =
            told.0.iter().map(|digest| digest.algorithm).chain(want.iter().copied()).collect();
        needed.retain(|algorithm| *algorithm != Algorithm::Crc64Nvme);
        needed.sort();
        needed.dedup();
        // Whoever reads a whole file waits for his turn.
        let _turn = match self.file.needs_proof() || !needed.is_empty() {
            true => Some(self.store.checking.lock().await),
            false => None,
        };
        if self.file.needs_proof() {
            let damaged = self.file.prove().await.map_err(|fault| self.store.trouble(&fault))?;
            if !damaged.is_empty() {
                return Err(self.suspect(self.chunks_of(&damaged), "bytes on the server's disk have changed"));
            }
        }
        let Some(crc) = self.file.seal() else {
            return Err(Box::new(Problem::new(Reason::Incomplete, "not all chunks are there")));
        };
        let mut computed = Digests::default();
        computed.set(crc.digest());
        for digest in self.hash(needed, follower).await? {
            computed.set(digest);
        }
        if told.0.iter().any(|digest| computed.get(digest.algorithm) != Some(digest)) {
            return Err(self.find_damage().await);
        }
        Ok(computed)
    }

    async fn hash(&self, mut needed: Vec<Algorithm>, follower: Option<Follower>) -> Outcome<Vec<Digest>> {
        let trouble = |fault| self.store.trouble(&fault);
        let mut digests = match follower {
            Some(follower) => follower.digests().await.map_err(trouble)?,
            None => Vec::new(),
        };
        needed.retain(|algorithm| digests.iter().all(|digest| digest.algorithm != *algorithm));
        if !needed.is_empty() {
            digests.extend(self.file.follow(&needed).digests().await.map_err(trouble)?);
        }
        Ok(digests)
    }

    /// The whole is wrong: are bytes on this disk? If not, it is as it was sent, and any chunk may be the wrong one.
    async fn find_damage(&self) -> Box<Problem> {
        let (file, layout) = (self.file.clone(), self.layout());
        let read = in_background(move || {
            let whole = |index| (layout.range(index), file.sum(layout.range(index)));
            let wrong = |(range, sum): &(ByteRange, Option<Crc>)| sum_of(&file, *range) != *sum;
            Ok((0..layout.count()).map(whole).filter(wrong).map(|(range, _)| range).collect::<ByteSet>())
        });
        let damaged = match read.await {
            Ok(damaged) => damaged,
            Err(fault) => return self.store.trouble(&fault),
        };
        if damaged.is_empty() {
            let all = IndexSet::of(ByteRange::new(0, layout.count()));
            return self.suspect(all, "the content is not what its digest says; compare the chunks' digests");
        }
        match self.file.forget(&damaged).await {
            Ok(gone) => self.suspect(self.chunks_of(&gone), "bytes on the server's disk have changed"),
            Err(fault) => self.store.trouble(&fault),
        }
    }

    fn chunks_of(&self, bytes: &ByteSet) -> IndexSet {
        let layout = self.layout();
        bytes.runs().map(|run| ByteRange::new(layout.index_of(run.start), layout.index_of(run.end - 1) + 1)).collect()
    }

    fn suspect(&self, chunks: IndexSet, detail: &str) -> Box<Problem> {
        Box::new(Problem { suspect: Some(Runs(chunks)), ..Problem::new(Reason::Suspect, detail) })
    }

    /// Gives the file its name.
    async fn publish(&self, target: &[String], digests: Digests) -> Outcome<Receipt> {
        let if_exists = match self.store.rules.allow_overwrite {
            true => self.upload.facts().if_exists,
            false => IfExists::Fail,
        };
        let versioned = self.upload.head.line.as_ref().is_some_and(|line| line.replaces.is_some());
        let _turn = self.store.naming_turn(versioned).await;
        let (store, upload, data) = (self.store.clone(), self.upload.clone(), self.file.place().data.clone());
        let (parts, known) = (target.to_vec(), digests.clone());
        let made = tokio::task::spawn_blocking(move || prepare(&store, &upload, &data, &parts, known, if_exists)).await;
        let Ok(made) = made else { return Err(Box::new(Problem::new(Reason::Server, "a disk thread ended early"))) };
        let (spot, mut receipt) = made?;
        let receipt_file = self.store.receipt_file(&self.upload.head.id);
        match self.file.clone().finish(spot, if_exists).await {
            Ok(stamp) => {
                disk::point("received");
                receipt.complete = true;
                self.remember(&receipt, stamp, &receipt.head.domain);
                Ok(receipt)
            }
            Err(fault) if self.store.was_published(&receipt) => {
                // The receipt on the disk stays as it is: should the name be lost with the power, the next start sees.
                self.store.trouble(&fault);
                receipt.complete = true;
                Ok(receipt)
            }
            Err(fault) => {
                let _ = disk::remove(&receipt_file);
                match self.store.root.taken(&texts(target)) {
                    Ok(taken) if taken != Taken::Free && if_exists == IfExists::Fail => Err(name_taken(target)),
                    _ => Err(self.store.trouble(&fault)),
                }
            }
        }
    }

    /// Writes down what became of the upload and what is known of the file. The reply does not wait for it: should it
    /// be lost, the receipt that was written before the rename is enough to tell. The file belongs to `domain`.
    fn remember(&self, receipt: &Receipt, stamp: Stamp, domain: &str) {
        let entry = Entry {
            path: receipt.path.clone(),
            domain: domain.to_string(),
            claimed_md5: self.upload.facts().md5.as_ref().map(Digest::hex),
            digests: receipt.digests.clone(),
            stamp,
        };
        self.store.known.announce(&entry);
        let (store, receipt) = (self.store.clone(), receipt.clone());
        tokio::task::spawn_blocking(move || {
            let told = store.known.remember(&entry).and_then(|()| receipt.write(&store.receipt_file(&receipt.head.id)));
            if let Err(fault) = told {
                store.trouble(&fault);
            }
        });
    }

    /// Takes the content of a finished file, after reading all of it: an MD5 that somebody only told proves nothing.
    async fn adopt(&self, target: &[String], entry: Entry, md5: &Digest) -> Outcome<Receipt> {
        let _turn = self.store.checking.lock().await;
        // A link that was made before a kill is there already.
        let same_place = entry.path == target.join("/") || is_linked(self.store, target, &entry.stamp);
        let copies = !same_place && !self.store.rules.links;
        let digests = self.read(&entry, copies, md5).await?;
        if same_place {
            // It stays with whoever has sent it.
            let domain = entry.domain.clone();
            return self.settle(target, digests, entry.stamp, &domain).await;
        }
        if !copies && let Some(stamp) = self.link(target, &entry).await? {
            self.relinked(&entry, md5, &stamp).await?;
            return self.settle(target, digests, stamp, &self.upload.head.domain).await;
        }
        if !copies {
            // The filesystem makes no links.
            self.read(&entry, true, md5).await?;
        }
        let busy = || Box::new(Problem::new(Reason::Busy, "the upload is being written"));
        self.file.seal().ok_or_else(busy)?;
        self.publish(target, digests).await
    }

    /// Reads the finished file of `entry` from its first byte to its last; with `copies` its bytes become the upload's.
    async fn read(&self, entry: &Entry, copies: bool, md5: &Digest) -> Outcome<Digests> {
        let (store, file, layout) = (self.store.clone(), self.file.clone(), self.layout());
        let (version, md5) = (entry.clone(), md5.clone());
        let read =
            tokio::task::spawn_blocking(move || copy(&store, &version, copies.then_some(&file), layout, &md5)).await;
        read.map_err(|_| Box::new(Problem::new(Reason::Server, "a disk thread ended early")))?
    }

    /// Gives the file of `entry` the name `target` too; its stamp after that. `None`: that cannot be here.
    async fn link(&self, target: &[String], entry: &Entry) -> Outcome<Option<Stamp>> {
        let if_exists = match self.store.rules.allow_overwrite {
            true => self.upload.facts().if_exists,
            false => IfExists::Fail,
        };
        let _turn = self.store.naming_turn(false).await;
        let (store, target, entry) = (self.store.clone(), target.to_vec(), entry.clone());
        let spare = disk::with_suffix(&self.file.place().data, ".link");
        let linked = tokio::task::spawn_blocking(move || link(&store, &target, &entry, if_exists, &spare)).await;
        linked.map_err(|_| Box::new(Problem::new(Reason::Server, "a disk thread ended early")))?
    }

    /// A link changes the status of the file, and with it the version that its other names are known by.
    async fn relinked(&self, entry: &Entry, md5: &Digest, now: &Stamp) -> Outcome<()> {
        let (store, domain, md5, now) = (self.store.clone(), entry.domain.clone(), md5.clone(), now.clone());
        let told = in_background(move || {
            let is_it = |known: &Entry| (known.stamp.device, known.stamp.inode) == (now.device, now.inode);
            store.known.with_md5(&domain, &md5, now.size).into_iter().filter(is_it).try_for_each(|known| {
                let known = Entry { stamp: now.clone(), ..known };
                store.known.announce(&known);
                store.known.remember(&known)
            })
        });
        told.await.map_err(|fault| self.store.trouble(&fault))
    }

    /// The file is under its name already: the receipt is written, and what had arrived is not needed.
    async fn settle(&self, target: &[String], digests: Digests, stamp: Stamp, domain: &str) -> Outcome<Receipt> {
        let receipt = Receipt {
            head: self.upload.head_now(),
            path: target.join("/"),
            digests,
            inode: stamp.inode,
            finished: SystemTime::now(),
            complete: true,
        };
        let (path, written) = (self.store.receipt_file(&self.upload.head.id), receipt.clone());
        in_background(move || written.write(&path)).await.map_err(|fault| self.store.trouble(&fault))?;
        self.file.clone().discard().await.map_err(|fault| self.store.trouble(&fault))?;
        self.remember(&receipt, stamp, domain);
        Ok(receipt)
    }
}

/// Whether `target` is a name of the very file that `stamp` is of.
fn is_linked(store: &Store, target: &[String], stamp: &Stamp) -> bool {
    let there = store.root.file(&texts(target)).and_then(|file| disk::stamp(&file).ok());
    there.as_ref() == Some(stamp)
}

/// Gives the finished file of `entry` the name `target` too. `None`: no link can be made here.
fn link(store: &Store, target: &[String], entry: &Entry, if_exists: IfExists, spare: &Path) -> Outcome<Option<Stamp>> {
    let trouble = |fault: Fault| store.trouble(&fault);
    let (parts, old) = (texts(target), entry.path.split('/').collect::<Vec<_>>());
    let Some(file) = store.root.file(&old) else { return Ok(None) };
    if disk::stamp(&file).ok().as_ref() != Some(&entry.stamp) {
        return Ok(None);
    }
    match store.root.taken(&parts).map_err(trouble)? {
        Taken::File(_) if if_exists == IfExists::Replace => {}
        Taken::Free => {}
        _ => return Err(name_taken(target)),
    }
    let Some(folder) = store.root.folder_of(&parts, true).map_err(trouble)? else { return Err(name_taken(target)) };
    let name = parts.last().copied().unwrap_or_default();
    let spot = Spot::in_dir(folder, name, store.root.path().join(target.join("/")));
    match disk::link(&file, &spot, if_exists, spare) {
        Ok(true) => Ok(disk::stamp(&file).ok()),
        Ok(false) => Err(name_taken(target)),
        // Not every filesystem has links, and a file can have so many only.
        Err(_) => Ok(None),
    }
}

/// The receipt, written, and the spot for the rename.
fn prepare(
    store: &Store,
    upload: &Upload,
    data: &Path,
    target: &[String],
    digests: Digests,
    if_exists: IfExists,
) -> Outcome<(Spot, Receipt)> {
    let parts = texts(target);
    let trouble = |fault: Fault| store.trouble(&fault);
    let version = upload.head.line.as_ref().and_then(|line| line.replaces.as_ref());
    if version.is_some_and(|version| store.root.version(&parts).is_none_or(|now| now.etag != *version)) {
        let problem = Problem::new(Reason::Precondition, "the file is no longer the version that was to be replaced");
        return Err(Box::new(problem.hint("look at the file, and send it anew if it is still to be replaced")));
    }
    match store.root.taken(&parts).map_err(trouble)? {
        Taken::File(_) if if_exists == IfExists::Replace => {}
        Taken::Free => {}
        _ => return Err(name_taken(target)),
    }
    let Some(folder) = store.root.folder_of(&parts, true).map_err(trouble)? else { return Err(name_taken(target)) };
    let here = std::fs::symlink_metadata(data).map_err(|e| trouble(disk::fault("look at", data, &e)))?;
    if folder.metadata().is_ok_and(|meta| meta.dev() != here.dev()) {
        return Err(Box::new(Problem::new(Reason::BadName, "that folder lies on another filesystem of the server")));
    }
    let modified = upload.head.modified.as_deref().and_then(|text| humantime::parse_rfc3339_weak(text).ok());
    if let Some(time) = modified {
        disk::set_modified(data, time).map_err(trouble)?;
    }
    let receipt = Receipt {
        head: upload.head_now(),
        path: target.join("/"),
        digests,
        inode: here.ino(),
        finished: SystemTime::now(),
        complete: false,
    };
    receipt.write(&store.receipt_file(&upload.head.id)).map_err(trouble)?;
    disk::point("receipt-written");
    let shown = store.root.path().join(&receipt.path);
    Ok((Spot::in_dir(folder, leaf(&receipt.path), shown), receipt))
}

/// Writes the bytes of `part` to `place` in `file`, as far as they are missing there.
fn copy_part(part: &PartialFile, file: &PartialFile, place: ByteRange) -> Result<(), Fault> {
    let mut buffer = vec![0; BLOCK];
    let gaps: Vec<ByteRange> = file.held().missing(place).collect();
    for gap in gaps {
        let busy = || Fault::new(Kind::Other, "a file that is being joined is written by somebody else");
        let mut writer = file.writer(gap).ok_or_else(busy)?;
        while writer.at() < gap.end {
            let block = &mut buffer[..usize::try_from(gap.end - writer.at()).unwrap_or(BLOCK).min(BLOCK)];
            part.read_at(block, writer.at() - place.start)?;
            writer.write(block)?;
        }
    }
    Ok(())
}

/// Reads the finished file of `entry`, hashing it and, with `into`, copying what is missing there.
fn copy(store: &Store, entry: &Entry, into: Option<&PartialFile>, layout: Layout, md5: &Digest) -> Outcome<Digests> {
    let changed = || Box::new(Problem::new(Reason::ProofFailed, "the equal file is not there any more"));
    let parts: Vec<&str> = entry.path.split('/').collect();
    let source = store.root.file(&parts).ok_or_else(changed)?;
    let as_known = |file: &File| disk::stamp(file).is_ok_and(|stamp| stamp == entry.stamp);
    if !as_known(&source) || entry.stamp.size != layout.length() {
        return Err(changed());
    }
    let mut piece = into.map(|file| Piece::new(Ground::Partial(file.clone()), layout.whole(), &[]));
    let mut hashers = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Crc64Nvme].map(Hasher::new);
    let mut buffer = vec![0; BLOCK];
    let mut at = 0;
    while at < layout.length() {
        let block = &mut buffer[..usize::try_from(layout.length() - at).unwrap_or(BLOCK).min(BLOCK)];
        // Hashed is what is here now, not what was there.
        match &mut piece {
            Some(piece) => piece.copy(&source, block).map_err(|refused| not_copied(store, refused))?,
            None => source.read_exact_at(block, at).map_err(|_| changed())?,
        }
        hashers.iter_mut().for_each(|hasher| hasher.update(block));
        at += block.len() as u64;
    }
    let mut digests = Digests::default();
    hashers.into_iter().for_each(|hasher| digests.set(hasher.finish()));
    if !as_known(&source) {
        return Err(changed());
    }
    if digests.get(Algorithm::Md5) != Some(md5) {
        return Err(Box::new(Problem::new(Reason::ProofFailed, "the file offered is not of that MD5 after all")));
    }
    if let Some(piece) = piece {
        piece.accept().map_err(|refused| not_copied(store, refused))?;
    }
    Ok(digests)
}

fn not_copied(store: &Store, refused: Refused) -> Box<Problem> {
    match refused {
        Refused::Disk(fault) => store.trouble(&fault),
        Refused::Differs => Box::new(Problem::new(Reason::ProofFailed, "what was sent is not the content offered")),
        _ => Box::new(Problem::new(Reason::Busy, "the upload is being written")),
    }
}

fn name_taken(target: &[String]) -> Box<Problem> {
    let problem = Problem::new(Reason::NameTaken, format!("{} exists by now", target.join("/")));
    Box::new(problem.hint("the upload is kept; complete it under another name"))
}

fn texts(parts: &[String]) -> Vec<&str> {
    parts.iter().map(String::as_str).collect()
}

fn sum_of(file: &PartialFile, range: ByteRange) -> Option<Crc> {
    let (mut crc, mut buffer, mut at) = (RunningCrc::default(), vec![0; BLOCK], range.start);
    while at < range.end {
        let block = &mut buffer[..usize::try_from(range.end - at).unwrap_or(BLOCK).min(BLOCK)];
        file.read_at(block, at).ok()?;
        crc.update(block);
        at += block.len() as u64;
    }
    Some(crc.crc())
}

/// The refusal of an upload that is not whole.
pub fn incomplete(layout: &Layout, held: &ByteSet) -> Box<Problem> {
    let chunks = missing(layout, held);
    let text = format!("{} of {} chunks are missing", chunks.len(), layout.count());
    Box::new(Problem { missing: Some(Runs(chunks)), ..Problem::new(Reason::Incomplete, text) })
}

/// The path on the disk of a name, for folders that must exist.
pub fn parts_of(folder: &str, name: &str) -> Vec<String> {
    let path = match (folder, name.strip_prefix('/')) {
        (_, Some(absolute)) => PathBuf::from(absolute),
        (folder, None) => Path::new(folder).join(name),
    };
    path.iter().map(|part| part.to_string_lossy().into_owned()).collect()
}
