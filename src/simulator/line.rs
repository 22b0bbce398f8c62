//! A connection that can be told to misbehave below HTTP.
//!
//! `server.rs` finds the misconduct in the extensions of a response and tells the line; what hyper then does with the
//! connection does not matter any more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// In the extensions of a response: do not send it, do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misconduct {
    /// End the connection.
    HangUp,
    /// End it by a TCP reset.
    Reset,
    /// Send headers for as long as the client reads them.
    EndlessHead,
}

/// What a line was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    reset: AtomicBool,
    endless_head: AtomicBool,
}

impl Told {
    /// Notes it for the line; whether the response may be given to hyper.
    pub(super) fn note(&self, what: Misconduct) -> bool {
        match what {
            Misconduct::HangUp => false,
            Misconduct::Reset => {
                self.0.reset.store(true, Ordering::Relaxed);
                false
            }
            Misconduct::EndlessHead => {
                self.0.endless_head.store(true, Ordering::Relaxed);
                true
            }
        }
    }
}

/// The connection.
pub(super) struct Line {
    stream: TcpStream,
    told: Told,
    head_begun: bool,
}

impl Line {
    pub(super) fn new(stream: TcpStream, told: Told) -> Self {
        Self { stream, told, head_begun: false }
    }

    /// Writes a little more of a head; ready only when that fails. Hyper believes that nothing has left yet.
    fn poll_endless(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        const BEGIN: &[u8] = b"HTTP/1.1 200 OK\r\n";
        const LINE: &[u8] = b"x-simulated: one more header, and no end to it\r\n";
        let piece = if self.head_begun { LINE } else { BEGIN };
        self.head_begun = true;
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_write(context, piece)) {
            return Poll::Ready(Err(error));
        }
        // Comes back at once, but lets others work in between.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.told.0.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.told.0.endless_head.load(Ordering::Relaxed) {
            true => self.poll_endless(context),
            false => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
