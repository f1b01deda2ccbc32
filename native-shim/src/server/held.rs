//! The body of a reply on its way to a client of this server.
//!
//! While it is streamed its connection counts as busy. A client that takes nothing of it for too long loses it: over HTTP/2 a client can leave one stream
//! alone while the connection lives on, and would hold what the stream needs, its origin's connection among it, for ever.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tidegate_core::message::framing;

use super::activity::{Activity, Busy};
use crate::body::Body;
use crate::box_error::BoxError;
use crate::upstream::OriginBody;

type Reply = Body<OriginBody>;

/// Most bytes that an HTTP/2 stream is given at once, so that each piece shows that its client goes on reading.
const PIECE_MAX: usize = 16 << 10;

/// A reply's body.
#[derive(Debug)]
pub(super) struct Held(Kind);

#[derive(Debug)]
enum Kind {
    /// The connection's own timeouts watch over it.
    Plain { body: Reply, _busy: Option<Busy>, broken: Option<BoxError> },
    /// One of many streams.
    Stream(Arc<Stream>),
}

/// The body of one HTTP/2 stream.
pub(super) struct Stream {
    activity: Arc<Activity>,
    /// When the client last took something; 0 while the origin is waited for.
    taken: AtomicU32,
    /// Nothing once the client has lost it.
    reply: Mutex<Option<Given>>,
}

struct Given {
    body: Reply,
    /// What of a piece is still to be given.
    rest: Bytes,
    _busy: Busy,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Held {
    /// Takes a reply for a client.
    pub(super) fn hold(response: Response<Reply>, busy: Busy) -> Response<Self> {
        response.map(|body| {
            if busy.activity().is_http2() && !body.is_end_stream() {
                return Self(Kind::Stream(Stream::open(body, busy)));
            }
            let busy = (!body.is_at_hand()).then_some(busy);
            Self(Kind::Plain { body, _busy: busy, broken: None })
        })
    }
}

impl Stream {
    fn open(body: Reply, busy: Busy) -> Arc<Self> {
        let activity = Arc::clone(busy.activity());
        let taken = AtomicU32::new(activity.now());
        let given = Given { body, rest: Bytes::new(), _busy: busy };
        let stream = Arc::new(Self { activity, taken, reply: Mutex::new(Some(given)) });
        stream.activity.opened(Arc::downgrade(&stream));
        stream
    }

    /// Takes the body away from a client that has not read for so many ticks. Returns whether it did.
    pub(super) fn cut_if_idle(&self, ticks: u32) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken == 0 || self.activity.now().saturating_sub(taken) < ticks {
            return false;
        }
        self.reply().take().is_some()
    }

    fn reply(&self) -> MutexGuard<'_, Option<Given>> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut reply = self.reply();
        let Some(given) = reply.as_mut() else {
            return Poll::Ready(Some(Err("the client has read nothing for too long".into())));
        };
        let now = self.activity.now();
        if !given.rest.is_empty() {
            self.taken.store(now, Ordering::Relaxed);
            return Poll::Ready(Some(Ok(Frame::data(next_piece(&mut given.rest)))));
        }
        let Poll::Ready(frame) = Pin::new(&mut given.body).poll_frame(cx) else {
            self.taken.store(0, Ordering::Relaxed);
            return Poll::Pending;
        };
        self.taken.store(now, Ordering::Relaxed);
        Poll::Ready(frame.map(|frame| {
            Ok(match frame?.into_data() {
                Ok(data) => {
                    given.rest = data;
                    Frame::data(next_piece(&mut given.rest))
                }
                Err(other) => without_forbidden_trailers(other),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.reply().as_ref().is_some_and(|given| given.rest.is_empty() && given.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let reply = self.reply();
        let Some(given) = reply.as_ref() else { return SizeHint::default() };
        let rest = given.rest.len() as u64;
        match given.body.size_hint().exact() {
            Some(bytes) => SizeHint::with_exact(bytes + rest),
            None => SizeHint::default(),
        }
    }
}

fn next_piece(rest: &mut Bytes) -> Bytes {
    let length = rest.len().min(PIECE_MAX);
    rest.split_to(length)
}

fn without_forbidden_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            framing::strip_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(other) => other,
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Stream(stream) => stream.poll_frame(cx),
            Kind::Plain { broken: broken @ Some(_), .. } => Poll::Ready(broken.take().map(Err)),
            Kind::Plain { body, broken, .. } => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Err(error))) => {
                    // The library throws away what it has not written when a body fails. It is given a turn to write, so that the client sees the
                    // head and what has come.
                    *broken = Some(error);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                frame => frame.map(|frame| frame.map(|frame| frame.map(without_forbidden_trailers))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Stream(stream) => stream.is_end_stream(),
            Kind::Plain { body, broken, .. } => broken.is_none() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Stream(stream) => stream.size_hint(),
            Kind::Plain { body, .. } => body.size_hint(),
        }
    }
}

/// The open streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Vec<Weak<Stream>>>);

impl Streams {
    pub(super) fn add(&self, stream: Weak<Stream>) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended leave when there is no room without allocating.
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
        }
        streams.push(stream);
    }

    /// Takes the bodies of idle streams away; returns how many.
    pub(super) fn cut_idle(&self, ticks: u32) -> u64 {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cut = 0;
        streams.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let is_cut = stream.cut_if_idle(ticks);
            cut += u64::from(is_cut);
            !is_cut
        });
        cut
    }
}
