//! A name that came over the network, made fit to be a file's name here. A server chooses it, so it is hostile until
//! shown otherwise: it must not leave the folder, hide, look like an option, or look like one of our own files.

use crate::wire::{disposition, names, percent};
use url::Url;

/// What a file is called when nobody says anything usable.
pub const FALLBACK: &str = "download";

/// The longest name given, in bytes: 255, which is what filesystems take, less the longest that is ever put behind it
/// (`.old`, eight hexadecimal digits, `.partial.toml`, and a temporary mark while the record is replaced).
pub const LONGEST: usize = 255 - 48;

/// The name of a reply: from its `Content-Disposition`, else from the last part of the URL's path. Always safe.
pub fn of_reply(disposition: Option<&[u8]>, url: &Url) -> String {
    match disposition.and_then(disposition::file_name) {
        Some(name) if !cleaned(&name).is_empty() => safe(&name),
        _ => of_url(url),
    }
}

/// The name in a URL: the last part of its path that is not empty, decoded, made safe.
pub fn of_url(url: &Url) -> String {
    let part = url.path_segments().and_then(|parts| parts.rev().find(|part| !part.is_empty())).unwrap_or_default();
    // What does not decode to text keeps its escapes: they are at least readable and lose nothing.
    let decoded = percent::decode(part.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
    safe(decoded.as_deref().unwrap_or(part))
}

/// `name` made safe: its last path component, without control, direction-changing or device-naming tricks, neither
/// hidden nor option-like, not ending in a suffix of ours, at most [`LONGEST`] bytes, never empty.
pub fn safe(name: &str) -> String {
    let name = cleaned(name);
    if name.is_empty() {
        return FALLBACK.into();
    }
    let mut name = defused(name);
    if name.len() > LONGEST {
        name = defused(cut(&name, LONGEST - 2));
    }
    name
}

/// The last component with what must not be in a name taken out or replaced; maybe empty.
fn cleaned(name: &str) -> String {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
    if name.bytes().all(harmless) && !name.starts_with('.') && !name.ends_with('.') {
        return name.to_string();
    }
    let component = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    let kept: String = component.chars().filter(|c| !is_dangerous(*c)).map(portable).collect();
    let hiding = |c: char| c.is_whitespace() || matches!(c, '.' | '-');
    kept.trim_start_matches(hiding).trim_end_matches(|c: char| c.is_whitespace() || c == '.').to_string()
}

/// Characters that show something else than what is there, or nothing at all.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// What common filesystems (exFAT, NTFS, SMB) cannot hold becomes `_`.
fn portable(c: char) -> char {
    match c {
        '"' | '*' | ':' | '<' | '>' | '?' | '|' => '_',
        _ => c,
    }
}

/// The name with a mark where it would be a device on some system, or one of our own files.
fn defused(name: String) -> String {
    let mut name = name;
    if is_device(&name) {
        name.insert(0, '_');
    }
    if names::ours(&name) {
        name.push('_');
    }
    name
}

/// Whether DOS and its heirs take the name for a device: extensions and blanks before them do not matter.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    // No device has a longer name.
    if stem.chars().count() > "CONOUT$".len() {
        return false;
    }
    let stem = stem.to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|n| {
            matches!(n, "\u{B9}" | "\u{B2}" | "\u{B3}") || (n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
        })
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || numbered("COM") || numbered("LPT")
}

/// At most `limit` bytes of the name, its extension kept, no character cut in two.
fn cut(name: &str, limit: usize) -> String {
    let extension = extension(name);
    let stem = &name[..name.len() - extension.len()];
    let mut end = (limit - extension.len()).min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let name = format!("{}{extension}", &stem[..end]);
    name.trim_end_matches(|c: char| c.is_whitespace() || c == '.').to_string()
}

