//! From settings to the network's own values: connection options, and what lets us in at the origin of a URL.

use crate::config::{Cookies, Link};
use crate::event::Observer;
use crate::fault::{Fault, Kind};
use crate::net::{Access, Net, Options, same_origin};
use crate::wire::cookies::Jar;
use crate::wire::netrc;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::sync::Arc;
use url::Url;

/// The options that `link` gives all connections.
pub fn options(link: &Link) -> Options {
    Options {
        connect_timeout: link.connect_timeout,
        stall_timeout: link.stall_timeout,
        cacert: link.cacert.clone(),
        insecure: link.insecure,
        proxy: link.proxy.clone(),
        ip: link.ip,
        user_agent: link.user_agent.clone(),
        allow_downgrade: link.allow_downgrade,
    }
}

/// The network by the rules of `link`. Requests are told to `observer` only where somebody wants to hear of them:
/// putting them into words costs more than a small file.
pub fn net(link: &Link, observer: &Arc<dyn Observer>) -> Net {
    let net = Net::new(options(link));
    if link.heard { net.heard_by(observer) } else { net }
}

/// What `link` sends to the origin of `url`; a login inside the URL is taken out of it. A header given with `-H`
/// wins over `-u`, that over the token, that over the URL's own login, that over the netrc file.
pub fn access(link: &Link, url: &mut Url) -> Result<Access, Fault> {
    let mut headers = HeaderMap::new();
    for (name, value) in &link.headers {
        headers.append(header_name(name)?, header_value(value.expose())?);
    }
    let mut login = None;
    if !headers.contains_key(AUTHORIZATION) {
        if let Some((user, password)) = &link.login {
            login = Some((user.clone(), password.expose().to_string()));
        } else if let Some(token) = &link.token {
            headers.insert(AUTHORIZATION, header_value(&format!("Bearer {}", token.expose()))?);
        } else {
            login = from_netrc(link, url)?;
        }
    }
    let access = Access::new(url, headers).cookies(cookies(link, url));
    Ok(match login {
        Some((user, password)) => access.login(&user, &password),
        None => access,
    })
}

/// What of `link` may go to a place that is not the one the user gave logins and headers for: what says itself where it
/// belongs, which are the netrc file and files of cookies.
pub fn elsewhere(link: &Link) -> Link {
    let own = link.cookies.iter().filter(|given| matches!(given, Cookies::File(_))).cloned().collect();
    Link { headers: Vec::new(), login: None, token: None, cookies: own, ..link.clone() }
}

/// What of `link` may go to the place that a record names: a record may be planted, so that it gets no more than it says
/// it needs. `None`: the user named the place.
pub fn needed<'a>(link: &'a Link, needs: Option<&[String]>) -> Cow<'a, Link> {
    let Some(needs) = needs else { return Cow::Borrowed(link) };
    let asked = |name: &str| {
        needs.iter().any(|need| need.strip_prefix("header:").is_some_and(|need| need.eq_ignore_ascii_case(name)))
    };
    let may_log_in = asked("authorization");
    let bare = elsewhere(link);
    Cow::Owned(Link {
        headers: link.headers.iter().filter(|(name, _)| asked(name)).cloned().collect(),
        login: link.login.clone().filter(|_| may_log_in),
        token: link.token.clone().filter(|_| may_log_in),
        cookies: if asked("cookie") { link.cookies.clone() } else { bare.cookies.clone() },
        ..bare
    })
}

/// Whether `link` holds what does not say itself where it belongs.
fn is_bound_to_one(link: &Link) -> bool {
    let cookies = link.cookies.iter().any(|given| matches!(given, Cookies::Pairs(_)));
    !link.headers.is_empty() || link.login.is_some() || link.token.is_some() || cookies
}

/// Refuses to send what was given for one origin to several: `targets` are URLs, each with what its record needs.
pub fn for_one_origin<'a>(
    link: &Link,
    targets: impl IntoIterator<Item = (&'a Url, Option<&'a [String]>)>,
) -> Result<(), Fault> {
    let mut first: Option<&Url> = None;
    for (url, needs) in targets {
        if !is_bound_to_one(&needed(link, needs)) {
            continue;
        }
        let one = *first.get_or_insert(url);
        if !same_origin(one, url) {
            let place = |url: &Url| url[url::Position::BeforeHost..url::Position::AfterPort].to_string();
            let text = format!(
                "the login, token, cookie or header that is given is for one server, and there are two: {} and {}",
                place(one),
                place(url)
            );
            return Err(Fault::new(Kind::Usage, text).hint(
                "run it once for each server; a netrc file (--netrc) and a cookies.txt say themselves where they \
                 belong; ONWARD_TOKEN counts, too",
            ));
        }
    }
    Ok(())
}

