//! The works, and who does them.

use super::nginx::Nginx;
use super::tools::{self, BARE, find};
use super::world::{Content, World};
use super::{Settings, uploads};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a contestant does once a round.
pub trait Work {
    /// Makes the ground ready, unmeasured.
    fn ready(&self);
    /// What is measured.
    fn command(&self) -> Command;
    /// Whether what came is right, after every run.
    fn right(&self) -> bool;
}

/// One who does the work; without it, one who is not installed.
pub struct Contestant {
    pub name: String,
    pub work: Option<Box<dyn Work>>,
}

impl Contestant {
    pub fn new(name: impl Into<String>, work: Option<impl Work + 'static>) -> Self {
        Self { name: name.into(), work: work.map(|work| Box::new(work) as Box<dyn Work>) }
    }
}

/// onward against one of the others: at most so many times its wall, its processor time.
#[derive(Clone, Copy)]
pub struct Goal {
    pub against: &'static str,
    pub wall: Option<f64>,
    pub cpu: Option<f64>,
}

pub const fn goal(against: &'static str, wall: f64) -> Goal {
    Goal { against, wall: Some(wall), cpu: None }
}

/// A work.
pub struct Row {
    pub title: &'static str,
    pub contestants: Vec<Contestant>,
    pub goals: Vec<Goal>,
    /// Whether it is over so soon that it is done more often.
    pub short: bool,
    /// What nobody can beat, and its seconds.
    pub bound: Option<(&'static str, f64)>,
}

impl Row {
    pub fn new(title: &'static str, contestants: Vec<Contestant>, goals: &[Goal]) -> Self {
        Self { title, contestants, goals: goals.to_vec(), short: false, bound: None }
    }
}

/// Where it all takes place: a server, a folder in memory, one on the disk, a home.
pub struct Field {
    pub nginx: Nginx,
    pub fast: PathBuf,
    pub disk: PathBuf,
    pub home: PathBuf,
    files: u64,
    _folders: [tempfile::TempDir; 2],
}

/// A folder of our own below `dir`.
fn folder(dir: &Path) -> tempfile::TempDir {
    tempfile::Builder::new().prefix("onward-bench-").tempdir_in(dir).expect("a folder can be made")
}

impl Field {
    /// Sets it up; `None` without nginx.
    pub fn new(world: &World, settings: &Settings) -> Option<Self> {
        let memory = Path::new("/dev/shm");
        let fast = folder(if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) });
        let disk = folder(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let www = fast.path().join("www");
        fs::create_dir_all(www.join("small")).ok()?;
        let mut more = format!("location /twenty/ {{ alias {}/; limit_rate 20m; }}\n", www.display());
        for (name, base) in [("put", fast.path()), ("put-disk", disk.path())] {
            let put = base.join("put");
            fs::create_dir_all(&put).ok()?;
            let put = put.display();
            more += &format!(
                "location /{name}/ {{ alias {put}/; dav_methods PUT; client_body_temp_path {put}-arriving; }}\n"
            );
        }
        let nginx = Nginx::with(world, &more)?;
        // What is served lies in memory.
        let served = nginx.file("");
        fs::remove_dir_all(&served).ok()?;
        std::os::unix::fs::symlink(&www, served.parent()?.join("www")).ok()?;
        nginx.put("large", &Content::random(1, settings.mib << 20));
        nginx.put("middle", &Content::random(2, settings.middle));
        nginx.put("tiny", &Content::random(3, 1024));
        for n in 0..settings.files.max(settings.most_files) {
            nginx.put(&format!("small/{n}"), &Content::random(n, 4096));
        }
        let (fast_at, disk_at) = (fast.path().to_owned(), disk.path().to_owned());
        let (home, files) = (world.home(), settings.files);
        Some(Self { nginx, fast: fast_at, disk: disk_at, home, files, _folders: [fast, disk] })
    }

    /// What is served under a name.
    pub fn served(&self, name: &str) -> PathBuf {
        self.fast.join("www").join(name)
    }

    /// A list of so many small files, for `-i` and for curl's `-K`.
    pub fn list(&self, files: u64) -> PathBuf {
        let urls: Vec<String> = (0..files).map(|n| self.nginx.url(&format!("/small/{n}"))).collect();
        let list = self.fast.join(format!("list-{files}"));
        fs::write(&list, urls.join("\n") + "\n").expect("a list can be written");
        let of_curl: String = urls.iter().map(|url| format!("url={url}\nremote-name\n")).collect();
        fs::write(list.with_extension("curl"), of_curl).expect("a list can be written");
        list
    }
}

/// onward forgets what it learned, so that every run is a first one.
pub fn forget(home: &Path) {
    let _ = fs::remove_dir_all(home);
    let _ = fs::create_dir_all(home);
}

/// Touches as much memory as `out` will need. The host of a virtual machine takes memory back that has been free for two
/// seconds; getting it again page by page takes longer than the work that is measured.
fn warm(out: &Path, bytes: u64) {
    if !out.starts_with("/dev/shm") {
        return;
    }
    let path = out.with_extension("warm");
    let written =
        File::create(&path).and_then(|mut file| std::io::copy(&mut std::io::repeat(0).take(bytes), &mut file));
    let _ = fs::remove_file(&path);
    written.expect("memory can be written");
}

/// Whether two files hold the same bytes.
pub fn equal(one: &Path, other: &Path) -> bool {
    let (Ok(mut one), Ok(mut other)) = (File::open(one), File::open(other)) else { return false };
    let length = |file: &File| file.metadata().map(|meta| meta.len()).ok();
    if length(&one).is_none() || length(&one) != length(&other) {
        return false;
    }
    let (mut here, mut there) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        match one.read(&mut here) {
            Ok(0) => return true,
            Ok(n) if other.read_exact(&mut there[..n]).is_ok() && here[..n] == there[..n] => {}
            _ => return false,
        }
    }
}

