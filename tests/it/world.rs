//! The world of a test: a folder that goes away, content that is known by its seed, the built program run in that
//! folder with nothing of the developer's environment, and assertions that tell what was expected and what came.
//!
//! Nothing here sleeps to give the program time: tests wait for what the program says (`--progress json` lines), each
//! wait with a deadline.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;

/// No single run of the program and no wait takes longer, or the test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls `happened` until it gives something; for what no event tells, such as a file that appears.
pub fn eventually<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = happened() {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the run is the long one (`.ci/soak`): many more kills, more seeds.
pub fn long() -> bool {
    std::env::var_os("ONWARD_TEST_LONG").is_some_and(|v| v == "1")
}

/// Says visibly that a test cannot run here and why; a failure where everything must be there.
pub fn skip(why: &str) {
    assert!(std::env::var_os("ONWARD_TEST_REQUIRE").is_none_or(|v| v != "1"), "required here, but: {why}");
    tell(&format!("SKIPPED: {why}"));
}

/// The same where even a machine that has everything may lack the right to do it.
pub fn skip_anywhere(why: &str) {
    tell(&format!("SKIPPED: {why}"));
}

/// Past the capture of the test harness, so that a run shows it without flags.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A pseudo-random number generator (splitmix64): the same seed gives the same story.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number in `low..high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low).max(1)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What a file is to hold. Any part of it can be made without the rest, so that huge ones cost no memory.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes that look random, a function of the seed and the offset.
    Random { seed: u64, len: u64 },
    /// Zeros, but for one 4 KiB block of random bytes at the start of each `every` bytes and at the very end.
    Sparse { seed: u64, len: u64, every: u64 },
    /// These very bytes.
    Bytes(Arc<Vec<u8>>),
}

impl Content {
    pub fn random(seed: u64, len: u64) -> Self {
        Self::Random { seed, len }
    }

    pub fn sparse(seed: u64, len: u64) -> Self {
        Self::Sparse { seed, len, every: 256 << 20 }
    }

    pub fn of(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(Arc::new(bytes.into()))
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::Random { len, .. } | Self::Sparse { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `buf` with the bytes from `at` on; all of them must lie inside.
    pub fn fill(&self, at: u64, buf: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => buf.copy_from_slice(&bytes[at as usize..at as usize + buf.len()]),
            Self::Random { seed, .. } => random(*seed, at, buf),
            Self::Sparse { seed, len, every } => {
                buf.fill(0);
                let blocks = (at / every..=(at + buf.len() as u64) / every).map(|n| n * every);
                for block in blocks.chain([len.saturating_sub(4096)]) {
                    let (start, end) = (block.max(at), (block + 4096).min(*len).min(at + buf.len() as u64));
                    if start < end {
                        random(*seed, start, &mut buf[(start - at) as usize..(end - at) as usize]);
                    }
                }
            }
        }
    }

    /// The bytes `start..end`.
    pub fn part(&self, start: u64, end: u64) -> Vec<u8> {
        let mut bytes = vec![0; (end - start) as usize];
        self.fill(start, &mut bytes);
        bytes
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        self.part(0, self.len())
    }

    /// Its first `len` bytes.
    pub fn first(&self, len: u64) -> Self {
        Self::of(self.part(0, len))
    }

    /// The same with `other` behind it.
    pub fn then(&self, other: &Self) -> Self {
        Self::of([self.bytes(), other.bytes()].concat())
    }

    /// The same with the byte at `at` turned round.
    pub fn flipped(&self, at: u64) -> Self {
        let mut bytes = self.bytes();
        bytes[at as usize] ^= 0xFF;
        Self::of(bytes)
    }

    /// Its digest in lower-case hexadecimal.
    pub fn digest(&self, algorithm: onward::digest::Algorithm) -> String {
        self.hashed(algorithm).hex()
    }

    /// Its digest as a field of RFC 9530 has it.
    pub fn digest_field(&self, algorithm: onward::digest::Algorithm) -> String {
        use base64::Engine as _;
        let bytes = self.hashed(algorithm).bytes;
        format!("{}=:{}:", algorithm.name(), base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    /// Its digest.
    pub fn hashed(&self, algorithm: onward::digest::Algorithm) -> onward::digest::Digest {
        let mut hasher = onward::digest::Hasher::new(algorithm);
        self.blocks(|_, block| hasher.update(block));
        hasher.finish()
    }

    /// Writes it to `path`; zeros become holes.
    pub fn write_to(&self, path: &Path) {
        let file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        file.set_len(self.len()).unwrap();
        self.blocks(|at, block| {
            if block.iter().any(|b| *b != 0) {
                file.write_all_at(block, at).unwrap();
            }
        });
    }

    fn blocks(&self, mut each: impl FnMut(u64, &[u8])) {
        let (mut at, mut block) = (0, vec![0; 1 << 20]);
        while at < self.len() {
            let n = (self.len() - at).min(block.len() as u64) as usize;
            self.fill(at, &mut block[..n]);
            each(at, &block[..n]);
            at += n as u64;
        }
    }
}

fn random(seed: u64, at: u64, buf: &mut [u8]) {
    let (mut word, mut skip, mut done) = (at / 8, (at % 8) as usize, 0);
    while done < buf.len() {
        let bytes = mix(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(word)).to_le_bytes();
        let n = (8 - skip).min(buf.len() - done);
        buf[done..done + n].copy_from_slice(&bytes[skip..skip + n]);
        (word, skip, done) = (word + 1, 0, done + n);
    }
}

/// A temporary folder and what happens in it.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("onward-test-").tempdir().unwrap();
        fs::create_dir(folder.path().join("here")).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder }
    }

