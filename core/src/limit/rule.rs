//! What a limit allows, and its terms at a moment.

use super::calendar::{Calendar, Unit};
use super::gcra;
use super::quota::{Quota, Verdict};
use super::rate;
use super::slots;
use super::state::State;
use super::window::Window;
use crate::packed::{packed_enum, packed_struct};
use crate::time::{Millis, Timestamp};

/// What a limit allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A rate: what is used comes back bit by bit.
    Rate(Quota),
    /// A budget: what is used is gone until the window ends.
    Budget(Budget),
    /// Slots: what is used comes back when the request has ended.
    Slots(Slots),
}

packed_enum!(Rule {
    0 = Rate(quota),
    1 = Budget(budget),
    2 = Slots(slots),
});

/// How much may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// So much; at least 1.
    pub amount: u64,
    /// How long a slot may be held; one that is not given back expires after twice that at the
    /// latest. At least a second.
    pub held_max: Millis,
}

packed_struct!(Slots { amount, held_max });

/// An amount for each window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What may be used in a window; at least 1.
    pub amount: u64,
    /// When windows begin and end.
    pub windows: Windows,
}

packed_struct!(Budget { amount, windows });

/// When windows begin and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Windows {
    /// One after the other, each so long; the first began with the Unix epoch.
    Fixed(Millis),
    /// The same, and what was used in the window before counts as far as a window of this length
    /// that ends now would reach back into it.
    Sliding(Millis),
    /// Those of the calendar.
    Calendar(Calendar),
}

packed_enum!(Windows {
    0 = Fixed(length),
    1 = Sliding(length),
    2 = Calendar(calendar),
});

/// A rule at a moment, in numbers alone: all that whoever counts must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// Of a rate.
    Rate(Quota),
    /// Of a budget.
    Window(Window),
    /// Of slots: the period in which they are taken.
    Slots(Window),
}

impl Rule {
    /// Returns the terms at a moment.
    pub fn terms(&self, now: Timestamp) -> Terms {
        match self {
            Self::Rate(quota) => Terms::Rate(*quota),
            Self::Budget(budget) => Terms::Window(budget.window(now)),
            Self::Slots(slots) => Terms::Slots(fixed(slots.amount, slots.held_max, true, now)),
        }
    }

    /// Returns the amount that is allowed in each [`Rule::period`].
    pub fn amount(&self) -> u64 {
        match self {
            Self::Rate(quota) => quota.amount,
            Self::Budget(budget) => budget.amount,
            Self::Slots(slots) => slots.amount,
        }
    }

    /// Returns for how long the amount is meant. A day has 24 hours here, and a month 30 days.
    pub fn period(&self) -> Millis {
        match self {
            Self::Rate(quota) => quota.period,
            Self::Budget(Budget { windows, .. }) => match windows {
                Windows::Fixed(length) | Windows::Sliding(length) => *length,
                Windows::Calendar(calendar) => calendar.unit.usual_length(),
            },
            // A slot is used and free again many times a second.
            Self::Slots(_) => 1000,
        }
    }

    /// Returns the rule for one of several nodes: so many percent of it, but never less than what one
    /// request uses.
    pub(super) fn shared(&self, percent: u8, cost: u64) -> Self {
        let part = |amount: u64| (amount.saturating_mul(percent.into()) / 100).max(cost);
        match self {
            Self::Rate(quota) => Self::Rate(Quota {
                amount: part(quota.amount),
                burst: part(quota.burst),
                ..*quota
            }),
            Self::Budget(budget) => Self::Budget(Budget {
                amount: part(budget.amount),
                windows: budget.windows.clone(),
            }),
            Self::Slots(slots) => Self::Slots(Slots {
                amount: part(slots.amount),
                ..*slots
            }),
        }
    }

    /// Returns whether the amount is one for each month, which have no length in common.
    pub fn is_monthly(&self) -> bool {
        matches!(
            self,
            Self::Budget(Budget {
                windows: Windows::Calendar(Calendar {
                    unit: Unit::Month,
                    ..
                }),
                ..
            })
        )
    }
}

