//! Who may come in: the `Host` must be one of ours (or a page could reach a local server by renaming it, known as DNS
//! rebinding), the `Origin` no foreign page's, and the token right. Nothing of the tree is looked at before.

use super::reply::{self, Reply, field, refuse};
use crate::digest::{Algorithm, Hasher};
use crate::disk;
use crate::wire::handshake::{Problem, Reason};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use std::net::IpAddr;

/// The trust domain of everybody, where no token is asked for.
pub const ANYBODY: &str = "anybody";

/// Who may come in.
pub struct Door {
    /// Names of trust domains and the SHA-256 of their tokens; empty: everybody may.
    tokens: Vec<(String, Vec<u8>)>,
    /// Host names served beside this machine's own; `*` for all.
    hosts: Vec<String>,
    /// Foreign origins that are let in; `*` for all.
    origins: Vec<String>,
}

impl Door {
    /// A door for these tokens (`name`, `token`), host names and origins.
    pub fn new(tokens: &[(String, String)], hosts: &[String], origins: &[String]) -> Self {
        let lower = |list: &[String]| list.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self {
            tokens: tokens.iter().map(|(name, token)| (name.clone(), sum(token.as_bytes()))).collect(),
            hosts: lower(hosts),
            origins: lower(origins),
        }
    }

    /// Lets a request in and tells its trust domain, or refuses it.
    pub fn enter(&self, request: &Parts) -> Result<String, Box<Reply>> {
        let host = self.host(request)?;
        self.origin(request, &host)?;
        self.domain(request)
    }

    /// The origin to name in `Access-Control-Allow-Origin`, when a foreign page is let in.
    pub fn foreign_page<'a>(&self, request: &'a Parts) -> Option<&'a str> {
        let origin = request.headers.get(ORIGIN)?.to_str().ok()?;
        self.allows(origin).then_some(origin)
    }

    fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.origins.iter().any(|allowed| *allowed == "*" || *allowed == origin)
    }

    fn host(&self, request: &Parts) -> Result<String, Box<Reply>> {
        let mut fields = request.headers.get_all(HOST).iter();
        let told = match (request.uri.authority(), fields.next(), fields.next()) {
            (_, _, Some(_)) => None,
            (Some(authority), _, _) => Some(authority.as_str()),
            (None, field, None) => field.and_then(|field| field.to_str().ok()),
        };
        let Some(told) = told else { return Err(refuse(Reason::BadRequest, "exactly one Host is needed")) };
        let told = told.to_ascii_lowercase();
        let name = without_port(&told);
        let own = disk::host_name().to_ascii_lowercase();
        let known = name == "localhost" || name == own || name.strip_suffix(".local") == Some(own.as_str());
        // An address is never a renamed stranger.
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        if known || address || self.hosts.iter().any(|host| host == "*" || host == name) {
            return Ok(told);
        }
        let problem = Problem::new(Reason::ForeignHost, "the request's Host is not served here");
        Err(Box::new(reply::problem(&problem.hint("start the server with --allow-host and this name"))))
    }

    fn origin(&self, request: &Parts, host: &str) -> Result<(), Box<Reply>> {
        let mut fields = request.headers.get_all(ORIGIN).iter();
        let Some(origin) = fields.next() else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("null");
        let same = origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host));
        match (same || self.allows(origin)) && fields.next().is_none() {
            true => Ok(()),
            false => {
                let problem = Problem::new(Reason::ForeignOrigin, "a page of another origin sent this request");
                Err(Box::new(reply::problem(&problem.hint("start the server with --cors and that origin"))))
            }
        }
    }

    fn domain(&self, request: &Parts) -> Result<String, Box<Reply>> {
        if self.tokens.is_empty() {
            return Ok(ANYBODY.to_string());
        }
        let mut fields = request.headers.get_all(AUTHORIZATION).iter();
        let given = match (fields.next(), fields.next()) {
            (Some(field), None) => token(field.as_bytes()),
            _ => None,
        };
        match given.and_then(|token| self.owner(&token)) {
            Some(name) => Ok(name),
            None => Err(unauthorized()),
        }
    }

    /// The domain of a token. Takes the same time whatever the token is: sums of equal length are compared, all of
    /// them, to their end.
    fn owner(&self, token: &[u8]) -> Option<String> {
        let given = sum(token);
        let mut found = None;
        for (name, sum) in &self.tokens {
            let differs = sum.iter().zip(&given).fold(0, |all, (a, b)| all | (a ^ b));
            if differs == 0 {
                found = Some(name);
            }
        }
        found.cloned()
    }
}

