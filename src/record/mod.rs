//! The sidecar as values: all that is needed to go on tomorrow. `text` is its TOML form.
//!
//! A sidecar is untrusted input: an archive or a server can plant one. Reading one checks its shape; who owns the
//! file and whether its name fits is checked by whoever opens it.

mod text;

use crate::byteset::{ByteSet, IndexSet};
use crate::chunk::{ByteRange, Layout};
use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// The version of the format this program writes and reads.
pub const VERSION: i64 = 1;
/// A larger sidecar than this is refused unread, in bytes.
pub const MAX_TEXT: u64 = 16 << 20;

/// Which kind of transfer a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The network to a local file.
    Download,
    /// A local file to the network.
    Upload,
    /// What `serve` has received of somebody's upload.
    Receive,
}

/// What a remote called one very content, verbatim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// The entity tag with its quotes and, for a weak one, its `W/` (RFC 9110, section 8.8.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The `Last-Modified` date as sent (RFC 9110, section 8.8.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// The `Date` of the reply that said so: a `Last-Modified` of the very same second proves little (RFC 9110,
    /// section 8.8.2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

/// A run of bytes inside one chunk, with its CRC-64/NVME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The bytes, as offsets in the file; never across a chunk's border.
    pub range: ByteRange,
    /// Their sum.
    pub sum: u64,
}

/// What tells a local file from its next version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Length in bytes.
    pub size: u64,
    /// Modification time, seconds and nanoseconds as `"1700000000.123456789"`.
    pub mtime: String,
    /// Status change time, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctime: Option<String>,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// Who is at a transfer now, or was last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The machine's boot id: a pid of an earlier boot means nothing.
    pub boot: String,
    /// Random, new for every run: whoever finds another token than its own has lost the transfer.
    pub token: String,
}

/// A saved hash state over the first bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixHash {
    /// How many bytes it covers.
    pub bytes: u64,
    /// The state, as [`crate::digest::Hasher::save`] gives it.
    pub state: String,
}

/// The mark that the final rename has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// The inode that is to get the final name.
    pub inode: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// What to do when the final name is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfExists {
    /// Refuse.
    #[default]
    Fail,
    /// Replace what is there, at the very end.
    Replace,
}

/// What a user wants when a finished file has the name already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, unless it is shown to be the same content.
    #[default]
    Refuse,
    /// Replace it, at the very end.
    Replace,
    /// Leave it alone and count it as done.
    Keep,
}

impl From<Existing> for IfExists {
    fn from(wish: Existing) -> Self {
        match wish {
            Existing::Replace => Self::Replace,
            Existing::Refuse | Existing::Keep => Self::Fail,
        }
    }
}

