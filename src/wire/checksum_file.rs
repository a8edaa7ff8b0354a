//! Files of checksums, as `SHA256SUMS`: the lines of `sha256sum` and its kin (text, binary, escaped names), the BSD
//! form `SHA256 (name) = hex`, OpenSSL's, and files that hold one bare digest. Signatures and comments around the
//! lines, as distributions have them, are passed over.

use crate::digest::{Algorithm, Digest};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file it speaks of, as written; `None` when the line is a bare digest.
    pub name: Option<String>,
    /// Its digest.
    pub digest: Digest,
}

/// Why no digest was found for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The file holds no line that is a checksum by a known algorithm.
    NoEntries,
    /// There is no line for that name.
    NotListed,
    /// Several lines could be meant, and they differ.
    Ambiguous,
}

/// Reads all lines that are checksums by an algorithm this program knows. `named` is the checksum file's own name:
/// where the length of a digest does not tell the algorithm (`B3SUMS`), it does.
pub fn parse(text: &[u8], named: &str) -> Vec<Entry> {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let bare = bare_algorithms(named);
    text.lines().filter_map(|line| entry(line.trim_end_matches('\r'), &bare)).collect()
}

/// The digest of the file `name` (a last path component): the strongest there is. A line with exactly this name comes
/// before one in some folder; a bare digest counts when it is the only line.
pub fn digest_for<'a>(entries: &'a [Entry], name: &str) -> Result<&'a Digest, Missing> {
    let named = |exact: bool| {
        entries.iter().filter(move |entry| entry.name.as_deref().is_some_and(|listed| names(listed, name, exact)))
    };
    match entries {
        [] => return Err(Missing::NoEntries),
        [Entry { name: None, digest }] => return Ok(digest),
        _ => {}
    }
    let exact = named(true).next().is_some();
    let found: Vec<&Digest> = named(exact).map(|entry| &entry.digest).collect();
    let best = found.iter().min_by_key(|digest| rank(digest.algorithm)).ok_or(Missing::NotListed)?;
    match found.iter().any(|digest| digest.algorithm == best.algorithm && digest != best) {
        true => Err(Missing::Ambiguous),
        false => Ok(best),
    }
}

/// Whether the listed name means the file: itself, or, when not `exact`, by its last component.
fn names(listed: &str, name: &str, exact: bool) -> bool {
    let listed = listed.strip_prefix("./").unwrap_or(listed);
    listed == name || (!exact && listed.rsplit(['/', '\\']).next() == Some(name))
}

fn rank(algorithm: Algorithm) -> Option<usize> {
    Algorithm::ALL.iter().position(|alg| *alg == algorithm)
}

fn entry(line: &str, bare: &[Algorithm]) -> Option<Entry> {
    let line = line.trim_start_matches([' ', '\t']);
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (name, digest) = bsd(line).or_else(|| gnu(line, bare))?;
    let name = match (name, escaped) {
        (Some(name), true) => Some(unescape(name)?),
        (name, _) => name.map(str::to_string),
    };
    Some(Entry { name, digest })
}

/// `SHA256 (name) = hex`, and `SHA2-256(name)= hex` of OpenSSL.
fn bsd(line: &str) -> Option<(Option<&str>, Digest)> {
    let (algorithm, rest) = line.split_once('(')?;
    let (name, hex) = rest.rsplit_once(')')?;
    let hex = hex.trim_start().strip_prefix('=')?.trim();
    let algorithm = algorithm.trim();
    let algorithm = algorithm.strip_prefix("SHA2-").map_or_else(|| algorithm.to_string(), |bits| format!("SHA{bits}"));
    (!name.is_empty()).then_some(())?;
    Some((Some(name), Digest::from_hex(Algorithm::from_name(&algorithm)?, hex)?))
}

/// `hex  name` and `hex *name`, or `hex` alone. One character between is enough for `sha256sum -c`, and for us.
fn gnu<'a>(line: &'a str, bare: &[Algorithm]) -> Option<(Option<&'a str>, Digest)> {
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let (hex, rest) = line.split_at(end);
    let algorithm = bare.iter().find(|algorithm| algorithm.size() * 2 == hex.len())?;
    let digest = Digest::from_hex(*algorithm, hex)?;
    let mut chars = rest.chars();
    chars.next();
    let name = match chars.as_str().strip_prefix([' ', '*']) {
        Some(name) => name,
        None => chars.as_str(),
    };
    Some(((!name.trim().is_empty()).then_some(name), digest))
}

/// The algorithms that bare digests may be by, told apart by their length. The checksum file's own name comes first
/// (`B3SUMS`, `x.iso.sha512`); when it names one that this program does not know, no bare digest is believed, since
/// it could have the length of another.
fn bare_algorithms(named: &str) -> Vec<Algorithm> {
    const USUAL: [Algorithm; 4] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1, Algorithm::Md5];
    const FOREIGN: [&str; 7] = ["b2sum", "blake2", "sha3", "sha224", "sha384", "sm3", "ripemd"];
    let named = named.to_ascii_lowercase().replace('-', "");
    if FOREIGN.iter().any(|name| named.contains(name)) {
        return Vec::new();
    }
    let short = |algorithm: &Algorithm| algorithm.name().replace('-', "");
    let said = |algorithm: &Algorithm| {
        named.contains(&short(algorithm)) || (*algorithm == Algorithm::Blake3 && named.contains("b3sum"))
    };
    Algorithm::ALL.into_iter().filter(said).chain(USUAL).collect()
}

