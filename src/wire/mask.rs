//! Which parts of a URL, or of a field, are secrets, and how they are shown without them. A signed query is a bearer
//! capability: whoever reads it in a log can fetch the file.

use url::Url;

/// What stands in place of a secret.
const MASK: &str = "***";

/// Names of query parameters that sign or authorise, lower case, dashes as underscores; more count by [`PREFIXES`]
/// and [`ENDS`].
const SECRET_NAMES: [&str; 42] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "auth",
    "authkey",
    "authorization",
    "authtoken",
    "awsaccesskeyid",
    "code",
    "credential",
    "credentials",
    "hash",
    "hdnea",
    "hdnts",
    "hmac",
    "jsessionid",
    "jwt",
    "key",
    "key_pair_id",
    "md5",
    "ossaccesskeyid",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "policy",
    "pwd",
    "rlkey",
    "sas",
    "secret",
    "session",
    "sessionid",
    "sid",
    "sig",
    "sign",
    "signature",
    "st",
    "ticket",
    "tk",
    "token",
    "upload_id",
    "verify",
];

/// Families of signed URLs: Amazon, Google, Alibaba, Microsoft, Tencent, Huawei, Volcengine, Baidu.
const PREFIXES: [&str; 9] = ["x_amz_", "x_goog_", "x_oss_", "x_ms_", "x_cos_", "q_sign", "x_obs_", "x_tos_", "x_bce_"];

/// How names of secrets end.
const ENDS: [&str; 8] = ["token", "secret", "signature", "_sig", "_key", "password", "_auth", "_hmac"];

/// Fields whose whole value is a secret, lower case.
const SECRET_FIELDS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "authentication-info", "x-api-key"];

/// Fields that hold a URL.
const URL_FIELDS: [&str; 5] = ["location", "content-location", "link", "refresh", "referer"];

/// Whether a query parameter of this name signs or authorises.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_NAMES.contains(&name.as_str())
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether a URL carries a secret that showing it masks.
pub fn has_secret(url: &Url) -> bool {
    url.password().is_some()
        || !url.username().is_empty()
        || url.query_pairs().any(|(name, value)| is_secret(&name) && !value.is_empty())
}

/// The URL without its fragment, its password and the values of secret parameters masked; everything else to the
/// letter. A name without a password is masked too: tokens are given that way.
pub fn masked(url: &Url) -> String {
    let mut plain = url.clone();
    if plain.password().is_some() {
        let _ = plain.set_password(Some(MASK));
    } else if !plain.username().is_empty() {
        let _ = plain.set_username(MASK);
    }
    plain.set_fragment(None);
    masked_reference(plain.as_str())
}

/// A URL that may be relative, or text with one in it: the values of secret query parameters masked.
pub fn masked_reference(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut text = text;
    while let Some((front, rest)) = text.split_once('?') {
        // Where the query ends when more than a URL stands in the text.
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '#' | '>' | '"')).unwrap_or(rest.len());
        let query: Vec<String> = rest[..end].split('&').map(masked_pair).collect();
        masked.extend([front, "?", &query.join("&")]);
        text = &rest[end..];
    }
    masked + text
}

