//! Checksum files: what is found for a name is one of the file's own digests.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::checksum_file;

fuzz_target!(|data: &[u8]| {
    for named in ["SHA256SUMS", "B3SUMS", "B2SUMS", "x"] {
        let entries = checksum_file::parse(data, named);
        for name in ["x", "big.iso"].into_iter().chain(entries.first().and_then(|entry| entry.name.as_deref())) {
            if let Ok(digest) = checksum_file::digest_for(&entries, name) {
                assert!(entries.iter().any(|entry| entry.digest == *digest));
            }
        }
    }
});
