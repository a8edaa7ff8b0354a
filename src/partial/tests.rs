//! One file through its whole life: begun, kept, resumed, damaged, proven, published.

// A test may write a file without ceremony.
#![allow(clippy::disallowed_methods)]

use super::*;

const LEN: u64 = 2500;

fn content() -> Vec<u8> {
    (0..LEN as u32).map(|n| (n * 131 % 253) as u8).collect()
}

fn record() -> Record {
    let mut record = Record::new(Kind::Download, "http://h/f", "f", 1000);
    record.length = Some(LEN);
    record
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn target(&self) -> PathBuf {
        self.0.path().join("f")
    }

    fn slot(&self) -> Slot {
        Slot::take(Place::beside(&self.target())).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn write(file: &PartialFile, start: u64, end: u64) {
    let mut writer = file.writer(ByteRange::new(start, end)).expect("the range is free");
    for piece in content()[start as usize..end as usize].chunks(333) {
        writer.write(piece).unwrap();
    }
}

#[tokio::test]
async fn a_quick_file_leaves_no_record() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 1500, LEN);
    write(&file, 0, 1500);
    assert_eq!(file.sum(ByteRange::new(0, LEN)), Some(Crc::of(&content())));
    file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
    assert_eq!(std::fs::read(folder.target()).unwrap(), content());
    assert_eq!(folder.names(), ["f"]);
}

#[tokio::test]
async fn held_bytes_and_claimed_bytes_are_nobody_elses() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 100, 200);
    assert!(file.writer(ByteRange::new(150, 160)).is_none() && file.writer(ByteRange::new(0, 101)).is_none());
    let mut one = file.writer(ByteRange::new(200, 1000)).unwrap();
    assert!(file.writer(ByteRange::new(900, 1100)).is_none());
    one.shrink(500);
    assert!(file.writer(ByteRange::new(500, 600)).is_some());
    assert!(one.write(&[0; 301]).is_err());
    one.write(&content()[200..300]).unwrap();
    drop(one);
    assert_eq!(file.held().to_string(), "100-299");
    assert!(file.writer(ByteRange::new(300, 500)).is_some());
}

#[tokio::test]
async fn what_is_durable_comes_back_and_a_clean_end_needs_no_proof() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, 1700);
    file.durable().await.unwrap();
    let text = std::fs::read_to_string(folder.0.path().join("f.partial.toml")).unwrap();
    assert!(text.contains("done = \"0\"") && text.contains("1 = \"0-699\""), "{text}");
    file.keep().await.unwrap();

    let file = folder.slot().resume().unwrap();
    assert!(!file.needs_proof());
    assert_eq!(file.held().to_string(), "0-1699");
    write(&file, 1700, LEN);
    file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
    assert_eq!(std::fs::read(folder.target()).unwrap(), content());
    assert_eq!(folder.names(), ["f"]);
}

#[tokio::test]
async fn damage_is_found_and_only_damage_is_fetched_again() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, LEN);
    file.keep().await.unwrap();
    let data = folder.0.path().join("f.partial");
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[1234] ^= 1;
    std::fs::write(&data, &bytes).unwrap();

    let file = folder.slot().resume().unwrap();
    assert!(file.needs_proof());
    let follower = file.follow(&[Algorithm::Md5]);
    assert_eq!(file.prove().await.unwrap().to_string(), "1000-1999");
    write(&file, 1000, 2000);
    let mut md5 = crate::digest::Hasher::new(Algorithm::Md5);
    md5.update(&content());
    assert_eq!(follower.digests().await.unwrap(), [md5.finish()]);
    file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
    assert_eq!(std::fs::read(folder.target()).unwrap(), content());
}

#[tokio::test]
async fn one_process_at_a_time() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    let refused = Slot::take(Place::beside(&folder.target())).err().unwrap();
    assert_eq!(refused.kind, FaultKind::Held);
    drop(file);
    folder.slot().release();
}

#[tokio::test]
async fn a_taken_name_is_not_replaced_and_the_bytes_stay() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, LEN);
    std::fs::write(folder.target(), "good").unwrap();
    let refused = file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Local);
    assert_eq!(std::fs::read(folder.target()).unwrap(), b"good");
    let file = folder.slot().resume().unwrap();
    assert_eq!(file.held().len(), LEN);
    file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Replace).await.unwrap();
    assert_eq!(std::fs::read(folder.target()).unwrap(), content());
}

