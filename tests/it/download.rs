//! `onward download` as its users meet it: edge sizes, names, what is in the way, who is at it, real servers.

use crate::nginx::Nginx;
use crate::origin::{Origin, Page, always, at, at_rate, chunked, cut_after, first, status, until_close};
use crate::world::{Content, Ended, Onward, Signal, World, same, skip_anywhere};
use std::path::Path;

/// The chunk size of these tests, in bytes.
pub const CHUNK: u64 = 64 << 10;

/// `onward download` with JSON lines and small chunks, so that little content has many of them.
pub fn download(world: &World, url: &str) -> Onward {
    world.onward(["download", "--progress", "json", "--chunk-size", "64KiB", url])
}

/// Starts a download of `url` slowly enough to be caught at it, waits until about half is on record, and kills it with
/// SIGKILL. The record and the data are there afterwards.
#[track_caller]
pub fn half_done(world: &World, url: &str, content: &Content) -> u64 {
    let name = url.rsplit('/').next().unwrap();
    let rate = (content.len() * 3 / 2).to_string();
    let running = download(world, url).args(["--limit-rate", &rate]).start();
    let sidecar = world.path(&format!("{name}.partial.toml"));
    let held = crate::world::eventually("half of it on record", || {
        let held = on_record(&sidecar)?;
        (held >= content.len() / 3).then_some(held)
    });
    running.kill().died_of(Signal::KILL);
    on_record(&sidecar).unwrap_or(held)
}

/// How many bytes the record counts under this boot.
pub fn on_record(sidecar: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(sidecar).ok()?;
    let record = onward::record::Record::from_toml(&text).ok()?;
    Some(record.held(onward::disk::boot_id()).len())
}

/// Waits until the record holds something: a kill before that leaves nothing to go on with.
pub fn recorded(sidecar: &Path) -> u64 {
    crate::world::eventually("a record with bytes", || on_record(sidecar).filter(|held| *held > 0))
}

#[track_caller]
fn moved(ended: &Ended) -> u64 {
    ended.event("done")["moved"].as_u64().unwrap_or_else(|| panic!("no number moved\n{}", ended.story()))
}

#[test]
fn edge_sizes() {
    let world = World::new();
    let origin = Origin::start();
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 10 * CHUNK, 1_299_709] {
        let name = format!("f{len}");
        let content = Content::random(len, len);
        origin.page(&format!("/{name}"), Page::of(&content));
        for extra in [&[][..], &["-x1"], &["-x5"]] {
            let ended = download(&world, &origin.url(&format!("/{name}"))).args(extra).arg("--overwrite").run();
            ended.exits(0).stdout_is(&format!("{name}\n"));
            world.finished(&name, &content);
            assert_eq!(moved(&ended), len, "{}", ended.story());
            assert_eq!(origin.sent(), len, "no byte twice ({extra:?}):\n{}", origin.story());
            origin.forget_log();
        }
    }
}

#[test]
fn edge_sizes_without_a_length_or_ranges() {
    let world = World::new();
    let origin = Origin::start();
    for len in [0, 1, CHUNK, CHUNK + 1, 1_299_709] {
        let content = Content::random(len, len);
        for (how, lie) in [("chunked", crate::origin::chunked()), ("until-close", until_close())] {
            let name = format!("{how}{len}");
            origin.page(&format!("/{name}"), Page::of(&content).no_ranges());
            origin.when(at(&format!("/{name}")), lie);
            download(&world, &origin.url(&format!("/{name}"))).run().exits(0);
            world.finished(&name, &content);
        }
    }
}

#[test]
fn a_file_over_four_gib() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    let content = Content::sparse(4, (4 << 30) + 12_345);
    nginx.put("big", &content);
    // To the memory where there is some: the disk of a test machine may be slow. Sparse there as well.
    let target = world.path("big");
    let running = world.onward(["download", "--progress", "json", &nginx.url("/big")]).start();
    let mut running = running;
    running.wait_for_progress(1 << 30);
    recorded(&world.path("big.partial.toml"));
    running.kill().died_of(Signal::KILL);
    let ended = world.onward(["download", "--progress", "json", &nginx.url("/big")]).run();
    ended.exits(0);
    assert!(ended.event("resumed")["offset"].as_u64().unwrap() > 0, "{}", ended.story());
    crate::world::same(&target, &content);
}

