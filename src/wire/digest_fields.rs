//! Digests in fields: the standard ones (RFC 9530), their elders, and those of the large object stores. A server that
//! tells a digest is held to it without being asked to.

use crate::digest::{Algorithm, Digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

/// A digest that a server offers, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The digest.
    pub digest: Digest,
    /// The field's name, lower case.
    pub field: &'static str,
}

/// What a reply's fields offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// Digests of the whole file, the strongest algorithm first, one by each.
    pub whole: Vec<Offer>,
    /// Digests of this reply's body, which may be a part of the file.
    pub body: Vec<Offer>,
}

/// Prints `Repr-Digest` or `Content-Digest` (RFC 9530, sections 2 and 3): `sha-256=:…:, md5=:…:`.
pub fn print(digests: &[Digest]) -> String {
    let one = |digest: &Digest| format!("{}=:{}:", key(digest.algorithm), STANDARD.encode(&digest.bytes));
    digests.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Reads `Repr-Digest` or `Content-Digest`. Algorithms this program does not know are skipped; a value that is no
/// dictionary of byte sequences, or a digest of the wrong length, is refused whole.
pub fn read(value: &str) -> Option<Vec<Digest>> {
    let fields: sfv::Dictionary = sfv::Parser::new(value).parse().ok()?;
    let mut digests = Vec::new();
    for (name, entry) in fields {
        let sfv::ListEntry::Item(item) = entry else { return None };
        let bytes = item.bare_item.as_byte_sequence()?;
        if let Some(algorithm) = algorithm(name.as_str()) {
            digests.push(Digest::new(algorithm, bytes.to_vec())?);
        }
    }
    Some(digests)
}

/// Prints `Want-Repr-Digest` or `Want-Content-Digest` (RFC 9530, section 4), the first algorithm wanted most.
pub fn print_wanted(algorithms: &[Algorithm]) -> String {
    let one =
        |(at, algorithm): (usize, &Algorithm)| format!("{}={}", key(*algorithm), 10usize.saturating_sub(at).max(1));
    algorithms.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
}

/// Reads `Want-Repr-Digest` or `Want-Content-Digest`: the algorithms this program knows, wanted most first.
pub fn read_wanted(value: &str) -> Vec<Algorithm> {
    let fields: sfv::Dictionary = sfv::Parser::new(value).parse().unwrap_or_default();
    let mut wanted: Vec<(i64, Algorithm)> = fields
        .iter()
        .filter_map(|(name, entry)| match entry {
            sfv::ListEntry::Item(item) => Some((i64::from(item.bare_item.as_integer()?), algorithm(name.as_str())?)),
            sfv::ListEntry::InnerList(_) => None,
        })
        .filter(|(weight, _)| (1..=10).contains(weight))
        .collect();
    wanted.sort_by_key(|(weight, _)| -weight);
    wanted.into_iter().map(|(_, algorithm)| algorithm).collect()
}

/// Gathers what a reply offers. `whole_body`: its body is the whole file (200, or a 206 that covers all of it);
/// several fields speak of the body they came with, and some servers mean the file even then, so on a part they are
/// not believed in either sense.
pub fn offered(headers: &HeaderMap, whole_body: bool) -> Offers {
    let mut offers = Offers::default();
    // Most replies say nothing of the kind, which is seen sooner than that each of twenty fields is missing.
    if !headers.keys().any(|name| may_be_one(name.as_str())) {
        return offers;
    }
    let mut whole = |field, digests: Vec<Digest>| {
        offers.whole.extend(digests.into_iter().map(|digest| Offer { digest, field }));
    };
    whole("repr-digest", text(headers, "repr-digest").and_then(|value| read(&value)).unwrap_or_default());
    whole("digest", text(headers, "digest").map(|value| legacy(&value)).unwrap_or_default());
    if text(headers, "x-goog-stored-content-encoding").is_none_or(|coding| coding.eq_ignore_ascii_case("identity")) {
        whole("x-goog-hash", text(headers, "x-goog-hash").map(|value| legacy(&value)).unwrap_or_default());
    }
    whole("x-ms-blob-content-md5", single(headers, "x-ms-blob-content-md5", Algorithm::Md5));
    for (field, algorithm) in HEX_FIELDS {
        let hex = text(headers, field).and_then(|value| Digest::from_hex(algorithm, strip_name(&value)));
        whole(field, hex.into_iter().collect());
    }
    if whole_body {
        whole("content-md5", single(headers, "content-md5", Algorithm::Md5));
        for (field, algorithm) in AMAZON_FIELDS {
            whole(field, amazon(headers, field, algorithm));
        }
    }
    let body = text(headers, "content-digest").and_then(|value| read(&value)).unwrap_or_default();
    offers.body = body.into_iter().map(|digest| Offer { digest, field: "content-digest" }).collect();
    if whole_body {
        offers.whole.extend(offers.body.iter().cloned());
    }
    settle(&mut offers.whole);
    settle(&mut offers.body);
    offers
}

/// Whether a field's name is like those of fields with a digest.
fn may_be_one(name: &str) -> bool {
    ["digest", "hash", "md5"].iter().any(|end| name.ends_with(end))
        || ["x-checksum", "x-amz-checksum"].iter().any(|start| name.starts_with(start))
}

/// Fields with one digest in hexadecimal: artifact repositories and container registries.
const HEX_FIELDS: [(&str, Algorithm); 5] = [
    ("x-checksum-sha512", Algorithm::Sha512),
    ("x-checksum-sha256", Algorithm::Sha256),
    ("docker-content-digest", Algorithm::Sha256),
    ("x-checksum-sha1", Algorithm::Sha1),
    ("x-checksum-md5", Algorithm::Md5),
];

/// Fields with one digest in base64, of the S3 interface.
const AMAZON_FIELDS: [(&str, Algorithm); 6] = [
    ("x-amz-checksum-sha512", Algorithm::Sha512),
    ("x-amz-checksum-sha256", Algorithm::Sha256),
    ("x-amz-checksum-sha1", Algorithm::Sha1),
    ("x-amz-checksum-md5", Algorithm::Md5),
    ("x-amz-checksum-crc64nvme", Algorithm::Crc64Nvme),
    ("x-amz-checksum-crc32c", Algorithm::Crc32c),
];

/// Strongest first, one by each algorithm: where fields contradict one another the standard one, which was taken
/// first, has the word.
fn settle(offers: &mut Vec<Offer>) {
    let strength = |offer: &Offer| Algorithm::ALL.iter().position(|alg| *alg == offer.digest.algorithm);
    offers.sort_by_key(strength);
    offers.dedup_by_key(|offer| offer.digest.algorithm);
}

/// All lines of a field as one value (RFC 9110, section 5.3).
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Option<Vec<&str>> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    Some(lines.filter(|lines| !lines.is_empty())?.join(", "))
}

