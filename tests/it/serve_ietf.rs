//! `onward serve` and the IETF's resumable upload, in the drafts that clients speak, by raw requests.

use crate::receiver::{Answer, Receiver, Talk, crc_field, field_of, hash, tree};
use crate::world::{Content, World};
use onward::digest::Algorithm;
use serde_json::json;

/// The interop numbers, with how each says that an upload is (not) complete.
const DRAFTS: [(u8, &str, &str); 5] = [
    (3, "Upload-Incomplete: ?0", "Upload-Incomplete: ?1"),
    (5, "Upload-Complete: ?1", "Upload-Complete: ?0"),
    (6, "Upload-Complete: ?1", "Upload-Complete: ?0"),
    (8, "Upload-Complete: ?1", "Upload-Complete: ?0"),
    (10, "Upload-Complete: ?1", "Upload-Complete: ?0"),
];
const TYPE: &str = "Content-Type: application/partial-upload";
const MISMATCH: &str = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
const COMPLETED: &str = "https://iana.org/assignments/http-problem-types#completed-upload";
const INCONSISTENT: &str = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";

fn content(seed: u64, len: u64) -> Vec<u8> {
    Content::random(seed, len).bytes()
}

fn talk(server: &Receiver, draft: u8) -> Talk {
    server.talk().with(&format!("Upload-Draft-Interop-Version: {draft}"))
}

fn named(name: &str) -> String {
    format!("Content-Disposition: attachment; filename=\"{name}\"")
}

#[track_caller]
fn location(answer: &Answer) -> String {
    let location = answer.field("location").unwrap_or_else(|| panic!("no Location: {}", answer.head));
    assert!(location.starts_with("/.onward/uploads/"), "{location}");
    location.to_string()
}

/// The careful creation: no content, more to come.
#[track_caller]
fn create(talk: &mut Talk, name: &str) -> String {
    location(talk.ask(&format!("POST /\nUpload-Complete: ?0\n{}", named(name)), b"").is(201))
}

#[track_caller]
fn patch(talk: &mut Talk, upload: &str, at: usize, complete: &str, bytes: &[u8]) -> Answer {
    talk.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: {at}\n{complete}"), bytes)
}

/// What `HEAD` tells: the offset, and whether it is complete.
#[track_caller]
fn stand(talk: &mut Talk, upload: &str) -> (u64, bool) {
    let head = talk.ask(&format!("HEAD {upload}"), b"");
    assert_eq!(head.is(204).field("cache-control"), Some("no-store"));
    let complete = match (head.field("upload-complete"), head.field("upload-incomplete")) {
        (Some("?1"), None) | (None, Some("?0")) => true,
        (Some("?0"), None) | (None, Some("?1")) => false,
        other => panic!("{other:?}"),
    };
    (head.field("upload-offset").unwrap().parse().unwrap(), complete)
}

#[test]
fn what_is_announced() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1000", "--expire", "1h"]).start();
    let options = server.ask("OPTIONS /");
    assert_eq!(options.is(204).field("upload-limit"), Some("max-size=1000, max-age=3600"));
    assert_eq!(options.field("accept-patch"), Some("application/partial-upload"));
    for bad in ["2", "11", "x", "", "6, 6"] {
        let head = format!("POST /\nUpload-Complete: ?0\nUpload-Draft-Interop-Version: {bad}");
        server.talk().ask(&head, b"").refuses(400, "bad-request");
    }
}

