//! The same large file to receivers: onward to its own `serve`, which verifies every piece and the whole; curl to an
//! nginx, which verifies nothing; the resumable uploaders of others to the servers that they are made for.

use super::rows::{Contestant, Field, Row, goal};
use super::servers::{Server, node, python};
use super::tools::{self, find};
use super::world::{Content, same};
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

/// A receiver: started before the first run, a fresh folder for each.
struct Receiver {
    server: RefCell<Option<Server>>,
    folder: PathBuf,
    log: PathBuf,
    path: &'static str,
    command: Start,
}

impl Receiver {
    fn new(
        field: &Field,
        name: &str,
        path: &'static str,
        command: impl Fn(SocketAddr, &Path) -> Command + 'static,
    ) -> Rc<Self> {
        let (folder, log) = (field.fast.join(name), field.disk.join(format!("{name}.log")));
        Rc::new(Self { server: RefCell::default(), folder, log, path, command: Box::new(command) })
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

    /// The only file in its folder.
    fn received(&self) -> PathBuf {
        let files = fs::read_dir(&self.folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        files
            .filter(|path| path.is_file())
            .max_by_key(|path| path.metadata().map_or(0, |meta| meta.len()))
            .unwrap_or_default()
    }
}

/// Somebody who sends the large file to a receiver.
fn sender(
    name: impl Into<String>,
    field: &Field,
    receiver: &Rc<Receiver>,
    command: impl Fn(&str) -> Command + 'static,
) -> Contestant {
    let (first, second, third) = (receiver.clone(), receiver.clone(), receiver.clone());
    let (home, content) = (field.home.clone(), field.large.clone());
    Contestant {
        name: name.into(),
        command: Box::new(move || command(&first.url())),
        before: Box::new(move || {
            Field::forget(&home);
            second.fresh();
        }),
        right: Box::new(move || {
            same(&third.received(), &content);
            true
        }),
    }
}

fn source(field: &Field) -> PathBuf {
    field.fast.join("www/large")
}

/// onward with more arguments, to whatever listens at the URL.
fn onward(field: &Field, more: &'static [&'static str]) -> impl Fn(&str) -> Command + 'static {
    let (home, source) = (field.home.clone(), source(field));
    move |url| {
        let mut command = tools::command("onward", &home);
        command.args(["upload", "--progress", "none"]).args(more).arg(&source).arg(url);
        command
    }
}

fn serve(field: &Field) -> Rc<Receiver> {
    let home = field.home.clone();
    Receiver::new(field, "served", "/", move |address, folder| {
        let mut command = tools::command("onward", &home);
        command.arg("serve").arg(folder).args(["--listen", &address.to_string(), "--min-free", "1M"]);
        command
    })
}

fn tus_server(field: &Field, npm: &Path) -> Rc<Receiver> {
    let npm = npm.to_owned();
    Receiver::new(field, "tus", "/files/", move |address, folder| {
        let mut command = Command::new("node");
        command.args(["-e", TUS_SERVER]).arg(&npm).arg(address.port().to_string()).arg(folder);
        command
    })
}

fn tus_js(field: &Field, npm: &Path) -> impl Fn(&str) -> Command + 'static {
    let (npm, source) = (npm.to_owned(), source(field));
    move |url| {
        let mut command = Command::new("node");
        command.args(["-e", TUS_CLIENT]).arg(&npm).arg(url).arg(&source);
        command
    }
}

fn copyparty(field: &Field, program: PathBuf) -> Rc<Receiver> {
    let home = field.home.clone();
    Receiver::new(field, "party", "/", move |address, folder| {
        let mut command = Command::new(&program);
        let volume = format!("{}::rw", folder.display());
        command.args(["-q", "-i", "127.0.0.1", "-p", &address.port().to_string(), "-v", &volume]).env("HOME", &home);
        command
    })
}

fn u2c(field: &Field, program: PathBuf) -> impl Fn(&str) -> Command + 'static {
    let source = source(field);
    move |url| {
        let mut command = Command::new(&program);
        command.arg("-ns").arg(url).arg(&source);
        command
    }
}

fn curl(field: &Field) -> Contestant {
    let (home, source, put) = (field.home.clone(), source(field), field.fast.join("put/large"));
    let (url, put_too, content) = (field.nginx.url("/put/large"), put.clone(), field.large.clone());
    Contestant {
        name: "curl".into(),
        command: Box::new(move || {
            let mut command = tools::command("curl", &home);
            command.args(["-sS", "-f", "-T"]).arg(&source).arg(&url);
            command
        }),
        before: Box::new(move || drop(fs::remove_file(&put))),
        right: Box::new(move || {
            same(&put_too, &content);
            true
        }),
    }
}

/// Both rows.
pub fn rows(field: &Field) -> Vec<Row> {
    let served = serve(field);
    let mut all = vec![sender("onward", field, &served, onward(field, &["--digest", "crc64"]))];
    for digest in ["md5", "sha-256"] {
        let flags: &'static [&'static str] =
            if digest == "md5" { &["--digest", "md5"] } else { &["--digest", "sha-256"] };
        all.push(sender(format!("onward, {digest} of the whole"), field, &served, onward(field, flags)));
    }
    all.extend(find("curl").map(|_| curl(field)));
    let npm = node("tus-js-client").filter(|_| node("@tus/server").is_some());
    let tus = npm.as_ref().map(|npm| tus_server(field, npm));
    if let (Some(npm), Some(tus)) = (&npm, &tus) {
        all.push(sender("tus-js-client", field, tus, tus_js(field, npm)));
    }
    if let (Some(server), Some(client)) = (python("copyparty", "copyparty"), python("copyparty", "u2c")) {
        all.push(sender("u2c", field, &copyparty(field, server), u2c(field, client)));
    }
    let goals = vec![goal("curl", 1.3), goal("tus-js-client", 0.5), goal("u2c", 0.5)];
    let title = "upload: onward to serve, curl to nginx, tus-js-client to @tus/server, u2c to copyparty";
    let mut rows = vec![Row { title, contestants: all, goals, often: 1 }];
    if let (Some(npm), Some(tus)) = (&npm, &tus) {
        let contestants = vec![
            sender("onward", field, tus, onward(field, &[])),
            sender("tus-js-client", field, tus, tus_js(field, npm)),
        ];
        let goals = vec![goal("tus-js-client", 1.0)];
        rows.push(Row { title: "upload by tus to @tus/server", contestants, goals, often: 1 });
    }
    rows
}
