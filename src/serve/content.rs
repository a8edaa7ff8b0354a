//! What finished files hold: their digests, read once for all who ask at the same time, and remembered.

use super::known::Entry;
use super::store::Store;
use crate::digest::{Algorithm, Hasher};
use crate::disk;
use crate::wire::handshake::Digests;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError};
use tokio::sync::watch;

/// How much of a file is read at once, in bytes.
const BLOCK: usize = 1 << 20;

/// What is known of the content of the finished file `path`, computing its digests when they are not known. The
/// reading waits for its turn and goes on whoever stops waiting for it: all who ask meanwhile hear the same.
pub async fn content_of(store: &Arc<Store>, path: String) -> Option<Entry> {
    let mut over = {
        let mut reading = store.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let (tell, over) = watch::channel(None);
            tokio::spawn(read_content(store.clone(), path.clone(), tell));
            over
        };
        reading.entry(path.clone()).or_insert_with(begin).clone()
    };
    let ended = over.wait_for(Option::is_some).await.ok()?;
    ended.clone().flatten()
}

async fn read_content(store: Arc<Store>, path: String, tell: watch::Sender<Option<Option<Entry>>>) {
    let read = {
        let _turn = store.checking.lock().await;
        let (store, path) = (store.clone(), path.clone());
        tokio::task::spawn_blocking(move || content_now(&store, path)).await
    };
    store.reading.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
    tell.send_replace(Some(read.ok().flatten()));
}

fn content_now(store: &Store, path: String) -> Option<Entry> {
    let parts: Vec<&str> = path.split('/').collect();
    let file = store.root.file(&parts)?;
    let stamp = disk::stamp(&file).ok()?;
    let old = store.known.of_file(&path, &stamp);
    if let Some(entry) = old.as_ref().filter(|entry| entry.digests.get(Algorithm::Md5).is_some()) {
        return Some(entry.clone());
    }
    let digests = whole_file(&file, stamp.size)?;
    if disk::stamp(&file).ok()? != stamp {
        return None;
    }
    let domain = old.map(|entry| entry.domain).unwrap_or_default();
    let entry = Entry { path, domain, claimed_md5: None, digests, stamp };
    store.known.announce(&entry);
    let _ = store.known.remember(&entry);
    Some(entry)
}

fn whole_file(file: &File, size: u64) -> Option<Digests> {
    let mut hashers = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Crc64Nvme].map(Hasher::new);
    let (mut buffer, mut at) = (vec![0; BLOCK], 0);
    while at < size {
        let block = &mut buffer[..usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK)];
        file.read_exact_at(block, at).ok()?;
        hashers.iter_mut().for_each(|hasher| hasher.update(block));
        at += block.len() as u64;
    }
    let mut digests = Digests::default();
    hashers.into_iter().for_each(|hasher| digests.set(hasher.finish()));
    Some(digests)
}

#[cfg(test)]
mod tests {
    use super::super::Rules;
    use super::super::root::Root;
    use super::*;
    use crate::digest::Crc;
    use crate::event::{Event, FileId, Observer};
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    struct Deaf;

    impl Observer for Deaf {
        fn on(&self, _: FileId, _: &Event) {}
    }

    /// Whoever gives up waiting and asks again waits for the reading that has begun.
    #[tokio::test]
    async fn one_reading_for_all_who_ask() {
        let dir = tempfile::tempdir().unwrap();
        disk::replace(&dir.path().join("f"), b"abc", false).unwrap();
        let root = Arc::new(Root::open(dir.path()).unwrap());
        let store = Arc::new(Store::open(root, Rules::default(), Arc::new(Deaf)).unwrap());
        let turn = store.checking.lock().await;
        for _ in 0..3 {
            let mut asking = pin!(content_of(&store, "f".into()));
            assert!(matches!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        }
        tokio::task::yield_now().await;
        assert_eq!(store.reading.lock().unwrap().len(), 1);
        let waiting = content_of(&store, "f".into());
        drop(turn);
        let entry = waiting.await.unwrap();
        assert_eq!(entry.digests.get(Algorithm::Crc64Nvme), Some(&Crc::of(b"abc").digest()));
        assert!(store.reading.lock().unwrap().is_empty());
    }
}
