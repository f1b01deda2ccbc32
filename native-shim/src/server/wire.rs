//! A client's connection: notes what moves, replaces hyper's bare error replies, and closes so that
//! the client sees the last reply.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::canned;
use super::header_blocks::HeaderBlocks;
use super::messages::{Fault, Messages};

/// Most bytes read and thrown away before a connection is closed.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Most bytes that are copied in order to be sent at once. Copying as many takes less time than the
/// kernel needs for pieces.
const COPIED_MAX: usize = 4 << 10;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Wire<T> {
    io: T,
    activity: Arc<Activity>,
    /// Bytes read while the protocol was found out.
    prefix: Bytes,
    /// Where in its requests' header fields an HTTP/2 client is.
    blocks: Option<HeaderBlocks>,
    /// Where in its requests an HTTP/1 client is.
    messages: Messages,
    /// The reply written in place of hyper's.
    substitute: Option<Bytes>,
    shut_down: bool,
    lingered: usize,
    /// Whether the client sends nothing more.
    at_end: bool,
    /// Interim responses of which a part may have been written.
    interim: Bytes,
    /// Whether all that the library has begun to write is written.
    is_between: bool,
}

impl<T> Wire<T> {
    pub(super) fn new(io: T, activity: Arc<Activity>) -> Self {
        Self {
            io,
            activity,
            prefix: Bytes::new(),
            blocks: None,
            messages: Messages::new(),
            substitute: None,
            shut_down: false,
            lingered: 0,
            at_end: false,
            interim: Bytes::new(),
            is_between: true,
        }
    }

    /// From here on the client speaks HTTP/2.
    pub(super) fn follow_header_blocks(&mut self) {
        self.blocks = Some(HeaderBlocks::new());
    }

    /// Takes note of bytes on their way to the library. Returns how many of them it may have now.
    fn note_read(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.activity.read();
        if let Some(blocks) = &mut self.blocks {
            self.activity.header_block(blocks.follow(bytes));
            return Ok(bytes.len());
        }
        if self.activity.is_tunnel() {
            return Ok(bytes.len());
        }
        if self.messages.is_pending() {
            self.messages.begin(self.activity.content());
        }
        let taken = self.messages.follow(bytes).map_err(|Fault::BareLineFeed| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a line of trailer fields ends with a line feed alone",
            )
        })?;
        if self.messages.is_pending() {
            self.activity.set_fragment(self.messages.has_fragment());
        }
        Ok(taken)
    }

    /// Returns whether all of the request under way has come.
    fn request_is_whole(&mut self) -> bool {
        if self.messages.is_pending() {
            self.messages.begin(self.activity.content());
        }
        self.messages.is_between()
    }

    /// Puts bytes back that were read.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    /// Notes what a write brought. `length` is what the caller wanted to write.
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(written) => self.activity.wrote(*written.as_ref().unwrap_or(&0)),
            Poll::Pending => self.activity.write_blocked(),
        }
        written
    }

    /// Writes the substitute in place of `length` bytes of hyper's.
    fn write_substitute(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        while let Some(bytes) = self.substitute.as_mut().filter(|bytes| !bytes.is_empty()) {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(written);
        }
        Poll::Ready(Ok(length))
    }

    /// Writes interim responses, if nothing of the library's is half written. There are hardly ever
    /// any.
    #[inline]
    fn write_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty() && !self.activity.interim.any() {
            return Poll::Ready(Ok(()));
        }
        self.write_waiting(cx)
    }

    #[cold]
    fn write_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.interim.is_empty() {
            let interim = self.activity.interim.take();
            if self.is_between {
                self.interim = interim;
            }
        }
        while !self.interim.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.interim);
            let written = ready!(self.note(written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn substitutes(&mut self, first: &[u8]) -> bool {
        if self.substitute.is_none()
            && first.get(9) == Some(&b'4')
            && self.activity.nothing_is_replied()
            && let Some(refusal) = canned::recognise(first)
        {
            self.activity.linger();
            self.substitute = Some(canned::refuse(&self.activity, refusal));
        }
        self.substitute.is_some()
    }
}

impl<T: AsyncRead + Unpin> Wire<T> {
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; 4096];
        while self.lingered < LINGER_BYTES_MAX {
            let mut into = ReadBuf::new(&mut buffer);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut into));
            if read.is_err() || into.filled().is_empty() {
                break;
            }
            self.lingered += into.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    /// Where small replies are put together.
    static WHOLE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes pieces; returns how many bytes were written. A plain send costs the kernel so much less
