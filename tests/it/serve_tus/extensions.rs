//! The extensions of tus: creation with bytes and without a length, checksums, termination, expiration, concatenation.

use super::{TYPE, begin_patch, checksum, content, create, location, named, offset, part, patch, talk};
use crate::receiver::{Receiver, Talk, tree};
use crate::world::{World, eventually};
use onward::digest::Algorithm;
use serde_json::json;

#[test]
fn creation_with_upload() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server);
    let made = talk.ask(&format!("POST /\nUpload-Length: 6\n{}\n{TYPE}", named("f")), b"abc");
    assert_eq!(made.is(201).field("upload-offset"), Some("3"));
    let upload = location(&made);
    patch(&mut talk, &upload, 3, b"def").is(204);
    assert_eq!(server.read("f"), b"abcdef");
    let made = talk.ask(&format!("POST /\nUpload-Length: 3\n{}\n{TYPE}", named("whole")), b"abc");
    assert_eq!((made.is(201).field("upload-offset"), server.read("whole")), (Some("3"), b"abc".to_vec()));
    // An empty file is complete at once.
    create(&mut talk, "empty", 0);
    assert_eq!(server.read("empty"), b"");
    let head = format!("POST /\nUpload-Length: 0\n{}\n{TYPE}", named("empty too"));
    assert_eq!(talk.ask(&head, b"").is(201).field("upload-offset"), Some("0"));
    assert_eq!(server.read("empty too"), b"");
    // Bytes that go past the length, or are of another type.
    let long = talk.ask(&format!("POST /\nUpload-Length: 2\n{}\n{TYPE}", named("long")), b"abc");
    assert_eq!(
        long.is(400).field("location").map(|url| url.len() > 40),
        Some(true),
        "the upload is there: {}",
        long.head
    );
    talk.ask(&format!("POST /\nUpload-Length: 3\n{}\nContent-Type: text/plain", named("t")), b"abc").is(400);
    assert!(!server.path("long").exists() && !server.path("t").exists());
}

#[test]
fn the_length_may_come_later() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1000"]).start();
    let mut talk = talk(&server);
    let deferred = |talk: &mut Talk, name: &str| {
        location(talk.ask(&format!("POST /\nUpload-Defer-Length: 1\n{}", named(name)), b"").is(201))
    };
    let upload = deferred(&mut talk, "f");
    let head = talk.ask(&format!("HEAD {upload}"), b"");
    assert_eq!((head.is(200).field("upload-defer-length"), head.field("upload-length")), (Some("1"), None));
    patch(&mut talk, &upload, 0, b"abc").is(204);
    let tell = |talk: &mut Talk, at: u64, length: &str, bytes: &[u8]| {
        talk.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: {at}\nUpload-Length: {length}"), bytes)
    };
    tell(&mut talk, 3, "2", b"").is(400);
    tell(&mut talk, 3, "1001", b"").is(413);
    for bad in ["x", "-1", "99999999999999999999"] {
        tell(&mut talk, 3, bad, b"").is(400);
    }
    tell(&mut talk, 3, "6", b"d").is(204);
    let head = talk.ask(&format!("HEAD {upload}"), b"");
    assert_eq!((head.field("upload-length"), head.field("upload-offset")), (Some("6"), Some("4")));
    tell(&mut talk, 4, "7", b"ef").is(400);
    tell(&mut talk, 4, "6", b"ef").is(204);
    assert_eq!(server.read("f"), b"abcdef");
    // The length alone may be what completes it.
    let upload = deferred(&mut talk, "g");
    patch(&mut talk, &upload, 0, b"abc").is(204);
    talk.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 3\nUpload-Length: 3"), b"").is(204);
    assert_eq!(server.read("g"), b"abc");
    // No bound but the server's.
    let upload = deferred(&mut talk, "h");
    patch(&mut talk, &upload, 0, &[7; 1001]).is(413);
    let chunked = [&b"3e9\r\n"[..], &[7; 1001], b"\r\n0\r\n\r\n"].concat();
    talk.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0\nTransfer-Encoding: chunked"), &chunked).is(413);
    assert_eq!(offset(&mut talk, &upload), Some(0));
}

