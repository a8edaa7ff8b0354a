//! `onward resume`: turns the records that are found into the same settings that `download` and `upload` take.
//!
//! Records are untrusted input. One that may be somebody else's is shown and not followed, unless `--trust` names it;
//! one that speaks of another file than the one it lies beside is never followed. Every record is looked at again,
//! under its lock, by whoever goes on with it.

use super::unfinished::{self, Search, Unfinished};
use super::{download, link, upload};
use crate::config::{self, Download, Fetch, Resume, Send, Upload, parse_url};
use crate::disk::shown;
use crate::engine::Stop;
use crate::event::{Event, FileId, Observer};
use crate::fault::{Fault, Kind as FaultKind};
use crate::net;
use crate::record::{Existing, IfExists, Kind, Record};
use crate::remote::Manner;
use crate::report::{NO_FILE, Report};
use crate::wire::mask;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// What there is to do.
struct Plan {
    /// The downloads to go on with.
    pub download: Download,
    /// The uploads to go on with.
    pub upload: Upload,
    /// What cannot be gone on with, and why.
    pub problems: Vec<Fault>,
    /// What was given and goes nowhere, in words.
    pub withheld: Vec<String>,
    /// Uploads of others, which `serve` has received in part: their senders go on with them.
    pub received: usize,
}

impl Plan {
    /// How many files there are to go on with.
    pub fn files(&self) -> usize {
        self.download.files.len() + self.upload.files.len()
    }
}

/// Goes on with all that `settings` find and may be followed.
pub fn run(settings: Resume, report: &Arc<Report>, stop: &Stop) -> Result<(), Fault> {
    let renewed = settings.url.is_some() || settings.url_command.is_some();
    let plan = plan(settings);
    let downloads = plan.download.files.len();
    // What was found and may not be followed says why itself.
    if renewed && downloads != 1 && (downloads > 1 || plan.problems.is_empty()) {
        let text = match downloads {
            0 => "there is no unfinished download for that URL".to_string(),
            several => format!("there are {several} unfinished downloads, and the URL is of one of them"),
        };
        return Err(Fault::new(FaultKind::Usage, text).hint("name the file, as in `onward resume --url URL big.iso`"));
    }
    let observer: Arc<dyn Observer> = report.clone();
    report.expect((plan.files() + plan.problems.len()) as u64);
    if plan.files() == 0 && plan.problems.is_empty() {
        report.note(match plan.received {
            0 => "nothing is unfinished here",
            _ => "nothing is unfinished here but what others are uploading; they go on with it",
        });
    }
    let down = plan.download.files.iter().map(|fetch| (&fetch.url, fetch.needs.as_deref()));
    let up = plan.upload.files.iter().map(|send| (&send.dest, send.needs.as_deref()));
    link::for_one_origin(&plan.download.link, down.chain(up))?;
    plan.withheld.into_iter().for_each(|text| observer.on(NO_FILE, &Event::Warning { text }));
    plan.problems.into_iter().for_each(|problem| observer.on(NO_FILE, &Event::Failed(problem)));
    if !plan.download.files.is_empty() {
        download::run(plan.download, &observer, stop)?;
    }
    if !plan.upload.files.is_empty() {
        upload::run(plan.upload, &observer, stop)?;
    }
    Ok(())
}

/// Looks for records and decides about each.
fn plan(settings: Resume) -> Plan {
    let Search { found, problems } = unfinished::find(&settings.paths, settings.recursive);
    let mut plan = Plan {
        download: Download {
            files: Vec::new(),
            first: 0,
            dir: PathBuf::from("."),
            adopt: None,
            heads: None,
            url_command: settings.url_command.clone(),
            checksum_file: None,
            create_dirs: false,
            dry_run: false,
            least: None,
            remote_time: false,
            strict: false,
            buffer: config::BUFFER,
            work: settings.work.clone(),
            link: settings.link.clone(),
        },
        upload: Upload {
            files: Vec::new(),
            first: 0,
            restart: settings.restart,
            assume: settings.assume,
            digest: None,
            manner: Manner {
                connections: settings.work.connections,
                fields: settings.fields.clone(),
                ..Manner::default()
            },
            work: settings.work.clone(),
            link: settings.link.clone(),
        },
        problems,
        withheld: Vec::new(),
        received: 0,
    };
    for one in found {
        if let Err(fault) = plan.add(&one, &settings) {
            plan.problems.push(fault);
        }
    }
    plan.upload.first = plan.download.files.len() as FileId;
    plan
}

