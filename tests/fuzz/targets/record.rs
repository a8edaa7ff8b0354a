//! A planted sidecar is refused or holds together, and is the same after it was written again.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::record::Record;

fuzz_target!(|text: &str| {
    let Ok(record) = Record::from_toml(text) else { return };
    let boot = record.recent_boot.clone().unwrap_or_default();
    let end = record.layout().length();
    assert!(record.held(&boot).end() <= end && record.durable().end() <= end);
    let pieces = record.durable_pieces();
    assert!(pieces.iter().chain(&record.recent).all(|piece| piece.range.end <= end && !piece.range.is_empty()));
    assert_eq!(Record::from_toml(&record.to_toml()).as_ref(), Ok(&record));
});
