//! Whether several connections are faster than one: a few seconds of each, and no more than some megabytes.

use super::ask::Asker;
use super::{Findings, Speed};
use std::time::Duration;
use tokio::time::Instant;

/// How many connections are set against one.
const SEVERAL: u32 = 4;
/// How long each side may take.
const TIME: Duration = Duration::from_secs(4);
/// How many bytes each side may move.
const MOST: u64 = 16 << 20;

/// The speeds, and the bytes that it took. `None` where the file is too small to tell.
pub async fn measure(asker: &Asker<'_>, found: &Findings) -> (Option<Speed>, u64) {
    let Some(length) = found.length.filter(|length| *length >= 1 << 20) else { return (None, 0) };
    let most = MOST.min(length);
    let begun = Instant::now();
    let one = asker.drain(0, most, begun + TIME).await;
    let first = rate(one, begun);
    let begun = Instant::now();
    let part = most / u64::from(SEVERAL);
    let drain = |nth: u64| asker.drain(nth * part, (nth + 1) * part, begun + TIME);
    let (a, b, c, d) = tokio::join!(drain(0), drain(1), drain(2), drain(3));
    let several = a + b + c + d;
    let speed = Speed { one: first, several: rate(several, begun), connections: SEVERAL };
    ((one > 0 && several > 0).then_some(speed), one + several)
}

fn rate(bytes: u64, since: Instant) -> u64 {
    (bytes as f64 / since.elapsed().as_secs_f64().max(0.001)) as u64
}
