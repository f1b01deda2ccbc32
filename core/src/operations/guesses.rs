//! Wrong tokens, counted for each address, so that guessing takes for ever.

use std::net::{IpAddr, Ipv6Addr};

use http::StatusCode;

use super::refused::Refused;
use crate::limit::gcra::Tat;
use crate::limit::{Quota, gcra};
use crate::map::Map;
use crate::message::client::unmapped;
use crate::time::{Millis, Timestamp};

/// Wrong tokens that an address may show: ten at once, and one more each six seconds.
const QUOTA: Quota = Quota {
    amount: 10,
    period: 60_000,
    burst: 10,
};

/// Most addresses remembered; beyond it the one that is nearest to its rest is forgotten.
const ADDRESSES_MAX: usize = 1024;

/// Who has shown wrong tokens lately. An address of IPv6 counts with its /64 network.
#[derive(Debug, Default)]
pub struct Guesses(Map<IpAddr, Tat>);

impl Guesses {
    /// Makes a state in which nobody has guessed.
    pub const fn new() -> Self {
        Self(Map::new())
    }

    /// Checks that an address may show a token now. It is asked before the token is looked at: a
    /// right one is refused too, or guesses would not be slowed.
    ///
    /// # Errors
    /// After too many wrong tokens, and says how long to wait.
    pub fn admit(&self, address: IpAddr, now: Timestamp) -> Result<(), Refused> {
        let state = self.0.get(&network(address)).copied();
        let verdict = gcra::peek(&QUOTA, state, 1, now);
        if verdict.allowed {
            Ok(())
        } else {
            Err(too_many(verdict.retry_after))
        }
    }

    /// Counts a wrong token.
    pub fn count(&mut self, address: IpAddr, now: Timestamp) {
        let address = network(address);
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            self.0.retain(|_, state| !state.is_spent(now));
            if self.0.len() >= ADDRESSES_MAX
                && let Some(nearest) = self
                    .0
                    .iter()
                    .min_by_key(|(_, state)| **state)
                    .map(|(address, _)| *address)
            {
                self.0.remove(&nearest);
            }
        }
        let state = self.0.get(&address).copied();
        let (next, _) = gcra::charge(&QUOTA, state, 1, now);
        self.0.insert(address, next);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match unmapped(address) {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn too_many(retry_after: Millis) -> Refused {
    let seconds = retry_after.div_ceil(1000).max(1);
    let detail = format!("Too many wrong tokens came from this address; wait {seconds} s.");
    let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, "Too many guesses", detail);
    Refused {
        retry_after: Some(seconds),
        ..refused
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn guesses_of_an_address_are_slowed() {
        let mut guesses = Guesses::new();
        let at = |millis: u64| Timestamp::from_millis(1_700_000_000_000 + millis);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..10 {
            assert!(guesses.admit(address("192.0.2.1"), at(0)).is_ok());
            guesses.count(address("192.0.2.1"), at(0));
        }
        let refused = guesses
            .admit(address("::ffff:192.0.2.1"), at(0))
            .unwrap_err();
        assert_eq!(
            (refused.status, refused.retry_after),
            (StatusCode::TOO_MANY_REQUESTS, Some(6))
        );
        assert!(guesses.admit(address("192.0.2.2"), at(0)).is_ok());
        assert!(guesses.admit(address("192.0.2.1"), at(5999)).is_err());
        assert!(guesses.admit(address("192.0.2.1"), at(6000)).is_ok());
        for n in 0..10 {
            guesses.count(address(&format!("2001:db8::{n}")), at(0));
        }
        assert!(guesses.admit(address("2001:db8::ffff"), at(0)).is_err());
        assert!(guesses.admit(address("2001:db8:0:1::1"), at(0)).is_ok());
    }

    #[test]
    fn addresses_are_bounded_and_the_worst_stay() {
        let mut guesses = Guesses::new();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let worst: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            guesses.count(worst, now);
        }
        for n in 0..5000_u32 {
            guesses.count(IpAddr::V4((0x0a00_0000 + n).into()), now);
        }
        assert!(guesses.0.len() <= ADDRESSES_MAX);
        assert!(guesses.admit(worst, now).is_err());
    }
}