/// One unfinished transfer.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Which way.
    pub kind: Kind,
    /// The remote place as the user gave it, before redirects, secrets masked.
    pub url: String,
    /// Other places of the same content (download), secrets masked.
    pub mirrors: Vec<String>,
    /// What must be given again to go on: `header:NAME`, `token`, `user`, `url`.
    pub needs: Vec<String>,
    /// The final name (download, receive) or the source's (upload): the sidecar's own name without its suffix.
    pub file: String,
    /// The length in bytes, where known.
    pub length: Option<u64>,
    /// The chunk size in bytes, frozen.
    pub chunk_size: u64,
    /// What to do when the final name is taken.
    pub if_exists: IfExists,
    /// The digest the content must have, as the user gave it.
    pub checksum: Option<Digest>,
    /// Chunks that are durable here (download, receive) or held by the remote (upload).
    pub done: IndexSet,
    /// Sums of the done chunks, in their order; shorter than `done` where some are not known.
    pub done_sums: Vec<u64>,
    /// Durable runs of chunks that are not done.
    pub within: Vec<Piece>,
    /// Chunks of which the remote holds bytes of an older version of the source (upload): they are sent anew.
    pub stale: IndexSet,
    /// The digest by which the remote knows the content (upload); it counts while `stamp` fits.
    pub identity: Option<Digest>,
    /// What was being sent to a remote that appends (upload): once its answer is lost, nobody knows whether it arrived.
    pub sent: Option<Piece>,
    /// Runs that are written and not yet durable; they count only under `recent_boot`.
    pub recent: Vec<Piece>,
    /// The boot id under which `recent` counts.
    pub recent_boot: Option<String>,
    /// When the record was written.
    pub updated: SystemTime,
    /// What the remote calls this content.
    pub validator: Validator,
    /// The media type it was said to be of (download), as `text/html`: what tells a page in its place from its next
    /// version.
    pub media: Option<String>,
    /// The digest of the whole that a server has offered (download): the content is held to it, whenever it is
    /// complete.
    pub offered: Option<Digest>,
    /// Whether some of the bytes are only shown by samples to be of this very content (download).
    pub sampled: bool,
    /// The local data file as it was at a clean end; absent while a process is at it and after a kill. Of an upload,
    /// always: the source as it was when the bytes in this record were read.
    pub stamp: Option<Stamp>,
    /// Who is at it.
    pub owner: Option<Owner>,
    /// Saved hash states, by algorithm name.
    pub prefix: BTreeMap<String, PrefixHash>,
    /// The mark that the final rename has begun.
    pub publishing: Option<Publishing>,
    /// The inode of older data that is kept as `NAME.old.partial` until the new file is there (download).
    pub parked: Option<u64>,
    /// What the upload protocol needs to find its session again; only that protocol's file reads it. May hold a
    /// session URL, which is a secret.
    pub session: toml::Table,
    /// Keys this version does not know, kept as they are.
    pub extra: toml::Table,
}

