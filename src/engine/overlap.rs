//! Evidence where a remote's word does not decide: a few ranges that are here are fetched again and compared. Equal
//! bytes at the head, the tail, before every gap and at random places make it very unlikely that two versions were
//! mixed; they prove nothing about the bytes in between.

use crate::chunk::ByteRange;
use crate::fault::{Fault, Kind};
use crate::source::{Answer, Ask, Source};

/// How much is compared at each place, in bytes.
const PROBE: u64 = 64 << 10;
/// How many random places are looked at.
const RANDOM: usize = 3;

/// Reads local bytes into a buffer, from an offset on.
pub type ReadAt<'a> = &'a dyn Fn(&mut [u8], u64) -> Result<(), Fault>;

/// What comparing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The bytes are equal wherever they were compared.
    Same,
    /// Some bytes differ.
    Differs,
    /// The remote gave no ranges to compare.
    NoRanges,
}

/// Compares the bytes that are here, in `runs` and given by `read`, with those of the remote, which `fetch` gives as
/// [`fetch`] does.
pub async fn compare(
    runs: &[ByteRange],
    read: ReadAt<'_>,
    fetch: impl AsyncFn(ByteRange) -> Result<Option<Vec<u8>>, Fault>,
) -> Result<Compared, Fault> {
    for range in probes(runs, || getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15)) {
        let Some(remote) = fetch(range).await? else { return Ok(Compared::NoRanges) };
        let mut here = vec![0; remote.len()];
        read(&mut here, range.start)?;
        if here != remote {
            return Ok(Compared::Differs);
        }
    }
    Ok(Compared::Same)
}

/// Where to look: the head, the last bytes of every run, random places.
fn probes(runs: &[ByteRange], mut random: impl FnMut() -> u64) -> Vec<ByteRange> {
    let mut probes: Vec<ByteRange> = Vec::new();
    let total: u64 = runs.iter().map(ByteRange::len).sum();
    let Some(first) = runs.first() else { return probes };
    probes.push(ByteRange::new(first.start, first.end.min(first.start + PROBE)));
    let tail = |run: &ByteRange| ByteRange::new(run.start.max(run.end.saturating_sub(PROBE)), run.end);
    probes.extend(runs.iter().map(tail));
    for _ in 0..RANDOM {
        let mut skip = random() % total.max(1);
        for run in runs {
            if skip < run.len() {
                probes.push(ByteRange::new(run.start + skip, run.end.min(run.start + skip + PROBE)));
                break;
            }
            skip -= run.len();
        }
    }
    probes.sort();
    probes.dedup();
    probes
}

/// The remote's bytes of a range; `None` when it does not send that range. A web page in place of it may pass.
pub async fn fetch(source: &dyn Source, range: ByteRange) -> Result<Option<Vec<u8>>, Fault> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < range.len() {
        let from = range.start + bytes.len() as u64;
        let mut body = match source.ask(Ask::range(from, Some(range.end))).await? {
            Answer::Part { body, .. } => body,
            Answer::Whole { head, .. } if head.html => {
                let text = format!("{} sent a web page where a part of the file was expected", source.host());
                return Err(Fault::new(Kind::Network, text));
            }
            Answer::Whole { .. } | Answer::Beyond { .. } | Answer::Unfit { .. } | Answer::Unchanged => return Ok(None),
        };
        let before = bytes.len();
        while let Some(next) = body.next().await? {
            bytes.extend_from_slice(&next);
        }
        if bytes.len() == before {
            return Err(Fault::new(Kind::Network, format!("{} sends empty ranges", source.host())));
        }
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_where_versions_would_be_mixed() {
        let runs = [ByteRange::new(0, 1 << 20), ByteRange::new(2 << 20, 3 << 20)];
        let probes = probes(&runs, || 70_000);
        assert!(probes.contains(&ByteRange::new(0, PROBE)), "{probes:?}");
        assert!(probes.contains(&ByteRange::new((1 << 20) - PROBE, 1 << 20)), "{probes:?}");
        assert!(probes.contains(&ByteRange::new((3 << 20) - PROBE, 3 << 20)), "{probes:?}");
        assert!(probes.contains(&ByteRange::new(70_000, 70_000 + PROBE)), "{probes:?}");
        assert!(super::probes(&[], || 0).is_empty());
    }
}