#[test]
fn the_same_command_again_moves_only_the_rest() {
    let world = World::new();
    let content = Content::random(11, 4 << 20);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let held = half_done(&world, &url, &content);
    origin.forget_log();
    let ended = download(&world, &url).run();
    ended.exits(0).stdout_is("file.bin\n");
    world.finished("file.bin", &content);
    assert_eq!(ended.event("resumed")["offset"].as_u64(), Some(held), "{}", ended.story());
    assert_eq!(origin.sent(), content.len() - held, "{}", origin.story());
    assert_eq!(ended.event("done")["already"].as_u64(), Some(held));
    // The first request already asks for the right byte, and only if the content is still the same.
    let first = &origin.asked()[0].ask;
    assert!(first.start() > 0 && first.header("if-range") == Some("\"v1\""), "{}", origin.story());
    world.holds_only(&["file.bin"]);
}

#[test]
fn a_signal_commits_and_says_how_to_go_on() {
    let content = Content::random(12, 4 << 20);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let world = World::new();
        let origin = Origin::serving(&content);
        let url = origin.url("/file.bin");
        let mut running = download(&world, &url).args(["--limit-rate", "2M"]).start();
        running.wait_for_progress(1 << 20);
        running.signal(signal);
        let asked = std::time::Instant::now();
        let ended = running.wait();
        assert!(asked.elapsed().as_secs_f64() < 2.0, "{}", ended.story());
        ended.died_of(signal);
        let failed = ended.event("failed");
        assert!(failed["kept"].is_string() && failed["hint"].is_string(), "{}", ended.story());
        let held = on_record(&world.path("file.bin.partial.toml")).unwrap();
        assert!(held >= 1 << 20, "{held} bytes on record\n{}", ended.story());
        origin.forget_log();
        download(&world, &url).run().exits(0);
        world.finished("file.bin", &content);
        assert_eq!(origin.sent(), content.len() - held, "{}", origin.story());
    }
}

#[test]
fn a_second_process_is_told_who_is_at_it() {
    let world = World::new();
    let content = Content::random(13, 4 << 20);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let one = download(&world, &url).args(["--limit-rate", "1M"]).start();
    // Who is at it stands in the record, which a file that is done within a second does not even get.
    crate::world::eventually("the record", || world.exists("file.bin.partial.toml").then_some(()));
    let two = download(&world, &url).run();
    two.exits(9).says(&one.pid().to_string());
    one.wait().exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn several_urls_one_fails() {
    let world = World::new();
    let origin = Origin::start();
    let (a, c) = (Content::random(1, 300_000), Content::random(2, 10));
    origin.page("/a", Page::of(&a));
    origin.page("/c", Page::of(&c));
    let ended = world
        .onward(["download", "--progress", "json", &origin.url("/a"), &origin.url("/missing"), &origin.url("/c")])
        .run();
    ended.exits(7);
    world.finished("a", &a);
    world.finished("c", &c);
    world.holds_only(&["a", "c"]);
    let summary = ended.event("summary");
    assert_eq!((summary["done"].as_u64(), summary["failed"].as_u64()), (Some(2), Some(1)), "{}", ended.story());
    let mut lines: Vec<_> = std::str::from_utf8(&ended.stdout).unwrap().lines().collect();
    lines.sort();
    assert_eq!(lines, ["a", "c"]);
}

#[test]
fn two_urls_of_one_name_are_refused_before_a_byte() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(1, 1000));
    let ended = world.onward(["download", &origin.url("/file.bin"), &origin.url("/x/file.bin")]).run();
    ended.exits(2).says("file.bin");
    assert_eq!(origin.sent(), 0);
    world.holds_only(&[]);
}

#[test]
fn a_list_of_urls() {
    let world = World::new();
    let origin = Origin::start();
    let mut list = String::from("# what we want\n\n");
    let contents: Vec<Content> = (0..40).map(|n| Content::random(n, n * 700)).collect();
    for (n, content) in contents.iter().enumerate() {
        origin.page(&format!("/f{n}"), Page::of(content));
        list.push_str(&format!("{}\n", origin.url(&format!("/f{n}"))));
    }
    world.write("list", &list);
    std::fs::create_dir(world.path("into")).unwrap();
    world.onward(["download", "-d", "into", "-i", "list"]).run().exits(0);
    for (n, content) in contents.iter().enumerate() {
        world.finished(&format!("into/f{n}"), content);
    }
    // Small files share connections that are kept alive.
    assert!(origin.connections() <= 16, "{} connections for 40 small files", origin.connections());
    world.onward(["download", "-d", "into", "--overwrite", "-i", "-"]).stdin(list).run().exits(0);
    world.finished("into/f39", &contents[39]);
}

