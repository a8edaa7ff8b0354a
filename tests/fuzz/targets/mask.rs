//! A URL shown has none of the values that sign or authorise.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::wire::{filename, mask, names};
use url::Url;

fuzz_target!(|text: &str| {
    let once = mask::masked_reference(text);
    assert_eq!(mask::masked_reference(&once), once);
    let Ok(url) = Url::parse(text) else { return };
    let shown = mask::masked(&url);
    for (name, value) in Url::parse(&shown).iter().flat_map(Url::query_pairs) {
        assert!(!mask::is_secret(&name) || value.is_empty() || value == "***", "{name}={value}");
    }
    assert_eq!(mask::has_secret(&url), shown != *url.as_str().split('#').next().unwrap_or_default() || shown.contains("***"));
    let name = filename::of_url(&url);
    assert!(!name.is_empty() && !name.contains('/') && !names::ours(&name));
});
