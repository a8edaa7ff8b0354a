//! tus 1.0.0: its fields, read and printed for both ends. The protocol's own words for them are kept; which request
//! carries which is the business of the client and of the server.

use crate::digest::{Algorithm, Digest};
use crate::wire::content_range::number;
use crate::wire::validator::instant;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{alphabet, engine::DecodePaddingMode};
use http::HeaderMap;
use std::fmt;
use std::time::SystemTime;

/// The version spoken, the value of [`RESUMABLE`] in every request and reply but those of `OPTIONS`.
pub const VERSION: &str = "1.0.0";
/// The media type of a `PATCH`, and of a creation with content.
pub const CONTENT_TYPE: &str = "application/offset+octet-stream";
/// The status of a reply to bytes that are not those of their checksum.
pub const CHECKSUM_MISMATCH: u16 = 460;

/// The version spoken.
pub const RESUMABLE: &str = "tus-resumable";
/// The versions a server speaks, the preferred one first.
pub const VERSIONS: &str = "tus-version";
/// What a server can do beside the core: [`Extension`].
pub const EXTENSION: &str = "tus-extension";
/// The largest upload a server takes, in bytes.
pub const MAX_SIZE: &str = "tus-max-size";
/// The algorithms a server takes in [`CHECKSUM`].
pub const CHECKSUM_ALGORITHM: &str = "tus-checksum-algorithm";
/// An offset in the upload, in bytes.
pub const OFFSET: &str = "upload-offset";
/// The length of the whole upload, in bytes.
pub const LENGTH: &str = "upload-length";
/// `1`: the length comes later.
pub const DEFER_LENGTH: &str = "upload-defer-length";
/// What the client says of the file: [`Metadata`].
pub const METADATA: &str = "upload-metadata";
/// A part of a file, or the file of parts: [`Concat`].
pub const CONCAT: &str = "upload-concat";
/// The checksum of one request's body.
pub const CHECKSUM: &str = "upload-checksum";
/// When the server forgets an unfinished upload.
pub const EXPIRES: &str = "upload-expires";
/// The method meant by a `POST`, for clients behind proxies that let nothing else through.
pub const METHOD_OVERRIDE: &str = "x-http-method-override";

/// What a server can do beside the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// Uploads are made by `POST`.
    Creation,
    /// … with the first bytes in it.
    CreationWithUpload,
    /// … before the length is known.
    CreationDeferLength,
    /// Unfinished uploads end some day, and the server says when.
    Expiration,
    /// A `PATCH` may carry a checksum.
    Checksum,
    /// … behind its body.
    ChecksumTrailer,
    /// `DELETE` ends an upload.
    Termination,
    /// Uploads are joined into one.
    Concatenation,
    /// … before they are complete.
    ConcatenationUnfinished,
}

impl Extension {
    /// All of the specification.
    pub const ALL: [Self; 9] = [
        Self::Creation,
        Self::CreationWithUpload,
        Self::CreationDeferLength,
        Self::Expiration,
        Self::Checksum,
        Self::ChecksumTrailer,
        Self::Termination,
        Self::Concatenation,
        Self::ConcatenationUnfinished,
    ];

    /// Its name in [`EXTENSION`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::CreationWithUpload => "creation-with-upload",
            Self::CreationDeferLength => "creation-defer-length",
            Self::Expiration => "expiration",
            Self::Checksum => "checksum",
            Self::ChecksumTrailer => "checksum-trailer",
            Self::Termination => "termination",
            Self::Concatenation => "concatenation",
            Self::ConcatenationUnfinished => "concatenation-unfinished",
        }
    }
}

/// What a server announces in its reply to `OPTIONS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// The versions it speaks.
    pub versions: Vec<String>,
    /// The extensions this program knows.
    pub extensions: Vec<Extension>,
    /// The largest upload, in bytes.
    pub max_size: Option<u64>,
    /// The checksum algorithms this program knows.
    pub checksums: Vec<Algorithm>,
}

