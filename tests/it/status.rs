//! `status`, `resume`, `cancel` and `demo`: what works on records alone.

use crate::origin::{Origin, Page, always, at_rate};
use crate::world::{Content, World};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Leaves `name` half downloaded: a run that is killed.
fn half(world: &World, origin: &Origin, name: &str) {
    let url = origin.url(&format!("/{name}"));
    let mut run = world.onward(["download", "--progress", "json", "--limit-rate", "3M", &url]).start();
    run.wait_for_progress(3 * MIB);
    // The record is written about once a second.
    while !world.exists(&format!("{name}.partial.toml")) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    run.kill();
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn status_lists_what_is_unfinished_and_asks_nobody() {
    let world = World::new();
    world.onward(["status"]).run().exits(0).stdout_is("").says("nothing is unfinished here");
    let origin = Origin::serving(&Content::random(1, 8 * MIB));
    half(&world, &origin, "file.bin");
    origin.forget_log();
    let table = world.onward(["status"]).run();
    table.exits(0);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("FILE") && lines[0].ends_with("REMOTE") && lines.len() == 2, "{text}");
    for word in ["file.bin", " %", "8.00 MiB", "download", "stopped", &origin.url("/file.bin")] {
        assert!(lines[1].contains(word), "{word}: {text}");
    }
    let json = world.onward(["status", "--json", "file.bin"]).run();
    let object: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&object["v"], &object["direction"], &object["total"]),
        (&1.into(), &"download".into(), &(8 * MIB).into())
    );
    assert_eq!(object["owner"]["alive"], false, "{object}");
    assert!(object["done"].as_u64().unwrap() > 0, "{object}");
    assert!(origin.asked().is_empty());
    world.onward(["status", "no-such-file"]).run().exits(8).says("no-such-file is not there");
}

#[test]
fn status_sees_who_is_at_it_and_takes_no_lock() {
    let world = World::new();
    let content = Content::random(2, 8 * MIB);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let mut run = world.onward(["download", "--progress", "json", "--limit-rate", "2M", &url]).start();
    run.wait_for_progress(4 * MIB);
    let pid = run.pid();
    let status = world.onward(["status"]).run();
    status.exits(0);
    assert!(String::from_utf8_lossy(&status.stdout).contains(&format!("running, pid {pid}")), "{}", status.story());
    let second = world.onward(["resume"]).run();
    second.exits(9).says(&pid.to_string());
    run.wait().exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn resume_with_nothing_to_do_is_done() {
    let world = World::new();
    world.onward(["resume"]).run().exits(0).says("nothing is unfinished");
    world.onward(["resume", "-q"]).run().exits(0).never_says("nothing");
    world.write("whole", "x");
    world.onward(["resume", "whole"]).run().exits(0);
    world.onward(["resume", "missing"]).run().exits(8);
    let json = world.onward(["resume", "--progress", "json"]).run();
    assert_eq!(json.exits(0).event("summary")["done"], 0);
}

#[test]
fn resume_finishes_by_any_of_its_names() {
    let content = Content::random(3, 8 * MIB);
    let origin = Origin::serving(&content);
    for path in [None, Some("file.bin"), Some("file.bin.partial"), Some("file.bin.partial.toml"), Some(".")] {
        let world = World::new();
        half(&world, &origin, "file.bin");
        let ended = world.onward(["resume", "--progress", "json"]).args(path).run();
        ended.exits(0);
        let done = ended.event("done");
        assert!(done["already"].as_u64().unwrap() >= MIB && done["moved"].as_u64().unwrap() < 7 * MIB, "{done}");
        world.finished("file.bin", &content);
    }
}

#[test]
fn resume_descends_only_when_asked() {
    let world = World::new();
    let content = Content::random(4, 8 * MIB);
    let origin = Origin::serving(&content);
    half(&world, &origin, "file.bin");
    std::fs::create_dir(world.path("below")).unwrap();
    for suffix in [".partial", ".partial.toml"] {
        let name = format!("file.bin{suffix}");
        std::fs::rename(world.path(&name), world.path(&format!("below/{name}"))).unwrap();
    }
    world.onward(["resume"]).run().exits(0).says("nothing is unfinished");
    world.onward(["resume", "-r"]).run().exits(0);
    world.finished("below/file.bin", &content);
}

#[test]
fn a_planted_record_is_not_followed() {
    let world = World::new();
    let content = Content::random(5, 8 * MIB);
    let origin = Origin::serving(&content);
    half(&world, &origin, "file.bin");
    origin.forget_log();
    let sidecar = world.path("file.bin.partial.toml");
    set_mode(&sidecar, 0o644);
    let ended = world.onward(["resume"]).run();
    ended.exits(8).says("may be somebody else's").says(&origin.url("/file.bin")).says("--trust");
    assert!(origin.asked().is_empty(), "it was followed");
    world.onward(["resume", "--trust", "file.bin.partial.toml"]).run().exits(0);
    world.finished("file.bin", &content);
}

#[test]
fn a_record_that_speaks_of_another_file_is_never_followed() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(6, 8 * MIB));
    half(&world, &origin, "file.bin");
    origin.forget_log();
    let sidecar = world.path("file.bin.partial.toml");
    let text = world.text("file.bin.partial.toml");
    for other in ["../escaped", "/tmp/escaped", "other"] {
        std::fs::write(&sidecar, text.replace("file = \"file.bin\"", &format!("file = \"{other}\""))).unwrap();
        set_mode(&sidecar, 0o600);
        world.onward(["resume", "--trust", "file.bin"]).run().exits(8).says("is not followed");
    }
    assert!(origin.asked().is_empty());
    assert_eq!(world.names(), ["file.bin.partial", "file.bin.partial.toml"]);
}

