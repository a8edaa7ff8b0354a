//! The client that speaks every form dialect: a page's upload endpoint, by a description of it
//! ([`crate::wire::dialect`]).
//!
//! An upload's session keeps what was frozen when it began: the chunk size, the id, what the server named, and which dialect it
//! was, to the letter. A record that was written under another wording of the dialect is not gone on with, because its
//! chunks would be numbered, named or cut in another way.

mod ask;
mod facts;
pub mod library;
mod send;

use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Digest};
use crate::fault::{Fault, Kind};
use crate::net::Net;
use crate::remote::{
    Answer, Closed, Destination, Early, Field, Habits, Manifest, Manner, Order, Part, Put, Remote, Repeat, Session,
    State, Terms,
};
use crate::wire::dialect::{self as wire, Dialect, Mode, Trust};
use crate::wire::mask::{self, Known};
use facts::{At, Facts};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::SystemTime;
use url::Url;

/// The protocol's name, in records and for people.
pub const NAME: &str = "dialect";

/// A dialect that the user has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// What it was called.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it is one of [`library`], so that a record need not hold the text.
    pub embedded: bool,
}

/// What is known since the upload was opened in this process.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    length: u64,
    modified: Option<SystemTime>,
}

/// What this run has seen.
#[derive(Default)]
struct Run {
    /// Whether a chunk was stored by this run.
    begun: bool,
    /// Whether a request is under way that says that this run goes on with an earlier one's upload.
    resuming: bool,
    /// How often in a row the server's next chunk was not further on.
    stuck: u32,
    /// The latest reply to a chunk.
    last: Option<wire::Reply>,
    /// The reply to the chunk that completed the file may have been missed.
    unseen: bool,
    /// The server said that the file is complete.
    done: bool,
    /// How often the server has asked to wait for the end.
    waited: u32,
    /// The empty chunk was stored.
    empty: bool,
    /// The session as the server has changed it in this run.
    latest: Option<Session>,
    /// Whether nobody was told of that yet.
    amended: bool,
}

/// The client's end, bound to one destination and one dialect.
pub struct Form {
    net: Rc<Net>,
    destination: Destination,
    base: Url,
    name: String,
    given: Given,
    dialect: Dialect,
    fields: Vec<Field>,
    variables: Vec<Field>,
    /// What must not be shown where the server repeats it.
    known: Known,
    part: Cell<u64>,
    /// The least that it can be: with smaller ones there would be more chunks than the server takes.
    least: Cell<u64>,
    /// Whether the chunk size belongs to an upload that was begun.
    frozen: bool,
    plan: Cell<Plan>,
    run: RefCell<Run>,
}

