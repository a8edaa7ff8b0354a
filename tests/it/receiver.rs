//! `onward serve` as a process, and a raw HTTP/1.1 client to talk to it with: what it sends is what the test says,
//! right or wrong.

use crate::world::{DEADLINE, Signal, World};
use onward::digest::{Algorithm, Crc, Digest, Hasher};
use onward::wire::handshake::{Digests, Id};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A running server. Killed when dropped.
pub struct Receiver {
    child: Child,
    pub url: String,
    pub address: String,
    pub root: PathBuf,
    told: Arc<Mutex<String>>,
}

/// How a server is started.
pub struct Setup {
    root: PathBuf,
    command: Command,
}

impl Setup {
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// What a test wants unless it says otherwise.
    fn defaults(&mut self) {
        for (flag, value) in [("--listen", "127.0.0.1:0"), ("--min-free", "1M")] {
            if self.command.get_args().all(|arg| arg != flag) {
                self.command.args([flag, value]);
            }
        }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it and waits for its first line.
    #[track_caller]
    pub fn start(mut self) -> Receiver {
        self.defaults();
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = Arc::new(Mutex::new(String::new()));
        let (errors, ear) = (child.stderr.take().unwrap(), told.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                ear.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim_end().to_string();
        let Some(address) = url.split("://").nth(1).and_then(|rest| rest.split('/').next()) else {
            let _ = child.wait();
            panic!("it did not start: {}", told.lock().unwrap());
        };
        Receiver { child, address: address.to_string(), url, root: self.root, told }
    }
}

impl Receiver {
    /// A server of the folder `served` of `world`, on a free port.
    pub fn setup(world: &World) -> Setup {
        Self::setup_at(world, "served")
    }

    /// The same for another folder.
    pub fn setup_at(world: &World, folder: &str) -> Setup {
        let root = world.beside(folder);
        fs::create_dir_all(&root).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_onward"));
        command.arg("serve").arg(&root);
        command.current_dir(world.dir()).env_clear().stdin(Stdio::null());
        command.env("HOME", world.home()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Setup { root, command }
    }

    pub fn start(world: &World) -> Self {
        Self::setup(world).start()
    }

    pub fn told(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}\n{}", self.told()))
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A new connection.
    pub fn talk(&self) -> Talk {
        Talk::to(&self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, head: &str) -> Answer {
        self.talk().ask(head, b"")
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// SIGKILL, awaited.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end after a signal.
    pub fn wait(mut self) -> std::process::ExitStatus {
        crate::world::eventually("the server ends", || self.child.try_wait().unwrap())
    }

    /// Begins an upload: `file` is its content.
    #[track_caller]
    pub fn begin(&self, name: &str, size: u64, chunk_size: u64, more: Value) -> Answer {
        self.talk().begin("/", name, size, chunk_size, more)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
pub struct Talk {
    stream: TcpStream,
    host: String,
    /// Fields that go with every request.
    pub fields: String,
}

/// One reply.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, String::from_utf8_lossy(&self.body));
        self
    }

    /// A refusal of this reason.
    #[track_caller]
    pub fn refuses(&self, status: u16, slug: &str) -> &Self {
        self.is(status);
        assert_eq!(self.json()["type"], format!("urn:onward:{slug}"), "{:?}", self.json());
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        self
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.head, String::from_utf8_lossy(&self.body)))
    }

    /// The path of the upload that a status document is about.
    #[track_caller]
    pub fn upload(&self) -> String {
        self.json()["upload"].as_str().unwrap_or_else(|| panic!("no upload in {:?}", self.json())).to_string()
    }
}

impl Talk {
    pub fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, host: address.to_string(), fields: String::new() }
    }

    pub fn with(mut self, field: &str) -> Self {
        self.fields.push_str(&format!("{field}\r\n"));
        self
    }

    /// Sends `head` (request line and fields, lines ended by `\n`) with Host and Content-Length added unless they are
    /// there, and the body; reads the reply.
    #[track_caller]
    pub fn ask(&mut self, head: &str, body: &[u8]) -> Answer {
        self.send(head, body);
        self.answer(head.starts_with("HEAD"))
    }

    pub fn send(&mut self, head: &str, body: &[u8]) {
        let mut lines = head.lines();
        let mut text = lines.next().unwrap().to_string();
        if !text.contains(" HTTP/") {
            text.push_str(" HTTP/1.1");
        }
        text.push_str("\r\n");
        lines.for_each(|line| text.push_str(&format!("{line}\r\n")));
        let lower = text.to_ascii_lowercase();
        if !lower.contains("\r\nhost:") {
            text.push_str(&format!("Host: {}\r\n", self.host));
        }
        if !lower.contains("\r\ncontent-length:") && !lower.contains("\r\ntransfer-encoding:") && !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str(&self.fields);
        text.push_str("\r\n");
        // A server that refuses early may close while we send; its reply is what counts.
        let _ = self.stream.write_all(text.as_bytes()).and_then(|()| self.stream.write_all(body));
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads a reply with a Content-Length, or none.
    #[track_caller]
    pub fn answer(&mut self, headless: bool) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                other => panic!("the connection ended ({other:?}) after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8(head).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status < 200 {
            return self.answer(headless);
        }
        let mut answer = Answer { status, head, body: Vec::new() };
        if !headless && status != 204 && status != 304 {
            let length = answer.field("content-length").map_or(0, |length| length.parse().unwrap());
            answer.body.resize(length, 0);
            self.stream.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    /// Sends the head and some of the body of a `PUT`, and returns once the server has begun to take the body.
    #[track_caller]
    pub fn begin_put(&mut self, path: &str, bytes: &[u8], now: usize) {
        let (digest, length) = (crc_field(bytes), bytes.len());
        self.send(
            &format!("PUT {path}\nContent-Digest: {digest}\nContent-Length: {length}\nExpect: 100-continue"),
            b"",
        );
        let mut word = [0; 25];
        self.stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
        self.raw(&bytes[..now]);
    }

    /// The next reply's head, an interim one's or not.
    #[track_caller]
    pub fn interim(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.read(&mut byte);
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads exactly so many bytes.
    #[track_caller]
    pub fn read(&mut self, bytes: &mut [u8]) {
        self.stream.read_exact(bytes).unwrap();
    }

    /// Nothing more will be sent.
    pub fn shut(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// All that comes until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// Whether the server has closed the connection without another word.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), b"")
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, document: &Value) -> Answer {
        self.ask(&format!("POST {path}\nContent-Type: application/json"), document.to_string().as_bytes())
    }

    /// *begin*, with what `more` adds or changes.
    #[track_caller]
    pub fn begin(&mut self, base: &str, name: &str, size: u64, chunk_size: u64, more: Value) -> Answer {
        let mut document = json!({"key": key(), "name": name, "size": size, "chunk_size": chunk_size});
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        self.post(base, &document)
    }

    /// Sends a whole chunk.
    #[track_caller]
    pub fn chunk(&mut self, upload: &str, index: u64, bytes: &[u8]) -> Answer {
        self.ask(&format!("PUT {upload}/{index}\nContent-Digest: {}", crc_field(bytes)), bytes)
    }

    /// Sends bytes `start..` of a chunk of `of` bytes.
    #[track_caller]
    pub fn piece(&mut self, upload: &str, index: u64, bytes: &[u8], start: u64, of: u64) -> Answer {
        let end = start + bytes.len() as u64 - 1;
        let range = format!("Content-Range: bytes {start}-{end}/{of}");
        self.ask(&format!("PUT {upload}/{index}\nContent-Digest: {}\n{range}", crc_field(bytes)), bytes)
    }

    /// *finish* by the CRC-64 of `content`, asked again while the server is checking.
    #[track_caller]
    pub fn complete(&mut self, upload: &str, content: &[u8]) -> Answer {
        self.complete_with(upload, json!({"digests": {"crc64nvme": crc_hex(content)}}))
    }

    #[track_caller]
    pub fn complete_with(&mut self, upload: &str, document: Value) -> Answer {
        loop {
            let answer = self.post(&format!("{upload}/complete"), &document);
            if answer.status != 202 {
                return answer;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A new key.
pub fn key() -> String {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).unwrap();
    Id::new(bits).to_string()
}

pub fn crc_hex(bytes: &[u8]) -> String {
    Crc::of(bytes).digest().hex()
}

/// `Content-Digest` by CRC-64.
pub fn crc_field(bytes: &[u8]) -> String {
    field_of(Crc::of(bytes).digest())
}

pub fn field_of(digest: Digest) -> String {
    let mut digests = Digests::default();
    digests.set(digest);
    digests.to_field()
}

pub fn hash(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// The files under a folder, with their paths below it; sorted.
pub fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => todo.push(entry.path()),
                false => found.push(entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned()),
            }
        }
    }
    found.sort();
    found
}
