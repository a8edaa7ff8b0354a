//! `onward upload` to `onward serve`, both as processes: every edge, killed, resumed, changed, refused.

use crate::faults::{Fate, Proxy};
use crate::nginx::Nginx;
use crate::world::{Content, Dice, Ended, Onward, Running, Signal, World, eventually, long, same};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const CHUNK: u64 = 1 << 20;
const MIB: u64 = 1 << 20;

/// A server process on a free port. Killed when dropped.
struct Served {
    child: Child,
    url: String,
    root: PathBuf,
}

impl Served {
    fn start(world: &World, more: &[&str]) -> Self {
        Self::at(world, "127.0.0.1:0", more)
    }

    fn at(world: &World, listen: &str, more: &[&str]) -> Self {
        let root = world.beside("served");
        std::fs::create_dir_all(&root).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_onward"));
        command.args(["serve", "--min-free", "1M", "--listen", listen]).args(more).arg(&root);
        command.env_clear().env("HOME", world.home()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "the server did not start: {url:?}");
        Self { child, url: url.trim_end().to_string(), root }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn address(&self) -> String {
        self.url.trim_start_matches("http://").split('/').next().unwrap().to_string()
    }

    #[track_caller]
    fn holds(&self, name: &str, content: &Content) {
        same(&self.root.join(name), content);
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn world(length: u64) -> (World, Content) {
    let world = World::new();
    let content = Content::random(length ^ 0x55, length);
    content.write_to(&world.path("big.bin"));
    (world, content)
}

fn upload(world: &World, url: &str, more: &[&str]) -> Onward {
    let args = ["upload", "--progress", "json", "--chunk-size", "1MiB", "big.bin", url];
    world.onward(args).args(more)
}

#[track_caller]
fn moved(ended: &Ended) -> u64 {
    ended.event("done")["moved"].as_u64().unwrap()
}

/// The bytes a run had moved by its last word.
fn moved_before(ended: &Ended) -> u64 {
    ended.events_called("progress").last().and_then(|event| event["run"].as_u64()).unwrap_or(0)
}

/// A run that has moved at least `bytes`.
fn under_way(world: &World, url: &str, rate: &str, bytes: u64) -> Running {
    let mut run = upload(world, url, &["--limit-rate", rate]).start();
    run.wait_for_progress(bytes);
    run
}

#[test]
fn edge_sizes() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 4_999_999] {
        let content = Content::random(length, length);
        content.write_to(&world.path("big.bin"));
        let name = format!("dir/{length} ü.bin");
        let ended = upload(&world, &served.url(&name.replace(' ', "%20")), &[]).run();
        ended.exits(0);
        served.holds(&name, &content);
        world.holds_only(&["big.bin"]);
        assert_eq!(moved(&ended), length);
        let verified = ended.event("verified");
        assert_eq!((verified["alg"].as_str(), verified["by"].as_str()), (Some("sha-256"), Some("server")));
    }
}

#[test]
fn a_large_file_leaves_at_once_and_is_verified() {
    let (world, content) = world(60 * MIB);
    let served = Served::start(&world, &[]);
    let ended = world.onward(["upload", "--progress", "json", "big.bin", &served.url("")]).run();
    ended.exits(0).stdout_is(&format!("{}\n", served.url("big.bin")));
    served.holds("big.bin", &content);
    assert_eq!(moved(&ended), 60 * MIB, "no byte is sent twice");
}

#[test]
fn killed_at_each_named_point_and_resumed() {
    let points = ["upload-key-saved", "upload-opened", "part-acknowledged", "part-acknowledged:4", "upload-closed"];
    for (turn, point) in points.into_iter().enumerate() {
        let (world, content) = world(6 * MIB);
        let served = Served::start(&world, &[]);
        upload(&world, &served.url("f"), &[]).crash_at(point).run().died_of(Signal::KILL);
        assert!(world.names().iter().any(|name| name.ends_with(".partial.toml")), "{point}: {:?}", world.names());
        let ended = match turn % 2 {
            0 => upload(&world, &served.url("f"), &[]).run(),
            _ => world.onward(["resume", "--progress", "json"]).run(),
        };
        ended.exits(0);
        served.holds("f", &content);
        world.holds_only(&["big.bin"]);
        let unfinished = std::fs::read_dir(served.root.join(".onward/uploads"));
        let begun = unfinished.map(|entries| entries.count()).unwrap_or(0);
        assert!(begun <= 2, "{point}: an orphan was left");
        let limit = match point {
            "part-acknowledged:4" => 3 * MIB,
            "upload-closed" => 0,
            _ => 6 * MIB,
        };
        assert!(moved(&ended) <= limit, "{point}: {} bytes were sent again", moved(&ended));
    }
}

/// A small file has no record in its first half second. A kill then costs that file once more, and what it left at the
/// server is gone when it expires.
#[test]
fn a_small_file_killed_before_its_record_is_harmless() {
    for point in ["upload-opened", "part-acknowledged"] {
        let (world, content) = world(900_000);
        let served = Served::start(&world, &["--expire", "2s"]);
        upload(&world, &served.url("f"), &[]).crash_at(point).run().died_of(Signal::KILL);
        let ended = upload(&world, &served.url("f"), &[]).run();
        ended.exits(0);
        assert!(moved(&ended) <= content.len(), "{}", ended.story());
        served.holds("f", &content);
        world.holds_only(&["big.bin"]);
        let uploads = served.root.join(".onward/uploads");
        eventually("the end of what the killed run left", || {
            (std::fs::read_dir(&uploads).unwrap().count() == 0).then_some(())
        });
    }
}

#[test]
fn killed_at_random_moments_under_a_rate_limit() {
    let (kills, size) = if long() { (20, 384 * MIB) } else { (4, 96 * MIB) };
    let (world, content) = world(size);
    let served = Served::start(&world, &[]);
    let proxy = Proxy::before(served.address().parse().unwrap());
    let url = proxy.url("/f");
    let mut dice = Dice::new(20);
    let mut there = 0;
    for nth in 0..kills {
        let mut run = upload(&world, &url, &["--limit-rate", "16M"]).start();
        let first = run.wait_for("progress");
        let from = first["done"].as_u64().unwrap() - first["run"].as_u64().unwrap();
        // A kill costs a second, and what the sockets between the two hold.
        assert!(from + 20 * MIB >= there, "{there} were there, and it went on from {from}");
        // Some live long enough for that to mean much.
        let (low, high) = if nth % 2 == 0 { (1500, 2000) } else { (50, 500) };
        std::thread::sleep(std::time::Duration::from_millis(dice.between(low, high)));
        assert!(!run.has_ended(), "the upload was complete too early for this test");
        let killed = run.kill();
        there = killed.event("progress")["done"].as_u64().unwrap();
    }
    assert!(there > 24 * MIB, "{kills} runs came no further than {there}");
    upload(&world, &url, &[]).run().exits(0);
    served.holds("f", &content);
    world.holds_only(&["big.bin"]);
    // What the proxy took is an upper bound of what was moved; requests' heads are in it too.
    let (up, most) = (proxy.up(), size + kills * (16 * MIB + 4 * MIB));
    assert!(up <= most, "{up} bytes for {size} and {kills} kills");
    crate::world::tell(&format!("{kills} kills: {:.3} times the size moved", up as f64 / size as f64));
}

#[test]
fn a_killed_run_resends_no_more_than_a_second() {
    let (world, _) = world(48 * MIB);
    let served = Served::start(&world, &[]);
    let run = under_way(&world, &served.url("f"), "16M", 24 * MIB);
    let before = moved_before(&run.kill());
    let ended = upload(&world, &served.url("f"), &[]).run();
    ended.exits(0);
    let resumed = ended.event("resumed");
    assert!(resumed["offset"].as_u64().unwrap() > 8 * MIB, "{resumed}");
    assert!(before + moved(&ended) <= (48 + 16) * MIB, "{before} and {} bytes", moved(&ended));
}

#[test]
fn a_signal_commits_and_the_next_run_goes_on() {
    let (world, content) = world(24 * MIB);
    let served = Served::start(&world, &[]);
    let run = under_way(&world, &served.url("f"), "8M", 8 * MIB);
    let asked = std::time::Instant::now();
    run.signal(Signal::INT);
    let ended = run.wait();
    ended.died_of(Signal::INT);
    assert!(asked.elapsed() < std::time::Duration::from_secs(2), "{:?}", asked.elapsed());
    let told = ended.event("failed");
    assert!(told["kept"].as_str().is_some_and(|kept| kept.contains("of 24 chunks")), "{told}");
    let ended = world.onward(["resume", "big.bin", "--progress", "json"]).run();
    ended.exits(0);
    served.holds("f", &content);
    assert!(moved(&ended) <= 20 * MIB, "{}", moved(&ended));
    world.holds_only(&["big.bin"]);
}

#[test]
fn the_server_killed_under_the_upload_loses_no_acknowledged_byte() {
    let (world, content) = world(24 * MIB);
    let served = Served::start(&world, &[]);
    let (url, address) = (served.url("f"), served.address());
    let mut run = under_way(&world, &url, "8M", 8 * MIB);
    served.kill();
    run.wait_for("retry");
    let served = Served::at(&world, &address, &[]);
    let ended = run.wait();
    ended.exits(0);
    served.holds("f", &content);
    assert!(moved(&ended) <= 24 * MIB + 10 * MIB, "{}", moved(&ended));
    assert!(ended.events_called("restarted").is_empty());
}

#[test]
fn a_source_that_changes_meanwhile_is_never_mixed() {
    let (world, content) = world(16 * MIB);
    let served = Served::start(&world, &[]);
    let run = under_way(&world, &served.url("f"), "8M", 6 * MIB);
    let changed = content.flipped(MIB + 5);
    let file = std::fs::OpenOptions::new().write(true).open(world.path("big.bin")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &changed.part(MIB + 5, MIB + 6), MIB + 5).unwrap();
    drop(file);
    let ended = run.wait();
    ended.exits(0).says("changed while it was being sent");
    served.holds("f", &changed);
    assert!(moved(&ended) <= 16 * MIB + 8 * MIB, "{}", moved(&ended));
}

#[test]
fn a_source_that_changed_between_two_runs_sends_only_what_changed() {
    let (world, content) = world(12 * MIB);
    let served = Served::start(&world, &[]);
    let before = moved_before(&under_way(&world, &served.url("f"), "8M", 8 * MIB).kill());
    let changed = content.flipped(MIB + 5);
    changed.write_to(&world.path("big.bin"));
    let ended = upload(&world, &served.url("f"), &[]).run();
    ended.exits(0);
    served.holds("f", &changed);
    assert!(before + moved(&ended) <= (12 + 8 + 1) * MIB, "{before} and {}", moved(&ended));
}

#[test]
fn a_source_of_another_length_is_a_new_upload() {
    let (world, _) = world(8 * MIB);
    let served = Served::start(&world, &[]);
    under_way(&world, &served.url("f"), "8M", 4 * MIB).kill();
    let longer = Content::random(9, 9 * MIB);
    longer.write_to(&world.path("big.bin"));
    let ended = upload(&world, &served.url("f"), &[]).run();
    ended.exits(0);
    assert_eq!(ended.events_called("restarted").len(), 1);
    served.holds("f", &longer);
    world.holds_only(&["big.bin"]);
}

#[test]
fn a_source_that_grows_under_the_upload_stops_it() {
    let (world, _) = world(8 * MIB);
    let served = Served::start(&world, &[]);
    let run = under_way(&world, &served.url("f"), "4M", 2 * MIB);
    let file = std::fs::OpenOptions::new().append(true).open(world.path("big.bin")).unwrap();
    std::io::Write::write_all(&mut &file, b"more").unwrap();
    run.wait().exits(4).says("changed its length");
    assert!(!served.root.join("f").exists());
}

#[test]
fn content_that_is_there_is_not_sent_again() {
    let (world, content) = world(20 * MIB);
    let served = Served::start(&world, &[]);
    upload(&world, &served.url("f"), &[]).run().exits(0);
    let again = upload(&world, &served.url("f"), &[]).run();
    again.exits(0);
    assert_eq!((moved(&again), again.event("done")["already"].as_u64()), (0, Some(20 * MIB)));
    assert_eq!(again.event("verified")["alg"], "sha-256");
    served.holds("f", &content);
    world.holds_only(&["big.bin"]);
}

#[test]
fn the_digest_asked_for_is_compared_with_the_servers() {
    use onward::digest::Algorithm;
    let (world, content) = world(12 * MIB);
    let served = Served::start(&world, &[]);
    for (name, algorithm) in [("crc64", Algorithm::Crc64Nvme), ("md5", Algorithm::Md5), ("sha-256", Algorithm::Sha256)]
    {
        let ended = upload(&world, &served.url(name), &["--digest", name]).run();
        ended.exits(0);
        let verified = ended.event("verified");
        assert_eq!(verified["alg"], algorithm.name(), "{}", ended.story());
        assert_eq!((&verified["by"], &verified["digest"]), (&"server".into(), &content.digest(algorithm).into()));
        served.holds(name, &content);
    }
    upload(&world, &served.url("f"), &["--digest", "sha-1"]).run().exits(2);
    world.holds_only(&["big.bin"]);
}

#[test]
fn a_name_that_is_taken_by_other_content() {
    let (world, content) = world(3 * MIB);
    let served = Served::start(&world, &["--allow-overwrite"]);
    std::fs::write(served.root.join("f"), "other").unwrap();
    let refused = upload(&world, &served.url("f"), &[]).run();
    refused.exits(8).says("--overwrite");
    assert_eq!(moved_before(&refused), 0);
    let kept = upload(&world, &served.url("f"), &["--no-clobber"]).run();
    kept.exits(0).says("left alone");
    assert_eq!(std::fs::read(served.root.join("f")).unwrap(), b"other");
    world.holds_only(&["big.bin"]);
    upload(&world, &served.url("f"), &["--overwrite"]).run().exits(0);
    served.holds("f", &content);
}

#[test]
fn an_upload_begun_without_overwrite_goes_on_with_it() {
    let (world, content) = world(6 * MIB);
    let served = Served::start(&world, &["--allow-overwrite"]);
    upload(&world, &served.url("f"), &[]).crash_at("part-acknowledged:4").run().died_of(Signal::KILL);
    std::fs::write(served.root.join("f"), "other").unwrap();
    upload(&world, &served.url("f"), &["--overwrite"]).run().exits(0);
    served.holds("f", &content);
}

#[test]
fn two_processes_at_one_upload() {
    let (world, content) = world(8 * MIB);
    let served = Served::start(&world, &[]);
    let run = under_way(&world, &served.url("f"), "4M", 2 * MIB);
    let second = upload(&world, &served.url("f"), &[]).run();
    second.exits(9).says(&run.pid().to_string());
    upload(&world, &served.url("elsewhere"), &[]).run().exits(0);
    run.wait().exits(0);
    served.holds("f", &content);
    served.holds("elsewhere", &content);
}

#[test]
fn a_fresh_machine_goes_on_where_a_dead_one_stopped() {
    let (world, content) = world(7 * MIB);
    let served = Served::start(&world, &[]);
    let before = moved_before(&under_way(&world, &served.url("f"), "4M", 4 * MIB).kill());
    // Another folder without the record is another machine.
    let other = World::new();
    content.write_to(&other.path("big.bin"));
    let ended = upload(&other, &served.url("f"), &["-v"]).run();
    ended.exits(0);
    served.holds("f", &content);
    assert!(before + moved(&ended) < 13 * MIB, "{before} and {} bytes\n{}", moved(&ended), ended.story());
}

#[test]
fn an_identity_that_comes_late_is_joined_too() {
    // Too large to be hashed before its first byte leaves; the line is slow enough to hash beside.
    let (world, content) = world(30 * MIB);
    let served = Served::start(&world, &[]);
    let before = moved_before(&under_way(&world, &served.url("f"), "6M", 18 * MIB).kill());
    let other = World::new();
    content.write_to(&other.path("big.bin"));
    let ended = upload(&other, &served.url("f"), &["-v", "--limit-rate", "6M"]).run();
    ended.exits(0);
    served.holds("f", &content);
    assert!(before + moved(&ended) < (30 + 16) * MIB, "{before} and {} bytes\n{}", moved(&ended), ended.story());
    assert_eq!(ended.event("verified")["alg"], "sha-256");
}

#[test]
fn out_of_time_is_not_finished_and_goes_on() {
    let (world, content) = world(16 * MIB);
    let served = Served::start(&world, &[]);
    let ended = upload(&world, &served.url("f"), &["--limit-rate", "6M", "--max-time", "1s"]).run();
    ended.exits(3).says("--max-time");
    let ended = upload(&world, &served.url("f"), &[]).run();
    ended.exits(0);
    assert!(moved(&ended) <= 14 * MIB, "{}", moved(&ended));
    served.holds("f", &content);
}

#[test]
fn without_any_place_for_a_record_it_still_arrives_and_says_so() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let (name, content) = ("n".repeat(240), Content::random(4, 3 * MIB));
    content.write_to(&world.path(&name));
    let ended = world.onward(["upload", &name, &served.url("f")]).without_env("HOME").run();
    ended.exits(0).says("no record is kept");
    served.holds("f", &content);
}

