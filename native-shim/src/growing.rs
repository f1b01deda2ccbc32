//! Responses on their way into the store, which further clients may join.
//!
//! A response whose length is announced is read from its origin by a task of its own, as fast as the origin sends it: neither a slow client nor one that
//! goes away holds up the others. Every client reads from what has come so far. Memory is bounded by the announced lengths, which the profile bounds
//! one by one, and the store's own bound in sum.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body;
use tidegate_core::cache::range::Piece;
use tidegate_core::cache::{CacheKey, Stored};
use tidegate_core::{Fill, Lead};

use crate::body::BoxError;
use crate::node::{Node, Work};
use crate::store;
use crate::waiters::WakeGuard;

type ByKey = HashMap<Box<[u8]>, Vec<Arc<Growing>>, ahash::RandomState>;

/// The responses on their way, by key.
#[derive(Debug, Default)]
pub(crate) struct Nursery {
    /// How many there are, so that a lookup need not take the lock when there is none.
    count: AtomicUsize,
    /// Bytes that are on their way, all together no more than the store has room for.
    bytes: AtomicU64,
    by_key: Mutex<ByKey>,
}

/// A response on its way.
pub(crate) struct Growing {
    pub(crate) head: Arc<Stored>,
    body: Mutex<Come>,
}

/// What has come of a body.
#[derive(Default)]
struct Come {
    pieces: Vec<Bytes>,
    ended: Option<Ended>,
    /// Who waits for more, by reader.
    waiting: Vec<(usize, Waker)>,
    readers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Broken,
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growing").field("ended", &self.come().ended).finish_non_exhaustive()
    }
}

impl Nursery {
    /// Returns the responses on their way under a key.
    pub(crate) fn get(&self, key: &CacheKey) -> Vec<Arc<Growing>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.lock().get(key.as_bytes()).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, ByKey> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for a body, or a piece of one; says no when too much is on its way.
    pub(crate) fn reserve(&self, length: u64, most: u64) -> bool {
        let more = |bytes: u64| bytes.checked_add(length).filter(|sum| *sum <= most);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives room back.
    pub(crate) fn release(&self, length: u64) {
        self.bytes.fetch_sub(length, Ordering::Relaxed);
    }

    fn enter(&self, key: &CacheKey, growing: &Arc<Growing>) {
        self.lock().entry(key.as_bytes().into()).or_default().push(Arc::clone(growing));
        self.count.fetch_add(1, Ordering::Release);
    }

    fn leave(&self, key: &CacheKey, growing: &Arc<Growing>) {
        let mut by_key = self.lock();
        if let Some(all) = by_key.get_mut(key.as_bytes()) {
            all.retain(|other| !Arc::ptr_eq(other, growing));
            if all.is_empty() {
                by_key.remove(key.as_bytes());
            }
        }
        self.count.fetch_sub(1, Ordering::Release);
    }
}

/// Leaves the nursery in whatever way the reading of a body ends.
struct Cradle {
    work: Work,
    fill: Fill,
    growing: Arc<Growing>,
    length: u64,
}

impl Drop for Cradle {
    fn drop(&mut self) {
        let nursery = &self.work.node().nursery;
        nursery.leave(&self.fill.key, &self.growing);
        nursery.release(self.length);
        // Unless it has ended well.
        self.growing.end(Ended::Broken);
    }
}

/// Begins to read an origin's body into the store. The requests that wait for it may join from now on, so the lead and the guard that wakes them end here.
/// Gives the body back if it cannot be shared.
pub(crate) fn begin<B>(
    node: &Arc<Node>,
    mut fill: Fill,
    wake: Option<WakeGuard>,
    body: B,
) -> Result<Reader, Unshared<B>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (runtime, length) = (tokio::runtime::Handle::try_current(), fill.head.announced_length());
    let (Ok(runtime), Some(length), Some(_)) = (runtime, length, &fill.lead) else {
        return Err(Unshared { fill, wake, body });
    };
    if !node.nursery.reserve(length, node.engine().policy().store.bytes_max) {
        return Err(Unshared { fill, wake, body });
    }
    let lead: Option<Lead> = fill.lead.take();
    let growing = Arc::new(Growing { head: Arc::clone(&fill.head), body: Mutex::default() });
    node.nursery.enter(&fill.key, &growing);
    // In this order: who is woken finds the response.
    drop(lead);
    drop(wake);
    let reader = growing.read(VecDeque::from([Piece::Body(0..length)]));
    let cradle = Cradle { work: Work::begin(node), fill, growing, length };
    runtime.spawn(raise(cradle, body));
    Ok(reader)
}