impl Abilities {
    /// Reads the fields; `None` when there is no [`VERSIONS`]: that server does not speak tus.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let versions: Vec<String> = list(headers, VERSIONS).collect();
        (!versions.is_empty()).then_some(())?;
        let extension = |name: String| Extension::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(&name));
        Some(Self {
            versions,
            extensions: list(headers, EXTENSION).filter_map(extension).collect(),
            max_size: text(headers, MAX_SIZE).and_then(number),
            checksums: list(headers, CHECKSUM_ALGORITHM).filter_map(|name| Algorithm::from_name(&name)).collect(),
        })
    }

    /// The fields that say so.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let extensions: Vec<&str> = self.extensions.iter().map(|extension| extension.name()).collect();
        let checksums: Vec<String> = self.checksums.iter().map(|algorithm| plain_name(*algorithm)).collect();
        let mut fields = vec![(VERSIONS, self.versions.join(",")), (EXTENSION, extensions.join(","))];
        fields.extend(self.max_size.map(|size| (MAX_SIZE, size.to_string())));
        fields.push((CHECKSUM_ALGORITHM, checksums.join(",")));
        fields.retain(|(_, value)| !value.is_empty());
        fields
    }

    /// Whether it speaks the version we do.
    pub fn speaks(&self) -> bool {
        self.versions.iter().any(|version| version == VERSION)
    }

    /// Whether it has this extension.
    pub fn has(&self, extension: Extension) -> bool {
        self.extensions.contains(&extension)
    }
}

/// How long an upload says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Known(u64),
    /// It will be said later.
    Deferred,
}

/// Reads [`LENGTH`] and [`DEFER_LENGTH`]; `None` when neither is there or they cannot be: both at once, another value
/// than `1`, or not a number.
pub fn length(headers: &HeaderMap) -> Option<Length> {
    match (headers.get(LENGTH), text(headers, DEFER_LENGTH)) {
        (Some(_), None) => number(text(headers, LENGTH)?).map(Length::Known),
        (None, Some("1")) => Some(Length::Deferred),
        _ => None,
    }
}

/// Reads [`OFFSET`]; `None` when it is absent or not a number.
pub fn offset(headers: &HeaderMap) -> Option<u64> {
    number(text(headers, OFFSET)?)
}

/// Reads [`EXPIRES`], an HTTP date; some servers write other dates, which are as good as absent.
pub fn expires(headers: &HeaderMap) -> Option<SystemTime> {
    instant(text(headers, EXPIRES)?)
}

/// Prints [`EXPIRES`].
pub fn print_expires(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

/// What the client says of the file, in its order. A value may be absent; values are bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(pub Vec<(String, Vec<u8>)>);

impl Metadata {
    /// Reads [`METADATA`]: `key base64,key base64,key`. `None` for a key that is empty, told twice or not ASCII, and
    /// for what is not base64 (missing padding is forgiven).
    pub fn parse(value: &str) -> Option<Self> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        for pair in value.split(',').map(|pair| pair.trim_matches([' ', '\t'])) {
            if pair.is_empty() && value.trim().is_empty() {
                continue;
            }
            let (key, text) = pair.split_once(' ').unwrap_or((pair, ""));
            let sound = is_key(key) && !pairs.iter().any(|(known, _)| known == key);
            sound.then_some(())?;
            pairs.push((key.into(), LENIENT.decode(text.trim()).ok()?));
        }
        Some(Self(pairs))
    }

    /// Adds a pair, in the place of an older one; `false` when the key cannot be one.
    pub fn set(&mut self, key: &str, value: impl Into<Vec<u8>>) -> bool {
        if !is_key(key) {
            return false;
        }
        self.0.retain(|(known, _)| known != key);
        self.0.push((key.into(), value.into()));
        true
    }

    /// The value of `key` as text; `None` where it is absent or not UTF-8.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        std::str::from_utf8(value).ok()
    }

    /// The file's name by the keys that clients use for it; it is the client's word, not made safe.
    pub fn file_name(&self) -> Option<&str> {
        ["filename", "name", "fileName"].into_iter().find_map(|key| self.get(key)).filter(|name| !name.is_empty())
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(key, value): &(String, Vec<u8>)| match value.is_empty() {
            true => key.clone(),
            false => format!("{key} {}", STANDARD.encode(value)),
        };
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

/// A part of a file, or the file of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concat {
    /// This upload is a part.
    Partial,
    /// This upload is these parts, by their URLs, in this order.
    Final(Vec<String>),
}

