//! How fast it goes: what the bars show, as arithmetic on times that are handed in.
//!
//! The rate is that of this run over the last few seconds, so a resumed transfer shows a true one from the start: what
//! was there before never counts as moved.

use crate::event::Progress;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The rate is smoothed over this much time.
const WINDOW: Duration = Duration::from_secs(5);
/// Progress is told no oftener than this.
const BEAT: Duration = Duration::from_millis(200);
/// Younger runs than this have no rate worth showing.
const YOUNG: Duration = Duration::from_millis(100);

/// The measure of one transfer.
#[derive(Debug, Clone)]
pub struct Meter {
    run: u64,
    done: u64,
    total: Option<u64>,
    told: Option<Instant>,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// A run that starts at `now` with `already` bytes of `total` there.
    pub fn new(now: Instant, already: u64, total: Option<u64>) -> Self {
        Self { run: 0, done: already, total, told: None, samples: VecDeque::from([(now, 0)]) }
    }

    /// This run moved `bytes`, new or again.
    pub fn moved(&mut self, bytes: u64) {
        self.run += bytes;
    }

    /// Bytes of the file that are there now, whoever moved them.
    pub fn set_done(&mut self, done: u64) {
        self.done = done;
    }

    /// The length has become known.
    pub fn set_total(&mut self, total: Option<u64>) {
        self.total = total;
    }

    /// Bytes moved by this run.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Whether it is time to tell again: at most five times a second.
    pub fn due(&self, now: Instant) -> bool {
        self.told.is_none_or(|told| now.saturating_duration_since(told) >= BEAT)
    }

    /// How far it is at `now`.
    pub fn progress(&mut self, now: Instant, connections: u32) -> Progress {
        self.told = Some(now);
        let rate = self.rate(now);
        let left = self.total.map(|total| total.saturating_sub(self.done));
        let eta = left.filter(|_| rate > 0).map(|left| Duration::from_secs(left.div_ceil(rate)));
        Progress { run: self.run, done: self.done, total: self.total, rate, eta, connections }
    }

    /// Bytes a second over the last few seconds.
    pub fn rate(&mut self, now: Instant) -> u64 {
        while self.samples.len() > 1 && now.saturating_duration_since(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, self.run));
        if self.samples.back().is_none_or(|last| now.saturating_duration_since(last.0) >= BEAT) {
            self.samples.push_back((now, self.run));
        }
        let over = now.saturating_duration_since(since);
        if over < YOUNG { 0 } else { ((self.run - before) as f64 / over.as_secs_f64()) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn run(meter: &mut Meter, start: Instant, seconds: std::ops::Range<u64>, per_second: u64) -> Progress {
        let mut last = Progress::default();
        for tick in seconds.start * 10 + 1..=seconds.end * 10 {
            meter.moved(per_second / 10);
            last = meter.progress(start + Duration::from_millis(tick * 100), 2);
        }
        last
    }

    #[test]
    fn a_resumed_run_shows_its_own_rate() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 900 * MIB, Some(1000 * MIB));
        meter.set_done(920 * MIB);
        let seen = run(&mut meter, start, 0..2, 10 * MIB);
        assert!(seen.rate.abs_diff(10 * MIB) < MIB / 10, "{seen:?}");
        assert_eq!((seen.eta.unwrap().as_secs(), seen.run / MIB, seen.connections), (8, 20, 2), "{seen:?}");
    }

    #[test]
    fn the_rate_forgets_what_is_older_than_its_window() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 0, None);
        run(&mut meter, start, 0..60, 100 * MIB);
        let seen = run(&mut meter, start, 60..66, MIB);
        assert!(seen.rate.abs_diff(MIB) < MIB / 4, "{seen:?}");
        assert_eq!(seen.eta, None);
        let silent = meter.progress(start + Duration::from_secs(120), 0);
        assert_eq!(silent.rate, 0, "{silent:?}");
        assert!(meter.samples.len() < 60);
    }

    #[test]
    fn told_at_most_five_times_a_second() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 0, Some(1));
        let mut told = 0;
        for ms in 0..2000 {
            let now = start + Duration::from_millis(ms);
            if meter.due(now) {
                meter.progress(now, 1);
                told += 1;
            }
        }
        assert_eq!(told, 10);
    }
}