#[test]
fn a_whole_upload_in_every_draft() {
    let world = World::new();
    let server = Receiver::start(&world);
    for (draft, last, more) in DRAFTS {
        let (bytes, name) = (content(draft.into(), 300_000), format!("f{draft}"));
        let mut talk = talk(&server, draft);
        let (field, is_last) = last.split_once(": ").unwrap();
        let is_more = more.split_once(": ").unwrap().1;
        let made = talk.ask(&format!("POST /a/\n{more}\n{}", named(&name)), b"");
        let upload = location(made.is(201));
        assert_eq!((made.field("upload-offset"), made.field(field)), (Some("0"), Some(is_more)), "{draft}");
        assert_eq!(made.field("upload-limit").is_some(), draft >= 6);
        let part = patch(&mut talk, &upload, 0, more, &bytes[..100_000]);
        assert_eq!((part.is(204).field("upload-offset"), part.field(field)), (Some("100000"), Some(is_more)));
        assert_eq!(stand(&mut talk, &upload), (100_000, false));
        let wrong = patch(&mut talk, &upload, 5, more, b"x");
        assert_eq!((wrong.is(409).field("upload-offset"), wrong.field(field)), (Some("100000"), Some(is_more)));
        let problem = wrong.json();
        assert_eq!((&problem["type"], &problem["status"]), (&json!(MISMATCH), &json!(409)));
        assert_eq!((&problem["expected-offset"], &problem["provided-offset"]), (&json!(100_000), &json!(5)));
        assert_eq!(wrong.field("content-type"), Some("application/problem+json"));
        let all = patch(&mut talk, &upload, 100_000, last, &bytes[100_000..]);
        assert_eq!((all.is(204).field("upload-offset"), all.field(field)), (Some("300000"), Some(is_last)));
        assert_eq!(all.field("content-location"), Some(format!("/a/{name}").as_str()));
        assert!(server.read(&format!("a/{name}")) == bytes);
        // A lost final reply is found again; nothing can be added.
        assert_eq!(stand(&mut talk, &upload), (300_000, true));
        assert_eq!(patch(&mut talk, &upload, 300_000, last, b"").is(204).field(field), Some(is_last));
        assert_eq!(patch(&mut talk, &upload, 300_000, last, b"x").is(400).json()["type"], COMPLETED);
        talk.ask(&format!("DELETE {upload}"), b"").is(204);
        talk.ask(&format!("HEAD {upload}"), b"").is(404);
        assert!(server.read(&format!("a/{name}")) == bytes);
    }
}

