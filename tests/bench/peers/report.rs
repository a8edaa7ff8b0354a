//! The table of the bench.

use super::Settings;
use super::measure::Taken;
use super::plot;
use super::rows::Goal;
use super::tools::find;
use super::world::tell;
use std::fmt::Write as _;
use std::process::Command;
use std::time::SystemTime;

/// What each contestant took, or why it did not.
pub type Results = Vec<(String, Result<Taken, String>)>;

/// The table as it grows.
pub struct Report(String);

impl Report {
    /// The head: when, where, with what.
    pub fn new(settings: &Settings) -> Self {
        let mut text = String::from(
            "# Beside other tools\n\nWritten by `cargo bench --bench peers`; `tests/bench/peers/` says how.\n\n",
        );
        let machine = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = machine.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let _ = writeln!(
            text,
            "- {}, {processors} processors ({}), Linux {}",
            httpdate::fmt_http_date(SystemTime::now()),
            model.trim_start_matches([' ', '\t', ':']),
            kernel.trim(),
        );
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let _ = writeln!(text, "- load when it began: {}", load.split(' ').next().unwrap_or_default());
        let profile = if cfg!(debug_assertions) { "debug: these numbers mean nothing" } else { "release" };
        let _ = writeln!(
            text,
            "- build: {profile}; large file {} MiB; medians of {} rounds",
            settings.mib, settings.rounds
        );
        for tool in ["curl", "wget", "aria2c", "rclone"] {
            let said = find(tool).and_then(|path| Command::new(path).arg("--version").output().ok());
            let version =
                said.map(|said| String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_string());
            let version =
                version.map_or("not installed here".into(), |v| v.split(" (").next().unwrap_or_default().to_string());
            let _ = writeln!(text, "- {tool}: {version}");
        }
        Self(text)
    }

    /// One work with all who did it.
    pub fn row(&mut self, title: &str, goals: &[Goal], results: Results) {
        let mine =
            results.iter().find(|(name, _)| name == "onward").and_then(|(_, taken)| taken.as_ref().ok()).copied();
        let mut text = format!(
            "\n## {title}\n\n| | wall s | CPU s | peak MiB | onward's wall / CPU | goal |\n|---|---|---|---|---|---|\n"
        );
        for (name, taken) in &results {
            let line = match taken {
                Err(why) => format!("| {name} | {why} | | | | |\n"),
                Ok(taken) => {
                    let (ratio, verdict) = match mine.filter(|_| name != "onward") {
                        None => (String::new(), String::new()),
                        Some(mine) => compare(&mine, taken, goals.iter().find(|goal| goal.against == name)),
                    };
                    format!(
                        "| {name} | {:.3} | {:.2} | {:.1} | {ratio} | {verdict} |\n",
                        taken.wall, taken.cpu, taken.peak
                    )
                }
            };
            text.push_str(&line);
        }
        self.add(&text);
    }

    /// Something that is no comparison.
    pub fn note(&mut self, title: &str, text: &str) {
        self.add(&format!("\n## {title}\n\n{text}\n"));
    }

    fn add(&mut self, text: &str) {
        tell(text);
        self.0.push_str(text);
    }

    /// Writes it where the README finds it.
    pub fn finish(self, all: bool) {
        if let Some(folder) = plot::folder(all) {
            let path = folder.join("peers.md");
            std::fs::write(&path, &self.0).expect("the table is written");
            tell(&format!("written: {}", path.display()));
        }
    }
}

/// The ratios, and whether the goal is met.
fn compare(mine: &Taken, other: &Taken, goal: Option<&Goal>) -> (String, String) {
    let (wall, cpu) = (mine.wall / other.wall, mine.cpu / other.cpu.max(0.001));
    let verdict = goal.map_or(String::new(), |goal| {
        let met = goal.wall.is_none_or(|most| wall <= most) && goal.cpu.is_none_or(|most| cpu <= most);
        let number = |most: Option<f64>| most.map_or(String::new(), |most| format!("{most:.2}"));
        let wanted = [number(goal.wall), number(goal.cpu)].into_iter().filter(|text| !text.is_empty());
        format!("{} {}", wanted.collect::<Vec<_>>().join(" / "), if met { "met" } else { "MISSED" })
    });
    (format!("{wall:.2} / {cpu:.2}"), verdict)
}
