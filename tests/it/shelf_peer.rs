//! A file server written from the documents of dufs and SabreDAV, that takes pieces by `PATCH`, with what is odd about
//! each: dufs takes no range at the very end of a file, drops a small `PUT` that is cut and the file it replaced, and
//! moves over whatever is there; SabreDAV wants its own content type and a whole range. Answers can be lost.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Whose manners it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    Dufs,
    Sabre,
    /// Announces `PATCH` and appends whatever comes, wherever it belongs.
    Liar,
    /// Knows `PUT`, `GET` and `HEAD` and nothing else; what is cut stays as it is.
    Plain,
}

/// What happened and what is held.
#[derive(Default)]
pub struct Desk {
    pub files: BTreeMap<String, Vec<u8>>,
    /// `METHOD NAME`, in order.
    pub asked: Vec<String>,
    /// Content bytes received by `PATCH` and `PUT`.
    pub received: u64,
    /// Answers still to be lost after the work was done, by method.
    pub lose: HashMap<String, u32>,
    /// Whether the next file that is asked for by `GET` is shown with a byte turned round.
    pub damage: bool,
    /// What every `PUT` is refused with.
    pub refuse: Option<u16>,
    /// What `HEAD` is refused with.
    pub blind: Option<u16>,
    /// Shown with every file, whatever it holds.
    pub repr_digest: Option<String>,
}

pub struct Peer {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
}

impl Peer {
    pub fn start(flavour: Flavour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, desk) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Desk::default())));
        let shared = desk.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let desk = shared.clone();
                std::thread::spawn(move || while answer(&stream, flavour, &desk).is_some() {});
            }
        });
        Self { address, desk }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.desk().files.get(name).cloned()
    }

    pub fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }
}

type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Answers one request; `None` when the connection is over.
fn answer(stream: &TcpStream, flavour: Flavour, desk: &Mutex<Desk>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace().map(str::to_string);
    let (method, path) = (words.next()?, words.next()?);
    let mut fields = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.split_once(':') else { break };
        fields.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let length: usize = fields.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(length);
    let _ = reader.by_ref().take(length as u64).read_to_end(&mut body);
    let whole = body.len() == length;
    let path = path.trim_start_matches('/');
    let (name, query) = path.split_once('?').unwrap_or((path, ""));
    let asked = Asked { method: &method, name, query, fields: &fields, body: &body, whole };
    let mut desk = desk.lock().unwrap();
    desk.asked.push(format!("{method} {name}"));
    desk.received += body.len() as u64;
    let reply = act(&mut desk, flavour, &asked);
    let lost = desk.lose.get_mut(&method).filter(|left| **left > 0 && whole);
    if let Some(left) = lost {
        *left -= 1;
        return None;
    }
    drop(desk);
    let (status, more, content) = reply.filter(|_| whole)?;
    let mut head = format!("HTTP/1.1 {status} X\r\n");
    if !more.iter().any(|(name, _)| *name == "content-length") {
        head += &format!("content-length: {}\r\n", content.len());
    }
    more.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    let mut stream = stream;
    stream.write_all((head + "\r\n").as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&content).ok()?;
    }
    Some(())
}

/// One request.
struct Asked<'a> {
    method: &'a str,
    name: &'a str,
    query: &'a str,
    fields: &'a BTreeMap<String, String>,
    body: &'a [u8],
    /// Whether all of the content came.
    whole: bool,
}

fn act(desk: &mut Desk, flavour: Flavour, asked: &Asked) -> Option<Reply> {
    let Asked { method, name, query, fields, body, whole } = *asked;
    let status = |status: u16| Some((status, Vec::new(), Vec::new()));
    match method {
        "OPTIONS" | "MOVE" | "DELETE" | "PATCH" if flavour == Flavour::Plain => status(405),
        "HEAD" if desk.blind.is_some() => status(desk.blind.unwrap()),
        "PUT" if desk.refuse.is_some() => status(desk.refuse.unwrap()),
        "PUT" if fields.contains_key("if-none-match") && desk.files.contains_key(name) => status(412),
        "OPTIONS" => {
            let dav = if flavour == Flavour::Sabre { "1, 3, sabredav-partialupdate" } else { "1, 2, 3" };
            let allow = "GET,HEAD,PUT,OPTIONS,DELETE,PATCH,PROPFIND,COPY,MOVE".to_string();
            Some((200, vec![("dav", dav.into()), ("allow", allow)], Vec::new()))
        }
        "HEAD" | "GET" => {
            let Some(file) = desk.files.get(name) else { return status(404) };
            if query == "hash" && flavour == Flavour::Dufs {
                let digest = crate::world::Content::of(file.clone()).digest(onward::digest::Algorithm::Sha256);
                return Some((200, Vec::new(), digest.into_bytes()));
            }
            let mut file = file.clone();
            if method == "GET" && std::mem::take(&mut desk.damage) {
                file[0] ^= 0xFF;
            }
            let mut reply = shown(&file, fields.get("range"));
            reply.1.extend(desk.repr_digest.iter().map(|value| ("repr-digest", value.clone())));
            Some(reply)
        }
        "PUT" => {
            match whole || flavour != Flavour::Dufs {
                true => drop(desk.files.insert(name.into(), body.to_vec())),
                false => drop(desk.files.remove(name)),
            }
            status(201)
        }
        "PATCH" => status(patch(desk.files.get_mut(name), flavour, fields, body)),
        "MOVE" => {
            let to = fields.get("destination")?.splitn(4, '/').nth(3)?.to_string();
            if flavour != Flavour::Dufs
                && fields.get("overwrite").is_some_and(|o| o == "F")
                && desk.files.contains_key(&to)
            {
                return status(412);
            }
            let Some(file) = desk.files.remove(name) else { return status(404) };
            desk.files.insert(to, file);
            status(204)
        }
        "DELETE" => status(if desk.files.remove(name).is_some() { 204 } else { 404 }),
        _ => status(405),
    }
}

fn shown(file: &[u8], range: Option<&String>) -> Reply {
    let asked = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let asked = asked.and_then(|(first, last)| Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?)));
    match asked {
        Some((first, last)) if first < file.len() => {
            let last = last.min(file.len() - 1);
            let told = format!("bytes {first}-{last}/{}", file.len());
            (206, vec![("content-range", told)], file[first..=last].to_vec())
        }
        _ => (200, vec![("last-modified", format!("v{}", file.len()))], file.to_vec()),
    }
}

fn patch(file: Option<&mut Vec<u8>>, flavour: Flavour, fields: &BTreeMap<String, String>, body: &[u8]) -> u16 {
    let Some(file) = file else { return 404 };
    let update = fields.get("x-update-range").cloned().unwrap_or_default();
    let range = update.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let place = range.and_then(|(first, last)| Some((first.parse::<usize>().ok()?, last)));
    let start = match (flavour, place) {
        (Flavour::Liar, _) => file.len(),
        (Flavour::Dufs, None) if update == "append" => file.len(),
        (Flavour::Dufs, Some((start, _))) if start < file.len() => start,
        (Flavour::Sabre, Some((start, last))) => {
            let own = fields.get("content-type").is_some_and(|kind| kind == "application/x-sabredav-partialupdate");
            if !own || start > file.len() || last.parse() != Ok(start + body.len() - 1) && !body.is_empty() {
                return if own { 416 } else { 415 };
            }
            start
        }
        _ => return 400,
    };
    file.resize(file.len().max(start + body.len()), 0);
    file[start..start + body.len()].copy_from_slice(body);
    204
}