    /// The folder in which the program runs.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("here")
    }

    /// `HOME` of the runs; state and config folders are the defaults under it.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A place beside the working folder, for servers' files and the like.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes a file into the working folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}\nthe folder holds {:?}", self.names()))
    }

    /// The text of a file.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.read(name)).into_owned()
    }

    pub fn exists(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// The names in the working folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Fails unless the working folder holds exactly these names.
    #[track_caller]
    pub fn holds_only(&self, names: &[&str]) {
        assert_eq!(self.names(), names, "the names in the working folder");
    }

    /// Fails unless the file `name` holds `content`, and says where they part.
    #[track_caller]
    pub fn file_is(&self, name: &str, content: &Content) {
        same(&self.path(name), content);
    }

    /// Fails unless `name` is there, holds `content`, and nothing of an unfinished transfer lies beside it.
    #[track_caller]
    pub fn finished(&self, name: &str, content: &Content) {
        self.file_is(name, content);
        for left in [format!("{name}.partial"), format!("{name}.partial.toml")] {
            assert!(!self.exists(&left), "{left} is still there; the folder holds {:?}", self.names());
        }
    }

    /// The command `onward ARGS…`, not yet started.
    pub fn onward<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Onward {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onward"));
        command.args(args).current_dir(self.dir()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.home()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Onward { command, stdin: None, stdout: None }
    }
}

/// Fails unless the file at `path` holds `content`, and says where they part.
#[track_caller]
pub fn same(path: &Path, content: &Content) {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let len = file.metadata().unwrap().len();
    let (mut at, mut got, mut want) = (0, vec![0; 1 << 20], vec![0; 1 << 20]);
    while at < len.min(content.len()) {
        let n = (len.min(content.len()) - at).min(got.len() as u64) as usize;
        file.read_exact_at(&mut got[..n], at).unwrap();
        content.fill(at, &mut want[..n]);
        if let Some(i) = (0..n).find(|i| got[*i] != want[*i]) {
            let wrong = (0..n).filter(|i| got[*i] != want[*i]).count();
            let zeros = got[i..n].iter().take_while(|b| **b == 0).count();
            panic!(
                "{}: wrong bytes: first at {} (is {:#04x}, should be {:#04x}; {zeros} zeros from there), {wrong} in that MiB; lengths {len} and {}",
                path.display(),
                at + i as u64,
                got[i],
                want[i],
                content.len()
            );
        }
        at += n as u64;
    }
    assert_eq!(len, content.len(), "{}: its length (left) is not the content's; all before agrees", path.display());
}

/// A command about to be run.
pub struct Onward {
    command: Command,
    stdin: Option<Vec<u8>>,
    stdout: Option<std::io::PipeWriter>,
}

impl Onward {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs in another folder.
    pub fn within(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Its stdout goes into this pipe, and is not kept.
    pub fn stdout(mut self, into: std::io::PipeWriter) -> Self {
        self.stdout = Some(into);
        self
    }

    /// Kills itself at a named point (`"data-synced"`, `"data-synced:3"`), as only debug builds do.
    pub fn crash_at(self, point: &str) -> Self {
        self.env("ONWARD_CRASH_AT", point)
    }

    /// Starts it and comes back at once.
    pub fn start(mut self) -> Running {
        let shown = format!("{:?}", self.command).replace(env!("CARGO_BIN_EXE_onward"), "onward");
        if self.stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(pipe) = self.stdout {
            self.command.stdout(pipe);
        }
        let mut child = self.command.spawn().unwrap();
        // Our own end of a pipe would keep it open.
        drop(self.command);
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let (out, err) = (child.stdout.take(), child.stderr.take().unwrap());
        let stdout = std::thread::spawn(move || out.map(read_all).unwrap_or_default());
        let told = Arc::new(Mutex::new(String::new()));
        let (lines_in, lines) = channel();
        let stderr = std::thread::spawn({
            let told = told.clone();
            move || {
                for line in BufReader::new(err).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    told.lock().unwrap().push_str(&format!("{line}\n"));
                    let _ = lines_in.send(line);
                }
            }
        });
        Running { child, shown, stdout: Some(stdout), stderr: Some(stderr), told, lines, started: Instant::now() }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }
}

fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    bytes
}

