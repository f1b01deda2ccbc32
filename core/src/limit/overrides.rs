//! Overrides: another quota for a single key, ordered while the node runs.
//!
//! Why: a customer is to have more today, or a caller less, and no policy is to be released for that. An
//! override is a limit of its own that shares the count of its key, as a plan is; it comes before the
//! plan that a request is of. It is kept by what was ordered, so that it holds under another policy too;
//! one that means nothing there rests until a policy comes in which it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::definition::Limit;
use super::key::CounterKey;
use crate::map::Map;

/// Most overrides of a node.
pub const OVERRIDES_MAX: usize = 10_000;

/// What is ordered for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The limit's name.
    pub limit: String,
    /// The values of the parts of its key, in order.
    pub key: Vec<Vec<u8>>,
    /// As the policy writes it: "500/min".
    pub quota: String,
    /// Of a rate: most that may be used at once, if that is not the amount.
    pub burst: Option<u64>,
}

/// What an override means under a policy: whose count, and how much.
pub(crate) type Meant = (CounterKey, Arc<Limit>);

/// An override, and what it means, if anything.
#[derive(Debug)]
struct Entry {
    order: Override,
    meant: Option<Meant>,
}

/// The overrides of a node.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    /// Whether there are any: requests look no further if not.
    any: AtomicBool,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: Vec<Entry>,
    in_force: Map<CounterKey, Arc<Limit>>,
}

impl Overrides {
    /// Returns the limit that counts for a key instead of one of this name. The name must be that of
    /// the policy under which the overrides were read: an exchange that has begun under another one
    /// ends with the quota that it began with.
    pub(crate) fn find(&self, key: &CounterKey, name: &Arc<str>) -> Option<Arc<Limit>> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let table = self.read();
        let found = table.in_force.get(key);
        found
            .filter(|limit| Arc::ptr_eq(&limit.name, name))
            .cloned()
    }

    /// Takes an override, instead of another one for the same key. Returns whether there is room.
    pub(crate) fn set(&self, order: Override, meant: Meant) -> bool {
        let mut table = self.write();
        table.remove(&order.limit, &order.key, Some(&meant.0));
        if table.entries.len() >= OVERRIDES_MAX {
            return false;
        }
        table.entries.push(Entry {
            order,
            meant: Some(meant),
        });
        self.changed(&mut table);
        true
    }

    /// Ends the override of a key; `counter` is what the key means under the present policy. Returns
    /// whether there was one.
    pub(crate) fn remove(
        &self,
        limit: &str,
        key: &[Vec<u8>],
        counter: Option<&CounterKey>,
    ) -> bool {
        let mut table = self.write();
        let removed = table.remove(limit, key, counter);
        self.changed(&mut table);
        removed
    }

    /// Lists the overrides of a limit, and whether each is in force.
    pub(crate) fn list(&self, limit: &str) -> Vec<(Override, bool)> {
        let table = self.read();
        let mut listed = Vec::new();
        for entry in &table.entries {
            if entry.order.limit == limit {
                listed.push((entry.order.clone(), entry.meant.is_some()));
            }
        }
        listed
    }

    /// Reads all overrides anew under another policy.
    pub(crate) fn follow(&self, mut meaning: impl FnMut(&Override) -> Option<Meant>) {
        let mut table = self.write();
        for entry in &mut table.entries {
            entry.meant = meaning(&entry.order);
        }
        self.changed(&mut table);
    }

    fn changed(&self, table: &mut Table) {
        table.in_force = Map::new();
        for entry in &table.entries {
            if let Some((key, limit)) = &entry.meant {
                table.in_force.insert(*key, Arc::clone(limit));
            }
        }
        let any = !table.entries.is_empty();
        self.any.store(any, Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, limit: &str, key: &[Vec<u8>], counter: Option<&CounterKey>) -> bool {
        let before = self.entries.len();
        self.entries.retain(|Entry { order, meant }| {
            let is_meant = meant.as_ref().map(|(key, _)| key);
            let is_same = counter.is_some() && is_meant == counter;
            let is_written = order.limit == limit && order.key == key;
            !is_same && !is_written
        });
        self.entries.len() < before
    }
}

#[cfg(test)]
mod tests;
