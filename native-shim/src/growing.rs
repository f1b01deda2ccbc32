//! Responses on their way into the store, which further clients may join.
//!
//! A response whose length is announced is read from its origin by a task of its own, as fast as the origin sends it: neither a slow client nor one that
//! goes away holds up the others. Every client reads from what has come so far. Memory is bounded by the announced lengths, which the profile bounds
//! one by one, and the store's own bound in sum. A response that has come whole shares its bytes with the store: from then on its readers are like
//! those of any hit.

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
    pieces: Pieces,
    /// For the pieces, as long as the store does not count them.
    reservation: Option<Reservation>,
    ended: Option<Ended>,
    /// Who waits for more, by reader.
    waiting: HashMap<usize, Waker, ahash::RandomState>,
    readers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Broken,
}

/// Bytes that follow each other, each piece with where it ends in the body.
#[derive(Default)]
struct Pieces(Vec<(u64, Bytes)>);

/// Room for bytes on their way. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    node: Arc<Node>,
    bytes: u64,
}

impl Reservation {
    /// Makes an empty one.
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::clone(node), bytes: 0 }
    }

    /// Takes more room; says no when too much is on its way.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let most = self.node.engine().policy().store.bytes_max;
        let grown = |bytes: u64| bytes.checked_add(more).filter(|sum| *sum <= most);
        let taken = self.node.nursery.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        self.bytes += if taken { more } else { 0 };
        taken
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.node.nursery.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
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

    /// Returns how many bytes are reserved for what is on its way.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, ByKey> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
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
}

impl Drop for Cradle {
    fn drop(&mut self) {
        self.work.node().nursery.leave(&self.fill.key, &self.growing);
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
) -> Result<Reader, Box<Unshared<B>>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (runtime, length) = (tokio::runtime::Handle::try_current(), fill.head.announced_length());
    let (Ok(runtime), Some(length), Some(_)) = (runtime, length, &fill.lead) else {
        return Err(Box::new(Unshared { fill, wake, body }));
    };
    let mut reservation = Reservation::new(node);
    if !reservation.grow(length) {
        return Err(Box::new(Unshared { fill, wake, body }));
    }
    let lead: Option<Lead> = fill.lead.take();
    let come = Come { reservation: Some(reservation), ..Come::default() };
    let growing = Arc::new(Growing { head: Arc::clone(&fill.head), body: Mutex::new(come) });
    node.nursery.enter(&fill.key, &growing);
    // In this order: who is woken finds the response.
    drop(lead);
    drop(wake);
    let reader = growing.read(VecDeque::from([Piece::Body(0..length)]));
    let cradle = Cradle { work: Work::begin(node), fill, growing };
    runtime.spawn(raise(cradle, length, body));
    Ok(reader)
}

/// A body that is not shared while it grows, and what belongs to it.
pub(crate) struct Unshared<B> {
    pub(crate) fill: Fill,
    pub(crate) wake: Option<WakeGuard>,
    pub(crate) body: B,
}

async fn raise<B>(cradle: Cradle, announced: u64, body: B)
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
            // More than was announced is no complete body either, and has no room.
            if length > announced {
                return;
            }
            cradle.growing.come().push(piece);
        }
    }
    // Only a complete body is stored, and before the last client may ask again.
    let Some(head) = cradle.fill.completed(length) else { return };
    let node = cradle.work.node();
    let body = cradle.growing.come().pieces.concat();
    node.store.put(&cradle.fill.key, head, body.clone(), cradle.fill.joined_max, node.now());
    cradle.growing.end_whole(body);
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

    /// Ends with the bytes that the store has.
    fn end_whole(&self, body: Bytes) {
        let mut come = self.come();
        come.pieces = Pieces::default();
        come.pieces.push(body);
        come.reservation = None;
        drop(come);
        self.end(Ended::Whole);
    }

    fn end(&self, ended: Ended) {
        let mut come = self.come();
        come.ended.get_or_insert(ended);
        come.wake();
    }

    fn come(&self) -> MutexGuard<'_, Come> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Come {
    fn wake(&mut self) {
        for (_, waker) in self.waiting.drain() {
            waker.wake();
        }
    }

    fn wait(&mut self, number: usize, cx: &Context<'_>) {
        self.waiting.insert(number, cx.waker().clone());
    }

    fn push(&mut self, piece: Bytes) {
        self.pieces.push(piece);
        self.wake();
    }
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        let start = self.0.last().map_or(0, |(end, _)| *end);
        self.0.push((start + piece.len() as u64, piece));
    }

    /// Returns what is here of a range, from its start on and as far as one piece goes.
    fn first_of(&self, range: &Range<u64>) -> Option<Bytes> {
        let (end, piece) = self.0.get(self.0.partition_point(|(end, _)| *end <= range.start))?;
        let start = end - piece.len() as u64;
        Some(store::slice(piece, &(range.start - start..range.end.min(*end) - start)))
    }

    fn concat(&self) -> Bytes {
        let mut whole = Vec::with_capacity(self.0.last().map_or(0, |(end, _)| usize::try_from(*end).unwrap_or(0)));
        for (_, piece) in &self.0 {
            whole.extend_from_slice(piece);
        }
        whole.into()
    }
}

/// Reads a body that is still on its way.
#[derive(Debug)]
pub(crate) struct Reader {
    growing: Arc<Growing>,
    number: usize,
    pieces: VecDeque<Piece>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.growing.come().waiting.remove(&self.number);
    }
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
            return match (come.pieces.first_of(range), come.ended) {
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