/// The name of a line that began with a backslash: `\\`, `\n` and `\r` in it are one character each.
fn unescape(name: &str) -> Option<String> {
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const B: &str = "e258d248fda94c63753607f7c4494ee0fcbe92f1a76bfdac795c9d84101eb317";
    const MD5: &str = "25f9e794323b453885f5181f1b624d0b";

    fn found(text: &str, name: &str) -> Result<String, Missing> {
        digest_for(&parse(text.as_bytes(), "SHA256SUMS"), name).map(Digest::to_string)
    }

    fn sha(hex: &str) -> Result<String, Missing> {
        Ok(format!("sha-256:{hex}"))
    }

    #[test]
    fn lines_of_the_gnu_tools() {
        let text = format!("{A}  one.iso\n{B} *two words.iso\r\n\n{}\n", A.to_uppercase() + "  three");
        assert_eq!(found(&text, "one.iso"), sha(A));
        assert_eq!(found(&text, "two words.iso"), sha(B));
        assert_eq!(found(&text, "three"), sha(A));
        assert_eq!(found(&text, "four"), Err(Missing::NotListed));
        assert_eq!(found(&format!("{A} one\n{B} two"), "one"), sha(A), "one blank");
        assert_eq!(found(&format!("{A}\tone\n{B}\ttwo"), "two"), sha(B), "tabs");
    }

    #[test]
    fn escaped_names() {
        let text = format!("\\{A}  back\\\\slash\\nline\n{B}  back\\\\slash\n\\{B}  bad\\x\n");
        assert_eq!(found(&text, "back\\slash\nline"), sha(A));
        assert_eq!(found(&text, "back\\\\slash"), sha(B));
        assert_eq!(parse(text.as_bytes(), "").len(), 2);
    }

    #[test]
    fn bsd_and_openssl_lines() {
        let text = format!(
            "SHA256 (a (1).iso) = {A}\nMD5 (a (1).iso) = {MD5}\nSHA2-256(b)= {B}\nSHA3-256 (c) = {A}\nBLAKE2b (c) = {A}\n"
        );
        assert_eq!(found(&text, "a (1).iso"), sha(A), "the stronger of two");
        assert_eq!(found(&text, "b"), sha(B));
        assert_eq!(found(&text, "c"), Err(Missing::NotListed));
        assert_eq!(found(&format!("\\SHA256 (a\\\\b) = {A}\nSHA256 (x) = {B}"), "a\\b"), sha(A));
    }

    #[test]
    fn a_signed_file_of_a_distribution() {
        let text = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# big.iso: 123 bytes\nSHA256 (big.iso) = {A}\n\
             -----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n"
        );
        assert_eq!(found(&text, "big.iso"), sha(A));
        assert_eq!(parse(text.as_bytes(), "").len(), 1);
    }

    #[test]
    fn names_in_folders_and_bare_digests() {
        let text = format!("{A}  ./pool/x.deb\n{B}  other/y.deb\n");
        assert_eq!(found(&text, "x.deb"), sha(A));
        let twice = format!("{A}  a/x.deb\n{B}  b/x.deb\n");
        assert_eq!(found(&twice, "x.deb"), Err(Missing::Ambiguous));
        assert_eq!(found(&format!("{twice}{B}  ./x.deb\n"), "x.deb"), sha(B), "the exact one");
        assert_eq!(found(&format!("{A}  a/x.deb\n{A}  b/x.deb\n"), "x.deb"), sha(A), "they agree");
        assert_eq!(found(&format!("{A}\n"), "anything"), sha(A));
        assert_eq!(found(&format!("{A}\n{B}\n"), "anything"), Err(Missing::NotListed));
        assert_eq!(found("<html>not found</html>", "x"), Err(Missing::NoEntries));
        assert_eq!(found("\u{FEFF}", "x"), Err(Missing::NoEntries));
        assert_eq!(found(&format!("\u{FEFF}{A}  x\n"), "x"), sha(A));
    }

    #[test]
    fn the_length_tells_the_algorithm() {
        let algorithm = |hex: &str, named| parse(hex.as_bytes(), named)[0].digest.algorithm;
        assert_eq!(algorithm(MD5, "SHA256SUMS"), Algorithm::Md5);
        assert_eq!(algorithm(A, "CHECKSUM"), Algorithm::Sha256);
        assert_eq!(algorithm(&A.repeat(2), "x.sha512"), Algorithm::Sha512);
        assert!(parse(b"e3069283  x", "SUMS").is_empty());
        assert_eq!(algorithm("e3069283  x", "x.crc32c"), Algorithm::Crc32c);
        assert_eq!(algorithm(A, "B3SUMS"), Algorithm::Blake3);
        assert_eq!(algorithm(&format!("BLAKE3 (x) = {A}"), "SUMS"), Algorithm::Blake3);
        assert!(parse(A.repeat(2).as_bytes(), "B2SUMS").is_empty(), "as long as a SHA-512");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_passed_over(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&text, "x");
        }

        #[test]
        fn a_printed_line_is_read_back(name in "[^\\\\ \r\n/*\\pC][^\\\\\r\n/\\pC]{0,20}") {
            prop_assume!(!name.contains(')') && !name.trim().is_empty());
            let text = format!("{A}  {name}\n{B} *other\nSHA256 ({name}) = {A}\n");
            prop_assert_eq!(found(&text, &name), sha(A));
        }
    }
}
