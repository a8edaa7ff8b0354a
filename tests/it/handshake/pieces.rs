//! *send*, *compare*, *finish*: pieces and their digests, writers in each other's way, the check of the whole.

use super::*;

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

/// What was hashed over a chunk says nothing of the chunk that replaces it.
#[test]
fn a_replaced_chunk_is_hashed_anew() {
    let world = World::new();
    let server = Receiver::start(&world);
    let (good, chunk) = (content(40, 24 << 20), 8 << 20);
    let mut bad = good.clone();
    bad[0] ^= 1;
    let sha = |bytes: &[u8]| json!({"digests": {"sha-256": hash(Algorithm::Sha256, bytes).hex()}});
    for (name, told, status) in [("right", &good, 201), ("wrong", &bad, 422)] {
        let mut talk = server.talk();
        let upload = talk.begin("/", name, good.len() as u64, chunk, json!({})).is(201).upload();
        for (index, bytes) in bad.chunks(chunk as usize).enumerate() {
            talk.chunk(&upload, index as u64, bytes).is(204);
        }
        talk.complete_with(&upload, sha(&good)).refuses(422, "suspect");
        let first = &good[..chunk as usize];
        talk.ask(&format!("PUT {upload}/0\nOnward-Replace: 1\nContent-Digest: {}", crc_field(first)), first).is(204);
        talk.complete_with(&upload, sha(told)).is(status);
        talk.complete_with(&upload, sha(&good)).is(201);
        assert_eq!(server.read(name), good);
    }
}

/// A replacement takes out what it replaces, and nothing that was acknowledged beside it.
#[test]
fn a_replaced_piece_takes_no_other_along() {
    let world = World::new();
    let server = Receiver::start(&world);
    let (mut bytes, part) = (content(42, CHUNK), CHUNK / 4);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", CHUNK, CHUNK, json!({})).is(201).upload();
    for (index, piece) in bytes.chunks(part as usize).enumerate() {
        talk.piece(&upload, 0, piece, index as u64 * part, CHUNK).is(204);
    }
    let (start, end) = (part, 2 * part);
    bytes[part as usize] ^= 1;
    let piece = &bytes[start as usize..end as usize];
    let range = format!("Content-Range: bytes {start}-{}/{CHUNK}", end - 1);
    let head = |digest: String| format!("PUT {upload}/0\nOnward-Replace: 1\n{range}\nContent-Digest: {digest}");
    talk.ask(&head(crc_field(b"other")), piece).refuses(422, "digest-mismatch");
    assert_eq!(talk.get(&upload).json()["within"], json!({"0": format!("0-{},{end}-{}", start - 1, CHUNK - 1)}));
    talk.ask(&head(crc_field(piece)), piece).is(204);
    talk.complete(&upload, &bytes).is(201);
    assert_eq!(server.read("f"), bytes);
}

/// What is being checked is what will be published: nothing is taken out of it meanwhile.
#[test]
fn a_file_that_is_being_checked_cannot_be_replaced() {
    let world = World::new();
    let server = Receiver::start(&world);
    let (bytes, chunk) = (content(41, 64 << 20), 8 << 20);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", bytes.len() as u64, chunk, json!({})).is(201).upload();
    for (index, bytes) in bytes.chunks(chunk as usize).enumerate() {
        talk.chunk(&upload, index as u64, bytes).is(204);
    }
    let document = json!({"digests": {"crc64nvme": crc_hex(&bytes)}, "want": ["sha-256", "md5"]}).to_string();
    talk.ask(&format!("POST {upload}/complete\nPrefer: respond-async"), document.as_bytes()).is(202);
    let evil = vec![7; chunk as usize];
    let head = format!("PUT {upload}/0\nOnward-Replace: 1\nContent-Digest: {}", crc_field(&evil));
    let refused = talk.ask(&head, &evil);
    assert!(refused.refuses(409, "busy").field("retry-after").is_some());
    let done =
        eventually("the check ends", || Some(talk.get(&upload).json()).filter(|told| told["state"] == "complete"));
    assert_eq!(done["digests"]["sha-256"], hash(Algorithm::Sha256, &bytes).hex());
    assert_eq!(server.read("f"), bytes);
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
