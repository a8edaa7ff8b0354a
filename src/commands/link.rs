//! From settings to the network's own values: connection options, and what lets us in at the origin of a URL.

use crate::config::Link;
use crate::fault::{Fault, Kind};
use crate::net::{self, Access, Options};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// The options that `link` gives all connections.
pub fn options(link: &Link) -> Options {
    Options {
        connect_timeout: link.connect_timeout,
        cacert: link.cacert.clone(),
        insecure: link.insecure,
        proxy: link.proxy.clone(),
        ip: link.ip,
        user_agent: link.user_agent.clone(),
        ..Options::default()
    }
}

/// What `link` sends to the origin of `url`; a login inside the URL is taken out of it. A header given with `-H`
/// wins over `-u`, that over the token, that over the URL's own login.
pub fn access(link: &Link, url: &mut Url) -> Result<Access, Fault> {
    let mut headers = HeaderMap::new();
    for (name, value) in &link.headers {
        headers.append(header_name(name)?, header_value(value.expose())?);
    }
    if !headers.contains_key(AUTHORIZATION) {
        if let Some((user, password)) = &link.login {
            headers.insert(AUTHORIZATION, net::basic(user, password.expose()));
        } else if let Some(token) = &link.token {
            headers.insert(AUTHORIZATION, header_value(&format!("Bearer {}", token.expose()))?);
        }
    }
    Ok(Access::new(url, headers))
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
        link.token = Some(Secret::new("t"));
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Bearer t");
        link.login = Some(("a".into(), Secret::new("b")));
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Basic YTpi");
        link.headers.push(("authorization".into(), Secret::new("Own x")));
        assert_eq!(sent(&link, "https://u:p@h/")[AUTHORIZATION], "Own x");
    }
}
