//! The source of an upload: opened once, watched for changes, read for sums and for digests of the whole.

use crate::chunk::{ByteRange, Layout};
use crate::digest::{Algorithm, Crc, Digest, Hasher, RunningCrc};
use crate::disk;
use crate::fault::{Fault, Kind};
use crate::net::Warm;
use crate::record::{PrefixHash, Stamp};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::oneshot;

/// How much is read at once for a sum: it stays in the processor's cache.
const BLOCK: usize = 128 << 10;
/// A hash state is kept for the record each time so many bytes have gone by.
const SAVED_EVERY: u64 = 64 << 20;

/// The file that is sent, and what told it from other versions when it was opened.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    file: Arc<File>,
    stamp: Stamp,
}

/// What became of the source since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It was written to, replaced or touched; its length is the same.
    Content,
    /// It is longer or shorter, or gone.
    Length,
}

impl Source {
    /// Opens a regular file.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let file = disk::open_source(path)?;
        let stamp = disk::stamp(&file).map_err(|e| disk::fault("look at", path, &e))?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), stamp })
    }

    /// What tells it from other versions.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The length in bytes when it was opened.
    pub fn length(&self) -> u64 {
        self.stamp.size
    }

    /// The open file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// When it was last written to.
    pub fn modified(&self) -> Option<SystemTime> {
        self.file.metadata().ok()?.modified().ok()
    }

    /// What became of it since. The path counts, not only the open file: editors replace files by a rename.
    pub fn change(&self) -> Change {
        let named = match std::fs::metadata(&self.path) {
            Ok(meta) => disk::stamp_of(&meta),
            Err(_) => return Change::Length,
        };
        let open = disk::stamp(&self.file);
        match open {
            Ok(open) if open == self.stamp && named == self.stamp => Change::None,
            Ok(_) if named.size == self.stamp.size => Change::Content,
            _ => Change::Length,
        }
    }

    /// The sum of `range`.
    pub fn sum(&self, range: ByteRange) -> io::Result<Crc> {
        let mut crc = RunningCrc::default();
        self.read(range, |block| crc.update(block))?;
        Ok(crc.crc())
    }

    /// The sum of `range`, and what is kept of it in memory to be sent soon.
    pub fn sum_to_send(&self, range: ByteRange) -> io::Result<(Crc, Warm)> {
        let mut crc = RunningCrc::default();
        let warm = Warm::read(&self.file, range, |block| crc.update(block))?;
        Ok((crc.crc(), warm))
    }

    /// Reads `range` block by block.
    pub fn read(&self, range: ByteRange, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; BLOCK.min(range.len() as usize)];
        let mut at = range.start;
        while at < range.end {
            let block = &mut buffer[..(range.end - at).min(BLOCK as u64) as usize];
            self.file.read_exact_at(block, at)?;
            take(block);
            at += block.len() as u64;
        }
        Ok(())
    }

    /// The fault that a failed read of the source means. Its end come too early means that it shrank.
    pub fn fault(&self, error: &io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.resized(),
            _ => disk::fault("read", &self.path, error),
        }
    }

    /// The fault that the length has changed.
    pub fn resized(&self) -> Fault {
        let now = std::fs::metadata(&self.path).map(|meta| meta.len());
        let text = match now {
            Ok(now) => format!(
                "{} changed its length from {} to {now} bytes while it was being sent",
                disk::shown(&self.path),
                self.length()
            ),
            Err(_) => format!("{} went away while it was being sent", disk::shown(&self.path)),
        };
        Fault::new(Kind::Changed, text).hint("run the same command again once nothing writes to it any more")
    }
}

/// Work on a thread of its own: how far it is, and the wish to end it.
#[derive(Default)]
struct Thread {
    at: AtomicU64,
    cancelled: AtomicBool,
    saved: Mutex<Option<Prefix>>,
}

/// Hash states over the same first bytes.
type Prefix = BTreeMap<String, PrefixHash>;

/// Digests of the whole source, computed beside the transfer. Dropped, it stops.
pub struct Beside {
    thread: Arc<Thread>,
    result: oneshot::Receiver<io::Result<Vec<Digest>>>,
}

impl Beside {
    /// Starts hashing by `algorithms`, from saved states where they fit.
    pub fn start(source: &Source, algorithms: &[Algorithm], saved: &Prefix) -> Self {
        Self::of_first(source, source.length(), algorithms, saved)
    }

    /// The same over the first `end` bytes alone.
    pub fn of_first(source: &Source, end: u64, algorithms: &[Algorithm], saved: &Prefix) -> Self {
        let end = end.min(source.length());
        let (hashers, from) = restored(algorithms, saved, end);
        let thread = Arc::new(Thread { at: AtomicU64::new(from), ..Thread::default() });
        let (tell, result) = oneshot::channel();
        let (source, shared) = (source.clone(), thread.clone());
        std::thread::spawn(move || {
            let _ = tell.send(hash(&source, hashers, ByteRange::new(from, end), &shared));
        });
        Self { thread, result }
    }

    /// Bytes hashed.
    pub fn at(&self) -> u64 {
        self.thread.at.load(Ordering::Relaxed)
    }

