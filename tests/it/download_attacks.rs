//! Attacks on the download's promises from odd sides: proxies, bare machines, races, targets that move, servers that
//! are consistent in their lies.

use crate::download::{download, half_done, on_record};
use crate::faults::{Fate, Proxy};
use crate::nginx::Nginx;
use crate::origin::*;
use crate::world::{Content, Dice, Signal, World, eventually, long};
use std::time::Duration;

const LEN: u64 = 3 << 20;

/// A forward proxy gets the absolute form, for http; `NO_PROXY` and the flag are obeyed.
#[test]
fn through_a_forward_proxy() {
    let world = World::new();
    let content = Content::random(60, 100_000);
    let proxy = Origin::start();
    proxy.page("http://far.invalid/file.bin", Page::of(&content));
    let url = "http://far.invalid/file.bin";
    download(&world, url).args(["--proxy", &proxy.url("")]).run().exits(0);
    world.finished("file.bin", &content);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy"] {
        download(&world, url).arg("--overwrite").env(name, proxy.url("")).run().exits(0);
    }
    let origin = Origin::serving(&content);
    let asked = proxy.asked().len();
    let direct = download(&world, &origin.url("/file.bin")).arg("--overwrite");
    direct.env("http_proxy", proxy.url("")).env("no_proxy", "127.0.0.1").run().exits(0);
    assert_eq!(proxy.asked().len(), asked, "NO_PROXY was not obeyed");
}

/// No HOME, no CA bundle, nothing but PATH: plain http works.
#[test]
fn on_a_bare_machine() {
    let world = World::new();
    let content = Content::random(61, 100_000);
    let origin = Origin::serving(&content);
    let run = download(&world, &origin.url("/file.bin")).without_env("HOME").without_env("PATH");
    run.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent").run().exits(0);
    world.finished("file.bin", &content);
}

/// HTTP/2 and TLS connections that break.
#[test]
fn broken_tls_connections() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world) else { return };
    let content = Content::random(62, 4 << 20);
    nginx.put("file.bin", &content);
    for (what, fates) in [
        ("cut in the handshake", vec![Fate::cut_after(1000), Fate::fine()]),
        ("cut in the body", vec![Fate::cut_after(1 << 20), Fate::fine()]),
        ("reset in the body", vec![Fate::reset_after(1 << 20), Fate::fine()]),
        ("silent in the body", vec![Fate::stall_after(1 << 20), Fate::fine()]),
        ("silent in the handshake", vec![Fate::stall_after(0), Fate::fine()]),
        ("cut again and again", vec![Fate::cut_after(900_000)]),
    ] {
        let proxy = Proxy::before(nginx.tls_address());
        proxy.next(fates);
        let url = format!("https://localhost:{}/file.bin", proxy.address().port());
        let ended = download(&world, &url)
            .args(["--overwrite", "--stall-timeout", "1s", "--connect-timeout", "2s", "--cacert"])
            .arg(nginx.cacert())
            .run();
        assert_eq!(ended.code(), Some(0), "{what}\n{}", ended.story());
        world.finished("file.bin", &content);
    }
}

/// A 206 whose head is right and whose body is another place of the file: no validator can tell, a digest can.
#[test]
fn a_consistent_liar_is_caught_by_a_digest() {
    let world = World::new();
    let content = Content::random(63, LEN);
    let origin = Origin::serving(&content);
    origin.when(first(), cut_after(LEN / 2)).when(from(2), shifted_body(7));
    let checksum = format!("sha256:{}", content.digest(onward::digest::Algorithm::Sha256));
    let ended = download(&world, &origin.url("/file.bin")).args(["--checksum", &checksum, "-x1"]).run();
    // Fetched once more from the start, where this server does not lie.
    ended.exits(0).says("restarted");
    world.finished("file.bin", &content);
}

/// The same wrong byte each time: the file does not get its name, and the next run is not held up by it.
#[test]
fn a_stubborn_liar_is_refused() {
    let world = World::new();
    let content = Content::random(74, LEN);
    let origin = Origin::serving(&content);
    origin.when(always(), flip_byte(77));
    let checksum = format!("sha256:{}", content.digest(onward::digest::Algorithm::Sha256));
    // By one connection: of several, one that is cut has been sent bytes that nobody took.
    let run = || download(&world, &origin.url("/file.bin")).args(["-x1", "--checksum", &checksum]).run();
    let ended = run();
    ended.exits(5);
    world.holds_only(&["file.bin.bad"]);
    assert!(origin.sent() <= 2 * LEN, "{}", origin.story());
    run().exits(5);
    world.holds_only(&["file.bin.bad"]);
    origin.honest_again();
    run().exits(0);
    world.finished("file.bin", &content);
}

/// A file of that name may be the user's own: it stays as it is.
#[test]
fn what_is_wrong_takes_nobodys_name() {
    let world = World::new();
    let content = Content::random(75, LEN);
    let origin = Origin::serving(&content);
    origin.when(always(), flip_byte(77));
    let checksum = format!("sha256:{}", content.digest(onward::digest::Algorithm::Sha256));
    world.write("file.bin.bad", "mine");
    let ended = download(&world, &origin.url("/file.bin")).args(["--checksum", &checksum]).run();
    ended.exits(5).says("file.bin.bad is there already");
    world.holds_only(&["file.bin.bad"]);
    assert_eq!(world.text("file.bin.bad"), "mine");
}

