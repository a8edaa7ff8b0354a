//! Uploads to receivers that refuse, forget, lose answers and lie.

use crate::peer::{Act, Receiver, problem};
use crate::world::{Content, Ended, World};
use serde_json::json;

const CHUNK: u64 = 1 << 20;

fn upload(world: &World, receiver: &Receiver, more: &[&str]) -> Ended {
    let url = receiver.url("dir/remote.bin");
    let args = ["upload", "--progress", "json", "--chunk-size", "1MiB", "big.bin", &url];
    world.onward(args).args(more).run()
}

fn world(length: u64) -> (World, Content) {
    let world = World::new();
    let content = Content::random(length, length);
    content.write_to(&world.path("big.bin"));
    (world, content)
}

/// Done, stored, nothing left behind; gives the run.
#[track_caller]
fn arrives(world: &World, receiver: &Receiver, content: &Content, ended: &Ended) {
    ended.exits(0);
    receiver.stored(content);
    world.holds_only(&["big.bin"]);
}

#[test]
fn to_a_receiver_written_from_the_document() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 2_999_999] {
        let (world, content) = world(length);
        let receiver = Receiver::honest();
        let ended = upload(&world, &receiver, &[]);
        arrives(&world, &receiver, &content, &ended);
        ended.stdout_is(&format!("{}\n", receiver.url("files/remote.bin")));
        assert_eq!(receiver.sent(), length);
        assert_eq!(ended.event("verified")["alg"], "sha-256");
    }
}

#[test]
fn a_folder_is_asked_once_what_it_speaks() {
    let world = World::new();
    let names: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    names.iter().for_each(|name| drop(world.write(name, name)));
    let receiver = Receiver::honest();
    world.onward(["upload"]).args(&names).arg(receiver.url("dir/")).run().exits(0);
    assert_eq!((receiver.count("discover"), receiver.count("begin")), (1, 20));
    assert_eq!(world.names().len(), 20, "{:?}", world.names());
}

#[test]
fn lost_answers_at_every_step() {
    for step in ["discover", "begin", "send", "finish"] {
        for lost in [|| Act::LoseAnswer, || Act::LoseRequest] {
            let (world, content) = world(3 * CHUNK);
            let receiver = Receiver::with(move |asked, before| match asked.step() == step && before == 0 {
                true => lost(),
                false => Act::Honest,
            });
            let ended = upload(&world, &receiver, &[]);
            arrives(&world, &receiver, &content, &ended);
            assert_eq!(receiver.desk().uploads.len(), 1, "{step}: an orphan was left");
            assert!(!ended.events_called("retry").is_empty(), "{step}: nothing was said");
        }
    }
}

#[test]
fn after_a_lost_answer_the_receiver_is_asked_first() {
    let (world, content) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, before| match (asked.step(), before) {
        ("send", 0) => Act::LoseAnswer,
        _ => Act::Honest,
    });
    let ended = upload(&world, &receiver, &[]);
    arrives(&world, &receiver, &content, &ended);
    assert_eq!(receiver.sent(), 3 * CHUNK, "a piece that had arrived was sent again");
    assert!(receiver.count("ask") > 0);
}

#[test]
fn a_413_halves_the_piece_and_never_the_chunk() {
    let (world, content) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, _| match asked.step() == "send" && asked.body.len() > 300_000 {
        true => problem(413, "too-large", json!({})),
        false => Act::Honest,
    });
    let ended = upload(&world, &receiver, &["-v"]);
    arrives(&world, &receiver, &content, &ended);
    ended.says("takes no pieces of");
    assert_eq!(receiver.desk().uploads[0].chunk, CHUNK);
}

#[test]
fn busy_and_unavailable_are_waited_for() {
    let (world, content) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, before| match (asked.step(), before) {
        ("send", 0) => problem(409, "busy", json!({})),
        ("begin", 0) => Act::Answer(503, vec![("Retry-After", "1".into())], String::new()),
        _ => Act::Honest,
    });
    let ended = upload(&world, &receiver, &[]);
    arrives(&world, &receiver, &content, &ended);
    let waits: Vec<f64> = ended.events_called("retry").iter().map(|event| event["wait"].as_f64().unwrap()).collect();
    assert!(waits.len() >= 2 && waits.iter().all(|wait| *wait >= 1.0), "{waits:?}");
}

#[test]
fn a_forgotten_upload_is_begun_anew_and_that_is_said() {
    for status in [404, 410] {
        let (world, content) = world(3 * CHUNK);
        let receiver = Receiver::with(move |asked, before| match (asked.step(), before) {
            ("send", 1) => problem(status, "unknown-upload", json!({})),
            _ => Act::Honest,
        });
        let ended = upload(&world, &receiver, &[]);
        arrives(&world, &receiver, &content, &ended);
        assert_eq!(ended.events_called("restarted").len(), 1, "{status}");
        let desk = receiver.desk();
        assert!(desk.uploads.len() == 2 && desk.uploads[0].key != desk.uploads[1].key);
    }
}

#[test]
fn a_202_is_waited_for() {
    let (world, content) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, before| match (asked.step(), before) {
        ("finish", 0) => Act::Answer(202, vec![("Retry-After", "1".into())], String::new()),
        _ => Act::Honest,
    });
    arrives(&world, &receiver, &content, &upload(&world, &receiver, &[]));
    assert!(receiver.count("ask") >= 1, "it asks how far the check is");
}

