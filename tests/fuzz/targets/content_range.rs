//! A range that is read lies within its total, and is printed as it was meant.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::content_range::ContentRange;

fuzz_target!(|text: &str| {
    let Some(read) = ContentRange::parse(text) else { return };
    if let ContentRange::Part { range, total } = read {
        assert!(!range.is_empty() && total.is_none_or(|total| range.end <= total));
    }
    assert_eq!(ContentRange::parse(&read.to_string()), Some(read));
});
