//! Being stopped when it is not convenient: a disk that does not answer, a second Ctrl-C, a demonstration that is shot.

use crate::origin::{Origin, Page, always, at_rate};
use crate::receiver::Receiver;
use crate::world::{Content, Ended, Onward, Running, Signal, World, eventually};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// A transfer of either direction whose last save will not come to an end, a while after it began.
fn held_up(world: &World, command: Onward, record: &str) -> Running {
    let mut run = command.args(["--progress", "json"]).start();
    run.wait_for_progress(MIB);
    let folder = world.dir();
    eventually("a record", || {
        let mut names = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name());
        names.find(|name| name.to_string_lossy().ends_with(record))
    });
    run
}

fn slow_download(world: &World, content: &Content) -> (Origin, Running) {
    let origin = Origin::start();
    origin.page("/f", Page::of(content));
    origin.when(always(), at_rate(2 * MIB));
    let url = origin.url("/f");
    let run = world.onward(["download", "-x", "1", &url]).env("ONWARD_HOLD_AT", "sidecar-replaced");
    let run = held_up(world, run, ".partial.toml");
    (origin, run)
}

fn slow_upload(world: &World, content: &Content) -> (Receiver, Running) {
    let server = Receiver::start(world);
    content.write_to(&world.path("src"));
    let url = server.url("f");
    let run = world.onward(["upload", "--limit-rate", "2M", "src", &url]).env("ONWARD_HOLD_AT", "record-left");
    let run = held_up(world, run, ".partial.toml");
    (server, run)
}

#[test]
fn one_signal_does_not_wait_for_a_disk_that_does_not_answer() {
    let (world, content) = (World::new(), Content::random(1, 32 * MIB));
    let (origin, run) = slow_download(&world, &content);
    run.signal(Signal::INT);
    let ended = run.wait();
    ended.died_of(Signal::INT).says("the disk was still saving").says("run the same command again");
    origin.honest_again();
    world.onward(["download", &origin.url("/f")]).run().exits(0);
    world.finished("f", &content);

    let world = World::new();
    let (server, run) = slow_upload(&world, &content);
    run.signal(Signal::TERM);
    run.wait().died_of(Signal::TERM).says("the disk was still saving");
    world.onward(["resume"]).run().exits(0);
    crate::world::same(&server.path("f"), &content);
}

/// Two at once may be heard in either order, so either may be the one that ends it.
#[test]
fn a_second_signal_ends_it_at_once() {
    let content = Content::random(2, 32 * MIB);
    for (first, second) in [(Signal::INT, Signal::TERM), (Signal::HUP, Signal::INT)] {
        let world = World::new();
        let (_origin, download) = slow_download(&world, &content);
        download.signal(first);
        download.signal(second);
        died_at_once(&download.wait(), first, second);

        let world = World::new();
        let (_server, upload) = slow_upload(&world, &content);
        upload.signal(first);
        upload.signal(second);
        died_at_once(&upload.wait(), first, second);
    }
}

/// Ended by a signal, without a last word: the first signal alone leaves time for one.
fn died_at_once(ended: &Ended, one: Signal, other: Signal) {
    let by = if ended.status.signal() == Some(one.as_raw()) { one } else { other };
    ended.died_of(by).never_says("\"summary\"");
}

/// The command lines of processes that are about `folder`, as Linux tells them.
fn processes_about(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_string_lossy().parse().ok()?;
        fs::read(format!("/proc/{pid}/cmdline")).ok()
    });
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&folder)).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_demonstration_that_is_shot_leaves_no_server() {
    let world = World::new();
    let run = world.onward(["demo", "--size", "64M"]).env("TMPDIR", world.dir()).start();
    eventually("server and upload", || {
        let lines = processes_about(&world.dir());
        ["serve", "upload"].iter().all(|name| lines.iter().any(|line| line.contains(name))).then_some(())
    });
    run.kill();
    eventually("the end of all it started", || processes_about(&world.dir()).is_empty().then_some(()));
}