#[test]
fn through_a_reverse_proxy_with_a_small_limit_and_tls() {
    let (world, content) = world(20 * MIB);
    let served = Served::start(&world, &["--base-path", "/box/"]);
    let Some(nginx) = Nginx::before(&world, "/box/", &served.address()) else { return };
    let cacert = nginx.cacert();
    let through = |url: String, more: &[&str]| {
        let args = ["upload", "--progress", "json", "-v", "big.bin", &url, "--cacert", cacert.to_str().unwrap()];
        world.onward(args).args(more)
    };
    let plain = through(nginx.url("/box/f"), &[]).run();
    plain.exits(0).says("takes no pieces of").stdout_is(&format!("{}\n", nginx.url("/box/f")));
    served.holds("f", &content);
    // Another content, or the server would know it again.
    let content = content.flipped(3);
    content.write_to(&world.path("big.bin"));
    let mut run = through(nginx.tls_url("/box/g"), &["--limit-rate", "8M"]).start();
    run.wait_for_progress(10 * MIB);
    let before = moved_before(&run.kill());
    let ended = through(nginx.tls_url("/box/g"), &[]).run();
    ended.exits(0);
    served.holds("g", &content);
    assert!(before + moved(&ended) <= (20 + 8 + 3) * MIB, "{before} and {}", moved(&ended));
    world.holds_only(&["big.bin"]);
}

