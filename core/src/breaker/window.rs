//! Counts of the calls inside a breaker's window, in bounded memory.

use std::collections::VecDeque;

use super::policy::{BreakerPolicy, Window};
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
        Self {
            window,
            cells: VecDeque::new(),
            total: Cell::default(),
        }
    }

    pub(super) fn add(&mut self, failed: bool, slow: bool, now: Timestamp) {
        let one = Cell {
            bucket: 0,
            calls: 1,
            failed: failed.into(),
            slow: slow.into(),
        };
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

    /// Makes the youngest call that was good a failed or slow one: its body ended badly.
    pub(super) fn worsen(&mut self, failed: bool, slow: bool, now: Timestamp) {
        if let Window::Time(span) = self.window {
            self.forget_old(span, now);
        }
        if failed
            && let Some(cell) = self
                .cells
                .iter_mut()
                .rev()
                .find(|cell| cell.failed < cell.calls)
        {
            cell.failed += 1;
            self.total.failed = self.total.failed.saturating_add(1);
        }
        if slow
            && let Some(cell) = self
                .cells
                .iter_mut()
                .rev()
                .find(|cell| cell.slow < cell.calls)
        {
            cell.slow += 1;
            self.total.slow = self.total.slow.saturating_add(1);
        }
    }

    pub(super) fn trips(&self, rule: &BreakerPolicy) -> bool {
        let Cell {
            calls,
            failed,
            slow,
            ..
        } = self.total;
        calls >= rule.minimum_calls
            && (reaches(failed, calls, rule.failure_rate) || reaches(slow, calls, rule.slow_rate))
    }

    fn add_timed(&mut self, one: Cell, span: Millis, now: Timestamp) {
        let bucket = self.forget_old(span, now);
        match self.cells.back_mut() {
            // Threads that read the clock one after the other may count in the other order.
            Some(newest) if newest.bucket >= bucket => newest.add(one),
            Some(_) | None => self.cells.push_back(Cell { bucket, ..one }),
        }
    }

    /// Forgets what has left a window of time. Returns the number of the bucket that is now.
    fn forget_old(&mut self, span: Millis, now: Timestamp) -> u64 {
        let bucket = now.as_millis() / (span / BUCKETS).max(1);
        let ahead = self
            .cells
            .back()
            .map_or(0, |newest| newest.bucket.saturating_sub(bucket));
        if ahead > 1 {
            // The clock was set back: what was counted was counted until now.
            for cell in &mut self.cells {
                cell.bucket = cell.bucket.saturating_sub(ahead);
            }
        }
        while self
            .cells
            .front()
            .is_some_and(|oldest| oldest.bucket.saturating_add(BUCKETS) <= bucket)
        {
            self.forget_oldest();
        }
        bucket
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

/// Returns whether `part` of `whole` is at least `percent`.
pub(super) fn reaches(part: u32, whole: u32, percent: u8) -> bool {
    whole > 0 && u64::from(part) * 100 >= u64::from(whole) * u64::from(percent)
}
