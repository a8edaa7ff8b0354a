//! The command lines of the contestants.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tool by its name; `None` where it is not installed. rclone may come with the servers of the tests.
pub fn find(name: &str) -> Option<PathBuf> {
    if name == "onward" {
        return Some(env!("CARGO_BIN_EXE_onward").into());
    }
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers");
    let installed =
        std::fs::read_dir(servers).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(installed).map(|dir| dir.join(name)).find(|file| file.is_file())
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
    let flag = match tool {
        "onward" => {
            command.args(["download", "--progress", "none", "-o"]).arg(out);
            "--cacert="
        }
        "curl" => {
            command.args(["-sS", "-o"]).arg(out);
            "--cacert="
        }
        "wget" => {
            command.args(["-q", "-O"]).arg(out);
            "--ca-certificate="
        }
        "aria2c" => {
            let (dir, name) = (out.parent().unwrap_or(out), out.file_name().unwrap_or_default());
            command.args(["-q", "-x16", "-s16", "-k1M", "--file-allocation=none", "--allow-overwrite=true", "-d"]);
            command.arg(dir).arg("-o").arg(name);
            "--ca-certificate="
        }
        _ => {
            let (base, name) = url.rsplit_once('/').unwrap_or((url, ""));
            command.args([
                "copyto",
                "-q",
                "--multi-thread-streams",
                "4",
                "--multi-thread-cutoff",
                "1M",
                "--http-url",
                base,
            ]);
            command.arg(format!(":http:{name}")).arg(out);
            "--ca-cert="
        }
    };
    if let Some(cacert) = cacert {
        let mut option = OsString::from(flag);
        option.push(cacert);
        // curl knows no `--option=value`.
        match tool {
            "curl" => command.arg("--cacert").arg(cacert),
            _ => command.arg(option),
        };
    }
    if tool != "rclone" {
        command.arg(url);
    }
    command
}

/// The same, and the file is on the disk when it ends.
pub fn fetch_durably(tool: &str, home: &Path, url: &str, out: &Path) -> Command {
    let inner = fetch(tool, home, url, out, None);
    if tool == "onward" {
        return inner;
    }
    let mut shell = command("sh", home);
    shell.args(["-c", r#"out=$1; shift; "$@" && sync "$out""#, "sh"]).arg(out);
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
