//! A condition variable that costs nothing while nobody waits for it: waking nobody is a call of the system too, and
//! thousands of small files end without anybody having waited.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Duration;

/// Rung after what is guarded by one mutex has changed; waited for under that mutex.
#[derive(Default)]
pub struct Bell {
    condvar: Condvar,
    /// Changed under the mutex only: who rings has held it since, and sees whoever waited by then.
    waiting: AtomicUsize,
}

impl Bell {
    /// Waits for a ring, or `patience`; it may return without either.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, patience: Duration) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.condvar.wait_timeout(guard, patience).unwrap_or_else(PoisonError::into_inner).0;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// Wakes all who wait. To be called after the mutex was held by this thread since the change.
    pub fn ring(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.condvar.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn nobody_who_waits_is_forgotten() {
        const LONG: Duration = Duration::from_secs(60);
        let shared = Arc::new((Mutex::new(0u32), Bell::default()));
        let counting = |odd: u32| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let (count, bell) = &*shared;
                loop {
                    let mut now = count.lock().unwrap();
                    while *now % 2 != odd && *now < 20_000 {
                        now = bell.wait(now, LONG);
                    }
                    if *now >= 20_000 {
                        return;
                    }
                    *now += 1;
                    drop(now);
                    bell.ring();
                }
            })
        };
        let begun = std::time::Instant::now();
        let threads = [counting(0), counting(1)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(begun.elapsed() < LONG, "one of them slept through a ring");
        assert_eq!(shared.1.waiting.load(Ordering::Relaxed), 0);
    }
}
