//! Whether a stored response may be used now (RFC 9111, section 4.2; RFC 5861).

use crate::cache::control::Control;
use crate::cache::freshness::Freshness;
use crate::cache::stored::Stored;
use crate::time::{Millis, Timestamp};

/// What a stored response is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usability {
    /// It may be served.
    Fresh {
        /// For how much longer.
        ttl: Millis,
    },
    /// It may be served while it is revalidated in the background.
    Grace,
    /// It must be validated.
    Validate,
}

/// Says what a stored response is good for at `now`. [9111-4-5]
pub fn usability(stored: &Stored, now: Timestamp) -> Usability {
    let age = stored.age(now);
    let Freshness {
        lifetime,
        grace,
        always_validate,
        ..
    } = stored.freshness;
    match () {
        // [9111-4-4] [9111-5.2.2.4-1]
        () if always_validate => Usability::Validate,
        () if age < lifetime => Usability::Fresh {
            ttl: lifetime - age,
        },
        // [9111-4.2.4-2] [9111-5.2.2.2-1]
        () if age - lifetime < grace => Usability::Grace,
        () => Usability::Validate,
    }
}

/// Says what a stored response is good for that a purge has made stale.
pub fn purged_softly(usability: Usability, stored: &Stored) -> Usability {
    match usability {
        Usability::Fresh { .. } if stored.freshness.grace > 0 => Usability::Grace,
        Usability::Fresh { .. } => Usability::Validate,
        Usability::Grace | Usability::Validate => usability,
    }
}

/// Narrows what a stored response is good for by the client's own directives (RFC 9111, section
/// 5.2.1).
pub fn as_the_client_asks(
    usability: Usability,
    control: &Control,
    stored: &Stored,
    now: Timestamp,
) -> Usability {
    let seconds = |s: u64| s.saturating_mul(1000);
    let too_old = control
        .max_age
        .is_some_and(|max| stored.age(now) > seconds(max));
    let not_fresh_enough = |ttl: Millis| control.min_fresh.is_some_and(|min| ttl < seconds(min));
    match usability {
        _ if control.no_cache || too_old => Usability::Validate,
        Usability::Fresh { ttl } if not_fresh_enough(ttl) => Usability::Validate,
        Usability::Grace if control.min_fresh.is_some() => Usability::Validate,
        Usability::Fresh { .. } | Usability::Grace | Usability::Validate => usability,
    }
}

/// Returns whether a stored response may stand in for an origin's error (RFC 5861, section 4).
pub fn usable_on_error(stored: &Stored, now: Timestamp) -> bool {
    stands_in(stored, stored.freshness.stale_if_error, now)
}

/// Returns whether a stored response may be served because no origin answers (RFC 9111, section
/// 4.2.4).
pub fn usable_when_disconnected(stored: &Stored, now: Timestamp) -> bool {
    stands_in(stored, stored.freshness.stale_if_disconnected, now)
}

fn stands_in(stored: &Stored, stale_if_error: Millis, now: Timestamp) -> bool {
    let fresh = stored.age(now) < stored.freshness.lifetime;
    !stored.freshness.always_validate && (fresh || stored.staleness(now) < stale_if_error)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::stored;

    /// [9111-4-4] [9111-4-5]
    #[test]
    fn usability_moves_from_fresh_to_grace_to_validate() {
        let mut s = stored(&[]);
        s.initial_age = 1000;
        s.freshness = Freshness {
            lifetime: 10_000,
            grace: 5000,
            stale_if_error: 20_000,
            ..Freshness::default()
        };
        let at = |millis: u64| usability(&s, s.received.plus(millis));
        assert_eq!(at(0), Usability::Fresh { ttl: 9000 });
        assert_eq!(at(8999), Usability::Fresh { ttl: 1 });
        assert_eq!(at(9000), Usability::Grace);
        assert_eq!(at(14_000), Usability::Validate);
        assert_eq!(at(u64::MAX), Usability::Validate);
        s.freshness.always_validate = true;
        assert_eq!(usability(&s, s.received), Usability::Validate);
    }

    /// [9111-4.2.4-2]
    #[test]
    fn a_stale_response_stands_in_as_long_as_it_is_kept_for_that() {
        let mut s = stored(&[]);
        s.freshness = Freshness {
            lifetime: 1000,
            stale_if_error: 2000,
            stale_if_disconnected: 5000,
            ..Freshness::default()
        };
        let at = |millis: u64| {
            let now = s.received.plus(millis);
            (usable_on_error(&s, now), usable_when_disconnected(&s, now))
        };
        assert_eq!(
            [at(0), at(2999), at(3000), at(6000)],
            [(true, true), (true, true), (false, true), (false, false)]
        );
        let mut never = s.clone();
        never.freshness.always_validate = true;
        assert!(
            !usable_on_error(&never, s.received) && !usable_when_disconnected(&never, s.received)
        );
    }
}