#[test]
fn names_and_places() {
    let world = World::new();
    let content = Content::random(3, 1000);
    let origin = Origin::start();
    std::fs::create_dir(world.path("dir")).unwrap();
    origin.page("/plain", Page::of(&content));
    origin.page("/with%20space?x=1", Page::of(&content));
    origin.page("/with%20space", Page::of(&content));
    origin.page("/", Page::of(&content));
    origin.page(
        "/named",
        Page::of(&content)
            .header("Content-Disposition", "attachment; filename=\"plain.txt\"; filename*=UTF-8''na%C3%AFve.txt"),
    );
    origin.page("/evil", Page::of(&content).header("Content-Disposition", "attachment; filename=\"../../evil.txt\""));
    world.onward(["download", "-o", "o.bin", &origin.url("/plain")]).run().exits(0).stdout_is("o.bin\n");
    world
        .onward(["download", "-o", "o.bin", "-d", "dir", &origin.url("/plain")])
        .run()
        .exits(0)
        .stdout_is("dir/o.bin\n");
    world.onward(["download", "-d", "dir", &origin.url("/with%20space?x=1")]).run().exits(0);
    world.onward(["download", &origin.url("/named")]).run().exits(0).stdout_is("naïve.txt\n");
    world.onward(["download", &origin.url("/evil")]).run().exits(0);
    world.onward(["download", "-o", "sym", &origin.url("/plain")]).run().exits(0);
    for name in ["o.bin", "dir/o.bin", "dir/with space", "naïve.txt"] {
        world.finished(name, &content);
    }
    assert!(!world.dir().parent().unwrap().join("evil.txt").exists());
    assert!(world.names().iter().any(|name| name.ends_with("evil.txt")), "{:?}", world.names());
}

#[test]
fn what_exists_is_not_lost() {
    let world = World::new();
    let content = Content::random(4, 300_000);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    world.write("file.bin", "an older file, dear to somebody");
    let ended = download(&world, &url).run();
    ended.exits(8).says("--overwrite");
    assert_eq!(world.text("file.bin"), "an older file, dear to somebody");
    download(&world, &url).arg("--no-clobber").run().exits(0);
    assert_eq!(world.text("file.bin"), "an older file, dear to somebody");
    // With leave to replace it, it stays until the new one is complete.
    let mut running = download(&world, &url).args(["--overwrite", "--limit-rate", "200k"]).start();
    running.wait_for_progress(50_000);
    assert_eq!(world.text("file.bin"), "an older file, dear to somebody");
    running.kill().died_of(Signal::KILL);
    assert_eq!(world.text("file.bin"), "an older file, dear to somebody");
    download(&world, &url).arg("--overwrite").run().exits(0);
    world.finished("file.bin", &content);
    world.holds_only(&["file.bin"]);
}

#[test]
fn odd_targets() {
    let world = World::new();
    let content = Content::random(5, 300_000);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    download(&world, &url).args(["-o", "/dev/null"]).run().exits(0);
    let dev_null = std::fs::metadata("/dev/null").unwrap();
    assert!(!dev_null.is_file(), "/dev/null was replaced by a file");
    download(&world, &url).args(["-o", "/dev/full"]).run().exits(8).says_any(&["no space"]);
    // A FIFO is streamed to.
    let fifo = world.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::read(fifo).unwrap()
    });
    download(&world, &url).args(["-o", "fifo"]).run().exits(0);
    assert_eq!(reader.join().unwrap(), content.bytes());
    // A symlink is followed, and stays one.
    std::fs::create_dir(world.path("real")).unwrap();
    std::os::unix::fs::symlink("real/target.bin", world.path("link")).unwrap();
    download(&world, &url).args(["-o", "link"]).run().exits(0);
    assert!(std::fs::symlink_metadata(world.path("link")).unwrap().is_symlink());
    world.finished("real/target.bin", &content);
    world.holds_only(&["fifo", "link", "real"]);
}

