//! copyparty's up2k: how a file is cut and its chunks are called, and the two documents of a handshake. The server
//! cuts by the same rule, so it has to match to the byte (copyparty, `docs/devnotes.md` and `bin/u2c.py`).

use crate::digest::{Algorithm, Digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Says which chunk a request holds.
pub const HASH: &str = "x-up2k-hash";
/// Says to which file a chunk belongs.
pub const WARK: &str = "x-up2k-wark";
/// The digest that chunks are called by.
pub const ALGORITHM: Algorithm = Algorithm::Sha512;
/// Of the digest so many bytes are the name.
const NAMED: usize = 33;

/// The chunk size of a file of `length` bytes: 256 chunks at most, and from 32 MiB on 4096.
pub fn chunk_size(length: u64) -> u64 {
    let (mut size, mut step) = (1u64 << 20, 512u64 << 10);
    loop {
        for factor in [1, 2] {
            let count = length.div_ceil(size);
            if count <= 256 || size >= 32 << 20 && count <= 4096 {
                return size;
            }
            size = size.saturating_add(step);
            step = step.saturating_mul(factor);
        }
    }
}

/// What the chunk with this digest is called.
pub fn chunk_name(digest: &Digest) -> String {
    URL_SAFE_NO_PAD.encode(&digest.bytes[..NAMED.min(digest.bytes.len())])
}

/// What the client tells of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    /// The names of all chunks, in order.
    pub hash: Vec<String>,
    /// The file's name.
    pub name: String,
    /// The modification time, in seconds since 1970.
    pub lmod: u64,
    /// The length in bytes.
    pub size: u64,
    /// Whether a file of that name is replaced; without it the new one gets another name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The folder that takes the chunks, as a path that is not escaped.
    pub purl: String,
    /// The name that the file gets.
    pub name: String,
    /// What the file is called by its content.
    pub wark: String,
    /// The names of the chunks that are missing.
    pub hash: Vec<String>,
    /// Whether chunks may come in any order.
    #[serde(default = "yes")]
    pub sprs: bool,
}

fn yes() -> bool {
    true
}

impl Told {
    /// Reads an answer; `None` for anything that is none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let told: Self = serde_json::from_slice(text).ok()?;
        (told.purl.starts_with('/') && !told.name.is_empty() && !told.name.contains('/')).then_some(told)
    }
}

/// Whether a listing is one of copyparty's (`?ls`).
pub fn is_listing(text: &[u8]) -> bool {
    let Ok(serde_json::Value::Object(listing)) = serde_json::from_slice(text) else { return false };
    ["srvinf", "perms", "acct"].iter().all(|key| listing.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Hasher;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn chunk_sizes_as_the_server_has_them() {
        // Computed by copyparty 1.20.26's own function.
        let told = [
            (0, MIB),
            (1, MIB),
            (256 * MIB, MIB),
            (256 * MIB + 1, MIB + MIB / 2),
            (384 * MIB + 1, 2 * MIB),
            (1 << 30, 4 * MIB),
            (10 << 30, 32 * MIB),
            (1 << 40, 256 * MIB),
        ];
        for (length, size) in told {
            assert_eq!(chunk_size(length), size, "{length}");
        }
    }

    #[test]
    fn chunks_are_called_by_their_content() {
        let mut hasher = Hasher::new(ALGORITHM);
        hasher.update(b"hello");
        assert_eq!(chunk_name(&hasher.finish()), "m3HSJL1i83hdltRq0-o9czGb-8KJDKra4t_3JRlnPKcj");
    }

    #[test]
    fn answers() {
        let text = br#"{"name":"a","purl":"/sub/","size":5,"lmod":1,"sprs":false,"hash":["x"],"dwrk":"d","wark":"w"}"#;
        let told = Told::parse(text).unwrap();
        assert_eq!((told.purl.as_str(), told.hash.len(), told.sprs), ("/sub/", 1, false));
        for bad in ["", "[]", "{}", r#"{"name":"../a","purl":"/","wark":"w","hash":[]}"#] {
            assert_eq!(Told::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(is_listing(br#"{"dirs":[],"srvinf":"x","acct":"*","perms":["read"]}"#));
        assert!(!is_listing(b"<html>") && !is_listing(b"{}"));
    }

    proptest! {
        #[test]
        fn never_more_chunks_than_agreed(length in 0u64..=1 << 50) {
            let (size, count) = (chunk_size(length), length.div_ceil(chunk_size(length)));
            prop_assert!(count <= 256 || size >= 32 * MIB && count <= 4096);
        }

        #[test]
        fn anything_may_be_answered(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Told::parse(&text), is_listing(&text));
        }
    }
}
