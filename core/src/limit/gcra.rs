//! The generic cell rate algorithm: the whole state of a limit is one number.
//!
//! Source: ITU-T I.371, as a virtual schedule. The state is the theoretical arrival time (TAT):
//! when everything used so far will have been earned. A charge is allowed while the TAT stays at
//! most one burst ahead of now.

use super::quota::{Quota, Verdict};
use crate::time::Timestamp;

/// The theoretical arrival time, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tat(pub u64);

impl Tat {
    /// Returns whether this state says the same as no state at all, so that a store may forget it.
    pub const fn is_spent(self, now: Timestamp) -> bool {
        self.0 <= now.as_nanos()
    }
}

/// Uses `cost`, if it is available. A refusal uses nothing: the state is [`clamped`].
pub fn charge(quota: &Quota, state: Option<Tat>, cost: u64, now: Timestamp) -> (Tat, Verdict) {
    let before = base(quota, state, now);
    let after = before.saturating_add(interval(quota).saturating_mul(cost));
    if after <= horizon(quota, now) {
        (Tat(after), verdict(quota, after, 0, now))
    } else {
        let state = clamped(quota, state.unwrap_or(Tat(before)), now);
        (state, refusal(quota, before, after, now))
    }
}

/// Returns a state that owes no more than this quota lets anybody owe. One that a larger quota has
/// left, or a clock that was ahead, would otherwise stay as long as that said.
pub fn clamped(quota: &Quota, state: Tat, now: Timestamp) -> Tat {
    Tat(state.0.min(horizon(quota, now)))
}

/// Adds what was used elsewhere, as far as the burst goes.
pub fn owe(quota: &Quota, state: Option<Tat>, cost: u64, now: Timestamp) -> Tat {
    let before = base(quota, state, now);
    let after = before.saturating_add(interval(quota).saturating_mul(cost));
    Tat(after.min(horizon(quota, now)))
}

/// Says how much of what was used has not been earned again.
pub fn owed(quota: &Quota, state: Tat, now: Timestamp) -> u64 {
    let ahead = state.0.saturating_sub(now.as_nanos());
    ahead.div_ceil(interval(quota)).min(quota.burst)
}

/// Says what [`charge`] would answer, as if nothing had been used yet: `remaining` and `reset` are
/// those before the charge.
pub fn peek(quota: &Quota, state: Option<Tat>, cost: u64, now: Timestamp) -> Verdict {
    let before = base(quota, state, now);
    let after = before.saturating_add(interval(quota).saturating_mul(cost));
    if after <= horizon(quota, now) {
        verdict(quota, before, 0, now)
    } else {
        refusal(quota, before, after, now)
    }
}

/// Gives back `cost` that was charged for a request which another limit then refused.
pub fn refund(quota: &Quota, state: Tat, cost: u64, now: Timestamp) -> Tat {
    let earned = state.0.saturating_sub(interval(quota).saturating_mul(cost));
    Tat(base(quota, Some(Tat(earned)), now))
}

/// Nanoseconds that earn one unit.
pub(super) fn interval(quota: &Quota) -> u64 {
    (quota.period.saturating_mul(1_000_000) / quota.amount.max(1)).max(1)
}

/// The furthest TAT that is still allowed.
fn horizon(quota: &Quota, now: Timestamp) -> u64 {
    now.as_nanos()
        .saturating_add(interval(quota).saturating_mul(quota.burst))
}

/// The TAT before a charge. Clamped, so that a state left by a larger quota never refuses for
/// longer than this quota's burst.
fn base(quota: &Quota, state: Option<Tat>, now: Timestamp) -> u64 {
    state
        .map_or(0, |s| s.0)
        .clamp(now.as_nanos(), horizon(quota, now))
}

fn verdict(quota: &Quota, tat: u64, retry_after: u64, now: Timestamp) -> Verdict {
    Verdict {
        allowed: retry_after == 0,
        remaining: horizon(quota, now).saturating_sub(tat) / interval(quota),
        reset: tat.saturating_sub(now.as_nanos()).div_ceil(1_000_000),
        retry_after,
        period_end: Timestamp::default(),
    }
}

fn refusal(quota: &Quota, before: u64, after: u64, now: Timestamp) -> Verdict {
    let wait = after
        .saturating_sub(horizon(quota, now))
        .div_ceil(1_000_000)
        .max(1);
    verdict(quota, before, wait, now)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const THOUSAND_A_MINUTE: Quota = Quota {
        amount: 1000,
        period: 60_000,
        burst: 3,
    };
    const START: u64 = 1_700_000_000_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(START + millis)
    }

    #[test]
    fn a_thousand_a_minute_earns_one_each_60_ms() {
        let mut state = None;
        let mut answers = Vec::new();
        for millis in [0, 0, 0, 0, 59, 60, 60] {
            let (next, verdict) = charge(&THOUSAND_A_MINUTE, state, 1, at(millis));
            state = Some(next);
            answers.push((verdict.allowed, verdict.remaining, verdict.retry_after));
        }
        let expected = [
            (true, 2, 0),
            (true, 1, 0),
            (true, 0, 0),
            (false, 0, 60),
            (false, 0, 1),
            (true, 0, 0),
            (false, 0, 60),
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn a_smaller_quota_forgives_what_a_larger_one_owed() {
        let day_ahead = Tat(at(86_400_000).as_nanos());
        let (_, verdict) = charge(&THOUSAND_A_MINUTE, Some(day_ahead), 1, at(0));
        assert_eq!(verdict.retry_after, 60);
    }

    #[test]
    fn a_refused_client_waits_no_longer_than_it_is_told() {
        // After a larger quota, and after a clock that was a day ahead.
        let mut state = Some(Tat(at(86_400_000).as_nanos()));
        for (millis, allowed) in [
            (0, false),
            (59, false),
            (60, true),
            (61, false),
            (120, true),
        ] {
            let (next, verdict) = charge(&THOUSAND_A_MINUTE, state, 1, at(millis));
            assert_eq!(verdict.allowed, allowed, "after {millis} ms");
            state = Some(next);
        }
    }

    #[test]
    fn a_refund_restores_the_state() {
        let (one, _) = charge(&THOUSAND_A_MINUTE, None, 1, at(0));
        let (two, _) = charge(&THOUSAND_A_MINUTE, Some(one), 1, at(0));
        assert_eq!(refund(&THOUSAND_A_MINUTE, two, 1, at(0)), one);
    }

    #[test]
    fn extreme_values_saturate() {
        let quota = Quota {
            amount: 1,
            period: u64::MAX,
            burst: u64::MAX,
        };
        let (_, verdict) = charge(
            &quota,
            Some(Tat(u64::MAX)),
            u64::MAX,
            Timestamp::from_millis(u64::MAX),
        );
        assert!(verdict.allowed);
    }
}
