//! Room in memory for bodies that are on their way into the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All the room that is taken, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Reserved(AtomicU64);

impl Reserved {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Room for bytes on their way. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    all: Arc<Reserved>,
    bytes: u64,
}

impl Reservation {
    pub(crate) fn new(all: &Arc<Reserved>) -> Self {
        Self {
            all: Arc::clone(all),
            bytes: 0,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more room; says no when all together would take more than `most`.
    pub(crate) fn grow(&mut self, more: u64, most: u64) -> bool {
        let grown = |bytes: u64| bytes.checked_add(more).filter(|sum| *sum <= most);
        let taken = self
            .all
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok();
        self.bytes += if taken { more } else { 0 };
        taken
    }

    /// Gives room back.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.all.0.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
