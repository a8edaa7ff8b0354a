//! `onward dialects`: lists the ways of uploading through forms, prints one, checks one, drafts one.

use crate::config::Dialects;
use crate::disk::shown;
use crate::fault::{Fault, Kind};
use crate::remote::dialect::library;
use crate::report;
use crate::wire::dialect::{self, Dialect};
use std::path::Path;

/// Does what `settings` ask for.
pub fn run(settings: &Dialects) -> Result<(), Fault> {
    match settings {
        Dialects::List(folder) => list(folder.as_deref()),
        Dialects::Show(given) => report::text(given.text.as_bytes()),
        Dialects::Check(name, text) => check(name, text),
        Dialects::FromCurl(text) => draft(text.expose()),
    }
}

fn list(folder: Option<&Path>) -> Result<(), Fault> {
    let mut rows: Vec<(String, String)> = library::names()
        .filter_map(|name| Some((name.to_string(), Dialect::parse(library::text(name)?).ok()?.about)))
        .collect();
    rows.extend(folder.map(own).unwrap_or_default());
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines: String = rows.iter().map(|(name, about)| format!("{name:width$}  {about}\n")).collect();
    report::text(lines.as_bytes())
}

/// The user's own, by the names that `--dialect` takes.
fn own(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let row = |path: &std::path::PathBuf| {
        let name = path.file_stem()?.to_str()?.escape_debug().to_string();
        let parsed =
            std::fs::read_to_string(path).map_err(|_| ()).and_then(|text| Dialect::parse(&text).map_err(|_| ()));
        let about = match parsed {
            Ok(dialect) => format!("{} ({})", dialect.about.escape_debug(), shown(path)),
            Err(()) => format!("cannot be read: `onward dialects check {}`", shown(path)),
        };
        Some((name, about))
    };
    paths.iter().filter_map(row).collect()
}

/// Each slip is a line of the result, as compilers have it.
fn check(name: &str, text: &str) -> Result<(), Fault> {
    let problems = match Dialect::parse(text) {
        Ok(dialect) => return report::line(&format!("{name}: sound, the dialect {}", report::clean(&dialect.name))),
        Err(problems) => problems,
    };
    for problem in &problems {
        report::line(&format!("{name}:{}: {}", problem.line, report::clean(&problem.what)))?;
    }
    let text = format!("{name} is no dialect that can be spoken ({} slips)", problems.len());
    Err(Fault::new(Kind::Usage, text).hint("`onward dialects show NAME` prints one that is sound"))
}

fn draft(text: &str) -> Result<(), Fault> {
    let asked = dialect::Asked::from_curl(text)
        .map_err(|why| Fault::new(Kind::Usage, format!("this is no request copied as cURL: {why}")))?;
    let known: Vec<(&str, Dialect)> =
        library::names().filter_map(|name| Some((name, Dialect::parse(library::text(name)?).ok()?))).collect();
    report::text(dialect::draft(&asked, &known).as_bytes())
}
