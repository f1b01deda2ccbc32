//! A budget's window: an amount that may be used in it, at any pace.
//!
//! A budget is no rate: what is used is not earned back in between. A window that slides counts two
//! windows: what was used in the one before counts as far as a window that ends now would reach back
//! into it, as if it had been used evenly. So at most twice the amount passes in any time as long as
//! a window, and no more than the amount in a window itself, which is all that a fixed one promises.

use super::quota::Verdict;
use super::state::{SKEW_MAX, State};
use crate::time::{Millis, Timestamp};

/// A window at a moment. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What may be used in it; at least 1.
    pub amount: u64,
    /// When it has begun.
    pub begin: u64,
    /// When it ends.
    pub end: u64,
    /// When the one after it ends.
    pub next_end: u64,
    /// Whether the window before counts too.
    pub slides: bool,
}

/// What was used, and in which window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) used: u64,
    pub(super) before: u64,
}

impl Used {
    /// Takes back what was charged in the window that ends then.
    pub(super) fn less(mut self, cost: u64, period_end: Timestamp) -> Self {
        if self.end == period_end.as_millis() {
            self.used = self.used.saturating_sub(cost);
        } else if self.begin == period_end.as_millis() {
            self.before = self.before.saturating_sub(cost);
        }
        self
    }
}

impl Window {
    pub(super) fn peek(&self, state: Option<State>, cost: u64, now: Timestamp) -> Verdict {
        let used = self.place(state, now);
        if self.is_available(used, cost, now) {
            self.verdict(used, 0, now)
        } else {
            self.verdict(used, self.wait(used, cost, now), now)
        }
    }

    pub(super) fn charge(
        &self,
        state: Option<State>,
        cost: u64,
        now: Timestamp,
    ) -> (State, Verdict) {
        let mut used = self.place(state, now);
        if !self.is_available(used, cost, now) {
            let verdict = self.verdict(used, self.wait(used, cost, now), now);
            return (self.state(used), verdict);
        }
        used.used = used.used.saturating_add(cost);
        let verdict = Verdict {
            period_end: Timestamp::from_millis(used.end),
            ..self.verdict(used, 0, now)
        };
        (self.state(used), verdict)
    }

    /// Gives back what was charged in the window that ends then. What was charged in one before the
    /// last is gone.
    pub(super) fn refund(
        &self,
        state: Option<State>,
        cost: u64,
        period_end: Timestamp,
        now: Timestamp,
    ) -> State {
        self.state(self.place(state, now).less(cost, period_end))
    }

    /// Adds what was used elsewhere, as far as the amount goes.
    pub(super) fn owe(&self, state: Option<State>, cost: u64, now: Timestamp) -> State {
        let mut used = self.place(state, now);
        used.used = used
            .used
            .saturating_add(cost)
            .min(self.amount.max(used.used));
        self.state(used)
    }

    /// Says how much was used in this window.
    pub(super) fn owed(&self, state: State, now: Timestamp) -> u64 {
        self.place(Some(state), now).used
    }

    pub(super) fn clamped(&self, state: State, now: Timestamp) -> State {
        self.state(self.place(Some(state), now))
    }

    /// Says what of a state counts. One of the next window, shortly before that begins, is that of
    /// somebody whose clock is ahead: time does not go back within a counter, so that counts as if
    /// the window had begun. Any other one of a later window is that of a clock which was wrong.
    pub(super) fn place(&self, state: Option<State>, now: Timestamp) -> Used {
        let nothing = Used {
            begin: self.begin,
            end: self.end,
            used: 0,
            before: 0,
        };
        let Some(state) = state else {
            return nothing;
        };
        let end = self.period_end(state);
        let State { used, before, .. } = state;
        let to_the_end = self.end.saturating_sub(now.as_millis());
        if end == self.end {
            Used {
                used,
                before,
                ..nothing
            }
        } else if end == self.next_end && to_the_end <= SKEW_MAX {
            Used {
                begin: self.end,
                end,
                used,
                before,
            }
        } else if end == self.begin && self.slides {
            Used {
                before: used,
                ..nothing
            }
        } else if end > self.end {
            Used {
                used: used.min(self.amount),
                ..nothing
            }
        } else {
            nothing
        }
    }

    /// Returns the end of the window in which a state was left.
    pub(super) fn period_end(&self, state: State) -> u64 {
        let until = state.until / 1_000_000;
        if self.slides {
            until.saturating_sub(self.end.saturating_sub(self.begin))
        } else {
            until
        }
    }

    /// Returns the state; one that is spent if nothing is used.
    pub(super) fn state(&self, used: Used) -> State {
        let length = if self.slides {
            used.end.saturating_sub(used.begin)
        } else {
            0
        };
        let until = if used.used == 0 && used.before == 0 {
            0
        } else {
            used.end.saturating_add(length).saturating_mul(1_000_000)
        };
        State {
            until,
            used: used.used,
            before: used.before,
        }
    }

    /// Returns how much counts as used, what was used in the window before among it.
    fn counted(used: Used, now: Timestamp) -> u64 {
        let Used {
            begin,
            end,
            used,
            before,
        } = used;
        let left = end.saturating_sub(now.as_millis().max(begin));
        let length = end.saturating_sub(begin).max(1);
        used.saturating_add(share(before, left, length))
    }

    fn is_available(&self, used: Used, cost: u64, now: Timestamp) -> bool {
        Self::counted(used, now).saturating_add(cost) <= self.amount
    }

    /// Returns after how long the cost will be available.
    fn wait(&self, used: Used, cost: u64, now: Timestamp) -> Millis {
        let Used {
            begin,
            end,
            used,
            before,
        } = used;
        let length = end.saturating_sub(begin).max(1);
        let to_the_end = end.saturating_sub(now.as_millis());
        let wait = match self.amount.checked_sub(used.saturating_add(cost)) {
            // What was used in the window before counts less and less.
            Some(free) => to_the_end.saturating_sub(reach(free, before, length)),
            // In the next window, that one is the one before.
            None if self.slides => {
                let free = self.amount.saturating_sub(cost);
                let kept = length.saturating_sub(reach(free, used, length));
                to_the_end.saturating_add(kept)
            }
            None => to_the_end,
        };
        wait.max(1)
    }

    fn verdict(&self, used: Used, retry_after: Millis, now: Timestamp) -> Verdict {
        let to_the_end = used.end.saturating_sub(now.as_millis());
        let reset = if self.slides && used.used > 0 {
            to_the_end.saturating_add(used.end.saturating_sub(used.begin))
        } else if used.used > 0 || used.before > 0 {
            to_the_end
        } else {
            0
        };
        Verdict {
            allowed: retry_after == 0,
            remaining: self.amount.saturating_sub(Self::counted(used, now)),
            reset,
            retry_after,
            period_end: Timestamp::default(),
        }
    }
}

/// Returns how much of an amount lies in the last so much of a length, rounded up. Amounts of a
/// policy and the milliseconds of a week fit into one number together.
fn share(amount: u64, left: u64, length: u64) -> u64 {
    amount
        .saturating_mul(left.min(length))
        .div_ceil(length)
        .min(amount)
}

/// Returns the most of a length in which no more than `free` of an amount lies.
fn reach(free: u64, amount: u64, length: u64) -> u64 {
    (free.saturating_mul(length) / amount.max(1)).min(length)
}

#[cfg(test)]
mod tests;