/// Small files end in groups: what is wrong with one of them is not the others' affair.
#[tokio::test]
async fn of_files_that_end_together_each_ends_in_its_own_way() {
    let folder = Folder::new();
    let target = |name: &str| folder.0.path().join(name);
    std::fs::write(target("2"), "another's").unwrap();
    let begin = |name: &str| {
        let file = Slot::take(Place::beside(&target(name))).unwrap().begin(record()).unwrap();
        write(&file, 0, if name == "3" { LEN - 1 } else { LEN });
        let into = Spot::at(&target(name)).unwrap();
        tokio::spawn(file.finish(into, IfExists::Fail))
    };
    let ends: Vec<_> = (0..5).map(|n| begin(&n.to_string())).collect();
    for (n, end) in ends.into_iter().enumerate() {
        let outcome = end.await.unwrap();
        assert_eq!(outcome.is_ok(), n != 2 && n != 3, "{n}: {outcome:?}");
    }
    for name in ["0", "1", "4"] {
        assert_eq!(std::fs::read(target(name)).unwrap(), content());
    }
    assert_eq!(std::fs::read(target("2")).unwrap(), b"another's");
    assert_eq!(std::fs::read(target("2.partial")).unwrap(), content(), "all bytes are kept");
    assert!(!target("3").exists(), "it is not complete");
    // A group whose leader goes away with its runtime leaves nobody behind who waits for it.
    let lost = |name: &'static str| {
        let file = Slot::take(Place::beside(&target(name))).unwrap().begin(record()).unwrap();
        write(&file, 0, LEN);
        (file, Spot::at(&target(name)).unwrap())
    };
    let (file, into) = lost("5");
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = file.finish(into, IfExists::Fail) => panic!("it was not waited for"),
                () = std::future::ready(()) => {}
            }
        });
    })
    .join()
    .unwrap();
    let (file, into) = lost("6");
    file.finish(into, IfExists::Fail).await.unwrap();
    assert_eq!(std::fs::read(target("6")).unwrap(), content());
}

#[tokio::test]
async fn a_saved_hash_state_goes_on_in_the_next_run() {
    let folder = Folder::new();
    let mut big = record();
    let length = SAVE_STATE_AFTER + 5000;
    big.length = Some(length);
    big.chunk_size = 1 << 20;
    let bytes: Vec<u8> = (0..length).map(|n| (n % 249) as u8).collect();
    let file = folder.slot().begin(big).unwrap();
    let follower = file.follow(&[Algorithm::Sha256]);
    file.writer(ByteRange::new(0, length - 1000)).unwrap().write(&bytes[..bytes.len() - 1000]).unwrap();
    while file.record().prefix.is_empty() {
        file.durable().await.unwrap();
    }
    drop(follower);
    file.keep().await.unwrap();

    let file = folder.slot().resume().unwrap();
    assert!(file.record().prefix["sha-256"].bytes > 0);
    let follower = file.follow(&[Algorithm::Sha256]);
    file.writer(ByteRange::new(length - 1000, length)).unwrap().write(&bytes[bytes.len() - 1000..]).unwrap();
    let mut whole = crate::digest::Hasher::new(Algorithm::Sha256);
    whole.update(&bytes);
    assert_eq!(follower.digests().await.unwrap(), [whole.finish()]);
}

const SAVE_STATE_AFTER: u64 = 16 << 20;

/// A file of a little more than [`SAVE_STATE_AFTER`] bytes, all there, with a saved hash state in its record.
async fn hashed_file(folder: &Folder) -> (PartialFile, Follower, u64) {
    let length = SAVE_STATE_AFTER + 5000;
    let file = folder.slot().begin(Record { length: Some(length), chunk_size: 1 << 20, ..record() }).unwrap();
    let follower = file.follow(&[Algorithm::Sha256]);
    file.writer(ByteRange::new(0, length - 1)).unwrap().write(&vec![1; length as usize - 1]).unwrap();
    while file.record().prefix.is_empty() {
        file.durable().await.unwrap();
    }
    (file, follower, length)
}

#[tokio::test]
async fn a_hash_state_goes_with_the_bytes_it_covers() {
    let folder = Folder::new();
    let (file, follower, length) = hashed_file(&folder).await;
    let covered = file.record().prefix["sha-256"].bytes;
    file.forget(&ByteSet::of(ByteRange::new(covered, length))).await.unwrap();
    assert_eq!(file.record().prefix["sha-256"].bytes, covered, "it says nothing of what lies behind");
    drop(follower);
    file.keep().await.unwrap();

    // Neither a state of this run nor one of an earlier run survives, also on the disk.
    let file = folder.slot().resume().unwrap();
    assert!(!file.record().prefix.is_empty());
    file.forget(&ByteSet::of(ByteRange::new(0, 1 << 20))).await.unwrap();
    assert!(file.record().prefix.is_empty());
    let saved = std::fs::read_to_string(folder.0.path().join("f.partial.toml")).unwrap();
    assert!(!saved.contains("sha-256"), "{saved}");
    let mut bytes = vec![2; 1 << 20];
    file.writer(ByteRange::new(0, 1 << 20)).unwrap().write(&bytes).unwrap();
    let follower = file.follow(&[Algorithm::Sha256]);
    file.writer(ByteRange::new(file.held().prefix(), length))
        .unwrap()
        .write(&vec![1; (length - covered) as usize])
        .unwrap();
    bytes.resize(length as usize, 1);
    let mut whole = crate::digest::Hasher::new(Algorithm::Sha256);
    whole.update(&bytes);
    assert_eq!(follower.digests().await.unwrap(), [whole.finish()]);
}

