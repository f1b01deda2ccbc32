//! When a request is sent again.
//!
//! Why: one lost connection or one restarting pod must not become a client's error. A request that
//! surely never reached an origin goes to the next one at once, whatever its method. One that may
//! have reached it is repeated only where the rule says so, by default for idempotent methods, and
//! never without its whole body.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::hash;
use crate::packed::packed_struct;
use crate::time::Millis;

/// A retry rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The name in the policy.
    pub name: Arc<str>,
    /// Most attempts in all that may reach an origin; 1 sends nothing twice.
    pub attempts: u8,
    /// Methods that may be sent again.
    pub methods: Vec<Method>,
    /// Statuses that are tried again.
    pub statuses: Vec<u16>,
    /// Pause before an origin is tried again; doubles with each attempt.
    pub backoff: Millis,
    /// Longest pause.
    pub backoff_max: Millis,
    /// After how long without an answer another attempt is made beside the one under way.
    pub hedge_after: Option<Millis>,
}

packed_struct!(RetryPolicy {
    name,
    attempts,
    methods,
    statuses,
    backoff,
    backoff_max,
    hedge_after
});

/// An attempt that brought no usable response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryCause {
    /// The origin may have seen the request: it closed, timed out or broke the protocol.
    Lost,
    /// The origin surely never saw the request.
    NeverSent,
    /// The origin answered so.
    Status(StatusCode),
}

impl RetryPolicy {
    /// The rule of a route that names none: nothing that may have reached an origin is sent twice.
    pub fn none() -> Self {
        Self {
            name: "none".into(),
            attempts: 1,
            methods: Vec::new(),
            statuses: Vec::new(),
            backoff: 0,
            backoff_max: 0,
            hedge_after: None,
        }
    }

    /// Returns whether another attempt may follow. `sent` counts the attempts that may have reached
    /// an origin.
    pub fn allows(
        &self,
        setback: RetryCause,
        method: &Method,
        sent: u8,
        body_intact: bool,
    ) -> bool {
        body_intact
            && match setback {
                RetryCause::NeverSent => true,
                RetryCause::Lost => sent < self.attempts && self.methods.contains(method),
                RetryCause::Status(status) => {
                    sent < self.attempts
                        && self.methods.contains(method)
                        && self.statuses.contains(&status.as_u16())
                }
            }
    }

    /// Returns after how long without an answer another attempt is made beside one that is under
    /// way. `sent` counts the attempts before that may have reached an origin. What changes something
    /// is never done twice at a time: the answer that comes first may not be the one that tells of
    /// the change.
    pub fn hedges(&self, method: &Method, sent: u8) -> Option<Millis> {
        let attempts = sent.saturating_add(2);
        let is_allowed =
            attempts <= self.attempts && self.methods.contains(method) && method.is_safe();
        self.hedge_after.filter(|_| is_allowed)
    }

    /// Returns the pause before attempt `next` (2 for the second): between half and the whole of
    /// the doubling backoff, drawn from the seed.
    pub fn pause(&self, next: u8, seed: u64) -> Millis {
        let doublings = u32::from(next.saturating_sub(2)).min(20);
        let whole = self
            .backoff
            .saturating_mul(1 << doublings)
            .min(self.backoff_max);
        let half = whole / 2;
        half + hash::draw(seed, u64::from(next)) % (whole - half + 1)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn rule() -> RetryPolicy {
        RetryPolicy {
            attempts: 3,
            methods: vec![Method::GET],
            statuses: vec![503],
            backoff: 100,
            backoff_max: 300,
            ..RetryPolicy::none()
        }
    }

    #[test]
    fn only_what_the_rule_names_is_sent_twice() {
        let unavailable = RetryCause::Status(StatusCode::SERVICE_UNAVAILABLE);
        assert!(rule().allows(unavailable, &Method::GET, 2, true));
        assert!(
            !rule().allows(unavailable, &Method::GET, 3, true),
            "attempts are bounded"
        );
        assert!(!rule().allows(unavailable, &Method::POST, 1, true));
        assert!(!rule().allows(
            RetryCause::Status(StatusCode::NOT_FOUND),
            &Method::GET,
            1,
            true
        ));
        assert!(!rule().allows(RetryCause::Lost, &Method::POST, 1, true));
        assert!(
            !rule().allows(RetryCause::Lost, &Method::GET, 1, false),
            "a body that was begun cannot be sent again"
        );
        assert!(RetryPolicy::none().allows(RetryCause::NeverSent, &Method::POST, 1, true));
        assert!(!RetryPolicy::none().allows(RetryCause::Lost, &Method::GET, 1, true));
    }

    #[test]
    fn pauses_double_up_to_the_maximum_with_jitter_from_the_seed() {
        for seed in 0..200 {
            for (next, whole) in [(2, 100), (3, 200), (4, 300), (90, 300)] {
                let pause = rule().pause(next, seed);
                assert!(
                    (whole / 2..=whole).contains(&pause),
                    "{next} {seed} {pause}"
                );
                assert_eq!(pause, rule().pause(next, seed));
            }
        }
        assert_eq!(RetryPolicy::none().pause(2, 7), 0);
    }
}
