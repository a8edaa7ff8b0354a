//! The loops: what is missing is asked for, moved, recorded, until nothing is missing.
pub mod adapt;
mod budget;
mod crew;
mod drain;
mod hedge;
mod lead;
pub mod meter;
mod outlook;
mod overlap;
pub mod pace;
mod pipe;
pub mod pour;
pub mod probe;
pub mod pull;
pub mod push;
pub mod retry;
mod sink;
mod slow;
pub mod spans;
mod stop;
mod stream;
mod supplier;
mod tail;

pub use stop::Stop;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::disk;
use crate::fault::Fault;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Processor time this process has used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The digest of a file that lies still.
pub fn digest_file(path: &Path, algorithm: Algorithm) -> Result<Digest, Fault> {
    let mut file = disk::open_source(path)?;
    let mut hasher = Hasher::new(algorithm);
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).map_err(|e| disk::fault("read", path, &e))? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&block[..n]),
        }
    }
}
