//! A receiver of the chunk-index handshake written from its document alone, sharing no line with the program, that can
//! be told to lie: a rule sees every request first and may answer in its place, lose the answer, or break off.

use crate::world::Content;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    /// What step of the protocol it is.
    pub fn step(&self) -> &'static str {
        let tail = self.path.split('?').next().unwrap().rsplit('/').next().unwrap();
        match (self.method.as_str(), tail) {
            ("OPTIONS", _) => "discover",
            ("POST", "identity") => "identify",
            ("POST", "complete") => "finish",
            ("POST", _) => "begin",
            ("GET", "digests") => "compare",
            ("GET", _) => "ask",
            ("PUT", _) => "send",
            ("DELETE", _) => "give up",
            _ => "other",
        }
    }
}

/// What a rule does with a request.
pub enum Act {
    /// Nothing: the receiver does as it should.
    Honest,
    /// Answers this instead; the receiver does not see the request.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The receiver does its work, and the connection ends without an answer.
    LoseAnswer,
    /// The connection ends before the receiver sees the request.
    LoseRequest,
    /// The receiver's answer, with this done to its body.
    Edit(fn(String) -> String),
}

/// A refusal as the document wants it.
pub fn problem(status: u16, slug: &str, more: Value) -> Act {
    let mut body = json!({"type": format!("urn:onward:{slug}"), "title": slug, "status": status, "detail": format!("the test says {slug}")});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    Act::Answer(status, vec![("Content-Type", "application/problem+json".into())], body.to_string())
}

type Rule = Box<dyn FnMut(&Asked, usize) -> Act + Send>;

/// One upload as the receiver has it.
#[derive(Default)]
pub struct Upload {
    pub key: String,
    pub name: String,
    pub size: u64,
    pub chunk: u64,
    pub bytes: Vec<u8>,
    pub held: Vec<bool>,
    pub done: bool,
    pub gone: bool,
}

/// What the receiver knows and has seen.
#[derive(Default)]
pub struct Desk {
    pub uploads: Vec<Upload>,
    pub log: Vec<Asked>,
    steps: BTreeMap<&'static str, usize>,
    rule: Option<Rule>,
}

pub struct Receiver {
    port: u16,
    desk: Arc<Mutex<Desk>>,
}

impl Receiver {
    pub fn honest() -> Self {
        Self::with(|_, _| Act::Honest)
    }

    /// A receiver with a rule, which is given each request and how many of its step came before.
    pub fn with(rule: impl FnMut(&Asked, usize) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let desk = Arc::new(Mutex::new(Desk { rule: Some(Box::new(rule)), ..Desk::default() }));
        let shared = desk.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let desk = shared.clone();
                std::thread::spawn(move || drop(talk(stream, &desk)));
            }
        });
        Self { port, desk }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    /// How often this step was asked for.
    pub fn count(&self, step: &str) -> usize {
        self.desk().log.iter().filter(|asked| asked.step() == step).count()
    }

    /// Bytes of content that were sent, again ones counted again.
    pub fn sent(&self) -> u64 {
        self.desk().log.iter().filter(|asked| asked.step() == "send").map(|asked| asked.body.len() as u64).sum()
    }

    /// Fails unless the last upload is complete and holds `content`.
    #[track_caller]
    pub fn stored(&self, content: &Content) {
        let desk = self.desk();
        let upload = desk.uploads.last().expect("nothing was begun");
        assert!(upload.done, "the upload is not complete");
        assert!(upload.bytes == content.bytes(), "the receiver stored something else");
    }
}

