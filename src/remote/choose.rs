//! Which protocol it is: what an earlier run has begun by, what the user asks for, what the server announces. This is
//! the one place where that is decided; nobody else asks.

use super::{Announced, Destination, Field, Remote, Session, dav, dialect, folder, handshake, rufh, tus, up2k};
use crate::fault::{Fault, Kind};
use crate::memory::shelves::Shelves;
use crate::net::{Lane, Net, Request, Response, login_hint};
use crate::wire::retry_after;
use crate::wire::rufh::Interop;
use http::HeaderMap;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;
use tokio::sync::Mutex;
use url::Url;

/// The protocols there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The chunk-index handshake of `onward serve`.
    Handshake,
    /// tus 1.0.0.
    Tus,
    /// The IETF's resumable upload, a draft.
    Ietf,
    /// copyparty's up2k.
    Up2k,
    /// `PATCH` with `X-Update-Range`: SabreDAV, dufs.
    Patch,
    /// `PUT` with `Content-Range`: Apache's mod_dav, lighttpd.
    PutRange,
    /// Plain `PUT`.
    Put,
}

impl Protocol {
    /// All of them, in the order in which they are preferred where a server speaks several.
    pub const ALL: [Self; 7] =
        [Self::Handshake, Self::Tus, Self::Ietf, Self::Up2k, Self::Patch, Self::PutRange, Self::Put];

    /// Its name: on the command line, in records and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => handshake::NAME,
            Self::Tus => tus::NAME,
            Self::Ietf => rufh::NAME,
            Self::Up2k => up2k::NAME,
            Self::Patch => dav::PATCH,
            Self::PutRange => dav::PUT_RANGE,
            Self::Put => dav::PUT,
        }
    }

    /// The protocol of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Whether a reply to `OPTIONS` announces it.
    fn is_announced(self, fields: &HeaderMap) -> bool {
        match self {
            Self::Handshake => handshake::announced(fields),
            Self::Tus => tus::announced(fields),
            Self::Ietf => rufh::announced(fields),
            // File servers announce less than is needed to know: they are tried when nothing better is announced.
            Self::Up2k | Self::Patch | Self::PutRange | Self::Put => false,
        }
    }
}

/// Which protocol the user wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wish {
    /// Whichever the server announces.
    #[default]
    Auto,
    /// This one, whatever it announces.
    Only(Protocol),
}

/// How the user wants servers to be spoken to, for all files of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// By which protocol.
    pub protocol: Wish,
    /// What is told of the files beside their name and type (`--metadata`).
    pub metadata: Vec<(String, String)>,
    /// The drafts of the IETF's protocol to try, the newest first; those known here when empty.
    pub interop: Vec<Interop>,
    /// Connections a file, where a number is asked for: a protocol that has to be begun in several pieces to use them is
    /// begun so only where they are wanted.
    pub connections: Option<u32>,
    /// By which form dialect, in place of a protocol.
    pub dialect: Option<dialect::Given>,
    /// Fields that go into every form.
    pub fields: Vec<Field>,
    /// The variables of the environment that the dialect asks for, with their values.
    pub variables: Vec<Field>,
    /// The size of a form's chunk, where one is asked for, in bytes.
    pub part: Option<u64>,
}

/// What a server speaks, as far as it was asked.
type Found = (Protocol, Announced);

/// Finds the remotes of a run. Each destination is asked once what it speaks, however many files go into it.
pub struct Remotes {
    net: Rc<Net>,
    manner: Manner,
    /// Held while one asks: the others wait for that answer instead of asking too.
    known: Mutex<HashMap<Url, Found>>,
    /// What file servers have proven, by folder.
    proven: RefCell<HashMap<Url, dav::Proof>>,
    /// What they have proven in earlier runs.
    shelves: Shelves,
}

impl Remotes {
    /// Nothing was asked yet.
    pub fn new(net: Rc<Net>, manner: Manner) -> Self {
        Self { net, manner, known: Mutex::default(), proven: RefCell::default(), shelves: Shelves::of_this_run() }
    }

    /// The same, with what was learned in earlier runs, and kept for later ones.
    pub fn remembering(self) -> Self {
        Self { shelves: Shelves::default(), ..self }
    }

