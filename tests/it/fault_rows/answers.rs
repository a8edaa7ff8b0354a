//! Answers that are something else than the file.

use super::{CHEAP, Fault, LEN, Must, fault};
use crate::origin::*;
use std::time::{Duration, SystemTime};

const ONCE_MORE: Must = Must::Finish(230);

pub fn impostors() -> Vec<Fault> {
    vec![
        fault("a login page, once", |s| s.when(first(), login_page())).resumed(CHEAP),
        fault("a login page in the middle", |s| {
            s.when(first(), cut_after(LEN / 2));
            s.when(nth(2), login_page());
        })
        .fresh(CHEAP),
        fault("a login page for everything, for a while (captive portal)", |s| {
            s.when(first(), cut_after(LEN / 2));
            s.when(Box::new(|ask| (2..=4).contains(&ask.nth)), login_page());
        })
        .fresh(CHEAP),
        fault("a login page for everything", |s| s.when(always(), login_page()))
            .with(&["--retries", "1"])
            .resumed(Must::Refuse(3)),
        fault("a redirect to a login page elsewhere", |s| {
            s.elsewhere.when(at("/login"), login_page());
            s.when(first(), redirect(302, s.elsewhere.url("/login")));
        })
        .resumed(CHEAP),
        fault("a redirect to a login page elsewhere, in the middle", |s| {
            s.elsewhere.when(at("/login"), login_page());
            s.when(first(), cut_after(LEN / 2));
            s.when(nth(2), redirect(302, s.elsewhere.url("/login")));
        })
        .fresh(CHEAP),
        fault("a redirect to a login page elsewhere, always", |s| {
            s.elsewhere.when(at("/login"), login_page());
            s.when(always(), redirect(302, s.elsewhere.url("/login")));
        })
        .with(&["--retries", "1"])
        .resumed(Must::Refuse(3)),
        fault("a login page where a digest is known", |s| s.when(always(), login_page()))
            .with(&["--checksum", "sha256:{sha256}"])
            .fresh(Must::Refuse(5)),
        fault("an error page with status 200, once", |s| {
            s.when(
                first(),
                so_that(|_, a| {
                    a.page("text/plain", "temporarily out of order\n");
                }),
            );
        })
        .resumed(ONCE_MORE),
        fault("204 without a body, once", |s| s.when(first(), status(204, ""))).both(CHEAP),
        fault("205, once", |s| s.when(first(), status(205, ""))).both(CHEAP),
        fault("304 that nobody asked for, once", |s| s.when(first(), status(304, ""))).both(CHEAP),
        fault("304 to everything", |s| s.when(always(), status(304, "")))
            .with(&["--retries", "1"])
            .both(Must::Refuse(3)),
        fault("412 to a condition nobody sent", |s| s.when(always(), status(412, ""))).both(Must::Refuse(6)),
        fault("300 Multiple Choices", |s| s.when(always(), status(300, ""))).both(Must::Refuse(1)),
        fault("a status nobody knows (999)", |s| s.when(always(), status(999, ""))).both(Must::Refuse(1)),
    ]
}

/// A date a second from now: as short as a date can ask for.
fn soon() -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2))
}

pub fn refusals() -> Vec<Fault> {
    let impatient = &["--retries", "1"];
    vec![
        fault("503 once, Retry-After in seconds", |s| s.when(first(), status(503, "Retry-After: 1"))).both(CHEAP),
        fault("503 once, Retry-After as a date", |s| {
            s.when(first(), status(503, ""));
            s.when(first(), field("Retry-After", soon()));
        })
        .both(CHEAP),
        fault("503 once, Retry-After in the past", |s| {
            s.when(first(), status(503, "Retry-After: Tue, 17 Nov 2015 09:42:18 GMT"));
        })
        .both(CHEAP),
        fault("503 once, Retry-After that is none", |s| s.when(first(), status(503, "Retry-After: soon"))).both(CHEAP),
        fault("429 once, RateLimit says when", |s| {
            s.when(first(), status(429, "RateLimit: \"default\";r=0;t=1"));
        })
        .both(CHEAP),
        fault("a storm of 429", |s| s.when(up_to(3), status(429, "Retry-After: 1"))).both(CHEAP),
        fault("429 while two connections are open", |s| s.when(crowded(1), status(429, ""))).both(CHEAP),
        fault("503 while two connections are open", |s| s.when(crowded(1), status(503, ""))).both(CHEAP),
        fault("408, 425, 500, 502, 504, one after the other", |s| {
            for (n, code) in [408, 425, 500, 502, 504].into_iter().enumerate().take(3) {
                s.when(nth(n + 1), status(code, ""));
            }
        })
        .both(CHEAP),
        fault("500 on every other request", |s| {
            s.when(Box::new(|ask: &Ask| ask.nth % 2 == 1), status(500, ""));
        })
        .both(CHEAP),
        fault("503 to everything", |s| s.when(always(), status(503, ""))).with(impatient).both(Must::Refuse(3)),
        fault("400", |s| s.when(always(), status(400, ""))).both(Must::Refuse(6)),
        fault("401", |s| s.when(always(), status(401, "WWW-Authenticate: Basic realm=x"))).both(Must::Refuse(6)),
        fault("403", |s| s.when(always(), status(403, ""))).both(Must::Refuse(6)),
        fault("404", |s| s.when(always(), status(404, ""))).both(Must::Refuse(7)),
        fault("410", |s| s.when(always(), status(410, ""))).both(Must::Refuse(7)),
        fault("451", |s| s.when(always(), status(451, ""))).both(Must::Refuse(6)),
        fault("501", |s| s.when(always(), status(501, ""))).both(Must::Refuse(1)),
        fault("403 in the middle", |s| {
            s.when(first(), cut_after(LEN / 2));
            s.when(from(2), status(403, ""));
        })
        .fresh(Must::Refuse(6)),
        fault("404 in the middle", |s| {
            s.when(first(), cut_after(LEN / 2));
            s.when(from(2), status(404, ""));
        })
        .fresh(Must::Refuse(7)),
    ]
}
