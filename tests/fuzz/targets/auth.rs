//! Challenges are read or skipped; an answer fits a field whatever the challenge was.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::auth::{DigestChallenge, challenges};

fuzz_target!(|data: &[u8]| {
    // What no field may hold does not get this far.
    let Some(value) = http::HeaderValue::from_bytes(data).ok() else { return };
    let Ok(text) = value.to_str() else { return };
    let found = challenges(text);
    let Some(challenge) = DigestChallenge::best(&found) else { return };
    for user in ["alice", "Jäsøn \"x\\"] {
        let answer = challenge.answer((user, "secret"), "GET", "/dir", 1, "0a4f113b");
        assert!(http::HeaderValue::from_str(&answer).is_ok() && !answer.contains("secret:"), "{answer}");
    }
});
