//! Slots: how many requests of a caller may be under way at once.
//!
//! A request takes a slot and gives it back when its reply's body has ended. One that is never given
//! back, because its node has died, must expire. To know when each one does would take as many
//! numbers as there are slots. So those that were taken in one period, as long as a slot may be held,
//! are counted together: when another period has passed after it, what is left of them has expired.
//! A slot thus expires after one such time at least, and two at most.

use super::quota::Verdict;
use super::state::State;
use super::window::{Used, Window};
use crate::time::{Millis, Timestamp};

/// After how long it is worth to come again: nobody knows when a slot will be given back.
const RETRY_AFTER: Millis = 1000;

pub(super) fn peek(window: &Window, state: Option<State>, cost: u64, now: Timestamp) -> Verdict {
    let used = place(window, state, now);
    verdict(window, used, is_free(window, used, cost))
}

pub(super) fn charge(
    window: &Window,
    state: Option<State>,
    cost: u64,
    now: Timestamp,
) -> (State, Verdict) {
    let mut used = place(window, state, now);
    if !is_free(window, used, cost) {
        return (window.state(used), verdict(window, used, false));
    }
    used.used = used.used.saturating_add(cost);
    let verdict = Verdict {
        period_end: Timestamp::from_millis(used.end),
        ..verdict(window, used, true)
    };
    (window.state(used), verdict)
}

/// Gives back what was taken in the period that ends then.
pub(super) fn refund(
    window: &Window,
    state: Option<State>,
    cost: u64,
    period_end: Timestamp,
    now: Timestamp,
) -> State {
    window.state(place(window, state, now).less(cost, period_end))
}

pub(super) fn clamped(window: &Window, state: State, now: Timestamp) -> State {
    window.state(place(window, Some(state), now))
}

/// Says what of a state counts. Slots that a clock far ahead has taken are not kept: whoever gives
/// them back names a period that is not this one.
fn place(window: &Window, state: Option<State>, now: Timestamp) -> Used {
    let used = window.place(state, now);
    let is_later = state.is_some_and(|state| window.period_end(state) > window.end);
    if is_later && used.end == window.end {
        return window.place(None, now);
    }
    used
}

fn is_free(window: &Window, used: Used, cost: u64) -> bool {
    taken(used).saturating_add(cost) <= window.amount
}

fn taken(used: Used) -> u64 {
    used.used.saturating_add(used.before)
}

fn verdict(window: &Window, used: Used, allowed: bool) -> Verdict {
    Verdict {
        allowed,
        remaining: window.amount.saturating_sub(taken(used)),
        reset: 0,
        retry_after: if allowed { 0 } else { RETRY_AFTER },
        period_end: Timestamp::default(),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::rule::{Rule, Slots};
    use super::*;
    use crate::hash;

    const HELD_MAX: Millis = 60_000;
    /// When a period begins.
    const START: u64 = 1_700_000_040_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(START + millis)
    }

    fn rule(amount: u64) -> Rule {
        Rule::Slots(Slots {
            amount,
            held_max: HELD_MAX,
        })
    }

    /// Takes a slot, and returns the end of its period if there was one.
    fn take(rule: &Rule, state: &mut Option<State>, now: Timestamp) -> Option<Timestamp> {
        let (next, verdict) = rule.terms(now).charge(*state, 1, now);
        *state = Some(next);
        verdict.allowed.then_some(verdict.period_end)
    }

    fn give_back(rule: &Rule, state: &mut Option<State>, slot: Timestamp, now: Timestamp) {
        *state = Some(rule.terms(now).refund(*state, 1, slot, now));
    }

    #[test]
    fn a_slot_that_is_given_back_is_free_at_once() {
        let (rule, mut state) = (rule(2), None);
        let one = take(&rule, &mut state, at(0)).unwrap();
        let _other = take(&rule, &mut state, at(1)).unwrap();
        assert_eq!(take(&rule, &mut state, at(2)), None);
        give_back(&rule, &mut state, one, at(3));
        assert!(take(&rule, &mut state, at(3)).is_some());
        assert_eq!(take(&rule, &mut state, at(3)), None);
    }

    #[test]
    fn slots_of_the_period_before_count_and_come_back_too() {
        let (rule, mut state) = (rule(1), None);
        let slot = take(&rule, &mut state, at(59_999)).unwrap();
        assert_eq!(take(&rule, &mut state, at(60_000)), None);
        give_back(&rule, &mut state, slot, at(60_001));
        assert!(take(&rule, &mut state, at(60_001)).is_some());
    }

    #[test]
    fn a_slot_that_is_never_given_back_expires() {
        for taken in [0, 30_000, 59_999] {
            let (rule, mut state) = (rule(1), None);
            let slot = take(&rule, &mut state, at(taken)).unwrap();
            assert_eq!(take(&rule, &mut state, at(119_999)), None, "{taken}");
            let next = take(&rule, &mut state, at(120_000));
            assert!(next.is_some(), "{taken}");
            // It comes back too late: the slot of another one stays taken.
            give_back(&rule, &mut state, slot, at(120_001));
            assert_eq!(take(&rule, &mut state, at(120_001)), None, "{taken}");
        }
    }

    #[test]
    fn as_many_are_under_way_as_a_list_of_them_says() {
        for seed in 0..500 {
            let draw = |n: u64| hash::draw(seed, n);
            let amount = 1 + draw(0) % 5;
            let (rule, mut state, mut now) = (rule(amount), None, 0);
            let mut under_way: Vec<Timestamp> = Vec::new();
            for step in 0..200 {
                now += draw(1000 + step) % 10_000;
                // Those of the last period but one have expired.
                let begin = at(now).as_millis() / HELD_MAX * HELD_MAX;
                under_way.retain(|slot| slot.as_millis() >= begin);
                let is_free = (under_way.len() as u64) < amount;
                if draw(2000 + step) % 2 == 0 {
                    let slot = take(&rule, &mut state, at(now));
                    assert_eq!(slot.is_some(), is_free, "seed {seed}, step {step}");
                    under_way.extend(slot);
                } else if !under_way.is_empty() {
                    let which =
                        usize::try_from(draw(3000 + step) % 1000).unwrap() % under_way.len();
                    give_back(&rule, &mut state, under_way.swap_remove(which), at(now));
                }
                let remaining = rule.terms(at(now)).peek(state, 1, at(now)).remaining;
                assert_eq!(remaining, amount - under_way.len() as u64);
            }
        }
    }

    #[test]
    fn slots_of_a_clock_that_was_far_ahead_are_forgotten() {
        let (rule, mut state) = (rule(1), None);
        let ahead = take(&rule, &mut state, at(3_600_000)).unwrap();
        let terms = rule.terms(at(0));
        assert!(terms.clamped(state, at(0)).unwrap().is_spent(at(0)));
        assert!(terms.refund(state, 1, ahead, at(0)).is_spent(at(0)));
        assert!(take(&rule, &mut state, at(0)).is_some());
        assert_eq!(take(&rule, &mut state, at(0)), None);
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let (rule, mut state) = (rule(1), None);
        let slot = take(&rule, &mut state, at(0)).unwrap();
        give_back(&rule, &mut state, slot, at(1));
        // Nothing is held, so nothing is to be remembered.
        assert!(state.unwrap().is_spent(at(1)));
        assert!(take(&rule, &mut state, at(1)).is_some());
    }
}
