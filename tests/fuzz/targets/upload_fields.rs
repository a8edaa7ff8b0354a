//! The fields of tus and of the IETF's uploads: limits are kept, and what is read is read back.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::{rufh, tus};
use onward_fuzz::{headers, split};

fuzz_target!(|data: &[u8]| {
    let fields = headers(data);
    let _ = (tus::length(&fields), tus::offset(&fields), tus::expires(&fields));
    let _ = (rufh::complete(&fields), rufh::offset(&fields), rufh::length(&fields), rufh::is_spoken(&fields));
    if let Some(abilities) = tus::Abilities::from_headers(&fields) {
        let lines: Vec<String> = abilities.fields().iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(tus::Abilities::from_headers(&headers(lines.join("\n").as_bytes())), Some(abilities));
    }
    if let Some(interop) = rufh::Interop::of_headers(&fields) {
        let (name, value) = interop.complete(true);
        assert_eq!(rufh::complete(&headers(format!("{name}:{value}").as_bytes())), Some(true));
    }
    if let Some(limits) = rufh::Limits::of_headers(&fields) {
        assert!(rufh::Limits::parse(&limits.print()).is_some());
        for (left, wanted) in [(1, 1), (1 << 40, 8 << 20), (u64::MAX, u64::MAX)] {
            let size = limits.next(left, wanted).unwrap_or_default();
            assert!(size <= left && limits.max_append_size.is_none_or(|most| size <= most));
        }
    }
    let Some((which, text)) = split(data) else { return };
    match which % 4 {
        0 => {
            let Some(metadata) = tus::Metadata::parse(text) else { return };
            assert_eq!(tus::Metadata::parse(&metadata.to_string()), Some(metadata));
        }
        1 => {
            let Some(concat) = tus::Concat::parse(text) else { return };
            assert_eq!(tus::Concat::parse(&concat.to_string()), Some(concat));
        }
        2 => {
            let Ok(digest) = tus::checksum(text) else { return };
            assert_eq!(tus::checksum(&tus::print_checksum(&digest)), Ok(digest));
        }
        _ => {
            let Some(problem) = rufh::Problem::parse(text.as_bytes()) else { return };
            problem.reason();
            assert!(!problem.words().contains(char::is_control));
        }
    }
});
