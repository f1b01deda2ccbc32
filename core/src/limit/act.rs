//! What a counter is asked to do, and does.

use smallvec::SmallVec;

use super::charge::{Charge, Charged};
use super::definition::Mode;
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

/// Who does what a counter is asked when an exchange has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledBy {
    /// This node's own counter.
    Here,
    /// What this node holds of the counter in advance.
    Lease,
    /// The counter itself.
    Counter,
}

impl Charge {
    /// Says who does this when the exchange has ended. What was taken of a lease goes back to it.
    pub fn settled_by(&self, act: Act) -> SettledBy {
        match (self.limit.mode, act) {
            (Mode::Local, _) => SettledBy::Here,
            (Mode::Leased { .. }, Act::Refund(_)) => SettledBy::Lease,
            (Mode::Leased { .. } | Mode::Exact, _) => SettledBy::Counter,
        }
    }
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
        let refuses =
            |(charge, verdict): (&Charge, &Verdict)| charge.refuses(Charged::Verdict(*verdict));
        let is_refused = charges.iter().zip(&verdicts).any(refuses);
        for ((answer, verdict), charge) in answers.iter_mut().zip(verdicts).zip(&charges) {
            answer.charged = verdict;
            let is_taken = verdict.allowed && !is_refused;
            answer.taken = if is_taken { charge.cost } else { 0 };
        }
    }
    answers
}

/// Lists what gives back what was taken for somebody who had not waited for the answers.
pub fn unwanted(acts: &[(Charge, Act)], answers: &[Answer]) -> Vec<(Charge, Act)> {
    let mut refunds = Vec::new();
    for ((charge, _), answer) in acts.iter().zip(answers) {
        if answer.taken > 0 {
            let mut charge = charge.clone();
            charge.cost = answer.taken;
            refunds.push((charge, Act::Refund(answer.charged.period_end)));
        }
    }
    refunds
}

fn with_owed(act: Act, terms: &Terms, state: Option<State>, now: Timestamp) -> Option<State> {
    match act {
        Act::Charge { owed } if owed > 0 => terms.owe(state, owed, now),
        Act::Charge { .. } | Act::Peek | Act::Refund(_) | Act::Lease { .. } => state,
    }
}

/// Checks every limit, then consumes all of them, or none if one that is not a dry run refuses.
///
/// `states` holds the counter of each charge, in the same order, and is updated in place; no two
/// charges have the same counter. A dry-run limit that refuses consumes nothing and refuses
/// nothing. A refused request uses nothing, but no state may owe more than its limit lets it.
pub fn charge_all(
    charges: &[Charge],
    states: &mut [Option<State>],
    now: Timestamp,
) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(charges.len());
    let mut all_terms: SmallVec<[Terms; 4]> = SmallVec::new();
    let mut is_refused = false;
    for (charge, state) in charges.iter().zip(states.iter_mut()) {
        let terms = charge.limit.rule.terms(now);
        all_terms.push(terms);
        *state = terms.clamped(*state, now);
        let verdict = terms.peek(*state, charge.cost, now);
        is_refused |= !verdict.allowed && !charge.limit.dry_run;
        verdicts.push(verdict);
    }
    if is_refused {
        return verdicts;
    }
    let counters = charges.iter().zip(all_terms).zip(states);
    for (((charge, terms), state), verdict) in counters.zip(&mut verdicts) {
        if verdict.allowed {
            let (next, after) = terms.charge(*state, charge.cost, now);
            *state = Some(next);
            *verdict = after;
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use std::sync::Arc;

    use super::super::definition::Limit;
    use super::super::key::CounterKey;
    use super::super::quota::Quota;
    use super::super::rule::Rule;
    use super::*;

    fn charge(name: &str, amount: u64, dry_run: bool) -> Charge {
        let quota = Quota {
            amount,
            period: 60_000,
            burst: amount,
        };
        let limit = Limit {
            dry_run,
            ..Limit::new(name, Rule::Rate(quota))
        };
        Charge {
            limit: Arc::new(limit),
            key: CounterKey::of(name.as_bytes()),
            home: 0,
            cost: 1,
        }
    }

    #[test]
    fn a_refusal_consumes_nothing_of_any_limit() {
        let charges = [charge("wide", 10, false), charge("narrow", 1, false)];
        let mut states = [None, None];
        let now = Timestamp::from_millis(1_000_000);
        assert!(
            charge_all(&charges, &mut states, now)
                .iter()
                .all(|v| v.allowed)
        );
        let after_first = states;
        let second = charge_all(&charges, &mut states, now);
        assert_eq!(
            second.iter().map(|v| v.allowed).collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(states, after_first);
        assert_eq!(second.first().map(|v| v.remaining), Some(9));
    }

    #[test]
    fn a_dry_run_refusal_changes_no_outcome() {
        let charges = [charge("wide", 10, false), charge("shadow", 1, true)];
        let mut states = [None, None];
        let now = Timestamp::from_millis(1_000_000);
        charge_all(&charges, &mut states, now);
        let second = charge_all(&charges, &mut states, now);
        assert_eq!(
            second
                .iter()
                .map(|v| (v.allowed, v.remaining))
                .collect::<Vec<_>>(),
            [(true, 8), (false, 0)]
        );
    }
}
