//! Uploads to file servers that others wrote: right content whatever the size, killed in the middle and resumed, a
//! taken name, a changed source, an upload given up. What each costs is printed.

use crate::faults::Proxy;
use crate::nginx::Nginx;
use crate::servers::{Server, python, system};
use crate::world::{Content, Ended, Onward, World, long, same, skip, tell};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;
/// What is killed on its way, at this rate.
const SIZE: u64 = 24 * MIB + 12_345;
const RATE: &str = "8M";

/// A server, where it is, and the folder in which it stores.
pub struct Shelf {
    _server: Option<Server>,
    _nginx: Option<Nginx>,
    base: String,
    root: PathBuf,
    /// The size of its chunks, where it leaves no choice.
    pub chunk: Option<u64>,
}

impl Shelf {
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        // copyparty's index.
        names.retain(|name| name != ".hist");
        names.sort();
        names
    }
}

/// A folder that any user may go through and write to: servers started by root become somebody else.
fn open_folder(world: &World, name: &str) -> PathBuf {
    let folder = world.beside(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (path, mode) in [(folder.parent().unwrap(), 0o755), (&folder, 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    folder
}

/// Apache with mod_dav.
pub fn apache(world: &World) -> Option<Shelf> {
    let program = system("apache2")?;
    let (folder, root) = (open_folder(world, "apache"), open_folder(world, "apache-files"));
    let locks = open_folder(world, "apache-locks");
    std::os::unix::fs::symlink(&root, folder.join("dav")).unwrap();
    let modules = "/usr/lib/apache2/modules";
    let user = if rustix::process::geteuid().is_root() { "User nobody\nGroup nogroup" } else { "" };
    let load = ["mpm_event", "authz_core", "dav", "dav_fs", "dir"]
        .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
        .concat();
    let server = Server::start(&world.beside("apache.log"), |address| {
        let (at, locks) = (folder.display(), locks.display());
        let text = format!(
            "ServerName localhost\nServerRoot {at}\nListen {address}\nPidFile {at}/pid\nErrorLog {at}/error.log\n{load}\
             {user}\nDocumentRoot {at}\nDavLockDB {locks}/db\n<Location /dav/>\nDav On\n</Location>\n"
        );
        std::fs::write(folder.join("conf"), text).unwrap();
        let mut command = Command::new(&program);
        command.arg("-f").arg(folder.join("conf")).arg("-DFOREGROUND");
        command
    });
    Some(Shelf { base: server.url("/dav"), _server: Some(server), _nginx: None, root, chunk: None })
}

/// lighttpd with mod_webdav, told to honour Content-Range.
pub fn lighttpd(world: &World) -> Option<Shelf> {
    let program = system("lighttpd")?;
    if !Path::new("/usr/lib/lighttpd/mod_webdav.so").exists() {
        skip("lighttpd's mod_webdav is not installed (.ci/servers installs it)");
        return None;
    }
    let folder = open_folder(world, "lighttpd");
    let root = folder.join("dav");
    std::fs::create_dir_all(&root).unwrap();
    let server = Server::start(&world.beside("lighttpd.log"), |address| {
        let (at, port) = (folder.display(), address.port());
        let text = format!(
            "server.document-root = \"{at}\"\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\n\
             server.modules = (\"mod_webdav\")\nserver.upload-dirs = (\"{at}\")\n$HTTP[\"url\"] =~ \"^/dav(/|$)\" {{ \
             webdav.activate = \"enable\" webdav.opts = (\"deprecated-unsafe-partial-put\" => \"enable\") }}\n"
        );
        std::fs::write(folder.join("conf"), text).unwrap();
        let mut command = Command::new(&program);
        command.arg("-D").arg("-f").arg(folder.join("conf"));
        command
    });
    Some(Shelf { base: server.url("/dav"), _server: Some(server), _nginx: None, root, chunk: None })
}

/// `rclone serve webdav`.
pub fn rclone(world: &World) -> Option<Shelf> {
    let program = python("bins", "rclone")?;
    let root = open_folder(world, "rclone");
    let server = Server::start(&world.beside("rclone.log"), |address| {
        let mut command = Command::new(&program);
        command
            .args([
                "serve",
                "webdav",
                "--config",
                "/dev/null",
                "--dir-cache-time",
                "0s",
                "--addr",
                &address.to_string(),
            ])
            .arg(&root);
        command.env("HOME", world.home());
        command
    });
    Some(Shelf { base: server.url(""), _server: Some(server), _nginx: None, root, chunk: None })
}

/// nginx's dav module, which does not speak WebDAV beyond `PUT` and its like.
pub fn nginx(world: &World) -> Option<Shelf> {
    let nginx = Nginx::taking(world)?;
    let root = nginx.file("dav");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
    Some(Shelf { base: nginx.url("/dav"), _server: None, _nginx: Some(nginx), root, chunk: None })
}

/// copyparty at `address`, over the folder `root`.
pub fn party(program: &Path, world: &World, root: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    let volume = format!("{}::rwmd", root.display());
    command.args(["-i", "127.0.0.1", "-p", &address.port().to_string(), "-v", &volume, "--hist"]);
    command.arg(world.beside("copyparty-hist")).env("HOME", world.home()).current_dir(world.home());
    command
}

/// copyparty.
pub fn copyparty(world: &World) -> Option<Shelf> {
    let program = python("copyparty", "copyparty")?;
    let root = open_folder(world, "copyparty");
    let log = world.beside("copyparty.log");
    let server = Server::start(&log, |address| party(&program, world, &root, address));
    Some(Shelf { base: server.url(""), _server: Some(server), _nginx: None, root, chunk: Some(MIB) })
}

/// dufs, which has to be compiled.
pub fn dufs(world: &World) -> Option<Shelf> {
    let program = python("cargo", "dufs")?;
    let root = open_folder(world, "dufs");
    let server = Server::start(&world.beside("dufs.log"), |address| {
        let mut command = Command::new(&program);
        command.args(["-A", "-b", "127.0.0.1", "-p", &address.port().to_string()]).arg(&root);
        command
    });
    Some(Shelf { base: server.url(""), _server: Some(server), _nginx: None, root, chunk: None })
}

/// All that is asked of a server that takes pieces.
pub fn all(world: &World, shelf: &Shelf, protocol: &str) {
    sizes(world, shelf, protocol);
    kills(world, shelf, true);
    taken(world, shelf);
    changed(world, shelf);
    cancelled(world, shelf);
}

fn upload(world: &World, url: &str, more: &[&str]) -> Onward {
    world.onward(["upload", "--progress", "json", "big.bin", url]).args(more)
}

#[track_caller]
fn speaks(ended: &Ended, protocol: &str) {
    assert_eq!(ended.event("protocol")["name"], protocol, "{}", ended.story());
}

/// Bytes a run has moved, by its last word.
fn moved(ended: &Ended) -> u64 {
    let last = ended.events().into_iter().rev().find_map(|event| match event["event"].as_str() {
        Some("done") => event["moved"].as_u64(),
        Some("progress") => event["run"].as_u64(),
        _ => None,
    });
    last.unwrap_or(0)
}

/// Every size at the edges of pieces and chunks, and nothing left behind at either end.
fn sizes(world: &World, shelf: &Shelf, protocol: &str) {
    let mut expected = Vec::new();
    for length in [0, 1, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB + MIB / 2] {
        let content = Content::random(length ^ 0xD0, length);
        content.write_to(&world.path("big.bin"));
        let name = format!("{length} ü.bin");
        let ended = upload(world, &shelf.url(&format!("{length}%20%C3%BC.bin")), &[]).run();
        ended.exits(0);
        speaks(&ended, protocol);
        same(&shelf.path(&name), &content);
        world.holds_only(&["big.bin"]);
        expected.push(name);
    }
    expected.sort();
    assert_eq!(shelf.names(), expected, "what is left at the server");
    expected.iter().for_each(|name| std::fs::remove_file(shelf.path(name)).unwrap());
}

/// Killed in the middle, resumed, again and again. Gives the bytes sent over the size.
fn kills(world: &World, shelf: &Shelf, resumes: bool) {
    for round in 0..if long() { 10 } else { 1 } {
        let content = Content::random(round + 77, SIZE);
        content.write_to(&world.path("big.bin"));
        let name = format!("killed-{round}");
        let mut run = upload(world, &shelf.url(&name), &["--limit-rate", RATE]).start();
        run.wait_for_progress(11 * MIB);
        let first = moved(&run.kill());
        assert!(resumes || !shelf.path(&name).exists() || shelf._nginx.is_some(), "half a file under the final name");
        let ended = match round % 2 {
            0 => upload(world, &shelf.url(&name), &[]).run(),
            _ => world.onward(["resume", "--progress", "json"]).run(),
        };
        ended.exits(0);
        same(&shelf.path(&name), &content);
        world.holds_only(&["big.bin"]);
        let second = moved(&ended);
        let protocol = ended.event("protocol")["name"].as_str().unwrap_or_default().to_string();
        let over = (first + second).saturating_sub(SIZE) * 100 / SIZE;
        tell(&format!("{protocol}: killed after {first}, then sent {second} of {SIZE} bytes: {over} % over the size"));
        if resumes {
            assert!(second <= SIZE - 2 * MIB, "{second} bytes were sent again after {first}");
        }
        assert_eq!(shelf.names().iter().filter(|name| name.contains("part")).count(), 0, "{:?}", shelf.names());
        std::fs::remove_file(shelf.path(&name)).unwrap();
    }
}

/// A name that is taken is left alone unless told otherwise.
fn taken(world: &World, shelf: &Shelf) {
    let (old, new) = (Content::random(1, 50_000), Content::random(2, 70_000));
    old.write_to(&shelf.path("taken"));
    new.write_to(&world.path("big.bin"));
    upload(world, &shelf.url("taken"), &[]).run().exits(8).says("--overwrite");
    same(&shelf.path("taken"), &old);
    upload(world, &shelf.url("taken"), &["--overwrite"]).run().exits(0);
    same(&shelf.path("taken"), &new);
    world.holds_only(&["big.bin"]);
    assert_eq!(shelf.names(), ["taken"], "what is left at the server");
    std::fs::remove_file(shelf.path("taken")).unwrap();
}

/// The source changes between two runs: what is published is the new content and nothing but it.
fn changed(world: &World, shelf: &Shelf) {
    let old = Content::random(5, SIZE);
    old.write_to(&world.path("big.bin"));
    let mut run = upload(world, &shelf.url("changed"), &["--limit-rate", RATE]).start();
    run.wait_for_progress(10 * MIB);
    run.kill();
    let new = old.flipped(100);
    new.write_to(&world.path("big.bin"));
    upload(world, &shelf.url("changed"), &[]).run().exits(0);
    same(&shelf.path("changed"), &new);
    assert_eq!(shelf.names(), ["changed"], "what is left at the server");
    std::fs::remove_file(shelf.path("changed")).unwrap();
}

/// What is given up is removed at the server.
fn cancelled(world: &World, shelf: &Shelf) {
    Content::random(6, SIZE).write_to(&world.path("big.bin"));
    let mut run = upload(world, &shelf.url("cancelled"), &["--limit-rate", RATE]).start();
    run.wait_for_progress(4 * MIB);
    run.kill();
    assert_ne!(shelf.names(), [""; 0], "nothing had arrived");
    world.onward(["cancel", "big.bin"]).run().exits(0);
    assert_eq!(shelf.names(), [""; 0], "what is left at the server");
    world.holds_only(&["big.bin"]);
}

#[test]
fn apache_by_put_with_content_range() {
    let world = World::new();
    let Some(shelf) = apache(&world) else { return };
    all(&world, &shelf, "put-range");
}

#[test]
fn lighttpd_by_put_with_content_range() {
    let world = World::new();
    let Some(shelf) = lighttpd(&world) else { return };
    all(&world, &shelf, "put-range");
}

#[test]
fn rclone_replaces_a_file_by_a_piece_and_so_gets_it_whole() {
    let world = World::new();
    let Some(shelf) = rclone(&world) else { return };
    sizes(&world, &shelf, "put");
    kills(&world, &shelf, false);
    taken(&world, &shelf);
    changed(&world, &shelf);
    cancelled(&world, &shelf);
    Content::random(9, 100).write_to(&world.path("big.bin"));
    let forced = upload(&world, &shelf.url("f"), &["--protocol", "put-range"]).run();
    forced.exits(6).says("tried on a throw-away name");
    assert_eq!(shelf.names(), [""; 0], "what is left at the server");
}

#[test]
fn nginx_by_plain_put_in_place() {
    let world = World::new();
    let Some(shelf) = nginx(&world) else { return };
    Content::random(9, 100).write_to(&world.path("big.bin"));
    upload(&world, &shelf.url("f"), &[]).run().exits(0).says("in one request only");
    std::fs::remove_file(shelf.path("f")).unwrap();
    sizes(&world, &shelf, "put");
    kills(&world, &shelf, false);
    taken(&world, &shelf);
    changed(&world, &shelf);
}

#[test]
fn copyparty_by_up2k() {
    let world = World::new();
    let Some(shelf) = copyparty(&world) else { return };
    all(&world, &shelf, "up2k");
}

/// The server is killed, and another of its kind goes on at the same address over the same folder.
#[test]
fn copyparty_is_killed_and_started_anew() {
    let world = World::new();
    let Some(program) = python("copyparty", "copyparty") else { return };
    let (root, log) = (open_folder(&world, "copyparty"), world.beside("copyparty.log"));
    let mut server = Server::start(&log, |address| party(&program, &world, &root, address));
    let content = Content::random(41, SIZE);
    content.write_to(&world.path("big.bin"));
    let mut run = upload(&world, &server.url("/f"), &["--limit-rate", RATE]).start();
    run.wait_for_progress(8 * MIB);
    server.kill();
    run.wait_for("retry");
    let address = server.address();
    server.again(|| party(&program, &world, &root, address));
    let ended = run.wait();
    ended.exits(0);
    same(&root.join("f"), &content);
    tell(&format!("up2k: the server was killed; {} bytes sent of {SIZE}", moved(&ended)));
}

/// On a line on which one chunk takes as long as may be lost, no more of them are under way, whatever was asked for: a
/// connection that breaks costs what had gone out of one, a kill no more than that.
#[test]
fn copyparty_on_a_slow_line() {
    let world = World::new();
    let Some(program) = python("copyparty", "copyparty") else { return };
    let (root, log) = (open_folder(&world, "copyparty"), world.beside("copyparty.log"));
    let server = Server::start(&log, |address| party(&program, &world, &root, address));
    let proxy = Proxy::before(server.address());
    let content = Content::random(43, 3 * MIB);
    content.write_to(&world.path("big.bin"));
    let slow = ["--limit-rate", "190K", "--connections", "4"];
    let mut run = upload(&world, &proxy.url("/f"), &slow).start();
    run.wait_for_progress(MIB + MIB / 2);
    proxy.cut_now();
    run.wait_for("retry");
    run.wait_for_progress(2 * MIB + MIB / 2);
    run.kill();
    let ended = upload(&world, &proxy.url("/f"), &[]).run();
    ended.exits(0);
    same(&root.join("f"), &content);
    world.holds_only(&["big.bin"]);
    // Heads, what was asked, and what lay in buffers are in it too.
    let over = proxy.up().saturating_sub(content.len());
    tell(&format!("up2k, cut and killed on a slow line: {over} bytes over {}", content.len()));
    assert!(over <= MIB + MIB / 2, "{over} bytes were sent again\n{}", ended.story());
}

#[test]
fn copyparty_wants_its_password() {
    let world = World::new();
    let Some(program) = python("copyparty", "copyparty") else { return };
    let root = open_folder(&world, "copyparty");
    let server = Server::start(&world.beside("copyparty.log"), |address| {
        let mut command = Command::new(&program);
        let volume = format!("{}::rwmd,me", root.display());
        command.args([
            "-i",
            "127.0.0.1",
            "-p",
            &address.port().to_string(),
            "-a",
            "me:secret",
            "-v",
            &volume,
            "--hist",
        ]);
        command.arg(world.beside("copyparty-hist")).env("HOME", world.home()).current_dir(world.home());
        command
    });
    let content = Content::random(3, 3 * MIB);
    content.write_to(&world.path("big.bin"));
    for wrong in [&[][..], &["-u", ":wrong"]] {
        let ended = upload(&world, &server.url("/f"), wrong).run();
        ended.exits(6).never_says("wrong");
    }
    for right in [["-u", ":secret"], ["-H", "PW: secret"]] {
        let ended = upload(&world, &server.url("/f"), &right).run();
        ended.exits(0).never_says("secret");
        speaks(&ended, "up2k");
        same(&root.join("f"), &content);
        std::fs::remove_file(root.join("f")).unwrap();
    }
}