#[test]
fn connections_that_are_cut_reset_and_fall_silent() {
    let (world, content) = world(12 * MIB);
    let served = Served::start(&world, &[]);
    let proxy = Proxy::before(served.address().parse().unwrap());
    proxy.next([
        Fate::cut_upload_after(700_000),
        Fate::reset_upload_after(1_500_000),
        Fate::stall_upload_after(600_000),
        // An answer is lost.
        Fate::cut_after(500),
        Fate::reset_after(300),
        Fate::fine(),
    ]);
    let ended = upload(&world, &proxy.url("/f"), &["--stall-timeout", "1s"]).run();
    ended.exits(0);
    served.holds("f", &content);
    world.holds_only(&["big.bin"]);
    assert!(proxy.up() <= 12 * MIB + 6 * MIB, "{} bytes\n{}", proxy.up(), ended.story());
    assert!(ended.events_called("retry").len() >= 2, "{}", ended.story());
    assert!(ended.events_called("restarted").is_empty());
}

#[test]
fn many_small_files() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let names: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    for (n, name) in names.iter().enumerate() {
        Content::random(n as u64, 4096).write_to(&world.path(name));
    }
    let ended = world.onward(["upload"]).args(&names).arg(served.url("many/")).run();
    ended.exits(0);
    for (n, name) in names.iter().enumerate() {
        served.holds(&format!("many/{name}"), &Content::random(n as u64, 4096));
    }
    assert_eq!(world.names(), names, "nothing is left beside them");
}

