//! Every rule of the chunk-index handshake, by raw requests: our own client is not the oracle here.

use crate::crash::{Luck, after_power_cut, read_log, rebuild};
use crate::receiver::{Receiver, Talk, crc_field, crc_hex, field_of, hash, key, tree};
use crate::world::{Content, World, eventually};
use onward::byteset::ByteSet;
use onward::digest::{Algorithm, hex};
use onward::wire::handshake::{Id, proof};
use serde_json::{Value, json};
use std::time::Duration;

const CHUNK: u64 = 64 << 10;

fn content(seed: u64, len: u64) -> Vec<u8> {
    Content::random(seed, len).bytes()
}

/// Sends all of `bytes` as whole chunks of [`CHUNK`].
#[track_caller]
fn send_all(talk: &mut Talk, upload: &str, bytes: &[u8]) {
    for (index, chunk) in bytes.chunks(CHUNK as usize).enumerate() {
        talk.chunk(upload, index as u64, chunk).is(204);
    }
}

/// Uploads `bytes` as `name`, from *begin* to *finish*.
#[track_caller]
fn store(server: &Receiver, name: &str, bytes: &[u8], more: Value) {
    let mut talk = server.talk();
    let upload = talk.begin("/", name, bytes.len() as u64, CHUNK, more).is(201).upload();
    send_all(&mut talk, &upload, bytes);
    talk.complete(&upload, bytes).is(201);
}

fn md5(bytes: &[u8]) -> String {
    hash(Algorithm::Md5, bytes).hex()
}

/// The proof for the offer of a status document.
fn prove(offer: &Value, bytes: &[u8]) -> Value {
    let nonce = Id::parse(offer["nonce"].as_str().unwrap()).unwrap();
    let mut hasher = proof(&nonce);
    for range in ByteSet::parse(offer["ranges"].as_str().unwrap()).unwrap().runs() {
        hasher.update(&bytes[range.start as usize..range.end as usize]);
    }
    json!({"md5": md5(bytes), "nonce": nonce.to_string(), "proof": hex(&hasher.finish().bytes)})
}

#[test]
fn discover() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1000"]).start();
    let reply = server.ask("OPTIONS /");
    reply.is(204);
    assert_eq!(reply.field("onward-handshake"), Some("1"));
    let limits = reply.field("onward-limits").unwrap();
    assert!(limits.contains("file-max=1000") && limits.contains("digests=\"crc64nvme sha-256 md5\""), "{limits}");
    drop(server);
    let reading = Receiver::setup(&world).args(["--read-only"]).start();
    assert_eq!(reading.ask("OPTIONS /").is(204).field("onward-handshake"), None);
    reading.begin("x", 1, 1, json!({})).refuses(403, "forbidden");
}

#[test]
fn a_whole_upload_in_any_order() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(1, 3 * CHUNK + 17);
    let mut talk = server.talk();
    let begun = talk.begin("/", "a/b c.bin", bytes.len() as u64, CHUNK, json!({}));
    let upload = begun.is(201).upload();
    assert_eq!(begun.field("location"), Some(upload.as_str()));
    assert!(upload.starts_with("/.onward/uploads/") && upload.len() == "/.onward/uploads/".len() + 32);
    let status = begun.json();
    assert_eq!((&status["state"], &status["have"]), (&json!("new"), &json!("")));
    for index in [3, 1, 2] {
        let start = index * CHUNK;
        let end = (start + CHUNK).min(bytes.len() as u64);
        talk.chunk(&upload, index, &bytes[start as usize..end as usize]).is(204);
    }
    talk.piece(&upload, 0, &bytes[1000..3000], 1000, CHUNK).is(204);
    let status = talk.get(&upload).is(200).json();
    assert_eq!(status["state"], "partial");
    assert_eq!((&status["have"], &status["within"]), (&json!("1-3"), &json!({"0": "1000-2999"})));
    assert_eq!((&status["size"], &status["chunk_size"]), (&json!(bytes.len()), &json!(CHUNK)));
    let refusal = talk.complete(&upload, &bytes);
    assert_eq!(refusal.refuses(409, "incomplete").json()["missing"], "0");
    assert!(!server.path("a").exists(), "nothing is published before the end");
    // The whole chunk, of which some is held: that is compared, the rest is written.
    talk.chunk(&upload, 0, &bytes[..CHUNK as usize]).is(204);
    let done = talk.complete(&upload, &bytes);
    assert_eq!(done.is(201).field("location"), Some("/a/b%20c.bin"));
    let status = done.json();
    assert_eq!(
        (&status["state"], &status["have"], &status["file"]),
        (&json!("complete"), &json!("0-3"), &json!("/a/b%20c.bin"))
    );
    assert_eq!(status["digests"]["crc64nvme"], crc_hex(&bytes));
    assert_eq!(server.read("a/b c.bin"), bytes);
    // Finish is idempotent, and the upload keeps answering.
    talk.complete(&upload, &bytes).is(201);
    assert_eq!(talk.get(&upload).is(200).json()["state"], "complete");
    talk.chunk(&upload, 1, &bytes[CHUNK as usize..2 * CHUNK as usize]).is(204);
    talk.chunk(&upload, 1, &bytes[..CHUNK as usize]).refuses(409, "differs");
    talk.complete_with(&upload, json!({"digests": {"crc64nvme": "0000000000000000"}})).refuses(422, "suspect");
    let left = eventually("the upload's files go", || {
        let left: Vec<String> = tree(&server.path(".onward/uploads"));
        left.is_empty().then_some(left)
    });
    assert_eq!(left, Vec::<String>::new());
    // And the file tells what it is.
    let fetched = talk.get("/a/b%20c.bin");
    assert_eq!(fetched.is(200).body, bytes);
    assert_eq!(fetched.field("repr-digest"), Some(crc_field(&bytes).as_str()));
}

#[test]
fn an_empty_file() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = server.talk();
    let upload = talk.begin("/", "empty", 0, CHUNK, json!({})).is(201).upload();
    talk.chunk(&upload, 0, b"").refuses(404, "not-found");
    talk.complete(&upload, b"").is(201);
    assert_eq!(server.read("empty"), b"");
}

#[test]
fn the_same_key_is_the_same_upload() {
    let world = World::new();
    let server = Receiver::start(&world);
    let more = json!({"key": key()});
    let first = server.begin("f", 10, 10, more.clone()).is(201).upload();
    assert_eq!(server.begin("f", 10, 10, more.clone()).is(200).upload(), first);
    for other in [("g", 10, 10), ("f", 11, 10), ("f", 10, 5)] {
        server.begin(other.0, other.1, other.2, more.clone()).refuses(409, "key-reused");
    }
    assert_ne!(server.begin("f", 10, 10, json!({})).is(201).upload(), first, "another key is another upload");
    // Many at the same moment still make one.
    let more = json!({"key": key()});
    let uploads: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| server.begin("h", 10, 10, more.clone()).upload())).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(uploads.iter().all(|upload| *upload == uploads[0]), "{uploads:?}");
    // After the end it is known still.
    server.talk().chunk(&first, 0, &[7; 10]).is(204);
    server.talk().complete(&first, &[7; 10]).is(201);
}