#[test]
fn damaged_and_newer_records_are_named_and_nothing_is_lost() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(7, 8 * MIB));
    half(&world, &origin, "file.bin");
    let (text, data) = (world.text("file.bin.partial.toml"), world.read("file.bin.partial"));
    let sidecar = world.path("file.bin.partial.toml");
    for (bad, word) in [
        ("rubbish".to_string(), "damaged"),
        // Cut inside a line: a record that ends with a whole one may still say something true.
        (text[..text.find("chunk_size").unwrap() + 5].to_string(), "damaged"),
        (text.replace("version = 1", "version = 99"), "version 99"),
    ] {
        std::fs::write(&sidecar, bad).unwrap();
        world.onward(["resume"]).run().exits(8).says(word);
        let status = world.onward(["status"]).run();
        status.exits(0);
        assert!(String::from_utf8_lossy(&status.stdout).contains(word), "{}", status.story());
        assert!(world.read("file.bin.partial") == data, "the data was touched");
    }
}

#[test]
fn what_the_record_cannot_hold_is_asked_for_again() {
    let world = World::new();
    let content = Content::random(8, 8 * MIB);
    let origin = Origin::start();
    origin.page("/f", Page::of(&content));
    let url = origin.url("/f");
    let args = ["download", "--progress", "json", "--limit-rate", "3M", "-H", "X-Key: hush", &url];
    let mut run = world.onward(args).start();
    run.wait_for_progress(4 * MIB);
    crate::download::recorded(&world.path("f.partial.toml"));
    run.kill();
    assert!(!world.text("f.partial.toml").contains("hush"));
    world.onward(["resume"]).run().exits(6).says("header:x-key").says("-H");
    world.onward(["resume", "-H", "X-Key: hush"]).run().exits(0);
    world.finished("f", &content);
}

#[test]
fn cancel_forgets_a_download_and_spares_the_rest() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(9, 8 * MIB));
    half(&world, &origin, "file.bin");
    world.write("other", "x");
    world.onward(["cancel", "file.bin"]).run().exits(0).says("forgotten: file.bin");
    world.holds_only(&["other"]);
    world.onward(["cancel", "file.bin"]).run().exits(8);
    world.onward(["cancel", "other"]).run().exits(0).says("nothing is unfinished");
    world.holds_only(&["other"]);
}

#[test]
fn cancel_does_not_take_what_somebody_is_at() {
    let world = World::new();
    let content = Content::random(10, 6 * MIB);
    let origin = Origin::serving(&content);
    origin.when(always(), at_rate(2 * MIB));
    let mut run = world.onward(["download", "--progress", "json", &origin.url("/file.bin")]).start();
    run.wait_for_progress(3 * MIB);
    world.onward(["cancel", "file.bin"]).run().exits(9);
    run.wait().exits(0);
    world.finished("file.bin", &content);
}

