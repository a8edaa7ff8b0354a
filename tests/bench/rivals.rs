//! The same faults for everybody: onward, curl, wget and aria2c download through the scripted origin, each with the
//! flags that resume best, and a Markdown table says what each of them ended with.
//!
//! `cargo bench --bench rivals` (or `--profile dev` to spare the optimised build) prints the table and writes it to
//! `tests/rivals.md`; `ONWARD_RIVALS=WORD` runs only the rows whose words contain it, and writes nothing. A wrong file
//! counts only if a second run on a new stage gives one again.

// What the tests share is more than this program uses, and a program of the bench may write a file without ceremony.
#![allow(dead_code, unused_imports, clippy::disallowed_methods)]

#[path = "../it/fault_rows/mod.rs"]
mod fault_rows;
#[path = "../it/origin/mod.rs"]
mod origin;
#[path = "../it/world.rs"]
mod world;

use fault_rows::{Fault, LEN, Stage, all};
use onward::digest::Algorithm;
use origin::{always, at_rate, silent_from};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use world::{Content, World};

/// The file's name in each row.
const NAME: &str = "file.bin";
/// Who takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Rows that run at once: they mostly wait.
const WORKERS: usize = 6;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Tool {
    Onward,
    Curl,
    Wget,
    Aria2c,
}

const TOOLS: [Tool; 4] = [Tool::Onward, Tool::Curl, Tool::Wget, Tool::Aria2c];

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Onward => "onward",
            Self::Curl => "curl",
            Self::Wget => "wget",
            Self::Aria2c => "aria2c",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Onward => env!("CARGO_BIN_EXE_onward"),
            other => other.name(),
        }
    }

    /// The first line of what it says of itself; `None` where it is not installed.
    fn version(self) -> Option<String> {
        let said = Command::new(self.program()).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let words = text.lines().next()?.split_whitespace().take(3).filter(|word| !word.starts_with("(x86"));
        Some(words.collect::<Vec<_>>().join(" "))
    }

    /// The flags with which it resumes, retries and notices silence best.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Onward => &["download", "--progress", "none", "-o", NAME, "--chunk-size", "64KiB"],
            Self::Curl => &[
                "-sS",
                "-L",
                "-f",
                "-C",
                "-",
                "--retry",
                "3",
                "--retry-delay",
                "1",
                "--retry-all-errors",
                "--max-redirs",
                "10",
                "--connect-timeout",
                "5",
                "--speed-limit",
                "1000",
                "--speed-time",
                "3",
                "-o",
                NAME,
            ],
            Self::Wget => &[
                "-q",
                "-c",
                "-t",
                "4",
                "--waitretry=1",
                "--timeout=3",
                "--retry-connrefused",
                "--retry-on-http-error=408,425,429,500,502,503,504",
                "-O",
                NAME,
            ],
            Self::Aria2c => &[
                "-q",
                "-c",
                "-x4",
                "-s4",
                "-k1M",
                "-m4",
                "--retry-wait=1",
                "--timeout=3",
                "--connect-timeout=3",
                "--auto-save-interval=1",
                "--file-allocation=none",
                "--auto-file-renaming=false",
                "-o",
                NAME,
            ],
        }
    }

    fn command(self, world: &World, stage: &Stage, fault: &Fault) -> Command {
        let mut command = Command::new(self.program());
        command.args(self.flags()).current_dir(world.dir()).env_clear().env("HOME", world.home());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let digest = stage.right().digest(Algorithm::Sha256);
        let checked = fault.args.iter().any(|arg| arg.contains("{sha256}"));
        match self {
            Self::Onward => {
                let given = |flag| fault.args.contains(&flag);
                let usual = [("--retries", "3"), ("--stall-timeout", "3s"), ("--connect-timeout", "5s")];
                usual.iter().filter(|(flag, _)| !given(*flag)).for_each(|(flag, value)| {
                    command.args([flag, value]);
                });
                command.args(fault.args.iter().map(|arg| arg.replace("{sha256}", &digest)));
            }
            // The only one of the others that can be told a digest.
            Self::Aria2c if checked => drop(command.arg(format!("--checksum=sha-256={digest}"))),
            _ => {}
        }
        command.arg(stage.origin.url(fault.path));
        command
    }
}

