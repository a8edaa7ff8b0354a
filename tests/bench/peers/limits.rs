//! What limits each row, where a profile has shown it. What the clocks say is added to it in the table.

/// Pairs of a row's title and what limits it.
const KNOWN: [(&str, &str); 8] = [
    (
        "http on loopback, to memory",
        "The kernel copies twice, from the socket and into the page cache, and finds the pages: \"bare\" below does only that",
    ),
    (
        "https on loopback, to memory",
        "The one process of nginx, which encrypts: it has a processor for itself nine tenths of the time",
    ),
    ("20 MB/s a connection", "The server's rate, until there are connections enough"),
    (
        "small files (-i), 4 KiB each, to memory",
        "One thread for the line: a task and a trip through the client library for each file, a line of progress and one of \
         results. What the disk is asked is another thread's",
    ),
    ("upload to serve, MD5 of the whole", "MD5, which no two processors can share, and which waits for the last byte"),
    ("upload to serve, SHA-256 of the whole", "SHA-256, as MD5"),
    ("upload by tus to @tus/server", "The server, one thread of node"),
    (
        "500 Mbit/s, 80 ms round trip, 0.1 % loss",
        "Two round trips before the first byte, one more until sixteen connections are asked, and four until they fill the \
         line: 1.11 of it would be without a single loss",
    ),
];

/// What limits a row: what is known of it, and what was measured.
pub fn of(title: &str, measured: &str) -> String {
    let known = KNOWN.iter().find(|(name, _)| *name == title).map(|(_, text)| format!("{text}. "));
    known.unwrap_or_default() + measured
}