#[test]
fn tokens_base_paths_and_dead_ends() {
    let (world, content) = world(MIB);
    std::fs::write(world.beside("tokens"), "me:secret-token-1\n").unwrap();
    let tokens = world.beside("tokens");
    let served = Served::start(&world, &["--token-file", tokens.to_str().unwrap(), "--base-path", "/in/box/"]);
    let url = served.url("f");
    assert!(url.contains("/in/box/f"), "{url}");
    upload(&world, &url, &[]).run().exits(6);
    let wrong = upload(&world, &url, &[]).env("ONWARD_TOKEN", "secret-wrong").run();
    wrong.exits(6).never_says("secret-wrong");
    world.holds_only(&["big.bin"]);
    let ended = upload(&world, &url, &[]).env("ONWARD_TOKEN", "secret-token-1").run();
    ended.exits(0).never_says("secret-token-1");
    served.holds("f", &content);
    let nobody = upload(&world, "http://127.0.0.1:1/f", &["--retries", "0"]).run();
    nobody.exits(3);
    world.holds_only(&["big.bin"]);
}

#[test]
fn several_files_and_what_is_no_file() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    for (name, length) in [("a", 10), ("b c", 3 * MIB), ("d", 0)] {
        Content::random(length, length).write_to(&world.path(name));
    }
    world.write("x.partial", "not ours to send");
    std::fs::create_dir(world.path("folder")).unwrap();
    let url = served.url("to/");
    let ended = world.onward(["upload", "a", "missing", "b c", "folder", "x.partial", "d", &url]).run();
    ended.says("folder is a folder").says("x.partial is skipped").says("missing");
    assert_ne!(ended.code(), Some(0));
    for (name, length) in [("a", 10), ("b c", 3 * MIB), ("d", 0)] {
        served.holds(&format!("to/{name}"), &Content::random(length, length));
    }
    let lines = String::from_utf8_lossy(&ended.stdout).lines().count();
    assert_eq!(lines, 3, "one line for each file that is there");
    world.onward(["upload", "-", &served.url("pipe")]).run().exits(2).says("pipe");
    world.onward(["upload", "a", "b c"]).run().exits(2);
}

