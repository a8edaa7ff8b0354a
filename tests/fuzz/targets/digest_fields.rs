//! Digest fields of every kind: what is read has the right length, and is read back.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::{headers, wire::digest_fields};

fuzz_target!(|data: &[u8]| {
    let fields = headers(data);
    for whole in [false, true] {
        let offers = digest_fields::offered(&fields, whole);
        for offer in offers.whole.iter().chain(&offers.body) {
            assert_eq!(offer.digest.bytes.len(), offer.digest.algorithm.size());
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(digests) = digest_fields::read(text) {
        let again = digest_fields::read(&digest_fields::print(&digests)).expect("what is printed is read");
        assert!(again.iter().all(|digest| digests.contains(digest)));
    }
    digest_fields::read_wanted(text);
});
