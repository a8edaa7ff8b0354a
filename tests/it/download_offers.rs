//! What the user asks for and what the server offers beside the bytes: digests of all kinds, the file's time, the old
//! content that is kept until the new one is longer.

use crate::download::{download, half_done};
use crate::origin::*;
use crate::world::{Content, World, eventually};
use onward::digest::Algorithm;
use std::time::{Duration, SystemTime};

const LEN: u64 = 2 << 20;

/// The digest alone, in base64, as older fields have it.
fn base64_of(content: &Content, algorithm: Algorithm) -> String {
    content.digest_field(algorithm).split(':').nth(1).unwrap().to_string()
}

#[test]
fn digests_that_only_the_user_can_give() {
    let content = Content::random(110, LEN);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    for (algorithm, name) in [(Algorithm::Blake3, "blake3"), (Algorithm::Crc32c, "crc32c")] {
        let world = World::new();
        let right = format!("{name}:{}", content.digest(algorithm));
        let wrong = format!("{name}:{}", content.flipped(77).digest(algorithm));
        let run = |digest: &str| download(&world, &url).args(["--checksum", digest]).run();
        run(&wrong).exits(5).says(name);
        world.holds_only(&["file.bin.bad"]);
        // Also where a killed run had begun it.
        half_done(&world, &url, &content);
        let ended = run(&right);
        ended.exits(0);
        world.finished("file.bin", &content);
        assert_eq!(ended.event("done")["proof"], name, "{}", ended.story());
        let verified = ended.event("verified");
        assert_eq!((&verified["alg"], &verified["by"]), (&name.into(), &"user".into()), "{}", ended.story());
        // The file that is there is held to it as well.
        run(&right).exits(0);
        run(&wrong).exits(8);
    }
}

/// Some servers give a digest only to those who ask (RFC 9530, section 4).
#[test]
fn a_digest_is_asked_for() {
    let (world, content) = (World::new(), Content::random(111, LEN));
    let origin = Origin::serving(&content);
    let digest = content.digest_field(Algorithm::Sha256);
    origin.when(
        always(),
        so_that(move |ask, answer| {
            if ask.header("want-repr-digest").is_some_and(|wanted| wanted.contains("sha-256=")) {
                answer.set("Repr-Digest", digest.clone());
            }
        }),
    );
    let ended = download(&world, &origin.url("/file.bin")).run();
    ended.exits(0);
    assert_eq!(ended.event("done")["proof"], "sha-256", "{}", ended.story());
    let wanted = origin.asked()[0].ask.header("want-repr-digest").map(ToString::to_string);
    assert_eq!(wanted.as_deref(), Some("sha-256=10, sha-512=9, crc64nvme=8"), "{}", origin.story());
}

/// The digest that Azure's storage gives with every answer.
#[test]
fn the_md5_of_a_blob() {
    let content = Content::random(112, LEN);
    let field = base64_of(&content, Algorithm::Md5);
    for (served, code) in [(content.clone(), 0), (content.flipped(LEN - 1), 5)] {
        let world = World::new();
        let origin = Origin::start();
        origin.page("/file.bin", Page::of(&served).header("x-ms-blob-content-md5", &field));
        origin.when(first(), cut_after(LEN / 2));
        let ended = download(&world, &origin.url("/file.bin")).run();
        ended.exits(code);
        if code == 0 {
            world.finished("file.bin", &content);
            let verified = ended.event("verified");
            assert_eq!((&verified["alg"], &verified["by"]), (&"md5".into(), &"server".into()), "{}", ended.story());
        } else {
            world.holds_only(&["file.bin.bad"]);
        }
    }
}

#[test]
fn the_time_of_the_file() {
    let (world, content) = (World::new(), Content::random(113, 1000));
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let modified = || std::fs::metadata(world.path("file.bin")).unwrap().modified().unwrap();
    let remote = httpdate::parse_http_date("Tue, 17 Nov 2015 09:42:18 GMT").unwrap();
    for flag in ["-R", "--remote-time"] {
        download(&world, &url).args([flag, "--overwrite"]).run().exits(0);
        assert_eq!(modified(), remote, "{flag}");
        download(&world, &url).arg("--overwrite").run().exits(0);
        assert!(modified() > SystemTime::now() - Duration::from_secs(120), "now is the default");
    }
    // Nothing told, nothing done.
    origin.page("/file.bin", Page::of(&content).no_date());
    download(&world, &url).args(["-R", "--overwrite"]).run().exits(0);
    assert!(modified() > SystemTime::now() - Duration::from_secs(120));
}

/// The content changed: what there was of the old one lies beside until there is more of the new one.
#[test]
fn the_old_content_is_parked() {
    let (world, old, new) = (World::new(), Content::random(114, LEN), Content::random(115, LEN));
    let origin = Origin::serving(&old);
    let url = origin.url("/file.bin");
    origin.when(always(), silent_from(LEN * 6 / 10));
    let held = half_done(&world, &url, &old);
    let changed = |silent: u64| {
        origin.honest_again();
        origin.page("/file.bin", Page::of(&new).etag("\"v2\"").last_modified("Wed, 18 Nov 2015 09:42:18 GMT"));
        origin.when(always(), silent_from(silent));
    };
    changed(LEN / 8);
    let mut running = download(&world, &url).arg("-x1").start();
    running.wait_for("restarted");
    eventually("the old content beside the new", || world.exists("file.bin.old.partial").then_some(()));
    running.wait_for_progress(LEN / 16);
    running.kill();
    let parked = world.read("file.bin.old.partial");
    assert!(parked.len() as u64 >= held, "{} of {held} bytes", parked.len());
    assert!(parked[..held as usize] == old.part(0, held), "other bytes are parked");

    origin.honest_again();
    download(&world, &url).run().exits(0);
    world.finished("file.bin", &new);
    world.holds_only(&["file.bin"]);
}
