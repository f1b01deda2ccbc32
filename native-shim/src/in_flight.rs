//! The responses on their way into the store, found by who wants to join them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::cache::CacheKey;

use crate::shared_body::SharedBody;

type ByKey = HashMap<Box<[u8]>, Vec<Arc<SharedBody>>, ahash::RandomState>;

/// The responses on their way, by key.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// How many there are, so that a lookup need not take the lock when there is none.
    count: AtomicUsize,
    by_key: Mutex<ByKey>,
}

impl InFlight {
    /// Returns the responses on their way under a key.
    pub(crate) fn get(&self, key: &CacheKey) -> Vec<Arc<SharedBody>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.lock().get(key.as_bytes()).cloned().unwrap_or_default()
    }

    /// Lets the requests for a key join a response.
    pub(crate) fn enter(&self, key: &CacheKey, shared: &Arc<SharedBody>) {
        self.lock()
            .entry(key.as_bytes().into())
            .or_default()
            .push(Arc::clone(shared));
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Lets nobody join any more. Harmless if nobody could.
    pub(crate) fn leave(&self, key: &CacheKey, shared: &Arc<SharedBody>) {
        let mut by_key = self.lock();
        let Some(all) = by_key.get_mut(key.as_bytes()) else {
            return;
        };
        let before = all.len();
        all.retain(|other| !Arc::ptr_eq(other, shared));
        let left = before - all.len();
        if all.is_empty() {
            by_key.remove(key.as_bytes());
        }
        self.count.fetch_sub(left, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, ByKey> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
