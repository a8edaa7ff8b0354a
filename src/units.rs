//! Sizes, rates and durations as people write and read them: `8M` is 8 MiB, `8MB` is eight million bytes, `1h30m`
//! is ninety minutes. One place, so that a flag, a profile and a dialect file mean the same by the same text.
//!
//! A single letter is binary because curl, wget and rclone, whose flags people know, mean 1024 by it.

use crate::fault::{Fault, Kind};
use std::time::Duration;

/// The powers a size may carry, by their letter.
const POWERS: [(char, u32); 6] = [('k', 1), ('m', 2), ('g', 3), ('t', 4), ('p', 5), ('e', 6)];

/// The units of time, longest first, with their milliseconds.
const SPANS: [(&[&str], u64); 6] = [
    (&["w", "week", "weeks"], 7 * 86_400_000),
    (&["d", "day", "days"], 86_400_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["ms", "msec", "millisecond", "milliseconds"], 1),
];

/// Reads a size in bytes: `8388608`, `8M` = `8MiB`, `8MB` = 8,000,000, `1.5G`; case does not matter. A part of a
/// byte is dropped; what does not fit 64 bits is refused.
pub fn size(text: &str) -> Result<u64, Fault> {
    let bad = |why: &str| {
        Fault::new(Kind::Usage, format!("\"{}\" is not a size: {why}", text.escape_debug()))
            .hint("write bytes, or a number with K, M, G, T (1024s), or with KB, MB, GB, TB (1000s)")
    };
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let number = Decimal::parse(number).ok_or_else(|| bad("it does not begin with a number"))?;
    let factor = factor(&unit.trim_start().to_ascii_lowercase()).ok_or_else(|| bad("its unit is unknown"))?;
    if factor == 1 && number.places > 0 {
        return Err(bad("there is no part of a byte"));
    }
    number.times(factor).ok_or_else(|| bad("it is too large"))
}

/// Reads a rate in bytes a second: a size, with or without `/s`.
pub fn rate(text: &str) -> Result<u64, Fault> {
    let trimmed = text.trim();
    let plain = trimmed.strip_suffix("/s").or_else(|| trimmed.strip_suffix("/S")).unwrap_or(trimmed);
    size(plain).map_err(|fault| Fault {
        what: format!("\"{}\" is not a rate in bytes a second", text.escape_debug()),
        ..fault
    })
}

/// Reads a duration: `90` (seconds), `0.5`, `90s`, `500ms`, `1h30m`, `2d`. Each unit once, the longest first.
/// Less than a millisecond is dropped.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let bad = |why: &str| {
        Fault::new(Kind::Usage, format!("\"{}\" is not a duration: {why}", text.escape_debug()))
            .hint("write seconds, or as 500ms, 90s, 15m, 1h30m, 7d")
    };
    let mut rest = text.trim();
    if let Some(seconds) = Decimal::parse(rest) {
        return seconds.times(1000).map(Duration::from_millis).ok_or_else(|| bad("it is too long"));
    }
    let mut total = 0u64;
    let mut shorter_than = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number = Decimal::parse(number).ok_or_else(|| bad("a number is missing"))?;
        let millis = span(&unit.to_ascii_lowercase()).ok_or_else(|| bad("a unit is missing or unknown"))?;
        if millis >= shorter_than {
            return Err(bad("its units do not get smaller"));
        }
        shorter_than = millis;
        total = number.times(millis).and_then(|part| total.checked_add(part)).ok_or_else(|| bad("it is too long"))?;
        rest = tail.trim_start();
    }
    match shorter_than {
        u64::MAX => Err(bad("it is empty")),
        _ => Ok(Duration::from_millis(total)),
    }
}

/// Bytes for people, three figures and a binary unit: `512 B`, `1.50 GiB`, `23.4 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    // In whole numbers: thousands of files say how long they are, and fractions take ten times as long to print.
    for (at, name) in UNITS.iter().enumerate() {
        let unit = 1u128 << (10 * (at + 1));
        for (places, power) in [(2, 100), (1, 10), (0, 1)] {
            let figures = (u128::from(n) * power + unit / 2) / unit;
            if figures < 1000 {
                let (whole, part) = (figures / power, figures % power);
                return match places {
                    0 => format!("{whole} {name}"),
                    _ => format!("{whole}.{part:0places$} {name}"),
                };
            }
        }
    }
    format!("{n} B")
}

/// A rate for people: `23.4 MiB/s`.
pub fn bytes_per_second(n: u64) -> String {
    format!("{}/s", bytes(n))
}

/// A size as the flags take it, exact: `8MiB` where it is a whole number of a unit, else the bytes.
pub fn exact(n: u64) -> String {
    for (letter, power) in POWERS.into_iter().rev() {
        let unit = 1u64 << (10 * power);
        if n >= unit && n.is_multiple_of(unit) {
            return format!("{}{}iB", n / unit, letter.to_ascii_uppercase());
        }
    }
    n.to_string()
}

