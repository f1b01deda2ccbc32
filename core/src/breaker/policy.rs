//! When a circuit opens and closes, as the policy says.

use std::sync::Arc;

use crate::packed::{packed_enum, packed_struct};
use crate::time::Millis;

/// The thresholds of a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// The name in the policy.
    pub name: Arc<str>,
    /// Position in [`crate::Policy::breakers`].
    pub index: usize,
    /// What is looked at.
    pub window: Window,
    /// Percentage of failed calls that opens.
    pub failure_rate: u8,
    /// A call at least this long is slow, as far as its origin was waited for.
    pub slow_call: Millis,
    /// Percentage of slow calls that opens.
    pub slow_rate: u8,
    /// Fewer calls never open.
    pub minimum_calls: u32,
    /// How long the circuit stays open.
    pub open: Millis,
    /// Calls tried before the circuit closes or opens again.
    pub half_open_permits: u32,
    /// Statuses that count as failures.
    pub failure_statuses: Vec<u16>,
}

packed_struct!(BreakerPolicy {
    name,
    index,
    window,
    failure_rate,
    slow_call,
    slow_rate,
    minimum_calls,
    open,
    half_open_permits,
    failure_statuses
});

/// The calls that a breaker looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last so many.
    Calls(u32),
    /// Those of the last so many milliseconds.
    Time(Millis),
}

packed_enum!(Window { 0 = Calls(calls), 1 = Time(time) });
