//! What the user gave to be let in, and what servers added to it: headers, a login and cookies, each bound to the
//! origin it belongs to. A clone shares what was learned, so that all connections of a transfer log in once.

use super::{Request, Response, percent_decode, same_origin};
use crate::wire::auth::{self, Challenge, DigestChallenge};
use crate::wire::cookies::Jar;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;
use url::Url;

/// What lets us in at the origin it was given for.
#[derive(Clone, Default)]
pub struct Access {
    origin: Option<Url>,
    headers: HeaderMap,
    login: Option<(String, String)>,
    /// Whether cookies were given by the user.
    cookies_given: bool,
    learned: Arc<Mutex<Learned>>,
}

/// What servers have told since.
#[derive(Default)]
struct Learned {
    scheme: Scheme,
    jar: Jar,
}

/// How the origin wants the login.
#[derive(Default)]
enum Scheme {
    /// It has not said yet.
    #[default]
    Unknown,
    Basic,
    Digest {
        challenge: DigestChallenge,
        /// Answers given to it.
        count: u32,
    },
}

/// How a request was signed.
pub(super) enum Proof {
    /// The login is not for this place, or a field of the user's own stands for it.
    NotOurs,
    /// Not yet: the server is to say first which scheme it takes.
    Withheld,
    Basic,
    Digest {
        challenge: DigestChallenge,
        count: u32,
    },
}

impl Access {
    /// Access to the origin of `url` with these fields. A login inside the URL is taken out of it, and used unless
    /// there is an Authorization field or [`Access::login`] gives another.
    pub fn new(url: &mut Url, mut headers: HeaderMap) -> Self {
        let mut login = None;
        if !url.username().is_empty() || url.password().is_some() {
            login = Some((percent_decode(url.username()), percent_decode(url.password().unwrap_or_default())));
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        headers.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
        let login = login.filter(|_| !headers.contains_key(AUTHORIZATION));
        Self { origin: Some(url.clone()), headers, login, ..Self::default() }
    }

    /// The same with this login in place of the URL's.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// The same with these cookies, which say themselves how far they reach.
    pub fn cookies(mut self, jar: Jar) -> Self {
        self.cookies_given |= !jar.is_empty();
        self.learned().jar.join(jar);
        self
    }

    /// The names of what was given, for the record of what must be given again.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<&str> = self.headers.keys().map(|name| name.as_str()).collect();
        names.extend(self.login.is_some().then_some("authorization"));
        names.extend((self.cookies_given && !names.contains(&"cookie")).then_some("cookie"));
        names.into_iter().map(|name| format!("header:{name}")).collect()
    }

    /// Whether anything is given that proves who we are.
    pub fn is_login(&self) -> bool {
        self.login.is_some() || self.headers.contains_key(AUTHORIZATION)
    }

