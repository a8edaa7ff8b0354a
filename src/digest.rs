//! Hash algorithms by their wire names, digests as values, and hash states that survive a restart.
//!
//! Names are those of the HTTP digest-algorithm registry (RFC 9530, section 7.2) where it has one.

use crc_fast::CrcAlgorithm;
use md5::digest::Digest as _;
use md5::digest::common::hazmat::{SerializableState, SerializedState};
use std::fmt;

/// The algorithms this program computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5 (RFC 1321), 16 bytes. An accident check and a wire identity, never a proof against an attacker.
    Md5,
    /// SHA-1 (FIPS 180-4), 20 bytes. As MD5.
    Sha1,
    /// SHA-256 (FIPS 180-4), 32 bytes.
    Sha256,
    /// SHA-512 (FIPS 180-4), 64 bytes.
    Sha512,
    /// BLAKE3, its plain hash mode, 32 bytes.
    Blake3,
    /// CRC-32C (RFC 9260, appendix A), 4 bytes, big-endian.
    Crc32c,
    /// CRC-64/NVME (NVM Express command set 1.0, section 5.2.1.3.4), 8 bytes, big-endian.
    Crc64Nvme,
}

impl Algorithm {
    /// Every algorithm, strongest first.
    pub const ALL: [Self; 7] =
        [Self::Sha512, Self::Sha256, Self::Blake3, Self::Sha1, Self::Md5, Self::Crc64Nvme, Self::Crc32c];

    /// The wire name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
            Self::Blake3 => "blake3",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
        }
    }

    /// The algorithm of a name as people and servers write it: case and dashes do not matter.
    pub fn from_name(name: &str) -> Option<Self> {
        let plain = |s: &str| s.to_ascii_lowercase().replace('-', "");
        let wanted = plain(name);
        match wanted.as_str() {
            "sha" => Some(Self::Sha1),
            _ => Self::ALL.into_iter().find(|alg| plain(alg.name()) == wanted),
        }
    }

    /// The length of its digests in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
            Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest and the algorithm it belongs to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Its bytes, [`Algorithm::size`] of them.
    pub bytes: Vec<u8>,
}

impl Digest {
    /// A digest from its bytes; `None` when their number is not the algorithm's.
    pub fn new(algorithm: Algorithm, bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == algorithm.size()).then_some(Self { algorithm, bytes })
    }

    /// A digest from hexadecimal, upper or lower case.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Option<Self> {
        Self::new(algorithm, unhex(hex)?)
    }

    /// Reads `ALG:HEX`, as `sha256:…` or `sha-256:…`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, hex) = text.split_once(':')?;
        Self::from_hex(Algorithm::from_name(name)?, hex.trim())
    }

    /// Lower-case hexadecimal.
    pub fn hex(&self) -> String {
        hex(&self.bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hexadecimal of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// The bytes of hexadecimal text; `None` when it is not that.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |c: u8| (c as char).to_digit(16).map(|n| n as u8);
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

/// A digest being computed, in the order of the bytes.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    // Two kilobytes of tree beside the others' hundred bytes.
    Blake3(Box<blake3::Hasher>),
    Crc(Algorithm, crc_fast::Digest),
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            Algorithm::Blake3 => State::Blake3(Box::default()),
            Algorithm::Crc32c => State::Crc(algorithm, crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            Algorithm::Crc64Nvme => State::Crc(algorithm, crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme)),
        })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            State::Md5(_) => Algorithm::Md5,
            State::Sha1(_) => Algorithm::Sha1,
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
            State::Blake3(_) => Algorithm::Blake3,
            State::Crc(algorithm, _) => *algorithm,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Md5(h) => h.update(bytes),
            State::Sha1(h) => h.update(bytes),
            State::Sha256(h) => h.update(bytes),
            State::Sha512(h) => h.update(bytes),
            State::Blake3(h) => {
                h.update(bytes);
            }
            State::Crc(_, h) => h.update(bytes),
        }
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let bytes = match self.0 {
            State::Md5(h) => h.finalize().to_vec(),
            State::Sha1(h) => h.finalize().to_vec(),
            State::Sha256(h) => h.finalize().to_vec(),
            State::Sha512(h) => h.finalize().to_vec(),
            State::Blake3(h) => h.finalize().as_bytes().to_vec(),
            State::Crc(algorithm, h) => h.finalize().to_be_bytes()[8 - algorithm.size()..].to_vec(),
        };
        Digest { algorithm, bytes }
    }

    /// The state as text, to go on with in another process; `None` for algorithms whose pieces combine instead (the
    /// CRCs) and for BLAKE3, whose library gives no state away.
    pub fn save(&self) -> Option<String> {
        match &self.0 {
            State::Md5(h) => Some(hex(&h.serialize())),
            State::Sha1(h) => Some(hex(&h.serialize())),
            State::Sha256(h) => Some(hex(&h.serialize())),
            State::Sha512(h) => Some(hex(&h.serialize())),
            State::Crc(..) | State::Blake3(_) => None,
        }
    }

    /// The hasher that [`Hasher::save`] described; `None` when the text is not such a state.
    pub fn restore(algorithm: Algorithm, saved: &str) -> Option<Self> {
        fn state<H: SerializableState>(saved: &str) -> Option<H> {
            let bytes = unhex(saved)?;
            let state = SerializedState::<H>::try_from(bytes.as_slice()).ok()?;
            H::deserialize(&state).ok()
        }
        Some(Self(match algorithm {
            Algorithm::Md5 => State::Md5(state(saved)?),
            Algorithm::Sha1 => State::Sha1(state(saved)?),
            Algorithm::Sha256 => State::Sha256(state(saved)?),
            Algorithm::Sha512 => State::Sha512(state(saved)?),
            Algorithm::Crc32c | Algorithm::Crc64Nvme | Algorithm::Blake3 => return None,
        }))
    }
}

