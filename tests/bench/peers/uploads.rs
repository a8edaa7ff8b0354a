//! The same large file to receivers: onward to its own `serve`, which verifies every piece and the whole; curl to an
//! nginx, which verifies nothing; the resumable uploaders of others to the servers that they are made for.

use super::rows::{Contestant, Field, Row, Work, equal, forget, goal};
use super::servers::{Server, node, python};
use super::tools::{self, find};
use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

/// Starts @tus/server with its file store: `node -e TUS_SERVER NPM PORT FOLDER`.
const TUS_SERVER: &str = r#"
const from = require('node:module').createRequire(process.argv[1] + '/package.json');
(async () => {
  const { Server } = await import(from.resolve('@tus/server'));
  const { FileStore } = await import(from.resolve('@tus/file-store'));
  const datastore = new FileStore({ directory: process.argv[3] });
  new Server({ path: '/files', datastore }).listen({ host: '127.0.0.1', port: Number(process.argv[2]) });
})();
"#;

/// Uploads a file by tus-js-client as it comes: `node -e TUS_CLIENT NPM ENDPOINT FILE`.
const TUS_CLIENT: &str = r#"
const [npm, endpoint, file] = process.argv.slice(1);
const tus = require('node:module').createRequire(npm + '/package.json')('tus-js-client');
const end = (code) => () => process.exit(code);
new tus.Upload(require('node:fs').createReadStream(file), { endpoint, onSuccess: end(0), onError: end(1) }).start();
"#;

/// What starts a server at an address, over a folder.
type Start = Box<dyn Fn(SocketAddr, &Path) -> Command>;
/// What sends the file to a URL.
type Client = Box<dyn Fn(&str) -> Command>;

/// A receiver that keeps what it gets in a folder.
struct Receiver {
    server: RefCell<Option<Server>>,
    folder: PathBuf,
    log: PathBuf,
    path: &'static str,
    command: Start,
}

impl Receiver {
    fn new(base: &Path, name: &str, path: &'static str, command: Start) -> Rc<Self> {
        let (folder, log) = (base.join(name), base.join(format!("{name}.log")));
        Rc::new(Self { server: RefCell::default(), folder, log, path, command })
    }

    /// Forgets what it received. A server keeps an index: each run meets a new one.
    fn fresh(&self) {
        self.server.take();
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder).expect("a folder can be made");
        self.server.replace(Some(Server::start(&self.log, |address| (self.command)(address, &self.folder))));
    }

    fn url(&self) -> String {
        self.server.borrow().as_ref().map_or(String::new(), |server| server.url(self.path))
    }

    /// The largest file in its folder: some keep notes beside it.
    fn received(&self) -> PathBuf {
        let files = fs::read_dir(&self.folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        files
            .filter(|path| path.is_file())
            .max_by_key(|path| path.metadata().map_or(0, |meta| meta.len()))
            .unwrap_or_default()
    }
}

/// Somebody who sends the large file to a receiver.
struct Send {
    receiver: Rc<Receiver>,
    home: PathBuf,
    source: PathBuf,
    command: Client,
}

impl Work for Send {
    fn ready(&self) {
        forget(&self.home);
        self.receiver.fresh();
        rustix::fs::sync();
    }

    fn command(&self) -> Command {
        (self.command)(&self.receiver.url())
    }

    fn right(&self) -> bool {
        let right = equal(&self.receiver.received(), &self.source);
        // It must not work in anybody else's time, nor hold what was sent.
        self.receiver.server.take();
        let _ = fs::remove_dir_all(&self.receiver.folder);
        right
    }
}

/// curl to the folder of an nginx, which verifies nothing.
struct Put {
    home: PathBuf,
    source: PathBuf,
    url: String,
    file: PathBuf,
    durable: bool,
}

impl Work for Put {
    fn ready(&self) {
        let _ = fs::remove_file(&self.file);
        rustix::fs::sync();
    }

    fn command(&self) -> Command {
        let mut command = tools::command("curl", &self.home);
        command.args(["-sS", "-f", "-T"]).arg(&self.source).arg(&self.url);
        if self.durable { tools::then_sync(&command, &self.home, &self.file) } else { command }
    }

    fn right(&self) -> bool {
        let right = equal(&self.file, &self.source);
        let _ = fs::remove_file(&self.file);
        right
    }
}

fn source(field: &Field) -> PathBuf {
    field.served("large")
}

fn sender(name: &str, field: &Field, receiver: &Rc<Receiver>, command: Client) -> Contestant {
    let (receiver, home, source) = (receiver.clone(), field.home.clone(), source(field));
    Contestant::new(name, Some(Send { receiver, home, source, command }))
}

