//! What this node holds of counters in advance, by key.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_core::Timestamp;
use tidegate_core::limit::key::CounterKey;
use tidegate_core::limit::lease::{Lease, Leased, More};
use tidegate_core::limit::{Act, Answer, Charge};

const SHARDS: usize = 16;

/// Most keys of which something is held. Further ones are asked for each request: who asks with ever
/// new keys does not come twice with one of them.
const KEYS_MAX: usize = 100_000;

/// A lease, and what it is of.
#[derive(Debug)]
struct Held {
    charge: Charge,
    lease: Lease,
}

/// Leases by key. A key is a digest, so whoever chooses keys does not choose their places.
#[derive(Debug, Default)]
pub(super) struct Leases {
    shards: [Mutex<HashMap<CounterKey, Held>>; SHARDS],
}

impl Leases {
    /// Does what a counter is asked, if what is held of it is enough.
    pub(super) fn act(&self, act: Act, charge: &Charge, now: Timestamp) -> Leased {
        let mut shard = self.shard(&charge.key);
        if let Some(held) = shard.get_mut(&charge.key) {
            // The policy may have changed.
            held.charge.clone_from(charge);
            return held.lease.act(act, charge, now);
        }
        let mut lease = Lease::default();
        let leased = lease.act(act, charge, now);
        if shard.len() < KEYS_MAX / SHARDS {
            let charge = charge.clone();
            shard.insert(charge.key, Held { charge, lease });
        }
        leased
    }

    /// Takes what the counter has answered.
    pub(super) fn answered(
        &self,
        act: Act,
        charge: &Charge,
        more: More,
        answer: &Answer,
        now: Timestamp,
    ) -> Answer {
        match self.shard(&charge.key).get_mut(&charge.key) {
            Some(held) => held.lease.answered(act, charge, more, answer, now),
            None => Lease::default().answered(act, charge, more, answer, now),
        }
    }

    /// Takes what the counter has answered to what was asked for ahead.
    pub(super) fn take_in(&self, charge: &Charge, more: More, answer: &Answer, now: Timestamp) {
        if let Some(held) = self.shard(&charge.key).get_mut(&charge.key) {
            held.lease.take_in(more, answer, now);
        }
    }

    /// Learns that the counter has not answered.
    pub(super) fn unanswered(&self, charge: &Charge, more: More) {
        if let Some(held) = self.shard(&charge.key).get_mut(&charge.key) {
            held.lease.unanswered(more);
        }
    }

    /// Says how much is worth to be asked for before it is needed.
    pub(super) fn ask_ahead(&self, charge: &Charge, now: Timestamp) -> Option<More> {
        let mut shard = self.shard(&charge.key);
        shard.get_mut(&charge.key)?.lease.ask_ahead(charge, now)
    }

    /// Takes out what is to be given back: what was not used for a while, or all that is held.
    pub(super) fn rests(&self, now: Timestamp, all: bool) -> Vec<(Charge, Act)> {
        let mut rests = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for held in shard.values_mut() {
                if let Some(rest) = held.lease.end(now, all) {
                    let mut charge = held.charge.clone();
                    charge.cost = rest.amount;
                    rests.push((charge, Act::Refund(rest.period_end)));
                }
            }
            shard.retain(|_, held| !held.lease.is_spent(now));
        }
        rests
    }

    /// Returns whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.is_empty()
        })
    }

    fn shard(&self, key: &CounterKey) -> MutexGuard<'_, HashMap<CounterKey, Held>> {
        let [first, ..] = key.as_bytes();
        let shard = &self.shards[usize::from(*first) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