#[test]
fn checksums() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server);
    let upload = create(&mut talk, "f", 50);
    let mut send = |at: usize, field: &str, bytes: &[u8]| {
        talk.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: {at}\n{field}"), bytes)
    };
    let algorithms = [
        (Algorithm::Sha1, "sha1"),
        (Algorithm::Md5, "md5"),
        (Algorithm::Sha256, "sha256"),
        (Algorithm::Sha512, "sha512"),
        (Algorithm::Crc32c, "crc32c"),
    ];
    for (index, (algorithm, name)) in algorithms.into_iter().enumerate() {
        let (at, bytes) = (index * 10, content(index as u64, 10));
        let wrong = send(at, &checksum(algorithm, name, b"other"), &bytes);
        wrong.is(460);
        assert_eq!(send(at, "", b"").is(204).field("upload-offset"), Some(at.to_string().as_str()), "it stays");
        send(at, &checksum(algorithm, name, &bytes), &bytes).is(204);
    }
    for bad in ["crc31 AAAA", "sha1", "sha1 !", "sha1 AAAA", ""] {
        send(50, &format!("Upload-Checksum: {bad}"), b"").is(400);
    }
    let all: Vec<u8> = (0..5).flat_map(|index| content(index, 10)).collect();
    assert_eq!(server.read("f"), all);
    // With the creation, too: the upload is there, and empty.
    let head =
        format!("POST /\nUpload-Length: 3\n{}\n{TYPE}\n{}", named("g"), checksum(Algorithm::Sha1, "sha1", b"no"));
    let made = talk.ask(&head, b"abc");
    made.is(460);
    let upload = location(&made);
    assert_eq!(offset(&mut talk, &upload), Some(0));
}

#[test]
fn checksums_behind_the_body() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server);
    let upload = create(&mut talk, "f", 6);
    // `Trailer` is a field that proxies may drop, so the checksum counts without it too.
    let mut send = |at: usize, bytes: &[u8], announced: &str, trailer: &str| {
        let head = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: {at}\nTransfer-Encoding: chunked\n{announced}");
        let body =
            [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n0\r\n", trailer.as_bytes(), b"\r\n"].concat();
        talk.ask(&head, &body)
    };
    let field = |bytes: &[u8]| format!("{}\r\n", checksum(Algorithm::Sha1, "sha1", bytes));
    let said = "Trailer: Upload-Checksum";
    send(0, b"abc", said, "").is(400);
    for announced in [said, "X: y"] {
        send(0, b"abc", announced, &field(b"abd")).is(460);
        send(0, b"abc", announced, "Upload-Checksum: crc31 AAAA\r\n").is(400);
    }
    assert_eq!(send(0, b"abc", said, &field(b"abc")).is(204).field("upload-offset"), Some("3"));
    // What was acknowledged stays, also when a later request brings its file to the end.
    send(3, b"deg", "X: y", &field(b"def")).is(460);
    send(3, b"d", "X: y", &field(b"x")).is(460);
    assert_eq!(send(3, b"d", "X: y", "").is(204).field("upload-offset"), Some("4"));
    assert_eq!(send(4, b"ef", "X: y", &field(b"ef")).is(204).field("upload-offset"), Some("6"));
    assert_eq!(server.read("f"), b"abcdef");
}

#[test]
fn a_cut_request_with_a_checksum_brings_nothing() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(4, 500_000);
    let mut first = talk(&server);
    let upload = create(&mut first, "f", bytes.len());
    let mut cut = talk(&server);
    let field = checksum(Algorithm::Sha1, "sha1", &bytes);
    cut.send(
        &format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0\n{field}\nContent-Length: {}", bytes.len()),
        &bytes[..400_000],
    );
    cut.shut();
    cut.rest();
    assert_eq!(offset(&mut first, &upload), Some(0), "nobody knows whether they are right");
    let head = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0\n{field}");
    first.ask(&head, &bytes).is(204);
    assert!(server.read("f") == bytes);
}

