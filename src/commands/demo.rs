//! `onward demo`: the proof that this installation does what it promises, with nothing else running. It drives the
//! program as a person would, in processes of its own that it kills with SIGKILL half-way, and believes only the MD5s.

use crate::config::Demo;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::disk::{self, shown};
use crate::engine::Stop;
use crate::fault::{Fault, Kind};
use crate::report::{self, Report};
use crate::units;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The first run of each way is slowed down to about this long, so that there is a half-way to be killed at.
const SLOWLY: u64 = 4;
/// Bytes made and hashed in one go.
const BLOCK: usize = 1 << 20;

/// Runs the demonstration in a temporary folder, which is removed afterwards.
pub fn run(settings: &Demo, report: &Report, stop: &Stop) -> Result<(), Fault> {
    let stage = Stage::set(settings.size, stop)?;
    report.note(&format!("{} in {}, against `onward serve`", units::bytes(settings.size), shown(&stage.folder.0)));
    let before = stage.make_file()?;
    let server = stage.serve()?;
    let url = format!("{}file.bin", server.url);

    let source = stage.path("file.bin");
    let up = stage.there_and_on(&["upload", &text(&source), &url], &source)?;
    report::line(&up.told("upload", settings.size))?;

    let back = stage.path("back.bin");
    let down = stage.there_and_on(&["download", &url, "-o", &text(&back)], &back)?;
    report::line(&down.told("download", settings.size))?;

    let there = md5(&stage.path("served").join("file.bin"), stop)?;
    let after = md5(&back, stop)?;
    report::line(&format!("MD5       {} before", before.hex()))?;
    report::line(&format!("          {} at the server", there.hex()))?;
    report::line(&format!("          {} downloaded again", after.hex()))?;
    match before == there && there == after {
        true => report::line("It works: two kills, and the same bytes at the end."),
        false => Err(Fault::new(Kind::Integrity, "the file is not the same after its way there and back")),
    }
}

/// The temporary folder, gone with the demonstration.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody can be told any more; the system cleans its temporary folder some day.
        let _ = disk::remove_tree(&self.0);
    }
}

/// A new folder in the first of `places` that lets us make one.
fn folder_in(places: &[PathBuf]) -> Result<Folder, Fault> {
    let mut refused = None;
    for place in places {
        let folder = place.join(format!("onward-demo-{}", disk::token()));
        match disk::create_dirs(&folder.join("served")) {
            Ok(()) => return Ok(Folder(folder)),
            Err(fault) => refused = refused.or(Some(fault)),
        }
    }
    let fault = refused.unwrap_or_else(|| Fault::new(Kind::Local, "there is no place for temporary files"));
    // -o and -d, which the disk would name, are no options here.
    Err(Fault { hint: Some("set TMPDIR to a folder that you may write to".into()), ..fault })
}

/// A child process that does not outlive us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server and where it listens.
struct Server {
    url: String,
    _process: Running,
}

/// Where it all happens.
struct Stage<'a> {
    folder: Folder,
    program: PathBuf,
    size: u64,
    stop: &'a Stop,
}

/// What one way there took.
#[derive(Default)]
struct Way {
    /// Bytes that were there when the first run was killed, as it had last said.
    killed_at: u64,
    /// Bytes that were there when the second run began.
    already: u64,
    /// Bytes that the second run moved.
    moved: u64,
}

impl Way {
    fn told(&self, name: &str, size: u64) -> String {
        let percent = |bytes: u64| (bytes * 100).checked_div(size).unwrap_or(100);
        let killed = match self.killed_at {
            0 => "over before it could be killed".to_string(),
            at => format!("killed at {} %", percent(at)),
        };
        let twice = (self.already + self.moved).saturating_sub(size) + self.killed_at.saturating_sub(self.already);
        format!(
            "{name:<10}{killed}; resumed at {} %, moved {} more, {} of it for the second time",
            percent(self.already),
            units::bytes(self.moved),
            units::bytes(twice)
        )
    }
}