#[test]
fn a_finished_upload_answers_its_key() {
    let world = World::new();
    let server = Receiver::start(&world);
    let more = json!({"key": key()});
    store(&server, "f", &[1; 10], more.clone());
    let again = server.talk().begin("/", "f", 10, CHUNK, more);
    assert_eq!(again.is(200).json()["state"], "complete");
}

#[test]
fn begins_that_cannot_be() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-file-size", "1M", "--max-unfinished", "2"]).start();
    server.begin("x", 10, 0, json!({})).refuses(400, "bad-request");
    server.begin("x", 10_001, 1, json!({})).refuses(400, "bad-request");
    server.begin("x", (1 << 20) + 1, 1 << 20, json!({})).refuses(413, "too-large");
    server.begin("x", 10, 1 << 40, json!({})).refuses(413, "too-large");
    let mut talk = server.talk();
    talk.ask("POST /", b"{").refuses(400, "bad-request");
    talk.ask("POST /", b"").refuses(400, "bad-request");
    talk.ask("POST /", br#"{"key":"x","name":"x","size":1,"chunk_size":1}"#).refuses(400, "bad-request");
    talk.ask("POST /", &vec![b' '; 70_000]).refuses(413, "too-large");
    server.talk().ask("POST /../x", b"{}").is(400);
    server.talk().begin("/../", "x", 1, 1, json!({})).refuses(400, "bad-name");
    server.talk().begin("/.onward/", "x", 1, 1, json!({})).refuses(404, "not-found");
    server.talk().begin("/a/.onward/", "x", 1, 1, json!({})).refuses(400, "bad-name");
    server.begin("1", 10, 10, json!({})).is(201);
    let second = server.begin("2", 10, 10, json!({})).is(201).upload();
    let refusal = server.begin("3", 10, 10, json!({}));
    assert!(refusal.refuses(429, "too-many").field("retry-after").is_some());
    server.ask(&format!("DELETE {second}")).is(204);
    server.begin("3", 10, 10, json!({})).is(201);
}

#[test]
fn hostile_names_stay_out() {
    let world = World::new();
    let server = Receiver::start(&world);
    std::fs::create_dir(world.beside("secret")).unwrap();
    std::os::unix::fs::symlink(world.beside("secret"), server.path("out")).unwrap();
    std::os::unix::fs::symlink("/etc", server.path("etc")).unwrap();
    server.put("file", b"x");
    let before = tree(world.beside("").as_path());
    for name in [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        ".",
        "./x",
        "a//b",
        "a/",
        ".onward/x",
        ".ONWARD/x",
        "a/.onward/x",
        "a\\..\\x",
        "a\u{0}b",
        "a\nb",
        "x.partial",
        "x.partial.toml",
        "x.partial.lock",
        "X.Partial",
        ".bashrc",
        ".ssh/authorized_keys",
        "a\u{202e}b",
    ] {
        server.begin(name, 1, 1, json!({})).refuses(400, "bad-name");
    }
    for name in ["out/x", "etc/x", "out", "file/x"] {
        let status = server.begin(name, 1, 1, json!({})).status;
        assert!(status == 400 || status == 409, "{name}: {status}");
    }
    // And not at the end either.
    let upload = server.begin("good", 1, 1, json!({})).is(201).upload();
    server.talk().chunk(&upload, 0, b"y").is(204);
    for name in ["../x", "/../x", "//x", "/etc/../../x", "a/../b", ".onward/x", "x.partial", ""] {
        let document = json!({"digests": {"crc64nvme": crc_hex(b"y")}, "name": name});
        server.talk().complete_with(&upload, document).refuses(400, "bad-name");
    }
    for name in ["out/x", "etc/onward-was-here", "file/x"] {
        let document = json!({"digests": {"crc64nvme": crc_hex(b"y")}, "name": name});
        let status = server.talk().complete_with(&upload, document).status;
        assert!((400..600).contains(&status), "{name}: {status}");
    }
    assert!(!std::path::Path::new("/etc/onward-was-here").exists());
    assert_eq!(tree(&world.beside("secret")), Vec::<String>::new());
    let after: Vec<String> =
        tree(world.beside("").as_path()).into_iter().filter(|f| !f.contains("/.onward/")).collect();
    assert_eq!(after, before.into_iter().filter(|f| !f.contains("/.onward/")).collect::<Vec<_>>());
}

#[test]
fn a_folder_as_the_base() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = server.talk();
    let upload = talk.begin("/sub%20dir/deep/", "f", 3, 3, json!({})).is(201).upload();
    talk.chunk(&upload, 0, b"abc").is(204);
    let status = talk.complete(&upload, b"abc").is(201).json();
    assert_eq!((&status["name"], &status["file"]), (&json!("f"), &json!("/sub%20dir/deep/f")));
    assert_eq!(server.read("sub dir/deep/f"), b"abc");
}

#[test]
fn pieces_and_their_digests() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(2, 2 * CHUNK);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", 2 * CHUNK, CHUNK, json!({})).is(201).upload();
    let first = &bytes[..CHUNK as usize];
    let put = |fields: &str, body: &[u8]| server.talk().ask(&format!("PUT {upload}/0{fields}"), body);
    put("", first).refuses(400, "digest-required");
    put("\nContent-Digest: unknown=:AAAA:", first).refuses(400, "digest-required");
    put("\nContent-Digest: crc64nvme=:AAAA:", first).refuses(400, "digest-required");
    put(&format!("\nContent-Digest: {}", crc_field(b"other")), first).refuses(422, "digest-mismatch");
    assert_eq!(talk.get(&upload).json()["state"], "new", "bytes of a wrong digest never count");
    // Any one of the algorithms, and all that are told must agree.
    let sha = field_of(hash(Algorithm::Sha256, &first[..10]));
    let md5 = field_of(hash(Algorithm::Md5, &first[..10]));
    let range = format!("Content-Range: bytes 0-9/{CHUNK}");
    put(&format!("\n{range}\nContent-Digest: {sha}, {}", crc_field(b"x")), &first[..10])
        .refuses(422, "digest-mismatch");
    put(&format!("\n{range}\nContent-Digest: {sha}\nContent-Digest: {md5}"), &first[..10]).is(204);
    put(&format!("\n{range}\nContent-Digest: {md5}"), &first[..10]).is(204);
    for range in
        ["bytes 0-9/10", "bytes 5-2/65536", "bytes 0-65536/65536", "bytes 0-9/*", "items 0-9/65536", "bytes */65536"]
    {
        put(&format!("\nContent-Range: {range}\nContent-Digest: {}", crc_field(&first[..10])), &first[..10])
            .refuses(400, "bad-request");
    }
    // A length that is not the piece's.
    put(&format!("\nContent-Digest: {}", crc_field(&first[..10])), &first[..10]).refuses(400, "bad-request");
    put(&format!("\n{range}\nContent-Digest: {}", crc_field(&first[..11])), &first[..11]).refuses(400, "bad-request");
    server.talk().chunk(&upload, 2, first).refuses(404, "not-found");
    assert_eq!(talk.get(&upload).json()["within"], json!({"0": "0-9"}));
    // Chunked bodies are counted, not believed.
    let chunked = |body: &[u8]| {
        let head = format!(
            "PUT {upload}/1\nContent-Digest: {}\nTransfer-Encoding: chunked",
            crc_field(&bytes[CHUNK as usize..])
        );
        let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
        framed.extend_from_slice(body);
        framed.extend_from_slice(b"\r\n0\r\n\r\n");
        server.talk().ask(&head, &framed)
    };
    chunked(&bytes).refuses(400, "bad-request");
    chunked(&bytes[CHUNK as usize + 1..]).refuses(400, "bad-request");
    chunked(&bytes[CHUNK as usize..]).is(204);
}

