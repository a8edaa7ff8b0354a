//! How sure a download is of its bytes, and that it never claims more: digests that outlive the run, samples that stay
//! samples, URLs of which only the secret differs, pages put in a file's way.

use crate::download::{CHUNK, download, on_record};
use crate::faults::Proxy;
use crate::origin::*;
use crate::world::{Content, Ended, World};
use onward::digest::Algorithm;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const LEN: u64 = 3 << 20;
const SIDECAR: &str = "file.bin.partial.toml";

/// A page that says nothing about what version it is of.
fn nameless(content: &Content) -> Page {
    Page::of(content).no_etag().no_date()
}

fn proof(ended: &Ended) -> String {
    ended.event("done")["proof"].as_str().unwrap_or("none").to_string()
}

/// A download of `url` of which exactly the first half has arrived.
fn half(world: &World, origin: &Origin, url: &str) {
    origin.when(once(always()), cut_after(LEN / 2));
    download(world, url).args(["-x1", "--retries", "0"]).run().exits(3);
    origin.honest_again();
}

/// Applies once, the first time that `when` does.
fn once(when: When) -> When {
    let done = AtomicBool::new(false);
    Box::new(move |ask| when(ask) && !done.swap(true, Ordering::SeqCst))
}

#[test]
fn a_servers_digest_outlives_the_run() {
    let world = World::new();
    let content = Content::random(90, LEN);
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&content).header("Repr-Digest", &content.digest_field(Algorithm::Sha256)));
    origin.when(first(), flip_byte(LEN / 2));
    origin.when(from(2), status(503, ""));
    let url = origin.url("/file.bin");
    download(&world, &url).args(["-x1", "--retries", "0"]).run().exits(3);
    assert_eq!(on_record(&world.path(SIDECAR)), Some(LEN));
    // Still nothing but the wrong bytes: they get no name, however often it is asked for.
    download(&world, &url).args(["-x1", "--retries", "0"]).run().exits(3);
    assert!(!world.exists("file.bin"));
    origin.honest_again();
    let ended = download(&world, &url).run();
    ended.exits(0);
    assert_eq!(proof(&ended), "sha-256", "{}", ended.story());
    world.finished("file.bin", &content);
}

#[test]
fn strict_refuses_samples_every_time() {
    let world = World::new();
    let content = Content::random(91, LEN);
    let origin = Origin::start();
    origin.page("/file.bin", nameless(&content));
    let url = origin.url("/file.bin");
    half(&world, &origin, &url);
    for _ in 0..2 {
        download(&world, &url).arg("--strict").run().exits(5).says("--strict");
        assert_eq!(on_record(&world.path(SIDECAR)), Some(LEN));
    }
    let ended = download(&world, &url).run();
    ended.exits(0);
    assert_eq!(proof(&ended), "overlap", "{}", ended.story());
    world.finished("file.bin", &content);
}

/// A prefix that another program left, and bytes from another URL: the same command again is no proof.
#[test]
fn samples_stay_samples_in_the_next_run() {
    let content = Content::random(92, LEN);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let adopted = World::new();
    adopted.write("file.bin.part", content.part(0, LEN / 2));
    download(&adopted, &url).args(["--adopt", "file.bin.part", "--strict"]).run().exits(5);
    download(&adopted, &url).arg("--strict").run().exits(5);

    let renewed = World::new();
    half(&renewed, &origin, &url);
    origin.page("/new/file.bin", Page::of(&content));
    let new = origin.url("/new/file.bin");
    // The new place gives samples and a little of the rest, and then nothing.
    origin.when(Box::new(|ask| ask.start() == LEN / 2), cut_after(CHUNK));
    origin.when(Box::new(|ask| ask.start() > LEN / 2), status(503, ""));
    renewed.onward(["resume", "--url", &new, "file.bin", "--retries", "0", "-x1"]).run().exits(3);
    assert!(renewed.text(SIDECAR).contains("proof = \"overlap\""), "{}", renewed.text(SIDECAR));
    origin.honest_again();
    download(&renewed, &new).arg("--strict").run().exits(5);
    let ended = download(&renewed, &new).run();
    assert_eq!(proof(&ended), "overlap", "{}", ended.story());
    renewed.finished("file.bin", &content);
}

