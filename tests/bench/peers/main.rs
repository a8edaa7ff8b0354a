//! How fast onward is beside the tools people use: the same work for each of them, interleaved, medians, ratios.
//!
//! `cargo bench --bench peers` starts its own nginx, runs whichever of curl, wget, aria2c and rclone are installed,
//! prints the table and writes it to `tests/bench/peers.md`, with
//! plots of how onward scales beside it. Settings come from the environment:
//!
//! - `ONWARD_BENCH_MIB` (512): the size of the large file. The table of the issue is for 2048.
//! - `ONWARD_BENCH_ROUNDS` (5): how often each work is done; the first round is checked and not counted.
//! - `ONWARD_BENCH_FILES` (2000): how many small files.
//! - `ONWARD_BENCH_LARGEST_MIB` (as the large file): up to where the time is plotted against the size.
//! - `ONWARD_BENCH_HUGE_GIB` (1024): the size of the huge, sparse file.
//! - `ONWARD_BENCH_ROWS`: only the rows whose title contains this; then nothing is written.
//! - `ONWARD_BENCH_OUT`: write the results into this folder.
//!
//! A number counts only on a quiet machine.

// What the tests share is more than this program uses, and a program of the bench may write a file without ceremony.
#![allow(dead_code, unused_imports, clippy::disallowed_methods)]

mod huge;
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
use report::Report;
use rows::{Field, Row};
use std::path::{Path, PathBuf};
use std::process::Command;
use world::{Content, World, tell};

/// What the environment says.
pub struct Settings {
    /// The size of the large file, in MiB.
    pub mib: u64,
    /// How often each work is measured.
    pub rounds: usize,
    /// How many small files there are.
    pub files: usize,
    /// Only rows whose title contains this.
    pub only: Option<String>,
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

impl Settings {
    fn read() -> Self {
        Self {
            mib: number("ONWARD_BENCH_MIB", 512),
            rounds: number("ONWARD_BENCH_ROUNDS", 5) as usize,
            files: number("ONWARD_BENCH_FILES", 2000) as usize,
            only: std::env::var("ONWARD_BENCH_ROWS").ok(),
        }
    }

    /// Whether a row of this title is wanted.
    pub fn wants(&self, title: &str) -> bool {
        self.only.as_ref().is_none_or(|word| title.contains(word.as_str()))
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
        run(&row, settings.rounds, &mut report);
    }
    huge::run(&field, &settings, &mut report);
    line::run(&field, &settings, &mut report);
    scaling::run(&field, &settings, &mut report);
    report.finish(settings.only.is_none());
}

/// Runs a row: each contestant once a round, in turn, so that all meet the same moods of the machine.
fn run(row: &Row, rounds: usize, report: &mut Report) {
    tell(&format!("== {}", row.title));
    let mut taken: Vec<Vec<Taken>> = row.contestants.iter().map(|_| Vec::new()).collect();
    let mut failed: Vec<Option<String>> = vec![None; row.contestants.len()];
    for round in 0..=rounds * row.often {
        for (n, one) in row.contestants.iter().enumerate() {
            if failed[n].is_some() {
                continue;
            }
            (one.before)();
            let result = take((one.command)()).and_then(|taken| match round > 0 || (one.right)() {
                true => Ok(taken),
                false => Err("what came is not what was there".into()),
            });
            match result {
                Ok(result) if round > 0 => taken[n].push(result),
                Ok(_) => {}
                Err(why) => failed[n] = Some(why),
            }
        }
    }
    let medians = row.contestants.iter().zip(taken).zip(failed).map(|((one, taken), failed)| match failed {
        Some(why) => (one.name.clone(), Err(why)),
        None => (one.name.clone(), Ok(median(taken))),
    });
    report.row(row.title, &row.goals, medians.collect());
}
