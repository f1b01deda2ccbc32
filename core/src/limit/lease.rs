//! A lease: what a node has taken of a counter in advance.
//!
//! Why: a counter that all nodes ask for each request is asked as often as there are requests. A node
//! that takes some of it in advance answers most requests by itself. What it takes is charged at
//! once, so all nodes together never use more than the counter has given. But what was given may be
//! used later than it was charged, and the counter may have earned it back by then: so in any time as
//! much may pass too much as nodes hold, which is at most `most` for each of them.
//!
//! A lease is sized by demand, so that an idle node holds little, and what is not used within a second
//! is given back.

use super::act::{Act, Answer};
use super::charge::Charge;
use super::definition::Mode;
use super::quota::Verdict;
use crate::time::{Millis, Timestamp};

/// After how long what is left of a lease is given back.
pub const LASTS: Millis = 1000;

/// For how long of what is asked for a lease is meant to be enough.
const MEANT_FOR: Millis = 500;

/// How long a refusal is believed at most: others may give back what they hold.
const REFUSED_MOST: Millis = 1000;

/// What a node holds of a counter.
#[derive(Debug, Clone)]
pub struct Lease {
    /// What is left of it.
    left: u64,
    /// How much was given the last time.
    size: u64,
    /// When that was.
    began: Timestamp,
    /// What was asked for since then, whether it was had or refused.
    wanted: u64,
    /// Whether more of it has been asked for, and is not answered yet.
    is_asking: bool,
    /// What the counter has said, and when.
    told: Verdict,
    told_at: Timestamp,
    /// Until when the counter need not be asked, because it has refused.
    refused_until: Timestamp,
}

/// How a lease answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leased {
    /// By itself.
    Known(Answer),
    /// The counter is to be asked first.
    Ask(More),
}

/// What the counter is to be asked for, by [`Act::Lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct More {
    /// So much; at least what the request uses.
    pub most: u64,
    /// Whether it is for later requests too. One that is not is for the one who asks alone.
    is_ahead: bool,
}

/// What is left of a lease and to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// So much.
    pub amount: u64,
    /// The end of the window in which it was charged.
    pub period_end: Timestamp,
}

const NOTHING_TOLD: Verdict = Verdict {
    allowed: true,
    remaining: 0,
    reset: 0,
    retry_after: 0,
    period_end: Timestamp::from_millis(0),
};

impl Default for Lease {
    fn default() -> Self {
        Self {
            left: 0,
            size: 0,
            began: Timestamp::default(),
            wanted: 0,
            is_asking: false,
            told: NOTHING_TOLD,
            told_at: Timestamp::default(),
            refused_until: Timestamp::default(),
        }
    }
}

impl Lease {
    /// Does what the counter is asked, if it can without it.
    pub fn act(&mut self, act: Act, charge: &Charge, now: Timestamp) -> Leased {
        self.end_with_its_window(now);
        let cost = charge.cost;
        if let Act::Refund(_) = act {
            self.left = self.left.saturating_add(cost);
            return Leased::Known(self.answer(true, 0, now));
        }
        if self.left >= cost {
            return Leased::Known(self.take(act, cost, now));
        }
        if self.refused_until > now {
            self.wanted = self.wanted.saturating_add(cost);
            return Leased::Known(self.answer(false, 0, now));
        }
        // Somebody else may have asked for more already: then this one asks for itself.
        let is_ahead = !self.is_asking;
        let most = if is_ahead {
            self.demand(charge, now)
        } else {
            cost
        };
        self.is_asking = true;
        Leased::Ask(More { most, is_ahead })
    }

    /// Takes what the counter has answered to [`Act::Lease`], and does what it was asked for.
    pub fn answered(
        &mut self,
        act: Act,
        charge: &Charge,
        more: More,
        answer: &Answer,
        now: Timestamp,
    ) -> Answer {
        self.end_with_its_window(now);
        self.take_in(more, answer, now);
        if answer.taken == 0 {
            return self.answer(false, 0, now);
        }
        self.take(act, charge.cost, now)
    }

