//! Faults of ranges.

use super::{CHEAP, Fault, LEN, Must, fault, odd_server};
use crate::origin::*;

/// The whole may have to come once more, and a stray answer besides.
const TWICE: Must = Must::Finish(230);

pub fn ranges() -> Vec<Fault> {
    vec![
        odd_server("ranges ignored", |s| s.when(always(), ignore_range())).fresh(TWICE).resumed(TWICE),
        fault("ranges ignored from now on", |s| s.when(always(), ignore_range())).resumed(TWICE),
        fault("ranges ignored, and closed half-way once", |s| {
            s.when(always(), ignore_range());
            s.when(first(), cut_after(LEN / 2));
        })
        .fresh(Must::Finish(280))
        .resumed(Must::Finish(280)),
        fault("the first answer breaks off, and ranges are ignored afterwards", |s| {
            s.when(first(), cut_after(LEN / 2));
            s.when(from(2), ignore_range());
        })
        .fresh(Must::Finish(280)),
        fault("200 and the whole in place of a 206, once", |s| s.when(first(), ignore_range())).resumed(TWICE),
        fault("a 206 without Content-Range", |s| s.when(first(), without("Content-Range"))).both(TWICE),
        fault("a 206 without Content-Range, always", |s| s.when(always(), without("Content-Range")))
            .both(Must::Finish(330)),
        fault("a Content-Range that is none", |s| s.when(first(), content_range(|_, _, _| "bytes oops".into())))
            .both(TWICE),
        fault("a Content-Range with a later start", |s| {
            s.when(first(), content_range(|s, e, t| format!("bytes {}-{e}/{t}", s + 1)));
        })
        .both(TWICE),
        fault("a Content-Range with a later start, always", |s| {
            s.when(always(), content_range(|s, e, t| format!("bytes {}-{e}/{t}", s + 1)));
        })
        .both(Must::Finish(330)),
        fault("a Content-Range with an earlier start", |s| {
            s.when(first(), content_range(|s, e, t| format!("bytes {}-{e}/{t}", s.saturating_sub(1))));
        })
        .resumed(TWICE),
        fault("a Content-Range with an end past the total", |s| {
            s.when(first(), content_range(|s, _, t| format!("bytes {s}-{t}/{t}")));
        })
        .both(TWICE),
        fault("a Content-Range with an end beyond what comes", |s| {
            s.when(
                going_on(),
                so_that(|_, a| {
                    if a.status == 206 {
                        let (start, total) = (a.start, a.content.len());
                        a.end = a.start + (a.end - a.start) / 2;
                        a.set("Content-Length", (a.end - a.start).to_string());
                        a.set("Content-Range", format!("bytes {start}-{}/{total}", total - 1));
                    }
                }),
            );
        })
        .resumed(Must::Finish(330)),
        fault("a Content-Range that ends before it starts", |s| {
            s.when(first(), content_range(|s, e, t| format!("bytes {e}-{s}/{t}")));
        })
        .both(TWICE),
        fault("a Content-Range of another unit", |s| {
            s.when(first(), content_range(|s, e, t| format!("lines {s}-{e}/{t}")));
        })
        .both(TWICE),
        fault("a Content-Range of a number that overflows", |s| {
            s.when(first(), content_range(|s, _, _| format!("bytes {s}-18446744073709551615/18446744073709551616")));
        })
        .both(TWICE),
        fault("no total in Content-Range (`*`)", |s| {
            s.when(always(), content_range(|s, e, _| format!("bytes {s}-{e}/*")));
        })
        .fresh(Must::Finish(230))
        .resumed(CHEAP),
        fault("another total in each Content-Range after the first", |s| {
            s.when(from(2), content_range(|s, e, t| format!("bytes {s}-{e}/{}", t + 1)));
            s.when(first(), cut_after(LEN / 2));
        })
        .fresh(Must::Refuse(4)),
        fault("each range is the start of the file, and says so", |s| {
            s.when(
                going_on(),
                so_that(|_, a| {
                    if a.status == 206 {
                        (a.end, a.start) = (a.end - a.start, 0);
                        a.set("Content-Range", format!("bytes 0-{}/{}", a.end - 1, a.content.len()));
                    }
                }),
            );
            s.when(first(), cut_after(LEN / 2));
        })
        .both(Must::Finish(330)),
        fault("no more than 64 kB a range", |s| s.when(always(), short_206(65_536))).both(CHEAP),
        fault("no more than one byte in the first range", |s| s.when(first(), short_206(1))).both(CHEAP),
        fault("an empty 206", |s| {
            s.when(
                first(),
                so_that(|_, a| {
                    a.end = a.start;
                    a.set("Content-Length", "0");
                }),
            );
        })
        .both(TWICE),
        fault("ten bytes more than promised", |s| s.when(first(), longer_by(10))).both(Must::Finish(330)),
        fault("chunked, and longer than its Content-Range", |s| {
            s.when(first(), longer_by(10));
            s.when(first(), chunked());
        })
        .both(Must::Finish(330)),
        fault("a 206 to a request without Range", |s| {
            s.when(
                always(),
                so_that(|ask, a| {
                    if ask.header("range").is_none() {
                        a.status = 206;
                        a.set("Content-Range", format!("bytes 0-{}/{}", a.end - 1, a.content.len()));
                    } else {
                        a.unset("Content-Range");
                    }
                }),
            );
        })
        .both(Must::Refuse(1)),
        fault("multipart/byteranges", |s| {
            s.when(
                first(),
                so_that(|_, a| {
                    a.unset("Content-Range");
                    a.set("Content-Type", "multipart/byteranges; boundary=x");
                }),
            );
        })
        .both(TWICE),
        fault("200 with a Content-Range that fits", |s| {
            s.when(going_on(), so_that(|_, a| a.status = if a.status == 206 { 200 } else { a.status }));
            s.when(first(), cut_after(LEN / 2));
        })
        .both(CHEAP),
        fault("gzip unasked for, once", |s| s.when(first(), gzipped())).resumed(Must::Refuse(1)),
        fault("gzip unasked for, always", |s| s.when(always(), gzipped())).both(Must::Refuse(1)),
        fault("ranges of gzip bytes, once", |s| s.when(first(), gzipped_ranges())).both(TWICE),
        fault("ranges of gzip bytes, always", |s| s.when(always(), gzipped_ranges())).both(Must::Refuse(1)),
        fault("416 without a total, once", |s| s.when(first(), unsatisfiable(None))).both(TWICE),
        fault("416 without a total, to every range", |s| {
            s.when(Box::new(|ask| ask.header("range").is_some()), unsatisfiable(None));
        })
        .both(TWICE),
        fault("416 with the right total, once", |s| s.when(first(), unsatisfiable(Some(LEN)))).both(TWICE),
        fault("416 with a smaller total, once", |s| s.when(first(), unsatisfiable(Some(10)))).both(TWICE),
        fault("416 with a larger total, once", |s| s.when(first(), unsatisfiable(Some(LEN + 10)))).both(TWICE),
        fault("416 to everything", |s| s.when(always(), unsatisfiable(Some(LEN)))).both(Must::Refuse(1)),
    ]
}
