//! A long fat line that loses packets: 500 Mbit/s, 80 ms round trip, 0.1 % loss, between two network namespaces.
//!
//! The kernel's own emulator (netem) is missing on many machines, so the packets are carried by `line.c`, which needs
//! a C compiler, `/dev/net/tun` and the rights of root.

use super::Settings;
use super::measure::behind;
use super::report::Report;
use super::rows::{Contestant, Fetch, Field, Row, Work, fetchers, goal};
use super::tools::{compiled, done};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

const TITLE: &str = "500 Mbit/s, 80 ms round trip, 0.1 % loss";
/// What the line itself needs for a byte, in seconds: 300 MB take it 5.0 s, headers included.
const A_BYTE: f64 = 5.0 / 300e6;
const ITSELF: &str = "the line itself";
const ADDRESS: &str = "10.77.0.1:8080";

/// Runs the row.
pub fn run(field: &Field, settings: &Settings, report: &mut Report) {
    if !settings.wants(TITLE) {
        return;
    }
    let line = match Line::new(field) {
        Ok(line) => Rc::new(line),
        Err(why) => return report.not_run(TITLE, &why),
    };
    let plain = fetchers(field, &["onward", "aria2c", "axel", "rclone", "curl"], "middle", |fetch| Fetch {
        url: format!("http://{ADDRESS}/middle"),
        ..fetch
    });
    let far = plain.into_iter().map(|one| Contestant::new(one.name, one.work.map(|work| Far(line.clone(), work))));
    let row = Row::new(TITLE, far.collect(), &[goal(ITSELF, 1.08)]);
    super::run(&Row { bound: Some((ITSELF, settings.middle as f64 * A_BYTE)), ..row }, settings, report);
}

/// A work done at the near end of the line.
struct Far(Rc<Line>, Box<dyn Work>);

impl Work for Far {
    fn ready(&self) {
        self.1.ready();
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ip");
        behind(command.args(["netns", "exec", &self.0.near]), &self.1.command());
        command
    }

    fn right(&self) -> bool {
        self.1.right()
    }
}

/// Two namespaces, the line between them, and a server at its far end.
struct Line {
    near: String,
    far: String,
    carrier: Option<Child>,
    server: Option<Child>,
}

impl Line {
    fn new(field: &Field) -> Result<Self, String> {
        let me = std::process::id();
        let program = compiled("line")?;
        let mut line =
            Self { near: format!("onward-near-{me}"), far: format!("onward-far-{me}"), carrier: None, server: None };
        for name in [&line.far, &line.near] {
            done(Command::new("ip").args(["netns", "add", name]))?;
        }
        let mut carrier = Command::new(&program);
        carrier.args([&line.far, &line.near]).args(["40", "0.1", "500"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut carrier = carrier.spawn().map_err(|e| e.to_string())?;
        let mut said = String::new();
        let out = carrier.stdout.take();
        line.carrier = Some(carrier);
        let _ = out.map(|out| BufReader::new(out).read_line(&mut said));
        if said.trim() != "ready" {
            return Err("the line could not be laid (root, /dev/net/tun?)".into());
        }
        line.server = Some(line.serve(field)?);
        Ok(line)
    }

    fn serve(&self, field: &Field) -> Result<Child, String> {
        let folder = field.disk.join("far");
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let (at, www) = (folder.display(), field.fast.join("www"));
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/log; events {{ }}\nhttp {{ access_log off; sendfile on; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; server {{ listen {ADDRESS}; root {}; }} }}",
            www.display()
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).map_err(|e| e.to_string())?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.far, "nginx", "-c"]).arg(&file).arg("-e").arg(folder.join("log"));
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let child = command.env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        // Its pid is written when it listens.
        let end = Instant::now() + Duration::from_secs(10);
        while !folder.join("pid").exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        child.map_err(|e| e.to_string())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.carrier].into_iter().flatten() {
            let _ = (child.kill(), child.wait());
        }
        for name in [&self.near, &self.far] {
            let _ = done(Command::new("ip").args(["netns", "del", name]));
        }
    }
}
