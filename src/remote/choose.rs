//! Which protocol it is: what an earlier run has begun by, what the user asks for, what the server announces. This is
//! the one place where that is decided; nobody else asks.

use super::{Announced, Destination, Remote, Session, folder, handshake};
use crate::fault::{Fault, Kind};
use crate::net::{Lane, Net, Request, Response, login_hint};
use crate::wire::retry_after;
use http::HeaderMap;
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
}

impl Protocol {
    /// All of them, in the order in which they are preferred where a server speaks several.
    pub const ALL: [Self; 1] = [Self::Handshake];

    /// Its name: on the command line, in records and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => handshake::NAME,
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
}

/// What a server speaks, as far as it was asked.
type Found = (Protocol, Announced);

/// Finds the remotes of a run. Each destination is asked once what it speaks, however many files go into it.
pub struct Remotes {
    net: Rc<Net>,
    manner: Manner,
    /// Held while one asks: the others wait for that answer instead of asking too.
    known: Mutex<HashMap<Url, Found>>,
}

impl Remotes {
    /// Nothing was asked yet.
    pub fn new(net: Rc<Net>, manner: Manner) -> Self {
        Self { net, manner, known: Mutex::default() }
    }

    /// The remote for a destination: by the saved session's protocol where there is one, else by what the user wants,
    /// else by what the server announces when it is asked (`OPTIONS`). A saved session without a protocol is one to be
    /// begun anew: only where to begin it is known (`endpoint`).
    pub async fn choose(&self, mut destination: Destination, saved: Option<&Session>) -> Result<Rc<dyn Remote>, Fault> {
        let endpoint = saved.and_then(|session| session.text("endpoint")?.parse().ok());
        destination.base = destination.base.or(endpoint);
        let (protocol, announced) = match saved.and_then(|session| session.text("protocol")) {
            Some(name) => (known(name)?, Announced { folder: folder(&destination.url)?, fields: HeaderMap::new() }),
            None => self.announced(&destination).await?,
        };
        let net = self.net.clone();
        Ok(match protocol {
            Protocol::Handshake => Rc::new(handshake::Handshake::new(net, destination, &announced)?),
        })
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
            Wish::Auto => Err(unknown(destination, &first)),
        }
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
