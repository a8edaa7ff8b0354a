//! Bytes that are compared where a server's word does not decide: the comparing itself is a download, with troubles like
//! any other. And servers whose word must not be believed.

use crate::download::{download, half_done, on_record};
use crate::origin::*;
use crate::world::{Content, World};

const LEN: u64 = 2 << 20;

/// A half-done download of content that its server does not name: to go on, bytes must be compared. The first request
/// from now on is the transfer, the second the first comparison.
fn doubtful(seed: u64) -> (World, Origin, Content, u64) {
    let (world, content) = (World::new(), Content::random(seed, LEN));
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&content).no_etag().no_date());
    let held = half_done(&world, &origin.url("/file.bin"), &content);
    origin.honest_again();
    (world, origin, content, held)
}

#[test]
fn a_comparison_that_fails_is_made_again() {
    for (n, lie) in [status(503, ""), refuse(), cut_after(1000), login_page(), ignore_range()].into_iter().enumerate() {
        let (world, origin, content, held) = doubtful(90 + n as u64);
        origin.when(nth(2), lie);
        let ended = download(&world, &origin.url("/file.bin")).run();
        ended.exits(0);
        world.finished("file.bin", &content);
        assert!(ended.events_called("restarted").is_empty(), "{}\n{}", ended.story(), origin.story());
        assert_eq!(ended.event("done")["already"].as_u64(), Some(held), "{}", ended.story());
    }
}

/// The whole in place of a range is compared as it passes by, so that a difference is found there as well.
#[test]
fn a_whole_that_differs_is_a_change() {
    let (world, origin, _, _) = doubtful(96);
    let other = Content::random(97, LEN);
    origin.page("/file.bin", Page::of(&other).no_etag().no_date());
    origin.when(nth(2), ignore_range());
    let ended = download(&world, &origin.url("/file.bin")).run();
    ended.exits(0);
    world.finished("file.bin", &other);
    assert!(!ended.events_called("restarted").is_empty(), "{}", ended.story());
}

#[test]
fn a_comparison_can_be_stopped() {
    let (world, origin, content, held) = doubtful(98);
    origin.when(from(2), stall_after(0));
    let url = origin.url("/file.bin");
    let ended = download(&world, &url).args(["--max-time", "1s"]).run();
    ended.exits(3).says("--max-time");
    assert!(ended.event("failed")["kept"].as_str().unwrap().starts_with("kept "), "{}", ended.story());
    assert_eq!(on_record(&world.path("file.bin.partial.toml")), Some(held), "{}", ended.story());

    let another = World::new();
    content.write_to(&another.path("file.bin"));
    origin.honest_again();
    origin.when(from(2), stall_after(0));
    download(&another, &url).args(["--max-time", "1s"]).run().exits(3).says("--max-time");
    origin.honest_again();
    origin.when(nth(2), status(503, ""));
    let ended = download(&another, &url).run();
    ended.exits(0);
    assert_eq!(ended.event("done")["proof"], "overlap", "{}", ended.story());
    origin.honest_again();
    origin.when(nth(2), ignore_range());
    download(&another, &url).run().exits(8).says("nothing shows");
    another.file_is("file.bin", &content);
}

/// 416 to the first byte means that there is none: of a file with bytes it says nothing.
#[test]
fn no_first_byte_is_no_proof_of_a_file() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(100, 1000));
    origin.page("/empty", Page::of(&Content::of("")));
    let mine = Content::random(101, 1000);
    mine.write_to(&world.path("file.bin"));
    for told in [Some(1000), None, Some(0), Some(999)] {
        origin.honest_again();
        origin.when(always(), unsatisfiable(told));
        download(&world, &origin.url("/file.bin")).args(["-o", "file.bin"]).run().exits(8).says("exists");
        world.file_is("file.bin", &mine);
    }
    origin.honest_again();
    world.write("empty", "");
    download(&world, &origin.url("/empty")).args(["-o", "empty"]).run().exits(0);
}

/// A server without a clock whose nodes do not agree on a tag: the date stands, and bytes tell the rest.
#[test]
fn a_tag_per_answer_and_no_clock() {
    let (world, content) = (World::new(), Content::random(102, LEN));
    let origin = Origin::serving(&content);
    let odd = || {
        origin.honest_again();
        origin.when(always(), etag_per_answer()).when(always(), without("Date"));
    };
    let url = origin.url("/file.bin");
    odd();
    half_done(&world, &url, &content);
    odd();
    origin.when(first(), cut_after(LEN / 4));
    let ended = download(&world, &url).run();
    ended.exits(0);
    assert!(ended.events_called("restarted").is_empty(), "{}\n{}", ended.story(), origin.story());
    world.finished("file.bin", &content);
}

/// The least speed holds for streams and pipes as well.
#[test]
fn a_stream_may_be_too_slow() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(103, LEN));
    origin.when(always(), chunked()).when(always(), ignore_range()).when(always(), at_rate(2000));
    let args = ["--speed-limit", "1M", "--speed-time", "1s", "--retries", "0"];
    let run = |more: &[&str]| download(&world, &origin.url("/file.bin")).args(args).args(more).run();
    run(&[]).exits(3).says("was slower than");
    let ended = run(&["-o", "-"]);
    ended.exits(1).says("was slower than");
    assert!(!ended.stdout.is_empty(), "what had come has gone out");
}
