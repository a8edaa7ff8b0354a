//! `-D`: the head of every reply that is no redirect, written down with its secrets masked.

use crate::disk;
use crate::event::{Event, Observer};
use crate::fault::Fault;
use crate::net::Response;
use crate::report::{self, NO_FILE};
use crate::wire::mask;
use http::Version;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

/// Writes heads to the file `path`, emptied first, or to stdout for `-`.
pub fn writer(path: &Path, observer: Arc<dyn Observer>) -> Result<impl Fn(&Response) + use<>, Fault> {
    let file = match path == Path::new(report::STDOUT) {
        true => report::data_out()?,
        false => disk::create_plain(path)?,
    };
    let (path, failed) = (path.to_owned(), Cell::new(false));
    Ok(move |answer: &Response| {
        let written = disk::write_on(&file, text(answer).as_bytes());
        if let Err(error) = written
            && !failed.replace(true)
        {
            let text = disk::fault("write to", &path, &error).what;
            observer.on(NO_FILE, &Event::Warning { text });
        }
    })
}

/// A head as HTTP/1.1 writes it.
fn text(answer: &Response) -> String {
    let version = match answer.version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    let reason = answer.status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/{version} {} {reason}\r\n", answer.status.as_u16());
    for (name, value) in &answer.headers {
        let value = match value.to_str() {
            Ok(value) => value.to_string(),
            Err(_) => String::from_utf8_lossy(value.as_bytes()).escape_debug().to_string(),
        };
        text.push_str(&format!("{name}: {}\r\n", mask::masked_field(name.as_str(), &value)));
    }
    text + "\r\n"
}