/// What a tool ended with.
#[derive(Clone, PartialEq)]
enum End {
    Right,
    Wrong,
    /// Success without a file, or with an empty one.
    Nothing,
    /// It said that it failed (its exit code; `None`: it hung), and came to this when the server was honest again.
    GaveUp(Option<i32>, Then),
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Right,
    Wrong,
    Failed,
}

struct Cell {
    end: End,
    percent: u64,
}

impl Cell {
    fn shown(&self) -> String {
        let how = |code: &Option<i32>| code.map_or("hung".to_string(), |code| format!("exit {code}"));
        match &self.end {
            End::Right => format!("right, {} %", self.percent),
            End::Nothing => format!("**NO FILE**, exit 0, {} %", self.percent),
            End::Wrong => format!("**WRONG FILE**, exit 0, {} %", self.percent),
            End::GaveUp(code, Then::Right) => format!("{}, later right", how(code)),
            End::GaveUp(code, Then::Wrong) => format!("{}, later **WRONG FILE**", how(code)),
            End::GaveUp(code, Then::Failed) => format!("{}, later fails", how(code)),
        }
    }

    fn is_wrong(&self) -> bool {
        matches!(self.end, End::Wrong | End::Nothing | End::GaveUp(_, Then::Wrong))
    }
}

/// One tool on one stage.
struct Play<'a> {
    tool: Tool,
    fault: &'a Fault,
    world: World,
    stage: Stage,
}

impl<'a> Play<'a> {
    fn new(tool: Tool, fault: &'a Fault) -> Self {
        let play = Self { tool, fault, world: World::new(), stage: Stage::new() };
        (fault.server)(&play.stage);
        play
    }

    fn run(self, resumed: bool) -> Cell {
        if resumed {
            self.interrupted();
            self.stage.honest(self.fault.server);
            self.stage.origin.forget_log();
            self.stage.elsewhere.forget_log();
        }
        (self.fault.script)(&self.stage);
        let right = self.stage.right();
        let code = self.once();
        let percent = (self.stage.origin.sent() + self.stage.elsewhere.sent()) * 100 / LEN;
        let end = match code {
            Some(0) if self.is(&right) => End::Right,
            Some(0) if !self.world.exists(NAME) || self.world.read(NAME).is_empty() => End::Nothing,
            Some(0) => End::Wrong,
            code => {
                self.stage.honest(self.fault.server);
                self.stage.origin.page("/start", self.stage.plain());
                End::GaveUp(
                    code,
                    match self.once() {
                        Some(0) if self.is(&self.stage.content) => Then::Right,
                        Some(0) => Then::Wrong,
                        _ => Then::Failed,
                    },
                )
            }
        };
        Cell { end, percent }
    }

    fn is(&self, right: &Content) -> bool {
        self.world.exists(NAME) && self.world.read(NAME) == right.bytes()
    }

    /// Runs the tool to its end; `None` when it had to be ended.
    fn once(&self) -> Option<i32> {
        let mut child =
            self.tool.command(&self.world, &self.stage, self.fault).spawn().expect("it has told its version");
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait().expect("it is our child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        end(child);
        None
    }

    /// A run that is killed (SIGKILL) after more than half has arrived, and had time to be written down.
    fn interrupted(&self) {
        for origin in [&self.stage.origin, &self.stage.elsewhere] {
            origin.when(always(), silent_from(LEN * 6 / 10));
            origin.when(always(), at_rate(LEN));
        }
        let child = self.tool.command(&self.world, &self.stage, self.fault).spawn().expect("it has told its version");
        std::thread::sleep(Duration::from_millis(2500));
        end(child);
    }
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs a cell; what is wrong must be wrong twice.
fn play(tool: Tool, fault: &Fault, resumed: bool) -> Cell {
    let cell = Play::new(tool, fault).run(resumed);
    match cell.is_wrong() {
        true => {
            let again = Play::new(tool, fault).run(resumed);
            if again.is_wrong() { cell } else { again }
        }
        false => cell,
    }
}

fn main() {
    let only = std::env::var("ONWARD_RIVALS").ok();
    let tools: Vec<Tool> = TOOLS.into_iter().filter(|tool| tool.version().is_some()).collect();
    let chapters = all();
    // Faults of our own files, and flags that only onward has, are no comparison.
    let faults: Vec<&Fault> = chapters
        .iter()
        .filter(|chapter| !chapter.title.starts_with("Disks"))
        .flat_map(|chapter| &chapter.faults)
        .filter(|fault| !fault.args.contains(&"--no-restart"))
        .filter(|fault| only.as_ref().is_none_or(|word| fault.what.contains(word)))
        .collect();
    let mut work = Vec::new();
    for (row, fault) in faults.iter().enumerate() {
        for tool in 0..tools.len() {
            work.extend(fault.fresh.map(|_| (row, tool, false)));
            work.extend(fault.resumed.map(|_| (row, tool, true)));
        }
    }
    work.reverse();
    let cells: Mutex<Vec<[Vec<Option<Cell>>; 2]>> =
        Mutex::new(faults.iter().map(|_| [(); 2].map(|()| tools.iter().map(|_| None).collect())).collect());
    let work = Mutex::new(work);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((row, tool, resumed)) = work.lock().unwrap().pop() else { return };
                    let cell = play(tools[tool], faults[row], resumed);
                    cells.lock().unwrap()[row][usize::from(resumed)][tool] = Some(cell);
                }
            });
        }
    });
    let table = print(&tools, &faults, &cells.into_inner().unwrap());
    let _ = std::io::stdout().write_all(table.as_bytes());
    if only.is_none() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rivals.md"), &table)
            .expect("the table is written");
    }
}