/// The extension with its dot, both of a `.tar.gz`; empty when there is none that looks like one.
fn extension(name: &str) -> &str {
    let short = |from: usize| name.len() - from <= 20 && from > 0;
    match name.rfind('.').filter(|at| short(*at)) {
        None => "",
        Some(last) => {
            match name[..last].rfind('.').filter(|at| short(*at) && name[*at..last].eq_ignore_ascii_case(".tar")) {
                Some(both) => &name[both..],
                None => &name[last..],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay() {
        for name in [
            "big.iso",
            "a b.tar.gz",
            "写真.jpg",
            "foo_bar-1.2+3~rc1.deb",
            "x.partial.txt",
            "Contact.txt",
            "com.txt",
            "e\u{301}.txt",
            "COM10",
        ] {
            assert_eq!(safe(name), name);
        }
    }

    #[test]
    fn hostile_names_become_harmless() {
        for (name, safe_name) in [
            ("", "download"),
            (".", "download"),
            ("..", "download"),
            ("/", "download"),
            ("-", "download"),
            (" . ", "download"),
            ("\0\u{202E}", "download"),
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("C:\\Users\\x\\file.txt", "file.txt"),
            ("dir/", "dir"),
            ("a/..", "download"),
            (".bashrc", "bashrc"),
            ("..hidden", "hidden"),
            ("-rf", "rf"),
            ("--output=x", "output=x"),
            (" -x ", "x"),
            (".-.x", "x"),
            ("report\u{202E}fdp.exe", "reportfdp.exe"),
            ("a\r\nb\u{1b}[2J.txt", "ab[2J.txt"),
            ("a\0b", "ab"),
            ("zero\u{200B}width\u{FEFF}", "zerowidth"),
            ("name. . .", "name"),
            ("what?.txt", "what_.txt"),
            ("a:b", "a_b"),
            ("CON", "_CON"),
            ("nul.tar.gz", "_nul.tar.gz"),
            ("com1 .txt", "_com1 .txt"),
            ("LPT\u{B9}", "_LPT\u{B9}"),
            ("x.partial", "x.partial_"),
            ("x.PARTIAL.Toml", "x.PARTIAL.Toml_"),
            ("x.partial.lock", "x.partial.lock_"),
            (".onward", "onward"),
            (".partial", "partial"),
        ] {
            assert_eq!(safe(name), safe_name, "{name:?}");
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let name = safe(&format!("{}.tar.gz", "€".repeat(200)));
        assert!(name.len() <= LONGEST && name.len() > LONGEST - 6 && name.ends_with("€.tar.gz"), "{name}");
        let name = safe(&"x".repeat(5000));
        assert!(name.len() <= LONGEST && name.len() > LONGEST - 4);
        let sly = format!("{}.partial{}.toml", "x".repeat(LONGEST - 15), "y".repeat(100));
        assert!(!names::ours(&safe(&sly)), "{}", safe(&sly));
    }

    #[test]
    fn names_of_urls() {
        for (url, name) in [
            ("https://example.org/big.iso", "big.iso"),
            ("https://example.org/a%20b.iso?x=/y.txt#z", "a b.iso"),
            ("https://example.org/dir/", "dir"),
            ("https://example.org/", "download"),
            ("https://example.org", "download"),
            ("https://example.org/%E5%86%99.jpg", "写.jpg"),
            ("https://example.org/%E5%86.jpg", "%E5%86.jpg"),
            ("https://example.org/..%2F..%2Fetc%2Fpasswd", "passwd"),
            ("https://example.org/%2e%2e", "download"),
            ("https://example.org/.bashrc", "bashrc"),
            ("data:text/plain,x", "download"),
        ] {
            assert_eq!(of_url(&Url::parse(url).unwrap()), name, "{url}");
        }
    }

    #[test]
    fn a_reply_names_the_file_only_when_it_has_something_to_say() {
        let url = Url::parse("https://example.org/get.iso").unwrap();
        assert_eq!(of_reply(None, &url), "get.iso");
        assert_eq!(of_reply(Some(b"attachment"), &url), "get.iso");
        assert_eq!(of_reply(Some(b"attachment; filename=\"..\""), &url), "get.iso");
        assert_eq!(of_reply(Some(b"attachment; filename=\"../x.iso\""), &url), "x.iso");
    }

    proptest! {
        #[test]
        fn any_name_becomes_safe_and_stays_so(name in "([./\\\\ \u{202E}a-]|\\PC|\\.partial|\\.toml|con|\0){0,60}") {
            let once = safe(&name);
            prop_assert!(!once.is_empty() && once.len() <= LONGEST);
            prop_assert!(!once.contains(['/', '\\', '\0']) && !once.starts_with(['.', '-', ' ']) && !names::ours(&once));
            prop_assert!(!once.chars().any(is_dangerous));
            prop_assert_eq!(safe(&once), once);
        }

        #[test]
        fn long_names_too(name in "[a-z.€ ]{180,400}(\\.partial)?(\\.toml|\\.lock|\\.tar\\.gz)?") {
            let once = safe(&name);
            prop_assert!(once.len() <= LONGEST && !names::ours(&once));
            prop_assert_eq!(safe(&once), once);
        }
    }
}
