//! The record's TOML form, which is made for people, and the reading of it. A sidecar is untrusted input: what does not
//! hold together is refused here.

use super::{BadRecord, IfExists, Kind, Owner, Piece, PrefixHash, Publishing, Record, Stamp, VERSION, Validator};
use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout};
use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The sidecar's keys, in the order they are written.
#[derive(Serialize, Deserialize)]
struct Text {
    version: i64,
    kind: Kind,
    url: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    chunk_size: u64,
    #[serde(default)]
    if_exists: IfExists,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(default)]
    done: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stale: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parked: Option<u64>,
    updated: toml::value::Datetime,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    within: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<SentText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recent: Option<RecentText>,
    #[serde(default, skip_serializing_if = "is_no_validator")]
    validator: Validator,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hashes: Option<HashesText>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prefix: BTreeMap<String, PrefixHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publishing: Option<Publishing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    session: toml::Table,
    #[serde(flatten)]
    extra: toml::Table,
}

/// What was on its way: its bytes, and their sum in 16 hexadecimal digits.
#[derive(Serialize, Deserialize)]
struct SentText {
    bytes: String,
    sum: String,
}

#[derive(Serialize, Deserialize)]
struct RecentText {
    boot: String,
    bytes: String,
}

/// CRC-64/NVME sums, 16 hexadecimal digits each, separated by blanks, in the order of what they belong to.
#[derive(Serialize, Deserialize, Default)]
struct HashesText {
    #[serde(default)]
    algorithm: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    done: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    within: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    recent: String,
}

fn is_no_validator(validator: &Validator) -> bool {
    *validator == Validator::default()
}

impl Record {
    /// The sidecar's text.
    pub fn to_toml(&self) -> String {
        let mut within: BTreeMap<String, ByteSet> = BTreeMap::new();
        let layout = self.layout();
        for piece in &self.within {
            let index = layout.index_of(piece.range.start);
            let base = layout.range(index).start;
            let run = ByteRange::new(piece.range.start - base, piece.range.end - base);
            within.entry(index.to_string()).or_default().insert(run);
        }
        // The keys of a TOML table are text: "10" sorts before "9", so the sums go by number, as `within` does here.
        let hashes = HashesText {
            algorithm: "crc64nvme".into(),
            done: sums_to_text(self.done_sums.iter().copied()),
            within: sums_to_text(self.within.iter().map(|piece| piece.sum)),
            recent: sums_to_text(self.recent.iter().map(|piece| piece.sum)),
        };
        let recent: ByteSet = self.recent.iter().map(|piece| piece.range).collect();
        let text = Text {
            version: VERSION,
            kind: self.kind,
            url: self.url.clone(),
            mirrors: self.mirrors.clone(),
            needs: self.needs.clone(),
            file: self.file.clone(),
            length: self.length,
            chunk_size: self.chunk_size,
            if_exists: self.if_exists,
            checksum: self.checksum.as_ref().map(Digest::to_string),
            server_digest: self.offered.as_ref().map(Digest::to_string),
            content_type: self.media.clone(),
            proof: self.sampled.then(|| "overlap".to_string()),
            identity: self.identity.as_ref().map(Digest::to_string),
            done: self.done.to_string(),
            stale: self.stale.to_string(),
            parked: self.parked,
            updated: datetime(self.updated),
            within: within.into_iter().map(|(index, runs)| (index, runs.to_string())).collect(),
            sent: self.sent.map(|piece| SentText {
                bytes: ByteSet::of(piece.range).to_string(),
                sum: sums_to_text([piece.sum].into_iter()),
            }),
            recent: self
                .recent_boot
                .as_ref()
                .filter(|_| !recent.is_empty())
                .map(|boot| RecentText { boot: boot.clone(), bytes: recent.to_string() }),
            validator: self.validator.clone(),
            hashes: (!hashes.done.is_empty() || !hashes.within.is_empty() || !hashes.recent.is_empty())
                .then_some(hashes),
            prefix: self.prefix.clone(),
            stamp: self.stamp.clone(),
            publishing: self.publishing.clone(),
            owner: self.owner.clone(),
            session: self.session.clone(),
            extra: self.extra.clone(),
        };
        let body = toml::to_string(&text).unwrap_or_default();
        format!("{}{body}", self.head())
    }

    /// The head line: how to go on and how to forget.
    fn head(&self) -> String {
        let name: String = self.file.escape_debug().collect();
        match self.kind {
            Kind::Receive => {
                "# onward: an upload that is not complete. The sender continues it; `onward serve` expires it.\n".into()
            }
            Kind::Download => {
                format!(
                    "# onward: an unfinished download. Continue with `onward resume {name}`; delete this file to forget it.\n"
                )
            }
            Kind::Upload => {
                format!(
                    "# onward: an unfinished upload. Continue with `onward resume {name}`; `onward cancel {name}` forgets it.\n"
                )
            }
        }
    }

    /// Reads a sidecar's text. What does not hold together is refused as damaged; unknown keys are kept.
    pub fn from_toml(text: &str) -> Result<Self, BadRecord> {
        let damaged = |why: String| BadRecord::Damaged(why);
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| damaged(e.message().to_string()))?;
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => return Err(BadRecord::Newer(newer)),
            _ => return Err(damaged("it has no format version".into())),
        }
        let text: Text = table.try_into().map_err(|e| damaged(e.message().to_string()))?;
        text.into_record()
    }
}

