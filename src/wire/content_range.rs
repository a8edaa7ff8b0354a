//! The `Content-Range` field of a reply (RFC 9110, section 14.4), read strictly: it decides at which offset bytes are
//! written, so whatever is doubtful is no answer at all.

use crate::chunk::ByteRange;
use std::fmt;

/// What a `Content-Range` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes a-b/total` or `bytes a-b/*`: the body is these bytes, never none, of so many.
    Part {
        /// Which bytes.
        range: ByteRange,
        /// How many the whole has, where the sender knows.
        total: Option<u64>,
    },
    /// `bytes */total`, in a 416: there is no such range, the whole has so many bytes.
    None {
        /// How many.
        total: u64,
    },
}

impl ContentRange {
    /// Reads the field's value. `None` for another unit, an end before the start or past the total, and anything
    /// that is not exactly the grammar: only blanks around it and upper case in the unit are forgiven.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim_matches([' ', '\t']);
        let (unit, rest) = value.split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim_start_matches(' ').split_once('/')?;
        let total = match total {
            "*" => None,
            digits => Some(number(digits)?),
        };
        if range == "*" {
            return Some(Self::None { total: total? });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let end = last.checked_add(1)?;
        if first > last || total.is_some_and(|total| end > total) {
            return None;
        }
        Some(Self::Part { range: ByteRange::new(first, end), total })
    }

    /// The total, where it is told.
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Part { total, .. } => *total,
            Self::None { total } => Some(*total),
        }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { total } => write!(f, "bytes */{total}"),
            Self::Part { range, total } => {
                write!(f, "bytes {}-{}/", range.start, range.end.saturating_sub(1))?;
                match total {
                    Some(total) => write!(f, "{total}"),
                    None => f.write_str("*"),
                }
            }
        }
    }
}

/// A run of digits that fits 64 bits: no sign, no blank, which `str::parse` would partly let pass.
pub(crate) fn number(digits: &str) -> Option<u64> {
    match digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        true => None,
        false => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(start: u64, end: u64, total: Option<u64>) -> Option<ContentRange> {
        Some(ContentRange::Part { range: ByteRange::new(start, end), total })
    }

    #[test]
    fn replies_of_real_servers() {
        assert_eq!(ContentRange::parse("bytes 0-0/1"), part(0, 1, Some(1)));
        assert_eq!(
            ContentRange::parse("bytes 5242880-16777215/16777216"),
            part(5_242_880, 16_777_216, Some(16_777_216))
        );
        assert_eq!(ContentRange::parse("bytes 0-99/*"), part(0, 100, None));
        assert_eq!(ContentRange::parse(" BYTES  0-9/10 "), part(0, 10, Some(10)));
        assert_eq!(ContentRange::parse("bytes */0"), Some(ContentRange::None { total: 0 }));
        assert_eq!(ContentRange::parse("bytes */1234"), Some(ContentRange::None { total: 1234 }));
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        for value in [
            "",
            "bytes",
            "bytes ",
            "bytes 0-9",
            "bytes=0-9/10",
            "bytes: 0-9/10",
            "items 0-9/10",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "bytes 0-9/9",
            "bytes -9/10",
            "bytes 0-/10",
            "bytes 0--1/10",
            "bytes */*",
            "bytes +0-9/10",
            "bytes 0-+9/10",
            "bytes 0 - 9/10",
            "bytes 0-9 /10",
            "bytes 0-9/ 10",
            "bytes 0-9/10, bytes 0-9/10",
            "bytes 0-9/10;x",
            "bytes 0-9/-1",
            "bytes 0-18446744073709551615/*",
            "bytes 0-9/99999999999999999999",
            "bytes 0x0-0x9/10",
            "bytes ٠-٩/10",
            "bytes\t0-9/10",
            "bytes 0-9/10\n",
        ] {
            assert_eq!(ContentRange::parse(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(start in any::<u32>(), len in 1..u64::MAX / 2, total in any::<Option<u32>>()) {
            let range = ByteRange::new(u64::from(start), u64::from(start) + len);
            let whole = ContentRange::Part { range, total: total.map(|more| range.end + u64::from(more)) };
            prop_assert_eq!(ContentRange::parse(&whole.to_string()), Some(whole));
        }

        #[test]
        fn whatever_is_read_holds_together(value in "bytes [0-9*]{0,4}-?[0-9]{0,4}/?[0-9*]{0,4}") {
            if let Some(ContentRange::Part { range, total }) = ContentRange::parse(&value) {
                prop_assert!(!range.is_empty() && total.is_none_or(|total| range.end <= total));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(value in "\\PC{0,40}") {
            let _ = ContentRange::parse(&value);
        }
    }
}
