//! The handshake's documents and fields, from either end: a set never reaches past the file, and what is read is the
//! same after it was printed.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::{split, wire::handshake as hs, wire::names};
use serde::{Serialize, de::DeserializeOwned};

fn both_ways<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let read: T = serde_json::from_str(text).ok()?;
    let printed = serde_json::to_string(&read).expect("a document is printed");
    assert_eq!(serde_json::from_str::<T>(&printed).ok().as_ref(), Some(&read));
    Some(read)
}

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = split(data) else { return };
    match which % 12 {
        0 => {
            let Some(begin) = both_ways::<hs::Begin>(text) else { return };
            assert!(begin.layout().is_none_or(|layout| layout.count() <= onward_fuzz::chunk::MAX_CHUNKS));
            let _ = (names::parts(&begin.name), hs::wanted(&begin.want));
        }
        1 | 2 => {
            let Some(status) = both_ways::<hs::Status>(text) else { return };
            let held = status.held();
            assert!(held.as_ref().is_none_or(|held| held.end() <= status.size));
            assert!(status.other.is_none_or(|offer| !offer.fits(status.size) || offer.ranges.end() <= status.size));
        }
        3 => drop(both_ways::<hs::Identity>(text)),
        4 => drop(both_ways::<hs::Complete>(text)),
        5 => drop(both_ways::<hs::ChunkDigests>(text)),
        6 => {
            let limits = hs::Limits::from_field(text);
            let again = hs::Limits::from_field(&limits.to_field());
            assert_eq!((again.chunk_max, again.file_max), (limits.chunk_max, limits.file_max));
        }
        7 => {
            let Some(place) = hs::Place::parse(text) else { return };
            assert_eq!(hs::Place::parse(&place.to_string()), Some(place));
        }
        8 => {
            let Some(chunks) = hs::read_digests_query(text) else { return };
            let printed = hs::digests_query(&chunks);
            assert_eq!(hs::read_digests_query(printed.trim_start_matches('?')), Some(chunks));
        }
        9 => {
            if let Ok(problem) = serde_json::from_str::<hs::Problem>(text) {
                problem.reason();
            }
        }
        10 => {
            if let Ok(parts) = names::parts(text) {
                assert!(
                    !parts.is_empty() && parts.iter().all(|part| !part.is_empty() && !part.contains(['/', '\\', '\0']))
                );
                assert!(parts.iter().all(|part| *part != "." && *part != ".." && !names::private(part)));
            }
        }
        _ => {
            if let Some(digests) = hs::Digests::from_field(text) {
                assert_eq!(hs::Digests::from_field(&digests.to_field()), Some(digests));
            }
        }
    }
});
