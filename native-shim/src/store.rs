//! The memory store of responses (L1): bounded by bytes and by entries, expired entries leave by themselves.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tidegate_core::Timestamp;
use tidegate_core::cache::variants::{self, Put};
use tidegate_core::cache::{CacheKey, Stored};
use tidegate_core::policy::StoreBounds;

/// One lock for so many keys guards reading, changing and writing one of them.
const LOCKS: usize = 64;

/// Bytes that a header field takes besides its text.
const FIELD_BYTES: usize = 32;

/// The responses stored under one key.
#[derive(Debug)]
pub struct Entry {
    heads: Vec<Arc<Stored>>,
    bodies: Vec<Bytes>,
    /// When the last of them expires.
    expires: Timestamp,
    bytes: u64,
}

impl Entry {
    fn new(key: &CacheKey, heads: Vec<Arc<Stored>>, bodies: Vec<Bytes>) -> Self {
        let expires = heads.iter().map(|head| head.expires()).max().unwrap_or_default();
        let bytes = heads.iter().map(|h| head_bytes(h)).sum::<usize>() + bodies.iter().map(Bytes::len).sum::<usize>();
        let bytes = u64::try_from(bytes + key.as_bytes().len()).unwrap_or(u64::MAX);
        Self { heads, bodies, expires, bytes }
    }

    /// Lists the heads of all responses.
    pub fn heads(&self) -> &[Arc<Stored>] {
        &self.heads
    }

    /// Returns the body stored with this very head.
    pub fn body(&self, head: &Arc<Stored>) -> Option<&Bytes> {
        self.position(head).and_then(|at| self.bodies.get(at))
    }

    fn position(&self, head: &Arc<Stored>) -> Option<usize> {
        self.heads.iter().position(|h| Arc::ptr_eq(h, head))
    }
}

fn head_bytes(head: &Stored) -> usize {
    head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum::<usize>()
        + head.vary.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len) + FIELD_BYTES).sum::<usize>()
        + size_of::<Stored>()
}

/// What an entry takes of the capacity: its bytes, but at least the share of one entry, so that one bound holds both.
#[derive(Debug, Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Box<[u8]>, Arc<Entry>> for Weight {
    fn weight(&self, _: &Box<[u8]>, entry: &Arc<Entry>) -> u64 {
        entry.bytes.max(self.least)
    }
}

/// The store.
#[derive(Debug)]
pub struct Store {
    cache: Cache<Box<[u8]>, Arc<Entry>, Weight, ahash::RandomState>,
    locks: [Mutex<()>; LOCKS],
    hasher: ahash::RandomState,
}

impl Store {
    /// Makes an empty store.
    pub fn new(bounds: StoreBounds) -> Self {
        let entries = u64::try_from(bounds.entries_max.max(1)).unwrap_or(u64::MAX);
        let least = (bounds.bytes_max / entries).max(1);
        let hasher = ahash::RandomState::new();
        let lifecycle = DefaultLifecycle::default();
        let options = OptionsBuilder::new()
            .estimated_items_capacity(bounds.entries_max.clamp(1, 1 << 20))
            .weight_capacity(bounds.bytes_max.max(1))
            .shards(shards(bounds.bytes_max))
            .build();
        let cache = match options {
            Ok(options) => Cache::with_options(options, Weight { least }, hasher.clone(), lifecycle),
            Err(_) => Cache::with(1024, bounds.bytes_max.max(1), Weight { least }, hasher.clone(), lifecycle),
        };
        Self { cache, locks: std::array::from_fn(|_| Mutex::default()), hasher }
    }

    /// Returns what is stored under the key and has not expired.
    pub fn get(&self, key: &CacheKey, now: Timestamp) -> Option<Arc<Entry>> {
        let entry = self.cache.get(key.as_bytes())?;
        if now < entry.expires {
            return Some(entry);
        }
        self.cache.remove_if(key.as_bytes(), |entry| entry.expires <= now);
        None
    }

    /// Stores a response with its body.
    pub fn put(&self, key: &CacheKey, head: Arc<Stored>, body: Bytes, now: Timestamp) {
        self.change(key, now, |heads, bodies| place(heads, bodies, head, body));
    }

    /// Stores a head with the body of a stored response, if that is still there.
    pub fn refresh(&self, key: &CacheKey, old: &Arc<Stored>, new: Arc<Stored>, now: Timestamp) {
        self.change(key, now, |heads, bodies| {
            if let Some(at) = heads.iter().position(|head| Arc::ptr_eq(head, old)) {
                let body = bodies[at].clone();
                place(heads, bodies, new, body);
            }
        });
    }

    /// Forgets everything under the key.
    pub fn remove(&self, key: &CacheKey) {
        let _one_at_a_time = self.lock(key);
        self.cache.remove(key.as_bytes());
    }

    /// Forgets what has expired. Takes time in proportion to the number of entries: not for the way of a request.
    pub fn sweep(&self, now: Timestamp) {
        self.cache.retain(|_, entry| now < entry.expires);
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Returns whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Returns the bytes of keys, heads and bodies; each entry counts at least as its share of the bound.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// Changes the bound on bytes; the bound on entries keeps the share that it was made with.
    pub fn resize(&self, bounds: StoreBounds) {
        if self.cache.capacity() != bounds.bytes_max {
            self.cache.set_capacity(bounds.bytes_max.max(1));
        }
    }

    fn change(&self, key: &CacheKey, now: Timestamp, act: impl FnOnce(&mut Vec<Arc<Stored>>, &mut Vec<Bytes>)) {
        let _one_at_a_time = self.lock(key);
        let (mut heads, mut bodies) = (Vec::with_capacity(1), Vec::with_capacity(1));
        if let Some(entry) = self.cache.peek(key.as_bytes()) {
            for (head, body) in entry.heads.iter().zip(&entry.bodies).filter(|(head, _)| now < head.expires()) {
                heads.push(Arc::clone(head));
                bodies.push(body.clone());
            }
        }
        act(&mut heads, &mut bodies);
        if heads.is_empty() {
            self.cache.remove(key.as_bytes());
        } else {
            self.cache.insert(key.as_bytes().into(), Arc::new(Entry::new(key, heads, bodies)));
        }
    }

    fn lock(&self, key: &CacheKey) -> MutexGuard<'_, ()> {
        let hash = usize::try_from(self.hasher.hash_one(key.as_bytes()) & 0xffff).unwrap_or(0);
        self.locks[hash % LOCKS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a response among those of its key.
fn place(heads: &mut Vec<Arc<Stored>>, bodies: &mut Vec<Bytes>, head: Arc<Stored>, body: Bytes) {
    let Put { at, head, before, after } = variants::put(heads, head);
    let Some(at) = at else {
        heads.push(head);
        bodies.push(body);
        return;
    };
    let old = &bodies[at];
    let joined = [slice(old, &before), body.clone(), slice(old, &after)];
    bodies[at] = if before.is_empty() && after.is_empty() { body } else { Bytes::from(joined.concat()) };
    heads[at] = head;
}

/// Takes a range of a body, as far as it is there.
pub(crate) fn slice(body: &Bytes, range: &Range<u64>) -> Bytes {
    let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
    body.slice(position(range.start)..position(range.end).max(position(range.start)))
}

/// A response larger than a shard is not stored, so a shard holds a few of the largest.
fn shards(bytes_max: u64) -> usize {
    usize::try_from((bytes_max >> 26).clamp(1, 64)).unwrap_or(1)
}
