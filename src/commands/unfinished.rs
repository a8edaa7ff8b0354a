//! Finds the records of unfinished transfers that paths speak of, for `status`, `resume` and `cancel`. Reads only, and
//! takes no lock.
//!
//! A record may have been planted. Here it is only told apart: who wrote it (owner and mode of the file) and whether
//! it speaks of the file it lies beside. What that means is for the caller to decide.

use crate::disk::{self, shown};
use crate::fault::{Fault, Kind as FaultKind};
use crate::partial::record_file::Place;
use crate::partial::{DATA_SUFFIX, SIDECAR_SUFFIX, Sidecar, read_sidecar};
use crate::record::{Kind, Owner, Record};
use crate::wire::mask;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder in which `serve` keeps uploads that are not complete.
const RECEIVED: &str = ".onward";

/// One record that was found.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Where the record lies.
    pub sidecar: PathBuf,
    /// The record, and why it may be somebody else's; or why there is none to be had.
    pub content: Result<(Box<Record>, Option<String>), String>,
}

/// What a search brought.
#[derive(Debug, Default)]
pub struct Search {
    /// The records, by path, each once.
    pub found: Vec<Unfinished>,
    /// Paths that could not be looked at.
    pub problems: Vec<Fault>,
}

impl Unfinished {
    /// What lies at `sidecar`; `None` when there is nothing.
    fn at(sidecar: PathBuf) -> Option<Self> {
        let content = match read_sidecar(&sidecar) {
            Ok(Sidecar::None) => return None,
            Ok(Sidecar::Record(record)) => {
                let doubt = misfit(&sidecar, &record);
                Ok((record, doubt))
            }
            Ok(Sidecar::Doubtful(record, doubt)) => {
                let doubt = misfit(&sidecar, &record).unwrap_or(doubt);
                Ok((record, Some(doubt)))
            }
            Ok(Sidecar::Damaged(why)) => Err(format!("the record is damaged: {why}")),
            Err(fault) => Err(fault.what),
        };
        Some(Self { sidecar, content })
    }

    /// The record, if it can be read.
    pub fn record(&self) -> Option<&Record> {
        self.content.as_ref().ok().map(|(record, _)| &**record)
    }

    /// Why the record cannot be gone on with as it is.
    pub fn problem(&self) -> Option<&str> {
        match &self.content {
            Ok((_, doubt)) => doubt.as_deref(),
            Err(why) => Some(why),
        }
    }

    /// Whether the record speaks of the file it lies beside.
    pub fn fits(&self) -> bool {
        self.record().is_some_and(|record| misfit(&self.sidecar, record).is_none())
    }

    /// The remote place for people: somebody may have written a password into the record by hand.
    pub fn remote(&self) -> Option<String> {
        let shown =
            |text: &String| text.parse().map_or_else(|_| mask::masked_reference(text), |url| mask::masked(&url));
        self.record().map(|record| shown(&record.url))
    }

    /// The local file: a download's target, an upload's source.
    pub fn file(&self) -> PathBuf {
        let own_name = || {
            let name = self.sidecar.file_name().unwrap_or_default().to_string_lossy();
            self.sidecar.with_file_name(name.strip_suffix(SIDECAR_SUFFIX).unwrap_or(&name))
        };
        match self.record() {
            Some(record) if record.kind == Kind::Upload => {
                let source = Place::of_sidecar(&self.sidecar, record).map(|place| place.source());
                source.map_or_else(own_name, |source| plain(&source))
            }
            _ => own_name(),
        }
    }
}

/// Why a record does not fit the place it lies at.
fn misfit(sidecar: &Path, record: &Record) -> Option<String> {
    let name = sidecar.file_name().unwrap_or_default().to_string_lossy();
    let fits = match record.kind {
        Kind::Download => name.strip_suffix(SIDECAR_SUFFIX) == Some(&record.file),
        Kind::Upload => Place::of_sidecar(sidecar, record).is_some(),
        Kind::Receive => true,
    };
    (!fits).then(|| "it speaks of another file than the one it lies beside".to_string())
}

/// The records that `paths` speak of: a folder's (with `recursive` also those of folders below), a file's own, or a
/// record itself.
pub fn find(paths: &[PathBuf], recursive: bool) -> Search {
    let mut search = Search::default();
    let mut sidecars = BTreeMap::new();
    for path in paths {
        if let Err(fault) = look(path, recursive, &mut sidecars) {
            search.problems.push(fault);
        }
    }
    search.found = sidecars.into_values().flatten().collect();
    search
}

type Sidecars = BTreeMap<PathBuf, Option<Unfinished>>;