/// A body that is not shared while it grows, and what belongs to it.
pub(crate) struct Unshared<B> {
    pub(crate) fill: Fill,
    pub(crate) wake: Option<WakeGuard>,
    pub(crate) body: B,
}

async fn raise<B>(cradle: Cradle, body: B)
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut length = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else { return };
        // Trailer fields are dropped. [9111-3.1-3]
        if let Ok(piece) = frame.into_data() {
            length += piece.len() as u64;
            cradle.growing.push(piece);
        }
    }
    // Only a complete body is stored, and before the last client may ask again.
    let Some(head) = cradle.fill.completed(length) else { return };
    let node = cradle.work.node();
    node.store.put(&cradle.fill.key, head, cradle.growing.whole(), node.now());
    cradle.growing.end(Ended::Whole);
}

impl Growing {
    /// Makes one of which nothing will come.
    pub(crate) fn lost(head: &Arc<Stored>) -> Arc<Self> {
        let body = Come { ended: Some(Ended::Broken), ..Come::default() };
        Arc::new(Self { head: Arc::clone(head), body: Mutex::new(body) })
    }

    /// Reads pieces of the body, as they come.
    pub(crate) fn read(self: &Arc<Self>, pieces: VecDeque<Piece>) -> Reader {
        let mut come = self.come();
        come.readers += 1;
        Reader { growing: Arc::clone(self), number: come.readers, pieces }
    }

    fn push(&self, piece: Bytes) {
        let mut come = self.come();
        come.pieces.push(piece);
        come.wake();
    }

    fn end(&self, ended: Ended) {
        let mut come = self.come();
        come.ended.get_or_insert(ended);
        come.wake();
    }

    fn whole(&self) -> Bytes {
        self.come().pieces.concat().into()
    }

    fn come(&self) -> MutexGuard<'_, Come> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Come {
    fn wake(&mut self) {
        for (_, waker) in self.waiting.drain(..) {
            waker.wake();
        }
    }

    fn wait(&mut self, number: usize, cx: &Context<'_>) {
        match self.waiting.iter_mut().find(|(other, _)| *other == number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.waiting.push((number, cx.waker().clone())),
        }
    }

    /// Returns what has come of a range, from its start on and as far as one piece goes.
    fn first_of(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut at = 0;
        for piece in &self.pieces {
            let end = at + piece.len() as u64;
            if range.start < end {
                return Some(store::slice(piece, &(range.start - at..range.end.min(end) - at)));
            }
            at = end;
        }
        None
    }
}

/// Reads a body that is still on its way.
#[derive(Debug)]
pub(crate) struct Reader {
    growing: Arc<Growing>,
    number: usize,
    pieces: VecDeque<Piece>,
}

impl Reader {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            let range = match self.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Text(text)) => {
                    let text = std::mem::take(text);
                    self.pieces.pop_front();
                    return Poll::Ready(Some(Ok(text)));
                }
                Some(Piece::Body(range)) => range,
            };
            if range.is_empty() {
                self.pieces.pop_front();
                continue;
            }
            let mut come = self.growing.come();
            let broken = || Error::new(ErrorKind::UnexpectedEof, "the origin did not send all of its body").into();
            return match (come.first_of(range), come.ended) {
                (Some(piece), _) => {
                    range.start += piece.len() as u64;
                    Poll::Ready(Some(Ok(piece)))
                }
                (None, Some(Ended::Broken | Ended::Whole)) => Poll::Ready(Some(Err(broken()))),
                (None, None) => {
                    come.wait(self.number, cx);
                    Poll::Pending
                }
            };
        }
    }

    /// Returns whether all has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.left() == 0
    }

    /// Returns how many bytes are still to be read.
    pub(crate) fn left(&self) -> u64 {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Body(range) => range.end.saturating_sub(range.start),
        };
        self.pieces.iter().map(length).sum()
    }
}
