//! How tus uploads are made, and joined: which URL they are made at, what is told of the file, and what becomes of a
//! server that announces more than it does.

use super::{LEAST_SPLIT, MOST_SPLIT, Tus};
use crate::fault::{Fault, Kind};
use crate::remote::Part;
use crate::remote::answer::Answered;
use crate::remote::endpoint::{BY_PATH, name_at};
use crate::remote::{Closed, Held, Manifest, Session, Standing, State};
use crate::wire::tus::{self as wire, Concat, Metadata};
use http::Method;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use std::time::SystemTime;
use url::Url;

/// Under this key a session says that its parts are being joined, or were.
pub const JOINING: &str = "joining";

/// Where the complete file of an upload made by its path shows, on a server whose uploads are gone once complete.
pub fn file_of(url: &Url) -> Option<Url> {
    let (front, path) = url.path().split_once(BY_PATH)?;
    let mut file = url.clone();
    file.set_path(&format!("{front}/{path}"));
    Some(file)
}

impl Tus {
    /// Makes the upload. The session to save from now on holds where it is.
    pub(super) async fn begin(&self, session: &Session, manifest: &Manifest) -> Result<(Session, State), Fault> {
        if let Some(opened) = self.ready_made(session, manifest).await? {
            return Ok(opened);
        }
        let count = manifest.layout.count();
        let may_split = self.may_split() && (LEAST_SPLIT..=4 * MOST_SPLIT).contains(&count);
        if may_split && let Some(session) = self.make_parts(session, manifest).await? {
            self.split.set(Some(true));
            return Ok((session, opened(0)));
        }
        self.split.set(Some(false));
        let made = match self.make_with_front(session, manifest).await {
            // A file of that name is there.
            Err(fault) if fault.status == Some(409) => return Ok((session.clone(), State::Taken(None, fault))),
            other => other?,
        };
        let (answer, url, endpoint) = made;
        let offset = wire::offset(&answer.fields).unwrap_or(0).min(manifest.layout.length());
        let session = begun(session, &answer, &endpoint).with("upload", url.as_str());
        Ok((session, opened(offset)))
    }

    /// The destination may be an upload already: some services make it and hand out its URL.
    async fn ready_made(&self, session: &Session, manifest: &Manifest) -> Result<Option<(Session, State)>, Fault> {
        let url = &self.destination.url;
        let exact = self.destination.base.as_ref().is_none_or(|base| base == url) && !url.path().ends_with('/');
        if !exact || url.path().contains(BY_PATH) {
            return Ok(None);
        }
        let answer = self.send(self.request(Method::HEAD, url.clone())).await?;
        let Some(offset) = wire::offset(&answer.fields).filter(|_| answer.status.is_success()) else { return Ok(None) };
        let length = manifest.layout.length();
        if let Some(wire::Length::Known(told)) =
            wire::length(&answer.fields).filter(|told| *told != wire::Length::Known(length))
        {
            let text = format!("the upload at this URL was made for {told} bytes, and the file has {length}");
            return Err(Fault::new(Kind::Refused, text).hint("ask the service for another upload URL"));
        }
        if offset > 0 {
            let text = format!("the upload at this URL already holds {offset} bytes, and nothing shows whose they are");
            return Err(Fault::new(Kind::Refused, text).hint("ask the service for another upload URL"));
        }
        self.split.set(Some(false));
        self.deferred.set(wire::length(&answer.fields) == Some(wire::Length::Deferred));
        let session = begun(session, &answer, url).with("upload", url.as_str()).with("given", "yes");
        Ok(Some((session, opened(0))))
    }

