//! Exchanges that wait for another one's fetch of the same key, and how they are woken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::cache::CacheKey;
use tidegate_core::exchange::{AwaitEvent, Event};
use tokio::sync::Notify;

use crate::clock::Clock;

const SHARDS: usize = 16;

type Shard = Mutex<HashMap<Box<[u8]>, Arc<Notify>, ahash::RandomState>>;

/// Who waits for which key.
#[derive(Debug)]
pub(crate) struct Waiters {
    shards: [Shard; SHARDS],
    hasher: ahash::RandomState,
    /// Who waits for keys of tokens.
    keys: Arc<Notify>,
}

/// Wakes all who wait for a key when dropped, in whatever way that happens.
#[derive(Debug)]
pub(crate) struct WakeGuard {
    waiters: Arc<Waiters>,
    key: CacheKey,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: ahash::RandomState::new(),
            keys: Arc::default(),
        }
    }

    /// Makes the guard of a key's fetch.
    pub(crate) fn guard(self: &Arc<Self>, key: &CacheKey) -> WakeGuard {
        WakeGuard {
            waiters: Arc::clone(self),
            key: key.clone(),
        }
    }

    /// Wakes all who wait for keys of tokens.
    pub(crate) fn keys_have_come(&self) {
        self.keys.notify_waiters();
    }

    /// Waits until the time given or, if a fetch is waited for, until that has ended.
    pub(crate) async fn wait(&self, wait: &AwaitEvent, clock: &Clock) {
        let key = match wait.event() {
            Event::Moment => return clock.sleep_until(wait.until()).await,
            Event::FetchEnds(key) => Some(key),
            Event::KeysCome => None,
        };
        let bell = match key {
            Some(key) => Arc::clone(self.shard(key).entry(key.as_bytes().into()).or_default()),
            None => Arc::clone(&self.keys),
        };
        let rung = bell.notified();
        let mut rung = std::pin::pin!(rung);
        rung.as_mut().enable();
        // The fetch may have ended between the core's look and our coming.
        if !wait.is_over(clock.now()) {
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep(clock.remaining(wait.until())) => clock.advance_to(wait.until()),
            }
        }
        if let Some(key) = key {
            self.leave(key, &bell);
        }
    }

    /// Forgets the key when its last waiter leaves.
    fn leave(&self, key: &CacheKey, bell: &Arc<Notify>) {
        let mut shard = self.shard(key);
        let ours = shard
            .get(key.as_bytes())
            .is_some_and(|b| Arc::ptr_eq(b, bell));
        if ours && Arc::strong_count(bell) == 2 {
            shard.remove(key.as_bytes());
        }
    }

    fn shard(
        &self,
        key: &CacheKey,
    ) -> MutexGuard<'_, HashMap<Box<[u8]>, Arc<Notify>, ahash::RandomState>> {
        let hash = usize::try_from(self.hasher.hash_one(key.as_bytes()) & 0xffff).unwrap_or(0);
        self.shards[hash % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WakeGuard {
    fn drop(&mut self) {
        let bell = self.waiters.shard(&self.key).remove(self.key.as_bytes());
        if let Some(bell) = bell {
            bell.notify_waiters();
        }
    }
}
