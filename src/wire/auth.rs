//! Logging in over HTTP: Basic (RFC 7617) and Digest (RFC 7616) answers, and the challenges that ask for them
//! (RFC 9110, section 11.6.1). Passwords come in and go out as values; nothing here keeps or shows one.

use crate::digest::hex;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::digest::Digest as _;

/// The value of `Authorization` for Basic, in UTF-8. The name must have no colon: it would move the border between
/// name and password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// One challenge of a `WWW-Authenticate` or `Proxy-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, lower case: `basic`, `digest`, `bearer` …
    pub scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter, its name in lower case, quotes undone.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What the login is for, in the server's words.
    pub fn realm(&self) -> Option<&str> {
        self.get("realm")
    }
}

/// The challenges in one line of the field, in its order. A comma parts parameters and challenges alike, so a word
/// begins a challenge when no `=` follows it. What cannot be read is skipped.
pub fn challenges(value: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, tail) = token(rest);
        if word.is_empty() {
            // Not the grammar: go on behind the next comma.
            match rest.find(',') {
                Some(at) => rest = &rest[at..],
                None => return found,
            }
            continue;
        }
        let after = tail.trim_start_matches([' ', '\t']);
        match after.strip_prefix('=').filter(|_| !found.is_empty()) {
            Some(text) => {
                let (value, tail) = parameter(text.trim_start_matches([' ', '\t']));
                if let Some(challenge) = found.last_mut() {
                    challenge.params.push((word.to_ascii_lowercase(), value));
                }
                rest = tail;
            }
            None => {
                found.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() });
                rest = skip_token68(after);
            }
        }
    }
}

/// A credential blob right after the scheme, as Negotiate has it, is of no use here: step over it.
fn skip_token68(text: &str) -> &str {
    let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
    let blob = text[..end].trim_end_matches('=');
    match blob.contains(['=', '"']) || text[end..].trim_start_matches([' ', '\t']).starts_with('=') {
        true => text,
        false => &text[end..],
    }
}

fn token(text: &str) -> (&str, &str) {
    let part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !part(c)).unwrap_or(text.len()))
}

/// A token or a quoted string, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_string(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            _ => value.push(c),
        }
    }
    (value, "")
}

/// The hashes of Digest that are answered, the better one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Md5,
}

impl Hash {
    fn of(self, text: &str) -> String {
        match self {
            Self::Sha256 => hex(&sha2::Sha256::digest(text)),
            Self::Md5 => hex(&md5::Md5::digest(text)),
        }
    }
}

/// A Digest challenge that can be answered. The server's nonce serves many requests; each takes the next count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestChallenge {
    hash: Hash,
    algorithm: Option<String>,
    session: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// Whether the count and our own nonce go in (`qop=auth`); very old servers know neither.
    counted: bool,
    hide_user: bool,
    /// The nonce was too old, the login itself is right: answer again with this one.
    pub stale: bool,
}

impl DigestChallenge {
    /// The best challenge that can be answered; `None` when there is none: another scheme, an unknown hash, or
    /// nothing but `qop=auth-int`.
    pub fn best(challenges: &[Challenge]) -> Option<Self> {
        let mut known: Vec<Self> = challenges.iter().filter_map(Self::read).collect();
        known.sort_by_key(|challenge| challenge.hash == Hash::Md5);
        known.into_iter().next()
    }

    fn read(challenge: &Challenge) -> Option<Self> {
        (challenge.scheme == "digest").then_some(())?;
        let algorithm = challenge.get("algorithm");
        let (hash, session) = match algorithm.unwrap_or("MD5").to_ascii_uppercase().as_str() {
            "MD5" => (Hash::Md5, false),
            "MD5-SESS" => (Hash::Md5, true),
            "SHA-256" => (Hash::Sha256, false),
            "SHA-256-SESS" => (Hash::Sha256, true),
            _ => return None,
        };
        let counted = match challenge.get("qop") {
            None => false,
            Some(qop) => qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")).then_some(true)?,
        };
        let is_true = |name| challenge.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Some(Self {
            hash,
            algorithm: algorithm.map(str::to_string),
            session,
            realm: challenge.realm()?.to_string(),
            nonce: challenge.get("nonce")?.to_string(),
            opaque: challenge.get("opaque").map(str::to_string),
            counted,
            hide_user: is_true("userhash"),
            stale: is_true("stale"),
        })
    }

