//! What a connection is doing, and what it must be told by now.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tidegate_core::message::bounds::Bounds;
use tidegate_core::{Millis, Scheme};

use super::header_blocks::Seen;
use super::messages::Content;
use super::streams::{Stream, Streams};
use super::ticks::{TICK, Ticks, ticks_in};
use crate::interim::Interim;
use crate::node::Node;

/// A body in chunks.
const CHUNKED: u64 = u64::MAX;

/// Ticks between two looks at all connections.
pub(super) const LOOK_TICKS: u32 = 5;

/// Most streams that an HTTP/2 client may have open.
pub(super) const STREAMS_MAX: u32 = 256;

/// How long a client may be too slow to take its reply.
const PATIENCE: Millis = 10_000;

/// Ticks for which a client that sends nothing more is given its reply, if no byte of it moves.
const HALF_CLOSED_TICKS: u32 = 100;

/// Ticks between the polite end of an idle connection and its abrupt one.
const GRACE_TICKS: u32 = 50;

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// End after the exchanges under way.
    Finish,
    /// Answer that the header fields took too long.
    HeadersTooSlow,
    /// End at once.
    Abort,
}

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) node: Arc<Node>,
    pub(super) peer: IpAddr,
    /// What the client speaks: `https` over TLS.
    pub(super) scheme: Scheme,
    ticks: Ticks,
    /// Exchanges under way, and replies being streamed.
    in_flight: AtomicU32,
    /// When a byte last moved; with HTTP/2, when an exchange last began or ended: frames that are
    /// part of none keep no connection open.
    moved: AtomicU32,
    /// When the first byte of a head came that is not complete; 0 if there is none. With HTTP/2 the
    /// same of a request's header fields.
    head: AtomicU32,
    /// Since when the client takes nothing; 0 if it does.
    blocked: AtomicU32,
    /// Whether bytes of a reply may still wait to be written, which outlive the exchange.
    unsent: AtomicBool,
    http2: AtomicBool,
    /// Whether the connection has switched to another protocol.
    tunnel: AtomicBool,
    /// Bytes of the body of the request under way, or [`CHUNKED`] (HTTP/1).
    content: AtomicU64,
    /// Whether the target of the last head has a fragment (HTTP/1).
    fragment: AtomicBool,
    /// Whether bytes that the client still sends are read before the connection is closed, so that
    /// it gets to see the reply.
    linger: AtomicBool,
    signal: AtomicU8,
    waker: Mutex<Option<Waker>>,
    /// Whether the client sends nothing more.
    half_closed: AtomicBool,
    /// Bytes that the client took of the reply under way, and the ticks for which it was waited.
    written: AtomicU64,
    waited: AtomicU32,
    streams: Streams<Busy>,
    /// Interim responses to the request under way (HTTP/1).
    pub(super) interim: Arc<Interim>,
}

impl Activity {
    /// Begins with a connection that has just been accepted.
    pub(super) fn new(node: Arc<Node>, peer: IpAddr, scheme: Scheme, ticks: Ticks) -> Self {
        let now = ticks.now();
        Self {
            node,
            peer,
            scheme,
            ticks,
            in_flight: AtomicU32::new(0),
            moved: AtomicU32::new(now),
            head: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
            unsent: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            content: AtomicU64::new(0),
            fragment: AtomicBool::new(false),
            linger: AtomicBool::new(false),
            signal: AtomicU8::new(0),
            waker: Mutex::new(None),
            half_closed: AtomicBool::new(false),
            written: AtomicU64::new(0),
            waited: AtomicU32::new(0),
            streams: Streams::new(),
            interim: Arc::default(),
        }
    }

    /// Returns the clock that the connection goes by.
    pub(super) fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    fn now(&self) -> u32 {
        self.ticks.now()
    }

