//! The memory store of responses (L1): bounded by bytes and by entries at once; expired entries
//! leave by themselves.
//!
//! Keys are spread over shards by a seeded hash. Each shard has one lock, and no thread holds two.
//! The bounds are those of the whole store: a put takes what it needs from one budget first, and if
//! that does not suffice, others leave before it enters.

mod budget;
mod entry;
mod ghost;
mod held;
mod queues;
mod shard;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tidegate_core::Timestamp;
use tidegate_core::cache::{CacheKey, Stored};
use tidegate_core::policy::StoreBounds;

use budget::{Amount, Budget, Room, Short};
use entry::Response;
use held::Held;
use shard::{HashedKey, Shard};

pub use entry::Entry;
pub(crate) use entry::slice;

/// A shard that is made for fewer entries, or for fewer bytes, chooses badly what to evict.
const SHARD_ENTRIES: usize = 512;
const SHARD_BYTES: u64 = 8 << 20;

/// More shards than these take no more load.
const SHARDS_MAX: usize = 64;

/// So many expired entries leave under one lock.
const SWEPT_AT_ONCE: usize = 64;

/// The store.
#[derive(Debug)]
pub struct Store {
    shards: Box<[RwLock<Shard>]>,
    budget: Budget,
    hasher: ahash::RandomState,
    held: Held,
}

impl Store {
    /// Makes an empty store.
    pub fn new(bounds: StoreBounds) -> Self {
        let shards = (0..shards(bounds))
            .map(|_| RwLock::new(Shard::new()))
            .collect();
        Self {
            shards,
            budget: Budget::new(bounds),
            hasher: ahash::RandomState::new(),
            held: Held::default(),
        }
    }

    /// Returns what is stored under the key and has not expired.
    pub fn get(&self, key: &CacheKey, now: Timestamp) -> Option<Arc<Entry>> {
        let place = self.locate(key);
        let shard = self.read(self.home(place));
        let entry = shard.get(place)?;
        if now < entry.expires() {
            return Some(Arc::clone(entry));
        }
        drop(shard);
        self.forget(place, |entry| entry.expires() <= now);
        None
    }

    /// Stores a response with its body, and returns whether it is stored: not if it is larger than
    /// the store, or would be with the others under its key.
    pub fn put(
        &self,
        key: &CacheKey,
        head: Arc<Stored>,
        body: Bytes,
        joined_max: u64,
        now: Timestamp,
    ) -> bool {
        self.change(self.locate(key), now, move |responses| {
            entry::place(
                responses,
                Arc::clone(&head),
                body.clone(),
                joined_max,
                &self.held,
            );
            true
        })
    }

    /// Stores a head with the body of a stored response, if that is still there.
    pub fn refresh(&self, key: &CacheKey, old: &Arc<Stored>, new: Arc<Stored>, now: Timestamp) {
        self.change(self.locate(key), now, move |responses| {
            let found = responses
                .iter()
                .find(|(head, _)| Arc::ptr_eq(head, old))
                .map(|(_, body)| body.clone());
            found.is_some_and(|body| {
                entry::place(responses, Arc::clone(&new), body, 0, &self.held);
                true
            })
        });
    }

    /// Forgets everything under the key.
    pub fn remove(&self, key: &CacheKey) {
        self.forget(self.locate(key), |_| true);
    }

    /// Forgets what has expired. Takes time in proportion to that alone.
    pub fn sweep(&self, now: Timestamp) {
        for at in 0..self.shards.len() {
            loop {
                let expired: Vec<_> = {
                    let mut shard = self.write(at);
                    std::iter::from_fn(|| shard.expired(now))
                        .take(SWEPT_AT_ONCE)
                        .collect()
                };
                for entry in &expired {
                    self.budget.give(entry.amount());
                }
                if expired.len() < SWEPT_AT_ONCE {
                    break;
                }
            }
        }
    }

    /// Takes the bytes of a body: they count as held until nobody has them any more, neither the
    /// store nor a client that is slow to read them.
    pub(crate) fn hold(&self, body: Vec<u8>) -> Bytes {
        self.held.hold(body)
    }

    /// Returns the bytes of the bodies that are stored, or were and are still being read.
    pub fn held_bytes(&self) -> u64 {
        self.held.bytes()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        usize::try_from(self.budget.taken().entries).unwrap_or(usize::MAX)
    }

    /// Returns whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of keys, heads and bodies, and what the store itself needs for them.
    pub fn bytes(&self) -> u64 {
        self.budget.taken().bytes
    }

    /// Returns the bytes of everything but bodies.
    pub fn overhead(&self) -> u64 {
        (0..self.shards.len())
            .map(|at| self.read(at).overhead())
            .sum()
    }

    /// Changes both bounds, and evicts what is beyond them. The number of shards stays.
    pub fn resize(&self, bounds: StoreBounds) {
        self.budget.set(bounds);
        self.settle(0, Timestamp::default());
    }

