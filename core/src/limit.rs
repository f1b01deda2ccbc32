//! Limits: rates, budgets, slots and bandwidth.
//!
//! Why: one client must not use what belongs to all. A rate trips when its key has used its quota
//! and burst; it recovers by itself, at the quota's rate. A budget trips when its amount is used up,
//! and recovers when its window ends. Slots bound what is under way at once. All limits of a route
//! are checked first and only then consumed, so a refused request uses nothing. Bandwidth is not
//! charged to requests: it paces their bodies. A limit may have plans, whose quotas count for those who
//! are of them.

mod act;
pub mod bandwidth;
pub mod calendar;
mod charge;
mod cost;
mod definition;
pub mod gcra;
pub mod key;
pub mod lease;
pub mod leases;
#[cfg(feature = "source")]
pub mod overrides;
pub mod owing;
pub mod paces;
pub mod plans;
mod quota;
mod rate;
pub mod round;
mod rule;
pub mod script;
mod slots;
mod state;
mod store;
mod window;

use smallvec::SmallVec;

use crate::time::Timestamp;

pub use act::{Act, Answer, act, act_all};
pub use bandwidth::{Bandwidth, ByteRate, Direction};
pub use charge::{Charge, Charged, StoreFault};
pub use cost::{Cost, Known, Measure};
pub use definition::{Absent, KeyPart, Limit, Mode, OnStoreError, Plan, Plans, ToldBy};
pub use paces::{Pace, Paces};
pub use quota::{Quota, Verdict};
pub use rule::{Budget, Rule, Slots, Terms, Windows};
pub use state::{SKEW_MAX, State};
pub use store::{CounterStore, Counters, StoreChange, StoreHealth, StoreKind, StoreTls};
pub use window::Window;

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

    use super::key::CounterKey;
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
