//! Fetches under way, so that concurrent misses of one key cause one fetch (request coalescing).
//!
//! Why: at the moment a popular response expires, a thousand requests must not all go to the
//! origin. The first request leads, the others follow and ask the store again when the lead has
//! ended. A lead ends when it is dropped, after its response was stored or turned out not to be
//! storable, or when it expires. A request that asked the store before a lead ended, and would lead
//! only afterwards, asks the store again: the answer that it did not find may be there now. A key
//! whose response was not storable is marked for a while, and its requests then go alone: they
//! never queue up behind each other. The same holds for a response that each request must validate
//! anew.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::cache::CacheKey;
use crate::map::Map;
use crate::time::{Millis, Timestamp};

/// How long requests for a key go alone after a response that could not be stored ("hit-for-miss").
const UNSHARED_FOR: Millis = 10_000;

/// Most keys remembered; beyond it requests go alone.
const KEYS_MAX: usize = 10_000;

/// What is over is looked for this often at most, because every request waits meanwhile.
const SWEPT_EVERY: Millis = 1000;

/// Ends of leads are counted for so many groups of keys. Two keys of one group at worst cost a
/// look-up that finds nothing new.
const GROUPS: usize = 256;

/// The fetches under way at one node.
#[derive(Debug)]
pub(crate) struct Flights {
    /// Nobody outside knows it, so nobody can choose a slow URL whose hash is that of somebody
    /// else's key.
    seed: u64,
    table: Mutex<Table>,
    /// How many leads have ended in each group of keys. Changed under the table's lock, before the
    /// lead leaves the table.
    ended: Box<[AtomicU32]>,
}

/// How many leads of a key's group had ended when the store was asked for the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    group: usize,
    /// None if it does not matter what has ended since.
    ended: Option<u32>,
}

impl Seen {
    /// The same, for a request that has looked twice and takes part whatever has ended since.
    pub(crate) fn for_the_last_time(self) -> Self {
        Self {
            ended: None,
            ..self
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    /// By the key's seeded hash: keys are as long as clients make them, and two that share a hash
    /// at worst wait for each other.
    keys: Map<u64, Flight>,
    next: u64,
    swept: Timestamp,
}

impl Table {
    /// Forgets what is over. Returns whether there is room.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if now.since_guarded(&mut self.swept) >= SWEPT_EVERY {
            self.swept = now;
            self.keys.retain(|_, flight| flight.runs(now));
        }
        self.keys.len() < KEYS_MAX
    }

    /// Returns what goes on with a key, if anything does.
    fn role(&mut self, key: u64, now: Timestamp) -> Option<Role> {
        let flight = self.keys.get_mut(&key)?;
        flight.runs(now).then_some(flight.role)
    }
}

/// What goes on with a key, since when and for how long. A beginning that lies in the future,
/// because the clock was set back, is taken to be now.
#[derive(Debug, Clone, Copy)]
struct Flight {
    role: Role,
    since: Timestamp,
    lasts: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Somebody fetches it for all.
    Led { by: u64 },
    /// All fetch it for themselves.
    Unshared,
}

impl Flight {
    fn runs(&mut self, now: Timestamp) -> bool {
        now.since_guarded(&mut self.since) < self.lasts
    }
}

/// What a request that missed does.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It fetches for all.
    Lead(Lead),
    /// It waits for the one that does.
    Follow,
    /// It fetches for itself.
    Alone,
    /// It asks the store again, because a lead has ended since it asked.
    LookAgain,
}

/// The duty to fetch for all. Ends when dropped.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: u64,
    by: u64,
    group: usize,
}

impl Flights {
    /// Makes a table in which nothing is fetched. `seed` chooses which keys share a hash.
    pub(crate) fn new(seed: u64) -> Self {
        let ended = (0..GROUPS).map(|_| AtomicU32::new(0)).collect();
        Self {
            seed,
            table: Mutex::default(),
            ended,
        }
    }

    /// Notes what has ended so far, before the store is asked. `key_hash` is the stable hash of the
    /// key.
    pub(crate) fn seen(&self, key_hash: u64) -> Seen {
        let group = usize::from(key_hash.to_le_bytes()[0]);
        Seen {
            group,
            ended: Some(self.ended_in(group)),
        }
    }