#[test]
fn everything_in_one_request() {
    let world = World::new();
    let server = Receiver::start(&world);
    for (draft, last, _) in DRAFTS {
        let name = format!("f{draft}");
        let made = talk(&server, draft).ask(&format!("POST /\n{last}\n{}", named(&name)), b"abc");
        location(made.is(201));
        assert_eq!(
            (made.field("upload-offset"), made.field("content-location")),
            (Some("3"), Some(&*format!("/{name}")))
        );
        assert_eq!(server.read(&name), b"abc");
    }
    // Without a number, as the standard will have it; chunked; nothing at all.
    server.talk().ask(&format!("POST /\nUpload-Complete: ?1\n{}", named("plain")), b"abc").is(201);
    let head = format!("POST /\nUpload-Complete: ?1\nTransfer-Encoding: chunked\n{}", named("chunked"));
    server.talk().ask(&head, b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n").is(201);
    server.talk().ask(&format!("POST /\nUpload-Complete: ?1\n{}", named("empty")), b"").is(201);
    // The oldest draft may leave it out: then it is complete.
    talk(&server, 3).ask(&format!("POST /\n{}", named("silent")), b"abc").is(201);
    // And by the file's own URL.
    let put = server.talk().ask("PUT /dir/p%20q\nUpload-Complete: ?1", b"abc");
    assert_eq!(put.is(201).field("content-location"), Some("/dir/p%20q"));
    for (name, bytes) in [("plain", "abc"), ("chunked", "abcdef"), ("empty", ""), ("silent", "abc"), ("dir/p q", "abc")]
    {
        assert_eq!(server.read(name), bytes.as_bytes(), "{name}");
    }
}

#[test]
fn the_interim_reply_tells_the_url_before_the_bytes() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(1, 400_000);
    for (draft, last, _) in DRAFTS {
        let mut first = talk(&server, draft);
        // Twice on one connection: what is sent between must not disturb what follows.
        for round in 0..2 {
            let name = format!("f{draft}-{round}");
            let (fields, length) = (named(&name), bytes.len());
            first.send(&format!("POST /\n{last}\n{fields}\nContent-Length: {length}\nExpect: 100-continue"), b"");
            let interim = first.interim();
            assert!(interim.starts_with("HTTP/1.1 104 Upload Resumption Supported\r\n"), "{interim}");
            assert!(interim.contains(&format!("upload-draft-interop-version: {draft}\r\n")), "{interim}");
            assert_eq!(interim.contains("upload-limit: "), draft >= 6, "{interim}");
            let upload = interim.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().to_string();
            assert!(first.interim().starts_with("HTTP/1.1 100 Continue\r\n"));
            if round == 0 {
                first.raw(&bytes);
                assert_eq!(first.answer(false).is(201).field("location"), Some(upload.as_str()));
            } else {
                // Cut; the URL is known all the same.
                first.raw(&bytes[..150_000]);
                first.shut();
                first.rest();
                let mut second = talk(&server, draft);
                assert_eq!(stand(&mut second, &upload), (150_000, false));
                patch(&mut second, &upload, 150_000, last, &bytes[150_000..]).is(204);
            }
            assert!(server.read(&name) == bytes);
        }
    }
    // Not for a request that does not say its draft, nor one of HTTP/1.0.
    for line in ["POST / HTTP/1.1", "POST / HTTP/1.0\nUpload-Draft-Interop-Version: 6"] {
        let mut quiet = server.talk();
        let name = if line.ends_with('1') { "quiet" } else { "old" };
        quiet.raw(
            format!(
                "{}\r\nHost: {}\r\nUpload-Complete: ?1\r\n{}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
                line.replace('\n', "\r\n"),
                server.address,
                named(name)
            )
            .as_bytes(),
        );
        let reply = String::from_utf8(quiet.rest()).unwrap();
        assert!(reply.starts_with("HTTP/1.1 201") || reply.starts_with("HTTP/1.0 201"), "{reply}");
    }
}

