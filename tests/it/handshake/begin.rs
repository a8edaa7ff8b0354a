//! *discover* and *begin*: what is announced, keys, names, and a whole upload from end to end.

use super::*;

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
