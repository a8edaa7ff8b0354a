//! Settings of the connection: headers, logins, cookies, certificates, proxies and times.

use super::layers::Layers;
use super::parse::{lines, parse_header, usage};
use super::{Cookies, Link, Secret};
use crate::cli;
use crate::disk::shown;
use crate::fault::Fault;
use crate::net::IpChoice;
use crate::units;
use crate::wire::cookies::Jar;
use std::path::{Path, PathBuf};
use url::Url;

impl Layers<'_> {
    pub(super) fn link(&self, flags: cli::Link, show: &cli::Show) -> Result<Link, Fault> {
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
            cookies: flags.cookies.iter().map(|text| self.cookies(text)).collect::<Result<_, _>>()?,
            allow_downgrade: flags.allow_downgrade,
            heard: show.verbose > 0,
            cacert,
            insecure: flags.insecure,
            proxy: self.pick(flags.proxy, "proxy", text)?,
            ip: match (flags.ipv4, flags.ipv6) {
                (true, _) => IpChoice::V4,
                (_, true) => IpChoice::V6,
                _ => IpChoice::Any,
            },
            user_agent: self.pick(flags.user_agent, "user-agent", text)?.unwrap_or(default.user_agent),
            limit_rate,
            connect_timeout: self
                .pick(flags.connect_timeout, "connect-timeout", units::duration)?
                .unwrap_or(default.connect_timeout),
            stall_timeout: self
                .pick(flags.stall_timeout, "stall-timeout", units::duration)?
                .unwrap_or(default.stall_timeout),
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

    /// As curl has it: with `=` in it these are cookies, else it is a file's name.
    fn cookies(&self, given: &str) -> Result<Cookies, Fault> {
        if given.contains('=') {
            let sample = Url::parse("http://localhost/").expect("a URL");
            return match Jar::from_pairs(given, &sample) {
                Some(_) => Ok(Cookies::Pairs(Secret::new(given))),
                None => Err(usage("-b gives something that is no cookie").hint("write -b 'name=value; other=value'")),
            };
        }
        let path = Path::new(given);
        let text = self.read(path)?;
        match Jar::from_netscape(&text) {
            (_, 0) => Ok(Cookies::File(Secret::new(text))),
            (_, strange) => Err(usage(format!("{} has {strange} lines that are no cookies", shown(path)))
                .hint("a cookies.txt (Netscape format) has seven fields a line, parted by tabs")),
        }
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
