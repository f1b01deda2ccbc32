//! An origin's body on its way to the client and into the store.
//!
//! Only a complete body is stored. A client that goes away does not stop it: the rest is read in the background.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tidegate_core::Fill;

use crate::body::BoxError;
use crate::growing::Reservation;
use crate::node::{Node, Work};
use crate::waiters::WakeGuard;

/// What is gathered of a body that is to be stored.
///
/// The fields are dropped in this order: the lead, which is in `fill`, ends before those who wait for it are woken.
pub(crate) struct Gathering {
    fill: Fill,
    bytes: BytesMut,
    /// For these bytes.
    reservation: Reservation,
    node: Arc<Node>,
    _wake: Option<WakeGuard>,
}

impl Gathering {
    /// Prepares to store a body, which the core has found storable as far as its head says.
    pub(crate) fn new(fill: Fill, wake: Option<WakeGuard>, node: Arc<Node>) -> Self {
        let announced = fill.head.announced_length();
        let capacity = usize::try_from(announced.unwrap_or(0)).unwrap_or(0);
        let reservation = Reservation::new(&node);
        Self { fill, bytes: BytesMut::with_capacity(capacity.min(1 << 20)), reservation, node, _wake: wake }
    }

    /// Takes a piece; says no when the body has become larger than what is stored.
    fn take(&mut self, piece: &[u8]) -> bool {
        let more = piece.len() as u64;
        let fits = self.reservation.bytes().saturating_add(more) <= self.fill.body_bytes_max;
        if !fits || !self.reservation.grow(more) {
            return false;
        }
        self.bytes.extend_from_slice(piece);
        true
    }

    /// Ends the lead of a body that has proved too large: others need not wait for the next one either.
    fn give_up(mut self) {
        if let Some(lead) = self.fill.lead.take() {
            lead.end_unshared(self.node.now());
        }
    }

    fn store(mut self) {
        if let Some(head) = self.fill.completed(self.bytes.len() as u64) {
            // What was allocated beyond the body would stay with it, and weigh nothing.
            let exact = self.bytes.capacity() == self.bytes.len();
            let bytes = std::mem::take(&mut self.bytes);
            let body = if exact { bytes.freeze() } else { Bytes::copy_from_slice(&bytes) };
            self.node.store.put(&self.fill.key, head, body, self.fill.joined_max, self.node.now());
        }
    }
}

/// A body that is gathered while it streams.
pub(crate) struct Tee<B> {
    /// Taken when the rest is read in the background.
    body: Option<Pin<Box<B>>>,
    /// Taken when the body is stored, or has proved not to be storable.
    gathering: Option<Box<Gathering>>,
    /// Reads the rest; a function pointer, so that dropping asks nothing of `B`.
    read_on: fn(Pin<Box<B>>, Box<Gathering>),
}

impl<B> Tee<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(body: B, gathering: Gathering) -> Self {
        let mut tee = Self { body: Some(Box::pin(body)), gathering: Some(Box::new(gathering)), read_on };
        if tee.is_end_stream() {
            tee.store();
        }
        tee
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.as_mut().poll_frame(cx));
        match &frame {
            // Trailer fields are passed on, not stored. [9111-3.1-3]
            Some(Ok(frame)) => {
                let fits = |gathering: &mut Box<Gathering>| frame.data_ref().is_none_or(|piece| gathering.take(piece));
                if let Some(too_large) = self.gathering.take_if(|gathering| !fits(gathering)) {
                    too_large.give_up();
                }
                if self.is_end_stream() {
                    self.store();
                }
            }
            Some(Err(_)) => self.gathering = None,
            None => self.store(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn store(&mut self) {
        if let Some(gathering) = self.gathering.take() {
            gathering.store();
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }

    /// Reads the body to its end, for the store alone.
    pub(crate) async fn drain(mut self) {
        while let Some(Ok(_)) = poll_fn(|cx| self.poll_frame(cx)).await {
            if self.gathering.is_none() {
                break;
            }
        }
        // Nobody wants the rest.
        self.gathering = None;
    }
}

impl<B> Drop for Tee<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(gathering)) = (self.body.take(), self.gathering.take()) {
            (self.read_on)(body, gathering);
        }
    }
}

fn read_on<B>(body: Pin<Box<B>>, gathering: Box<Gathering>)
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    // Without a runtime, at its very end, nothing is read any more.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let work = Work::begin(&gathering.node);
        let tee = Tee { body: Some(body), gathering: Some(gathering), read_on: |_, _| {} };
        runtime.spawn(async move {
            tee.drain().await;
            drop(work);
        });
    }
}