#[test]
fn a_cut_piece_leaves_nothing() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(3, CHUNK);
    let upload = server.begin("f", CHUNK, CHUNK, json!({})).is(201).upload();
    let mut cut = server.talk();
    cut.begin_put(&format!("{upload}/0"), &bytes, 30_000);
    drop(cut);
    // The place is free again, and nothing of it counts.
    eventually("the cut writer is gone", || (server.talk().chunk(&upload, 0, &bytes).status == 204).then_some(()));
    server.talk().complete(&upload, &bytes).is(201);
    assert_eq!(server.read("f"), bytes);
}

#[test]
fn bytes_that_are_held_are_never_touched() {
    let world = World::new();
    let server = Receiver::start(&world);
    let (old, new) = (content(4, CHUNK), content(5, CHUNK));
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", CHUNK, CHUNK, json!({})).is(201).upload();
    talk.chunk(&upload, 0, &old).is(204);
    talk.chunk(&upload, 0, &old).is(204);
    talk.chunk(&upload, 0, &new).refuses(409, "differs");
    assert_eq!(talk.get(&upload).json()["have"], "0", "a refused piece takes nothing away");
    // The source changed: forget, then write.
    let head = |digest: &str| format!("PUT {upload}/0\nOnward-Replace: 1\nContent-Digest: {digest}");
    talk.ask(&head(&crc_field(&new)), &new).is(204);
    let digests = talk.get(&format!("{upload}/digests?chunks=0")).is(200).json();
    assert_eq!(digests["digests"], json!([crc_hex(&new)]));
    // A replacement that fails has forgotten: the old bytes are not the source's any more.
    talk.ask(&head(&crc_field(b"wrong")), &old).refuses(422, "digest-mismatch");
    assert_eq!(talk.get(&upload).json()["have"], "");
    talk.chunk(&upload, 0, &new).is(204);
    talk.complete(&upload, &new).is(201);
    talk.ask(&head(&crc_field(&old)), &old).refuses(409, "differs");
    assert_eq!(server.read("f"), new);
}

#[test]
fn one_writer_per_chunk() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(6, 2 * CHUNK);
    let (first, second) = bytes.split_at(CHUNK as usize);
    let upload = server.begin("f", 2 * CHUNK, CHUNK, json!({})).is(201).upload();
    let mut slow = server.talk();
    slow.begin_put(&format!("{upload}/0"), first, 1000);
    let busy = server.talk().chunk(&upload, 0, first);
    assert!(busy.refuses(409, "busy").field("retry-after").is_some());
    // Another chunk is nobody's business.
    server.talk().chunk(&upload, 1, second).is(204);
    // The check of the whole waits for writers.
    slow.raw(&first[1000..]);
    slow.answer(false).is(204);
    server.talk().complete(&upload, &bytes).is(201);
}

#[test]
fn a_stalled_writer_gives_way() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(7, CHUNK);
    let upload = server.begin("f", CHUNK, CHUNK, json!({})).is(201).upload();
    let mut dead = server.talk();
    dead.begin_put(&format!("{upload}/0"), &bytes, 1000);
    std::thread::sleep(Duration::from_millis(5500));
    server.talk().chunk(&upload, 0, &bytes).is(204);
    assert_eq!(server.talk().get(&upload).json()["have"], "0");
}

#[test]
fn compare() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(8, 5 * CHUNK - 1);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", bytes.len() as u64, CHUNK, json!({})).is(201).upload();
    let chunks: Vec<&[u8]> = bytes.chunks(CHUNK as usize).collect();
    for index in [0, 2, 4] {
        talk.chunk(&upload, index, chunks[index as usize]).is(204);
    }
    let told = talk.get(&format!("{upload}/digests?chunks=0-1,4-900")).is(200).json();
    assert_eq!(
        told,
        json!({"algorithm": "crc64nvme", "chunks": "0,4", "digests": [crc_hex(chunks[0]), crc_hex(chunks[4])]})
    );
    for query in ["", "?", "?chunks=5-2", "?chunks=x", "?other=1"] {
        talk.get(&format!("{upload}/digests{query}")).refuses(400, "bad-request");
    }
    assert_eq!(talk.get(&format!("{upload}/digests?chunks=")).is(200).json()["chunks"], "");
}

#[test]
fn wholes_and_their_digests() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(9, 3 * CHUNK);
    let mut talk = server.talk();
    let want = json!({"want": ["sha-256", "nonsense"]});
    let upload = talk.begin("/", "f", bytes.len() as u64, CHUNK, want).is(201).upload();
    send_all(&mut talk, &upload, &bytes);
    talk.complete_with(&upload, json!({"digests": {}})).refuses(400, "digest-required");
    talk.complete_with(&upload, json!({"digests": {"sha-999": "00"}})).refuses(400, "digest-required");
    talk.complete_with(&upload, json!({"digests": {"md5": "00"}})).refuses(400, "bad-request");
    for digests in [
        json!({"crc64nvme": crc_hex(b"x")}),
        json!({"md5": md5(b"x")}),
        json!({"crc64nvme": crc_hex(&bytes), "sha-256": hash(Algorithm::Sha256, b"x").hex()}),
    ] {
        let refusal = talk.complete_with(&upload, json!({"digests": digests}));
        assert_eq!(refusal.refuses(422, "suspect").json()["suspect"], "0-2");
        assert!(!server.path("f").exists());
        assert_eq!(talk.get(&upload).json()["have"], "0-2", "what is as it was sent stays");
    }
    let done = talk.complete_with(&upload, json!({"digests": {"md5": md5(&bytes)}, "want": ["sha-256"]}));
    let digests = done.is(201).json()["digests"].clone();
    let all =
        json!({"md5": md5(&bytes), "sha-256": hash(Algorithm::Sha256, &bytes).hex(), "crc64nvme": crc_hex(&bytes)});
    assert_eq!(digests, all);
    let told = server.ask("HEAD /f").is(200).field("repr-digest").unwrap().to_string();
    assert!(told.contains("sha-256=:") && told.contains("md5=:") && told.contains("crc64nvme=:"), "{told}");
}

