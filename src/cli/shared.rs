//! Flags that several subcommands share: how to reach the other side, and what to show.

use crate::units;
use clap::{ArgAction, Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// How to reach the other side.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Link {
    /// Send this header; @FILE reads lines of them from FILE
    #[arg(short = 'H', long = "header", value_name = "'K: V'|@FILE")]
    pub headers: Vec<String>,

    /// Log in; without :PASSWORD it is taken from ONWARD_PASSWORD
    #[arg(short, long, value_name = "USER[:PASSWORD]")]
    pub user: Option<String>,

    /// Read a bearer token from FILE; only the given origin sees it
    ///
    /// ONWARD_TOKEN does the same without a file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,

    /// Look the login up in ~/.netrc, or in FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, value_hint = ValueHint::FilePath)]
    #[allow(clippy::option_option)]
    pub netrc: Option<Option<PathBuf>>,

    /// Send these cookies: as 'name=value; …', or from a cookies.txt (Netscape format)
    ///
    /// Those written out go to the given origin, those of a file where it says. Cookies that a server sets go back to
    /// it in any case.
    #[arg(short = 'b', long = "cookie", value_name = "'K=V'|FILE", value_hint = ValueHint::FilePath)]
    pub cookies: Vec<String>,

    /// Trust the certificates in this PEM file too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cacert: Vec<PathBuf>,

    /// Do not check the server's certificate
    #[arg(short = 'k', long)]
    pub insecure: bool,

    /// Follow redirects from https to http
    #[arg(long)]
    pub allow_downgrade: bool,

    /// Go through this proxy (http, https, socks5, socks5h)
    ///
    /// Without it HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are honoured.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub proxy: Option<String>,

    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Use IPv6 only
    #[arg(short = '6', long)]
    pub ipv6: bool,

    /// Call ourselves this
    #[arg(short = 'A', long, value_name = "TEXT")]
    pub user_agent: Option<String>,

    /// Move at most this many bytes a second in all, as in 16M
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub limit_rate: Option<u64>,

    /// Give up a connection attempt after this long [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub connect_timeout: Option<Duration>,

    /// Replace a connection on which no byte moves for this long [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub stall_timeout: Option<Duration>,

    /// Stop after this long, as in 90, 90s or 1h30m; the same command goes on
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub max_time: Option<Duration>,

    /// Try again this often without any progress, or `inf` [default: 10]
    #[arg(long, value_name = "N", value_parser = retries)]
    pub retries: Option<Retries>,
}

/// How often to try again without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// At most this often.
    AtMost(u32),
    /// Until it works or somebody stops it.
    Endless,
}

/// Reads `10` or `inf`.
pub fn retries(text: &str) -> Result<Retries, String> {
    match text {
        "inf" => Ok(Retries::Endless),
        _ => text.parse().map(Retries::AtMost).map_err(|_| "a number or `inf` is wanted".into()),
    }
}

/// Reads `NAME=VALUE`.
pub fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("NAME=VALUE is wanted".into()),
    }
}

/// What to show while at it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Show {
    /// How progress is shown on stderr [default: auto]
    #[arg(long, value_name = "HOW")]
    pub progress: Option<ProgressStyle>,

    /// Show failures only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The ways of showing progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// Bars on a terminal, plain elsewhere, under TERM=dumb and under CI
    Auto,
    /// One bar a file
    Bars,
    /// Now and then a line
    Plain,
    /// One JSON object a line, warnings and failures too
    Json,
    /// Nothing but warnings and failures
    None,
}
