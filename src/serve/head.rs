//! What an upload is, as its record has it: so it survives a restart and a kill.

use super::store::leaf;
use super::upload::{Head, Line, NO_END};
use crate::chunk::Layout;
use crate::digest::{Algorithm, Digest};
use crate::record::{IfExists, Kind, Record};
use crate::wire::handshake::{Id, wanted};

/// Where a record has what an upload that grows from its beginning needs.
const LINE: &str = "line";
/// The mark in a record that the client has said it was all.
pub const ENDED: &str = "ended";
/// The mark in a record that the bytes are a part of a finished file.
pub const JOINED: &str = "joined";

/// The record of an upload that has no byte yet.
pub fn to_record(head: &Head, if_exists: IfExists, md5: Option<&Digest>) -> Record {
    let mut record = Record::new(Kind::Receive, "", leaf(&head.name), head.layout.chunk_size());
    record.length = (head.layout.length() != NO_END).then_some(head.layout.length());
    record.if_exists = if_exists;
    let session = &mut record.session;
    let mut set = |key: &str, value: &str| drop(session.insert(key.into(), value.into()));
    set("domain", &head.domain);
    set("key", head.key.as_str());
    set("folder", &head.folder);
    set("name", &head.name);
    if let Some(modified) = &head.modified {
        set("modified", modified);
    }
    if let Some(md5) = md5 {
        set("md5", &md5.hex());
    }
    if !head.want.is_empty() {
        set("want", &head.want.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(" "));
    }
    if let Some(line) = head.line.as_ref().and_then(|line| toml::Value::try_from(line).ok()) {
        record.session.insert(LINE.into(), line);
    }
    record
}

/// The head in a record, and the MD5 that the whole must have; `None`: it is no upload's, or not whole.
pub fn of_record(id: &Id, record: &Record) -> Option<(Head, Option<Digest>)> {
    if record.kind != Kind::Receive {
        return None;
    }
    let get = |key: &str| record.session.get(key).and_then(toml::Value::as_str);
    let line: Option<Line> = match record.session.get(LINE) {
        Some(line) => Some(line.clone().try_into().ok()?),
        None => None,
    };
    let length = record.length.or(line.is_some().then_some(NO_END))?;
    let head = Head {
        id: id.clone(),
        domain: get("domain")?.to_string(),
        key: Id::parse(get("key")?)?,
        folder: get("folder")?.to_string(),
        name: get("name")?.to_string(),
        layout: Layout::new(length, record.chunk_size),
        modified: get("modified").map(str::to_string),
        want: wanted(&get("want").unwrap_or_default().split(' ').map(str::to_string).collect::<Vec<_>>()),
        line,
    };
    Some((head, get("md5").and_then(|text| Digest::from_hex(Algorithm::Md5, text))))
}
