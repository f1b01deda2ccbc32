//! The paces of all keys in this process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_core::Timestamp;
use tidegate_core::limit::paces::Wait;
use tidegate_core::limit::{Pace, Paces};

const SHARDS: usize = 16;

/// Most keys of one shard whose pace is remembered; beyond it the one that is nearest to its rest is
/// forgotten. 4 MiB in all.
const KEYS_MAX: usize = 4096;

/// The paces of all keys in this process.
#[derive(Debug)]
pub(crate) struct PaceTable {
    shards: [Mutex<Paces>; SHARDS],
    hasher: ahash::RandomState,
}

impl Default for PaceTable {
    fn default() -> Self {
        // Seeded, so that nobody can choose keys for one shard.
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Paces::bounded(KEYS_MAX))),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl PaceTable {
    /// Forgets keys that owe nothing.
    pub(crate) fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            lock(shard).sweep(now);
        }
    }

    /// Takes bytes of all limits; the longest wait counts.
    pub(crate) fn take(&self, paces: &[Pace], bytes: u64, now: Timestamp) -> Wait {
        let mut longest = Wait::default();
        for pace in paces {
            longest = longest.or_longer(self.shard(pace).take(pace, bytes, now));
        }
        longest
    }

    /// Gives bytes back that were taken and will not go.
    pub(crate) fn give_back(&self, paces: &[Pace], bytes: u64) {
        for pace in paces {
            self.shard(pace).give_back(pace, bytes);
        }
    }

    fn shard(&self, pace: &Pace) -> MutexGuard<'_, Paces> {
        let hash = self.hasher.hash_one(pace.key);
        let position = usize::try_from(hash & 0xffff).unwrap_or(0) % SHARDS;
        lock(&self.shards[position])
    }
}

fn lock(shard: &Mutex<Paces>) -> MutexGuard<'_, Paces> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacing::tests::pace;

    #[test]
    fn paces_are_forgotten_when_they_owe_nothing() {
        let table = PaceTable::default();
        let now = Timestamp::from_millis(1_800_000_000_000);
        for key in 0..1000 {
            table.take(&[pace(1000, 1, &key.to_string(), 0)], 1000, now);
        }
        let keys = || {
            table
                .shards
                .iter()
                .map(|shard| lock(shard).len())
                .sum::<usize>()
        };
        assert_eq!(keys(), 1000);
        table.sweep(now.plus(999));
        assert_eq!(keys(), 1000);
        table.sweep(now.plus(1000));
        assert_eq!(keys(), 0);
    }
}