fn talk(stream: TcpStream, desk: &Mutex<Desk>) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    while let Some(asked) = read(&mut from)? {
        let (act, desk_reply) = {
            let mut desk = desk.lock().unwrap();
            let before = *desk.steps.entry(asked.step()).and_modify(|n| *n += 1).or_insert(1) - 1;
            desk.log.push(asked.clone());
            let mut rule = desk.rule.take().unwrap();
            let act = rule(&asked, before);
            desk.rule = Some(rule);
            let seen = matches!(act, Act::Honest | Act::LoseAnswer | Act::Edit(_));
            let reply = seen.then(|| desk.answer(&asked));
            (act, reply)
        };
        let (status, headers, body) = match (act, desk_reply) {
            (Act::Answer(status, headers, body), _) => (status, headers, body),
            (Act::Honest, Some(reply)) => reply,
            (Act::Edit(edit), Some((status, headers, body))) => (status, headers, edit(body)),
            _ => return Ok(()),
        };
        write!(to, "HTTP/1.1 {status} Told\r\n")?;
        for (name, value) in headers {
            write!(to, "{name}: {value}\r\n")?;
        }
        match status {
            204 => write!(to, "\r\n")?,
            _ => write!(to, "Content-Length: {}\r\n\r\n{body}", body.len())?,
        }
        to.flush()?;
    }
    Ok(())
}

pub fn read(from: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_string);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_string()),
            None => break,
        };
    }
    let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(Asked { method, path, headers, body }))
}

