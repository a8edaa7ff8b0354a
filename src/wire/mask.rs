//! Which parts of a URL are secrets, and how it is shown without them. A signed query is a bearer capability:
//! whoever reads it in a log can fetch the file.

use url::Url;

/// What stands in place of a secret.
const MASK: &str = "***";

/// Names of query parameters that sign or authorise, lower case; `x-amz-…`, `x-goog-…` and `x-oss-…` count by prefix.
const SECRET_NAMES: [&str; 34] = [
    "access_key",
    "accesskey",
    "access_token",
    "accesstoken",
    "api_key",
    "apikey",
    "auth",
    "auth_key",
    "authkey",
    "authorization",
    "awsaccesskeyid",
    "client_secret",
    "code",
    "credential",
    "hash",
    "hdnea",
    "hdnts",
    "hmac",
    "jwt",
    "key",
    "key-pair-id",
    "md5",
    "passwd",
    "password",
    "policy",
    "pwd",
    "secret",
    "session",
    "sig",
    "sign",
    "signature",
    "st",
    "ticket",
    "token",
];

/// Whether a query parameter of this name signs or authorises.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.contains(&name.as_str())
        || ["x-amz-", "x-goog-", "x-oss-", "x-ms-"].iter().any(|prefix| name.starts_with(prefix))
        || ["_token", "-token", "_secret", "_signature", "-signature", "_sig", "_key"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Whether a URL carries a secret that showing it masks.
pub fn has_secret(url: &Url) -> bool {
    url.password().is_some() || url.query_pairs().any(|(name, value)| is_secret(&name) && !value.is_empty())
}

/// The URL with its login and the values of secret parameters masked; everything else to the letter.
pub fn masked(url: &Url) -> String {
    let mut plain = url.clone();
    if plain.password().is_some() {
        let _ = plain.set_password(Some(MASK));
    }
    plain.set_fragment(None);
    let Some(query) = url.query() else { return plain.into() };
    let query: Vec<String> = query.split('&').map(masked_pair).collect();
    plain.set_query(None);
    format!("{plain}?{}", query.join("&"))
}

fn masked_pair(pair: &str) -> String {
    let Some((raw, value)) = pair.split_once('=') else { return pair.to_string() };
    // The name may be percent-encoded itself.
    let name = url::form_urlencoded::parse(raw.as_bytes()).next().map(|(name, _)| name.into_owned());
    match name {
        Some(name) if is_secret(&name) && !value.is_empty() => format!("{raw}={MASK}"),
        _ => pair.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_do_not_show() {
        let shown = |text: &str| masked(&Url::parse(text).unwrap());
        assert_eq!(shown("https://h/f?a=1&X-Amz-Signature=abc&b=2#frag"), "https://h/f?a=1&X-Amz-Signature=***&b=2");
        assert_eq!(shown("https://u:pw@h/f"), "https://u:***@h/f");
        assert_eq!(shown("https://h/f?%74oken=abc"), "https://h/f?%74oken=***");
        assert_eq!(shown("https://h/f?sig=&x"), "https://h/f?sig=&x");
        assert_eq!(shown("https://h/f"), "https://h/f");
    }
}
