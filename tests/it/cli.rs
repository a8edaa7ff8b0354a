//! The command line from outside: usage errors, exit codes, signals, streams that go away, and the settings' layers.

use crate::origin::{Origin, Page, always, at, cut_after, field, first, status};
use crate::world::{Content, World, eventually};
use rustix::process::Signal;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

#[test]
fn usage_errors_end_with_2_before_anything_moves() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(1, 1000));
    let url = origin.url("/file.bin");
    world.write("f", "x");
    for args in [
        &[][..],
        &["frobnicate"],
        &["download"],
        &["download", "--no-such-flag", &url],
        &["download", "-o", "a", &url, &url],
        &["download", "--overwrite", "--no-clobber", &url],
        &["download", "--checksum", "sha256:12", &url],
        &["download", "--limit-rate", "fast", &url],
        &["download", "not a url"],
        &["download", "ftp://example.org/f"],
        &["download", &url, &url],
        &["upload", "f", "not-a-url"],
        &["upload", "f"],
        &["upload", "d/f", "f", "http://127.0.0.1:9/"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--tls-cert", "c"],
        &["completions", "tcsh"],
    ] {
        world.onward(args).run().exits(2).stdout_is("");
    }
    assert_eq!(origin.asked().len(), 0, "{}", origin.story());
    world.holds_only(&["f"]);
    world.onward(["download", &url, &url]).run().says("would both be written to ./file.bin");
}

#[test]
fn usage_errors_are_json_wherever_json_is_asked_for() {
    let world = World::new();
    let config = world.home().join(".config/onward");
    std::fs::create_dir_all(&config).unwrap();
    let wrong = |args: &[&str]| world.onward(args.iter().copied().chain(["--no-such-flag"]));
    let is_json = |ended: crate::world::Ended| {
        ended.exits(2).stdout_is("");
        assert_eq!((&ended.event("failed")["code"], &ended.event("summary")["code"]), (&2.into(), &2.into()));
    };
    is_json(wrong(&["download", "http://h/f", "--progress", "json"]).run());
    is_json(wrong(&["download", "http://h/f", "--progress=json"]).run());
    is_json(wrong(&["download", "http://h/f"]).env("ONWARD_PROGRESS", "json").run());
    std::fs::write(config.join("config.toml"), "progress = \"json\"\n").unwrap();
    is_json(wrong(&["download", "http://h/f"]).run());
    for plain in [wrong(&["--progress=plain", "download"]), wrong(&["download"]).env("ONWARD_PROGRESS", "bars")] {
        plain.run().exits(2).says("error: ");
    }
}

#[test]
fn each_v_says_more_and_none_of_them_a_secret() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(1, 1000));
    origin.page("/moved", Page::of(&Content::random(1, 1000)));
    origin.when(at("/moved"), crate::origin::redirect(302, "/file.bin?sig=hush"));
    let url = origin.url("/moved");
    let run = |more: &[&str]| {
        let args = ["download", "--progress", "plain", "--overwrite", "-o", "f", "-H", "X-Key: hush", "-u", "me:hush"];
        world.onward(args).args(more).arg(&url).run()
    };
    run(&[]).exits(0).never_says("redirected").never_says("GET ").never_says("etag");
    let once = run(&["-v"]);
    once.exits(0).says("redirected to ").says("GET http://").never_says("etag").never_says("hush");
    let twice = run(&["-vv"]);
    twice.exits(0).says("redirected to ").says("> GET http://").says("< etag: \"v1\"").never_says("hush");
    twice.says("> x-key: ***");
}

