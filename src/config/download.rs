//! What the flags of `download` and the layers below them come to.

use super::layers::{Layers, existing};
use super::parse::*;
use super::{ChecksumFile, Download, Fetch, Secret};
use crate::cli;
use crate::disk::shown;
use crate::fault::Fault;
use crate::units;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Layers<'_> {
    pub(super) fn download(&self, flags: cli::Download) -> Result<Download, Fault> {
        let mut given = flags.urls.clone();
        if let Some(list) = &flags.input {
            given.extend(lines(&self.read(list)?).map(str::to_string));
        }
        let urls = given.iter().map(|text| parse_url(text)).collect::<Result<Vec<_>, _>>()?;
        fits_together(&flags, urls.len() != 1)?;
        let output = match (flags.output, &flags.adopt) {
            (None, Some(prefix)) => Some(adopted_name(prefix, flags.dir.is_some())?),
            (output, _) => output,
        };
        let buffer = self.pick(flags.buffer, "buffer", units::size)?.unwrap_or(super::BUFFER);
        if buffer == 0 {
            return Err(usage("a buffer holds at least one byte"));
        }
        let checksum = flags.checksum.as_deref().map(parse_checksum).transpose()?;
        let existing = existing(flags.overwrite, flags.no_clobber);
        let mirrors = flags.mirror.iter().map(|text| parse_url(text)).collect::<Result<Vec<_>, _>>()?;
        let fetch = |url| Fetch {
            url,
            mirrors: mirrors.clone(),
            masked: false,
            output: output.clone(),
            checksum: checksum.clone(),
            checksum_by: None,
            existing,
            trust: false,
            needs: None,
        };
        Ok(Download {
            files: urls.into_iter().map(fetch).collect(),
            first: 0,
            dir: flags.dir.unwrap_or_else(|| PathBuf::from(".")),
            adopt: flags.adopt,
            heads: flags.dump_header,
            url_command: flags.url_command.map(Secret::new),
            checksum_file: flags.checksum_file.as_deref().map(|given| self.checksum_file(given)).transpose()?,
            create_dirs: flags.create_dirs,
            dry_run: flags.dry_run,
            least: flags.speed_limit.map(|least| (least, flags.speed_time.unwrap_or(Duration::from_secs(30)))),
            remote_time: flags.remote_time,
            strict: flags.strict,
            buffer,
            work: self.work(flags.connections, flags.jobs, flags.chunk_size, flags.no_restart)?,
            link: self.link(flags.link, &flags.show)?,
        })
    }

    fn checksum_file(&self, given: &str) -> Result<ChecksumFile, Fault> {
        if given.contains("://") {
            return parse_url(given).map(ChecksumFile::Url);
        }
        let path = Path::new(given);
        Ok(ChecksumFile::Text { name: shown(path), text: self.read(path)? })
    }
}

/// Refuses flags of `download` that contradict each other, or that are of one file where there are `several`.
fn fits_together(flags: &cli::Download, several: bool) -> Result<(), Fault> {
    if several && flags.output.is_some() {
        return Err(usage("-o names one file, and there is more than one URL").hint("use -d DIR"));
    }
    if several && flags.url_command.is_some() {
        return Err(usage("--url-command belongs to one file, and there is more than one URL"));
    }
    if several && !flags.mirror.is_empty() {
        return Err(usage("--mirror belongs to one file, and there is more than one URL"));
    }
    if several && flags.checksum.is_some() {
        return Err(usage("--checksum belongs to one file, and there is more than one URL"));
    }
    if flags.output.as_deref() == Some(Path::new("-")) && (flags.dir.is_some() || flags.remote_time) {
        return Err(usage("-o - writes to stdout, which has neither a folder nor a time"));
    }
    if flags.output.as_deref() == Some(Path::new("-")) && flags.adopt.is_some() {
        return Err(usage("-o - writes to stdout, and what --adopt names would not be in it"));
    }
    if several && flags.adopt.is_some() {
        return Err(usage("--adopt belongs to one file, and there is more than one URL"));
    }
    let stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if stdout(&flags.output) && (stdout(&flags.dump_header) || flags.adopt.is_some()) {
        return Err(usage("-o - writes to stdout: it takes neither -D - nor --adopt"));
    }
    Ok(())
}

/// The final name of a file of which another program left the beginning: its own, less what such programs append.
fn adopted_name(prefix: &Path, elsewhere: bool) -> Result<PathBuf, Fault> {
    const ENDINGS: [&str; 5] = [".part", ".crdownload", ".download", ".opdownload", ".filepart"];
    let name = prefix.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.is_empty() || crate::wire::names::ours(name) {
        return Err(usage(format!("{} cannot be adopted under its name", shown(prefix)))
            .hint("give the finished file's name with -o; what is onward's own, `onward resume` finishes"));
    }
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    if stem.is_empty() || stem.starts_with("Unconfirmed ") {
        return Err(usage(format!("{} does not tell the finished file's name", shown(prefix))).hint("give it with -o"));
    }
    Ok(if elsewhere { PathBuf::from(stem) } else { prefix.with_file_name(stem) })
}
