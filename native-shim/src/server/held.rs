//! The body of a reply on its way to a client of this server.
//!
//! While it is streamed its connection counts as busy.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::activity::Busy;
use super::streams::Stream;
use super::trailers::without_forbidden;
use crate::body::Body;
use crate::box_error::BoxError;
use crate::upstream::OriginBody;

type Reply = Body<OriginBody>;

/// A reply's body.
#[derive(Debug)]
pub(super) struct Held(Kind);

#[derive(Debug)]
enum Kind {
    /// The connection's own timeouts watch over it.
    Plain {
        body: Reply,
        _busy: Option<Busy>,
        broken: Option<BoxError>,
    },
    /// One of many streams.
    Stream(Arc<Stream<Busy>>),
}

impl Held {
    /// Takes a reply for a client.
    pub(super) fn hold(response: Response<Reply>, busy: Busy) -> Response<Self> {
        response.map(|body| {
            let activity = busy.activity();
            if activity.is_http2() && !body.is_end_stream() {
                let (activity, ticks) = (Arc::clone(activity), activity.ticks().clone());
                let stream = Arc::new(Stream::new(body, busy, ticks));
                activity.opened(Arc::downgrade(&stream));
                return Self(Kind::Stream(stream));
            }
            let busy = (!body.is_at_hand()).then_some(busy);
            Self(Kind::Plain {
                body,
                _busy: busy,
                broken: None,
            })
        })
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Stream(stream) => stream.poll_frame(cx),
            Kind::Plain {
                broken: broken @ Some(_),
                ..
            } => Poll::Ready(broken.take().map(Err)),
            Kind::Plain { body, broken, .. } => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Err(error))) => {
                    // The library throws away what it has not written when a body fails. It is
                    // given a turn to write, so that the client sees the head and what has come.
                    *broken = Some(error);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                frame => frame.map(|frame| frame.map(|frame| frame.map(without_forbidden))),
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
