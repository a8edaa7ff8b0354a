//! Cookies (RFC 6265): the user's own, from a `cookies.txt` or written out, and those a server sets during a transfer.
//!
//! What a server sets goes back to that origin and nowhere else: without a list of public suffixes, a `Domain` that
//! reaches further could as well be `co.uk`. The user's file says itself how far each of its cookies reaches.

use std::fmt;
use std::time::{Duration, SystemTime};
use url::{Host, Url};

/// A jar holds no more cookies than this; the oldest go first.
const MOST: usize = 300;
/// A larger cookie than this, name and value together, is not taken (RFC 6265, section 6.1).
const LARGEST: usize = 4096;

/// One cookie.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    value: String,
    reach: Reach,
    path: String,
    secure: bool,
    expires: Option<SystemTime>,
}

/// Where a cookie may go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    /// To one origin.
    Origin { scheme: String, host: String, port: Option<u16> },
    /// To one host, whatever the port.
    Host(String),
    /// To a domain and all below it.
    Domain(String),
}

/// Values are secrets.
impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=*** for {:?}{}", self.name, self.reach, self.path)
    }
}

/// Cookies, in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jar {
    cookies: Vec<Cookie>,
}

impl Jar {
    /// The cookies of a Netscape `cookies.txt`, with `#HttpOnly_` lines; the second value counts lines that are no
    /// cookies and no comments.
    pub fn from_netscape(text: &str) -> (Self, usize) {
        let mut jar = Self::default();
        let mut strange = 0;
        for line in text.lines() {
            let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match netscape_line(line) {
                Some(cookie) => jar.put(cookie),
                None => strange += 1,
            }
        }
        (jar, strange)
    }

