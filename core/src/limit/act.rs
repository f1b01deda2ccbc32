//! What a counter is asked to do, and does.

use super::charge::Charge;
use super::charge_all;
use super::quota::Verdict;
use super::rule::Terms;
use super::state::State;
use crate::time::Timestamp;

/// What a counter is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Says what a charge would be answered.
    Peek,
    /// Takes the cost, if it is available.
    Charge {
        /// What was used before while the counter could not be asked. It is taken in any case.
        owed: u64,
    },
    /// Takes the cost back that was charged in the period which ends then.
    Refund(Timestamp),
    /// Takes so much in advance, or of its halves what is available, down to the cost.
    Lease {
        /// At least the cost.
        most: u64,
    },
}

/// What a counter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Before anything was consumed.
    pub checked: Verdict,
    /// Afterwards.
    pub charged: Verdict,
    /// How much was taken.
    pub taken: u64,
}

/// Does what a counter is asked, and returns its new state.
pub fn act(
    act: Act,
    terms: &Terms,
    cost: u64,
    state: Option<State>,
    now: Timestamp,
) -> (Option<State>, Answer) {
    let state = with_owed(act, terms, state, now);
    let checked = terms.peek(state, cost, now);
    // Who has used nothing before and is refused leaves nothing behind.
    let after = |taken: u64, next: State| Some(next).filter(|_| taken > 0 || state.is_some());
    let (next, charged, taken) = match act {
        Act::Peek => (terms.clamped(state, now), checked, 0),
        Act::Charge { .. } => {
            let (next, charged) = terms.charge(state, cost, now);
            let taken = if charged.allowed { cost } else { 0 };
            (after(taken, next), charged, taken)
        }
        Act::Lease { most } => {
            let (next, charged, taken) = terms.lease(state, most, cost, now);
            (after(taken, next), charged, taken)
        }
        // Who has used nothing has nothing to get back.
        Act::Refund(period_end) => {
            let refund = |state| terms.refund(Some(state), cost, period_end, now);
            (state.map(refund), checked, 0)
        }
    };
    let answer = Answer {
        checked,
        charged,
        taken,
    };
    (next, answer)
}

/// Does what counters that are kept together are asked: charges are made all of them, or none.
/// `states` are updated in place.
pub fn act_all(
    acts: &[(Charge, Act)],
    states: &mut [Option<State>],
    now: Timestamp,
) -> Vec<Answer> {
    let are_charges = acts
        .iter()
        .all(|(_, act)| matches!(act, Act::Charge { .. }));
    let mut answers = Vec::with_capacity(acts.len());
    for ((charge, one), state) in acts.iter().zip(states.iter_mut()) {
        let terms = charge.limit.rule.terms(now);
        // Charges are made below.
        let asked = if are_charges { Act::Peek } else { *one };
        *state = with_owed(*one, &terms, *state, now);
        let (next, answer) = act(asked, &terms, charge.cost, *state, now);
        *state = next;
        answers.push(answer);
    }
    if are_charges {
        let charges: Vec<Charge> = acts.iter().map(|(charge, _)| charge.clone()).collect();
        let verdicts = charge_all(&charges, states, now);
        for ((answer, verdict), charge) in answers.iter_mut().zip(verdicts).zip(&charges) {
            answer.charged = verdict;
            answer.taken = if verdict.allowed { charge.cost } else { 0 };
        }
    }
    answers
}

fn with_owed(act: Act, terms: &Terms, state: Option<State>, now: Timestamp) -> Option<State> {
    match act {
        Act::Charge { owed } if owed > 0 => terms.owe(state, owed, now),
        Act::Charge { .. } | Act::Peek | Act::Refund(_) | Act::Lease { .. } => state,
    }
}
