//! Redirects.

use super::{CHEAP, Fault, LEN, Must, Stage, fault, odd_server};
use crate::origin::*;

fn elsewhere(stage: &Stage) {
    stage.elsewhere.page("/signed/1", stage.plain());
    stage.elsewhere.page("/signed/2", stage.plain());
}

/// The n-th request to the site is led to `/signed/1`, those from `change` on to `/signed/2`.
fn leads_elsewhere(stage: &Stage, change: usize) {
    let url = |n| stage.elsewhere.url(&format!("/signed/{n}?X-Amz-Signature=secret"));
    stage.origin.when(Box::new(move |ask| ask.path() == "/start" && ask.nth < change), redirect(302, url(1)));
    stage.origin.when(Box::new(move |ask| ask.path() == "/start" && ask.nth >= change), redirect(302, url(2)));
}

pub fn redirects() -> Vec<Fault> {
    let away = |what, script: super::Script| fault(what, script).at("/start").fresh(Must::Refuse(1));
    vec![
        odd_server("301", |s| s.when(at("/start"), redirect(301, "/file.bin"))).at("/start").both(CHEAP),
        odd_server("302", |s| s.when(at("/start"), redirect(302, "/file.bin"))).at("/start").both(CHEAP),
        odd_server("303", |s| s.when(at("/start"), redirect(303, "/file.bin"))).at("/start").both(CHEAP),
        odd_server("307", |s| s.when(at("/start"), redirect(307, "/file.bin"))).at("/start").both(CHEAP),
        odd_server("308", |s| s.when(at("/start"), redirect(308, "/file.bin"))).at("/start").both(CHEAP),
        odd_server("to another host, closed half-way", |s| {
            elsewhere(s);
            leads_elsewhere(s, usize::MAX);
        })
        .then(|s| {
            s.elsewhere.when(first(), cut_after(LEN / 2));
        })
        .at("/start")
        .both(CHEAP),
        odd_server("a signed link that expires in the middle", |s| {
            elsewhere(s);
            leads_elsewhere(s, 2);
        })
        .then(|s| {
            s.elsewhere.when(at("/signed/1"), cut_after(LEN / 2));
            s.elsewhere.when(both(at("/signed/1"), from(2)), status(403, ""));
        })
        .at("/start")
        .fresh(CHEAP),
        odd_server("a signed link that has expired since the last run", |s| {
            elsewhere(s);
            leads_elsewhere(s, usize::MAX);
        })
        .then(|s| {
            s.origin.honest_again();
            s.elsewhere.when(at("/signed/1"), status(403, ""));
            s.origin.when(at("/start"), redirect(302, s.elsewhere.url("/signed/2?X-Amz-Signature=secret")));
        })
        .at("/start")
        .resumed(CHEAP),
        odd_server("leads to another file now", |s| s.when(at("/start"), redirect(302, "/file.bin")))
            .then(|s| {
                s.origin.honest_again();
                s.origin.page("/other.bin", s.changed());
                s.when(at("/start"), redirect(302, "/other.bin"));
            })
            .at("/start")
            .resumed(Must::Renew(280)),
        odd_server("leads to another file of the same ETag and length now, the digest known", |s| {
            s.when(at("/start"), redirect(302, "/file.bin"));
        })
        .then(|s| {
            s.origin.honest_again();
            s.origin.page("/other.bin", s.changed().etag("\"v1\""));
            s.when(at("/start"), redirect(302, "/other.bin"));
        })
        .with(&["--checksum", "sha256:{sha256}"])
        .at("/start")
        .resumed(Must::Renew(280)),
        away("in a circle", |s| {
            s.when(at("/start"), redirect(302, "/other"));
            s.when(at("/other"), redirect(302, "/start"));
        }),
        away("to itself", |s| s.when(at("/start"), redirect(302, "/start"))),
        away("more than ten", |s| {
            s.when(
                always(),
                so_that(|ask, a| {
                    let n: u32 = ask.path().trim_start_matches("/start").parse().unwrap_or(0);
                    a.page("text/html", "moved");
                    a.status = 302;
                    a.set("Location", format!("/start{}", n + 1));
                }),
            );
        }),
        away("to file:///etc/passwd", |s| s.when(at("/start"), redirect(302, "file:///etc/passwd"))),
        away("to ftp://", |s| s.when(at("/start"), redirect(302, "ftp://127.0.0.1/file.bin"))),
        away("to data:", |s| s.when(at("/start"), redirect(302, "data:text/plain,hello"))),
        away("to a Location that is no URL", |s| s.when(at("/start"), redirect(302, "http://[oops"))),
        away("without a Location", |s| s.when(at("/start"), status(302, ""))),
        fault("with a name and password in the Location", |s| {
            let to = s.origin.url("/file.bin").replace("http://", "http://user:word@");
            s.when(at("/start"), redirect(302, to));
        })
        .at("/start")
        .fresh(CHEAP),
        fault("a circle in the middle, once", |s| {
            s.when(nth(2), redirect(302, "/file.bin"));
            s.when(first(), cut_after(LEN / 2));
        })
        .fresh(Must::Refuse(1)),
    ]
}