#[test]
fn a_mirror_shown_by_samples_is_no_proof() {
    let content = Content::random(93, 8 << 20);
    let (one, other) = (Origin::serving(&content), Origin::serving(&content));
    one.when(always(), at_rate(3 << 20));
    other.when(always(), at_rate(3 << 20));
    for (more, code) in [(&[][..], 0), (&["--strict"], 5)] {
        let world = World::new();
        let mirror = other.url("/file.bin");
        let ended = download(&world, &one.url("/file.bin")).args(["--mirror", &mirror]).args(more).run();
        ended.exits(code);
        if code == 0 {
            assert_eq!(proof(&ended), "overlap", "{}", ended.story());
            world.finished("file.bin", &content);
        }
    }
}

#[test]
fn a_tag_per_node_is_no_proof() {
    let content = Content::random(94, LEN);
    for (more, code) in [(&[][..], 0), (&["--strict"], 5)] {
        let world = World::new();
        let origin = Origin::serving(&content);
        origin.when(always(), etag_per_connection());
        origin.when(first(), cut_after(LEN / 2));
        let ended = download(&world, &origin.url("/file.bin")).arg("-x1").args(more).run();
        ended.exits(code);
        if code == 0 {
            assert_eq!(proof(&ended), "overlap", "{}", ended.story());
            world.finished("file.bin", &content);
        }
    }
}

/// The first connection gives one version and all others another, nameless both: bytes tell, far from where they meet.
#[test]
fn versions_that_nothing_names_are_not_mixed() {
    let world = World::new();
    let (old, new) = (Content::random(95, 8 << 20), Content::random(96, 8 << 20));
    let origin = Origin::start();
    origin.page("/file.bin", nameless(&old));
    origin.when(first(), at_rate(2 << 20));
    origin.when(from(2), changed_to(nameless(&new)));
    let ended = download(&world, &origin.url("/file.bin")).arg("-x4").run();
    ended.exits(0);
    assert!(!ended.events_called("restarted").is_empty(), "{}", ended.story());
    world.finished("file.bin", &new);
}

/// Two files behind one URL, told apart by a token alone.
fn by_token(a: &Content, b: &Content) -> Origin {
    let named = |content: &Content, name: &str| {
        Page::of(content)
            .etag(&format!("\"{name}\""))
            .header("Content-Disposition", &format!("attachment; filename=\"{name}.bin\""))
    };
    let origin = Origin::start();
    origin.page("/dl", named(a, "AAA"));
    origin.when(Box::new(|ask| ask.target.contains("token=BBB")), changed_to(named(b, "BBB")));
    origin
}

#[test]
fn urls_that_differ_in_a_secret_are_two() {
    let (a, b) = (Content::random(97, LEN), Content::random(98, LEN / 2));
    let world = World::new();
    let origin = by_token(&a, &b);
    let (first_url, second_url) = (origin.url("/dl?token=AAA"), origin.url("/dl?token=BBB"));
    for more in [&[][..], &["--overwrite"]] {
        for (url, name) in [(&first_url, "AAA.bin\n"), (&second_url, "BBB.bin\n")] {
            download(&world, url).args(more).run().exits(0).stdout_is(name).never_says("token=AAA");
        }
    }
    world.finished("AAA.bin", &a);
    world.finished("BBB.bin", &b);
}

#[test]
fn an_unfinished_file_is_not_another_secrets() {
    let (a, b) = (Content::random(97, LEN), Content::random(98, LEN / 2));
    let world = World::new();
    let origin = by_token(&a, &b);
    let cutting = Arc::new(AtomicBool::new(true));
    let cuts = cutting.clone();
    origin.when(Box::new(move |_| cuts.load(Ordering::SeqCst)), cut_after(LEN / 4));
    for token in ["AAA", "BBB"] {
        let url = origin.url(&format!("/dl?token={token}"));
        download(&world, &url).args(["--retries", "0", "-x1"]).run().exits(3);
    }
    world.holds_only(&["AAA.bin.partial", "AAA.bin.partial.toml", "BBB.bin.partial", "BBB.bin.partial.toml"]);
    cutting.store(false, Ordering::SeqCst);
    for (token, name, content) in [("BBB", "BBB.bin", &b), ("AAA", "AAA.bin", &a)] {
        let ended = download(&world, &origin.url(&format!("/dl?token={token}"))).run();
        ended.exits(0).stdout_is(&format!("{name}\n"));
        assert_eq!(ended.event("resumed")["offset"].as_u64(), Some(LEN / 4), "{}", ended.story());
        world.file_is(name, content);
    }
    world.holds_only(&["AAA.bin", "BBB.bin"]);
}