    /// States to go on with in another process.
    pub fn saved(&self) -> Option<Prefix> {
        self.thread.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The digests, once they are known; then never again.
    pub fn ready(&mut self) -> Option<io::Result<Vec<Digest>>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(io::Error::other("the hashing thread ended early"))),
        }
    }

    /// The digests, once. Safe to cancel.
    pub async fn digests(&mut self) -> io::Result<Vec<Digest>> {
        match (&mut self.result).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the hashing thread ended early")),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.thread.cancelled.store(true, Ordering::Relaxed);
    }
}

/// The hashers of saved states when there is one for each, all over the same bytes; fresh ones otherwise.
fn restored(algorithms: &[Algorithm], saved: &Prefix, length: u64) -> (Vec<Hasher>, u64) {
    let fresh = || (algorithms.iter().map(|algorithm| Hasher::new(*algorithm)).collect(), 0);
    let at = algorithms.first().and_then(|first| saved.get(first.name())).map_or(0, |prefix| prefix.bytes);
    if at == 0 || at > length {
        return fresh();
    }
    let one = |algorithm: &Algorithm| {
        let prefix = saved.get(algorithm.name()).filter(|prefix| prefix.bytes == at)?;
        Hasher::restore(*algorithm, &prefix.state)
    };
    match algorithms.iter().map(one).collect::<Option<Vec<Hasher>>>() {
        Some(hashers) => (hashers, at),
        None => fresh(),
    }
}

fn hash(source: &Source, mut hashers: Vec<Hasher>, range: ByteRange, thread: &Thread) -> io::Result<Vec<Digest>> {
    let mut at = range.start;
    while at < range.end {
        let end = (at + BLOCK as u64 * 8).min(range.end);
        source.read(ByteRange::new(at, end), |block| hashers.iter_mut().for_each(|hasher| hasher.update(block)))?;
        if thread.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("no longer wanted"));
        }
        if end / SAVED_EVERY != at / SAVED_EVERY {
            let state = |hasher: &Hasher| {
                Some((hasher.algorithm().name().to_string(), PrefixHash { bytes: end, state: hasher.save()? }))
            };
            *thread.saved.lock().unwrap_or_else(PoisonError::into_inner) = hashers.iter().map(state).collect();
        }
        at = end;
        thread.at.store(at, Ordering::Relaxed);
    }
    Ok(hashers.into_iter().map(Hasher::finish).collect())
}

/// Sums of many ranges, read on a thread of its own. Dropped, it stops.
pub struct Sums {
    thread: Arc<Thread>,
    result: oneshot::Receiver<io::Result<Vec<Crc>>>,
}

impl Sums {
    /// Starts reading.
    pub fn start(source: &Source, ranges: Vec<ByteRange>) -> Self {
        let thread = Arc::new(Thread::default());
        let (tell, result) = oneshot::channel();
        let (source, shared) = (source.clone(), thread.clone());
        std::thread::spawn(move || {
            let one = |range: &ByteRange| {
                if shared.cancelled.load(Ordering::Relaxed) {
                    return Err(io::Error::other("no longer wanted"));
                }
                let crc = source.sum(*range)?;
                shared.at.fetch_add(range.len(), Ordering::Relaxed);
                Ok(crc)
            };
            let _ = tell.send(ranges.iter().map(one).collect());
        });
        Self { thread, result }
    }

    /// Bytes read.
    pub fn at(&self) -> u64 {
        self.thread.at.load(Ordering::Relaxed)
    }

    /// The sums, in the order of the ranges. Safe to cancel.
    pub async fn sums(&mut self) -> io::Result<Vec<Crc>> {
        match (&mut self.result).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the reading thread ended early")),
        }
    }
}

