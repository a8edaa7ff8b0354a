//! Bodies that are not the file, though their status says so: none of them gets its name, and none of their bytes is
//! taken for one of the file's.

use crate::download::download;
use crate::origin::*;
use crate::world::{Content, World};

const LEN: u64 = 300_000;

/// What a server that only lies in `lie` makes of a download.
fn ends(content: &Content, lies: Vec<(When, Lie)>, code: i32) {
    let world = World::new();
    let origin = Origin::serving(content);
    for (when, lie) in lies {
        origin.when(when, lie);
    }
    for args in [&[][..], &["-o", "-"]] {
        let ended = download(&world, &origin.url("/file.bin")).args(args).run();
        assert_eq!(ended.code(), Some(code), "{}\n{}", ended.story(), origin.story());
        match (code, args.is_empty()) {
            (0, true) => world.finished("file.bin", content),
            (0, false) => assert!(ended.stdout == content.bytes(), "other bytes came out\n{}", origin.story()),
            (_, true) => assert!(!world.exists("file.bin"), "something has the final name\n{}", origin.story()),
            (_, false) => assert!(content.bytes().starts_with(&ended.stdout), "other bytes came out"),
        }
    }
}

/// The lines of a list field say it together (RFC 9110, section 5.3); the coding of the transfer makes other bytes, too.
#[test]
fn codings_nobody_asked_for() {
    let content = Content::random(80, LEN);
    let packed = |fields: &'static [(&'static str, &'static str)]| {
        so_that(move |_, answer| {
            answer.unset("Content-Encoding");
            answer.headers.extend(fields.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        })
    };
    let split = packed(&[("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]);
    ends(&content, vec![(always(), gzipped()), (always(), split)], 1);
    let split = packed(&[("Content-Encoding", "identity, GZIP")]);
    ends(&content, vec![(always(), gzipped()), (always(), split)], 1);
    // The chunked coding comes on top of it, on a line of its own.
    let transfer = packed(&[("Transfer-Encoding", "gzip")]);
    ends(&content, vec![(always(), gzipped()), (always(), transfer), (always(), chunked())], 1);
    let none = so_that(|_, answer| answer.set("Content-Encoding", "identity, Identity"));
    ends(&content, vec![(always(), none)], 0);
}

/// One range in a MIME envelope, with a Content-Range on the outside.
#[test]
fn an_envelope_is_no_range() {
    let content = Content::random(81, LEN);
    let envelope = so_that(|_, answer| {
        if answer.status == 206 {
            answer.content = Content::random(82, answer.content.len());
            answer.set("Content-Type", "Multipart/ByteRanges; boundary=x");
        }
    });
    ends(&content, vec![(always(), envelope)], 0);
}

/// 200, and a Content-Range that says that it is not all.
#[test]
fn a_part_under_the_status_of_the_whole() {
    let content = Content::random(83, LEN);
    for (first, total) in [(0, "*"), (0, "300000"), (500, "1000")] {
        let part = so_that(move |_, answer| {
            answer.status = 200;
            (answer.start, answer.end) = (0, 500);
            answer.set("Content-Length", "500");
            answer.set("Content-Range", format!("bytes {first}-{}/{total}", first + 499));
        });
        ends(&content, vec![(always(), part)], 1);
    }
    let whole = so_that(|_, answer| answer.set("Content-Range", format!("bytes 0-{}/{LEN}", LEN - 1)));
    ends(&content, vec![(always(), ignore_range()), (always(), whole)], 0);
}

/// Two lines of Content-Range say nothing.
#[test]
fn two_ranges_are_none() {
    let content = Content::random(84, LEN);
    let twice = so_that(|_, answer| {
        let second = answer.headers.iter().find(|(name, _)| name == "Content-Range").cloned();
        answer.headers.extend(second.map(|(name, _)| (name, "bytes 7-9/10".to_string())));
    });
    ends(&content, vec![(always(), twice)], 0);
}

/// A length that was told once does not shrink because a later answer tells none and ends before it.
#[test]
fn an_end_before_the_known_length_is_a_cut() {
    let content = Content::random(85, LEN);
    let world = World::new();
    let origin = Origin::serving(&content);
    let short = so_that(|_, answer| (answer.start, answer.end) = (0, LEN * 2 / 3));
    origin.when(always(), ignore_range()).when(first(), cut_after(LEN / 2));
    origin.when(from(2), short).when(from(2), until_close());
    let url = origin.url("/file.bin");
    let ended = download(&world, &url).args(["--retries", "2"]).run();
    assert_eq!(ended.code(), Some(3), "{}\n{}", ended.story(), origin.story());
    assert!(!world.exists("file.bin") && world.exists("file.bin.partial"), "{}", ended.story());
    origin.honest_again();
    download(&world, &url).run().exits(0);
    world.finished("file.bin", &content);
}

/// Small contents are in memory before there is a file: what breaks off or dawdles there is not asked for again.
#[test]
fn small_contents_that_do_not_come_in_one_piece() {
    let content = Content::random(83, 20_000);
    for (how, when, lie) in [
        ("it is cut", first(), cut_after(7_000)),
        ("it is reset", first(), reset_after(7_000)),
        ("it is slow", always(), at_rate(40_000)),
        ("nothing of it comes", first(), cut_after(0)),
    ] {
        let (world, origin) = (World::new(), Origin::serving(&content));
        origin.when(when, lie);
        let ended = download(&world, &origin.url("/file.bin")).run();
        ended.exits(0);
        world.finished("file.bin", &content);
        world.holds_only(&["file.bin"]);
        // What a reset throws away before it was read is the line's loss.
        let most = content.len() + if how == "it is reset" { 7_000 } else { 0 };
        assert!(origin.sent() <= most, "{how}: {}", origin.story());
    }
}

/// A small file is finished in one step, and whatever has its name, or that of its data or its record, is respected.
#[test]
fn small_contents_take_nobody_s_name() {
    let content = Content::random(84, 5_000);
    for (taken, args, code) in [
        ("file.bin", &[][..], 8),
        ("file.bin", &["--no-clobber"][..], 0),
        ("file.bin", &["--overwrite"][..], 0),
        ("file.bin.partial", &[][..], 0),
        ("file.bin.partial.toml", &[][..], 0),
    ] {
        let (world, origin) = (World::new(), Origin::serving(&content));
        world.write(taken, vec![7; 5_000]);
        let ended = download(&world, &origin.url("/file.bin")).args(args).run();
        assert_eq!(ended.code(), Some(code), "{taken} {args:?}\n{}", ended.story());
        match (taken, args) {
            ("file.bin", [] | ["--no-clobber"]) => assert_eq!(world.read("file.bin"), vec![7; 5_000]),
            _ => world.finished("file.bin", &content),
        }
        world.holds_only(&["file.bin"]);
    }
}

/// The mode is what the mask leaves, the time the server's where that is asked for.
#[test]
fn small_contents_have_the_mode_and_the_time_of_others() {
    use std::os::unix::fs::PermissionsExt;
    let of = |length: u64| {
        let (world, content) = (World::new(), Content::random(85, length));
        let origin = Origin::serving(&content);
        download(&world, &origin.url("/file.bin")).arg("-R").run().exits(0);
        let meta = std::fs::metadata(world.path("file.bin")).unwrap();
        (meta.permissions().mode(), meta.modified().unwrap())
    };
    assert_eq!(of(5_000), of(LEN));
}
