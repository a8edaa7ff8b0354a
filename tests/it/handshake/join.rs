//! *identify*: equal content is offered, and taken only by proof.

use super::*;

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

/// Who takes up a finished file under its own name does not take it from whoever has sent it.
#[test]
fn a_file_stays_with_who_sent_it() {
    let world = World::new();
    world.write("tokens", "ann:tokenofann\nbob:tokenofbob\n");
    let server = Receiver::setup(&world).args(["--token-file", "tokens"]).start();
    let bytes = content(43, 2 * CHUNK);
    let size = bytes.len() as u64;
    let mut ann = server.talk().with("Authorization: Bearer tokenofann");
    let mut bob = server.talk().with("Authorization: Bearer tokenofbob");
    let more = json!({"md5": md5(&bytes)});
    let upload = ann.begin("/", "f", size, CHUNK, more.clone()).is(201).upload();
    send_all(&mut ann, &upload, &bytes);
    ann.complete(&upload, &bytes).is(201);
    let begun = bob.begin("/", "f", size, CHUNK, more.clone());
    let proof = prove(&begun.is(201).json()["other"], &bytes);
    assert_eq!(bob.post(&format!("{}/identity", begun.upload()), &proof).is(200).json()["state"], "complete");
    assert_eq!(ann.begin("/", "g", size, CHUNK, more.clone()).is(201).json()["other"]["state"], "complete");
    assert_eq!(bob.begin("/", "h", size, CHUNK, more).is(201).json()["other"], Value::Null);
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

/// With `--dedupe=link` equal content is one file of several names; without it each name has its own.
#[test]
fn equal_content_is_linked_where_that_is_asked_for() {
    use std::os::unix::fs::MetadataExt;
    for (how, one_file) in [("link", true), ("copy", false)] {
        let world = World::new();
        let server = Receiver::setup(&world).args(["--allow-overwrite", "--dedupe", how]).start();
        let inode = |name: &str| std::fs::metadata(server.path(name)).unwrap().ino();
        let bytes = content(44, 2 * CHUNK + 3);
        let size = bytes.len() as u64;
        store(&server, "first", &bytes, json!({"md5": md5(&bytes)}));
        server.put("other", b"other content");
        for (name, if_exists) in [("a/second", "fail"), ("other", "replace"), ("third", "fail")] {
            let mut talk = server.talk();
            let begun = talk.begin("/", name, size, CHUNK, json!({"md5": md5(&bytes), "if_exists": if_exists}));
            let offer = begun.is(201).json()["other"].clone();
            assert_eq!(offer["state"], "complete", "{how} {name}: links leave the file known");
            let identity = format!("{}/identity", begun.upload());
            let done = talk.post(&identity, &prove(&offer, &bytes)).is(200).json();
            assert_eq!((&done["state"], &done["file"]), (&json!("complete"), &json!(format!("/{name}"))));
            assert_eq!((server.read(name) == bytes, inode(name) == inode("first")), (true, one_file), "{how} {name}");
        }
        assert_eq!(tree(&server.path(".onward/uploads")), Vec::<String>::new());
        for name in ["first", "a/second", "other", "third"] {
            let told = server.ask(&format!("HEAD /{name}"));
            assert!(told.field("repr-digest").is_some(), "{how}: nothing is known of {name} any more");
        }
    }
}
