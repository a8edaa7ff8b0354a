//! Uploads by plain `PUT` straight to the final name, to a server that knows nothing else: lost answers, cuts, refusals,
//! digests that do not fit, and a server that lets nobody look.

use crate::shelf_peer::{Flavour, Peer};
use crate::world::{Content, Onward, World};
use onward::digest::Algorithm;

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
fn holds(peer: &Peer, content: &Content) {
    assert!(peer.file("remote.bin") == Some(content.bytes()), "what is stored is not what was sent");
}

#[test]
fn a_lost_answer_is_settled_by_looking() {
    for length in [0, 1, 3 * MIB] {
        let (world, content) = world(length);
        let peer = Peer::start(Flavour::Plain);
        peer.desk().lose.insert("PUT".into(), 1);
        let ended = upload(&world, &peer, &[]).run();
        ended.exits(0).says("in one request only").says("straight to its final name");
        holds(&peer, &content);
        world.holds_only(&["big.bin"]);
        let puts = peer.desk().asked.iter().filter(|asked| asked.starts_with("PUT")).count();
        assert!(puts == 1 || length == 0, "what had arrived was sent again\n{}", ended.story());
    }
}

#[test]
fn half_a_file_of_ours_is_replaced_by_the_whole() {
    let (world, content) = world(24 * MIB);
    let peer = Peer::start(Flavour::Plain);
    let mut run = upload(&world, &peer, &["--limit-rate", "8M"]).start();
    run.wait_for_progress(6 * MIB);
    run.kill();
    crate::world::eventually("half a file", || peer.file("remote.bin"));
    upload(&world, &peer, &[]).run().exits(0);
    holds(&peer, &content);
    world.holds_only(&["big.bin"]);
}

#[test]
fn refusals_are_told() {
    for (status, hint) in [(403, "may not write"), (413, "413"), (415, "of this name or kind"), (507, "507")] {
        let (world, _) = world(2 * MIB);
        let peer = Peer::start(Flavour::Plain);
        peer.desk().refuse = Some(status);
        upload(&world, &peer, &[]).run().exits(6).says(hint);
        assert_eq!(peer.file("remote.bin"), None);
    }
}

#[test]
fn a_digest_that_is_shown_is_compared() {
    let (world, content) = world(2 * MIB);
    let peer = Peer::start(Flavour::Plain);
    peer.desk().repr_digest = Some(content.digest_field(Algorithm::Sha256));
    let ended = upload(&world, &peer, &[]).run();
    ended.exits(0);
    assert_eq!(ended.event("verified")["alg"], "sha-256");
    peer.desk().repr_digest = Some(content.flipped(1).digest_field(Algorithm::Sha256));
    upload(&world, &peer, &["--overwrite"]).run().exits(5);
}

#[test]
fn a_server_that_lets_nobody_look_is_taken_at_its_word() {
    let (world, content) = world(2 * MIB);
    let peer = Peer::start(Flavour::Plain);
    peer.desk().blind = Some(403);
    let ended = upload(&world, &peer, &[]).run();
    ended.exits(0);
    holds(&peer, &content);
    assert_eq!(ended.event("done").get("proof"), None, "nothing was shown\n{}", ended.story());
}

#[test]
fn a_taken_name_is_left_alone() {
    let (world, content) = world(2 * MIB);
    let peer = Peer::start(Flavour::Plain);
    peer.desk().files.insert("remote.bin".into(), b"old".to_vec());
    upload(&world, &peer, &[]).run().exits(8).says("--overwrite");
    assert_eq!(peer.file("remote.bin"), Some(b"old".to_vec()));
    upload(&world, &peer, &["--overwrite"]).run().exits(0);
    holds(&peer, &content);
}
