#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::rule::{Budget, Rule, Windows};
use super::*;
use crate::hash;

const MINUTE: u64 = 60_000;
/// When a minute begins.
const START: u64 = 1_700_000_040_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn rule(amount: u64, windows: Windows) -> Rule {
    Rule::Budget(Budget { amount, windows })
}

/// Charges one after the other, so many milliseconds after the start.
fn charges(rule: &Rule, cost: u64, moments: &[u64]) -> Vec<Verdict> {
    let mut state = None;
    let mut verdicts = Vec::new();
    for moment in moments {
        let now = at(*moment);
        let (next, verdict) = rule.terms(now).charge(state, cost, now);
        state = Some(next);
        verdicts.push(verdict);
    }
    verdicts
}

fn answers(verdicts: &[Verdict]) -> Vec<(bool, u64, Millis)> {
    let answer = |v: &Verdict| (v.allowed, v.remaining, v.retry_after);
    verdicts.iter().map(answer).collect()
}

#[test]
fn a_budget_is_not_earned_back_before_its_window_ends() {
    let budget = rule(2, Windows::Fixed(MINUTE));
    let verdicts = charges(&budget, 1, &[0, 1, 2, 59_999, 60_000]);
    let expected = [
        (true, 1, 0),
        (true, 0, 0),
        (false, 0, 59_998),
        (false, 0, 1),
        (true, 1, 0),
    ];
    assert_eq!(answers(&verdicts), expected);
}

#[test]
fn a_sliding_window_counts_the_one_before_in_part() {
    let budget = rule(10, Windows::Sliding(MINUTE));
    let mut moments = vec![30_000; 10];
    moments.extend([60_000, 65_999, 66_000, 66_000, 72_000]);
    let verdicts = charges(&budget, 1, &moments);
    assert!(verdicts.iter().take(10).all(|verdict| verdict.allowed));
    let expected = [
        (false, 0, 6000),
        (false, 0, 1),
        (true, 0, 0),
        (false, 0, 6000),
        (true, 0, 0),
    ];
    assert_eq!(answers(&verdicts[10..]), expected);
}

#[test]
fn a_dearer_request_waits_for_the_window_after_the_next() {
    let budget = rule(10, Windows::Sliding(MINUTE));
    let now = at(30_000);
    let (state, _) = budget.terms(now).charge(None, 8, now);
    // In the next window 8 count as 4 half-way.
    let wait = budget.terms(now).peek(Some(state), 6, now).retry_after;
    assert_eq!(wait, 30_000 + 30_000);
}

#[test]
fn whoever_waits_as_told_is_let_in_and_not_before() {
    for seed in 0..2000 {
        let draw = |n: u64| hash::draw(seed, n);
        let amount = 1 + draw(0) % 20;
        let windows = if seed % 2 == 0 {
            Windows::Fixed(MINUTE)
        } else {
            Windows::Sliding(MINUTE)
        };
        let budget = rule(amount, windows);
        let (mut state, mut now) = (None, 0);
        for step in 0..40 {
            now += draw(100 + step) % 9000;
            let cost = 1 + draw(200 + step) % amount;
            let terms = budget.terms(at(now));
            let peeked = terms.peek(state, cost, at(now));
            let (next, charged) = terms.charge(state, cost, at(now));
            assert_eq!(peeked.allowed, charged.allowed);
            state = Some(next);
            if !charged.allowed {
                let wait = charged.retry_after;
                let then = |wait: u64| {
                    let now = at(now + wait);
                    budget.terms(now).peek(state, cost, now).allowed
                };
                assert!(then(wait), "seed {seed}, step {step}: {wait} is too short");
                assert!(
                    !then(wait - 1),
                    "seed {seed}, step {step}: {wait} is too long"
                );
            }
        }
    }
}

