//! What a request is charged, and what counters answer.

use std::sync::Arc;

use super::definition::{Limit, OnStoreError};
use super::key::CounterKey;
use super::quota::Verdict;
use crate::time::Timestamp;

/// One limit to charge for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit.
    pub limit: Arc<Limit>,
    /// Whose count.
    pub key: CounterKey,
}

/// The shell's answer for one charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// The counter was asked.
    Verdict(Verdict),
    /// The counter could not be reached.
    Unavailable,
}

/// A slot that a request has taken. Whoever counts gets it back when the request has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What it was charged.
    pub charge: Charge,
    /// The end of the period in which it was taken.
    pub period_end: Timestamp,
}

impl Charge {
    /// Returns whether this answer refuses the request.
    pub fn refuses(&self, answer: Charged) -> bool {
        let refused = match answer {
            Charged::Verdict(verdict) => !verdict.allowed,
            Charged::Unavailable => self.limit.on_store_error == OnStoreError::Deny,
        };
        refused && !self.limit.dry_run
    }
}
