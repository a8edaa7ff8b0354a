//! What the user wants, as plain values: flags win over the environment, that over the config file, that over the
//! defaults. Resolving is a pure function of the parsed flags and of a [`Surroundings`]; commands and engines see
//! only the structs here, never clap's.
//!
//! Every setting of the config file (`$XDG_CONFIG_HOME/onward/config.toml`) is a long flag's name with its value, as
//! in `limit-rate = "16M"`; the environment's is `ONWARD_LIMIT_RATE`.

use crate::cli;
use crate::digest::Digest;
use crate::fault::{Fault, Kind};
use crate::units;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// A larger config, header, token or URL list file than this is refused, in bytes.
const MAX_TEXT: u64 = 64 << 20;
/// The settings that the config file and `ONWARD_*` variables may give.
const KEYS: [&str; 11] = [
    "cacert",
    "chunk-size",
    "connect-timeout",
    "connections",
    "jobs",
    "limit-rate",
    "max-time",
    "progress",
    "proxy",
    "retries",
    "user-agent",
];

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Which family of addresses to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpVersion {
    /// Whichever answers first.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// How to reach the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Headers given by the user, in their order; bound to the origin given.
    pub headers: Vec<(String, Secret)>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// Bearer token.
    pub token: Option<Secret>,
    /// The text of the netrc file, where one is to be used.
    pub netrc: Option<Secret>,
    /// More certificate authorities (PEM files).
    pub cacert: Vec<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
    /// The proxy to go through; without one the environment decides.
    pub proxy: Option<String>,
    /// Which addresses to use.
    pub ip: IpVersion,
    /// What to call ourselves.
    pub user_agent: String,
    /// At most this many bytes a second, all files together.
    pub limit_rate: Option<u64>,
    /// For one attempt to connect.
    pub connect_timeout: Duration,
    /// For the whole run.
    pub max_time: Option<Duration>,
    /// Tries without progress; `None` is endless.
    pub retries: Option<u32>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            login: None,
            token: None,
            netrc: None,
            cacert: Vec::new(),
            insecure: false,
            proxy: None,
            ip: IpVersion::Any,
            user_agent: concat!("onward/", env!("CARGO_PKG_VERSION")).into(),
            limit_rate: None,
            connect_timeout: Duration::from_secs(10),
            max_time: None,
            retries: Some(10),
        }
    }
}

/// What to do about a finished file of the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, unless it is the same content.
    #[default]
    Refuse,
    /// Replace it, at the very end.
    Replace,
    /// Leave it alone and count it as done.
    Keep,
}

/// How a file is moved, whichever way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// Connections a file; `None` is as many as help.
    pub connections: Option<u32>,
    /// Large files at once.
    pub jobs: u32,
    /// The chunk size asked for, in bytes.
    pub chunk_size: Option<u64>,
    /// Changed content is a failure, not a reason to start over.
    pub no_restart: bool,
}

/// The settings of `onward download`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// What to fetch, `http` or `https`, in the order given.
    pub urls: Vec<Url>,
    /// The file to write, with one URL only; relative to `dir`.
    pub output: Option<PathBuf>,
    /// The folder to write into.
    pub dir: PathBuf,
    /// The digest the content must have, with one URL only.
    pub checksum: Option<Digest>,
    /// What to do about a file that is already there.
    pub existing: Existing,
    /// Say what would be done, move nothing.
    pub dry_run: bool,
    /// How.
    pub work: Work,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward upload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The sources, in the order given.
    pub files: Vec<PathBuf>,
    /// Where to.
    pub dest: Url,
    /// `dest` is a folder: each file's name is appended.
    pub folder: bool,
    /// The remote name, with one file only.
    pub name: Option<String>,
    /// What to do about a remote file that is already there.
    pub existing: Existing,
    /// How.
    pub work: Work,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward resume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Where to look; never empty.
    pub paths: Vec<PathBuf>,
    /// Descend into folders.
    pub recursive: bool,
    /// Only these destinations of an upload; all when empty.
    pub to: Vec<String>,
    /// Records to follow although they may have been planted.
    pub trust: Vec<PathBuf>,
    /// How. The chunk size is the record's.
    pub work: Work,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where to look; never empty.
    pub paths: Vec<PathBuf>,
    /// Descend into folders.
    pub recursive: bool,
    /// JSON lines in place of a table.
    pub json: bool,
}

