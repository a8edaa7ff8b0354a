//! The values that documents of the handshake are made of: ids, digests by name, sets as runs.

use crate::byteset::ByteSet;
use crate::digest::{Algorithm, Digest, hex, unhex};
use crate::wire::digest_fields;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// 128 random bits in 32 lower-case hexadecimal digits: a client's key, a server's upload id, a nonce.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// An id from its bits.
    pub fn new(bits: [u8; 16]) -> Self {
        Self(hex(&bits))
    }

    /// Reads the text form; `None` for anything but 32 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(digit)).then(|| Self(text.to_string()))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 16 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        unhex(&self.0).unwrap_or_default()
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not 32 lower-case hexadecimal digits")
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ids are capabilities: a debug print shows only their beginning.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.0[..4])
    }
}

/// Digests by algorithm, in documents `{"sha-256": "hex", …}`. Names this program does not know are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests(pub Vec<Digest>);

impl Digests {
    /// The digest by `algorithm`, where it is told.
    pub fn get(&self, algorithm: Algorithm) -> Option<&Digest> {
        self.0.iter().find(|digest| digest.algorithm == algorithm)
    }

    /// Adds `digest`, in the place of an older one by the same algorithm.
    pub fn set(&mut self, digest: Digest) {
        self.0.retain(|old| old.algorithm != digest.algorithm);
        self.0.push(digest);
        self.0.sort_by_key(|digest| digest.algorithm);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the value of `Content-Digest` or `Repr-Digest` (RFC 9530, sections 2 and 3).
    pub fn to_field(&self) -> String {
        digest_fields::print(&self.0)
    }

    /// Reads the value of `Content-Digest` or `Repr-Digest`; see [`digest_fields::read`].
    pub fn from_field(value: &str) -> Option<Self> {
        let mut digests = Self::default();
        digest_fields::read(value)?.into_iter().for_each(|digest| digests.set(digest));
        Some(digests)
    }
}

/// The algorithm of exactly this wire name: unlike people, peers must spell it as registered.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
}

impl Serialize for Digests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|digest| (digest.algorithm.name(), digest.hex())))
    }
}

impl<'de> Deserialize<'de> for Digests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut digests = Self::default();
        for (name, text) in BTreeMap::<String, String>::deserialize(deserializer)? {
            if let Some(algorithm) = algorithm(&name) {
                let digest = Digest::from_hex(algorithm, &text);
                digests.set(digest.ok_or_else(|| serde::de::Error::custom(format!("not a {name} in hexadecimal")))?);
            }
        }
        Ok(digests)
    }
}

/// Sets in documents are their runs.
pub(super) mod runs {
    use super::{ByteSet, Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(set: &ByteSet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(set)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSet, D::Error> {
        let text = String::deserialize(deserializer)?;
        ByteSet::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// MD5 in documents is 32 hexadecimal digits, no object around it.
pub(super) mod md5 {
    use super::{Algorithm, Deserialize, Deserializer, Digest, Serializer};

    pub fn serialize<S: Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.serialize_str(&digest.hex()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let digest = Digest::from_hex(Algorithm::Md5, &text);
        digest.map(Some).ok_or_else(|| serde::de::Error::custom("not an MD5 in hexadecimal"))
    }
}
