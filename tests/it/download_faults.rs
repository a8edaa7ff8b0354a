//! Whatever a server, a proxy or a network does to a download: the right bytes or a clear refusal, and what it cost.
//!
//! Each row of [`rows`] is one thing that goes wrong; the run of the table is the proof, and writes it down where
//! `ONWARD_TEST_TABLE` names a file.

use crate::download::{download, half_done};
use crate::faults::{Fate, Proxy};
use crate::nginx::Nginx;
use crate::origin::*;
use crate::world::{Content, Ended, World, long};
use std::time::Duration;

const LEN: u64 = 2 << 20;

/// What must come of it.
#[derive(Clone, Copy, PartialEq)]
enum Must {
    /// The right file, and not more bytes than this many hundredths of its size. What the server gave to a socket
    /// counts: an answer of the wrong kind, dropped unread, may cost what the kernel had taken by then.
    Finish { percent: u64 },
    /// This exit code, and nothing under the final name.
    Refuse { code: i32 },
}

const CHEAP: Must = Must::Finish { percent: 115 };

/// One thing that goes wrong.
struct Row {
    what: &'static str,
    script: fn(&Origin, &Content),
    args: &'static [&'static str],
    must: Must,
}

/// What goes wrong with a fresh download.
fn rows() -> Vec<Row> {
    let row = |what, script, must| Row { what, script, args: &[], must };
    vec![
        row("nothing", |_, _| {}, Must::Finish { percent: 100 }),
        row(
            "closed half-way",
            |o, _| {
                o.when(first(), cut_after(LEN / 2));
            },
            CHEAP,
        ),
        row(
            "reset half-way",
            |o, _| {
                o.when(first(), reset_after(LEN / 2));
            },
            CHEAP,
        ),
        row(
            "closed after the head",
            |o, _| {
                o.when(first(), cut_after(0));
            },
            CHEAP,
        ),
        row(
            "reset before an answer",
            |o, _| {
                o.when(first(), refuse());
            },
            CHEAP,
        ),
        row(
            "closed every 300 kB",
            |o, _| {
                o.when(always(), cut_after(300_000));
            },
            CHEAP,
        ),
        Row {
            what: "silent half-way",
            script: |o, _| {
                o.when(first(), stall_after(LEN / 2));
            },
            args: &["--stall-timeout", "1s"],
            must: CHEAP,
        },
        Row {
            what: "silent before an answer",
            script: |o, _| {
                o.when(first(), late(Duration::from_secs(8)));
            },
            args: &["--stall-timeout", "1s"],
            must: CHEAP,
        },
        row(
            "ranges ignored",
            |o, _| {
                o.when(always(), ignore_range());
            },
            Must::Finish { percent: 215 },
        ),
        row(
            "ranges ignored, and cut once",
            |o, _| {
                o.when(always(), ignore_range()).when(first(), cut_after(LEN / 2));
            },
            Must::Finish { percent: 260 },
        ),
        row(
            "no more than 64 kB a range",
            |o, _| {
                o.when(always(), short_206(65_536));
            },
            CHEAP,
        ),
        row(
            "no length (chunked)",
            |o, _| {
                o.when(always(), chunked());
            },
            CHEAP,
        ),
        row(
            "no length, cut before the last chunk",
            |o, _| {
                o.when(always(), chunked()).when(first(), cut_after(LEN / 2));
            },
            Must::Finish { percent: 215 },
        ),
        row("no validators at all", |o, c| o.page("/file.bin", Page::of(c).no_etag().no_date()), CHEAP),
        row(
            "no validators, cut half-way",
            |o, c| {
                o.page("/file.bin", Page::of(c).no_etag().no_date());
                o.when(first(), cut_after(LEN / 2));
            },
            Must::Finish { percent: 130 },
        ),
        row(
            "a weak ETag, cut half-way",
            |o, c| {
                o.page("/file.bin", Page::of(c).etag("W/\"weak\""));
                o.when(first(), cut_after(LEN / 2));
            },
            CHEAP,
        ),
        row(
            "another ETag on each connection",
            |o, _| {
                o.when(always(), etag_per_connection()).when(nth(1), cut_after(LEN / 2));
            },
            Must::Finish { percent: 215 },
        ),
        row(
            "If-Range with the ETag never fits",
            |o, _| {
                o.when(always(), if_range_etag_never_fits()).when(first(), cut_after(LEN / 2));
            },
            Must::Finish { percent: 215 },
        ),
        row(
            "503 once, Retry-After: 1",
            |o, _| {
                o.when(first(), status(503, "Retry-After: 1"));
            },
            CHEAP,
        ),
        row(
            "429 while two connections are open",
            |o, _| {
                o.when(crowded(1), status(429, ""));
            },
            CHEAP,
        ),
        row("second connections refused", |o, _| o.at_most_connections(1), CHEAP),
        row(
            "500 on every other request",
            |o, _| {
                o.when(Box::new(|ask: &Ask| ask.nth % 2 == 1), status(500, ""));
            },
            CHEAP,
        ),
        row(
            "a redirect",
            |o, _| {
                o.when(at("/start"), redirect(302, "/file.bin"));
            },
            CHEAP,
        ),
        row(
            "gzip unasked for",
            |o, _| {
                o.when(always(), gzipped());
            },
            Must::Refuse { code: 1 },
        ),
        row(
            "HTTP/1.0",
            |o, c| {
                o.page("/file.bin", Page::of(c).no_ranges().no_etag());
                o.when(always(), http10());
            },
            CHEAP,
        ),
        row(
            "a wrong start in Content-Range, always",
            |o, _| {
                o.when(always(), content_range(|s, e, t| format!("bytes {}-{e}/{t}", s + 1)));
            },
            Must::Finish { percent: 330 },
        ),
        row(
            "another total in each Content-Range after the first",
            |o, _| {
                o.when(from(2), content_range(|s, e, t| format!("bytes {s}-{e}/{}", t + 1)));
            },
            Must::Finish { percent: 330 },
        ),
        row(
            "ten bytes too many",
            |o, _| {
                o.when(first(), longer_by(10));
            },
            Must::Finish { percent: 330 },
        ),
        row(
            "404",
            |o, _| {
                o.when(always(), status(404, ""));
            },
            Must::Refuse { code: 7 },
        ),
        row(
            "403",
            |o, _| {
                o.when(always(), status(403, ""));
            },
            Must::Refuse { code: 6 },
        ),
        row(
            "redirects in a circle",
            |o, _| {
                o.when(at("/file.bin"), redirect(302, "/other")).when(at("/other"), redirect(302, "/file.bin"));
            },
            Must::Refuse { code: 1 },
        ),
        row(
            "a digest that is right",
            |o, c| {
                let digest = c.digest_field(onward::digest::Algorithm::Sha256);
                o.page("/file.bin", Page::of(c).header("Repr-Digest", &digest));
            },
            CHEAP,
        ),
    ]
}

