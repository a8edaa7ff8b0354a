//! A server whose uploads grow from their beginning, by tus 1.0.0 or by the IETF's draft, written from the documents
//! alone and sharing no line with the program. A rule sees every request first and may answer in its place, lose the
//! answer, or break off; what every request must be is checked here.

use crate::peer::{Act, Asked, read};
use crate::world::Content;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use onward::digest::Algorithm;
use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the server speaks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Tongue {
    Tus,
    /// The IETF's protocol under this one interop number.
    Ietf(u8),
}

/// What the server is like.
#[derive(Clone)]
pub struct Ways {
    pub tongue: Tongue,
    /// The extensions announced, and a checksum algorithm by its name on the wire.
    pub extensions: &'static str,
    pub checksum: Option<(&'static str, Algorithm)>,
    /// The value of `Upload-Limit`.
    pub limit: &'static str,
}

pub const TUS: Ways =
    Ways { tongue: Tongue::Tus, extensions: "creation,termination,expiration", checksum: None, limit: "" };
pub const IETF: Ways = Ways { tongue: Tongue::Ietf(8), extensions: "", checksum: None, limit: "min-size=0" };

/// One upload as the server has it.
#[derive(Default)]
pub struct Upload {
    pub length: u64,
    pub bytes: Vec<u8>,
    pub complete: bool,
    pub gone: bool,
    pub metadata: BTreeMap<String, String>,
}

type Rule = Box<dyn FnMut(&Asked, usize) -> Act + Send>;

/// What the server knows and has seen.
pub struct Desk {
    ways: Ways,
    pub uploads: Vec<Upload>,
    pub log: Vec<Asked>,
    methods: BTreeMap<String, usize>,
    rule: Option<Rule>,
}

pub struct Peer {
    port: u16,
    desk: Arc<Mutex<Desk>>,
}

impl Peer {
    pub fn honest(ways: Ways) -> Self {
        Self::with(ways, |_, _| Act::Honest)
    }

