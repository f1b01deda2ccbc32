//! What a node knows besides its policy: circuits, fetches under way, purges, and what queries do
//! not matter.

mod keyring;
mod origin;

use std::sync::Arc;

use http::request;

use crate::breaker::{Breaker, BreakerPolicy, Outcome, Permit, StateName};
use crate::cache::search::Rules;
use crate::flight::Flights;
#[cfg(feature = "source")]
use crate::limit::overrides::Overrides;
use crate::operations::Token;
use crate::policy::Policy;
use crate::purge::table::Purges;
use crate::route::Origin;
use crate::time::{Millis, Timestamp};
use origin::OriginState;

pub(crate) use keyring::Keyring;
pub use keyring::{KeyFetch, KeyNews};

/// A policy together with the node's own state. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub(crate) struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: Policy,
    seed: u64,
    /// By the origin's position in the policy.
    origins: Vec<OriginState>,
    flights: Arc<Flights>,
    purges: Arc<Purges>,
    rules: Arc<Rules>,
    /// What no origin may see.
    token: Option<Arc<Token>>,
    /// Quotas that operators have ordered for single keys.
    #[cfg(feature = "source")]
    overrides: Arc<Overrides>,
    /// By which tokens of clients are verified, if any are.
    keyring: Option<Arc<Keyring>>,
}