    /// The fields that the next request to `url` would carry.
    #[cfg(test)]
    pub fn headers_for(&self, url: &Url) -> HeaderMap {
        let mut request = Request::new(http::Method::GET, url.clone());
        self.sign(&mut request);
        request.headers
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_home(&self, url: &Url) -> bool {
        self.origin.as_ref().is_some_and(|origin| same_origin(origin, url))
    }

    /// The value of Cookie for a request to `url`: the user's own field, where it may go, and what fits of the jar.
    pub(super) fn cookie(&self, url: &Url) -> Option<Vec<u8>> {
        let own =
            self.headers.get_all(COOKIE).iter().filter(|_| self.is_home(url)).map(|value| value.as_bytes().into());
        let jar = self.learned().jar.header_for(url, SystemTime::now()).map(String::into_bytes);
        let all: Vec<Vec<u8>> = own.chain(jar).collect();
        (!all.is_empty()).then(|| all.join(&b"; "[..]))
    }

    /// Whether the login goes by a line that others can read, and the server has not said which scheme it takes: a
    /// password is not shown to a server that could do without seeing it.
    pub(super) fn is_undecided(&self, url: &Url) -> bool {
        self.login.is_some()
            && self.is_home(url)
            && url.scheme() != "https"
            && matches!(self.learned().scheme, Scheme::Unknown)
    }

    /// Adds to a request what may go to its URL: everything to the origin it was given for, nothing elsewhere.
    pub(super) fn sign(&self, request: &mut Request) -> Proof {
        let own = request.headers.contains_key(AUTHORIZATION) || self.headers.contains_key(AUTHORIZATION);
        if self.is_home(&request.url) {
            for name in self.headers.keys() {
                request.headers.remove(name);
                for value in self.headers.get_all(name) {
                    request.headers.append(name.clone(), value.clone());
                }
            }
        }
        if let Some(cookie) = self.cookie(&request.url) {
            put(request, COOKIE, &cookie);
        }
        let Some((user, password)) = self.login.as_ref().filter(|_| !own && self.is_home(&request.url)) else {
            return Proof::NotOurs;
        };
        let clear = request.url.scheme() != "https";
        let (value, proof) = match &mut self.learned().scheme {
            Scheme::Unknown if clear => return Proof::Withheld,
            Scheme::Unknown | Scheme::Basic => (auth::basic(user, password), Proof::Basic),
            Scheme::Digest { challenge, count } => {
                *count += 1;
                let own_nonce = format!("{:016x}{:016x}", random(), random());
                let (method, target) = (request.method.as_str(), target(&request.url));
                let answer = challenge.answer((user, password), method, &target, *count, &own_nonce);
                (answer, Proof::Digest { challenge: challenge.clone(), count: *count })
            }
        };
        put(request, AUTHORIZATION, value.as_bytes());
        proof
    }

    /// Keeps what an answer tells for later requests: its cookies.
    pub(super) fn hear(&self, answer: &Response) {
        let mut learned = self.learned();
        for value in answer.headers.get_all(SET_COOKIE) {
            if let Ok(value) = value.to_str() {
                learned.jar.set(value, &answer.url, SystemTime::now());
            }
        }
    }

    /// Whether the request that was signed by `proof` and got this answer is to be sent again, signed anew.
    pub(super) fn answers_challenge(&self, answer: &Response, proof: &Proof) -> bool {
        let status = answer.status.as_u16();
        if status != 401 {
            // Some servers rather hide what is there than ask who is there.
            let hidden = matches!((status, proof), (403 | 404, Proof::Withheld));
            if hidden {
                self.learned().scheme = Scheme::Basic;
            }
            return hidden;
        }
        let challenges = challenges(&answer.headers);
        let offered = DigestChallenge::best(&challenges);
        let scheme = &mut self.learned().scheme;
        match (proof, offered) {
            (Proof::NotOurs, _) => false,
            (Proof::Digest { challenge, count }, Some(new)) => {
                let renewed = matches!(scheme, Scheme::Digest { challenge: now, .. } if !now.has_nonce_of(challenge));
                if !renewed && !new.stale && *count == 1 {
                    return false;
                }
                if !renewed {
                    *scheme = Scheme::Digest { challenge: new, count: 0 };
                }
                true
            }
            (Proof::Digest { .. }, None) => false,
            (Proof::Withheld | Proof::Basic, Some(new)) => {
                *scheme = Scheme::Digest { challenge: new, count: 0 };
                true
            }
            (Proof::Withheld, None) if !challenges.iter().any(|one| one.scheme == "digest") => {
                let basic = challenges.is_empty() || challenges.iter().any(|one| one.scheme == "basic");
                if basic {
                    *scheme = Scheme::Basic;
                }
                basic
            }
            (Proof::Withheld | Proof::Basic, None) => false,
        }
    }
}

/// What to do about an answer that asks for a login, where that is more than "log in".
pub fn login_hint(headers: &HeaderMap, given: bool) -> String {
    let challenges = challenges(headers);
    let offers = |scheme: &str| challenges.iter().any(|one| one.scheme == scheme);
    let answerable = offers("basic") || offers("bearer") || DigestChallenge::best(&challenges).is_some();
    if !answerable && (offers("ntlm") || offers("negotiate")) {
        return "it wants a login by NTLM or Negotiate (Kerberos), which onward does not speak; ask for a signed link, \
                or fetch through a local proxy that logs in, with --proxy"
            .into();
    }
    if !answerable && offers("digest") {
        return "it wants a Digest login by a hash or a quality of protection that onward does not speak".into();
    }
    match given {
        true => "the login that was given is not taken: check the name, the password or the token".into(),
        false => "log in with -u, --token-file, --netrc or -H".into(),
    }
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    values.flat_map(|value| auth::challenges(&String::from_utf8_lossy(value.as_bytes()))).collect()
}

fn put(request: &mut Request, name: http::HeaderName, value: &[u8]) {
    if let Ok(mut value) = HeaderValue::from_bytes(value) {
        value.set_sensitive(true);
        request.headers.insert(name, value);
    }
}

/// What stands in the request line.
fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_string(),
    }
}

fn random() -> u64 {
    getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15)
}