    /// Takes what the counter has answered to what was asked for ahead.
    pub fn take_in(&mut self, more: More, answer: &Answer, now: Timestamp) {
        self.end_with_its_window(now);
        // A refusal says nothing of the window in which what is left was charged.
        let held_of = self.told.period_end;
        self.told = answer.charged;
        self.told_at = now;
        if answer.taken == 0 {
            self.told.period_end = held_of;
        }
        if more.is_ahead {
            self.is_asking = false;
            self.began = now;
            self.wanted = 0;
            // Who is given less than it has asked for needs no less than before.
            let is_whole = answer.taken >= more.most;
            self.size = if is_whole {
                answer.taken
            } else {
                self.size.max(answer.taken)
            };
        }
        self.left = self.left.saturating_add(answer.taken);
        if answer.taken == 0 {
            self.refused_until = now.plus(believed_for(&answer.charged));
        }
    }

    /// Learns that the counter has not answered.
    pub fn unanswered(&mut self, more: More) {
        if more.is_ahead {
            self.is_asking = false;
        }
    }

    /// Says how much is worth to be asked for before it is needed; it is asked for then.
    pub fn ask_ahead(&mut self, charge: &Charge, now: Timestamp) -> Option<More> {
        let is_short = self.left < self.size / 4;
        if self.is_asking || !is_short || self.refused_until > now {
            return None;
        }
        let most = self.demand(charge, now);
        self.is_asking = true;
        Some(More {
            most,
            is_ahead: true,
        })
    }

    /// Takes out what has not been used for a second, or all that is left.
    pub fn end(&mut self, now: Timestamp, all: bool) -> Option<Rest> {
        self.end_with_its_window(now);
        let is_old = now.since_guarded(&mut self.began) >= LASTS;
        if self.left == 0 || !(all || is_old) {
            return None;
        }
        let amount = std::mem::take(&mut self.left);
        Some(Rest {
            amount,
            period_end: self.told.period_end,
        })
    }

    /// Returns whether nothing would be lost with it.
    pub fn is_spent(&self, now: Timestamp) -> bool {
        self.left == 0 && !self.is_asking && now.since(self.told_at) >= 2 * LASTS
    }

    /// What is left of a window is nothing in the next one.
    fn end_with_its_window(&mut self, now: Timestamp) {
        let end = self.told.period_end;
        if end > Timestamp::default() && end <= now {
            self.left = 0;
            self.told.period_end = Timestamp::default();
        }
    }

    /// Says how much is worth to be asked for: what was asked for lately in half a second, at most twice
    /// as much as the last time, and no more in all than a node may hold.
    fn demand(&self, charge: &Charge, now: Timestamp) -> u64 {
        let Mode::Leased { most } = charge.limit.mode else {
            return charge.cost;
        };
        let lasted = now.since(self.began).max(1);
        let wanted = self.wanted.saturating_mul(MEANT_FOR) / lasted;
        let grown = self.size.saturating_mul(2);
        let room = most.saturating_sub(self.left);
        wanted.min(grown).min(room).max(charge.cost)
    }

    fn take(&mut self, act: Act, cost: u64, now: Timestamp) -> Answer {
        let taken = if act == Act::Peek { 0 } else { cost };
        self.left = self.left.saturating_sub(taken);
        self.wanted = self.wanted.saturating_add(taken);
        self.answer(true, taken, now)
    }

    /// Says what the counter has said last, as far as it is known now.
    fn answer(&self, allowed: bool, taken: u64, now: Timestamp) -> Answer {
        let passed = now.since(self.told_at);
        let mut retry_after = 0;
        if !allowed {
            let told = self.told.retry_after.saturating_sub(passed);
            retry_after = told.max(self.refused_until.since(now));
        }
        let charged = Verdict {
            allowed,
            remaining: self.told.remaining.saturating_add(self.left),
            reset: self.told.reset.saturating_sub(passed),
            retry_after,
            // What is given back comes to this lease.
            period_end: Timestamp::default(),
        };
        let checked = Verdict {
            remaining: charged.remaining.saturating_add(taken),
            ..charged
        };
        Answer {
            checked,
            charged,
            taken,
        }
    }
}

/// Says how long a refusal is believed.
fn believed_for(refusal: &Verdict) -> Millis {
    // What is earned meanwhile is taken in one go, not bit by bit. But a counter that is soon whole
    // again is asked before: what it cannot hold would be lost.
    let least = MEANT_FOR.min(refusal.reset / 4);
    refusal.retry_after.max(least).min(REFUSED_MOST)
}

#[cfg(test)]
mod tests;