#[test]
fn lengths_must_agree() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1000"]).start();
    let mut talk = talk(&server, 8);
    let lies = |talk: &mut Talk, head: String, bytes: &[u8]| {
        let refused = talk.ask(&head, bytes);
        assert_eq!(refused.is(400).json()["type"], INCONSISTENT, "{head}");
    };
    lies(&mut talk, format!("POST /\nUpload-Complete: ?1\nUpload-Length: 4\n{}", named("f")), b"abc");
    lies(&mut talk, format!("POST /\nUpload-Complete: ?0\nUpload-Length: 2\n{}", named("f")), b"abc");
    let made = talk.ask(&format!("POST /\nUpload-Complete: ?0\nUpload-Length: 6\n{}", named("f")), b"abc");
    let upload = location(made.is(201));
    lies(&mut talk, format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 3\nUpload-Complete: ?0\nUpload-Length: 7"), b"d");
    lies(&mut talk, format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 3\nUpload-Complete: ?0"), b"defg");
    lies(&mut talk, format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 3\nUpload-Complete: ?1"), b"de");
    let head = format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 3\nUpload-Complete: ?1\nTransfer-Encoding: chunked");
    lies(&mut talk, head, b"1\r\nd\r\n0\r\n\r\n");
    assert!(!server.path("f").exists());
    assert_eq!(stand(&mut talk, &upload), (4, false));
    patch(&mut talk, &upload, 4, "Upload-Complete: ?1", b"ef").is(204);
    assert_eq!(server.read("f"), b"abcdef");
    talk.ask(&format!("POST /\nUpload-Complete: ?0\nUpload-Length: 1001\n{}", named("g")), b"")
        .refuses(413, "too-large");
    let upload = create(&mut talk, "g");
    patch(&mut talk, &upload, 0, "Upload-Complete: ?0", &[7; 1001]).refuses(413, "too-large");
    assert_eq!(stand(&mut talk, &upload), (0, false));
}

#[test]
fn requests_that_cannot_be() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server, 8);
    for fields in ["Upload-Complete: yes", "Upload-Complete: 1", "X: y", "Upload-Complete: ?1, ?1"] {
        talk.ask(&format!("POST /\n{fields}\n{}", named("f")), b"").refuses(400, "bad-request");
    }
    for path in ["/../x", "/.onward/x", "/.ssh/x", "/a/", "/x.partial", "/a%2fb", "/%00", "/a//b"] {
        let status = talk.ask(&format!("PUT {path}\nUpload-Complete: ?1"), b"x").status;
        assert!(status == 400 || status == 404, "{path}: {status}");
    }
    let upload = create(&mut talk, "f");
    let mut ask = |fields: &str| talk.ask(&format!("PATCH {upload}\n{fields}"), b"x").status;
    assert_eq!(ask("Upload-Offset: 0\nUpload-Complete: ?0"), 415);
    assert_eq!(ask("Upload-Offset: 0\nUpload-Complete: ?0\nContent-Type: text/plain"), 415);
    assert_eq!(ask(&format!("{TYPE}\nUpload-Complete: ?0")), 400);
    for bad in ["-1", "x", "1.0", "\"0\"", "9999999999999999999", "0, 0"] {
        assert_eq!(ask(&format!("{TYPE}\nUpload-Complete: ?0\nUpload-Offset: {bad}")), 400, "{bad}");
    }
    for method in ["HEAD", "DELETE"] {
        talk.ask(&format!("{method} {upload}\nUpload-Offset: 0"), b"").is(400);
    }
    assert_eq!(talk.ask(&format!("GET {upload}"), b"").is(204).field("upload-offset"), Some("0"));
    let put = talk.ask(&format!("PUT {upload}"), b"");
    assert_eq!(put.refuses(405, "method").field("allow"), Some("GET, HEAD, PATCH, DELETE, OPTIONS"));
    talk.ask(&format!("HEAD {upload}\nTus-Resumable: 1.0.0"), b"").is(204);
    let nobody = "/.onward/uploads/00000000000000000000000000000000";
    patch(&mut talk, nobody, 0, "Upload-Complete: ?1", b"x").refuses(404, "unknown-upload");
    // The standard's clients tell no number.
    for talk in [&mut talk, &mut server.talk()] {
        talk.ask(&format!("HEAD {nobody}"), b"").is(404);
        talk.ask(&format!("GET {nobody}"), b"").refuses(404, "unknown-upload");
    }
    // The newest drafts want to be told; the older take silence for the end.
    let mut newest = self::talk(&server, 10);
    newest.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0"), b"x").is(400);
    talk.ask(&format!("PATCH {upload}\n{TYPE}\nUpload-Offset: 0"), b"x").is(204);
    assert_eq!(server.read("f"), b"x");
    let foreign = tree(&server.root).into_iter().filter(|name| !name.starts_with(".onward")).count();
    assert_eq!(foreign, 1);
}

#[test]
fn what_is_acknowledged_survives_a_kill() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(2, 500_000);
    let upload = create(&mut talk(&server, 8), "f");
    patch(&mut talk(&server, 8), &upload, 0, "Upload-Complete: ?0", &bytes[..200_000]).is(204);
    server.kill();
    let server = Receiver::start(&world);
    let mut talk = talk(&server, 8);
    assert_eq!(stand(&mut talk, &upload), (200_000, false));
    patch(&mut talk, &upload, 200_000, "Upload-Complete: ?1", &bytes[200_000..]).is(204);
    assert!(server.read("f") == bytes);
    server.kill();
    let server = Receiver::start(&world);
    assert_eq!(stand(&mut self::talk(&server, 8), &upload), (500_000, true));
}

