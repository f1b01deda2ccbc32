//! Counters of this isolate: those that each node counts for itself, and what is held of others in
//! advance.

use std::cell::RefCell;

use tidegate_core::Timestamp;
use tidegate_core::limit::key::CounterKey;
use tidegate_core::limit::leases::Leases;
use tidegate_core::limit::owing::StoodIn;
use tidegate_core::limit::{Act, Answer, Charge, State, act_all};
use tidegate_core::map::Map;

/// Most keys counted, and most of which something is held: an isolate has little memory.
const KEYS_MAX: usize = 10_000;

/// How many counters are looked at to find one to forget.
const SAMPLE: usize = 16;

thread_local! {
    static COUNTERS: RefCell<Map<CounterKey, State>> = const { RefCell::new(Map::new()) };
    static LEASES: RefCell<Leases> = const { RefCell::new(Leases::bounded(KEYS_MAX)) };
}

/// Does what counters are asked. Nothing is awaited, so nobody comes between.
pub(crate) fn act(acts: &[(Charge, Act)], now: Timestamp) -> Vec<Answer> {
    COUNTERS.with_borrow_mut(|counters| {
        let mut states = Vec::with_capacity(acts.len());
        for (charge, _) in acts {
            states.push(counters.get(&charge.key).copied());
        }
        let answers = act_all(acts, &mut states, now);
        for ((charge, _), state) in acts.iter().zip(states) {
            if let Some(state) = state {
                write(counters, charge.key, state, now);
            }
        }
        answers
    })
}

/// Forgets a counter, and returns what it said.
pub(crate) fn take(key: &CounterKey) -> Option<State> {
    COUNTERS.with_borrow_mut(|counters| counters.remove(key))
}

/// Puts counters back that were taken.
pub(crate) fn put_back(stood_in: &[StoodIn], now: Timestamp) {
    COUNTERS.with_borrow_mut(|counters| {
        for stood_in in stood_in {
            let known = counters.get(stood_in.key()).copied();
            let state = stood_in.put_back(known, now);
            write(counters, *stood_in.key(), state, now);
        }
    });
}

/// Has something done with what is held in advance.
pub(crate) fn with_leases<T>(use_them: impl FnOnce(&mut Leases) -> T) -> T {
    LEASES.with_borrow_mut(use_them)
}

fn write(counters: &mut Map<CounterKey, State>, key: CounterKey, state: State, now: Timestamp) {
    if counters.len() >= KEYS_MAX && !counters.contains_key(&key) {
        make_room(counters, now);
    }
    counters.insert(key, state);
}

/// Forgets counters that are spent; if there are none, the one that is nearest to its rest.
fn make_room(counters: &mut Map<CounterKey, State>, now: Timestamp) {
    counters.retain(|_, state| !state.is_spent(now));
    if counters.len() < KEYS_MAX {
        return;
    }
    let sample = counters.iter().take(SAMPLE);
    let nearest = sample.min_by_key(|(_, state)| state.until);
    if let Some(key) = nearest.map(|(key, _)| *key) {
        counters.remove(&key);
    }
}
