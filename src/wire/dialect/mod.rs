//! Dialects: how a web page's upload endpoint wants to be talked to, as data.
//!
//! Behind the upload buttons of the world stand endpoints that take numbered chunks in forms, each with names of its own.
//! One TOML file describes one of them: how the file is cut, what identifies it, what to ask first, how a chunk is sent and
//! what the answer means. Here are the values and their text; [`crate::remote`] has the one client that runs them all.

mod curl;
mod draft;
mod parse;
mod read;
mod reply;
mod template;

pub use curl::Asked;
pub use draft::draft;
pub use read::Problem;
pub use reply::{Parse, Place, Predicate, Reply, Statuses, Wanted, at, fits_any, words};
pub use template::{Flag, Key, Missing, Template, Values};

use crate::digest::Algorithm;
use std::collections::BTreeSet;
use std::time::Duration;

/// The version of the schema.
pub const VERSION: u64 = 1;
/// A longer text than this is no dialect, in bytes.
pub const MAX_TEXT: u64 = 256 << 10;

/// What becomes of the bytes behind the last whole chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tail {
    /// They are a chunk of their own, a smaller one.
    #[default]
    Own,
    /// They belong to the chunk before, which is up to twice as long then.
    Merged,
}

/// In which order chunks may be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// In any.
    #[default]
    Any,
    /// One after the other.
    Sequential,
    /// In any, but the last one after the answers to all others.
    LastLast,
}

/// What a chunk that is sent twice does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Repeat {
    /// No harm.
    #[default]
    Safe,
    /// It is stored twice; under a new id one may begin anew.
    Append,
    /// It is stored twice, and beginning anew is for a person to decide.
    Stop,
}

/// When the flag `first` is up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum First {
    /// For the first request of every run, resumed runs included.
    Run,
    /// For the file's first chunk only.
    #[default]
    Transfer,
}

/// How the file is cut. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// The usual size.
    pub size: u64,
    /// The least size; 0 is no limit.
    pub min: u64,
    /// The largest size; 0 is no limit.
    pub max: u64,
    /// Sizes are multiples of this.
    pub multiple: u64,
    /// The most chunks; 0 is no limit.
    pub max_count: u64,
    /// The number of the first chunk.
    pub base: u64,
    /// What becomes of the rest.
    pub tail: Tail,
    /// In which order.
    pub order: Order,
    /// How many at once.
    pub parallel: usize,
    /// What sending twice does.
    pub repeat: Repeat,
    /// Files of one chunk are sent without the fields that number it.
    pub bare_single: bool,
    /// A file of whole chunks ends with an empty one.
    pub empty_tail: bool,
    /// When the flag `first` is up.
    pub first: First,
}

impl Chunks {
    /// `size` within what the dialect takes.
    pub fn fitting(&self, size: u64) -> u64 {
        let most = if self.max == 0 { u64::MAX } else { self.max };
        let size = size.clamp(self.min.max(1).min(most), most);
        (size / self.multiple * self.multiple).max(self.multiple)
    }
}

/// What identifies the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id, evaluated once.
    pub id: Template,
    /// The digest that must be known before the first request.
    pub hash: Option<Hash>,
}

/// A digest over the file, or over its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// Over how many bytes; all of them when there is no number.
    pub first: Option<u64>,
}

/// Names and the texts that they get, in the order of the wire.
pub type Fields = Vec<(String, Template)>;

/// A JSON document with templates in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// An object.
    Object(Vec<(String, Json)>),
    /// A list.
    List(Vec<Json>),
    /// A text, a number or a boolean.
    Text(Template),
    /// A value as it is.
    Value(serde_json::Value),
}