impl Drop for Sums {
    fn drop(&mut self) {
        self.thread.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Digests of all chunks of the source, computed on a thread of its own. Dropped, it stops.
pub struct ChunkDigests {
    thread: Arc<Thread>,
    known: Arc<Mutex<Vec<Digest>>>,
    result: oneshot::Receiver<io::Result<()>>,
}

impl ChunkDigests {
    /// Starts after the first chunks, whose digests are `known`.
    pub fn start(source: &Source, algorithm: Algorithm, layout: Layout, known: Vec<Digest>) -> Self {
        let begun = layout.chunk_size().saturating_mul(known.len() as u64).min(layout.length());
        let thread = Arc::new(Thread { at: AtomicU64::new(begun), ..Thread::default() });
        let (from, known) = (known.len() as u64, Arc::new(Mutex::new(known)));
        let (tell, result) = oneshot::channel();
        let (source, shared, into) = (source.clone(), thread.clone(), known.clone());
        std::thread::spawn(move || {
            let one = |index: u64| {
                let mut hasher = Hasher::new(algorithm);
                for range in pieces(layout.range(index)) {
                    if shared.cancelled.load(Ordering::Relaxed) {
                        return Err(io::Error::other("no longer wanted"));
                    }
                    source.read(range, |block| hasher.update(block))?;
                    shared.at.fetch_add(range.len(), Ordering::Relaxed);
                }
                into.lock().unwrap_or_else(PoisonError::into_inner).push(hasher.finish());
                Ok(())
            };
            let chunks = if layout.length() == 0 { 0 } else { layout.count() };
            let _ = tell.send((from..chunks).try_for_each(one));
        });
        Self { thread, known, result }
    }

    /// Bytes hashed.
    pub fn at(&self) -> u64 {
        self.thread.at.load(Ordering::Relaxed)
    }

    /// The digests of the first chunks, as far as they are known.
    pub fn known(&self) -> Vec<Digest> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All digests, in order. Safe to cancel.
    pub async fn digests(&mut self) -> io::Result<Vec<Digest>> {
        match (&mut self.result).await {
            Ok(done) => done.map(|()| self.known()),
            Err(_) => Err(io::Error::other("the hashing thread ended early")),
        }
    }
}

impl Drop for ChunkDigests {
    fn drop(&mut self) {
        self.thread.cancelled.store(true, Ordering::Relaxed);
    }
}

/// A range in pieces between which one can stop.
fn pieces(range: ByteRange) -> impl Iterator<Item = ByteRange> {
    const PIECE: u64 = 8 << 20;
    (range.start..range.end).step_by(PIECE as usize).map(move |at| ByteRange::new(at, range.end.min(at + PIECE)))
}

#[cfg(test)]
mod tests {
    // A test may write a file without ceremony.
    #![allow(clippy::disallowed_methods)]
    use super::*;

    type Deed<'a> = &'a dyn Fn(&Path);

    fn source(bytes: &[u8]) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, bytes).unwrap();
        let source = Source::open(&path).unwrap();
        (dir, source)
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
        let cases: [(Deed<'_>, Change); 5] = [
            (&|_| {}, Change::None),
            (&|path| write(path, b"other"), Change::Content),
            (&|path| write(path, b"longer than before"), Change::Length),
            (&|path| std::fs::remove_file(path).unwrap(), Change::Length),
            (
                &|path| {
                    let new = path.with_extension("new");
                    write(&new, b"12345");
                    std::fs::rename(new, path).unwrap();
                },
                Change::Content,
            ),
        ];
        for (change, seen) in cases {
            let (dir, source) = source(b"12345");
            assert_eq!(source.change(), Change::None);
            std::thread::sleep(std::time::Duration::from_millis(5));
            change(&dir.path().join("f"));
            assert_eq!(source.change(), seen);
        }
    }

    #[tokio::test]
    async fn digests_beside_go_on_from_a_saved_state() {
        let bytes: Vec<u8> = (0..(SAVED_EVERY as usize + 3_000_000)).map(|n| (n / 7) as u8).collect();
        let (_dir, source) = source(&bytes);
        let algorithms = [Algorithm::Md5, Algorithm::Sha256];
        let mut first = Beside::start(&source, &algorithms, &Prefix::new());
        let digests = first.digests().await.unwrap();
        let saved = first.saved().unwrap();
        assert_eq!(saved["md5"].bytes, SAVED_EVERY);
        let mut second = Beside::start(&source, &algorithms, &saved);
        assert!(second.at() >= SAVED_EVERY);
        assert_eq!(second.digests().await.unwrap(), digests);
        let mut whole = Hasher::new(Algorithm::Md5);
        whole.update(&bytes);
        assert_eq!(digests[0], whole.finish());
        let mut unequal = saved;
        unequal.get_mut("md5").unwrap().bytes = 1;
        assert_eq!(restored(&algorithms, &unequal, source.length()).1, 0);
    }

    #[tokio::test]
    async fn digests_of_chunks_go_on_after_the_known_ones() {
        let bytes: Vec<u8> = (0..25_000u32).map(|n| (n / 7) as u8).collect();
        let (_dir, source) = source(&bytes);
        let layout = Layout::new(25_000, 10_000);
        let all = ChunkDigests::start(&source, Algorithm::Sha512, layout, Vec::new()).digests().await.unwrap();
        let mut last = Hasher::new(Algorithm::Sha512);
        last.update(&bytes[20_000..]);
        assert_eq!((all.len(), all[2].clone()), (3, last.finish()));
        let mut rest = ChunkDigests::start(&source, Algorithm::Sha512, layout, all[..2].to_vec());
        assert!(rest.at() >= 20_000);
        assert_eq!(rest.digests().await.unwrap(), all);
    }

    #[tokio::test]
    async fn sums_of_ranges_and_a_source_that_shrank() {
        let (dir, source) = source(&[7; 500_000]);
        let ranges = vec![ByteRange::new(0, 200_000), ByteRange::new(400_000, 500_000)];
        let sums = Sums::start(&source, ranges).sums().await.unwrap();
        assert_eq!(sums, [Crc::of(&[7; 200_000]), Crc::of(&[7; 100_000])]);
        std::fs::write(dir.path().join("f"), [7; 10]).unwrap();
        let error = source.sum(ByteRange::new(0, 500_000)).unwrap_err();
        assert_eq!(source.fault(&error).kind, Kind::Changed);
    }
}
