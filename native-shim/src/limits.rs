//! The counters of limits in this process: some 50 bytes for each caller, however long its name is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use tidegate_core::Timestamp;
use tidegate_core::exchange::Settlement;
use tidegate_core::limit::key::CounterKey;
use tidegate_core::limit::owing::StoodIn;
use tidegate_core::limit::{self, Act, Answer, Charge, Charged, State, charge_all};

const SHARDS: usize = 64;

/// Most keys counted; beyond it the counter that is nearest to its rest is forgotten. As many as
/// fill tables of 2^14 places: 41 MiB in all.
const KEYS_MAX: usize = SHARDS * ((1 << 14) / 8 * 7);

/// Tables of so many places are not made smaller.
const PLACES_MIN: usize = 64;

/// How many counters are looked at to find one to forget.
const SAMPLE: usize = 16;

#[derive(Debug)]
struct Counter {
    key: CounterKey,
    state: State,
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
    /// Counters forgotten before they were spent.
    evicted: AtomicU64,
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
        // Seeded, so that nobody can choose keys for one shard.
        Self {
            shards,
            hasher: ahash::RandomState::new(),
            keys_max,
            evicted: AtomicU64::new(0),
        }
    }

    /// Charges all limits of one request: checks all, then consumes all, while nobody else can.
    pub fn charge(&self, charges: &[Charge], now: Timestamp) -> Vec<Charged> {
        let keys = charges.iter().map(|charge| &charge.key);
        let verdicts = self.change(keys, now, |states| charge_all(charges, states, now));
        verdicts.into_iter().map(Charged::Verdict).collect()
    }

    /// Does what counters are asked, while nobody else can.
    pub(crate) fn act(&self, acts: &[(Charge, Act)], now: Timestamp) -> Vec<Answer> {
        let keys = acts.iter().map(|(charge, _)| &charge.key);
        self.change(keys, now, |states| limit::act_all(acts, states, now))
    }

    /// Forgets a counter, and returns what it said.
    pub(crate) fn take(&self, key: &CounterKey) -> Option<State> {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shards[position(hash)]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = shard.counters.find_entry(hash, |c| c.key == *key);
        found.ok().map(|entry| entry.remove().0.state)
    }

    /// Puts a counter back that was taken.
    pub(crate) fn put_back(&self, stood_in: &StoodIn, now: Timestamp) {
        self.change(std::iter::once(stood_in.key()), now, |states| {
            for known in states {
                *known = Some(stood_in.put_back(*known, now));
            }
        });
    }

    /// Has the states of counters changed, while nobody else can read or change them.
    fn change<'a, T>(
        &self,
        keys: impl Iterator<Item = &'a CounterKey> + Clone,
        now: Timestamp,
        change: impl FnOnce(&mut [Option<State>]) -> T,
    ) -> T {
        let hashes: Vec<u64> = keys.clone().map(|key| self.hasher.hash_one(key)).collect();
        let mut locked = self.lock(&hashes);
        let mut states: Vec<Option<State>> = keys
            .clone()
            .zip(&hashes)
            .map(|(key, hash)| shard(&mut locked, *hash).read(key, *hash))
            .collect();
        let before = states.clone();
        let changed = change(&mut states);
        for (((key, hash), state), before) in keys.zip(&hashes).zip(states).zip(before) {
            if let Some(state) = state.filter(|_| state != before) {
                let shard = shard(&mut locked, *hash);
                let counter = Counter { key: *key, state };
                let most = self.keys_max / SHARDS;
                let evicted = shard.write(&self.hasher, counter, most, now);
                self.evicted.fetch_add(evicted, Ordering::Relaxed);
            }
        }
        changed
    }

    /// Does what counters are asked when an exchange has ended.
    pub fn settle(&self, settlements: &[Settlement], now: Timestamp) {
        for settlement in settlements {
            self.act(std::slice::from_ref(settlement), now);
        }
    }

    /// Returns the number of keys counted.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|s| {
                s.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .counters
                    .len()
            })
            .sum()
    }

    /// Returns how many counters were forgotten before they were spent, because there were too
    /// many.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Returns how many keys there is memory for.
    pub fn capacity(&self) -> usize {
        self.shards
            .iter()
            .map(|s| {
                s.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .counters
                    .capacity()
            })
            .sum()
    }

    /// Returns whether no key is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets counters that say no more than none at all, and gives their memory back.
    pub fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.sweep(now);
            shard.shrink(&self.hasher);
        }
    }

    /// Locks the shards of all hashes, in order, so that two requests never wait for each other.
    fn lock(&self, hashes: &[u64]) -> Vec<(usize, MutexGuard<'_, Shard>)> {
        let mut positions: Vec<usize> = hashes.iter().map(|hash| position(*hash)).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
            .into_iter()
            .map(|at| {
                (
                    at,
                    self.shards[at]
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner),
                )
            })
            .collect()
    }
}

fn position(hash: u64) -> usize {
    // The table uses the upper and the lower bits.
    usize::try_from((hash >> 24) & 0xffff).unwrap_or(0) % SHARDS
}

