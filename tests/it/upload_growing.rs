//! Uploads by tus and by the IETF's protocol to servers with quirks: each one that was seen on a real server, and those
//! that would cost bytes or a wrong file.

use crate::growing_peer::{IETF, Peer, TUS, Tongue, Ways};
use crate::peer::Act;
use crate::world::{Content, Ended, World};
use onward::digest::Algorithm;

const MIB: u64 = 1 << 20;

fn world(length: u64) -> (World, Content) {
    let world = World::new();
    let content = Content::random(length, length);
    content.write_to(&world.path("big.bin"));
    (world, content)
}

fn upload(world: &World, peer: &Peer, more: &[&str]) -> Ended {
    world.onward(["upload", "--progress", "json", "-v", "big.bin", &peer.url("/files/")]).args(more).run()
}

/// Done, stored, nothing left behind.
#[track_caller]
fn arrives(world: &World, peer: &Peer, content: &Content, ended: &Ended) {
    ended.exits(0);
    peer.stored(content);
    world.holds_only(&["big.bin"]);
}

fn answer(status: u16, fields: Vec<(&'static str, String)>, body: &str) -> Act {
    Act::Answer(status, fields, body.into())
}

#[test]
fn every_size_by_both_protocols() {
    for ways in [TUS, IETF, Ways { tongue: Tongue::Ietf(6), ..IETF }, Ways { tongue: Tongue::Ietf(10), ..IETF }] {
        for length in [0, 1, MIB - 1, MIB, MIB + 1, 4 * MIB] {
            let (world, content) = world(length);
            let peer = Peer::honest(ways.clone());
            let ended = upload(&world, &peer, &[]);
            arrives(&world, &peer, &content, &ended);
            assert_eq!(peer.bodies().iter().sum::<u64>(), length, "{:?}", ways.tongue);
        }
    }
}

#[test]
fn lost_answers_and_passing_trouble() {
    type Trouble = fn() -> Act;
    let troubles: [Trouble; 8] = [
        || Act::LoseAnswer,
        || Act::LoseRequest,
        // The upload is locked: the offset is the one that was sent.
        || answer(409, vec![("Content-Type", "text/plain".into())], "currently being updated"),
        || answer(423, vec![], ""),
        || {
            answer(
                400,
                vec![("Content-Type", "text/plain".into())],
                "ERR_UPLOAD_INTERRUPTED: upload has been interrupted",
            )
        },
        || answer(500, vec![], ""),
        || answer(503, vec![("Retry-After", "1".into())], ""),
        || answer(204, vec![], ""),
    ];
    for ways in [TUS, IETF] {
        for (number, trouble) in troubles.iter().enumerate() {
            // What breaks a request off and a success that says nothing are tus servers' ways.
            if ways.tongue != Tongue::Tus && matches!(number, 4 | 7) {
                continue;
            }
            let (world, content) = world(3 * MIB);
            let trouble = *trouble;
            let peer = Peer::with(ways.clone(), move |asked, before| match (asked.method.as_str(), before) {
                ("PATCH", 1) => trouble(),
                _ => Act::Honest,
            });
            let ended = upload(&world, &peer, &[]);
            arrives(&world, &peer, &content, &ended);
            assert_eq!(peer.desk().uploads.len(), 1, "{number}: it was begun anew");
            assert!(!ended.events_called("retry").is_empty(), "{number}: nothing was said");
        }
    }
}

#[test]
fn a_success_that_keeps_nothing_is_a_failure() {
    for ways in [TUS, IETF] {
        let (world, content) = world(3 * MIB);
        let rule = |times: usize| {
            move |asked: &crate::peer::Asked, before| match asked.method.as_str() {
                "PATCH" if before > 0 && before <= times => {
                    answer(204, vec![("Upload-Offset", asked.headers["upload-offset"].clone())], "")
                }
                _ => Act::Honest,
            }
        };
        let once = Peer::with(ways.clone(), rule(1));
        let ended = upload(&world, &once, &[]);
        arrives(&world, &once, &content, &ended);
        assert_eq!(ended.events_called("retry").len(), 1, "{:?}", ways.tongue);
        let ever = Peer::with(ways.clone(), rule(usize::MAX));
        upload(&world, &ever, &["--retries", "1"]).exits(3).says("kept nothing of it");
        assert_eq!(ever.count("PATCH"), 3, "{:?}", ways.tongue);
    }
}

#[test]
fn what_is_gone_is_begun_anew_and_that_is_said() {
    for (ways, status) in [(TUS, 404), (TUS, 410), (IETF, 404)] {
        let (world, content) = world(3 * MIB);
        let peer = Peer::with(ways, move |asked, before| match (asked.method.as_str(), before) {
            ("PATCH", 1) => answer(status, vec![], ""),
            _ => Act::Honest,
        });
        let ended = upload(&world, &peer, &[]);
        arrives(&world, &peer, &content, &ended);
        assert_eq!((ended.events_called("restarted").len(), peer.desk().uploads.len()), (1, 2));
    }
}

#[test]
fn a_413_is_halved_said_and_remembered() {
    let (world, content) = world(3 * MIB);
    let rule = |asked: &crate::peer::Asked, _| match asked.body.len() > 300_000 {
        true => answer(413, vec![], ""),
        false => Act::Honest,
    };
    let peer = Peer::with(TUS, rule);
    let ended = upload(&world, &peer, &[]);
    arrives(&world, &peer, &content, &ended);
    ended.says("refuses larger requests").says("remembered");
    assert_eq!(peer.desk().uploads.len(), 1);
    let refused = peer.bodies().iter().filter(|length| **length > 300_000).count();
    assert!(refused > 0);
    arrives(&world, &peer, &content, &upload(&world, &peer, &[]));
    let again = peer.bodies().iter().filter(|length| **length > 300_000).count();
    assert_eq!(again, refused, "the host was asked again");
}

#[test]
fn checksums_go_with_every_part_and_mismatches_are_sent_again() {
    for (name, algorithm) in [("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256)] {
        for status in [460, 417] {
            let (world, content) = world(3 * MIB);
            let checksum = Some((name, algorithm));
            let ways = Ways { extensions: "creation,checksum", checksum, ..TUS };
            let peer = Peer::with(ways, move |asked, before| match (asked.method.as_str(), before) {
                ("PATCH", 1) => answer(status, vec![], ""),
                _ => Act::Honest,
            });
            let ended = upload(&world, &peer, &[]);
            arrives(&world, &peer, &content, &ended);
            assert_eq!(ended.event("done")["proof"], format!("{} of every part", algorithm.name()));
        }
    }
}

#[test]
fn joining_that_is_announced_and_not_done_becomes_one_upload() {
    // Refused, or the wish is ignored: this server knows nothing of it.
    for refuses in [true, false] {
        let (world, content) = world(5 * MIB);
        let ways = Ways { extensions: "creation,termination,concatenation", ..TUS };
        let peer = Peer::with(ways, move |asked, _| match refuses && asked.headers.contains_key("upload-concat") {
            true => answer(501, vec![], ""),
            false => Act::Honest,
        });
        let ended = upload(&world, &peer, &["--chunk-size", "1M"]);
        arrives(&world, &peer, &content, &ended);
        let desk = peer.desk();
        assert_eq!(desk.uploads.iter().filter(|upload| !upload.gone).count(), 1, "an orphan was left");
    }
}

#[test]
fn what_may_be_joined_already_is_not_joined_again() {
    let ways = Ways { extensions: "creation,termination,concatenation", ..TUS };
    for lost in [true, false] {
        let (world, _) = world(5 * MIB);
        let peer = Peer::with(ways.clone(), move |asked, _| {
            let concat = asked.headers.get("upload-concat").cloned().unwrap_or_default();
            match (asked.method.as_str(), concat.starts_with("final")) {
                ("POST", true) if lost => Act::LoseRequest,
                ("POST", true) => answer(403, vec![], ""),
                ("HEAD", _) => {
                    let fields = vec![("Upload-Offset", "1048576".into()), ("Upload-Length", "1048576".into())];
                    answer(200, [fields, vec![("Upload-Concat", "partial".into())]].concat(), "")
                }
                _ => Act::Honest,
            }
        });
        let finals = |peer: &Peer| {
            let finals = |asked: &&crate::peer::Asked| {
                asked.headers.get("upload-concat").is_some_and(|concat| concat.starts_with("final"))
            };
            peer.desk().log.iter().filter(finals).count()
        };
        let more = ["--chunk-size", "1M"];
        match lost {
            true => upload(&world, &peer, &more).exits(10).says("its answer was lost").says("--restart"),
            false => upload(&world, &peer, &more).exits(6).says("does not join"),
        };
        assert_eq!(finals(&peer), 1, "lost: {lost}");
        // The next run knows it too; a plain no may be asked for again.
        let again = world.onward(["resume"]).run();
        match lost {
            true => again.exits(10).says("its answer was lost"),
            false => again.exits(6).says("does not join"),
        };
        assert_eq!(finals(&peer), if lost { 1 } else { 2 });
    }
}

#[test]
fn the_first_bytes_go_along_where_the_server_takes_them() {
    let ways = Ways { extensions: "creation,termination,creation-with-upload", ..TUS };
    for refuses in [false, true] {
        for length in [0, 1, MIB, MIB + 1, 5 * MIB] {
            let (world, content) = world(length);
            let peer = Peer::with(ways.clone(), move |asked, _| match asked.method.as_str() {
                "POST" if refuses && !asked.body.is_empty() => answer(415, vec![], ""),
                _ => Act::Honest,
            });
            let ended = upload(&world, &peer, &[]);
            arrives(&world, &peer, &content, &ended);
            let along: Vec<u64> = peer
                .desk()
                .log
                .iter()
                .filter(|asked| asked.method == "POST")
                .map(|asked| asked.body.len() as u64)
                .collect();
            // Never all of it: a lost answer would leave a complete file that nobody knows of.
            match (length > MIB, refuses) {
                (false, _) => assert_eq!(along, [0]),
                (true, false) => assert_eq!(along, [MIB]),
                (true, true) => assert_eq!(along, [MIB, 0]),
            }
            let done = ended.event("done");
            let wasted = if refuses { along[0] } else { 0 };
            assert_eq!((done["moved"].as_u64(), done["already"].as_u64()), (Some(length + wasted), Some(0)));
            assert!(ended.events_called("resumed").is_empty());
            assert_eq!(along.iter().chain(&peer.bodies()).sum::<u64>(), length + wasted);
        }
    }
}

#[test]
fn an_upload_that_one_is_forbidden_to_see_is_gone() {
    let (world, content) = world(3 * MIB);
    let peer = Peer::with(TUS, |asked, before| match (asked.method.as_str(), before) {
        ("PATCH", 1) => Act::LoseAnswer,
        ("HEAD", 0) => answer(403, vec![], ""),
        _ => Act::Honest,
    });
    let ended = upload(&world, &peer, &[]);
    arrives(&world, &peer, &content, &ended);
    assert_eq!((ended.events_called("restarted").len(), peer.desk().uploads.len()), (1, 2));
}

#[test]
fn a_location_on_an_error_is_kept() {
    let (world, content) = world(2 * MIB);
    let peer = Peer::with(TUS, |asked, before| match (asked.method.as_str(), before) {
        // It is made all the same, by another request that nobody sees.
        ("POST", 0) => answer(500, vec![("Location", "/files/u-0".into()), ("Tus-Resumable", "1.0.0".into())], ""),
        _ => Act::Honest,
    });
    peer.desk().uploads.push(crate::growing_peer::Upload { length: 2 * MIB, ..Default::default() });
    let ended = upload(&world, &peer, &[]);
    arrives(&world, &peer, &content, &ended);
    assert_eq!(peer.count("POST"), 1);
    assert_eq!(peer.desk().uploads.len(), 1);
}

#[test]
fn hosted_services_get_the_parts_they_insist_on() {
    let (world, content) = world(20 * MIB + 5);
    let peer = Peer::honest(TUS);
    let url = peer.url("/storage/v1/upload/resumable");
    let ended = world.onward(["upload", "--progress", "json", "--metadata", "bucketName=b", "big.bin", &url]).run();
    arrives(&world, &peer, &content, &ended);
    assert_eq!(peer.bodies(), [6 * MIB, 6 * MIB, 6 * MIB, 2 * MIB + 5]);
    let desk = peer.desk();
    let metadata = &desk.uploads[0].metadata;
    assert_eq!((metadata["filename"].as_str(), metadata["bucketName"].as_str()), ("big.bin", "b"));
    assert_eq!(metadata["filetype"], "application/octet-stream");
}

#[test]
fn hosted_services_are_known_though_they_announce_nothing() {
    let (world, content) = world(7 * MIB);
    let silent = |asked: &crate::peer::Asked, _| match asked.method.as_str() {
        "OPTIONS" => answer(404, vec![], ""),
        _ => Act::Honest,
    };
    let peer = Peer::with(TUS, silent);
    let ended = world.onward(["upload", "big.bin", &peer.url("/storage/v1/upload/resumable")]).run();
    arrives(&world, &peer, &content, &ended);
    // Elsewhere a profile says what nobody announces.
    let peer = Peer::with(TUS, silent);
    let config = format!("[host.{:?}]\nprotocol = \"tus\"\n", peer.url("/"));
    let home = world.beside("config");
    std::fs::create_dir_all(home.join("onward")).unwrap();
    std::fs::write(home.join("onward/config.toml"), config).unwrap();
    let upload = || world.onward(["upload", "big.bin", &peer.url("/files/")]);
    upload().run().exits(6);
    let ended = upload().env("XDG_CONFIG_HOME", &home).run();
    arrives(&world, &peer, &content, &ended);
}

#[test]
fn a_changed_source_is_not_mixed_and_restart_sends_it_anew() {
    for ways in [TUS, IETF] {
        let (world, content) = world(4 * MIB);
        let peer = Peer::honest(ways);
        let args = ["upload", "big.bin", &peer.url("/files/")];
        world.onward(args).crash_at("part-acknowledged:2").run().died_of(crate::world::Signal::KILL);
        let changed = content.flipped(10);
        changed.write_to(&world.path("big.bin"));
        upload(&world, &peer, &[]).exits(4).says("cannot replace bytes").says("--restart");
        assert_eq!(peer.desk().uploads.len(), 1, "nothing was forgotten");
        let ended = upload(&world, &peer, &["--restart"]);
        arrives(&world, &peer, &changed, &ended);
        assert!(peer.desk().uploads[0].gone, "the old one was forgotten");
    }
}

#[test]
fn killed_at_named_points_only_what_is_missing_is_sent() {
    for ways in [TUS, IETF] {
        for point in ["upload-opened", "part-acknowledged:1", "part-acknowledged:2", "upload-closed"] {
            let (world, content) = world(4 * MIB);
            let peer = Peer::honest(ways.clone());
            let run = world.onward(["upload", "big.bin", &peer.url("/files/")]).crash_at(point).run();
            run.died_of(crate::world::Signal::KILL);
            let ended = world.onward(["resume", "--progress", "json"]).run();
            arrives(&world, &peer, &content, &ended);
            assert_eq!(peer.bodies().iter().sum::<u64>(), 4 * MIB, "{point}: bytes moved twice");
        }
    }
}

#[test]
fn limits_are_obeyed() {
    let (world, content) = world(3 * MIB);
    let peer = Peer::honest(Ways { limit: "max-append-size=400000, min-append-size=100000, max-age=3600", ..IETF });
    let ended = upload(&world, &peer, &[]);
    arrives(&world, &peer, &content, &ended);
    let bodies = peer.bodies();
    let (last, rest) = bodies.split_last().unwrap();
    assert!(*last <= 400_000 && rest.iter().all(|length| (100_000..=400_000).contains(length)), "{bodies:?}");
    let small = Peer::honest(Ways { limit: "max-size=1000", ..IETF });
    upload(&world, &small, &[]).exits(6).says("takes at most 1000");
    assert!(small.desk().uploads.is_empty());
    let large = Peer::honest(Ways { limit: "min-size=10000000", ..IETF });
    upload(&world, &large, &[]).exits(6).says("takes at least 10000000");
    assert!(large.desk().uploads.is_empty());
}

/// Limits may come only with the answer to the making: the empty upload is taken back.
#[test]
fn limits_that_are_told_late_are_obeyed() {
    for (limit, says) in [("max-size=1000", "takes at most 1000"), ("min-size=9000000", "takes at least 9000000")] {
        let (world, _) = world(3 * MIB);
        let peer = Peer::with(Ways { limit, ..IETF }, |asked, _| match asked.method.as_str() {
            "OPTIONS" => answer(204, vec![("Upload-Limit", "min-size=0".into())], ""),
            _ => Act::Honest,
        });
        upload(&world, &peer, &[]).exits(6).says(says);
        assert_eq!(peer.count("PATCH"), 0);
        assert!(peer.desk().uploads.iter().all(|upload| upload.gone), "an orphan was left");
        world.holds_only(&["big.bin"]);
    }
}

/// `Upload-Complete: ?1` is the target's own answer, however much is left: nothing more is sent, and what it lacks is no
/// success.
#[test]
fn an_end_that_comes_early_is_the_end() {
    for fields in [vec![], vec![("Upload-Offset", "1048576".into())]] {
        let (world, _) = world(8 * MIB);
        let peer = Peer::with(IETF, move |asked, before| match (asked.method.as_str(), before) {
            ("PATCH", 1) => answer(200, [fields.clone(), vec![("Upload-Complete", "?1".into())]].concat(), ""),
            _ => Act::Honest,
        });
        upload(&world, &peer, &[]).exits(6).says("does not have the whole file").says("--restart");
        assert_eq!(peer.count("PATCH"), 2, "more was sent after the end");
    }
    let (world, _) = world(8 * MIB);
    let peer = Peer::with(IETF, |asked, before| match (asked.method.as_str(), before) {
        ("PATCH", 1) => Act::LoseRequest,
        ("HEAD", _) => answer(204, vec![("Upload-Offset", "1048576".into()), ("Upload-Complete", "?1".into())], ""),
        _ => Act::Honest,
    });
    upload(&world, &peer, &[]).exits(6).says("after 1048576 of 8388608 bytes");
    assert_eq!(peer.count("PATCH"), 2);
}

#[test]
fn the_server_s_word_is_worth_a_count_only_where_it_counts() {
    let (world, content) = world(MIB / 2);
    let peer = Peer::with(IETF, |_, _| Act::Honest);
    assert_eq!(upload(&world, &peer, &[]).event("done")["proof"], "size");
    peer.stored(&content);
    let silent = Peer::with(IETF, |asked, _| match asked.method.as_str() {
        "PATCH" => answer(200, vec![("Upload-Complete", "?1".into())], ""),
        _ => Act::Honest,
    });
    let ended = upload(&world, &silent, &["--name", "other"]);
    ended.exits(0);
    assert!(ended.event("done")["proof"].is_null(), "{}", ended.story());
}

#[test]
fn a_plain_201_is_not_believed() {
    let (world, _) = world(MIB);
    let peer = Peer::with(IETF, |asked, _| match asked.method.as_str() {
        "POST" => answer(201, vec![("Location", "/files/1".into())], ""),
        "OPTIONS" => Act::Honest,
        _ => answer(200, vec![], ""),
    });
    upload(&world, &peer, &[]).exits(6).says("no sign of");
    assert_eq!(peer.count("PATCH"), 0);
    world.holds_only(&["big.bin"]);
}

#[test]
fn the_draft_is_found_by_trying_and_can_be_told() {
    let (world, content) = world(MIB);
    let peer = Peer::honest(Ways { tongue: Tongue::Ietf(6), ..IETF });
    let ended = upload(&world, &peer, &[]);
    arrives(&world, &peer, &content, &ended);
    assert_eq!(peer.count("POST"), 4, "10, 9, 8 and 6");
    let args = ["upload", "--name", "two", "big.bin", &peer.url("/files/")];
    world.onward(args).env("ONWARD_INTEROP", "6").run().exits(0);
    assert_eq!(peer.count("POST"), 5);
    world.onward(args).env("ONWARD_INTEROP", "5, 4").run().exits(6).says("5, 4 were tried");
}

#[test]
fn a_last_answer_that_is_lost_with_its_upload_is_unknown() {
    let (world, _) = world(MIB / 2);
    let peer = Peer::with(IETF, |asked, _| match asked.method.as_str() {
        "PATCH" => Act::LoseAnswer,
        "HEAD" => answer(404, vec![], ""),
        _ => Act::Honest,
    });
    upload(&world, &peer, &[]).exits(10).says("it may be complete").says("--restart");
    assert_eq!(peer.count("PATCH"), 1, "it was sent again although nobody knows");
}

#[test]
fn servers_that_go_back_or_lie_end_the_upload() {
    let (world, _) = world(3 * MIB);
    let back = Peer::with(TUS, |asked, before| match (asked.method.as_str(), before) {
        ("PATCH", 1) => answer(204, vec![("Upload-Offset", "5".into())], ""),
        _ => Act::Honest,
    });
    upload(&world, &back, &[]).exits(1).says("went back");
    let lying = Peer::with(TUS, |asked, _| match asked.method.as_str() {
        "HEAD" => answer(200, vec![("Upload-Offset", "0".into()), ("Upload-Length", "7".into())], ""),
        "PATCH" => Act::LoseRequest,
        _ => Act::Honest,
    });
    upload(&world, &lying, &["--name", "other"]).exits(1).says("another length");
}
