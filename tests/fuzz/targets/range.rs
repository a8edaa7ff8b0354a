//! A request's range and conditions: the bytes answered with are in the file.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::{headers, wire::range};
use std::time::{Duration, SystemTime};

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<8>() else { return };
    let length = u64::from_le_bytes(*length);
    let inside = |asked| match asked {
        range::Asked::Part(part) => assert!(!part.is_empty() && part.end <= length),
        range::Asked::Whole | range::Asked::Nowhere => {}
    };
    if let Ok(text) = std::str::from_utf8(rest) {
        inside(range::parse(text, length));
    }
    let fields = headers(rest);
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let now = range::Current { etag: "\"a\"".into(), modified };
    let _ = range::conditions(&fields, &now);
    inside(range::asked(&fields, &now, length, modified + Duration::from_secs(60)));
});
