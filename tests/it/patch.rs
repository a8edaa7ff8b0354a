//! Uploads by `PATCH` with `X-Update-Range`, to a server written from the documents that loses answers, forgets, shows
//! wrong bytes and lies about what it can do; and to a real dufs, which has to be compiled and so is met by the soak.

use crate::fileservers;
use crate::shelf_peer::{Flavour, Peer};
use crate::world::{Content, Ended, Onward, World, long};

const MIB: u64 = 1 << 20;

fn upload(world: &World, peer: &Peer, more: &[&str]) -> Onward {
    world.onward(["upload", "--progress", "json", "big.bin", &peer.url("remote.bin")]).args(more)
}

fn world(length: u64) -> (World, Content) {
    let world = World::new();
    let content = Content::random(length, length);
    content.write_to(&world.path("big.bin"));
    (world, content)
}

#[track_caller]
fn arrives(world: &World, peer: &Peer, content: &Content, ended: &Ended) {
    ended.exits(0);
    assert!(peer.file("remote.bin") == Some(content.bytes()), "what is stored is not what was sent\n{}", ended.story());
    let names: Vec<String> = peer.desk().files.keys().cloned().collect();
    assert_eq!(names, ["remote.bin"], "what is left at the server");
    world.holds_only(&["big.bin"]);
}

#[test]
fn every_size_to_both_kinds() {
    for flavour in [Flavour::Dufs, Flavour::Sabre] {
        for length in [0, 1, 2, 4095, MIB, MIB + 1, 9 * MIB + 77] {
            let (world, content) = world(length);
            let peer = Peer::start(flavour);
            let ended = upload(&world, &peer, &[]).run();
            arrives(&world, &peer, &content, &ended);
            assert_eq!(ended.event("protocol")["name"], "patch");
            if flavour == Flavour::Dufs && length > 0 {
                assert_eq!(ended.event("verified")["alg"], "sha-256", "dufs shows a digest");
            }
        }
    }
}

#[test]
fn killed_and_resumed() {
    for flavour in [Flavour::Dufs, Flavour::Sabre] {
        let (world, content) = world(24 * MIB);
        let peer = Peer::start(flavour);
        let mut run = upload(&world, &peer, &["--limit-rate", "8M"]).start();
        run.wait_for_progress(12 * MIB);
        run.kill();
        let ended = upload(&world, &peer, &[]).run();
        arrives(&world, &peer, &content, &ended);
        let (again, all) = (ended.event("done")["moved"].as_u64().unwrap(), peer.desk().received);
        assert!(again <= 22 * MIB, "{again} bytes were sent again");
        crate::world::tell(&format!("patch ({flavour:?}): {all} bytes sent for {}", content.len()));
    }
}

#[test]
fn lost_answers_are_settled_by_looking() {
    let asked = ["OPTIONS", "PUT", "PATCH", "MOVE", "HEAD", "GET"].map(|method| (Flavour::Sabre, method));
    let written = ["PUT", "PATCH", "MOVE"].map(|method| (Flavour::Dufs, method));
    for (flavour, method) in asked.into_iter().chain(written) {
        let (world, content) = world(3 * MIB);
        let peer = Peer::start(flavour);
        // The first of them is that of the proof on a throw-away name.
        peer.desk().lose.insert(method.into(), 2);
        let ended = upload(&world, &peer, &[]).run();
        arrives(&world, &peer, &content, &ended);
    }
}

#[test]
fn the_final_answer_is_lost() {
    for flavour in [Flavour::Dufs, Flavour::Sabre] {
        let (world, content) = world(3 * MIB);
        let peer = Peer::start(flavour);
        // The first MOVE is the proof on a throw-away name: it is remembered.
        upload(&world, &peer, &[]).run().exits(0);
        peer.desk().files.clear();
        peer.desk().lose.insert("MOVE".into(), 1);
        let ended = upload(&world, &peer, &[]).run();
        arrives(&world, &peer, &content, &ended);
        let moves = peer.desk().asked.iter().filter(|asked| asked.starts_with("MOVE")).count();
        assert_eq!(moves, 3, "a move that was done is not done again");
    }
}

#[test]
fn an_upload_that_the_server_forgot_is_begun_anew() {
    let (world, content) = world(24 * MIB);
    let peer = Peer::start(Flavour::Sabre);
    let mut run = upload(&world, &peer, &["--limit-rate", "8M"]).start();
    run.wait_for_progress(8 * MIB);
    run.kill();
    peer.desk().files.clear();
    let ended = upload(&world, &peer, &[]).run();
    arrives(&world, &peer, &content, &ended);
    assert!(!ended.events_called("restarted").is_empty(), "{}", ended.story());
}

#[test]
fn a_sample_that_differs_is_sent_again() {
    let (world, content) = world(3 * MIB);
    let peer = Peer::start(Flavour::Sabre);
    upload(&world, &peer, &[]).run().exits(0);
    peer.desk().files.clear();
    peer.desk().damage = true;
    let ended = upload(&world, &peer, &[]).run();
    arrives(&world, &peer, &content, &ended);
    ended.says("is not what was sent");
}

#[test]
fn a_server_that_only_appends_is_found_out() {
    let (world, content) = world(3 * MIB);
    let peer = Peer::start(Flavour::Liar);
    let ended = upload(&world, &peer, &[]).run();
    arrives(&world, &peer, &content, &ended);
    assert_eq!(ended.event("protocol")["name"], "put", "neither way puts pieces together");
    ended.says("in one request only");
}

#[test]
fn dufs_itself() {
    if !long() {
        return;
    }
    let world = World::new();
    let Some(shelf) = fileservers::dufs(&world) else { return };
    fileservers::all(&world, &shelf, "patch");
}