/// The user's cookies: those written out for the origin of `url`, those of files for where they say.
fn cookies(link: &Link, url: &Url) -> Jar {
    let mut all = Jar::default();
    for given in &link.cookies {
        all.join(match given {
            Cookies::Pairs(text) => Jar::from_pairs(text.expose(), url).unwrap_or_default(),
            Cookies::File(text) => Jar::from_netscape(text.expose()).0,
        });
    }
    all
}

/// The login that the netrc file has for the host of `url`, and for its user where the URL names one. A password in
/// the URL is more explicit than that.
fn from_netrc(link: &Link, url: &Url) -> Result<Option<(String, String)>, Fault> {
    let (Some(netrc), Some(host), None) = (&link.netrc, url.host_str(), url.password()) else { return Ok(None) };
    let user = Some(url.username()).filter(|user| !user.is_empty());
    let login = netrc::login(netrc.expose(), host, user)
        .map_err(|why| Fault::new(Kind::Usage, format!("the netrc file cannot be read: {why}")))?;
    Ok(login.map(|login| (login.user, login.password)))
}

fn header_name(name: &str) -> Result<HeaderName, Fault> {
    name.parse().map_err(|_| Fault::new(Kind::Usage, format!("\"{}\" is not a header name", name.escape_debug())))
}

/// The value is a secret, so the message does not show it.
fn header_value(value: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(value)
        .map_err(|_| Fault::new(Kind::Usage, "a token or header holds characters that cannot be sent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn sent(link: &Link, url: &str) -> HeaderMap {
        let mut url: Url = url.parse().unwrap();
        let access = access(link, &mut url).unwrap();
        assert!(url.username().is_empty(), "{url}");
        access.headers_for(&url)
    }

    #[test]
    fn the_most_explicit_login_wins() {
        let mut link = Link::default();
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Basic dTpw");
        link.netrc = Some(Secret::new("machine h login n password q"));
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Basic dTpw");
        assert_eq!(sent(&link, "https://h/")[AUTHORIZATION], "Basic bjpx");
        assert!(!sent(&link, "https://other/").contains_key(AUTHORIZATION));
        link.token = Some(Secret::new("t"));
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Bearer t");
        link.login = Some(("a".into(), Secret::new("b")));
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Basic YTpi");
        link.headers.push(("authorization".into(), Secret::new("Own x")));
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Own x");
    }

    #[test]
    fn a_record_gets_no_more_than_it_needs() {
        let all = Link {
            headers: vec![("X-Key".into(), Secret::new("k")), ("X-Other".into(), Secret::new("o"))],
            token: Some(Secret::new("t")),
            login: Some(("a".into(), Secret::new("b"))),
            cookies: vec![Cookies::Pairs(Secret::new("a=b"))],
            ..Link::default()
        };
        let names = |needs: &[&str]| {
            let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
            let mut url: Url = "https://h/".parse().unwrap();
            access(&needed(&all, Some(&needs)), &mut url).unwrap().names()
        };
        assert!(names(&[]).is_empty() && names(&["url", "field:x"]).is_empty());
        assert_eq!(names(&["header:x-key"]), ["header:x-key"]);
        assert_eq!(names(&["header:authorization", "header:cookie"]), ["header:authorization", "header:cookie"]);
        assert_eq!(*needed(&all, None), all);
    }

    #[test]
    fn what_is_given_for_one_origin_goes_to_no_other() {
        let [a, same, b]: [Url; 3] =
            ["https://h/a", "https://h:443/b", "https://h:8443/a"].map(|text| text.parse().unwrap());
        let link = Link { token: Some(Secret::new("t")), ..Link::default() };
        let needs = ["header:authorization".to_string()];
        assert!(for_one_origin(&link, [(&a, None), (&same, None)]).is_ok());
        assert_eq!(for_one_origin(&link, [(&a, None), (&b, None)]).unwrap_err().code(), 2);
        assert!(for_one_origin(&link, [(&a, None), (&b, Some(&[][..]))]).is_ok());
        assert!(for_one_origin(&link, [(&a, None), (&b, Some(&needs[..]))]).is_err());
        let own = Link { netrc: Some(Secret::new("machine h login n password q")), ..Link::default() };
        assert!(for_one_origin(&own, [(&a, None), (&b, None)]).is_ok());
    }
}