#[test]
fn damage_on_the_servers_disk_is_found_and_named() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(10, 4 * CHUNK);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", bytes.len() as u64, CHUNK, json!({})).is(201).upload();
    send_all(&mut talk, &upload, &bytes);
    let data = tree(&server.path(".onward/uploads")).into_iter().find(|name| name.ends_with(".partial")).unwrap();
    let path = server.path(".onward/uploads").join(data);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 2 * CHUNK + 5).unwrap();
    let complete = json!({"digests": {"sha-256": hash(Algorithm::Sha256, &bytes).hex()}});
    let refusal = talk.complete_with(&upload, complete.clone());
    assert_eq!(refusal.refuses(422, "suspect").json()["suspect"], "2");
    assert_eq!(talk.get(&upload).json()["have"], "0-1,3");
    talk.chunk(&upload, 2, &bytes[2 * CHUNK as usize..3 * CHUNK as usize]).is(204);
    talk.complete_with(&upload, complete).is(201);
    assert_eq!(server.read("f"), bytes);
}

#[test]
fn a_check_that_takes_time_says_202() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(11, 64 << 20);
    let mut talk = server.talk();
    let chunk = 8 << 20;
    let upload = talk.begin("/", "f", bytes.len() as u64, chunk, json!({})).is(201).upload();
    for (index, bytes) in bytes.chunks(chunk as usize).enumerate() {
        talk.chunk(&upload, index as u64, bytes).is(204);
    }
    let document = json!({"digests": {"sha-256": hash(Algorithm::Sha256, &bytes).hex(), "md5": md5(&bytes)}});
    let complete = format!("POST {upload}/complete\nPrefer: respond-async");
    let first = talk.ask(&complete, document.to_string().as_bytes());
    assert!(first.is(202).field("retry-after").is_some());
    assert_eq!(first.json()["state"], "verifying");
    assert_eq!(talk.get(&upload).is(200).json()["state"], "verifying");
    // A second finish joins the first; nothing may be given up meanwhile.
    talk.ask(&complete, document.to_string().as_bytes()).is(202);
    talk.ask(&format!("DELETE {upload}"), b"").refuses(409, "busy");
    eventually("the check ends", || (talk.get(&upload).json()["state"] == "complete").then_some(()));
    talk.post(&format!("{upload}/complete"), &document).is(201);
    assert_eq!(server.read("f").len(), bytes.len());
}

#[test]
fn a_check_that_failed_unseen_is_told() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(23, 32 << 20);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", bytes.len() as u64, 8 << 20, json!({})).is(201).upload();
    for (index, bytes) in bytes.chunks(8 << 20).enumerate() {
        talk.chunk(&upload, index as u64, bytes).is(204);
    }
    let wrong = json!({"digests": {"sha-256": hash(Algorithm::Sha256, b"x").hex()}}).to_string();
    let ask = |talk: &mut Talk| talk.ask(&format!("POST {upload}/complete\nPrefer: respond-async"), wrong.as_bytes());
    ask(&mut talk).is(202);
    eventually("the check ends", || (talk.get(&upload).json()["state"] == "partial").then_some(()));
    ask(&mut talk).refuses(422, "suspect");
    ask(&mut talk).is(202);
    eventually("the check ends", || (talk.get(&upload).json()["state"] == "partial").then_some(()));
    // It is no answer to another question.
    let right = json!({"digests": {"sha-256": hash(Algorithm::Sha256, &bytes).hex()}});
    talk.complete_with(&upload, right).is(201);
    assert_eq!(server.read("f"), bytes);
}

#[test]
fn names_that_exist() {
    let world = World::new();
    let server = Receiver::start(&world);
    server.put("f", b"old");
    std::fs::create_dir(server.path("d")).unwrap();
    let refusal = server.begin("f", 5, 5, json!({}));
    assert_eq!(refusal.refuses(409, "exists").json()["size"], 3);
    server.begin("d", 5, 5, json!({})).refuses(409, "exists");
    // Without the operator's leave asking does not help.
    server.begin("f", 5, 5, json!({"if_exists": "replace"})).refuses(409, "exists");
    drop(server);
    let server = Receiver::setup(&world).args(["--allow-overwrite"]).start();
    server.begin("f", 5, 5, json!({})).refuses(409, "exists");
    server.begin("d", 5, 5, json!({"if_exists": "replace"})).refuses(409, "exists");
    let upload = server.begin("f", 5, 5, json!({"if_exists": "replace"})).is(201).upload();
    server.talk().chunk(&upload, 0, b"fresh").is(204);
    assert_eq!(server.read("f"), b"old", "what stands there stays until the end");
    server.talk().complete(&upload, b"fresh").is(201);
    assert_eq!(server.read("f"), b"fresh");
}

#[test]
fn two_race_for_one_name() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = server.talk();
    let one = talk.begin("/d/", "f", 3, 3, json!({})).is(201).upload();
    let two = talk.begin("/d/", "f", 3, 3, json!({})).is(201).upload();
    talk.chunk(&one, 0, b"one").is(204);
    talk.chunk(&two, 0, b"two").is(204);
    talk.complete(&two, b"two").is(201);
    talk.complete(&one, b"one").refuses(409, "name-taken");
    assert_eq!(talk.get(&one).is(200).json()["have"], "0", "the loser stays whole");
    talk.complete(&one, b"one").refuses(409, "name-taken");
    let other = json!({"digests": {"crc64nvme": crc_hex(b"one")}, "name": "f-2"});
    assert_eq!(talk.complete_with(&one, other).is(201).json()["file"], "/d/f-2");
    let third = talk.begin("/d/", "g", 3, 3, json!({})).is(201).upload();
    talk.chunk(&third, 0, b"abc").is(204);
    let absolute = json!({"digests": {"crc64nvme": crc_hex(b"abc")}, "name": "/top"});
    talk.complete_with(&third, absolute).is(201);
    assert_eq!(
        (server.read("d/f"), server.read("d/f-2"), server.read("top")),
        (b"two".to_vec(), b"one".to_vec(), b"abc".to_vec())
    );
}

