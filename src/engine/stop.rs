//! The one way to stop everything: a token that a signal or a deadline trips and that every loop waits on beside
//! its work.

use tokio::sync::watch;

/// Tripped once, seen by all its clones.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// A token that is not tripped.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Trips it. Safe from any thread, any number of times.
    pub fn trip(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is tripped.
    pub fn tripped(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves as soon as it is tripped.
    pub async fn wait(&self) {
        // Cannot fail: this very sender is alive while it waits.
        let _ = self.0.subscribe().wait_for(|tripped| *tripped).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_told() {
        let stop = Stop::new();
        let other = stop.clone();
        let waiting = tokio::spawn(async move { other.wait().await });
        assert!(!stop.tripped());
        stop.trip();
        waiting.await.unwrap();
        stop.clone().wait().await;
        assert!(stop.tripped());
    }
}
