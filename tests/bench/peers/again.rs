//! A finished file asked for again: one request, and no byte of the body moves.

use super::Settings;
use super::measure::{median, take};
use super::report::Report;
use super::rows::{Field, forget};
use super::tools;
use std::fs;

const TITLE: &str = "a finished download, asked for again";

/// Runs the row.
pub fn run(field: &Field, settings: &Settings, report: &mut Report) {
    if !settings.wants(TITLE) {
        return;
    }
    let (url, out) = (field.nginx.url("/large"), field.fast.join("again"));
    forget(&field.home);
    let fetch = tools::fetch("onward", &field.home, &url, &out, None);
    let before = match take(&fetch) {
        Ok(_) => field.nginx.log().lines().count(),
        Err(why) => return report.value(TITLE, &why, "", false, ""),
    };
    let times = settings.times(true);
    let runs: Result<Vec<_>, String> = (0..times).map(|_| take(&fetch)).collect();
    let _ = fs::remove_file(&out);
    let taken = match runs {
        Ok(runs) => median(&runs),
        Err(why) => return report.value(TITLE, &why, "", false, ""),
    };
    let log = field.nginx.log();
    let asked: Vec<&str> = log.lines().skip(before).collect();
    let bytes: u64 = asked.iter().filter_map(|line| line.split(' ').nth(4)?.parse::<u64>().ok()).sum();
    let value =
        format!("{} requests and {bytes} body bytes in {times} runs, {:.1} ms each", asked.len(), taken.wall * 1e3);
    report.value(TITLE, &value, "one request a run, no body byte", asked.len() == times && bytes == 0, &taken.bound());
}