impl Form {
    /// The client for `destination`: of the dialect that `saved` was begun by, else of the one in `manner`.
    pub fn new(
        net: Rc<Net>,
        destination: Destination,
        saved: Option<&Session>,
        manner: &Manner,
    ) -> Result<Self, Fault> {
        let begun = saved.filter(|session| session.text("protocol").is_some());
        let given = match (begun.or(saved.filter(|_| manner.dialect.is_none())), &manner.dialect) {
            (Some(session), asked) => agreed(begun_by(session)?, asked.as_ref())?,
            (None, Some(asked)) => asked.clone(),
            (None, None) => return Err(Fault::new(Kind::Usage, "no dialect is given")),
        };
        let dialect = Dialect::parse(&given.text).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            let text = format!("the dialect {} cannot be read: {first}", given.name.escape_debug());
            Fault::new(Kind::Usage, text).hint("`onward dialects check FILE` tells all that is wrong with it")
        })?;
        let saved_part = begun.and_then(|session| session.number("part"));
        let part = saved_part.unwrap_or_else(|| dialect.chunks.fitting(manner.part.unwrap_or(dialect.chunks.size)));
        let base = match &destination.base {
            Some(base) => base.clone(),
            None => without_name(&destination.url)?,
        };
        let asked = |name: &&str| manner.variables.iter().any(|known| known.name == **name);
        if let Some(unknown) = dialect.variables().into_iter().find(|name| !asked(name)) {
            let dialect = given.name.escape_debug();
            let text = format!("the dialect {dialect} wants the variable {unknown}, and the command does not name it");
            // A record may be somebody else's: what it says is no reason to send a secret.
            return Err(Fault::new(Kind::Usage, text)
                .hint(format!("give the first command again, with --dialect and {unknown} set")));
        }
        let mut form = Self {
            name: super::name(&destination.url)?,
            part: Cell::new(part.max(1)),
            least: Cell::new(1),
            frozen: saved_part.is_some(),
            fields: manner.fields.clone(),
            variables: manner.variables.clone(),
            known: Known::default(),
            plan: Cell::default(),
            run: RefCell::default(),
            net,
            destination,
            base,
            given,
            dialect,
        };
        form.known = form.secrets();
        Ok(form)
    }

    /// The values of the user's own fields, and of variables in every shape in which they are sent.
    fn secrets(&self) -> Known {
        let mut known = Known::default();
        self.fields.iter().for_each(|field| known.add(&field.value));
        let (session, plain) = (Session::default(), self.variables.iter().map(|variable| variable.value.clone()));
        let facts = self.facts(&session, None, None);
        let sent = self.dialect.templates().into_iter().flat_map(|template| template.secrets(&facts));
        plain.chain(sent).for_each(|value| known.add_everywhere(&value));
        known
    }

    /// Which chunk begins at `offset`.
    fn index_of(&self, offset: u64) -> u64 {
        (offset / self.part.get()).min(self.count().saturating_sub(1))
    }

    /// How many chunks there are, without an empty one at the end.
    fn count(&self) -> u64 {
        self.dialect.count(self.plan.get().length, self.part.get())
    }

    /// The bytes of a chunk.
    fn range(&self, index: u64) -> ByteRange {
        let (part, length) = (self.part.get(), self.plan.get().length);
        let start = index.saturating_mul(part).min(length);
        let end = if index + 1 >= self.count() { length } else { start.saturating_add(part).min(length) };
        ByteRange::new(start, end)
    }

    fn facts<'a>(&'a self, session: &'a Session, last: Option<&'a wire::Reply>, at: Option<At<'a>>) -> Facts<'a> {
        let first = match self.dialect.chunks.first {
            wire::First::Run => !self.run.borrow().begun,
            wire::First::Transfer => at.is_none_or(|at| at.range.start == 0),
        };
        Facts {
            dialect: &self.dialect,
            name: &self.name,
            id: session.text("id").unwrap_or_default(),
            uuid: session.text("uuid").unwrap_or_default(),
            hash: session.text("hash"),
            captured: session.0.get(ask::CAPTURED).and_then(toml::Value::as_table),
            size: self.plan.get().length,
            chunk: self.part.get(),
            modified: self.plan.get().modified,
            variables: &self.variables,
            last: last.and_then(|reply| reply.json.as_ref()),
            first,
            resumes: false,
            at,
        }
    }

    /// Whether a chunk that is sent twice is stored twice.
    fn appends(&self) -> bool {
        self.dialect.chunks.repeat != wire::Repeat::Safe
    }

    fn is_by_offset(&self) -> bool {
        self.dialect.is_by_offset()
    }
}

/// The dialect of a session: by its text, or by its name where it is one of ours and still the same.
fn begun_by(saved: &Session) -> Result<Given, Fault> {
    let name = saved.text("dialect").unwrap_or_default();
    if let Some(text) = saved.text("text") {
        return Ok(Given { name: name.into(), text: text.into(), embedded: false });
    }
    // What is begun anew has no wording to keep to.
    let same = |text: &&str| saved.text("digest").is_none_or(|digest| digest == library::mark(text));
    let ours = library::text(name).filter(same);
    let ours = ours.map(|text| Given { name: name.into(), text: text.into(), embedded: true });
    ours.ok_or_else(|| {
        let text = format!("this upload was begun by another wording of the dialect {}", name.escape_debug());
        Fault::new(Kind::Other, text)
            .hint("continue it with the version of onward that began it, or send the file anew with --restart")
    })
}

/// The dialect an upload was begun by, if it is the one asked for now.
fn agreed(begun: Given, asked: Option<&Given>) -> Result<Given, Fault> {
    match asked {
        Some(asked) if asked.text != begun.text => {
            let (was, now) = (begun.name.escape_debug(), asked.name.escape_debug());
            let what = if begun.name == asked.name { "another wording of" } else { "another dialect than" };
            let text = format!("this upload was begun by the dialect {was}: {what} {now}");
            Err(Fault::new(Kind::Usage, text).hint("`onward resume` goes on as it was begun; --restart forgets that"))
        }
        _ => Ok(begun),
    }
}

/// A file's URL without its name.
fn without_name(url: &Url) -> Result<Url, Fault> {
    let mut base = url.clone();
    base.path_segments_mut().map_err(|()| Fault::new(Kind::Usage, "the destination has no path"))?.pop();
    Ok(base)
}