/// How a form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `multipart/form-data`.
    Multipart,
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
    /// The bytes themselves, no form.
    Raw,
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method.
    pub method: String,
    /// Where to, below the URL given; that URL itself when there is none.
    pub url: Option<Template>,
    /// Fields of the query.
    pub query: Fields,
    /// Fields of the form.
    pub form: Fields,
    /// The whole body as JSON, in place of a form.
    pub json: Option<Json>,
    /// The whole body as a text, in place of a form.
    pub text: Option<Template>,
    /// Headers.
    pub headers: Fields,
    /// The file in the form: a chunk's bytes where a chunk is sent, and none in any other call.
    pub file: Option<FileField>,
    /// How the form is written.
    pub coding: Coding,
    /// How the reply's body is read.
    pub parse: Parse,
    /// Where the server's words for people stand.
    pub message: Vec<Place>,
    /// How long no byte may move, in either direction.
    pub stall: Option<Duration>,
    /// The reply is a success.
    pub ok: Vec<Predicate>,
    /// The reply is a failure that trying again does not mend.
    pub fatal: Vec<Predicate>,
    /// The reply is a failure that may pass.
    pub retry: Vec<Predicate>,
}

/// What begins an upload, once.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// The request.
    pub call: Call,
    /// The reply means that the whole file is there already.
    pub instant: Vec<Predicate>,
    /// How much that is worth.
    pub trust: Trust,
    /// What of the reply is kept, by name.
    pub capture: Vec<(String, Place)>,
}

/// How to ask what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Chunk by chunk: yes or no.
    Each,
    /// A list of numbers.
    List,
    /// The number of bytes.
    Offset,
    /// The highest number.
    Highest,
}

/// How much a "yes" of the server is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trust {
    /// Something of that name is there.
    #[default]
    Exists,
    /// It has the right length.
    Size,
    /// It belongs to this very content.
    Hash,
}

/// The question what is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Have {
    /// The request.
    pub call: Call,
    /// How the answer is to be read.
    pub mode: Mode,
    /// Something, or this chunk, is there.
    pub yes: Vec<Predicate>,
    /// Nothing is, or not this chunk.
    pub no: Vec<Predicate>,
    /// The whole file is there.
    pub instant: Vec<Predicate>,
    /// Where the list, the offset or the number stands.
    pub at: Option<Place>,
    /// The number that means the first chunk there.
    pub base: u64,
    /// How much a yes is worth.
    pub trust: Trust,
}

/// The file in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileField {
    /// The field's name.
    pub field: String,
    /// The file's name.
    pub filename: Template,
    /// Its media type.
    pub kind: Template,
    /// Whether it stands behind the fields; before them otherwise.
    pub last: bool,
}

/// How a chunk is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// The request. Its query and form have the fields of every chunk.
    pub call: Call,
    /// Fields that number the chunk.
    pub index: Fields,
    /// Further fields of the first request of a run that goes on with an upload of which chunks were stored.
    pub resume: Fields,
    /// A field whose value is a JSON document, by name.
    pub json_field: Vec<(String, Json)>,
    /// Whether the fields go into the form.
    pub in_form: bool,
    /// Whether they go into the query.
    pub in_query: bool,
    /// What of the reply to the first chunk is kept, by name. Until then fields that ask for it are left out.
    pub capture: Vec<(String, Place)>,
    /// The reply also means that the whole file is complete.
    pub done: Vec<Predicate>,
    /// Everything is lost: begin anew under a new id.
    pub restart: Vec<Predicate>,
    /// Where the number of the chunk just stored stands.
    pub next: Option<Place>,
    /// Where the name stands under which the server stores the file, which must be the one it was given.
    pub same_name: Option<Place>,
    /// Where a new id stands, from which the upload goes by.
    pub rename_id: Option<Place>,
}

/// How an upload is ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The request.
    pub call: Call,
    /// Only when the reply to the last chunk is such a one.
    pub when: Option<Predicate>,
    /// Not yet: ask again.
    pub pending: Vec<Predicate>,
    /// Where the numbers of missing chunks stand, and which number is the first chunk.
    pub missing: Option<(Place, u64)>,
}

/// One way of uploading.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialect {
    /// What it is called.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// Names of fields that show in a pasted request that it is this one.
    pub sniff: Vec<String>,
    /// How the file is cut.
    pub chunks: Chunks,
    /// What identifies it.
    pub identity: Identity,
    /// What begins an upload.
    pub create: Option<Create>,
    /// What asks what is there.
    pub have: Option<Have>,
    /// What sends a chunk.
    pub send: Send,
    /// What ends it.
    pub finish: Option<Finish>,
    /// What forgets it.
    pub abort: Option<Call>,
}