/// A server of ours on a free port, and the URL it says.
fn serve(world: &World) -> (std::process::Child, String) {
    use std::io::BufRead;
    std::fs::create_dir_all(world.beside("served")).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_onward"))
        .args(["serve", "--listen", "127.0.0.1:0", "--min-free", "0"])
        .arg(world.beside("served"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (child, url.trim().trim_end_matches('/').to_string())
}

struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_upload_is_listed_resumed_and_cancelled() {
    let world = World::new();
    let content = Content::random(11, 32 * MIB);
    content.write_to(&world.path("src"));
    let (child, base) = serve(&world);
    let _server = Server(child);
    let half = |to: &str| {
        let url = format!("{base}/{to}");
        let mut run = world.onward(["upload", "--progress", "json", "--limit-rate", "16M", "src", &url]).start();
        run.wait_for_progress(12 * MIB);
        run.kill();
        url
    };
    let (one, two, three) = (half("one"), half("two"), half("three"));
    let received = world.onward(["status"]).arg(world.beside("served")).run();
    let listed = String::from_utf8_lossy(&received.exits(0).stdout).matches(" receive ").count();
    assert_eq!(listed, 3, "{}", received.story());
    let received = world.onward(["status", "--json"]).arg(world.beside("served")).run();
    let lines = String::from_utf8_lossy(&received.stdout).into_owned();
    let mut names: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["file"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["one", "three", "two"]);
    world.onward(["resume"]).arg(world.beside("served")).run().exits(0).says("they go on with it");
    let status = world.onward(["status", "--json", "src"]).run();
    let remotes: Vec<Value> = String::from_utf8_lossy(&status.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["remote"].clone())
        .collect();
    assert_eq!(remotes.len(), 3, "{remotes:?}");
    world.onward(["cancel", "src", "--to", &two]).run().exits(0).says("forgotten: src");
    let ended = world.onward(["resume", "--progress", "json", "src", "--to", &one]).run();
    ended.exits(0).stdout_is(&format!("{one}\n"));
    assert!(ended.event("done")["already"].as_u64().unwrap() >= 8 * MIB, "{}", ended.story());
    crate::world::same(&world.beside("served").join("one"), &content);
    world.onward(["resume"]).run().exits(0).stdout_is(&format!("{three}\n"));
    crate::world::same(&world.beside("served").join("three"), &content);
    assert!(!world.beside("served").join("two").exists());
    world.holds_only(&["src"]);
}

#[test]
fn what_was_parked_is_forgotten_with_its_transfer() {
    let world = World::new();
    let content = Content::random(21, 8 * MIB);
    let origin = Origin::serving(&content);
    // Data without a record is parked by the next start; this one is stopped before it has more.
    world.write("file.bin.partial", vec![7; 8 << 20]);
    half(&world, &origin, "file.bin");
    assert!(world.exists("file.bin.old.partial"), "{:?}", world.names());
    world.onward(["cancel", "file.bin"]).run().exits(0).says("file.bin.old.partial").says("forgotten");
    world.holds_only(&[]);

    // The same name with a record beside it is the data of another download, of a file called file.bin.old.
    half(&world, &origin, "file.bin");
    world.write("file.bin.old.partial", "other");
    world.write("file.bin.old.partial.toml", "other");
    world.onward(["cancel", "file.bin"]).run().exits(0);
    world.holds_only(&["file.bin.old.partial", "file.bin.old.partial.toml"]);
}

#[test]
fn a_mixed_folder_is_finished_in_one_go() {
    let world = World::new();
    let (down, up) = (Content::random(12, 8 * MIB), Content::random(13, 24 * MIB));
    let origin = Origin::serving(&down);
    half(&world, &origin, "file.bin");
    up.write_to(&world.path("src"));
    let (child, base) = serve(&world);
    let _server = Server(child);
    let url = format!("{base}/in");
    let mut run = world.onward(["upload", "--progress", "json", "--limit-rate", "16M", "src", &url]).start();
    run.wait_for_progress(10 * MIB);
    run.kill();
    let ended = world.onward(["resume", "--progress", "json"]).run();
    ended.exits(0);
    let ids: Vec<u64> = ended.events_called("done").iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [0, 1], "{}", ended.story());
    world.finished("file.bin", &down);
    crate::world::same(&world.beside("served").join("in"), &up);
}

#[test]
fn the_demonstration_works_with_next_to_nothing() {
    let world = World::new();
    // No HOME, no certificates, nothing but a place for temporary files.
    let ended = world
        .onward(["demo", "--size", "24M"])
        .without_env("HOME")
        .env("TMPDIR", world.dir())
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .run();
    ended.exits(0);
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(text.contains("It works") && text.matches("killed at ").count() == 2, "{}", ended.story());
    world.holds_only(&[]);
}

#[test]
fn a_demonstration_that_is_stopped_leaves_nothing() {
    let world = World::new();
    let run = world.onward(["demo", "--size", "64M"]).env("TMPDIR", world.dir()).start();
    crate::world::eventually("an upload", || {
        let folder = std::fs::read_dir(world.dir()).unwrap().flatten().next()?.path();
        std::fs::read_dir(folder).unwrap().flatten().find(|e| e.path().to_string_lossy().ends_with(".toml"))
    });
    run.signal(rustix::process::Signal::TERM);
    run.wait().died_of(rustix::process::Signal::TERM).says("stopped");
    world.holds_only(&[]);
}

#[test]
fn a_password_that_somebody_wrote_into_a_record_is_not_shown() {
    let world = World::new();
    let content = Content::random(22, 8 * MIB);
    let origin = Origin::serving(&content);
    half(&world, &origin, "file.bin");
    let text = world.text("file.bin.partial.toml").replace("http://", "http://me:hunter2@");
    world.write("file.bin.partial.toml", text);
    for args in [&["status"][..], &["status", "--json"]] {
        let ended = world.onward(args).run();
        ended.exits(0).never_says("hunter2");
        assert!(String::from_utf8_lossy(&ended.stdout).contains("file.bin"), "{}", ended.story());
    }
    set_mode(&world.path("file.bin.partial.toml"), 0o644);
    world.onward(["resume"]).run().exits(8).says("it would have us").never_says("hunter2");
}

#[test]
fn the_demonstration_finds_a_place_where_the_usual_one_cannot_be_written() {
    let ended = World::new().onward(["demo", "--size", "8M"]).env("TMPDIR", "/proc/self").run();
    ended.exits(0).says("/dev/shm/");
}
