//! A stored response, as far as its head.

use http::{HeaderMap, StatusCode};

use crate::cache::freshness::Freshness;
use crate::cache::validators;
use crate::cache::vary::Nominated;
use crate::message::framing;
use crate::packed::packed_struct;
use crate::purge::label::{Label, Marks, Number};
use crate::time::{Millis, Timestamp};

/// The head of a stored response, with everything about its use computed when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Status.
    pub status: StatusCode,
    /// Header fields, without those of a connection and without `Age`.
    pub headers: HeaderMap,
    /// When the response, or the 304 that last validated it, came.
    pub received: Timestamp,
    /// Its age then (RFC 9111, section 4.2.3).
    pub initial_age: Millis,
    /// How long it may be used.
    pub freshness: Freshness,
    /// The request header fields that chose this response, and their values.
    pub vary: Vec<Nominated>,
    /// The last purge before it was asked for.
    pub epoch: Number,
    /// The labels of its tags and groups.
    pub labels: Vec<Label>,
}

packed_struct!(Stored {
    status,
    headers,
    received,
    initial_age,
    freshness,
    vary,
    epoch,
    labels,
});

/// When a request went to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAt {
    /// By the clock.
    pub at: Timestamp,
    /// After which purge.
    pub epoch: Number,
}

impl Stored {
    /// Returns what purges find it by.
    pub(crate) fn marks(&self) -> Marks<'_> {
        Marks {
            labels: &self.labels,
            epoch: self.epoch,
        }
    }

    /// Returns the length that the head announces for the body.
    pub fn announced_length(&self) -> Option<u64> {
        framing::content_length(&self.headers)
    }

    /// Returns the response's age (RFC 9111, section 4.2.3).
    pub fn age(&self, now: Timestamp) -> Millis {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// Returns when the response is of no more use, not even to be validated. A store may drop it
    /// then.
    pub fn expires(&self) -> Timestamp {
        let validation = if validators::has_validator(&self.headers) {
            KEPT_FOR_VALIDATION
        } else {
            0
        };
        let Freshness {
            lifetime,
            grace,
            stale_if_error,
            stale_if_disconnected,
            ..
        } = self.freshness;
        let after = grace
            .max(stale_if_error)
            .max(stale_if_disconnected)
            .max(validation);
        self.received.plus(
            lifetime
                .saturating_sub(self.initial_age)
                .saturating_add(after),
        )
    }

    /// Returns whether it is of no more use. Quick for what is fresh.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.age(now) >= self.freshness.lifetime && now >= self.expires()
    }

    /// Returns it as stale, of no use until the origin confirms it.
    pub(crate) fn outdated(&self, now: Timestamp) -> Self {
        let lifetime = self.freshness.lifetime.min(self.age(now));
        let Freshness {
            explicit,
            always_validate,
            ..
        } = self.freshness;
        let freshness = Freshness {
            lifetime,
            explicit,
            grace: 0,
            stale_if_error: 0,
            stale_if_disconnected: 0,
            always_validate,
        };
        Self {
            freshness,
            ..self.clone()
        }
    }

    /// Returns how long it is fresh still, in milliseconds; below 0 if it is stale.
    pub(crate) fn ttl(&self, now: Timestamp) -> i64 {
        let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
        signed(self.freshness.lifetime).saturating_sub(signed(self.age(now)))
    }

    /// Returns for how long it has been stale; 0 for a fresh one.
    pub fn staleness(&self, now: Timestamp) -> Millis {
        self.age(now).saturating_sub(self.freshness.lifetime)
    }
}

/// A response with a validator stays this long after its lifetime, because a 304 is cheaper than
/// its body.
const KEPT_FOR_VALIDATION: Millis = 3_600_000;