    /// The cookies of `name=value; name=value`, as a user writes them, for the origin of `url`. `None` when it is not
    /// that.
    pub fn from_pairs(text: &str, url: &Url) -> Option<Self> {
        let mut jar = Self::default();
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim().to_string(), value.trim().to_string());
            (!name.is_empty() && is_clean(&name) && is_clean(&value)).then_some(())?;
            let reach = origin(url)?;
            jar.put(Cookie { name, value, reach, path: "/".into(), secure: false, expires: None });
        }
        (!jar.cookies.is_empty()).then_some(jar)
    }

    /// Takes the value of a `Set-Cookie` that a reply from `url` carried. One that is of the past removes its elder.
    pub fn set(&mut self, value: &str, url: &Url, now: SystemTime) {
        let Some(cookie) = set_cookie(value, url, now) else { return };
        let gone = cookie.expires.is_some_and(|expires| expires <= now);
        self.put(cookie);
        if gone {
            self.cookies.pop();
        }
    }

    /// Adds the cookies of `other`; they replace those of the same name, reach and path.
    pub fn join(&mut self, other: Self) {
        other.cookies.into_iter().for_each(|cookie| self.put(cookie));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// The value of `Cookie` for a request to `url`: longer paths first (RFC 6265, section 5.4). `None` when nothing
    /// fits.
    pub fn header_for(&self, url: &Url, now: SystemTime) -> Option<String> {
        let mut fitting: Vec<&Cookie> = self.cookies.iter().filter(|cookie| cookie.fits(url, now)).collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Puts the cookie last, its elder out.
    fn put(&mut self, cookie: Cookie) {
        self.cookies.retain(|old| (&old.name, &old.reach, &old.path) != (&cookie.name, &cookie.reach, &cookie.path));
        if self.cookies.len() >= MOST {
            self.cookies.remove(0);
        }
        self.cookies.push(cookie);
    }
}

impl Cookie {
    fn fits(&self, url: &Url, now: SystemTime) -> bool {
        let host = url.host_str().unwrap_or_default();
        let reaches = match &self.reach {
            Reach::Origin { .. } => origin(url).as_ref() == Some(&self.reach),
            Reach::Host(own) => own == host,
            Reach::Domain(domain) => {
                host == domain || (is_name(url) && host.strip_suffix(domain).is_some_and(|front| front.ends_with('.')))
            }
        };
        reaches
            && (!self.secure || is_secure(url))
            && path_fits(&self.path, url.path())
            && self.expires.is_none_or(|expires| expires > now)
    }
}

/// `domain, reaches below, path, secure, expires, name, value`, parted by tabs.
fn netscape_line(line: &str) -> Option<Cookie> {
    let fields: Vec<&str> = line.trim_end_matches(['\r', '\n']).split('\t').collect();
    let (domain, below, path, secure, expires, name, value) = match fields[..] {
        [domain, below, path, secure, expires, name, value] => (domain, below, path, secure, expires, name, value),
        // An empty value at the end is lost to editors that trim lines.
        [domain, below, path, secure, expires, name] => (domain, below, path, secure, expires, name, ""),
        _ => return None,
    };
    let flag = |text: &str| match text {
        _ if text.eq_ignore_ascii_case("TRUE") => Some(true),
        _ if text.eq_ignore_ascii_case("FALSE") => Some(false),
        _ => None,
    };
    let host = domain.trim_start_matches('.').to_ascii_lowercase();
    let seconds = expires.split('.').next()?.parse::<i64>().ok()?;
    let expires = match u64::try_from(seconds) {
        Ok(0) => None,
        Ok(seconds) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
        Err(_) => Some(SystemTime::UNIX_EPOCH),
    };
    let clean = !host.is_empty() && path.starts_with('/') && !name.is_empty() && is_clean(name) && is_clean(value);
    clean.then_some(())?;
    Some(Cookie {
        name: name.into(),
        value: value.into(),
        reach: if flag(below)? || domain.starts_with('.') { Reach::Domain(host) } else { Reach::Host(host) },
        path: path.into(),
        secure: flag(secure)?,
        expires,
    })
}

/// A `Set-Cookie` value (RFC 6265, section 5.2); `None` when it is to be ignored.
fn set_cookie(value: &str, url: &Url, now: SystemTime) -> Option<Cookie> {
    let mut parts = value.split(';');
    let (name, text) = parts.next()?.split_once('=')?;
    let (name, text) = (name.trim(), text.trim());
    let sound = !name.is_empty() && is_clean(name) && is_clean(text) && name.len() + text.len() <= LARGEST;
    sound.then_some(())?;
    let mut cookie = Cookie {
        name: name.into(),
        value: text.into(),
        reach: origin(url)?,
        path: default_path(url),
        secure: false,
        expires: None,
    };
    let mut max_age = None;
    for part in parts {
        let (attribute, text) = part.split_once('=').unwrap_or((part, ""));
        let text = text.trim();
        match attribute.trim().to_ascii_lowercase().as_str() {
            "path" if text.starts_with('/') && is_clean(text) => cookie.path = text.into(),
            "path" => cookie.path = default_path(url),
            "secure" => cookie.secure = true,
            "expires" => cookie.expires = cookie_date(text).or(cookie.expires),
            "max-age" => max_age = age(text).or(max_age),
            "domain" => domain_fits(text, url).then_some(())?,
            _ => {}
        }
    }
    if let Some(age) = max_age {
        cookie.expires = Some(age.map_or(SystemTime::UNIX_EPOCH, |age| now + age));
    }
    (!cookie.secure || is_secure(url)).then_some(cookie)
}

/// `Max-Age`: `None` inside means "of the past".
fn age(text: &str) -> Option<Option<Duration>> {
    const TEN_YEARS: u64 = 10 * 366 * 86_400;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    let seconds = digits.parse::<u64>().unwrap_or(u64::MAX).min(TEN_YEARS);
    Some((!negative && seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// Whether the host may set a cookie for this domain: itself, or one above it. It goes to the origin all the same.
fn domain_fits(domain: &str, url: &Url) -> bool {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    let host = url.host_str().unwrap_or_default();
    domain.is_empty() || host == domain || (is_name(url) && host.ends_with(&format!(".{domain}")))
}

fn origin(url: &Url) -> Option<Reach> {
    Some(Reach::Origin { scheme: url.scheme().into(), host: url.host_str()?.into(), port: url.port_or_known_default() })
}

fn is_name(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Domain(_)))
}

/// Encrypted, or never leaving the machine.
fn is_secure(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

/// The folder of the request's path (RFC 6265, section 5.1.4).
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        None | Some(0) => "/".into(),
        Some(end) => url.path()[..end].into(),
    }
}

fn path_fits(path: &str, asked: &str) -> bool {
    asked.strip_prefix(path).is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
}

/// Nothing that could end the field or begin another pair.
fn is_clean(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c == ';')
}

