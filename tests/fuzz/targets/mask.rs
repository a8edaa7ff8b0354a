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
    let plain = text_without_fragment(&url);
    assert!(mask::has_secret(&url) || shown == plain, "{shown}");
    let name = filename::of_url(&url);
    assert!(!name.is_empty() && !name.contains('/') && !names::ours(&name));
});

fn text_without_fragment(url: &Url) -> String {
    let mut plain = url.clone();
    plain.set_fragment(None);
    plain.into()
}
