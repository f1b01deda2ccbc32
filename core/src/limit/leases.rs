//! What a node holds of counters in advance, by key and plan.

use std::sync::Arc;

use super::act::{Act, Answer};
use super::charge::Charge;
use super::key::CounterKey;
use super::lease::{Lease, Leased, More};
use crate::map::Map;
use crate::time::{Millis, Timestamp};

/// What a lease is of: a counter, and the plan by which it was taken. What a caller has of one plan in
/// advance is no use of another, where it may cost more.
type Of = (CounterKey, Option<Arc<str>>);

fn of(charge: &Charge) -> Of {
    (charge.key, charge.limit.plan.clone())
}

/// A lease, and what it is of.
#[derive(Debug)]
struct Held {
    charge: Charge,
    lease: Lease,
}

/// Leases by key.
#[derive(Debug)]
pub struct Leases {
    held: Map<Of, Held>,
    keys_max: usize,
    /// When they were last looked at for what is not used.
    looked: Timestamp,
}

/// How often leases are looked at for what is not used.
pub const LOOKED_AT_EVERY: Millis = 250;

impl Leases {
    /// Makes room for so many keys. Of further ones nothing is held, and they are asked for at each
    /// request: whoever comes with ever new keys does not come twice with one of them.
    pub const fn bounded(keys_max: usize) -> Self {
        Self {
            held: Map::new(),
            keys_max,
            looked: Timestamp::from_millis(0),
        }
    }

    /// Does what a counter is asked, if what is held of it is enough.
    pub fn act(&mut self, act: Act, charge: &Charge, now: Timestamp) -> Leased {
        if let Some(held) = self.held.get_mut(&of(charge)) {
            // The policy may have changed.
            held.charge.clone_from(charge);
            return held.lease.act(act, charge, now);
        }
        let mut lease = Lease::default();
        let leased = lease.act(act, charge, now);
        if self.held.len() < self.keys_max {
            let charge = charge.clone();
            self.held.insert(of(&charge), Held { charge, lease });
        }
        leased
    }

    /// Takes what the counter has answered to [`Act::Lease`], and does what it was asked for.
    pub fn answered(
        &mut self,
        act: Act,
        charge: &Charge,
        more: More,
        answer: &Answer,
        now: Timestamp,
    ) -> Answer {
        match self.held.get_mut(&of(charge)) {
            Some(held) => held.lease.answered(act, charge, more, answer, now),
            None => Lease::default().answered(act, charge, more, answer, now),
        }
    }

    /// Takes what the counter has answered to what was asked for ahead.
    pub fn take_in(&mut self, charge: &Charge, more: More, answer: &Answer, now: Timestamp) {
        if let Some(held) = self.held.get_mut(&of(charge)) {
            held.lease.take_in(more, answer, now);
        }
    }

    /// Learns that the counter has not answered.
    pub fn unanswered(&mut self, charge: &Charge, more: More) {
        if let Some(held) = self.held.get_mut(&of(charge)) {
            held.lease.unanswered(more);
        }
    }

    /// Says how much is worth to be asked for before it is needed; it is asked for then.
    pub fn ask_ahead(&mut self, charge: &Charge, now: Timestamp) -> Option<More> {
        let held = self.held.get_mut(&of(charge))?;
        held.lease.ask_ahead(charge, now)
    }

    /// Takes out what is to be given back: what was not used for a while, if that was not looked for
    /// just now, or all that is held.
    pub fn rests(&mut self, now: Timestamp, all: bool) -> Vec<(Charge, Act)> {
        let mut rests = Vec::new();
        if now.since_guarded(&mut self.looked) < LOOKED_AT_EVERY && !all {
            return rests;
        }
        self.looked = now;
        self.held.retain(|_, held| {
            if let Some(rest) = held.lease.end(now, all) {
                let mut charge = held.charge.clone();
                charge.cost = rest.amount;
                rests.push((charge, Act::Refund(rest.period_end)));
            }
            !held.lease.is_spent(now)
        });
        rests
    }

    /// Returns whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
