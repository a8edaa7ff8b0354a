//! The way to a server through a proxy, of whatever kind: reqwest knows them all.

use super::pulse::Noting;
use super::words::innermost;
use super::{IpChoice, Options};
use crate::fault::{Fault, Kind};
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConfig;
use std::net::IpAddr;

/// Which requests go through a proxy: all of them through the one that was given, or as the environment (or the
/// system, where it keeps such settings) says; never those that `NO_PROXY` names.
pub(super) struct Proxies {
    matcher: Matcher,
    /// Whether the one that was given speaks TLS.
    given: Option<bool>,
}

impl Proxies {
    pub(super) fn of(options: &Options) -> Self {
        let Some(proxy) = &options.proxy else { return Self { matcher: Matcher::from_system(), given: None } };
        let none = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
        // Only where it stands is asked here. One that cannot be used must not be passed over in silence: whoever builds
        // the client refuses it.
        let matcher = Matcher::builder().all("http://proxy.invalid").no(none).build();
        Self { matcher, given: Some(proxy.starts_with("https:")) }
    }

    /// The proxy that a request to this place goes through, if any.
    pub(super) fn before(&self, to: &Uri) -> Option<Proxy> {
        let proxy = self.matcher.intercept(to)?;
        Some(Proxy { speaks_tls: self.given.unwrap_or_else(|| proxy.uri().scheme_str() == Some("https")) })
    }
}

/// What is to be known of a proxy.
pub(super) struct Proxy {
    /// Whether it is reached over TLS itself.
    pub(super) speaks_tls: bool,
}

/// A client for what goes through a proxy; `tls` says whom it believes, and which versions of HTTP it offers.
pub(super) fn client(options: &Options, http1: bool, tls: Option<ClientConfig>) -> Result<reqwest::Client, Fault> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .connect_timeout(options.connect_timeout)
        .connector_layer(Noting);
    if http1 {
        builder = builder.http1_only();
    }
    builder = match options.ip {
        IpChoice::Any => builder,
        IpChoice::V4 => builder.local_address(IpAddr::from([0, 0, 0, 0])),
        IpChoice::V6 => builder.local_address(IpAddr::from([0u16; 8])),
    };
    if let Some(proxy) = &options.proxy {
        // A scheme that is not known would be passed over in silence.
        let known = Matcher::builder().all(proxy.as_str()).build().intercept(&Uri::from_static("http://host/"));
        let refused = || Fault::new(Kind::Usage, "the proxy is no URL of http, https, socks4(a) or socks5(h)");
        let proxy = known.and_then(|_| reqwest::Proxy::all(proxy).ok()).ok_or_else(refused)?;
        builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_env()));
    }
    builder = match tls {
        Some(rules) => builder.tls_backend_preconfigured(rules),
        None => builder.tls_certs_only([]),
    };
    builder.build().map_err(|e| Fault::new(Kind::Local, format!("cannot set up the HTTP client: {}", innermost(&e))))
}
