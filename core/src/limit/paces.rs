//! What paces bodies, and the paces of all keys in one process or isolate: a bounded table.

use std::sync::Arc;

use super::bandwidth::{Bandwidth, CHUNK_MAX, PaceState};
use super::key::CounterKey;
use crate::map::Map;
use crate::time::{Millis, Timestamp};

/// What paces a body: one limit, for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// The limit.
    pub limit: Arc<Bandwidth>,
    /// Whose pace.
    pub key: CounterKey,
    /// Position in [`crate::Report::bandwidth`].
    pub entry: usize,
}

/// How long bytes wait, and for which limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wait {
    /// So long; 0 if they go at once.
    pub millis: Millis,
    /// Position in [`crate::Report::bandwidth`] of the limit for which they wait.
    pub entry: usize,
}

impl Wait {
    /// Of several limits the slowest counts.
    #[must_use]
    pub fn or_longer(self, other: Self) -> Self {
        if other.millis > self.millis {
            other
        } else {
            self
        }
    }
}

/// For how long the bodies of an exchange have waited, and for which limits.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waits(Vec<Wait>);

impl Waits {
    /// Adds a wait that is over.
    pub fn add(&mut self, wait: Wait) {
        if wait.millis == 0 {
            return;
        }
        match self.0.iter_mut().find(|known| known.entry == wait.entry) {
            Some(known) => known.millis = known.millis.saturating_add(wait.millis),
            None => self.0.push(wait),
        }
    }

    /// Lists how long each limit has made bodies wait, if any has.
    pub fn iter(&self) -> impl Iterator<Item = Wait> {
        self.0.iter().copied()
    }
}

/// Returns how many bytes a stream that all of these pace takes at once at most; at least 1.
pub fn chunk(paces: &[Pace]) -> usize {
    let chunks = paces.iter().map(|pace| pace.limit.rate.chunk());
    let chunk = chunks.min().unwrap_or(CHUNK_MAX);
    usize::try_from(chunk).unwrap_or(usize::MAX)
}

/// How far each key has taken bytes ahead of their time. Keys that have taken none are not in it.
#[derive(Debug)]
pub struct Paces {
    states: Map<CounterKey, PaceState>,
    keys_max: usize,
}

impl Paces {
    /// Makes a table for at most so many keys; beyond it the one that is nearest to its rest is
    /// forgotten, and has all of its burst again.
    pub const fn bounded(keys_max: usize) -> Self {
        Self {
            states: Map::new(),
            keys_max,
        }
    }

    /// Takes bytes, and says for how long they wait before they go.
    pub fn take(&mut self, pace: &Pace, bytes: u64, now: Timestamp) -> Wait {
        let state = self.states.get(&pace.key).copied();
        let (next, millis) = pace.limit.rate.take(state, bytes, now);
        if state.is_none() {
            self.make_room(now);
        }
        self.states.insert(pace.key, next);
        Wait {
            millis,
            entry: pace.entry,
        }
    }

    /// Gives bytes back that were taken and will not go.
    pub fn give_back(&mut self, pace: &Pace, bytes: u64) {
        if let Some(state) = self.states.get_mut(&pace.key) {
            *state = pace.limit.rate.give_back(*state, bytes);
        }
    }

    /// Forgets keys that owe nothing.
    pub fn sweep(&mut self, now: Timestamp) {
        self.states.retain(|_, state| !state.is_spent(now));
    }

    /// Returns how many keys owe something.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Returns whether no key owes anything.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.states.len() < self.keys_max {
            return;
        }
        self.sweep(now);
        if self.states.len() < self.keys_max {
            return;
        }
        let nearest = self.states.iter().min_by_key(|(_, state)| state.until());
        if let Some(key) = nearest.map(|(key, _)| *key) {
            self.states.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::limit::bandwidth::{ByteRate, Direction};
    use crate::limit::definition::Absent;

    fn pace(key: &str) -> Pace {
        let limit = Bandwidth {
            name: "downloads".into(),
            rate: ByteRate {
                bytes: 1000,
                period: 1000,
                burst: 1000,
            },
            direction: Direction::Response,
            key: vec![],
            absent: Absent::Share,
            methods: vec![],
        };
        Pace {
            limit: Arc::new(limit),
            key: CounterKey::of(key.as_bytes()),
            entry: 3,
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn each_key_has_a_pace_of_its_own() {
        let mut paces = Paces::bounded(10);
        let waits = |paces: &mut Paces, key: &str| paces.take(&pace(key), 1000, at(0));
        assert_eq!(
            waits(&mut paces, "a"),
            Wait {
                millis: 0,
                entry: 3
            }
        );
        let second = Wait {
            millis: 1000,
            entry: 3,
        };
        assert_eq!(waits(&mut paces, "a"), second);
        assert_eq!(
            waits(&mut paces, "b"),
            Wait {
                millis: 0,
                entry: 3
            }
        );
        paces.give_back(&pace("a"), 1000);
        assert_eq!(
            waits(&mut paces, "a"),
            second,
            "what is given back is taken"
        );
    }

    #[test]
    fn keys_are_bounded_and_who_owes_most_stays() {
        let mut paces = Paces::bounded(4);
        paces.take(&pace("owes"), 5000, at(0));
        for key in 0..100 {
            paces.take(&pace(&key.to_string()), 10, at(0));
        }
        assert_eq!(paces.len(), 4);
        let wait = paces.take(&pace("owes"), 10, at(0));
        assert_eq!(wait.millis, 4010);
        paces.sweep(at(5009));
        assert_eq!(paces.len(), 1);
        paces.sweep(at(5010));
        assert!(paces.is_empty());
    }
}