#[test]
fn fresh_downloads() {
    let mut table =
        String::from("| what goes wrong | what comes of it | bytes over size | exit |\n|---|---|---|---|\n");
    let mut complaints = String::new();
    for row in rows() {
        let world = World::new();
        let content = Content::random(40, LEN);
        let origin = Origin::serving(&content);
        (row.script)(&origin, &content);
        let path = if row.what == "a redirect" { "/start" } else { "/file.bin" };
        let ended = download(&world, &origin.url(path)).args(["-o", "file.bin"]).args(row.args).run();
        let percent = origin.sent() * 100 / LEN;
        let outcome = if ended.code() == Some(0) { "the right file" } else { "a clear refusal" };
        let code = ended.code().unwrap_or(-1);
        table.push_str(&format!("| {} | {outcome} | {percent} % | {code} |\n", row.what));
        if let Err(why) = judge(&world, &content, &ended, row.must, percent) {
            complaints.push_str(&format!(
                "\n### {}: {why}\n{}\nrequests:\n{}",
                row.what,
                ended.story(),
                origin.story()
            ));
        }
    }
    if let Some(file) = std::env::var_os("ONWARD_TEST_TABLE") {
        std::fs::write(file, &table).unwrap();
    }
    assert!(complaints.is_empty(), "{complaints}\n{table}");
}

