//! A connection to an origin as the library above it sees it: a stream of bytes.
//!
//! It does three things for the exchange above it, out of the library's sight.
//!
//! - An origin that takes no more bytes can still be heard: one that refuses an upload early
//!   answers and closes, and the answer counts, not that the rest could not be written.
//! - A connection that was used before may be closed by the origin just when it is used again.
//!   Nothing tells whether the request arrived; so one that may arrive twice is sent once more,
//!   over a new connection (RFC 9110, section 9.2.2).
//! - Interim responses are passed on.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tidegate_core::FailureKind;
use tidegate_core::route::Origin;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::ahead::Ahead;
use super::connect;
use super::stream::Stream;
use crate::interim::Interim;
use crate::kept::Kept;
use crate::request_body::KEPT_MAX;
use crate::tls::TlsFiles;

/// Most bytes that are read before the head of an answer is whole: interim responses without end
/// must not keep a thread.
const BEFORE_ANSWER_MAX: usize = 1 << 20;

/// Most bytes of a request that is sent once more: a body that is kept, in chunks, and a head.
const SENT_MAX: usize = 2 * KEPT_MAX;

/// Stands for what comes after the head.
const ANSWERED: usize = usize::MAX;

/// What a link tells its socket, which lies inside the library's connection, and what it learns
/// from it.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Whether a request begins.
    begins: AtomicBool,
    /// Whether it may be sent once more if the origin closes the connection without a byte.
    repeats: AtomicBool,
    /// How many bytes have come since it began, until its answer's head is there.
    heard: AtomicUsize,
    /// Where interim responses go.
    interim: Mutex<Option<Arc<Interim>>>,
    /// Whether it is being sent once more, over a new connection.
    begins_again: AtomicBool,
    /// Why there is no new connection.
    not_dialled: Mutex<Option<FailureKind>>,
}

impl Signals {
    /// A request begins. `repeats` says whether it may be sent once more.
    pub(super) fn begin(&self, repeats: bool, interim: Option<&Arc<Interim>>) {
        self.heard.store(0, Ordering::Relaxed);
        *self.interim() = interim.map(Arc::clone);
        self.repeats.store(repeats, Ordering::Relaxed);
        self.begins_again.store(false, Ordering::Relaxed);
        self.begins.store(true, Ordering::Relaxed);
    }

    /// The head of the answer is there: from now on its body is read, as long as it may be.
    pub(super) fn is_answered(&self) {
        self.heard.store(ANSWERED, Ordering::Relaxed);
        *self.interim() = None;
    }

    /// Returns whether the request has been lost, and has to be sent once more, since this was
    /// asked last.
    pub(super) fn begins_again(&self) -> bool {
        let begins_again = self.begins_again.load(Ordering::Relaxed);
        if begins_again {
            self.begins_again.store(false, Ordering::Relaxed);
        }
        begins_again
    }

