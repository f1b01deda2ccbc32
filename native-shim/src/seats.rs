//! How many clients there may be, in all and of one address.
//!
//! Why: without a bound of its own one address takes every seat that there is, and all others are
//! turned away. A connection takes a seat; what goes on for it at an origin when it has ended keeps
//! the seat, so that nobody gets more by coming back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The seats of a process that are taken.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    taken: AtomicUsize,
    addresses: Addresses,
}

/// A client's seat. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    /// The address whose seat it is, if those of an address are bounded.
    address: Option<IpAddr>,
}

impl Seats {
    /// Takes a seat, if one is free: of all, of which there are `most`, and of those of this
    /// address, if it may only have some.
    pub(crate) fn take(
        self: &Arc<Self>,
        most: usize,
        of_address: Option<(IpAddr, usize)>,
    ) -> Option<Seat> {
        // Counted before it is compared: other threads accept at the same time.
        if self.taken.fetch_add(1, Ordering::Relaxed) >= most {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if of_address.is_some_and(|(address, most)| !self.addresses.enter(address, most)) {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Seat {
            seats: Arc::clone(self),
            address: of_address.map(|(address, _)| address),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.seats.addresses.leave(address);
        }
        self.seats.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The seats taken by address.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<u128, usize, ahash::RandomState>>);

impl Addresses {
    /// Counts one more, unless the address has as many as it may.
    fn enter(&self, address: IpAddr, most: usize) -> bool {
        let mut open = self.lock();
        let network = network(address);
        let count = open.get(&network).copied().unwrap_or_default();
        if count >= most {
            return false;
        }
        open.insert(network, count + 1);
        true
    }

    fn leave(&self, address: IpAddr) {
        let mut open = self.lock();
        let network = network(address);
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
        // A crowd that has gone leaves its memory too.
        if open.capacity() > 1024 && open.len() < open.capacity() / 8 {
            open.shrink_to_fit();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, usize, ahash::RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has an IPv6 address has its whole /64 network.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_ipv6_mapped().into(),
            None => u128::from(address) & !u128::from(u64::MAX),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_own_places() {
        let addresses = Addresses::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let enter = |text: &str| addresses.enter(address(text), 2);
        assert!(enter("192.0.2.1") && enter("::ffff:192.0.2.1"));
        assert!(!enter("192.0.2.1"));
        assert!(enter("192.0.2.2"));
        assert!(enter("2001:db8::1") && enter("2001:db8::2"), "one network");
        assert!(!enter("2001:db8::3"));
        assert!(enter("2001:db8:0:1::1"));
        addresses.leave(address("192.0.2.1"));
        assert!(enter("192.0.2.1"));
    }

    #[test]
    fn nothing_is_left_of_those_who_have_gone() {
        let addresses = Addresses::default();
        let all = (0..10_000_u32).map(|n| IpAddr::from(n.to_be_bytes()));
        assert!(all.clone().all(|address| addresses.enter(address, 1)));
        all.for_each(|address| addresses.leave(address));
        let open = addresses.lock();
        assert!(open.is_empty() && open.capacity() <= 1024);
    }
}
