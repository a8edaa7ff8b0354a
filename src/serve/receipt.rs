//! The receipt of a finished upload: what became of it, for the client that asks again after a lost reply, and after
//! a crash for the server itself.

use super::upload::{Head, Line};
use crate::chunk::Layout;
use crate::disk;
use crate::fault::Fault;
use crate::wire::handshake::{Digests, Id};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A larger receipt than this is none of ours, in bytes.
const MAX_TEXT: u64 = 64 << 10;

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which upload.
    pub head: Head,
    /// Where its file is, below the root.
    pub path: String,
    /// What was computed over the content.
    pub digests: Digests,
    /// The inode that got, or was about to get, the final name.
    pub inode: u64,
    /// When.
    pub finished: SystemTime,
    /// Whether the file has its final name for certain.
    pub complete: bool,
}

#[derive(Serialize, Deserialize)]
struct Text {
    id: Id,
    domain: String,
    key: Id,
    folder: String,
    name: String,
    size: u64,
    chunk_size: u64,
    path: String,
    inode: u64,
    finished: u64,
    complete: bool,
    digests: Digests,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<Line>,
}

impl Receipt {
    /// Reads a receipt; `None` for anything that is none.
    pub fn read(path: &Path) -> Option<Self> {
        let private = disk::read_private(path, MAX_TEXT).ok()??;
        let text: Text = toml::from_str(std::str::from_utf8(&private.text).ok()?).ok()?;
        let head = Head {
            id: text.id,
            domain: text.domain,
            key: text.key,
            folder: text.folder,
            name: text.name,
            layout: Layout::new(text.size, text.chunk_size),
            modified: None,
            want: Vec::new(),
            line: text.line,
        };
        let finished = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(text.finished))?;
        let (path, digests, inode, complete) = (text.path, text.digests, text.inode, text.complete);
        Some(Self { head, path, digests, inode, finished, complete })
    }

    /// Writes the receipt, durable when this returns.
    pub fn write(&self, path: &Path) -> Result<(), Fault> {
        let head = &self.head;
        let text = Text {
            id: head.id.clone(),
            domain: head.domain.clone(),
            key: head.key.clone(),
            folder: head.folder.clone(),
            name: head.name.clone(),
            size: head.layout.length(),
            chunk_size: head.layout.chunk_size(),
            path: self.path.clone(),
            inode: self.inode,
            finished: self.finished.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            complete: self.complete,
            digests: self.digests.clone(),
            line: head.line.clone(),
        };
        disk::replace(path, toml::to_string(&text).unwrap_or_default().as_bytes(), true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::upload::Protocol;
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_receipt_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut digests = Digests::default();
        digests.set(Digest::parse("crc64nvme:ae8b14860a799888").unwrap());
        let receipt = Receipt {
            head: Head {
                id: Id::new([1; 16]),
                domain: "ann".into(),
                key: Id::new([2; 16]),
                folder: "a/b".into(),
                name: "c \"d\".iso".into(),
                layout: Layout::new(25, 10),
                modified: None,
                want: Vec::new(),
                line: Some(Line {
                    metadata: "a YQ==".into(),
                    replaces: Some("\"a-1\"".into()),
                    digests: digests.clone(),
                    ..Line::new(Protocol::Tus)
                }),
            },
            path: "a/b/c \"d\".iso".into(),
            digests,
            inode: 77,
            finished: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            complete: false,
        };
        let path = dir.path().join("r.toml");
        receipt.write(&path).unwrap();
        assert_eq!(Receipt::read(&path), Some(receipt));
        disk::replace(&path, b"id = 1", false).unwrap();
        assert_eq!(Receipt::read(&path), None);
    }
}
