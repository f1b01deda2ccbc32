//! The client's body on its way to an origin: streamed, counted, held to a least rate, paced, and
//! kept for the next attempt while it is small.

mod least_rate;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tidegate_core::FailureKind;
use tidegate_core::limit::Pace;

use crate::kept::Kept;
use crate::node::Node;
use crate::pacing::{Pacer, Tally};
use least_rate::LeastRate;

/// Most bytes of a body that are kept, so that it can be sent once more.
pub(crate) const KEPT_MAX: usize = 64 << 10;

/// A client's body. Clones are handles of the same body, each for one attempt: it begins with what
/// is kept of the body.
#[derive(Debug, Default)]
pub enum RequestBody<B> {
    /// There is none.
    #[default]
    Empty,
    /// It is being streamed.
    Streamed(Handle<B>),
}

/// One attempt's view of a body.
#[derive(Debug)]
pub struct Handle<B> {
    stream: Arc<Mutex<Stream<B>>>,
    /// How many of the kept bytes this attempt has taken.
    taken: usize,
}

/// A body and how far it is gone.
#[derive(Debug)]
struct Stream<B> {
    body: Pin<Box<B>>,
    announced: SizeHint,
    bytes_left: u64,
    progress: u64,
    stage: Stage,
    /// All that has come, unless it has become too much.
    kept: Option<Kept>,
    rate: LeastRate,
    /// What holds the client's bytes back, if a limit does. What is kept has gone once already, and
    /// goes again at once.
    pacer: Option<Box<Pacer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client is waited for.
    Waiting,
    /// The client is not waited for: nobody has asked for the body yet, or the client's bytes have
    /// been handed on.
    Handed,
    /// The client's bytes wait for their pace: neither the client nor the origin is waited for.
    Paced,
    /// The body has been handed on whole.
    Ended,
    Failed(FailureKind),
}

/// Why a body cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyFault(pub FailureKind);

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            FailureKind::BodyTooLarge => "the body is too large",
            FailureKind::BodyTooSlow => "the body came too slowly",
            FailureKind::Unreachable
            | FailureKind::ConnectTimeout
            | FailureKind::Tls
            | FailureKind::ResponseTimeout
            | FailureKind::Closed
            | FailureKind::Protocol
            | FailureKind::BodyAborted => "the client went away",
        })
    }
}

impl Error for BodyFault {}

impl<B: Body> RequestBody<B> {
    /// Takes a client's body.
    pub fn new(body: B) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let stream = Stream {
            announced: body.size_hint(),
            body: Box::pin(body),
            bytes_left: u64::MAX,
            progress: 0,
            stage: Stage::Handed,
            kept: Some(Kept::default()),
            rate: LeastRate::default(),
            pacer: None,
        };
        Self::Streamed(Handle {
            stream: Arc::new(Mutex::new(stream)),
            taken: 0,
        })
    }

    /// Says to the core whether a body follows.
    pub fn announced(&self) -> tidegate_core::RequestBody {
        match self {
            Self::Empty => tidegate_core::RequestBody::Empty,
            Self::Streamed(handle) => match handle.lock().announced.exact() {
                Some(bytes) => tidegate_core::RequestBody::Sized(bytes),
                None => tidegate_core::RequestBody::Streamed,
            },
        }
    }
}

impl<B> RequestBody<B> {
    /// Bounds the body: with more bytes it fails.
    pub fn limit(&self, bytes_max: u64) {
        if let Self::Streamed(handle) = self {
            let mut stream = handle.lock();
            if stream.progress == 0 {
                stream.bytes_left = bytes_max;
            }
        }
    }

    /// Says that the body is sent once at most, so that nothing of it need be kept.
    pub(crate) fn is_sent_once(&self) {
        if let Self::Streamed(handle) = self {
            let mut stream = handle.lock();
            if stream.progress == 0 {
                stream.kept = None;
            }
        }
    }

    /// Asks for at least so many bytes a second, over the time that the client is waited for and
    /// some patience; 0 asks for nothing.
    pub(crate) fn hold_to(&self, least: u64) {
        if let Self::Streamed(handle) = self {
            handle.lock().rate.hold_to(least);
        }
    }

    /// Lets the body go at the pace of these limits; the first who says so counts.
    pub(crate) fn pace(&self, node: &Arc<Node>, paces: Vec<Pace>) {
        if let Self::Streamed(handle) = self {
            handle
                .lock()
                .pacer
                .get_or_insert_with(|| Box::new(Pacer::new(node, paces, Arc::default())));
        }
    }

    /// Returns how long the body waits for its pace, if anything paces it.
    pub(crate) fn paced(&self) -> Option<Arc<Tally>> {
        match self {
            Self::Empty => None,
            Self::Streamed(handle) => {
                let stream = handle.lock();
                stream.pacer.as_ref().map(|pacer| Arc::clone(pacer.tally()))
            }
        }
    }

