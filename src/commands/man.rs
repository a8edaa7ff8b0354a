//! `onward man`: one manual page, with a section for every subcommand, made from the same words as `--help`.

use crate::cli;
use crate::fault::{EXIT_CODES, Fault, Kind};
use crate::report;
use clap_mangen::Man;
use std::io;

/// The variables and files that no flag's help can tell of.
const REST: &str = r#".SH ENVIRONMENT
.TP
ONWARD_TOKEN
Bearer token for the origin of the given URL.
.TP
ONWARD_PASSWORD
Password for \-u USER.
.TP
ONWARD_SERVE_TOKEN
The token that \fBonward serve\fR asks for.
.TP
ONWARD_LIMIT_RATE, ONWARD_JOBS, \&...
Defaults for the flags of that name, as in the configuration file.
.TP
HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, NETRC, NO_COLOR, TERM, CI
As everywhere.
.SH FILES
.TP
NAME.partial, NAME.partial.toml
The bytes that have arrived of an unfinished download, and the readable record of them.
.TP
NAME.XXXXXXXX.partial.toml
The record of an unfinished upload, beside its source.
.TP
$XDG_CONFIG_HOME/onward/config.toml
Defaults for flags, as in \fIlimit\-rate = "16M"\fR. Known are buffer, cacert, chunk\-size, connect\-timeout,
connections, dialect, interop, jobs, limit\-rate, max\-time, progress, protocol, proxy, retries, stall\-timeout and
user\-agent. A table \fI[host."https://example.org/up/"]\fR holds for uploads to what lies under that URL, and goes before
the rest of the file: chunk\-size, connections, dialect, interop and protocol.
.TP
$XDG_STATE_HOME/onward
What was learned about servers, and records that had no place beside their source.
"#;

/// Prints the manual page in roff.
pub fn run() -> Result<(), Fault> {
    let page = page().map_err(|error| Fault::new(Kind::Other, format!("the manual page cannot be made: {error}")))?;
    report::text(&page)
}

/// The manual page in roff.
fn page() -> io::Result<Vec<u8>> {
    let mut command = cli::command().disable_help_flag(true).disable_version_flag(true);
    command.build();
    let whole = Man::new(command.clone());
    let mut page = Vec::new();
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    for subcommand in command.get_subcommands() {
        page.extend(section(subcommand, false)?);
    }
    let mover = command.find_subcommand("download").map(|download| section(download, true)).transpose()?;
    page.extend(b".SH SHARED OPTIONS\n");
    page.extend(mover.unwrap_or_default());
    page.extend(b".SH EXIT STATUS\n");
    for (code, meaning) in EXIT_CODES {
        page.extend(format!(".TP\n{code}\n{}\n", meaning.replace('-', "\\-")).bytes());
    }
    page.extend(REST.bytes());
    Ok(page)
}

/// A subcommand's section: what clap_mangen would put on a page of its own, one level lower. The options that many
/// subcommands share are left out, or with `shared` given alone.
fn section(command: &clap::Command, shared: bool) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let (own, others) = match text.find(".SH CONNECTION").or_else(|| text.find(".SH OUTPUT")) {
        Some(at) => text.split_at(at),
        None => (&*text, ""),
    };
    let mut lines = Vec::new();
    if !shared {
        lines.push(format!(".SH ONWARD {}", command.get_name().to_uppercase()));
    }
    for line in if shared { others } else { own }.lines() {
        lines.push(match line.strip_prefix(".SH ") {
            Some("SYNOPSIS" | "DESCRIPTION" | "OPTIONS") => ".PP".into(),
            Some(heading) => format!(".SS {heading}"),
            None => line.into(),
        });
    }
    Ok((lines.join("\n") + "\n").into_bytes())
}
