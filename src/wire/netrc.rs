//! `.netrc`: logins by machine, read as curl reads it. Of several entries for a machine the first one counts, and with
//! a given login the first one with that login; the published parser keeps the last and loses the others.

use std::fmt;

/// A login for a machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name; empty where the entry has none.
    pub user: String,
    /// The password; empty where the entry has none.
    pub password: String,
}

/// Passwords do not show in a debug print.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.user)
    }
}

/// Why a file cannot be read; lines count from one. It never quotes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// A quoted word does not end on its line.
    OpenQuote(usize),
    /// `machine`, `login`, `password` or `account` with nothing behind it.
    NoValue(usize),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenQuote(line) => write!(f, "line {line}: a quote is not closed"),
            Self::NoValue(line) => write!(f, "line {line}: a word lacks its value"),
        }
    }
}

/// The login for `host` (case and the brackets of an IPv6 address do not matter), for `user` only where one is given.
/// A `default` entry fits every host, where it stands.
pub fn login(text: &str, host: &str, user: Option<&str>) -> Result<Option<Login>, Bad> {
    let plain = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let host = plain(host);
    let fits = |entry: &Entry| {
        entry.machine.as_deref().is_none_or(|machine| plain(machine) == host)
            && user.is_none_or(|user| entry.login.as_deref().is_none_or(|login| login == user))
    };
    Ok(entries(text)?.into_iter().find(fits).map(|entry| Login {
        user: user.map(str::to_string).or(entry.login).unwrap_or_default(),
        password: entry.password.unwrap_or_default(),
    }))
}

/// One entry; the machine is absent for `default`.
#[derive(Default)]
struct Entry {
    machine: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

fn entries(text: &str) -> Result<Vec<Entry>, Bad> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = words(text)?.into_iter();
    while let Some((line, word)) = words.next() {
        let mut value = || words.next().map(|(_, word)| word).ok_or(Bad::NoValue(line));
        match word.to_ascii_lowercase().as_str() {
            "machine" => entries.push(Entry { machine: Some(value()?), ..Entry::default() }),
            "default" => entries.push(Entry::default()),
            "login" => {
                let login = value()?;
                entries.last_mut().map(|entry| entry.login.get_or_insert(login));
            }
            "password" => {
                let password = value()?;
                entries.last_mut().map(|entry| entry.password.get_or_insert(password));
            }
            "account" => drop(value()?),
            // As curl: what it does not know it steps over.
            _ => {}
        }
    }
    Ok(entries)
}

/// The words with their lines: blanks part them, quotes hold them together, `#` at the start of a line is a comment,
/// and a macro runs from `macdef` to the next empty line.
fn words(text: &str) -> Result<Vec<(usize, String)>, Bad> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if in_macro {
            in_macro = !line.is_empty();
            continue;
        }
        let mut rest = if line.starts_with('#') { "" } else { line };
        while !rest.is_empty() {
            let (word, quoted, tail) = word(rest).ok_or(Bad::OpenQuote(number))?;
            rest = tail.trim_start();
            // As a value the word is nothing special: a password may be "macdef".
            if word == "macdef" && !quoted && !awaits_value(&words) {
                in_macro = true;
                break;
            }
            words.push((number, word));
        }
    }
    Ok(words)
}

/// Whether the last word read takes the next one as its value.
fn awaits_value(words: &[(usize, String)]) -> bool {
    let mut awaits = false;
    for (_, word) in words {
        awaits = !awaits && ["machine", "login", "password", "account"].contains(&word.to_ascii_lowercase().as_str());
    }
    awaits
}

/// The first word of a text that begins with one, whether it was quoted, and the rest.
fn word(text: &str) -> Option<(String, bool, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((text[..end].to_string(), false, &text[end..]));
    };
    let mut word = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((word, true, &quoted[at + 1..])),
            '\\' => word.push(match chars.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            _ => word.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str, host: &str, user: Option<&str>) -> Option<(String, String)> {
        login(text, host, user).unwrap().map(|login| (login.user, login.password))
    }

    fn some(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.into(), password.into()))
    }

    const FILE: &str = "# comment with machine words\n\
        machine example.org login alice password secret\n\
        machine example.org\n\tlogin bob\n\tpassword \"two words \\\"q\\\"\"\n\
        macdef init\n\tmachine evil.org login x password y\n\tls\n\n\
        machine other.org password #hash login carol account a\n\
        machine ::1 login six password p6\n\
        default login anonymous password me@here\n\
        machine late.org login never password seen\n";

    #[test]
    fn the_first_match_wins() {
        assert_eq!(found(FILE, "example.org", None), some("alice", "secret"));
        assert_eq!(found(FILE, "EXAMPLE.org", Some("bob")), some("bob", "two words \"q\""));
        assert_eq!(found(FILE, "other.org", None), some("carol", "#hash"));
        assert_eq!(found(FILE, "[::1]", None), some("six", "p6"));
    }

    #[test]
    fn macros_are_no_entries_and_default_fits_where_it_stands() {
        assert_eq!(found(FILE, "evil.org", None), some("anonymous", "me@here"));
        assert_eq!(found(FILE, "late.org", None), some("anonymous", "me@here"));
        assert_eq!(found(FILE, "late.org", Some("never")), some("never", "seen"));
        assert_eq!(found("machine a login b password c", "other", None), None);
        assert_eq!(found("", "a", None), None);
    }

    #[test]
    fn words_as_values_and_missing_parts() {
        assert_eq!(found("machine h login macdef password login", "h", None), some("macdef", "login"));
        assert_eq!(found("machine h login l machine k", "h", None), some("l", ""));
        assert_eq!(found("machine h password p", "h", Some("u")), some("u", "p"));
        assert_eq!(found("login stray password s machine h login l password p", "h", None), some("l", "p"));
        assert_eq!(found("machine h port 22 login l password p\r\n", "h", None), some("l", "p"));
        assert_eq!(found("machine h login \"\" password p", "h", None), some("", "p"));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        assert_eq!(login("machine h\nlogin \"open", "h", None), Err(Bad::OpenQuote(2)));
        assert_eq!(login("machine h login", "h", None), Err(Bad::NoValue(1)));
        assert_eq!(format!("{:?}", login("machine h login l password p", "h", None)), "Ok(Some(l:***))");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}", near in "(machine|default|login|password|macdef|account|\"|\\\\|#| |\n|[a-c]){0,30}") {
            let _ = (login(&text, "a", None), login(&near, "a", None), login(&near, "a", Some("b")));
        }

        #[test]
        fn a_quoted_password_is_read_back(password in "[ -~]{0,20}") {
            let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(found(&format!("machine h login l password \"{quoted}\""), "h", None), some("l", &password));
        }
    }
}
