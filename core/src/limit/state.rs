//! The state of a counter.

use super::gcra::Tat;
use crate::time::{Millis, Timestamp};

/// How far the clocks of those who share a counter may differ. Time does not go back within a counter:
/// what somebody has used who is so much ahead still counts. What lies further in the future is that
/// of a clock which was wrong, and does not.
pub const SKEW_MAX: Millis = 10_000;

/// The state of a counter: a plain value, whatever kind of limit counts. A counter that nobody has
/// used has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// When the state says no more than none at all, in nanoseconds since the Unix epoch. For a rate
    /// that is its theoretical arrival time.
    pub until: u64,
    /// What has been used in the window. Of a rate: the latest moment at which it was charged, in
    /// milliseconds since the Unix epoch.
    pub used: u64,
    /// What was used in the window before, if that still counts.
    pub before: u64,
}

impl State {
    /// Returns whether this state says the same as no state at all, so that a store may forget it.
    pub const fn is_spent(self, now: Timestamp) -> bool {
        self.until <= now.as_nanos()
    }

    /// Returns for how long it says more than no state at all.
    pub const fn spent_in(self, now: Timestamp) -> Millis {
        self.until
            .saturating_sub(now.as_nanos())
            .div_ceil(1_000_000)
    }
}

impl From<Tat> for State {
    fn from(Tat(until): Tat) -> Self {
        Self {
            until,
            used: 0,
            before: 0,
        }
    }
}

impl From<State> for Tat {
    fn from(state: State) -> Self {
        Self(state.until)
    }
}