    /// Makes one upload for each chunk. `None`: the server cannot after all, and the file goes in one piece.
    async fn make_parts(&self, session: &Session, manifest: &Manifest) -> Result<Option<Session>, Fault> {
        let (mut urls, mut saved): (Vec<Url>, _) = (Vec::new(), session.clone());
        for index in 0..manifest.layout.count() {
            let length = manifest.layout.range(index).len();
            match self.make(&saved, manifest, length, Some(&Concat::Partial), None).await {
                Ok((answer, url, endpoint)) => {
                    if index == 0 {
                        saved = begun(&saved, &answer, &endpoint);
                    }
                    urls.push(url);
                }
                Err(fault) if index == 0 && matches!(fault.status, Some(400..=405 | 501)) => return Ok(None),
                Err(fault) => return Err(fault),
            }
            if index == 0 && !self.is_partial(urls[0].clone()).await? {
                // It ignored the wish: such a server would not join anything either.
                let made = session.clone().with("upload", urls[0].as_str());
                let _ = self.forget(&made).await;
                return Ok(None);
            }
        }
        let urls = urls.into_iter().map(|url| toml::Value::String(url.into())).collect();
        saved.0.insert("parts".into(), toml::Value::Array(urls));
        Ok(Some(saved))
    }

    async fn is_partial(&self, url: Url) -> Result<bool, Fault> {
        let answer = self.send(self.request(Method::HEAD, url)).await?;
        Ok(answer.field(wire::CONCAT).and_then(Concat::parse) == Some(Concat::Partial))
    }

    /// Makes the upload with the first bytes of the file in it, where there are any to go along and the server takes
    /// them; else with nothing in it. They are never all of the file: a lost answer would leave it there complete, and
    /// nobody would know.
    async fn make_with_front(&self, session: &Session, manifest: &Manifest) -> Result<(Answered, Url, Url), Fault> {
        let (front, length) = (self.front.take(), manifest.layout.length());
        if let Some(front) = front.filter(|front| front.range.end < length) {
            match self.make(session, manifest, length, None, Some(&front)).await {
                Err(fault)
                    if matches!(fault.status, Some(400..=499)) && !matches!(fault.status, Some(401 | 407 | 409)) => {}
                other => return other,
            }
        }
        self.make(session, manifest, length, None, None).await
    }

    /// Joins the parts, unless they may be joined already: a second request would make a second file.
    pub(super) async fn join_once(&self, session: &Session) -> Result<Closed, Fault> {
        if self.joined.get() {
            return match self.settled_elsewhere(session).await? {
                State::Done(published) => Ok(Closed::Published(published)),
                _ => {
                    let text = "the server was told to join the parts, and its answer was lost: the file may be there";
                    Err(Fault::new(Kind::Unknown, text).hint("look at the server; --restart sends the file anew"))
                }
            };
        }
        self.joined.set(true);
        let closed = self.join(session).await;
        // It may have said no: then nothing was joined, and nothing will be.
        self.joined.set(closed.is_ok());
        closed
    }

    /// The session without the mark of [`JOINING`], where nothing was told to be joined after all.
    pub(super) fn unmarked(&self, session: &Session) -> Option<Session> {
        let mut session = session.clone();
        let marked = session.0.remove(JOINING).is_some();
        (marked && !self.joined.get()).then_some(session)
    }

    /// Joins the uploads of all chunks.
    async fn join(&self, session: &Session) -> Result<Closed, Fault> {
        let parts = session.0.get("parts").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let urls: Vec<Url> = parts.iter().filter_map(|part| part.as_str()?.parse().ok()).collect();
        let endpoint = self.endpoints.first().unwrap_or(&self.destination.url);
        // Paths say the same in fewer bytes, where it is the same server.
        let path = |url: &Url| match crate::net::same_origin(url, endpoint) {
            true => url[url::Position::BeforePath..].to_string(),
            false => url.to_string(),
        };
        let whole = Concat::Final(urls.iter().map(path).collect());
        let manifest =
            Manifest { name: session.text("name").unwrap_or_default().into(), ..Manifest::of(self.layout()) };
        match self.make(session, &manifest, self.layout().length(), Some(&whole), None).await {
            Ok((_, url, _)) => {
                let counted = matches!(self.look(url.clone(), self.layout().length()).await, Ok(Some(offset)) if offset == self.layout().length());
                let shows = counted || matches!(self.settled_elsewhere(session).await, Ok(State::Done(_)));
                let place = file_of(&self.destination.url).unwrap_or(url);
                let mut published = self.published(place);
                published.shows = published.shows.filter(|_| shows);
                Ok(Closed::Published(published))
            }
            Err(fault) if fault.kind == Kind::Network || matches!(fault.status, Some(500 | 502 | 504..)) => {
                Ok(Closed::Ambiguous(Fault { kind: Kind::Network, ..fault }))
            }
            Err(fault) => Err(fault
                .kept("the server keeps all parts")
                .hint("it does not join what it took; with --restart -x 1 the file goes in one piece")),
        }
    }

