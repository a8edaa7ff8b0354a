//! Uploads to tus servers that others wrote: right content whatever the size, killed in the middle and resumed,
//! damaged on the way, given up, the URL kept to oneself. What each costs is printed.

use crate::receiver::Receiver;
use crate::servers::{Server, node, python};
use crate::world::{Content, Ended, Onward, Signal, World, long, same, tell};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;
/// What is killed on its way, at this rate.
const SIZE: u64 = 24 * MIB + 12_345;
const RATE: &str = "8M";

/// How a server shows what it stored.
enum Stored {
    /// In this folder, under the last part of the upload's URL.
    ById(PathBuf),
    /// At this URL and the file's name.
    AtUrl(String),
    /// In this folder, under its name.
    ByName(PathBuf),
}

/// A server, where uploads to it go, and how it shows them.
pub struct Tus {
    pub server: Option<Server>,
    _own: Option<Receiver>,
    name: &'static str,
    pub endpoint: String,
    stored: Stored,
    /// The protocol, where it has to be named because the server has a better one.
    protocol: &'static str,
}

impl Tus {
    /// What it holds of the upload that ended at `place`.
    pub fn content(&self, world: &World, name: &str, place: &str) -> PathBuf {
        match &self.stored {
            Stored::ById(folder) => folder.join(place.trim_end().rsplit('/').next().unwrap()),
            Stored::ByName(folder) => folder.join(name),
            Stored::AtUrl(url) => {
                let path = world.beside("fetched");
                std::fs::write(&path, get(&format!("{url}{name}"))).unwrap();
                path
            }
        }
    }

    fn upload(&self, world: &World, name: &str, more: &[&str]) -> Onward {
        let args = ["upload", "--progress", "json", "--protocol", self.protocol, "--name", name, "big.bin"];
        world.onward(args).arg(&self.endpoint).args(more)
    }

    #[track_caller]
    fn arrived(&self, world: &World, name: &str, content: &Content, ended: &Ended) {
        ended.exits(0);
        let place = String::from_utf8_lossy(&ended.stdout).into_owned();
        same(&self.content(world, name, &place), content);
        world.holds_only(&["big.bin"]);
    }
}

/// A file by the plainest HTTP there is.
fn get(url: &str) -> Vec<u8> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(all.starts_with(b"HTTP/1") && all[9..12] == *b"200", "{}", String::from_utf8_lossy(&all[..head]));
    all.split_off(head)
}

/// @tus/server with its file store, as its own manual starts it.
pub fn tus_node(world: &World) -> Option<Tus> {
    let packages = node("@tus/server")?;
    let folder = folder(world, "tus-node");
    let script = world.beside("tus-node.cjs");
    let text = r#"
        const { createRequire } = require('node:module');
        const from = createRequire(process.argv[2] + '/package.json');
        // A client that goes away must not take the server along.
        process.on('uncaughtException', (error) => console.error(error.message));
        process.on('unhandledRejection', (error) => console.error(error));
        (async () => {
          const { Server } = await import(from.resolve('@tus/server'));
          const { FileStore } = await import(from.resolve('@tus/file-store'));
          const datastore = new FileStore({ directory: process.argv[4], expirationPeriodInMilliseconds: 86400000 });
          new Server({ path: '/files', datastore }).listen({ host: '127.0.0.1', port: Number(process.argv[3]) });
        })();
    "#;
    std::fs::write(&script, text).unwrap();
    let server = Server::start(&world.beside("tus-node.log"), |address| {
        let mut command = Command::new("node");
        command.arg(&script).arg(&packages).arg(address.port().to_string()).arg(&folder);
        command
    });
    let endpoint = server.url("/files/");
    Some(Tus {
        server: Some(server),
        _own: None,
        name: "@tus/server",
        endpoint,
        stored: Stored::ById(folder),
        protocol: "auto",
    })
}