type Reply = (u16, Vec<(&'static str, String)>, String);

fn runs(held: impl Iterator<Item = bool>) -> String {
    let mut text: Vec<(usize, usize)> = Vec::new();
    for (at, _) in held.enumerate().filter(|(_, held)| *held) {
        match text.last_mut() {
            Some((_, last)) if *last + 1 == at => *last = at,
            _ => text.push((at, at)),
        }
    }
    let one =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    text.iter().map(one).collect::<Vec<_>>().join(",")
}

impl Upload {
    fn chunk_bytes(&self, index: u64) -> std::ops::Range<usize> {
        (index * self.chunk) as usize..((index + 1) * self.chunk).min(self.size) as usize
    }

    fn chunks(&self) -> u64 {
        self.size.div_ceil(self.chunk)
    }

    fn whole(&self, index: u64) -> bool {
        self.held[self.chunk_bytes(index)].iter().all(|held| *held)
    }
}

impl Desk {
    fn status(&self, id: usize) -> String {
        let upload = &self.uploads[id];
        let mut within = serde_json::Map::new();
        for index in (0..upload.chunks()).filter(|index| !upload.whole(*index)) {
            let held = runs(upload.held[upload.chunk_bytes(index)].iter().copied());
            if !held.is_empty() {
                within.insert(index.to_string(), held.into());
            }
        }
        let state = match (upload.done, upload.held.iter().any(|held| *held)) {
            (true, _) => "complete",
            (_, true) => "partial",
            _ => "new",
        };
        let mut status = json!({
            "upload": format!("/u/{id}"), "state": state, "have": runs((0..upload.chunks()).map(|index| upload.whole(index))),
            "within": within, "size": upload.size, "chunk_size": upload.chunk, "name": upload.name,
        });
        if upload.done {
            status["file"] = format!("/files/{}", upload.name).into();
            status["digests"] =
                json!({"sha-256": Content::of(upload.bytes.clone()).digest(onward::digest::Algorithm::Sha256)});
        }
        status.to_string()
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let refuse = |status: u16, slug: &str, more: Value| match problem(status, slug, more) {
            Act::Answer(status, headers, body) => (status, headers, body),
            _ => unreachable!(),
        };
        if asked.step() == "discover" {
            let limits = "digests=\"crc64nvme sha-256 md5\"".to_string();
            return (204, vec![("Onward-Handshake", "1".into()), ("Onward-Limits", limits)], String::new());
        }
        if asked.step() == "begin" {
            return self.begin(serde_json::from_slice(&asked.body).unwrap());
        }
        let mut parts = asked.path.split('?').next().unwrap().split('/').skip(2);
        let id = parts
            .next()
            .and_then(|id| id.parse::<usize>().ok())
            .filter(|id| self.uploads.get(*id).is_some_and(|upload| !upload.gone || asked.step() == "give up"));
        let Some(id) = id else { return refuse(404, "unknown-upload", json!({})) };
        match asked.step() {
            "ask" | "identify" => (200, vec![], self.status(id)),
            "send" => self.send(id, parts.next().unwrap().parse().unwrap(), asked),
            "compare" => self.compare(id, asked),
            "finish" => self.finish(id, serde_json::from_slice(&asked.body).unwrap()),
            "give up" => {
                self.uploads[id].gone = true;
                (204, vec![], String::new())
            }
            _ => refuse(405, "method", json!({})),
        }
    }

    fn begin(&mut self, begin: Value) -> Reply {
        let key = begin["key"].as_str().unwrap().to_string();
        assert_eq!(key.len(), 32, "{begin}");
        let known = self.uploads.iter().position(|upload| upload.key == key);
        let id = known.unwrap_or(self.uploads.len());
        if known.is_none() {
            let size = begin["size"].as_u64().unwrap();
            self.uploads.push(Upload {
                key,
                name: begin["name"].as_str().unwrap().into(),
                size,
                chunk: begin["chunk_size"].as_u64().unwrap(),
                bytes: vec![0; size as usize],
                held: vec![false; size as usize],
                done: false,
                gone: false,
            });
        }
        (if known.is_some() { 200 } else { 201 }, vec![("Location", format!("/u/{id}"))], self.status(id))
    }

    fn send(&mut self, id: usize, index: u64, asked: &Asked) -> Reply {
        let upload = &mut self.uploads[id];
        let chunk = upload.chunk_bytes(index);
        let mut range = chunk.clone();
        if let Some(told) = asked.headers.get("content-range") {
            let (first, rest) = told.strip_prefix("bytes ").unwrap().split_once('-').unwrap();
            let (last, total) = rest.split_once('/').unwrap();
            assert_eq!(total.parse::<usize>().unwrap(), chunk.len(), "{told}");
            range = chunk.start + first.parse::<usize>().unwrap()..chunk.start + last.parse::<usize>().unwrap() + 1;
        }
        assert_eq!(range.len(), asked.body.len());
        let crc = onward::digest::Crc::of(&asked.body).digest();
        let told = onward::wire::handshake::Digests::from_field(&asked.headers["content-digest"]).unwrap();
        if told.get(crc.algorithm) != Some(&crc) {
            let body = json!({"type": "urn:onward:digest-mismatch", "status": 422}).to_string();
            return (422, vec![], body);
        }
        let differs = range.clone().any(|at| upload.held[at] && upload.bytes[at] != asked.body[at - range.start]);
        if differs && !asked.headers.contains_key("onward-replace") {
            return (409, vec![], json!({"type": "urn:onward:differs", "status": 409}).to_string());
        }
        upload.bytes[range.clone()].copy_from_slice(&asked.body);
        upload.held[range].fill(true);
        (204, vec![], String::new())
    }

    fn compare(&self, id: usize, asked: &Asked) -> Reply {
        let upload = &self.uploads[id];
        let wanted = onward::byteset::ByteSet::parse(asked.path.split_once("chunks=").unwrap().1).unwrap();
        let held: Vec<u64> =
            wanted.runs().flat_map(|run| run.start..run.end).filter(|index| upload.whole(*index)).collect();
        let digests: Vec<String> = held
            .iter()
            .map(|index| onward::digest::Crc::of(&upload.bytes[upload.chunk_bytes(*index)]).digest().hex())
            .collect();
        let chunks = runs((0..upload.chunks()).map(|index| held.contains(&index)));
        (200, vec![], json!({"algorithm": "crc64nvme", "chunks": chunks, "digests": digests}).to_string())
    }

    fn finish(&mut self, id: usize, told: Value) -> Reply {
        let upload = &mut self.uploads[id];
        let missing = runs((0..upload.chunks()).map(|index| !upload.whole(index)));
        if !missing.is_empty() {
            return (
                409,
                vec![],
                json!({"type": "urn:onward:incomplete", "status": 409, "missing": missing}).to_string(),
            );
        }
        let crc = onward::digest::Crc::of(&upload.bytes).digest().hex();
        if told["digests"]["crc64nvme"] != crc {
            return (422, vec![], json!({"type": "urn:onward:suspect", "status": 422, "suspect": ""}).to_string());
        }
        upload.done = true;
        (201, vec![("Location", format!("/files/{}", upload.name))], self.status(id))
    }
}
