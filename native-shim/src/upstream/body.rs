//! The body of an origin's response, which drives the connection that it comes from.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tidegate_core::Millis;

use super::link::Link;
use super::pool::Idle;
use crate::box_error::BoxError;
use crate::deadline::Deadline;

/// An origin's body. Its connection goes back to the pool when it has been read to its end, and is
/// closed otherwise.
pub struct OriginBody {
    incoming: Incoming,
    /// The connection and where it goes afterwards; `None` when it is over, or driven by a task of
    /// its own.
    link: Option<(Box<Link>, Arc<Idle>)>,
    /// When a pause is too long, if a task drives the connection.
    detached: Option<Box<Deadline>>,
    /// Longest pause.
    pause_max: Millis,
    /// Whether the origin is waited for: its pause counts from then on, and not from its last bytes,
    /// which somebody may take long to pass on.
    waits: bool,
}

impl fmt::Debug for OriginBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginBody")
            .field("ended", &self.link.is_none())
            .finish_non_exhaustive()
    }
}

impl OriginBody {
    pub(super) fn new(
        incoming: Incoming,
        link: Box<Link>,
        home: Arc<Idle>,
        pause_max: Millis,
    ) -> Self {
        let mut body = Self {
            incoming,
            link: Some((link, home)),
            detached: None,
            pause_max,
            waits: false,
        };
        if body.incoming.is_end_stream() {
            body.release();
        }
        body
    }

    /// Makes the body of a connection that somebody else drives.
    pub(super) fn detached(incoming: Incoming, pause_max: Millis) -> Self {
        Self {
            incoming,
            link: None,
            detached: Some(Box::new(Deadline::after(Duration::from_millis(pause_max)))),
            pause_max,
            waits: false,
        }
    }

    fn release(&mut self) {
        if let Some((link, home)) = self.link.take() {
            home.put(link);
        }
    }

    fn take_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.waits = false;
        match &frame {
            Some(Ok(_)) if !self.incoming.is_end_stream() => {}
            Some(Ok(_)) | None => self.release(),
            Some(Err(_)) => self.link = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}

/// Returns ready when the origin has been waited for too long; the first call begins to wait.
fn poll_pause(
    deadline: &mut Deadline,
    waits: &mut bool,
    pause_max: Millis,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if !*waits {
        *waits = true;
        deadline.set(Duration::from_millis(pause_max));
    }
    deadline.poll(cx)
}

fn too_long() -> BoxError {
    Error::new(ErrorKind::TimedOut, "the origin paused for too long").into()
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = self.take_frame(cx) {
            return Poll::Ready(frame);
        }
        let Self {
            link,
            detached,
            pause_max,
            waits,
            ..
        } = &mut *self;
        let Some((driven, _)) = link else {
            let paused = detached
                .as_mut()
                .is_some_and(|deadline| poll_pause(deadline, waits, *pause_max, cx).is_ready());
            return if paused {
                Poll::Ready(Some(Err(too_long())))
            } else {
                Poll::Pending
            };
        };
        driven.drive(cx);
        let over = driven.is_over();
        if let Poll::Ready(frame) = self.take_frame(cx) {
            return Poll::Ready(frame);
        }
        let Self {
            link,
            pause_max,
            waits,
            ..
        } = &mut *self;
        let Some((driven, _)) = link else {
            return Poll::Pending;
        };
        if over || poll_pause(&mut driven.deadline, waits, *pause_max, cx).is_ready() {
            *link = None;
            let closed =
                || Error::new(ErrorKind::UnexpectedEof, "the origin closed the connection").into();
            return Poll::Ready(Some(Err(if over { closed() } else { too_long() })));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
