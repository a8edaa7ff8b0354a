//! What the flags of `upload` and the layers below them come to, and where dialects are found.

use super::layers::{Layers, Surroundings, config_path, existing, fields, unreadable};
use super::parse::*;
use super::{Dialects, Secret, Send, Upload};
use crate::cli;
use crate::digest::Algorithm;
use crate::disk::shown;
use crate::fault::Fault;
use crate::remote::{Field, Manner, dialect};
use crate::wire::dialect::Dialect;
use std::io;
use std::path::{Path, PathBuf};

impl Layers<'_> {
    pub(super) fn upload(&self, flags: cli::Upload) -> Result<Upload, Fault> {
        let mut sources = flags.paths;
        let dest = match flags.to {
            Some(dest) => dest,
            None => {
                let last = sources.pop().unwrap_or_default();
                last.to_str().map(str::to_string).ok_or_else(|| usage(format!("{} is not a URL", shown(&last))))?
            }
        };
        let given = parse_url(&dest)?;
        if sources.is_empty() {
            return Err(usage("there is nothing to upload").hint("onward upload FILE... URL"));
        }
        if sources.len() > 1 && flags.name.is_some() {
            return Err(usage("--name belongs to one file, and there is more than one"));
        }
        let existing = existing(flags.overwrite, flags.no_clobber);
        let near = self.at(&given);
        let (protocol, dialect) = near.tongue(flags.protocol, flags.dialect)?;
        // A page's endpoint is no folder, but what the files are called is kept in the same way.
        let folder = sources.len() > 1 || flags.name.is_some() || given.path().ends_with('/') || dialect.is_some();
        let mut files: Vec<Send> = Vec::new();
        for source in sources {
            let dest = if folder { remote_name(&given, &source, flags.name.as_deref())? } else { given.clone() };
            if let Some(other) = files.iter().find(|other| other.dest == dest) {
                let text = format!("{} and {} would both become one remote file", shown(&other.source), shown(&source));
                return Err(usage(text).hint("upload one of them with --name"));
            }
            files.push(Send { source, dest, base: Some(given.clone()), existing, trust: false, needs: None });
        }
        let connections = near.pick(flags.connections, "connections", few)?;
        let mut work = near.work(flags.connections, flags.jobs, flags.chunk_size, false)?;
        // The size of what a form carries, not of what a record counts in.
        let part = dialect.as_ref().and_then(|_| work.chunk_size.take());
        let variables = dialect.as_ref().map(|dialect| self.variables(dialect)).transpose()?.unwrap_or_default();
        Ok(Upload {
            files,
            first: 0,
            restart: flags.restart,
            assume: None,
            digest: flags.digest.as_deref().and_then(whole_digest),
            manner: Manner {
                protocol,
                metadata: flags.metadata.iter().map(|pair| metadata(pair)).collect::<Result<_, _>>()?,
                interop: near.pick(None, "interop", interop)?.unwrap_or_default(),
                connections,
                dialect,
                fields: fields(flags.fields),
                variables,
                part,
            },
            work,
            link: self.link(flags.link, &flags.show)?,
        })
    }

    /// The variables that a dialect asks for. What is wrong with its text is said by whoever speaks it.
    fn variables(&self, dialect: &dialect::Given) -> Result<Vec<Field>, Fault> {
        let Ok(parsed) = Dialect::parse(&dialect.text) else { return Ok(Vec::new()) };
        let one = |name: &str| {
            let value = self.env(name).ok_or_else(|| {
                let text =
                    format!("the dialect {} wants the variable {name}, which is not set", dialect.name.escape_debug());
                usage(text).hint(format!("set it, as in `{name}=… onward upload …`"))
            })?;
            Ok(Field { name: name.into(), value })
        };
        parsed.variables().into_iter().map(one).collect()
    }

    /// The dialect of a name or a file. One's own of a name comes before the program's.
    pub(super) fn dialect(&self, given: &str) -> Result<dialect::Given, Fault> {
        let own = dialect_folder(self.outside).map(|folder| folder.join(format!("{given}.toml")));
        if !given.contains('/') && !given.ends_with(".toml") && given != "-" {
            if let Some(text) = own.and_then(|path| (self.outside.read)(&path).ok()) {
                return Ok(dialect::Given { name: given.into(), text, embedded: false });
            }
            if let Some(text) = dialect::library::text(given) {
                return Ok(dialect::Given { name: given.into(), text: text.into(), embedded: true });
            }
        }
        match (self.outside.read)(Path::new(given)) {
            Ok(text) => Ok(dialect::Given { name: given.into(), text, embedded: false }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let names: Vec<&str> = dialect::library::names().collect();
                let text = format!("\"{}\" is neither a dialect nor a file", given.escape_debug());
                Err(usage(text).hint(format!("known are {}; `onward dialects` lists yours, too", names.join(", "))))
            }
            Err(error) => Err(unreadable(Path::new(given), &error)),
        }
    }

    pub(super) fn dialects(&self, flags: cli::Dialects) -> Result<Dialects, Fault> {
        Ok(match flags.deed {
            None => Dialects::List(dialect_folder(self.outside)),
            Some(cli::Deed::Show { name }) => Dialects::Show(self.dialect(&name)?),
            Some(cli::Deed::Check { file }) => Dialects::Check(shown(&file), self.read(&file)?),
            Some(cli::Deed::FromCurl { file }) => {
                Dialects::FromCurl(Secret::new(self.read(&file.unwrap_or_else(|| PathBuf::from("-")))?))
            }
        })
    }
}

/// The folder of one's own dialects.
fn dialect_folder(outside: &Surroundings) -> Option<PathBuf> {
    config_path(outside).map(|path| path.with_file_name("dialects"))
}

/// The algorithm that `--digest` names; none for `auto`.
fn whole_digest(name: &str) -> Option<Algorithm> {
    match name {
        "crc64" => Some(Algorithm::Crc64Nvme),
        _ => Algorithm::from_name(name),
    }
}
