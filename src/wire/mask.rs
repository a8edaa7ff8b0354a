//! Which parts of a URL, or of a field, are secrets, and how they are shown without them. A signed query is a bearer
//! capability: whoever reads it in a log can fetch the file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
    "connect.sid",
    "credential",
    "credentials",
    "hash",
    "hdnea",
    "hdnts",
    "hmac",
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
    "sess",
    "secret",
    "session",
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
/// What ASP calls a session begins so as well.
const PREFIXES: [&str; 10] =
    ["x_amz_", "x_goog_", "x_oss_", "x_ms_", "x_cos_", "q_sign", "x_obs_", "x_tos_", "x_bce_", "aspsessionid"];

/// How names of secrets end.
const ENDS: [&str; 11] =
    ["token", "secret", "signature", "_sig", "_key", "password", "_auth", "_hmac", "sessionid", "session_id", "sessid"];

/// URLs inside of values of URLs are looked into so many times; a value that goes deeper is masked whole.
const DEPTH: u32 = 4;

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

/// Without one of these there is no login, no query, no fragment and no parameter, so nothing to hide.
const MARKS: [char; 4] = ['?', '#', ';', '@'];

/// Whether a URL carries a secret that showing it masks.
pub fn has_secret(url: &Url) -> bool {
    if !url.as_str().contains(MARKS) {
        return false;
    }
    let mut plain = url.clone();
    plain.set_fragment(None);
    // With nothing in their place, a value that happens to read like the mask is seen as well.
    hidden(plain.as_str(), "", DEPTH) != plain.as_str()
}

/// The URL without its fragment, its password and the values of secret parameters masked; everything else to the
/// letter. A name without a password is masked too: tokens are given that way.
pub fn masked(url: &Url) -> String {
    let mut plain = url.clone();
    plain.set_fragment(None);
    masked_reference(plain.as_str())
}

/// A URL that may be relative, or text with one in it: logins and the values of secret parameters masked, those of its
/// path, its fragment, and of URLs that are values themselves included.
pub fn masked_reference(text: &str) -> String {
    hidden(text, MASK, DEPTH)
}

/// The same with `mask` in place of the secrets.
fn hidden(text: &str, mask: &str, depth: u32) -> String {
    if !text.contains(MARKS) {
        return text.to_string();
    }
    let mut shown = String::with_capacity(text.len());
    let mut text = text;
    while let Some(at) = text.find(['?', '#']) {
        let (front, rest) = text.split_at(at);
        let (mark, rest) = rest.split_at(1);
        // Where the query ends when more than a URL stands in the text.
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '#' | '>' | '"')).unwrap_or(rest.len());
        let pairs: Vec<String> = rest[..end].split('&').map(|pair| hidden_pair(pair, mask, depth)).collect();
        shown.extend([&hidden_path(front, mask), mark, &pairs.join("&")]);
        text = &rest[end..];
    }
    shown + &hidden_path(text, mask)
}

/// What stands before a query: the login, and parameters of the path (RFC 3986, section 3.3).
fn hidden_path(text: &str, mask: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (number, piece) in text.split("://").enumerate() {
        if number > 0 {
            shown += "://";
            let end = piece.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '"')).unwrap_or(piece.len());
            let (authority, rest) = piece.split_at(end);
            shown += &hidden_login(authority, mask);
            shown += &hidden_parameters(rest, mask);
        } else {
            shown += &hidden_parameters(piece, mask);
        }
    }
    shown
}

fn hidden_login(authority: &str, mask: &str) -> String {
    match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), login, host)) {
        Some((Some((user, _)), _, host)) => format!("{user}:{mask}@{host}"),
        Some((None, login, host)) if !login.is_empty() => format!("{mask}@{host}"),
        _ => authority.to_string(),
    }
}

fn hidden_parameters(text: &str, mask: &str) -> String {
    let mut pieces = text.split(';');
    let mut shown = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '"')).unwrap_or(piece.len());
        shown.extend([";", &hidden_pair(&piece[..end], mask, 0), &piece[end..]]);
    }
    shown
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
        _ => masked_reference(value),
    }
}

/// A parameter: masked by its name, else what its value holds. With no `depth` left, values are not looked into.
fn hidden_pair(pair: &str, mask: &str, depth: u32) -> String {
    let Some((raw, value)) = pair.split_once('=') else { return pair.to_string() };
    // The name may be percent-encoded itself.
    let secret = is_secret(&decoded(raw));
    if secret && !value.is_empty() {
        return format!("{raw}={mask}");
    }
    if depth == 0 {
        return pair.to_string();
    }
    format!("{raw}={}", hidden_value(value, mask, depth))
}

/// What a value holds, which may be a URL as it is or encoded.
fn hidden_value(value: &str, mask: &str, depth: u32) -> String {
    if depth == 1 {
        return if value.contains(['?', '#', ';', '@', '%']) { mask.to_string() } else { value.to_string() };
    }
    let shown = hidden(value, mask, depth - 1);
    let plain = decoded(value);
    if shown != value || plain == value {
        return shown;
    }
    match hidden_value(&plain, mask, depth - 1) {
        shown if shown == plain => value.to_string(),
        shown => url::form_urlencoded::byte_serialize(shown.as_bytes()).collect(),
    }
}

