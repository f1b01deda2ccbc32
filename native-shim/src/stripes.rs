//! What every thread writes is kept in a few copies, its stripes, so that threads do not meet.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many stripes there are.
pub(crate) const STRIPES: usize = 8;

thread_local! {
    static STRIPE: Cell<usize> = Cell::new({
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    });
}

/// Returns the stripe that this thread uses.
pub(crate) fn stripe() -> usize {
    STRIPE.with(Cell::get)
}
