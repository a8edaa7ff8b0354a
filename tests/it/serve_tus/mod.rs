//! `onward serve` as a tus 1.0.0 server: every rule of the specification and of each extension, by raw requests.

mod extensions;
mod hostile;

use crate::crash::{Luck, after_power_cut, read_log, rebuild};
use crate::receiver::{Answer, Receiver, Talk, hash, tree};
use crate::world::{Content, World, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onward::digest::Algorithm;

const TYPE: &str = "Content-Type: application/offset+octet-stream";

fn content(seed: u64, len: u64) -> Vec<u8> {
    Content::random(seed, len).bytes()
}

/// A connection whose every request speaks tus.
fn talk(server: &Receiver) -> Talk {
    server.talk().with("Tus-Resumable: 1.0.0")
}

fn named(name: &str) -> String {
    format!("Upload-Metadata: filename {}", STANDARD.encode(name))
}

/// Makes an upload of `length` bytes.
#[track_caller]
fn create(talk: &mut Talk, name: &str, length: usize) -> String {
    location(talk.ask(&format!("POST /\nUpload-Length: {length}\n{}", named(name)), b"").is(201))
}

#[track_caller]
fn location(answer: &Answer) -> String {
    let location = answer.field("location").unwrap_or_else(|| panic!("no Location: {}", answer.head));
    assert!(location.starts_with("/.onward/uploads/"), "path-absolute: {location}");
    location.to_string()
}

#[track_caller]
fn patch(talk: &mut Talk, upload: &str, at: usize, bytes: &[u8]) -> Answer {
    talk.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: {at}"), bytes)
}

#[track_caller]
fn offset(talk: &mut Talk, upload: &str) -> Option<u64> {
    let head = talk.ask(&format!("HEAD {upload}"), b"");
    assert_eq!((head.is(200).field("cache-control"), head.body.len()), (Some("no-store"), 0));
    assert_eq!(head.field("tus-resumable"), Some("1.0.0"));
    head.field("upload-offset").map(|text| text.parse().unwrap())
}

/// Sends the head of a `PATCH`, and returns once the server has begun to take its body.
#[track_caller]
fn begin_patch(talk: &mut Talk, upload: &str, at: usize, length: usize) {
    let head = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: {at}\nContent-Length: {length}\nExpect: 100-continue");
    talk.send(&head, b"");
    let mut word = [0; 25];
    talk.read(&mut word);
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
}

fn checksum(algorithm: Algorithm, name: &str, bytes: &[u8]) -> String {
    format!("Upload-Checksum: {name} {}", STANDARD.encode(hash(algorithm, bytes).bytes))
}

/// One part of a file, complete.
#[track_caller]
fn part(talk: &mut Talk, bytes: &[u8]) -> String {
    let head = format!("POST /\nUpload-Concat: partial\nUpload-Length: {}\n{TYPE}", bytes.len());
    location(talk.ask(&head, bytes).is(201))
}

#[test]
fn what_is_announced() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1000000"]).start();
    let options = server.ask("OPTIONS /");
    assert_eq!((options.is(204).field("tus-version"), options.field("tus-resumable")), (Some("1.0.0"), Some("1.0.0")));
    let extensions = options.field("tus-extension").unwrap();
    for extension in [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "checksum-trailer",
        "termination",
        "concatenation",
        "concatenation-unfinished",
    ] {
        assert!(extensions.split(',').any(|name| name == extension), "{extension} in {extensions}");
    }
    assert_eq!(options.field("tus-max-size"), Some("1000000"));
    let algorithms = options.field("tus-checksum-algorithm").unwrap();
    assert!(["sha1", "md5", "sha256"].iter().all(|name| algorithms.split(',').any(|one| one == *name)), "{algorithms}");
    assert_eq!(options.field("onward-handshake"), Some("1"), "beside our own protocol");
    drop(server);
    let reading = Receiver::setup(&world).args(["--read-only"]).start();
    assert_eq!(reading.ask("OPTIONS /").is(204).field("tus-version"), None);
    talk(&reading).ask("POST /\nUpload-Length: 1", b"").refuses(403, "forbidden");
}

