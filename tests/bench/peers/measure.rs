//! What one run of a command costs: time on the wall, processor time, peak memory.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of processor time, user and system, children included. The kernel counts in hundredths.
    pub cpu: f64,
    /// The most memory resident, in MiB, seen every few milliseconds.
    pub peak: f64,
}

/// Runs `command` to its end.
pub fn take(mut command: Command) -> Result<Taken, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().map_err(|e| format!("it cannot be started: {e}"))?;
    let pid = child.id();
    let (over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let (wall, cpu) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(high_water(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        // Not reaped yet, its times can still be read.
        let id = Pid::from_raw(pid as i32).map(WaitId::Pid);
        let _ = id.map(|id| waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
        let wall = started.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        (wall, cpu_of(pid))
    });
    match child.wait() {
        Ok(status) if status.success() => Ok(Taken { wall, cpu, peak: peak.into_inner() as f64 / 1024.0 }),
        Ok(status) => Err(format!("it failed ({status})")),
        Err(e) => Err(e.to_string()),
    }
}

/// The medians of each number.
pub fn median(taken: Vec<Taken>) -> Taken {
    let middle = |of: fn(&Taken) -> f64| {
        let mut all: Vec<f64> = taken.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Taken { wall: middle(|t| t.wall), cpu: middle(|t| t.cpu), peak: middle(|t| t.peak) }
}

/// `VmHWM` in KiB; 0 once the process is over.
fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// User and system time with those of reaped children, in seconds.
fn cpu_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = rest.split_whitespace().skip(11).take(4).filter_map(|word| word.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