    pub(super) fn read(&self) {
        if self.is_http2() {
            return;
        }
        let now = self.now();
        self.moved.store(now, Ordering::Relaxed);
        let may_begin = self.in_flight.load(Ordering::Relaxed) == 0;
        if may_begin && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(now, Ordering::Relaxed);
        }
    }

    /// Notes whether the header fields of a request have begun and not ended (HTTP/2).
    pub(super) fn header_block(&self, seen: Seen) {
        if !seen.open {
            self.head.store(0, Ordering::Relaxed);
        } else if seen.ended || self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Lets the time for the header fields under way begin anew.
    pub(super) fn restart_header_block(&self) {
        self.head.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, bytes: usize) {
        if !self.is_http2() {
            self.moved.store(self.now(), Ordering::Relaxed);
        }
        if self.blocked.swap(0, Ordering::Relaxed) != 0 {
            // Only who has been waited for is held to a rate.
            self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn write_blocked(&self) {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            self.blocked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Everything written has left. The time for a head that came meanwhile begins now.
    pub(super) fn flushed(&self) {
        self.blocked.store(0, Ordering::Relaxed);
        if self.unsent.load(Ordering::Relaxed) && self.in_flight.load(Ordering::Relaxed) == 0 {
            self.unsent.store(false, Ordering::Relaxed);
            if self.head.load(Ordering::Relaxed) != 0 {
                self.head.store(self.now(), Ordering::Relaxed);
            }
        }
    }

    /// Returns whether what is written now is no part of a reply of ours.
    pub(super) fn nothing_is_replied(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
            && !self.unsent.load(Ordering::Relaxed)
            && !self.http2.load(Ordering::Relaxed)
    }

    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
    }

    pub(super) fn becomes_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Relaxed)
    }

    /// Takes note of whether the target of the head that has come has a fragment.
    pub(super) fn set_fragment(&self, has_fragment: bool) {
        self.fragment.store(has_fragment, Ordering::Relaxed);
    }

    pub(super) fn has_fragment(&self) -> bool {
        self.fragment.load(Ordering::Relaxed)
    }

    /// Returns what is known of the body of the request that has become an exchange.
    pub(super) fn content(&self) -> Content {
        match self.content.load(Ordering::Relaxed) {
            CHUNKED => Content::Chunked,
            bytes => Content::Sized(bytes),
        }
    }

    /// Takes note of the body of a request that becomes an exchange.
    pub(super) fn set_content(&self, content: Content) {
        let content = match content {
            Content::Chunked => CHUNKED,
            Content::Sized(bytes) => bytes,
        };
        self.content.store(content, Ordering::Relaxed);
    }

    pub(super) fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    pub(super) fn lingers(&self) -> bool {
        self.linger.load(Ordering::Relaxed)
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Marks an exchange as under way until the guard is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        if self.is_http2() {
            self.moved.store(self.now(), Ordering::Relaxed);
        } else {
            self.head.store(0, Ordering::Relaxed);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.unsent.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Returns the least bytes a second that the policy asks of clients.
    pub(super) fn rate_min(&self) -> u64 {
        self.node.engine().policy().server.bounds.client_rate_min
    }

    /// Takes note that the client sends nothing more. Returns whether that means nothing: it may
    /// close its sending half when it has sent its request, and still gets the reply (RFC 9112,
    /// section 9.6). One that has gone looks the same; so after a while without a byte it counts as
    /// gone.
    pub(super) fn serves_half_closed(&self) -> bool {
        let serves =
            !self.is_http2() && !self.is_tunnel() && self.in_flight.load(Ordering::Relaxed) > 0;
        if serves {
            self.half_closed.store(true, Ordering::Relaxed);
        }
        serves
    }

    /// Takes note of a stream with a reply.
    pub(super) fn opened(&self, stream: Weak<Stream<Busy>>) {
        self.streams.add(stream);
    }

    /// Ends what the client has left alone for too long, though not its connection.
    fn end_idle_streams(&self, bounds: &Bounds) {
        if self.is_http2() {
            let cut = self.streams.cut_idle(ticks_in(bounds.idle_timeout));
            self.node
                .metrics
                .replies_cut
                .fetch_add(cut, Ordering::Relaxed);
        }
    }

    /// Returns whether the client takes its reply too slowly. Looked at each `LOOK_TICKS`.
    fn is_too_slow(&self, bounds: &Bounds) -> bool {
        if self.in_flight.load(Ordering::Relaxed) == 0 && !self.unsent.load(Ordering::Relaxed) {
            self.written.store(0, Ordering::Relaxed);
            self.waited.store(0, Ordering::Relaxed);
            return false;
        }
        if bounds.client_rate_min == 0 || self.blocked.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let waited = self
            .waited
            .fetch_add(LOOK_TICKS, Ordering::Relaxed)
            .saturating_add(LOOK_TICKS);
        let earned =
            self.written.load(Ordering::Relaxed).saturating_mul(1000) / bounds.client_rate_min;
        Millis::from(waited).saturating_mul(TICK) > PATIENCE.saturating_add(earned)
    }

    pub(super) fn tell(&self, signal: Signal) {
        self.signal.store(signal as u8 + 1, Ordering::Release);
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    /// Takes what the connection was told; the task is woken when it is told something.
    pub(super) fn poll_signal(&self, cx: &Context<'_>, registered: &mut bool) -> Poll<Signal> {
        if !*registered {
            // A task keeps its waker for life.
            *self.waker() = Some(cx.waker().clone());
            *registered = true;
        }
        if self.signal.load(Ordering::Acquire) == 0 {
            return Poll::Pending;
        }
        *registered = false;
        let told = self.signal.swap(0, Ordering::AcqRel);
        match told {
            1 => Poll::Ready(Signal::Finish),
            2 => Poll::Ready(Signal::HeadersTooSlow),
            _ => Poll::Ready(Signal::Abort),
        }
    }

    pub(super) async fn signal(&self) -> Signal {
        let mut registered = false;
        poll_fn(|cx| self.poll_signal(cx, &mut registered)).await
    }

    /// Waits until the connection has to end at once.
    pub(super) async fn aborted(&self) {
        while self.signal().await != Signal::Abort {}
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the connection must be told by now.
    pub(super) fn overdue(&self, bounds: &Bounds) -> Option<Signal> {
        self.end_idle_streams(bounds);
        if !self.tunnel.load(Ordering::Relaxed) && self.is_too_slow(bounds) {
            return Some(Signal::Abort);
        }
        let now = self.now();
        let since = |mark: &AtomicU32| now.saturating_sub(mark.load(Ordering::Relaxed));
        let half_closed = self.half_closed.load(Ordering::Relaxed) && !self.is_tunnel();
        if half_closed && since(&self.moved) >= HALF_CLOSED_TICKS {
            return Some(Signal::Abort);
        }
        if self.tunnel.load(Ordering::Relaxed) {
            return (since(&self.moved) >= ticks_in(bounds.tunnel_idle_timeout))
                .then_some(Signal::Abort);
        }
        let idle_max = ticks_in(bounds.idle_timeout);
        let head = self.head.load(Ordering::Relaxed) != 0
            && since(&self.head) >= ticks_in(bounds.header_timeout);
        let blocked = self.blocked.load(Ordering::Relaxed) != 0;
        // Nothing more is read while nothing can be written.
        if head && !blocked && self.http2.load(Ordering::Relaxed) {
            return Some(Signal::HeadersTooSlow);
        }
        if blocked || self.in_flight.load(Ordering::Relaxed) > 0 {
            return (blocked && since(&self.blocked) >= idle_max).then_some(Signal::Abort);
        }
        match since(&self.moved) {
            idle if idle >= idle_max.saturating_add(GRACE_TICKS) => Some(Signal::Abort),
            idle if idle >= idle_max => Some(Signal::Finish),
            // Nothing may be written into the middle of a reply.
            _ if head && self.nothing_is_replied() => Some(Signal::HeadersTooSlow),
            _ => None,
        }
    }
}

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }

    /// Returns whether the connection has more under way than it may have streams, because it has
    /// left earlier ones alone.
    pub(super) fn is_one_too_many(&self) -> bool {
        self.activity().in_flight.load(Ordering::Relaxed) > STREAMS_MAX
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.is_http2() {
            self.0.moved.store(self.0.now(), Ordering::Relaxed);
        }
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
