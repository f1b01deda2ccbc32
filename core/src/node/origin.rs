//! What a node knows of an origin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::breaker::{Breaker, BreakerPolicy};
use crate::route::Origin;
use crate::time::Timestamp;

/// What a node knows of an origin.
#[derive(Debug)]
pub(super) struct OriginState {
    origin: Arc<Origin>,
    /// By the rule's position in the policy.
    circuits: Vec<Circuit>,
}

/// The circuit of an origin under one rule. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Circuit {
    pub(super) rule: Arc<BreakerPolicy>,
    breaker: Arc<Mutex<Breaker>>,
}

impl OriginState {
    /// Makes the state of an origin. What one of `old` knows is kept, as far as it is of the same
    /// origin under the same rules.
    pub(super) fn new(origin: &Arc<Origin>, rules: &[Arc<BreakerPolicy>], old: &[Self]) -> Self {
        let old = old.iter().find(|old| old.is_of(origin));
        let mut circuits = Vec::with_capacity(rules.len());
        for rule in rules {
            let kept = old.and_then(|old| old.circuit_like(rule));
            circuits.push(kept.unwrap_or_else(|| Circuit::new(rule)));
        }
        Self {
            origin: Arc::clone(origin),
            circuits,
        }
    }

    fn is_of(&self, origin: &Origin) -> bool {
        self.origin.name == origin.name && self.origin.authority == origin.authority
    }

    /// Returns the circuit under an equal rule, with the new rule: its position may be another.
    fn circuit_like(&self, rule: &Arc<BreakerPolicy>) -> Option<Circuit> {
        let is_equal = |circuit: &&Circuit| {
            let mut moved = BreakerPolicy::clone(&circuit.rule);
            moved.index = rule.index;
            moved == **rule
        };
        let circuit = self.circuits.iter().find(is_equal)?;
        Some(Circuit {
            rule: Arc::clone(rule),
            breaker: Arc::clone(&circuit.breaker),
        })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.origin.name
    }

    pub(super) fn circuits(&self) -> &[Circuit] {
        &self.circuits
    }
}

impl Circuit {
    fn new(rule: &Arc<BreakerPolicy>) -> Self {
        Self {
            rule: Arc::clone(rule),
            breaker: Arc::new(Mutex::new(Breaker::new(rule))),
        }
    }

    // A panic elsewhere cannot leave a breaker half changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the circuit next moves of its own accord.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.lock().poll_timeout(&self.rule)
    }

    /// Lets the circuit move.
    pub(super) fn handle_timeout(&self, now: Timestamp) {
        self.lock().handle_timeout(&self.rule, now);
    }
}
