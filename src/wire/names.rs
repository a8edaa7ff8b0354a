//! Which names a client may give to a file on somebody else's disk. Decided on the text alone; that a good name does
//! not leave the root by a symbolic link is for whoever opens it.

use std::fmt;

/// The folder under a served root that holds what is unfinished; never listed, never served, never written by name.
pub const PRIVATE: &str = ".onward";
/// What our own unfinished files end in: no file from the network may.
pub const SUFFIXES: [&str; 4] = [".partial", ".partial.toml", ".partial.toml.new", ".partial.lock"];
/// The longest part in bytes; what filesystems commonly take.
const MAX_PART: usize = 255;
/// The longest name in bytes.
const MAX_NAME: usize = 1024;
/// The deepest name.
const MAX_PARTS: usize = 32;

/// Why a name is refused; printed for people, with nothing of the name in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName(&'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The parts of a name somebody wants to store a file under: a relative path of ordinary parts.
pub fn parts(name: &str) -> Result<Vec<&str>, BadName> {
    if name.is_empty() {
        return Err(BadName("the name is empty"));
    }
    if name.starts_with('/') {
        return Err(BadName("the name must be relative"));
    }
    if name.len() > MAX_NAME {
        return Err(BadName("the name is longer than 1024 bytes"));
    }
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > MAX_PARTS {
        return Err(BadName("the name has more than 32 parts"));
    }
    parts.iter().try_for_each(|part| ordinary(part))?;
    Ok(parts)
}

/// Whether a file of this name is ours while unfinished: such files are neither served nor taken, nor are folders of
/// such names.
pub fn ours(part: &str) -> bool {
    let lower = part.to_ascii_lowercase();
    SUFFIXES.iter().any(|suffix| lower.ends_with(suffix))
}

/// Whether a part is the private folder, on whatever filesystem: some do not know upper from lower case.
pub fn private(part: &str) -> bool {
    part.eq_ignore_ascii_case(PRIVATE)
}

fn ordinary(part: &str) -> Result<(), BadName> {
    if part.is_empty() {
        return Err(BadName("the name has an empty part"));
    }
    if part == "." || part == ".." {
        return Err(BadName("the name has a part that is . or .."));
    }
    if private(part) {
        return Err(BadName("the name reaches into the server's own folder"));
    }
    // What is hidden once it is there must not be taken, and a part is hidden wherever it stands in a path.
    if ours(part) {
        return Err(BadName("names ending in .partial, .partial.toml or .partial.lock are kept for unfinished files"));
    }
    // A new `.bashrc` or `.ssh/authorized_keys` under a root that happens to be a home folder would be a break-in.
    if part.starts_with('.') {
        return Err(BadName("a part of the name begins with a dot"));
    }
    if part.len() > MAX_PART {
        return Err(BadName("a part of the name is longer than 255 bytes"));
    }
    if part.contains('\\') {
        return Err(BadName("the name has a backslash"));
    }
    match part.chars().any(unseen) {
        true => Err(BadName("the name has control or invisible characters")),
        false => Ok(()),
    }
}

/// Characters that are not what a person sees: controls, and those that turn the direction of what follows.
fn unseen(c: char) -> bool {
    let bidi = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidi || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names() {
        for name in ["big.iso", "a/b/c", "a b", "ünïcode/ファイル.bin", "x..y", "a.", "-rf", "con", "partial", "~"]
        {
            assert_eq!(parts(name).map(|parts| parts.join("/")), Ok(name.to_string()));
        }
    }

    #[test]
    fn hostile_names() {
        let long = "x".repeat(256);
        let longer = "abc/".repeat(300);
        let deep = format!("{}x", "a/".repeat(32));
        for name in [
            "",
            "/",
            "/etc/passwd",
            "//x",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "./x",
            "a//b",
            "a/",
            ".onward",
            ".onward/x",
            ".ONWARD/x",
            "a/.Onward/x",
            ".ssh/authorized_keys",
            ".bashrc",
            "a\\b",
            "..\\x",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "a\u{202e}txt.exe",
            "x.partial",
            "x.partial.toml",
            "x.partial.toml.new",
            "x.partial.lock",
            "X.PARTIAL",
            "a/x.Partial.Toml",
            "x.partial/y",
            "a/x.PARTIAL.lock/y/z",
            &long,
            &longer,
            &deep,
        ] {
            assert!(parts(name).is_err(), "{name:?} was taken");
        }
    }

    proptest! {
        /// Whatever is taken stays below where it is put.
        #[test]
        fn what_is_taken_is_ordinary(name in "[a./\\\\\0-]{0,12}|\\PC{0,30}") {
            if let Ok(parts) = parts(&name) {
                prop_assert!(!parts.is_empty());
                for part in parts {
                    prop_assert!(!part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0', '\\']));
                }
            }
        }
    }
}
