//! Whether a request is still alive: when something last moved for it, and whether its connection is being built.
//! Building one has a time limit of its own (name look-up, TCP, proxy and TLS together), so that silence counts from
//! the established connection on. The HTTP library does not tell when that is: a layer around its connector does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    /// The pulse of the request that is being polled: the library builds connections inside the request's own future.
    static REQUEST: Arc<Pulse>;
}

/// The signs of life of one request.
pub(super) struct Pulse(Mutex<State>);

#[derive(Clone, Copy)]
struct State {
    last: Instant,
    connecting: bool,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { last: Instant::now(), connecting: false })))
    }

    /// Something moved just now.
    pub(super) fn beat(&self) {
        self.state().last = Instant::now();
    }

    /// Waits for `sent`; `None` once nothing has moved for `patience`, the building of a connection left out.
    pub(super) async fn watch<F: Future>(self: &Arc<Self>, sent: F, patience: Duration) -> Option<F::Output> {
        let mut sent = std::pin::pin!(REQUEST.scope(self.clone(), sent));
        loop {
            let state = *self.state();
            let since = if state.connecting { Instant::now() } else { state.last };
            if let Ok(answer) = timeout_at(since + patience, &mut sent).await {
                return Some(answer);
            }
            let state = *self.state();
            if !state.connecting && state.last.elapsed() >= patience {
                return None;
            }
        }
    }

    fn connecting(&self, connecting: bool) {
        *self.state() = State { last: Instant::now(), connecting };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wraps the library's connector so that a request's pulse knows of it.
#[derive(Clone, Copy)]
pub(super) struct Noting;

impl<S> Layer<S> for Noting {
    type Service = Noted<S>;

    fn layer(&self, connector: S) -> Noted<S> {
        Noted(connector)
    }
}

/// A connector that is watched.
#[derive(Clone)]
pub(super) struct Noted<S>(S);

impl<S, To> Service<To> for Noted<S>
where
    S: Service<To>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Connecting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: To) -> Self::Future {
        let pulse = REQUEST.try_with(Arc::clone).ok();
        pulse.iter().for_each(|pulse| pulse.connecting(true));
        Connecting { built: Box::pin(self.0.call(to)), pulse }
    }
}

/// A connection that is being built for a request, or for the next one when this found another meanwhile.
pub(super) struct Connecting<F> {
    built: Pin<Box<F>>,
    pulse: Option<Arc<Pulse>>,
}

impl<F> Connecting<F> {
    fn no_longer(&mut self) {
        self.pulse.take().iter().for_each(|pulse| pulse.connecting(false));
    }
}

impl<F: Future> Future for Connecting<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Polled outside the request, it was left to the pool: the request goes by another connection.
        if REQUEST.try_with(|_| ()).is_err() {
            self.no_longer();
        }
        let built = std::task::ready!(self.built.as_mut().poll(cx));
        self.no_longer();
        Poll::Ready(built)
    }
}

impl<F> Drop for Connecting<F> {
    fn drop(&mut self) {
        self.no_longer();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::time::sleep;

    const PATIENCE: Duration = Duration::from_millis(100);

    /// A connector that needs this long.
    #[derive(Clone)]
    struct Slow(Duration);

    impl Service<()> for Slow {
        type Response = ();
        type Error = ();
        type Future = Pin<Box<dyn Future<Output = Result<(), ()>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            let time = self.0;
            Box::pin(async move {
                sleep(time).await;
                Ok(())
            })
        }
    }

    /// How long a request is waited for that connects by `connector` and then does `rest`.
    fn waited<F: Future<Output = ()>>(connector: Slow, rest: impl FnOnce(Arc<Pulse>) -> F) -> (bool, Duration) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(async {
            let (pulse, began) = (Pulse::new(), Instant::now());
            let sent = async {
                Noting.layer(connector).call(()).await.unwrap();
                rest(pulse.clone()).await;
            };
            (pulse.watch(sent, PATIENCE).await.is_some(), began.elapsed())
        })
    }

    /// At least so many milliseconds, and no wait for another limit than its own.
    fn lasts(least: u64, (answered, time): (bool, Duration)) {
        assert!(!answered);
        assert!(time >= Duration::from_millis(least) && time < Duration::from_secs(30), "{time:?}");
    }

    #[test]
    fn silence_counts_from_the_connection_on() {
        lasts(100, waited(Slow(Duration::ZERO), |_| pending()));
        lasts(500, waited(Slow(Duration::from_millis(400)), |_| pending()));
        assert!(waited(Slow(Duration::from_millis(400)), |_| ready(())).0);
    }

    #[test]
    fn silence_counts_from_the_last_byte_on() {
        let drip = |pulse: Arc<Pulse>| async move {
            sleep(PATIENCE / 2).await;
            pulse.beat();
            pending().await
        };
        lasts(150, waited(Slow(Duration::ZERO), drip));
    }

    #[test]
    fn a_connection_left_to_the_pool_does_not_count() {
        let leave = |_| async {
            tokio::spawn(Noting.layer(Slow(Duration::from_secs(60))).call(()));
            pending().await
        };
        lasts(100, waited(Slow(Duration::ZERO), leave));
    }
}