/// A process at work. Killed when dropped.
pub struct Running {
    child: Child,
    shown: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<()>>,
    told: Arc<Mutex<String>>,
    lines: Receiver<String>,
    started: Instant,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on stderr that contains `text`.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str) -> String {
        self.wait_until(text, |line| line.contains(text).then(|| line.to_string()))
    }

    /// Waits for a JSON line on stderr whose `event` is `name` (needs `--progress json`).
    #[track_caller]
    pub fn wait_for(&mut self, name: &str) -> Value {
        self.wait_for_such(name, |_| true)
    }

    /// Waits for a JSON line whose `event` is `name` and that `fits`.
    #[track_caller]
    pub fn wait_for_such(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(name, |line| {
            let value: Value = serde_json::from_str(line).ok()?;
            (value["event"] == name && fits(&value)).then_some(value)
        })
    }

    /// Waits until the program has told of at least `bytes` bytes done.
    #[track_caller]
    pub fn wait_for_progress(&mut self, bytes: u64) -> Value {
        self.wait_for_such("progress", |event| event["done"].as_u64().unwrap_or(0) >= bytes)
    }

    #[track_caller]
    fn wait_until<T>(&mut self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        loop {
            let left = DEADLINE.saturating_sub(self.started.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(value) = found(&line) {
                        return value;
                    }
                }
                Err(_) => {
                    let told = self.told.lock().unwrap().clone();
                    panic!("{}\nnever said {what:?}; it said:\n{told}", self.shown)
                }
            }
        }
    }

    /// SIGKILL: nothing of the program runs after this. The end is awaited.
    #[track_caller]
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Sends a signal, if the process is still there.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if self.started.elapsed() > DEADLINE => {
                    let _ = self.child.kill();
                    let told = self.told.lock().unwrap().clone();
                    panic!("{}\ndid not end within {DEADLINE:?}; it said:\n{told}", self.shown);
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let stdout = self.stdout.take().map(|t| t.join().unwrap()).unwrap_or_default();
        if let Some(reader) = self.stderr.take() {
            reader.join().unwrap();
        }
        let stderr = self.told.lock().unwrap().clone();
        Ended { shown: self.shown.clone(), status, stdout, stderr, took: self.started.elapsed() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run that is over. The assertions return it again, so that a test reads as a list of what must hold.
pub struct Ended {
    shown: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "exit code ({})\n{}", self.status, self.story());
        self
    }

    #[track_caller]
    pub fn died_of(&self, signal: Signal) -> &Self {
        assert_eq!(self.status.signal(), Some(signal.as_raw()), "ending signal ({})\n{}", self.status, self.story());
        self
    }

    /// stderr contains `text`.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "stderr does not say {text:?}\n{}", self.story());
        self
    }

    /// stderr contains one of `texts`, whatever the case.
    #[track_caller]
    pub fn says_any(&self, texts: &[&str]) -> &Self {
        let stderr = self.stderr.to_lowercase();
        let found = texts.iter().any(|text| stderr.contains(&text.to_lowercase()));
        assert!(found, "stderr says none of {texts:?}\n{}", self.story());
        self
    }

    /// Neither stderr nor stdout contains `text`.
    #[track_caller]
    pub fn never_says(&self, text: &str) -> &Self {
        let found = self.stderr.contains(text) || String::from_utf8_lossy(&self.stdout).contains(text);
        assert!(!found, "it says {text:?}\n{}", self.story());
        self
    }

    #[track_caller]
    pub fn stdout_is(&self, text: &str) -> &Self {
        assert_eq!(String::from_utf8_lossy(&self.stdout), text, "stdout (left is what came)\n{}", self.story());
        self
    }

    /// The JSON lines of stderr; every line must be one.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let read = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("not a JSON line: {line:?}: {e}\n{}", self.story()))
        };
        self.stderr.lines().map(read).collect()
    }

    /// The events called `name`; there may be none.
    #[track_caller]
    pub fn events_called(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// The one event called `name`; the last where there are several.
    #[track_caller]
    pub fn event(&self, name: &str) -> Value {
        let mut events = self.events_called(name);
        events.pop().unwrap_or_else(|| panic!("no event {name:?}\n{}", self.story()))
    }

    /// What was run and what it said, for the messages of failed assertions.
    pub fn story(&self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(2000)]).into_owned();
        format!(
            "ran: {}\nended: {} after {:?}\nstdout: {stdout}\nstderr:\n{}",
            self.shown, self.status, self.took, self.stderr
        )
    }
}

/// The world itself: what the other tests stand on.
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_from_anywhere() {
        for content in [Content::random(7, 10_007), Content::Sparse { seed: 7, len: 70_001, every: 20_000 }] {
            let all = content.bytes();
            let mut dice = Dice::new(3);
            for _ in 0..50 {
                let start = dice.between(0, content.len());
                let end = dice.between(start, content.len() + 1);
                assert_eq!(content.part(start, end), all[start as usize..end as usize], "{start}..{end}");
            }
        }
        assert_ne!(Content::random(1, 64).bytes(), Content::random(2, 64).bytes());
    }

    #[test]
    #[should_panic(expected = "wrong bytes: first at 1234")]
    fn a_wrong_byte_is_found() {
        let world = World::new();
        let content = Content::random(1, 5000);
        world.write("f", content.flipped(1234).bytes());
        world.file_is("f", &content);
    }
}