#[test]
fn no_window_lets_more_pass_than_its_amount_and_no_time_as_long_twice_that() {
    for seed in 0..300 {
        let draw = |n: u64| hash::draw(seed, n);
        let amount = 1 + draw(0) % 20;
        for windows in [Windows::Fixed(MINUTE), Windows::Sliding(MINUTE)] {
            let budget = rule(amount, windows);
            let (mut state, mut now) = (None, 0);
            let mut passed: Vec<u64> = Vec::new();
            for step in 0..400 {
                now += draw(100 + step) % 3000;
                let (next, verdict) = budget.terms(at(now)).charge(state, 1, at(now));
                state = Some(next);
                if verdict.allowed {
                    passed.push(now);
                }
            }
            let windows = (0..=now / MINUTE).map(|number| number * MINUTE);
            for from in windows.chain(passed.iter().copied()) {
                let within = |moment: &&u64| (from..from + MINUTE).contains(*moment);
                let count = passed.iter().filter(within).count() as u64;
                let most = if from % MINUTE == 0 {
                    amount
                } else {
                    2 * amount
                };
                assert!(count <= most, "seed {seed}: {count} from {from}");
            }
        }
    }
}

#[test]
fn a_refund_restores_what_was_used() {
    for windows in [Windows::Fixed(MINUTE), Windows::Sliding(MINUTE)] {
        let budget = rule(5, windows);
        let terms = budget.terms(at(0));
        let (one, _) = terms.charge(None, 1, at(0));
        let (two, charged) = terms.charge(Some(one), 3, at(1));
        let period_end = charged.period_end;
        assert_eq!(terms.refund(Some(two), 3, period_end, at(2)), one);
        // In the next window others have used something: that stays as it is.
        let now = at(MINUTE);
        let later = budget.terms(now);
        let (others, _) = later.charge(Some(two), 1, now);
        let refunded = later.refund(Some(others), 3, period_end, now);
        let (expected, _) = later.charge(Some(one), 1, now);
        assert_eq!(refunded, expected);
        // Whoever still has the terms of before gives back there too.
        assert_eq!(
            terms.refund(Some(others), 3, period_end, at(MINUTE - 1)),
            expected
        );
    }
}

#[test]
fn time_does_not_go_back_within_a_counter_and_a_wrong_clock_is_forgiven() {
    let budget = rule(2, Windows::Fixed(MINUTE));
    // A node whose clock is a second ahead, and one that is not, at the end of a minute.
    let verdicts = charges(&budget, 1, &[59_000, 60_000, 59_100, 59_200, 60_100]);
    let expected = [
        (true, 1, 0),
        (true, 1, 0),
        (true, 0, 0),
        (false, 0, 60_800),
        (false, 0, 59_900),
    ];
    assert_eq!(answers(&verdicts), expected);
    // A clock that was half a minute ahead and was set back, and one that was so by an hour:
    // nobody is kept out for longer than a window.
    let verdicts = charges(&budget, 1, &[60_000, 60_000, 30_000, 59_999]);
    let expected = [
        (true, 1, 0),
        (true, 0, 0),
        (false, 0, 30_000),
        (false, 0, 1),
    ];
    assert_eq!(answers(&verdicts), expected);
    let verdicts = charges(&budget, 1, &[3_600_000, 3_600_000, 0, 59_999, 60_000]);
    let expected = [
        (true, 1, 0),
        (true, 0, 0),
        (false, 0, 60_000),
        (false, 0, 1),
        (true, 1, 0),
    ];
    assert_eq!(answers(&verdicts), expected);
}

#[test]
fn a_smaller_budget_keeps_what_was_used_and_lets_nobody_wait_longer_than_its_window() {
    let (large, small) = (
        rule(100, Windows::Fixed(MINUTE)),
        rule(10, Windows::Fixed(MINUTE)),
    );
    let now = at(0);
    let (state, _) = large.terms(now).charge(None, 50, now);
    let verdict = small.terms(now).peek(Some(state), 1, now);
    assert_eq!(
        (verdict.allowed, verdict.remaining, verdict.retry_after),
        (false, 0, MINUTE)
    );
    let verdict = large.terms(now).peek(Some(state), 50, now);
    assert!(verdict.allowed);
}

#[test]
fn extreme_values_saturate() {
    let budget = rule(u64::MAX, Windows::Sliding(u64::MAX));
    let now = Timestamp::from_millis(u64::MAX);
    let state = State {
        until: u64::MAX,
        used: u64::MAX,
        before: u64::MAX,
    };
    budget.terms(now).charge(Some(state), u64::MAX, now);
    budget.terms(now).refund(Some(state), u64::MAX, now, now);
    let none = rule(1, Windows::Fixed(0)).terms(now);
    assert!(none.charge(None, 1, now).1.allowed);
}
