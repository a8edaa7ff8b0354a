//! `onward download -o -`: bytes in order on stdout, over connections that break, and nothing else there.

use crate::download::{CHUNK, download};
use crate::origin::*;
use crate::world::{Content, Onward, Running, Signal, World, skip_anywhere};
use std::io::Read;
use std::time::Duration;

const LEN: u64 = 3 << 20;

/// A download to stdout with a small window.
fn pipe(world: &World, url: &str) -> Onward {
    download(world, url).args(["-o", "-", "--buffer", "512K"])
}

/// What goes wrong on the way, and what comes out all the same.
#[test]
fn the_pipe_survives_what_a_file_survives() {
    type Script = fn(&Origin, &Content);
    let faults: Vec<(&str, Script, &[&str])> = vec![
        ("nothing", |_, _| {}, &[]),
        ("four connections", |_, _| {}, &["-x4"]),
        (
            "cut",
            |o, _| {
                o.when(first(), cut_after(LEN / 2));
            },
            &[],
        ),
        (
            "reset",
            |o, _| {
                o.when(first(), reset_after(LEN / 2));
            },
            &["-x4"],
        ),
        (
            "cut each after 300 kB",
            |o, _| {
                o.when(always(), cut_after(300_000));
            },
            &["-x3"],
        ),
        (
            "silent",
            |o, _| {
                o.when(first(), stall_after(LEN / 2));
            },
            &["--stall-timeout", "1s"],
        ),
        (
            "short ranges",
            |o, _| {
                o.when(always(), short_206(65_536));
            },
            &[],
        ),
        (
            "no validators, cut",
            |o, c| {
                o.page("/file.bin", Page::of(c).no_etag().no_date());
                o.when(first(), cut_after(LEN / 2));
            },
            &[],
        ),
        (
            "other ETag per connection",
            |o, _| {
                o.when(always(), etag_per_connection());
            },
            &["-x4"],
        ),
        (
            "no ranges",
            |o, _| {
                o.when(always(), ignore_range());
            },
            &[],
        ),
        (
            "no ranges, cut twice",
            |o, _| {
                o.when(always(), ignore_range()).when(up_to(2), cut_after(LEN / 2));
            },
            &[],
        ),
        (
            "no ranges any more",
            |o, _| {
                o.when(from(2), ignore_range()).when(first(), cut_after(LEN / 2));
            },
            &[],
        ),
        (
            "chunked, cut",
            |o, _| {
                o.when(always(), chunked()).when(first(), cut_after(LEN / 2));
            },
            &[],
        ),
        (
            "a login page in between",
            |o, _| {
                o.when(first(), cut_after(LEN / 2)).when(nth(2), login_page());
            },
            &[],
        ),
        (
            "503 in between",
            |o, _| {
                o.when(first(), cut_after(LEN / 2)).when(nth(2), status(503, ""));
            },
            &[],
        ),
    ];
    for (what, script, args) in faults {
        let world = World::new();
        let content = Content::random(60, LEN);
        let origin = Origin::serving(&content);
        script(&origin, &content);
        let ended = pipe(&world, &origin.url("/file.bin")).args(args).run();
        assert_eq!(ended.code(), Some(0), "{what}\n{}\n{}", ended.stderr, origin.story());
        assert!(ended.stdout == content.bytes(), "{what}: other bytes\n{}\n{}", ended.stderr, origin.story());
        world.holds_only(&[]);
    }
}

#[test]
fn odd_sizes() {
    let world = World::new();
    let origin = Origin::start();
    for len in [0, 1, CHUNK, 700_001] {
        let content = Content::random(len, len);
        origin.page("/f", Page::of(&content));
        for buffer in ["1", "64K", "64M"] {
            let ended = download(&world, &origin.url("/f")).args(["-o", "-", "-x3", "--buffer", buffer]).run();
            ended.exits(0);
            assert!(ended.stdout == content.bytes(), "{len} bytes, buffer {buffer}\n{}", ended.stderr);
        }
    }
}