impl Budget {
    fn window(&self, now: Timestamp) -> Window {
        let amount = self.amount;
        match &self.windows {
            Windows::Fixed(length) => fixed(amount, *length, false, now),
            Windows::Sliding(length) => fixed(amount, *length, true, now),
            Windows::Calendar(calendar) => {
                let (begin, end) = calendar.window(now.as_millis());
                let (_, next_end) = calendar.window(end);
                Window {
                    amount,
                    begin,
                    end,
                    next_end,
                    slides: false,
                }
            }
        }
    }
}

/// Returns the window of this length that holds a moment; the first began with the Unix epoch.
fn fixed(amount: u64, length: Millis, slides: bool, now: Timestamp) -> Window {
    let length = length.max(1);
    let begin = now.as_millis() / length * length;
    let end = begin.saturating_add(length);
    Window {
        amount,
        begin,
        end,
        next_end: end.saturating_add(length),
        slides,
    }
}

impl Terms {
    /// Says what [`Terms::charge`] would answer, as if nothing had been used yet: `remaining` and
    /// `reset` are those before the charge.
    pub fn peek(&self, state: Option<State>, cost: u64, now: Timestamp) -> Verdict {
        match self {
            Self::Rate(quota) => rate::peek(quota, state, cost, now),
            Self::Window(window) => window.peek(state, cost, now),
            Self::Slots(window) => slots::peek(window, state, cost, now),
        }
    }

    /// Uses `cost`, if it is available. A refusal uses nothing: the state is [`Terms::clamped`].
    pub fn charge(&self, state: Option<State>, cost: u64, now: Timestamp) -> (State, Verdict) {
        match self {
            Self::Rate(quota) => rate::charge(quota, state, cost, now),
            Self::Window(window) => window.charge(state, cost, now),
            Self::Slots(window) => slots::charge(window, state, cost, now),
        }
    }

    /// Uses as much as is available of so much, and of its halves down to `cost`. Returns how much
    /// that is; 0 if not even the cost is available.
    pub fn lease(
        &self,
        state: Option<State>,
        most: u64,
        cost: u64,
        now: Timestamp,
    ) -> (State, Verdict, u64) {
        let mut amount = most.max(cost);
        loop {
            let (next, verdict) = self.charge(state, amount, now);
            if verdict.allowed {
                return (next, verdict, amount);
            }
            if amount == cost {
                return (next, verdict, 0);
            }
            amount = (amount / 2).max(cost);
        }
    }

    /// Gives back `cost` that was charged for a request which another limit then refused, or whose
    /// slot is free now. `period_end` is what the verdict of the charge said.
    pub fn refund(
        &self,
        state: Option<State>,
        cost: u64,
        period_end: Timestamp,
        now: Timestamp,
    ) -> State {
        match self {
            Self::Rate(quota) => {
                let nothing = State {
                    until: 0,
                    used: 0,
                    before: 0,
                };
                rate::refund(quota, state.unwrap_or(nothing), cost, now)
            }
            Self::Window(window) => window.refund(state, cost, period_end, now),
            Self::Slots(window) => slots::refund(window, state, cost, period_end, now),
        }
    }

    /// Adds what was used while this counter could not be reached, whether it was available or not.
    /// Slots are not: whoever has given them gets them back.
    pub fn owe(&self, state: Option<State>, cost: u64, now: Timestamp) -> Option<State> {
        match self {
            Self::Rate(quota) => Some(rate::owe(quota, state, cost, now)),
            Self::Window(window) => Some(window.owe(state, cost, now)),
            Self::Slots(_) => state,
        }
    }

    /// Says how much of what was used still counts, as [`Terms::owe`] takes it.
    pub fn owed(&self, state: State, now: Timestamp) -> u64 {
        match self {
            Self::Rate(quota) => rate::owed(quota, state, now),
            Self::Window(window) => window.owed(state, now),
            Self::Slots(_) => 0,
        }
    }

    /// Returns a state that keeps nobody out for longer than these terms do. One that a larger quota
    /// has left, or a clock that was far ahead, would otherwise stay as long as that said.
    pub fn clamped(&self, state: Option<State>, now: Timestamp) -> Option<State> {
        let state = state?;
        Some(match self {
            Self::Rate(quota) => rate::clamped(quota, state, now),
            Self::Window(window) => window.clamped(state, now),
            Self::Slots(window) => slots::clamped(window, state, now),
        })
    }

    /// Nanoseconds in which a rate earns one unit.
    pub fn interval(quota: &Quota) -> u64 {
        gcra::interval(quota)
    }
}