fn decoded(text: &str) -> String {
    let one = text.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(one.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

/// Values that must not be shown wherever they turn up: servers repeat what they were sent.
#[derive(Debug, Clone, Default)]
pub struct Known(Vec<String>);

impl Known {
    /// Shorter ones, in bytes, are in too many words to be taken out of them.
    const LEAST: usize = 4;

    /// One more value.
    pub fn add(&mut self, value: &str) {
        if value.len() >= Self::LEAST && !self.0.iter().any(|known| known == value) {
            self.0.push(value.to_string());
            // A part of another must not be taken out first.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// One more value, also as a URL would have it.
    pub fn add_everywhere(&mut self, value: &str) {
        self.add(value);
        self.add(&super::percent::encode(value.as_bytes(), "-._~"));
        self.add(&url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>());
    }

    /// The secrets of a URL, as they stand there and decoded.
    pub fn add_url(&mut self, url: &Url) {
        for login in [Some(url.username()), url.password()].into_iter().flatten() {
            self.add_both(login);
        }
        let path = url.path().split(['/', ';']);
        for pair in url.query().unwrap_or_default().split('&').chain(path) {
            if let Some((_, value)) = pair.split_once('=').filter(|_| hidden_pair(pair, "", DEPTH) != pair) {
                self.add_both(value);
            }
        }
    }

    /// A field that is secret: all of it, and what it says behind the name of its scheme or of a cookie.
    pub fn add_field(&mut self, value: &str) {
        self.add(value);
        value.split_once(' ').into_iter().for_each(|(_, rest)| self.add(rest));
        let login = value.strip_prefix("Basic ").and_then(|login| STANDARD.decode(login).ok());
        if let Some((_, password)) = String::from_utf8_lossy(&login.unwrap_or_default()).split_once(':') {
            self.add(password);
        }
        for (_, value) in value.split("; ").filter_map(|pair| pair.split_once('=')) {
            self.add(value);
        }
    }

    fn add_both(&mut self, value: &str) {
        self.add(value);
        self.add(&decoded(value));
    }

    /// The text with all of them masked.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, known| text.replace(known, MASK))
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
        assert_eq!(shown("https://h/f?a=b?token=c&sig=d"), "https://h/f?a=b?token=***&sig=***");
        for (text, expected) in [
            ("https://h/f;jsessionid=1A2B/g;v=1?x", "https://h/f;jsessionid=***/g;v=1?x"),
            (
                "https://h/f?session_id=1&PHPSESSID=2&ASPSESSIONIDQ=3",
                "https://h/f?session_id=***&PHPSESSID=***&ASPSESSIONIDQ=***",
            ),
            (
                "https://h/f?u=http%3A%2F%2Fx%2F%3Fa%3D1%26sig%3Dz&b=2",
                "https://h/f?u=http%3A%2F%2Fx%2F%3Fa%3D1%26sig%3D***&b=2",
            ),
            ("https://h/f?u=http%3A%2F%2Fme%3Apw%40x%2F", "https://h/f?u=http%3A%2F%2Fme%3A***%40x%2F"),
            (
                "https://h/f?u=http%253A%252F%252Fx%252F%253Fsig%253Dz",
                "https://h/f?u=http%253A%252F%252Fx%252F%253Fsig%253D***",
            ),
            ("https://h/f?u=http%3A%2F%2Fx%2F%3Fa%3D1&b=c%20d", "https://h/f?u=http%3A%2F%2Fx%2F%3Fa%3D1&b=c%20d"),
        ] {
            assert_eq!(shown(text), expected);
        }
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
        for text in [
            "https://u@h/",
            "https://u:p@h/",
            "https://h/?sig=x",
            "https://h/",
            "https://h/?sig=",
            "https://h/?a=b",
            "https://h/a;sid=1",
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(has_secret(&url), masked(&url) != text, "{text}");
        }
        assert!(has_secret(&Url::parse("https://h/?sig=***").unwrap()), "what a record holds is not the whole URL");
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
            ("x-orig-url", "/f?token=abc", "/f?token=***"),
            ("x-orig-url", "http://u:pw@h/f#access_token=abc", "http://u:***@h/f#access_token=***"),
            ("content-type", "text/html; charset=utf-8", "text/html; charset=utf-8"),
            ("repr-digest", "sha-256=:x:", "sha-256=:x:"),
        ] {
            assert_eq!(masked_field(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn known_values_are_taken_out_of_anybodys_words() {
        let mut known = Known::default();
        known.add_url(
            &Url::parse("https://ann:pass-w@h/f;sid=path-s?a=fine&token=que%2Fry&u=http%3A%2F%2Fh%2F%3Fsig%3Dnested")
                .unwrap(),
        );
        known.add_field("Bearer bear-t");
        known.add_field("theme=dark; sid=cook-s");
        known.add_field("Basic YW5uOmJhc2ljLXB3");
        known.add("own");
        let text =
            "no pass-w, path-s, que%2Fry, que/ry, http://h/?sig=nested, bear-t, cook-s, basic-pw; but fine and own";
        assert_eq!(known.hide(text), "no ***, ***, ***, ***, ***, ***, ***, ***; but fine and own");
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
