//! What the whole store may hold, and how much of it is taken.
//!
//! Whatever goes in is taken from the budget first, and given back only after it has left; so the
//! bounds hold at every moment, whatever other threads do.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tidegate_core::policy::StoreBounds;

/// Bytes and entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

impl Amount {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
        }
    }

    /// Subtracts; what would fall below nothing is nothing.
    pub(super) fn less(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            entries: self.entries.saturating_sub(other.entries),
        }
    }

    /// Returns what counts against the bound that is short.
    pub(super) fn of(self, short: Short) -> u64 {
        match short {
            Short::Bytes => self.bytes,
            Short::Entries => self.entries,
        }
    }
}

/// The bound that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Bytes,
    Entries,
}

/// Both bounds, and what is taken of them. Sequentially consistent: a put that counted on older
/// bounds and a change of the bounds never miss each other (`Store::settle`).
#[derive(Debug, Default)]
pub(super) struct Budget {
    bytes: Account,
    entries: Account,
}

#[derive(Debug, Default)]
struct Account {
    taken: AtomicU64,
    max: AtomicU64,
}

impl Account {
    fn take(&self, count: u64) -> bool {
        let max = self.max.load(SeqCst);
        let more = |taken: u64| taken.checked_add(count).filter(|sum| *sum <= max);
        count == 0 || self.taken.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    fn give(&self, count: u64) {
        self.taken.fetch_sub(count, SeqCst);
    }

    fn is_over(&self) -> bool {
        self.taken.load(SeqCst) > self.max.load(SeqCst)
    }
}

impl Budget {
    pub(super) fn new(bounds: StoreBounds) -> Self {
        let budget = Self::default();
        budget.set(bounds);
        budget
    }

    pub(super) fn set(&self, bounds: StoreBounds) {
        self.bytes.max.store(bounds.bytes_max, SeqCst);
        self.entries.max.store(
            u64::try_from(bounds.entries_max).unwrap_or(u64::MAX),
            SeqCst,
        );
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes.max.load(SeqCst)
    }

    pub(super) fn taken(&self) -> Amount {
        Amount {
            bytes: self.bytes.taken.load(SeqCst),
            entries: self.entries.taken.load(SeqCst),
        }
    }

    /// Says which bound is exceeded, as only a change of the bounds can have done.
    pub(super) fn check(&self) -> Result<(), Short> {
        match (self.bytes.is_over(), self.entries.is_over()) {
            (true, _) => Err(Short::Bytes),
            (false, true) => Err(Short::Entries),
            (false, false) => Ok(()),
        }
    }

    pub(super) fn give(&self, amount: Amount) {
        self.bytes.give(amount.bytes);
        self.entries.give(amount.entries);
    }

    fn take(&self, amount: Amount) -> Result<(), Short> {
        if !self.bytes.take(amount.bytes) {
            return Err(Short::Bytes);
        }
        if !self.entries.take(amount.entries) {
            self.bytes.give(amount.bytes);
            return Err(Short::Entries);
        }
        Ok(())
    }
}

/// What one change of the store has taken and not filled; it goes back at the end.
///
/// The place of what has been evicted for a put comes here and not into the budget, where other
/// puts could snatch it away.
#[derive(Debug)]
pub(super) struct Room<'a> {
    budget: &'a Budget,
    held: Amount,
}

impl<'a> Room<'a> {
    pub(super) fn new(budget: &'a Budget) -> Self {
        Self {
            budget,
            held: Amount::default(),
        }
    }

    /// Takes from the budget what is missing.
    pub(super) fn grow_to(&mut self, need: Amount) -> Result<(), Short> {
        let missing = need.less(self.held);
        self.budget.take(missing)?;
        self.held = self.held.plus(missing);
        Ok(())
    }

    /// Takes over the place of what has left the store.
    pub(super) fn add(&mut self, left: Amount) {
        self.held = self.held.plus(left);
    }

    /// Hands over to the store.
    pub(super) fn fill(&mut self, amount: Amount) {
        self.held = self.held.less(amount);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.budget.give(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(bytes: u64, entries: u64) -> Amount {
        Amount { bytes, entries }
    }

    #[test]
    fn nothing_is_taken_unless_both_bounds_allow_it() {
        let budget = Budget::new(StoreBounds {
            bytes_max: 10,
            entries_max: 2,
        });
        let mut room = Room::new(&budget);
        assert_eq!(room.grow_to(amount(11, 1)), Err(Short::Bytes));
        assert_eq!(room.grow_to(amount(10, 3)), Err(Short::Entries));
        assert_eq!(room.grow_to(amount(u64::MAX, 1)), Err(Short::Bytes));
        assert_eq!(budget.taken(), amount(0, 0));
        assert_eq!(room.grow_to(amount(10, 2)), Ok(()));
        assert_eq!(budget.taken(), amount(10, 2));
    }

    #[test]
    fn what_is_not_filled_goes_back() {
        let budget = Budget::new(StoreBounds {
            bytes_max: 10,
            entries_max: 2,
        });
        let mut room = Room::new(&budget);
        room.grow_to(amount(6, 1)).unwrap();
        room.fill(amount(6, 1));
        room.grow_to(amount(4, 1)).unwrap();
        drop(room);
        assert_eq!(budget.taken(), amount(6, 1));
        let mut room = Room::new(&budget);
        room.add(amount(6, 1));
        assert_eq!(room.grow_to(amount(10, 1)), Ok(()));
        assert_eq!(budget.taken(), amount(10, 1));
    }

    #[test]
    fn lower_bounds_show_what_is_over_them() {
        let budget = Budget::new(StoreBounds {
            bytes_max: 10,
            entries_max: 2,
        });
        Room::new(&budget).grow_to(amount(10, 2)).unwrap();
        let mut room = Room::new(&budget);
        room.grow_to(amount(10, 2)).unwrap();
        budget.set(StoreBounds {
            bytes_max: 10,
            entries_max: 1,
        });
        assert_eq!(budget.check(), Err(Short::Entries));
        assert_eq!(room.grow_to(amount(10, 2)), Ok(()), "what is held already");
        budget.set(StoreBounds {
            bytes_max: 9,
            entries_max: 1,
        });
        assert_eq!(budget.check(), Err(Short::Bytes));
        drop(room);
        assert_eq!(budget.check(), Ok(()));
    }
}