/// PyPI's resumable-upload: every extension of the specification.
pub fn tus_py(world: &World) -> Option<Tus> {
    let program = python("tus", "resumable-upload")?;
    let folder = folder(world, "tus-py");
    let server = Server::start(&world.beside("tus-py.log"), |address| {
        let mut command = Command::new(&program);
        command.args(["serve", "--host", "127.0.0.1", "--port", &address.port().to_string(), "--upload-dir"]);
        command.arg(&folder).arg("--db-path").arg(world.beside("tus-py.db")).args(["--upload-expiry", "3600"]);
        command
    });
    let endpoint = server.url("/files");
    let stored = Stored::ById(folder);
    Some(Tus { server: Some(server), _own: None, name: "resumable-upload", endpoint, stored, protocol: "auto" })
}

/// SeaweedFS: its filer takes tus by the path that the file will have.
pub fn seaweedfs(world: &World) -> Option<Tus> {
    let program = python("bins", "weed")?;
    let folder = folder(world, "seaweedfs");
    let server = Server::start(&world.beside("seaweedfs.log"), |address| {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut command = Command::new(&program);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-master.telemetry=false"]);
        command.arg(format!("-dir={}", folder.display())).arg("-master.volumeSizeLimitMB=64");
        command.arg(format!("-filer.port={}", address.port()));
        for port in ["filer.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"] {
            command.arg(format!("-{port}={}", free()));
        }
        command.env("HOME", &folder);
        command
    });
    let (endpoint, stored) = (server.url("/.tus/in/"), Stored::AtUrl(server.url("/in/")));
    // It accepts connections before it has found itself a place to store anything.
    let ready = || {
        let (host, _) = endpoint.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).ok()?;
        let head = format!("PUT /ready HTTP/1.0\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nok");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains(" 201 ").then_some(())
    };
    crate::world::eventually("SeaweedFS stores something", || {
        ready().or_else(|| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            None
        })
    });
    Some(Tus { server: Some(server), _own: None, name: "SeaweedFS", endpoint, stored, protocol: "auto" })
}

/// Our own receiver, spoken to by this protocol.
fn own(world: &World, protocol: &'static str) -> Tus {
    let own = Receiver::start(world);
    let (endpoint, stored) = (own.url(""), Stored::ByName(own.root.clone()));
    Tus { server: None, _own: Some(own), name: "onward serve", endpoint, stored, protocol }
}

