//! Kills, power cuts, rot, expiry and clients that vanish.

use super::*;
use crate::crash::{Luck, after_power_cut, read_log, rebuild};

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

/// The file has its name, and then the disk fails: it is there, and so is the receipt.
#[test]
fn a_file_that_has_its_name_is_received_whatever_comes_after() {
    let world = World::new();
    let server = Receiver::setup(&world).env("ONWARD_FAIL_AT", "published").start();
    let bytes = content(44, 2 * CHUNK);
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", bytes.len() as u64, CHUNK, json!({})).is(201).upload();
    send_all(&mut talk, &upload, &bytes);
    talk.complete(&upload, &bytes).is(201);
    assert_eq!((server.read("f"), &talk.get(&upload).json()["state"]), (bytes.clone(), &json!("complete")));
    eventually("the operator hears of it", || server.told().contains("cannot give its final name").then_some(()));
    server.kill();
    let server = Receiver::start(&world);
    assert_eq!(server.talk().get(&upload).is(200).json()["file"], "/f");
    assert_eq!(tree(&server.path(".onward/uploads")), Vec::<String>::new());
}

/// Somebody clears the server's own folder away while it runs.
#[test]
fn an_upload_whose_files_were_removed_is_gone() {
    let world = World::new();
    let server = Receiver::start(&world);
    let (bytes, own) = (content(31, 3 * CHUNK), key());
    let mut talk = server.talk();
    let upload = talk.begin("/", "f", bytes.len() as u64, CHUNK, json!({"key": own})).is(201).upload();
    talk.chunk(&upload, 0, &bytes[..CHUNK as usize]).is(204);
    std::fs::remove_dir_all(server.path(".onward")).unwrap();
    talk.chunk(&upload, 1, &bytes[CHUNK as usize..2 * CHUNK as usize]).refuses(404, "unknown-upload");
    talk.ask(&format!("GET {upload}"), b"").refuses(404, "unknown-upload");
    // Begun anew, with the same key, it goes through.
    let upload = talk.begin("/", "f", bytes.len() as u64, CHUNK, json!({"key": own})).is(201).upload();
    send_all(&mut talk, &upload, &bytes);
    talk.complete(&upload, &bytes).is(201);
    assert_eq!(server.read("f"), bytes);
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
fn a_stalled_body_does_not_hold_up_a_stop() {
    let world = World::new();
    let server = Receiver::start(&world);
    let bytes = content(45, CHUNK);
    let upload = server.begin("f", CHUNK, CHUNK, json!({})).is(201).upload();
    let mut stalled = server.talk();
    stalled.begin_put(&format!("{upload}/0"), &bytes, 1000);
    let began = std::time::Instant::now();
    server.signal(crate::world::Signal::TERM);
    server.wait();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
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
fn an_encoded_body_is_refused() {
    let world = World::new();
    let server = Receiver::start(&world);
    let upload = server.begin("f", 3, 3, json!({})).is(201).upload();
    let head = format!("PUT {upload}/0\nContent-Encoding: gzip\nContent-Digest: {}", crc_field(b"abc"));
    let refused = server.talk().ask(&head, b"abc");
    assert_eq!(refused.refuses(415, "bad-request").field("accept-encoding"), Some("identity"));
    // By whatever protocol, and whatever the coding is of.
    let tus = "Tus-Resumable: 1.0.0\nUpload-Length: 3\nContent-Type: application/offset+octet-stream";
    for start in ["POST /\nUpload-Complete: ?1", "PUT /g\nUpload-Complete: ?1", &format!("POST /\n{tus}")] {
        for coding in ["gzip", "identity, br"] {
            let head = format!("{start}\nContent-Encoding: {coding}");
            server.talk().ask(&head, b"abc").refuses(415, "bad-request");
        }
        let head = format!("{start}\nTransfer-Encoding: gzip, chunked");
        server.talk().ask(&head, b"3\r\nabc\r\n0\r\n\r\n").refuses(501, "bad-request");
    }
    let plain = format!("PUT {upload}/0\nContent-Encoding: identity\nContent-Digest: {}", crc_field(b"abc"));
    server.talk().ask(&plain, b"abc").is(204);
    assert_eq!(tree(&server.root).into_iter().filter(|name| !name.starts_with(".onward")).count(), 0);
}

/// Who has sent all and says so still hears what became of it.
#[test]
fn a_client_that_only_listens_is_answered() {
    let world = World::new();
    let server = Receiver::start(&world);
    let upload = server.begin("f", 3, 3, json!({})).is(201).upload();
    let mut talk = server.talk();
    talk.send(&format!("PUT {upload}/0\nContent-Digest: {}", crc_field(b"abc")), b"abc");
    talk.shut();
    talk.answer(false).is(204);
    assert!(talk.is_closed());
    server.talk().complete(&upload, b"abc").is(201);
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
    let server = Receiver::setup_at(&world, "here").env("ONWARD_DISK_LOG", &log.to_string_lossy()).start();
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
            let server = Receiver::setup_at(&other, "here").start();
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
        let server = Receiver::setup_at(&other, "here").start();
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
