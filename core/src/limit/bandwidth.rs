//! Bandwidth: bytes a second in one direction, of all streams of a key together.
//!
//! Why: a few large downloads must not take the line from everybody else. It trips when the burst
//! of a key is used up: what is sent then has to wait. It recovers by itself, at the quota's rate.
//! Nobody is refused; a stream goes on at its pace.
//!
//! The algorithm is that of rates (`gcra`), in bytes, as a reservation: whoever wants to send takes
//! the bytes first, and is told for how long they have to wait. So streams of one key go in the order
//! in which they have asked, each with one chunk at a time, and share the rate evenly. In any time
//! `t` at most `burst + t * quota` bytes are sent, and one chunk more.

use std::sync::Arc;

use http::Method;

use super::definition::{Absent, KeyPart};
use crate::packed::{packed_enum, packed_struct};
use crate::time::{Millis, Timestamp};

/// Fewest and most bytes that a stream takes at once.
const CHUNK_MIN: u64 = 256;
pub(super) const CHUNK_MAX: u64 = 64 << 10;

/// In this part of a second a stream takes one chunk, so that its pace is even.
const CHUNKS_A_SECOND: u64 = 10;

/// Threads read their clocks a little apart. A clock that is so far behind, in nanoseconds, is taken
/// for late: to follow each step back would earn something anew each time.
const BEHIND_MAX: u64 = 1_000_000_000;

const NANOS_A_MILLI: u64 = 1_000_000;

/// A limit of bytes a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// The name in the policy; part of every key, so that limits never share a pace.
    pub name: Arc<str>,
    /// How fast bytes go.
    pub rate: ByteRate,
    /// Which way.
    pub direction: Direction,
    /// What shares one pace, in order; empty is one for all.
    pub key: Vec<KeyPart>,
    /// What takes the place of a part of the key that a request does not have. It never refuses.
    pub absent: Absent,
    /// The methods whose bodies are paced; all if there are none.
    pub methods: Vec<Method>,
}

packed_struct!(Bandwidth {
    name,
    rate,
    direction,
    key,
    absent,
    methods
});

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client to an origin.
    Request,
    /// From here to the client.
    Response,
}

packed_enum!(Direction {
    0 = Request,
    1 = Response,
});

/// Bytes a period, and how many may go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRate {
    /// Bytes in each period; from 1 to [`ByteRate::BYTES_MAX`].
    pub bytes: u64,
    /// The period; a second or a minute.
    pub period: Millis,
    /// Most bytes that go at once after a time without any; at least 1.
    pub burst: u64,
}

packed_struct!(ByteRate {
    bytes,
    period,
    burst
});

/// How far bytes have been taken ahead of their time. Who has none has taken nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceState {
    /// When all that was taken will have been earned, in nanoseconds since the Unix epoch.
    until: u64,
    /// When bytes were last taken, likewise.
    taken: u64,
}

impl PaceState {
    /// Returns whether this state says the same as no state at all.
    pub const fn is_spent(self, now: Timestamp) -> bool {
        self.until <= now.as_nanos()
    }

    /// Returns when it will say so, in nanoseconds since the Unix epoch.
    pub(super) const fn until(self) -> u64 {
        self.until
    }
}

impl ByteRate {
    /// Most bytes a period: more than a machine has.
    pub const BYTES_MAX: u64 = 1 << 38;

    /// Takes bytes, and says for how long they wait before they go. They are taken even if they are
    /// more than the burst: a chunk passes whatever its size, after its time.
    pub fn take(
        &self,
        state: Option<PaceState>,
        bytes: u64,
        now: Timestamp,
    ) -> (PaceState, Millis) {
        let clock = now.as_nanos();
        let (until, clock) = match state {
            None => (clock, clock),
            Some(PaceState { until, taken }) => {
                let behind = taken.saturating_sub(clock);
                if behind <= BEHIND_MAX {
                    (until, clock.max(taken))
                } else {
                    // The clock was set back: what is owed stays as far ahead of it as it was.
                    (until.saturating_sub(behind), clock)
                }
            }
        };
        let until = until.max(clock).saturating_add(self.nanos(bytes));
        let goes_at = until.saturating_sub(self.nanos(self.burst));
        let wait = goes_at.saturating_sub(clock).div_ceil(NANOS_A_MILLI);
        let taken = clock;
        (PaceState { until, taken }, wait)
    }

    /// Gives bytes back that were taken and will not go.
    #[must_use]
    pub fn give_back(&self, state: PaceState, bytes: u64) -> PaceState {
        PaceState {
            until: state.until.saturating_sub(self.nanos(bytes)),
            taken: state.taken,
        }
    }

    /// Returns how many bytes a stream takes at once at most, so that its pace is even and others of
    /// the same key have their turn.
    pub fn chunk(&self) -> u64 {
        let seconds = (self.period / 1000).max(1);
        (self.bytes / seconds / CHUNKS_A_SECOND).clamp(CHUNK_MIN, CHUNK_MAX)
    }

    /// Nanoseconds that earn so many bytes, rounded up: what is rounded is never given away.
    fn nanos(&self, bytes: u64) -> u64 {
        // Whole periods, whole milliseconds and the rest by themselves: no product of two of these
        // has more than 64 bits.
        let rate = self.bytes.max(1);
        let periods = (bytes / rate).saturating_mul(self.period.saturating_mul(NANOS_A_MILLI));
        let millis = (bytes % rate).saturating_mul(self.period);
        let nanos = (millis % rate).saturating_mul(NANOS_A_MILLI).div_ceil(rate);
        periods
            .saturating_add((millis / rate).saturating_mul(NANOS_A_MILLI))
            .saturating_add(nanos)
    }
}

#[cfg(test)]
mod tests;