/// than one of pieces that small ones are copied together.
fn write_pieces<T: AsyncWrite>(
    io: Pin<&mut T>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = bufs {
        return io.poll_write(cx, only);
    }
    let length: usize = bufs.iter().map(|buf| buf.len()).sum();
    if length > COPIED_MAX {
        return io.poll_write_vectored(cx, bufs);
    }
    WHOLE.with_borrow_mut(|whole| {
        whole.clear();
        for buf in bufs {
            whole.extend_from_slice(buf);
        }
        io.poll_write(cx, whole)
    })
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let mut bytes = self.prefix.slice(..self.prefix.len().min(buf.remaining()));
            let taken = self.note_read(&bytes)?;
            self.prefix.advance(taken);
            bytes.truncate(taken);
            buf.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if !self.at_end {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            self.at_end = buf.filled().len() == before && buf.remaining() > 0;
        }
        if self.at_end {
            // The library takes the end of the requests for the client's end. It asks again when
            // the reply is on its way.
            let is_masked = self.request_is_whole() && self.activity.serves_half_closed();
            return if is_masked {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            };
        }
        let taken = self.note_read(&buf.filled()[before..])?;
        if before + taken < buf.filled().len() {
            self.prefix = Bytes::copy_from_slice(&buf.filled()[before + taken..]);
            buf.set_filled(before + taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_interim(cx))?;
        self.is_between = false;
        let written = if self.substitutes(buf) {
            self.write_substitute(cx, buf.len())
        } else {
            Pin::new(&mut self.io).poll_write(cx, buf)
        };
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The library flushes when it has written all that it has.
        self.is_between = true;
        ready!(self.write_interim(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        match &flushed {
            Poll::Ready(_) => self.activity.flushed(),
            Poll::Pending => self.activity.write_blocked(),
        }
        flushed
    }

    /// Says goodbye, and reads what the client still sends: closing a socket with unread bytes
    /// would make the client lose our last reply.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut_down {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.shut_down = true;
        }
        if self.activity.lingers() {
            self.linger(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_interim(cx))?;
        self.is_between = false;
        let written = if self.substitutes(bufs.first().map_or(&[], |first| first)) {
            let length = bufs.iter().map(|b| b.len()).sum();
            self.write_substitute(cx, length)
        } else {
            write_pieces(Pin::new(&mut self.io), cx, bufs)
        };
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;

    use http::{HeaderMap, StatusCode};
    use tidegate_core::{Policy, Scheme};
    use tokio::io::AsyncReadExt;

    use super::super::activity::Signal;
    use super::super::registry::Registry;
    use super::super::ticks::TICK;
    use super::*;
    use crate::node::Node;

    /// A client that does not take interim responses is one that does not take its reply.
    #[tokio::test]
    async fn who_takes_no_interim_response_is_not_waited_for_without_end() {
        let text = "[origins.a]\nurl = \"http://a.test\"\n[pools.p]\norigins = [\"a\"]\n[[routes]]\npool = \"p\"\n";
        let node = Arc::new(Node::new(Policy::parse("policy", text).unwrap(), 1));
        let registry = Arc::new(Registry::new(Arc::clone(&node)));
        let place = registry
            .enter(IpAddr::V4(Ipv4Addr::LOCALHOST), Scheme::Http, 1)
            .unwrap();
        let activity = &place.activity;
        let _busy = activity.busy();
        let (mut client, io) = tokio::io::duplex(8);
        let mut wire = Wire::new(io, Arc::clone(activity));
        let bounds = node.engine().policy().server.bounds;
        let passed = bounds.idle_timeout / TICK + 1;
        let answer = async {
            activity
                .interim
                .pass_on(StatusCode::PROCESSING, &HeaderMap::new());
            let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut wire).poll_flush(cx))).await;
            assert!(flushed.is_pending());
            for _ in 0..passed {
                registry.tick();
            }
            registry.look_over(&bounds);
            assert_eq!(activity.signal().await, Signal::Abort);
            // One that takes it is waited for again.
            let mut taken = [0; 256];
            let mut flush = pin!(poll_fn(|cx| Pin::new(&mut wire).poll_flush(cx)));
            tokio::select! {
                flushed = &mut flush => flushed.unwrap(),
                () = async { while client.read(&mut taken).await.is_ok() {} } => panic!("it is flushed"),
            }
            for _ in 0..passed {
                registry.tick();
            }
            registry.look_over(&bounds);
            let mut registered = false;
            let told = poll_fn(|cx| Poll::Ready(activity.poll_signal(cx, &mut registered))).await;
            assert!(told.is_pending());
        };
        activity.interim.until_answered(pin!(answer)).await;
    }
}