/// The elder form: `SHA-256=base64, MD5=base64` (RFC 3230), and `crc32c=…,md5=…` of Google's storage. Members that
/// are unknown or unreadable are skipped.
fn legacy(value: &str) -> Vec<Digest> {
    let one = |member: &str| {
        let (name, text) = member.trim().split_once('=')?;
        let algorithm = algorithm(&name.trim().to_ascii_lowercase())?;
        base64(algorithm, text).or_else(|| Digest::from_hex(algorithm, text.trim().trim_matches('"')))
    };
    value.split(',').filter_map(one).collect()
}

fn single(headers: &HeaderMap, field: &str, algorithm: Algorithm) -> Vec<Digest> {
    text(headers, field).and_then(|value| base64(algorithm, &value)).into_iter().collect()
}

/// A checksum of the S3 interface. One "of parts" (`…-5`, or so declared) is a checksum of checksums and not of the
/// file.
fn amazon(headers: &HeaderMap, field: &str, algorithm: Algorithm) -> Vec<Digest> {
    match text(headers, "x-amz-checksum-type") {
        Some(kind) if !kind.eq_ignore_ascii_case("FULL_OBJECT") => Vec::new(),
        _ => single(headers, field, algorithm),
    }
}

fn base64(algorithm: Algorithm, text: &str) -> Option<Digest> {
    Digest::new(algorithm, STANDARD.decode(text.trim().trim_matches('"')).ok()?)
}

fn strip_name(value: &str) -> &str {
    value.trim().rsplit(':').next().unwrap_or_default()
}

/// The registry's key of an algorithm; SHA-1 is `sha` there, for history's sake.
fn key(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha1 => "sha",
        other => other.name(),
    }
}

