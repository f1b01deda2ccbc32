//! A rate that several count together: the cell rate algorithm, and the latest moment at which
//! anybody has charged.
//!
//! Why: clocks differ. If whoever is behind looked at a counter by its own clock, what others have
//! used would seem to be more than anybody can owe, and it would forget a part of it. So time does
//! not go back within a counter, as long as clocks differ by no more than they may.

use super::gcra::{self, Tat};
use super::quota::{Quota, Verdict};
use super::state::{SKEW_MAX, State};
use crate::time::{Millis, Timestamp};

/// Returns how far a counter's time is ahead of a clock.
fn ahead(state: Option<State>, now: Timestamp) -> Millis {
    let seen = state.map_or(0, |state| state.used);
    let ahead = seen.saturating_sub(now.as_millis());
    if ahead <= SKEW_MAX { ahead } else { 0 }
}

/// Says an answer of the counter's time as one of a clock that is behind.
fn told(mut verdict: Verdict, ahead: Millis) -> Verdict {
    for wait in [&mut verdict.reset, &mut verdict.retry_after] {
        if *wait > 0 {
            *wait = wait.saturating_add(ahead);
        }
    }
    verdict
}

pub(super) fn peek(quota: &Quota, state: Option<State>, cost: u64, now: Timestamp) -> Verdict {
    let ahead = ahead(state, now);
    let verdict = gcra::peek(quota, state.map(Tat::from), cost, now.plus(ahead));
    told(verdict, ahead)
}

pub(super) fn charge(
    quota: &Quota,
    state: Option<State>,
    cost: u64,
    now: Timestamp,
) -> (State, Verdict) {
    let ahead = ahead(state, now);
    let moment = now.plus(ahead);
    let (tat, verdict) = gcra::charge(quota, state.map(Tat::from), cost, moment);
    let next = State {
        // A refusal changes nothing, so that nobody must write it down.
        used: match state {
            Some(state) if !verdict.allowed => state.used,
            Some(_) | None => moment.as_millis(),
        },
        ..tat.into()
    };
    (next, told(verdict, ahead))
}

pub(super) fn refund(quota: &Quota, state: State, cost: u64, now: Timestamp) -> State {
    let moment = now.plus(ahead(Some(state), now));
    State {
        until: gcra::refund(quota, state.into(), cost, moment).0,
        ..state
    }
}

pub(super) fn clamped(quota: &Quota, state: State, now: Timestamp) -> State {
    let moment = now.plus(ahead(Some(state), now));
    State {
        until: gcra::clamped(quota, state.into(), moment).0,
        ..state
    }
}

pub(super) fn owe(quota: &Quota, state: Option<State>, cost: u64, now: Timestamp) -> State {
    let moment = now.plus(ahead(state, now));
    State {
        used: moment.as_millis(),
        ..gcra::owe(quota, state.map(Tat::from), cost, moment).into()
    }
}

pub(super) fn owed(quota: &Quota, state: State, now: Timestamp) -> u64 {
    let moment = now.plus(ahead(Some(state), now));
    gcra::owed(quota, state.into(), moment)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::hash;

    const QUOTA: Quota = Quota {
        amount: 1000,
        period: 60_000,
        burst: 100,
    };
    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// Lets nodes whose clocks differ by up to so much ask as often as they can for a minute, and
    /// counts what passes.
    fn passed(skew: Millis) -> u64 {
        let (mut state, mut passed) = (None, 0);
        for step in 0..60_000 {
            let behind = hash::draw(7, step) % (skew + 1);
            let now = START.plus(skew + step - behind);
            let (next, verdict) = charge(&QUOTA, state, 1, now);
            state = Some(next);
            passed += u64::from(verdict.allowed);
        }
        passed
    }

    #[test]
    fn clocks_that_differ_give_nothing_away() {
        let exact = passed(0);
        assert_eq!(exact, QUOTA.burst + QUOTA.amount - 1);
        for skew in [1, 500, 5000, SKEW_MAX] {
            // The quota goes on for as long as the first and the last moment are apart.
            let more = skew * QUOTA.amount / QUOTA.period + 1;
            assert!(passed(skew) <= exact + more, "{skew}: {}", passed(skew));
        }
    }

    #[test]
    fn whoever_is_behind_waits_as_long_as_it_is_told() {
        let ahead = START.plus(4000);
        let mut state = None;
        for _ in 0..QUOTA.burst {
            state = Some(charge(&QUOTA, state, 1, ahead).0);
        }
        let (_, refused) = charge(&QUOTA, state, 1, START);
        assert!(!refused.allowed);
        assert_eq!(refused.retry_after, 4060);
        let (_, early) = charge(&QUOTA, state, 1, START.plus(4059));
        assert!(!early.allowed);
        let (_, told) = charge(&QUOTA, state, 1, START.plus(4060));
        assert!(told.allowed);
    }

    #[test]
    fn an_hour_back_makes_nobody_wait_longer_than_the_quota_does() {
        let (state, _) = charge(&QUOTA, None, QUOTA.burst, START.plus(3_600_000));
        let (_, refused) = charge(&QUOTA, Some(state), 1, START);
        assert_eq!(refused.retry_after, 60);
    }

    #[test]
    fn a_refusal_leaves_the_state_as_it_is() {
        let (state, _) = charge(&QUOTA, None, QUOTA.burst, START);
        let (next, verdict) = charge(&QUOTA, Some(state), 1, START.plus(10));
        assert!(!verdict.allowed);
        assert_eq!(next, state);
    }
}