/// Why a text is not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRecord {
    /// Written by a newer onward.
    Newer(i64),
    /// Not a record at all, or damaged.
    Damaged(String),
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(version) => write!(f, "it has format version {version}, this onward reads {VERSION}"),
            Self::Damaged(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

impl std::error::Error for BadRecord {}

impl Record {
    /// A record of a transfer in which nothing has moved yet.
    pub fn new(kind: Kind, url: impl Into<String>, file: impl Into<String>, chunk_size: u64) -> Self {
        Self {
            kind,
            url: url.into(),
            mirrors: Vec::new(),
            needs: Vec::new(),
            file: file.into(),
            length: None,
            chunk_size: chunk_size.max(1),
            if_exists: IfExists::Fail,
            checksum: None,
            done: IndexSet::new(),
            done_sums: Vec::new(),
            within: Vec::new(),
            stale: IndexSet::new(),
            identity: None,
            sent: None,
            recent: Vec::new(),
            recent_boot: None,
            updated: SystemTime::UNIX_EPOCH,
            validator: Validator::default(),
            media: None,
            offered: None,
            sampled: false,
            stamp: None,
            owner: None,
            prefix: BTreeMap::new(),
            publishing: None,
            parked: None,
            session: toml::Table::new(),
            extra: toml::Table::new(),
        }
    }

    /// How the file is cut. While the length is unknown the layout has no end.
    pub fn layout(&self) -> Layout {
        Layout::new(self.length.unwrap_or(u64::MAX / 2), self.chunk_size)
    }

    /// The bytes that are there and cannot be lost to a power cut.
    pub fn durable(&self) -> ByteSet {
        let layout = self.layout();
        let chunks =
            self.done.runs().map(|run| ByteRange::new(layout.range(run.start).start, layout.range(run.end - 1).end));
        chunks.chain(self.within.iter().map(|piece| piece.range)).collect()
    }

    /// The bytes that are there under boot `boot`: the durable ones, and the recent ones if no reboot has passed.
    pub fn held(&self, boot: &str) -> ByteSet {
        let mut held = self.durable();
        if self.recent_boot.as_deref() == Some(boot) {
            self.recent.iter().for_each(|piece| held.insert(piece.range));
        }
        held
    }

    /// The durable pieces that have a sum: done chunks, then runs within.
    pub fn durable_pieces(&self) -> Vec<Piece> {
        let layout = self.layout();
        let chunks = self.done.runs().flat_map(|run| run.start..run.end);
        let done = chunks.zip(&self.done_sums).map(|(index, sum)| Piece { range: layout.range(index), sum: *sum });
        done.chain(self.within.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn sample() -> Record {
        let mut record = Record::new(Kind::Download, "https://example.org/big.iso", "big.iso", 10);
        record.length = Some(1005);
        record.mirrors = vec!["https://example.net/big.iso".into()];
        record.done = IndexSet::parse("0-2,9").unwrap();
        record.done_sums = vec![1, 2, 3, u64::MAX];
        record.within =
            vec![Piece { range: ByteRange::new(41, 43), sum: 5 }, Piece { range: ByteRange::new(100, 109), sum: 6 }];
        record.recent =
            vec![Piece { range: ByteRange::new(505, 510), sum: 7 }, Piece { range: ByteRange::new(510, 520), sum: 8 }];
        record.recent_boot = Some("b".into());
        record.updated = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        record.stale = IndexSet::parse("7").unwrap();
        record.sent = Some(Piece { range: ByteRange::new(600, 608), sum: 9 });
        record.validator.etag = Some("\"5f3c-abc\"".into());
        record.checksum = Digest::parse("md5:25f9e794323b453885f5181f1b624d0b");
        record.identity = record.checksum.clone();
        record.parked = Some(4711);
        record.session.insert("upload".into(), "https://example.org/u/1".into());
        record
    }

    #[test]
    fn round_trip_keeps_everything() {
        let mut record = sample();
        record.extra.insert("future".into(), toml::Value::Integer(3));
        let text = record.to_toml();
        assert!(text.starts_with("# onward: an unfinished download. Continue with `onward resume big.iso`"), "{text}");
        assert!(text.contains("updated = 2023-11-14T22:13:20Z"), "{text}");
        assert_eq!(Record::from_toml(&text).unwrap(), record);
    }

    #[test]
    fn recent_bytes_count_only_under_their_boot() {
        let record = sample();
        assert_eq!(record.held("b").to_string(), "0-29,41-42,90-108,505-519");
        assert_eq!(record.held("other").to_string(), "0-29,41-42,90-108");
        assert_eq!(record.durable_pieces().len(), 6);
    }

    #[test]
    fn damage_is_refused_and_newer_versions_named() {
        let good = sample().to_toml();
        assert_eq!(Record::from_toml(&good.replace("version = 1", "version = 2")), Err(BadRecord::Newer(2)));
        for (from, to) in [
            ("version = 1", ""),
            ("chunk_size = 10", "chunk_size = 0"),
            ("done = \"0-2,9\"", "done = \"0-200\""),
            ("41-42", "41-4"),
            ("kind = \"download\"", "kind = \"steal\""),
            ("length = 1005", "length = -1"),
            ("505-519", "505-1005"),
            ("600-607", "600-1005"),
            ("600-607", "600-615"),
            ("600-607", "600-601,604-607"),
        ] {
            let text = good.replace(from, to);
            if text != good {
                assert!(matches!(Record::from_toml(&text), Err(BadRecord::Damaged(_))), "{from} -> {to}");
            }
        }
        for cut in 0..good.len() {
            let _ = Record::from_toml(&good[..cut]);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Record::from_toml(&text);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..600, to in any::<u8>()) {
            let mut bytes = sample().to_toml().into_bytes();
            let at = at % bytes.len();
            bytes[at] = to;
            let text = String::from_utf8(bytes).unwrap_or_default();
            if let Ok(record) = Record::from_toml(&text) {
                prop_assert!(record.held("b").end() <= record.layout().length());
            }
        }
    }
}