/// Bytes are taken out twice before the hashing thread looks: the first place is not forgotten over the second.
#[tokio::test]
async fn who_hashes_sees_the_first_byte_that_was_taken_out() {
    let folder = Folder::new();
    let (file, follower, length) = hashed_file(&folder).await;
    {
        let mut state = file.shared.lock();
        state.forget(&ByteSet::of(ByteRange::new(0, 1 << 20)), &[]);
        state.forget(&ByteSet::of(ByteRange::new(SAVE_STATE_AFTER, length)), &[]);
    }
    let mut bytes = vec![2; 1 << 20];
    file.writer(ByteRange::new(0, 1 << 20)).unwrap().write(&bytes).unwrap();
    file.writer(ByteRange::new(SAVE_STATE_AFTER, length)).unwrap().write(&vec![1; 5000]).unwrap();
    bytes.resize(length as usize, 1);
    let mut whole = crate::digest::Hasher::new(Algorithm::Sha256);
    whole.update(&bytes);
    assert_eq!(follower.digests().await.unwrap(), [whole.finish()]);
}

#[tokio::test]
async fn a_sealed_file_is_not_written_to_and_nobody_waits_for_bytes() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, 2000);
    assert_eq!(file.seal(), None, "not all is there");
    write(&file, 2000, LEN);
    assert_eq!(file.seal(), Some(Crc::of(&content())));
    let follower = file.follow(&[Algorithm::Md5]);
    file.forget(&ByteSet::of(ByteRange::new(0, 1000))).await.unwrap();
    assert!(file.writer(ByteRange::new(0, 1000)).is_none() && file.draft(ByteRange::new(0, 1000)).is_none());
    // Either it had read all of it before, or it says that the bytes are gone: it does not wait.
    if let Err(fault) = follower.digests().await {
        assert_eq!(fault.kind, FaultKind::Interrupted);
    }
    let late = file.follow(&[Algorithm::Md5]);
    assert_eq!(late.digests().await.unwrap_err().kind, FaultKind::Interrupted);
}

#[tokio::test]
async fn forgetting_a_part_keeps_the_sound_rest() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, LEN);
    file.durable().await.unwrap();
    let gone = file.forget(&ByteSet::of(ByteRange::new(1200, 1300))).await.unwrap();
    assert_eq!((gone.to_string(), file.held().to_string()), ("1200-1299".into(), "0-1199,1300-2499".into()));
    // It says nothing of bytes that are no longer what they were.
    disk::write_at(&file.shared.data, b"rot", 100).unwrap();
    let gone = file.forget(&ByteSet::of(ByteRange::new(0, 10))).await.unwrap();
    assert_eq!((gone.to_string(), file.held().to_string()), ("0-999".into(), "1000-1199,1300-2499".into()));
    file.keep().await.unwrap();
    let file = folder.slot().resume().unwrap();
    assert_eq!(file.held().to_string(), "1000-1199,1300-2499");
    write(&file, 0, 1000);
    write(&file, 1200, 1300);
    assert_eq!(file.seal(), Some(Crc::of(&content())));
}

#[tokio::test]
async fn a_closed_file_does_not_let_anybody_wait_for_a_sync() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, 1000);
    file.clone().keep().await.unwrap();
    assert_eq!(file.durable().await.unwrap_err().kind, FaultKind::Interrupted);
}

#[tokio::test]
async fn a_missing_record_parks_the_data() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("f.partial"), "old").unwrap();
    let slot = folder.slot();
    assert!(slot.record().is_none());
    let file = slot.begin(record()).unwrap();
    assert!(folder.names().contains(&"f.old.partial".to_string()));
    write(&file, 0, LEN);
    file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
    assert_eq!(folder.names(), ["f"]);
}