#[test]
fn a_whole_upload() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(1, 3_000_017);
    let mut talk = talk(&server);
    let head = format!("POST /a/b/\nUpload-Length: {}\n{},empty", bytes.len(), named("c d.bin"));
    let created = talk.ask(&head, b"");
    let upload = location(created.is(201));
    assert_eq!(created.field("tus-resumable"), Some("1.0.0"));
    let expires = httpdate::parse_http_date(created.field("upload-expires").unwrap()).unwrap();
    assert!(expires > std::time::SystemTime::now(), "{expires:?}");
    let head = talk.ask(&format!("HEAD {upload}"), b"");
    assert_eq!((head.is(200).field("upload-offset"), head.field("upload-length")), (Some("0"), Some("3000017")));
    assert_eq!(head.field("upload-metadata").map(|text| format!("Upload-Metadata: {text}")), {
        Some(format!("{},empty", named("c d.bin")))
    });
    assert_eq!(patch(&mut talk, &upload, 0, &bytes[..1_000_000]).is(204).field("upload-offset"), Some("1000000"));
    assert!(!server.path("a").exists(), "nothing is published before the end");
    assert_eq!(offset(&mut talk, &upload), Some(1_000_000));
    for wrong in [0, 999_999, 1_000_001, 3_000_017] {
        let refused = patch(&mut talk, &upload, wrong, &bytes[1_000_000..1_000_010]);
        assert_eq!(refused.is(409).field("upload-offset"), Some("1000000"), "{wrong}");
    }
    assert_eq!(patch(&mut talk, &upload, 1_000_000, b"").is(204).field("upload-offset"), Some("1000000"));
    let last = patch(&mut talk, &upload, 1_000_000, &bytes[1_000_000..]);
    assert_eq!((last.is(204).field("upload-offset"), last.field("tus-resumable")), (Some("3000017"), Some("1.0.0")));
    assert!(server.read("a/b/c d.bin") == bytes);
    // What is complete stays so, and answers.
    assert_eq!(offset(&mut talk, &upload), Some(3_000_017));
    assert_eq!(patch(&mut talk, &upload, bytes.len(), b"").is(204).field("upload-offset"), Some("3000017"));
    patch(&mut talk, &upload, bytes.len(), b"x").is(403);
    patch(&mut talk, &upload, 0, &bytes).is(403);
    talk.ask(&format!("DELETE {upload}"), b"").is(204);
    talk.ask(&format!("HEAD {upload}"), b"").is(404);
    assert!(server.read("a/b/c d.bin") == bytes, "the end of an upload that is complete is not that of its file");
    eventually("nothing of it is left", || tree(&server.path(".onward/uploads")).is_empty().then_some(()));
}

#[test]
fn a_cut_patch_keeps_what_arrived() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(2, 2_000_000);
    let mut first = talk(&server);
    let upload = create(&mut first, "f", bytes.len());
    let mut cut = talk(&server);
    cut.send(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0\nContent-Length: {}", bytes.len()), &bytes[..700_000]);
    cut.shut();
    cut.rest();
    let held = offset(&mut first, &upload).unwrap() as usize;
    assert_eq!(held, 700_000);
    patch(&mut first, &upload, held, &bytes[held..]).is(204);
    assert!(server.read("f") == bytes);
}

#[test]
fn what_is_acknowledged_survives_a_kill() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(3, 1_500_000);
    let mut before = talk(&server);
    let upload = create(&mut before, "f", bytes.len());
    let deferred = location(before.ask(&format!("POST /\nUpload-Defer-Length: 1\n{}", named("g")), b"").is(201));
    patch(&mut before, &upload, 0, &bytes[..600_000]).is(204);
    patch(&mut before, &deferred, 0, &bytes[..300_000]).is(204);
    server.kill();
    let server = Receiver::start(&world);
    let mut after = talk(&server);
    assert_eq!((offset(&mut after, &upload), offset(&mut after, &deferred)), (Some(600_000), Some(300_000)));
    patch(&mut after, &upload, 600_000, &bytes[600_000..]).is(204);
    let rest = format!("PATCH {deferred}\n{TYPE}\nUpload-Offset: 300000\nUpload-Length: 400000");
    after.ask(&rest, &bytes[300_000..400_000]).is(204);
    assert!(server.read("f") == bytes && server.read("g") == bytes[..400_000]);
    server.kill();
    // And what is complete still says so, with all that was said of it.
    let server = Receiver::start(&world);
    let head = talk(&server).ask(&format!("HEAD {upload}"), b"");
    assert_eq!((head.is(200).field("upload-offset"), head.field("upload-length")), (Some("1500000"), Some("1500000")));
    assert_eq!(head.field("upload-metadata"), Some("filename Zg=="));
}