fn judge(world: &World, content: &Content, ended: &Ended, must: Must, percent: u64) -> Result<(), String> {
    if world.exists("file.bin") {
        world.file_is("file.bin", content);
    }
    match must {
        Must::Finish { .. } if ended.code() != Some(0) => Err("did not finish".into()),
        Must::Finish { percent: most } if percent > most => Err(format!("{percent} % moved, {most} % allowed")),
        Must::Refuse { .. } if world.exists("file.bin") => Err("something has the final name".into()),
        Must::Refuse { code } if ended.code() != Some(code) => Err(format!("exit code {code} was expected")),
        _ => Ok(()),
    }
}

/// What goes wrong when a download is gone on with: what is there is kept, and nothing else is mixed in.
#[test]
fn resumed_downloads() {
    type Script = fn(&Origin, &Content);
    let lies: Vec<(&str, Script)> = vec![
        ("a login page", |o, _| {
            o.when(first(), login_page());
        }),
        ("a login page for everything, for a while", |o, _| {
            o.when(up_to(3), login_page());
        }),
        ("416 without a total", |o, _| {
            o.when(first(), unsatisfiable(None));
        }),
        ("416 with the right total", |o, _| {
            o.when(first(), unsatisfiable(Some(LEN)));
        }),
        ("416 with a smaller total", |o, _| {
            o.when(first(), unsatisfiable(Some(10)));
        }),
        ("304", |o, _| {
            o.when(first(), status(304, ""));
        }),
        ("204", |o, _| {
            o.when(first(), status(204, ""));
        }),
        ("gzip unasked for", |o, _| {
            o.when(first(), gzipped());
        }),
        ("ranges of gzip bytes", |o, _| {
            o.when(first(), gzipped_ranges());
        }),
        ("200 and the whole", |o, _| {
            o.when(always(), ignore_range());
        }),
        ("200 and the whole, cut", |o, _| {
            o.when(always(), ignore_range()).when(first(), cut_after(LEN / 2));
        }),
        ("bytes from before", |o, _| {
            o.when(first(), content_range(|s, e, t| format!("bytes {}-{e}/{t}", s - 1)));
        }),
        ("206 without Content-Range", |o, _| {
            o.when(first(), without("Content-Range"));
        }),
        ("206 with a broken Content-Range", |o, _| {
            o.when(first(), content_range(|_, _, _| "bytes oops".into()));
        }),
        ("multipart/byteranges", |o, _| {
            o.when(
                first(),
                so_that(|_, a| {
                    a.unset("Content-Range");
                    a.set("Content-Type", "multipart/byteranges; boundary=x");
                }),
            );
        }),
        ("If-Range ignored", |o, _| {
            o.when(always(), ignore_if_range());
        }),
        ("other ETag per connection", |o, _| {
            o.when(always(), etag_per_connection());
        }),
    ];
    let mut complaints = String::new();
    for (what, script) in lies {
        let world = World::new();
        let content = Content::random(41, LEN);
        let origin = Origin::serving(&content);
        let url = origin.url("/file.bin");
        half_done(&world, &url, &content);
        origin.honest_again();
        script(&origin, &content);
        origin.forget_log();
        let ended = download(&world, &url).run();
        let first_code = ended.code();
        if first_code != Some(0) {
            // A clear refusal is fine where the server is honest again later: then the transfer goes on.
            origin.honest_again();
            let again = download(&world, &url).run();
            if again.code() != Some(0) {
                complaints.push_str(&format!(
                    "\n### {what}: not even afterwards\n{}\n{}",
                    ended.story(),
                    again.story()
                ));
                continue;
            }
        }
        world.finished("file.bin", &content);
        if world.names() != ["file.bin"] {
            complaints.push_str(&format!("\n### {what}: left {:?}\n{}", world.names(), ended.story()));
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

/// The content changes while it is being downloaded, between two requests.
#[test]
fn the_content_changes_on_the_way() {
    for ignore in [false, true] {
        let world = World::new();
        let (old, new) = (Content::random(42, LEN), Content::random(43, LEN));
        let origin = Origin::serving(&old);
        origin.when(first(), cut_after(LEN / 2));
        let page = Page::of(&new).etag("\"v2\"").last_modified("Wed, 18 Nov 2015 09:42:18 GMT");
        origin.when(from(2), changed_to(page));
        if ignore {
            origin.when(always(), ignore_if_range());
        }
        let ended = download(&world, &origin.url("/file.bin")).run();
        ended.exits(0);
        world.finished("file.bin", &new);
        assert!(!ended.events_called("restarted").is_empty(), "{}", ended.story());
    }
}

/// The same with nothing that tells: no validators, the same length. Only the bytes themselves can.
#[test]
fn the_content_changes_and_nothing_tells() {
    let world = World::new();
    let (old, new) = (Content::random(44, LEN), Content::random(45, LEN));
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&old).no_etag().no_date());
    let url = origin.url("/file.bin");
    half_done(&world, &url, &old);
    origin.page("/file.bin", Page::of(&new).no_etag().no_date());
    download(&world, &url).run().exits(0);
    world.finished("file.bin", &new);
}

/// Wrong bytes under a digest that the server itself gives.
#[test]
fn a_server_that_contradicts_itself() {
    let world = World::new();
    let content = Content::random(46, LEN);
    let origin = Origin::start();
    let digest = content.digest_field(onward::digest::Algorithm::Sha256);
    origin.page("/file.bin", Page::of(&content.flipped(77)).header("Repr-Digest", &digest));
    let ended = download(&world, &origin.url("/file.bin")).run();
    ended.exits(5);
    assert!(!world.exists("file.bin"), "{:?}", world.names());
}

/// What the user gave for one origin goes to no other, on no hop.
#[test]
fn secrets_stay_with_their_origin() {
    let world = World::new();
    let content = Content::random(47, 1000);
    let (one, two) = (Origin::start(), Origin::start());
    two.page("/there", Page::of(&content));
    one.when(at("/start"), redirect(302, two.url("/hop")));
    two.when(at("/hop"), redirect(302, two.url("/there")));
    let ended = download(&world, &one.url("/start"))
        .args(["-H", "X-Api-Key: secret-key", "-H", "Cookie: a=secret-cookie", "-u", "me:secret-word", "-o", "f"])
        .run();
    ended.exits(0).never_says("secret-");
    world.finished("f", &content);
    assert!(one.asked()[0].ask.header("x-api-key") == Some("secret-key"));
    for asked in two.asked() {
        for (name, value) in &asked.ask.headers {
            let leaked = value.contains("secret") || name == "authorization";
            assert!(!leaked, "{name}: {value} went to another origin ({})", asked.ask.target);
        }
    }
}

#[test]
fn https_to_http_is_refused() {
    let world = World::new();
    let identity = Identity::new();
    std::fs::write(world.path("ca.pem"), &identity.cert_pem).unwrap();
    let (secure, plain) = (Origin::start_tls(&identity), Origin::serving(&Content::random(48, 1000)));
    secure.when(at("/start"), redirect(302, plain.url("/file.bin")));
    let ended = download(&world, &secure.url("/start")).args(["--cacert", "ca.pem", "-o", "f"]).run();
    assert_ne!(ended.code(), Some(0), "{}", ended.story());
    assert!(plain.asked().is_empty(), "{}", plain.story());
}

#[test]
fn a_chain_of_redirects_has_an_end() {
    let world = World::new();
    let content = Content::random(49, 1000);
    let origin = Origin::start();
    for hop in 0..12 {
        origin.when(at(&format!("/{hop}")), redirect(307, format!("/{}", hop + 1)));
    }
    origin.page("/12", Page::of(&content));
    download(&world, &origin.url("/2")).args(["-o", "ten"]).run().exits(0);
    world.finished("ten", &content);
    let ended = download(&world, &origin.url("/0")).args(["-o", "twelve"]).run();
    assert_ne!(ended.code(), Some(0), "{}", ended.story());
}

/// Secrets in a URL are shown nowhere and lie in no record.
#[test]
fn signed_urls_are_masked() {
    let world = World::new();
    let content = Content::random(50, LEN);
    let origin = Origin::serving(&content);
    let url = format!("{}?X-Amz-Signature=secret-sig&token=secret-token&plain=shown", origin.url("/file.bin"));
    let mut running = download(&world, &url).args(["-v", "--limit-rate", "2M"]).start();
    running.wait_for_progress(LEN / 4);
    let sidecar = world.path("file.bin.partial.toml");
    crate::world::eventually("the record", || sidecar.exists().then_some(()));
    let ended = running.kill();
    ended.never_says("secret-");
    let text = world.text("file.bin.partial.toml");
    assert!(!text.contains("secret-") && text.contains("plain=shown"), "{text}");
    download(&world, &url).run().exits(0).never_says("secret-");
    world.finished("file.bin", &content);
}

/// The fault proxy in front of a real nginx.
#[test]
fn networks_in_front_of_nginx() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    let content = Content::random(51, 4 << 20);
    nginx.put("file.bin", &content);
    let fates: Vec<(&str, Vec<Fate>)> = vec![
        ("cut", vec![Fate::cut_after(1 << 20), Fate::fine()]),
        ("reset", vec![Fate::reset_after(1 << 20), Fate::fine()]),
        ("cut each after 700 kB", vec![Fate::cut_after(700_000)]),
        ("silent", vec![Fate::stall_after(1 << 20), Fate::fine()]),
        ("cut in the head", vec![Fate::cut_after(50), Fate::fine()]),
        ("slow, then cut", vec![Fate::cut_after(1 << 20).at_rate(2 << 20), Fate::fine()]),
    ];
    for (what, fate) in fates {
        let proxy = Proxy::before(nginx.address());
        proxy.next(fate);
        let ended = download(&world, &proxy.url("/file.bin")).args(["--overwrite", "--stall-timeout", "1s"]).run();
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.story());
        world.finished("file.bin", &content);
        // A reset takes along what the kernel held for the reader.
        let bound = content.len() * 115 / 100 + (512 << 10);
        assert!(proxy.down() <= bound, "{what}: {} bytes came, bound {bound}", proxy.down());
    }
}