/// Ten processes at once: one gets it, the others are told; nobody waits for ever, the file is right.
#[test]
fn ten_at_once() {
    let world = World::new();
    let content = Content::random(64, LEN);
    let origin = Origin::serving(&content);
    origin.when(always(), at_rate(4 << 20));
    let url = origin.url("/file.bin");
    let running: Vec<_> = (0..10).map(|_| download(&world, &url).start()).collect();
    let codes: Vec<_> = running.into_iter().map(|one| one.wait().code()).collect();
    assert!(codes.contains(&Some(0)) && codes.iter().all(|code| matches!(code, Some(0 | 9))), "{codes:?}");
    world.finished("file.bin", &content);
    world.holds_only(&["file.bin"]);
}

/// Processes that are killed while others wait to take over: the lock never outlives its process.
#[test]
fn killed_while_others_try() {
    let world = World::new();
    let content = Content::random(65, LEN);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let mut dice = Dice::new(65);
    for _ in 0..if long() { 40 } else { 6 } {
        let one = download(&world, &url).args(["--limit-rate", "2M"]).start();
        let two = download(&world, &url).args(["--limit-rate", "2M"]).start();
        std::thread::sleep(Duration::from_millis(dice.between(20, 250)));
        one.kill();
        std::thread::sleep(Duration::from_millis(dice.between(1, 50)));
        two.kill();
        if world.exists("file.bin") {
            world.file_is("file.bin", &content);
        }
    }
    download(&world, &url).arg("--overwrite").run().exits(0);
    world.finished("file.bin", &content);
    world.holds_only(&["file.bin"]);
}

/// Somebody writes the final name while the download runs: his file is not lost without leave.
#[test]
fn the_name_is_taken_on_the_way() {
    let world = World::new();
    let content = Content::random(66, LEN);
    let origin = Origin::serving(&content);
    let mut running = download(&world, &origin.url("/file.bin")).args(["--limit-rate", "3M"]).start();
    running.wait_for_progress(LEN / 4);
    world.write("file.bin", "somebody else's");
    let ended = running.wait();
    ended.exits(8);
    assert_eq!(world.text("file.bin"), "somebody else's");
    // Nothing of the transfer is lost either: out of the way, it is finished without a byte.
    std::fs::rename(world.path("file.bin"), world.path("his")).unwrap();
    origin.forget_log();
    download(&world, &origin.url("/file.bin")).run().exits(0);
    world.finished("file.bin", &content);
    assert!(origin.sent() <= 1, "{}", origin.story());
}

/// The data file is taken away under a running transfer: no success is told that is none.
#[test]
fn the_data_is_removed_on_the_way() {
    for what in ["removed", "replaced"] {
        let world = World::new();
        let content = Content::random(67, LEN);
        let origin = Origin::serving(&content);
        let mut running = download(&world, &origin.url("/file.bin")).args(["--limit-rate", "3M"]).start();
        running.wait_for_progress(LEN / 4);
        std::fs::remove_file(world.path("file.bin.partial")).unwrap();
        if what == "replaced" {
            std::fs::write(world.path("file.bin.partial"), vec![0; LEN as usize]).unwrap();
        }
        let ended = running.wait();
        if world.exists("file.bin") {
            world.file_is("file.bin", &content);
        } else {
            assert_ne!(ended.code(), Some(0), "{what}\n{}", ended.story());
        }
        let _ = download(&world, &origin.url("/file.bin")).arg("--overwrite").run();
        world.file_is("file.bin", &content);
    }
}

/// The folder itself is renamed under a running transfer.
#[test]
fn the_folder_moves_on_the_way() {
    let world = World::new();
    std::fs::create_dir(world.path("here")).unwrap();
    let content = Content::random(68, LEN);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let mut running = download(&world, &url).args(["-d", "here", "--limit-rate", "3M"]).start();
    running.wait_for_progress(LEN / 4);
    let record = world.path("here/file.bin.partial.toml");
    eventually("a record", || record.exists().then_some(()));
    std::fs::rename(world.path("here"), world.path("there")).unwrap();
    let ended = running.wait();
    if ended.code() != Some(0) {
        assert!(on_record(&world.path("there/file.bin.partial.toml")).is_some(), "{}", ended.story());
        download(&world, &url).args(["-d", "there"]).run().exits(0);
    }
    let place = if world.exists("there/file.bin") { "there/file.bin" } else { "here/file.bin" };
    world.file_is(place, &content);
}

/// A stopped and continued process (a laptop that sleeps): connections are gone, the transfer is not.
#[test]
fn asleep_while_connections_die() {
    let world = World::new();
    let content = Content::random(69, LEN);
    let origin = Origin::serving(&content);
    let proxy = Proxy::before(origin.address());
    proxy.next([Fate::fine().at_rate(3 << 20)]);
    let mut running = download(&world, &proxy.url("/file.bin")).start();
    running.wait_for_progress(LEN / 4);
    running.signal(Signal::STOP);
    proxy.cut_now();
    std::thread::sleep(Duration::from_millis(300));
    proxy.next([Fate::fine()]);
    running.signal(Signal::CONT);
    running.wait().exits(0);
    world.finished("file.bin", &content);
}