/// The settings of `onward cancel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// What to forget; never empty.
    pub paths: Vec<PathBuf>,
    /// Only these destinations of an upload; all when empty.
    pub to: Vec<String>,
    /// Records to follow although they may have been planted.
    pub trust: Vec<PathBuf>,
    /// Through what.
    pub link: Link,
}

/// The settings of `onward serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The folder.
    pub dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names and tokens; empty means that anybody who can connect may come in.
    pub tokens: Vec<(String, Secret)>,
    /// Certificate chain and key (PEM files).
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Take no uploads.
    pub read_only: bool,
    /// Give out nothing.
    pub upload_only: bool,
    /// Uploads may replace finished files.
    pub allow_overwrite: bool,
    /// The largest upload taken, in bytes.
    pub max_file_size: Option<u64>,
    /// Unfinished uploads a token may have.
    pub max_unfinished: u32,
    /// Bytes of the disk to keep free.
    pub min_free: u64,
    /// The path below which everything lies: begins and ends with `/`.
    pub base_path: String,
}

/// The settings of `onward demo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// The size of the file, in bytes.
    pub size: u64,
}

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Show {
    /// How progress is shown.
    pub progress: Progress,
    /// Failures only.
    pub quiet: bool,
    /// How much more to say, from 0.
    pub verbose: u8,
}

/// How progress is shown, once `auto` is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bars.
    Bars,
    /// Lines for logs.
    Plain,
    /// JSON lines.
    Json,
    /// Not at all.
    None,
}

/// One command with its settings.
#[derive(Debug, Clone)]
pub enum Command {
    /// `onward download`
    Download(Download),
    /// `onward upload`
    Upload(Upload),
    /// `onward serve`
    Serve(Serve),
    /// `onward resume`
    Resume(Resume),
    /// `onward status`
    Status(Status),
    /// `onward cancel`
    Cancel(Cancel),
    /// `onward demo`
    Demo(Demo),
    /// `onward completions`
    Completions(clap_complete::Shell),
    /// `onward man`
    Man,
}

/// Everything outside the command line that settings may come from. A value, so that resolving is a pure function.
pub struct Surroundings<'a> {
    /// An environment variable; empty ones count as absent.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file, or of stdin for `-`.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// Whether stderr is a terminal.
    pub terminal: bool,
}

/// What is left of [`Surroundings`] once the config file is read.
struct Layers<'a> {
    outside: &'a Surroundings<'a>,
    file: BTreeMap<String, String>,
    file_name: String,
}

/// Reads environment, config file and the files that flags name, and resolves `cli` with them. What to show is known
/// even when the rest is wrong, so that the failure is shown as asked. `terminal`: messages go to one.
pub fn load(cli: cli::Cli, terminal: bool) -> (Show, Result<Command, Fault>) {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    resolve(cli, &Surroundings { env: &env, read: &read_text, terminal })
}

/// The settings that `cli` and `outside` give. Pure.
pub fn resolve(cli: cli::Cli, outside: &Surroundings) -> (Show, Result<Command, Fault>) {
    let flags = cli.command.show().cloned().unwrap_or_default();
    let show = match Layers::new(outside) {
        Ok(layers) => layers.show(&flags),
        Err(_) => Layers::flags_only(outside).show(&flags),
    };
    let command = Layers::new(outside).and_then(|layers| layers.command(cli.command));
    match show {
        Ok(show) => (show, command),
        Err(fault) => (Show::SILENT, command.and(Err(fault))),
    }
}

impl Show {
    /// For commands that move nothing.
    pub const SILENT: Self = Self { progress: Progress::None, quiet: false, verbose: 0 };
}

