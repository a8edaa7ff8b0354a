//! `onward serve` as a tus 1.0.0 server: every rule of the specification and of each extension, by raw requests.

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
        long.is(413).field("location").map(|url| url.len() > 40),
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
    tell(&mut talk, 3, "2", b"").is(413);
    tell(&mut talk, 3, "1001", b"").is(413);
    for bad in ["x", "-1", "99999999999999999999"] {
        tell(&mut talk, 3, bad, b"").is(400);
    }
    tell(&mut talk, 3, "6", b"d").is(204);
    let head = talk.ask(&format!("HEAD {upload}"), b"");
    assert_eq!((head.field("upload-length"), head.field("upload-offset")), (Some("6"), Some("4")));
    tell(&mut talk, 4, "7", b"ef").is(413);
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
    let mut send = |at: usize, bytes: &[u8], trailer: &str| {
        let head = format!(
            "PATCH {upload}\n{TYPE}\nUpload-Offset: {at}\nTransfer-Encoding: chunked\nTrailer: Upload-Checksum"
        );
        let body =
            [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n0\r\n", trailer.as_bytes(), b"\r\n"].concat();
        talk.ask(&head, &body)
    };
    let field = |bytes: &[u8]| format!("{}\r\n", checksum(Algorithm::Sha1, "sha1", bytes));
    send(0, b"abc", &field(b"abd")).is(460);
    send(0, b"abc", "").is(400);
    send(0, b"abc", "Upload-Checksum: crc31 AAAA\r\n").is(400);
    assert_eq!(send(0, b"abc", &field(b"abc")).is(204).field("upload-offset"), Some("3"));
    assert_eq!(send(3, b"def", &field(b"def")).is(204).field("upload-offset"), Some("6"));
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
    let mut sending = self::talk(&server);
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
    join(&mut talk, &create(&mut self::talk(&server), "plain", 1), "of a plain one").refuses(400, "bad-request");
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

#[test]
fn uploads_of_others_are_nobodys() {
    let world = World::new();
    let tokens = world.beside("tokens");
    std::fs::write(&tokens, "ann:a\nbob:b\n").unwrap();
    let server = Receiver::setup(&world).args(["--token-file", tokens.to_str().unwrap()]).start();
    let (mut ann, mut bob) =
        (talk(&server).with("Authorization: Bearer a"), talk(&server).with("Authorization: Bearer b"));
    let theirs = create(&mut ann, "f", 3);
    let piece = part(&mut ann, b"abc");
    bob.ask(&format!("HEAD {theirs}"), b"").is(404);
    patch(&mut bob, &theirs, 0, b"xyz").is(404);
    bob.ask(&format!("DELETE {theirs}"), b"").is(404);
    let join = format!("POST /\nUpload-Concat: final;{piece}\n{}", named("stolen"));
    bob.ask(&join, b"").refuses(404, "unknown-upload");
    assert!(!server.path("stolen").exists());
    patch(&mut ann, &theirs, 0, b"abc").is(204);
    talk(&server).ask(&format!("HEAD {theirs}"), b"").is(401);
    // Nor are they those of another protocol.
    ann.ask(&format!("GET {theirs}"), b"").is(405);
    ann.ask(&format!("PUT {theirs}/0\nContent-Digest: sha-256=:AA==:"), b"x").refuses(404, "unknown-upload");
    ann.ask(&format!("POST {theirs}/complete"), b"{}").is(404);
}

#[test]
fn versions_and_methods() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server);
    let upload = create(&mut talk, "f", 6);
    for version in ["Tus-Resumable: 0.2.2", "Tus-Resumable: 1.0.1", "Tus-Resumable: ", "X: y"] {
        let bytes = format!("{TYPE}\nUpload-Offset: 0\n{version}");
        for head in [format!("POST /\nUpload-Length: 1\n{}\n{version}", named("g")), format!("PATCH {upload}\n{bytes}")]
        {
            let refused = server.talk().ask(&head, b"");
            assert_eq!(refused.is(412).field("tus-version"), Some("1.0.0"), "{head}");
        }
        server.talk().ask(&format!("HEAD {upload}\n{version}"), b"").is(412);
    }
    let overridden = |talk: &mut Talk, method: &str, more: &str, bytes: &[u8]| {
        talk.ask(&format!("POST {upload}\nX-HTTP-Method-Override: {method}\n{more}"), bytes)
    };
    let more = format!("{TYPE}\nUpload-Offset: 0");
    assert_eq!(overridden(&mut talk, "PATCH", &more, b"abc").is(204).field("upload-offset"), Some("3"));
    assert_eq!(overridden(&mut talk, "head", "", b"").is(200).field("upload-offset"), Some("3"));
    overridden(&mut talk, "GET", "", b"").is(405);
    talk.ask(&format!("POST {upload}"), b"").is(405);
    talk.ask(&format!("GET {upload}"), b"").is(405);
    overridden(&mut talk, "DELETE", "", b"").is(204);
    talk.ask(&format!("HEAD {upload}"), b"").is(404);
}