/// An expired link: the record's URL answers 403 later; what is there is kept, and a new link goes on with it.
#[test]
fn an_expired_link_is_replaced() {
    let world = World::new();
    let content = Content::random(70, LEN);
    let origin = Origin::start();
    origin.page("/file.bin", Page::of(&content));
    let old = format!("{}?token=old", origin.url("/file.bin"));
    let running = download(&world, &old).args(["--limit-rate", "1M"]).start();
    let sidecar = world.path("file.bin.partial.toml");
    // Enough that samples of it cost less than all of it.
    crate::world::eventually("half of it on record", || on_record(&sidecar).filter(|held| *held > LEN / 2));
    running.kill();
    let held = on_record(&sidecar);
    origin.when(Box::new(|ask| ask.target.contains("token=old")), status(403, ""));
    download(&world, &old).run().exits(6);
    assert_eq!(on_record(&world.path("file.bin.partial.toml")), held, "403 cost something");
    origin.forget_log();
    let new = format!("{}?token=new", origin.url("/file.bin"));
    download(&world, &new).run().exits(0);
    world.finished("file.bin", &content);
    assert!(origin.sent() < LEN, "the bytes of the old link were not used\n{}", origin.story());
}

/// A redirect's target dies in the middle; the original leads to another one by then.
#[test]
fn a_redirect_whose_target_dies_is_asked_for_again() {
    let world = World::new();
    let content = Content::random(83, LEN);
    let (near, one, two) = (Origin::start(), Origin::serving(&content), Origin::serving(&content));
    near.when(first(), redirect(302, one.url("/file.bin")));
    near.when(from(2), redirect(302, two.url("/file.bin")));
    one.when(first(), cut_after(LEN / 2)).when(from(2), refuse());
    let ended = download(&world, &near.url("/file.bin")).args(["-x1", "--retries", "1"]).run();
    ended.exits(0);
    world.finished("file.bin", &content);
    assert_eq!(near.asked().len(), 2, "{}", near.story());
    assert!(two.sent() < LEN, "{}", two.story());
}

/// A redirect's target expires between two runs; the original leads to another one.
#[test]
fn a_redirect_that_leads_elsewhere_tomorrow() {
    let world = World::new();
    let content = Content::random(71, LEN);
    let (site, cdn) = (Origin::start(), Origin::start());
    cdn.page("/one", Page::of(&content));
    cdn.page("/two", Page::of(&content));
    let count = std::sync::atomic::AtomicUsize::new(0);
    site.when(
        at("/file.bin"),
        so_that({
            let urls = [cdn.url("/one?X-Amz-Signature=secret-a"), cdn.url("/two?X-Amz-Signature=secret-b")];
            move |_, answer| {
                let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                answer.status = 302;
                answer.set("Location", urls[n.min(1)].clone());
            }
        }),
    );
    site.page("/file.bin", Page::of(&Content::of("")));
    let url = site.url("/file.bin");
    half_done(&world, &url, &content);
    assert!(!world.text("file.bin.partial.toml").contains("secret-"), "{}", world.text("file.bin.partial.toml"));
    cdn.when(at("/one"), status(403, ""));
    let ended = download(&world, &url).run();
    ended.exits(0).never_says("secret-");
    world.finished("file.bin", &content);
}

/// The name of the file is as long as the filesystem allows, or longer.
#[test]
fn long_names() {
    let world = World::new();
    let content = Content::random(72, 300_000);
    let origin = Origin::start();
    let long = "n".repeat(300);
    origin.page("/d", Page::of(&content).header("Content-Disposition", &format!("attachment; filename={long}.iso")));
    download(&world, &origin.url("/d")).run().exits(0);
    let name = world.names().pop().unwrap();
    assert!(name.len() <= 255 && name.ends_with(".iso"), "{name}");
    world.finished(&name, &content);
}

/// Thousands of tiny chunks, records and gaps at once: 10,000 chunks is the most there is.
#[test]
fn more_chunks_than_there_may_be() {
    let world = World::new();
    let content = Content::random(73, 6_000_000);
    let origin = Origin::serving(&content);
    let url = origin.url("/file.bin");
    let run = |args: &[&str]| {
        world.onward(["download", "--progress", "json", "--chunk-size", "100", &url]).args(args).start()
    };
    let running = run(&["--limit-rate", "8M", "-x4"]);
    let sidecar = world.path("file.bin.partial.toml");
    eventually("a record", || on_record(&sidecar).filter(|held| *held > 1_000_000));
    running.kill();
    let record = onward::record::Record::from_toml(&world.text("file.bin.partial.toml")).unwrap();
    assert!(record.layout().count() <= 10_000, "{} chunks", record.layout().count());
    run(&[]).wait().exits(0);
    world.finished("file.bin", &content);
}