impl Text {
    fn into_record(self) -> Result<Record, BadRecord> {
        let damaged = |why: &str| BadRecord::Damaged(why.to_string());
        if self.chunk_size == 0 || self.length.is_some_and(|length| length > i64::MAX as u64) {
            return Err(damaged("its sizes cannot be"));
        }
        let mut record = Record::new(self.kind, self.url, self.file, self.chunk_size);
        record.length = self.length;
        let layout = record.layout();
        if self.length.is_some() && layout.count() > 2 * crate::chunk::MAX_CHUNKS {
            return Err(damaged("it has too many chunks"));
        }
        record.done = IndexSet::parse(&self.done).map_err(|e| damaged(&e.to_string()))?;
        record.stale = IndexSet::parse(&self.stale).map_err(|e| damaged(&e.to_string()))?;
        if record.done.end().max(record.stale.end()) > layout.count() {
            return Err(damaged("it counts chunks past the end of the file"));
        }
        let hashes = self.hashes.unwrap_or_default();
        record.done_sums = sums_from_text(&hashes.done)?;
        record.within = Text::within(&self.within, &layout, &sums_from_text(&hashes.within)?)?;
        if let Some(recent) = self.recent {
            let runs = ByteSet::parse(&recent.bytes).map_err(|e| damaged(&e.to_string()))?;
            if runs.end() > layout.length() {
                return Err(damaged("it counts bytes past the end of the file"));
            }
            let ranges = runs.runs().flat_map(|run| layout.split(run)).collect::<Vec<_>>();
            record.recent = pieces(ranges, &sums_from_text(&hashes.recent)?)?;
            record.recent_boot = Some(recent.boot);
        }
        if let Some(sent) = self.sent {
            let runs = ByteSet::parse(&sent.bytes).map_err(|e| damaged(&e.to_string()))?;
            let sound = runs.end() <= layout.length() && runs.runs().flat_map(|run| layout.split(run)).count() <= 1;
            if !sound {
                return Err(damaged("what it says was sent is no part"));
            }
            record.sent = pieces(runs.runs().collect(), &sums_from_text(&sent.sum)?)?.pop();
        }
        if record.done_sums.len() as u64 > record.done.len() {
            return Err(damaged("it has more hashes than chunks"));
        }
        record.mirrors = self.mirrors;
        record.needs = self.needs;
        record.if_exists = self.if_exists;
        let digest = |text: Option<String>, why: &str| match text {
            Some(text) => Digest::parse(&text).ok_or_else(|| damaged(why)).map(Some),
            None => Ok(None),
        };
        record.identity = digest(self.identity, "its identity is no digest")?;
        record.checksum = digest(self.checksum, "its checksum is not one")?;
        record.offered = digest(self.server_digest, "its server's digest is not one")?;
        record.media = self.content_type;
        record.sampled = self.proof.is_some();
        record.updated = humantime::parse_rfc3339_weak(&self.updated.to_string()).unwrap_or(SystemTime::UNIX_EPOCH);
        record.validator = self.validator;
        record.prefix = self.prefix;
        record.stamp = self.stamp;
        (record.publishing, record.parked) = (self.publishing, self.parked);
        record.owner = self.owner;
        record.session = self.session;
        record.extra = self.extra;
        record.extra.remove("version");
        Ok(record)
    }

    fn within(table: &BTreeMap<String, String>, layout: &Layout, sums: &[u64]) -> Result<Vec<Piece>, BadRecord> {
        let damaged = |why: &str| BadRecord::Damaged(why.to_string());
        let mut by_index = BTreeMap::new();
        for (index, runs) in table {
            let index: u64 = index.parse().map_err(|_| damaged("a key under [within] is not a chunk"))?;
            by_index.insert(index, ByteSet::parse(runs).map_err(|e| damaged(&e.to_string()))?);
        }
        let mut ranges = Vec::new();
        for (index, runs) in by_index {
            let chunk = layout.range(index);
            if runs.end() > chunk.len() {
                return Err(damaged("it counts bytes past the end of a chunk"));
            }
            ranges.extend(runs.runs().map(|run| ByteRange::new(chunk.start + run.start, chunk.start + run.end)));
        }
        pieces(ranges, sums)
    }
}

fn pieces(ranges: Vec<ByteRange>, sums: &[u64]) -> Result<Vec<Piece>, BadRecord> {
    if ranges.len() != sums.len() {
        return Err(BadRecord::Damaged("its hashes do not fit its runs".into()));
    }
    Ok(ranges.into_iter().zip(sums).map(|(range, sum)| Piece { range, sum: *sum }).collect())
}

fn sums_to_text(sums: impl Iterator<Item = u64>) -> String {
    let mut text = String::new();
    for sum in sums {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&crate::digest::hex(&sum.to_be_bytes()));
    }
    text
}

fn sums_from_text(text: &str) -> Result<Vec<u64>, BadRecord> {
    text.split_ascii_whitespace()
        .map(|hex| match hex.len() {
            16 => u64::from_str_radix(hex, 16).map_err(|_| BadRecord::Damaged("a hash is not hexadecimal".into())),
            _ => Err(BadRecord::Damaged("a hash has the wrong length".into())),
        })
        .collect()
}

fn datetime(time: SystemTime) -> toml::value::Datetime {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.parse().unwrap_or(toml::value::Datetime { date: None, time: None, offset: None })
}
