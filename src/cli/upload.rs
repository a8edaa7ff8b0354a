//! `onward upload`.

use super::{Link, Show};
use crate::remote::{Protocol, Wish};
use crate::units;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// The flags of `onward upload`.
#[derive(Debug, Clone, Default, Args)]
#[command(override_usage = "onward upload [OPTIONS] FILE... DEST\n       onward upload [OPTIONS] -t DEST FILE...")]
pub struct Upload {
    /// What to upload, and at last the URL to upload to
    #[arg(value_name = "FILE... DEST", required = true, value_hint = ValueHint::FilePath)]
    pub paths: Vec<PathBuf>,

    /// Upload all FILEs into this URL
    #[arg(short, long, value_name = "DEST", value_hint = ValueHint::Url)]
    pub to: Option<String>,

    /// What the remote file is to be called (one FILE only)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Connections a file [default: as many as help]
    #[arg(short = 'x', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: Option<u32>,

    /// Files at once [default: 3]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: Option<u32>,

    /// Chunk size, as in 8M; raised until there are at most 10,000 [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub chunk_size: Option<u64>,

    /// Replace a remote file of that name, once the new one is complete
    #[arg(long, conflicts_with = "no_clobber")]
    pub overwrite: bool,

    /// Leave a remote file of that name alone and count it as done
    #[arg(long)]
    pub no_clobber: bool,

    /// Speak this protocol [default: auto, whichever the server announces]
    ///
    /// A table `[host."URL"]` of the config file can say `protocol` or `dialect` for all that lies under a URL.
    #[arg(long, value_name = "NAME", value_parser = protocols())]
    pub protocol: Option<Wish>,

    /// Tell the server this of the file too (tus); `filename` and `filetype` are told anyway
    #[arg(long, value_name = "K=V")]
    pub metadata: Vec<String>,

    /// Compare the whole file with the server by this digest [default: auto]
    ///
    /// auto: sha-256 where the file is small or there is time to compute it beside the transfer, else CRC-64/NVME, which
    /// costs nothing. The upload fails (exit 5) if the server's is another one.
    #[arg(long, value_name = "ALG", value_parser = ["auto", "crc64", "md5", "sha-256"])]
    pub digest: Option<String>,

    /// Forget an unfinished upload of it, here and at the server, and begin anew
    #[arg(long)]
    pub restart: bool,

    /// Upload through forms, as this dialect says: a name of `onward dialects`, or a file
    ///
    /// DEST is the page's endpoint then; names are not appended to it. A dialect's `{env.NAME}` is the variable NAME, which
    /// is neither shown nor stored.
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "protocol", value_hint = ValueHint::FilePath)]
    pub dialect: Option<String>,

    /// Send this field in every form
    #[arg(short = 'F', long = "field", value_name = "K=V", value_parser = super::field)]
    pub fields: Vec<(String, String)>,

    /// How to reach the other side.
    #[command(flatten)]
    pub link: Link,

    /// What to show.
    #[command(flatten)]
    pub show: Show,
}

/// The names that `--protocol` takes.
fn protocols() -> impl TypedValueParser<Value = Wish> {
    let names = ["auto"].into_iter().chain(Protocol::ALL.map(Protocol::name));
    PossibleValuesParser::new(names).try_map(|name| protocol(&name))
}

/// Reads `auto` or a protocol's name.
pub fn protocol(name: &str) -> Result<Wish, String> {
    match (name, Protocol::from_name(name)) {
        ("auto", _) => Ok(Wish::Auto),
        (_, Some(protocol)) => Ok(Wish::Only(protocol)),
        _ => Err(format!("auto or one of {} is wanted", Protocol::ALL.map(Protocol::name).join(", "))),
    }
}
