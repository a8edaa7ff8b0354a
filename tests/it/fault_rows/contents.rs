//! Faults of what the content is called, of the content itself, and of its digests.

use super::{CHEAP, Fault, LEN, Must, Stage, fault, odd_server};
use crate::origin::*;
use onward::digest::Algorithm;

fn cut(stage: &Stage) {
    stage.when(first(), cut_after(LEN / 2));
}

/// An answer with the whole, dropped at its head, costs what the kernel had taken by then.
const RUNGS: Must = Must::Finish(160);

pub fn validators() -> Vec<Fault> {
    vec![
        odd_server("no validators at all", |s| s.page(s.plain().no_etag().no_date())).then(cut).both(Must::Finish(130)),
        odd_server("a date only", |s| s.page(s.plain().no_etag())).then(cut).both(CHEAP),
        odd_server("a weak ETag", |s| s.page(s.plain().etag("W/\"weak\""))).then(cut).both(CHEAP),
        odd_server("a weak ETag and no date", |s| s.page(s.plain().etag("W/\"weak\"").no_date()))
            .then(cut)
            .both(Must::Finish(130)),
        odd_server("an empty ETag and no date", |s| s.page(s.plain().etag("\"\"").no_date()))
            .then(cut)
            .both(Must::Finish(130)),
        odd_server("an ETag without quotes", |s| s.page(s.plain().etag("v1"))).then(cut).both(CHEAP),
        odd_server("another ETag on each connection", |s| s.when(always(), etag_per_connection()))
            .then(cut)
            .fresh(Must::Finish(130))
            .resumed(Must::Finish(230)),
        odd_server("another ETag in each answer", |s| s.when(always(), etag_per_answer()))
            .then(cut)
            .fresh(Must::Finish(130))
            .resumed(Must::Finish(230)),
        fault("If-Range with the ETag never fits", |s| {
            s.when(always(), if_range_etag_never_fits());
            cut(s);
        })
        .fresh(CHEAP)
        .resumed(RUNGS),
        fault("If-Range never fits, in any form", |s| {
            s.when(always(), if_range_never_fits());
            cut(s);
        })
        .fresh(CHEAP)
        .resumed(RUNGS),
        fault("If-Range ignored", |s| {
            s.when(always(), ignore_if_range());
            cut(s);
        })
        .both(CHEAP),
        odd_server("Last-Modified is always now, no ETag", |s| {
            s.page(s.plain().no_etag());
            s.when(always(), modified_now());
        })
        .then(cut)
        .fresh(Must::Finish(130))
        .resumed(Must::Finish(230)),
        fault("Last-Modified goes back, the ETag stays", |s| {
            s.when(from(2), field("Last-Modified", "Mon, 16 Nov 2015 09:42:18 GMT"));
            cut(s);
        })
        .fresh(CHEAP),
        // The server is held to a condition instead; the answer that gave rise to it is dropped.
        fault("ranges do not say what they are of", |s| {
            cut(s);
            s.when(from(2), without("ETag"));
            s.when(from(2), without("Last-Modified"));
        })
        .fresh(Must::Finish(215)),
        fault("validators are no longer sent", |s| {
            s.when(always(), ignore_if_range());
            s.when(always(), without("ETag"));
            s.when(always(), without("Last-Modified"));
        })
        .resumed(Must::Finish(130)),
    ]
}

