//! The committed `completions/` are what `onward completions SHELL` prints today. After a change of the command line:
//! `ONWARD_WRITE_COMPLETIONS=1 cargo test --test completions`.

// A test may write a file without ceremony.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::Command;

/// The shells and the names their scripts have by custom.
const FILES: [(&str, &str); 5] = [
    ("bash", "onward.bash"),
    ("zsh", "_onward"),
    ("fish", "onward.fish"),
    ("powershell", "_onward.ps1"),
    ("elvish", "onward.elv"),
];

fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_onward")).args(args).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn committed_completions_are_today_s() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, name) in FILES {
        let script = printed(&["completions", shell]);
        let path = folder.join(name);
        if std::env::var_os("ONWARD_WRITE_COMPLETIONS").is_some() {
            std::fs::write(&path, &script).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == script, "{} is not what `onward completions {shell}` prints", path.display());
    }
    let committed = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(committed, FILES.len(), "completions/ holds a file that belongs to no shell");
}

#[test]
fn the_bash_script_completes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions/onward.bash");
    let ask =
        "source \"$0\"; COMP_WORDS=(onward down); COMP_CWORD=1; _onward onward down onward; echo \"${COMPREPLY[*]}\"";
    match Command::new("bash").args(["-c", ask]).arg(&script).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "download", "{output:?}"),
        Err(error) => {
            // Past the capture of the test harness, so that a run shows it.
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr().lock(), "SKIPPED: bash cannot be run here: {error}");
        }
    }
}

#[test]
fn the_manual_page_has_every_subcommand_and_exit_code() {
    let page = printed(&["man"]);
    for word in ["download", "upload", "serve", "resume", "status", "cancel", "demo", "completions", "not finished"] {
        assert!(page.contains(word), "{word} is not in the manual page");
    }
}
