//! The small works that happen often: sets of bytes, claims, records, hashes, fields. For each the time, and the number
//! of instructions where valgrind or perf can count them: that number is the same on a noisy machine.
//!
//! `cargo bench --bench micro` prints a table and writes it to `tests/bench/micro.md`, and how a commit of the record
//! grows with the number of chunks to `tests/bench/commit.svg`. `ONWARD_BENCH_ROWS` runs only some,
//! and then writes only where `ONWARD_BENCH_OUT` names a folder.

// What the benches share is more than this program uses, and it may write a file without ceremony.
#![allow(dead_code, clippy::disallowed_methods)]

#[path = "peers/plot.rs"]
mod plot;

use onward::byteset::ByteSet;
use onward::chunk::{ByteRange, Layout};
use onward::digest::{Algorithm, Crc, Hasher};
use onward::engine::spans::Spans;
use onward::partial::ledger::Ledger;
use onward::record::{Kind, Record};
use onward::wire::content_range::ContentRange;
use onward::wire::dialect::{Flag, Key, Template, Values};
use onward::wire::filename;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// A work: its name, what one time of it is, and how it is done so many times.
struct Work {
    name: &'static str,
    unit: &'static str,
    run: fn(u32),
}

/// Says which work a process under valgrind is to do, and how often.
const ALONE: &str = "ONWARD_BENCH_ALONE";
/// The most chunks a transfer has.
const CHUNKS: u64 = 10_000;

fn works() -> Vec<Work> {
    let work = |name, unit, run| Work { name, unit, run };
    vec![
        work("byteset: 10,000 runs inserted out of order, then joined", "all of them", |times| repeat(times, byteset)),
        work("byteset: text of 5,000 runs, written and read", "both", |times| {
            let set: ByteSet = (0..5000).map(|n| ByteRange::new(n * 20, n * 20 + 10)).collect();
            repeat(times, || {
                black_box(ByteSet::parse(&black_box(&set).to_string()).expect("it wrote it itself"));
            });
        }),
        work("byteset: the first gap behind 5,000 runs", "one look", |times| {
            let set: ByteSet = (0..5000).map(|n| ByteRange::new(n * 20, n * 20 + 10)).collect();
            repeat(times, || {
                black_box(set.missing(ByteRange::new(black_box(99_000), 200_000)).next());
            });
        }),
        work("spans: 10,000 claims taken, advanced, released", "all of them", |times| repeat(times, claims)),
        work("ledger: 1,000 chunks of 4 writes each", "all of them", |times| {
            repeat(times, || {
                black_box(ledger(1000, 4));
            });
        }),
        work("record: what a commit writes at 10,000 chunks", "one commit", |times| {
            let (ledger, mut record) = (ledger(CHUNKS, 1), record(CHUNKS));
            repeat(times, || {
                black_box(commit(&ledger, &mut record));
            });
        }),
        work("record: read again at 10,000 chunks", "one record", |times| {
            let text = commit(&ledger(CHUNKS, 1), &mut record(CHUNKS));
            repeat(times, || {
                black_box(Record::from_toml(black_box(&text)).expect("it wrote it itself"));
            });
        }),
        work("CRC-64/NVME of a chunk", "8 MiB", |times| {
            let chunk = chunk();
            repeat(times, || {
                black_box(Crc::of(black_box(&chunk)));
            });
        }),
        work("CRC-64/NVME of two pieces joined", "one join", |times| {
            let (piece, next) = (Crc::of(&[7; 1024]), Crc::of(&[8; 400_000]));
            repeat(times, || {
                black_box(black_box(piece).then(black_box(next)));
            });
        }),
        work("SHA-256 of a chunk", "8 MiB", |times| hash(times, Algorithm::Sha256)),
        work("MD5 of a chunk", "8 MiB", |times| hash(times, Algorithm::Md5)),
        work("BLAKE3 of a chunk", "8 MiB", |times| hash(times, Algorithm::Blake3)),
        work("dialect: a form's URL filled from its template", "one URL", |times| {
            let text =
                "/upload?name={name}&index={index|pad:6}&from={offset}&to={end}&of={count}&last={last?true:false}";
            let template = Template::parse(text).expect("it is a template");
            repeat(times, || {
                black_box(template.fill_url(black_box(&Piece)).expect("all values are there"));
            });
        }),
        work("field: Content-Range read", "one field", |times| {
            repeat(times, || {
                black_box(ContentRange::parse(black_box("bytes 5242880-16777215/16777216")));
            });
        }),
        work("field: a hostile file name made safe", "one name", |times| {
            repeat(times, || {
                black_box(filename::safe(black_box("..\\..\\na\u{202e}ive\u{7}.partial.toml")));
            });
        }),
    ]
}

fn repeat(times: u32, mut work: impl FnMut()) {
    (0..times).for_each(|_| work());
}

/// What a template asks for.
struct Piece;

impl Values for Piece {
    fn value(&self, key: &Key) -> Option<String> {
        Some(if *key == Key::Name { "a b & c.iso".into() } else { "16777216".into() })
    }

    fn flag(&self, _: Flag) -> bool {
        true
    }
}

/// The numbers `0..10,000` in an order that hops about: the factor has no divisor in common with 10,000.
fn hops() -> impl Iterator<Item = u64> {
    (0..CHUNKS).map(|n| n * 7919 % CHUNKS)
}

fn byteset() {
    let mut set = ByteSet::new();
    for n in hops() {
        set.insert(ByteRange::new(n * 100, n * 100 + 100));
    }
    assert_eq!(black_box(set).runs().count(), 1);
}

