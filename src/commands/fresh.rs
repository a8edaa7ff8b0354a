//! `--url-command`: the user's own command, which prints a fresh URL when the one in use has expired. What it prints is
//! a secret, and so may be what it complains.

use crate::config::{Secret, parse_url};
use crate::event::{Event, FileId, Observer, Secrets};
use crate::fault::{Fault, Kind};
use crate::wire::mask;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use url::Url;

/// It may take this long.
const PATIENCE: Duration = Duration::from_secs(120);
/// More than this of what it says is not read, in bytes.
const LARGEST: u64 = 64 << 10;
/// More of a complaint is not shown, in characters.
const SHOWN: usize = 200;

/// The command, for one file.
pub struct UrlCommand {
    /// What `sh` is to run.
    pub command: Secret,
    /// Who hears that it was run.
    pub observer: Arc<dyn Observer>,
    /// For which file.
    pub file: FileId,
}

impl Secrets for UrlCommand {
    fn fresh_url(&self) -> Pin<Box<dyn Future<Output = Result<Url, Fault>> + '_>> {
        Box::pin(self.run())
    }
}

impl UrlCommand {
    async fn run(&self) -> Result<Url, Fault> {
        let text = "the link is not good any more: --url-command is asked for a fresh one".to_string();
        self.observer.on(self.file, &Event::Detail { text });
        let mut child = Command::new("sh")
            .args(["-c", self.command.expose()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&format!("cannot be run: {error}"), ""))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let all = async { tokio::join!(read(out), read(err), child.wait()) };
        let Ok((out, err, status)) = tokio::time::timeout(PATIENCE, all).await else {
            return Err(failed(&format!("did not end within {} s", PATIENCE.as_secs()), ""));
        };
        let status = status.map_err(|error| failed(&format!("is lost: {error}"), &err))?;
        if !status.success() {
            return Err(failed(&format!("failed ({status})"), &err));
        }
        let line = out.lines().next().unwrap_or_default().trim();
        if line.is_empty() {
            return Err(failed("printed nothing", &err));
        }
        parse_url(line).map_err(|_| failed("printed something that is not an http URL", &err))
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = (&mut from).take(LARGEST).read_to_end(&mut bytes).await;
        // A pipe that nobody empties would hold the command up.
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The fault, with the command's last words.
fn failed(what: &str, complaint: &str) -> Fault {
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let last: String = mask::masked_reference(last.trim()).chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let text = match last.is_empty() {
        true => format!("the link has expired, and --url-command {what}"),
        false => format!("the link has expired, and --url-command {what}: {last}"),
    };
    Fault::new(Kind::Refused, text).hint("mend the command, or give a fresh link with `onward resume --url URL`")
}