#[test]
fn termination() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server);
    let upload = create(&mut talk, "f", 10);
    patch(&mut talk, &upload, 0, b"abc").is(204);
    assert_eq!(talk.ask(&format!("DELETE {upload}"), b"").is(204).field("tus-resumable"), Some("1.0.0"));
    for method in ["HEAD", "DELETE"] {
        talk.ask(&format!("{method} {upload}"), b"").is(404);
    }
    patch(&mut talk, &upload, 3, b"d").is(404);
    assert_eq!(tree(&server.path(".onward/uploads")), Vec::<String>::new());
    // One that is being sent.
    let upload = create(&mut talk, "f", 100_000);
    let mut sending = super::talk(&server);
    begin_patch(&mut sending, &upload, 0, 100_000);
    sending.raw(&[1; 1000]);
    talk.ask(&format!("DELETE {upload}"), b"").is(204);
    assert!(sending.answer(false).status >= 400);
    talk.ask(&format!("HEAD {upload}"), b"").is(404);
}

#[test]
fn expiration() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--expire", "4s"]).start();
    let mut talk = talk(&server);
    let upload = create(&mut talk, "f", 10);
    let told = patch(&mut talk, &upload, 0, b"abc");
    let expires = httpdate::parse_http_date(told.is(204).field("upload-expires").unwrap()).unwrap();
    let left = expires.duration_since(std::time::SystemTime::now()).unwrap_or_default();
    assert!(left <= std::time::Duration::from_secs(5), "{left:?}");
    // Nobody asks for it meanwhile: asking keeps it alive.
    eventually("it expires", || tree(&server.path(".onward/uploads")).is_empty().then_some(()));
    talk.ask(&format!("HEAD {upload}"), b"").is(404);
}

#[test]
fn a_file_lives_as_long_as_one_of_its_parts() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--expire", "4s"]).start();
    let mut talk = talk(&server);
    let one = location(talk.ask("POST /\nUpload-Concat: partial\nUpload-Length: 3", b"").is(201));
    let whole = location(talk.ask(&format!("POST /\nUpload-Concat: final;{one}\n{}", named("f")), b"").is(201));
    let made = std::time::Instant::now();
    // Nobody asks for the whole while its part is asked for.
    while made.elapsed() < std::time::Duration::from_secs(7) {
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(offset(&mut talk, &one), Some(0));
    }
    talk.ask(&format!("HEAD {whole}"), b"").is(200);
    patch(&mut talk, &one, 0, b"abc").is(204);
    eventually("the file is joined", || server.path("f").exists().then_some(()));
}

#[test]
fn concatenation() {
    let world = World::new();
    let server = Receiver::start(&world);
    let (a, b) = (content(5, 100_000), content(6, 33_333));
    let mut talk = talk(&server);
    let (one, two) = (part(&mut talk, &a), part(&mut talk, &b));
    assert_eq!(offset(&mut talk, &one), Some(100_000));
    let names = || std::fs::read_dir(&server.root).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(), [".onward"], "parts are no files");
    let join = |talk: &mut Talk, urls: &str, name: &str| {
        talk.ask(&format!("POST /\nUpload-Concat: final;{urls}\n{}", named(name)), b"")
    };
    let made = join(&mut talk, &format!("{one} {two}"), "whole");
    let whole = location(made.is(201));
    assert!(server.read("whole") == [a.clone(), b.clone()].concat());
    let head = talk.ask(&format!("HEAD {whole}"), b"");
    assert_eq!((head.is(200).field("upload-length"), head.field("upload-offset")), (Some("133333"), Some("133333")));
    assert_eq!(head.field("upload-concat"), Some(format!("final;{one} {two}").as_str()));
    assert_eq!(talk.ask(&format!("HEAD {one}"), b"").field("upload-concat"), Some("partial"));
    patch(&mut talk, &whole, 133_333, b"x").is(403);
    // A part may be used again, twice even, and by its whole URL.
    let absolute = format!("http://{}{two}", server.address);
    join(&mut talk, &format!("{two} {absolute} {one}"), "again").is(201);
    assert!(server.read("again") == [b.clone(), b.clone(), a.clone()].concat());
    // What cannot be joined.
    join(&mut talk, &format!("{one} {two}"), "whole").refuses(409, "exists");
    join(&mut talk, &whole, "of a whole").refuses(400, "bad-request");
    join(&mut talk, &create(&mut super::talk(&server), "plain", 1), "of a plain one").refuses(400, "bad-request");
    join(&mut talk, "/.onward/uploads/00000000000000000000000000000000", "of nothing").refuses(404, "unknown-upload");
    for bad in
        ["", "/", "/whole", "/.onward/uploads/", "http://evil.example", "/.onward/uploads/../../etc/passwd", "http://"]
    {
        join(&mut talk, bad, "of nonsense").refuses(400, "bad-request");
    }
    talk.ask(&format!("POST /\nUpload-Concat: final;{one}\nUpload-Length: 100000\n{}", named("x")), b"").is(400);
    let many = vec![one.as_str(); 1001].join(" ");
    join(&mut talk, &many, "of many").is(400);
    for left in ["of a whole", "of a plain one", "of nothing", "of nonsense", "x", "of many"] {
        assert!(!server.path(left).exists(), "{left}");
    }
    talk.ask(&format!("DELETE {one}"), b"").is(204);
    join(&mut talk, &format!("{one} {two}"), "too late").refuses(404, "unknown-upload");
    assert_eq!(offset(&mut talk, &whole), Some(133_333), "the file is its own");
}