impl<'a> Stage<'a> {
    fn set(size: u64, stop: &'a Stop) -> Result<Self, Fault> {
        let program = std::env::current_exe()
            .map_err(|error| Fault::new(Kind::Other, format!("this program does not find itself: {error}")))?;
        // In a container whose root is read-only the second is often the only place that can be written.
        let folder = folder_in(&[std::env::temp_dir(), PathBuf::from("/dev/shm")])?;
        Ok(Self { folder, program, size, stop })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// This very program with `args`, away from the user's own settings, records and proxies.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let ours = |name: &str| name.starts_with("ONWARD_") && !name.starts_with("ONWARD_CRASH");
        let proxy = |name: &str| name.to_ascii_lowercase().ends_with("_proxy");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| ours(name) || proxy(name)) {
                command.env_remove(name);
            }
        }
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            command.env(name, self.path("home"));
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// A file of bytes that nothing can compress or guess, and its MD5.
    fn make_file(&self) -> Result<Digest, Fault> {
        let path = self.path("file.bin");
        let file = disk::create_private(&path)?
            .ok_or_else(|| Fault::new(Kind::Local, format!("{} is there already", shown(&path))))?;
        // The file itself, the server's copy, and the one that is downloaded.
        let needed = self.size.saturating_mul(3);
        if disk::free_space(&file).is_some_and(|free| free < needed) {
            return Err(Fault::new(Kind::Local, format!("no room for {} in {}", units::bytes(needed), shown(&path)))
                .hint("use a smaller --size, or set TMPDIR to a roomier folder"));
        }
        let (mut hasher, mut random) = (Hasher::new(Algorithm::Md5), 0x9e37_79b9_7f4a_7c15_u64);
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        while at < self.size {
            self.go_on()?;
            for word in block.chunks_exact_mut(8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                word.copy_from_slice(&random.to_le_bytes());
            }
            let piece = &block[..BLOCK.min((self.size - at) as usize)];
            disk::write_at(&file, piece, at).map_err(|error| disk::fault("write", &path, &error))?;
            hasher.update(piece);
            at += piece.len() as u64;
        }
        Ok(hasher.finish())
    }

    fn serve(&self) -> Result<Server, Fault> {
        let folder = text(&self.path("served"));
        let mut command =
            self.command(&["serve", "--listen", "127.0.0.1:0", "--min-free", "0", "--until-stdin-ends", &folder]);
        let mut process =
            Running(start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()))?);
        let mut url = String::new();
        if let Some(out) = process.0.stdout.take() {
            let _ = BufReader::new(out).read_line(&mut url);
        }
        match url.trim() {
            "" => Err(Fault::new(Kind::Other, "`onward serve` did not start")),
            url => Ok(Server { url: format!("{}/", url.trim_end_matches('/')), _process: process }),
        }
    }

    /// Runs `args`, kills it half-way, and lets `onward resume` finish it.
    fn there_and_on(&self, args: &[&str], file: &Path) -> Result<Way, Fault> {
        let rate = (self.size / SLOWLY).max(1).to_string();
        let mut way = Way::default();
        // The server is stopped only at the very end, or when this process is killed: nobody waits for it to come back.
        let first = [args, &["--limit-rate", &rate, "--retries", "2"]].concat();
        let killed = self.watch(&first, |event| {
            let done = event["done"].as_u64().unwrap_or(0);
            let half = event["event"] == "progress" && done >= self.size / 2;
            way.killed_at = if half { done } else { way.killed_at };
            half
        })?;
        let take = |event: &Value, way: &mut Way| {
            if event["event"] == "done" {
                way.already = event["already"].as_u64().unwrap_or(0);
                way.moved = event["moved"].as_u64().unwrap_or(0);
            }
        };
        if killed {
            self.watch(&["resume", &text(file)], |event| {
                take(event, &mut way);
                false
            })?;
        }
        Ok(way)
    }

    /// Runs this program with `args` and shows each of its events to `kill`, which decides whether it lives on.
    fn watch(&self, args: &[&str], mut kill: impl FnMut(&Value) -> bool) -> Result<bool, Fault> {
        let mut command = self.command(&[args, &["--progress", "json"]].concat());
        let mut process = Running(start(command.stdout(Stdio::null()).stderr(Stdio::piped()))?);
        let Some(events) = process.0.stderr.take() else { return Ok(false) };
        let mut failed = None;
        for line in BufReader::new(events).lines().map_while(Result::ok) {
            self.go_on()?;
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if kill(&event) {
                return Ok(true);
            }
            if event["event"] == "failed" {
                failed = event["error"].as_str().map(str::to_string);
            }
        }
        let ended = process.0.wait().map_err(|error| Fault::new(Kind::Other, format!("a child is lost: {error}")))?;
        self.go_on()?;
        match ended.success() {
            true => Ok(false),
            false => Err(Fault::new(
                Kind::Other,
                format!("`onward {}` ended with {ended}: {}", args[0], failed.unwrap_or_default()),
            )),
        }
    }

    fn go_on(&self) -> Result<(), Fault> {
        match self.stop.tripped() {
            true => Err(Fault::new(Kind::Interrupted, "the demonstration was stopped").kept("nothing was left behind")),
            false => Ok(()),
        }
    }
}

fn start(command: &mut Command) -> Result<Child, Fault> {
    command.spawn().map_err(|error| Fault::new(Kind::Other, format!("this program cannot start itself: {error}")))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn md5(path: &Path, stop: &Stop) -> Result<Digest, Fault> {
    let mut file = File::open(path).map_err(|error| disk::fault("read", path, &error))?;
    let (mut hasher, mut block) = (Hasher::new(Algorithm::Md5), vec![0; BLOCK]);
    while !stop.tripped() {
        match file.read(&mut block).map_err(|error| disk::fault("read", path, &error))? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&block[..n]),
        }
    }
    Err(Fault::new(Kind::Interrupted, "the demonstration was stopped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_is_passed_over() {
        let there = tempfile::tempdir().unwrap();
        let nowhere = PathBuf::from("/proc/self");
        let folder = folder_in(&[nowhere.clone(), there.path().to_owned()]).unwrap();
        assert!(folder.0.starts_with(there.path()) && folder.0.join("served").is_dir());
        let refused = folder_in(&[nowhere]).err().unwrap();
        assert_eq!(refused.code(), 8);
        assert!(refused.hint.unwrap().contains("TMPDIR"));
    }
}