fn sum(token: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(token);
    hasher.finish().bytes
}

/// The token of an `Authorization` value: a bearer's, or the password of Basic with any user name.
fn token(value: &[u8]) -> Option<Vec<u8>> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, given) = value.trim().split_once(' ')?;
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(given.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = STANDARD.decode(given).ok()?;
    let colon = login.iter().position(|b| *b == b':')?;
    Some(login[colon + 1..].to_vec())
}

fn unauthorized() -> Box<Reply> {
    let problem = Problem::new(Reason::Unauthorized, "this server wants a token");
    let mut reply = reply::problem(&problem.hint("give it with --token-file or ONWARD_TOKEN, or as the password"));
    field(&mut reply, WWW_AUTHENTICATE, "Bearer realm=\"onward\"");
    field(&mut reply, WWW_AUTHENTICATE, "Basic realm=\"onward\", charset=\"UTF-8\"");
    Box::new(reply)
}

/// The name of a `Host`: without its port, an IPv6 address with its brackets.
fn without_port(host: &str) -> &str {
    match (host.rfind(']'), host.rfind(':')) {
        (Some(bracket), _) => &host[..=bracket],
        (None, Some(colon)) => &host[..colon],
        (None, None) => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn enter(door: &Door, fields: &[(&str, &str)]) -> Result<String, u16> {
        let mut request = Request::get("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        door.enter(&parts).map_err(|reply| reply.status().as_u16())
    }

    fn tokens() -> Vec<(String, String)> {
        vec![("ann".into(), "s3cret:with:colons".into()), ("bob".into(), "other".into())]
    }

    #[test]
    fn hosts() {
        let door = Door::new(&[], &["Files.Example.org".into()], &[]);
        let own = disk::host_name().to_string();
        for good in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:9", "10.0.0.1", "files.example.org:443", &own]
        {
            assert_eq!(enter(&door, &[("host", good)]), Ok(ANYBODY.into()), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", ":80", "[]"] {
            assert_eq!(enter(&door, &[("host", bad)]), Err(421), "{bad:?}");
        }
        assert_eq!(enter(&door, &[]), Err(400));
        assert_eq!(enter(&door, &[("host", "localhost"), ("host", "localhost")]), Err(400));
        assert_eq!(enter(&Door::new(&[], &["*".into()], &[]), &[("host", "any.example")]), Ok(ANYBODY.into()));
    }

    #[test]
    fn origins() {
        let door = Door::new(&[], &[], &["https://app.example".into()]);
        let ask = |origin| enter(&door, &[("host", "localhost:8080"), ("origin", origin)]);
        assert_eq!(ask("http://localhost:8080"), Ok(ANYBODY.into()));
        assert_eq!(ask("https://app.example"), Ok(ANYBODY.into()));
        for foreign in [
            "http://localhost:81",
            "http://localhost",
            "https://evil.example",
            "null",
            "",
            "http://localhost:8080.evil",
        ] {
            assert_eq!(ask(foreign), Err(403), "{foreign:?}");
        }
    }

    #[test]
    fn tokens_open_their_own_domain() {
        let door = Door::new(&tokens(), &[], &[]);
        let ask = |value: &str| enter(&door, &[("host", "localhost"), ("authorization", value)]);
        assert_eq!(ask("Bearer s3cret:with:colons"), Ok("ann".into()));
        assert_eq!(ask("bearer  other"), Ok("bob".into()));
        let basic = |login: &str| format!("Basic {}", STANDARD.encode(login));
        assert_eq!(ask(&basic("whoever:s3cret:with:colons")), Ok("ann".into()));
        assert_eq!(ask(&basic(":other")), Ok("bob".into()));
        for bad in ["", "Bearer", "Bearer ", "Bearer otherr", "Bearer othe", "Digest other", "other", "Basic other"] {
            assert_eq!(ask(bad), Err(401), "{bad:?}");
        }
        assert_eq!(ask(&basic("bob")), Err(401));
        assert_eq!(ask(&basic("other:")), Err(401));
        assert_eq!(enter(&door, &[("host", "localhost")]), Err(401));
        let twice = [("host", "localhost"), ("authorization", "Bearer other"), ("authorization", "Bearer other")];
        assert_eq!(enter(&door, &twice), Err(401));
    }
}
