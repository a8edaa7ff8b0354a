//! Time and memory against the size of the file, the number of connections, of files and of chunks: a bend in a curve
//! is something that does not scale.

use super::measure::{Taken, median, take};
use super::report::Report;
use super::rows::Field;
use super::world::Content;
use super::{Settings, number, plot, tools};
use std::fs::{self, File};
use std::process::Command;

/// Runs the four, and writes each as `tests/bench/scaling-*.svg`.
pub fn run(field: &Field, settings: &Settings, report: &mut Report) {
    if !settings.wants("scaling") {
        return;
    }
    let largest = number("ONWARD_BENCH_LARGEST_MIB", settings.mib);
    let most = settings.files as u64;
    let mut text = String::from("| against | smallest | largest | plot |\n|---|---|---|---|\n");
    for (name, of, points) in [
        ("size", "MiB (sparse)", steps(1, largest, |mib| size(field, mib))),
        ("connections", "connections", steps(1, 64, |n| connections(field, n))),
        ("files", "files of 4 KiB", steps(1, most, |n| files(field, n))),
        (
            "chunks",
            "chunks",
            steps(1, (settings.mib << 20).div_ceil(64 << 10).min(10_000), |n| chunks(field, n, settings.mib << 20)),
        ),
    ] {
        let taken: Vec<(u64, Taken)> = points
            .into_iter()
            .filter_map(|(x, mut command)| Some((x, measure(field, &mut command, settings)?)))
            .collect();
        let (Some(first), Some(last)) = (taken.first(), taken.last()) else { continue };
        let shown = |(x, taken): &(u64, Taken)| format!("{x}: {:.3} s, {:.1} MiB", taken.wall, taken.peak);
        text.push_str(&format!(
            "| {of} | {} | {} | [scaling-{name}.svg](scaling-{name}.svg) |\n",
            shown(first),
            shown(last)
        ));
        let curve = |of: fn(&Taken) -> f64| taken.iter().map(|(x, taken)| (*x as f64, of(taken))).collect();
        let svg = plot::plot(
            &format!("onward download against {name}"),
            of,
            &[("seconds", curve(|t| t.wall)), ("CPU seconds", curve(|t| t.cpu)), ("peak MiB", curve(|t| t.peak))],
        );
        if let Some(folder) = plot::folder(settings.only.is_none()) {
            fs::write(folder.join(format!("scaling-{name}.svg")), svg).expect("the plot is written");
        }
    }
    report.note("scaling", text.trim_end());
}

/// About three steps a decade from `first` to `last`, each with its command.
fn steps(
    first: u64,
    last: u64,
    of: impl Fn(u64) -> Box<dyn FnMut() -> Command>,
) -> Vec<(u64, Box<dyn FnMut() -> Command>)> {
    let mut all: Vec<u64> = (0..)
        .map(|n| (first as f64 * 10f64.powf(f64::from(n) / 3.0)).round() as u64)
        .take_while(|x| *x < last)
        .collect();
    all.push(last);
    all.dedup();
    all.into_iter().map(|x| (x, of(x))).collect()
}

fn measure(field: &Field, command: &mut dyn FnMut() -> Command, settings: &Settings) -> Option<Taken> {
    let runs = (0..settings.rounds.clamp(1, 3)).filter_map(|_| {
        Field::forget(&field.home);
        let into = field.fast.join("scaling");
        let _ = fs::remove_dir_all(&into);
        fs::create_dir_all(&into).ok()?;
        take(command()).ok()
    });
    let runs: Vec<Taken> = runs.collect();
    (!runs.is_empty()).then(|| median(runs))
}

fn fetch(field: &Field, url: String, args: Vec<String>) -> Box<dyn FnMut() -> Command> {
    let (home, out) = (field.home.clone(), field.fast.join("scaling/out"));
    Box::new(move || {
        let mut command = tools::fetch("onward", &home, &url, &out, None);
        command.args(&args);
        command
    })
}

fn size(field: &Field, mib: u64) -> Box<dyn FnMut() -> Command> {
    let name = format!("sparse-{mib}");
    let file = File::create(field.nginx.file(&name)).expect("it can be made");
    file.set_len(mib << 20).expect("it can be sparse");
    fetch(field, field.nginx.url(&format!("/{name}")), Vec::new())
}

fn connections(field: &Field, n: u64) -> Box<dyn FnMut() -> Command> {
    fetch(field, field.nginx.url("/large"), vec!["-x".into(), n.to_string()])
}

fn chunks(field: &Field, n: u64, length: u64) -> Box<dyn FnMut() -> Command> {
    fetch(field, field.nginx.url("/large"), vec!["--chunk-size".into(), length.div_ceil(n).to_string()])
}

fn files(field: &Field, n: u64) -> Box<dyn FnMut() -> Command> {
    let list = field.fast.join(format!("list-{n}"));
    let urls: Vec<String> = (0..n).map(|n| field.nginx.url(&format!("/small/{n}"))).collect();
    fs::write(&list, urls.join("\n") + "\n").expect("a list can be written");
    let (home, into) = (field.home.clone(), field.fast.join("scaling"));
    Box::new(move || tools::fetch_many("onward", &home, &list, &into, false))
}
