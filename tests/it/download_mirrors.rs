//! `--mirror`: several places of one file, none of them believed before it is shown to have the same bytes.

use crate::download::{download, half_done};
use crate::origin::*;
use crate::world::{Content, Ended, Onward, World};
use onward::digest::Algorithm;
use std::time::Duration;

const LEN: u64 = 8 << 20;
/// So slow that a second place has time to help.
const RATE: u64 = 3 << 20;

/// A download of `/file.bin` at `one` with `other` as its mirror.
fn with_mirror(world: &World, one: &Origin, other: &Origin) -> Onward {
    download(world, &one.url("/file.bin")).args(["-v", "--mirror", &other.url("/file.bin")])
}

fn slow(content: &Content) -> Origin {
    let origin = Origin::serving(content);
    origin.when(always(), at_rate(RATE));
    origin
}

/// The warning that names this origin.
fn warned_of(ended: &Ended, origin: &Origin) -> bool {
    let place = origin.url("/file.bin");
    ended.events_called("warning").iter().any(|event| event["text"].as_str().unwrap().contains(&place))
}

#[test]
fn two_places_share_the_work() {
    let world = World::new();
    let content = Content::random(80, LEN);
    let (one, other) = (slow(&content), slow(&content));
    // What a mirror calls the content is its own affair.
    other.page("/file.bin", Page::of(&content).etag("\"elsewhere\"").last_modified("Mon, 16 Nov 2015 09:42:18 GMT"));
    let ended = with_mirror(&world, &one, &other).args(["-H", "X-Api-Key: secret-word"]).run();
    ended.exits(0).never_says("secret-word");
    world.finished("file.bin", &content);
    assert!(other.sent() > LEN / 8, "the mirror was not used\n{}\n{}", ended.story(), other.story());
    assert!(one.sent() + other.sent() < LEN * 15 / 10, "{}\n{}", one.story(), other.story());
    assert!(one.asked().iter().all(|asked| asked.ask.header("x-api-key").is_some()), "{}", one.story());
    assert!(other.asked().iter().all(|asked| asked.ask.header("x-api-key").is_none()), "a secret went elsewhere");
    let told = ended.events_called("detail").iter().any(|event| {
        let text = event["text"].as_str().unwrap();
        text.contains(" gave ") && text.contains(&other.url("/file.bin"))
    });
    assert!(told, "{}", ended.story());
}

#[test]
fn a_mirror_that_lies_is_named_and_not_used() {
    type Script = fn(&Origin, &Content);
    let lies: Vec<(&str, Script)> = vec![
        ("other bytes", |o, _| o.page("/file.bin", Page::of(&Content::random(82, LEN)))),
        ("shorter", |o, _| o.page("/file.bin", Page::of(&Content::random(81, LEN - 1)))),
        ("longer", |o, _| o.page("/file.bin", Page::of(&Content::random(81, LEN + 1)))),
        ("a page in its place", |o, _| {
            o.when(always(), login_page());
        }),
        ("no ranges", |o, c| o.page("/file.bin", Page::of(c).no_ranges())),
        ("not there", |o, _| {
            o.when(always(), status(404, ""));
        }),
        ("another digest", |o, c| {
            let digest = Content::random(1, 1).digest_field(Algorithm::Sha256);
            o.page("/file.bin", Page::of(c).header("Repr-Digest", &digest));
        }),
    ];
    for (what, lie) in lies {
        let world = World::new();
        let content = Content::random(81, LEN);
        let (one, other) = (slow(&content), Origin::start());
        lie(&other, &content);
        let sum = format!("sha256:{}", content.digest(Algorithm::Sha256));
        let ended = with_mirror(&world, &one, &other).args(["--checksum", &sum]).run();
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.story());
        world.finished("file.bin", &content);
        // A page may be in the way for a while only.
        assert!(what == "a page in its place" || warned_of(&ended, &other), "{what}\n{}", ended.story());
        assert!(one.sent() >= LEN, "{what}: bytes of the liar were used\n{}", one.story());
    }
}

