//! The table of `onward status`; where the terminal is too narrow for one, a few lines for each transfer.

use super::words;
use crate::units;
use console::{measure_text_width, truncate_str};
use std::time::Duration;

/// Less room for the remote place than this, and there is no table.
const LEAST_REMOTE: usize = 16;

/// One unfinished transfer.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// The local file.
    pub file: String,
    /// `download`, `upload` or `receive`; empty while nothing is known.
    pub way: &'static str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
    /// Since the record was written.
    pub age: Option<Duration>,
    /// Whether a process is at it, or what is wrong.
    pub state: String,
    /// The other side.
    pub remote: String,
}

/// The table of `rows`, at most `width` columns wide where a width is given.
pub fn table(rows: &[Row], width: Option<usize>) -> String {
    let lines: Vec<[String; 7]> = rows.iter().map(cells).collect();
    let head = ["FILE", "DONE", "SIZE", "WAY", "AGE", "STATE", "REMOTE"].map(str::to_string);
    let all: Vec<&[String; 7]> = std::iter::once(&head).chain(&lines).collect();
    let wide = |column: usize| all.iter().map(|line| measure_text_width(&line[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(wide).collect();
    let fixed: usize = widths.iter().map(|width| width + 2).sum();
    if width.is_some_and(|width| fixed + LEAST_REMOTE.min(wide(6)) > width) {
        return lines.iter().map(|line| stanza(line, width.unwrap_or(usize::MAX))).collect();
    }
    let mut text = String::new();
    for line in all {
        let mut out = String::new();
        for (column, cell) in line.iter().enumerate().take(6) {
            let pad = " ".repeat(widths[column].saturating_sub(measure_text_width(cell)));
            match matches!(column, 1 | 2 | 4) {
                true => out.extend([pad.as_str(), cell, "  "]),
                false => out.extend([cell, pad.as_str(), "  "]),
            }
        }
        out.push_str(&cut(&line[6], width.map(|width| width - fixed)));
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> [String; 7] {
    let percent = row.total.map(|total| format!("{} %", words::percent(row.done, total)));
    let known = !row.way.is_empty();
    [
        words::clean(&row.file),
        percent.or_else(|| known.then(|| units::bytes(row.done))).unwrap_or_else(|| "?".into()),
        row.total.map_or_else(|| "?".into(), units::bytes),
        if known { row.way.to_string() } else { "?".into() },
        row.age.map_or_else(|| "?".into(), age),
        words::clean(&row.state),
        words::clean(&row.remote),
    ]
}

/// How long ago, in its largest unit: `12s`, `3m`, `2h`, `5d`.
fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn stanza([file, done, size, way, age, state, remote]: &[String; 7], width: usize) -> String {
    let mut lines = vec![file.clone()];
    lines.extend(words::wrap(&format!("{way}, {done} of {size}, {age} ago, {state}"), width - 2));
    lines.extend((!remote.is_empty()).then(|| cut(remote, Some(width - 2))));
    lines.join("\n  ") + "\n"
}

fn cut(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) => truncate_str(text, width, "…").into_owned(),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let running = Row {
            file: "isos/big.iso".into(),
            way: "download",
            done: 61 << 20,
            total: Some(100 << 20),
            age: Some(Duration::from_secs(7300)),
            state: "running, pid 4121".into(),
            remote: "https://example.org/pub/big.iso".into(),
        };
        let broken = Row { file: "b".into(), state: "the record is damaged".into(), ..Row::default() };
        vec![running, broken]
    }

    #[test]
    fn a_table_keeps_to_its_width() {
        let wide = table(&rows(), None);
        let lines: Vec<_> = wide.lines().collect();
        assert_eq!(lines[0], "FILE          DONE     SIZE  WAY       AGE  STATE                  REMOTE");
        assert_eq!(
            lines[1],
            "isos/big.iso  61 %  100 MiB  download   2h  running, pid 4121      https://example.org/pub/big.iso"
        );
        assert_eq!(lines[2], "b                ?        ?  ?           ?  the record is damaged");
        for width in 30..140 {
            for line in table(&rows(), Some(width)).lines() {
                assert!(measure_text_width(line) <= width, "{width}: {line}");
            }
        }
        assert!(table(&rows(), Some(40)).starts_with("isos/big.iso\n  download, 61 % of 100 MiB, 2h ago,\n"));
    }
}