#[test]
fn give_up() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", CHUNK, CHUNK, json!({})).is(201).upload();
    talk.chunk(&upload, 0, &content(1, CHUNK)).is(204);
    talk.ask(&format!("DELETE {upload}"), b"").is(204);
    for (head, body) in [
        (format!("GET {upload}"), &b""[..]),
        (format!("DELETE {upload}"), b""),
        (format!("PUT {upload}/0"), b"x"),
        (format!("POST {upload}/complete"), b"{}"),
        (format!("POST {upload}/identity"), b"{}"),
        (format!("GET {upload}/digests?chunks=0"), b""),
    ] {
        talk.ask(&head, body).refuses(404, "unknown-upload");
    }
    assert_eq!(tree(&server.path(".onward/uploads")), Vec::<String>::new());
    // A finished file is not the upload's to take away.
    store(&server, "g", b"abc", json!({}));
    let more = json!({"key": key()});
    store(&server, "h", b"abc", more.clone());
    let done = server.talk().begin("/", "h", 3, CHUNK, more).is(200).upload();
    talk.ask(&format!("DELETE {done}"), b"").is(204);
    talk.get(&done).refuses(404, "unknown-upload");
    assert_eq!(server.read("h"), b"abc");
}

#[test]
fn methods_and_places() {
    let world = World::new();
    let server = Receiver::start(&world);
    let upload = server.begin("f", 3, 3, json!({})).is(201).upload();
    let mut talk = server.talk();
    for (head, allow) in [
        (format!("POST {upload}"), "GET, DELETE, OPTIONS"),
        (format!("PUT {upload}"), "GET, DELETE, OPTIONS"),
        (format!("GET {upload}/0"), "PUT, OPTIONS"),
        (format!("GET {upload}/complete"), "POST, OPTIONS"),
        (format!("PUT {upload}/identity"), "POST, OPTIONS"),
        (format!("POST {upload}/digests"), "GET, OPTIONS"),
        ("PUT /f".to_string(), "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        ("DELETE /f".to_string(), "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        ("PATCH /f".to_string(), "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
    ] {
        assert_eq!(talk.ask(&head, b"").refuses(405, "method").field("allow"), Some(allow), "{head}");
    }
    for path in ["/.onward/", "/.onward/uploads/", "/.onward/uploads/00", "/.onward/done/x.toml", "/.ONWARD/uploads"] {
        talk.get(path).refuses(404, "not-found");
    }
    for tail in ["/x", "/0/", "/0/1", "/-1", "x"] {
        talk.get(&format!("{upload}{tail}")).refuses(404, "not-found");
    }
    talk.get(&format!("/.onward/uploads/{}", "0".repeat(32))).refuses(404, "unknown-upload");
}

#[test]
fn tokens_are_walls() {
    let world = World::new();
    world.write("tokens", "ann:tokenofann\nbob:tokenofbob\n");
    let server = Receiver::setup(&world).args(["--token-file", "tokens"]).start();
    let bytes = content(12, 2 * CHUNK);
    let ann = || server.talk().with("Authorization: Bearer tokenofann");
    let bob = || server.talk().with("Authorization: Bearer tokenofbob");
    let more = json!({"key": key(), "md5": md5(&bytes)});
    let upload = ann().begin("/", "f", bytes.len() as u64, CHUNK, more.clone()).is(201).upload();
    ann().chunk(&upload, 0, &bytes[..CHUNK as usize]).is(204);
    // The URL is not enough, and neither is the key nor the content.
    for (head, body) in [
        (format!("GET {upload}"), &b""[..]),
        (format!("DELETE {upload}"), b""),
        (format!("PUT {upload}/1"), b"x"),
        (format!("POST {upload}/complete"), b"{}"),
        (format!("GET {upload}/digests?chunks=0"), b""),
    ] {
        bob().ask(&head, body).refuses(404, "unknown-upload");
        server.talk().ask(&head, body).refuses(401, "unauthorized");
    }
    let his = bob().begin("/", "f", bytes.len() as u64, CHUNK, more);
    assert_ne!(his.is(201).upload(), upload);
    assert_eq!(his.json()["other"], Value::Null);
    ann().chunk(&upload, 1, &bytes[CHUNK as usize..]).is(204);
    ann().complete(&upload, &bytes).is(201);
    let offered = bob().begin("/", "g", bytes.len() as u64, CHUNK, json!({"md5": md5(&bytes)}));
    assert_eq!(offered.is(201).json()["other"], Value::Null, "a finished file of another domain is not found");
}

#[test]
fn equal_content_is_offered_and_taken_by_proof() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(13, 40 * CHUNK + 5);
    let size = bytes.len() as u64;
    let known = json!({"md5": md5(&bytes)});
    store(&server, "first", &bytes, known.clone());
    // Nothing is offered to whoever does not want it or does not know it.
    for more in [json!({}), json!({"md5": md5(&bytes), "join": false}), json!({"md5": md5(b"x")})] {
        assert_eq!(server.talk().begin("/", "second", size, CHUNK, more).is(201).json()["other"], Value::Null);
    }
    assert_eq!(server.talk().begin("/", "second", size - 1, CHUNK, known.clone()).is(201).json()["other"], Value::Null);
    let mut talk = server.talk();
    let begun = talk.begin("/", "second", size, CHUNK, known.clone());
    let upload = begun.is(201).upload();
    let offer = begun.json()["other"].clone();
    assert_eq!(offer["state"], "complete");
    let ranges = ByteSet::parse(offer["ranges"].as_str().unwrap()).unwrap();
    assert!(ranges.runs().count() <= 16 && ranges.end() <= size, "{ranges}");
    let identity = format!("{upload}/identity");
    // Without the content the MD5 is worth nothing, and an offer is good for one try.
    let mut wrong = bytes.clone();
    wrong.iter_mut().for_each(|byte| *byte ^= 1);
    let mut lie = prove(&offer, &wrong);
    lie["md5"] = json!(md5(&bytes));
    talk.post(&identity, &lie).refuses(403, "proof-failed");
    talk.post(&identity, &prove(&offer, &bytes)).refuses(403, "proof-failed");
    assert!(!server.path("second").exists());
    let offer = talk.post(&identity, &known).is(200).json()["other"].clone();
    let done = talk.post(&identity, &prove(&offer, &bytes));
    let status = done.is(200).json();
    assert_eq!((&status["state"], &status["file"]), (&json!("complete"), &json!("/second")));
    assert_eq!(status["digests"]["sha-256"], hash(Algorithm::Sha256, &bytes).hex());
    assert_eq!(server.read("second"), bytes);
    assert_eq!(server.read("first"), bytes);
    assert_eq!(talk.complete(&upload, &bytes).is(201).json()["file"], "/second");
}

#[test]
fn a_told_md5_that_was_a_lie_gives_nothing() {
    let world = World::new();
    let server = Receiver::start(&world);
    let (poison, wanted) = (content(14, CHUNK), content(15, CHUNK));
    // Somebody stores other bytes under the MD5 of what a victim will send.
    store(&server, "poison", &poison, json!({"md5": md5(&wanted)}));
    let mut talk = server.talk();
    let begun = talk.begin("/", "victim", CHUNK, CHUNK, json!({"md5": md5(&wanted)}));
    let upload = begun.is(201).upload();
    let offer = begun.json()["other"].clone();
    assert_eq!(offer["state"], "complete", "the lie is found out when it is looked at");
    // Even one who has both contents gets nothing that is not of that MD5.
    let mut proof = prove(&offer, &poison);
    proof["md5"] = json!(md5(&wanted));
    talk.post(&format!("{upload}/identity"), &proof).refuses(403, "proof-failed");
    assert!(!server.path("victim").exists());
    talk.chunk(&upload, 0, &wanted).is(204);
    talk.complete_with(&upload, json!({"digests": {"md5": md5(&wanted)}})).is(201);
    assert_eq!(server.read("victim"), wanted);
}

#[test]
fn a_name_that_exists_with_the_same_content_is_no_conflict() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(16, 3 * CHUNK);
    // Not even uploaded: the operator put it there.
    server.put("f", &bytes);
    let size = bytes.len() as u64;
    server.talk().begin("/", "f", size, CHUNK, json!({"md5": md5(b"x")})).refuses(409, "exists");
    let mut talk = server.talk();
    let begun = talk.begin("/", "f", size, CHUNK, json!({"md5": md5(&bytes)}));
    let offer = begun.is(201).json()["other"].clone();
    let done = talk.post(&format!("{}/identity", begun.upload()), &prove(&offer, &bytes)).is(200).json();
    assert_eq!((&done["state"], &done["file"]), (&json!("complete"), &json!("/f")));
    assert_eq!(done["digests"]["sha-256"], hash(Algorithm::Sha256, &bytes).hex());
    assert_eq!(server.read("f"), bytes);
    assert_eq!(tree(&server.path(".onward/uploads")), Vec::<String>::new());
    // Its digests are known from now on.
    assert!(server.ask("HEAD /f").field("repr-digest").is_some_and(|told| told.contains("sha-256")));
    // Changed afterwards: known no more.
    server.put("f", b"other");
    assert_eq!(server.ask("HEAD /f").field("repr-digest"), None);
}

