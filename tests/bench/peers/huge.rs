//! What must not depend on the size: memory, the time to go on with a huge file, and a finished file asked for again.

use super::measure::{median, take};
use super::report::Report;
use super::rows::Field;
use super::{Settings, number, tools};
use onward::byteset::ByteSet;
use onward::chunk::Layout;
use onward::digest::Crc;
use onward::record::{Kind, Record};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs all three.
pub fn run(field: &Field, settings: &Settings, report: &mut Report) {
    if settings.wants("finished, asked for again") {
        again(field, settings, report);
    }
    let gib = number("ONWARD_BENCH_HUGE_GIB", 1024);
    let memory = settings.wants("peak memory with 16 connections");
    let resume = settings.wants("resume of a huge download");
    if !memory && !resume {
        return;
    }
    let ground = match Ground::new(&field.disk, gib) {
        Ok(ground) => ground,
        Err(why) => return report.note("huge files", &format!("Not run: {why}")),
    };
    let url = serve(field, gib << 30);
    if memory {
        let mut text = String::from("| file | peak MiB |\n|---|---|\n");
        let whole = get(field, &field.nginx.url("/large"), &field.fast.join("out"), &["-x16"]);
        text.push_str(&format!("| {} MiB, all of it | {whole} |\n", settings.mib));
        let part =
            get(field, &url, &ground.path().join("memory"), &["-x16", "--limit-rate", "200M", "--max-time", "5s"]);
        text.push_str(&format!("| {gib} GiB (sparse), its first 5 s | {part} |\n\nGoal: 20 MiB, the same for both."));
        report.note("peak memory with 16 connections", &text);
    }
    if resume {
        let mut times: Vec<f64> =
            (0..settings.rounds.max(1)).filter_map(|_| first_byte(field, &url, &ground, gib << 30)).collect();
        times.sort_by(f64::total_cmp);
        let text = match times.get(times.len() / 2) {
            Some(time) => format!(
                "{gib} GiB, half of it on record: the first new byte is in the file after {:.0} ms (goal: 100).",
                time * 1e3
            ),
            None => "It did not go on within 30 s.".into(),
        };
        report.note("resume of a huge download", &text);
    }
}

/// The peak memory of a download, in words; it may end before the file is complete.
fn get(field: &Field, url: &str, out: &Path, args: &[&str]) -> String {
    let mut shell = tools::command("sh", &field.home);
    shell.args(["-c", r#""$@" & pid=$!; peak=0; while [ -e /proc/$pid/status ] && now=$(grep VmHWM /proc/$pid/status); do peak=$now; sleep 0.01; done; echo "$peak""#, "sh"]);
    shell
        .arg(tools::find("onward").unwrap_or_default())
        .args(["download", "--progress", "none", "--overwrite", "-o"])
        .arg(out);
    let said = shell.args(args).arg(url).stderr(Stdio::null()).output();
    let text = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    let kib = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).next_back();
    kib.map_or("not known".into(), |kib| format!("{:.1}", kib / 1024.0))
}

fn again(field: &Field, settings: &Settings, report: &mut Report) {
    let (url, out) = (field.nginx.url("/large"), field.fast.join("again"));
    let fetch = || tools::fetch("onward", &field.home, &url, &out, None);
    if let Err(why) = take(fetch()) {
        return report.note("finished, asked for again", &why);
    }
    let before = field.nginx.log().lines().count();
    let runs: Vec<_> = (0..settings.rounds.max(1)).filter_map(|_| take(fetch()).ok()).collect();
    let log = field.nginx.log();
    let asked: Vec<&str> = log.lines().skip(before).collect();
    let bytes: u64 = asked.iter().filter_map(|line| line.split(' ').nth(4)?.parse::<u64>().ok()).sum();
    let (times, wall) = (runs.len(), median(runs).wall * 1e3);
    let text = format!(
        "Asked for {times} times: {} requests, {bytes} body bytes, {wall:.1} ms each (goal: one request, no body byte).",
        asked.len()
    );
    report.note("finished, asked for again", &text);
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

/// A filesystem with room for a huge file: this one, or a sparse image of its own.
struct Ground {
    folder: PathBuf,
    mounted: bool,
}

impl Ground {
    fn new(disk: &Path, gib: u64) -> Result<Self, String> {
        let folder = disk.join("huge");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let room = rustix::fs::statvfs(&folder).map_err(|e| e.to_string())?;
        if room.f_bavail * room.f_frsize > (gib + 1) << 30 {
            return Ok(Self { folder, mounted: false });
        }
        let image = disk.join("huge.img");
        let file = File::create(&image).map_err(|e| e.to_string())?;
        file.set_len((gib + gib / 8 + 8) << 30).map_err(|e| format!("no sparse image of that size: {e}"))?;
        let lazy = ["-F", "-q", "-m0", "-Tlargefile4", "-O^has_journal", "-Elazy_itable_init=1,nodiscard"];
        done(Command::new("mkfs.ext4").args(lazy).arg(&image))?;
        done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder))?;
        Ok(Self { folder, mounted: true })
    }

    fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.mounted {
            let _ = done(Command::new("umount").arg(&self.folder));
        }
    }
}

/// Runs a command that must succeed.
pub fn done(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    match command.env("PATH", path).output() {
        Ok(ended) if ended.status.success() => Ok(()),
        Ok(ended) => Err(format!("{shown}: {}", String::from_utf8_lossy(&ended.stderr).trim())),
        Err(e) => Err(format!("{shown}: {e}")),
    }
}
