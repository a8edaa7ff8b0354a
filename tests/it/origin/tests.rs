//! The origin itself, asked with raw requests: a liar that tells the truth by mistake would prove nothing.

use super::*;
use std::io::{Read, Write};

/// Sends `request` and gives all that comes until the connection ends.
fn raw(origin: &Origin, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(origin.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let cut = all.windows(4).position(|w| w == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    (String::from_utf8_lossy(&all[..cut]).into_owned(), all[cut..].to_vec())
}

fn get(origin: &Origin, fields: &str) -> (String, Vec<u8>) {
    raw(origin, &format!("GET /file.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"))
}

#[test]
fn honest_answers() {
    let content = Content::random(5, 100_000);
    let origin = Origin::serving(&content);
    let (head, body) = get(&origin, "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("ETag: \"v1\""), "{head}");
    assert_eq!(body, content.bytes());
    let (head, body) = get(&origin, "Range: bytes=10-19\r\nIf-Range: \"v1\"\r\n");
    assert!(head.contains("206 Partial") && head.contains("Content-Range: bytes 10-19/100000"), "{head}");
    assert_eq!(body, content.part(10, 20));
    assert_eq!(get(&origin, "Range: bytes=-5\r\n").1, content.part(99_995, 100_000));
    assert!(get(&origin, "Range: bytes=10-19\r\nIf-Range: \"v0\"\r\n").0.contains(" 200 "));
    assert!(get(&origin, "Range: bytes=100000-\r\n").0.contains("bytes */100000"));
    assert!(get(&origin, "If-None-Match: W/\"v1\"\r\n").0.contains(" 304 "));
    assert!(get(&origin, "If-Match: \"v0\"\r\n").0.contains(" 412 "));
    assert_eq!(origin.asked().len(), 7);
    assert_eq!(origin.asked()[1].sent(), 10);
}

#[test]
fn lies_are_told_when_asked_for() {
    let content = Content::random(6, 50_000);
    let origin = Origin::serving(&content);
    origin.when(nth(1), cut_after(1000)).when(nth(2), ignore_range()).when(nth(3), longer_by(3));
    origin.when(nth(4), content_range(|s, e, t| format!("bytes {}-{e}/{t}", s + 1)));
    origin.when(nth(5), chunked()).when(nth(6), refuse()).when(nth(7), short_206(4)).when(nth(8), gzipped());
    assert_eq!(get(&origin, "").1.len(), 1000);
    assert_eq!(get(&origin, "Range: bytes=5-9\r\n").1.len(), 50_000);
    assert_eq!(get(&origin, "").1.len(), 50_003);
    assert!(get(&origin, "Range: bytes=5-9\r\n").0.contains("bytes 6-9/50000"));
    let (head, body) = get(&origin, "");
    assert!(head.contains("chunked") && !head.contains("Content-Length") && body.ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(get(&origin, "").0, "");
    assert!(get(&origin, "Range: bytes=5-\r\n").0.contains("bytes 5-8/50000"));
    let (head, body) = get(&origin, "");
    assert!(head.contains("Content-Encoding: gzip") && body.starts_with(&[0x1f, 0x8b]));
}

#[test]
fn connections_past_the_limit_are_reset() {
    let origin = Origin::serving(&Content::random(1, 10));
    origin.at_most_connections(0);
    assert_eq!(get(&origin, "").0, "");
    origin.at_most_connections(1);
    assert!(get(&origin, "").0.contains(" 200 "));
}
