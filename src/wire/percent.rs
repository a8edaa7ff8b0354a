//! Percent-encoding (RFC 3986, section 2.1), as RFC 8187 values, cookies and form fields use it outside of URLs.

/// The bytes of `text` with its `%XX` undone; `None` when a `%` begins no escape.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match first {
            b'%' => {
                let nibble = |at: usize| tail.get(at).and_then(|c| (*c as char).to_digit(16));
                bytes.push((nibble(0)? * 16 + nibble(1)?) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Some(bytes)
}

/// `bytes` with everything but letters, digits and the ASCII characters of `plain` written as `%XX`.
pub fn encode(bytes: &[u8], plain: &str) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte.is_ascii_alphanumeric() || (byte.is_ascii() && plain.as_bytes().contains(&byte)) {
            true => text.push(byte as char),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_whole_or_nothing() {
        assert_eq!(decode(b"a%20b%e2%82%AC").unwrap(), "a b€".as_bytes());
        assert_eq!(encode("a b€.txt".as_bytes(), ".-_~"), "a%20b%E2%82%AC.txt");
        for bad in ["%", "a%2", "%zz", "%+1", "100%"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(encode(&bytes, "-._~").as_bytes()), Some(bytes));
        }
    }
}