impl Plan {
    fn add(&mut self, one: &Unfinished, settings: &Resume) -> Result<(), Fault> {
        if one.record().is_some_and(|record| record.kind == Kind::Receive) {
            self.received += 1;
            return Ok(());
        }
        let trust = is_trusted(one, &settings.trust);
        let record = usable(one, trust, Deed::GoOn)?;
        if !is_wanted(record, &settings.to) {
            return Ok(());
        }
        let given = settings.url.clone().filter(|_| record.kind == Kind::Download);
        let renewed = given.is_some() || (settings.url_command.is_some() && record.kind == Kind::Download);
        let url = match given {
            Some(url) => url,
            None => whole_url(one, record, settings, renewed)?,
        };
        // Whom the user names on this very command line gets what stands beside it.
        let needs = (record.kind != Kind::Download || settings.url.is_none()).then(|| record.needs.clone());
        if let Some(needs) = &needs {
            self.withheld.extend(withheld(&settings.link, &url, needs, &one.file()));
        }
        let existing = match record.if_exists {
            IfExists::Fail => Existing::Refuse,
            IfExists::Replace => Existing::Replace,
        };
        match record.kind {
            Kind::Download => {
                self.download.files.push(Fetch {
                    mirrors: mirrors(record),
                    url,
                    masked: settings.url.is_none() && record.needs.iter().any(|need| need == "url"),
                    output: Some(one.file()),
                    checksum: record.checksum.clone(),
                    checksum_by: None,
                    existing,
                    trust,
                    needs,
                });
            }
            Kind::Upload => {
                self.upload.files.push(Send { source: one.file(), dest: url, base: None, existing, trust, needs });
            }
            Kind::Receive => {}
        }
        Ok(())
    }
}

/// What was given and does not go to `url`, because the record of `file` does not ask for it.
fn withheld(given: &config::Link, url: &Url, needs: &[String], file: &Path) -> Option<String> {
    let names =
        |link: &config::Link| link::access(link, &mut url.clone()).map(|access| access.names()).unwrap_or_default();
    let sent = names(&link::needed(given, Some(needs)));
    let kept: Vec<String> = names(given).into_iter().filter(|name| !sent.contains(name)).collect();
    (!kept.is_empty()).then(|| {
        format!(
            "{} is not sent for {}: its record does not ask for it; if {} is to have it, give the first command again",
            kept.join(", "),
            shown(file),
            url.host_str().unwrap_or("the server")
        )
    })
}

/// The record's mirrors, but for those that need a secret, which no record holds.
fn mirrors(record: &Record) -> Vec<Url> {
    let whole = record.mirrors.iter().filter_map(|text| parse_url(text).ok());
    whole.filter(|url| !mask::has_secret(url)).collect()
}

/// Whether `--trust` names this record, its data file or its file.
pub fn is_trusted(one: &Unfinished, trust: &[PathBuf]) -> bool {
    let same = |a: &Path, b: &Path| std::path::absolute(a).ok() == std::path::absolute(b).ok();
    trust.iter().any(|path| {
        same(path, &one.sidecar)
            || same(path, &one.file())
            || same(&crate::disk::with_suffix(path, ".toml"), &one.sidecar)
    })
}

/// Whether `--to` leaves this record in. Downloads have no destination to choose by.
pub fn is_wanted(record: &Record, to: &[String]) -> bool {
    let is = |to: &String| *to == record.url || to.parse::<Url>().is_ok_and(|to| net::shown(&to) == record.url);
    to.is_empty() || record.kind == Kind::Download || to.iter().any(is)
}

/// What a record is to be followed for.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    /// To finish the transfer.
    GoOn,
    /// To have the other side forget it.
    Cancel,
}

/// The record, if it may be followed.
pub fn usable(one: &Unfinished, trust: bool, deed: Deed) -> Result<&Record, Fault> {
    let place = shown(&one.sidecar);
    let (record, doubt) = match &one.content {
        Ok((record, doubt)) => (record, doubt),
        Err(why) => {
            return Err(Fault::new(FaultKind::Local, format!("{place}: {why}"))
                .hint("give the whole command again, or remove that file to forget the transfer"));
        }
    };
    match doubt {
        None => Ok(record),
        Some(doubt) if !one.fits() => Err(Fault::new(FaultKind::Local, format!("{place} is not followed: {doubt}"))
            .hint("remove it, unless you know who put it there")),
        Some(_) if trust => Ok(record),
        Some(doubt) => {
            let (file, url) = (shown(&one.file()), one.remote().unwrap_or_default());
            let deed = match (deed, record.kind) {
                (Deed::Cancel, _) => format!("speak to {url}"),
                (Deed::GoOn, Kind::Upload) => format!("send {file} to {url}"),
                (Deed::GoOn, _) => format!("fetch {url} into {file}"),
            };
            let text = format!("{place} may be somebody else's ({doubt}): it would have us {deed}");
            Err(Fault::new(FaultKind::Local, text).hint(format!("if that is what you want, add --trust {place}")))
        }
    }
}

