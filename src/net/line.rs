//! A TCP connection on which an early refusal is heard. A server that does not want the rest of a request answers and
//! closes; the next write fails then, although the answer lies ready to be read. Here a failed write waits until the
//! other side has been read to its end, so that whoever drives the connection finds the answer first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection over `S`.
pub(super) struct Line<S> {
    stream: S,
    broken: Option<Broken>,
    /// Nothing more will come.
    ended: bool,
}

/// A write that failed, not told yet.
struct Broken {
    error: io::Error,
    writer: Waker,
}

impl<S> Line<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, broken: None, ended: false }
    }

    /// What a write gives: its failure only once there is nothing left to read.
    fn written(&mut self, outcome: Poll<io::Result<usize>>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Err(error)) if !self.ended && is_gone(&error) => {
                self.broken = Some(Broken { error, writer: cx.waker().clone() });
                Poll::Pending
            }
            other => other,
        }
    }

    /// Whether a write may be tried; else what it gives.
    fn may_write(&mut self, cx: &Context<'_>) -> Result<(), Poll<io::Result<usize>>> {
        match &mut self.broken {
            None => Ok(()),
            Some(broken) if self.ended => Err(Poll::Ready(Err(broken.error.kind().into()))),
            Some(broken) => {
                broken.writer.clone_from(cx.waker());
                Err(Poll::Pending)
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if outcome.is_err() || buf.filled().len() == before && buf.remaining() > 0 {
            self.ended = true;
            self.broken.iter().for_each(|broken| broken.writer.wake_by_ref());
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(waits) = self.may_write(cx) {
            return waits;
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Err(waits) = self.may_write(cx) {
            return waits;
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// A peer that has closed: writes fail, and what it said before lies ready.
    struct Closed(&'static [u8]);

    impl AsyncRead for Closed {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let (now, later) = self.0.split_at(self.0.len().min(buf.remaining()));
            buf.put_slice(now);
            self.0 = later;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Closed {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_was_said_before_the_end_is_read_before_a_write_fails() {
        let mut line = Line::new(Closed(b"413"));
        let mut cx = Context::from_waker(Waker::noop());
        let mut write = |line: &mut Line<Closed>| Pin::new(line).poll_write(&mut cx, b"more").map_err(|e| e.kind());
        assert!(write(&mut line).is_pending());
        let mut space = [0; 8];
        for (said, write_fails) in [(&b"413"[..], false), (b"", true)] {
            let mut buf = ReadBuf::new(&mut space);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut line).poll_read(&mut cx, &mut buf).is_ready());
            assert_eq!(buf.filled(), said);
            let outcome = write(&mut line);
            assert_eq!(outcome.is_ready(), write_fails);
            assert!(outcome.is_pending() || outcome == Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
        }
    }
}