#[test]
fn digests_of_the_content() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server, 8);
    let upload = create(&mut talk, "f");
    let mut send = |at: usize, of: &[u8], complete: &str, bytes: &[u8]| {
        patch(&mut talk, &upload, at, &format!("{complete}\nContent-Digest: {}", crc_field(of)), bytes)
    };
    send(0, b"other", "Upload-Complete: ?0", b"abc").refuses(422, "digest-mismatch");
    send(0, b"abc", "Upload-Complete: ?0", b"abc").is(204);
    send(3, b"def", "Upload-Complete: ?1", b"def").is(204);
    assert_eq!(server.read("f"), b"abcdef");
}

/// One digest that fits says nothing of another that does not, in whatever order and on however many lines.
#[test]
fn every_digest_counts() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = talk(&server, 8);
    let upload = create(&mut talk, "f");
    let md5 = |of: &[u8]| field_of(hash(Algorithm::Md5, of));
    let sha = |of: &[u8]| field_of(hash(Algorithm::Sha256, of));
    let mut send = |digests: String| patch(&mut talk, &upload, 0, &format!("Upload-Complete: ?1\n{digests}"), b"abc");
    for (one, other) in [(md5(b"abc"), sha(b"x")), (sha(b"x"), md5(b"abc")), (md5(b"x"), sha(b"abc"))] {
        send(format!("Content-Digest: {one}, {other}")).refuses(422, "digest-mismatch");
        send(format!("Content-Digest: {one}\nContent-Digest: {other}")).refuses(422, "digest-mismatch");
    }
    send("Content-Digest: md5=x".into()).refuses(400, "bad-request");
    send(format!("Content-Digest: {}, {}", md5(b"abc"), sha(b"abc"))).is(204);
    assert_eq!(server.read("f"), b"abc");
}

/// What the whole is said to be when it is created, it must be when it is complete, also after a restart.
#[test]
fn the_digest_of_the_whole() {
    let world = World::new();
    let mut server = Receiver::start(&world);
    let fields = |name: &str, of: &[u8]| {
        let told = [Algorithm::Sha512, Algorithm::Sha256].map(|algorithm| field_of(hash(algorithm, of)));
        format!("{}\nRepr-Digest: {}, {}", named(name), told[0], told[1])
    };
    for (name, of) in [("right", b"abcdef"), ("wrong", b"abcdeg")] {
        let mut talk = self::talk(&server, 8);
        talk.ask(&format!("POST /\nUpload-Complete: ?1\n{}", fields(name, of)), b"abcdef").is(if name == "right" {
            201
        } else {
            422
        });
        let head = format!("POST /\nUpload-Complete: ?0\n{}", fields(&format!("{name} later"), of));
        let upload = location(talk.ask(&head, b"abc").is(201));
        server.kill();
        server = Receiver::start(&world);
        let last = patch(&mut self::talk(&server, 8), &upload, 3, "Upload-Complete: ?1", b"def");
        last.is(if name == "right" { 204 } else { 422 });
        if name == "wrong" {
            last.refuses(422, "suspect");
        }
    }
    let files: Vec<String> = tree(&server.root).into_iter().filter(|name| !name.starts_with(".onward")).collect();
    assert_eq!(files, ["right", "right later"]);
    server.talk().ask(&format!("POST /\nUpload-Complete: ?1\nRepr-Digest: x\n{}", named("g")), b"").is(400);
}

