//! Time and memory against the size of the file, the number of connections, of files and of chunks: a bend in a curve
//! is something that does not scale.

use super::ground::{Ground, room};
use super::measure::{Taken, median, take};
use super::report::Report;
use super::rows::{Field, equal, forget};
use super::{Settings, plot, tools};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// No point is measured again when it has taken this long.
const ENOUGH: Duration = Duration::from_secs(10);

/// A command, and whether what came of it is right.
type Point = (Command, Box<dyn Fn() -> bool>);

/// Runs the four, and writes each as `scaling-*.svg`.
pub fn run(field: &Field, settings: &Settings, report: &mut Report) {
    let most_chunks = ((settings.mib << 20) / (64 << 10)).min(10_000);
    let out = field.fast.join("scaling");
    let mut text = String::from("| against | smallest | largest | plot |\n|---|---|---|---|\n");
    let mut curve = |name: &str, of: &str, into: &Path, last: u64, point: &dyn Fn(u64) -> Point| {
        if settings.wants(&format!("scaling: {name}")) {
            let taken: Vec<(u64, Taken)> = steps(last)
                .into_iter()
                .map_while(|x| Some((x, measure(field, into, settings, &|| point(x))?)))
                .collect();
            text.push_str(&draw(name, of, &taken, settings));
        }
    };
    curve("connections", "connections", &out, 64, &|n| large(field, &out, "-x", n.to_string()));
    curve("files", "files of 4 KiB", &out, settings.most_files, &|n| files(field, &out, n));
    let length = settings.mib << 20;
    curve("chunks", "chunks", &out, most_chunks, &|n| {
        large(field, &out, "--chunk-size", length.div_ceil(n).to_string())
    });
    if settings.wants("scaling: size") {
        let (ground, largest) = sparse(field, settings.largest_mib);
        let into = ground.as_ref().map_or(field.disk.clone(), |ground| ground.path().into()).join("scaling");
        curve("size", "MiB (sparse at the source)", &into, largest, &|mib| size(field, &into, mib));
    }
    if settings.wants("scaling") {
        report.details("scaling", text.trim_end());
    }
}

/// Where a file of so many MiB can be written, and how many.
fn sparse(field: &Field, mib: u64) -> (Option<Ground>, u64) {
    let here = room(&field.disk).unwrap_or(0) >> 20;
    if mib < here / 4 {
        return (None, mib);
    }
    match Ground::zeros(&field.disk, mib.div_ceil(1 << 10)) {
        Ok(ground) => (Some(ground), mib),
        Err(_) => (None, here / 4),
    }
}

/// One, two, five and so on, up to `last`.
fn steps(last: u64) -> Vec<u64> {
    let steps = (0..).flat_map(|decade| [1, 2, 5].map(|n| n * 10u64.pow(decade)));
    // A step just below the last would tell nothing more.
    steps.take_while(|x| x * 5 / 4 < last).chain([last]).collect()
}

/// The medians of a point; `None`, said aloud, where it goes wrong.
fn measure(field: &Field, into: &Path, settings: &Settings, point: &dyn Fn() -> Point) -> Option<Taken> {
    let (began, mut runs) = (Instant::now(), Vec::new());
    while runs.len() < settings.times(false) && (runs.is_empty() || began.elapsed() < ENOUGH) {
        forget(&field.home);
        let _ = fs::remove_dir_all(into);
        fs::create_dir_all(into).ok()?;
        let (command, right) = point();
        match take(&command) {
            Ok(taken) if right() => runs.push(taken),
            Ok(_) => return tell_none("what came is not what was there"),
            Err(why) => return tell_none(&why),
        }
    }
    let _ = fs::remove_dir_all(into);
    Some(median(&runs))
}

fn tell_none(why: &str) -> Option<Taken> {
    super::tell(&format!("the curve ends here: {why}"));
    None
}

/// Writes the plot; its line in the table.
fn draw(name: &str, of: &str, taken: &[(u64, Taken)], settings: &Settings) -> String {
    let (Some(first), Some(last)) = (taken.first(), taken.last()) else { return format!("| {of} | failed | | |\n") };
    for (x, taken) in taken {
        super::tell(&format!("{x} {of}: {:.3} s, CPU {:.3} s, {:.1} MiB", taken.wall, taken.cpu, taken.peak));
    }
    let curve = |of: fn(&Taken) -> f64| taken.iter().map(|(x, taken)| (*x as f64, of(taken))).collect();
    let series = [("seconds", curve(|t| t.wall)), ("CPU seconds", curve(|t| t.cpu)), ("peak MiB", curve(|t| t.peak))];
    let file = format!("scaling-{name}.svg");
    Report::plot(settings, &file, &plot::plot(&format!("onward download against {name}"), of, &series));
    let shown = |(x, taken): &(u64, Taken)| format!("{x}: {:.3} s, {:.1} MiB", taken.wall, taken.peak);
    format!("| {of} | {} | {} | [{file}]({file}) |\n", shown(first), shown(last))
}

/// The large file with an option.
fn large(field: &Field, into: &Path, flag: &str, value: String) -> Point {
    let (out, served) = (into.join("out"), field.served("large"));
    let mut command = tools::fetch("onward", &field.home, &field.nginx.url("/large"), &out, None);
    command.arg(flag).arg(value);
    (command, Box::new(move || equal(&out, &served)))
}

/// A file of holes: too large to be compared, its length must do.
fn size(field: &Field, into: &Path, mib: u64) -> Point {
    let served = field.served("sparse");
    let file = File::create(&served).expect("it can be made");
    file.set_len(mib << 20).expect("it can be sparse");
    let out = into.join("out");
    let command = tools::fetch("onward", &field.home, &field.nginx.url("/sparse"), &out, None);
    (command, Box::new(move || fs::metadata(&out).is_ok_and(|meta| meta.len() == mib << 20)))
}

fn files(field: &Field, into: &Path, n: u64) -> Point {
    let (list, into, small) = (field.list(n), into.to_owned(), field.served("small"));
    let command = tools::fetch_many("onward", &field.home, &list, &into, false);
    let right = move || (0..n).all(|n| equal(&into.join(n.to_string()), &small.join(n.to_string())));
    (command, Box::new(right))
}