/// Cut for good is no "run it again": that would begin at the first byte.
#[test]
fn failures_of_a_pipe() {
    let content = Content::random(61, LEN);
    let ends = |script: &dyn Fn(&Origin), args: &[&str]| {
        let world = World::new();
        let origin = Origin::serving(&content);
        script(&origin);
        let ended = pipe(&world, &origin.url("/file.bin")).args(args).run();
        world.holds_only(&[]);
        ended
    };
    let cut = ends(
        &|o| {
            o.when(always(), cut_after(100_000)).when(from(2), status(503, ""));
        },
        &["--retries", "0"],
    );
    cut.exits(1);
    assert!(content.bytes().starts_with(&cut.stdout) && cut.stdout.len() == 100_000, "{}", cut.stderr);
    ends(
        &|o| {
            o.when(always(), status(404, ""));
        },
        &[],
    )
    .exits(7);
    let wrong = format!("md5:{}", Content::random(1, 1).digest(onward::digest::Algorithm::Md5));
    ends(&|_| {}, &["--checksum", &wrong]).exits(5).says("passed on already");
    let right = format!("md5:{}", content.digest(onward::digest::Algorithm::Md5));
    ends(&|_| {}, &["--checksum", &right, "-x4"]).exits(0);
    let other = Page::of(&Content::random(62, LEN)).etag("\"v2\"");
    let changed = ends(
        &|o| {
            o.when(first(), cut_after(LEN / 2)).when(from(2), changed_to(other.clone()));
        },
        &["--retries", "2"],
    );
    changed.exits(4);
    assert!(content.bytes().starts_with(&changed.stdout), "a mix came out");
    // The same where nothing but the bytes tells.
    let changed = ends(
        &|o| {
            o.page("/file.bin", mute(&content));
            o.when(first(), cut_after(LEN / 2)).when(from(2), changed_to(mute(&Content::random(63, LEN))));
        },
        &["--retries", "2"],
    );
    changed.exits(4);
    assert!(content.bytes().starts_with(&changed.stdout), "a mix came out");
}

/// A page that says nothing of what its content is called.
fn mute(content: &Content) -> Page {
    Page::of(content).no_etag().no_date()
}

/// Where no answer says what it is of, a further one must begin with the bytes that went out last.
#[test]
fn answers_that_say_nothing_are_held_against_what_went_out() {
    type Script = fn(&Origin);
    let faults: [(&str, Script, &[&str]); 4] = [
        (
            "a part",
            |o| {
                o.when(first(), cut_after(LEN / 2));
            },
            &[],
        ),
        (
            "a whole",
            |o| {
                o.when(first(), ignore_range()).when(first(), cut_after(LEN / 2));
            },
            &[],
        ),
        (
            "few bytes",
            |o| {
                o.when(first(), cut_after(100));
            },
            &[],
        ),
        (
            "four connections",
            |o| {
                o.when(first(), cut_after(LEN / 2));
            },
            &["-x4"],
        ),
    ];
    for (what, script, args) in faults {
        let (world, content) = (World::new(), Content::random(70, LEN));
        let origin = Origin::start();
        let run = |args: &[&str]| {
            origin.honest_again();
            origin.page("/f", mute(&content));
            script(&origin);
            pipe(&world, &origin.url("/f")).args(args).run()
        };
        let ended = run(args);
        ended.exits(0);
        assert!(ended.stdout == content.bytes(), "{what}: other bytes\n{}\n{}", ended.stderr, origin.story());
        assert_eq!(ended.event("done")["proof"], "overlap", "{what}\n{}", ended.stderr);

        let ended = run(&[args, &["--strict"]].concat());
        ended.exits(5).says("--strict");
        assert!(content.bytes().starts_with(&ended.stdout), "{what}: a mix came out");
        let digest = format!("md5:{}", content.digest(onward::digest::Algorithm::Md5));
        let ended = run(&[args, &["--strict", "--checksum", &digest]].concat());
        ended.exits(0);
        assert_eq!(ended.event("done")["proof"], "md5", "{what}\n{}", ended.stderr);

        origin.honest_again();
        origin.page("/f", mute(&content));
        script(&origin);
        origin.when(from(2), changed_to(mute(&Content::random(71, LEN))));
        let ended = pipe(&world, &origin.url("/f")).args(args).run();
        ended.exits(4);
        assert!(content.bytes().starts_with(&ended.stdout), "{what}: a mix came out");
    }
}

