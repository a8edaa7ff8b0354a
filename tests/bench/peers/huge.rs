//! What must not depend on the size: memory, and the time to go on with a huge file.

use super::ground::Ground;
use super::measure::{Taken, middle, taken};
use super::report::Report;
use super::rows::{Field, forget};
use super::{Settings, tools};
use onward::byteset::ByteSet;
use onward::chunk::Layout;
use onward::digest::Crc;
use onward::record::{Kind, Record};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const MEMORY: &str = "peak memory with 16 connections";
const RESUME: &str = "resume of a huge download, half done";
/// The goal of the memory, in MiB, and how much more the huge file may need than the large one.
const MOST: f64 = 20.0;
const SAME: f64 = 1.1;

/// Runs both.
pub fn run(field: &Field, settings: &Settings, report: &mut Report) {
    let (memory, resume) = (settings.wants(MEMORY), settings.wants(RESUME));
    if !memory && !resume {
        return;
    }
    let gib = settings.huge_gib;
    let ground = match Ground::sparse(&field.disk, gib) {
        Ok(ground) => ground,
        Err(why) => return report.not_run("huge files", &why),
    };
    let url = serve(field, gib << 30);
    if memory {
        let whole = get(field, &field.nginx.url("/large"), &field.fast.join("out"), &[]);
        let huge = get(field, &url, &ground.path().join("memory"), &["--limit-rate", "200M", "--max-time", "5s"]);
        let shown = |taken: &Taken| format!("{:.1} MiB", taken.peak);
        for (taken, what) in
            [(&whole, format!("{} MiB", settings.mib)), (&huge, format!("{gib} GiB (sparse), its first 5 s"))]
        {
            let title = format!("{MEMORY}, {what}");
            match taken {
                Ok(taken) => report.value(&title, &shown(taken), "20 MiB", taken.peak <= MOST, ""),
                Err(why) => report.value(&title, why, "20 MiB", false, ""),
            }
        }
        if let (Ok(whole), Ok(huge)) = (&whole, &huge) {
            let part = huge.peak / whole.peak;
            report.value(
                &format!("{MEMORY}, huge against large"),
                &format!("{part:.2} times"),
                "1.10 times",
                part <= SAME,
                "",
            );
        }
    }
    if resume {
        let runs: Option<Vec<f64>> =
            (0..settings.times(true)).map(|_| first_byte(field, &url, &ground, gib << 30)).collect();
        let time = runs.map_or(f64::INFINITY, middle) * 1e3;
        let value = if time.is_finite() {
            format!("first new byte after {time:.0} ms")
        } else {
            "it did not go on within 30 s".into()
        };
        report.value(&format!("{RESUME}: {gib} GiB"), &value, "100 ms", time <= 100.0, "");
    }
}

/// What a download takes, by 16 connections; it may be told to end before the file is complete.
fn get(field: &Field, url: &str, out: &Path, args: &[&str]) -> Result<Taken, String> {
    forget(&field.home);
    let _ = fs::remove_file(out);
    let mut command = tools::fetch("onward", &field.home, url, out, None);
    command.args(["-x16"]).args(args);
    match taken(&command)? {
        (_, Some(why)) if args.is_empty() => Err(why),
        (taken, _) => Ok(taken),
    }
}

/// Puts a sparse file there with something to see in the middle; its URL.
fn serve(field: &Field, length: u64) -> String {
    let file = File::create(field.nginx.file("huge")).expect("it can be made");
    file.set_len(length).expect("it can be sparse");
    file.write_all_at(&[0xA5; 1 << 20], length / 2).expect("it can be written");
    field.nginx.url("/huge")
}

/// Seconds from the start of the process to the first new byte in the file; `None` after half a minute.
fn first_byte(field: &Field, url: &str, ground: &Ground, length: u64) -> Option<f64> {
    let (partial, sidecar) = (ground.path().join("huge.partial"), ground.path().join("huge.partial.toml"));
    let _ = (fs::remove_file(&partial), fs::remove_file(&sidecar));
    let data = File::options().create_new(true).read(true).write(true).open(&partial).ok()?;
    data.set_len(length).ok()?;
    fs::write(&sidecar, half(url, length, &field.nginx.file("huge"))).ok()?;
    for path in [&partial, &sidecar] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).ok()?;
    }
    let started = Instant::now();
    let mut command = tools::fetch("onward", &field.home, url, &ground.path().join("huge"), None);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let mut byte = [0];
    let seen = loop {
        data.read_exact_at(&mut byte, length / 2).ok()?;
        match started.elapsed() {
            took if byte != [0] => break Some(took.as_secs_f64()),
            took if took > Duration::from_secs(30) => break None,
            _ => std::thread::sleep(Duration::from_micros(500)),
        }
    };
    let _ = (child.kill(), child.wait());
    seen
}

/// The record of a killed run that had fetched the first half.
fn half(url: &str, length: u64, served: &Path) -> String {
    let chunk = Layout::chunk_size_for(length, None);
    let chunks = length / 2 / chunk;
    let mut record = Record::new(Kind::Download, url, "huge", chunk);
    record.length = Some(length);
    record.done = ByteSet::parse(&format!("0-{}", chunks - 1)).expect("runs of chunks");
    let zeros = vec![0; 1 << 20];
    let one = Crc::of(&zeros);
    let sum = (0..chunk >> 20).fold(Crc::EMPTY, |sum, _| sum.then(one));
    record.done_sums = vec![sum.sum; chunks as usize];
    let modified = fs::metadata(served).and_then(|meta| meta.modified()).expect("it is there");
    let seconds = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    // As nginx makes them.
    record.validator.etag = Some(format!("\"{seconds:x}-{length:x}\""));
    record.validator.last_modified = Some(httpdate::fmt_http_date(modified));
    record.validator.date = Some(httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(60)));
    record.to_toml()
}