/// One URL fetched to one file by a tool.
pub struct Fetch {
    pub tool: &'static str,
    pub home: PathBuf,
    pub url: String,
    pub out: PathBuf,
    /// What must come.
    pub content: PathBuf,
    pub cacert: Option<PathBuf>,
    /// Whether it is on the disk at the end.
    pub durable: bool,
}

impl Work for Fetch {
    fn ready(&self) {
        forget(&self.home);
        let _ = fs::remove_file(&self.out);
        if self.durable {
            // What others left to be written would be written in this one's time.
            rustix::fs::sync();
        }
        warm(&self.out, fs::metadata(&self.content).map_or(0, |meta| meta.len()));
    }

    fn command(&self) -> Command {
        match self.durable {
            true => tools::fetch_durably(self.tool, &self.home, &self.url, &self.out),
            false => tools::fetch(self.tool, &self.home, &self.url, &self.out, self.cacert.as_deref()),
        }
    }

    fn right(&self) -> bool {
        equal(&self.out, &self.content)
    }
}

/// Many small files fetched into a folder.
struct FetchMany {
    tool: &'static str,
    home: PathBuf,
    list: PathBuf,
    files: u64,
    into: PathBuf,
    small: PathBuf,
    durable: bool,
}

impl Work for FetchMany {
    fn ready(&self) {
        forget(&self.home);
        let _ = fs::remove_dir_all(&self.into);
        fs::create_dir_all(&self.into).expect("a folder can be made");
        if self.durable {
            rustix::fs::sync();
        }
    }

    fn command(&self) -> Command {
        tools::fetch_many(self.tool, &self.home, &self.list, &self.into, self.durable)
    }

    fn right(&self) -> bool {
        let there = fs::read_dir(&self.into).is_ok_and(|all| all.count() as u64 == self.files);
        let names = (0..self.files).map(|n| n.to_string());
        there && names.into_iter().all(|name| equal(&self.into.join(&name), &self.small.join(&name)))
    }
}

/// The works that are of one kind: each tool does the same and is judged the same.
pub fn all(field: &Field) -> Vec<Row> {
    let mut rows = downloads(field);
    rows.push(small(field, "small files (-i), 4 KiB each, to memory", &field.fast, false, goal("curl", 1.0)));
    rows.push(small(field, "small files (-i), 4 KiB each, to disk, durable", &field.disk, true, goal("curl", 1.2)));
    rows.extend(uploads::rows(field));
    rows
}

/// The tools, each of which fetches `name` in the way that `change` makes of it.
pub fn fetchers(field: &Field, tools: &[&'static str], name: &str, change: impl Fn(Fetch) -> Fetch) -> Vec<Contestant> {
    let fetcher = |tool: &&'static str| {
        let (home, url, out) = (field.home.clone(), field.nginx.url(&format!("/{name}")), field.fast.join("out"));
        let fetch = Fetch { tool, home, url, out, content: field.served(name), cacert: None, durable: false };
        Contestant::new(*tool, find(tool).map(|_| change(fetch)))
    };
    tools.iter().map(fetcher).collect()
}

fn downloads(field: &Field) -> Vec<Row> {
    let nginx = &field.nginx;
    let everybody = ["onward", "curl", "wget", "aria2c", "axel", "rclone", "fast-down"];
    let both = |wall, cpu| Goal { against: "curl", wall: Some(wall), cpu: Some(cpu) };
    let mut plain = fetchers(field, &everybody, "large", |fetch| fetch);
    plain.extend(fetchers(field, &[BARE], "large", |fetch| fetch));
    let tls = fetchers(field, &["onward", "curl", "wget", "aria2c", "rclone"], "large", |fetch| Fetch {
        url: nginx.tls_url("/large"),
        cacert: Some(nginx.cacert()),
        ..fetch
    });
    let durable = fetchers(field, &["onward", "curl", "aria2c"], "large", |fetch| Fetch {
        out: field.disk.join("out"),
        durable: true,
        ..fetch
    });
    let twenty = fetchers(field, &["onward", "aria2c", "axel", "rclone"], "middle", |fetch| Fetch {
        url: nginx.url("/twenty/middle"),
        ..fetch
    });
    let tiny = fetchers(field, &["onward", "curl", "wget", "aria2c"], "tiny", |fetch| fetch);
    vec![
        Row::new("http on loopback, to memory", plain, &[both(0.68, 0.70), goal("rclone", 0.95)]),
        Row::new("https on loopback, to memory", tls, &[both(0.70, 0.70)]),
        Row::new("http on loopback, to disk, durable", durable, &[goal("curl", 1.05)]),
        Row { short: true, ..Row::new("20 MB/s a connection", twenty, &[goal("aria2c", 1.1)]) },
        Row { short: true, ..Row::new("1 KiB, start to end", tiny, &[goal("curl", 1.5)]) },
    ]
}

fn small(field: &Field, title: &'static str, base: &Path, durable: bool, goal: Goal) -> Row {
    let (list, files) = (field.list(field.files), field.files);
    let contestants = ["onward", "curl", "aria2c"].map(|tool| {
        let (home, list, into, small) = (field.home.clone(), list.clone(), base.join("many"), field.served("small"));
        let work = FetchMany { tool, home, list, files, into, small, durable };
        Contestant::new(tool, find(tool).map(|_| work))
    });
    Row { short: true, ..Row::new(title, contestants.into(), &[goal]) }
}
