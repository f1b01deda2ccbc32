//! What a node knows besides its policy: circuits, fetches under way, purges, and what queries do
//! not matter.

use std::sync::{Arc, Mutex, PoisonError};

use http::request;

use crate::breaker::{Breaker, Outcome, Permit, Rule, StateName};
use crate::cache::search::Rules;
use crate::flight::Flights;
use crate::operations::Token;
use crate::policy::Policy;
use crate::purge::table::Purges;
use crate::route::Origin;
use crate::time::{Millis, Timestamp};

/// A policy together with the node's own state. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub(crate) struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: Policy,
    seed: u64,
    /// One for each pair of origin and breaker rule, row by row.
    breakers: Vec<Arc<Mutex<Breaker>>>,
    flights: Arc<Flights>,
    purges: Arc<Purges>,
    rules: Arc<Rules>,
    /// What no origin may see.
    token: Option<Arc<Token>>,
}

impl Node {
    /// Makes a node with no history. `seed` moves jitter, and which keys share a place in tables:
    /// nobody outside may know it.
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        let breakers = pairs(&policy)
            .map(|(_, rule)| Arc::new(Mutex::new(Breaker::new(rule))))
            .collect();
        Self(Arc::new(Inner {
            policy,
            seed,
            breakers,
            flights: Arc::new(Flights::new(seed)),
            purges: Arc::new(Purges::new(seed)),
            rules: Arc::default(),
            token: None,
        }))
    }

    /// Makes a node that refuses requests which show the operators' token, so that no origin and no
    /// key has it. History is kept.
    pub(crate) fn keeping(&self, token: Option<Token>) -> Self {
        let Inner {
            policy,
            seed,
            breakers,
            flights,
            purges,
            rules,
            token: _,
        } = &*self.0;
        Self(Arc::new(Inner {
            policy: policy.clone(),
            seed: *seed,
            breakers: breakers.clone(),
            flights: Arc::clone(flights),
            purges: Arc::clone(purges),
            rules: Arc::clone(rules),
            token: token.map(Arc::new),
        }))
    }

    /// Makes a node for another policy that keeps the history of this one: fetches under way, and
    /// the circuits of origins whose address and rule are the same, and purges.
    pub(crate) fn with_policy(&self, policy: Policy) -> Self {
        let kept = |origin: &Origin, rule: &Rule| {
            let old = pairs(&self.0.policy).position(|(o, r)| {
                o.name == origin.name
                    && o.authority == origin.authority
                    && Rule {
                        index: rule.index,
                        ..Rule::clone(r)
                    } == *rule
            })?;
            self.0.breakers.get(old).cloned()
        };
        let breakers = pairs(&policy)
            .map(|(o, r)| kept(o, r).unwrap_or_else(|| Arc::new(Mutex::new(Breaker::new(r)))))
            .collect();
        Self(Arc::new(Inner {
            policy,
            seed: self.0.seed,
            breakers,
            flights: Arc::clone(&self.0.flights),
            purges: Arc::clone(&self.0.purges),
            rules: Arc::clone(&self.0.rules),
            token: self.0.token.clone(),
        }))
    }

    /// Returns the policy.
    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Lists the circuits: origin, rule, state.
    pub(crate) fn circuits(&self) -> Vec<(Arc<str>, Arc<str>, StateName)> {
        let states = self
            .0
            .breakers
            .iter()
            .map(|b| b.lock().unwrap_or_else(PoisonError::into_inner).state());
        pairs(&self.0.policy)
            .zip(states)
            .map(|((o, r), state)| (Arc::clone(&o.name), Arc::clone(&r.name), state))
            .collect()
    }

    /// Returns whether a request shows the operators' token.
    pub(crate) fn is_operators(&self, head: &request::Parts) -> bool {
        self.0
            .token
            .as_ref()
            .is_some_and(|token| token.is_in(&head.headers))
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
        rule: &Rule,
        lease: Millis,
        now: Timestamp,
    ) -> Result<Permit, Timestamp> {
        self.with_breaker(origin, rule, |breaker| breaker.acquire(rule, lease, now))
            .unwrap_or(Err(now))
    }

    pub(crate) fn record(
        &self,
        origin: &Origin,
        rule: &Rule,
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
        rule: &Rule,
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
        rule: &Rule,
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
        rule: &Rule,
        act: impl FnOnce(&mut Breaker) -> T,
    ) -> Option<T> {
        let position = origin.index * self.0.policy.breakers.len() + rule.index;
        let breaker = self.0.breakers.get(position)?;
        // A panic elsewhere cannot leave a breaker half changed.
        Some(act(&mut breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)))
    }
}

fn pairs(policy: &Policy) -> impl Iterator<Item = (&Arc<Origin>, &Arc<Rule>)> {
    policy
        .origins
        .iter()
        .flat_map(|origin| policy.breakers.iter().map(move |rule| (origin, rule)))
}