/// All of it came in one answer: nothing is in doubt, and no second answer mixes in.
#[test]
fn one_answer_that_says_nothing_is_one_content() {
    let (world, content, other) = (World::new(), Content::random(72, LEN), Content::random(73, LEN));
    let origin = Origin::start();
    origin.page("/f", mute(&content));
    origin.when(first(), at_rate(4 << 20)).when(from(2), bytes_of(&other));
    let ended = pipe(&world, &origin.url("/f")).args(["-x4", "--strict"]).run();
    ended.exits(0);
    assert!(ended.stdout == content.bytes(), "a mix came out\n{}\n{}", ended.stderr, origin.story());
    assert!(ended.event("done")["proof"].is_null(), "{}", ended.stderr);
}

/// Under an ETag per connection no answer but the first is known to be of its content.
#[test]
fn contradictory_answers_do_not_mix() {
    let (world, content, other) = (World::new(), Content::random(77, LEN), Content::random(78, LEN));
    let origin = Origin::serving(&content);
    origin.when(first(), at_rate(4 << 20)).when(from(2), bytes_of(&other)).when(always(), etag_per_connection());
    let ended = pipe(&world, &origin.url("/file.bin")).arg("-x4").run();
    assert!(matches!(ended.code(), Some(0 | 4)), "{}\n{}", ended.stderr, origin.story());
    assert!(content.bytes().starts_with(&ended.stdout), "a mix came out\n{}\n{}", ended.stderr, origin.story());
    assert!(ended.code() == Some(4) || ended.stdout.len() as u64 == LEN, "{}", ended.stdout.len());
}

#[test]
fn short_ranges_leave_room_to_compare() {
    let (world, content) = (World::new(), Content::random(74, 300_000));
    let origin = Origin::start();
    origin.page("/f", mute(&content));
    origin.when(always(), short_206(20_000));
    let ended = pipe(&world, &origin.url("/f")).run();
    ended.exits(0);
    assert!(ended.stdout == content.bytes(), "{}\n{}", ended.stderr, origin.story());
    assert!(ended.events_called("retry").is_empty(), "nothing has failed\n{}", ended.stderr);
}

/// Parts that do not say of how much: only the server's word that nothing follows is the end.
#[test]
fn an_end_that_nobody_told_is_none() {
    let (world, content) = (World::new(), Content::random(75, LEN));
    let whole = || -> When { Box::new(|ask| ask.header("range").is_none()) };
    let ranged = || -> When { Box::new(|ask| ask.header("range").is_some()) };
    let behind = || -> When { Box::new(|ask| ask.start() >= LEN) };
    for told in [Some(LEN), None] {
        let origin = Origin::serving(&content);
        origin.when(whole(), chunked()).when(whole(), cut_after(500_000));
        origin.when(always(), short_206(1_000_000));
        origin.when(always(), content_range(|start, end, _| format!("bytes {start}-{end}/*")));
        origin.when(behind(), unsatisfiable(told));
        let ended = pipe(&world, &origin.url("/file.bin")).run();
        ended.exits(0);
        assert!(ended.stdout == content.bytes(), "{} bytes\n{}", ended.stdout.len(), origin.story());
    }
    // Denied without a word of the length, right where the connection broke: that is no end.
    let origin = Origin::serving(&content);
    origin.when(whole(), chunked()).when(whole(), cut_after(500_000)).when(ranged(), unsatisfiable(None));
    pipe(&world, &origin.url("/file.bin")).run().exits(1).says("cannot go on");
}

