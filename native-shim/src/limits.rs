//! The counters of rate limits in this process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use tidegate_core::Timestamp;
use tidegate_core::limit::gcra::Tat;
use tidegate_core::limit::{Charge, Charged, charge_all};

const SHARDS: usize = 64;

/// Most keys counted; beyond it the counter that is nearest to its rest is forgotten.
const KEYS_MAX: usize = 1 << 20;

/// How many counters are looked at to find one to forget.
const SAMPLE: usize = 16;

#[derive(Debug)]
struct Counter {
    key: Box<[u8]>,
    hash: u64,
    tat: Tat,
}

#[derive(Debug, Default)]
struct Shard {
    counters: HashTable<Counter>,
    /// When spent counters were last looked for.
    swept: Timestamp,
}

/// The counters.
#[derive(Debug)]
pub struct Limits {
    shards: Box<[Mutex<Shard>]>,
    hasher: ahash::RandomState,
    keys_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::bounded(KEYS_MAX)
    }
}

impl Limits {
    /// Makes counters for at most so many keys.
    pub fn bounded(keys_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: ahash::RandomState::new(), keys_max }
    }

    /// Charges all limits of one request: checks all, then consumes all, while nobody else can.
    pub fn charge(&self, charges: &[Charge], now: Timestamp) -> Vec<Charged> {
        let hashes: Vec<u64> = charges.iter().map(|c| self.hasher.hash_one(c.key.as_slice())).collect();
        let mut locked = self.lock(&hashes);
        let mut states: Vec<Option<Tat>> =
            charges.iter().zip(&hashes).map(|(c, hash)| shard(&mut locked, *hash).read(&c.key, *hash)).collect();
        let before = states.clone();
        let verdicts = charge_all(charges, &mut states, now);
        for (((charge, hash), state), before) in charges.iter().zip(&hashes).zip(states).zip(before) {
            if let Some(tat) = state.filter(|_| state != before) {
                shard(&mut locked, *hash).write(&charge.key, *hash, tat, self.keys_max / SHARDS, now);
            }
        }
        verdicts.into_iter().map(Charged::Verdict).collect()
    }

    /// Returns the number of keys counted.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).counters.len()).sum()
    }

    /// Returns whether no key is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets counters that say no more than none at all.
    pub fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
        }
    }

    /// Locks the shards of all hashes, in order, so that two requests never wait for each other.
    fn lock(&self, hashes: &[u64]) -> Vec<(usize, MutexGuard<'_, Shard>)> {
        let mut positions: Vec<usize> = hashes.iter().map(|hash| position(*hash)).collect();
        positions.sort_unstable();
        positions.dedup();
        positions.into_iter().map(|at| (at, self.shards[at].lock().unwrap_or_else(PoisonError::into_inner))).collect()
    }
}

fn position(hash: u64) -> usize {
    // The table uses the upper and the lower bits.
    usize::try_from((hash >> 24) & 0xffff).unwrap_or(0) % SHARDS
}

#[expect(clippy::expect_used, reason = "every hash's shard was locked by the same function of the hash")]
fn shard<'a>(locked: &'a mut [(usize, MutexGuard<'_, Shard>)], hash: u64) -> &'a mut Shard {
    let at = position(hash);
    locked.iter_mut().find(|(position, _)| *position == at).map(|(_, shard)| &mut **shard).expect("a locked shard")
}

impl Shard {
    fn read(&self, key: &[u8], hash: u64) -> Option<Tat> {
        self.counters.find(hash, |c| *c.key == *key).map(|c| c.tat)
    }

    fn write(&mut self, key: &[u8], hash: u64, tat: Tat, most: usize, now: Timestamp) {
        if let Some(counter) = self.counters.find_mut(hash, |c| *c.key == *key) {
            counter.tat = tat;
            return;
        }
        if self.counters.len() >= most.max(1) {
            self.make_room(most, now);
        }
        self.counters.insert_unique(hash, Counter { key: key.into(), hash, tat }, |c| c.hash);
    }

    fn make_room(&mut self, most: usize, now: Timestamp) {
        if now.since(self.swept) >= 1000 {
            self.sweep(now);
        }
        while self.counters.len() >= most.max(1) {
            // Who is nearest to rest has least to gain from being forgotten.
            let Some((hash, tat)) = self.counters.iter().take(SAMPLE).map(|c| (c.hash, c.tat)).min_by_key(|c| c.1)
            else {
                return;
            };
            if let Ok(found) = self.counters.find_entry(hash, |c| c.tat == tat) {
                found.remove();
            }
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        self.swept = now;
        self.counters.retain(|counter| !counter.tat.is_spent(now));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_core::limit::{Limit, OnStoreError, Quota};

    use super::*;

    fn charge(name: &str, amount: u64, key: &str) -> Charge {
        let quota = Quota { amount, period: 60_000, burst: amount };
        let on_store_error = OnStoreError::Allow;
        let limit = Limit { name: name.into(), quota, key: vec![], cost: 1, dry_run: false, on_store_error };
        Charge { limit: Arc::new(limit), key: format!("{name}/{key}").into_bytes() }
    }

    fn allowed(charged: &[Charged]) -> Vec<bool> {
        charged.iter().map(|c| matches!(c, Charged::Verdict(verdict) if verdict.allowed)).collect()
    }

    #[test]
    fn several_limits_are_consumed_together_or_not_at_all() {
        let limits = Limits::default();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let both = [charge("wide", 2, "a"), charge("narrow", 1, "a")];
        assert_eq!(allowed(&limits.charge(&both, now)), [true, true]);
        assert_eq!(allowed(&limits.charge(&both, now)), [true, false]);
        assert_eq!(allowed(&limits.charge(&both[..1], now)), [true], "the refused request has used nothing");
        assert_eq!(allowed(&limits.charge(&both[..1], now)), [false]);
    }

    #[test]
    fn keys_are_bounded_and_spent_ones_leave() {
        let limits = Limits::bounded(256);
        let now = Timestamp::from_millis(1_700_000_000_000);
        for i in 0..10_000 {
            limits.charge(&[charge("one", 10, &i.to_string())], now);
        }
        assert!((200..=256).contains(&limits.len()), "{}", limits.len());
        limits.sweep(now.plus(60_000));
        assert!(limits.is_empty());
    }
}
