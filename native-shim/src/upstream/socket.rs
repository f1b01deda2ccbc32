//! A connection to an origin as a stream of bytes: in the clear or over TLS.
//!
//! It notes whether the origin has said anything, and an origin that takes no more bytes can still be heard: one that refuses an upload early
//! answers and closes, and the answer counts, not that the rest could not be written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Most bytes that are read before the head of an answer is whole: interim responses without end must not keep a thread.
const BEFORE_ANSWER_MAX: usize = 1 << 20;

/// Stands for what comes after the head.
const ANSWERED: usize = usize::MAX;

/// How many bytes an origin has sent since it was last asked, until its answer's head is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<AtomicUsize>);

impl Heard {
    pub(super) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(super) fn anything(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// The head of the answer is there: from now on its body is read, as long as it may be.
    pub(super) fn an_answer(&self) {
        self.0.store(ANSWERED, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) -> io::Result<()> {
        let before = self.0.load(Ordering::Relaxed);
        if before == ANSWERED {
            return Ok(());
        }
        self.0.store(before + bytes, Ordering::Relaxed);
        if before + bytes > BEFORE_ANSWER_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the origin sends too much before its answer"));
        }
        Ok(())
    }
}

/// A connection to an origin.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    pub(super) heard: Heard,
    /// Whether the origin takes no more: what is written then is thrown away.
    closed_for_writing: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::new(Stream::Plain(stream))
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::new(Stream::Tls(Box::new(stream)))
    }

    fn new(stream: Stream) -> Self {
        Self { stream, heard: Heard::default(), closed_for_writing: false }
    }

    /// Turns the failure to write `length` bytes into having thrown them away, if it is the origin that takes no more.
    fn written(&mut self, length: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error)) if takes_no_more(&error) => {
                self.closed_for_writing = true;
                Poll::Ready(Ok(length))
            }
            other => other,
        }
    }
}

fn takes_no_more(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read: Poll<io::Result<()>> = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            this.heard.add(buf.filled().len() - before)?;
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.closed_for_writing {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.written(buf.len(), written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closed_for_writing {
            return Poll::Ready(Ok(()));
        }
        let flushed = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.written(0, flushed.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            // A plain send costs the kernel less.
            return self.poll_write(cx, only);
        }
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if this.closed_for_writing {
            return Poll::Ready(Ok(length));
        }
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.written(length, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