impl Node {
    /// Makes a node with no history. `seed` moves jitter, and which keys share a place in tables:
    /// nobody outside may know it.
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        let origins = states(&policy, &[]);
        let keyring = keyring(&policy, None);
        Self(Arc::new(Inner {
            keyring,
            policy,
            seed,
            origins,
            flights: Arc::new(Flights::new(seed)),
            purges: Arc::new(Purges::new(seed)),
            rules: Arc::default(),
            token: None,
            #[cfg(feature = "source")]
            overrides: Arc::default(),
        }))
    }

    /// Makes a node that refuses requests which show the operators' token, so that no origin and no
    /// key has it. History is kept.
    pub(crate) fn keeping(&self, token: Option<Token>) -> Self {
        let Inner {
            policy,
            seed,
            origins,
            flights,
            purges,
            rules,
            token: _,
            keyring,
            #[cfg(feature = "source")]
            overrides,
        } = &*self.0;
        Self(Arc::new(Inner {
            policy: policy.clone(),
            seed: *seed,
            origins: states(policy, origins),
            flights: Arc::clone(flights),
            purges: Arc::clone(purges),
            rules: Arc::clone(rules),
            token: token.map(Arc::new),
            keyring: keyring.clone(),
            #[cfg(feature = "source")]
            overrides: Arc::clone(overrides),
        }))
    }

    /// Makes a node for another policy that keeps the history of this one: fetches under way, and
    /// the circuits of origins whose address and rule are the same, purges, and keys that come from
    /// the same place.
    pub(crate) fn with_policy(&self, policy: Policy) -> Self {
        let origins = states(&policy, &self.0.origins);
        let keyring = keyring(&policy, self.0.keyring.as_ref());
        #[cfg(feature = "source")]
        self.0.overrides.follow(|order| policy.meaning(order).ok());
        Self(Arc::new(Inner {
            keyring,
            policy,
            seed: self.0.seed,
            origins,
            flights: Arc::clone(&self.0.flights),
            purges: Arc::clone(&self.0.purges),
            rules: Arc::clone(&self.0.rules),
            token: self.0.token.clone(),
            #[cfg(feature = "source")]
            overrides: Arc::clone(&self.0.overrides),
        }))
    }

    /// Returns the quotas that operators have ordered for single keys.
    #[cfg(feature = "source")]
    pub(crate) fn overrides(&self) -> &Overrides {
        &self.0.overrides
    }

    /// Returns the policy.
    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Lists the circuits: origin, rule, state.
    pub(crate) fn circuits(&self) -> Vec<(Arc<str>, Arc<str>, StateName)> {
        let mut circuits = Vec::new();
        for origin in &self.0.origins {
            for circuit in origin.circuits() {
                let state = circuit.lock().state();
                circuits.push((
                    Arc::clone(origin.name()),
                    Arc::clone(&circuit.rule.name),
                    state,
                ));
            }
        }
        circuits
    }

    /// Returns when this node next has something to do of its own accord. What begins later may be
    /// due earlier, so it is to be asked again now and then.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let mut earliest = self.0.flights.poll_timeout();
        for circuit in self.0.origins.iter().flat_map(OriginState::circuits) {
            earliest = earliest.into_iter().chain(circuit.poll_timeout()).min();
        }
        earliest
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&self, now: Timestamp) {
        self.0.flights.handle_timeout(now);
        for circuit in self.0.origins.iter().flat_map(OriginState::circuits) {
            circuit.handle_timeout(now);
        }
    }

    /// Returns whether a request shows the operators' token.
    pub(crate) fn is_operators(&self, head: &request::Parts) -> bool {
        self.0
            .token
            .as_ref()
            .is_some_and(|token| token.is_in(&head.headers))
    }

    /// Returns the keys by which tokens of clients are verified, if any are.
    pub(crate) fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.0.keyring.as_ref()
    }

    pub(crate) fn seed(&self) -> u64 {
        self.0.seed
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.0.rules
    }

    pub(crate) fn purges(&self) -> &Purges {
        &self.0.purges
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.0.flights
    }

    pub(crate) fn acquire(
        &self,
        origin: &Origin,
        rule: &BreakerPolicy,
        lease: Millis,
        now: Timestamp,
    ) -> Result<Permit, Timestamp> {
        self.with_breaker(origin, rule, |breaker| breaker.acquire(rule, lease, now))
            .unwrap_or(Err(now))
    }

    pub(crate) fn record(
        &self,
        origin: &Origin,
        rule: &BreakerPolicy,
        permit: Permit,
        outcome: Option<Outcome>,
        now: Timestamp,
    ) -> Option<StateName> {
        self.with_breaker(origin, rule, |breaker| {
            breaker.record(rule, permit, outcome, now)
        })
        .flatten()
    }

    /// Tells a circuit that a response's head has come.
    pub(crate) fn answered(
        &self,
        origin: &Origin,
        rule: &BreakerPolicy,
        permit: Permit,
        took: Millis,
        now: Timestamp,
    ) -> Option<StateName> {
        self.with_breaker(origin, rule, |breaker| {
            breaker.answered(rule, permit, took, now)
        })
        .flatten()
    }

    /// Tells a circuit how the body after that head ended.
    pub(crate) fn ended(
        &self,
        origin: &Origin,
        rule: &BreakerPolicy,
        permit: Permit,
        (failed, made_slow): (bool, bool),
        now: Timestamp,
    ) -> Option<StateName> {
        self.with_breaker(origin, rule, |breaker| {
            breaker.ended(rule, permit, failed, made_slow, now)
        })
        .flatten()
    }

    fn with_breaker<T>(
        &self,
        origin: &Origin,
        rule: &BreakerPolicy,
        act: impl FnOnce(&mut Breaker) -> T,
    ) -> Option<T> {
        let state = self.0.origins.get(origin.index)?;
        let circuit = state.circuits().get(rule.index)?;
        Some(act(&mut circuit.lock()))
    }
}

/// Makes the states of a policy's origins, with what `old` knows of them.
fn states(policy: &Policy, old: &[OriginState]) -> Vec<OriginState> {
    let origins = policy.origins.iter();
    origins
        .map(|origin| OriginState::new(origin, &policy.breakers, old))
        .collect()
}

/// Makes the keyring of a policy, if it reads tokens; the old one if its keys come from the same
/// place.
fn keyring(policy: &Policy, old: Option<&Arc<Keyring>>) -> Option<Arc<Keyring>> {
    let rule = policy.token.as_ref()?;
    let same = old.filter(|old| old.is_of(&rule.keys));
    let keyring = || Arc::new(Keyring::new(rule.keys.clone()));
    Some(same.map_or_else(keyring, Arc::clone))
}