/// Nobody overwrites what he has not seen when he says what he has seen.
#[test]
fn a_file_is_replaced_under_its_conditions() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    let tag = || server.ask("HEAD /f").is(200).field("etag").unwrap().to_string();
    let put = |path: &str, fields: &str, bytes: &[u8]| {
        server.talk().ask(&format!("PUT {path}\nUpload-Complete: ?1\n{fields}"), bytes)
    };
    put("/f", "If-Match: *", b"new").refuses(412, "precondition");
    put("/f", "If-None-Match: *", b"old").is(201);
    let old = tag();
    let past = "Tue, 14 Nov 2023 22:13:20 GMT";
    for fields in [
        "If-Match: \"nope\"".to_string(),
        format!("If-Match: W/{old}"),
        format!("If-None-Match: {old}"),
        "If-None-Match: *".to_string(),
        format!("If-Unmodified-Since: {past}"),
    ] {
        put("/f", &fields, b"new").refuses(412, "precondition");
        assert_eq!(server.read("f"), b"old", "{fields}");
    }
    put("/f", &format!("If-Match: {old}\nIf-Modified-Since: Tue, 14 Nov 2090 22:13:20 GMT"), b"two").is(201);
    assert_eq!(server.read("f"), b"two");
    // The version is looked at again when the name is given, also by a server that was killed in between.
    let mut talk = talk(&server, 8);
    let mut slow = |path: &str, fields: &str| {
        location(talk.ask(&format!("PUT {path}\nUpload-Complete: ?0\n{fields}"), b"a").is(201))
    };
    let late = slow("/f", &format!("If-Match: {}", tag()));
    let fresh = slow("/g", "If-None-Match: *");
    let in_time = slow("/h", "If-None-Match: \"x\"");
    put("/f", "", b"three").is(201);
    put("/g", "", b"first").is(201);
    server.kill();
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    let mut talk = self::talk(&server, 8);
    patch(&mut talk, &late, 1, "Upload-Complete: ?1", b"b").refuses(412, "precondition");
    talk.ask(&format!("HEAD {late}"), b"").is(412);
    patch(&mut talk, &fresh, 1, "Upload-Complete: ?1", b"b").refuses(409, "name-taken");
    patch(&mut talk, &in_time, 1, "Upload-Complete: ?1", b"b").is(204);
    assert_eq!((server.read("f"), server.read("g")), (b"three".to_vec(), b"first".to_vec()));
    assert_eq!(server.read("h"), b"ab");
    talk.ask(&format!("DELETE {late}"), b"").is(204);
}

/// Of many who replace the same version one alone succeeds.
#[test]
fn one_of_many_replaces_a_version() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    server.put("f", b"old");
    let tag = server.ask("HEAD /f").field("etag").unwrap().to_string();
    let put = |n: u8| server.talk().ask(&format!("PUT /f\nUpload-Complete: ?1\nIf-Match: {tag}"), &[n]).status;
    let put = &put;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|n| scope.spawn(move || put(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 7, "{statuses:?}");
    let winner = statuses.iter().position(|status| *status == 201).unwrap();
    assert_eq!(server.read("f"), [winner as u8]);
}

#[test]
fn a_taken_name() {
    let world = World::new();
    let server = Receiver::start(&world);
    server.put("f", b"old");
    server.talk().ask("PUT /f\nUpload-Complete: ?1", b"new").refuses(409, "exists");
    server.talk().ask(&format!("POST /\nUpload-Complete: ?1\n{}", named("f")), b"new").refuses(409, "exists");
    let mut talk = talk(&server, 8);
    let (one, two) = (create(&mut talk, "g"), create(&mut talk, "g"));
    patch(&mut talk, &one, 0, "Upload-Complete: ?1", b"one").is(204);
    patch(&mut talk, &two, 0, "Upload-Complete: ?1", b"two").refuses(409, "name-taken");
    talk.ask(&format!("HEAD {two}"), b"").is(409);
    drop(server);
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    server.talk().ask("PUT /f\nUpload-Complete: ?1\nIf-None-Match: *", b"new").refuses(412, "precondition");
    server.talk().ask("PUT /f\nUpload-Complete: ?1", b"new").is(201);
    assert_eq!((server.read("f"), server.read("g")), (b"new".to_vec(), b"one".to_vec()));
}