#[test]
fn either_may_die() {
    let content = Content::random(83, LEN);
    for dies in [0, 1] {
        for fault in [status(404, ""), refuse()] {
            let world = World::new();
            let pair = [slow(&content), slow(&content)];
            // The first answers of the mirror are those by which it is shown to be one.
            pair[dies].when(from(if dies == 0 { 2 } else { 8 }), fault);
            pair[dies].when(if dies == 0 { first() } else { from(6) }, cut_after(LEN / 16));
            let ended = with_mirror(&world, &pair[0], &pair[1]).run();
            assert_eq!(ended.code(), Some(0), "{dies}\n{}\n{}", ended.story(), pair[dies].story());
            world.finished("file.bin", &content);
        }
    }
}

#[test]
fn the_first_place_need_not_be_there_at_all() {
    for fault in [status(404, ""), refuse(), status(503, "")] {
        let world = World::new();
        let content = Content::random(84, LEN);
        let (one, other) = (Origin::start(), Origin::serving(&content));
        one.when(always(), fault);
        let ended = with_mirror(&world, &one, &other).run();
        ended.exits(0);
        world.finished("file.bin", &content);
    }
}

#[test]
fn resume_knows_the_mirrors() {
    let world = World::new();
    let content = Content::random(85, LEN);
    let (one, other) = (Origin::serving(&content), Origin::serving(&content));
    let url = one.url("/file.bin");
    let secret = format!("{}?token=secret-word", other.url("/file.bin"));
    let mut running = download(&world, &url)
        .args(["--mirror", &other.url("/file.bin"), "--mirror", &secret, "--limit-rate", "4M"])
        .start();
    running.wait_for_progress(LEN / 3);
    let sidecar = world.path("file.bin.partial.toml");
    crate::world::eventually("the record", || sidecar.exists().then_some(()));
    running.kill().never_says("secret-word");
    let text = world.text("file.bin.partial.toml");
    assert!(text.contains(&other.url("/file.bin")) && !text.contains("secret-word"), "{text}");
    one.when(always(), status(404, ""));
    other.forget_log();
    world.onward(["resume", "--progress", "json"]).run().exits(0);
    world.finished("file.bin", &content);
    assert!(other.sent() < LEN, "{}", other.story());
    assert!(other.asked().iter().all(|asked| !asked.ask.target.contains("token")), "{}", other.story());
}

/// A place that has other bytes than what an earlier run left is no mirror either.
#[test]
fn a_resumed_download_believes_no_mirror_more_than_its_bytes() {
    let world = World::new();
    let content = Content::random(86, LEN);
    let (one, other) = (Origin::serving(&content), Origin::serving(&Content::random(87, LEN)));
    half_done(&world, &one.url("/file.bin"), &content);
    one.when(always(), at_rate(RATE));
    let ended = with_mirror(&world, &one, &other).run();
    ended.exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn a_pipe_has_mirrors_too() {
    let world = World::new();
    let content = Content::random(88, LEN);
    let (one, other) = (slow(&content), slow(&content));
    let ended = with_mirror(&world, &one, &other).args(["-o", "-", "--buffer", "4M"]).run();
    ended.exits(0);
    assert!(ended.stdout == content.bytes(), "other bytes\n{}", ended.stderr);
    assert!(other.sent() > LEN / 16, "the mirror was not used\n{}\n{}", ended.stderr, other.story());
}

/// The last bytes hang on one connection: they are fetched a second time, long before it counts as stalled.
#[test]
fn a_slow_tail_is_asked_for_a_second_time() {
    let world = World::new();
    let content = Content::random(89, 6 << 20);
    let origin = Origin::serving(&content);
    origin.when(always(), at_rate(1 << 20));
    origin.when(both(going_on(), up_to(2)), stall_after(100_000));
    let ended = download(&world, &origin.url("/file.bin")).args(["-v", "-x3", "--stall-timeout", "50s"]).run();
    ended.exits(0).says("a second time");
    world.finished("file.bin", &content);
    assert!(ended.took < Duration::from_secs(40), "{}", ended.story());
}
