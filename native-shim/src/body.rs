//! The body of a reply.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tidegate_core::BodyEnd;

use crate::box_error::BoxError;
use crate::pacing::Pacer;
use crate::recording::{ReplyWatch, end_of};
use crate::shared_body::Reader;
use crate::watched::Watched;

pin_project! {
    /// The body of a reply: nothing, bytes at hand, or an origin's stream.
    pub struct Body<B> {
        #[pin]
        kind: Kind<B>,
        // Whoever writes the record, until this body has ended.
        watch: Option<ReplyWatch>,
    }
}

pin_project! {
    #[project = Kinds]
    enum Kind<B> {
        // Nothing, or nothing any more.
        Empty,
        // Bytes at hand.
        Full { bytes: Bytes },
        // An origin's body.
        Origin { #[pin] body: Watched<B> },
        // A body that is on its way into the store.
        Shared { reader: Reader },
        // Any of these that a limit paces; in a box, since most bodies go as fast as they can.
        Paced { body: Pin<Box<Paced<B>>> },
    }
}

pin_project! {
    // A body and what paces it.
    struct Paced<B> {
        #[pin]
        kind: Kind<B>,
        pacer: Pacer,
    }
}

impl<B: HttpBody<Data = Bytes>> Body<B> {
    /// Makes a body of an origin's stream.
    pub fn origin(body: B) -> Self {
        Self::watched(Watched::new(body))
    }
}

impl<B> Body<B> {
    /// Makes a body of bytes.
    pub fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::of(Kind::Empty)
        } else {
            Self::of(Kind::Full { bytes })
        }
    }

    const fn of(kind: Kind<B>) -> Self {
        Self { kind, watch: None }
    }

    /// Makes a body of an origin's stream that may be watched.
    pub(crate) fn watched(body: Watched<B>) -> Self {
        Self::of(Kind::Origin { body })
    }

    /// Makes a body of one that is on its way into the store.
    pub(crate) fn shared(reader: Reader) -> Self {
        if reader.is_over() {
            Self::of(Kind::Empty)
        } else {
            Self::of(Kind::Shared { reader })
        }
    }

    /// Returns whether the whole body is at hand.
    pub fn is_at_hand(&self) -> bool {
        matches!(self.kind, Kind::Empty | Kind::Full { .. })
    }

    /// Waits until it shows whether the store has the body, which has been read.
    pub(crate) async fn is_stored(&mut self) -> bool {
        match &mut self.kind {
            Kind::Empty | Kind::Full { .. } => true,
            Kind::Origin { .. } | Kind::Paced { .. } => false,
            Kind::Shared { reader } => poll_fn(|cx| reader.poll_stored(cx)).await,
        }
    }

    /// Takes the origin's stream out, or returns the body as it is.
    pub(crate) fn into_origin(self) -> Result<Watched<B>, Self> {
        match self.kind {
            Kind::Origin { body } => Ok(body),
            kind @ (Kind::Empty | Kind::Full { .. } | Kind::Shared { .. } | Kind::Paced { .. }) => {
                Err(Self {
                    kind,
                    watch: self.watch,
                })
            }
        }
    }

    /// Lets the record of the exchange wait for the end of this body.
    pub(crate) fn watch(&mut self, mut watch: ReplyWatch)
    where
        Self: HttpBody,
    {
        if self.is_end_stream() {
            watch.end(BodyEnd::Whole);
        } else {
            self.watch = Some(watch);
        }
    }

    /// Lets the body go at a pace from here on.
    pub(crate) fn pace(&mut self, pacer: Pacer) {
        if let Kind::Shared { reader } = &mut self.kind {
            reader.is_paced();
        }
        let kind = std::mem::replace(&mut self.kind, Kind::Empty);
        self.kind = Kind::Paced {
            body: Box::pin(Paced { kind, pacer }),
        };
    }
}

impl<B> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Empty => "Body::Empty",
            Kind::Full { .. } => "Body::Full",
            Kind::Origin { .. } => "Body::Origin",
            Kind::Shared { .. } => "Body::Shared",
            Kind::Paced { .. } => "Body::Paced",
        })
    }
}

impl<B> Default for Body<B> {
    fn default() -> Self {
        Self::of(Kind::Empty)
    }
}

impl<B> HttpBody for Body<B>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let mut kind = this.kind;
        let frame = ready!(kind.as_mut().poll(cx));
        if let Some(watch) = this.watch {
            tell(watch, frame.as_ref(), kind.is_end_stream());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.kind.size_hint()
    }
}

type Polled = Option<Result<Frame<Bytes>, BoxError>>;

/// Tells whoever writes the record what came of the body.
fn tell(watch: &mut ReplyWatch, frame: Option<&Result<Frame<Bytes>, BoxError>>, is_last: bool) {
    match frame {
        Some(Ok(frame)) => {
            watch.count(frame.data_ref().map_or(0, Bytes::len));
            if is_last {
                watch.end(BodyEnd::Whole);
            }
        }
        Some(Err(error)) => watch.end(end_of(error)),
        None => watch.end(BodyEnd::Whole),
    }
}

impl<B> Kind<B>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled> {
        let bytes = match self.as_mut().project() {
            Kinds::Empty => return Poll::Ready(None),
            Kinds::Full { bytes } => std::mem::take(bytes),
            Kinds::Origin { body } => return body.poll_frame(cx),
            Kinds::Shared { reader } => return reader.poll(cx).map_ok(Frame::data),
            Kinds::Paced { body } => return body.as_mut().poll(cx),
        };
        self.set(Kind::Empty);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Self::Origin { body } => body.size_hint(),
            Self::Shared { reader } => reader
                .left()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Paced { body } => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Kind::Empty => true,
            Kind::Full { .. } => false,
            Kind::Origin { body } => body.is_end_stream(),
            Kind::Shared { reader } => reader.is_over(),
            Kind::Paced { body } => body.pacer.held() == 0 && body.kind.is_end_stream(),
        }
    }
}

impl<B> Paced<B>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled> {
        let this = self.project();
        let mut kind = this.kind;
        this.pacer.poll_frame(cx, |cx| kind.as_mut().poll(cx))
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.kind.size_hint();
        match (self.pacer.held() as u64, hint.exact()) {
            (0, _) => hint,
            (held, Some(bytes)) => SizeHint::with_exact(held + bytes),
            (_, None) => SizeHint::default(),
        }
    }
}