/// A date as cookies have it (RFC 6265, section 5.1.1), which takes far more than the grammar of HTTP dates.
fn cookie_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_delimiter = |c: char| !(c.is_ascii_alphanumeric() || c == ':' || !c.is_ascii());
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        let word = token.to_ascii_lowercase();
        let number = |least: usize, most: usize| {
            let digits = token.bytes().take_while(u8::is_ascii_digit).count();
            (least <= digits && digits <= most).then(|| token[..digits].parse::<u64>().ok())?
        };
        if time.is_none() && token.matches(':').count() == 2 {
            time = Some(clock(token)?);
        } else if day.is_none()
            && let Some(number) = number(1, 2)
        {
            day = Some(number);
        } else if month.is_none()
            && let Some(at) = MONTHS.iter().position(|name| word.starts_with(name))
        {
            month = Some(at as u64 + 1);
        } else if year.is_none()
            && let Some(number) = number(2, 4)
        {
            year = Some(number);
        }
    }
    let year = match year? {
        short @ 70..=99 => short + 1900,
        short @ 0..=69 => short + 2000,
        long => long,
    };
    moment(year, month?, day?, time?)
}

/// `hh:mm:ss` in seconds.
fn clock(token: &str) -> Option<u64> {
    let mut parts = token.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    (hours < 24 && minutes < 60 && seconds < 60).then(|| hours * 3600 + minutes * 60 + seconds)
}

