//! An origin's body that is watched until it ends, so that whoever must know learns how: the
//! circuit, the access log, the metrics.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tidegate_core::{BodyEnd, BodySeen, Millis, Timestamp};

use crate::box_error::BoxError;
use crate::recording::{Recording, end_of};

pin_project! {
    /// A body and who watches it, if anybody does.
    pub struct Watched<B> {
        #[pin]
        body: B,
        watch: Option<Watch>,
    }
}

/// Tells how a body ended, exactly once: at its end, or when nobody wants the rest.
struct Watch {
    /// Taken at the end.
    recording: Option<Arc<Recording>>,
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

    /// Begins to watch. The record is not written before the body has ended.
    pub(crate) fn watch(&mut self, recording: Arc<Recording>) {
        let mut watch = Watch {
            recording: Some(recording),
            bytes: 0,
            waited: 0,
            waits: None,
        };
        if self.body.is_end_stream() {
            watch.end(BodyEnd::Whole);
        }
        self.watch = Some(watch);
    }
}

impl Watch {
    fn end(&mut self, end: BodyEnd) {
        if let Some(recording) = self.recording.take() {
            let waits = self.waits.map_or(0, |since| recording.now().since(since));
            recording.origin_ended(BodySeen {
                end,
                bytes: Some(self.bytes),
                waited: self.waited.saturating_add(waits),
            });
        }
    }

    fn wait(&mut self) {
        if let (None, Some(recording)) = (self.waits, &self.recording) {
            self.waits = Some(recording.now());
        }
    }

    fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let (Some(since), Some(recording)) = (self.waits.take(), &self.recording) {
            let waited = recording.now().since(since);
            self.waited = self.waited.saturating_add(waited);
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
            Some(Err(error)) => watch.end(end_of(error)),
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
