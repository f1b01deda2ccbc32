//! A part of the store, under one lock.
//!
//! Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
//! A new entry goes through a small queue, and only one that is used meanwhile goes on to the main
//! queue; so a scan passes through the small queue and leaves the rest alone. A hit moves nothing:
//! it raises a number, for which a read lock will do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use hashbrown::HashTable;
use tidegate_core::Timestamp;

use super::budget::{Amount, Short};
use super::entry::Entry;
use super::ghost::Ghost;
use super::queues::{Id, Queue, Queues};

/// The small queue is to be one part in so many of what counts.
const SMALL_PART: u64 = 10;

/// One evicted key is remembered for so many entries.
const GHOST_PART: usize = 2;

/// Uses are counted up to here, in two bits. Each keeps an entry for another round.
const FREQUENCY_MAX: u8 = 3;

/// Fewer slots than these are not worth giving back.
const SLOTS_KEPT: usize = 64;

/// A key and its hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct HashedKey<'a> {
    pub(super) key: &'a [u8],
    pub(super) hash: u64,
}

/// A stored entry and what is known of its use.
#[derive(Debug)]
struct Slot {
    key: Box<[u8]>,
    hash: u64,
    entry: Arc<Entry>,
    frequency: AtomicU8,
    queue: Queue,
}