    /// Whether both are the same challenge, given once or twice: they share the nonce.
    pub fn has_nonce_of(&self, other: &Self) -> bool {
        self.nonce == other.nonce
    }

    /// The value of `Authorization` for one request. `target` is what stands in the request line; `count` begins at 1
    /// and grows by one with each answer to this challenge; `own_nonce` is random text of hexadecimal digits.
    pub fn answer(&self, login: (&str, &str), method: &str, target: &str, count: u32, own_nonce: &str) -> String {
        let (user, password) = login;
        let secret = self.hash.of(&format!("{user}:{}:{password}", self.realm));
        let secret = match self.session {
            true => self.hash.of(&format!("{secret}:{}:{own_nonce}", self.nonce)),
            false => secret,
        };
        let request = self.hash.of(&format!("{method}:{target}"));
        let response = self.hash.of(&match self.counted {
            true => format!("{secret}:{}:{count:08x}:{own_nonce}:auth:{request}", self.nonce),
            false => format!("{secret}:{}:{request}", self.nonce),
        });
        let mut fields = vec![self.user_field(user), field("realm", &self.realm), field("nonce", &self.nonce)];
        fields.extend([field("uri", target), field("response", &response)]);
        fields.extend(self.algorithm.as_ref().map(|name| format!("algorithm={name}")));
        if self.counted {
            fields.extend(["qop=auth".into(), format!("nc={count:08x}")]);
        }
        if self.counted || self.session {
            fields.push(field("cnonce", own_nonce));
        }
        fields.extend(self.opaque.as_ref().map(|opaque| field("opaque", opaque)));
        fields.extend(self.hide_user.then(|| "userhash=true".to_string()));
        format!("Digest {}", fields.join(", "))
    }

    /// The user's name: hashed where the server wants that, else in the extended form where it is not ASCII.
    fn user_field(&self, user: &str) -> String {
        match (self.hide_user, user.is_ascii()) {
            (true, _) => field("username", &self.hash.of(&format!("{user}:{}", self.realm))),
            (false, true) => field("username", user),
            (false, false) => {
                format!("username*=UTF-8''{}", crate::wire::percent::encode(user.as_bytes(), "!#$&+-.^_`|~"))
            }
        }
    }
}

