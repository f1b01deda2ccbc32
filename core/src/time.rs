//! Points in time, given by the shell.

use serde::Serialize;

use crate::packed::{Packed, Unpacking};

/// Milliseconds since the Unix epoch. Arithmetic saturates.
///
/// Only a shell can make one from a clock: the core has none. At the edge the clock stands still
/// between two I/O operations, so `now` is an argument everywhere and is read again after every
/// answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Takes milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns nanoseconds since the Unix epoch, saturating (in the year 2554).
    pub const fn as_nanos(self) -> u64 {
        self.0.saturating_mul(1_000_000)
    }

    /// Returns whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the point `millis` milliseconds later.
    #[must_use]
    pub const fn plus(self, millis: Millis) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds since something began, and takes a beginning that lies in the
    /// future to be now: the clock was set back, and what is measured must not last longer than it
    /// may from here on.
    pub fn since_guarded(self, began: &mut Self) -> Millis {
        *began = self.min(*began);
        self.since(*began)
    }

    /// Returns the milliseconds since `earlier`, or 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Millis {
        self.0.saturating_sub(earlier.0)
    }
}

/// A span of time in milliseconds.
pub type Millis = u64;

impl Packed for Timestamp {
    fn pack(&self, into: &mut Vec<u8>) {
        self.0.pack(into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        Self(u64::unpack(from))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::Timestamp;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let last = Timestamp::from_millis(u64::MAX);
        assert_eq!(last.plus(1), last);
        assert_eq!(Timestamp::from_millis(1).since(last), 0);
        assert_eq!(last.as_nanos(), u64::MAX);
    }
}