    /// Changes what is stored under a key; returns whether it has changed. `act` says whether there
    /// is anything to change; it is called without a lock, because it may copy a body, and again if
    /// others change the same meanwhile.
    fn change(
        &self,
        place: HashedKey<'_>,
        now: Timestamp,
        act: impl Fn(&mut Vec<Response>) -> bool,
    ) -> bool {
        let mut room = Room::new(&self.budget);
        loop {
            let old = self.read(self.home(place)).peek(place).cloned();
            let mut responses = old.as_ref().map_or_else(Vec::new, |old| old.responses(now));
            if !act(&mut responses) {
                return false;
            }
            let new = Arc::new(Entry::new(place.key, &responses));
            if new.amount().bytes > self.budget.bytes_max() {
                return false;
            }
            match self.exchange(place, old.as_ref(), &new, now, &mut room) {
                Exchange::Done => break,
                Exchange::Outdated => {}
                Exchange::NoRoom => return false,
            }
        }
        drop(room);
        self.settle(self.home(place), now);
        true
    }

    /// Stores an entry in place of the old one, for which others leave.
    fn exchange(
        &self,
        place: HashedKey<'_>,
        old: Option<&Arc<Entry>>,
        new: &Arc<Entry>,
        now: Timestamp,
        room: &mut Room<'_>,
    ) -> Exchange {
        let before = old.map_or_else(Amount::default, |old| old.amount());
        let (need, home) = (new.amount().less(before), self.home(place));
        loop {
            let mut shard = self.write(home);
            if shard.peek(place).map(Arc::as_ptr) != old.map(Arc::as_ptr) {
                return Exchange::Outdated;
            }
            let Err(short) = room.grow_to(need) else {
                let _old = shard.set(place, Arc::clone(new));
                drop(shard);
                room.fill(need);
                room.add(before.less(new.amount()));
                return Exchange::Done;
            };
            drop(shard);
            let enough = |left| {
                room.add(left);
                room.grow_to(need)
            };
            if !self.evict(home, Some(place), now, short, enough) {
                return Exchange::NoRoom;
            }
        }
    }

    /// Forgets what is stored under a key, if that is what it looks like.
    fn forget(&self, place: HashedKey<'_>, such: impl FnOnce(&Entry) -> bool) {
        let mut shard = self.write(self.home(place));
        let entry = if shard.peek(place).is_some_and(|entry| such(entry)) {
            shard.remove(place)
        } else {
            None
        };
        drop(shard);
        if let Some(entry) = entry {
            self.budget.give(entry.amount());
        }
    }

    /// Evicts what is beyond bounds that have become lower. A put checks it too: what it had taken
    /// under the old bounds may have come in after [`Store::resize`] has looked.
    fn settle(&self, first: usize, now: Timestamp) {
        if let Err(short) = self.budget.check() {
            self.evict(first, None, now, short, |left| {
                self.budget.give(left);
                self.budget.check()
            });
        }
    }

    /// Evicts entries, one from each shard in turn, until what has left is enough; returns whether
    /// it is.
    fn evict(
        &self,
        first: usize,
        spared: Option<HashedKey<'_>>,
        now: Timestamp,
        mut short: Short,
        mut enough: impl FnMut(Amount) -> Result<(), Short>,
    ) -> bool {
        let (mut at, mut without) = (first, 0);
        while without < self.shards.len() {
            let victim = self
                .write(at)
                .evict(short, now, spared.filter(|_| at == first));
            if let Some(victim) = victim {
                without = 0;
                match enough(victim.amount()) {
                    Ok(()) => return true,
                    Err(still) => short = still,
                }
            } else {
                without += 1;
            }
            at = (at + 1) % self.shards.len();
        }
        false
    }

    fn locate<'a>(&self, key: &'a CacheKey) -> HashedKey<'a> {
        HashedKey {
            key: key.as_bytes(),
            hash: self.hasher.hash_one(key.as_bytes()),
        }
    }

    /// Returns the shard of a key. The tables use the upper and the lower bits of the hash.
    fn home(&self, place: HashedKey<'_>) -> usize {
        usize::try_from((place.hash >> 32) & 0xffff).unwrap_or(0) & (self.shards.len() - 1)
    }

    fn read(&self, at: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[at].read()
    }

    fn write(&self, at: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[at].write()
    }
}

/// How an exchange of entries ended.
enum Exchange {
    Done,
    /// There is another entry now than the one to replace.
    Outdated,
    /// All others together have left too little room, because as much is on its way into the store.
    NoRoom,
}

/// Returns the number of shards, a power of two.
fn shards(bounds: StoreBounds) -> usize {
    let by_bytes = usize::try_from(bounds.bytes_max / SHARD_BYTES).unwrap_or(usize::MAX);
    let most = (bounds.entries_max / SHARD_ENTRIES)
        .min(by_bytes)
        .clamp(1, SHARDS_MAX);
    1 << most.ilog2()
}
