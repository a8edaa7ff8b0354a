//! One stream from the first byte to the last, for remotes that serve no ranges. Bytes that are there already are
//! compared with what passes by, and only what is missing is written.

use crate::chunk::ByteRange;
use crate::event::Progress;
use crate::fault::{Fault, Kind};
use crate::partial::PartialFile;
use crate::source::Body;

use super::meter::Meter;
use super::pace::Pace;
use super::slow::Slow;

/// The largest offset a file of unknown length may reach.
pub const NO_END: u64 = u64::MAX / 2;

/// How a stream ended.
#[derive(Debug)]
pub enum Streamed {
    /// All of it went by; the file is complete.
    Complete,
    /// Bytes that are there differ from the remote's: it is another content.
    Differs,
}

/// What goes along with a stream.
pub struct Pass<'a> {
    /// The rate limit.
    pub pace: &'a Pace,
    /// The least speed.
    pub slow: Slow,
    /// Whose stream it is.
    pub host: &'a str,
    /// Hears of progress when it is due.
    pub tell: &'a dyn Fn(Progress),
}

/// Lets `body`, the whole content from its first byte, go by.
pub async fn drink(
    file: &PartialFile,
    body: &mut dyn Body,
    mut pass: Pass<'_>,
    meter: &mut Meter,
) -> Result<Streamed, Fault> {
    let held = file.held();
    let end = file.length().unwrap_or(NO_END);
    let mut done = held.len();
    let mut at = 0;
    let mut buffer = Vec::new();
    let mut writer = None;
    while let Some(bytes) = body.next().await? {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let here = ByteRange::new(at, (at + rest.len() as u64).min(end));
            let gap = held.missing(ByteRange::new(at, end)).next().unwrap_or(ByteRange::new(end, end));
            let known = ByteRange::new(at, gap.start).intersect(&here);
            if !known.is_empty() {
                writer = None;
                let (old, later) = rest.split_at(known.len() as usize);
                buffer.resize(old.len(), 0);
                file.read_at(&mut buffer, at)?;
                if buffer != old {
                    return Ok(Streamed::Differs);
                }
                (rest, at) = (later, known.end);
                continue;
            }
            if writer.is_none() {
                writer = file.writer(gap);
            }
            let Some(open) = writer.as_mut() else {
                return Err(Fault::new(Kind::Network, "more bytes came than were promised"));
            };
            let mine = rest.len().min(usize::try_from(gap.end - at).unwrap_or(usize::MAX));
            open.write(&rest[..mine])?;
            done += mine as u64;
            at += mine as u64;
            rest = &rest[mine..];
        }
        meter.moved(bytes.len() as u64);
        meter.set_done(done);
        let now = std::time::Instant::now();
        if meter.due(now) {
            (pass.tell)(meter.progress(now, 1));
        }
        pass.slow.moved(bytes.len(), now, || pass.host.to_string())?;
        let wait = pass.pace.pass(bytes.len());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
    drop(writer);
    match file.length() {
        None if held.end() > at => return Ok(Streamed::Differs),
        None => file.set_length(at)?,
        // Whatever there was agreed, and the answer had told no length of its own: it was cut.
        Some(length) if at < length => {
            let text = format!("{} ended the answer {} bytes too early", pass.host, length - at);
            return Err(Fault::new(Kind::Network, text));
        }
        Some(_) => {}
    }
    Ok(Streamed::Complete)
}