fn claims() {
    let mut spans = Spans::new([ByteRange::new(0, CHUNKS << 20)]);
    while let Some(claim) = spans.take(1 << 20, 1 << 20) {
        spans.advance(claim.id, claim.range.end);
        spans.release(claim.id);
    }
    assert!(black_box(spans).is_done());
}

/// A ledger of `chunks` chunks of 4 KiB, every second one there, written in so many pieces.
fn ledger(chunks: u64, pieces: u64) -> Ledger {
    let mut ledger = Ledger::new(Layout::new(chunks * 4096, 4096));
    let length = 4096 / pieces;
    let sum = Crc::of(&vec![7; length as usize]);
    for chunk in hops().filter(|n| *n < chunks && n % 2 == 0) {
        for piece in 0..pieces {
            let start = chunk * 4096 + piece * length;
            ledger.add(ByteRange::new(start, start + length), sum);
        }
    }
    ledger.sync_begins();
    ledger.sync_ended();
    ledger
}

fn record(chunks: u64) -> Record {
    let mut record = Record::new(Kind::Download, "http://example.org/big.iso", "big.iso", 4096);
    record.length = Some(chunks * 4096);
    record
}

/// What a commit does before the disk comes in.
fn commit(ledger: &Ledger, record: &mut Record) -> String {
    ledger.fill(record, "a boot id");
    record.to_toml()
}

fn chunk() -> Vec<u8> {
    (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn hash(times: u32, algorithm: Algorithm) {
    let chunk = chunk();
    repeat(times, || {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(black_box(&chunk));
        black_box(hasher.finish());
    });
}

/// Seconds for one time: the best of five, each of a tenth of a second or more.
fn time(run: fn(u32)) -> f64 {
    let measure = |times: u32| {
        let started = Instant::now();
        run(times);
        started.elapsed()
    };
    let mut times = 1;
    while measure(times) < Duration::from_millis(100) && times < 1 << 24 {
        times *= 2;
    }
    let best = (0..5).map(|_| measure(times)).min().unwrap_or_default();
    // What comes before the first time of it is taken off.
    (best.saturating_sub(measure(0))).as_secs_f64() / f64::from(times)
}

/// Instructions for one time: what `times` more of them add. valgrind plays the same processor on every machine; without
/// it the processor's own counter is asked. `None` where neither can be had.
fn instructions(index: usize, times: u32) -> Option<u64> {
    let count = |times: u32| {
        let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
        let perf = ["perf", "stat", "-x,", "-e", "instructions:u"];
        counted(&valgrind, index, times).or_else(|| counted(&perf, index, times))
    };
    Some(count(times + 1)?.checked_sub(count(1)?)? / u64::from(times))
}

/// What a counting program says of this one, doing a work so many times.
fn counted(program: &[&str], index: usize, times: u32) -> Option<u64> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(std::env::current_exe().ok()?);
    let said = command.env(ALONE, format!("{index} {times}")).output().ok()?;
    let text = String::from_utf8_lossy(&said.stderr);
    let valgrind = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    let perf = || text.lines().find(|line| line.contains("instructions"))?.split(',').next();
    valgrind.or_else(perf)?.trim().parse().ok()
}

fn main() {
    let works = works();
    if let Ok(alone) = std::env::var(ALONE) {
        let mut words = alone.split(' ').filter_map(|word| word.parse::<usize>().ok());
        if let (Some(index), Some(times)) = (words.next(), words.next()) {
            (works[index].run)(times as u32);
        }
        return;
    }
    let only = std::env::var("ONWARD_BENCH_ROWS").ok();
    let mut table = String::from(
        "# Small works\n\nWritten by `cargo bench --bench micro`. Instructions are counted by valgrind, else by the processor; they do not depend on how busy the machine is.\n\n",
    );
    let profile = if cfg!(debug_assertions) { "debug: these numbers mean nothing" } else { "release" };
    let _ = write!(table, "Build: {profile}.\n\n| work | of what | time | instructions |\n|---|---|---|---|\n");
    for (index, work) in works.iter().enumerate() {
        if only.as_ref().is_some_and(|word| !work.name.contains(word.as_str())) {
            continue;
        }
        let seconds = time(work.run);
        // The start of a process varies a little: small works are done often enough not to notice.
        let times = (0.002 / seconds).clamp(1.0, 10_000.0) as u32;
        let instructions = instructions(index, times).map_or("not counted here".into(), |n| n.to_string());
        let _ = writeln!(table, "| {} | {} | {} | {instructions} |", work.name, work.unit, shown(seconds));
    }
    let _ = std::io::stdout().write_all(table.as_bytes());
    if let Some(folder) = plot::folder(only.is_none()) {
        std::fs::write(folder.join("micro.md"), table).expect("the table is written");
        std::fs::write(folder.join("commit.svg"), commits()).expect("the plot is written");
    }
}

/// How long a commit takes with more and more chunks.
fn commits() -> String {
    let points = [1, 3, 10, 30, 100, 300, 1000, 3000, CHUNKS].into_iter().map(|chunks| {
        let (ledger, mut record) = (ledger(chunks, 1), record(chunks));
        let best = (0..5).map(|_| {
            let started = Instant::now();
            (0..20).for_each(|_| drop(black_box(commit(&ledger, &mut record))));
            started.elapsed().as_secs_f64() / 20.0
        });
        (chunks as f64, best.fold(f64::MAX, f64::min) * 1e3)
    });
    plot::plot("A commit of the record, without the disk", "chunks", &[("ms", points.collect())])
}

fn shown(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s => format!("{:.2} ms", s * 1e3),
    }
}
