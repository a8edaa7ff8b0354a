//! The works, and who does them.

use super::nginx::Nginx;
use super::tools::{self, find};
use super::world::{Content, World, same};
use super::{Settings, uploads};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One who does the work.
pub struct Contestant {
    pub name: String,
    pub command: Box<dyn Fn() -> Command>,
    /// Makes the ground ready, unmeasured.
    pub before: Box<dyn Fn()>,
    /// Whether what came is right.
    pub right: Box<dyn Fn() -> bool>,
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
    /// So many times the usual rounds.
    pub often: usize,
}

/// Where it all takes place: a server, a folder in memory, one on the disk, a home.
pub struct Field {
    pub nginx: Nginx,
    pub fast: PathBuf,
    pub disk: PathBuf,
    pub home: PathBuf,
    pub large: Content,
    files: usize,
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
        fs::create_dir_all(fast.path().join("put")).ok()?;
        let (at, put) = (www.display(), fast.path().join("put"));
        let more = format!(
            "location /twenty/ {{ alias {at}/; limit_rate 20m; }}\n    location /put/ {{ alias {put}/; dav_methods PUT; client_body_temp_path {put}-arriving; }}",
            put = put.display()
        );
        let nginx = Nginx::with(world, &more)?;
        // What is served lies in memory.
        let served = nginx.file("");
        fs::remove_dir_all(&served).ok()?;
        std::os::unix::fs::symlink(&www, served.parent()?.join("www")).ok()?;
        let large = Content::random(1, settings.mib << 20);
        nginx.put("large", &large);
        nginx.put("middle", &Content::random(2, 300 << 20));
        nginx.put("tiny", &Content::random(3, 1024));
        for n in 0..settings.files {
            nginx.put(&format!("small/{n}"), &Content::random(n as u64, 4096));
        }
        let (fast_at, disk_at) = (fast.path().to_owned(), disk.path().to_owned());
        let home = world.home();
        Some(Self { nginx, fast: fast_at, disk: disk_at, home, large, files: settings.files, _folders: [fast, disk] })
    }

    /// onward forgets what it learned, so that every run is a first one.
    pub fn forget(home: &Path) {
        let _ = fs::remove_dir_all(home);
        let _ = fs::create_dir_all(home);
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

fn downloads(field: &Field) -> Vec<Row> {
    let (nginx, everybody) = (&field.nginx, &["onward", "curl", "wget", "aria2c", "rclone"][..]);
    let fast = field.fast.join("out");
    let disk = field.disk.join("out");
    let length = field.large.clone();
    let tls = Some(nginx.cacert());
    let one =
        |title, tools: &[&str], url: String, out: &PathBuf, content: Content, cacert: Option<PathBuf>, durable| {
            let contestants = tools.iter().filter(|tool| find(tool).is_some()).map(|tool| {
                let (tool, home, out, url) = (tool.to_string(), field.home.clone(), out.clone(), url.clone());
                let (content, cacert) = (content.clone(), cacert.clone());
                let (home_too, out_too, out_last, named) = (home.clone(), out.clone(), out.clone(), tool.clone());
                Contestant {
                    name: named,
                    command: Box::new(move || match durable {
                        true => tools::fetch_durably(&tool, &home, &url, &out),
                        false => tools::fetch(&tool, &home, &url, &out, cacert.as_deref()),
                    }),
                    before: Box::new(move || {
                        Field::forget(&home_too);
                        let _ = fs::remove_file(&out_too);
                    }),
                    right: Box::new(move || {
                        same(&out_last, &content);
                        true
                    }),
                }
            });
            Row { title, contestants: contestants.collect(), goals: Vec::new(), often: 1 }
        };
    let middle = Content::random(2, 300 << 20);
    let goals = |row: Row, goals: &[Goal]| Row { goals: goals.to_vec(), ..row };
    let both = |wall, cpu| Goal { against: "curl", wall: Some(wall), cpu: Some(cpu) };
    vec![
        goals(
            one("http on loopback, to memory", everybody, nginx.url("/large"), &fast, length.clone(), None, false),
            &[both(0.68, 0.70), goal("rclone", 0.95)],
        ),
        goals(
            one("https on loopback, to memory", everybody, nginx.tls_url("/large"), &fast, length.clone(), tls, false),
            &[both(0.70, 0.70)],
        ),
        goals(
            one(
                "http on loopback, to disk, durable",
                &["onward", "curl", "aria2c"],
                nginx.url("/large"),
                &disk,
                length,
                None,
                true,
            ),
            &[goal("curl", 1.05)],
        ),
        goals(
            one(
                "20 MB/s a connection, 300 MiB",
                &["onward", "aria2c", "rclone"],
                nginx.url("/twenty/middle"),
                &fast,
                middle,
                None,
                false,
            ),
            &[goal("aria2c", 1.1)],
        ),
        Row {
            often: 4,
            ..goals(
                one(
                    "1 KiB, start to end",
                    &["onward", "curl", "wget", "aria2c"],
                    nginx.url("/tiny"),
                    &fast,
                    Content::random(3, 1024),
                    None,
                    false,
                ),
                &[goal("curl", 1.5)],
            )
        },
    ]
}

fn small(field: &Field, title: &'static str, base: &Path, durable: bool, goal: Goal) -> Row {
    let urls: Vec<String> = (0..field.files).map(|n| field.nginx.url(&format!("/small/{n}"))).collect();
    let list = field.fast.join("list");
    fs::write(&list, urls.join("\n") + "\n").expect("a list can be written");
    let of_curl: String = urls.iter().map(|url| format!("url={url}\nremote-name\n")).collect();
    fs::write(list.with_extension("curl"), of_curl).expect("a list can be written");
    let into = base.join("many");
    let contestants = ["onward", "curl", "aria2c"].into_iter().filter(|tool| find(tool).is_some()).map(|tool| {
        let (home, list, into, files) = (field.home.clone(), list.clone(), into.clone(), field.files);
        let (home_too, into_too, into_last) = (home.clone(), into.clone(), into.clone());
        Contestant {
            name: tool.into(),
            command: Box::new(move || tools::fetch_many(tool, &home, &list, &into, durable)),
            before: Box::new(move || {
                Field::forget(&home_too);
                let _ = fs::remove_dir_all(&into_too);
                fs::create_dir_all(&into_too).expect("a folder can be made");
            }),
            right: Box::new(move || {
                (0..files).for_each(|n| same(&into_last.join(n.to_string()), &Content::random(n as u64, 4096)));
                fs::read_dir(&into_last).is_ok_and(|all| all.count() == files)
            }),
        }
    });
    Row { title, contestants: contestants.collect(), goals: vec![goal], often: 1 }
}