#[test]
fn bad_input_is_told_clearly_and_nothing_is_lost() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(6, 1000));
    let url = origin.url("/file.bin");
    world.write("a-file", "x");
    std::fs::create_dir(world.path("folder")).unwrap();
    let dir = world.dir();
    for (args, code, words) in [
        (vec!["http://[bad"], 2, &["http://[bad"][..]),
        (vec!["no-scheme.example/x"], 2, &["no-scheme"]),
        (vec!["ftp://127.0.0.1/x"], 2, &["ftp"]),
        (vec!["-i", "no-such-list"], 8, &["no-such-list"]),
        (vec!["-d", "no-such-folder", &url], 8, &["no-such-folder"]),
        (vec!["-o", "folder", &url], 8, &["folder"]),
        (vec!["-o", "a-file/x", &url], 8, &["a-file"]),
        (vec!["-o", "/proc/x", &url], 8, &["/proc/x"]),
        (vec!["--checksum", "sha256:12", &url], 2, &["checksum"]),
        (vec!["--checksum", "nonsense:1234", &url], 2, &["checksum", "nonsense"]),
        (vec!["--overwrite", "--no-clobber", &url], 2, &["--no-clobber"]),
        (vec!["-o", "x", &url, &url], 2, &["-o", "--output"]),
    ] {
        let ended = world.onward(["download"]).args(&args).run();
        assert_eq!(ended.code(), Some(code), "{args:?}\n{}", ended.story());
        ended.says_any(words);
        let names: Vec<String> = world.names();
        assert_eq!(names, ["a-file", "folder"], "{args:?} left something in {}", dir.display());
    }
    assert_eq!(world.text("a-file"), "x");
}

#[test]
fn what_the_server_says_no_to() {
    let world = World::new();
    let origin = Origin::start();
    for (code, exit) in [(401, 6), (403, 6), (404, 7), (410, 7), (451, 6), (400, 6), (501, 1)] {
        let path = format!("/s{code}");
        origin.when(at(&path), status(code, ""));
        let ended = download(&world, &origin.url(&path)).run();
        assert_eq!(ended.code(), Some(exit), "{code}\n{}", ended.story());
        assert_eq!(ended.event("failed")["code"], exit, "{}", ended.story());
        assert_eq!(origin.asked().iter().filter(|a| a.ask.path() == path).count(), 1, "{code} asked once");
    }
    for code in [408, 429, 500, 502, 503, 504] {
        let path = format!("/s{code}");
        origin.when(at(&path), status(code, ""));
        let ended = download(&world, &origin.url(&path)).args(["--retries", "0"]).run();
        assert_eq!(ended.code(), Some(3), "{code}\n{}", ended.story());
    }
    world.holds_only(&[]);
    // Nobody there.
    let ended = download(&world, "http://127.0.0.1:1/x").args(["--retries", "0"]).run();
    ended.exits(3).says("127.0.0.1:1");
}

#[test]
fn a_busy_server_is_asked_again() {
    let world = World::new();
    let content = Content::random(7, 300_000);
    let origin = Origin::serving(&content);
    origin.when(first(), status(503, "Retry-After: 1"));
    let ended = download(&world, &origin.url("/file.bin")).run();
    ended.exits(0);
    assert!(ended.took.as_secs_f64() >= 1.0, "Retry-After was not obeyed\n{}", ended.story());
    assert_eq!(ended.event("retry")["attempt"], 1, "{}", ended.story());
    world.finished("file.bin", &content);
}

#[test]
fn a_cut_is_gone_on_from() {
    let world = World::new();
    let content = Content::random(8, 2_000_000);
    let origin = Origin::serving(&content);
    origin.when(first(), cut_after(700_000));
    let ended = download(&world, &origin.url("/file.bin")).arg("-x1").run();
    ended.exits(0);
    world.finished("file.bin", &content);
    assert_eq!(origin.sent(), content.len(), "no byte twice\n{}", origin.story());
}

#[test]
fn out_of_time_is_exit_3_and_goes_on() {
    let world = World::new();
    let content = Content::random(9, 2_000_000);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let ended = download(&world, &url).args(["--limit-rate", "1M", "--max-time", "1"]).run();
    ended.exits(3);
    assert!(ended.event("failed")["kept"].is_string(), "{}", ended.story());
    let again = download(&world, &url).run();
    again.exits(0);
    world.finished("file.bin", &content);
    let already = again.event("done")["already"].as_u64().unwrap();
    assert!(already > 700_000, "a second at 1 MiB/s was kept: {already} bytes\n{}", again.story());
}

#[test]
fn the_rate_is_kept() {
    let world = World::new();
    let content = Content::random(10, 6 << 20);
    let origin = Origin::serving(&content);
    let ended = download(&world, &origin.url("/file.bin")).args(["--limit-rate", "3M"]).run();
    ended.exits(0);
    let took = ended.took.as_secs_f64();
    assert!((1.6..4.0).contains(&took), "6 MiB at 3 MiB/s took {took} s\n{}", ended.story());
}

