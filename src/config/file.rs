//! The config file: settings of every run, and profiles: tables `[host."URL"]` of settings that hold for uploads to
//! what lies under that URL.

use super::parse::parse_url;
use crate::net::same_origin;
use std::collections::BTreeMap;
use url::Url;

/// The settings that the config file and `ONWARD_*` variables may give.
const KEYS: [&str; 16] = [
    "buffer",
    "cacert",
    "chunk-size",
    "connect-timeout",
    "stall-timeout",
    "connections",
    "dialect",
    "interop",
    "jobs",
    "limit-rate",
    "max-time",
    "progress",
    "protocol",
    "proxy",
    "retries",
    "user-agent",
];
/// Those of them that a profile may give.
const OF_PROFILES: [&str; 5] = ["chunk-size", "connections", "dialect", "interop", "protocol"];
/// The two ways to say how to speak, of which one is said: a profile's takes the place of the other, too.
const TONGUES: [&str; 2] = ["dialect", "protocol"];

/// Values by their keys, as text.
type Settings = BTreeMap<String, String>;

/// What the file says.
#[derive(Debug, Clone, Default)]
pub struct File {
    settings: Settings,
    /// The profiles, by the URL that they hold under.
    profiles: Vec<(Url, Settings)>,
}

impl File {
    /// Reads it; what is unknown is an error, so that a slip of the pen does not go unseen.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string().trim_end().to_string())?;
        let profiles = match table.remove("host") {
            None => Vec::new(),
            Some(toml::Value::Table(hosts)) => {
                hosts.into_iter().map(|(url, table)| profile(&url, table)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err("host must be tables, as in [host.\"https://example.org/up/\"]".into()),
        };
        Ok(Self { settings: settings(table, &KEYS)?, profiles })
    }

    /// The value of `key`, where there is one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// The file as it reads for uploads to `destination`: what profiles say goes before what holds everywhere, the
    /// longest URL before the shorter ones.
    pub fn at(&self, destination: &Url) -> Self {
        let mut fitting: Vec<_> = self.profiles.iter().filter(|(place, _)| is_under(destination, place)).collect();
        fitting.sort_by_key(|(place, _)| place.path().len());
        let mut merged = self.settings.clone();
        for (_, profile) in fitting {
            if TONGUES.iter().any(|key| profile.contains_key(*key)) {
                merged.retain(|key, _| !TONGUES.contains(&key.as_str()));
            }
            merged.extend(profile.clone());
        }
        Self { settings: merged, profiles: Vec::new() }
    }
}

/// Whether `url` is `place` or lies below it.
fn is_under(url: &Url, place: &Url) -> bool {
    let rest = url.path().strip_prefix(place.path().trim_end_matches('/'));
    same_origin(url, place) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn profile(place: &str, table: toml::Value) -> Result<(Url, Settings), String> {
    let url = parse_url(place).map_err(|fault| format!("host: {}", fault.what))?;
    let toml::Value::Table(table) = table else {
        return Err(format!("host.{:?} must be a table", place));
    };
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err("host: a URL of scheme, host and path is wanted".into());
    }
    let settings = settings(table, &OF_PROFILES).map_err(|why| format!("host.{place:?}: {why}"))?;
    Ok((url, settings))
}

fn settings(table: toml::Table, known: &[&str]) -> Result<Settings, String> {
    let mut settings = Settings::new();
    for (key, value) in table {
        if !known.contains(&key.as_str()) {
            return Err(format!("\"{}\" is not a setting; known are {}", key.escape_debug(), known.join(", ")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_profile_counts_and_a_name_that_only_begins_alike_does_not() {
        let file = File::parse(
            "protocol = \"put\"\njobs = 2\n[host.\"http://h\"]\ndialect = \"flow\"\nchunk-size = \"1M\"\n\
             [host.\"http://h/a/\"]\nprotocol = \"tus\"\n",
        )
        .unwrap();
        let at = |url: &str| {
            let near = file.at(&url.parse().unwrap());
            ["protocol", "dialect", "chunk-size", "jobs"].map(|key| near.get(key).map(str::to_string))
        };
        let said = |all: [&str; 4]| all.map(|text| Some(text.to_string()).filter(|text| !text.is_empty()));
        assert_eq!(at("http://h/a/f?x=1"), said(["tus", "", "1M", "2"]));
        assert_eq!(at("http://h/a"), said(["tus", "", "1M", "2"]));
        assert_eq!(at("http://h/ab"), said(["", "flow", "1M", "2"]));
        for other in ["http://h:81/a/", "https://h/a/", "http://g/a/"] {
            assert_eq!(at(other), said(["put", "", "", "2"]), "{other}");
        }
    }

    #[test]
    fn slips_in_profiles_are_named() {
        for (text, word) in [
            ("host = 1", "host must be"),
            ("[host.\"example.org\"]\nprotocol = \"tus\"", "not a URL"),
            ("[host.\"http://h/?k=SECRET\"]\nprotocol = \"tus\"", "scheme, host and path"),
            ("[host.\"http://h/\"]\nproxy = \"x\"", "\"proxy\" is not a setting"),
            ("[host.\"http://h/\"]\nprotocol = true", "must be a text"),
            ("host.\"http://h/\" = 1", "must be a table"),
        ] {
            let why = File::parse(text).unwrap_err();
            assert!(why.contains(word) && !why.contains("SECRET"), "{text}: {why}");
        }
    }
}