#[test]
fn help_and_version_are_results() {
    let world = World::new();
    let help = world.onward(["--help"]).run();
    help.exits(0);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for line in ["   3  not finished; the same command goes on", "  10  outcome unknown"] {
        assert!(text.contains(line), "{text}");
    }
    world.onward(["--version"]).run().exits(0).stdout_is(concat!("onward ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in ["download", "upload", "serve", "resume", "status", "cancel", "demo", "completions", "man"] {
        let help = world.onward([command, "--help"]).run();
        help.exits(0);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

#[test]
fn one_failure_does_not_stop_the_others_and_the_code_is_the_weightiest() {
    let world = World::new();
    let content = Content::random(2, 50_000);
    let origin = Origin::serving(&content);
    origin.page("/refused", Page::of(&content));
    origin.when(at("/refused"), status(403, "X-None: 1"));
    let [good, gone, refused] = ["/file.bin", "/gone", "/refused"].map(|path| origin.url(path));
    world.onward(["download", &gone, &good]).run().exits(7).stdout_is("file.bin\n").says("2 files: 1 done, 1 failed");
    world.finished("file.bin", &content);
    world.onward(["download", &gone, &refused, "--overwrite", &good]).run().exits(6);
    world.onward(["download", &gone]).run().exits(7).says("onward: ").says("check the URL");
}

#[test]
fn three_means_run_it_again() {
    let world = World::new();
    let content = Content::random(3, 2 * MIB);
    let origin = Origin::serving(&content);
    origin.when(always(), cut_after(300_000));
    let url = origin.url("/file.bin");
    let mut runs = 0;
    // The loop of the README, with tries that are all used up by the origin's cuts.
    while world.onward(["download", "--retries", "0", "-x", "1", &url]).run().code() == Some(3) {
        runs += 1;
        assert!(runs < 20, "no end of it");
    }
    assert!(runs > 0, "nothing was ever cut");
    world.finished("file.bin", &content);
}

#[test]
fn a_signal_is_told_committed_and_raised_again() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let world = World::new();
        let content = Content::random(4, 8 * MIB);
        let origin = Origin::serving(&content);
        let url = origin.url("/file.bin");
        let mut run = world.onward(["download", "--progress", "json", "--limit-rate", "2M", &url]).start();
        run.wait_for_progress(MIB);
        let told = Instant::now();
        run.signal(signal);
        let ended = run.wait();
        assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
        ended.died_of(signal);
        let failed = ended.event("failed");
        assert_eq!(failed["code"], 3, "{failed}");
        assert!(failed["hint"].is_string() && failed["kept"].is_string(), "{failed}");
        assert_eq!(ended.events().last().unwrap()["event"], "summary");
        let again = world.onward(["download", "--progress", "json", &url]).run();
        again.exits(0);
        assert!(again.event("done")["already"].as_u64().unwrap() >= MIB / 2, "{}", again.story());
        world.finished("file.bin", &content);
    }
}

#[test]
fn a_shell_loop_stops_with_us() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(5, 8 * MIB));
    let script = format!(
        "while :; do '{}' download --limit-rate 1M '{}'; echo again >> runs; done",
        env!("CARGO_BIN_EXE_onward"),
        origin.url("/file.bin")
    );
    // A group of its own, as a terminal gives every job: the signal goes to shell and child alike.
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("bash");
    let mut shell = shell.args(["-c", &script]).current_dir(world.dir()).process_group(0).spawn().unwrap();
    eventually("a partial file", || world.exists("file.bin.partial.toml").then_some(()));
    let group = rustix::process::Pid::from_raw(shell.id() as i32).unwrap();
    rustix::process::kill_process_group(group, Signal::INT).unwrap();
    let status = eventually("the end of the loop", || shell.try_wait().unwrap());
    assert!(!status.success());
    assert!(!world.exists("runs"), "the loop went on");
}