/// The content that a receiver offers is read before it counts: that takes its time, and is waited for.
#[test]
fn a_202_to_the_proof_is_waited_for() {
    let (world, _) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, _| match asked.step() {
        "begin" => Act::Edit(|status| {
            let offer =
                r#""other":{"state":"complete","nonce":"000102030405060708090a0b0c0d0e0f","ranges":"0-99"},"state""#;
            status.replace(r#""state""#, offer)
        }),
        "identify" => Act::Answer(202, vec![("Retry-After", "1".into())], String::new()),
        "ask" => {
            Act::Edit(|status| status.replace(r#""state":"new""#, r#""state":"complete","file":"/files/remote.bin""#))
        }
        _ => Act::Honest,
    });
    upload(&world, &receiver, &[]).exits(0);
    assert_eq!((receiver.count("identify"), receiver.sent()), (1, 0));
}

#[test]
fn missing_and_suspect_chunks_are_seen_to() {
    let (world, content) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, before| match (asked.step(), before) {
        ("finish", 0) => problem(409, "incomplete", json!({"missing": "1"})),
        ("finish", 1) => problem(422, "suspect", json!({"suspect": "2"})),
        _ => Act::Honest,
    });
    let ended = upload(&world, &receiver, &[]);
    arrives(&world, &receiver, &content, &ended);
    assert!(receiver.count("compare") >= 1, "suspect chunks are compared");
}

#[test]
fn a_receiver_that_never_finds_it_right_is_an_integrity_failure() {
    let (world, _) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, _| match asked.step() {
        "finish" => problem(422, "suspect", json!({"suspect": "0"})),
        _ => Act::Honest,
    });
    upload(&world, &receiver, &[]).exits(5);
    assert!(receiver.sent() <= 6 * CHUNK, "it is not sent for ever");
}

#[test]
fn a_wrong_digest_at_the_end_is_not_success() {
    let (world, _) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, _| match asked.step() {
        "finish" => Act::Edit(|body| {
            let mut status: serde_json::Value = serde_json::from_str(&body).unwrap();
            status["digests"]["sha-256"] = "00".repeat(32).into();
            status.to_string()
        }),
        _ => Act::Honest,
    });
    upload(&world, &receiver, &[]).exits(5).stdout_is("").says("sha-256");
}

#[test]
fn a_damaged_piece_is_sent_again() {
    let (world, content) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, before| match (asked.step(), before) {
        ("send", 1) => problem(422, "digest-mismatch", json!({})),
        _ => Act::Honest,
    });
    arrives(&world, &receiver, &content, &upload(&world, &receiver, &[]));
    assert_eq!(receiver.sent(), 4 * CHUNK);
}

#[test]
fn refusals_are_told_in_the_servers_words_and_leave_nothing() {
    for (status, slug, code) in [
        (409, "exists", 8),
        (401, "unauthorized", 6),
        (403, "forbidden", 6),
        (507, "no-space", 6),
        (400, "bad-name", 6),
        (413, "too-large", 6),
    ] {
        let (world, _) = world(CHUNK);
        let receiver = Receiver::with(move |asked, _| match asked.step() {
            "begin" => problem(status, slug, json!({"size": 5, "hint": "do\u{1b}[31m this"})),
            _ => Act::Honest,
        });
        let ended = upload(&world, &receiver, &[]);
        ended.exits(code).says(&format!("the test says {slug}")).never_says("\u{1b}");
        assert_eq!(receiver.sent(), 0);
        world.holds_only(&["big.bin"]);
    }
}

#[test]
fn nonsense_from_a_server_is_a_failure_and_no_panic() {
    for edit in [
        (|_| "not json".to_string()) as fn(String) -> String,
        |body| body.replace("\"have\":\"\"", "\"have\":\"0-99\""),
        |body| body.replace("\"/u/", "\"http://evil.example/u/"),
        |body| body.replace("\"/u/", "\"//evil.example/u/"),
        |body| body.replace("\"size\":3", "\"size\":4"),
    ] {
        let (world, _) = world(3 * CHUNK);
        let receiver = Receiver::with(move |asked, _| match asked.step() {
            "begin" => Act::Edit(edit),
            _ => Act::Honest,
        });
        upload(&world, &receiver, &[]).exits(1).never_says("panicked");
        assert_eq!(receiver.sent(), 0);
    }
}

#[test]
fn a_server_that_takes_nothing_says_so() {
    let (world, _) = world(CHUNK);
    let receiver = Receiver::with(|_, _| Act::Answer(405, vec![], String::new()));
    upload(&world, &receiver, &[]).exits(6).says("405").says("no files are taken");
    let gone = Receiver::with(|_, _| Act::Answer(404, vec![], String::new()));
    upload(&world, &gone, &[]).exits(6);
    assert_eq!(receiver.count("begin"), 0);
}

#[test]
fn a_name_taken_at_the_end_keeps_the_upload_whole() {
    let (world, content) = world(3 * CHUNK);
    let receiver = Receiver::with(|asked, before| match (asked.step(), before) {
        ("finish", 0) => problem(409, "name-taken", json!({})),
        _ => Act::Honest,
    });
    let ended = upload(&world, &receiver, &[]);
    ended.exits(8).says("keeps the upload whole").says("--overwrite");
    let ended = upload(&world, &receiver, &[]);
    arrives(&world, &receiver, &content, &ended);
    assert_eq!(receiver.sent(), 3 * CHUNK, "nothing is sent again");
}

#[test]
fn damage_at_the_server_between_two_runs_is_mended() {
    let (world, content) = world(4 * CHUNK);
    let receiver = Receiver::honest();
    world
        .onward(["upload", "--chunk-size", "1MiB", "big.bin", &receiver.url("dir/remote.bin")])
        .crash_at("part-acknowledged:3")
        .run()
        .died_of(crate::world::Signal::KILL);
    receiver.desk().uploads[0].bytes[7] ^= 1;
    let ended = upload(&world, &receiver, &[]);
    arrives(&world, &receiver, &content, &ended);
}
