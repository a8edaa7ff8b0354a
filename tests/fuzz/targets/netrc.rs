//! A login file is read or refused; a host that nobody names gets nothing unless there is a default.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::netrc;

fuzz_target!(|text: &str| {
    let plain = netrc::login(text, "example.org", None);
    let of_alice = netrc::login(text, "example.org", Some("alice"));
    assert_eq!(plain.is_err(), of_alice.is_err());
    if let Ok(Some(login)) = of_alice {
        assert_eq!(login.user, "alice");
    }
    if let Ok(Some(_)) = netrc::login(text, "\u{1}nobody", None) {
        assert!(text.to_ascii_lowercase().contains("default") || text.contains('\u{1}') || text.contains('"'));
    }
});