#[expect(
    clippy::expect_used,
    reason = "every hash's shard was locked by the same function of the hash"
)]
fn shard<'a>(locked: &'a mut [(usize, MutexGuard<'_, Shard>)], hash: u64) -> &'a mut Shard {
    let at = position(hash);
    locked
        .iter_mut()
        .find(|(position, _)| *position == at)
        .map(|(_, shard)| &mut **shard)
        .expect("a locked shard")
}

impl Shard {
    fn find(&mut self, key: &CounterKey, hash: u64) -> Option<&mut Counter> {
        self.counters.find_mut(hash, |c| c.key == *key)
    }

    fn read(&self, key: &CounterKey, hash: u64) -> Option<State> {
        self.counters.find(hash, |c| c.key == *key).map(|c| c.state)
    }

    /// Writes a counter; returns how many others had to go.
    fn write(
        &mut self,
        hasher: &ahash::RandomState,
        counter: Counter,
        most: usize,
        now: Timestamp,
    ) -> u64 {
        let hash = hasher.hash_one(counter.key);
        if let Some(known) = self.find(&counter.key, hash) {
            known.state = counter.state;
            return 0;
        }
        let mut evicted = 0;
        if self.counters.len() >= most.max(1) {
            evicted = self.make_room(hasher, most, now);
        }
        self.counters
            .insert_unique(hash, counter, |c| hasher.hash_one(c.key));
        evicted
    }

    fn make_room(&mut self, hasher: &ahash::RandomState, most: usize, now: Timestamp) -> u64 {
        if now.since_guarded(&mut self.swept) >= 1000 {
            self.sweep(now);
        }
        let mut evicted = 0;
        while self.counters.len() >= most.max(1) {
            // Who is nearest to rest has least to gain from being forgotten.
            let Some(key) = self
                .counters
                .iter()
                .take(SAMPLE)
                .min_by_key(|c| c.state.until)
                .map(|c| c.key)
            else {
                return evicted;
            };
            if let Ok(found) = self
                .counters
                .find_entry(hasher.hash_one(key), |c| c.key == key)
            {
                found.remove();
                evicted += 1;
            }
        }
        evicted
    }

    fn sweep(&mut self, now: Timestamp) {
        self.swept = now;
        self.counters.retain(|counter| !counter.state.is_spent(now));
    }

    /// Gives memory back when most of the table is empty.
    fn shrink(&mut self, hasher: &ahash::RandomState) {
        let (used, places) = (self.counters.len(), self.counters.capacity());
        if places > PLACES_MIN && used.saturating_mul(4) < places {
            self.counters
                .shrink_to(used.saturating_mul(2), |c| hasher.hash_one(c.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_core::limit::{Limit, Quota, Rule};

    use super::*;

    fn charge(name: &str, amount: u64, key: &str) -> Charge {
        let quota = Quota {
            amount,
            period: 60_000,
            burst: amount,
        };
        let limit = Limit::new(name, Rule::Rate(quota));
        Charge {
            limit: Arc::new(limit),
            key: CounterKey::of(format!("{name}/{key}").as_bytes()),
            home: 0,
            cost: 1,
        }
    }

    fn allowed(charged: &[Charged]) -> Vec<bool> {
        charged
            .iter()
            .map(|c| matches!(c, Charged::Verdict(verdict) if verdict.allowed))
            .collect()
    }

    #[test]
    fn several_limits_are_consumed_together_or_not_at_all() {
        let limits = Limits::default();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let both = [charge("wide", 2, "a"), charge("narrow", 1, "a")];
        assert_eq!(allowed(&limits.charge(&both, now)), [true, true]);
        assert_eq!(allowed(&limits.charge(&both, now)), [true, false]);
        assert_eq!(
            allowed(&limits.charge(&both[..1], now)),
            [true],
            "the refused request has used nothing"
        );
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
        assert_eq!(limits.evicted(), 10_000 - limits.len() as u64);
        limits.sweep(now.plus(60_000));
        assert!(limits.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let limits = Limits::default();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let some = |count: usize| (0..count).map(|i| charge("one", 10, &i.to_string()));
        for one in some(200_000) {
            limits.charge(&[one], now);
        }
        assert!(
            limits.capacity() * (size_of::<Counter>() + 1) < 30 << 20,
            "{}",
            limits.capacity()
        );
        limits.sweep(now.plus(60_000));
        assert!(
            limits.capacity() <= SHARDS * PLACES_MIN,
            "{}",
            limits.capacity()
        );
    }

    #[test]
    fn what_a_larger_quota_or_a_clock_ahead_has_left_does_not_stay() {
        let limits = Limits::default();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let ahead = now.plus(3_600_000);
        assert_eq!(
            allowed(&limits.charge(&[charge("one", 1, "a")], ahead)),
            [true]
        );
        // An hour back: refused as long as the quota says, and no longer.
        assert_eq!(
            allowed(&limits.charge(&[charge("one", 1, "a")], now)),
            [false]
        );
        assert_eq!(
            allowed(&limits.charge(&[charge("one", 1, "a")], now.plus(60_000))),
            [true]
        );
    }
}