#[test]
fn an_unfinished_upload_is_joined_by_proof() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(17, 10 * CHUNK);
    let size = bytes.len() as u64;
    let mut dead = server.talk();
    let first = dead.begin("/", "f", size, CHUNK, json!({})).is(201).upload();
    for index in 0..7 {
        dead.chunk(&first, index, &bytes[(index * CHUNK) as usize..((index + 1) * CHUNK) as usize]).is(204);
    }
    // The identity arrives late.
    dead.post(&format!("{first}/identity"), &json!({"md5": md5(&bytes)})).is(200);
    drop(dead);
    let mut fresh = server.talk();
    let begun = fresh.begin("/", "f", size, CHUNK, json!({"md5": md5(&bytes)}));
    let own = begun.is(201).upload();
    let offer = begun.json()["other"].clone();
    assert_eq!(offer["state"], "partial");
    assert!(!begun.json().to_string().contains(&first), "the URL is not told before the proof");
    let ranges = ByteSet::parse(offer["ranges"].as_str().unwrap()).unwrap();
    assert!(ranges.end() <= 7 * CHUNK, "only held bytes can be asked for");
    // A chunk size that differs is another cut: nothing to join.
    let other = server.talk().begin("/", "f", size, CHUNK / 2, json!({"md5": md5(&bytes)}));
    assert_eq!(other.is(201).json()["other"], Value::Null);
    let joined = fresh.post(&format!("{own}/identity"), &prove(&offer, &bytes)).is(200).json();
    assert_eq!((&joined["upload"], &joined["joined"], &joined["have"]), (&json!(first), &json!(true), &json!("0-6")));
    let digests = fresh.get(&format!("{first}/digests?chunks=0-6")).is(200).json();
    let own_digests: Vec<String> = bytes.chunks(CHUNK as usize).take(7).map(crc_hex).collect();
    assert_eq!(digests["digests"], json!(own_digests));
    fresh.ask(&format!("DELETE {own}"), b"").is(204);
    for index in 7..10 {
        fresh.chunk(&first, index, &bytes[(index * CHUNK) as usize..((index + 1) * CHUNK) as usize]).is(204);
    }
    let done = fresh.complete_with(&first, json!({"digests": {"crc64nvme": crc_hex(&bytes)}, "want": ["sha-256"]}));
    assert_eq!(done.is(201).json()["digests"]["sha-256"], hash(Algorithm::Sha256, &bytes).hex());
    assert_eq!(server.read("f"), bytes);
}

#[test]
fn a_killed_server_loses_no_acknowledged_byte() {
    let world = World::new();
    let bytes = content(18, 12 * CHUNK + 100);
    let size = bytes.len() as u64;
    let more = json!({"key": key(), "md5": md5(&bytes)});
    let mut server = Receiver::start(&world);
    let upload = server.talk().begin("/", "f", size, CHUNK, more.clone()).is(201).upload();
    for (index, chunk) in bytes.chunks(CHUNK as usize).enumerate() {
        server.talk().chunk(&upload, index as u64, chunk).is(204);
        if index % 3 == 2 {
            server.kill();
            server = Receiver::start(&world);
            let status = server.talk().begin("/", "f", size, CHUNK, more.clone()).is(200).json();
            assert_eq!((&status["upload"], &status["have"]), (&json!(upload), &json!(format!("0-{index}"))));
        }
    }
    // Old bytes are proven by reading before anything is published.
    server.kill();
    let server = Receiver::start(&world);
    server.talk().complete(&upload, &bytes).is(201);
    assert_eq!(server.read("f"), bytes);
    // The receipt outlives the process too.
    server.kill();
    let server = Receiver::start(&world);
    assert_eq!(server.talk().get(&upload).is(200).json()["file"], "/f");
    server.talk().complete(&upload, &bytes).is(201);
}

#[test]
fn bytes_that_rot_while_the_server_is_down_are_asked_for_again() {
    let world = World::new();
    let bytes = content(19, 4 * CHUNK);
    let server = Receiver::start(&world);
    let upload = server.begin("f", bytes.len() as u64, CHUNK, json!({})).is(201).upload();
    send_all(&mut server.talk(), &upload, &bytes);
    server.kill();
    let folder = world.beside("served/.onward/uploads");
    let data = tree(&folder).into_iter().find(|name| name.ends_with(".partial")).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.join(data)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", CHUNK + 5).unwrap();
    drop(file);
    let server = Receiver::start(&world);
    let refusal = server.talk().complete(&upload, &bytes);
    assert_eq!(refusal.refuses(422, "suspect").json()["suspect"], "1");
    assert_eq!(server.talk().get(&upload).json()["have"], "0,2-3");
    server.talk().chunk(&upload, 1, &bytes[CHUNK as usize..2 * CHUNK as usize]).is(204);
    server.talk().complete(&upload, &bytes).is(201);
    assert_eq!(server.read("f"), bytes);
}

