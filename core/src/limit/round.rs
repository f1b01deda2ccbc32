//! A round over counters that each live somewhere else and must be asked: all of them are charged, or
//! none.
//!
//! Why: counters that are apart cannot be checked and charged in one go. Charged all at once and
//! given back, refused requests would refuse innocents of a limit that they share. So the first
//! counter is charged while the others are looked at; only when all of them allow the request are
//! those charged too, one after the other. What was used for a request that another limit then
//! refuses is given back. It costs one round trip for each limit.
//!
//! A shell asks what [`Round::asks`] says, all of it at once, tells the answers, and goes on until
//! nothing is left to ask.

use std::cmp::Reverse;

use super::charge::{Charge, Charged};
use super::definition::Limit;
use super::quota::Verdict;
use super::rule::Terms;
use super::state::State;
use crate::sorting::sort_by;
use crate::time::Timestamp;

/// What a counter is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Says what a charge would be answered.
    Peek,
    /// Takes the cost, if it is available.
    Charge,
    /// Takes the cost back that was charged in the period which ends then.
    Refund(Timestamp),
}

/// What a counter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Before anything was consumed.
    pub checked: Verdict,
    /// Afterwards.
    pub charged: Verdict,
}

/// One counter to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Position among the charges.
    pub at: usize,
    /// What it is asked to do.
    pub act: Act,
}

/// Does what a counter is asked, and returns its new state.
pub fn act(
    act: Act,
    terms: &Terms,
    cost: u64,
    state: Option<State>,
    now: Timestamp,
) -> (Option<State>, Answer) {
    let checked = terms.peek(state, cost, now);
    let (next, charged) = match act {
        Act::Peek => (terms.clamped(state, now), checked),
        Act::Charge => {
            let (next, charged) = terms.charge(state, cost, now);
            (Some(next), charged)
        }
        // Who has used nothing has nothing to get back.
        Act::Refund(period_end) => {
            let refund = |state| terms.refund(Some(state), cost, period_end, now);
            (state.map(refund), checked)
        }
    };
    (next, Answer { checked, charged })
}

/// How far a round has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was asked yet.
    Begins,
    /// The first is charged, the others are looked at.
    Looks,
    /// They are charged one by one; this position of the order comes next.
    Charges(usize),
    /// There is nothing left to decide.
    Over,
}

/// A round of charges for one request.
#[derive(Debug)]
pub struct Round<'a> {
    charges: &'a [Charge],
    /// Positions in the order of charging.
    order: Vec<usize>,
    /// What each counter has answered; none if it could not be reached.
    answers: Vec<Option<Answer>>,
    /// Counters that were charged.
    taken: Vec<usize>,
    stage: Stage,
}

impl<'a> Round<'a> {
    /// Makes a round in which nothing was asked yet.
    pub fn new(charges: &'a [Charge]) -> Self {
        Self {
            charges,
            order: order_of_charging(charges),
            answers: vec![None; charges.len()],
            taken: Vec::new(),
            stage: Stage::Begins,
        }
    }

    /// Says which counters to ask now, all of them at once. Nothing is left to ask if there are
    /// none.
    pub fn asks(&mut self) -> Vec<Ask> {
        match self.stage {
            Stage::Begins => {
                self.stage = Stage::Looks;
                self.look()
            }
            Stage::Looks => self.go_on(1),
            Stage::Charges(next) => self.go_on(next),
            Stage::Over => Vec::new(),
        }
    }

    /// Takes a counter's answer; `None` if it could not be reached.
    pub fn answer(&mut self, ask: Ask, answer: Option<Answer>) {
        // What a counter says of what it got back changes nothing.
        if matches!(ask.act, Act::Refund(_)) {
            return;
        }
        if let Some(place) = self.answers.get_mut(ask.at) {
            *place = answer;
        }
    }

    /// Returns the answers of a round that is over, in the order of the charges.
    pub fn finish(self) -> Vec<Charged> {
        let refused = self.is_refused();
        let told = |answer: &Option<Answer>| match answer {
            // A refused request has used nothing.
            Some(answer) if refused => Charged::Verdict(answer.checked),
            Some(answer) => Charged::Verdict(answer.charged),
            None => Charged::Unavailable,
        };
        self.answers.iter().map(told).collect()
    }

    /// Charges the first counter, and looks at the others.
    fn look(&mut self) -> Vec<Ask> {
        let first = self.order.first().copied();
        self.taken.extend(first);
        let mut asks = Vec::with_capacity(self.charges.len());
        for at in 0..self.charges.len() {
            let act = if first == Some(at) {
                Act::Charge
            } else {
                Act::Peek
            };
            asks.push(Ask { at, act });
        }
        asks
    }

    /// Charges the next counter in the order, or ends the round.
    fn go_on(&mut self, from: usize) -> Vec<Ask> {
        if self.is_refused() {
            return self.give_back();
        }
        for (position, at) in self.order.iter().copied().enumerate().skip(from) {
            // One that has not answered is not waited for again, and a dry run that refuses uses
            // nothing.
            if self.allows(at) {
                self.stage = Stage::Charges(position + 1);
                self.taken.push(at);
                return vec![Ask {
                    at,
                    act: Act::Charge,
                }];
            }
        }
        self.stage = Stage::Over;
        Vec::new()
    }

