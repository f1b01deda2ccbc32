//! Bodies at the pace that limits of bandwidth allow.
//!
//! A piece is asked for when the one before has gone, and waits for its time; meanwhile nobody asks
//! for more, so the sender feels the pace as it would feel a slow client. Nothing is buffered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tidegate_core::limit::bandwidth::{Wait, chunk};
use tidegate_core::limit::{Pace, Paces};
use tidegate_core::{Millis, Report, Timestamp};

use crate::deadline::Deadline;
use crate::node::Node;

const SHARDS: usize = 16;

/// Most keys of one shard whose pace is remembered; beyond it the one that is nearest to its rest is
/// forgotten. 4 MiB in all.
const KEYS_MAX: usize = 4096;

/// The paces of all keys in this process.
#[derive(Debug)]
pub(crate) struct PaceTable {
    shards: [Mutex<Paces>; SHARDS],
    hasher: ahash::RandomState,
}

impl Default for PaceTable {
    fn default() -> Self {
        // Seeded, so that nobody can choose keys for one shard.
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Paces::bounded(KEYS_MAX))),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl PaceTable {
    /// Forgets keys that owe nothing.
    pub(crate) fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            lock(shard).sweep(now);
        }
    }

    /// Takes bytes of all limits; the longest wait counts.
    fn take(&self, paces: &[Pace], bytes: u64, now: Timestamp) -> Wait {
        let mut longest = Wait::default();
        for pace in paces {
            longest = longest.or_longer(self.shard(pace).take(pace, bytes, now));
        }
        longest
    }

    fn give_back(&self, paces: &[Pace], bytes: u64) {
        for pace in paces {
            self.shard(pace).give_back(pace, bytes);
        }
    }

    fn shard(&self, pace: &Pace) -> MutexGuard<'_, Paces> {
        let hash = self.hasher.hash_one(pace.key);
        let position = usize::try_from(hash & 0xffff).unwrap_or(0) % SHARDS;
        lock(&self.shards[position])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For how long the bodies of one exchange have waited, and for which limits.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Vec<(usize, Millis)>>);

impl Tally {
    fn add(&self, wait: Wait) {
        let mut waited = lock(&self.0);
        match waited.iter_mut().find(|(entry, _)| *entry == wait.entry) {
            Some((_, millis)) => *millis = millis.saturating_add(wait.millis),
            None => waited.push((wait.entry, wait.millis)),
        }
    }

    /// Completes the report of the exchange.
    pub(crate) fn note(&self, report: &mut Report) {
        for (entry, waited) in lock(&self.0).iter() {
            report.note_paced(*entry, *waited);
        }
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