/// A duration for people, its two largest units: `450ms`, `12s`, `3m20s`, `1h05m`, `3d04h`.
pub fn period(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.is_zero() => "0s".into(),
        0 => format!("{}ms", duration.as_millis().max(1)),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A number as written, exact: `15` tenths for `1.5`. Binary fractions would turn `0.1G` into a surprise.
struct Decimal {
    digits: u128,
    places: u32,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits: String = [whole, part].concat();
        let fits = !digits.is_empty() && digits.len() <= 30 && digits.bytes().all(|b| b.is_ascii_digit());
        (fits && !text.ends_with('.')).then_some(())?;
        Some(Self { digits: digits.parse().ok()?, places: part.len() as u32 })
    }

    fn times(&self, factor: u64) -> Option<u64> {
        let scaled = self.digits.checked_mul(u128::from(factor))? / 10u128.pow(self.places);
        u64::try_from(scaled).ok()
    }
}

/// How many bytes a unit in lower case stands for.
fn factor(unit: &str) -> Option<u64> {
    if matches!(unit, "" | "b") {
        return Some(1);
    }
    let letter = unit.chars().next()?;
    let power = POWERS.iter().find(|(c, _)| *c == letter)?.1;
    match &unit[1..] {
        "" | "i" | "ib" => Some(1 << (10 * power)),
        "b" => Some(1000u64.pow(power)),
        _ => None,
    }
}

/// How many milliseconds a unit in lower case stands for.
fn span(unit: &str) -> Option<u64> {
    SPANS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, millis)| *millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("8388608", 8 << 20),
            ("8M", 8 << 20),
            ("8m", 8 << 20),
            ("8MiB", 8 << 20),
            ("8mib", 8 << 20),
            ("8Mi", 8 << 20),
            ("8 MiB", 8 << 20),
            (" 8M ", 8 << 20),
            ("8MB", 8_000_000),
            ("1kb", 1000),
            ("1K", 1024),
            ("12B", 12),
            ("1.5G", 3 << 29),
            ("0.1MB", 100_000),
            (".5K", 512),
            ("1.0001K", 1024),
            ("15.99999999999E", 18_446_744_073_698_022_400),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let huge = "9".repeat(50);
        for text in [
            "", " ", "M", "-1", "+1", "1.5", "1.5B", "1..5K", "1.K", "1,5K", "8X", "8MiBs", "8M8", "16E", "99999E",
            "1e3x", "0x10", "8M/s", "٣M", "1Mé", &huge,
        ] {
            assert_eq!(size(text).map_err(|f| f.kind), Err(Kind::Usage), "{text}");
        }
        assert!(size("18446744073709551615").is_ok() && size("18446744073709551616").is_err());
    }

    #[test]
    fn rates_are_sizes_a_second() {
        assert_eq!(rate("16M"), Ok(16 << 20));
        assert_eq!(rate("1.5MB/s"), Ok(1_500_000));
        assert_eq!(rate("100k/S"), Ok(102_400));
        assert!(rate("100/m").is_err() && rate("/s").is_err() && rate("1M/s/s").is_err());
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("90", 90_000),
            ("0", 0),
            ("0.5", 500),
            ("90s", 90_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
            ("7 days", 604_800_000),
            ("1m30S", 90_000),
            ("0.0001", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "-1", "1h30", "30m1h", "1m1m", "1y", "1 2", "1.", "inf", "99999999999999999999w", "1,5s"]
        {
            assert_eq!(duration(text).map_err(|f| f.kind), Err(Kind::Usage), "{text}");
        }
    }

    #[test]
    fn numbers_for_people() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10 * 1024, "10.0 KiB"),
            (1_048_575, "1.00 MiB"),
            (1 << 20, "1.00 MiB"),
            (412 << 20, "412 MiB"),
            (3 << 29, "1.50 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(bytes_per_second(23 << 20), "23.0 MiB/s");
        for (n, text) in [(0, "0"), (1000, "1000"), (8 << 20, "8MiB"), (1 << 40, "1TiB"), ((1 << 20) + 1, "1048577")] {
            assert_eq!(exact(n), text);
        }
        for (millis, text) in
            [(0, "0s"), (450, "450ms"), (1500, "1s"), (200_000, "3m20s"), (3_900_000, "1h05m"), (273_600_000, "3d04h")]
        {
            assert_eq!(period(Duration::from_millis(millis)), text);
        }
        assert_eq!(period(Duration::from_nanos(1)), "1ms");
    }

    proptest! {
        #[test]
        fn an_exact_size_is_read_back(n in any::<u64>()) {
            prop_assert_eq!(size(&exact(n)), Ok(n));
            prop_assert!(bytes(n).len() <= 9);
        }

        #[test]
        fn a_printed_span_is_read_back(seconds in 1u64..10_000_000) {
            let read = duration(&period(Duration::from_secs(seconds))).unwrap().as_secs();
            prop_assert!(read <= seconds && seconds - read < 3600);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
            let _ = (size(&text), rate(&text), duration(&text));
        }

        #[test]
        fn text_near_a_number_is_read_or_refused(text in "[0-9.]{0,12}[kKmMbBiIsShd/ ]{0,4}") {
            let _ = (size(&text), rate(&text), duration(&text));
        }
    }
}
