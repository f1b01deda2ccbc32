//! Reads responses into the store; further clients may join them on their way.
//!
//! What is to be stored is read from its origin by a task of its own, as fast as the origin sends
//! it: neither a slow client nor one that goes away holds up the others. Every client reads from
//! what has come so far ([`shared_body`](crate::shared_body)).
//!
//! Memory is bounded by the profile for one response, and for all together by the store's bound:
//! what is on its way, and what slow clients still hold of responses that the store has given up,
//! together take no more than the store may. What finds no room is streamed to its client and not
//! stored. Time is bounded too: a body without a length may have no end, so one that nobody reads
//! is given up after a while.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tidegate_core::{Fill, Millis, Timestamp};

use crate::box_error::BoxError;
use crate::node::{Node, Work};
use crate::reservation::Reservation;
use crate::shared_body::{Reader, SharedBody};
use crate::waiters::WakeGuard;

/// How long the slowest reader of a body that is only passed on may hold up the others at a time.
const HELD_UP_MAX: Duration = Duration::from_secs(5);

/// How long a body without a length that nobody reads is read into the store, in milliseconds.
const UNREAD_MAX: Millis = 60_000;

/// Begins to read an origin's body into the store. The requests that wait for it may join from now
/// on, so the lead and the guard that wakes them end here. Gives the body back if it has no room.
pub(crate) fn begin<B>(
    node: &Arc<Node>,
    mut fill: Fill,
    wake: Option<WakeGuard>,
    body: B,
) -> Result<Reader, B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let length = fill.head.announced_length();
    let mut reservation = Reservation::new(&node.reserved);
    let runtime = tokio::runtime::Handle::try_current().ok();
    let Some(runtime) =
        runtime.filter(|_| reservation.grow(length.unwrap_or(0), node.reserved_max()))
    else {
        // Those who wait would find no room one after the other. In this order: who is woken finds
        // that nobody leads.
        if let Some(lead) = fill.lead.take() {
            lead.end_unshared(node.now());
        }
        drop(wake);
        return Err(body);
    };
    let shared = Arc::new(SharedBody::new(Arc::clone(&fill.head), reservation));
    let reader = shared.read_all();
    let lead = fill.lead.take();
    let can_be_joined = lead.is_some();
    let mut filling = Filling {
        work: Work::begin(node),
        fill,
        shared,
        length: 0,
        unread_since: None,
    };
    if body.is_end_stream() {
        filling.store(&[]);
        return Ok(reader);
    }
    if can_be_joined {
        node.in_flight.enter(&filling.fill.key, &filling.shared);
    }
    // In this order: who is woken finds the response.
    drop(lead);
    drop(wake);
    runtime.spawn(filling.read(body));
    Ok(reader)
}

/// A body that is being read into the store. Dropped before it is whole, it is broken for all who
/// read it.
struct Filling {
    work: Work,
    fill: Fill,
    shared: Arc<SharedBody>,
    length: u64,
    /// When a piece came first that nobody reads.
    unread_since: Option<Timestamp>,
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.work
            .node()
            .in_flight
            .leave(&self.fill.key, &self.shared);
        // Unless it has ended well.
        self.shared.end_broken();
    }
}

impl Filling {
    async fn read<B>(mut self, body: B)
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let mut body = pin!(body);
        loop {
            let piece = match next(body.as_mut()).await {
                Next::Piece(piece) => piece,
                Next::End => return self.store(&[]),
                Next::Broken => return,
            };
            if self.is_unread_for_long() && self.give_up() {
                return;
            }
            // More than was announced is no complete body either.
            if self
                .fill
                .head
                .announced_length()
                .is_some_and(|announced| self.length + piece.len() as u64 > announced)
            {
                return;
            }
            if !self.has_room_for(&piece) {
                self.shared.push(piece);
                return self.pass_on(body).await;
            }
            self.length += piece.len() as u64;
            if body.is_end_stream() {
                // Before the last client may ask again.
                return self.store(&piece);
            }
            self.shared.push(piece);
        }
    }

    /// Returns whether nobody has read the body, which may have no end, for `UNREAD_MAX`.
    fn is_unread_for_long(&mut self) -> bool {
        if self.shared.is_read() || self.fill.head.announced_length().is_some() {
            self.unread_since = None;
            return false;
        }
        let now = self.work.node().now();
        let since = *self.unread_since.get_or_insert(now);
        now.since(since) > UNREAD_MAX
    }

    /// Lets nobody join any more. Returns whether nobody was about to do so meanwhile.
    fn give_up(&self) -> bool {
        self.work
            .node()
            .in_flight
            .leave(&self.fill.key, &self.shared);
        Arc::strong_count(&self.shared) == 1
    }

    /// Says whether the body can still be stored with one more piece.
    fn has_room_for(&mut self, piece: &Bytes) -> bool {
        let length = self.length + piece.len() as u64;
        length <= self.fill.body_bytes_max
            && self
                .shared
                .reserve(length, || self.work.node().reserved_max())
    }

    /// Stores the body, if it is whole.
    fn store(&mut self, last: &[u8]) {
        let Some(head) = self.fill.completed(self.length) else {
            return;
        };
        let node = Arc::clone(self.work.node());
        let body = node.store.hold(self.shared.concat(last));
        let is_stored = node.store.put(
            &self.fill.key,
            head,
            body.clone(),
            self.fill.joined_max,
            node.now(),
        );
        self.shared.end_whole(body, is_stored);
    }

    /// Passes on what has become too large to be stored, at the pace of the slowest of those who
    /// read it already; nobody else may join.
    async fn pass_on<B>(self, mut body: Pin<&mut B>)
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let node = self.work.node();
        node.in_flight.leave(&self.fill.key, &self.shared);
        // The next one will be as large: nobody waits for it.
        node.engine().go_alone(&self.fill.key, node.now());
        loop {
            let room = poll_fn(|cx| self.shared.poll_room(cx));
            match tokio::time::timeout(HELD_UP_MAX, room).await {
                Ok(Some(())) => {}
                Ok(None) => return,
                Err(_) => {
                    self.shared.cut_slowest();
                    continue;
                }
            }
            match next(body.as_mut()).await {
                Next::Piece(piece) => self.shared.push(piece),
                Next::End => return self.shared.end_passed_on(),
                Next::Broken => return,
            }
        }
    }
}

/// What comes next of a body.
enum Next {
    Piece(Bytes),
    End,
    Broken,
}

async fn next<B: Body<Data = Bytes>>(mut body: Pin<&mut B>) -> Next {
    loop {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => return Next::End,
            Some(Err(_)) => return Next::Broken,
            Some(Ok(frame)) => {
                // Trailer fields are dropped. [9111-3.1-3]
                if let Ok(piece) = frame.into_data() {
                    return Next::Piece(piece);
                }
            }
        }
    }
}