impl Concat {
    /// Reads [`CONCAT`]; `None` for anything else, also for a file of no parts.
    pub fn parse(value: &str) -> Option<Self> {
        match value.trim().split_once(';') {
            None => value.trim().eq_ignore_ascii_case("partial").then_some(Self::Partial),
            Some((word, urls)) if word.trim().eq_ignore_ascii_case("final") => {
                let urls: Vec<String> = urls.split_ascii_whitespace().map(str::to_string).collect();
                (!urls.is_empty()).then_some(Self::Final(urls))
            }
            Some(_) => None,
        }
    }
}

impl fmt::Display for Concat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial => f.write_str("partial"),
            Self::Final(urls) => write!(f, "final;{}", urls.join(" ")),
        }
    }
}

/// Why a checksum was not taken; both are a 400 to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadChecksum {
    /// The algorithm is unknown.
    Algorithm,
    /// It is not `algorithm base64`, or not as long as the algorithm has it.
    Form,
}

/// Reads [`CHECKSUM`]: `sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=`.
pub fn checksum(value: &str) -> Result<Digest, BadChecksum> {
    let (name, text) = value.trim().split_once(' ').ok_or(BadChecksum::Form)?;
    let algorithm = Algorithm::from_name(name).ok_or(BadChecksum::Algorithm)?;
    let bytes = LENIENT.decode(text.trim()).map_err(|_| BadChecksum::Form)?;
    Digest::new(algorithm, bytes).ok_or(BadChecksum::Form)
}

/// Prints [`CHECKSUM`].
pub fn print_checksum(digest: &Digest) -> String {
    format!("{} {}", plain_name(digest.algorithm), STANDARD.encode(&digest.bytes))
}

