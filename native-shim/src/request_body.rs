//! The client's body on its way to an origin: streamed, counted, and kept whole for the next attempt while nothing of it is gone.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tidegate_core::FailureKind;

/// A client's body. Clones are handles of the same body, so that each attempt can be given one.
#[derive(Debug, Default)]
pub enum RequestBody<B> {
    /// There is none.
    #[default]
    Empty,
    /// It is being streamed.
    Streamed(Arc<Mutex<Stream<B>>>),
}

/// A body and how far it is gone.
#[derive(Debug)]
pub struct Stream<B> {
    body: Pin<Box<B>>,
    bytes_left: u64,
    progress: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client is waited for.
    Waiting,
    /// The client is not waited for: nobody has asked for the body yet, or the client's bytes have been handed on.
    Handed,
    /// The body has been handed on whole.
    Ended,
    Failed(FailureKind),
}

/// Why a body cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyFault(pub FailureKind);

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == FailureKind::BodyTooLarge { "the body is too large" } else { "the client went away" })
    }
}

impl Error for BodyFault {}

impl<B: Body> RequestBody<B> {
    /// Takes a client's body.
    pub fn new(body: B) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let stream = Stream { body: Box::pin(body), bytes_left: u64::MAX, progress: 0, stage: Stage::Handed };
        Self::Streamed(Arc::new(Mutex::new(stream)))
    }

    /// Says to the core whether a body follows.
    pub fn announced(&self) -> tidegate_core::RequestBody {
        match self {
            Self::Empty => tidegate_core::RequestBody::Empty,
            Self::Streamed(stream) => match lock(stream).body.size_hint().exact() {
                Some(bytes) => tidegate_core::RequestBody::Sized(bytes),
                None => tidegate_core::RequestBody::Streamed,
            },
        }
    }
}

impl<B> RequestBody<B> {
    /// Bounds the body: with more bytes it fails.
    pub fn limit(&self, bytes_max: u64) {
        if let Self::Streamed(stream) = self {
            let mut stream = lock(stream);
            if stream.progress == 0 {
                stream.bytes_left = bytes_max;
            }
        }
    }

    /// Returns whether nothing of the body is gone.
    pub fn is_intact(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(stream) => lock(stream).progress == 0,
        }
    }

    /// Returns whether nothing of the body is left to read.
    pub(crate) fn is_spent(&self) -> bool
    where
        B: Body,
    {
        match self {
            Self::Empty => true,
            Self::Streamed(stream) => {
                let stream = lock(stream);
                stream.stage == Stage::Ended || stream.body.is_end_stream()
            }
        }
    }

    /// Returns why the body failed, if it did.
    pub fn fault(&self) -> Option<FailureKind> {
        match self {
            Self::Empty => None,
            Self::Streamed(stream) => match lock(stream).stage {
                Stage::Failed(kind) => Some(kind),
                Stage::Waiting | Stage::Handed | Stage::Ended => None,
            },
        }
    }

    /// Says whose fault it is that the time for a response has passed; nobody's if the body has moved since `seen`, which is brought up to date:
    /// then the time begins anew.
    pub(crate) fn overdue(&self, seen: &mut u64) -> Option<FailureKind> {
        let Self::Streamed(stream) = self else {
            return Some(FailureKind::ResponseTimeout);
        };
        let stream = lock(stream);
        if stream.progress != *seen {
            *seen = stream.progress;
            return None;
        }
        let client = stream.stage == Stage::Waiting;
        Some(if client { FailureKind::BodyAborted } else { FailureKind::ResponseTimeout })
    }
}

fn lock<B>(stream: &Mutex<Stream<B>>) -> MutexGuard<'_, Stream<B>> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Clone for RequestBody<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Streamed(stream) => Self::Streamed(Arc::clone(stream)),
        }
    }
}

impl<B: Body<Data = Bytes>> Stream<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.stage = Stage::Waiting;
        let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
            return Poll::Pending;
        };
        self.stage = Stage::Handed;
        self.progress += 1;
        match frame {
            None => {
                self.stage = Stage::Ended;
                Poll::Ready(None)
            }
            Some(Err(_)) => Poll::Ready(Some(Err(self.fail(FailureKind::BodyAborted)))),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                match self.bytes_left.checked_sub(u64::try_from(bytes).unwrap_or(u64::MAX)) {
                    Some(left) => self.bytes_left = left,
                    None => return Poll::Ready(Some(Err(self.fail(FailureKind::BodyTooLarge)))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn fail(&mut self, kind: FailureKind) -> BodyFault {
        self.stage = Stage::Failed(kind);
        BodyFault(kind)
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match &*self {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(stream) => lock(stream).poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(stream) => lock(stream).body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(stream) => lock(stream).body.size_hint(),
        }
    }
}
