//! `onward probe`: whatever a server does is a finding, told in one sentence, for a few kilobytes.

use crate::nginx::Nginx;
use crate::origin::{
    Lie, Origin, Page, always, at, content_range, field, gzipped, if_range_etag_never_fits, ignore_if_range,
    ignore_range, longer_by, redirect, refuse, shifted_body, so_that, status,
};
use crate::world::{Content, World};
use serde_json::Value;

const SIZE: u64 = 3 << 20;

/// Probes `url`; the run ends well and reads next to nothing.
#[track_caller]
fn probed(world: &World, url: &str, more: &[&str]) -> Value {
    let ended = world.onward(["probe", "--json", url]).args(more).run();
    ended.exits(0).never_says("SECRET");
    let found: Value = serde_json::from_slice(&ended.stdout).unwrap_or_else(|e| panic!("{e}\n{}", ended.story()));
    assert!(more.contains(&"--speed") || found["bytes"].as_u64().unwrap() < 300_000, "{found}");
    found
}

/// Probes an origin that serves `page` and tells `lies`.
#[track_caller]
fn of(page: Page, lies: Vec<Lie>) -> Value {
    let world = World::new();
    let origin = Origin::start();
    origin.page("/file.bin", page);
    for lie in lies {
        origin.when(at("/file.bin"), lie);
    }
    probed(&world, &origin.url("/file.bin"), &[])
}

fn page() -> Page {
    Page::of(&Content::random(1, SIZE))
}

#[test]
fn an_honest_server() {
    let found = of(
        page().header("Repr-Digest", &Content::random(1, SIZE).digest_field(onward::digest::Algorithm::Sha256)),
        vec![],
    );
    assert_eq!((&found["resumable"], &found["verdict"]), (&"safely".into(), &"yes, safely".into()), "{found}");
    assert_eq!(found["length"], SIZE);
    assert_eq!((&found["stable"], &found["etag_strong"]), (&true.into(), &true.into()));
    assert_eq!(found["ranges"], serde_json::json!({"middle": "honest", "open": "honest", "beyond": "honest"}));
    assert_eq!(found["if_range"], serde_json::json!({"etag": "works", "date": "works"}));
    assert_eq!(found["digests"], serde_json::json!(["sha-256 (repr-digest)"]));
    assert_eq!(found["http"], serde_json::json!(["HTTP/1.1"]));
}

#[test]
fn servers_that_can_be_gone_on_with_by_comparing() {
    for page in [page().etag("W/\"weak\"").no_date(), page().no_etag().no_date()] {
        let found = of(page, vec![]);
        assert_eq!(found["resumable"], "overlap", "{found}");
        assert_eq!(found["if_range"]["etag"], "unavailable", "{found}");
    }
    let nodes = of(page(), vec![crate::origin::etag_per_connection()]);
    assert_eq!((&nodes["resumable"], &nodes["stable"]), (&"overlap".into(), &false.into()), "{nodes}");
}

#[test]
fn conditions_that_do_nothing_are_named() {
    let ignored = of(page(), vec![ignore_if_range()]);
    assert_eq!(ignored["if_range"], serde_json::json!({"etag": "ignored", "date": "ignored"}), "{ignored}");
    assert_eq!(ignored["resumable"], "safely", "every answer is compared all the same: {ignored}");
    let denied = of(page(), vec![if_range_etag_never_fits()]);
    assert_eq!(denied["if_range"], serde_json::json!({"etag": "denied", "date": "works"}), "{denied}");
}

#[test]
fn liars_are_found_out() {
    let no = |lies: Vec<Lie>, word: &str| {
        let found = of(page(), lies);
        assert_eq!(found["resumable"], "no", "{found}");
        assert!(found["why"].as_str().unwrap().contains(word), "{word}: {found}");
    };
    no(vec![ignore_range()], "whole file");
    no(vec![shifted_body(8)], "other bytes than it names");
    no(vec![content_range(|start, last, total| format!("bytes {}-{}/{total}", start + 1, last + 1))], "another range");
    no(vec![longer_by(10)], "another number of bytes");
    no(vec![gzipped()], "gzip");
    no(vec![status(403, "")], "403");
    no(vec![status(503, "Retry-After: 100")], "503");
    no(vec![refuse()], "");
    no(vec![redirect(302, "/file.bin")], "loop");
    no(vec![so_that(|_, answer| answer.set("ETag", "\"\u{1}")), status(500, "")], "500");
    let empty = of(Page::of(&Content::of("")), vec![]);
    assert_eq!(empty["resumable"], "no", "{empty}");
}

