//! What a server can do for a download, found out with a few small questions and without downloading. Every answer a
//! server can think of is a finding; there is no failure.

mod ask;
mod speed;

use crate::net::{Access, Net, shown};
use crate::record::Validator;
use crate::wire::digest_fields;
use crate::wire::validator::{EntityTag, Likeness, compare, date_is_strong};
use ask::{Asker, Reply};
use std::time::Duration;
use url::Url;

/// What is to be probed.
pub struct Order {
    /// The URL.
    pub url: Url,
    /// What lets us in.
    pub access: Access,
    /// Whether the speed of one connection against several is measured, which moves some megabytes.
    pub speed: bool,
}

/// What became of a question for a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Range {
    /// It was not asked.
    #[default]
    Unasked,
    /// Answered to the letter.
    Honest,
    /// Answered with the whole file.
    Whole,
    /// Answered wrongly, as this clause says.
    Wrong(String),
}

/// What a condition in `If-Range` does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// There is no strong validator of this form to send.
    #[default]
    Unavailable,
    /// It decides, as it should.
    Works,
    /// It is not looked at: ranges come whatever it says.
    Ignored,
    /// It never fits: the whole file comes though nothing has changed.
    Denied,
}

/// Bytes a second over one connection and over several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Over one.
    pub one: u64,
    /// Over several together.
    pub several: u64,
    /// How many those were.
    pub connections: u32,
}

/// Whether a broken download can be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes: the server's word tells whether it is still the same file.
    Safely,
    /// Yes, after samples have been compared; why that is needed.
    ByOverlap(String),
    /// No, and why.
    No(String),
}

/// All that was found. Texts may hold anything a server sends.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Where the last redirect led, secrets masked.
    pub place: String,
    /// The redirects on the way: from, to, status.
    pub hops: Vec<(String, String, u16)>,
    /// What went wrong, where the server could not be asked.
    pub error: Option<String>,
    /// The first answer's status.
    pub status: Option<u16>,
    /// The length of the file in bytes.
    pub length: Option<u64>,
    /// The media type.
    pub media: Option<String>,
    /// The content coding, where one was applied without being asked for.
    pub coding: Option<String>,
    /// What the file is called at present.
    pub validator: Validator,
    /// What it is called over another connection says about that.
    pub stable: Option<bool>,
    /// A range in the middle.
    pub middle: Range,
    /// A range without an end.
    pub open: Range,
    /// A range behind the end, which is to be refused with 416.
    pub beyond: Range,
    /// `If-Range` with the entity tag.
    pub by_tag: Condition,
    /// `If-Range` with the date.
    pub by_date: Condition,
    /// Digests that are offered, as `sha-256 (repr-digest)`.
    pub digests: Vec<String>,
    /// The versions of HTTP that were answered by.
    pub versions: Vec<&'static str>,
    /// The upload protocols that are announced, or can be seen without writing.
    pub uploads: Vec<String>,
    /// Whether connections help.
    pub speed: Option<Speed>,
    /// Bytes of content that were read.
    pub bytes: u64,
    /// What the server says of the file the second time.
    again: Option<Likeness>,
}

impl Findings {
    /// Whether the entity tag is a strong one.
    pub fn tag_is_strong(&self) -> bool {
        self.validator.etag.as_deref().and_then(EntityTag::parse).is_some_and(|tag| tag.is_strong())
    }

    /// The verdict of all that.
    pub fn verdict(&self) -> Verdict {
        let no = |why: &str| Verdict::No(why.to_string());
        match (&self.error, self.status) {
            (Some(error), _) => return Verdict::No(error.clone()),
            (None, Some(200 | 206)) => {}
            (None, Some(416)) if self.length == Some(0) => return no("it is empty"),
            (None, status) => {
                return Verdict::No(format!("the server answers {}", status.unwrap_or_default()));
            }
        }
        if let Some(coding) = &self.coding {
            return Verdict::No(format!(
                "ranges would be of another form of the file: it comes in the coding {coding}"
            ));
        }
        match (&self.middle, &self.open) {
            (Range::Whole, _) => return no("ranges are answered with the whole file"),
            (Range::Wrong(why), _) | (Range::Honest, Range::Wrong(why)) => return Verdict::No(why.clone()),
            (Range::Unasked, _) => return no("nothing could be asked about ranges"),
            _ => {}
        }
        match &self.again {
            Some(Likeness::Different(why)) => Verdict::No(format!("every connection is told of another file: {why}")),
            Some(Likeness::Same) if self.length.is_some() => Verdict::Safely,
            Some(Likeness::Same) => Verdict::ByOverlap("the length is not told".into()),
            _ if self.validator.etag.is_none() && self.validator.last_modified.is_none() => {
                Verdict::ByOverlap("nothing names the version of the file".into())
            }
            _ => Verdict::ByOverlap("what names the version of the file is weak or differs between connections".into()),
        }
    }