/// The CRC-64/NVME of bytes, and of how many: sums of neighbouring pieces combine without reading them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc {
    /// The checksum.
    pub sum: u64,
    /// How many bytes it covers.
    pub len: u64,
}

impl Crc {
    /// The sum of no bytes.
    pub const EMPTY: Self = Self { sum: 0, len: 0 };

    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sum: crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes), len: bytes.len() as u64 }
    }

    /// The sum of this piece with `next` behind it.
    pub fn then(self, next: Self) -> Self {
        match (self.len, next.len) {
            (0, _) => next,
            (_, 0) => self,
            _ => Self { sum: product(power(next.len), self.sum) ^ next.sum, len: self.len + next.len },
        }
    }

    /// As a [`Digest`].
    pub fn digest(self) -> Digest {
        Digest { algorithm: Algorithm::Crc64Nvme, bytes: self.sum.to_be_bytes().to_vec() }
    }
}

/// The polynomial of CRC-64/NVME without its highest term, lowest coefficient first (NVM Express, NVM Command Set
/// Specification, 64b CRC).
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;

/// `x` to the power of 8 times 2 to the power of the index, modulo the polynomial: what bytes of such a number do to the
/// sum of what stands before them.
static POWERS: [u64; 64] = {
    let mut powers = [1 << 55; 64];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = product(powers[at - 1], powers[at - 1]);
        at += 1;
    }
    powers
};

/// The product of two polynomials over GF(2) of degree 63 at most, lowest coefficient first, modulo [`POLYNOMIAL`].
const fn product(a: u64, mut b: u64) -> u64 {
    let (mut rest, mut sum) = (a, 0);
    while rest != 0 {
        if rest >> 63 == 1 {
            sum ^= b;
        }
        rest <<= 1;
        b = (b >> 1) ^ (POLYNOMIAL * (b & 1));
    }
    sum
}

/// `x` to the power of 8 times `bytes`. The library's own way to combine sums needs a hundred times as long.
fn power(bytes: u64) -> u64 {
    let set = (0..64).filter(|bit| bytes >> bit & 1 == 1);
    set.fold(1 << 63, |power, bit| product(POWERS[bit], power))
}

/// A [`Crc`] being computed over consecutive bytes.
#[derive(Clone)]
pub struct RunningCrc {
    state: crc_fast::Digest,
    len: u64,
}

impl Default for RunningCrc {
    fn default() -> Self {
        Self { state: crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme), len: 0 }
    }
}

impl RunningCrc {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// The sum so far.
    pub fn crc(&self) -> Crc {
        match self.len {
            0 => Crc::EMPTY,
            len => Crc { sum: self.state.clone().finalize(), len },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let digest = |alg| {
            let mut h = Hasher::new(alg);
            h.update(b"1234");
            h.update(b"56789");
            h.finish().hex()
        };
        assert_eq!(digest(Algorithm::Md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(digest(Algorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(digest(Algorithm::Crc32c), "e3069283");
        assert_eq!(digest(Algorithm::Crc64Nvme), "ae8b14860a799888");
        let empty = Hasher::new(Algorithm::Blake3).finish().hex();
        assert_eq!(empty, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert!(digest(Algorithm::Blake3).starts_with("b7d65b48420d1033"));
        assert!(digest(Algorithm::Sha256).starts_with("15e2b0d3c33891eb"));
        assert!(digest(Algorithm::Sha512).starts_with("d9e6762dd1c8eaf6"));
    }

    #[test]
    fn states_survive_a_restart() {
        for alg in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
            let mut one = Hasher::new(alg);
            one.update(&[7; 1000]);
            let mut other = Hasher::restore(alg, &one.save().unwrap()).unwrap();
            one.update(b"rest");
            other.update(b"rest");
            assert_eq!(one.finish(), other.finish());
            assert!(Hasher::restore(alg, "00").is_none() && Hasher::restore(alg, "zz").is_none());
        }
    }

    #[test]
    fn pieces_combine() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * 7) as u8).collect();
        let (a, b) = bytes.split_at(333);
        assert_eq!(Crc::of(a).then(Crc::of(b)), Crc::of(&bytes));
        assert_eq!(Crc::EMPTY.then(Crc::of(a)), Crc::of(a).then(Crc::EMPTY));
        let mut running = RunningCrc::default();
        assert_eq!(running.crc(), Crc::EMPTY);
        a.chunks(10).for_each(|piece| running.update(piece));
        assert_eq!(running.crc(), Crc::of(a));
    }

    proptest::proptest! {
        #[test]
        fn sums_combine_as_the_library_has_them(sum: u64, next: u64, len in 1u64..1 << 60) {
            let library = crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, sum, next, len);
            proptest::prop_assert_eq!(Crc { sum, len: 1 }.then(Crc { sum: next, len }).sum, library);
        }
    }

    #[test]
    fn names_as_people_write_them() {
        for name in ["sha256", "SHA-256", "sha-256"] {
            assert_eq!(Algorithm::from_name(name), Some(Algorithm::Sha256));
        }
        assert_eq!(Digest::parse("md5:25F9E794323B453885F5181F1B624D0B").unwrap().algorithm, Algorithm::Md5);
        for bad in ["md5", "md5:", "md5:25f9", "sha3:00", ":00", "md5:zz"] {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
    }
}