/// A day of the civil calendar and a time of it, as the system counts.
fn moment(year: u64, month: u64, day: u64, seconds: u64) -> Option<SystemTime> {
    ((1970..10_000).contains(&year) && (1..=31).contains(&day)).then_some(())?;
    // Years begin in March here, so that a leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let since = days.checked_sub(719_468)? * 86_400 + seconds;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sun, 22 Nov 2026 12:00:00 GMT").unwrap()
    }

    fn header(jar: &Jar, to: &str) -> String {
        jar.header_for(&url(to), now()).unwrap_or_default()
    }

    fn set(value: &str, from: &str) -> Jar {
        let mut jar = Jar::default();
        jar.set(value, &url(from), now());
        jar
    }

    #[test]
    fn the_netscape_file() {
        let text = "# Netscape HTTP Cookie File\n\n\
            .example.org\tTRUE\t/\tFALSE\t0\tall\t1\n\
            #HttpOnly_example.org\tFALSE\t/\tTRUE\t2000000000\tsecret\t2\r\n\
            example.org\tFALSE\t/dir\tFALSE\t0\tdeep\ta=b\n\
            example.org\tFALSE\t/\tFALSE\t1000000000\told\tx\n\
            example.org\tFALSE\t/\tFALSE\t1900000000.5\tempty\n\
            not a cookie\n\
            example.org\tmaybe\t/\tFALSE\t0\tbad\tx\n";
        let (jar, strange) = Jar::from_netscape(text);
        assert_eq!(strange, 2);
        assert_eq!(header(&jar, "https://example.org/"), "all=1; secret=2; empty=");
        assert_eq!(header(&jar, "http://example.org:8080/dir/x"), "deep=a=b; all=1; empty=");
        assert_eq!(header(&jar, "http://www.example.org/"), "all=1");
        assert_eq!(header(&jar, "http://badexample.org/"), "");
        assert_eq!(header(&jar, "http://example.org.evil/"), "");
        assert!(!format!("{jar:?}").contains("a=b"));
    }

    #[test]
    fn what_a_server_sets_goes_back_to_its_origin() {
        let jar = set("sid=31d4; Path=/; HttpOnly; SameSite=Lax; Domain=example.org", "http://www.example.org/login/x");
        assert_eq!(header(&jar, "http://www.example.org/get"), "sid=31d4");
        for other in
            ["http://example.org/", "http://www.example.org:81/", "https://www.example.org/", "http://a.example.org/"]
        {
            assert_eq!(header(&jar, other), "", "{other}");
        }
    }

    #[test]
    fn paths_and_replacements() {
        let mut jar = set("a=1", "http://h/dir/page");
        assert_eq!(header(&jar, "http://h/dir/other"), "a=1");
        assert_eq!(header(&jar, "http://h/directory"), "");
        assert_eq!(header(&jar, "http://h/"), "");
        jar.set("a=2; path=/dir", &url("http://h/"), now());
        assert_eq!(header(&jar, "http://h/dir/"), "a=2");
        jar.set("b=3; path=nonsense", &url("http://h/dir/deep/page"), now());
        assert_eq!(header(&jar, "http://h/dir/deep/"), "b=3; a=2");
        jar.set("a=; Max-Age=0; path=/dir", &url("http://h/"), now());
        assert_eq!(header(&jar, "http://h/dir/deep/"), "b=3");
    }

    #[test]
    fn what_is_to_be_ignored() {
        for (value, from) in [
            ("novalue", "http://h/"),
            ("=x", "http://h/"),
            ("a=1\u{7}", "http://h/"),
            ("a=1; Secure", "http://h/"),
            ("a=1; Domain=evil.org", "http://example.org/"),
            ("a=1; Domain=ample.org", "http://example.org/"),
            ("a=1; Domain=0.0.1", "http://127.0.0.1/"),
            ("a=1; Max-Age=-5", "http://h/"),
            ("a=1; Expires=Thu, 01 Jan 1970 00:00:01 GMT", "http://h/"),
            ("", "http://h/"),
        ] {
            assert!(set(value, from).is_empty(), "{value}");
        }
        assert!(set(&format!("a={}", "x".repeat(5000)), "http://h/").is_empty());
        let kept = set("a=1; Expires=nonsense; Max-Age=9x; Unknown; Domain=", "http://h/");
        assert_eq!(header(&kept, "http://h/"), "a=1");
        assert_eq!(header(&set("a=1; Secure", "http://127.0.0.1/"), "http://127.0.0.1/"), "a=1");
    }

    #[test]
    fn dates_as_cookies_have_them() {
        let expected = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        for text in [
            "Wed, 21 Oct 2026 07:28:00 GMT",
            "Wed, 21-Oct-26 07:28:00 GMT",
            "Wed, 21-Oct-2026 07:28:00 GMT",
            "Wed Oct 21 07:28:00 2026",
            "21 october 2026 7:28:0",
        ] {
            assert_eq!(cookie_date(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "21 Oct 2026",
            "32 Oct 2026 07:28:00",
            "21 Oct 2026 24:00:00",
            "Oct 2026 07:28:00",
            "21 Oct 1900 00:00:00",
            "21 Oct 2026 02222222222222222207:28:00",
        ] {
            assert_eq!(cookie_date(text), None, "{text}");
        }
        assert_eq!(moment(1970, 1, 1, 0), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(moment(2000, 2, 29, 0), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400)));
    }

    #[test]
    fn the_users_own_pairs() {
        let jar = Jar::from_pairs("a=1; b=x=y;", &url("https://h:8443/p")).unwrap();
        assert_eq!(header(&jar, "https://h:8443/q"), "a=1; b=x=y");
        assert_eq!(header(&jar, "https://h/q"), "");
        for bad in ["", "a", "=1", "a=x\ny"] {
            assert!(Jar::from_pairs(bad, &url("https://h/")).is_none(), "{bad:?}");
        }
        let mut both = set("a=2; path=/", "https://h:8443/");
        both.join(jar);
        assert_eq!(header(&both, "https://h:8443/q"), "a=1; b=x=y");
    }

    #[test]
    fn a_jar_has_an_end() {
        let mut jar = Jar::default();
        (0..MOST + 50).for_each(|n| jar.set(&format!("n{n}=1"), &url("http://h/"), now()));
        assert_eq!(jar.cookies.len(), MOST);
        assert!(header(&jar, "http://h/").ends_with(&format!("n{}=1", MOST + 49)));
    }

    proptest! {
        #[test]
        fn a_header_holds_only_what_a_field_may(value in "\\PC{0,60}", near in "([ab]=|;|Path=/|Domain=|Max-Age=|Expires=|[0-9: ]|Oct|é|\n){0,12}") {
            let (file, _) = Jar::from_netscape(&value);
            for jar in [set(&value, "http://h/"), set(&near, "http://h/"), file] {
                prop_assert!(!header(&jar, "http://h/").contains(|c: char| c.is_control()));
            }
            let _ = (cookie_date(&value), cookie_date(&near));
        }
    }
}