#[test]
fn killed_at_every_point_of_the_end() {
    for point in ["data-synced:1", "data-synced:2", "sidecar-replaced:3", "receipt-written", "published", "received"] {
        let world = World::new();
        let bytes = content(20, 2 * CHUNK);
        let server = Receiver::setup(&world).env("ONWARD_CRASH_AT", point).start();
        let more = json!({"key": key()});
        let begin = |server: &Receiver| server.talk().begin("/", "f", bytes.len() as u64, CHUNK, more.clone());
        let crashed = std::panic::catch_unwind(|| {
            let upload = begin(&server).upload();
            send_all(&mut server.talk(), &upload, &bytes);
            server.talk().complete(&upload, &bytes).is(201);
        });
        assert!(crashed.is_err(), "{point} was never reached");
        drop(server);
        if world.beside("served/f").exists() {
            assert_eq!(std::fs::read(world.beside("served/f")).unwrap(), bytes, "{point}");
        }
        let server = Receiver::start(&world);
        let again = begin(&server);
        assert!(again.status == 200 || again.status == 201, "{point}: {again:?}");
        let upload = again.upload();
        if again.json()["state"] != "complete" {
            send_all(&mut server.talk(), &upload, &bytes);
        }
        server.talk().complete(&upload, &bytes).is(201);
        assert_eq!(server.read("f"), bytes, "{point}");
        let left: Vec<String> = tree(&server.path(".onward/uploads"));
        assert_eq!(left, Vec::<String>::new(), "{point}");
    }
}

#[test]
fn uploads_expire() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--expire", "2s"]).start();
    let mut talk = server.talk();
    let begun = talk.begin("/", "f", 6, 3, json!({}));
    let upload = begun.is(201).upload();
    assert!(begun.json()["expires"].as_str().is_some_and(|time| time.ends_with('Z')));
    talk.chunk(&upload, 0, b"abc").is(204);
    store(&server, "g", b"xyz", json!({}));
    // While something comes, it lives.
    std::thread::sleep(Duration::from_millis(1200));
    talk.chunk(&upload, 0, b"abc").is(204);
    std::thread::sleep(Duration::from_millis(1200));
    talk.get(&upload).is(200);
    eventually("the upload expires", || (server.talk().get(&upload).status == 404).then_some(()));
    eventually("its files and the receipt go", || {
        (tree(&server.path(".onward/uploads")).is_empty() && tree(&server.path(".onward/done")).is_empty())
            .then_some(())
    });
    assert_eq!(server.read("g"), b"xyz", "finished files stay");
}

#[test]
fn what_an_earlier_server_left_expires_too() {
    let world = World::new();
    let server = Receiver::start(&world);
    let upload = server.begin("f", 6, 3, json!({})).is(201).upload();
    server.talk().chunk(&upload, 0, b"abc").is(204);
    server.kill();
    std::thread::sleep(Duration::from_millis(1500));
    let server = Receiver::setup(&world).args(["--expire", "1s"]).start();
    eventually("it goes", || tree(&server.path(".onward/uploads")).is_empty().then_some(()));
    server.talk().get(&upload).refuses(404, "unknown-upload");
}

#[test]
fn damaged_records_cost_only_themselves() {
    let world = World::new();
    let server = Receiver::start(&world);
    let one = server.begin("f", 6, 3, json!({})).is(201).upload();
    let two = server.begin("g", 6, 3, json!({})).is(201).upload();
    server.talk().chunk(&two, 0, b"abc").is(204);
    server.kill();
    let id = one.rsplit('/').next().unwrap();
    let sidecar = world.beside("served/.onward/uploads").join(format!("{id}.partial.toml"));
    std::fs::write(&sidecar, "version = 1\nkind = 7").unwrap();
    std::fs::write(world.beside("served/.onward/done/nonsense.toml"), "x").unwrap();
    let server = Receiver::start(&world);
    server.talk().get(&one).refuses(404, "unknown-upload");
    assert_eq!(server.talk().get(&two).is(200).json()["have"], "0");
}

#[test]
fn a_graceful_stop_lets_a_piece_finish() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(21, CHUNK);
    let upload = server.begin("f", CHUNK, CHUNK, json!({})).is(201).upload();
    let mut talk = server.talk();
    talk.begin_put(&format!("{upload}/0"), &bytes, 1000);
    server.signal(crate::world::Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    talk.raw(&bytes[1000..]);
    talk.answer(false).is(204);
    drop(talk);
    server.wait();
    let server = Receiver::start(&world);
    assert_eq!(server.talk().get(&upload).is(200).json()["have"], "0");
    server.talk().complete(&upload, &bytes).is(201);
}

#[test]
fn an_upload_without_a_byte_has_an_hour() {
    let world = World::new();
    let server = Receiver::start(&world);
    let mut talk = server.talk();
    let begun = talk.begin("/", "f", 6, 3, json!({}));
    let left = |status: &Value| {
        let expires = humantime::parse_rfc3339(status["expires"].as_str().unwrap()).unwrap();
        expires.duration_since(std::time::SystemTime::now()).unwrap()
    };
    assert!(left(&begun.is(201).json()) <= Duration::from_secs(3600));
    talk.chunk(&begun.upload(), 0, b"abc").is(204);
    assert!(left(&talk.get(&begun.upload()).json()) > Duration::from_secs(6 * 24 * 3600));
}

