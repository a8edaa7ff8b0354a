//! Whatever a server calls its file, the name here is harmless, and one we print is read back.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::{disposition, filename, names};

fuzz_target!(|data: &[u8]| {
    let Some(name) = disposition::file_name(data) else { return };
    let safe = filename::safe(&name);
    assert!(!safe.is_empty() && safe.len() <= filename::LONGEST);
    assert!(!safe.contains(['/', '\\']) && !safe.contains(char::is_control));
    assert!(!safe.starts_with(['.', '-']) && !names::ours(&safe));
    assert_eq!(filename::safe(&safe), safe);
    assert_eq!(disposition::file_name(disposition::print("attachment", &safe).as_bytes()).as_ref(), Some(&safe));
});