    fn give_back(&mut self) -> Vec<Ask> {
        self.stage = Stage::Over;
        let mut asks = Vec::new();
        for at in self.taken.iter().copied() {
            let answer = self.answers.get(at).copied().flatten();
            if let Some(answer) = answer.filter(|answer| answer.charged.allowed) {
                let act = Act::Refund(answer.charged.period_end);
                asks.push(Ask { at, act });
            }
        }
        asks
    }

    fn allows(&self, at: usize) -> bool {
        let answer = self.answers.get(at).copied().flatten();
        answer.is_some_and(|answer| answer.charged.allowed)
    }

    fn is_refused(&self) -> bool {
        let mut answers = self.charges.iter().zip(&self.answers);
        answers.any(|(charge, answer)| {
            let charged = answer.map_or(Charged::Unavailable, |a| Charged::Verdict(a.charged));
            charge.refuses(charged)
        })
    }
}

/// Returns how much a limit allows in a day.
fn daily(limit: &Limit) -> u64 {
    limit.rule.amount().saturating_mul(86_400_000) / limit.rule.period().max(1)
}

/// Says in which order counters that must be asked one by one are charged: those of few callers
/// before those of many, so that a request which a narrow limit refuses has used nothing of a wide
/// one, not even for a moment. Returns positions in `charges`.
fn order_of_charging(charges: &[Charge]) -> Vec<usize> {
    let mut order: Vec<(Reverse<usize>, u64, usize)> = charges
        .iter()
        .enumerate()
        .map(|(at, charge)| (Reverse(charge.limit.key.len()), daily(&charge.limit), at))
        .collect();
    sort_by(&mut order, Ord::cmp);
    order.into_iter().map(|(_, _, at)| at).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use std::sync::Arc;

    use super::super::charge_all;
    use super::super::definition::{Absent, OnStoreError, ToldBy};
    use super::super::key::CounterKey;
    use super::super::quota::Quota;
    use super::super::rule::Rule;
    use super::*;
    use crate::hash;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn charge(name: &str, burst: u64, dry_run: bool, on_store_error: OnStoreError) -> Charge {
        let limit = Limit {
            name: name.into(),
            rule: Rule::Rate(Quota {
                amount: burst,
                period: 60_000,
                burst,
            }),
            key: vec![],
            absent: Absent::Share,
            methods: vec![],
            cost: 1,
            dry_run,
            on_store_error,
            told_by: ToldBy::Ietf,
        };
        Charge {
            limit: Arc::new(limit),
            key: CounterKey::of(name.as_bytes()),
        }
    }

    /// Carries a round out over counters that can all be reached but one.
    fn carry_out(
        charges: &[Charge],
        states: &mut [Option<State>],
        lost: Option<usize>,
        now: Timestamp,
    ) -> Vec<Charged> {
        let mut round = Round::new(charges);
        loop {
            let asks = round.asks();
            if asks.is_empty() {
                return round.finish();
            }
            for ask in asks {
                let limit = &charges[ask.at].limit;
                let state = &mut states[ask.at];
                let answer = (lost != Some(ask.at)).then(|| {
                    let (next, answer) =
                        act(ask.act, &limit.rule.terms(now), limit.cost, *state, now);
                    *state = next;
                    answer
                });
                round.answer(ask, answer);
            }
        }
    }

    #[test]
    fn a_round_says_and_does_what_charging_all_at_once_does() {
        let allow = OnStoreError::Allow;
        for seed in 0..500 {
            let draw = |n: u64| hash::draw(seed, n);
            let count = 1 + draw(0) % 4;
            let charges: Vec<Charge> = (0..count)
                .map(|i| {
                    let dry_run = draw(10 + i) % 4 == 0;
                    charge(&i.to_string(), 1 + draw(20 + i) % 4, dry_run, allow)
                })
                .collect();
            let mut apart = vec![None; charges.len()];
            let mut together = apart.clone();
            for step in 0..12 {
                let now = NOW.plus(step * (draw(30) % 30_000));
                let expected = charge_all(&charges, &mut together, now);
                let told = carry_out(&charges, &mut apart, None, now);
                let expected: Vec<Charged> = expected.into_iter().map(Charged::Verdict).collect();
                assert_eq!(told, expected, "seed {seed}, step {step}");
                for (charge, (one, other)) in charges.iter().zip(apart.iter().zip(&together)) {
                    // A state that is spent says the same as none.
                    let terms = charge.limit.rule.terms(now);
                    let said = |state: &Option<State>| terms.peek(*state, charge.limit.cost, now);
                    assert_eq!(said(one), said(other), "seed {seed}, step {step}");
                }
            }
        }
    }

    #[test]
    fn a_counter_that_cannot_be_reached_is_asked_once_and_counts_as_its_limit_says() {
        for (on_store_error, used) in [(OnStoreError::Allow, 1), (OnStoreError::Deny, 0)] {
            let charges = [
                charge("reached", 4, false, OnStoreError::Allow),
                charge("lost", 4, false, on_store_error),
            ];
            let mut states = [None, None];
            let told = carry_out(&charges, &mut states, Some(1), NOW);
            assert_eq!(told[1], Charged::Unavailable);
            let left = charges[0]
                .limit
                .rule
                .terms(NOW)
                .peek(states[0], 1, NOW)
                .remaining;
            assert_eq!(left, 4 - used, "{on_store_error:?}");
        }
    }
}