/// Clients that send in parallel leave their parts behind, file after file: they are not unfinished.
#[test]
fn joined_parts_do_not_count_as_unfinished() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-unfinished", "3"]).start();
    let mut talk = talk(&server);
    for n in 0..6 {
        let (one, two) = (part(&mut talk, b"abc"), part(&mut talk, b"def"));
        let head = format!("POST /\nUpload-Concat: final;{one} {two}\n{}", named(&format!("f{n}")));
        talk.ask(&head, b"").is(201);
        assert_eq!(server.read(&format!("f{n}")), b"abcdef");
    }
    server.begin("g", 3, 3, json!({})).is(201);
    let (one, two) = (create(&mut talk, "h", 1), create(&mut talk, "i", 1));
    talk.ask(&format!("POST /\nUpload-Length: 1\n{}", named("j")), b"").refuses(429, "too-many");
    // What is not joined counts, and is kept for the usual time.
    assert_eq!((offset(&mut talk, &one), offset(&mut talk, &two)), (Some(0), Some(0)));
}

#[test]
fn files_wait_for_parts_that_are_not_complete() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut first = talk(&server);
    let one = location(first.ask("POST /\nUpload-Concat: partial\nUpload-Length: 6", b"").is(201));
    let two = location(first.ask("POST /\nUpload-Concat: partial\nUpload-Defer-Length: 1", b"").is(201));
    let made = first.ask(&format!("POST /\nUpload-Concat: final;{one} {two}\n{}", named("f")), b"");
    let whole = location(made.is(201));
    let head = first.ask(&format!("HEAD {whole}"), b"");
    assert_eq!((head.is(200).field("upload-offset"), head.field("upload-length")), (None, None), "{}", head.head);
    patch(&mut first, &one, 0, b"abc").is(204);
    server.kill();
    let server = Receiver::start(&world);
    let mut second = talk(&server);
    let expires = second.ask(&format!("HEAD {whole}"), b"");
    let expires = httpdate::parse_http_date(expires.is(200).field("upload-expires").unwrap()).unwrap();
    let left = expires.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(left > std::time::Duration::from_secs(6 * 24 * 3600), "it waits as long as its parts live: {left:?}");
    patch(&mut second, &one, 3, b"def").is(204);
    patch(&mut second, &two, 0, b"ghi").is(204);
    assert_eq!(offset(&mut second, &whole), None);
    assert!(!server.path("f").exists());
    second.ask(&format!("PATCH {two}\n{TYPE}\nUpload-Offset: 3\nUpload-Length: 3"), b"").is(204);
    // Nobody has to ask for it.
    eventually("the file is joined", || server.path("f").exists().then_some(()));
    assert_eq!(server.read("f"), b"abcdefghi");
    eventually("it says so", || offset(&mut second, &whole).filter(|offset| *offset == 9));
    // A part that was given up is one the file waits for in vain.
    let one = location(second.ask("POST /\nUpload-Concat: partial\nUpload-Length: 6", b"").is(201));
    let made = second.ask(&format!("POST /\nUpload-Concat: final;{one}\n{}", named("g")), b"");
    let whole = location(made.is(201));
    second.ask(&format!("DELETE {one}"), b"").is(204);
    second.ask(&format!("HEAD {whole}"), b"").is(404);
    second.ask(&format!("DELETE {whole}"), b"").is(204);
}
