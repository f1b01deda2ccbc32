//! The body of one response, read by any number of clients while it comes.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tidegate_core::cache::Stored;
use tidegate_core::cache::range::Piece;

use crate::box_error::BoxError;
use crate::reservation::Reservation;
use crate::store;

/// How far the origin of a body that is not kept may be ahead of its slowest reader, in bytes.
const AHEAD_MAX: u64 = 256 << 10;

/// Pieces below this are put together, up to so many bytes.
const SMALL: usize = 4 << 10;
const TAIL_MAX: usize = 16 << 10;

/// A response whose body is on its way.
pub(crate) struct SharedBody {
    pub(crate) head: Arc<Stored>,
    arrived: Mutex<Arrived>,
}

/// What has come of a body.
#[derive(Default)]
struct Arrived {
    /// In order, each with where it ends in the body.
    pieces: VecDeque<(u64, Bytes)>,
    /// Small pieces behind them, put together: each of them alone would take more than its own
    /// bytes.
    tail: Vec<u8>,
    /// Up to where the body is no longer kept, because all have read it and it is not to be stored.
    dropped_to: u64,
    ended: Option<Ended>,
    /// Whether the store has taken it.
    is_stored: bool,
    /// For the pieces, as long as the store does not count them.
    reservation: Option<Reservation>,
    readers: HashMap<usize, Position, ahash::RandomState>,
    readers_so_far: usize,
    /// Who fetches the body, if that waits for the slowest reader.
    writer: Option<Waker>,
}

/// How far a reader has come, and how to wake it.
#[derive(Default)]
struct Position {
    read_to: u64,
    /// Whether it is a limit that makes it slow, and not its client.
    is_paced: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Broken,
}

impl fmt::Debug for SharedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBody")
            .field("ended", &self.lock().ended)
            .finish_non_exhaustive()
    }
}

impl SharedBody {
    /// Makes one of which nothing has come.
    pub(crate) fn new(head: Arc<Stored>, reservation: Reservation) -> Self {
        let arrived = Arrived {
            reservation: Some(reservation),
            ..Arrived::default()
        };
        Self {
            head,
            arrived: Mutex::new(arrived),
        }
    }

    /// Makes one of which nothing will come.
    pub(crate) fn lost(head: &Arc<Stored>) -> Arc<Self> {
        let arrived = Arrived {
            ended: Some(Ended::Broken),
            ..Arrived::default()
        };
        Arc::new(Self {
            head: Arc::clone(head),
            arrived: Mutex::new(arrived),
        })
    }

    /// Reads all of the body, as it comes.
    pub(crate) fn read_all(self: &Arc<Self>) -> Reader {
        let length = self.head.announced_length();
        self.reader(
            VecDeque::from([Piece::Body(0..length.unwrap_or(u64::MAX))]),
            length.is_none(),
        )
    }

    /// Reads pieces of a body whose length is known, as they come.
    pub(crate) fn read(self: &Arc<Self>, pieces: Vec<Piece>) -> Reader {
        self.reader(pieces.into(), false)
    }

    fn reader(self: &Arc<Self>, pieces: VecDeque<Piece>, is_open_ended: bool) -> Reader {
        let mut arrived = self.lock();
        arrived.readers_so_far += 1;
        let number = arrived.readers_so_far;
        arrived.readers.insert(number, Position::default());
        Reader {
            shared: Arc::clone(self),
            number,
            pieces,
            is_open_ended,
        }
    }

    /// Takes room for so many bytes in all, if there is so much. `most` says how much all bodies
    /// together may take; it is asked only if more is needed.
    pub(crate) fn reserve(&self, bytes: u64, most: impl FnOnce() -> u64) -> bool {
        self.lock().reservation.as_mut().is_some_and(|reservation| {
            let more = bytes.saturating_sub(reservation.bytes());
            more == 0 || reservation.grow(more, most())
        })
    }

    /// Adds what has come.
    pub(crate) fn push(&self, piece: Bytes) {
        let mut arrived = self.lock();
        if piece.len() >= SMALL {
            arrived.close_tail();
            arrived.append(piece);
        } else {
            arrived.tail.extend_from_slice(&piece);
            if arrived.tail.len() >= TAIL_MAX {
                arrived.close_tail();
            }
        }
        arrived.wake_readers();
    }

    /// Puts together all that has come, and the last piece after it.
    pub(crate) fn concat(&self, last: &[u8]) -> Vec<u8> {
        let arrived = self.lock();
        let length = usize::try_from(arrived.end_of_all()).unwrap_or(0);
        let mut whole = Vec::with_capacity(length + last.len());
        for (_, piece) in &arrived.pieces {
            whole.extend_from_slice(piece);
        }
        whole.extend_from_slice(&arrived.tail);
        whole.extend_from_slice(last);
        whole
    }

    /// Ends with bytes that all read on from, and that the store has if it has taken them.
    pub(crate) fn end_whole(&self, body: Bytes, is_stored: bool) {
        let mut arrived = self.lock();
        arrived.is_stored = is_stored;
        arrived.pieces = VecDeque::from([(body.len() as u64, body)]);
        arrived.tail = Vec::new();
        arrived.reservation = None;
        arrived.end(Ended::Whole);
    }

    /// Ends a body that has only been passed on.
    pub(crate) fn end_passed_on(&self) {
        self.lock().end(Ended::Whole);
    }

