//! How settings are resolved: the flag, else `ONWARD_KEY` in the environment, else the config file, else the default.
//! What that comes to for `download` and `upload` has a room each; the other commands are a few lines.

use super::file::File;
use super::parse::*;
use super::{Cancel, Command, Demo, Probe, Progress, Resume, Secret, Serve, Show, Status, Work};
use crate::cli;
use crate::disk::shown;
use crate::engine::push::Assume;
use crate::fault::{Fault, Kind};
use crate::record::Existing;
use crate::remote::{Field, Wish, dialect};
use crate::units;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// A larger config, header, token or URL list file than this is refused, in bytes.
const MAX_TEXT: u64 = 64 << 20;
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
pub(super) struct Layers<'a> {
    pub(super) outside: &'a Surroundings<'a>,
    file: File,
    file_name: String,
}

/// Reads environment, config file and the files that flags name, and resolves `cli` with them. What to show is known
/// even when the rest is wrong, so that the failure is shown as asked. `terminal`: messages go to one.
pub fn load(cli: cli::Cli, terminal: bool) -> (Show, Result<Command, Fault>) {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    resolve(cli, &Surroundings { env: &env, read: &read_text, terminal })
}

/// Whether a command line that is not understood is to be answered in JSON lines: what can be made out of
/// `--progress` in it decides, else the environment and the config file.
pub fn wants_json() -> bool {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    json_is_wanted(&args, &Surroundings { env: &env, read: &read_text, terminal: false })
}