#[test]
fn a_checksum_is_checked() {
    use onward::digest::Algorithm;
    let world = World::new();
    let content = Content::random(14, 300_000);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    for (name, algorithm) in [("sha256", Algorithm::Sha256), ("sha-1", Algorithm::Sha1), ("MD5", Algorithm::Md5)] {
        let checksum = format!("{name}:{}", content.digest(algorithm));
        let ended = download(&world, &url).args(["--overwrite", "--checksum", &checksum]).run();
        ended.exits(0);
        assert_eq!(ended.event("verified")["by"], "user", "{}", ended.story());
        world.finished("file.bin", &content);
    }
    std::fs::remove_file(world.path("file.bin")).unwrap();
    let wrong = format!("sha256:{}", content.flipped(7).digest(Algorithm::Sha256));
    download(&world, &url).args(["--checksum", &wrong]).run().exits(5);
    assert!(!world.exists("file.bin"), "the wrong content got the name: {:?}", world.names());
    // Resumed, the digest covers the old bytes as well.
    download(&world, &url).run().exits(0);
}

#[test]
fn a_checksum_covers_resumed_bytes() {
    let world = World::new();
    let content = Content::random(15, 4 << 20);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    half_done(&world, &url, &content);
    let checksum = format!("sha256:{}", content.digest(onward::digest::Algorithm::Sha256));
    download(&world, &url).args(["--checksum", &checksum]).run().exits(0);
    world.finished("file.bin", &content);
}

/// A tmpfs of 6 MiB, where mounting is allowed.
fn small_disk(world: &World) -> Option<Unmount> {
    let mount = world.beside("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&mount).output();
    if !mounted.is_ok_and(|out| out.status.success()) {
        skip_anywhere("no right to mount a small tmpfs");
        return None;
    }
    Some(Unmount(mount))
}

/// A stream whose length nobody knows fills the disk before there was a record of it.
#[test]
fn a_full_disk_keeps_what_came_of_a_stream() {
    let world = World::new();
    let Some(small) = small_disk(&world) else { return };
    let content = Content::random(18, 12 << 20);
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&content).no_ranges());
    origin.when(always(), chunked());
    let url = origin.url("/file.bin");
    let again = || download(&world, &url).arg("-d").arg(&small.0);
    again().run().exits(8).says_any(&["no space", "no room"]);
    let record = small.0.join("file.bin.partial.toml");
    let held = on_record(&record).expect("a record");
    assert!(held > 5 << 20, "only {held} bytes were kept");
    // Full as it is, it loses nothing more.
    again().run().exits(8);
    assert!(on_record(&record) >= Some(held), "{:?} of {held}", on_record(&record));
    let larger = ["-o", "remount,size=32m"];
    assert!(std::process::Command::new("mount").args(larger).arg(&small.0).status().unwrap().success());
    origin.honest_again();
    again().run().exits(0);
    crate::world::same(&small.0.join("file.bin"), &content);
}

