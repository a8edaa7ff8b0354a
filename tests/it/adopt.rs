//! `--adopt`: the beginning of a file that another program left is gone on from, and never harmed. And `-D`, which
//! writes down what was answered.

use crate::download::{CHUNK, download};
use crate::origin::{Origin, Page, always, at, both, cut_after, field, first, ignore_range, login_page, redirect};
use crate::world::{Content, World};
use std::os::unix::fs::FileExt;

const SIZE: u64 = 20 * CHUNK;

/// A world in which another program left the first `length` bytes of `content` as `name`.
fn left_by_another(content: &Content, name: &str, length: u64) -> (World, Origin) {
    let world = World::new();
    world.write(name, content.part(0, length));
    (world, Origin::serving(content))
}

#[test]
fn a_prefix_is_gone_on_from() {
    let content = Content::random(1, SIZE);
    for (name, more, done) in [
        ("file.bin", &[][..], "file.bin"),
        ("file.bin.part", &[], "file.bin"),
        ("file.bin.crdownload", &["-o", "other.bin"], "other.bin"),
    ] {
        for length in [1, 12 * CHUNK + 77, SIZE] {
            let (world, origin) = left_by_another(&content, name, length);
            let ended = download(&world, &origin.url("/file.bin")).args(["--adopt", name]).args(more).run();
            ended.exits(0).stdout_is(&format!("{done}\n"));
            world.finished(done, &content);
            assert_eq!(ended.event("done")["proof"], "overlap", "{}", ended.story());
            assert_eq!(ended.event("done")["already"].as_u64(), Some(length), "{}", ended.story());
            if name != done {
                world.file_is(name, &Content::of(content.part(0, length)));
            }
        }
    }
}

#[test]
fn what_is_not_the_beginning_stays_as_it_is() {
    let content = Content::random(2, SIZE);
    let wrong = content.flipped(9 * CHUNK).part(0, 9 * CHUNK + 5);
    let longer = [content.bytes(), vec![1]].concat();
    for bytes in [wrong, longer] {
        let world = World::new();
        let origin = Origin::serving(&content);
        world.write("file.bin", &bytes);
        let ended = download(&world, &origin.url("/file.bin")).args(["--adopt", "file.bin"]).run();
        ended.exits(4).says("untouched");
        world.file_is("file.bin", &Content::of(bytes));
        world.holds_only(&["file.bin"]);
    }
    for (lie, word) in [(ignore_range(), "no ranges"), (login_page(), "")] {
        let (world, origin) = left_by_another(&content, "file.bin", 5 * CHUNK);
        origin.when(always(), lie);
        let ended = download(&world, &origin.url("/file.bin")).args(["--adopt", "file.bin"]).run();
        assert!(ended.code() == Some(1) || ended.code() == Some(4), "{}", ended.story());
        ended.says(word).says("untouched");
        world.file_is("file.bin", &Content::of(content.part(0, 5 * CHUNK)));
        world.holds_only(&["file.bin"]);
    }
}

#[test]
fn files_with_holes_are_not_taken_for_prefixes() {
    let content = Content::random(3, SIZE);
    let (world, origin) = left_by_another(&content, "file.bin", SIZE);
    world.write("file.bin.aria2", "control");
    let url = origin.url("/file.bin");
    let ended = download(&world, &url).args(["--adopt", "file.bin"]).run();
    ended.exits(8).says("aria2").says("untouched");
    std::fs::remove_file(world.path("file.bin.aria2")).unwrap();

    // A hole without a word beside it: only what lies before it counts. Where it can be told at all, that is.
    let file = std::fs::File::create(world.path("holes.part")).unwrap();
    file.write_all_at(&content.part(0, 4 * CHUNK), 0).unwrap();
    file.write_all_at(&content.part(16 * CHUNK, SIZE), 16 * CHUNK).unwrap();
    drop(file);
    if cfg!(target_os = "linux") {
        download(&world, &url).args(["--adopt", "holes.part"]).run().exits(0);
        world.finished("holes", &content);
    }

    world.write("x.bin.partial", content.part(0, CHUNK));
    download(&world, &url).args(["--adopt", "x.bin.partial"]).run().exits(2).says("resume");
    download(&world, &url).args(["--adopt", "missing"]).run().exits(8);
    download(&world, &url).args(["--adopt", "Unconfirmed 1.crdownload"]).run().exits(2).says("-o");
}

#[test]
fn the_same_command_again_and_strictness() {
    let content = Content::random(4, SIZE);
    let (world, origin) = left_by_another(&content, "file.bin", 6 * CHUNK);
    let url = origin.url("/file.bin");
    origin.when(Box::new(|ask| ask.header("range").is_some_and(|range| range.ends_with('-'))), cut_after(3 * CHUNK));
    origin.when(Box::new(|ask| ask.start() >= 9 * CHUNK), cut_after(0));
    let adopt = ["--adopt", "file.bin", "--retries", "0", "-x1"];
    download(&world, &url).args(adopt).run().exits(3);
    world.file_is("file.bin", &Content::of(content.part(0, 6 * CHUNK)));
    origin.honest_again();
    let ended = download(&world, &url).args(adopt).run();
    ended.exits(0);
    assert!(ended.event("resumed")["offset"].as_u64().unwrap() >= 6 * CHUNK, "{}", ended.story());
    world.finished("file.bin", &content);

    world.write("more.bin", content.part(0, 6 * CHUNK));
    download(&world, &url).args(["--adopt", "more.bin", "--strict"]).run().exits(5).says("--strict");
    world.file_is("more.bin", &Content::of(content.part(0, 6 * CHUNK)));
}

#[test]
fn heads_are_written_down_without_their_secrets() {
    let content = Content::random(5, 2 * CHUNK);
    let world = World::new();
    let origin = Origin::serving(&content);
    origin.page("/old", Page::of(&Content::of("")));
    origin.when(both(at("/old"), first()), redirect(302, "/file.bin?sig=SECRET"));
    origin.when(at("/file.bin"), field("Set-Cookie", "sid=SECRET; Path=/"));
    origin.when(at("/file.bin"), field("X-Auth-Token", "SECRET"));
    download(&world, &origin.url("/old")).args(["-D", "heads"]).run().exits(0).never_says("SECRET");
    let heads = world.text("heads");
    assert!(heads.starts_with("HTTP/1.1 206 Partial Content\r\n") && heads.ends_with("\r\n\r\n"), "{heads}");
    assert!(heads.contains("etag: \"v1\"\r\n") && heads.contains("set-cookie: sid=***; Path=/\r\n"), "{heads}");
    assert!(!heads.contains("SECRET") && !heads.contains("302"), "{heads}");
    let ended = download(&world, &origin.url("/missing")).args(["-D", "-"]).run();
    ended.exits(7);
    assert!(ended.stdout.starts_with(b"HTTP/1.1 404 Not Found\r\n"), "{}", ended.story());
    download(&world, &origin.url("/old")).args(["-D", "-", "-o", "-"]).run().exits(2);
    download(&world, &origin.url("/old")).args(["-D", "no/such/folder"]).run().exits(8);
}