/// Base64 whose padding may be missing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The name of an algorithm as tus spells it: no dashes.
fn plain_name(algorithm: Algorithm) -> String {
    algorithm.name().replace('-', "")
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// The members of a comma-parted list, over all its lines.
fn list(headers: &HeaderMap, name: &str) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let members: Vec<String> = lines.join(",").split(',').map(|member| member.trim().to_string()).collect();
    members.into_iter().filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn abilities_of_real_servers() {
        let tusd = headers(&[
            ("tus-resumable", "1.0.0"),
            ("tus-version", "1.0.0"),
            ("tus-extension", "creation,creation-with-upload,termination,concatenation,creation-defer-length"),
            ("tus-max-size", "1073741824"),
        ]);
        let abilities = Abilities::from_headers(&tusd).unwrap();
        assert!(abilities.speaks() && abilities.has(Extension::Concatenation) && !abilities.has(Extension::Checksum));
        assert_eq!((abilities.extensions.len(), abilities.max_size), (5, Some(1 << 30)));
        let spec = headers(&[
            ("tus-version", "1.0.0,0.2.2,0.2.1"),
            ("tus-extension", "creation, expiration, checksum, vendor-thing"),
            ("tus-checksum-algorithm", "sha1,md5,crc32,sha256"),
        ]);
        let abilities = Abilities::from_headers(&spec).unwrap();
        assert_eq!(abilities.extensions, [Extension::Creation, Extension::Expiration, Extension::Checksum]);
        assert_eq!(abilities.checksums, [Algorithm::Sha1, Algorithm::Md5, Algorithm::Sha256]);
        assert_eq!(Abilities::from_headers(&headers(&[("allow", "GET")])), None);
        let fields = abilities.fields();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert!(fields.contains(&("tus-checksum-algorithm", "sha1,md5,sha256")));
        assert_eq!(Abilities::from_headers(&headers(&fields)), Some(abilities));
    }

    #[test]
    fn lengths_and_offsets() {
        assert_eq!(length(&headers(&[(LENGTH, "100")])), Some(Length::Known(100)));
        assert_eq!(length(&headers(&[(DEFER_LENGTH, "1")])), Some(Length::Deferred));
        for bad in [
            &[][..],
            &[(LENGTH, "-1")],
            &[(LENGTH, "x")],
            &[(DEFER_LENGTH, "2")],
            &[(LENGTH, "1"), (DEFER_LENGTH, "1")],
        ] {
            assert_eq!(length(&headers(bad)), None, "{bad:?}");
        }
        assert_eq!(offset(&headers(&[(OFFSET, "70")])), Some(70));
        assert_eq!(offset(&headers(&[(OFFSET, "+70")])), None);
        let time = expires(&headers(&[(EXPIRES, "Wed, 25 Jun 2014 16:00:00 GMT")])).unwrap();
        assert_eq!(print_expires(time), "Wed, 25 Jun 2014 16:00:00 GMT");
        assert_eq!(expires(&headers(&[(EXPIRES, "2026-01-01T00:00:00Z")])), None);
    }

    #[test]
    fn metadata_as_in_the_specification() {
        let text = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential";
        let metadata = Metadata::parse(text).unwrap();
        assert_eq!(metadata.get("filename"), Some("world_domination_plan.pdf"));
        assert_eq!(metadata.file_name(), Some("world_domination_plan.pdf"));
        assert_eq!(metadata.get("is_confidential"), Some(""));
        assert_eq!(metadata.to_string(), text);
        assert_eq!(Metadata::parse(""), Some(Metadata::default()));
        assert_eq!(Metadata::parse("a YQ, b YQ==").unwrap().get("b"), Some("a"), "blanks, no padding");
        for bad in ["a YQ,a YQ", "a !", ",", "a YQ,,b YQ", "é YQ", " , a YQ"] {
            assert_eq!(Metadata::parse(bad), None, "{bad}");
        }
        let mut metadata = Metadata::default();
        assert!(metadata.set("filename", "写.jpg") && !metadata.set("a b", "") && !metadata.set("", ""));
        assert!(metadata.set("filename", "x"));
        assert_eq!(metadata.to_string(), "filename eA==");
        assert_eq!(metadata.get("other"), None);
    }

    #[test]
    fn concatenation() {
        assert_eq!(Concat::parse("partial"), Some(Concat::Partial));
        let parts = Concat::parse("final;/files/a https://tus.example.org/files/b").unwrap();
        assert_eq!(parts, Concat::Final(vec!["/files/a".into(), "https://tus.example.org/files/b".into()]));
        assert_eq!(parts.to_string(), "final;/files/a https://tus.example.org/files/b");
        for bad in ["", "final", "final;", "final; ", "whole;/a", "partial;/a"] {
            assert_eq!(Concat::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn checksums() {
        let digest = checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").unwrap();
        assert_eq!(digest.to_string(), "sha-1:2aae6c35c94fcfb415dbe95f408b9ce91ee846ed");
        assert_eq!(print_checksum(&digest), "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=");
        assert_eq!(checksum("crc31 AAAA"), Err(BadChecksum::Algorithm));
        for bad in ["sha1", "sha1 ", "sha1 AAAA", "sha1 !!!!"] {
            assert_eq!(checksum(bad), Err(BadChecksum::Form), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn metadata_is_read_back(pairs in proptest::collection::btree_map("[!-+\\--~]{1,8}", proptest::collection::vec(any::<u8>(), 0..20), 0..5)) {
            let metadata = Metadata(pairs.into_iter().collect());
            prop_assert_eq!(Metadata::parse(&metadata.to_string()), Some(metadata));
        }

        #[test]
        fn any_text_is_read_or_refused(value in "[ -~]{0,60}", near in "([a-c]| |,|;|=|final|partial|sha1|YQ==|/){0,20}") {
            for text in [&value, &near] {
                let _ = (Metadata::parse(text), Concat::parse(text), checksum(text));
                let fields = headers(&[(VERSIONS, text), (EXTENSION, text), (LENGTH, text), (EXPIRES, text), (MAX_SIZE, text)]);
                let _ = (Abilities::from_headers(&fields), length(&fields), expires(&fields));
            }
        }
    }
}