/// The algorithm of exactly this key, lower case: unlike people, peers must spell it as registered.
fn algorithm(name: &str) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| key(*algorithm) == name || algorithm.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn whole(fields: &[(&str, &str)]) -> Vec<String> {
        let shown = |offer: &Offer| format!("{} {}", offer.field, offer.digest);
        offered(&headers(fields), true).whole.iter().map(shown).collect()
    }

    const MD5: &str = "md5:25f9e794323b453885f5181f1b624d0b";
    const MD5_64: &str = "JfnnlDI7RTiF9RgfG2JNCw==";
    const CRC32C_64: &str = "4waSgw==";

    #[test]
    fn the_standard_fields() {
        let example = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:, unknown=:AA==:";
        let digests = read(example).unwrap();
        assert_eq!(digests[0].to_string(), "sha-256:44aff4ab2d7c3250525675a08f0cfa9591168cffe51791c5f5bbc417c15a6c38");
        assert_eq!(format!("{}, unknown=:AA==:", print(&digests)), example);
        let sha1 = Digest::parse("sha1:f7c3bc1d808e04732adf679965ccc34ca7ae3441").unwrap();
        assert_eq!(print(std::slice::from_ref(&sha1)), "sha=:98O8HYCOBHMq32eZZczDTKeuNEE=:");
        assert_eq!(read(&print(std::slice::from_ref(&sha1))), Some(vec![sha1]));
        for bad in
            ["sha-256=abc", "sha-256=:AA==:", "sha-256", "sha-256=(:AA==:)", "SHA-256=:AA==:", ",", "md5=:JfnnlDI7"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(""), Some(vec![]));
    }

    #[test]
    fn wishes() {
        let wish = print_wanted(&[Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5]);
        assert_eq!(wish, "sha-256=10, sha-512=9, md5=8");
        assert_eq!(read_wanted(&wish), [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5]);
        assert_eq!(
            read_wanted("sha-512=3, sha-256=10, unixsum=0, md5=0, sha=11"),
            [Algorithm::Sha256, Algorithm::Sha512]
        );
        assert_eq!(read_wanted("nonsense;;"), []);
    }

    #[test]
    fn what_servers_offer() {
        let field = |name: &str| format!("{name} {MD5}");
        assert_eq!(whole(&[("repr-digest", &format!("md5=:{MD5_64}:"))]), [field("repr-digest")]);
        assert_eq!(whole(&[("digest", &format!("MD5={MD5_64},UNIXsum=30637"))]), [field("digest")]);
        assert_eq!(whole(&[("content-md5", MD5_64)]), [field("content-md5")]);
        assert_eq!(whole(&[("x-ms-blob-content-md5", MD5_64)]), [field("x-ms-blob-content-md5")]);
        assert_eq!(whole(&[("x-checksum-md5", &MD5[4..])]), [field("x-checksum-md5")]);
        let google = [("x-goog-hash", &*format!("crc32c={CRC32C_64}")), ("x-goog-hash", &format!("md5={MD5_64}"))];
        assert_eq!(whole(&google), [field("x-goog-hash"), "x-goog-hash crc32c:e3069283".into()]);
        assert_eq!(whole(&[google[0], google[1], ("x-goog-stored-content-encoding", "gzip")]), Vec::<String>::new());
        assert_eq!(whole(&[("x-amz-checksum-crc32c", CRC32C_64)]), ["x-amz-checksum-crc32c crc32c:e3069283"]);
        let hex = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let docker = whole(&[("docker-content-digest", &format!("sha256:{hex}"))]);
        assert_eq!(docker, [format!("docker-content-digest sha-256:{hex}")]);
    }

    #[test]
    fn checksums_of_parts_are_not_the_files() {
        assert!(whole(&[("x-amz-checksum-crc32c", "4waSgw==-3")]).is_empty());
        assert!(whole(&[("x-amz-checksum-crc32c", CRC32C_64), ("x-amz-checksum-type", "COMPOSITE")]).is_empty());
        let part = headers(&[("content-md5", MD5_64), ("x-amz-checksum-crc32c", CRC32C_64)]);
        assert_eq!(offered(&part, false), Offers::default());
        let part = headers(&[
            ("content-digest", &format!("md5=:{MD5_64}:")),
            ("repr-digest", &format!("crc32c=:{CRC32C_64}:")),
        ]);
        let offers = offered(&part, false);
        assert_eq!((offers.whole[0].field, offers.body[0].field), ("repr-digest", "content-digest"));
        assert_eq!((offers.whole.len(), offers.body.len()), (1, 1));
        assert_eq!(offered(&part, true).whole.len(), 2);
    }

    #[test]
    fn the_standard_field_has_the_word() {
        let other = "AAAAAAAAAAAAAAAAAAAAAA==";
        let both = [("content-md5", other), ("repr-digest", &*format!("md5=:{MD5_64}:"))];
        assert_eq!(whole(&both), [format!("repr-digest {MD5}")]);
        for (field, value) in
            [("content-md5", "zzz"), ("digest", "md5"), ("repr-digest", "md5=zz"), ("x-checksum-md5", "12")]
        {
            assert!(whole(&[(field, value)]).is_empty(), "{field}: {value}");
        }
    }

    #[test]
    fn no_field_is_passed_over() {
        let fields = HEX_FIELDS.iter().map(|(field, _)| *field).chain(AMAZON_FIELDS.iter().map(|(field, _)| *field));
        for field in fields.chain(["repr-digest", "digest", "content-digest", "x-goog-hash", "content-md5"]) {
            assert!(may_be_one(field), "{field}");
        }
        assert!(may_be_one("x-ms-blob-content-md5") && !may_be_one("content-type"));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(picks in proptest::collection::vec((0usize..Algorithm::ALL.len(), any::<u8>()), 0..5)) {
            let mut digests: Vec<Digest> = picks
                .into_iter()
                .map(|(at, byte)| Digest::new(Algorithm::ALL[at], vec![byte; Algorithm::ALL[at].size()]).unwrap())
                .collect();
            digests.sort_by_key(|digest| digest.algorithm);
            digests.dedup_by_key(|digest| digest.algorithm);
            prop_assert_eq!(read(&print(&digests)), Some(digests));
        }


    #[test]
        fn any_text_is_read_or_refused(value in "[ -~]{0,60}", near in "((sha-256|md5|crc32c|=|:|,|;|[A-Za-z0-9+/]{4}|==)){0,12}") {
            for text in [&value, &near] {
                let _ = (read(text), read_wanted(text), legacy(text));
                let fields = headers(&[("digest", text), ("x-goog-hash", text), ("content-md5", text), ("docker-content-digest", text)]);
                let _ = offered(&fields, true);
            }
        }
    }
}
