//! Links that expire: another URL for what is here already, given by hand or printed by the user's command. Neither a
//! link's secret nor the command is ever stored or shown.

use crate::download::{CHUNK, download};
use crate::origin::{Origin, Page, When, at, both, cut_after, status};
use crate::world::{Content, World};

/// Requests whose query does not hold `secret`.
fn unsigned(secret: &'static str) -> When {
    Box::new(move |ask| !ask.target.contains(secret))
}

/// A download of `url` that broke off after five chunks.
#[track_caller]
fn broken_off(world: &World, origin: &Origin, url: &str) {
    origin.when(Box::new(|_| true), cut_after(5 * CHUNK));
    download(world, url).args(["--retries", "0", "-x1", "-o", "file.bin"]).run().exits(3);
    origin.honest_again();
    assert!(world.exists("file.bin.partial"), "{:?}", world.names());
}

#[test]
fn a_fresh_link_goes_on_where_the_old_one_broke_off() {
    let world = World::new();
    let content = Content::random(1, 20 * CHUNK);
    let origin = Origin::serving(&content);
    origin.page("/other/place", Page::of(&content).etag("\"another\"").last_modified("Wed, 18 Nov 2015 09:42:18 GMT"));
    broken_off(&world, &origin, &origin.url("/file.bin?sig=SECRET1"));
    let nothing_given = world.onward(["resume"]).run();
    nothing_given.exits(6).says("onward resume --url 'URL' file.bin").never_says("SECRET1");

    origin.when(both(at("/other/place"), Box::new(|ask| ask.start() >= 5 * CHUNK)), cut_after(4 * CHUNK));
    let fresh = origin.url("/other/place?sig=SECRET2");
    let ended = world.onward(["resume", "--retries", "0", "-x1", "--url", &fresh]).run();
    ended.exits(3).never_says("SECRET2");
    let record = world.text("file.bin.partial.toml");
    assert!(record.contains("/other/place?sig=***") && !record.contains("SECRET"), "{record}");
    assert!(record.contains("another"), "the validators are the new place's:\n{record}");

    origin.honest_again();
    origin.forget_log();
    let ended = world.onward(["resume", "--progress", "json", "--url", &fresh, "file.bin"]).run();
    ended.exits(0).never_says("SECRET2");
    assert_eq!(ended.event("resumed")["offset"].as_u64(), Some(9 * CHUNK), "{}", ended.story());
    world.finished("file.bin", &content);
}

#[test]
fn what_another_link_has_is_compared_first() {
    let content = Content::random(2, 20 * CHUNK);
    for (other, code) in [(content.flipped(100), 4), (Content::random(2, 19 * CHUNK), 4), (content.clone(), 0)] {
        let world = World::new();
        let origin = Origin::serving(&content);
        broken_off(&world, &origin, &origin.url("/file.bin?sig=1"));
        origin.page("/other", Page::of(&other));
        let url = origin.url("/other");
        let ended = world.onward(["resume", "--no-restart", "--progress", "json", "--url", &url]).run();
        ended.exits(code);
        match code {
            0 => assert_eq!(ended.event("done")["proof"], "overlap", "{}", ended.story()),
            _ => {
                world.onward(["resume", "--url", &url]).run().exits(0);
            }
        }
        world.finished("file.bin", &other);
    }
}

#[test]
fn a_fresh_link_without_ranges_is_compared_as_it_passes() {
    let content = Content::random(3, 20 * CHUNK);
    let world = World::new();
    let origin = Origin::serving(&content);
    broken_off(&world, &origin, &origin.url("/file.bin?sig=1"));
    origin.page("/other", Page::of(&content).etag("\"x\"").no_ranges());
    world.onward(["resume", "--no-restart", "--url", &origin.url("/other")]).run().exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn one_link_is_for_one_download() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(3, 20 * CHUNK));
    let ended = world.onward(["resume", "--url", &origin.url("/file.bin")]).run();
    ended.exits(2).says("no unfinished download");
    broken_off(&world, &origin, &origin.url("/file.bin"));
    for name in ["partial", "partial.toml"] {
        let text = world.text(&format!("file.bin.{name}")).replace("file.bin\"", "twin.bin\"");
        let path = world.write(&format!("twin.bin.{name}"), text);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let ended = world.onward(["resume", "--url", &origin.url("/file.bin")]).run();
    ended.exits(2).says("2 unfinished downloads");
}

#[test]
fn a_command_gives_a_fresh_link_once_it_is_needed() {
    let world = World::new();
    let content = Content::random(4, 40 * CHUNK);
    let origin = Origin::serving(&content);
    // The old link is good for one answer, of which a part arrives.
    origin.when(Box::new(|ask| ask.target.contains("SECRET1")), cut_after(7 * CHUNK));
    origin.when(Box::new(|ask| ask.target.contains("SECRET1") && ask.nth > 1), status(403, ""));
    world.write("fresh", format!("{}\nand more words\n", origin.url("/file.bin?sig=SECRET2")));
    let command = "echo run >> ran; echo noise >&2; cat fresh";
    let ended =
        download(&world, &origin.url("/file.bin?sig=SECRET1")).args(["-v", "-x4", "--url-command", command]).run();
    ended.exits(0).never_says("SECRET").never_says("noise");
    world.finished("file.bin", &content);
    assert_eq!(world.text("ran"), "run\n", "{}", ended.story());

    // A link that is good is not made fresh.
    let ended =
        download(&world, &origin.url("/file.bin?sig=SECRET2")).args(["-o", "b", "--url-command", command]).run();
    ended.exits(0);
    assert_eq!(world.text("ran"), "run\n");
}

#[test]
fn resume_asks_the_command_where_the_record_has_no_link() {
    let world = World::new();
    let content = Content::random(5, 20 * CHUNK);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin?sig=SECRET1");
    origin.when(Box::new(|_| true), cut_after(5 * CHUNK));
    let command = format!("echo '{}'", origin.url("/file.bin?sig=SECRET2"));
    let args = ["--retries", "0", "-x1", "--url-command", &command];
    download(&world, &url).args(args).run().exits(3);
    let record = world.text("file.bin.partial.toml");
    assert!(!record.contains("SECRET") && !record.contains("echo"), "{record}");
    origin.honest_again();
    origin.when(unsigned("SECRET2"), status(404, ""));
    origin.forget_log();
    world.onward(["resume", "--url-command", &command]).run().exits(0).never_says("SECRET2");
    world.finished("file.bin", &content);
    assert!(origin.asked().iter().all(|asked| asked.ask.target.contains("SECRET2")), "{}", origin.story());
}

#[test]
fn a_command_that_fails_says_so_and_gives_nothing_away() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(6, CHUNK));
    origin.when(unsigned("sig=good"), status(410, ""));
    let old = origin.url("/file.bin?sig=SECRET1");
    let run = |command: &str| download(&world, &old).args(["--url-command", command]).run();
    let ended = run("echo working >&2; echo 'no such login at https://h/?token=SECRET3\u{1b}[31m' >&2; exit 3");
    ended.exits(6).says("exit status: 3").says("no such login").never_says("SECRET").never_says("working");
    run("true").exits(6).says("printed nothing");
    run("echo ftp://h/SECRET1").exits(6).says("not an http URL").never_says("SECRET1");
    run("kill -9 $$").exits(6).says("signal: 9");
    // A fresh link that is refused as well: the command is not asked again and again.
    let refused = format!("echo run >> ran; echo '{old}'");
    run(&refused).exits(7);
    assert_eq!(world.text("ran"), "run\n");
    world.holds_only(&["ran"]);
}