/// Whatever the reason, a pipe that has let bytes out cannot be gone on with.
#[test]
fn a_refusal_in_the_middle_cuts_it_for_good() {
    let (world, content) = (World::new(), Content::random(76, LEN));
    for code in [403, 404, 410] {
        for args in [&[][..], &["-x4"]] {
            let origin = Origin::serving(&content);
            origin.when(always(), cut_after(100_000)).when(from(2), status(code, ""));
            let ended = pipe(&world, &origin.url("/file.bin")).args(args).run();
            ended.exits(1).says(&code.to_string());
            assert!(content.bytes().starts_with(&ended.stdout) && !ended.stdout.is_empty(), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_digest_that_the_server_offers_is_checked() {
    let world = World::new();
    let content = Content::random(64, LEN);
    let origin = Origin::start();
    let digest = content.digest_field(onward::digest::Algorithm::Sha256);
    origin.page("/f", Page::of(&content.flipped(LEN - 1)).header("Repr-Digest", &digest));
    pipe(&world, &origin.url("/f")).run().exits(5);
}

/// Starts it with its stdout in a pipe that nobody reads, and waits until the pipe is full.
fn blocked(world: &World, url: &str, args: &[&str]) -> (Running, std::io::PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut running = pipe(world, url).args(args).stdout(writer).start();
    running.wait_for_progress(512 << 10);
    (running, reader)
}

#[test]
fn memory_is_bounded_while_nobody_reads() {
    let world = World::new();
    let content = Content::random(65, 64 << 20);
    let origin = Origin::serving(&content);
    let (running, mut reader) = blocked(&world, &origin.url("/file.bin"), &["-x4"]);
    // All that comes is what fits into the buffer, the two pipes and the kernels' sockets.
    let asked = origin.asked().iter().map(|asked| asked.ask.start()).max().unwrap();
    assert!(asked <= 2 << 20, "{}", origin.story());
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    running.wait().exits(0);
    assert!(all == content.bytes(), "other bytes");
}

#[test]
fn it_ends_at_once_when_asked_although_the_pipe_is_full() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(66, 16 << 20));
    let (running, reader) = blocked(&world, &origin.url("/file.bin"), &[]);
    running.signal(Signal::INT);
    running.wait().died_of(Signal::INT);
    drop(reader);
    world.holds_only(&[]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_to_tell_of() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(67, 16 << 20));
    let (running, reader) = blocked(&world, &origin.url("/file.bin"), &[]);
    drop(reader);
    let ended = running.wait();
    ended.died_of(Signal::PIPE);
    assert!(ended.events_called("failed").is_empty(), "{}", ended.story());
}

#[test]
fn the_rate_limit_holds() {
    let world = World::new();
    let content = Content::random(68, 1 << 20);
    let origin = Origin::serving(&content);
    let ended = pipe(&world, &origin.url("/file.bin")).args(["-x4", "--limit-rate", "1M"]).run();
    ended.exits(0);
    assert!(ended.took > Duration::from_millis(800), "{:?}", ended.took);
    assert!(ended.stdout == content.bytes());
}

/// The line of the README, with the origin cutting connections all the while.
#[test]
fn into_tar() {
    let Ok(tar) = std::process::Command::new("tar").arg("--version").output() else {
        return skip_anywhere("tar is not here");
    };
    assert!(tar.status.success());
    let world = World::new();
    let content = Content::random(69, LEN);
    content.write_to(&world.path("inside.bin"));
    let made = std::process::Command::new("tar").args(["cf", "t.tar", "inside.bin"]).current_dir(world.dir()).status();
    assert!(made.unwrap().success());
    let origin = Origin::start();
    origin.page("/t.tar", Page::of(&Content::of(world.read("t.tar"))));
    origin.when(always(), cut_after(500_000));
    std::fs::create_dir(world.path("out")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut tar =
        std::process::Command::new("tar").arg("x").current_dir(world.path("out")).stdin(reader).spawn().unwrap();
    pipe(&world, &origin.url("/t.tar")).arg("-x2").stdout(writer).run().exits(0);
    assert!(tar.wait().unwrap().success());
    world.file_is("out/inside.bin", &content);
}
