//! Interim replies (1xx) on HTTP/1.1. The HTTP library sends none, so they are put into the stream below it, at a
//! moment when it has nothing half written: when it flushes, while the handler that wants one waits. Over HTTP/2 there
//! is no such way; there the final reply has to do.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// A peer that reads nothing is not waited for: an interim reply is a courtesy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The interim replies of one connection.
#[derive(Default)]
pub struct Interim {
    state: Mutex<State>,
    sent: Notify,
}

#[derive(Default)]
struct State {
    /// Waits for its moment.
    waiting: Vec<u8>,
    /// Some of it is on the line, so the rest has to follow.
    begun: Vec<u8>,
}

impl Interim {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an interim reply: `head` is its status line and fields, without the empty line. To be called before the
    /// request's body is asked for. Tells whether it was sent.
    pub async fn send(&self, head: &str) -> bool {
        self.state().waiting = format!("{head}\r\n\r\n").into_bytes();
        let sent = tokio::time::timeout(PATIENCE, self.sent.notified()).await.is_ok();
        self.state().waiting.clear();
        sent
    }
}

/// A stream into which interim replies are put.
pub struct WithInterim<S> {
    stream: S,
    interim: Arc<Interim>,
}

impl<S: AsyncWrite + Unpin> WithInterim<S> {
    /// Puts those of `interim` into `stream`.
    pub fn new(stream: S, interim: Arc<Interim>) -> Self {
        Self { stream, interim }
    }

    /// Writes the rest of what has begun.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.interim.state();
        while !state.begun.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &state.begun))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.begun.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithInterim<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithInterim<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_begun(cx))?;
        let begins = {
            let mut state = self.interim.state();
            state.begun = std::mem::take(&mut state.waiting);
            !state.begun.is_empty()
        };
        if begins {
            ready!(self.poll_begun(cx))?;
            self.interim.sent.notify_one();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