impl Dialect {
    /// Reads a dialect's text; all that is wrong with it otherwise.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        parse::parse(text)
    }

    /// All its texts with values in them.
    pub fn templates(&self) -> Vec<&Template> {
        let calls = [
            Some(&self.send.call),
            self.create.as_ref().map(|create| &create.call),
            self.have.as_ref().map(|have| &have.call),
            self.finish.as_ref().map(|finish| &finish.call),
            self.abort.as_ref(),
        ];
        let mut all: Vec<&Template> = calls.into_iter().flatten().flat_map(Call::templates).collect();
        all.push(&self.identity.id);
        all.extend(self.send.index.iter().chain(&self.send.resume).map(|(_, text)| text));
        self.send.json_field.iter().for_each(|(_, json)| json.templates(&mut all));
        all
    }

    /// The variables of the environment that it asks for.
    pub fn variables(&self) -> BTreeSet<&str> {
        let keys = self.templates().into_iter().flat_map(Template::keys);
        keys.filter_map(|key| if let Key::Env(name) = key { Some(name.as_str()) } else { None }).collect()
    }

    /// The chunks of a file: how many there are.
    pub fn count(&self, length: u64, size: u64) -> u64 {
        match self.chunks.tail {
            Tail::Own => length.div_ceil(size).max(1),
            Tail::Merged => (length / size).max(1),
        }
    }

    /// Whether a chunk is known by where it begins rather than by its number, so that any cut will do.
    pub fn is_by_offset(&self) -> bool {
        let numbered = |fields: &Fields| {
            fields.iter().any(|(_, text)| text.keys().any(|key| matches!(key, Key::Index | Key::Count)))
        };
        let call = &self.send.call;
        let url = call.url.as_ref().is_some_and(|url| url.keys().any(|key| *key == Key::Index));
        let by_number = [&call.query, &call.form, &call.headers, &self.send.index].into_iter().any(numbered)
            || url
            || self.send.json_field.iter().any(|(_, json)| json.asks(&Key::Index));
        let told_by_number =
            self.send.next.is_some() || self.have.as_ref().is_some_and(|have| have.mode != Mode::Offset);
        !by_number && !told_by_number && self.chunks.tail == Tail::Own && !self.chunks.empty_tail
    }
}

impl Call {
    fn templates(&self) -> Vec<&Template> {
        let fields = [&self.query, &self.form, &self.headers].into_iter().flatten().map(|(_, text)| text);
        let file = self.file.iter().flat_map(|file| [&file.filename, &file.kind]);
        let mut all: Vec<&Template> = fields.chain(self.url.iter()).chain(self.text.iter()).chain(file).collect();
        self.json.iter().for_each(|json| json.templates(&mut all));
        all
    }
}

impl Json {
    fn templates<'a>(&'a self, all: &mut Vec<&'a Template>) {
        match self {
            Self::Object(entries) => entries.iter().for_each(|(_, value)| value.templates(all)),
            Self::List(items) => items.iter().for_each(|item| item.templates(all)),
            Self::Text(template) => all.push(template),
            Self::Value(_) => {}
        }
    }

    /// Whether a template in it asks for `key`.
    pub fn asks(&self, key: &Key) -> bool {
        match self {
            Self::Object(entries) => entries.iter().any(|(_, value)| value.asks(key)),
            Self::List(items) => items.iter().any(|item| item.asks(key)),
            Self::Text(template) => template.keys().any(|asked| asked == key),
            Self::Value(_) => false,
        }
    }

    /// The document with its values.
    pub fn fill(&self, values: &dyn Values) -> Result<serde_json::Value, Missing> {
        Ok(match self {
            Self::Object(entries) => {
                let filled = entries.iter().map(|(key, value)| Ok((key.clone(), value.fill(values)?)));
                serde_json::Value::Object(filled.collect::<Result<_, Missing>>()?)
            }
            Self::List(items) => {
                serde_json::Value::Array(items.iter().map(|item| item.fill(values)).collect::<Result<_, _>>()?)
            }
            Self::Text(template) => template.fill_json(values)?,
            Self::Value(value) => value.clone(),
        })
    }
}