#[test]
fn nohup_keeps_us_from_ending() {
    let world = World::new();
    let content = Content::random(6, 3 * MIB);
    let origin = Origin::serving(&content);
    let script = format!(
        "trap '' HUP; exec '{}' download --limit-rate 2M '{}'",
        env!("CARGO_BIN_EXE_onward"),
        origin.url("/file.bin")
    );
    let mut child = Command::new("bash").args(["-c", &script]).current_dir(world.dir()).spawn().unwrap();
    eventually("a partial file", || world.exists("file.bin.partial").then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, Signal::HUP).unwrap();
    assert!(child.wait().unwrap().success());
    world.finished("file.bin", &content);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(7, 1000));
    for args in
        [&["download", "--overwrite", &origin.url("/file.bin")][..], &["--help"], &["completions", "zsh"], &["man"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_onward"))
            .args(args)
            .current_dir(world.dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() && !said.contains("panicked"), "{args:?}: {status}: {said}");
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_onward"))
        .args(["download", "--progress", "json", &origin.url("/gone")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(7), "nobody listens, and the exit code still tells");
}

#[test]
fn settings_come_from_file_environment_and_flags() {
    let world = World::new();
    let content = Content::random(8, 1000);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let config = world.home().join(".config/onward");
    std::fs::create_dir_all(&config).unwrap();
    let agent = || origin.asked().last().unwrap().ask.header("user-agent").unwrap_or_default().to_string();
    std::fs::write(config.join("config.toml"), "user-agent = \"from-file\"\n").unwrap();
    world.onward(["download", "--overwrite", &url]).run().exits(0);
    assert_eq!(agent(), "from-file");
    world.onward(["download", "--overwrite", &url]).env("ONWARD_USER_AGENT", "from-env").run().exits(0);
    assert_eq!(agent(), "from-env");
    let run = world.onward(["download", "--overwrite", "-A", "from-flag", &url]).env("ONWARD_USER_AGENT", "from-env");
    run.run().exits(0);
    assert_eq!(agent(), "from-flag");
    std::fs::write(config.join("config.toml"), "user_agent = \"slip\"\n").unwrap();
    world.onward(["download", &url]).run().exits(2).says("config.toml").says("user_agent");
}

#[test]
fn lists_come_from_files_and_from_stdin() {
    let world = World::new();
    let origin = Origin::start();
    let contents = [Content::random(9, 3000), Content::random(10, 0), Content::random(11, 70_000)];
    let mut list = String::from("# what is wanted\n\n");
    for (n, content) in contents.iter().enumerate() {
        origin.page(&format!("/f{n}"), Page::of(content));
        list += &format!("{}\n", origin.url(&format!("/f{n}")));
    }
    world.write("list", &list);
    world.onward(["download", "-i", "list"]).run().exits(0);
    world.onward(["download", "-d", "sub", "--create-dirs", "-i", "-"]).stdin(list).run().exits(0);
    for (n, content) in contents.iter().enumerate() {
        world.finished(&format!("f{n}"), content);
        world.finished(&format!("sub/f{n}"), content);
    }
}

#[test]
fn secrets_given_never_show() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(12, 1000));
    world.write("token", "tok-hush\n");
    world.write("headers", "X-Key: key-hush\n");
    let url = origin.url("/gone?token=query-hush").replace("http://", "http://me:url-hush@");
    let args = ["download", "-v", "--token-file", "token", "-H", "@headers", &url];
    let ended = world.onward(args).run();
    ended.exits(7).never_says("hush");
    let ask = &origin.asked()[0].ask;
    assert_eq!(ask.header("authorization"), Some("Bearer tok-hush"));
    assert_eq!(ask.header("x-key"), Some("key-hush"));
    world
        .onward(["download", "--progress", "json", "-u", "me", &url])
        .env("ONWARD_PASSWORD", "p-hush")
        .run()
        .never_says("hush");
    world.onward(["download", "-u", "me", &url]).run().exits(2).says("ONWARD_PASSWORD");
    origin.when(always(), field("X-Asked", "/gone;jsessionid=path-hush?PHPSESSID=session-hush"));
    origin.when(always(), field("X-Echo", "tok-hush key-hush"));
    let ended = world.onward(["download", "-vv", "--token-file", "token", "-H", "@headers", &url]).run();
    ended.exits(7).says("x-echo: *** ***").never_says("hush");
    world.onward(["download", "htp://me:url-hush@h/f"]).run().exits(2).says("htp").never_says("hush");
}

#[test]
fn a_dry_run_moves_nothing() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(13, 4 * MIB));
    let ended = world.onward(["download", "--dry-run", &origin.url("/file.bin")]).run();
    ended.exits(0);
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(said.contains("file.bin") && said.contains("4.00 MiB"), "{said}");
    world.holds_only(&[]);
}

#[test]
fn time_that_runs_out_is_3_and_the_same_command_goes_on() {
    let world = World::new();
    let content = Content::random(14, 6 * MIB);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    world.onward(["download", "--max-time", "1", "--limit-rate", "2M", &url]).run().exits(3).says("--max-time");
    let again = world.onward(["download", "--progress", "json", &url]).run();
    again.exits(0);
    assert!(again.event("resumed")["offset"].as_u64().unwrap() > MIB, "{}", again.story());
    world.finished("file.bin", &content);
}

#[test]
fn retries_are_counted_and_told() {
    let world = World::new();
    let origin = Origin::serving(&Content::random(15, 1000));
    origin.when(first(), status(503, "Retry-After: 0"));
    let ended = world.onward(["download", "--progress", "json", &origin.url("/file.bin")]).run();
    ended.exits(0);
    let retry = ended.event("retry");
    assert!(retry["wait"].is_number() && retry["attempt"] == 1 && retry["error"].is_string(), "{retry}");
}

#[test]
fn the_readme_tells_the_same_exit_codes() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for (code, meaning) in onward::fault::EXIT_CODES {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {code} |")));
        let told = row.unwrap_or_else(|| panic!("{code} is not in the README")).replace('`', "");
        assert_eq!(told, format!("| {code} | {meaning} |"));
    }
    assert!(readme.lines().count() < 200);
}
