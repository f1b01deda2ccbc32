//! How much of something is allowed, and what is left of it.

use crate::packed::packed_struct;
use crate::time::{Millis, Timestamp};

/// An amount a period, and how much of it may be used at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Amount allowed in each period; at least 1.
    pub amount: u64,
    /// The period; at least one second.
    pub period: Millis,
    /// Most that may be used at once; at least 1.
    pub burst: u64,
}

packed_struct!(Quota {
    amount,
    period,
    burst
});

/// A limit's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the cost was, or would be, available.
    pub allowed: bool,
    /// What may still be used at once.
    pub remaining: u64,
    /// Until the whole burst is available again.
    pub reset: Millis,
    /// Until the cost would be available; 0 when allowed.
    pub retry_after: Millis,
    /// Of what was charged: the end of the window or period in which it was, which is told when it is
    /// given back. 0 for a rate, and where nothing was charged.
    pub period_end: Timestamp,
}
