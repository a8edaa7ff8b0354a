//! From settings to the network's own values: connection options, and what lets us in at the origin of a URL.

use crate::config::{Cookies, Link};
use crate::fault::{Fault, Kind};
use crate::net::{Access, Options};
use crate::wire::cookies::Jar;
use crate::wire::netrc;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
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
}