#[test]
fn a_name_too_long_for_a_record_beside_it_keeps_it_in_the_state_folder() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let name = "n".repeat(240);
    let content = Content::random(4, 6 * MIB);
    content.write_to(&world.path(&name));
    let run = |more: &[&str]| world.onward(["upload", "--chunk-size", "1MiB", &name, &served.url("f")]).args(more);
    run(&[]).crash_at("part-acknowledged:4").run().died_of(Signal::KILL);
    assert_eq!(world.names(), std::slice::from_ref(&name));
    let ended = run(&["--progress", "json"]).run();
    ended.exits(0);
    assert!(moved(&ended) <= 3 * MIB, "{}", moved(&ended));
    served.holds("f", &content);
    let state = world.home().join(".local/state/onward");
    eventually("the state folder is empty again", || {
        let mut left =
            std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        (!left.any(|name| name.contains(".partial"))).then_some(())
    });
}

#[test]
fn cancel_makes_the_server_forget() {
    let (world, _) = world(8 * MIB);
    let served = Served::start(&world, &[]);
    under_way(&world, &served.url("f"), "4M", 2 * MIB).kill();
    world.onward(["cancel", "big.bin"]).run().exits(0);
    world.holds_only(&["big.bin"]);
    let left = std::fs::read_dir(served.root.join(".onward/uploads")).unwrap().count();
    assert_eq!(left, 0, "the server still keeps it");
}

#[test]
fn an_edited_record_sends_nothing_elsewhere_and_breaks_nothing() {
    let (world, content) = world(6 * MIB);
    let served = Served::start(&world, &[]);
    for (turn, edit) in [
        |text: String| text.replace("kind = \"upload\"", "kind = \"download\""),
        |text: String| text[..text.len() / 2].to_string(),
        |_| "rubbish".to_string(),
        |text: String| text.replace("done = \"0", "done = \"3-5,0"),
        |text: String| text.replace("key = \"", "key = \"0"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = served.url(&format!("f{turn}"));
        // The server would know again what it was given before.
        let content = content.flipped(turn as u64);
        content.write_to(&world.path("big.bin"));
        upload(&world, &url, &[]).crash_at("part-acknowledged:4").run().died_of(Signal::KILL);
        let sidecar = world.names().into_iter().find(|name| name.ends_with(".partial.toml")).unwrap();
        let text = edit(world.text(&sidecar));
        std::fs::write(world.path(&sidecar), text).unwrap();
        let ended = upload(&world, &url, &[]).run();
        ended.exits(0);
        served.holds(&format!("f{turn}"), &content);
        world.holds_only(&["big.bin"]);
    }
}
