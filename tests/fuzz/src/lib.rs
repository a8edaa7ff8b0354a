//! The ground floor of `onward` by itself: values in, values out. That this compiles without the network, TLS and
//! terminal libraries keeps the builds short, and is a proof of the layer at the same time.
#![allow(dead_code, missing_docs)]

#[path = "../../../src/byteset.rs"]
pub mod byteset;
#[path = "../../../src/chunk.rs"]
pub mod chunk;
#[path = "../../../src/digest.rs"]
pub mod digest;
#[path = "../../../src/fault.rs"]
pub mod fault;
#[path = "../../../src/record/mod.rs"]
pub mod record;
#[path = "../../../src/units.rs"]
pub mod units;
#[path = "../../../src/wire/mod.rs"]
pub mod wire;

/// The first byte chooses, the rest is text; `None` when it is not.
pub fn split(data: &[u8]) -> Option<(u8, &str)> {
    let (first, rest) = data.split_first()?;
    Some((*first, std::str::from_utf8(rest).ok()?))
}

/// A field map of `name: value` lines; what no field may hold is left out.
pub fn headers(data: &[u8]) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (http::HeaderName::from_bytes(&line[..at]), http::HeaderValue::from_bytes(&line[at + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