/// The network goes away for a while, in the middle.
#[test]
fn a_network_that_comes_back() {
    let world = World::new();
    let content = Content::random(52, 4 << 20);
    let origin = Origin::serving(&content);
    let proxy = Proxy::before(origin.address());
    proxy.next([Fate::fine().at_rate(4 << 20)]);
    let mut running = download(&world, &proxy.url("/file.bin")).start();
    running.wait_for_progress(1 << 20);
    proxy.refuse(true);
    proxy.cut_now();
    running.wait_for("retry");
    proxy.refuse(false);
    running.wait().exits(0);
    world.finished("file.bin", &content);
    assert!(proxy.down() <= content.len() * 115 / 100 + (512 << 10), "{}", proxy.down());
}

/// Random faults, one after the other, on every connection: the right file in the end.
#[test]
fn a_bad_day() {
    for seed in 0..if long() { 40 } else { 3 } {
        let world = World::new();
        let content = Content::random(seed, 3 << 20);
        let origin = Origin::serving(&content);
        let proxy = Proxy::before(origin.address());
        let mut dice = crate::world::Dice::new(seed);
        let fates: Vec<Fate> = (0..12)
            .map(|_| match dice.between(0, 4) {
                0 => Fate::reset_after(dice.between(0, 1 << 20)),
                1 => Fate::stall_after(dice.between(0, 1 << 20)),
                _ => Fate::cut_after(dice.between(0, 1 << 20)),
            })
            .chain([Fate::fine()])
            .collect();
        proxy.next(fates);
        let args = ["--stall-timeout", "500ms", "-x", "3"];
        let ended = download(&world, &proxy.url("/file.bin")).args(args).run();
        assert_eq!(ended.code(), Some(0), "seed {seed}\n{}", ended.story());
        world.finished("file.bin", &content);
    }
}