#[test]
fn nobody_there_is_a_finding_too() {
    let world = World::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let found = probed(&world, &format!("http://{closed}/f?token=SECRET"), &[]);
    assert_eq!(found["resumable"], "no", "{found}");
    assert!(found["error"].as_str().unwrap().contains("connect"), "{found}");
    world.onward(["probe"]).run().exits(2);
    world.onward(["probe", "ftp://h/f"]).run().exits(2);
}

#[test]
fn redirects_uploads_and_strange_words() {
    let world = World::new();
    let origin = Origin::start();
    origin.page("/old", Page::of(&Content::of("")));
    origin.page("/file.bin", page().header("X-Other", "x"));
    origin.when(at("/old"), redirect(302, "/file.bin?sig=SECRET"));
    for (name, value) in [
        ("Tus-Version", "1.0.0"),
        ("Tus-Extension", "creation"),
        ("Upload-Limit", "max-size=1000"),
        ("DAV", "1, 2"),
        ("Allow", "GET, PUT"),
    ] {
        origin.when(Box::new(|ask| ask.method == "OPTIONS"), field(name, value));
    }
    let found = probed(&world, &origin.url("/old"), &[]);
    assert!(found["final"].as_str().unwrap().ends_with("/file.bin?sig=***"), "{found}");
    assert_eq!(found["redirects"][0]["status"], 302, "{found}");
    let uploads: Vec<&str> = found["uploads"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(
        uploads,
        [
            "tus (1.0.0; creation)",
            "IETF resumable uploads (max-size=1000)",
            "WebDAV (1, 2)",
            "PUT",
            "PATCH or PUT with Content-Range (possible: proven only by writing)",
        ]
    );
    origin.when(always(), field("Content-Type", "a\u{202e}b"));
    let ended = world.onward(["probe", &origin.url("/old"), &origin.url("/missing")]).run();
    ended.exits(0).never_says("SECRET").never_says("\u{202e}");
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(
        text.contains("resumable  yes, safely\n") && text.contains("resumable  no: the server answers 404\n"),
        "{text}"
    );
}

#[test]
fn a_real_server_and_its_speed() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    nginx.put("f", &Content::random(2, SIZE));
    let cacert = nginx.cacert();
    let found = probed(&world, &nginx.tls_url("/f"), &["--speed", "--cacert", cacert.to_str().unwrap()]);
    assert_eq!(found["resumable"], "safely", "{found}");
    assert_eq!(found["http"], serde_json::json!(["HTTP/2", "HTTP/1.1"]), "{found}");
    assert!(found["speed"]["one"].as_u64().unwrap() > 0 && found["speed"]["several"].as_u64().unwrap() > 0, "{found}");
}

#[test]
fn what_takes_uploads_without_announcing_it() {
    let world = World::new();
    let origin = Origin::start();
    origin.page("/up", page());
    let ended = world.onward(["probe", &origin.url("/up")]).run();
    ended.exits(0);
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(text.contains("uploads    none announced; form pages announce nothing: use --dialect\n"), "{text}");
    let Some(shelf) = crate::fileservers::copyparty(&world) else { return };
    for place in ["", "new-file.bin", "new-folder/new-file.bin"] {
        let found = probed(&world, &shelf.url(place), &[]);
        let uploads = found["uploads"].as_array().unwrap();
        assert!(uploads.contains(&"up2k".into()), "{place:?}: {found}");
    }
    let shown = std::fs::read_dir(shelf.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let written: Vec<_> = shown.filter(|name| !name.to_string_lossy().starts_with('.')).collect();
    assert!(written.is_empty(), "a probe writes nothing: {written:?}");
}
