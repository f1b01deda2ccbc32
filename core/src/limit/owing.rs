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
#[derive(Debug, Clone)]
pub struct StoodIn {
    charge: Charge,
    state: State,
}

impl StoodIn {
    /// Returns its key among the counters of this node.
    pub const fn key(&self) -> &CounterKey {
        &self.charge.key
    }

    /// Returns the state with which it is put back. What this node has counted meanwhile is added.
    pub fn put_back(&self, known: Option<State>, now: Timestamp) -> State {
        let owed = match (known, self.charge.instead_terms(now)) {
            (Some(known), Some(terms)) => {
                let owed = self.charge.owed(self.state, now);
                terms.owe(Some(known), owed, now)
            }
            (None, _) | (_, None) => None,
        };
        owed.unwrap_or(self.state)
    }
}

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
                stood_in.push(StoodIn {
                    charge: charge.clone(),
                    state,
                });
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
            let stood_in = self.0.iter().find(|one| *one.key() == charge.key);
            amounts.push(stood_in.map_or(0, |one| charge.owed(one.state, now)));
        }
        amounts
    }

    /// Learns that a group has been asked. Returns what is to be put back, because it has not
    /// answered.
    pub fn asked(&mut self, ask: Ask, acts: &[(Charge, Act)], is_answered: bool) -> Vec<StoodIn> {
        if self.0.is_empty() || ask.errand != Errand::Charge {
            return Vec::new();
        }
        let is_asked = |one: &StoodIn| acts.iter().any(|(charge, _)| charge.key == *one.key());
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
    /// Returns whether a counter elsewhere is to be told what this node has counted for itself. A
    /// lease has no way to say it.
    fn may_be_owed(&self) -> bool {
        let stands_in = matches!(self.limit.on_store_error, OnStoreError::Local { .. });
        // Slots that this node has given come back to it.
        let is_slot = matches!(self.limit.rule, Rule::Slots(_));
        stands_in && self.limit.mode == Mode::Exact && !is_slot
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use std::sync::Arc;

    use super::super::definition::Limit;
    use super::super::quota::Quota;
    use super::super::rule::{Budget, Windows};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_040_000);

    #[test]
    fn what_is_counted_meanwhile_is_added_to_what_is_put_back() {
        let rate = Rule::Rate(Quota {
            amount: 100,
            period: 60_000,
            burst: 100,
        });
        let budget = Rule::Budget(Budget {
            amount: 100,
            windows: Windows::Fixed(3_600_000),
        });
        for rule in [rate, budget] {
            let limit = Limit {
                on_store_error: OnStoreError::Local { share: 100 },
                ..Limit::new("l", rule)
            };
            let charge = Charge {
                limit: Arc::new(limit),
                key: CounterKey::of(b"l"),
                home: 0,
                cost: 1,
            };
            let terms = charge.limit.rule.terms(NOW);
            let used = |amount| terms.charge(None, amount, NOW).0;
            let owing = Owing::take(std::slice::from_ref(&charge), |_| Some(used(40)));
            assert_eq!(owing.amounts(std::slice::from_ref(&charge), NOW), [40]);
            let [stood_in] = &owing.untold()[..] else {
                panic!("one counter stood in");
            };
            let owed = |state| charge.owed(state, NOW);
            assert_eq!(owed(stood_in.put_back(None, NOW)), 40);
            assert_eq!(owed(stood_in.put_back(Some(used(3)), NOW)), 43);
        }
    }
}