#[tokio::test]
async fn what_somebody_else_calls_so_is_not_ours() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("f.partial"), "old").unwrap();
    std::fs::write(folder.0.path().join("f.old.partial"), "somebody's").unwrap();
    let file = folder.slot().begin(record()).unwrap();
    assert_eq!(folder.names(), ["f.old.partial", "f.parked.partial", "f.partial", "f.partial.toml"]);
    write(&file, 0, LEN);
    file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
    assert_eq!(folder.names(), ["f", "f.old.partial"]);
    assert_eq!(std::fs::read(folder.0.path().join("f.old.partial")).unwrap(), b"somebody's");
}

#[tokio::test]
async fn where_nothing_can_make_way_the_record_stays() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, 1500);
    file.keep().await.unwrap();
    for taken in ["f.old.partial", "f.parked.partial"] {
        std::fs::write(folder.0.path().join(taken), "somebody's").unwrap();
    }
    assert_eq!(folder.slot().begin(record()).err().map(|fault| fault.code()), Some(8));
    assert_eq!(folder.slot().resume().unwrap().held().to_string(), "0-1499");
}

#[tokio::test]
async fn what_was_parked_and_is_taken_up_by_another_stays() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("f.partial"), "old").unwrap();
    let file = folder.slot().begin(record()).unwrap();
    let other = Slot::take(Place::beside(&folder.0.path().join("f.old"))).unwrap();
    write(&file, 0, LEN);
    file.finish(Spot::at(&folder.target()).unwrap(), IfExists::Fail).await.unwrap();
    assert_eq!(folder.names(), ["f", "f.old.partial"]);
    drop(other);
}

#[tokio::test]
async fn what_was_parked_for_nothing_is_put_back() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("f.partial"), "old").unwrap();
    folder.slot().begin(record()).unwrap().keep().await.unwrap();
    assert_eq!(folder.names(), ["f.partial"]);
    assert_eq!(std::fs::read(folder.0.path().join("f.partial")).unwrap(), b"old");
}

#[test]
fn data_that_others_may_read_or_write_is_made_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.0.path().join("f.partial");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let slot = folder.slot();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(slot);
}

/// The recorder's tick and a `forget` may fall together: neither may take the other's temporary file away.
#[test]
fn records_are_replaced_one_at_a_time() {
    let folder = Folder::new();
    let file = folder.slot().begin(record()).unwrap();
    write(&file, 0, 1500);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let shared = file.shared.clone();
            scope.spawn(move || (0..50).for_each(|_| shared.save(false).unwrap()));
        }
    });
    assert_eq!(folder.names(), ["f.partial", "f.partial.toml"]);
}

/// Of two old ones the one of which more has arrived stays parked, however much room was reserved for either.
#[tokio::test]
async fn the_longer_one_stays_parked() {
    let folder = Folder::new();
    let parked = || std::fs::read(folder.0.path().join("f.old.partial")).unwrap();
    for (before, arrives) in [(0, 1700), (1700, 100), (1700, 2000), (2000, 1)] {
        let file = folder.slot().begin(record()).unwrap();
        assert!(before == 0 || parked() == content()[..before]);
        write(&file, 0, arrives);
        file.keep().await.unwrap();
    }
}

#[tokio::test]
async fn a_whole_small_file_has_its_name_at_once_or_not_at_all() {
    let bytes = || bytes::Bytes::from(content());
    let told = Arc::new(std::sync::Mutex::new(None));
    let (folder, hear) = (Folder::new(), told.clone());
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let then = move |stamp: &Stamp| *hear.lock().unwrap() = Some(stamp.clone());
    let stamp = publish_whole(&folder.target(), bytes(), Some(time), then).await.unwrap().unwrap();
    assert_eq!(folder.names(), ["f"]);
    assert_eq!(std::fs::read(folder.target()).unwrap(), content());
    let meta = std::fs::metadata(folder.target()).unwrap();
    assert_eq!((meta.modified().unwrap(), stamp.size, stamp.inode), (time, LEN, meta.ino()));
    assert_eq!(told.lock().unwrap().as_ref(), Some(&stamp));

    // Whatever is in the way stays, and nothing else is left.
    for taken in ["f", "f.partial", "f.partial.toml"] {
        let folder = Folder::new();
        std::fs::write(folder.0.path().join(taken), "his").unwrap();
        let outcome = publish_whole(&folder.target(), bytes(), None, |_| panic!("it is not there")).await;
        assert_eq!(outcome, Ok(None));
        assert_eq!(folder.names(), [taken]);
        assert_eq!(std::fs::read(folder.0.path().join(taken)).unwrap(), b"his");
    }
    let nowhere = Folder::new().target();
    assert_eq!(publish_whole(&nowhere, bytes(), None, |_| panic!("it is not there")).await, Ok(None));
}