impl<'a> Layers<'a> {
    fn new(outside: &'a Surroundings<'a>) -> Result<Self, Fault> {
        let Some(path) = config_path(outside) else {
            return Ok(Self::flags_only(outside));
        };
        let file_name = shown(&path);
        let file = match (outside.read)(&path) {
            Ok(text) => settings_in(&text).map_err(|why| usage(format!("{file_name}: {why}")))?,
            Err(error) if is_absent(&error) => BTreeMap::new(),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        Ok(Self { outside, file, file_name })
    }

    /// Without the config file.
    fn flags_only(outside: &'a Surroundings<'a>) -> Self {
        Self { outside, file: BTreeMap::new(), file_name: String::new() }
    }

    fn command(&self, command: cli::Command) -> Result<Command, Fault> {
        Ok(match command {
            cli::Command::Download(flags) => Command::Download(self.download(flags)?),
            cli::Command::Upload(flags) => Command::Upload(self.upload(flags)?),
            cli::Command::Serve(flags) => Command::Serve(self.serve(flags)?),
            cli::Command::Resume(flags) => Command::Resume(self.resume(flags)?),
            cli::Command::Cancel(flags) => Command::Cancel(self.cancel(flags)?),
            cli::Command::Demo(flags) => Command::Demo(Demo { size: flags.size.unwrap_or(256 << 20) }),
            cli::Command::Status(flags) => {
                Command::Status(Status { paths: here(flags.paths), recursive: flags.recursive, json: flags.json })
            }
            cli::Command::Completions(flags) => Command::Completions(flags.shell),
            cli::Command::Man(_) => Command::Man,
        })
    }

    fn env(&self, name: &str) -> Option<String> {
        (self.outside.env)(name)
    }

    fn read(&self, path: &Path) -> Result<String, Fault> {
        (self.outside.read)(path).map_err(|error| unreadable(path, &error))
    }

    /// One setting by the order of the layers: the flag, `ONWARD_KEY`, the config file.
    fn pick<T, E: fmt::Display>(
        &self,
        flag: Option<T>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        let variable = format!("ONWARD_{}", key.to_uppercase().replace('-', "_"));
        match (flag, self.env(&variable), self.file.get(key)) {
            (Some(value), ..) => Ok(Some(value)),
            (None, Some(text), _) => parse(&text).map(Some).map_err(|why| usage(format!("{variable}: {why}"))),
            (None, None, Some(text)) => {
                parse(text).map(Some).map_err(|why| usage(format!("{}: {key}: {why}", self.file_name)))
            }
            (None, None, None) => Ok(None),
        }
    }

    fn show(&self, flags: &cli::Show) -> Result<Show, Fault> {
        let style = self.pick(flags.progress, "progress", |text| {
            clap::ValueEnum::from_str(text, true).map_err(|_| "auto, bars, plain, json or none is wanted")
        })?;
        let dumb = self.env("TERM").is_some_and(|term| term == "dumb") || self.env("CI").is_some();
        let progress = match style.unwrap_or(cli::ProgressStyle::Auto) {
            cli::ProgressStyle::Auto if self.outside.terminal && !dumb => Progress::Bars,
            cli::ProgressStyle::Auto | cli::ProgressStyle::Plain => Progress::Plain,
            // Elsewhere a bar cannot be drawn over.
            cli::ProgressStyle::Bars if !self.outside.terminal => Progress::Plain,
            cli::ProgressStyle::Bars => Progress::Bars,
            cli::ProgressStyle::Json => Progress::Json,
            cli::ProgressStyle::None => Progress::None,
        };
        Ok(Show { progress, quiet: flags.quiet, verbose: flags.verbose })
    }

    fn download(&self, flags: cli::Download) -> Result<Download, Fault> {
        let mut given = flags.urls;
        if let Some(list) = &flags.input {
            given.extend(lines(&self.read(list)?).map(str::to_string));
        }
        let urls = given.iter().map(|text| parse_url(text)).collect::<Result<Vec<_>, _>>()?;
        if urls.len() != 1 && flags.output.is_some() {
            return Err(usage("-o names one file, and there is more than one URL").hint("use -d DIR"));
        }
        if urls.len() != 1 && flags.checksum.is_some() {
            return Err(usage("--checksum belongs to one file, and there is more than one URL"));
        }
        if flags.output.as_deref() == Some(Path::new("-")) {
            return Err(usage("writing to stdout is not supported").hint("name a file; a FIFO or /dev/null will do"));
        }
        Ok(Download {
            urls,
            output: flags.output,
            dir: flags.dir.unwrap_or_else(|| PathBuf::from(".")),
            checksum: flags.checksum.as_deref().map(parse_checksum).transpose()?,
            existing: existing(flags.overwrite, flags.no_clobber),
            dry_run: flags.dry_run,
            work: self.work(flags.connections, flags.jobs, flags.chunk_size, flags.no_restart)?,
            link: self.link(flags.link)?,
        })
    }

    fn upload(&self, flags: cli::Upload) -> Result<Upload, Fault> {
        let mut files = flags.paths;
        let dest = match flags.to {
            Some(dest) => dest,
            None => {
                let last = files.pop().unwrap_or_default();
                last.to_str().map(str::to_string).ok_or_else(|| usage(format!("{} is not a URL", shown(&last))))?
            }
        };
        let dest = parse_url(&dest)?;
        if files.is_empty() {
            return Err(usage("there is nothing to upload").hint("onward upload FILE... URL"));
        }
        if files.len() > 1 && flags.name.is_some() {
            return Err(usage("--name belongs to one file, and there is more than one"));
        }
        let folder = files.len() > 1 || dest.path().ends_with('/');
        Ok(Upload {
            files,
            dest,
            folder,
            name: flags.name,
            existing: existing(flags.overwrite, flags.no_clobber),
            work: self.work(flags.connections, flags.jobs, flags.chunk_size, false)?,
            link: self.link(flags.link)?,
        })
    }

    fn resume(&self, flags: cli::Resume) -> Result<Resume, Fault> {
        Ok(Resume {
            paths: here(flags.paths),
            recursive: flags.recursive,
            to: flags.to,
            trust: flags.trust,
            work: self.work(flags.connections, flags.jobs, None, flags.no_restart)?,
            link: self.link(flags.link)?,
        })
    }

    fn cancel(&self, flags: cli::Cancel) -> Result<Cancel, Fault> {
        Ok(Cancel { paths: flags.paths, to: flags.to, trust: flags.trust, link: self.link(flags.link)? })
    }

    fn serve(&self, flags: cli::Serve) -> Result<Serve, Fault> {
        let listen = flags.listen.as_deref().unwrap_or("127.0.0.1:8080");
        let mut tokens = Vec::new();
        if let Some(path) = &flags.token_file {
            tokens = named_tokens(&self.read(path)?).map_err(|why| usage(format!("{}: {why}", shown(path))))?;
        } else if let Some(token) = self.env("ONWARD_SERVE_TOKEN") {
            tokens.push(("default".to_string(), Secret::new(token)));
        }
        Ok(Serve {
            dir: flags.dir.unwrap_or_else(|| PathBuf::from(".")),
            listen: parse_listen(listen)?,
            tokens,
            tls: flags.tls_cert.zip(flags.tls_key),
            read_only: flags.read_only,
            upload_only: flags.upload_only,
            allow_overwrite: flags.allow_overwrite,
            max_file_size: flags.max_file_size,
            max_unfinished: flags.max_unfinished.unwrap_or(100),
            min_free: flags.min_free.unwrap_or(256 << 20),
            base_path: parse_base_path(flags.base_path.as_deref().unwrap_or("/"))?,
        })
    }

    fn work(
        &self,
        connections: Option<u32>,
        jobs: Option<u32>,
        chunk_size: Option<u64>,
        no_restart: bool,
    ) -> Result<Work, Fault> {
        let chunk_size = self.pick(chunk_size, "chunk-size", units::size)?;
        if chunk_size == Some(0) {
            return Err(usage("a chunk holds at least one byte"));
        }
        Ok(Work {
            connections: self.pick(connections, "connections", few)?,
            jobs: self.pick(jobs, "jobs", few)?.unwrap_or(3),
            chunk_size,
            no_restart,
        })
    }

    fn link(&self, flags: cli::Link) -> Result<Link, Fault> {
        let default = Link::default();
        let cacert = match flags.cacert.is_empty() {
            true => self.pick(None, "cacert", |text| Ok::<_, Fault>(vec![PathBuf::from(text)]))?.unwrap_or_default(),
            false => flags.cacert,
        };
        let limit_rate = self.pick(flags.limit_rate, "limit-rate", units::rate)?;
        if limit_rate == Some(0) {
            return Err(usage("at a rate of 0 nothing moves"));
        }
        let text = |text: &str| Ok::<_, Fault>(text.to_string());
        let retries = self.pick(flags.retries, "retries", cli::retries)?;
        Ok(Link {
            headers: self.headers(&flags.headers)?,
            login: self.login(flags.user.as_deref())?,
            token: self.token(flags.token_file.as_deref())?,
            netrc: self.netrc(flags.netrc)?,
            cacert,
            insecure: flags.insecure,
            proxy: self.pick(flags.proxy, "proxy", text)?,
            ip: match (flags.ipv4, flags.ipv6) {
                (true, _) => IpVersion::V4,
                (_, true) => IpVersion::V6,
                _ => IpVersion::Any,
            },
            user_agent: self.pick(flags.user_agent, "user-agent", text)?.unwrap_or(default.user_agent),
            limit_rate,
            connect_timeout: self
                .pick(flags.connect_timeout, "connect-timeout", units::duration)?
                .unwrap_or(default.connect_timeout),
            max_time: self.pick(flags.max_time, "max-time", units::duration)?,
            retries: match retries {
                Some(cli::Retries::Endless) => None,
                Some(cli::Retries::AtMost(n)) => Some(n),
                None => default.retries,
            },
        })
    }

    fn headers(&self, given: &[String]) -> Result<Vec<(String, Secret)>, Fault> {
        let mut headers = Vec::new();
        for one in given {
            match one.strip_prefix('@') {
                Some(file) => {
                    let text = self.read(Path::new(file))?;
                    for line in lines(&text) {
                        headers.push(parse_header(line)?);
                    }
                }
                None => headers.push(parse_header(one)?),
            }
        }
        Ok(headers)
    }

    fn login(&self, user: Option<&str>) -> Result<Option<(String, Secret)>, Fault> {
        let Some(user) = user else { return Ok(None) };
        if let Some((name, password)) = user.split_once(':') {
            return Ok(Some((name.into(), Secret::new(password))));
        }
        let password = self.env("ONWARD_PASSWORD").ok_or_else(|| {
            usage("-u gives a user and no password").hint("put it into the variable ONWARD_PASSWORD; nothing is asked")
        })?;
        Ok(Some((user.into(), Secret::new(password))))
    }

    fn token(&self, file: Option<&Path>) -> Result<Option<Secret>, Fault> {
        let Some(path) = file else { return Ok(self.env("ONWARD_TOKEN").map(Secret::new)) };
        let text = self.read(path)?;
        let token = lines(&text).next().ok_or_else(|| usage(format!("there is no token in {}", shown(path))))?;
        Ok(Some(Secret::new(token)))
    }

    fn netrc(&self, flag: Option<Option<PathBuf>>) -> Result<Option<Secret>, Fault> {
        let home = || self.env("HOME").map(|home| Path::new(&home).join(".netrc"));
        let path = match flag {
            None => return Ok(None),
            Some(Some(path)) => path,
            Some(None) => self
                .env("NETRC")
                .map(PathBuf::from)
                .or_else(home)
                .ok_or_else(|| usage("--netrc finds no home folder").hint("use --netrc=FILE"))?,
        };
        self.read(&path).map(|text| Some(Secret::new(text)))
    }
}

fn usage(what: impl Into<String>) -> Fault {
    Fault::new(Kind::Usage, what)
}

/// A path for messages, control characters escaped.
fn shown(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// Lines with something in them; `#` begins a comment.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn here(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    if paths.is_empty() { vec![PathBuf::from(".")] } else { paths }
}

fn existing(overwrite: bool, no_clobber: bool) -> Existing {
    match (overwrite, no_clobber) {
        (true, _) => Existing::Replace,
        (_, true) => Existing::Keep,
        _ => Existing::Refuse,
    }
}

/// A number of connections or jobs.
fn few(text: &str) -> Result<u32, &'static str> {
    text.parse().ok().filter(|n| (1..=64).contains(n)).ok_or("a number from 1 to 64 is wanted")
}

