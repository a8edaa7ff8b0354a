//! A reply's fields as a whole: validators, waits, and lines for a log.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::validator::{self, Form, Likeness};
use onward_fuzz::{headers, wire::mask, wire::retry_after};
use std::time::{Duration, SystemTime};

fuzz_target!(|data: &[u8]| {
    let (one, other) = data.split_at(data.len() / 2);
    let (one, other) = (headers(one), headers(other));
    let (kept, now) = (validator::of_headers(&one), validator::of_headers(&other));
    let kind = |like| (matches!(like, Likeness::Same), matches!(like, Likeness::Different(_)));
    let there = kind(validator::compare(&kept, Some(7), &now, Some(7)));
    assert_eq!(there, kind(validator::compare(&now, Some(7), &kept, Some(7))));
    assert!(kind(validator::compare(&kept, Some(7), &now, Some(8))).1);
    assert!(!kind(validator::compare(&kept, Some(7), &kept, Some(7))).1, "nothing differs from itself");
    for form in [Form::Tag, Form::Date, Form::Bare] {
        if let Some(value) = validator::if_range(&kept, form) {
            assert!(http::HeaderValue::from_str(value).is_ok() && !value.starts_with("W/"));
        }
    }
    let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    assert!(retry_after::wait(&one, clock).is_none_or(|wait| wait <= retry_after::LONGEST));
    for (name, value) in &one {
        let Ok(value) = value.to_str() else { continue };
        mask::masked_field(name.as_str(), value);
    }
});