fn look(path: &Path, recursive: bool, into: &mut Sidecars) -> Result<(), Fault> {
    if path.is_dir() {
        folder(path, recursive, into)?;
        let below =
            |source: &Path, asked: &Path| source.parent() == Some(asked) || recursive && source.starts_with(asked);
        kept_elsewhere(path, below, into);
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut any = false;
    if name.ends_with(SIDECAR_SUFFIX) {
        any |= add(path.to_owned(), into);
    } else if name.ends_with(DATA_SUFFIX) {
        any |= add(disk::with_suffix(path, ".toml"), into);
    } else {
        any |= add(disk::with_suffix(path, SIDECAR_SUFFIX), into);
        // Each is to be added, also after the first that could be.
        for sidecar in uploads_of(path, &name) {
            any |= add(sidecar, into);
        }
        any |= kept_elsewhere(path, |source, asked| source == asked, into);
    }
    match any || std::fs::symlink_metadata(path).is_ok() {
        true => Ok(()),
        false => Err(Fault::new(FaultKind::Local, format!("{} is not there, and no record speaks of it", shown(path)))
            .hint("check the path; `onward status` lists what is unfinished")),
    }
}

/// Looks at one sidecar, once; whether there is anything.
fn add(sidecar: PathBuf, into: &mut Sidecars) -> bool {
    let sidecar = plain(&sidecar);
    into.entry(sidecar.clone()).or_insert_with(|| Unfinished::at(sidecar)).is_some()
}

/// `./a` and `a` are one file.
fn plain(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}

/// The records in one folder, and below it if asked. Symlinks to folders are not followed.
fn folder(path: &Path, recursive: bool, into: &mut Sidecars) -> Result<(), Fault> {
    let entries = std::fs::read_dir(path).map_err(|error| disk::fault("list", path, &error))?;
    for entry in entries.flatten() {
        let inside = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && (recursive || entry.file_name() == RECEIVED) {
            // What a receiver keeps is its own business down to the last folder.
            folder(&inside, true, into)?;
        } else if entry.file_name().to_string_lossy().ends_with(SIDECAR_SUFFIX) {
            add(inside, into);
        }
    }
    Ok(())
}

/// The records of uploads of `path` that lie beside it, one for each destination.
fn uploads_of(path: &Path, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(disk::folder_of(path)) else { return Vec::new() };
    let is_ours = |entry: &str| {
        let tag = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(SIDECAR_SUFFIX));
        tag.is_some_and(|tag| tag.len() == 8 && tag.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter(|entry| is_ours(&entry.to_string_lossy())).map(|entry| path.with_file_name(entry)).collect()
}

/// The records in the state folder whose source `wanted` accepts for the asked path; whether there are any.
fn kept_elsewhere(asked: &Path, wanted: impl Fn(&Path, &Path) -> bool, into: &mut Sidecars) -> bool {
    let Some(state) = disk::state_folder() else { return false };
    let (Ok(entries), Ok(asked)) = (std::fs::read_dir(state), std::path::absolute(asked)) else { return false };
    let sidecars = entries.flatten().map(|entry| entry.path());
    let mut any = false;
    for sidecar in sidecars.filter(|path| path.to_string_lossy().ends_with(SIDECAR_SUFFIX)) {
        let Some(found) = Unfinished::at(sidecar.clone()) else { continue };
        if found.record().is_some_and(|record| wanted(Path::new(&record.file), &asked)) {
            into.insert(sidecar, Some(found));
            any = true;
        }
    }
    any
}

/// A process that began so much later than its record was last written has got the number of one that ended: the
/// clocks behind the two times are not the same to the second.
const SLACK: Duration = Duration::from_secs(2);

/// Whether the process that a record names is at it now: for a process of this boot it is asked for, one of another
/// machine counts for as long as it keeps renewing the record.
pub fn is_alive(record: &Record, owner: &Owner) -> bool {
    if owner.host != disk::host_name() {
        return crate::partial::elsewhere(record).is_some();
    }
    let Some(pid) = i32::try_from(owner.pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    let asked = rustix::process::test_kill_process(pid);
    owner.boot == disk::boot_id()
        && !matches!(asked, Err(rustix::io::Errno::SRCH))
        && stat_of(owner.pid).is_none_or(|stat| {
            let age = age_of(&stat).unwrap_or(Duration::MAX - SLACK);
            !is_over(&stat) && age + SLACK >= record.updated.elapsed().unwrap_or_default()
        })
}

/// What the system says of a process after its name, from the third field on (proc_pid_stat(5)); `None` where it does
/// not (only Linux does).
fn stat_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold anything.
    Some(stat.rsplit_once(')')?.1.to_string())
}

/// Whether the process has ended, and only whoever started it has not yet looked.
fn is_over(stat: &str) -> bool {
    matches!(stat.split_whitespace().next(), Some("Z" | "X"))
}

/// How long ago a process began.
fn age_of(stat: &str) -> Option<Duration> {
    // starttime is the 22nd field of all.
    let began: u64 = stat.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    let began = began as f64 / rustix::param::clock_ticks_per_second().max(1) as f64;
    Duration::try_from_secs_f64((uptime - began).max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    // A test plants files without ceremony.
    #![allow(clippy::disallowed_methods)]

    use super::*;

    fn plant(folder: &Path, name: &str, record: &Record) {
        disk::replace(&folder.join(name), record.to_toml().as_bytes(), false).unwrap();
    }

    fn names(search: &Search) -> Vec<String> {
        search.found.iter().map(|one| one.sidecar.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_path_is_a_folder_a_file_or_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir(dir.join("below")).unwrap();
        std::fs::write(dir.join("src"), "x").unwrap();
        let record = |kind, file: &str| Record::new(kind, "http://h/f", file, 10);
        plant(dir, "a.partial.toml", &record(Kind::Download, "a"));
        plant(dir, "src.01234567.partial.toml", &record(Kind::Upload, "src"));
        plant(dir, "src.89abcdef.partial.toml", &record(Kind::Upload, "src"));
        plant(&dir.join("below"), "b.partial.toml", &record(Kind::Download, "b"));
        let at = |path: &str, recursive| find(&[dir.join(path)], recursive);
        let here = ["a.partial.toml", "src.01234567.partial.toml", "src.89abcdef.partial.toml"];
        assert_eq!(names(&at("", false)), here);
        assert_eq!(names(&at("", true)).len(), 4);
        for path in ["a", "a.partial", "a.partial.toml"] {
            assert_eq!(names(&at(path, false)), here[..1], "{path}");
        }
        assert_eq!(names(&at("src", false)), here[1..]);
        assert_eq!(at("src", false).found[0].file(), dir.join("src"));
        let none = at("nothing", false);
        assert!(none.found.is_empty() && none.problems[0].kind == FaultKind::Local);
        std::fs::write(dir.join("whole"), "x").unwrap();
        let whole = at("whole", false);
        assert!(whole.found.is_empty() && whole.problems.is_empty());
        for both in [[dir.join("a"), dir.to_owned()], [dir.to_owned(), dir.join("a")]] {
            let both = find(&both, false);
            assert!(names(&both) == here && both.problems.is_empty(), "each record once");
        }
    }

    #[test]
    fn what_may_have_been_planted_is_told_apart() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let record = |file: &str| Record::new(Kind::Download, "http://h/f", file, 10);
        plant(dir, "a.partial.toml", &record("a"));
        plant(dir, "b.partial.toml", &record("b"));
        std::fs::set_permissions(dir.join("b.partial.toml"), PermissionsExt::from_mode(0o644)).unwrap();
        plant(dir, "c.partial.toml", &record("../../etc/passwd"));
        std::fs::write(dir.join("d.partial.toml"), "rubbish").unwrap();
        plant(dir, "e.1234abcd.partial.toml", &Record::new(Kind::Upload, "http://h/f", "/etc/passwd", 10));
        let found = find(&[dir.to_owned()], false).found;
        let problems: Vec<_> = found.iter().map(|one| one.problem().unwrap_or("none").to_string()).collect();
        assert_eq!(problems[0], "none");
        assert!(problems[1].contains("0644"), "{problems:?}");
        assert!(problems[2].contains("another file") && problems[4].contains("another file"), "{problems:?}");
        assert!(problems[3].contains("damaged"), "{problems:?}");
        assert_eq!(found[2].file(), dir.join("c"), "it never names what it wants, only what it lies beside");
    }

    #[test]
    fn a_process_of_another_boot_or_that_has_ended_is_not_at_it() {
        let record = Record::new(Kind::Download, "http://h/f", "f", 10);
        let owner =
            |host: &str, pid, boot: &str| Owner { host: host.into(), pid, boot: boot.into(), token: "t".into() };
        let (host, boot, own) = (disk::host_name(), disk::boot_id(), std::process::id());
        let now = Record { updated: std::time::SystemTime::now(), ..record.clone() };
        assert!(is_alive(&now, &owner(host, own, boot)));
        #[cfg(target_os = "linux")]
        assert!(
            !is_alive(&record, &owner(host, own, boot)),
            "this process is younger than the record: a number used again"
        );
        assert!(!is_alive(&now, &owner(host, own, "another")));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let over = || stat_of(child.id()).is_none_or(|stat| is_over(&stat));
        while !over() {
            std::thread::yield_now();
        }
        #[cfg(target_os = "linux")]
        assert!(!is_alive(&now, &owner(host, child.id(), boot)), "it has ended, and nobody has looked");
        child.wait().unwrap();
        assert!(!is_alive(&now, &owner(host, 0x3fff_fff0, boot)));
        assert!(!is_alive(&record, &owner("elsewhere", own, boot)), "its record is old");
        let fresh = Record { updated: std::time::SystemTime::now(), ..record };
        let there = owner("elsewhere", own, boot);
        assert!(is_alive(&Record { owner: Some(there.clone()), ..fresh }, &there));
    }
}
