//! The steps of an exchange: what the shell must do, with the continuation that takes its answer.

use std::sync::Arc;

use super::attempt::Attempt;
use super::fetching::Fetching;
use super::identifying::Identifying;
use super::reply::Reply;
use super::state::{Caching, Exchange};
use super::under_way::Attempts;
use crate::cache::CacheKey;
use crate::flight::Seen;
use crate::limit::Charge;
use crate::report::Happening;
use crate::time::Timestamp;
use crate::token::KeySet;

/// The one thing the shell must do next.
#[derive(Debug)]
#[must_use = "an exchange that is not driven to its end answers nobody"]
pub enum Step {
    /// Verify the signature of the client's token, as [`AwaitSignature::signed`] says.
    Verify(AwaitSignature),
    /// Charge the limits: check all, then consume all, as [`crate::limit::charge_all`] does.
    Charge(AwaitVerdict),
    /// Look up the responses stored under the key.
    Lookup(AwaitLookup),
    /// Send a request to an origin, and wait as [`Step::Await`] says.
    Fetch(Box<Attempt>, Box<AwaitResponse>),
    /// Wait for the answers of the attempts under way: the first one that comes is told. If none has
    /// come by [`AwaitResponse::hedge_at`], that is told.
    Await(Box<AwaitResponse>),
    /// Wait until something has happened, or for some time. For [`Event::KeysCome`] the shell begins
    /// what [`crate::Engine::keys_due`] says.
    Wait(AwaitEvent),
    /// Answer the client.
    Finish(Box<Reply>),
}

/// Waits for whether a signature is right.
#[derive(Debug)]
pub struct AwaitSignature {
    pub(super) identifying: Identifying,
    pub(super) keys: Arc<KeySet>,
    /// The position of the key by which it is verified.
    pub(super) at: usize,
}

/// Waits for the limits' answer.
#[derive(Debug)]
pub struct AwaitVerdict {
    pub(super) exchange: Box<Exchange>,
    pub(super) charges: Vec<Charge>,
    pub(super) then: Admitted,
}

/// What to do when limits allow the request.
#[derive(Debug)]
pub(super) enum Admitted {
    /// Ask the store.
    LookUp,
    /// Ask an origin.
    Fetch(Option<Caching>),
}

impl Admitted {
    /// Returns what is known of the store.
    pub(super) fn caching(self) -> Option<Caching> {
        match self {
            Self::LookUp => None,
            Self::Fetch(caching) => caching,
        }
    }
}

/// Waits for the store's answer.
#[derive(Debug)]
pub struct AwaitLookup {
    pub(super) exchange: Box<Exchange>,
    pub(super) caching: Caching,
    /// What had ended when the store was asked.
    pub(super) seen: Seen,
    /// Whether it is asked for the second time because something had ended meanwhile.
    pub(super) looks_again: bool,
    /// Until when another request's fetch is waited for before somebody else takes it over.
    pub(super) patience: Timestamp,
    /// When no other request's fetch is waited for any more; none before the first wait.
    pub(super) gives_up: Option<Timestamp>,
}

/// What an exchange waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The time given.
    Moment,
    /// Another exchange's fetch for this key ends, in whatever way.
    FetchEnds(&'a CacheKey),
    /// The keys by which tokens are verified have been fetched, or could not be.
    KeysCome,
}

/// Waits for something to happen, or for time to pass.
#[derive(Debug)]
pub struct AwaitEvent {
    pub(super) until: Timestamp,
    pub(super) then: Then,
}

/// What to do when a wait is over.
#[derive(Debug)]
pub(super) enum Then {
    /// Ask the store again.
    LookUp(AwaitLookup),
    /// Try an origin again.
    TryAgain(Fetching),
    /// Verify a token. In a box, since hardly any exchange waits for it.
    Identify(Box<Identifying>),
}

/// Waits for an answer of the origins that were asked.
#[derive(Debug)]
pub struct AwaitResponse {
    pub(super) fetching: Fetching,
    pub(super) under_way: Attempts,
    /// When another attempt is made beside the one under way; none if there will be no other.
    pub(super) hedge_at: Option<Timestamp>,
}

impl AwaitEvent {
    /// Waits before an origin is tried again.
    pub(super) fn try_again(mut fetching: Fetching, until: Timestamp, now: Timestamp) -> Step {
        fetching.exchange.report.note(Happening::Pause, now);
        Step::Wait(Self {
            until,
            then: Then::TryAgain(fetching),
        })
    }
}