/// An absolute `http` or `https` URL. The message does not repeat what may hold a secret.
pub fn parse_url(text: &str) -> Result<Url, Fault> {
    let start: String = text.chars().take_while(|c| !matches!(c, '?' | '#' | '@')).take(80).collect();
    let start = start.escape_debug();
    match Url::parse(text.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) if text.contains("://") => {
            Err(usage(format!("\"{start}\": {} is not a scheme onward speaks", url.scheme()))
                .hint("use an http:// or https:// URL"))
        }
        _ => Err(usage(format!("\"{start}\" is not a URL")).hint("a URL begins with http:// or https://")),
    }
}

fn parse_checksum(text: &str) -> Result<Digest, Fault> {
    Digest::parse(text).ok_or_else(|| {
        usage(format!("\"{}\" is not a checksum", text.escape_debug()))
            .hint("write ALG:HEX, as in sha256:9f86d0…; md5, sha-1, sha-256, sha-512 and crc32c are known")
    })
}

fn parse_header(line: &str) -> Result<(String, Secret), Fault> {
    let (name, value) =
        line.split_once(':').ok_or_else(|| usage("a header without a colon").hint("write -H 'Name: value'"))?;
    let name = name.trim();
    http::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| usage(format!("\"{}\" is not a header name", name.escape_debug())))?;
    http::HeaderValue::from_str(value.trim())
        .map_err(|_| usage(format!("the value of header {name} holds characters that cannot be sent")))?;
    Ok((name.to_string(), Secret::new(value.trim())))
}

