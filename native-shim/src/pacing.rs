//! Bodies at the pace that limits of bandwidth allow.
//!
//! A piece is asked for when the one before has gone, and waits for its time; meanwhile nobody asks
//! for more, so the sender feels the pace as it would feel a slow client. Nothing is buffered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tidegate_core::Report;
use tidegate_core::limit::Pace;
use tidegate_core::limit::paces::{Wait, Waits, chunk};

use crate::deadline::Deadline;
use crate::node::Node;

/// For how long the bodies of one exchange have waited, and for which limits.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Waits>);

impl Tally {
    fn add(&self, wait: Wait) {
        self.waits().add(wait);
    }

    /// Completes the report of the exchange.
    pub(crate) fn note(&self, report: &mut Report) {
        report.note_paced(&self.waits());
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets one body go at its pace.
#[derive(Debug)]
pub(crate) struct Pacer {
    node: Arc<Node>,
    paces: Vec<Pace>,
    /// Most bytes that go at once.
    chunk: usize,
    tally: Arc<Tally>,
    /// What of a piece is still to go.
    held: Bytes,
    waiting: Option<Waiting>,
    timer: Option<Deadline>,
}

/// Bytes that have been taken, and whose time has not come.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
    wait: Wait,
}

impl Pacer {
    pub(crate) fn new(node: &Arc<Node>, paces: Vec<Pace>, tally: Arc<Tally>) -> Self {
        Self {
            node: Arc::clone(node),
            chunk: chunk(&paces),
            paces,
            tally,
            held: Bytes::new(),
            waiting: None,
            timer: None,
        }
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Returns how many bytes have come and not gone.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes a piece; the one before has gone.
    pub(crate) fn hold(&mut self, piece: Bytes) {
        self.held = piece;
    }

    /// Gives the next chunk of what is held when its time has come; an empty one if nothing is.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => match self.take() {
                Ok(bytes) => return Poll::Ready(self.held.split_to(bytes)),
                Err(waiting) => waiting,
            },
        };
        if let Some(timer) = &mut self.timer
            && timer.poll(cx).is_pending()
        {
            self.waiting = Some(waiting);
            return Poll::Pending;
        }
        self.tally.add(waiting.wait);
        Poll::Ready(self.held.split_to(waiting.bytes))
    }

    /// Takes the next chunk. Returns how many bytes go at once, or what waits, with its timer.
    fn take(&mut self) -> Result<usize, Waiting> {
        let bytes = self.held.len().min(self.chunk);
        let now = self.node.now();
        let wait = self.node.paces.take(&self.paces, bytes as u64, now);
        if wait.millis == 0 {
            return Ok(bytes);
        }
        let until = now.plus(wait.millis);
        if !self.node.clock.jumps_to(until) {
            let left = self.node.clock.remaining(until);
            self.timer
                .get_or_insert_with(|| Deadline::after(left))
                .set(left);
        }
        Err(Waiting { bytes, wait })
    }

    /// Gives the next frame of a body at its pace; `next` asks the body for one.
    pub(crate) fn poll_frame<E>(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        if self.held.is_empty() {
            let frame = match ready!(next(cx)) {
                Some(Ok(frame)) => frame.into_data(),
                ended => return Poll::Ready(ended),
            };
            match frame {
                Ok(piece) if piece.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Ok(piece) => self.held = piece,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        self.poll_chunk(cx)
            .map(|chunk| Some(Ok(Frame::data(chunk))))
    }
}

impl Drop for Pacer {
    /// Nobody wants what is still waiting: others of the same key need not wait for it.
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            self.node.paces.give_back(&self.paces, waiting.bytes as u64);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