    /// The remote for a destination: by the saved session's protocol where there is one, else by what the user wants,
    /// else by what the server announces when it is asked (`OPTIONS`). A saved session without a protocol is one to be
    /// begun anew: only where to begin it is known (`endpoint`).
    pub async fn choose(&self, mut destination: Destination, saved: Option<&Session>) -> Result<Rc<dyn Remote>, Fault> {
        let endpoint = saved.and_then(|session| session.text("endpoint")?.parse().ok());
        destination.base = destination.base.or(endpoint);
        if self.is_form(saved)? {
            return Ok(Rc::new(dialect::Form::new(self.net.clone(), destination, saved, &self.manner)?));
        }
        let (protocol, announced) = match saved.and_then(|session| session.text("protocol")) {
            Some(name) => (known(name)?, Announced { folder: folder(&destination.url)?, fields: HeaderMap::new() }),
            None => self.announced(&destination).await?,
        };
        let (net, manner) = (self.net.clone(), self.manner.clone());
        Ok(match protocol {
            Protocol::Handshake => Rc::new(handshake::Handshake::new(net, destination, &announced)?),
            Protocol::Ietf => Rc::new(rufh::Ietf::new(net, destination, &manner, &announced.fields, saved)),
            Protocol::Tus => Rc::new(tus::Tus::new(net, destination, manner, &announced.fields, saved)),
            Protocol::Up2k => Rc::new(up2k::Up2k::new(net, destination, &announced)?),
            Protocol::Patch | Protocol::PutRange | Protocol::Put => {
                let proof = match saved.and_then(dav::Proof::of) {
                    Some(proof) => proof,
                    None => self.proof(protocol, &destination, &announced).await?,
                };
                dav::connect(dav::Shelf::new(net, destination, announced.folder), protocol.name(), proof)?
            }
        })
    }

    /// What the file server that answered can do: proven, or for a plain `PUT` announced.
    async fn proof(
        &self,
        protocol: Protocol,
        destination: &Destination,
        announced: &Announced,
    ) -> Result<dav::Proof, Fault> {
        let proven = self.proven.borrow().get(&announced.folder).copied();
        match proven {
            Some(proof) => Ok(proof),
            None if protocol == Protocol::Put => Ok(dav::Proof::announced(&announced.fields)),
            None => self.prove(destination, announced).await,
        }
    }

    async fn prove(&self, destination: &Destination, announced: &Announced) -> Result<dav::Proof, Fault> {
        let (host, said) = (announced.folder.origin().ascii_serialization(), dav::fingerprint(&announced.fields));
        let known = self.shelves.get(&host, &said).and_then(|known| dav::Proof::from_words(&known.way, known.moves));
        let proof = match known {
            Some(proof) => proof,
            None => {
                let shelf = dav::Shelf::new(self.net.clone(), destination.clone(), announced.folder.clone());
                let proof = dav::prove(&shelf, &announced.fields).await?;
                self.shelves.learn(&host, &said, proof.way.map(dav::Way::name), proof.moves);
                proof
            }
        };
        self.proven.borrow_mut().insert(announced.folder.clone(), proof);
        Ok(proof)
    }

    /// What to speak to a server that announces no protocol for uploads, but may be a file server.
    async fn file_server(&self, destination: &Destination, first: Response) -> Result<Found, Fault> {
        let announced = Announced { folder: first.url.clone(), fields: first.headers.clone() };
        let fields = &announced.fields;
        let protocol = match first.status.as_u16() {
            200..=299 if up2k::speaks(&self.net, destination, &announced.folder, fields).await? => Protocol::Up2k,
            200..=299 if dav::announced(fields) => {
                let proof = self.prove(destination, &announced).await?;
                Protocol::from_name(proof.protocol()).unwrap_or(Protocol::Put)
            }
            200..=299 if dav::allows(fields, "PUT") => Protocol::Put,
            // It does not know the question, which says nothing about PUT.
            405 | 501 => Protocol::Put,
            _ => return Err(unknown(destination, &first)),
        };
        Ok((protocol, announced))
    }

    /// Whether it is a form dialect: those announce nothing, so only a person or a record can say so.
    fn is_form(&self, saved: Option<&Session>) -> Result<bool, Fault> {
        let begun = saved.and_then(|session| session.text("protocol"));
        match (begun, &self.manner.dialect) {
            (Some(name), Some(asked)) if name != dialect::NAME => {
                let asked = asked.name.escape_debug();
                let text = format!("this upload was begun by the protocol {name:?}, not by the dialect {asked}");
                Err(Fault::new(Kind::Usage, text).hint("--restart forgets what was begun"))
            }
            (Some(name), _) => Ok(name == dialect::NAME),
            (None, asked) => Ok(asked.is_some() || saved.is_some_and(|session| session.text("dialect").is_some())),
        }
    }