/// A part of the store.
#[derive(Debug)]
pub(super) struct Shard {
    table: HashTable<Id>,
    slots: Vec<Option<Slot>>,
    queues: Queues,
    small: Amount,
    main: Amount,
    ghost: Ghost,
    /// Every entry, by the time when it expires.
    expiry: BTreeSet<(Timestamp, Id)>,
    overhead: u64,
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            queues: Queues::new(),
            small: Amount::default(),
            main: Amount::default(),
            ghost: Ghost::default(),
            expiry: BTreeSet::new(),
            overhead: 0,
        }
    }

    /// Returns what is stored, and counts the use.
    pub(super) fn get(&self, place: HashedKey<'_>) -> Option<&Arc<Entry>> {
        // On the way of every hit: the slot that is compared is not looked up again.
        let mut found = None;
        self.table.find(place.hash, |id| {
            found = self.slot(*id).filter(|slot| *slot.key == *place.key);
            found.is_some()
        })?;
        let slot = found?;
        let frequency = slot.frequency.load(Ordering::Relaxed);
        if frequency < FREQUENCY_MAX {
            // Of two uses at the same moment one may be lost: cheaper than to count both.
            slot.frequency.store(frequency + 1, Ordering::Relaxed);
        }
        Some(&slot.entry)
    }

    /// Returns what is stored.
    pub(super) fn peek(&self, place: HashedKey<'_>) -> Option<&Arc<Entry>> {
        self.find(place)
            .and_then(|id| self.slot(id))
            .map(|slot| &slot.entry)
    }

    /// Returns the bytes of everything but bodies.
    pub(super) fn overhead(&self) -> u64 {
        self.overhead
    }

    /// Stores an entry, and returns the one that it replaces.
    pub(super) fn set(&mut self, place: HashedKey<'_>, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        if let Some(id) = self.find(place) {
            return self.replace(id, entry);
        }
        let queue = if self.ghost.take(place.hash) {
            Queue::Main
        } else {
            Queue::Small
        };
        let HashedKey { key, hash } = place;
        self.put(Slot {
            key: key.into(),
            hash,
            entry,
            frequency: AtomicU8::new(0),
            queue,
        });
        None
    }

    /// Takes out what is stored under a key.
    pub(super) fn remove(&mut self, place: HashedKey<'_>) -> Option<Arc<Entry>> {
        self.find(place)
            .and_then(|id| self.take(id))
            .map(|slot| slot.entry)
    }

    /// Takes out an entry that has expired.
    pub(super) fn expired(&mut self, now: Timestamp) -> Option<Arc<Entry>> {
        let (_, id) = *self.expiry.first().filter(|(expires, _)| *expires <= now)?;
        self.take(id).map(|slot| slot.entry)
    }

    /// Takes out the entry that can best be spared: one that has expired, else the first that has
    /// not been used enough. `spared` stays.
    pub(super) fn evict(
        &mut self,
        short: Short,
        now: Timestamp,
        spared: Option<HashedKey<'_>>,
    ) -> Option<Arc<Entry>> {
        let spared = spared.and_then(|place| self.find(place));
        if let Some((_, id)) = self
            .expiry
            .first()
            .filter(|(expires, id)| *expires <= now && Some(*id) != spared)
        {
            return self.take(*id).map(|slot| slot.entry);
        }
        if self.table.len() <= usize::from(spared.is_some()) {
            return None;
        }
        loop {
            let from = self.evicts_from(short);
            let id = self.queues.front(from)?;
            let slot = self.slots.get_mut(id)?.as_mut()?;
            let frequency = slot.frequency.get_mut();
            if *frequency > 0 || spared == Some(id) {
                *frequency = frequency.saturating_sub(1);
                self.shift(id, Queue::Main);
                continue;
            }
            let slot = self.take(id)?;
            if from == Queue::Small {
                self.ghost.push(slot.hash);
            }
            return Some(slot.entry);
        }
    }

    fn evicts_from(&self, short: Short) -> Queue {
        let (small, main) = (self.small.of(short), self.main.of(short));
        let full = small.saturating_mul(SMALL_PART) > small.saturating_add(main);
        if self.main.entries == 0 || (full && self.small.entries > 0) {
            Queue::Small
        } else {
            Queue::Main
        }
    }

    /// Puts an entry behind the others of its queue.
    fn put(&mut self, slot: Slot) {
        let id = self.vacancy();
        let (amount, queue, hash) = (slot.entry.amount(), slot.queue, slot.hash);
        self.expiry.insert((slot.entry.expires(), id));
        self.overhead += slot.entry.overhead();
        self.slots[id] = Some(slot);
        let slots = &self.slots;
        self.table.insert_unique(hash, id, |id| {
            slots
                .get(*id)
                .and_then(Option::as_ref)
                .map_or(0, |slot| slot.hash)
        });
        self.queues.shift(queue, id);
        self.count(queue, |sum| sum.plus(amount));
    }

    fn take(&mut self, id: Id) -> Option<Slot> {
        let slot = self.slots.get_mut(id)?.take()?;
        if let Ok(found) = self.table.find_entry(slot.hash, |other| *other == id) {
            found.remove();
        }
        self.expiry.remove(&(slot.entry.expires(), id));
        self.overhead -= slot.entry.overhead();
        self.queues.shift(Queue::Free, id);
        self.count(slot.queue, |sum| sum.less(slot.entry.amount()));
        self.ghost.trim(self.table.len() / GHOST_PART);
        if self.slots.len() > SLOTS_KEPT && self.table.len() * 4 < self.slots.len() {
            self.shrink();
        }
        Some(slot)
    }

    fn replace(&mut self, id: Id, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let slot = self.slots.get_mut(id)?.as_mut()?;
        let (new, queue) = (entry.amount(), slot.queue);
        self.expiry.insert((entry.expires(), id));
        self.overhead += entry.overhead();
        let old = std::mem::replace(&mut slot.entry, entry);
        if old.expires() != slot.entry.expires() {
            self.expiry.remove(&(old.expires(), id));
        }
        self.overhead -= old.overhead();
        self.count(queue, |sum| sum.less(old.amount()).plus(new));
        Some(old)
    }

    fn shift(&mut self, id: Id, queue: Queue) {
        self.queues.shift(queue, id);
        if let Some(slot) = self.slots.get_mut(id).and_then(Option::as_mut) {
            let (amount, before) = (
                slot.entry.amount(),
                std::mem::replace(&mut slot.queue, queue),
            );
            self.count(before, |sum| sum.less(amount));
            self.count(queue, |sum| sum.plus(amount));
        }
    }

    fn count(&mut self, queue: Queue, change: impl FnOnce(Amount) -> Amount) {
        match queue {
            Queue::Small => self.small = change(self.small),
            Queue::Main => self.main = change(self.main),
            Queue::Free => {}
        }
    }

    /// Returns a free slot. What is reserved for later is a quarter at most, because it counts with
    /// the entries that there are.
    fn vacancy(&mut self) -> Id {
        if let Some(id) = self.queues.front(Queue::Free) {
            return id;
        }
        if self.slots.len() == self.slots.capacity() {
            let more = self.slots.len() / 4 + 4;
            self.slots.reserve_exact(more);
            self.queues.reserve(more);
        }
        self.slots.push(None);
        self.queues.add(Queue::Free)
    }

    /// Gives back the room that was needed when there was more.
    fn shrink(&mut self) {
        let mut all = std::mem::replace(self, Self::new());
        for queue in [Queue::Small, Queue::Main] {
            while let Some(id) = all.queues.front(queue) {
                all.queues.shift(Queue::Free, id);
                if let Some(slot) = all.slots.get_mut(id).and_then(Option::take) {
                    self.put(slot);
                }
            }
        }
        self.ghost = all.ghost;
        self.ghost.shrink();
    }

    fn find(&self, place: HashedKey<'_>) -> Option<Id> {
        self.table
            .find(place.hash, |id| {
                self.slot(*id).is_some_and(|slot| *slot.key == *place.key)
            })
            .copied()
    }

    fn slot(&self, id: Id) -> Option<&Slot> {
        self.slots.get(id).and_then(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Shard {
        /// Returns what is stored, after making sure that everything which counts it agrees.
        pub(in crate::store) fn audit(&self) -> Amount {
            let (mut small, mut main, mut overhead) = (Amount::default(), Amount::default(), 0);
            for (id, slot) in self
                .slots
                .iter()
                .enumerate()
                .filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
            {
                let sum = if slot.queue == Queue::Small {
                    &mut small
                } else {
                    &mut main
                };
                *sum = sum.plus(slot.entry.amount());
                overhead += slot.entry.overhead();
                assert_eq!(
                    self.find(HashedKey {
                        key: &slot.key,
                        hash: slot.hash
                    }),
                    Some(id)
                );
                assert!(self.expiry.contains(&(slot.entry.expires(), id)));
            }
            assert_eq!(
                (small, main, overhead),
                (self.small, self.main, self.overhead)
            );
            let (total, entries) = (small.plus(main), self.table.len());
            assert_eq!(
                (total.entries, entries),
                (entries as u64, self.expiry.len())
            );
            assert!(
                self.slots.len() <= SLOTS_KEPT.max(entries * 4),
                "{} slots for {entries}",
                self.slots.len()
            );
            total
        }
    }
}
