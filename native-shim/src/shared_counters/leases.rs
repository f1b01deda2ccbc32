//! What this node holds of counters in advance: the core's own table, in shards.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_core::Timestamp;
use tidegate_core::limit::key::CounterKey;
use tidegate_core::limit::leases::Leases;
use tidegate_core::limit::{Act, Charge};

const SHARDS: usize = 16;

/// Most keys of which something is held.
const KEYS_MAX: usize = 100_000;

/// Leases by key. A key is a digest, so whoever chooses keys does not choose their places.
#[derive(Debug)]
pub(super) struct Shards([Mutex<Leases>; SHARDS]);

impl Default for Shards {
    fn default() -> Self {
        Self([const { Mutex::new(Leases::bounded(KEYS_MAX / SHARDS)) }; SHARDS])
    }
}

impl Shards {
    /// Returns the leases among which that of a key is.
    pub(super) fn of(&self, key: &CounterKey) -> MutexGuard<'_, Leases> {
        let [first, ..] = key.as_bytes();
        lock(&self.0[usize::from(*first) % SHARDS])
    }

    /// Takes out what is to be given back: what was not used for a while, or all that is held.
    pub(super) fn rests(&self, now: Timestamp, all: bool) -> Vec<(Charge, Act)> {
        let mut rests = Vec::new();
        for shard in &self.0 {
            rests.extend(lock(shard).rests(now, all));
        }
        rests
    }

    /// Returns whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|shard| lock(shard).is_empty())
    }
}

fn lock(shard: &Mutex<Leases>) -> MutexGuard<'_, Leases> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