    /// A server with a rule, which is given each request and how many of its method came before.
    pub fn with(ways: Ways, rule: impl FnMut(&Asked, usize) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule: Rule = Box::new(rule);
        let desk = Desk { ways, uploads: vec![], log: vec![], methods: BTreeMap::new(), rule: Some(rule) };
        let desk = Arc::new(Mutex::new(desk));
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
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    pub fn count(&self, method: &str) -> usize {
        self.desk().log.iter().filter(|asked| asked.method == method).count()
    }

    /// The lengths of the bodies that were sent.
    pub fn bodies(&self) -> Vec<u64> {
        let desk = self.desk();
        desk.log.iter().filter(|asked| asked.method == "PATCH").map(|asked| asked.body.len() as u64).collect()
    }

    /// Fails unless the last upload is complete and holds `content`.
    #[track_caller]
    pub fn stored(&self, content: &Content) {
        let desk = self.desk();
        let upload = desk.uploads.last().expect("nothing was begun");
        assert!(upload.complete, "the upload is not complete");
        assert!(upload.bytes == content.bytes(), "the server stored something else");
    }
}

fn talk(stream: TcpStream, desk: &Mutex<Desk>) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    while let Some(asked) = read(&mut from)? {
        let (act, reply) = {
            let mut desk = desk.lock().unwrap();
            let before = desk.methods.entry(asked.method.clone()).and_modify(|n| *n += 1).or_insert(1);
            let before = *before - 1;
            desk.log.push(asked.clone());
            let mut rule = desk.rule.take().unwrap();
            let act = rule(&asked, before);
            desk.rule = Some(rule);
            let seen = matches!(act, Act::Honest | Act::LoseAnswer | Act::Edit(_));
            let reply = seen.then(|| desk.answer(&asked));
            (act, reply)
        };
        let (status, headers, body) = match (act, reply) {
            (Act::Answer(status, headers, body), _) => (status, headers, body),
            (Act::Honest, Some((status, headers))) => (status, headers, String::new()),
            (Act::Edit(edit), Some((status, headers))) => (status, headers, edit(String::new())),
            _ => return Ok(()),
        };
        write!(to, "HTTP/1.1 {status} Told\r\n")?;
        for (name, value) in headers {
            write!(to, "{name}: {value}\r\n")?;
        }
        // As tusd does: the length of an upload, and no body.
        match (asked.method.as_str(), status) {
            ("HEAD", _) => write!(to, "Content-Length: 12345\r\n\r\n")?,
            (_, 204) => write!(to, "\r\n")?,
            _ => write!(to, "Content-Length: {}\r\n\r\n{body}", body.len())?,
        }
        to.flush()?;
    }
    Ok(())
}

type Reply = (u16, Vec<(&'static str, String)>);

impl Desk {
    fn answer(&mut self, asked: &Asked) -> Reply {
        if asked.method == "OPTIONS" {
            return self.announce();
        }
        match self.ways.tongue {
            Tongue::Tus if asked.headers.get("tus-resumable").map(String::as_str) != Some("1.0.0") => {
                return (412, vec![]);
            }
            Tongue::Ietf(number) if asked.headers.get("upload-draft-interop-version") != Some(&number.to_string()) => {
                return (400, vec![]);
            }
            _ => {}
        }
        let id = asked.path.rsplit('/').next().unwrap().strip_prefix("u-").and_then(|id| id.parse::<usize>().ok());
        let reply = match (asked.method.as_str(), id.filter(|id| self.uploads.get(*id).is_some_and(|u| !u.gone))) {
            ("POST", None) => self.create(asked),
            ("HEAD", Some(id)) => (200, self.standing(id)),
            ("PATCH", Some(id)) => self.append(id, asked),
            ("DELETE", Some(id)) => {
                self.uploads[id].gone = true;
                (204, vec![])
            }
            _ => (404, vec![]),
        };
        match self.ways.tongue {
            Tongue::Tus => (reply.0, [reply.1, vec![("Tus-Resumable", "1.0.0".into())]].concat()),
            Tongue::Ietf(_) => reply,
        }
    }

    fn announce(&self) -> Reply {
        match self.ways.tongue {
            Tongue::Tus => {
                let version = || "1.0.0".to_string();
                let mut fields = vec![("Tus-Resumable", version()), ("Tus-Version", version())];
                fields.push(("Tus-Extension", self.ways.extensions.into()));
                fields.extend(self.ways.checksum.map(|(name, _)| ("Tus-Checksum-Algorithm", name.into())));
                (204, fields)
            }
            Tongue::Ietf(_) => (204, vec![("Upload-Limit", self.ways.limit.into())]),
        }
    }

    fn create(&mut self, asked: &Asked) -> Reply {
        let mut upload =
            Upload { length: asked.headers["upload-length"].parse().unwrap(), complete: false, ..Upload::default() };
        let along = self.ways.extensions.contains("creation-with-upload");
        match asked.body.is_empty() {
            true => {}
            false => {
                assert!(along, "content that nobody asked for");
                assert_eq!(asked.headers["content-type"], "application/offset+octet-stream");
                upload.bytes = asked.body.clone();
            }
        }
        let held = upload.bytes.len();
        match self.ways.tongue {
            Tongue::Tus => {
                upload.complete = upload.length == 0;
                let told = asked.headers.get("upload-metadata").cloned().unwrap_or_default();
                for pair in told.split(',') {
                    let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
                    let value = String::from_utf8(STANDARD.decode(value).unwrap()).unwrap();
                    upload.metadata.insert(key.into(), value);
                }
            }
            Tongue::Ietf(_) => assert_eq!(asked.headers["upload-complete"], "?0"),
        }
        self.uploads.push(upload);
        // Relative, as the specification allows.
        let mut fields = vec![("Location", format!("u-{}", self.uploads.len() - 1))];
        match self.ways.tongue {
            Tongue::Tus => {
                fields.push(("Upload-Expires", "Wed, 25 Jun 2036 16:00:00 GMT".into()));
                fields.extend((held > 0).then(|| ("Upload-Offset", held.to_string())));
            }
            Tongue::Ietf(_) => {
                fields.extend([("Upload-Complete", "?0".into()), ("Upload-Limit", self.ways.limit.into())]);
            }
        }
        (201, fields)
    }

    fn standing(&self, id: usize) -> Vec<(&'static str, String)> {
        let upload = &self.uploads[id];
        let mut fields =
            vec![("Upload-Offset", upload.bytes.len().to_string()), ("Upload-Length", upload.length.to_string())];
        if self.ways.tongue != Tongue::Tus {
            fields.push(("Upload-Complete", if upload.complete { "?1" } else { "?0" }.into()));
        }
        fields
    }

    fn append(&mut self, id: usize, asked: &Asked) -> Reply {
        let checksum = self.ways.checksum;
        let tus = self.ways.tongue == Tongue::Tus;
        let upload = &mut self.uploads[id];
        let kind = if tus { "application/offset+octet-stream" } else { "application/partial-upload" };
        assert_eq!(asked.headers["content-type"], kind);
        if asked.headers["upload-offset"] != upload.bytes.len().to_string() {
            return (409, vec![("Upload-Offset", upload.bytes.len().to_string())]);
        }
        if let Some((name, algorithm)) = checksum {
            let (told, value) = asked.headers["upload-checksum"].split_once(' ').unwrap();
            assert_eq!(told, name);
            if Content::of(asked.body.clone()).hashed(algorithm).bytes != STANDARD.decode(value).unwrap() {
                return (460, vec![]);
            }
        }
        upload.bytes.extend_from_slice(&asked.body);
        assert!(upload.bytes.len() as u64 <= upload.length, "more than was announced");
        let full = upload.bytes.len() as u64 == upload.length;
        upload.complete = match tus {
            true => full,
            false => asked.headers["upload-complete"] == "?1",
        };
        assert!(!upload.complete || full, "the end is said before it is reached");
        let mut fields = vec![("Upload-Offset", upload.bytes.len().to_string())];
        if !tus {
            fields.push(("Upload-Complete", if upload.complete { "?1" } else { "?0" }.into()));
        }
        (204, fields)
    }
}
