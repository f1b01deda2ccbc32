//! What a request is charged, and what counters answer.

use std::sync::Arc;

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::definition::{Limit, Mode, OnStoreError};
use super::key::CounterKey;
use super::quota::Verdict;
use super::rule::Terms;
use super::state::State;
use crate::time::Timestamp;

/// One limit to charge for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit.
    pub limit: Arc<Limit>,
    /// Whose count.
    pub key: CounterKey,
    /// What counters that are kept together have in common: a hash of the first part of the key.
    pub home: u16,
    /// What the request uses; at least 1.
    pub cost: u64,
}

/// The shell's answer for one charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// The counter was asked.
    Verdict(Verdict),
    /// The counter could not be asked, and this node has counted for itself.
    Local(Verdict, StoreFault),
    /// The counter could not be asked.
    Unavailable(StoreFault),
    /// The counter was not asked: another limit had refused the request before.
    Unasked,
}

/// Why a counter could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StoreFault {
    /// It has not answered in time.
    Slow,
    /// There is no connection to it, or it was lost.
    Unreachable,
    /// It has no memory left for another counter.
    Full,
    /// It has answered something that is no answer.
    Broken,
    /// It was not asked, because it has failed several times before.
    Resting,
}

impl Charge {
    /// Returns whether this answer refuses the request.
    pub fn refuses(&self, answer: Charged) -> bool {
        let refused = match answer {
            Charged::Verdict(verdict) | Charged::Local(verdict, _) => !verdict.allowed,
            // Where each node counts for itself then, it has not done so yet.
            Charged::Unavailable(_) => self.limit.on_store_error == OnStoreError::Deny,
            Charged::Unasked => false,
        };
        refused && !self.limit.dry_run
    }

    /// Returns how much this node has let pass by itself, and still counts, while the counter could
    /// not be asked. `state` is that of this node's counter.
    pub(super) fn owed(&self, state: State, now: Timestamp) -> u64 {
        let terms = self.instead_terms(now);
        terms.map_or(0, |terms| terms.owed(state, now))
    }

    /// Returns the terms by which this node counts while the counter cannot be asked, if it does.
    pub(super) fn instead_terms(&self, now: Timestamp) -> Option<Terms> {
        let OnStoreError::Local { share } = self.limit.on_store_error else {
            return None;
        };
        Some(self.limit.rule.shared(share, self.cost).terms(now))
    }

    /// Returns what this node charges for itself while the counter cannot be asked, if it does.
    pub(crate) fn instead(&self) -> Option<Self> {
        let OnStoreError::Local { share } = self.limit.on_store_error else {
            return None;
        };
        let limit = Limit {
            rule: self.limit.rule.shared(share, self.cost),
            mode: Mode::Local,
            ..Limit::clone(&self.limit)
        };
        Some(Self {
            limit: Arc::new(limit),
            ..self.clone()
        })
    }
}
