//! The values that a dialect's templates ask for, and the requests they make.

use crate::chunk::ByteRange;
use crate::digest::{Algorithm, Hasher, hex};
use crate::fault::{Fault, Kind};
use crate::net::{Body, Lane, Request};
use crate::remote::{Field, Part};
use crate::wire::dialect::{self, Call, Coding, Dialect, Fields, FileField, Flag, Key, Missing, Template, Values};
use crate::wire::multipart;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};
use url::Url;

/// How much of a chunk is read at once for its digest, in bytes.
const BLOCK: usize = 128 << 10;

/// What is known of the upload when a request is made.
pub(super) struct Facts<'a> {
    pub dialect: &'a Dialect,
    pub name: &'a str,
    pub id: &'a str,
    pub uuid: &'a str,
    pub hash: Option<&'a str>,
    pub captured: Option<&'a toml::Table>,
    pub size: u64,
    /// The nominal size of a chunk.
    pub chunk: u64,
    pub modified: Option<SystemTime>,
    /// The latest reply to a chunk.
    pub last: Option<&'a Value>,
    /// Variables of the environment.
    pub variables: &'a [Field],
    /// Whether the flag `first` is up.
    pub first: bool,
    /// Whether this is the first request of a run that goes on.
    pub resumes: bool,
    /// The chunk that the request is about, where it is about one.
    pub at: Option<At<'a>>,
}

/// The chunk that a request is about.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// Its number, from 0.
    pub index: u64,
    /// Its bytes.
    pub range: ByteRange,
    /// The part as it is sent; none while one only asks.
    pub part: Option<&'a Part>,
}

impl Facts<'_> {
    fn count(&self) -> u64 {
        let count = self.dialect.count(self.size, self.chunk);
        let empty_tail = self.dialect.chunks.empty_tail && self.size > 0 && self.size.is_multiple_of(self.chunk);
        count + u64::from(empty_tail)
    }

    /// Whether the chunk is all of the file.
    fn is_single(&self) -> bool {
        self.count() == 1 && self.at.is_none_or(|at| at.range.len() == self.size)
    }

    fn of_chunk(&self, key: &Key) -> Option<String> {
        let At { index, range, part } = self.at?;
        Some(match key {
            Key::Index => (index + self.dialect.chunks.base).to_string(),
            Key::Offset => range.start.to_string(),
            // Nothing has no last byte.
            Key::End => range.end.checked_sub(1).filter(|_| !range.is_empty())?.to_string(),
            Key::Len => range.len().to_string(),
            Key::ChunkHash(algorithm) => chunk_hash(*algorithm, range, part?)?,
            _ => return None,
        })
    }

    /// Whether what asks for this value is left out while there is none: the answer to the first chunk is to bring it, or
    /// it is the last byte of a chunk that has none.
    fn is_left_out(&self, key: &Key) -> bool {
        match key {
            Key::Captured(name) => self.dialect.send.capture.iter().any(|(known, _)| known == name),
            Key::End => self.at.is_some(),
            _ => false,
        }
    }

    /// The text of a field; `None` where it is left out.
    fn field(&self, value: Result<String, Missing>) -> Result<Option<String>, Fault> {
        match value {
            Ok(text) => Ok(Some(text)),
            Err(unknown) if self.is_left_out(&unknown.0) => Ok(None),
            Err(unknown) => Err(missing(unknown)),
        }
    }

    fn extension(&self) -> &str {
        match self.name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => extension,
            _ => "",
        }
    }
}

/// The digest of a chunk; `None` when it cannot be read.
fn chunk_hash(algorithm: Algorithm, range: ByteRange, part: &Part) -> Option<String> {
    let mut hasher = Hasher::new(algorithm);
    let (mut at, mut buffer) = (range.start, vec![0; BLOCK]);
    while at < range.end {
        let block = &mut buffer[..(range.end - at).min(BLOCK as u64) as usize];
        part.file.read_exact_at(block, at).ok()?;
        hasher.update(block);
        at += block.len() as u64;
    }
    Some(hasher.finish().hex())
}

