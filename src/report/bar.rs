//! One line of progress, laid out for the width at hand: a pure function, so that every width can be tested.
//!
//! What matters less goes first when it gets narrow: the amount, then the time left, then the bar; name, percentage
//! and rate stay to the end.

use console::{Style, measure_text_width, truncate_str};

/// Two blanks between the columns.
const GAP: usize = 2;
/// `100 %`
const PERCENT: usize = 5;
/// `2.44 of 4.00 GiB`
const AMOUNT: usize = 16;
/// `23.4 MiB/s`
const RATE: usize = 10;
/// `23h59m`
const LEFT: usize = 6;
/// A shorter bar says nothing.
const SHORTEST: usize = 8;
/// A longer bar says no more.
const LONGEST: usize = 60;

/// The signs a line is drawn with.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// The part that is done, the part that is not, and what stands for cut text.
    pub full: char,
    /// See `full`.
    pub empty: char,
    /// See `full`.
    pub cut: &'static str,
    /// In front of a finished file.
    pub tick: char,
    /// In front of a failed one.
    pub cross: char,
}

impl Signs {
    /// For terminals that show Unicode.
    pub const UNICODE: Self = Self { full: '━', empty: '─', cut: "…", tick: '✓', cross: '✗' };
    /// For all others.
    pub const ASCII: Self = Self { full: '#', empty: '-', cut: "~", tick: '+', cross: 'x' };
}

/// What a line says.
#[derive(Debug, Clone, Default)]
pub struct Cells {
    /// The file's name.
    pub name: String,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes of them that an earlier run moved.
    pub before: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
    /// How much that is, in words.
    pub amount: String,
    /// How fast it goes.
    pub rate: String,
    /// The time left.
    pub left: String,
    /// Said in place of rate and time left, where there is something to say.
    pub note: Option<String>,
}

/// Which columns a width has room for, and how wide those are that stretch.
struct Plan {
    name: usize,
    bar: usize,
    amount: bool,
    left: bool,
}

/// The line for `cells`, at most `width` columns wide, names in a column of `names`.
pub fn line(cells: &Cells, width: usize, names: usize, signs: Signs) -> String {
    let plan = Plan::new(width, names);
    let mut line = pad_right(&shorten(&cells.name, plan.name, signs), plan.name);
    let mut add = |text: String| {
        line.push_str("  ");
        line.push_str(&text);
    };
    if plan.bar > 0 {
        add(bar(cells, plan.bar, signs));
    }
    let percent = cells.total.map(|total| format!("{} %", super::words::percent(cells.done, total)));
    add(pad_left(&percent.unwrap_or_default(), PERCENT));
    match &cells.note {
        Some(note) => add(note.clone()),
        None => {
            if plan.amount {
                add(pad_left(&cells.amount, AMOUNT));
            }
            add(pad_left(&cells.rate, RATE));
            if plan.left {
                add(pad_left(&cells.left, LEFT));
            }
        }
    }
    truncate_str(line.trim_end(), width, signs.cut).into_owned()
}

/// How wide the column of names is to be for `names` on a terminal of `width` columns.
pub fn name_column<'a>(names: impl Iterator<Item = &'a str>, width: usize) -> usize {
    names.map(measure_text_width).max().unwrap_or(0).min((width / 4).max(12))
}

impl Plan {
    fn new(width: usize, names: usize) -> Self {
        let least = names + GAP + PERCENT + GAP + RATE;
        let left = least + GAP + SHORTEST + GAP + LEFT <= width;
        let with_left = least + if left { GAP + LEFT } else { 0 };
        let amount = with_left + GAP + SHORTEST + 2 + GAP + AMOUNT <= width;
        let fixed = with_left + if amount { GAP + AMOUNT } else { 0 };
        let room = width.saturating_sub(fixed + GAP);
        let bar = if room >= SHORTEST { room.min(LONGEST) } else { 0 };
        let name = names.min(width.saturating_sub(GAP + PERCENT + GAP + RATE)).max(1);
        Self { name, bar, amount, left }
    }
}

/// The bar itself: what an earlier run moved is dimmer than what this one did.
fn bar(cells: &Cells, width: usize, signs: Signs) -> String {
    let Some(total) = cells.total else { return " ".repeat(width) };
    let cut = |bytes: u64| match total {
        0 => width,
        _ => (u128::from(bytes.min(total)) * width as u128 / u128::from(total)) as usize,
    };
    let (done, before) = (cut(cells.done), cut(cells.before.min(cells.done)));
    let run = |sign: char, count: usize, style: Style| match count {
        0 => String::new(),
        _ => style.for_stderr().apply_to(String::from_iter(std::iter::repeat_n(sign, count))).to_string(),
    };
    run(signs.full, before, Style::new().blue())
        + &run(signs.full, done - before, Style::new().cyan())
        + &run(signs.empty, width - done, Style::new().dim())
}

fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

fn pad_right(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

/// `text` in at most `width` columns, cut in the middle: a name's end tells as much as its beginning.
fn shorten(text: &str, width: usize, signs: Signs) -> String {
    if measure_text_width(text) <= width {
        return text.to_string();
    }
    let tail_width = width.saturating_sub(1) / 2;
    let mut tail = String::new();
    for c in text.chars().rev() {
        let longer = format!("{c}{tail}");
        if measure_text_width(&longer) > tail_width {
            break;
        }
        tail = longer;
    }
    let head = truncate_str(text, width.saturating_sub(measure_text_width(&tail)), signs.cut);
    format!("{head}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(name: &str) -> Cells {
        Cells {
            name: name.into(),
            done: 61,
            before: 30,
            total: Some(100),
            amount: "2.44 of 4.00 GiB".into(),
            rate: "48.3 MiB/s".into(),
            left: "32s".into(),
            note: None,
        }
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        let notes = [None, Some("connection reset by the peer; try 2 comes in 12s".to_string())];
        for name in ["a", "big.iso", "a-rather-long-name-of-a-file-2026-11-22.tar.zst", "大きなファイル.iso"] {
            for (width, note) in (10..250).flat_map(|width| notes.iter().map(move |note| (width, note))) {
                let cells = Cells { note: note.clone(), ..cells(name) };
                let names = name_column([name].into_iter(), width);
                let line = line(&cells, width, names, Signs::UNICODE);
                assert!(measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn what_matters_stays_when_it_gets_narrow() {
        let at = |width| line(&cells("big.iso"), width, 7, Signs::ASCII);
        assert_eq!(at(30), "big.iso   61 %  48.3 MiB/s");
        assert_eq!(at(40), "big.iso  #######-----   61 %  48.3 MiB/s");
        assert_eq!(at(44), "big.iso  ####----   61 %  48.3 MiB/s     32s");
        assert_eq!(at(66), "big.iso  #######-----   61 %  2.44 of 4.00 GiB  48.3 MiB/s     32s");
        let unknown = Cells { total: None, amount: "2.44 GiB".into(), left: String::new(), ..cells("big.iso") };
        assert_eq!(
            line(&unknown, 66, 7, Signs::ASCII).trim_end(),
            "big.iso                               2.44 GiB  48.3 MiB/s"
        );
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shorten("debian-12.8.0-amd64-netinst.iso", 15, Signs::UNICODE), "debian-…nst.iso");
        assert_eq!(shorten("short", 15, Signs::UNICODE), "short");
    }
}