    /// Takes why the request could not be sent once more, if it had to be.
    pub(super) fn not_dialled(&self) -> Option<FailureKind> {
        self.not_dialled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn interim(&self) -> MutexGuard<'_, Option<Arc<Interim>>> {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Dialling = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// A connection to an origin.
pub(super) struct Socket {
    stream: Stream,
    pub(super) signals: Arc<Signals>,
    origin: Arc<Origin>,
    files: Arc<TlsFiles>,
    /// Whether the origin takes no more: what is written then is thrown away.
    closed_for_writing: bool,
    /// Whether the request under way may be sent once more.
    repeats: bool,
    /// That request, as far as it was written.
    sent: Kept,
    /// The new connection that the request is sent over once more.
    dialling: Option<Dialling>,
    ahead: Ahead,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("origin", &self.origin.name)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Takes a new connection to an origin.
    pub(super) fn new(stream: Stream, origin: Arc<Origin>, files: Arc<TlsFiles>) -> Self {
        Self {
            stream,
            signals: Arc::default(),
            origin,
            files,
            closed_for_writing: false,
            repeats: false,
            sent: Kept::default(),
            dialling: None,
            ahead: Ahead::default(),
        }
    }

    /// Takes note of a request that begins.
    fn look_at_signals(&mut self) {
        if self.signals.begins.load(Ordering::Relaxed) {
            self.signals.begins.store(false, Ordering::Relaxed);
            self.sent.clear();
            self.repeats = self.signals.repeats.load(Ordering::Relaxed);
            self.ahead.begin();
        }
    }

    /// Takes note of what was written, as long as it may have to be written again.
    fn keep(&mut self, written: &[u8]) {
        if !self.sent.add(written, SENT_MAX) {
            self.does_not_repeat();
        }
    }

    fn does_not_repeat(&mut self) {
        self.repeats = false;
        self.sent.clear();
    }

    /// Turns the failure to write `bufs` into having thrown them away, if it is the origin that
    /// takes no more.
    fn written(
        &mut self,
        bufs: &[io::IoSlice<'_>],
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let length = match written {
            Poll::Ready(Ok(length)) => length,
            Poll::Ready(Err(error)) if takes_no_more(&error) => {
                self.closed_for_writing = true;
                bufs.iter().map(|buf| buf.len()).sum()
            }
            other => return other,
        };
        let mut left = length;
        for buf in bufs {
            if !self.repeats {
                break;
            }
            let part = buf.get(..left.min(buf.len())).unwrap_or(buf);
            left -= part.len();
            self.keep(part);
        }
        Poll::Ready(Ok(length))
    }

    /// Takes note of what the origin has sent before its answer was whole.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        let before = self.signals.heard.load(Ordering::Relaxed);
        if before == ANSWERED {
            return Ok(());
        }
        self.does_not_repeat();
        let heard = before + bytes.len();
        self.signals.heard.store(heard, Ordering::Relaxed);
        if heard > BEFORE_ANSWER_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the origin sends too much before its answer",
            ));
        }
        for (status, fields) in self.ahead.take(bytes) {
            if let Some(interim) = &*self.signals.interim() {
                interim.pass_on(status, &fields);
            }
        }
        Ok(())
    }

    /// Sends the request once more.
    fn send_again(&mut self) {
        self.repeats = false;
        let sent = self.sent.take();
        let (origin, files, signals) = (
            Arc::clone(&self.origin),
            Arc::clone(&self.files),
            Arc::clone(&self.signals),
        );
        signals.begins_again.store(true, Ordering::Relaxed);
        self.dialling = Some(Box::pin(async move {
            let connected = connect::connect(&origin, &files).await;
            let mut stream = connected.map_err(|kind| {
                *signals
                    .not_dialled
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(kind);
                io::Error::from(io::ErrorKind::ConnectionRefused)
            })?;
            stream.write_all(sent.bytes()).await?;
            stream.flush().await?;
            Ok(stream)
        }));
    }

    /// Waits for the new connection, if one is being made.
    fn poll_dialled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(dialling) = &mut self.dialling {
            let dialled = ready!(dialling.as_mut().poll(cx));
            self.dialling = None;
            self.stream = dialled?;
            self.closed_for_writing = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn takes_no_more(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look_at_signals();
        let before = buf.filled().len();
        loop {
            ready!(this.poll_dialled(cx))?;
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf));
            let bytes = buf.filled().get(before..).unwrap_or_default();
            let has_ended = bytes.is_empty() && buf.remaining() > 0;
            if !has_ended {
                return Poll::Ready(read.and_then(|()| this.hear(bytes)));
            }
            if !this.repeats {
                return Poll::Ready(read);
            }
            this.send_again();
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closed_for_writing || this.dialling.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut this.stream).poll_flush(cx));
        this.written(&[], Poll::Ready(flushed.map(|()| 0)))
            .map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look_at_signals();
        if this.dialling.is_some() {
            // Whoever waits for the answer waits for the new connection too.
            return Poll::Pending;
        }
        let written = match bufs {
            _ if this.closed_for_writing => Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum())),
            // A plain send costs the kernel less.
            [only] => Pin::new(&mut this.stream).poll_write(cx, only),
            _ => Pin::new(&mut this.stream).poll_write_vectored(cx, bufs),
        };
        this.written(bufs, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