    async fn announced(&self, destination: &Destination) -> Result<Found, Fault> {
        let key = destination.base.as_ref().unwrap_or(&destination.url).clone();
        let mut known = self.known.lock().await;
        if let Some(found) = known.get(&key) {
            return Ok(found.clone());
        }
        let found = self.discover(destination).await?;
        known.insert(key, found.clone());
        Ok(found)
    }

    /// Asks the destination's folder what it speaks, then the destination itself.
    async fn discover(&self, destination: &Destination) -> Result<Found, Fault> {
        let folder = folder(&destination.url)?;
        let answer = self.ask(destination, folder.clone()).await?;
        if let Some(protocol) = self.wanted(&answer.headers) {
            return Ok((protocol, Announced { folder: answer.url, fields: answer.headers }));
        }
        let (first, base) = (answer, destination.base.as_ref().filter(|base| **base != folder));
        if let Some(base) = base {
            let answer = self.ask(destination, base.clone()).await?;
            // The handshake has folders: asked at a file's own URL it has nothing to say.
            if let Some(protocol) = self.wanted(&answer.headers).filter(|protocol| *protocol != Protocol::Handshake) {
                return Ok((protocol, Announced { folder: answer.url, fields: answer.headers }));
            }
        }
        match self.manner.protocol {
            Wish::Only(protocol) => Ok((protocol, Announced { folder: first.url, fields: first.headers })),
            Wish::Auto => match is_hosted(destination) || self.is_ready_made(destination).await? {
                true => Ok((Protocol::Tus, Announced { folder: first.url, fields: HeaderMap::new() })),
                false => self.file_server(destination, first).await,
            },
        }
    }

    /// Whether the destination is an upload that a service has made and handed out the URL of.
    async fn is_ready_made(&self, destination: &Destination) -> Result<bool, Fault> {
        let url = destination.url.clone();
        if destination.base.as_ref().is_some_and(|base| *base != url) {
            return Ok(false);
        }
        let (name, version) = tus::VERSION_FIELD;
        let request = Request::new(http::Method::HEAD, url).header(name, version).lane(Lane::Own);
        let answer = self.net.fetch(request, &destination.access, &mut |_, _, _| {}).await?;
        Ok(answer.status.is_success() && tus::is_upload(&answer.headers))
    }

    async fn ask(&self, destination: &Destination, url: Url) -> Result<Response, Fault> {
        let request = Request::new(http::Method::OPTIONS, url).lane(Lane::Own);
        self.net.fetch(request, &destination.access, &mut |_, _, _| {}).await
    }

    /// The protocol to speak to a server that announces `fields`.
    fn wanted(&self, fields: &HeaderMap) -> Option<Protocol> {
        let announced = |protocol: &Protocol| protocol.is_announced(fields);
        match self.manner.protocol {
            Wish::Auto => Protocol::ALL.into_iter().find(announced),
            Wish::Only(protocol) => Some(protocol).filter(announced),
        }
    }
}

/// Whether the destination is known to take uploads by tus, whatever it announces.
fn is_hosted(destination: &Destination) -> bool {
    tus::is_hosted(destination.base.as_ref().unwrap_or(&destination.url))
}

/// The protocol that an earlier run has begun by.
fn known(name: &str) -> Result<Protocol, Fault> {
    Protocol::from_name(name).ok_or_else(|| {
        let text = format!("this upload was begun by the protocol {name:?}, which this onward does not speak");
        Fault::new(Kind::Other, text).hint("continue it with the version of onward that began it")
    })
}

/// The fault that an answer means which announces nothing.
fn unknown(destination: &Destination, answer: &Response) -> Fault {
    let (status, place) = (answer.status.as_u16(), crate::net::shown(&destination.url));
    let wait = retry_after::wait(&answer.headers, SystemTime::now());
    match status {
        401 | 403 | 407 | 451 => Fault::status(status, format!("{place} is not open to us: it answered {status}"))
            .hint(login_hint(&answer.headers, destination.access.is_login())),
        408 | 425 | 429 | 500 | 502..=504 => {
            Fault::status(status, format!("{place} answered {status} when asked what it speaks")).wait(wait)
        }
        _ => Fault::new(
            Kind::Refused,
            format!("{place} takes no uploads that this onward knows how to make (it answered {status})"),
        )
        .hint("start `onward serve DIR` at the other end, check the URL, or name the --protocol"),
    }
}