impl Values for Facts<'_> {
    fn value(&self, key: &Key) -> Option<String> {
        let since = || self.modified?.duration_since(SystemTime::UNIX_EPOCH).ok();
        match key {
            Key::Count => Some(self.count().to_string()),
            Key::Chunk => Some(self.chunk.to_string()),
            Key::Size => Some(self.size.to_string()),
            Key::Name | Key::Relpath => Some(self.name.into()),
            Key::Ext => Some(self.extension().into()),
            Key::Mime => Some(media_type(self.extension()).into()),
            Key::MtimeMs => Some(since().unwrap_or_default().as_millis().to_string()),
            Key::MtimeHttp => Some(httpdate::fmt_http_date(self.modified.unwrap_or(SystemTime::UNIX_EPOCH))),
            Key::Id => Some(self.id.into()),
            Key::Uuid => Some(self.uuid.into()),
            Key::Hash => self.hash.map(str::to_string),
            Key::Captured(name) => self.captured?.get(name)?.as_str().map(str::to_string),
            Key::Last(path) => match dialect::at(self.last?, path)? {
                Value::String(text) => Some(text.clone()),
                Value::Null => None,
                other => Some(other.to_string()),
            },
            Key::Env(name) => self.variables.iter().find(|known| known.name == *name).map(|known| known.value.clone()),
            of_chunk => self.of_chunk(of_chunk),
        }
    }

    fn flag(&self, flag: Flag) -> bool {
        match flag {
            Flag::First => self.first,
            // Where chunks have no numbers they may have any length.
            Flag::Last => self.at.is_none_or(|at| match self.dialect.is_by_offset() {
                true => at.range.end >= self.size,
                false => at.index + 1 >= self.count(),
            }),
        }
    }
}

/// The media type of a file by its extension: the common ones; the type that says nothing otherwise.
fn media_type(extension: &str) -> &'static str {
    match extension.to_ascii_lowercase().as_str() {
        "txt" | "log" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "tar" => "application/x-tar",
        "7z" => "application/x-7z-compressed",
        "iso" => "application/x-iso9660-image",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "mov" => "video/quicktime",
        "avi" => "video/x-msvideo",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        _ => "application/octet-stream",
    }
}

/// The request that `call` makes of these facts, without a file. `fields` are the user's own.
pub(super) fn request(call: &Call, base: &Url, facts: &Facts<'_>, fields: &[Field]) -> Result<Request, Fault> {
    let mut request = bare(call, base, facts, &[])?;
    if let Some(text) = &call.text {
        let text = text.fill(facts).map_err(missing)?;
        return Ok(request.body(Body::Bytes(text.into_bytes().into())));
    }
    if let Some(json) = &call.json {
        let text = json.fill(facts).map_err(missing)?.to_string();
        request.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        return Ok(request.body(Body::Bytes(text.into_bytes().into())));
    }
    let form = with_own(filled(&call.form, facts)?, fields);
    let takes_form = !matches!(call.method.as_str(), "GET" | "HEAD") && call.coding != Coding::Raw;
    if !takes_form || form.is_empty() && call.file.is_none() {
        return Ok(request);
    }
    if call.coding == Coding::Multipart {
        return multipart(request, form, call.file.as_ref(), facts, Body::Empty);
    }
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    Ok(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Body::Bytes(text.into_bytes().into())))
}

/// The request that sends a chunk, with `bytes` in the place of the file.
pub(super) fn chunk(base: &Url, facts: &Facts<'_>, fields: &[Field], bytes: Body) -> Result<Request, Fault> {
    let send = &facts.dialect.send;
    let single = send.call.coding != Coding::Raw && facts.dialect.chunks.bare_single && facts.is_single();
    let mut index = if single { Vec::new() } else { filled(&send.index, facts)? };
    if facts.resumes {
        index.extend(filled(&send.resume, facts)?);
    }
    let in_query: &[(String, String)] = if send.in_query { &index } else { &[] };
    let request = bare(&send.call, base, facts, in_query)?;
    if send.call.coding == Coding::Raw {
        return Ok(request.body(bytes));
    }
    let mut form = filled(&send.call.form, facts)?;
    if send.in_form {
        form.extend(index);
    }
    for (name, json) in &send.json_field {
        form.push((name.clone(), json.fill(facts).map_err(missing)?.to_string()));
    }
    multipart(request, with_own(form, fields), send.call.file.as_ref(), facts, bytes)
}

