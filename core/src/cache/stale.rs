//! Whether a stored response may be used now (RFC 9111, section 4.2; RFC 5861).

use super::Stored;
use super::control::Control;
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
    Grace {
        /// How long it has been stale.
        stale: Millis,
    },
    /// It must be validated; it may be served if every origin fails.
    Keep {
        /// How long it has been stale.
        stale: Millis,
    },
    /// It must be validated.
    Validate {
        /// How long it has been stale; 0 for one that always needs validation.
        stale: Millis,
    },
}

/// Says what a stored response is good for at `now`.
pub fn usability(stored: &Stored, now: Timestamp) -> Usability {
    let age = stored.age(now);
    let stale = age.saturating_sub(stored.lifetime);
    if stored.always_validate {
        return Usability::Validate { stale };
    }
    if age < stored.lifetime {
        return Usability::Fresh { ttl: stored.lifetime - age };
    }
    if stale < stored.grace {
        Usability::Grace { stale }
    } else if stale < stored.keep {
        Usability::Keep { stale }
    } else {
        Usability::Validate { stale }
    }
}

/// Narrows what a stored response is good for by the client's own directives (RFC 9111, section 5.2.1).
pub fn as_the_client_asks(usability: Usability, control: &Control, stored: &Stored, now: Timestamp) -> Usability {
    let seconds = |s: u64| s.saturating_mul(1000);
    let stale = stored.age(now).saturating_sub(stored.lifetime);
    let too_old = control.max_age.is_some_and(|max| stored.age(now) > seconds(max));
    let not_fresh_enough = |ttl: Millis| control.min_fresh.is_some_and(|min| ttl < seconds(min));
    match usability {
        _ if control.no_cache => Usability::Validate { stale },
        Usability::Fresh { .. } if too_old => Usability::Validate { stale },
        Usability::Fresh { ttl } if not_fresh_enough(ttl) => Usability::Validate { stale },
        Usability::Grace { .. } if too_old || control.min_fresh.is_some() => Usability::Keep { stale },
        Usability::Fresh { .. } | Usability::Grace { .. } | Usability::Keep { .. } | Usability::Validate { .. } => {
            usability
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::tests_support::stored;

    #[test]
    fn usability_moves_from_fresh_to_grace_to_keep() {
        let mut s = stored(&[]);
        (s.initial_age, s.lifetime, s.grace, s.keep) = (1000, 10_000, 5000, 20_000);
        let at = |millis: u64| usability(&s, s.received.plus(millis));
        assert_eq!(at(0), Usability::Fresh { ttl: 9000 });
        assert_eq!(at(8999), Usability::Fresh { ttl: 1 });
        assert_eq!(at(9000), Usability::Grace { stale: 0 });
        assert_eq!(at(14_000), Usability::Keep { stale: 5000 });
        assert_eq!(at(29_000), Usability::Validate { stale: 20_000 });
        assert!(matches!(at(u64::MAX), Usability::Validate { .. }));
        s.always_validate = true;
        assert_eq!(usability(&s, s.received), Usability::Validate { stale: 0 });
    }
}
