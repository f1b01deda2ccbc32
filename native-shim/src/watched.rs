//! An origin's body that is watched until it ends, so that whoever must know learns how: the
//! circuit, the access log, the metrics.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tidegate_core::{BodyEnd, BodySeen, Hold, Millis, Report, Timestamp};

use crate::box_error::BoxError;
use crate::node::Node;

pin_project! {
    /// A body and who watches it, if anybody does.
    pub struct Watched<B> {
        #[pin]
        body: B,
        watch: Option<Box<Watch>>,
    }
}

/// Tells how a body ended, exactly once: at its end, or when nobody wants the rest.
struct Watch {
    /// Taken at the end.
    held: Option<(Hold, Report)>,
    node: Arc<Node>,
    bytes: u64,
    waited: Millis,
    /// Since when the origin is waited for.
    waits: Option<Timestamp>,
}

impl<B: Body<Data = Bytes>> Watched<B> {
    /// Takes a body that nobody watches yet.
    pub(crate) fn new(body: B) -> Self {
        Self { body, watch: None }
    }

    /// Begins to watch. The report is recorded when the body has ended.
    pub(crate) fn watch(&mut self, hold: Hold, report: Report, node: &Arc<Node>) {
        let mut watch = Watch {
            held: Some((hold, report)),
            node: Arc::clone(node),
            bytes: 0,
            waited: 0,
            waits: None,
        };
        if self.body.is_end_stream() {
            watch.end(BodyEnd::Whole);
        }
        self.watch = Some(Box::new(watch));
    }
}

impl Watch {
    fn end(&mut self, end: BodyEnd) {
        let now = self.node.now();
        if let Some((hold, mut report)) = self.held.take() {
            let waited = self
                .waited
                .saturating_add(self.waits.map_or(0, |since| now.since(since)));
            hold.end(
                &mut report,
                BodySeen {
                    end,
                    bytes: Some(self.bytes),
                    waited,
                },
                now,
            );
            self.node.record(&report);
        }
    }

    fn wait(&mut self) {
        self.waits = self.waits.or_else(|| Some(self.node.now()));
    }

    fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(since) = self.waits.take() {
            self.waited = self.waited.saturating_add(self.node.now().since(since));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(BodyEnd::Unwanted);
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let (mut body, watch) = (this.body, this.watch);
        let polled = body
            .as_mut()
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        let Some(watch) = watch else { return polled };
        if polled.is_pending() {
            watch.wait();
        }
        let frame: Option<Result<Frame<Bytes>, BoxError>> = ready!(polled);
        watch.take(data_length(frame.as_ref()));
        match &frame {
            Some(Ok(_)) if body.is_end_stream() => watch.end(BodyEnd::Whole),
            Some(Ok(_)) => {}
            Some(Err(error)) => watch.end(how(error)),
            None => watch.end(BodyEnd::Whole),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn data_length(frame: Option<&Result<Frame<Bytes>, BoxError>>) -> usize {
    let frame = frame.and_then(|frame| frame.as_ref().ok());
    frame.and_then(Frame::data_ref).map_or(0, Bytes::len)
}

fn how(error: &BoxError) -> BodyEnd {
    let kind = error.downcast_ref::<Error>().map(Error::kind);
    if kind == Some(ErrorKind::TimedOut) {
        BodyEnd::Stalled
    } else {
        BodyEnd::Broken
    }
}