#[test]
fn requests_that_cannot_be() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1M"]).start();
    let mut talk = talk(&server);
    let f = named("f");
    for (status, fields) in [
        (400, f.clone()),
        (400, format!("{f}\nUpload-Length: -1")),
        (400, format!("{f}\nUpload-Length: 1.0")),
        (400, format!("{f}\nUpload-Length: ")),
        (400, format!("{f}\nUpload-Length: 99999999999999999999")),
        (413, format!("{f}\nUpload-Length: 1048577")),
        (413, format!("{f}\nUpload-Length: 18446744073709551615")),
        (400, format!("{f}\nUpload-Length: 1\nUpload-Defer-Length: 1")),
        (400, format!("{f}\nUpload-Defer-Length: 2")),
        (400, format!("{f}\nUpload-Length: 1\nUpload-Length: 2")),
        (400, format!("{f}\nUpload-Length: 1\n{f}")),
        (400, "Upload-Length: 1\nUpload-Metadata: filename !!!".into()),
        (400, "Upload-Length: 1\nUpload-Metadata: filename YQ==,filename Yg==".into()),
        (400, "Upload-Length: 1\nUpload-Metadata: ,".into()),
        (400, "Upload-Length: 1\nUpload-Concat: whole".into()),
        (400, "Upload-Length: 1\nUpload-Concat: partial;/x".into()),
    ] {
        talk.ask(&format!("POST /\n{fields}"), b"").is(status);
    }
    for folder in ["/../x/", "/.onward/x", "/a/.onward/", "/.ssh/", "/%00/", "/a%2fb/"] {
        let status = talk.ask(&format!("POST {folder}\nUpload-Length: 1\n{f}"), b"").status;
        assert!(status == 400 || status == 404, "{folder}: {status}");
    }
    let upload = create(&mut talk, "f", 10);
    let mut ask = |fields: &str| talk.ask(&format!("PATCH {upload}\n{fields}"), b"abc").status;
    assert_eq!(ask("Upload-Offset: 0\nContent-Type: text/plain"), 415);
    assert_eq!(ask("Upload-Offset: 0"), 415);
    assert_eq!(ask(&format!("Upload-Offset: 0\n{TYPE}\n{TYPE}")), 415);
    assert_eq!(ask(TYPE), 400);
    for bad in ["-1", "x", "", "0x0", "+0", "0, 0", "1e1", "99999999999999999999"] {
        assert_eq!(ask(&format!("Upload-Offset: {bad}\n{TYPE}")), 400, "{bad}");
    }
    assert_eq!(ask(&format!("Upload-Offset: 0\nUpload-Offset: 0\n{TYPE}")), 400);
    assert_eq!(ask(&format!("Upload-Offset: 0\nUpload-Length: 11\n{TYPE}")), 413);
    // Longer than it said, announced or not.
    patch(&mut talk, &upload, 0, b"hello world").is(413);
    let head = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0\nTransfer-Encoding: chunked");
    talk.ask(&head, b"7\r\nabcdefg\r\n7\r\nhijklmn\r\n0\r\n\r\n").is(413);
    // It is not complete by such a request, whatever of it is kept.
    assert!(offset(&mut self::talk(&server), &upload).is_some_and(|held| held < 10));
    assert_eq!(tree(&server.root).into_iter().filter(|name| !name.starts_with(".onward")).count(), 0);
}

#[test]
fn names_are_made_safe() {
    let world = World::new();
    std::fs::create_dir(world.beside("secret")).unwrap();
    let server = Receiver::start(&world);
    std::os::unix::fs::symlink(world.beside("secret"), server.path("out")).unwrap();
    let mut talk = talk(&server);
    for (told, name) in [
        ("../../etc/passwd", "passwd"),
        ("/abs/olute", "olute"),
        ("a\\b\\c.txt", "c.txt"),
        (".bashrc", "bashrc"),
        ("x.partial.toml", "x.partial.toml_"),
        ("写真 1.jpg", "写真 1.jpg"),
        ("a\u{202e}b", "ab"),
    ] {
        let made = talk.ask(&format!("POST /\nUpload-Length: 1\n{}\n{TYPE}", named(told)), b"x");
        made.is(201);
        assert_eq!(server.read(name), b"x", "{told}");
    }
    let before = tree(&server.root).len();
    talk.ask(&format!("POST /\nUpload-Length: 1\n{TYPE}"), b"x").is(201);
    assert_eq!(tree(&server.root).iter().filter(|name| name.starts_with("upload-")).count(), 1);
    assert!(tree(&server.root).len() > before);
    talk.ask(&format!("POST /out/\nUpload-Length: 1\n{}\n{TYPE}", named("f")), b"x").refuses(400, "bad-name");
    assert_eq!(tree(&world.beside("secret")), Vec::<String>::new());
}

#[test]
fn a_taken_name_is_not_replaced_unless_both_sides_say_so() {
    let world = World::new();
    let server = Receiver::start(&world);
    server.put("f", b"old");
    let asks = format!("{},overwrite dHJ1ZQ==", named("f"));
    for metadata in [named("f"), asks.clone()] {
        talk(&server).ask(&format!("POST /\nUpload-Length: 3\n{metadata}"), b"").refuses(409, "exists");
    }
    // Two uploads of one name: the second to complete is told, and never says that it is complete.
    let mut talk = talk(&server);
    let (one, two) = (create(&mut talk, "g", 3), create(&mut talk, "g", 3));
    patch(&mut talk, &one, 0, b"one").is(204);
    patch(&mut talk, &two, 0, b"two").refuses(409, "name-taken");
    talk.ask(&format!("HEAD {two}"), b"").is(409);
    assert_eq!(server.read("g"), b"one");
    std::fs::rename(server.path("g"), server.path("h")).unwrap();
    assert_eq!(offset(&mut talk, &two), Some(3), "the name is free: it is complete now");
    assert_eq!(server.read("g"), b"two");
    drop(server);
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    let mut talk = self::talk(&server);
    talk.ask(&format!("POST /\nUpload-Length: 3\n{}", named("f")), b"").refuses(409, "exists");
    talk.ask(&format!("POST /\nUpload-Length: 3\n{asks}\n{TYPE}"), b"new").is(201);
    assert_eq!(server.read("f"), b"new");
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