fn parse_listen(text: &str) -> Result<SocketAddr, Fault> {
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map_err(|_| {
        usage(format!("\"{}\" is not an address to listen on", text.escape_debug()))
            .hint("write ADDR:PORT, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:0")
    })
}

fn parse_base_path(text: &str) -> Result<String, Fault> {
    let inner = text.trim_matches('/');
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%' | '\\');
    if inner.chars().any(odd) || inner.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(usage(format!("\"{}\" is not a plain path", text.escape_debug())));
    }
    Ok(if inner.is_empty() { "/".into() } else { format!("/{inner}/") })
}

/// Lines of `name:token`.
fn named_tokens(text: &str) -> Result<Vec<(String, Secret)>, String> {
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

fn config_path(outside: &Surroundings) -> Option<PathBuf> {
    let env = |name: &str| (outside.env)(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = env("XDG_CONFIG_HOME").or_else(|| env("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("onward/config.toml"))
}

/// The config file's settings as text; what is unknown is an error, so that a slip of the pen does not go unseen.
fn settings_in(text: &str) -> Result<BTreeMap<String, String>, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string().trim_end().to_string())?;
    let mut settings = BTreeMap::new();
    for (key, value) in table {
        if !KEYS.contains(&key.as_str()) {
            return Err(format!("\"{}\" is not a setting; known are {}", key.escape_debug(), KEYS.join(", ")));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(n) => n.to_string(),
            _ => return Err(format!("{key} must be a text or a number")),
        };
        settings.insert(key, text);
    }
    Ok(settings)
}

/// Whether a config file that fails so is simply not there for us: a container may run with somebody else's HOME.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(Kind::Local, format!("{} cannot be read: {error}", shown(path)))
}

/// The text of a file the user named, or of stdin for `-`.
fn read_text(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    match path == Path::new("-") {
        true => io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text)?,
        false => std::fs::File::open(path)?.take(MAX_TEXT).read_to_string(&mut text)?,
    };
    Ok(text)
}