/// The record's URL with all that is needed for it: what a record cannot hold must have been given again.
/// `renewed`: somebody gives a fresh URL when it is asked for.
fn whole_url(one: &Unfinished, record: &Record, settings: &Resume, renewed: bool) -> Result<Url, Fault> {
    let file = shown(&one.file());
    let url = parse_url(&record.url)
        .map_err(|fault| Fault::new(FaultKind::Local, format!("{}: {}", shown(&one.sidecar), fault.what)))?;
    let mut known = link::access(&settings.link, &mut url.clone())?.names();
    known.extend(settings.fields.iter().map(|field| format!("field:{}", field.name)));
    let given = |need: &&str| known.iter().any(|known| known == need) || (renewed && *need == "url");
    let missing: Vec<&str> = record.needs.iter().map(String::as_str).filter(|need| !given(need)).collect();
    let [first, ..] = missing[..] else { return Ok(url) };
    let hint = match first {
        "url" if record.kind == Kind::Download => {
            format!("its URL holds a secret: `onward resume --url 'URL' {file}` goes on, or --url-command CMD")
        }
        "url" => "its URL holds a secret: give the first command again, with the whole URL".to_string(),
        "header:authorization" => "log in again with -u, --token-file, --netrc or -H 'Authorization: …'".to_string(),
        "header:cookie" => "give the cookies again with -b".to_string(),
        _ => match first.split_once(':') {
            Some(("header", header)) => format!("give it again with -H '{header}: …'"),
            Some(("env", name)) => format!("set the variable {name}, and give the first command again"),
            Some(("field", field)) => format!("give it again with -F '{field}=…'"),
            _ => "give the first command again".to_string(),
        },
    };
    Err(Fault::new(FaultKind::Refused, format!("{file} needs what no record holds: {}", missing.join(", ")))
        .kept("nothing was changed")
        .hint(hint))
}

#[cfg(test)]
mod tests {
    // A test plants files without ceremony.
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::config::{Link, Secret, Work};
    use crate::disk;
    use std::os::unix::fs::PermissionsExt;

    fn settings(path: &Path) -> Resume {
        Resume {
            paths: vec![path.to_owned()],
            recursive: false,
            to: Vec::new(),
            url: None,
            url_command: None,
            trust: Vec::new(),
            fields: Vec::new(),
            restart: false,
            assume: None,
            work: Work::default(),
            link: Link::default(),
        }
    }

    fn plant(folder: &Path, name: &str, record: &Record) -> PathBuf {
        let path = folder.join(name);
        disk::replace(&path, record.to_toml().as_bytes(), false).unwrap();
        path
    }

    #[test]
    fn a_record_becomes_what_the_command_line_would_have_been() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::new(Kind::Download, "https://h/a", "a", 10);
        record.if_exists = IfExists::Replace;
        record.checksum = crate::digest::Digest::parse("md5:25f9e794323b453885f5181f1b624d0b");
        plant(dir.path(), "a.partial.toml", &record);
        plant(dir.path(), "s.00112233.partial.toml", &Record::new(Kind::Upload, "https://one/s", "s", 10));
        plant(dir.path(), "s.44556677.partial.toml", &Record::new(Kind::Upload, "https://two/s", "s", 10));
        plant(dir.path(), "id.partial.toml", &Record::new(Kind::Receive, "", "x", 10));
        let all = plan(settings(dir.path()));
        assert!(all.problems.is_empty() && all.received == 1 && all.files() == 3 && all.upload.first == 1);
        let fetch = &all.download.files[0];
        assert_eq!((fetch.url.as_str(), fetch.output.as_deref()), ("https://h/a", Some(&*dir.path().join("a"))));
        assert_eq!((fetch.existing, &fetch.checksum), (Existing::Replace, &record.checksum));
        let to = vec!["https://two/s".to_string()];
        let one = plan(Resume { to, ..settings(&dir.path().join("s")) });
        assert_eq!(one.upload.files.iter().map(|send| send.dest.as_str()).collect::<Vec<_>>(), ["https://two/s"]);
    }

    #[test]
    fn a_planted_record_is_shown_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = plant(dir.path(), "a.partial.toml", &Record::new(Kind::Download, "http://evil/x", "a", 10));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
        let refused = plan(settings(dir.path()));
        assert_eq!(refused.files(), 0);
        assert!(
            refused.problems[0].what.contains("it would have us fetch http://evil/x into"),
            "{}",
            refused.problems[0]
        );
        for trust in ["a.partial.toml", "a.partial", "a"] {
            let trusting = Resume { trust: vec![dir.path().join(trust)], ..settings(dir.path()) };
            assert!(plan(trusting).download.files[0].trust, "{trust}");
        }
        let elsewhere = plant(dir.path(), "b.partial.toml", &Record::new(Kind::Download, "http://evil/x", "../b", 10));
        let trusting = Resume { trust: vec![elsewhere], ..settings(&dir.path().join("b")) };
        let never = plan(trusting);
        assert!(never.files() == 0 && never.problems[0].what.contains("not followed"));
    }

    #[test]
    fn what_a_record_cannot_hold_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::new(Kind::Download, "https://h/a", "a", 10);
        record.needs = vec!["header:authorization".into(), "header:x-key".into()];
        plant(dir.path(), "a.partial.toml", &record);
        let fault = &plan(settings(dir.path())).problems[0];
        assert_eq!(fault.code(), 6);
        assert!(fault.what.contains("header:authorization, header:x-key"), "{fault}");
        let headers = vec![("X-Key".into(), Secret::new("k"))];
        let link = Link { token: Some(Secret::new("t")), headers, ..Link::default() };
        assert_eq!(plan(Resume { link, ..settings(dir.path()) }).files(), 1);
    }
}