const HEAD: &str = "\
# The same faults for everybody

Written by `cargo bench --bench rivals`: each program downloads 4 MiB through the same scripted server that lies, stalls
and breaks off, with the flags that resume best (they are in `tests/bench/rivals.rs`). *Resumed*: the program was killed
(SIGKILL) after more than half had arrived, and the same command meets the fault. A wrong file was seen twice.

- **right, N %**: exit 0, the file is what the server has; N hundredths of its size were sent (resumed: in the second
  run alone).
- **WRONG FILE**: exit 0, and the file is not what the server has, without a word.
- **NO FILE**: exit 0, and there is none, or an empty one.
- **exit N**: it said that it failed. Then the server became honest and the same command ran again: *later right*, *later
  WRONG FILE* (exit 0), or *later fails*. Where nothing right can be had (404, a login page) failing is what is wanted.
- **hung**: did not end within 30 s, and was ended.

Where *the digest is known*, onward and aria2c are told it; curl and wget cannot be told. An answer without a range that is
ten bytes longer, or packed with gzip though nobody asked, is to the others what the server has; it is not what it had.
";

fn print(tools: &[Tool], faults: &[&Fault], cells: &[[Vec<Option<Cell>>; 2]]) -> String {
    let mut out = String::from(HEAD);
    let versions: Vec<String> = TOOLS
        .iter()
        .map(|tool| tool.version().unwrap_or_else(|| format!("{} (not installed here)", tool.name())))
        .collect();
    let _ = writeln!(out, "\nVersions: {}.", versions.join(", "));
    let _ = write!(
        out,
        "\n## In numbers\n\n| | cases | right | failed, later right | failed, later fails | hung | WRONG or NO FILE |\n|---|---|---|---|---|---|---|\n"
    );
    for (n, tool) in tools.iter().enumerate() {
        let mine: Vec<&Cell> = cells.iter().flatten().filter_map(|row| row[n].as_ref()).collect();
        let count = |fits: fn(&Cell) -> bool| mine.iter().filter(|cell| fits(cell)).count();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | **{}** |",
            tool.name(),
            mine.len(),
            count(|cell| cell.end == End::Right),
            count(|cell| matches!(cell.end, End::GaveUp(Some(_), Then::Right))),
            count(|cell| matches!(cell.end, End::GaveUp(Some(_), Then::Failed))),
            count(|cell| matches!(cell.end, End::GaveUp(None, Then::Right | Then::Failed))),
            count(Cell::is_wrong),
        );
    }
    for (how, title) in ["Fresh downloads", "Resumed downloads"].into_iter().enumerate() {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name()).collect();
        let _ = write!(
            out,
            "\n## {title}\n\n| what goes wrong | {} |\n|---|{}\n",
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for (fault, row) in faults.iter().zip(cells) {
            if row[how].iter().all(Option::is_none) {
                continue;
            }
            let shown: Vec<String> =
                row[how].iter().map(|cell| cell.as_ref().map_or(".".into(), Cell::shown)).collect();
            let _ = writeln!(out, "| {} | {} |", fault.what, shown.join(" | "));
        }
    }
    out
}