#[test]
fn a_full_disk_keeps_everything() {
    let world = World::new();
    let Some(small) = small_disk(&world) else { return };
    let mount = small.0.clone();
    let content = Content::random(16, 4 << 20);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    // Too big from the start: said before a byte is written.
    std::fs::write(mount.join("ballast"), vec![1; 3 << 20]).unwrap();
    let ended = download(&world, &url).arg("-d").arg(&mount).run();
    ended.exits(8).says_any(&["no room", "no space"]);
    assert_eq!(std::fs::read_dir(&mount).unwrap().count(), 1, "something was left beside the ballast");
    // Full on the way: what is there is kept, and the same command goes on.
    std::fs::remove_file(mount.join("ballast")).unwrap();
    let mut running = download(&world, &url).args(["--limit-rate", "2M", "-d"]).arg(&mount).start();
    running.wait_for_progress(1 << 20);
    let _ = std::fs::write(mount.join("ballast"), vec![1; 8 << 20]);
    let ended = running.wait();
    ended.exits(8).says_any(&["no space", "no room"]);
    std::fs::remove_file(mount.join("ballast")).unwrap();
    origin.forget_log();
    let ended = download(&world, &url).arg("-d").arg(&mount).run();
    ended.exits(0);
    crate::world::same(&mount.join("file.bin"), &content);
    assert!(origin.sent() < content.len(), "what was there was kept\n{}", origin.story());
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Chunks of a file of many TiB are larger than what a connection claims at once.
#[test]
fn a_chunk_may_be_larger_than_a_claim() {
    let world = World::new();
    let content = Content::random(18, 2 << 20);
    let origin = Origin::serving(&content);
    world.onward(["download", "--chunk-size", "4GiB", &origin.url("/file.bin")]).run().exits(0);
    world.finished("file.bin", &content);
}

/// Every kind of real connection: downloaded, and killed and gone on with.
#[test]
fn nginx_over_every_protocol() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    let content = Content::random(17, 6 << 20);
    nginx.put("file.bin", &content);
    let cacert = nginx.cacert();
    for (protocol, url) in [("http", nginx.url("/file.bin")), ("https", nginx.tls_url("/file.bin"))] {
        for connections in ["-x1", "-x3"] {
            let world = World::new();
            let again = || download(&world, &url).arg(connections).arg("--cacert").arg(&cacert);
            let sidecar = world.path("file.bin.partial.toml");
            let running = again().args(["--limit-rate", "4M"]).start();
            let held = crate::world::eventually("a record", || on_record(&sidecar).filter(|held| *held > 1 << 20));
            running.kill().died_of(Signal::KILL);
            let held = on_record(&sidecar).unwrap_or(held);
            let ended = again().run();
            ended.exits(0);
            world.finished("file.bin", &content);
            // Others cut into an open answer: what is in its connection's hands by then comes twice.
            let twice = if connections == "-x1" { 0 } else { 1 << 20 };
            let missing = content.len() - held;
            let came = missing..=missing + twice;
            assert!(came.contains(&moved(&ended)), "{protocol} {connections}: {came:?}\n{}", ended.story());
        }
    }
    // Several files begin on one HTTP/2 connection.
    let other = Content::random(19, 6 << 20);
    nginx.put("other.bin", &other);
    let world = World::new();
    let again =
        || download(&world, &nginx.tls_url("/file.bin")).arg(nginx.tls_url("/other.bin")).arg("--cacert").arg(&cacert);
    let running = again().args(["--limit-rate", "4M"]).start();
    for name in ["file.bin.partial.toml", "other.bin.partial.toml"] {
        crate::world::eventually("a record", || on_record(&world.path(name)).filter(|held| *held > 1 << 18));
    }
    running.kill().died_of(Signal::KILL);
    again().run().exits(0);
    same(&world.path("file.bin"), &content);
    same(&world.path("other.bin"), &other);
    world.holds_only(&["file.bin", "other.bin"]);
    assert!(nginx.log().contains("HTTP/2.0 20"), "no request over HTTP/2:\n{}", nginx.log());
}

#[test]
fn a_certificate_nobody_vouches_for() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    nginx.put("file.bin", &Content::random(1, 1000));
    let url = nginx.tls_url("/file.bin");
    let ended = download(&world, &url).args(["--retries", "1"]).run();
    assert_ne!(ended.code(), Some(0), "{}", ended.story());
    ended.says_any(&["certificate"]);
    world.holds_only(&[]);
    download(&world, &url).arg("--insecure").run().exits(0);
    world.finished("file.bin", &Content::random(1, 1000));
}

/// Folders of nginx that behave as real sites do.
#[test]
fn nginx_with_its_moods() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    let content = Content::random(18, 3 << 20);
    nginx.put("file.bin", &content);
    for folder in ["", "slow/", "limit1/", "limit2/", "norange/", "gz/", "noetag/", "redir/", "near/"] {
        let ended = download(&world, &nginx.url(&format!("/{folder}file.bin"))).arg("--overwrite").run();
        assert_eq!(ended.code(), Some(0), "/{folder}\n{}\n{}", ended.story(), nginx.log());
        world.finished("file.bin", &content);
    }
}

#[test]
fn dry_run_moves_nothing() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(1, 50 << 20));
    download(&world, &origin.url("/file.bin")).arg("--dry-run").run().exits(0);
    world.holds_only(&[]);
    assert!(origin.sent() < 8 << 20, "{}", origin.story());
}

#[test]
fn a_slow_server_is_given_time() {
    let world = World::new();
    let content = Content::random(19, 300_000);
    let origin = Origin::serving(&content);
    origin.when(always(), at_rate(200_000));
    download(&world, &origin.url("/file.bin")).run().exits(0);
    world.finished("file.bin", &content);
}
