//! What one run of a command costs: time on the wall, processor time, peak memory, as the kernel accounts for them.

use super::tools::compiled;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of processor time, children included.
    pub cpu: f64,
    /// How much of that was in the kernel, as the clock's ticks found it.
    pub kernel: f64,
    /// The most memory resident in any one process, in MiB.
    pub peak: f64,
}

impl Taken {
    /// Whether it had the processor or waited, in words.
    pub fn bound(&self) -> String {
        let (share, kernel) = (100.0 * self.cpu / self.wall, 100.0 * self.kernel / self.cpu.max(1e-6));
        let bound = if share >= 85.0 { "CPU bound" } else { "waits for others" };
        format!("{bound}: CPU {share:.0} % of wall, {kernel:.0} % of it in the kernel")
    }
}

/// Runs `command`, which must succeed.
pub fn take(command: &Command) -> Result<Taken, String> {
    match taken(command)? {
        (taken, None) => Ok(taken),
        (_, Some(why)) => Err(why),
    }
}

/// Runs `command` to its end; with what it took, why it failed.
pub fn taken(command: &Command) -> Result<(Taken, Option<String>), String> {
    let ended = behind(&mut Command::new(program()?), command)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("it cannot be started: {e}"))?;
    let numbers: Vec<f64> =
        String::from_utf8_lossy(&ended.stdout).split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, user, system, peak, status] = numbers[..] else {
        return Err(format!("it cannot be started: {:?}", command.get_program()));
    };
    let taken = Taken { wall: wall / 1e9, cpu: (user + system) / 1e6, kernel: system / 1e6, peak: peak / 1024.0 };
    let said = String::from_utf8_lossy(&ended.stderr);
    let last = said.lines().next_back().unwrap_or_default().replace('|', " ");
    Ok((taken, (status != 0.0).then(|| format!("it failed: {last}"))))
}

/// `outer` made to run `inner`, in its folder and with its environment alone.
pub fn behind<'a>(outer: &'a mut Command, inner: &Command) -> &'a mut Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = inner.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

/// `measure.c`, compiled once.
fn program() -> Result<&'static Path, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("measure")).as_deref().map_err(Clone::clone)
}

/// The medians of each number. A short run meets a tick or two: only over all runs do they tell where the time went.
pub fn median(taken: &[Taken]) -> Taken {
    let of = |number: fn(&Taken) -> f64| middle(taken.iter().map(number).collect());
    let sum = |number: fn(&Taken) -> f64| taken.iter().map(number).sum::<f64>();
    let cpu = of(|t| t.cpu);
    Taken {
        wall: of(|t| t.wall),
        cpu,
        kernel: cpu * sum(|t| t.kernel) / sum(|t| t.cpu).max(1e-6),
        peak: of(|t| t.peak),
    }
}

/// The middle one, or between the two in the middle; 0 of none.
pub fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let at = |n: usize| all.get(n).copied().unwrap_or_default();
    (at(all.len().saturating_sub(1) / 2) + at(all.len() / 2)) / 2.0
}
