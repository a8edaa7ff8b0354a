//! Faults of the disk between two runs.

use super::{CHEAP, Fault, Must, fault};
use std::fs;
use std::os::unix::fs::FileExt;

/// A damaged chunk is fetched again, and a little besides.
const REPAIRED: Must = Must::Finish(130);
const ANEW: Must = Must::Finish(230);

pub fn disks() -> Vec<Fault> {
    let row = |what, disk, must| Fault { disk, ..fault(what, |_| {}) }.resumed(must);
    vec![
        row("a byte of what had arrived is another one", |data, _| flip(data), REPAIRED),
        row(
            "the same, and the file has its old time",
            |data, _| {
                let time = fs::metadata(data).unwrap().modified().unwrap();
                flip(data);
                fs::File::options().write(true).open(data).unwrap().set_modified(time).unwrap();
            },
            REPAIRED,
        ),
        row(
            "what had arrived is cut short",
            |data, _| {
                fs::File::options().write(true).open(data).unwrap().set_len(100_000).unwrap();
            },
            ANEW,
        ),
        row(
            "what had arrived is all zeros",
            |data, _| {
                let file = fs::File::options().write(true).open(data).unwrap();
                let len = file.metadata().unwrap().len();
                file.set_len(0).unwrap();
                file.set_len(len).unwrap();
            },
            ANEW,
        ),
        row("what had arrived is gone", |data, _| fs::remove_file(data).unwrap(), ANEW),
        row("the record is gone", |_, record| fs::remove_file(record).unwrap(), ANEW),
        row("the record is empty", |_, record| fs::write(record, "").unwrap(), ANEW),
        row(
            "half of the record is missing",
            |_, record| {
                let text = fs::read(record).unwrap();
                fs::write(record, &text[..text.len() / 2]).unwrap();
            },
            ANEW,
        ),
        row(
            "half of a newer record lies beside it",
            |_, record| {
                let text = fs::read(record).unwrap();
                fs::write(format!("{}.new", record.display()), &text[..text.len() / 2]).unwrap();
            },
            CHEAP,
        ),
    ]
}

fn flip(data: &std::path::Path) {
    let file = fs::File::options().read(true).write(true).open(data).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 123_456).unwrap();
    file.write_all_at(&[!byte[0]], 123_456).unwrap();
}
