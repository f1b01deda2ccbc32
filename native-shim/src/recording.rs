//! The record of an exchange whose bodies are on their way: it is written when they have ended.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::{BodyEnd, BodySeen, Ended, Hold, Timestamp};

use crate::box_error::BoxError;
use crate::node::Node;
use crate::pacing::Tally;

/// What is recorded when the last who watches a body of the exchange has let go of this.
#[derive(Debug)]
pub(crate) struct Recording {
    node: Arc<Node>,
    /// How long the bodies have waited for their pace, if anything paces them.
    paced: Option<Arc<Tally>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Taken at the end.
    hold: Option<Hold>,
    /// How the reply's body ended, after how many bytes, and when.
    reply: Option<(BodyEnd, u64, Timestamp)>,
}

impl Recording {
    pub(crate) fn new(node: &Arc<Node>, hold: Hold, paced: Option<Arc<Tally>>) -> Arc<Self> {
        Arc::new(Self {
            node: Arc::clone(node),
            paced,
            state: Mutex::new(State {
                hold: Some(hold),
                reply: None,
            }),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.node.now()
    }

    /// The origin's body has ended.
    pub(crate) fn origin_ended(&self, seen: BodySeen) {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hold) = &mut state.hold {
            hold.origin_ended(seen, now);
        }
    }

    fn reply_ended(&self, end: BodyEnd, bytes: u64) {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reply = Some((end, bytes, now));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(hold) = state.hold.take() else {
            return;
        };
        let ended = match state.reply {
            Some((end, bytes, at)) => hold.end(end, Some(bytes), at),
            None => hold.unseen(),
        };
        end(&self.node, ended, self.paced.as_deref());
    }
}

/// Records an exchange that has ended, and how long its bodies have waited for their pace.
pub(crate) fn end(node: &Node, mut ended: Ended, paced: Option<&Tally>) {
    if let Some(tally) = paced {
        tally.note(&mut ended.report);
    }
    node.end(ended);
}

/// Watches the body of a reply until it has ended: at its end, or when nobody wants the rest.
#[derive(Debug)]
pub(crate) struct ReplyWatch {
    /// Taken at the end.
    record: Option<Record>,
    bytes: u64,
}

/// Who writes the record.
#[derive(Debug)]
enum Record {
    /// The reply alone.
    Own(Hold, Arc<Node>),
    /// Whoever is the last.
    Shared(Arc<Recording>),
}

impl ReplyWatch {
    /// Watches a reply that needs no origin's body.
    pub(crate) fn alone(hold: Hold, node: Arc<Node>) -> Self {
        Self {
            record: Some(Record::Own(hold, node)),
            bytes: 0,
        }
    }

    /// Watches a reply beside an origin's body, or one that a limit paces.
    pub(crate) fn shared(recording: Arc<Recording>) -> Self {
        Self {
            record: Some(Record::Shared(recording)),
            bytes: 0,
        }
    }

    /// So many bytes were handed over.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// The body has ended.
    pub(crate) fn end(&mut self, how: BodyEnd) {
        match self.record.take() {
            Some(Record::Own(hold, node)) => {
                let ended = hold.end(how, Some(self.bytes), node.now());
                node.end(ended);
            }
            Some(Record::Shared(recording)) => recording.reply_ended(how, self.bytes),
            None => {}
        }
    }
}

impl Drop for ReplyWatch {
    fn drop(&mut self) {
        self.end(BodyEnd::Unwanted);
    }
}

/// Says how a body ended that fails.
pub(crate) fn end_of(error: &BoxError) -> BodyEnd {
    let kind = error.downcast_ref::<Error>().map(Error::kind);
    if kind == Some(ErrorKind::TimedOut) {
        BodyEnd::Stalled
    } else {
        BodyEnd::Broken
    }
}