fn field(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn basic_as_in_the_rfc() {
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("test", "123£"), "Basic dGVzdDoxMjPCow==");
        assert_eq!(basic("", "token:with:colons"), "Basic OnRva2VuOndpdGg6Y29sb25z");
    }

    #[test]
    fn challenges_of_real_servers() {
        let found = challenges("Basic realm=\"simple\"");
        assert_eq!((found.len(), found[0].scheme.as_str(), found[0].realm()), (1, "basic", Some("simple")));
        let found =
            challenges("Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\", now\", Basic realm=\"simple\"");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].get("type"), found[0].get("title")), (Some("1"), Some("Login to \"apps\", now")));
        assert_eq!(found[1].realm(), Some("simple"));
        let found = challenges("Negotiate, NTLM TlRMTVNTUAACAAAA==, Bearer , Digest nonce = \"a\" ,realm=x");
        let schemes: Vec<&str> = found.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "ntlm", "bearer", "digest"]);
        assert_eq!((found[3].get("nonce"), found[3].realm()), (Some("a"), Some("x")));
        assert_eq!(
            challenges("Bearer realm=\"https://auth.docker.io/token\",service=\"r\"")[0].get("service"),
            Some("r")
        );
        assert!(challenges(", ;;, \"").is_empty());
        assert_eq!(challenges("Basic realm=\"open").first().and_then(Challenge::realm), Some("open"));
    }

    const BOTH: &str = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
        Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
    const OWN: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    /// RFC 7616, section 3.9.1.
    #[test]
    fn digest_as_in_the_rfc() {
        let all = challenges(BOTH);
        let answer = |challenge: &DigestChallenge| {
            challenge.answer(("Mufasa", "Circle of Life"), "GET", "/dir/index.html", 1, OWN)
        };
        let best = answer(&DigestChallenge::best(&all).unwrap());
        assert!(
            best.contains("response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\""),
            "{best}"
        );
        assert!(
            best.contains("algorithm=SHA-256")
                && best.contains("qop=auth, nc=00000001")
                && best.contains("opaque=\"FQ")
        );
        let md5 = answer(&DigestChallenge::best(&all[..1]).unwrap());
        assert!(md5.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{md5}");
        assert!(!md5.contains("Circle"));
    }

    /// RFC 2069 has no count; the example is the one of RFC 2617, section 3.5, without its qop.
    #[test]
    fn servers_of_before_counts() {
        let all = challenges(
            "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5c\"",
        );
        let answer = DigestChallenge::best(&all).unwrap().answer(
            ("Mufasa", "Circle Of Life"),
            "GET",
            "/dir/index.html",
            1,
            "0a",
        );
        assert!(answer.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""), "{answer}");
        assert!(!answer.contains("nc=") && !answer.contains("cnonce") && !answer.contains("algorithm"), "{answer}");
    }

    /// RFC 7616, section 3.9.2, by SHA-256 (its own SHA-512/256 example is known to be in error).
    #[test]
    fn hidden_and_foreign_names() {
        let text =
            "Digest realm=\"api@example.org\", qop=\"auth\", nonce=\"n\", algorithm=SHA-256, userhash=true, stale=TRUE";
        let challenge = DigestChallenge::best(&challenges(text)).unwrap();
        let answer = challenge.answer(("Jäsøn Doe", "Secret, or not?"), "GET", "/doe.json", 1, "c");
        assert!(challenge.stale && answer.contains("userhash=true") && !answer.contains("username*"), "{answer}");
        let plain = DigestChallenge { hide_user: false, ..challenge };
        let answer = plain.answer(("Jäsøn Doe", "Secret, or not?"), "GET", "/doe.json", 1, "c");
        assert!(answer.contains("username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"), "{answer}");
    }

    #[test]
    fn what_cannot_be_answered() {
        for text in [
            "Basic realm=\"x\"",
            "Digest realm=\"x\"",
            "Digest nonce=\"x\"",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-512-256",
            "Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"",
        ] {
            assert_eq!(DigestChallenge::best(&challenges(text)), None, "{text}");
        }
        let sess = challenges("Digest realm=\"x\", nonce=\"y\", algorithm=md5-sess, qop=auth");
        assert!(DigestChallenge::best(&sess).unwrap().session);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_skipped(value in "[ -~]{0,80}", near in "(Digest|Basic|realm|nonce|qop|=|\"|\\\\|,| |[a-z]){0,30}") {
            for text in [&value, &near] {
                if let Some(challenge) = DigestChallenge::best(&challenges(text)) {
                    let answer = challenge.answer(("u", "p"), "GET", "/", 1, "0");
                    prop_assert!(!answer.contains(char::is_control));
                }
            }
        }

        #[test]
        fn what_is_quoted_is_read_back(realm in "[ -~]{0,20}") {
            let text = format!("Digest {}, {}", field("realm", &realm), field("nonce", "n"));
            let found = challenges(&text);
            prop_assert_eq!(found[0].realm(), Some(realm.as_str()));
        }
    }
}
