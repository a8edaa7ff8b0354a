//! The table of the bench: one line for each goal, and below it the numbers of all who took part.

use super::Settings;
use super::limits;
use super::measure::Taken;
use super::rows::{Goal, Row};
use super::tools::{find, version};
use super::world::tell;
use std::fmt::Write as _;
use std::time::SystemTime;

/// What each contestant took, or why it did not.
pub type Results = Vec<(String, Result<Taken, String>)>;

/// Why most do not take part.
pub const NOT_INSTALLED: &str = "not installed";

/// The table as it grows.
pub struct Report {
    head: String,
    /// A line for each goal.
    table: String,
    /// Everybody's numbers.
    details: String,
}

impl Report {
    /// The head: when, where, with what.
    pub fn new(settings: &Settings) -> Self {
        let mut head = String::from(
            "# Beside other tools\n\nWritten by `cargo bench --bench peers`; `tests/bench/peers/` says how. Wall and CPU are seconds, memory is the peak in MiB. [What limits each row](limits.md), with profiles.\n\n",
        );
        let machine = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = machine.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let _ = writeln!(
            head,
            "- {}, {processors} processors ({}), Linux {}, load when it began {}",
            httpdate::fmt_http_date(SystemTime::now()),
            model.trim_start_matches([' ', '\t', ':']),
            kernel.trim(),
            load.split(' ').next().unwrap_or_default(),
        );
        let profile = if cfg!(debug_assertions) { "debug: these numbers mean nothing" } else { "release" };
        let quick = if settings.quick { "; a quick run: these numbers mean little" } else { "" };
        let _ = writeln!(
            head,
            "- build: {profile}{quick}; large file {} MiB, {} small files; medians of {} runs, of {} where one is short; each run's output compared with what was there",
            settings.mib,
            settings.files,
            settings.times(false),
            settings.times(true)
        );
        for tool in ["curl", "wget", "aria2c", "axel", "rclone", "fast-down"] {
            let said = if find(tool).is_some() { version(tool) } else { NOT_INSTALLED.into() };
            let _ = writeln!(head, "- {tool}: {said}");
        }
        tell(&head);
        let table = String::from(
            "\n| work | onward | against | onward's part of it, wall / CPU | at most | | what limits it |\n|---|---|---|---|---|---|---|\n",
        );
        Self { head, table, details: String::new() }
    }

    /// One work with all who did it.
    pub fn row(&mut self, row: &Row, mut results: Results) {
        let bound = row.bound.map(|(name, wall)| (name.to_string(), Ok(Taken { wall, ..Taken::default() })));
        results.extend(bound);
        let mine = match &results[..] {
            [(_, Ok(mine)), ..] => *mine,
            [(_, Err(why)), ..] if why == NOT_INSTALLED => return self.not_run(row.title, why),
            [(_, Err(why)), ..] => return self.value(row.title, why, "", false, ""),
            [] => return,
        };
        let mut text = String::from("| | wall | CPU | peak | onward's part of it |\n|---|---|---|---|---|\n");
        for (n, (name, taken)) in results.iter().enumerate() {
            let _ = match taken {
                Err(why) => writeln!(text, "| {name} | {why} | | | |"),
                Ok(taken) => {
                    let part = if n == 0 { String::new() } else { ratio(&mine, taken) };
                    writeln!(text, "| {name} | {:.3} | {:.3} | {:.1} | {part} |", taken.wall, taken.cpu, taken.peak)
                }
            };
        }
        self.details(row.title, text.trim_end());
        let mut limit = limits::of(row.title, &mine.bound());
        for (name, taken) in results.iter().skip(1) {
            let goal = row.goals.iter().find(|goal| goal.against == name);
            // A row without a goal is shown against everybody.
            if goal.is_none() && !row.goals.is_empty() {
                continue;
            }
            let most = goal.map_or(String::new(), wanted);
            let (against, part, verdict) = match taken {
                Err(why) => (format!("{name}: {why}"), String::new(), ""),
                Ok(taken) => (format!("{name} {}", shown(taken)), ratio(&mine, taken), judge(&mine, taken, goal)),
            };
            self.line([row.title, &shown(&mine), &against, &part, &most, verdict, &std::mem::take(&mut limit)]);
        }
    }

    /// A number of onward's own that has a goal.
    pub fn value(&mut self, title: &str, value: &str, most: &str, met: bool, bound: &str) {
        self.line([title, value, "", "", most, verdict(met), &limits::of(title, bound)]);
    }

    /// A work that could not be done here.
    pub fn not_run(&mut self, title: &str, why: &str) {
        self.line([title, &format!("not run: {}", why.replace(['|', '\n'], " ")), "", "", "", "", ""]);
    }

    /// More about a work, below the table.
    pub fn details(&mut self, title: &str, text: &str) {
        let _ = write!(self.details, "\n## {title}\n\n{text}\n");
    }

    fn line(&mut self, cells: [&str; 7]) {
        let line = format!("| {} |", cells.join(" | "));
        tell(&line);
        let _ = writeln!(self.table, "{line}");
    }

    /// Prints the whole and writes it where the README finds it.
    pub fn finish(self, settings: &Settings) {
        let text = self.head + &self.table + &self.details;
        tell(&text);
        if let Some(folder) = &settings.out {
            let path = folder.join("peers.md");
            std::fs::write(&path, text).expect("the table is written");
            tell(&format!("written: {}", path.display()));
        }
    }

    /// Writes a plot, when results are written.
    pub fn plot(settings: &Settings, name: &str, svg: &str) {
        if let Some(folder) = &settings.out {
            std::fs::write(folder.join(name), svg).expect("the plot is written");
        }
    }
}

fn shown(taken: &Taken) -> String {
    format!("{:.3} / {:.3}, {:.1} MiB", taken.wall, taken.cpu, taken.peak)
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn judge(mine: &Taken, other: &Taken, goal: Option<&Goal>) -> &'static str {
    goal.map_or("", |goal| {
        let wall = goal.wall.is_none_or(|most| mine.wall <= most * other.wall);
        verdict(wall && goal.cpu.is_none_or(|most| mine.cpu <= most * other.cpu))
    })
}

/// onward's part of the other's wall and processor time.
fn ratio(mine: &Taken, other: &Taken) -> String {
    let cpu = if other.cpu > 0.0 { format!(" / {:.2}", mine.cpu / other.cpu) } else { String::new() };
    format!("{:.2}{cpu}", mine.wall / other.wall)
}

fn wanted(goal: &Goal) -> String {
    let numbers = [goal.wall, goal.cpu].into_iter().flatten().map(|most| format!("{most:.2}"));
    numbers.collect::<Vec<_>>().join(" / ")
}