#[test]
fn the_time_of_the_source_is_kept() {
    let world = World::new();
    let server = Receiver::start(&world);
    store(&server, "f", b"abc", json!({"modified": "2023-11-14T22:13:20Z"}));
    store(&server, "g", b"abc", json!({"modified": "yesterday"}));
    assert_eq!(server.ask("HEAD /f").is(200).field("last-modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    assert_eq!(server.read("g"), b"abc");
}

#[test]
fn an_encoded_piece_is_refused() {
    let world = World::new();
    let server = Receiver::start(&world);
    let upload = server.begin("f", 3, 3, json!({})).is(201).upload();
    let head = format!("PUT {upload}/0\nContent-Encoding: gzip\nContent-Digest: {}", crc_field(b"abc"));
    server.talk().ask(&head, b"abc").refuses(400, "bad-request");
}

/// Clients that vanish in the middle of anything leave nothing behind that is in anybody's way.
#[test]
fn clients_that_vanish() {
    let world = World::new();
    let server = Receiver::setup(&world).args(["--max-unfinished", "3"]).start();
    let bytes = content(22, 4 * CHUNK);
    let more = json!({"key": key()});
    let document = json!({"key": more["key"], "name": "f", "size": bytes.len(), "chunk_size": CHUNK}).to_string();
    for _ in 0..10 {
        let mut talk = server.talk();
        talk.send("POST /", document.as_bytes());
    }
    let upload = server.talk().begin("/", "f", bytes.len() as u64, CHUNK, more).upload();
    for (index, chunk) in bytes.chunks(CHUNK as usize).enumerate() {
        for cut in [0, 1, 1000, CHUNK as usize] {
            let mut talk = server.talk();
            let head = format!("PUT {upload}/{index}\nContent-Digest: {}\nContent-Length: {CHUNK}", crc_field(chunk));
            talk.send(&head, &chunk[..cut]);
        }
        eventually("the chunk is free", || {
            (server.talk().chunk(&upload, index as u64, chunk).status == 204).then_some(())
        });
    }
    for _ in 0..3 {
        let complete = json!({"digests": {"sha-256": hash(Algorithm::Sha256, &bytes).hex()}}).to_string();
        server.talk().send(&format!("POST {upload}/complete"), complete.as_bytes());
    }
    server.talk().complete(&upload, &bytes).is(201);
    assert_eq!(server.read("f"), bytes);
    let other = server.begin("g", 3, 3, json!({})).is(201).upload();
    for _ in 0..3 {
        server.talk().send(&format!("DELETE {other}"), b"");
    }
    let status = server.ask(&format!("DELETE {other}")).status;
    assert!(status == 204 || status == 404, "{status}");
    eventually("nothing is left", || tree(&server.path(".onward/uploads")).is_empty().then_some(()));
    assert!(!server.told().contains("panicked"), "{}", server.told());
}

/// 204 means that the bytes survive a power cut: the server's disk is rebuilt as a power cut right after each reply
/// would leave it, at best and at worst.
#[test]
fn a_power_cut_loses_no_acknowledged_byte() {
    let world = World::new();
    let log = world.beside("disk.log");
    let server = Receiver::setup_at(&world, "work").env("ONWARD_DISK_LOG", &log.to_string_lossy()).start();
    let bytes = content(24, 6 * CHUNK + 9);
    let size = bytes.len() as u64;
    let more = json!({"key": key()});
    let steps_so_far = || std::fs::read_to_string(&log).unwrap().lines().count();
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", size, CHUNK, more.clone()).is(201).upload();
    let mut moments = vec![(steps_so_far(), 0)];
    for (index, chunk) in bytes.chunks(CHUNK as usize).enumerate() {
        talk.chunk(&upload, index as u64, chunk).is(204);
        moments.push((steps_so_far(), (index + 1) as u64));
    }
    talk.complete(&upload, &bytes).is(201);
    let end = steps_so_far();
    drop(server);
    let steps = read_log(&std::fs::read_to_string(&log).unwrap(), &world.dir());
    for (at, chunks) in moments {
        for luck in [Luck::None, Luck::Names, Luck::Some(at as u64), Luck::All] {
            let other = World::new();
            rebuild(&other, &after_power_cut(&steps[..at], luck));
            let server = Receiver::setup_at(&other, "work").start();
            let status = server.talk().begin("/", "f", size, CHUNK, more.clone()).is(200).json();
            let have = ByteSet::parse(status["have"].as_str().unwrap()).unwrap();
            assert_eq!(have.prefix(), chunks, "after {at} steps, luck {luck:?}: {status}");
            send_all(&mut server.talk(), &upload, &bytes);
            server.talk().complete(&upload, &bytes).is(201);
            assert_eq!(server.read("f"), bytes, "after {at} steps, luck {luck:?}");
        }
    }
    for luck in [Luck::None, Luck::Names, Luck::All] {
        let other = World::new();
        rebuild(&other, &after_power_cut(&steps[..end], luck));
        let server = Receiver::setup_at(&other, "work").start();
        assert_eq!(server.read("f"), bytes, "luck {luck:?}");
        let again = server.talk().begin("/", "f", size, CHUNK, more.clone());
        assert_eq!(again.is(200).json()["state"], "complete", "luck {luck:?}");
    }
}

/// Several writers, a server that is killed whenever it happens, and what was acknowledged is there each time.
#[test]
fn killed_at_random_among_many_writers() {
    use std::sync::Mutex;
    let world = World::new();
    let bytes = content(25, 60 * CHUNK);
    let size = bytes.len() as u64;
    let more = json!({"key": key()});
    let mut dice = crate::world::Dice::new(25);
    let rounds = if crate::world::long() { 60 } else { 8 };
    for round in 0..rounds {
        let server = Receiver::start(&world);
        let status = server.talk().begin("/", "f", size, CHUNK, more.clone()).json();
        let upload = status["upload"].as_str().unwrap().to_string();
        let start = ByteSet::parse(status["have"].as_str().unwrap()).unwrap();
        let acknowledged = Mutex::new(start);
        let time = Duration::from_millis(dice.between(5, 60));
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (upload, bytes, acknowledged, address) = (&upload, &bytes, &acknowledged, server.address.clone());
                scope.spawn(move || {
                    for index in (writer..60).step_by(4) {
                        let chunk = &bytes[(index * CHUNK) as usize..((index + 1) * CHUNK) as usize];
                        // Only the sending is allowed to fail: the server is gone.
                        let sent = std::panic::catch_unwind(|| Talk::to(&address).chunk(upload, index, chunk).status);
                        let Ok(204) = sent else { return };
                        acknowledged.lock().unwrap().insert(onward::chunk::ByteRange::new(index, index + 1));
                        std::thread::sleep(Duration::from_millis(2));
                    }
                });
            }
            std::thread::sleep(time);
            server.signal(crate::world::Signal::KILL);
        });
        drop(server);
        let server = Receiver::start(&world);
        let status = server.talk().begin("/", "f", size, CHUNK, more.clone()).is(200).json();
        let have = ByteSet::parse(status["have"].as_str().unwrap()).unwrap();
        let acknowledged = acknowledged.into_inner().unwrap();
        for run in acknowledged.runs() {
            assert!(have.contains(run), "round {round}: {acknowledged} was acknowledged, {have} is there");
        }
    }
    let server = Receiver::start(&world);
    let upload = server.talk().begin("/", "f", size, CHUNK, more).upload();
    send_all(&mut server.talk(), &upload, &bytes);
    let whole = json!({"digests": {"sha-256": hash(Algorithm::Sha256, &bytes).hex()}});
    server.talk().complete_with(&upload, whole).is(201);
    assert_eq!(server.read("f"), bytes);
}
