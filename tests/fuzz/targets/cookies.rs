//! Cookies from a file and from a server: what is sent fits a field, and goes nowhere it was not meant to.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::{split, wire::cookies::Jar};
use std::time::{Duration, SystemTime};
use url::Url;

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = split(data) else { return };
    let (Ok(home), Ok(abroad)) = (Url::parse("http://www.example.org/dir/x"), Url::parse("http://other.org/dir/x"))
    else {
        return;
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut jar = Jar::default();
    match which % 3 {
        0 => jar = Jar::from_netscape(text).0,
        1 => jar.join(Jar::from_pairs(text, &home).unwrap_or_default()),
        _ => text.lines().for_each(|line| jar.set(line, &home, now)),
    }
    if let Some(header) = jar.header_for(&home, now) {
        assert!(!header.contains(char::is_control));
    }
    assert!(which % 3 == 0 || jar.header_for(&abroad, now).is_none());
});
