//! Several downloads from one host at once, in several processes: together they keep to the connections it is given.

use crate::download::download;
use crate::faults::{Fate, Proxy};
use crate::nginx::Nginx;
use crate::origin::{Origin, Page};
use crate::world::{Content, Running, World, eventually};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::SystemTime;

/// As many connections as are opened to a host of which nothing else is known.
const BUDGET: u64 = 16;

/// A download by `flags` from the host at `address`, which gives each connection little: 16 have helped before.
fn start(world: &World, address: SocketAddr, flags: &[&str]) -> Running {
    know(world, address, serde_json::json!({ "helped": 16 }));
    download(world, &format!("http://{address}/file.bin")).args(flags).start()
}

/// Has it known of the host at `address` what an earlier run has learned.
fn know(world: &World, address: SocketAddr, mut learned: Value) {
    let state = world.home().join(".local/state/onward");
    std::fs::create_dir_all(&state).unwrap();
    learned["host"] = address.to_string().into();
    learned["form"] = "tag".into();
    learned["learned"] = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().into();
    std::fs::write(state.join("hosts.jsonl"), format!("{learned}\n")).unwrap();
}

/// Waits until it says that it has `n` connections.
#[track_caller]
fn has(running: &mut Running, n: u64) {
    running.wait_for_such("progress", |event| event["connections"] == n);
}

/// The files by which downloads know of each other.
fn files(world: &World) -> usize {
    std::fs::read_dir(world.home().join(".local/state/onward/connections")).map_or(0, Iterator::count)
}

#[test]
fn processes_share_the_connections_of_a_host() {
    let world = World::new();
    let origin = Origin::serving(&Content::sparse(1, 256 << 20));
    let proxy = Proxy::before(origin.address());
    proxy.next([Fate::fine().at_rate(128 << 10)]);
    let mut one = start(&world, proxy.address(), &["-o", "one"]);
    has(&mut one, 16);
    let mut two = start(&world, proxy.address(), &["-o", "two"]);
    has(&mut one, 8);
    has(&mut two, 8);
    for _ in 0..10 {
        let [one, two] = [&mut one, &mut two].map(|each| each.wait_for("progress")["connections"].as_u64().unwrap());
        assert!(one <= 8 && two <= 8, "{one} and {two}");
        assert!(proxy.open() as u64 <= BUDGET + 1, "{} at the host", proxy.open());
    }
    // What the killed one leaves behind keeps nobody from anything.
    one.kill();
    has(&mut two, 16);
    assert_eq!(files(&world), 1, "its own");
    two.kill();
    assert_eq!(files(&world), 1);
    let mut three = start(&world, proxy.address(), &["-o", "three"]);
    has(&mut three, 16);
    assert_eq!(files(&world), 1, "its own again");
}

#[test]
fn what_the_user_fixed_is_kept_to_and_counted() {
    let world = World::new();
    let origin = Origin::serving(&Content::sparse(1, 256 << 20));
    let proxy = Proxy::before(origin.address());
    proxy.next([Fate::fine().at_rate(128 << 10)]);
    let mut free = start(&world, proxy.address(), &["-o", "free"]);
    has(&mut free, 16);
    let mut fixed = start(&world, proxy.address(), &["-o", "fixed", "-x12"]);
    has(&mut fixed, 12);
    has(&mut free, 4);
    assert_eq!(fixed.wait_for("progress")["connections"], 12);
}

/// A host that allows four, all of which somebody has: who comes is refused, and gets its part nevertheless. What was
/// refused because of others says nothing of the host.
#[test]
fn who_is_refused_is_let_in() {
    let world = World::new();
    let four = "limit_conn here 4; limit_conn_status 429; limit_rate 1m; alias";
    let place = world.beside("nginx").join("www");
    let Some(nginx) = Nginx::with(&world, &format!("location /four/ {{ {four} {}/; }}", place.display())) else {
        return;
    };
    nginx.put("file.bin", &Content::sparse(1, 256 << 20));
    nginx.put("small.bin", &Content::sparse(1, 8 << 20));
    know(&world, nginx.address(), serde_json::json!({ "helped": 4, "connections": 4 }));
    let mut one = download(&world, &nginx.url("/four/file.bin")).start();
    has(&mut one, 4);
    let mut two = download(&world, &nginx.url("/four/small.bin")).start();
    two.wait_for("retry");
    has(&mut one, 2);
    has(&mut two, 2);
    let story = two.wait();
    story.exits(0);
    let known = std::fs::read_to_string(world.home().join(".local/state/onward/hosts.jsonl")).unwrap();
    let last: Value = serde_json::from_str(known.lines().last().unwrap()).unwrap();
    assert_eq!(last["connections"], 4, "{known}\n{}", story.story());
}

#[test]
fn files_of_one_process_share_them_too() {
    let world = World::new();
    let content = Content::sparse(1, 256 << 20);
    let origin = Origin::serving(&content);
    origin.page("/other.bin", Page::of(&content));
    let proxy = Proxy::before(origin.address());
    proxy.next([Fate::fine().at_rate(128 << 10)]);
    let mut both = start(&world, proxy.address(), &[&proxy.url("/other.bin")]);
    let seen = RefCell::new(HashMap::new());
    both.wait_for_such("progress", |event| {
        let mut seen = seen.borrow_mut();
        seen.insert(event["id"].to_string(), event["connections"].as_u64().unwrap());
        seen.values().eq(&[8, 8])
    });
    eventually("the surplus to be gone", || (proxy.open() as u64 <= BUDGET).then_some(()));
}

/// What an answer came over takes the next one: short requests leave no connection behind that nobody uses.
#[test]
fn no_more_are_open_than_are_used() {
    let world = World::new();
    let origin = Origin::serving(&Content::sparse(1, 256 << 20));
    let proxy = Proxy::before(origin.address());
    proxy.next([Fate::fine().at_rate(128 << 10)]);
    let mut running = download(&world, &proxy.url("/file.bin")).arg("-x16").start();
    running.wait_for_progress(6 << 20);
    assert!(proxy.open() <= 17, "{} for 16", proxy.open());
}

/// Nothing is asked of the disk by those who want no second connection, and nothing stays of those who did.
#[test]
fn who_wants_one_connection_leaves_no_trace() {
    let world = World::new();
    let content = Content::random(1, 4 << 20);
    let origin = Origin::serving(&content);
    let folder = world.home().join(".local/state/onward/connections");
    download(&world, &origin.url("/file.bin")).args(["-x1", "-o", "one"]).run().exits(0);
    assert!(!folder.try_exists().unwrap());
    download(&world, &origin.url("/file.bin")).args(["-x4", "-o", "four"]).run().exits(0);
    assert!(folder.try_exists().unwrap());
    assert_eq!(files(&world), 0);
    world.finished("one", &content);
    world.finished("four", &content);
}

/// Where there is no place to tell the others, nothing is different otherwise.
#[test]
fn without_a_state_folder_nobody_waits() {
    let world = World::new();
    let origin = Origin::serving(&Content::sparse(1, 256 << 20));
    let proxy = Proxy::before(origin.address());
    proxy.next([Fate::fine().at_rate(128 << 10)]);
    std::fs::write(world.home().join(".local"), "in the way").unwrap();
    let mut one = download(&world, &proxy.url("/file.bin")).arg("-x4").start();
    has(&mut one, 4);
    one.kill().never_says("connections/");
}