fn folder(world: &World, name: &str) -> PathBuf {
    let folder = world.beside(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// All that is asked of a real server.
fn serves(start: impl Fn(&World) -> Option<Tus>) {
    let world = World::new();
    let Some(tus) = start(&world) else { return };
    sizes(&world, &tus);
    for round in 0..if long() { 10 } else { 1 } {
        killed_and_resumed(&world, &tus, round);
    }
    given_up(&world, &tus);
}

fn sizes(world: &World, tus: &Tus) {
    for length in [0, 1, MIB, 3 * MIB + 7] {
        let content = Content::random(length, length);
        content.write_to(&world.path("big.bin"));
        let name = format!("of-{length}");
        let ended = tus.upload(world, &name, &[]).run();
        tus.arrived(world, &name, &content, &ended);
        assert_eq!(ended.event("done")["moved"], length, "{}", ended.story());
        assert_eq!(ended.events_called("protocol").len(), 1);
    }
}

fn killed_and_resumed(world: &World, tus: &Tus, round: u64) {
    let content = Content::random(77 + round, SIZE);
    content.write_to(&world.path("big.bin"));
    let name = format!("killed-{round}");
    let mut run = tus.upload(world, &name, &["--limit-rate", RATE, "-vv"]).start();
    let seen = run.wait_for_progress(10 * MIB);
    let ended = run.kill();
    let sent = last_progress(&ended).unwrap_or(seen)["run"].as_u64().unwrap();
    let parts = secret(world, &ended);
    let ended = world.onward(["resume", "--progress", "json", "-vv", "big.bin"]).run();
    for part in &parts {
        ended.never_says(part);
    }
    tus.arrived(world, &name, &content, &ended);
    let (resumed, moved) = (ended.event("resumed"), ended.event("done")["moved"].as_u64().unwrap());
    assert!(resumed["offset"].as_u64().unwrap() >= MIB, "{}", ended.story());
    assert!(moved < SIZE, "all of it was sent again");
    let ratio = (sent + moved) as f64 / SIZE as f64;
    tell(&format!("{} ({}): killed and resumed, {ratio:.3} of the size sent", tus.name, tus.protocol));
    assert!(ratio < 1.6, "{ratio}");
}

fn last_progress(ended: &Ended) -> Option<Value> {
    let mut lines = ended.stderr.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|event| event["event"] == "progress")
}

/// The URLs of the unfinished upload are in the record, which nobody else may read, and nowhere else. Gives what no
/// later run may say either.
fn secret(world: &World, ended: &Ended) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let sidecar = world.names().into_iter().find(|name| name.ends_with(".partial.toml")).expect("no record was left");
    assert_eq!(std::fs::metadata(world.path(&sidecar)).unwrap().permissions().mode() & 0o777, 0o600);
    let record: toml::Table = world.text(&sidecar).parse().unwrap();
    let session = record["session"].as_table().unwrap();
    let parts = session.get("parts").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let urls: Vec<&str> = parts.iter().chain(session.get("upload")).filter_map(toml::Value::as_str).collect();
    assert!(!urls.is_empty(), "{session:?}");
    for url in urls {
        let id = url.rsplit('/').next().unwrap();
        assert!(id.len() >= 8, "{url}");
        ended.never_says(id);
        world.onward(["status", "--json"]).run().never_says(id);
    }
    let id = |part: &toml::Value| part.as_str().unwrap().rsplit('/').next().unwrap().to_string();
    parts.iter().map(id).collect()
}

/// Stopped by Ctrl-C the server keeps what it has; cancelled it does not.
fn given_up(world: &World, tus: &Tus) {
    let content = Content::random(5, SIZE);
    content.write_to(&world.path("big.bin"));
    let stop = |at: u64| {
        let mut run = tus.upload(world, "given-up", &["--limit-rate", "4M", "-v"]).start();
        run.wait_for_progress(at);
        run.signal(Signal::INT);
        run.wait()
    };
    let ended = stop(4 * MIB);
    ended.died_of(Signal::INT).says("the server keeps");
    let ended = stop(8 * MIB);
    assert!(ended.event("resumed")["offset"].as_u64().unwrap() >= MIB, "Ctrl-C destroyed what had arrived");
    world.onward(["cancel", "big.bin"]).run().exits(0);
    world.holds_only(&["big.bin"]);
    let ended = tus.upload(world, "given-up", &[]).run();
    tus.arrived(world, "given-up", &content, &ended);
    assert!(ended.events_called("resumed").is_empty(), "it was forgotten");
}

#[test]
fn tus_to_its_reference_server_for_node() {
    serves(tus_node);
}

#[test]
fn tus_to_a_server_with_every_extension() {
    serves(tus_py);
}

#[test]
fn tus_to_seaweedfs() {
    serves(seaweedfs);
}

#[test]
fn tus_to_our_own() {
    serves(|world| Some(own(world, "tus")));
}

#[test]
fn the_ietf_s_protocol_to_our_own() {
    serves(|world| Some(own(world, "ietf")));
}

/// What is damaged between the two is found by the checksum of its part, and sent again.
#[test]
fn a_part_that_was_damaged_on_its_way_is_sent_again() {
    let world = World::new();
    let Some(tus) = tus_py(&world) else { return };
    let content = Content::random(9, 3 * MIB);
    content.write_to(&world.path("big.bin"));
    let proxy = Flipping::before(tus.server.as_ref().unwrap().address());
    let url = format!("http://{}/files", proxy.address);
    let ended = world.onward(["upload", "--progress", "json", "-x", "1", "big.bin", &url]).run();
    tus.arrived(&world, "big.bin", &content, &ended);
    assert_eq!(ended.event("done")["proof"], "sha-1 of every part");
    assert!(!ended.events_called("retry").is_empty(), "{}", ended.story());
    assert!(ended.event("done")["moved"].as_u64().unwrap() > 3 * MIB);
}