    /// Ends a body of which no more will come, unless it has ended.
    pub(crate) fn end_broken(&self) {
        self.lock().end(Ended::Broken);
    }

    /// Returns whether anybody reads it.
    pub(crate) fn is_read(&self) -> bool {
        !self.lock().readers.is_empty()
    }

    /// Waits until the slowest reader has come near enough, and drops what all have read. `None`
    /// when nobody reads.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let mut arrived = self.lock();
        let Some(slowest) = arrived
            .readers
            .values()
            .map(|position| position.read_to)
            .min()
        else {
            return Poll::Ready(None);
        };
        arrived.drop_to(slowest);
        let end = arrived.end_of_all();
        let kept = end - arrived.dropped_to;
        if let Some(reservation) = &mut arrived.reservation {
            reservation.shrink_to(kept);
        }
        if end.saturating_sub(slowest) > AHEAD_MAX {
            arrived.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(()))
    }

    /// Breaks the reply of the slowest reader off, if others wait for it. One that is paced goes on:
    /// bandwidth refuses nobody.
    pub(crate) fn cut_slowest(&self) {
        let mut arrived = self.lock();
        let slowest = arrived
            .readers
            .iter()
            .min_by_key(|(_, position)| position.read_to)
            .filter(|(_, position)| !position.is_paced)
            .map(|(number, _)| *number);
        if arrived.readers.len() > 1
            && let Some(position) = slowest.and_then(|number| arrived.readers.remove(&number))
            && let Some(waker) = position.waker
        {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrived {
    fn end_of_pieces(&self) -> u64 {
        self.pieces.back().map_or(self.dropped_to, |(end, _)| *end)
    }

    fn end_of_all(&self) -> u64 {
        self.end_of_pieces() + self.tail.len() as u64
    }

    fn append(&mut self, piece: Bytes) {
        let start = self.end_of_pieces();
        self.pieces.push_back((start + piece.len() as u64, piece));
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.append(tail.into());
        }
    }

    /// Drops the pieces before a position.
    fn drop_to(&mut self, position: u64) {
        while let Some((end, _)) = self.pieces.front().filter(|(end, _)| *end <= position) {
            self.dropped_to = *end;
            self.pieces.pop_front();
        }
    }

    fn end(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
        self.wake_readers();
    }

    fn wake_readers(&mut self) {
        for position in self.readers.values_mut() {
            if let Some(waker) = position.waker.take() {
                waker.wake();
            }
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Returns what is here of a range, from its start on and as far as one piece goes; never
    /// nothing.
    fn first_of(&self, range: &Range<u64>) -> Option<Bytes> {
        let at = self.pieces.partition_point(|(end, _)| *end <= range.start);
        let (start, piece) = match self.pieces.get(at) {
            Some((end, piece)) => (end - piece.len() as u64, piece.clone()),
            None => (self.end_of_pieces(), Bytes::copy_from_slice(&self.tail)),
        };
        let piece = store::slice(
            &piece,
            &(range.start.checked_sub(start)?..range.end - start),
        );
        (!piece.is_empty()).then_some(piece)
    }
}

/// Reads a body that is still on its way.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<SharedBody>,
    number: usize,
    pieces: VecDeque<Piece>,
    /// Whether the end is where the origin ends.
    is_open_ended: bool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut arrived = self.shared.lock();
        arrived.readers.remove(&self.number);
        arrived.wake_writer();
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
            let mut arrived = self.shared.lock();
            if range.start < arrived.dropped_to {
                // It came too late for what is only passed on.
                return Poll::Ready(Some(Err(broken())));
            }
            let (piece, ended) = (arrived.first_of(range), arrived.ended);
            let Some(position) = arrived.readers.get_mut(&self.number) else {
                return Poll::Ready(Some(Err(
                    "others have waited too long for this client".into()
                )));
            };
            if let Some(piece) = piece {
                range.start += piece.len() as u64;
                position.read_to = range.start;
                arrived.wake_writer();
                return Poll::Ready(Some(Ok(piece)));
            }
            return match ended {
                Some(Ended::Whole) if self.is_open_ended => {
                    drop(arrived);
                    self.pieces.clear();
                    Poll::Ready(None)
                }
                Some(Ended::Broken | Ended::Whole) => Poll::Ready(Some(Err(broken()))),
                None => {
                    position.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
    }

    /// Says that a limit paces what is read.
    pub(crate) fn is_paced(&mut self) {
        if let Some(position) = self.shared.lock().readers.get_mut(&self.number) {
            position.is_paced = true;
        }
    }

    /// Waits for the end of the body, which may come after its last byte, and says whether the
    /// store has taken it.
    pub(crate) fn poll_stored(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut arrived = self.shared.lock();
        if arrived.ended.is_some() {
            return Poll::Ready(arrived.is_stored);
        }
        let Some(position) = arrived.readers.get_mut(&self.number) else {
            return Poll::Ready(false);
        };
        position.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns whether all has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.left() == Some(0)
    }

    /// Returns how many bytes are still to be read, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        if self.is_open_ended && !self.pieces.is_empty() {
            return None;
        }
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Body(range) => range.end.saturating_sub(range.start),
        };
        Some(self.pieces.iter().map(length).sum())
    }
}

fn broken() -> BoxError {
    Error::new(
        ErrorKind::UnexpectedEof,
        "the origin did not send all of its body",
    )
    .into()
}

#[cfg(test)]
mod tests;
