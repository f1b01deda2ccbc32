//! Counts of the calls inside a breaker's window, in bounded memory.

use std::collections::VecDeque;

use super::{Rule, Window, reaches};
use crate::time::{Millis, Timestamp};

/// A time window is counted in this many buckets; it forgets one bucket at a time.
const BUCKETS: u64 = 10;

/// Calls, failures and slow calls inside a window.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    window: Window,
    /// One cell for each call, or for each bucket of time; oldest first.
    cells: VecDeque<Cell>,
    total: Cell,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Number of the bucket since the epoch; 0 in a window of calls.
    bucket: u64,
    calls: u32,
    failed: u32,
    slow: u32,
}

impl Tally {
    pub(super) fn new(window: Window) -> Self {
        Self { window, cells: VecDeque::new(), total: Cell::default() }
    }

    pub(super) fn add(&mut self, failed: bool, slow: bool, now: Timestamp) {
        let one = Cell { bucket: 0, calls: 1, failed: failed.into(), slow: slow.into() };
        match self.window {
            Window::Calls(size) => {
                self.cells.push_back(one);
                while self.cells.len() > usize::try_from(size).unwrap_or(usize::MAX) {
                    self.forget_oldest();
                }
            }
            Window::Time(span) => self.add_timed(one, span, now),
        }
        self.total.add(one);
    }

    pub(super) fn trips(&self, rule: &Rule) -> bool {
        let Cell { calls, failed, slow, .. } = self.total;
        calls >= rule.minimum_calls
            && (reaches(failed, calls, rule.failure_rate) || reaches(slow, calls, rule.slow_rate))
    }

    fn add_timed(&mut self, one: Cell, span: Millis, now: Timestamp) {
        let bucket = now.as_millis() / (span / BUCKETS).max(1);
        while self.cells.front().is_some_and(|oldest| oldest.bucket.saturating_add(BUCKETS) <= bucket) {
            self.forget_oldest();
        }
        match self.cells.back_mut() {
            // A clock that steps back counts into the newest bucket.
            Some(newest) if newest.bucket >= bucket => newest.add(one),
            Some(_) | None => self.cells.push_back(Cell { bucket, ..one }),
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.cells.pop_front() {
            self.total.calls = self.total.calls.saturating_sub(oldest.calls);
            self.total.failed = self.total.failed.saturating_sub(oldest.failed);
            self.total.slow = self.total.slow.saturating_sub(oldest.slow);
        }
    }
}

impl Cell {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }
}
