//! The command lines of the contestants.

use super::servers;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program of our own that only receives and writes: what is left to the others above the kernel's part.
pub const BARE: &str = "bare";

/// A C program of the bench, compiled.
pub fn compiled(name: &str) -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bench/peers/{name}.c"));
    done(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source)).map(|()| program)
}

/// A tool by its name; `None` where it is not installed. Some come with the servers of the tests.
pub fn find(name: &str) -> Option<PathBuf> {
    if name == "onward" {
        return Some(env!("CARGO_BIN_EXE_onward").into());
    }
    if name == BARE {
        static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
        return PROGRAM.get_or_init(|| compiled(BARE).ok()).clone();
    }
    let installed = std::fs::read_dir(servers::root()).into_iter().flatten();
    let installed = installed.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(installed).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// What a tool says of its version; not all do.
pub fn version(tool: &str) -> String {
    let said = find(tool).and_then(|path| Command::new(path).arg("--version").output().ok());
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
    said.lines().next().unwrap_or("installed").split(" (").next().unwrap_or_default().to_string()
}

/// A command of `tool` with nothing of the developer's settings.
pub fn command(tool: &str, home: &Path) -> Command {
    let mut command = Command::new(find(tool).unwrap_or_else(|| tool.into()));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// One URL to one file.
pub fn fetch(tool: &str, home: &Path, url: &str, out: &Path, cacert: Option<&Path>) -> Command {
    let mut command = command(tool, home);
    let (dir, name) = (out.parent().unwrap_or(out), out.file_name().unwrap_or_default());
    match tool {
        "onward" => command.args(["download", "--progress", "none", "-o"]).arg(out),
        "curl" => command.args(["-sS", "-o"]).arg(out),
        BARE => command.arg("-o").arg(out),
        "wget" => command.args(["-q", "-O"]).arg(out),
        "axel" => command.args(["-q", "-n16", "-o"]).arg(out),
        "fast-down" => command.args(["download", "-y", "-f", "-d"]).arg(dir).arg("-o").arg(name),
        "aria2c" => command
            .args(["-q", "-x16", "-s16", "-k1M", "--file-allocation=none", "--allow-overwrite=true", "-d"])
            .arg(dir)
            .arg("-o")
            .arg(name),
        _ => command.args(["copyto", "-q", "--multi-thread-streams=4", "--multi-thread-cutoff=1M"]),
    };
    if let Some(cacert) = cacert {
        let flag = match tool {
            "wget" | "aria2c" => "--ca-certificate",
            "rclone" => "--ca-cert",
            _ => "--cacert",
        };
        // curl knows no `--option=value`, aria2c and wget no other.
        let mut joined = OsString::from(format!("{flag}="));
        joined.push(cacert);
        match tool {
            "curl" => command.arg(flag).arg(cacert),
            _ => command.arg(joined),
        };
    }
    if tool == "rclone" {
        let (base, name) = url.rsplit_once('/').unwrap_or((url, ""));
        command.args(["--http-url", base, &format!(":http:{name}")]).arg(out);
    } else {
        command.arg(url);
    }
    command
}

/// The same, and the file is on the disk when it ends.
pub fn fetch_durably(tool: &str, home: &Path, url: &str, out: &Path) -> Command {
    let inner = fetch(tool, home, url, out, None);
    if tool == "onward" { inner } else { then_sync(&inner, home, out) }
}

/// A command, and then `sync` of a file.
pub fn then_sync(inner: &Command, home: &Path, file: &Path) -> Command {
    let mut shell = command("sh", home);
    shell.args(["-c", r#"out=$1; shift; "$@" && sync "$out""#, "sh"]).arg(file);
    shell.arg(inner.get_program()).args(inner.get_args());
    shell
}

/// Many URLs into a folder; with `durable` they are on the disk at the end.
pub fn fetch_many(tool: &str, home: &Path, list: &Path, into: &Path, durable: bool) -> Command {
    let mut command = command(tool, home);
    command.current_dir(into);
    match tool {
        "onward" => {
            command.args(["download", "--progress", "none", "-i"]).arg(list);
            return command;
        }
        "aria2c" => command.args(["-q", "-j16", "--allow-overwrite=true", "--file-allocation=none", "-i"]).arg(list),
        _ => command.args(["-sS", "-Z", "--parallel-max", "50", "-K"]).arg(list.with_extension("curl")),
    };
    if !durable {
        return command;
    }
    let mut shell = self::command("sh", home);
    shell
        .args(["-c", r#""$@" && sync ./*"#, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(into);
    shell
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