    fn take_first(&mut self, reply: &Reply, hops: Vec<(String, String, u16)>) {
        self.place = shown(&reply.url);
        self.hops = hops;
        self.status = Some(reply.status);
        self.length = reply.total;
        self.media = reply.text("content-type");
        self.coding = reply.text("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"));
        self.validator = reply.validator.clone();
        self.seen(reply);
    }

    fn seen(&mut self, reply: &Reply) {
        if !self.versions.contains(&reply.version) {
            self.versions.push(reply.version);
        }
        let offers = digest_fields::offered(&reply.headers, reply.status == 200);
        for offer in offers.whole.iter().chain(&offers.body) {
            let text = format!("{} ({})", offer.digest.algorithm, offer.field);
            if !self.digests.contains(&text) {
                self.digests.push(text);
            }
        }
    }
}

/// Asks all there is to ask. `options` are those of the run: every question that is to show what another connection
/// is told gets one of its own.
pub async fn probe(net: &Net, order: &Order) -> Findings {
    let mut found = Findings { place: shown(&order.url), ..Findings::default() };
    let mut asker = Asker::new(net, order);
    let mut hops = Vec::new();
    let first = match asker.first(&mut hops).await {
        Ok(first) => first,
        Err(fault) => {
            found.error = Some(fault.what);
            found.hops = hops;
            return found;
        }
    };
    found.take_first(&first, hops);
    if matches!(first.status, 200 | 206) && found.coding.is_none() {
        ranges(&mut asker, &first, &mut found).await;
        conditions(&mut asker, &mut found).await;
    }
    found.uploads = asker.uploads().await;
    found.bytes = asker.bytes;
    if order.speed && found.middle == Range::Honest {
        (found.speed, asker.bytes) = speed::measure(&asker, &found).await;
        found.bytes += asker.bytes;
    }
    found
}

/// Whether ranges are what they claim to be, and the file the same over another connection.
async fn ranges(asker: &mut Asker<'_>, first: &Reply, found: &mut Findings) {
    // A part of what the first answer brought, asked for again over another connection: equal bytes show that a range
    // is of the bytes it names.
    let known = first.body.len() as u64;
    let (from, end) = (known / 2, known);
    let middle = asker.range(from, Some(end), None).await;
    if let Some(reply) = &middle {
        found.middle = reply.is_range(from, Some(end), found.length);
        if found.middle == Range::Honest && reply.body[..] != first.body[from as usize..] {
            found.middle = Range::Wrong("a range holds other bytes than it names".into());
        }
        if matches!(reply.status, 200 | 206) {
            let likeness = compare(&first.validator, first.total, &reply.validator, reply.total);
            found.stable = Some(
                reply.validator.etag == first.validator.etag
                    && reply.validator.last_modified == first.validator.last_modified,
            );
            found.again = Some(likeness);
        }
        found.seen(reply);
    }
    let Some(length) = found.length.filter(|length| *length > 0) else { return };
    if found.middle != Range::Honest {
        return;
    }
    let from = length.saturating_sub(ask::FEW);
    if let Some(reply) = asker.range(from, None, None).await {
        found.open = reply.is_range(from, None, found.length);
    }
    if let Some(reply) = asker.range(length, None, None).await {
        found.beyond = match reply.status {
            416 => Range::Honest,
            200 => Range::Whole,
            status => Range::Wrong(format!("a range behind the end is answered with {status}")),
        };
    }
}

/// Which form of `If-Range` works: one that fits must give the range, one that does not the whole.
async fn conditions(asker: &mut Asker<'_>, found: &mut Findings) {
    if found.middle != Range::Honest {
        return;
    }
    if let Some(tag) = found.validator.etag.clone().filter(|_| found.tag_is_strong()) {
        found.by_tag = asker.condition(&tag, "\"onward-probe\"").await;
    }
    if let Some(date) = found.validator.last_modified.clone().filter(|_| date_is_strong(&found.validator)) {
        found.by_date = asker.condition(&date, "Thu, 01 Jan 1970 00:00:01 GMT").await;
    }
}

/// All questions but those about speed have this much time together.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn honest() -> Findings {
        Findings {
            status: Some(206),
            length: Some(10),
            middle: Range::Honest,
            open: Range::Honest,
            again: Some(Likeness::Same),
            ..Findings::default()
        }
    }

    #[test]
    fn the_verdict_follows_from_what_was_found() {
        assert_eq!(honest().verdict(), Verdict::Safely);
        let unsure = Findings { again: Some(Likeness::CannotTell), ..honest() };
        assert!(matches!(unsure.verdict(), Verdict::ByOverlap(_)));
        let endless = Findings { length: None, ..honest() };
        assert!(matches!(endless.verdict(), Verdict::ByOverlap(_)));
        for no in [
            Findings { middle: Range::Whole, ..honest() },
            Findings { middle: Range::Unasked, ..honest() },
            Findings { open: Range::Wrong("x".into()), ..honest() },
            Findings { coding: Some("gzip".into()), ..honest() },
            Findings { status: Some(404), ..honest() },
            Findings { error: Some("no route".into()), ..honest() },
            Findings { again: Some(Likeness::Different("x".into())), ..honest() },
        ] {
            assert!(matches!(no.verdict(), Verdict::No(_)), "{no:?}");
        }
    }
}
