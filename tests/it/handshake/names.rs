//! Names that are taken, raced for, or given up; methods, places and tokens.

use super::*;

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
        (format!("POST {upload}"), "GET, HEAD, DELETE, OPTIONS"),
        (format!("PUT {upload}"), "GET, HEAD, DELETE, OPTIONS"),
        (format!("GET {upload}/0"), "PUT, OPTIONS"),
        (format!("GET {upload}/complete"), "POST, OPTIONS"),
        (format!("PUT {upload}/identity"), "POST, OPTIONS"),
        (format!("POST {upload}/digests"), "GET, HEAD, OPTIONS"),
        ("PUT /f".to_string(), "GET, HEAD, POST, OPTIONS"),
        ("DELETE /f".to_string(), "GET, HEAD, POST, OPTIONS"),
        ("PATCH /f".to_string(), "GET, HEAD, POST, OPTIONS"),
    ] {
        assert_eq!(talk.ask(&head, b"").refuses(405, "method").field("allow"), Some(allow), "{head}");
    }
    for path in ["/.onward/", "/.onward/uploads/", "/.onward/uploads/00", "/.onward/done/x.toml", "/.ONWARD/uploads"] {
        talk.get(path).refuses(404, "not-found");
    }
    for tail in ["/x", "/0/", "/0/1", "/-1", "x"] {
        talk.get(&format!("{upload}{tail}")).refuses(404, "not-found");
    }
    assert_eq!(
        talk.ask(&format!("HEAD {upload}"), b"").is(200).field("content-length"),
        talk.get(&upload).field("content-length")
    );
    // Where nothing is, no method fits, and none is said to fit.
    let nobody = format!("/.onward/uploads/{}", "0".repeat(32));
    for head in ["GET", "PUT", "PATCH", "POST", "DELETE"].map(|method| format!("{method} {nobody}")) {
        talk.ask(&head, b"").refuses(404, "unknown-upload");
    }
    talk.ask(&format!("HEAD {nobody}"), b"").is(404);
    talk.ask(&format!("GET {nobody}/complete"), b"").refuses(404, "unknown-upload");
    drop(server);
    for (flag, head, allow, everywhere) in [
        ("--read-only", "DELETE /f", "GET, HEAD, OPTIONS", "GET, HEAD, OPTIONS"),
        ("--upload-only", "DELETE /f", "POST, OPTIONS", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let server = Receiver::setup(&world).args([flag]).start();
        assert_eq!(server.ask(head).refuses(405, "method").field("allow"), Some(allow));
        assert_eq!(server.ask("OPTIONS /").is(204).field("allow"), Some(everywhere));
    }
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
