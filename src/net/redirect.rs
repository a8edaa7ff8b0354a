//! Redirects, followed by a loop of our own: the HTTP library would hand secrets to the second hop.

use super::{Access, Body, Net, Request, Response, shown};
use crate::fault::{Fault, Kind};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

/// More hops than this are not followed.
const HOPS: usize = 10;

impl Net {
    /// Asks as [`Net::ask`] does, and follows redirects: up to 10, never with a secret to another origin (RFC 9110,
    /// section 15.4), and from https to http only where that is allowed. `on_redirect` hears of every hop.
    pub async fn fetch(
        &self,
        mut hop: Request,
        access: &Access,
        on_redirect: &mut dyn FnMut(&Url, &Url, u16),
    ) -> Result<Response, Fault> {
        let first = hop.url.clone();
        let mut seen = Vec::new();
        // What the hop's own URL says, where a Location holds a login: it is for that address alone.
        let mut own: Option<Access> = None;
        loop {
            let access = own.as_ref().unwrap_or(access);
            // Coming back with a new cookie is no loop: a login page may send us so.
            let visit = (hop.url.clone(), access.cookie(&hop.url));
            if seen.contains(&visit) {
                let text = format!("{} is a loop of redirects: it leads back to {}", shown(&first), shown(&hop.url));
                return Err(Fault::new(Kind::Other, text).hint("a login may be missing (-u, --token-file, -b, -H)"));
            }
            seen.push(visit);
            let answer = self.ask(&hop, access).await?;
            let Some(mut next) = redirect(&answer, &hop.method)? else {
                self.heads.iter().for_each(|hear| hear(&answer));
                return Ok(answer);
            };
            if seen.len() > HOPS {
                let text = format!("{} leads through more than {HOPS} redirects", shown(&first));
                return Err(Fault::new(Kind::Other, text));
            }
            if hop.url.scheme() == "https" && next.scheme() != "https" && !self.options.allow_downgrade {
                let text = format!("{} leads from https to {}", shown(&hop.url), shown(&next));
                return Err(Fault::new(Kind::Refused, text)
                    .hint("--allow-downgrade follows it; then nothing shows that the bytes are the server's"));
            }
            on_redirect(&hop.url, &next, answer.status.as_u16());
            own = Some(Access::new(&mut next, HeaderMap::new())).filter(Access::is_login);
            hop.url = next;
            if answer.status == StatusCode::SEE_OTHER && hop.method != Method::HEAD {
                hop.method = Method::GET;
                hop.body = Body::Empty;
                hop.headers.remove(CONTENT_TYPE);
                hop.headers.remove(CONTENT_ENCODING);
            }
        }
    }
}

/// Where an answer redirects to; `None` when it does not.
fn redirect(answer: &Response, method: &Method) -> Result<Option<Url>, Fault> {
    let safe = *method == Method::GET || *method == Method::HEAD;
    match answer.status.as_u16() {
        303 | 307 | 308 => {}
        301 | 302 if safe => {}
        _ => return Ok(None),
    }
    let Some(location) = answer.headers.get(LOCATION) else { return Ok(None) };
    // Old servers send raw UTF-8 here; the URL parser escapes it.
    let location = String::from_utf8_lossy(location.as_bytes());
    let bad =
        || Fault::new(Kind::Other, format!("{} redirects to something that is not an http URL", shown(&answer.url)));
    let mut next = answer.url.join(location.trim()).map_err(|_| bad())?;
    if !matches!(next.scheme(), "http" | "https") || next.host_str().is_none() {
        return Err(bad());
    }
    // RFC 9110, section 10.2.2: a Location without a fragment inherits it; we never send one.
    next.set_fragment(None);
    Ok(Some(next))
}