fn absent(name: &str) -> Contestant {
    Contestant::new(name, None::<Send>)
}

/// onward with more arguments, to whatever listens at the URL.
fn onward(field: &Field, more: &'static [&'static str]) -> Client {
    let (home, source) = (field.home.clone(), source(field));
    Box::new(move |url| {
        let mut command = tools::command("onward", &home);
        command.args(["upload", "--progress", "none"]).args(more).arg(&source).arg(url);
        command
    })
}

fn serve(home: &Path, base: &Path) -> Rc<Receiver> {
    let home = home.to_owned();
    let start: Start = Box::new(move |address, folder| {
        let mut command = tools::command("onward", &home);
        command.arg("serve").arg(folder).args(["--listen", &address.to_string(), "--min-free", "1M"]);
        command
    });
    Receiver::new(base, "served", "/", start)
}

/// @tus/server, and tus-js-client for it.
fn tus(field: &Field) -> Option<(Rc<Receiver>, Client)> {
    let npm = node("tus-js-client").filter(|_| node("@tus/server").is_some())?;
    let (npm_too, source) = (npm.clone(), source(field));
    let start: Start = Box::new(move |address, folder| {
        let mut command = Command::new("node");
        command.args(["-e", TUS_SERVER]).arg(&npm).arg(address.port().to_string()).arg(folder);
        command
    });
    let client: Client = Box::new(move |url| {
        let mut command = Command::new("node");
        command.args(["-e", TUS_CLIENT]).arg(&npm_too).arg(url).arg(&source);
        command
    });
    Some((Receiver::new(&field.fast, "tus", "/files/", start), client))
}

/// copyparty, and its u2c.
fn copyparty(field: &Field) -> Option<(Rc<Receiver>, Client)> {
    let (server, client) = (python("copyparty", "copyparty")?, python("copyparty", "u2c")?);
    let (home, source) = (field.home.clone(), source(field));
    let start: Start = Box::new(move |address, folder| {
        let mut command = Command::new(&server);
        let volume = format!("{}::rw", folder.display());
        command.args(["-q", "-i", "127.0.0.1", "-p", &address.port().to_string(), "-v", &volume]).env("HOME", &home);
        // It takes nothing into memory otherwise.
        command.arg("--wram");
        command
    });
    let client: Client = Box::new(move |url| {
        let mut command = Command::new(&client);
        command.arg("-ns").arg(url).arg(&source);
        command
    });
    Some((Receiver::new(&field.fast, "party", "/", start), client))
}

fn curl(field: &Field, durable: bool) -> Contestant {
    let (base, name) = if durable { (&field.disk, "put-disk") } else { (&field.fast, "put") };
    let (home, source, file) = (field.home.clone(), source(field), base.join("put/large"));
    let put = Put { home, source, url: field.nginx.url(&format!("/{name}/large")), file, durable };
    Contestant::new("curl", find("curl").map(|_| put))
}

/// All rows.
pub fn rows(field: &Field) -> Vec<Row> {
    let (served, on_disk) = (serve(&field.home, &field.fast), serve(&field.home, &field.disk));
    let to_serve = |receiver, digest: &'static [&'static str]| sender("onward", field, receiver, onward(field, digest));
    let rival = |name, pair: Option<(Rc<Receiver>, Client)>| match pair {
        Some((receiver, client)) => sender(name, field, &receiver, client),
        None => absent(name),
    };
    let tus_row = match tus(field) {
        Some((receiver, client)) => {
            vec![
                sender("onward", field, &receiver, onward(field, &[])),
                sender("tus-js-client", field, &receiver, client),
            ]
        }
        None => vec![absent("onward"), absent("tus-js-client")],
    };
    let everybody = vec![
        to_serve(&served, &["--digest", "crc64"]),
        curl(field, false),
        rival("tus-js-client", tus(field)),
        rival("u2c", copyparty(field)),
    ];
    let half = |name| goal(name, 0.5);
    vec![
        Row::new("upload to serve, CRC-64 of all", everybody, &[goal("curl", 1.3), half("tus-js-client"), half("u2c")]),
        Row::new(
            "upload to serve, MD5 of the whole",
            vec![to_serve(&served, &["--digest", "md5"]), curl(field, false)],
            &[],
        ),
        Row::new(
            "upload to serve, SHA-256 of the whole",
            vec![to_serve(&served, &["--digest", "sha-256"]), curl(field, false)],
            &[],
        ),
        Row::new(
            "upload to serve, its data on disk, durable",
            vec![to_serve(&on_disk, &["--digest", "crc64"]), curl(field, true)],
            &[],
        ),
        Row::new("upload by tus to @tus/server", tus_row, &[goal("tus-js-client", 1.0)]),
    ]
}
