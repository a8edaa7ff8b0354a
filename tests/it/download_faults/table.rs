//! The table of faults, as the test run writes it and as it is committed.

use super::How;
use crate::fault_rows::Chapter;
use std::fmt::Write as _;
use std::path::Path;

const HEAD: &str = "\
# What goes wrong, and what comes of it

Written by the test run that injects all of this (`ONWARD_TEST_TABLE=tests/faults.md cargo test --test it every_fault`),
which fails when an outcome or an exit code is another one. The remote is a scripted HTTP server that can lie; the file
has 4 MiB. *Resumed* is a download that was killed (SIGKILL) with a third or more of it on record, and then meets the
fault. *Moved* is all the server sent, in hundredths of the file's size, the killed run's part included; it varies a
little from run to run. `.`: not a case of its own.

- **the right file**: exit 0, the bytes are the server's, nothing else is left in the folder.
- **the new file**: the same, after the program said that the content had changed.
- **refused, bytes kept**: nothing under the final name; what had arrived is on record, and once the server is honest
  again the same command finishes.
- **refused, set aside**: the bytes do not have the digest they should; they lie beside as `.bad`, and the same command
  starts fresh.
";

/// What came of a row.
#[derive(Clone, Copy)]
pub struct Cell {
    pub outcome: &'static str,
    pub code: i32,
    /// Bytes that moved, in hundredths of the size.
    pub percent: u64,
}

impl Default for Cell {
    fn default() -> Self {
        Self { outcome: "failed", code: -1, percent: 0 }
    }
}

/// A chapter's title, and of each row its words and what came of it, fresh and resumed.
type Part = (&'static str, Vec<(&'static str, [Option<Cell>; 2])>);

/// The whole table.
pub struct Table(Vec<Part>);

impl Table {
    /// The table of these chapters, with nothing in it yet.
    pub fn new(chapters: &[Chapter]) -> Self {
        let rows = |chapter: &Chapter| chapter.faults.iter().map(|fault| (fault.what, [None; 2])).collect();
        Self(chapters.iter().map(|chapter| (chapter.title, rows(chapter))).collect())
    }

    /// What came of a row.
    pub fn put(&mut self, chapter: usize, row: usize, how: How, cell: Cell) {
        self.0[chapter].1[row].1[how as usize] = Some(cell);
    }

    fn print(&self, names: &str) -> String {
        let mut out = String::from(HEAD);
        for (title, rows) in &self.0 {
            let _ =
                write!(out, "\n## {title}\n\n| what goes wrong | fresh | exit | moved | resumed | exit | moved |\n");
            out.push_str("|---|---|---|---|---|---|---|\n");
            for (what, cells) in rows {
                let [fresh, resumed] = cells.map(|cell| match cell {
                    Some(Cell { outcome, code, percent }) => format!("{outcome} | {code} | {percent} %"),
                    None => ". | . | .".into(),
                });
                let _ = writeln!(out, "| {what} | {fresh} | {resumed} |");
            }
        }
        out + names
    }

    /// Holds the committed table to this run; writes it where `ONWARD_TEST_TABLE` says.
    pub fn check(&self, names: &str) {
        let table = self.print(names);
        if let Some(file) = std::env::var_os("ONWARD_TEST_TABLE") {
            std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), &table).unwrap();
        }
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults.md");
        let committed = std::fs::read_to_string(committed).unwrap_or_default();
        let (was, is) = (stable(&committed), stable(&table));
        let news: Vec<&String> = is.iter().filter(|line| !was.contains(line)).collect();
        let gone: Vec<&String> = was.iter().filter(|line| !is.contains(line)).collect();
        let how = "ONWARD_TEST_TABLE=tests/faults.md cargo test --test it every_fault";
        assert!(was == is, "tests/faults.md is not what came of this run ({how})\nnew: {news:#?}\ngone: {gone:#?}");
    }
}

/// The lines of a table without the counts of bytes.
fn stable(table: &str) -> Vec<String> {
    let line = |line: &str| line.split('|').filter(|cell| !cell.ends_with(" % ")).collect::<Vec<_>>().join("|");
    table.lines().map(line).collect()
}
