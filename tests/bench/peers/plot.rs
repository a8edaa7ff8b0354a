//! Small plots as SVG, both axes logarithmic: a straight line of slope one is linear growth, a level one is none, and a
//! bend is seen.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 3] = ["#1f6f8b", "#c05640", "#6a8532"];

/// Where results go: the folder that `ONWARD_BENCH_OUT` names, else, after a run of everything, where they are committed.
pub fn folder(everything: bool) -> Option<PathBuf> {
    let told = std::env::var_os("ONWARD_BENCH_OUT").map(PathBuf::from);
    told.or_else(|| everything.then(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench")))
}

/// A plot of some series of `(x, y)`, each with its name.
pub fn plot(title: &str, of: &str, series: &[(&str, Vec<(f64, f64)>)]) -> String {
    let points = || series.iter().flat_map(|(_, points)| points).filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let (left, right) = decades(points().map(|(x, _)| *x));
    let (low, high) = decades(points().map(|(_, y)| *y));
    let x_of = |x: f64| MARGIN + (x.log10() - left) / (right - left) * (WIDTH - 2.0 * MARGIN);
    let y_of = |y: f64| HEIGHT - MARGIN - (y.log10() - low) / (high - low) * (HEIGHT - 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    let text = |x: f64, y: f64, anchor: &str, text: &str| {
        format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
            text.replace('&', "&amp;").replace('<', "&lt;")
        )
    };
    out.push_str(&text(WIDTH / 2.0, 24.0, "middle", title));
    out.push_str(&text(WIDTH / 2.0, HEIGHT - 12.0, "middle", of));
    let line = |x1: f64, y1: f64, x2: f64, y2: f64| {
        format!("<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#ddd\"/>\n")
    };
    for decade in left as i32..=right as i32 {
        let x = x_of(10f64.powi(decade));
        out.push_str(&line(x, MARGIN, x, HEIGHT - MARGIN));
        out.push_str(&text(x, HEIGHT - MARGIN + 18.0, "middle", &power(decade)));
    }
    for decade in low as i32..=high as i32 {
        let y = y_of(10f64.powi(decade));
        out.push_str(&line(MARGIN, y, WIDTH - MARGIN, y));
        out.push_str(&text(MARGIN - 8.0, y + 4.0, "end", &power(decade)));
    }
    for (n, (name, points)) in series.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let seen: Vec<(f64, f64)> =
            points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x_of(*x), y_of(*y))).collect();
        let path: Vec<String> = seen.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in &seen {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let y = 44.0 + 14.0 * n as f64;
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{name}</text>", MARGIN + 8.0);
    }
    out + "</svg>\n"
}

/// The powers of ten around the numbers, at least one apart.
fn decades(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = numbers.fold((f64::MAX, f64::MIN), |(low, high), n| (low.min(n), high.max(n)));
    if low > high {
        return (0.0, 1.0);
    }
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    (low, if high > low { high } else { low + 1.0 })
}

fn power(decade: i32) -> String {
    match decade {
        0..=6 => 10u64.pow(decade as u32).to_string(),
        -3..=-1 => format!("{:.*}", decade.unsigned_abs() as usize, 10f64.powi(decade)),
        _ => format!("1e{decade}"),
    }
}