    /// Makes one upload: its first answer, its URL, and the endpoint that made it.
    async fn make(
        &self,
        session: &Session,
        manifest: &Manifest,
        length: u64,
        concat: Option<&Concat>,
        front: Option<&Part>,
    ) -> Result<(Answered, Url, Url), Fault> {
        let saved =
            session.text("endpoint").filter(|_| session.text("begun").is_some()).and_then(|url| url.parse().ok());
        let endpoints = saved.map_or_else(|| self.endpoints.clone(), |endpoint| vec![endpoint]);
        let mut last = None;
        for endpoint in endpoints {
            let mut request = self.request(Method::POST, endpoint.clone());
            if !matches!(concat, Some(Concat::Final(_))) {
                request = request.header(HeaderName::from_static(wire::LENGTH), length.to_string());
            }
            if let Some(concat) = concat {
                request = request.header(HeaderName::from_static(wire::CONCAT), concat.to_string());
            }
            if concat != Some(&Concat::Partial) {
                let metadata = self.metadata(session, &endpoint, manifest);
                request = request.header(HeaderName::from_static(wire::METADATA), metadata.to_string());
            }
            if let Some(front) = front {
                request = request.header(CONTENT_TYPE, wire::CONTENT_TYPE).body(front.body());
            }
            let answer = self.send(request).await?;
            // Some servers say where it is also when the rest of the answer is a failure: it was made.
            let location = answer.field(LOCATION.as_str()).and_then(|told| answer.url.join(told.trim()).ok());
            match (answer.code(), location) {
                (200..=299 | 500..=599, Some(url)) => return Ok((answer, url, endpoint)),
                (200..=299, None) => {
                    let text = format!("{} took the upload and does not say where it is", answer.place());
                    return Err(Fault::new(Kind::Other, text));
                }
                (404 | 405, _) => last = Some(answer.fault("take")),
                (413, _) => return Err(answer.fault("take").hint("the whole file is too large for it")),
                _ => return Err(answer.fault("take")),
            }
        }
        Err(last.unwrap_or_else(|| Fault::new(Kind::Other, "there is no URL at which the upload could be made")))
    }

    /// What is told of the file: its name, its type, and what the user says.
    fn metadata(&self, session: &Session, endpoint: &Url, manifest: &Manifest) -> Metadata {
        let name = name_at(endpoint, &self.destination, &manifest.name);
        let mut metadata = Metadata::default();
        metadata.set("filetype", crate::wire::media_type::of_name(&name));
        metadata.set("filename", name);
        let given = session.text("metadata").and_then(Metadata::parse).unwrap_or_default();
        for (key, value) in given.0 {
            metadata.set(&key, value);
        }
        metadata
    }

    /// What the user says of the file, as a field has it.
    pub(super) fn own_metadata(&self) -> String {
        let mut metadata = Metadata::default();
        for (key, value) in &self.manner.metadata {
            metadata.set(key, value.as_bytes());
        }
        metadata.to_string()
    }
}

fn opened(offset: u64) -> State {
    State::Open(Standing { held: Held::Prefix(offset), joined: false, claim: None })
}

/// The session with what its making has shown: when it was, by the server's clock, and where.
fn begun(session: &Session, answer: &Answered, endpoint: &Url) -> Session {
    let clock = answer.field("date").and_then(crate::wire::validator::instant).unwrap_or_else(SystemTime::now);
    let time = humantime::format_rfc3339_seconds(clock).to_string();
    session.clone().with("begun", time).with("endpoint", endpoint.as_str())
}
