//! Random numbers for trace ids and seeds: fast, unpredictable enough to be distinct, no secret.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

/// Returns a number from the operating system's randomness.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(std::thread::current().id())
}

/// Returns a trace id.
pub(crate) fn fresh_trace() -> u128 {
    u128::from(next()) << 64 | u128::from(next())
}

/// The next number of this thread's sequence (`SplitMix64`).
fn next() -> u64 {
    STATE.with(|state| {
        let counter = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(counter);
        let z = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
