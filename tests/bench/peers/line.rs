//! A long fat line that loses packets: 500 Mbit/s, 80 ms round trip, 0.1 % loss, between two network namespaces.
//!
//! The kernel's own emulator (netem) is missing on many machines, so the packets are carried by `line.c`, which needs
//! a C compiler, `/dev/net/tun` and the rights of root.

use super::huge::done;
use super::measure::{Taken, median, take};
use super::report::Report;
use super::rows::Field;
use super::{Settings, tools};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TITLE: &str = "500 Mbit/s, 80 ms round trip, 0.1 % loss, 300 MiB";
/// What the line itself needs, in seconds.
const ITSELF: f64 = (300 << 20) as f64 * 8.0 / 500e6;
const ADDRESS: &str = "10.77.0.1:8080";

/// Runs the row.
pub fn run(field: &Field, settings: &Settings, report: &mut Report) {
    if !settings.wants(TITLE) {
        return;
    }
    let line = match Line::new(field) {
        Ok(line) => line,
        Err(why) => return report.note(TITLE, &format!("Not run: {why}")),
    };
    let tools = ["onward", "aria2c", "rclone", "curl"];
    let mut taken: Vec<(&str, Vec<Taken>)> =
        tools.into_iter().filter(|t| tools::find(t).is_some()).map(|t| (t, Vec::new())).collect();
    let out = field.fast.join("far");
    for _ in 0..settings.rounds.clamp(1, 3) {
        for (tool, taken) in &mut taken {
            let _ = (
                std::fs::remove_file(&out),
                std::fs::remove_dir_all(&field.home),
                std::fs::create_dir_all(&field.home),
            );
            let inner = tools::fetch(tool, &field.home, &format!("http://{ADDRESS}/middle"), &out, None);
            taken.extend(take(line.within(&inner)).ok());
        }
    }
    let mut text = format!(
        "The line itself: {ITSELF:.2} s. Goal: 1.08 times that, without any flag.\n\n| | wall s | times the line's | CPU s |\n|---|---|---|---|\n"
    );
    for (tool, taken) in taken {
        let runs = taken.len();
        let it = median(taken);
        let row = match runs {
            0 => format!("| {tool} | failed | | |\n"),
            _ => format!("| {tool} | {:.2} | {:.2} | {:.2} |\n", it.wall, it.wall / ITSELF, it.cpu),
        };
        text.push_str(&row);
    }
    report.note(TITLE, text.trim_end());
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
        let program = field.disk.join("line");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peers/line.c");
        done(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source))?;
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
        // There is no event to wait for in another namespace; a client's connection is retried by all of them but curl.
        std::thread::sleep(Duration::from_millis(500));
        child.map_err(|e| e.to_string())
    }

    /// The command at the near end.
    fn within(&self, inner: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.near]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
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
