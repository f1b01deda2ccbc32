//! A coarse clock: what the connections of a thread are doing needs no finer one, and reading it
//! costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tidegate_core::Millis;

/// Length of a tick.
pub(super) const TICK: Millis = 100;

/// Ticks so far. Clones are the same clock.
#[derive(Debug, Clone)]
pub(super) struct Ticks(Arc<AtomicU32>);

impl Ticks {
    /// Begins to count. Tick 0 means never.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }

    pub(super) fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves the clock on; returns the tick that has passed.
    pub(super) fn pass(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Returns how many ticks a time takes, at least one.
pub(super) fn ticks_in(time: Millis) -> u32 {
    u32::try_from(time / TICK).unwrap_or(u32::MAX).max(1)
}