/// A header field's value for a log: secrets masked. The name's case does not matter.
pub fn masked_field(name: &str, value: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        // The cookie's name and attributes are worth seeing, its value is not to be seen.
        "set-cookie" => {
            let (pair, attributes) =
                value.split_once(';').map_or((value, String::new()), |(pair, rest)| (pair, format!(";{rest}")));
            format!("{}={MASK}{attributes}", pair.split('=').next().unwrap_or_default())
        }
        _ if SECRET_FIELDS.contains(&name.as_str()) || is_secret(&name) && !name.starts_with("x-") => MASK.to_string(),
        _ if name.starts_with("x-") && ENDS.iter().any(|end| name.replace('-', "_").ends_with(end)) => MASK.to_string(),
        _ if URL_FIELDS.contains(&name.as_str()) => match Url::parse(value) {
            Ok(url) => masked(&url),
            Err(_) => masked_reference(value),
        },
        _ => value.to_string(),
    }
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
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        masked(&Url::parse(text).unwrap())
    }

    #[test]
    fn signatures_do_not_show() {
        assert_eq!(shown("https://h/f?a=1&X-Amz-Signature=abc&b=2#frag"), "https://h/f?a=1&X-Amz-Signature=***&b=2");
        assert_eq!(shown("https://u:pw@h/f"), "https://u:***@h/f");
        assert_eq!(shown("https://ghp_token@h/f"), "https://***@h/f");
        assert_eq!(shown("https://h/f?%74oken=abc"), "https://h/f?%74oken=***");
        assert_eq!(shown("https://h/f?sig=&x"), "https://h/f?sig=&x");
        assert_eq!(shown("https://h/f"), "https://h/f");
        assert_eq!(shown("https://h/f?a=b?token=c&sig=d"), "https://h/f?a=b?token=c&sig=***");
    }

    #[test]
    fn names_that_sign_and_names_that_do_not() {
        for name in [
            "token",
            "auth_key",
            "Signature",
            "X-Amz-Security-Token",
            "sig",
            "key",
            "access_token",
            "password",
            "AWSAccessKeyId",
            "Key-Pair-Id",
            "hdnts",
            "q-signature",
            "x-oss-signature",
            "X-Goog-Credential",
            "__token",
            "download_token",
            "api-key",
            "upload_id",
            "client_secret",
            "md5",
            "st",
            "mySignature",
            "cdn-auth",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "file",
            "v",
            "response-content-disposition",
            "expires",
            "se",
            "sp",
            "keyword",
            "id",
            "name",
            "start",
            "partNumber",
            "author",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn has_secret_agrees_with_what_is_masked() {
        for text in
            ["https://u@h/", "https://u:p@h/", "https://h/?sig=x", "https://h/", "https://h/?sig=", "https://h/?a=b"]
        {
            let url = Url::parse(text).unwrap();
            assert_eq!(has_secret(&url), masked(&url) != text, "{text}");
        }
    }

    #[test]
    fn fields_for_a_log() {
        for (name, value, expected) in [
            ("Authorization", "Bearer x", "***"),
            ("set-cookie", "sid=31d4; Path=/; HttpOnly", "sid=***; Path=/; HttpOnly"),
            ("Set-Cookie", "sid", "sid=***"),
            ("Location", "https://h/f?sig=abc", "https://h/f?sig=***"),
            ("location", "/f?a=1&token=abc", "/f?a=1&token=***"),
            ("link", "</f?sig=a>; rel=next, </g?sig=b>; rel=prev", "</f?sig=***>; rel=next, </g?sig=***>; rel=prev"),
            ("x-amz-security-token", "abc", "***"),
            ("x-auth-token", "abc", "***"),
            ("x-amz-request-id", "abc", "abc"),
            ("content-md5", "abc", "abc"),
            ("etag", "\"abc\"", "\"abc\""),
            ("repr-digest", "sha-256=:x:", "sha-256=:x:"),
        ] {
            assert_eq!(masked_field(name, value), expected, "{name}: {value}");
        }
    }

    proptest! {
        #[test]
        fn a_secret_never_shows(name in "(token|sig|X-Amz-[a-z]{1,5}|[a-z]{0,4}_key)", other in "[a-z]{0,6}", front in "(/[a-z]{0,3}){0,3}") {
            let text = format!("https://user:SECRET@h{front}?a={other}&{name}=SECRET&b#SECRET");
            prop_assert!(!shown(&text).contains("SECRET"), "{}", shown(&text));
        }

        #[test]
        fn any_text_is_masked_or_left(text in "\\PC{0,40}", near in "(\\?|&|=|token|#| |>|[a-c]){0,20}") {
            let _ = (masked_reference(&text), masked_reference(&near), masked_field("location", &near));
            prop_assert_eq!(masked_reference(&masked_reference(&near)), masked_reference(&near));
        }
    }
}