pub fn changes() -> Vec<Fault> {
    let renew = Must::Renew(280);
    vec![
        fault("changed, the same length", |s| s.page(s.changed())).resumed(renew),
        fault("changed, shorter", |s| s.page(s.changed_to(&s.newer.first(LEN / 5)))).resumed(renew),
        fault("changed, longer", |s| s.page(s.changed_to(&s.newer.first(LEN / 5).then(&s.content)))).resumed(renew),
        fault("changed to nothing at all", |s| s.page(s.changed_to(&s.newer.first(0)))).resumed(renew),
        fault("changed, If-Range ignored", |s| {
            s.page(s.changed());
            s.when(always(), ignore_if_range());
        })
        .resumed(renew),
        fault("changed, ranges ignored", |s| {
            s.page(s.changed());
            s.when(always(), ignore_range());
        })
        .resumed(Must::Renew(330)),
        fault("changed back to an older date, no ETag", |s| {
            s.page(s.changed().no_etag().last_modified("Mon, 16 Nov 2015 09:42:18 GMT"));
        })
        .resumed(renew),
        odd_server("changed, and nothing tells", |s| s.page(s.plain().no_etag().no_date()))
            .then(|s| s.page(s.changed().no_etag().no_date()))
            .resumed(renew),
        odd_server("changed behind an ETag per connection", |s| s.when(always(), etag_per_connection()))
            .then(|s| s.page(s.changed()))
            .resumed(renew),
        fault("changed between two requests", |s| {
            cut(s);
            s.when(from(2), changed_to(s.changed()));
        })
        .fresh(Must::Renew(280)),
        fault("changed between two requests, If-Range ignored", |s| {
            cut(s);
            s.when(from(2), changed_to(s.changed()));
            s.when(always(), ignore_if_range());
        })
        .fresh(Must::Renew(280)),
        fault("changed between two requests, shorter", |s| {
            cut(s);
            s.when(from(2), changed_to(s.changed_to(&s.newer.first(LEN / 5))));
        })
        .fresh(Must::Renew(280)),
        fault("changed, and the user wants no other version", |s| s.page(s.changed()))
            .with(&["--no-restart"])
            .resumed(Must::Refuse(4)),
        fault("changes at each request, without end", |s| {
            s.when(always(), another_each_time());
            s.when(always(), cut_after(LEN / 3));
        })
        .with(&["--retries", "2"])
        .fresh(Must::Refuse(4))
        .resumed(Must::Refuse(4)),
    ]
}

const CHECKED: &[&str] = &["--checksum", "sha256:{sha256}"];

pub fn digests() -> Vec<Fault> {
    vec![
        odd_server("a Repr-Digest that is right", |s| {
            s.page(s.plain().header("Repr-Digest", &s.content.digest_field(Algorithm::Sha256)));
        })
        .then(cut)
        .both(CHEAP),
        fault("a Repr-Digest that is wrong", |s| {
            s.page(s.plain().header("Repr-Digest", &s.newer.digest_field(Algorithm::Sha256)));
        })
        .both(Must::Refuse(5)),
        fault("digests in words nobody knows", |s| {
            for (name, value) in [
                ("Repr-Digest", "sha-1024=:AAAA:, ;;;"),
                ("Content-Digest", "sha-256=oops"),
                ("Digest", "UNIXsum=30637"),
                ("x-goog-hash", "crc32c"),
                ("x-amz-checksum-sha256", "???"),
            ] {
                s.when(always(), field(name, value));
            }
            cut(s);
        })
        .both(CHEAP),
        fault("a wrong byte once, the digest known", |s| s.when(first(), flip_byte(LEN - 77)))
            .with(CHECKED)
            .both(Must::Finish(230)),
        fault("a wrong byte always, the digest known", |s| s.when(always(), flip_byte(LEN - 77)))
            .with(CHECKED)
            .both(Must::Refuse(5)),
        fault("a wrong byte once under a Repr-Digest", |s| {
            s.page(s.plain().header("Repr-Digest", &s.content.digest_field(Algorithm::Sha256)));
            s.when(first(), flip_byte(LEN - 77));
        })
        .fresh(Must::Finish(230)),
        fault("another place's bytes under the right Content-Range, the digest known", |s| {
            s.when(first(), cut_after(LEN / 2));
            s.when(nth(2), shifted_body(7));
        })
        .with(CHECKED)
        .fresh(Must::Finish(230)),
        fault("another file's bytes under the right head, the digest known", |s| s.when(first(), bytes_of(&s.newer)))
            .with(CHECKED)
            .both(Must::Finish(230)),
        fault("bytes of a range that do not match their Content-Digest, once", |s| {
            s.when(first(), cut_after(LEN / 2));
            s.when(nth(2), shifted_body(7));
            s.when(nth(2), content_digest_of(&s.content));
        })
        .fresh(Must::Finish(170)),
    ]
}
