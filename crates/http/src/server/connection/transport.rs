//! Owns the stream under the parser: notes what moves on it, and keeps the end of a half-closed
//! client from the parser while its answer is awaited. Must never read or change what it carries,
//! but for where heads end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::heads::Heads;
use super::link::Link;

pub(super) struct Transport {
    /// Taken at the end alone.
    stream: Option<TcpStream>,
    link: Arc<Link>,
    heads: Heads,
    blocked: bool,
}

impl Transport {
    pub(super) fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { stream: Some(stream), link, heads: Heads::Undecided(0), blocked: false }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn note_written(&mut self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if poll.is_pending() != self.blocked {
            self.blocked = poll.is_pending();
            self.link.blocked(self.blocked);
        }
        poll
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        std::task::ready!(self.stream()?.poll_read(cx, buf))?;
        let this = &mut *self;
        match &buf.filled()[before..] {
            [] if room > 0 && this.link.half_closed() => return Poll::Pending,
            [] => {}
            bytes => this.link.received(this.heads.see(bytes)),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = self.stream()?.poll_write(cx, buf);
        self.note_written(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = self.stream()?.poll_write_vectored(cx, bufs);
        self.note_written(poll)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.link.give_back(stream);
        }
    }
}