#[test]
fn two_writers() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(7, 400_000);
    let mut second = talk(&server);
    let upload = create(&mut second, "f", bytes.len());
    let mut first = talk(&server);
    begin_patch(&mut first, &upload, 0, bytes.len());
    first.raw(&bytes[..100_000]);
    let refused = patch(&mut second, &upload, 0, &bytes);
    // On a machine so slow that the first seems to have stalled, the second takes over and stands elsewhere.
    assert!(refused.status == 409 || refused.is(423).field("retry-after").is_some(), "{}", refused.head);
    // Who asks where it stands has lost the other: that one stops, and what it brought stays.
    let held = offset(&mut second, &upload).unwrap() as usize;
    assert!(first.answer(false).status >= 400);
    patch(&mut second, &upload, held, &bytes[held..]).is(204);
    assert!(server.read("f") == bytes);
    // Many at once, all of the same bytes: one gets through at a time, and the file is whole.
    let upload = create(&mut second, "g", bytes.len());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut talk = talk(&server);
                while let Some(at) = offset_now(&mut talk, &upload).filter(|at| *at < bytes.len()) {
                    let status = patch(&mut talk, &upload, at, &bytes[at..(at + 50_000).min(bytes.len())]).status;
                    assert!([204, 400, 403, 409, 423].contains(&status), "{status}");
                }
            });
        }
    });
    assert!(server.read("g") == bytes);
}

/// Where an upload stands; asked again while the server is busy with it.
fn offset_now(talk: &mut Talk, upload: &str) -> Option<usize> {
    eventually("an answer to HEAD", || {
        let head = talk.ask(&format!("HEAD {upload}"), b"");
        match head.status {
            200 => Some(head.field("upload-offset").map(|text| text.parse().unwrap())),
            423 | 503 => None,
            other => panic!("{other}: {}", head.head),
        }
    })
}

#[test]
fn below_a_base_path() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--base-path", "/files"]).start();
    let mut talk = talk(&server);
    let made = talk.ask(&format!("POST /files/\nUpload-Length: 3\n{}", named("f")), b"");
    let upload = made.is(201).field("location").unwrap().to_string();
    assert!(upload.starts_with("/files/.onward/uploads/"), "{upload}");
    patch(&mut talk, &upload, 0, b"abc").is(204);
    assert_eq!(server.read("f"), b"abc");
    let head = "POST /files/\nUpload-Concat: partial\nUpload-Length: 1\n";
    let piece = talk.ask(&format!("{head}{TYPE}"), b"x").is(201).field("location").unwrap().to_string();
    talk.ask(&format!("POST /files\nUpload-Concat: final;{piece}\n{}", named("g")), b"").is(404);
    talk.ask(&format!("POST /files/\nUpload-Concat: final;{piece}\n{}", named("g")), b"").is(201);
    assert_eq!(server.read("g"), b"x");
}

#[test]
fn a_power_cut_loses_no_acknowledged_byte() {
    let world = World::new();
    let log = world.beside("disk.log");
    let server = Receiver::setup_at(&world, "here").env("ONWARD_DISK_LOG", &log.to_string_lossy()).start();
    let bytes = content(8, 400_009);
    let steps_so_far = || std::fs::read_to_string(&log).unwrap().lines().count();
    let mut first = talk(&server);
    let upload = location(first.ask(&format!("POST /\nUpload-Defer-Length: 1\n{}", named("f")), b"").is(201));
    let mut moments = vec![(steps_so_far(), 0)];
    for at in [0, 100_000, 200_000] {
        patch(&mut first, &upload, at, &bytes[at..at + 100_000]).is(204);
        moments.push((steps_so_far(), at as u64 + 100_000));
    }
    let last = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 300000\nUpload-Length: 400009");
    first.ask(&last, &bytes[300_000..]).is(204);
    let end = steps_so_far();
    drop(server);
    let steps = read_log(&std::fs::read_to_string(&log).unwrap(), &world.dir());
    for luck in [Luck::None, Luck::Names, Luck::Some(7), Luck::All] {
        for (at, acknowledged) in &moments {
            let other = World::new();
            rebuild(&other, &after_power_cut(&steps[..*at], luck));
            let server = Receiver::setup_at(&other, "here").start();
            let mut talk = talk(&server);
            let held = offset(&mut talk, &upload).unwrap();
            assert_eq!(held, *acknowledged, "after {at} steps, luck {luck:?}");
            let last = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: {held}\nUpload-Length: 400009");
            talk.ask(&last, &bytes[held as usize..]).is(204);
            assert!(server.read("f") == bytes, "after {at} steps, luck {luck:?}");
        }
        let other = World::new();
        rebuild(&other, &after_power_cut(&steps[..end], luck));
        let server = Receiver::setup_at(&other, "here").start();
        assert!(server.read("f") == bytes, "luck {luck:?}");
        assert_eq!(offset(&mut talk(&server), &upload), Some(400_009), "luck {luck:?}");
    }
}
