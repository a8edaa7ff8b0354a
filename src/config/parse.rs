//! The small grammars of single settings.

use super::Secret;
use crate::digest::Digest;
use crate::disk::shown;
use crate::fault::{Fault, Kind};
use crate::wire::rufh::Interop;
use std::net::SocketAddr;
use std::path::Path;
use url::Url;

pub fn usage(what: impl Into<String>) -> Fault {
    Fault::new(Kind::Usage, what)
}

/// Lines with something in them; `#` begins a comment.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A number of connections or jobs.
pub fn few(text: &str) -> Result<u32, &'static str> {
    text.parse().ok().filter(|n| (1..=64).contains(n)).ok_or("a number from 1 to 64 is wanted")
}

/// An absolute `http` or `https` URL. The message does not repeat what may hold a secret.
pub fn parse_url(text: &str) -> Result<Url, Fault> {
    let start = || beginning(text).escape_debug().to_string();
    match Url::parse(text.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) if text.contains("://") => {
            Err(usage(format!("\"{}\": {} is not a scheme onward speaks", start(), url.scheme()))
                .hint("use an http:// or https:// URL"))
        }
        _ => Err(usage(format!("\"{}\" is not a URL", start())).hint("a URL begins with http:// or https://")),
    }
}

/// As much of what is no URL as can be shown. Where an `@` stands, a password may be anywhere before it.
fn beginning(text: &str) -> String {
    if text.contains('@') {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|scheme| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
        return scheme.map_or_else(|| "***".into(), |scheme| format!("{scheme}://***"));
    }
    text.chars().take_while(|c| !matches!(c, '?' | '#')).take(80).collect()
}

/// The URL of a file in the folder `dest`: under `name`, else under the source's own.
pub fn remote_name(dest: &Url, source: &Path, name: Option<&str>) -> Result<Url, Fault> {
    let own = || source.file_name().and_then(|own| own.to_str());
    let name = name
        .or_else(own)
        .ok_or_else(|| usage(format!("{} has no name that can be sent", shown(source))).hint("give one with --name"))?;
    let mut url = dest.clone();
    let odd = |part: &str| part.is_empty() || matches!(part, "." | "..") || part.chars().any(char::is_control);
    if name.split('/').any(odd) {
        return Err(usage(format!("\"{}\" is not a name for a remote file", name.escape_debug())));
    }
    url.path_segments_mut().map_err(|()| usage("the destination has no path"))?.pop_if_empty().extend(name.split('/'));
    Ok(url)
}

/// Interop numbers of the IETF's drafts, the newest first: `10, 8, 6`.
pub fn interop(text: &str) -> Result<Vec<Interop>, &'static str> {
    let numbers: Option<Vec<Interop>> = text.split(',').map(|one| one.trim().parse().ok().map(Interop)).collect();
    numbers.ok_or("numbers of drafts are wanted, as in 10, 8, 6")
}

/// `KEY=VALUE`, or a key alone.
pub fn metadata(pair: &str) -> Result<(String, String), Fault> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    match crate::wire::tus::Metadata::default().set(key, value) {
        true => Ok((key.to_string(), value.to_string())),
        false => Err(usage(format!("\"{}\" is no key for --metadata", key.escape_debug()))
            .hint("a key is plain ASCII without blanks and commas, as in --metadata kind=video")),
    }
}

pub fn parse_checksum(text: &str) -> Result<Digest, Fault> {
    Digest::parse(text).ok_or_else(|| {
        usage(format!("\"{}\" is not a checksum", text.escape_debug()))
            .hint("write ALG:HEX, as in sha256:9f86d0…; md5, sha-1, sha-256, sha-512, blake3 and crc32c are known")
    })
}

pub fn parse_header(line: &str) -> Result<(String, Secret), Fault> {
    let (name, value) =
        line.split_once(':').ok_or_else(|| usage("a header without a colon").hint("write -H 'Name: value'"))?;
    let name = name.trim();
    http::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| usage(format!("\"{}\" is not a header name", name.escape_debug())))?;
    http::HeaderValue::from_str(value.trim())
        .map_err(|_| usage(format!("the value of header {name} holds characters that cannot be sent")))?;
    Ok((name.to_string(), Secret::new(value.trim())))
}

pub fn parse_listen(text: &str) -> Result<SocketAddr, Fault> {
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map_err(|_| {
        usage(format!("\"{}\" is not an address to listen on", text.escape_debug()))
            .hint("write ADDR:PORT, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:0")
    })
}

pub fn parse_base_path(text: &str) -> Result<String, Fault> {
    let inner = text.trim_matches('/');
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%' | '\\');
    if inner.chars().any(odd) || inner.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(usage(format!("\"{}\" is not a plain path", text.escape_debug())));
    }
    Ok(if inner.is_empty() { "/".into() } else { format!("/{inner}/") })
}

/// Lines of `name:token`.
pub fn named_tokens(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let mut tokens: Vec<(String, Secret)> = Vec::new();
    for line in lines(text) {
        let (name, token) = line.split_once(':').ok_or("a line is not of the form name:token")?;
        let (name, token) = (name.trim(), token.trim());
        if name.is_empty() || token.is_empty() {
            return Err("a name or a token is empty".into());
        }
        if tokens.iter().any(|(_, known)| known.expose() == token) {
            return Err(format!("the token of {} is another's too", name.escape_debug()));
        }
        tokens.push((name.to_string(), Secret::new(token)));
    }
    if tokens.is_empty() {
        return Err("there is no token in it".into());
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_shown_without_its_login() {
        for (text, shown) in [
            ("htp://h/f?sig=hush", "\"htp://h/f\""),
            ("htp://u:hush@h/f", "\"htp://***\""),
            ("http://u:hu/sh@h o/f", "\"http://***\""),
            ("htp://h/f?token=hush@hush", "\"htp://***\""),
            ("u:hush@h", "\"***\""),
            ("u:hush@h?x=://", "\"***\""),
        ] {
            let said = parse_url(text).unwrap_err().what;
            assert!(said.starts_with(shown) && !said.contains("hush"), "{text}: {said}");
        }
    }
}
