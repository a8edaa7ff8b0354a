//! What a run says: JSON lines, plain lines, results on stdout, and bars on a real terminal.

use crate::origin::{Origin, Page, always, at, at_rate, first, redirect, status};
use crate::world::{Content, World, eventually, skip};
use serde_json::Value;
use std::process::Command;

const MIB: u64 = 1 << 20;

/// Every line is an object of the documented form, and the last is the summary.
fn check_lines(events: &[Value]) {
    let files = ["start", "resumed", "redirect", "hashing", "progress", "retry", "restarted", "verified"];
    for event in events {
        assert_eq!(event["v"], 1, "{event}");
        let time = event["time"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok() && time.len() == "2026-11-22T01:42:59.123Z".len(), "{event}");
        if files.contains(&event["event"].as_str().unwrap()) {
            assert!(event["id"].is_u64() && event["file"].is_string(), "{event}");
        }
    }
    let summaries = events.iter().filter(|event| event["event"] == "summary").count();
    assert_eq!((summaries, &events.last().unwrap()["event"]), (1, &Value::from("summary")));
}

#[test]
fn json_lines_tell_the_whole_story() {
    let world = World::new();
    let content = Content::random(1, 3 * MIB);
    let origin = Origin::serving(&content);
    origin.page("/moved", Page::of(&content));
    origin.when(at("/moved"), redirect(302, "/file.bin?signature=hush"));
    let sum = format!("sha256:{}", content.digest(onward::digest::Algorithm::Sha256));
    let args = ["download", "--progress", "json", "--limit-rate", "3M", "--checksum", &sum];
    let url = origin.url("/moved");
    let ended = world.onward(args).args(["-o", "f", &url]).run();
    ended.exits(0).stdout_is("f\n").never_says("hush");
    let events = ended.events();
    check_lines(&events);
    let started = ended.event("start");
    assert_eq!(
        (&started["direction"], &started["remote"], &started["id"]),
        (&"download".into(), &url.into(), &0.into())
    );
    let redirected = ended.event("redirect");
    assert_eq!(redirected["status"], 302);
    let progress = ended.events_called("progress");
    assert!(!progress.is_empty() && progress.len() <= 15, "{} in about one second", progress.len());
    for event in &progress {
        for key in ["run", "done", "total", "rate", "connections"] {
            assert!(event[key].is_u64(), "{key}: {event}");
        }
    }
    let done: Vec<u64> = progress.iter().map(|event| event["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted(), "{done:?}");
    let verified = ended.event("verified");
    assert_eq!((&verified["alg"], &verified["by"]), (&"sha-256".into(), &"user".into()));
    let done = ended.event("done");
    assert_eq!((&done["path"], &done["already"]), (&"f".into(), &0.into()));
    // What was under way for a piece that another connection took over has moved too: never less than the file.
    let moved = done["moved"].as_u64().unwrap();
    assert!((3 * MIB..4 * MIB).contains(&moved), "{moved}");
    assert_eq!(ended.event("summary")["code"], 0);
}

#[test]
fn failures_and_warnings_are_json_too() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(2, 1000));
    let ended = world.onward(["download", "--progress", "json", &origin.url("/gone")]).run();
    ended.exits(7).stdout_is("");
    check_lines(&ended.events());
    let failed = ended.event("failed");
    assert_eq!(failed["code"], 7);
    assert!(failed["error"].is_string() && failed["hint"].is_string(), "{failed}");
    let summary = ended.event("summary");
    assert_eq!((&summary["failed"], &summary["done"], &summary["code"]), (&1.into(), &0.into(), &7.into()));
    for args in [&["download", "--progress", "json", "nonsense"][..], &["download", "--progress=json", "--nonsense"]] {
        let ended = world.onward(args).run();
        ended.exits(2);
        check_lines(&ended.events());
        assert_eq!(ended.event("failed")["code"], 2);
    }
}

#[test]
fn a_resumed_run_says_where_it_starts() {
    let world = World::new();
    let content = Content::random(3, 6 * MIB);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let mut run = world.onward(["download", "--progress", "json", "--limit-rate", "3M", &url]).start();
    run.wait_for_progress(4 * MIB);
    crate::download::recorded(&world.path("file.bin.partial.toml"));
    run.kill();
    let ended = world.onward(["download", "--progress", "plain", &url]).run();
    ended.exits(0).says("resumed at ").says(" of 6.00 MiB)").says("onward: file.bin: done: 6.00 MiB in ").says("moved");
}

#[test]
fn plain_lines_are_few() {
    let world = World::new();
    let content = Content::random(4, MIB);
    let origin = Origin::serving(&content);
    origin.when(first(), status(503, "Retry-After: 1"));
    let ended = world.onward(["download", &origin.url("/file.bin")]).run();
    ended.exits(0).stdout_is("file.bin\n");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with("onward: file.bin: ")), "{}", ended.story());
    assert!(lines.iter().any(|line| line.contains("again in 1s (try 1)")), "{}", ended.story());
    assert!(lines.len() <= 4, "a line at start, one for the retry, one at the end\n{}", ended.story());
    assert!(!ended.stderr.contains('\u{1b}') && !ended.stderr.contains('\r'), "{}", ended.story());
}

#[test]
fn ten_seconds_bring_a_line() {
    let world = World::new();
    let content = Content::random(5, 12 * MIB);
    let origin = Origin::serving(&content);
    origin.when(always(), at_rate(MIB));
    let mut run = world.onward(["download", "-x", "1", &origin.url("/file.bin")]).start();
    let line = run.wait_for_line(" %, ");
    assert!(line.contains(" of 12.0 MiB, ") && line.ends_with(" left"), "{line}");
    run.kill();
}