    fn ended_in(&self, group: usize) -> u32 {
        self.ended
            .get(group)
            .map_or(0, |ended| ended.load(Ordering::Acquire))
    }

    fn hash(&self, key: &CacheKey) -> u64 {
        xxh3_64_with_seed(key.as_bytes(), self.seed)
    }

    /// Takes part in the fetch of a key that the store was asked for at `seen`. A lead expires
    /// `lease` from now.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &CacheKey,
        seen: Seen,
        lease: Millis,
        now: Timestamp,
    ) -> Joined {
        let mut table = self.lock();
        let key = self.hash(key);
        match table.role(key, now) {
            Some(Role::Led { .. }) => return Joined::Follow,
            Some(Role::Unshared) => return Joined::Alone,
            None if seen
                .ended
                .is_some_and(|ended| ended != self.ended_in(seen.group)) =>
            {
                return Joined::LookAgain;
            }
            None => {}
        }
        if table.keys.len() >= KEYS_MAX && !table.make_room(now) {
            return Joined::Alone;
        }
        table.next = table.next.wrapping_add(1);
        let by = table.next;
        table.keys.insert(
            key,
            Flight {
                role: Role::Led { by },
                since: now,
                lasts: lease,
            },
        );
        Joined::Lead(Lead {
            flights: Arc::clone(self),
            key,
            by,
            group: seen.group,
        })
    }

    /// Lets requests for a key go alone for a while, unless somebody fetches it.
    pub(crate) fn go_alone(&self, key: &CacheKey, now: Timestamp) {
        let mut table = self.lock();
        let key = self.hash(key);
        let is_led = matches!(table.role(key, now), Some(Role::Led { .. }));
        if !is_led && (table.keys.len() < KEYS_MAX || table.make_room(now)) {
            table.keys.insert(
                key,
                Flight {
                    role: Role::Unshared,
                    since: now,
                    lasts: UNSHARED_FOR,
                },
            );
        }
    }

    /// Returns whether somebody fetches this key.
    pub(crate) fn is_led(&self, key: &CacheKey, now: Timestamp) -> bool {
        matches!(
            self.lock().role(self.hash(key), now),
            Some(Role::Led { .. })
        )
    }

    /// Returns when it is worth to forget what is over: a second after that was done last, if
    /// anything is remembered.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let table = self.lock();
        let is_empty = table.keys.is_empty();
        (!is_empty).then(|| table.swept.plus(SWEPT_EVERY))
    }

    /// Forgets what is over.
    pub(crate) fn handle_timeout(&self, now: Timestamp) {
        self.lock().make_room(now);
    }

    /// Counts the keys that somebody fetches.
    pub(crate) fn led(&self, now: Timestamp) -> usize {
        let leads =
            |flight: &mut Flight| flight.runs(now) && matches!(flight.role, Role::Led { .. });
        self.lock()
            .keys
            .values_mut()
            .map(leads)
            .filter(|leads| *leads)
            .count()
    }

    // A panic elsewhere cannot leave the table half changed.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Returns whether nobody has taken it over.
    fn is_in(&self, table: &Table) -> bool {
        table
            .keys
            .get(&self.key)
            .is_some_and(|flight| flight.role == Role::Led { by: self.by })
    }

    /// Ends the lead and lets requests for the key go alone for a while, because its response
    /// cannot be shared.
    pub fn end_unshared(self, now: Timestamp) {
        let mut table = self.flights.lock();
        if self.is_in(&table) {
            table.keys.insert(
                self.key,
                Flight {
                    role: Role::Unshared,
                    since: now,
                    lasts: UNSHARED_FOR,
                },
            );
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        if self.is_in(&table) {
            if let Some(ended) = self.flights.ended.get(self.group) {
                ended.fetch_add(1, Ordering::Release);
            }
            table.keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::key::tests_support::key;

    /// Asks the store for a key and, finding nothing, takes part at once.
    fn join(flights: &Arc<Flights>, name: &str, now: Timestamp) -> Joined {
        flights.join(&key(name), flights.seen(7), 100, now)
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn one_leads_and_the_others_follow_until_it_ends() {
        let flights = Arc::new(Flights::new(7));
        let Joined::Lead(lead) = join(&flights, "a", at(0)) else {
            panic!("the first leads")
        };
        assert!(matches!(join(&flights, "a", at(99)), Joined::Follow));
        assert!(matches!(join(&flights, "b", at(0)), Joined::Lead(_)));
        drop(lead);
        assert!(!flights.is_led(&key("a"), at(1)));
        assert!(matches!(join(&flights, "a", at(1)), Joined::Lead(_)));
    }

    #[test]
    fn who_asked_the_store_before_a_lead_ended_asks_again() {
        let flights = Arc::new(Flights::new(7));
        let seen = flights.seen(1);
        let of_another_group = flights.seen(2);
        let Joined::Lead(lead) = flights.join(&key("a"), seen, 100, at(0)) else {
            panic!("the first leads")
        };
        assert!(matches!(
            flights.join(&key("a"), seen, 100, at(1)),
            Joined::Follow
        ));
        drop(lead);
        assert!(matches!(
            flights.join(&key("a"), seen, 100, at(2)),
            Joined::LookAgain
        ));
        assert!(matches!(
            flights.join(&key("c"), seen.for_the_last_time(), 100, at(2)),
            Joined::Lead(_)
        ));
        assert!(matches!(
            flights.join(&key("b"), of_another_group, 100, at(2)),
            Joined::Lead(_)
        ));
        assert!(matches!(
            flights.join(&key("a"), flights.seen(1), 100, at(2)),
            Joined::Lead(_)
        ));
    }

    #[test]
    fn a_lead_that_was_taken_over_ends_nothing() {
        let flights = Arc::new(Flights::new(7));
        let Joined::Lead(lost) = join(&flights, "a", at(0)) else {
            panic!("the first leads")
        };
        let Joined::Lead(next) = join(&flights, "a", at(100)) else {
            panic!("the lead has expired")
        };
        let seen = flights.seen(7);
        drop(lost);
        next.end_unshared(at(101));
        assert_eq!(flights.seen(7).ended, seen.ended);
    }

    #[test]
    fn a_lost_lead_expires_and_its_late_end_harms_nobody() {
        let flights = Arc::new(Flights::new(7));
        let Joined::Lead(lost) = join(&flights, "a", at(0)) else {
            panic!("the first leads")
        };
        let Joined::Lead(_next) = join(&flights, "a", at(100)) else {
            panic!("the lead has expired")
        };
        drop(lost);
        assert!(flights.is_led(&key("a"), at(101)));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_lead_alive_for_longer_than_it_may_last() {
        let flights = Arc::new(Flights::new(7));
        let Joined::Lead(_lost) = join(&flights, "a", at(3_600_000)) else {
            panic!("the first leads")
        };
        assert!(flights.is_led(&key("a"), at(0)));
        assert!(flights.is_led(&key("a"), at(99)));
        assert!(!flights.is_led(&key("a"), at(100)));
    }

    #[test]
    fn an_unshared_response_lets_all_go_alone_for_a_while() {
        let flights = Arc::new(Flights::new(7));
        let Joined::Lead(lead) = join(&flights, "a", at(0)) else {
            panic!("the first leads")
        };
        lead.end_unshared(at(1));
        assert!(matches!(join(&flights, "a", at(2)), Joined::Alone));
        assert!(matches!(join(&flights, "a", at(10_001)), Joined::Lead(_)));
    }

    #[test]
    fn which_keys_share_a_hash_depends_on_the_seed() {
        let hash = |seed, name| Flights::new(seed).hash(&key(name));
        assert_eq!(hash(1, "a"), hash(1, "a"));
        for name in ["a", "/a/path", &"long".repeat(10), &"longer".repeat(100)] {
            let hashes: std::collections::BTreeSet<u64> =
                (0..50).map(|seed| hash(seed, name)).collect();
            assert_eq!(hashes.len(), 50, "{name}");
        }
    }
}
