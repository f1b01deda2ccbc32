//! Replies over HTTP/2, of which a connection has many at once.
//!
//! A client that takes nothing of one for too long loses it: it can leave one stream alone while
//! the connection lives on, and would hold what the stream needs, its origin's connection among it,
//! for ever.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::ticks::Ticks;
use super::trailers::without_forbidden;
use crate::body::Body;
use crate::box_error::BoxError;
use crate::upstream::OriginBody;

type Reply = Body<OriginBody>;

/// Most bytes that an HTTP/2 stream is given at once, so that each piece shows that its client goes
/// on reading.
const PIECE_MAX: usize = 16 << 10;

/// The body of one HTTP/2 stream, and `K`, which is kept as long as the body is.
pub(super) struct Stream<K> {
    ticks: Ticks,
    /// When the client last took something; 0 while the origin is waited for.
    taken: AtomicU32,
    /// Nothing once the client has lost it.
    reply: Mutex<Option<Given<K>>>,
}

struct Given<K> {
    body: Reply,
    /// What of a piece is still to be given.
    rest: Bytes,
    _kept: K,
}

impl<K> fmt::Debug for Stream<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl<K> Stream<K> {
    /// Takes a reply for a client that has just read something. `ticks` is the clock by which it is
    /// waited for.
    pub(super) fn new(body: Reply, kept: K, ticks: Ticks) -> Self {
        let taken = AtomicU32::new(ticks.now());
        Self {
            ticks,
            taken,
            reply: Mutex::new(Some(Given {
                body,
                rest: Bytes::new(),
                _kept: kept,
            })),
        }
    }

    /// Takes the body away from a client that has not read for so many ticks. Returns whether it
    /// did.
    fn cut_if_idle(&self, ticks: u32) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken == 0 || self.ticks.now().saturating_sub(taken) < ticks {
            return false;
        }
        self.reply().take().is_some()
    }

    fn reply(&self) -> MutexGuard<'_, Option<Given<K>>> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut reply = self.reply();
        let Some(given) = reply.as_mut() else {
            return Poll::Ready(Some(Err("the client has read nothing for too long".into())));
        };
        let now = self.ticks.now();
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
                Err(other) => without_forbidden(other),
            })
        }))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.reply()
            .as_ref()
            .is_some_and(|given| given.rest.is_empty() && given.body.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let reply = self.reply();
        let Some(given) = reply.as_ref() else {
            return SizeHint::default();
        };
        let rest = given.rest.len() as u64;
        match given.body.size_hint().exact() {
            Some(bytes) => SizeHint::with_exact(bytes + rest),
            None => SizeHint::default(),
        }
    }
}

/// The open streams of a connection.
#[derive(Debug)]
pub(super) struct Streams<K>(Mutex<Vec<Weak<Stream<K>>>>);

impl<K> Streams<K> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn add(&self, stream: Weak<Stream<K>>) {
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
            let Some(stream) = stream.upgrade() else {
                return false;
            };
            let is_cut = stream.cut_if_idle(ticks);
            cut += u64::from(is_cut);
            !is_cut
        });
        cut
    }
}

fn next_piece(rest: &mut Bytes) -> Bytes {
    let length = rest.len().min(PIECE_MAX);
    rest.split_to(length)
}