fn json_is_wanted(args: &[String], outside: &Surroundings) -> bool {
    let after = |arg: &str| args.iter().position(|one| one == arg).and_then(|at| args.get(at + 1)).cloned();
    let flag = args.iter().find_map(|arg| arg.strip_prefix("--progress=").map(str::to_string));
    let flag = flag.or_else(|| after("--progress")).and_then(|style| clap::ValueEnum::from_str(&style, true).ok());
    let layers = Layers::new(outside).unwrap_or_else(|_| Layers::flags_only(outside));
    let flags = cli::Show { progress: flag, ..cli::Show::default() };
    layers.show(&flags).is_ok_and(|show| show.progress == Progress::Json)
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

impl<'a> Layers<'a> {
    fn new(outside: &'a Surroundings<'a>) -> Result<Self, Fault> {
        let Some(path) = config_path(outside) else {
            return Ok(Self::flags_only(outside));
        };
        let file_name = shown(&path);
        let file = match (outside.read)(&path) {
            Ok(text) => File::parse(&text).map_err(|why| usage(format!("{file_name}: {why}")))?,
            Err(error) if is_absent(&error) => File::default(),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        Ok(Self { outside, file, file_name })
    }

    /// Without the config file.
    fn flags_only(outside: &'a Surroundings<'a>) -> Self {
        Self { outside, file: File::default(), file_name: String::new() }
    }

    /// The layers as they are for uploads to `destination`: with the file's profiles for it.
    pub(super) fn at(&self, destination: &Url) -> Self {
        Self { outside: self.outside, file: self.file.at(destination), file_name: self.file_name.clone() }
    }

    fn command(&self, command: cli::Command) -> Result<Command, Fault> {
        Ok(match command {
            cli::Command::Download(flags) => Command::Download(self.download(flags)?),
            cli::Command::Upload(flags) => Command::Upload(self.upload(flags)?),
            cli::Command::Serve(flags) => Command::Serve(self.serve(flags)?),
            cli::Command::Resume(flags) => Command::Resume(self.resume(flags)?),
            cli::Command::Probe(flags) => Command::Probe(self.probe(flags)?),
            cli::Command::Cancel(flags) => Command::Cancel(self.cancel(flags)?),
            cli::Command::Demo(flags) => Command::Demo(Demo { size: flags.size.unwrap_or(256 << 20) }),
            cli::Command::Status(flags) => {
                Command::Status(Status { paths: here(flags.paths), recursive: flags.recursive, json: flags.json })
            }
            cli::Command::Dialects(flags) => Command::Dialects(self.dialects(flags)?),
            cli::Command::Completions(flags) => Command::Completions(flags.shell),
            cli::Command::Man(_) => Command::Man,
        })
    }

    pub(super) fn env(&self, name: &str) -> Option<String> {
        (self.outside.env)(name)
    }

    pub(super) fn read(&self, path: &Path) -> Result<String, Fault> {
        (self.outside.read)(path).map_err(|error| unreadable(path, &error))
    }

    /// One setting by the order of the layers: the flag, `ONWARD_KEY`, the config file.
    pub(super) fn pick<T, E: fmt::Display>(
        &self,
        flag: Option<T>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        let variable = variable(key);
        match (flag, self.env(&variable), self.file.get(key)) {
            (Some(value), ..) => Ok(Some(value)),
            (None, Some(text), _) => parse(&text).map(Some).map_err(|why| usage(format!("{variable}: {why}"))),
            (None, None, Some(text)) => {
                parse(text).map(Some).map_err(|why| usage(format!("{}: {key}: {why}", self.file_name)))
            }
            (None, None, None) => Ok(None),
        }
    }

    /// How to speak at an upload: by the protocol or in the dialect that the first layer names which names either.
    pub(super) fn tongue(
        &self,
        protocol: Option<Wish>,
        dialect: Option<String>,
    ) -> Result<(Wish, Option<dialect::Given>), Fault> {
        let given = |flag: bool, key: &str| [flag, self.env(&variable(key)).is_some(), self.file.get(key).is_some()];
        let (by_protocol, by_dialect) = (given(protocol.is_some(), "protocol"), given(dialect.is_some(), "dialect"));
        let first = by_protocol.iter().zip(&by_dialect).position(|(protocol, dialect)| *protocol || *dialect);
        match first.map(|layer| (by_protocol[layer], by_dialect[layer])) {
            Some((true, true)) => Err(usage("a protocol and a dialect are set, and an upload is made by one of them")
                .hint("--protocol or --dialect says which")),
            Some((false, true)) => {
                let name = self.pick(dialect, "dialect", |text| Ok::<_, Fault>(text.to_string()))?;
                Ok((Wish::Auto, name.map(|name| self.dialect(&name)).transpose()?))
            }
            _ => Ok((self.pick(protocol, "protocol", cli::protocol)?.unwrap_or_default(), None)),
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

    fn resume(&self, flags: cli::Resume) -> Result<Resume, Fault> {
        Ok(Resume {
            fields: fields(flags.fields),
            paths: here(flags.paths),
            recursive: flags.recursive,
            to: flags.to,
            url: flags.url.as_deref().map(parse_url).transpose()?,
            url_command: flags.url_command.map(Secret::new),
            trust: flags.trust,
            restart: flags.restart,
            assume: flags.assume.map(|assume| match assume {
                cli::Assume::Stored => Assume::Stored,
                cli::Assume::Lost => Assume::Lost,
            }),
            work: self.work(flags.connections, flags.jobs, None, flags.no_restart)?,
            link: self.link(flags.link, &flags.show)?,
        })
    }

    fn probe(&self, flags: cli::Probe) -> Result<Probe, Fault> {
        let urls = flags.urls.iter().map(|text| parse_url(text)).collect::<Result<_, _>>()?;
        Ok(Probe { urls, json: flags.json, speed: flags.speed, link: self.link(flags.link, &flags.show)? })
    }

    fn cancel(&self, flags: cli::Cancel) -> Result<Cancel, Fault> {
        Ok(Cancel {
            paths: flags.paths,
            to: flags.to,
            trust: flags.trust,
            fields: fields(flags.fields),
            link: self.link(flags.link, &flags.show)?,
        })
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
            links: flags.dedupe == Some(cli::Dedupe::Link),
            max_file_size: flags.max_file_size,
            max_unfinished: flags.max_unfinished.unwrap_or(100),
            min_free: flags.min_free.unwrap_or(256 << 20),
            base_path: parse_base_path(flags.base_path.as_deref().unwrap_or("/"))?,
            expire: flags.expire.unwrap_or(Duration::from_secs(7 * 24 * 3600)),
            hosts: flags.allow_host,
            origins: flags.cors,
            until_stdin_ends: flags.until_stdin_ends,
        })
    }

    pub(super) fn work(
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
}

/// The variable that gives the setting `key`.
fn variable(key: &str) -> String {
    format!("ONWARD_{}", key.to_uppercase().replace('-', "_"))
}

pub(super) fn fields(given: Vec<(String, String)>) -> Vec<Field> {
    given.into_iter().map(|(name, value)| Field { name, value }).collect()
}

fn here(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    if paths.is_empty() { vec![PathBuf::from(".")] } else { paths }
}

pub(super) fn existing(overwrite: bool, no_clobber: bool) -> Existing {
    match (overwrite, no_clobber) {
        (true, _) => Existing::Replace,
        (_, true) => Existing::Keep,
        _ => Existing::Refuse,
    }
}

pub(super) fn config_path(outside: &Surroundings) -> Option<PathBuf> {
    let env = |name: &str| (outside.env)(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = env("XDG_CONFIG_HOME").or_else(|| env("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("onward/config.toml"))
}

/// Whether a config file that fails so is simply not there for us: a container may run with somebody else's HOME.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Fault {
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

#[cfg(test)]
mod tests {
    use super::super::{Download, Upload};
    use super::*;
    use clap::Parser;

    /// Resolves a command line in surroundings that are all in the test.
    fn given(args: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]) -> (Show, Result<Command, Fault>) {
        let find = |list: &[(&str, &str)], name: &str| {
            list.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        let read = |path: &Path| find(files, path.to_str().unwrap()).ok_or_else(|| io::ErrorKind::NotFound.into());
        let cli = cli::Cli::try_parse_from([&["onward"], args].concat()).unwrap();
        resolve(cli, &Surroundings { env: &|name| find(env, name), read: &read, terminal: true })
    }

    fn download(args: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Download, Fault> {
        match given(&[&["download"], args].concat(), env, files).1? {
            Command::Download(download) => Ok(download),
            other => panic!("{other:?}"),
        }
    }

    fn upload(args: &[&str]) -> Result<Upload, Fault> {
        match given(&[&["upload"], args].concat(), &[], &[]).1? {
            Command::Upload(upload) => Ok(upload),
            other => panic!("{other:?}"),
        }
    }

    /// How the upload of a file to `URL` is spoken, as `protocol` or `dialect NAME`, in surroundings that are all here.
    fn spoken(args: &[&str], env: &[(&str, &str)], file: &str) -> Result<(String, Option<u64>), Fault> {
        let env = [&[("XDG_CONFIG_HOME", "/c")], env].concat();
        let Command::Upload(upload) = given(&[&["upload", "a", URL], args].concat(), &env, &[(FILE, file)]).1? else {
            panic!("no upload")
        };
        let manner = upload.manner;
        Ok(match (manner.protocol, manner.dialect) {
            (_, Some(dialect)) => (format!("dialect {}", dialect.name), manner.part),
            (Wish::Only(protocol), None) => (protocol.name().into(), upload.work.chunk_size),
            (Wish::Auto, None) => ("auto".into(), upload.work.chunk_size),
        })
    }

    const URL: &str = "http://h/f";
    const FILE: &str = "/c/onward/config.toml";

    #[test]
    fn flags_over_environment_over_file_over_defaults() {
        let home = ("XDG_CONFIG_HOME", "/c");
        let env = [home, ("ONWARD_LIMIT_RATE", "2M")];
        let files = [(FILE, "limit-rate = \"1M\"\njobs = 7\nretries = \"inf\"")];
        let rate = |args: &[&str], env: &[(&str, &str)], files| download(args, env, files).unwrap().link.limit_rate;
        assert_eq!(rate(&[URL], &[home], &[]), None);
        assert_eq!(rate(&[URL], &[home], &files), Some(1 << 20));
        assert_eq!(rate(&[URL], &env, &files), Some(2 << 20));
        assert_eq!(rate(&["--limit-rate", "3M", URL], &env, &files), Some(3 << 20));
        let all = download(&[URL], &env, &files).unwrap();
        assert_eq!((all.work.jobs, all.link.retries), (7, None));
        let bare = download(&[URL], &[], &[]).unwrap();
        assert_eq!((bare.work.jobs, bare.link.retries), (3, Some(10)));
    }

    #[test]
    fn profiles_stand_between_the_environment_and_the_rest_of_the_file() {
        let file =
            "protocol = \"put\"\nchunk-size = \"2M\"\n[host.\"http://h/\"]\ndialect = \"flow\"\nchunk-size = \"1M\"";
        let said = |args: &[&str], env: &[(&str, &str)], file: &str| spoken(args, env, file).unwrap();
        assert_eq!(said(&[], &[], ""), ("auto".into(), None));
        assert_eq!(said(&[], &[], file), ("dialect flow".into(), Some(1 << 20)));
        assert_eq!(said(&[], &[], &file.replace("//h/", "//g/")), ("put".into(), Some(2 << 20)));
        assert_eq!(said(&[], &[("ONWARD_PROTOCOL", "tus")], file), ("tus".into(), Some(1 << 20)));
        assert_eq!(said(&[], &[("ONWARD_DIALECT", "dropzone")], file).0, "dialect dropzone");
        let env = [("ONWARD_DIALECT", "dropzone")];
        assert_eq!(said(&["--protocol", "auto", "--chunk-size", "3M"], &env, file), ("auto".into(), Some(3 << 20)));
        assert_eq!(said(&["--dialect", "plupload"], &env, file).0, "dialect plupload");
        let both = spoken(&[], &[], &format!("{file}\nprotocol = \"tus\"")).unwrap_err();
        assert!(both.kind == Kind::Usage && both.what.contains("one of them"), "{both}");
        assert!(spoken(&[], &[], &file.replace("flow", "no-such")).unwrap_err().what.contains("no-such"));
    }

    #[test]
    fn slips_of_the_pen_are_named_with_their_place() {
        let home = [("HOME", "/h")];
        let wrong = |text| download(&[URL], &home, &[("/h/.config/onward/config.toml", text)]).unwrap_err();
        for (text, word) in [
            ("limit_rate = 1", "limit_rate"),
            ("limit-rate = true", "must be"),
            ("jobs = 0", "1 to 64"),
            ("= 1", "config.toml"),
            ("chunk-size = 0", "at least one byte"),
        ] {
            let fault = wrong(text);
            assert!(fault.kind == Kind::Usage && fault.what.contains(word), "{text}: {fault}");
        }
        let fault = download(&[URL], &[("ONWARD_JOBS", "many")], &[]).unwrap_err();
        assert!(fault.what.starts_with("ONWARD_JOBS: "), "{fault}");
    }

    #[test]
    fn secrets_come_from_files_and_the_environment() {
        let files = [("h", "# mine\nX-Key: abc\n\nCookie: a=b\n"), ("t", "token\n")];
        let link = download(&["-H", "@h", "--token-file", "t", URL], &[], &files).unwrap().link;
        let headers: Vec<_> = link.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("X-Key", "abc"), ("Cookie", "a=b")]);
        assert_eq!(link.token.as_ref().unwrap().expose(), "token");
        assert!(!format!("{link:?}").contains("abc") && !format!("{link:?}").contains("token\""));
        let env = [("ONWARD_PASSWORD", "p"), ("ONWARD_TOKEN", "t2")];
        let link = download(&["-u", "me", URL], &env, &[]).unwrap().link;
        assert_eq!(link.login.unwrap(), ("me".into(), Secret::new("p")));
        assert_eq!(link.token.unwrap().expose(), "t2");
        assert!(download(&["-u", "me", URL], &[], &[]).unwrap_err().hint.unwrap().contains("ONWARD_PASSWORD"));
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_happens() {
        for args in [
            &["h/f"][..],
            &["localhost:8080/f"],
            &["ftp://h/f"],
            &["-o", "f", URL, "http://h/g"],
            &["--checksum", "sha256:00", URL],
            &["--checksum", &format!("md5:{}", "0".repeat(32)), URL, "http://h/g"],
            &["-H", "no colon", URL],
            &["-H", "a: b\u{7}", URL],
            &["-o", "-", "-R", URL],
            &["-o", "-", "-D", "-", URL],
            &["-o", "-", "--adopt", "f", URL],
            &["--adopt", "f", URL, "http://h/g"],
            &["--adopt", "f.partial", URL],
            &["--url-command", "x", URL, "http://h/g"],
            &["-b", "missing", URL],
            &["-i", "missing", URL],
            &["--limit-rate", "0", URL],
        ] {
            assert!(download(args, &[], &[]).is_err(), "{args:?}");
        }
        let secret = download(&["http//h/f?token=hush"], &[], &[]).unwrap_err();
        assert!(!secret.what.contains("hush"), "{secret}");
    }

    #[test]
    fn lists_of_urls_hold_comments() {
        let files = [("list", "# two\nhttp://h/a\n\n  http://h/b\n")];
        let all = download(&["-i", "list", URL], &[], &files).unwrap();
        let urls: Vec<_> = all.files.iter().map(|fetch| fetch.url.as_str()).collect();
        assert_eq!(urls, ["http://h/f", "http://h/a", "http://h/b"]);
    }

    #[test]
    fn a_destination_is_a_file_or_a_folder() {
        let one = |args: &[&str]| upload(args).unwrap().files[0].dest.to_string();
        assert_eq!(one(&["a b", "http://h/in/"]), "http://h/in/a%20b");
        assert_eq!(one(&["a", "http://h"]), "http://h/a");
        assert_eq!(one(&["a", "http://h/in/b"]), "http://h/in/b");
        assert_eq!(one(&["-t", "http://h/in/", "a"]), "http://h/in/a");
        assert_eq!(one(&["--name", "x/y", "a", "http://h/in"]), "http://h/in/x/y");
        assert_eq!(upload(&["d/a", "b", "http://h/in"]).unwrap().files[1].dest.as_str(), "http://h/in/b");
        for args in [
            &["a", "b"][..],
            &["http://h/"],
            &["a/f", "b/f", "http://h/"],
            &["--name", "../x", "a", "http://h/"],
            &["--name", "x", "a", "b", "http://h/"],
        ] {
            assert_eq!(upload(args).unwrap_err().kind, Kind::Usage, "{args:?}");
        }
    }

    #[test]
    fn bars_only_where_they_can_be_drawn() {
        let style = |args: &[&str], env: &[(&str, &str)]| given(args, env, &[]).0.progress;
        assert_eq!(style(&["download", URL], &[("TERM", "xterm")]), Progress::Bars);
        assert_eq!(style(&["download", URL], &[("TERM", "dumb")]), Progress::Plain);
        assert_eq!(style(&["download", URL], &[("CI", "true")]), Progress::Plain);
        assert_eq!(style(&["download", URL, "--progress", "bars"], &[("CI", "true")]), Progress::Bars);
        assert_eq!(style(&["download", "nonsense", "--progress", "json"], &[]), Progress::Json);
    }

    #[test]
    fn a_server_is_told_where_and_for_whom() {
        let serve = |args: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]| match given(args, env, files).1 {
            Ok(Command::Serve(serve)) => Ok(serve),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => Err(fault),
        };
        let plain = serve(&["serve"], &[], &[]).unwrap();
        assert_eq!((plain.listen.to_string().as_str(), plain.base_path.as_str()), ("127.0.0.1:8080", "/"));
        let files = [("t", "ann: 1\nbob:2\n"), ("twice", "a:1\nb:1"), ("none", "# a:1"), ("odd", "a")];
        let named = serve(&["serve", "--token-file", "t", "--base-path", "up/load"], &[], &files).unwrap();
        assert_eq!(named.tokens, [("ann".into(), Secret::new("1")), ("bob".into(), Secret::new("2"))]);
        assert_eq!(named.base_path, "/up/load/");
        assert_eq!(serve(&["serve"], &[("ONWARD_SERVE_TOKEN", "x")], &[]).unwrap().tokens.len(), 1);
        for args in [
            &["--token-file", "twice"][..],
            &["--token-file", "none"],
            &["--token-file", "odd"],
            &["--listen", "8080"],
            &["--base-path", "/a/../b"],
        ] {
            assert!(serve(&[&["serve"], args].concat(), &[], &files).is_err(), "{args:?}");
        }
    }
}
