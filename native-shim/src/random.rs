//! Random numbers for trace ids and seeds: fast, unpredictable enough to be distinct, no secret.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use tidegate_core::hash;

thread_local! {
    static STATE: Cell<(u64, u64)> = Cell::new((seed(), 0));
}

/// Returns a number from the operating system's randomness.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(std::thread::current().id())
}

/// Returns a trace id.
pub(crate) fn fresh_trace() -> u128 {
    u128::from(next()) << 64 | u128::from(next())
}

/// Returns a number from 0 on and below `end`, which is not 0.
pub(crate) fn below(end: u64) -> u64 {
    next() % end
}

/// The next number of this thread's sequence.
fn next() -> u64 {
    STATE.with(|state| {
        let (seed, n) = state.get();
        state.set((seed, n.wrapping_add(1)));
        hash::draw(seed, n)
    })
}
