//! `--checksum-file`: a list of digests decides what is right, before a byte has moved where it can.

use crate::download::{CHUNK, download};
use crate::origin::{Origin, Page, always, at, field, first, redirect, status};
use crate::world::{Content, World};
use onward::digest::Algorithm::{Md5, Sha256};

#[test]
fn several_files_by_one_list_that_is_fetched() {
    let world = World::new();
    let origin = Origin::start();
    let (a, b) = (Content::random(1, 3 * CHUNK), Content::random(2, 5));
    origin.page("/a.iso", Page::of(&a));
    origin.page("/b%20c", Page::of(&b));
    let list = format!("# all\n{} *a.iso\nMD5 (b c) = {}\n", a.digest(Sha256), b.digest(Md5));
    origin.page("/SUMS", Page::of(&Content::of(list)));
    origin.when(crate::origin::both(at("/SUMS"), first()), status(503, "Retry-After: 0"));
    world.write("urls", format!("{}\n{}\n", origin.url("/a.iso"), origin.url("/b%20c")));
    let ended =
        world.onward(["download", "--progress", "json", "-i", "urls", "--checksum-file", &origin.url("/SUMS")]).run();
    ended.exits(0);
    let verified: Vec<_> =
        ended.events_called("verified").iter().map(|e| (e["alg"].clone(), e["by"].clone())).collect();
    assert!(verified.contains(&("sha-256".into(), "SUMS".into())), "{}", ended.story());
    assert!(verified.contains(&("md5".into(), "SUMS".into())), "{}", ended.story());
    world.finished("a.iso", &a);
    world.finished("b c", &b);
}

#[test]
fn what_the_list_does_not_name_is_not_fetched() {
    let world = World::new();
    let content = Content::random(3, 100);
    let origin = Origin::serving(&content);
    origin.page("/other", Page::of(&content));
    let url = origin.url("/file.bin");
    let good = content.digest(Sha256);
    world.write("SHA256SUMS", format!("{good}  else.bin\n"));
    let both = [url.as_str(), &origin.url("/other")];
    let ended = world.onward(["download", "--checksum-file", "SHA256SUMS"]).args(both).run();
    ended.exits(2).says("no checksum for file.bin").says("else.bin").says("-o");
    assert!(!world.exists("file.bin") && !world.exists("other"), "{:?}", world.names());
    world.onward(["download", "--checksum-file", "SHA256SUMS", "-o", "else.bin", &url]).run().exits(0);
    world.write("page", "<html>not found</html>\n");
    world.onward(["download", "--checksum-file", "page", &url]).run().exits(2).says("no checksum that onward can read");
    world.write("two", format!("{good}  a/file.bin\n{}  b/file.bin\n", good.replace('a', "b")));
    world.onward(["download", "--checksum-file", "two", &url]).run().exits(2).says("different checksums");
    world.onward(["download", "--checksum-file", "missing", &url]).run().exits(8);
    world.onward(["download", "--checksum-file", &origin.url("/missing"), &url]).run().exits(7).says("checksum file");
    world.onward(["download", "--checksum-file", "two", "--checksum", "md5:00", &url]).run().exits(2);
    assert!(!world.exists("file.bin"), "{:?}", world.names());
}

#[test]
fn the_name_that_only_the_server_tells() {
    let world = World::new();
    let content = Content::random(4, 2 * CHUNK);
    let origin = Origin::start();
    origin.page("/get", Page::of(&content).header("Content-Disposition", "attachment; filename=\"real name.iso\""));
    world.write("SUMS", format!("{}  real name.iso\n{}  x\n", content.digest(Sha256), content.digest(Md5)));
    let ended = download(&world, &origin.url("/get?id=7")).args(["--checksum-file", "SUMS"]).run();
    ended.exits(0);
    world.finished("real name.iso", &content);
    assert_eq!(ended.event("verified")["by"], "SUMS");
}

#[test]
fn wrong_bytes_do_not_get_the_name_and_resume_knows_the_digest() {
    let world = World::new();
    let (wrong, right) = (Content::random(5, 6 * CHUNK), Content::random(6, 6 * CHUNK));
    let origin = Origin::serving(&wrong);
    world.write("SUMS", format!("{} *file.bin\n", right.digest(Sha256)));
    let ended = download(&world, &origin.url("/file.bin")).args(["--checksum-file", "SUMS"]).run();
    ended.exits(5);
    assert!(!world.exists("file.bin"));
    origin.page("/file.bin", Page::of(&right));
    origin.when(always(), crate::origin::cut_after(2 * CHUNK));
    let args = ["--checksum-file", "SUMS", "--retries", "0", "-x1"];
    download(&world, &origin.url("/file.bin")).args(args).run().exits(3);
    origin.honest_again();
    std::fs::remove_file(world.path("SUMS")).unwrap();
    let ended = world.onward(["resume", "--progress", "json"]).run();
    ended.exits(0);
    assert_eq!(ended.event("verified")["alg"], "sha-256");
    world.file_is("file.bin", &right);
}

#[test]
fn what_the_files_origin_is_told_the_lists_origin_is_not() {
    let world = World::new();
    let content = Content::random(7, 100);
    let (files, lists) = (Origin::serving(&content), Origin::start());
    lists.page("/moved", Page::of(&Content::of("")));
    lists.page("/SUMS", Page::of(&Content::of(format!("{}  file.bin\n", content.digest(Sha256)))));
    lists.when(at("/moved"), redirect(302, "/SUMS")).when(always(), field("X-Nothing", "x"));
    let secret = ["-H", "X-Key: SECRET", "-b", "sid=SECRET"];
    let ended =
        download(&world, &files.url("/file.bin")).args(["--checksum-file", &lists.url("/moved")]).args(secret).run();
    ended.exits(0);
    assert_eq!(files.asked()[0].ask.header("x-key"), Some("SECRET"));
    for asked in lists.asked() {
        assert!(asked.ask.header("x-key").is_none() && asked.ask.header("cookie").is_none(), "{}", lists.story());
    }
}