#[test]
fn quiet_is_quiet_and_failures_are_heard() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(6, 1000));
    let quiet = world.onward(["download", "-q", &origin.url("/file.bin")]).run();
    quiet.exits(0).stdout_is("file.bin\n");
    assert_eq!(quiet.stderr, "");
    world.onward(["download", "-q", &origin.url("/gone")]).run().exits(7).says("onward: ");
    let none = world.onward(["download", "--progress", "none", "--overwrite", &origin.url("/file.bin")]).run();
    assert_eq!(none.exits(0).stderr, "");
}

#[test]
fn names_from_the_network_cannot_steer_the_terminal() {
    let world = World::new();
    let content = Content::random(7, 100);
    let origin = Origin::start();
    let evil = "attachment; filename*=UTF-8''a%1b%5b2Jb%0d%e2%80%ae.bin";
    origin.page("/f", Page::of(&content).header("Content-Disposition", evil));
    let ended = world.onward(["download", &origin.url("/f")]).run();
    ended.exits(0).never_says("\u{1b}").never_says("\u{202e}").never_says("\r");
}

/// A terminal of its own, so that what a person sees can be read back.
struct Terminal(String);

impl Terminal {
    fn run(name: &str, width: u32, dir: &std::path::Path, script: &str) -> Option<Self> {
        let socket = format!("onward-test-{name}-{}", std::process::id());
        let size = ["-x", &width.to_string(), "-y", "24"].map(str::to_string);
        let started = Command::new("tmux")
            .args(["-L", &socket, "-f", "/dev/null", "new-session", "-d", "-s", "t"])
            .args(size)
            .arg(format!("{script}; sleep 60"))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("CI")
            .current_dir(dir)
            .output();
        match started {
            Ok(output) if output.status.success() => Some(Self(socket)),
            Ok(output) => {
                skip(&format!("tmux gives no terminal: {}", String::from_utf8_lossy(&output.stderr)));
                None
            }
            Err(error) => {
                skip(&format!("tmux is not there: {error}"));
                None
            }
        }
    }

    /// What is on the screen, with its colours where they are wanted.
    fn screen(&self, colours: bool) -> String {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.0, "capture-pane", "-p", "-t", "t"]).args(colours.then_some("-e"));
        String::from_utf8_lossy(&tmux.output().unwrap().stdout).into_owned()
    }

    fn wait_for(&self, text: &str) -> String {
        eventually(text, || Some(self.screen(false)).filter(|screen| screen.contains(text)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}

#[test]
fn on_a_terminal_there_is_a_bar_and_then_a_line() {
    for (width, bar) in [(40, true), (80, true), (200, true), (30, false)] {
        let world = World::new();
        let content = Content::random(8, 8 * MIB);
        let origin = Origin::serving(&content);
        let script =
            format!("'{}' download --limit-rate 3M '{}'", env!("CARGO_BIN_EXE_onward"), origin.url("/file.bin"));
        let name = format!("bar{width}");
        let Some(terminal) = Terminal::run(&name, width, &world.dir(), &script) else { return };
        let screen = terminal.wait_for("MiB/s");
        let line = screen.lines().find(|line| line.contains("MiB/s")).unwrap();
        assert!(line.starts_with("file.bin") && line.contains(" %"), "{screen}");
        assert_eq!(line.contains(['━', '─']), bar, "{screen}");
        let screen = terminal.wait_for("✓ file.bin");
        assert!(!screen.contains(['━', '─']) && screen.contains("8.00 MiB in "), "{screen}");
        assert_eq!(screen.matches("file.bin").count(), 1, "the result is said once\n{screen}");
        world.finished("file.bin", &content);
    }
}

#[test]
fn no_color_is_respected() {
    let world = World::new();
    let content = Content::random(9, 4 * MIB);
    let origin = Origin::serving(&content);
    for (name, set, coloured) in [("color", "", true), ("nocolor", "NO_COLOR=1", false)] {
        let script = format!(
            "env {set} '{}' download --overwrite --limit-rate 2M '{}'",
            env!("CARGO_BIN_EXE_onward"),
            origin.url("/file.bin")
        );
        let Some(terminal) = Terminal::run(name, 80, &world.dir(), &script) else { return };
        terminal.wait_for("━");
        assert_eq!(terminal.screen(true).contains("\u{1b}["), coloured, "{name}: {}", terminal.screen(true));
        terminal.wait_for("✓");
    }
}

#[test]
fn an_interruption_leaves_no_piece_of_a_bar() {
    let world = World::new();
    let origin = Origin::start();
    for name in ["/one", "/two"] {
        origin.page(name, Page::of(&Content::random(10, 16 * MIB)));
    }
    let script = format!(
        "trap : INT; '{}' download --limit-rate 4M '{}' '{}'",
        env!("CARGO_BIN_EXE_onward"),
        origin.url("/one"),
        origin.url("/two")
    );
    let Some(terminal) = Terminal::run("stop", 80, &world.dir(), &script) else { return };
    let screen = terminal.wait_for("0 of 2 files");
    for name in ["one ", "two ", "0 of 2 files"] {
        assert_eq!(screen.lines().filter(|line| line.starts_with(name)).count(), 1, "{screen}");
    }
    let keys = ["-L", &terminal.0, "send-keys", "-t", "t", "C-c"];
    assert!(Command::new("tmux").args(keys).status().unwrap().success());
    let screen = terminal.wait_for("2 files: 0 done, 2 not finished");
    assert!(!screen.contains(['━', '─']), "{screen}");
}
