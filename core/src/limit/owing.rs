//! What a node owes to counters that it could not ask: it has counted for itself meanwhile, and tells
//! them when it can ask them again, so that nobody uses a quota twice.

use super::act::Act;
use super::charge::Charge;
use super::definition::{Mode, OnStoreError};
use super::key::CounterKey;
use super::round::{Ask, Errand};
use super::rule::Rule;
use super::state::State;
use crate::time::Timestamp;

/// A counter of this node that stood in for another one.
pub type StoodIn = (CounterKey, State);

/// What a node owes to the counters of one request. It is taken out of the node's own counters, and
/// put back unless the others have been told.
#[derive(Debug, Default)]
pub struct Owing(Vec<StoodIn>);

impl Owing {
    /// Takes out what stood in for the counters of a request. `take` forgets a counter of this node,
    /// and returns what it said.
    pub fn take(charges: &[Charge], mut take: impl FnMut(&CounterKey) -> Option<State>) -> Self {
        let mut stood_in = Vec::new();
        for charge in charges {
            if charge.may_be_owed()
                && let Some(state) = take(&charge.key)
            {
                stood_in.push((charge.key, state));
            }
        }
        Self(stood_in)
    }

    /// Says how much is owed for each charge, as [`super::round::Round::new`] takes it.
    pub fn amounts(&self, charges: &[Charge], now: Timestamp) -> Vec<u64> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut amounts = Vec::with_capacity(charges.len());
        for charge in charges {
            let state = self.0.iter().find(|(key, _)| *key == charge.key);
            amounts.push(state.map_or(0, |(_, state)| charge.owed(*state, now)));
        }
        amounts
    }

    /// Learns that a group has been asked. Returns what is to be put back, because it has not
    /// answered.
    pub fn asked(&mut self, ask: Ask, acts: &[(Charge, Act)], is_answered: bool) -> Vec<StoodIn> {
        if self.0.is_empty() || ask.errand != Errand::Charge {
            return Vec::new();
        }
        let is_asked = |(key, _): &StoodIn| acts.iter().any(|(charge, _)| charge.key == *key);
        let (asked, left): (Vec<StoodIn>, Vec<StoodIn>) =
            std::mem::take(&mut self.0).into_iter().partition(is_asked);
        self.0 = left;
        if is_answered { Vec::new() } else { asked }
    }

    /// Returns what nobody was told of, to be put back.
    pub fn untold(self) -> Vec<StoodIn> {
        self.0
    }
}

impl Charge {
    /// Returns whether this node may have counted for itself what is counted elsewhere.
    pub fn may_be_owed(&self) -> bool {
        let stands_in = matches!(self.limit.on_store_error, OnStoreError::Local { .. });
        // Slots that this node has given come back to it.
        let is_slot = matches!(self.limit.rule, Rule::Slots(_));
        stands_in && self.limit.mode != Mode::Local && !is_slot
    }
}