/// `request` with a form as its content; `bytes` are those of the file in it.
fn multipart(
    request: Request,
    form: Vec<(String, String)>,
    file: Option<&FileField>,
    facts: &Facts<'_>,
    bytes: Body,
) -> Result<Request, Fault> {
    let mut parts: Vec<multipart::Part> =
        form.into_iter().map(|(name, value)| multipart::Part::field(name, value)).collect();
    if let Some(file) = file {
        let part = multipart::Part::File {
            name: file.field.clone(),
            filename: file.filename.fill(facts).map_err(missing)?,
            content_type: file.kind.fill(facts).map_err(missing)?,
        };
        parts.insert(if file.last { parts.len() } else { 0 }, part);
    }
    let body = multipart::Body::new(&parts, bits()).ok_or_else(two_files)?;
    let (head, tail) = (Body::Bytes(body.head.into()), Body::Bytes(body.tail.into()));
    Ok(request.header(CONTENT_TYPE, &body.content_type).body(Body::Parts(vec![head, bytes, tail])))
}

/// Method, URL, query and headers of a call.
fn bare(call: &Call, base: &Url, facts: &Facts<'_>, index: &[(String, String)]) -> Result<Request, Fault> {
    let mut url = place(call.url.as_ref(), base, facts)?;
    let query = [filled(&call.query, facts)?, index.to_vec()].concat();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let method = call.method.parse().map_err(|_| wrong(format!("{:?} is no method", call.method)))?;
    let mut request = Request::new(method, url).lane(Lane::Own);
    request.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in &call.headers {
        let Some(text) = facts.field(value.fill_header(facts))? else { continue };
        let name: HeaderName = name.parse().map_err(|_| wrong(format!("{name:?} is no header")))?;
        request = request.header(name, text);
    }
    Ok(request)
}

/// The URL of a call: below the URL given, which need not end with a slash, or of its own.
fn place(url: Option<&Template>, base: &Url, facts: &Facts<'_>) -> Result<Url, Fault> {
    let Some(template) = url else { return Ok(base.clone()) };
    let text = template.fill_url(facts).map_err(missing)?;
    if text.contains("://") {
        return Url::parse(&text).map_err(|_| wrong("one of its URLs is none".into()));
    }
    let mut place = base.clone();
    let (path, query) = text.split_once('?').map_or((text.as_str(), None), |(path, query)| (path, Some(query)));
    match path.strip_prefix('/') {
        Some(_) => place.set_path(path),
        None => place.set_path(&format!("{}/{path}", base.path().trim_end_matches('/'))),
    }
    if let Some(query) = query {
        let joined = base.query().map_or_else(|| query.to_string(), |own| format!("{own}&{query}"));
        place.set_query(Some(&joined));
    }
    Ok(place)
}

/// The fields with their values, without those that are left out.
fn filled(fields: &Fields, facts: &Facts<'_>) -> Result<Vec<(String, String)>, Fault> {
    let one = |(name, text): &(String, Template)| Ok(facts.field(text.fill(facts))?.map(|text| (name.clone(), text)));
    fields.iter().filter_map(|field| one(field).transpose()).collect()
}

/// The form with the user's own fields: in place of those of the same name, else behind them.
fn with_own(mut form: Vec<(String, String)>, own: &[Field]) -> Vec<(String, String)> {
    for field in own {
        match form.iter_mut().find(|(name, _)| *name == field.name) {
            Some((_, value)) => value.clone_from(&field.value),
            None => form.push((field.name.clone(), field.value.clone())),
        }
    }
    form
}

fn missing(missing: Missing) -> Fault {
    wrong(format!("it asks for {{{}}}, which is not known at that point", missing.0))
}

fn wrong(what: String) -> Fault {
    Fault::new(Kind::Usage, format!("the dialect cannot be spoken: {what}"))
        .hint("`onward dialects check FILE` reads it")
}

fn two_files() -> Fault {
    wrong("its form has two files".into())
}

/// Random bits for the border between the parts of a form.
fn bits() -> [u8; 16] {
    let token = crate::digest::unhex(&crate::disk::token()).unwrap_or_default();
    let mut bits = [0; 16];
    bits.iter_mut().zip(token).for_each(|(bit, random)| *bit = random);
    bits
}

/// A random UUID (RFC 9562, version 4).
pub(super) fn uuid() -> String {
    let mut bits = bits();
    bits[6] = bits[6] & 0x0f | 0x40;
    bits[8] = bits[8] & 0x3f | 0x80;
    let digits = hex(&bits);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// A pause where a server says "later" and not when.
pub(super) const SHORT: Duration = Duration::from_secs(2);
