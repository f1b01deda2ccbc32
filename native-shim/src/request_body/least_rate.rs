//! The least rate at which clients send their bodies.

use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::Deadline;

/// How long a client may send too slowly, or nothing, before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the client has been waited for, against how much it has sent.
#[derive(Debug, Default)]
pub(super) struct LeastRate {
    /// Bytes a second; 0 asks for none.
    least: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    deadline: Option<Deadline>,
}

impl LeastRate {
    /// Asks for at least so many bytes a second; 0 asks for nothing.
    pub(super) fn hold_to(&mut self, least: u64) {
        self.least = least;
    }

    /// Returns whether the client has been waited for too long; wakes the task when it will have
    /// been.
    pub(super) fn is_too_slow(&mut self, cx: &mut Context<'_>) -> bool {
        if self.least == 0 {
            return false;
        }
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        let waited = self.waited + now.duration_since(since);
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / self.least);
        let left = (PATIENCE + earned).saturating_sub(waited);
        if left.is_zero() {
            return true;
        }
        let deadline = self.deadline.get_or_insert_with(|| Deadline::after(left));
        deadline.set(left);
        deadline.poll(cx).is_ready()
    }

    /// So many bytes have come.
    pub(super) fn moved(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }
}
