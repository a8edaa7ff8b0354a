//! A page's upload endpoint as a test scripts it: every request is taken apart to the byte, kept, and answered by a
//! closure. It shares no line with the program.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One part of a form.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub name: String,
    pub filename: Option<String>,
    pub kind: Option<String>,
    pub bytes: Vec<u8>,
}

/// One request, read whole.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Of a multipart body.
    pub parts: Vec<Part>,
    /// Which connection it came by.
    pub connection: usize,
}

impl Asked {
    /// The fields, by kind of body; files by their name alone.
    pub fn fields(&self) -> Vec<(String, String)> {
        if !self.parts.is_empty() {
            let plain = self.parts.iter().filter(|part| part.filename.is_none());
            return plain.map(|part| (part.name.clone(), String::from_utf8(part.bytes.clone()).unwrap())).collect();
        }
        pairs(&String::from_utf8_lossy(&self.body))
    }

    /// One field's value; empty when there is none.
    pub fn field(&self, name: &str) -> String {
        let found = self.fields().into_iter().chain(self.query.clone()).find(|(known, _)| known == name);
        found.map(|(_, value)| value).unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> u64 {
        self.field(name).parse().unwrap_or_else(|_| panic!("{name} is no number: {:?}", self.field(name)))
    }

    /// The bytes of the file in it.
    pub fn file(&self) -> Vec<u8> {
        let file = self.parts.iter().find(|part| part.filename.is_some());
        file.map_or_else(|| self.body.clone(), |part| part.bytes.clone())
    }

    /// The last segment of the path.
    pub fn call(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }
}

/// What becomes of a request.
pub enum Act {
    /// A status, a content type and a body.
    Say(u16, &'static str, String),
    /// The same with further fields.
    Tell(u16, Vec<(&'static str, String)>, String),
    /// The connection ends without an answer.
    Lose,
    /// It stays open, and nothing ever comes.
    Hang,
}

/// A JSON answer.
pub fn json(value: serde_json::Value) -> Act {
    Act::Say(200, "application/json", value.to_string())
}

type Rule = Box<dyn FnMut(&Asked, usize) -> Act + Send>;

#[derive(Default)]
struct Desk {
    log: Vec<Asked>,
    rule: Option<Rule>,
}

pub struct Page {
    port: u16,
    desk: Arc<Mutex<Desk>>,
}

impl Page {
    /// A page that answers as `rule` says, which is given each request and how many came before.
    pub fn new(rule: impl FnMut(&Asked, usize) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let desk = Arc::new(Mutex::new(Desk { rule: Some(Box::new(rule)), ..Desk::default() }));
        let shared = desk.clone();
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let desk = shared.clone();
                std::thread::spawn(move || drop(talk(stream, &desk, connection)));
            }
        });
        Self { port, desk }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Asked> {
        self.desk.lock().unwrap().log.clone()
    }

    /// Those of one call.
    pub fn asked(&self, call: &str) -> Vec<Asked> {
        self.log().into_iter().filter(|asked| asked.call() == call).collect()
    }

    /// From now on it answers so.
    pub fn now(&self, rule: impl FnMut(&Asked, usize) -> Act + Send + 'static) {
        let mut desk = self.desk.lock().unwrap();
        desk.rule = Some(Box::new(rule));
        desk.log.clear();
    }
}

fn talk(stream: TcpStream, desk: &Mutex<Desk>, connection: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    while let Some(asked) = read(&mut from, connection)? {
        let act = {
            let mut desk = desk.lock().unwrap();
            let before = desk.log.len();
            desk.log.push(asked.clone());
            let mut rule = desk.rule.take().unwrap();
            let act = rule(&asked, before);
            desk.rule = Some(rule);
            act
        };
        let (status, headers, body) = match act {
            Act::Say(status, kind, body) => (status, vec![("Content-Type", kind.to_string())], body),
            Act::Tell(status, headers, body) => (status, headers, body),
            Act::Lose => return Ok(()),
            Act::Hang => {
                // Until the other side goes away.
                let _ = from.read(&mut [0; 1]);
                return Ok(());
            }
        };
        let mut answer = format!("HTTP/1.1 {status} Told\r\n");
        headers.iter().for_each(|(name, value)| answer.push_str(&format!("{name}: {value}\r\n")));
        if status != 204 {
            answer.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        answer.push_str("\r\n");
        if asked.method != "HEAD" && status != 204 {
            answer.push_str(&body);
        }
        to.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn read(from: &mut BufReader<TcpStream>, connection: usize) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_string);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
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
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let kind = headers.get("content-type").cloned().unwrap_or_default();
    let parts = match kind.strip_prefix("multipart/form-data; boundary=") {
        Some(boundary) => taken_apart(&body, boundary),
        None => Vec::new(),
    };
    Ok(Some(Asked { method, path: path.into(), query: pairs(query), headers, body, parts, connection }))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The parts of a form, strictly: what is not as RFC 7578 and browsers have it fails the test.
fn taken_apart(body: &[u8], boundary: &str) -> Vec<Part> {
    let mut rest = body.strip_prefix(format!("--{boundary}\r\n").as_bytes()).expect("the form begins with its border");
    let border = format!("\r\n--{boundary}");
    let mut parts = Vec::new();
    loop {
        let head_end = find(rest, b"\r\n\r\n").expect("a part has a head");
        let head = std::str::from_utf8(&rest[..head_end]).unwrap();
        rest = &rest[head_end + 4..];
        let end = find(rest, border.as_bytes()).expect("a part ends with the border");
        let mut lines = head.split("\r\n");
        let disposition = lines.next().unwrap().strip_prefix("Content-Disposition: form-data; name=\"").unwrap();
        let (name, behind) = disposition.split_once('"').unwrap();
        let filename = behind.strip_prefix("; filename=\"").map(|text| text.strip_suffix('"').unwrap().to_string());
        let kind = lines.next().map(|line| line.strip_prefix("Content-Type: ").unwrap().to_string());
        assert_eq!(lines.next(), None, "a part has two lines at most: {head:?}");
        parts.push(Part { name: name.into(), filename, kind, bytes: rest[..end].to_vec() });
        rest = &rest[end + border.len()..];
        match rest {
            b"--\r\n" => return parts,
            _ => rest = rest.strip_prefix(b"\r\n").expect("the border ends its line"),
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