/// A proxy that turns one byte of the first large body round.
struct Flipping {
    address: std::net::SocketAddr,
}

impl Flipping {
    fn before(server: std::net::SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let flipped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            for client in listener.incoming().map_while(Result::ok) {
                let (flipped, to) = (flipped.clone(), TcpStream::connect(server).unwrap());
                let (back, mut down) = (to.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut { back }, &mut down);
                    let _ = down.shutdown(std::net::Shutdown::Both);
                });
                std::thread::spawn(move || pass(client, to, &flipped));
            }
        });
        Self { address }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, flipped: &std::sync::atomic::AtomicBool) {
    let (mut total, mut buffer) = (0, vec![0; 16 << 10]);
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        total += n;
        // Far behind every head: a body.
        if total > 200_000 && !flipped.swap(true, std::sync::atomic::Ordering::Relaxed) {
            buffer[n / 2] ^= 0xff;
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// Some services make the upload and hand out its URL.
#[test]
fn a_ready_made_upload_url_is_a_destination() {
    let world = World::new();
    let Some(tus) = tus_node(&world) else { return };
    let content = Content::random(3, 2 * MIB);
    content.write_to(&world.path("big.bin"));
    let url = ready_made(&tus, "/files", &format!("Upload-Length: {}", 2 * MIB));
    let ended = world.onward(["upload", "--progress", "json", "big.bin", &url]).run();
    ended.exits(0).stdout_is(&format!("{url}\n"));
    same(Path::new(&tus.content(&world, "big.bin", &url)), &content);
    world.write("other.bin", "of another length");
    world.onward(["upload", "other.bin", &url]).run().exits(6).says("was made for");
}

/// A service may make the upload before it knows the file: the length goes along with the first part.
#[test]
fn an_upload_made_before_its_length_was_known() {
    let world = World::new();
    let Some(tus) = tus_py(&world) else { return };
    for length in [2 * MIB + 1, 0] {
        let content = Content::random(4, length);
        content.write_to(&world.path("big.bin"));
        let url = ready_made(&tus, "/files", "Upload-Defer-Length: 1");
        let ended = world.onward(["upload", "--progress", "json", "big.bin", &url]).run();
        ended.exits(0);
        same(Path::new(&tus.content(&world, "big.bin", &url)), &content);
        world.holds_only(&["big.bin"]);
    }
    // Killed between parts, the next run knows whether the length was told.
    let content = Content::random(6, 4 * MIB);
    content.write_to(&world.path("big.bin"));
    let url = ready_made(&tus, "/files", "Upload-Defer-Length: 1");
    for point in ["upload-opened", "part-acknowledged:1"] {
        world.onward(["upload", "big.bin", &url]).crash_at(point).run().died_of(Signal::KILL);
    }
    world.onward(["resume", "big.bin"]).run().exits(0);
    same(Path::new(&tus.content(&world, "big.bin", &url)), &content);
}

/// The URL of an upload that somebody else has made with this field.
fn ready_made(tus: &Tus, endpoint: &str, field: &str) -> String {
    let host = tus.server.as_ref().unwrap().address().to_string();
    let mut stream = TcpStream::connect(&host).unwrap();
    let head = format!(
        "POST {endpoint} HTTP/1.0\r\nHost: {host}\r\nTus-Resumable: 1.0.0\r\n{field}\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("location:")).expect(&answer);
    let url: url::Url = format!("http://{host}/").parse().unwrap();
    url.join(line.split_once(':').unwrap().1.trim()).unwrap().to_string()
}
