//! The compiled policy together with the node's own state.

use std::sync::{Arc, Mutex, PoisonError};

use http::request;

use crate::breaker::{Breaker, Outcome, Permit, Rule, StateName};
use crate::cache::CacheKey;
use crate::cache::search::Rules;
use crate::exchange::{Fill, Reply, Step};
use crate::flight::Flights;
use crate::message::request::Client;
use crate::operations::Token;
use crate::policy::Policy;
use crate::purge::table::Purges;
use crate::purge::{Made, Purge};
use crate::report::Kind;
use crate::route::Origin;
use crate::time::{Millis, Timestamp};
use crate::{exchange, purge};

/// Decides. Cheap to clone; clones share their state.
///
/// The state is small and per origin: circuit breakers, and which responses are being fetched. An exchange keeps the engine that began it, so a
/// policy can be replaced while exchanges are under way.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

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

impl Engine {
    /// Makes an engine with no history. `seed` moves jitter, and which keys share a place in tables: nobody outside may know it.
    pub fn new(policy: Policy, seed: u64) -> Self {
        let breakers = pairs(&policy).map(|(_, rule)| Arc::new(Mutex::new(Breaker::new(rule)))).collect();
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

    /// Makes an engine that refuses requests which show the operators' token, so that no origin and no key has it. History is kept.
    #[must_use]
    pub fn keeping(&self, token: Option<Token>) -> Self {
        let Inner { policy, seed, breakers, flights, purges, rules, token: _ } = &*self.0;
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

    /// Makes an engine for another policy that keeps the history of this one: fetches under way, and the circuits of origins whose address and
    /// rule are the same, and purges.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        let kept = |origin: &Origin, rule: &Rule| {
            let old = pairs(&self.0.policy).position(|(o, r)| {
                o.name == origin.name
                    && o.authority == origin.authority
                    && Rule { index: rule.index, ..Rule::clone(r) } == *rule
            })?;
            self.0.breakers.get(old).cloned()
        };
        let breakers =
            pairs(&policy).map(|(o, r)| kept(o, r).unwrap_or_else(|| Arc::new(Mutex::new(Breaker::new(r))))).collect();
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

    /// Begins the exchange for one request.
    pub fn begin(&self, head: request::Parts, client: Client, now: Timestamp) -> Step {
        exchange::begin(self, head, client, Kind::Request, now)
    }

    /// Begins an exchange that only fills the store: it charges no limit.
    pub fn warm(&self, head: request::Parts, client: Client, now: Timestamp) -> Step {
        exchange::begin(self, head, client, Kind::Warming, now)
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Lists the circuits: origin, rule, state.
    pub fn circuits(&self) -> Vec<(Arc<str>, Arc<str>, StateName)> {
        let states = self.0.breakers.iter().map(|b| b.lock().unwrap_or_else(PoisonError::into_inner).state());
        pairs(&self.0.policy)
            .zip(states)
            .map(|((o, r), state)| (Arc::clone(&o.name), Arc::clone(&r.name), state))
            .collect()
    }

    /// Makes a purge: what it reaches is void, or stale, from here on. Returns its number.
    pub fn purge(&self, purge: &Purge) -> purge::Number {
        self.0.purges.make(&purge.spelt_out(self.policy()))
    }

    /// Says what others must number and learn, for a purge to count everywhere.
    pub fn to_be_made(&self, purge: &Purge) -> Vec<Made> {
        purge.spelt_out(self.policy()).iter().map(Made::of).collect()
    }

    /// Makes the purges of a reply. What the reply stores is younger than they are, unless another purge has reached it meanwhile.
    pub fn carry_out(&self, reply: &mut Reply) {
        if reply.purges.is_empty() {
            return;
        }
        let head = reply.fill.as_ref().map(|fill| fill.head.marks());
        let number = self.0.purges.make_all(&reply.purges, head);
        Self::date(&mut reply.fill, number);
    }

    /// Learns of purges that others have made and numbered. A node that learns of such makes none of its own.
    pub fn learn(&self, made: &[Made]) {
        self.0.purges.learn(made);
    }

    /// Does as [`Engine::carry_out`] with purges that were made elsewhere: the last of `made` are those of the reply.
    pub fn carry_out_as(&self, reply: &mut Reply, made: &[Made]) {
        let (others, own) = made.split_at(made.len().saturating_sub(reply.purges.len()));
        let head = reply.fill.as_ref().map(|fill| fill.head.marks());
        let number = self.0.purges.settle(others, own, &reply.purges, head);
        Self::date(&mut reply.fill, number);
    }

    /// Treats what the purges of a reply reach as void for now, because nobody could number them; the reply is not stored.
    pub fn carry_out_provisionally(&self, reply: &mut Reply) {
        for purge in &reply.purges {
            self.0.purges.make_provisionally(purge);
        }
        reply.fill = None;
    }

    fn date(fill: &mut Option<Fill>, number: Option<purge::Number>) {
        match (number, fill) {
            (Some(number), Some(fill)) => Arc::make_mut(&mut fill.head).born = number,
            (None, fill) => *fill = None,
            (Some(_), None) => {}
        }
    }

    /// Returns the number of the last purge; 0 if there was none.
    pub fn last_purge(&self) -> purge::Number {
        self.0.purges.last()
    }

    /// Lets requests for a key go to their origins one by one for a while: its response has proved to be nothing that can be shared.
    pub fn go_alone(&self, key: &CacheKey, now: Timestamp) {
        self.0.flights.go_alone(key, now);
    }

    /// Counts the responses that are being fetched into the store, on behalf of every request that wants them.
    pub fn fetches_under_way(&self, now: Timestamp) -> usize {
        self.0.flights.led(now)
    }

    /// Returns whether a request shows the operators' token.
    pub(crate) fn is_operators(&self, head: &request::Parts) -> bool {
        self.0.token.as_ref().is_some_and(|token| token.is_in(&head.headers))
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
        self.with_breaker(origin, rule, |breaker| breaker.acquire(rule, lease, now)).unwrap_or(Err(now))
    }

    pub(crate) fn record(
        &self,
        origin: &Origin,
        rule: &Rule,
        permit: Permit,
        outcome: Option<Outcome>,
        now: Timestamp,
    ) -> Option<StateName> {
        self.with_breaker(origin, rule, |breaker| breaker.record(rule, permit, outcome, now)).flatten()
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
        self.with_breaker(origin, rule, |breaker| breaker.answered(rule, permit, took, now)).flatten()
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
        self.with_breaker(origin, rule, |breaker| breaker.ended(rule, permit, failed, made_slow, now)).flatten()
    }

    fn with_breaker<T>(&self, origin: &Origin, rule: &Rule, act: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
        let position = origin.index * self.0.policy.breakers.len() + rule.index;
        let breaker = self.0.breakers.get(position)?;
        // A panic elsewhere cannot leave a breaker half changed.
        Some(act(&mut breaker.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn pairs(policy: &Policy) -> impl Iterator<Item = (&Arc<Origin>, &Arc<Rule>)> {
    policy.origins.iter().flat_map(|origin| policy.breakers.iter().map(move |rule| (origin, rule)))
}
