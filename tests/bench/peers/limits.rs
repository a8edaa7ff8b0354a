//! What limits each row, where a profile has shown it. What the clocks say is added to it in the table.

/// Pairs of a row's title and what limits it.
const KNOWN: [(&str, &str); 1] = [("20 MB/s a connection", "The server's rate, until there are connections enough")];

/// What limits a row: what is known of it, and what was measured.
pub fn of(title: &str, measured: &str) -> String {
    let known = KNOWN.iter().find(|(name, _)| *name == title).map(|(_, text)| format!("{text}. "));
    known.unwrap_or_default() + measured
}