impl Remote for Form {
    fn protocol(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> String {
        format!("the dialect {}", self.given.name.escape_debug())
    }

    fn place(&self) -> Url {
        self.base.clone()
    }

    fn expect(&self, length: u64) {
        let most = self.dialect.chunks.max_count;
        let part = self.part.get();
        if !self.frozen && most > 0 {
            self.least.set(length.div_ceil(most).next_multiple_of(self.dialect.chunks.multiple));
            if self.dialect.count(length, part) > most {
                self.part.set(self.least.get().max(part));
            }
        }
    }

    fn halve(&self) -> bool {
        let half = self.dialect.chunks.fitting(self.part.get() / 2);
        let less = half < self.part.get() && half >= self.least.get();
        if less {
            self.part.set(half);
        }
        less
    }

    fn terms(&self) -> Terms {
        let (chunks, part) = (&self.dialect.chunks, self.part.get());
        let by_offset = self.is_by_offset();
        let safe = !self.appends();
        Terms {
            order: match chunks.order {
                wire::Order::Sequential => Order::Sequential,
                wire::Order::Any | wire::Order::LastLast => Order::Any,
            },
            part: 1..=part,
            multiple: 1,
            uniform: (!by_offset).then_some(part),
            // Of a form that is cut on its way nothing counts.
            keeps_cut: by_offset && self.dialect.send.call.coding == wire::Coding::Raw,
            chunk: Some(part),
            chunk_max: None,
            parallel: chunks.parallel,
            replace: safe && self.dialect.identity.hash.is_none(),
            repeat: if safe { Repeat::Safe } else { Repeat::Appends },
            file_max: None,
        }
    }

    fn habits(&self) -> Habits {
        let chunks = &self.dialect.chunks;
        let have = self.dialect.have.as_ref();
        Habits {
            merged: chunks.tail == wire::Tail::Merged,
            last_last: chunks.order == wire::Order::LastLast,
            // What goes by a name alone may be another's: neither content nor an upload of ours stands behind the yes.
            unproven: have.is_some_and(|have| match have.trust {
                Trust::Exists => true,
                Trust::Size => self.dialect.create.is_none() && self.dialect.send.capture.is_empty(),
                Trust::Hash => false,
            }),
            silent: have.is_none(),
            begins_anew: chunks.repeat == wire::Repeat::Append && have.is_none(),
            early: self.dialect.identity.hash.map(|hash| Early { algorithm: hash.algorithm, first: hash.first }),
        }
    }

    fn end_is_unknown(&self, session: &Session) -> bool {
        session.text(ask::ENDING) == Some("yes") && !self.tells_complete()
    }

    fn prepare(&self) -> Session {
        let session = Session::default()
            .with("protocol", NAME)
            .with("dialect", &self.given.name)
            .with("uuid", facts::uuid())
            .with("part", self.part.get().to_string());
        let session = match self.given.embedded {
            true => session.with("digest", library::mark(&self.given.text)),
            false => session.with("text", &self.given.text),
        };
        // A secret in the destination must be given again; without it there is nowhere to go on.
        match mask::has_secret(&self.base) {
            true => session,
            false => session.with("endpoint", self.base.as_str()),
        }
    }

    fn needs(&self) -> Vec<String> {
        let fields = self.fields.iter().map(|field| format!("field:{}", field.name));
        let variables = self.dialect.variables().into_iter().map(|name| format!("env:{name}"));
        let url = mask::has_secret(&self.base).then(|| "url".into());
        fields.chain(variables).chain(url).collect()
    }

    fn amended(&self) -> Option<Session> {
        let mut run = self.run.borrow_mut();
        std::mem::take(&mut run.amended).then(|| run.latest.clone()).flatten()
    }

    fn open<'a>(&'a self, session: &'a Session, manifest: &'a Manifest) -> Answer<'a, (Session, State)> {
        self.plan.set(Plan { length: manifest.layout.length(), modified: manifest.modified });
        self.run.borrow_mut().latest = None;
        Box::pin(self.begin(session, manifest))
    }

    fn held<'a>(&'a self, session: &'a Session) -> Answer<'a, State> {
        Box::pin(self.standing(session))
    }

    fn put<'a>(&'a self, session: &'a Session, part: &'a Part) -> Answer<'a, Put> {
        Box::pin(self.send_part(session, part))
    }

    fn close<'a>(&'a self, session: &'a Session, _: &'a [Digest], _: &'a [Algorithm]) -> Answer<'a, Closed> {
        Box::pin(self.end(session))
    }

    fn abandon<'a>(&'a self, session: &'a Session) -> Answer<'a, ()> {
        Box::pin(self.forget(session))
    }
}
