//! How fast onward is beside the tools people use: the same work for each of them, interleaved, medians, ratios.
//!
//! `cargo bench --bench peers` starts its own nginx, runs whichever of curl, wget, aria2c, axel, rclone, fast-down,
//! tus-js-client and copyparty's u2c are installed (`.ci/servers` installs some), prints the table, and writes it to
//! `tests/bench/peers.md`, with plots of how onward scales beside it. A number counts only on a quiet machine. fast-down
//! calls its program `fd`, as another tool does: it is looked for as `fast-down`, which may be a link.
//!
//! `cargo bench --bench peers -- --quick` does the same works at small sizes in a few minutes, to see that all of it
//! runs; it writes to `target/tmp/` instead. Settings come from the environment (in parentheses: as it comes, quick):
//!
//! - `ONWARD_BENCH_MIB` (2048, 128): the size of the large file.
//! - `ONWARD_BENCH_MIDDLE_MB` (300, 60): that of the file for slow servers and lines, in millions of bytes.
//! - `ONWARD_BENCH_ROUNDS` (5, 2): how often each work is measured, after a first time that is not counted; short works
//!   three times as often.
//! - `ONWARD_BENCH_FILES` (2000, 200): how many small files.
//! - `ONWARD_BENCH_HUGE_GIB` (1024, 1024): the size of the huge, sparse file.
//! - `ONWARD_BENCH_LARGEST_MIB` (102400, 1024), `ONWARD_BENCH_MOST_FILES` (10000, 1000): how far the plots go.
//! - `ONWARD_BENCH_ROWS`: only the works whose title contains this; then nothing is written.
//! - `ONWARD_BENCH_OUT`: write the results into this folder.

// What the tests share is more than this program uses, and a program of the bench may write a file without ceremony.
#![allow(dead_code, unused_imports, clippy::disallowed_methods)]

mod again;
mod ground;
mod huge;
mod limits;
mod line;
mod measure;
#[path = "../../it/nginx.rs"]
mod nginx;
#[path = "../../it/origin/mod.rs"]
mod origin;
mod plot;
mod report;
mod rows;
mod scaling;
#[path = "../../it/servers.rs"]
mod servers;
mod tools;
mod uploads;
#[path = "../../it/world.rs"]
mod world;

use measure::{Taken, median, take};
use report::{NOT_INSTALLED, Report};
use rows::{Field, Row, Work};
use std::path::PathBuf;
use world::{World, tell};

/// What the command line and the environment say.
pub struct Settings {
    /// The size of the large file, in MiB.
    pub mib: u64,
    /// The size of the file for slow servers and lines, in bytes.
    pub middle: u64,
    /// How often each work is measured.
    pub rounds: usize,
    /// How many small files there are.
    pub files: u64,
    /// The size of the huge file, in GiB.
    pub huge_gib: u64,
    /// Up to where the cost is plotted against the size, in MiB.
    pub largest_mib: u64,
    /// Up to where the cost is plotted against the number of files.
    pub most_files: u64,
    /// Only rows whose title contains this.
    pub only: Option<String>,
    /// Whether sizes are small.
    pub quick: bool,
    /// Where results go.
    pub out: Option<PathBuf>,
}

impl Settings {
    fn read() -> Self {
        let quick = std::env::args().any(|word| word == "--quick");
        let number = |name: &str, usual: u64, small: u64| {
            let told = std::env::var(format!("ONWARD_BENCH_{name}")).ok().and_then(|text| text.parse().ok());
            told.unwrap_or(if quick { small } else { usual })
        };
        let only = std::env::var("ONWARD_BENCH_ROWS").ok();
        let quick_out = || PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let out = plot::folder(only.is_none() && !quick).or_else(|| (quick && only.is_none()).then(quick_out));
        // Before anything is measured: an hour later is too late to find out that it cannot be written.
        out.iter().for_each(|folder| std::fs::create_dir_all(folder).expect("the results have a folder"));
        Self {
            mib: number("MIB", 2048, 128),
            middle: number("MIDDLE_MB", 300, 60) * 1_000_000,
            rounds: number("ROUNDS", 5, 2).max(1) as usize,
            files: number("FILES", 2000, 200),
            huge_gib: number("HUGE_GIB", 1024, 1024),
            largest_mib: number("LARGEST_MIB", 100 << 10, 1 << 10),
            most_files: number("MOST_FILES", 10_000, 1000),
            out,
            only,
            quick,
        }
    }

    /// Whether a row of this title is wanted.
    pub fn wants(&self, title: &str) -> bool {
        self.only.as_ref().is_none_or(|word| title.contains(word.as_str()))
    }

    /// How often a work is measured.
    pub fn times(&self, short: bool) -> usize {
        if short { self.rounds * 3 } else { self.rounds }
    }
}

fn main() {
    let settings = Settings::read();
    let world = World::new();
    let Some(field) = Field::new(&world, &settings) else {
        return tell("the bench needs nginx");
    };
    let mut report = Report::new(&settings);
    for row in rows::all(&field).into_iter().filter(|row| settings.wants(row.title)) {
        run(&row, &settings, &mut report);
    }
    line::run(&field, &settings, &mut report);
    again::run(&field, &settings, &mut report);
    huge::run(&field, &settings, &mut report);
    scaling::run(&field, &settings, &mut report);
    report.finish(&settings);
}

/// Runs a row: each contestant once a round, so that all meet the same moods of the machine, and each once the first.
fn run(row: &Row, settings: &Settings, report: &mut Report) {
    tell(&format!("== {}", row.title));
    let mut taken: Vec<Result<Vec<Taken>, String>> = row.contestants.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..=settings.times(row.short) {
        for n in 0..row.contestants.len() {
            let n = (n + round) % row.contestants.len();
            let Ok(runs) = &mut taken[n] else { continue };
            match row.contestants[n].work.as_ref().ok_or(NOT_INSTALLED.to_string()).and_then(|work| once(&**work)) {
                Ok(_) if round == 0 => {}
                Ok(run) => runs.push(run),
                Err(why) => taken[n] = Err(why),
            }
        }
    }
    let taken = taken.into_iter().map(|runs| runs.map(|runs| median(&runs)));
    report.row(row, row.contestants.iter().map(|one| one.name.clone()).zip(taken).collect());
}

/// A run counts if what came is right.
fn once(work: &dyn Work) -> Result<Taken, String> {
    work.ready();
    let taken = take(&work.command())?;
    if work.right() { Ok(taken) } else { Err("what came is not what was there".into()) }
}