    /// Returns whether the whole body can still be sent: nothing of it is gone, or what is gone is
    /// kept.
    pub fn is_intact(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(handle) => {
                let stream = handle.lock();
                let can_be_sent = stream.progress == 0 || stream.kept.is_some();
                can_be_sent && !matches!(stream.stage, Stage::Failed(_))
            }
        }
    }

    /// Returns whether nothing of the body is left to read.
    pub(crate) fn is_spent(&self) -> bool
    where
        B: Body,
    {
        match self {
            Self::Empty => true,
            Self::Streamed(handle) => {
                let stream = handle.lock();
                stream.stage == Stage::Ended || stream.body.is_end_stream()
            }
        }
    }

    /// Returns why the body failed, if it did.
    pub fn fault(&self) -> Option<FailureKind> {
        match self {
            Self::Empty => None,
            Self::Streamed(handle) => match handle.lock().stage {
                Stage::Failed(kind) => Some(kind),
                Stage::Waiting | Stage::Handed | Stage::Paced | Stage::Ended => None,
            },
        }
    }

    /// Says whose fault it is that the time for a response has passed; nobody's if the body has
    /// moved since `seen`, which is brought up to date, or waits for its pace: then the time begins
    /// anew.
    pub(crate) fn overdue(&self, seen: &mut u64) -> Option<FailureKind> {
        let Self::Streamed(handle) = self else {
            return Some(FailureKind::ResponseTimeout);
        };
        let stream = handle.lock();
        if stream.progress != *seen || stream.stage == Stage::Paced {
            *seen = stream.progress;
            return None;
        }
        let client = stream.stage == Stage::Waiting;
        Some(if client {
            FailureKind::BodyTooSlow
        } else {
            FailureKind::ResponseTimeout
        })
    }
}

impl<B> Handle<B> {
    fn lock(&self) -> MutexGuard<'_, Stream<B>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Clone for RequestBody<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Streamed(handle) => Self::Streamed(Handle {
                stream: Arc::clone(&handle.stream),
                taken: 0,
            }),
        }
    }
}

impl<B: Body<Data = Bytes>> Stream<B> {
    /// Gives the kept piece at this position, or what comes next from the client.
    fn poll(
        &mut self,
        taken: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let again = self
            .kept
            .as_ref()
            .and_then(|kept| kept.bytes().get(*taken..))
            .filter(|rest| !rest.is_empty());
        if let Some(rest) = again {
            *taken += rest.len();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(rest)))));
        }
        match self.stage {
            Stage::Ended => return Poll::Ready(None),
            Stage::Failed(kind) => return Poll::Ready(Some(Err(BodyFault(kind)))),
            Stage::Waiting | Stage::Handed | Stage::Paced => {}
        }
        if self.pacer.as_ref().is_some_and(|pacer| pacer.held() > 0) {
            return self.poll_held(taken, cx);
        }
        loop {
            self.stage = Stage::Waiting;
            let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
                if self.rate.is_too_slow(cx) {
                    return Poll::Ready(Some(Err(self.fail(FailureKind::BodyTooSlow))));
                }
                return Poll::Pending;
            };
            self.stage = Stage::Handed;
            self.progress += 1;
            let piece = match frame {
                None => {
                    self.stage = Stage::Ended;
                    return Poll::Ready(None);
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(self.fail(FailureKind::BodyAborted)))),
                Some(Ok(frame)) => frame.into_data(),
            };
            // Trailer fields are not passed on (RFC 9110, section 6.5.1): nothing here knows what
            // they mean.
            let Ok(piece) = piece else { continue };
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.rate.moved(bytes);
            match self.bytes_left.checked_sub(bytes) {
                Some(left) => self.bytes_left = left,
                None => return Poll::Ready(Some(Err(self.fail(FailureKind::BodyTooLarge)))),
            }
            if let Some(pacer) = self.pacer.as_mut().filter(|_| bytes > 0) {
                pacer.hold(piece);
                return self.poll_held(taken, cx);
            }
            return Poll::Ready(Some(Ok(self.hand_on(piece, taken))));
        }
    }

    /// Gives the next chunk of the client's that waits for its pace.
    fn poll_held(
        &mut self,
        taken: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.stage = Stage::Paced;
        let Some(pacer) = &mut self.pacer else {
            return Poll::Pending;
        };
        let chunk = ready!(pacer.poll_chunk(cx));
        self.stage = Stage::Handed;
        self.progress += 1;
        Poll::Ready(Some(Ok(self.hand_on(chunk, taken))))
    }

    fn hand_on(&mut self, piece: Bytes, taken: &mut usize) -> Frame<Bytes> {
        let held = self.pacer.as_ref().map_or(0, |pacer| pacer.held());
        if held == 0 && self.body.is_end_stream() {
            self.stage = Stage::Ended;
        }
        self.keep(&piece, taken);
        Frame::data(piece)
    }

    fn keep(&mut self, piece: &Bytes, taken: &mut usize) {
        let Some(kept) = &mut self.kept else { return };
        if kept.add(piece, KEPT_MAX) {
            *taken += piece.len();
        } else {
            self.kept = None;
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

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(Handle { stream, taken }) => stream
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .poll(taken, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(handle) => {
                let stream = handle.lock();
                let kept = stream.kept.as_ref().map_or(0, |kept| kept.bytes().len());
                stream.stage == Stage::Ended && handle.taken >= kept
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(handle) if handle.taken == 0 => handle.lock().announced,
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
