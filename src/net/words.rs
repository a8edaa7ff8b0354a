//! The network's errors in words of our own: what happened, seen from the user, and of which kind it is.

use super::client::{Failed, Stage};
use crate::fault::{Fault, Kind};
use std::time::Duration;
use url::Url;

/// A URL for people, logs and records: secrets masked, control characters are escaped by the URL itself.
pub fn shown(url: &Url) -> String {
    crate::wire::mask::masked(url)
}

pub(super) fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_string(),
        _ => "the server".into(),
    }
}

pub(super) fn silent(url: &Url, patience: Duration) -> Fault {
    Fault::new(Kind::Network, format!("{} sent nothing for {}", host(url), crate::units::period(patience)))
}

/// The fault that a failed exchange means.
pub(super) fn fault_of(Failed { stage, cause }: Failed, url: &Url) -> Fault {
    let host = host(url);
    if cause.contains("invalid peer certificate") || cause.contains("CertNotValid") {
        return distrust(&host, &cause);
    }
    let (kind, text) = match stage {
        Stage::Making => (Kind::Usage, format!("this request cannot be made: {cause}")),
        Stage::Connecting { late: true } => (Kind::Network, format!("{host} could not be reached in time")),
        Stage::Connecting { late: false } => (Kind::Network, format!("cannot connect to {host}: {cause}")),
        Stage::Answering => (Kind::Network, format!("{host} did not answer: {cause}")),
        Stage::Receiving => (Kind::Network, format!("{host} broke off in the middle: {cause}")),
    };
    Fault::new(kind, text)
}

/// The fault that a certificate means which is not believed.
fn distrust(host: &str, cause: &str) -> Fault {
    let own = cause.contains("CaUsedAsEndEntity");
    let why = match cause {
        _ if own => "its certificate is an authority's own, self-signed",
        _ if cause.contains("UnknownIssuer") => "nobody who is trusted here vouches for its certificate",
        other => other.trim_start_matches("invalid peer certificate: "),
    };
    Fault::new(Kind::Untrusted, format!("{host} could not be trusted: {why}")).hint(match own {
        true => "--cacert FILE trusts it, with that very certificate in FILE",
        false => "check the name and the clock; --cacert FILE trusts one more authority",
    })
}

/// The words of the first cause: what libraries wrap around it tells a user nothing.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(next) = at.source() {
        at = next;
    }
    let text = at.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .chars()
        .flat_map(char::escape_default)
        .collect::<String>()
        .replace("\\'", "'")
        .replace("\\\"", "\"")
}
