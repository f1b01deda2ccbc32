//! What a request is charged, and what counters answer.

use std::sync::Arc;

use super::definition::{Limit, OnStoreError};
use super::key::CounterKey;
use super::quota::Verdict;

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