#[test]
fn what_exists_is_held_to_the_servers_digest() {
    let world = World::new();
    let content = Content::random(99, LEN);
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&content).header("Repr-Digest", &content.digest_field(Algorithm::Sha256)));
    let (url, wrong) = (origin.url("/file.bin"), content.flipped(LEN / 2));
    world.write("file.bin", wrong.bytes());
    download(&world, &url).run().exits(8);
    world.file_is("file.bin", &wrong);
    world.write("file.bin", content.bytes());
    for more in [&[][..], &["--strict"]] {
        let ended = download(&world, &url).args(more).run();
        ended.exits(0);
        assert_eq!(proof(&ended), "sha-256", "{}", ended.story());
    }
    origin.page("/file.bin", Page::of(&content));
    for _ in 0..2 {
        download(&world, &url).arg("--strict").run().exits(5).says("--strict");
    }
    assert_eq!(proof(&download(&world, &url).run()), "overlap");
    world.finished("file.bin", &content);
}

#[test]
fn the_first_answer_of_a_resume_is_held_to_its_digest() {
    let world = World::new();
    let content = Content::random(100, LEN);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    half(&world, &origin, &url);
    origin.when(going_on(), content_digest_of(&content));
    origin.when(once(going_on()), flip_byte(LEN - 10));
    let ended = download(&world, &url).arg("-x1").run();
    ended.exits(0).says("Content-Digest");
    world.finished("file.bin", &content);
}

#[test]
fn what_is_put_in_the_files_way_is_not_the_file() {
    let content = Content::random(101, LEN);
    for kind in ["application/xhtml+xml", "application/json", "text/plain", ""] {
        let world = World::new();
        let origin = Origin::start();
        origin.page("/file.bin", nameless(&content));
        let url = origin.url("/file.bin");
        half(&world, &origin, &url);
        let page = move |_: &Ask, answer: &mut Answer| {
            answer.page(kind, "{\"error\": \"log in to go on, please\"}");
            if kind.is_empty() {
                answer.unset("Content-Type");
            }
        };
        origin.when(always(), so_that(page));
        download(&world, &url).args(["--retries", "0"]).run().exits(3).says("expected");
        assert_eq!(on_record(&world.path(SIDECAR)), Some(LEN / 2), "{kind}");
        origin.honest_again();
        download(&world, &url).run().exits(0);
        world.finished("file.bin", &content);
    }
}

#[test]
fn the_next_version_of_a_page_is_no_login_page() {
    let world = World::new();
    let (old, new) = (Content::random(102, LEN), Content::random(103, LEN / 3));
    let origin = Origin::start();
    origin.page("/file.html", Page::of(&old).header("Content-Type", "text/html"));
    let url = origin.url("/file.html");
    half(&world, &origin, &url);
    origin.page("/file.html", Page::of(&new).etag("\"v2\"").header("Content-Type", "text/html").no_date());
    download(&world, &url).args(["--retries", "0"]).run().exits(0);
    world.finished("file.html", &new);
}

/// A portal stands before a host that has given bytes in an earlier run: it will pass.
#[test]
fn a_stranger_at_the_start_of_a_resume_may_pass() {
    let world = World::new();
    let content = Content::random(104, LEN);
    let (known, unknown) = (Identity::new(), Identity::new());
    world.write("ca.pem", &known.cert_pem);
    let (origin, stranger) = (Origin::start_tls(&known), Origin::start_tls(&unknown));
    origin.page("/file.bin", Page::of(&content));
    let proxy = Proxy::before(origin.address());
    let url = format!("https://localhost:{}/file.bin", proxy.address().port());
    let again = |retries: &str| download(&world, &url).args(["--cacert", "ca.pem", "-x1", "--retries", retries]).run();
    proxy.lead_to([stranger.address()]);
    again("3").exits(1);
    proxy.lead_to([origin.address()]);
    origin.when(first(), cut_after(LEN / 2));
    again("0").exits(3);
    proxy.lead_to([stranger.address(), origin.address()]);
    again("3").exits(0);
    world.finished("file.bin", &content);
    assert!(origin.sent() < LEN * 11 / 10, "{}", origin.story());
}
