//! Faults of connections and of what stands before the content.

use super::{CHEAP, Fault, LEN, Must, fault, odd_server};
use crate::origin::*;
use crate::world::Dice;
use std::time::Duration;

const IMPATIENT: &[&str] = &["--stall-timeout", "1s"];

fn odd_requests() -> When {
    Box::new(|ask: &Ask| ask.nth % 2 == 1)
}

pub fn breaking() -> Vec<Fault> {
    vec![
        fault("nothing goes wrong", |_| {}).both(Must::Finish(100)),
        fault("closed half-way", |s| s.when(first(), cut_after(LEN / 2))).fresh(CHEAP),
        fault("closed after 100 kB", |s| s.when(first(), cut_after(100_000))).both(CHEAP),
        fault("reset half-way", |s| s.when(first(), reset_after(LEN / 2))).fresh(CHEAP),
        fault("reset after 100 kB", |s| s.when(first(), reset_after(100_000))).both(CHEAP),
        fault("closed after the head", |s| s.when(first(), cut_after(0))).both(CHEAP),
        fault("reset before an answer", |s| s.when(first(), refuse())).both(CHEAP),
        fault("reset before an answer, three times", |s| s.when(up_to(3), refuse())).both(CHEAP),
        fault("closed every 300 kB", |s| s.when(always(), cut_after(300_000))).both(CHEAP),
        fault("reset every 700 kB", |s| s.when(always(), reset_after(700_000))).both(CHEAP),
        fault("closed at a random place, again and again", |s| {
            for n in 1..200 {
                s.when(nth(n), cut_after(Dice::new(n as u64).between(0, 1 << 20)));
            }
        })
        .both(CHEAP),
        fault("one byte an answer for a while", |s| s.when(up_to(20), cut_after(1))).both(CHEAP),
        fault("silent half-way", |s| s.when(first(), stall_after(LEN / 2))).with(IMPATIENT).fresh(CHEAP),
        fault("silent after 100 kB", |s| s.when(first(), stall_after(100_000))).with(IMPATIENT).both(CHEAP),
        fault("silent before an answer", |s| s.when(first(), late(Duration::from_secs(30))))
            .with(IMPATIENT)
            .both(CHEAP),
        fault("a slow drip of 2 kB a second", |s| s.when(first(), at_rate(2000)))
            .with(&["--speed-limit", "20K", "--speed-time", "1s"])
            .both(CHEAP),
        fault("no length (chunked)", |s| s.when(always(), chunked())).both(CHEAP),
        fault("chunked and closed before the last chunk", |s| {
            s.when(always(), chunked());
            s.when(first(), cut_after(LEN / 3));
        })
        .fresh(Must::Finish(150))
        .resumed(CHEAP),
        odd_server("neither length nor ranges: the end is the connection's", |s| {
            s.page(s.plain().no_ranges());
            s.when(always(), until_close());
        })
        .fresh(CHEAP),
        fault("closed after each answer, unannounced", |s| s.when(always(), closes_unsaid())).both(CHEAP),
        fault("announces the end of the connection, then keeps it open", |s| {
            s.when(always(), field("Connection", "close"));
        })
        .both(CHEAP),
        fault("500 and closed, on every other request", |s| {
            s.when(odd_requests(), status(500, ""));
            s.when(odd_requests(), then_close());
        })
        .both(CHEAP),
        fault("a second connection is reset at once", |s| s.origin.at_most_connections(1)).both(CHEAP),
        odd_server("HTTP/1.0 without ranges", |s| {
            s.page(s.plain().no_ranges().no_etag());
            s.when(always(), http10());
        })
        .fresh(CHEAP)
        .resumed(Must::Finish(215)),
        odd_server("HTTP/1.0 with ranges", |s| s.when(always(), http10())).both(CHEAP),
        fault("HTTP/1.0 with ranges, closed every 700 kB", |s| {
            s.when(always(), http10());
            s.when(always(), cut_after(700_000));
        })
        .both(CHEAP),
    ]
}

pub fn heads() -> Vec<Fault> {
    vec![
        fault("`100 Continue` before each answer", |s| s.when(always(), noise_before("HTTP/1.1 100 Continue\r\n\r\n")))
            .both(CHEAP),
        fault("`103 Early Hints` before each answer", |s| {
            s.when(always(), noise_before("HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"));
        })
        .both(CHEAP),
        fault("`102 Processing` without end", |s| s.when(first(), endless("", "HTTP/1.1 102 Processing\r\n\r\n")))
            .with(IMPATIENT)
            .both(CHEAP),
        fault("a head without end", |s| {
            s.when(first(), endless("HTTP/1.1 200 OK\r\n", "X-More: and more and more and more\r\n"));
        })
        .with(IMPATIENT)
        .both(CHEAP),
        fault("a field without end", |s| s.when(first(), endless("HTTP/1.1 200 OK\r\nX-Long: ", "aaaaaaaaaaaaaaaa")))
            .with(IMPATIENT)
            .both(CHEAP),
        fault("a head of one byte every 100 ms", |s| s.when(first(), drips_head(Duration::from_millis(100))))
            .with(IMPATIENT)
            .both(CHEAP),
        fault("a field of 60 kB", |s| s.when(always(), field("X-Long", "a".repeat(60_000)))).both(CHEAP),
        fault("80 more fields", |s| {
            s.when(always(), so_that(|_, a| a.headers.extend((0..80).map(|n| (format!("X-{n}"), "some".into())))));
        })
        .both(CHEAP),
        fault("10,000 fields, once", |s| {
            s.when(first(), so_that(|_, a| a.headers.extend((0..10_000).map(|n| (format!("X-{n}"), "some".into())))));
        })
        .both(CHEAP),
        fault("an answer without a head", |s| s.when(first(), raw("just some words\n"))).both(CHEAP),
        fault("binary garbage", |s| s.when(first(), raw(&[0u8, 255, 13, 10, 0, 7, 13, 10, 13, 10][..]))).both(CHEAP),
        fault("an empty answer", |s| s.when(first(), raw(""))).both(CHEAP),
        fault("a status that is none", |s| s.when(first(), raw("HTTP/1.1 20x Fine\r\n\r\n"))).both(CHEAP),
        fault("two lengths that contradict each other", |s| {
            s.when(first(), so_that(|_, a| a.headers.push(("Content-Length".into(), "7".into()))));
        })
        .both(CHEAP),
        // What the kernel took of an answer that is dropped at its head depends on who is faster.
        fault("a length that is no number", |s| s.when(first(), field("Content-Length", "many")))
            .both(Must::Finish(230)),
        fault("a length beside chunks", |s| {
            s.when(first(), chunked());
            s.when(first(), field("Content-Length", "7"));
        })
        .both(Must::Finish(230)),
        fault("chunks of no size", |s| {
            s.when(first(), raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"));
        })
        .both(CHEAP),
        fault("a body after a body: bytes nobody asked for", |s| {
            s.when(always(), noise_after("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"));
        })
        .both(CHEAP),
    ]
}
