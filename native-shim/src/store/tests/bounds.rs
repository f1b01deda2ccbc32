//! Both bounds, and what counts towards them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

fn put(store: &Store, number: u64, length: usize) {
    store.put(
        &key(number),
        head(NOW.plus(60_000)),
        body(length),
        u64::MAX,
        NOW,
    );
}

/// Returns what an entry without body weighs.
fn empty_bytes() -> u64 {
    let store = store(1 << 20, 1);
    put(&store, 0, 0);
    store.bytes()
}

#[test]
fn an_entry_larger_than_the_store_is_not_stored_and_evicts_nothing() {
    let bytes_max = 100_000;
    let store = store(bytes_max, 100);
    (0..10).for_each(|number| put(&store, number, 1000));
    let most = usize::try_from(bytes_max - empty_bytes()).unwrap();
    put(&store, 0, most + 1);
    put(&store, 10, most + 1);
    assert_eq!(store.len(), 10);
    assert_eq!(store.get(&key(0), NOW).unwrap().bodies_bytes(), 1000);
    put(&store, 11, most);
    assert_eq!((store.len(), store.bytes()), (1, bytes_max));
    audit(&store);
}

#[test]
fn a_store_without_room_stores_nothing() {
    for bounds in [(0, 10), (1 << 20, 0), (0, 0)] {
        let store = store(bounds.0, bounds.1);
        put(&store, 1, 1);
        assert_eq!((store.len(), store.bytes(), store.overhead()), (0, 0, 0));
    }
}

#[test]
fn both_bounds_hold_and_are_used_to_the_full() {
    let store = store(256 << 20, 10_000);
    assert!(store.shards.len() > 1);
    for number in 0..12_000 {
        put(&store, number, 10);
        assert_eq!(
            store.len(),
            usize::try_from(number + 1).unwrap().min(10_000)
        );
    }
    // 100 of these fit; all shards have to give for them.
    let length = (256 << 20) / 100 - 2 * usize::try_from(empty_bytes()).unwrap();
    for number in 20_000..20_200 {
        put(&store, number, length);
        assert!(store.bytes() <= 256 << 20);
    }
    assert!(store.bytes() >= (256 << 20) * 98 / 100, "{}", store.bytes());
    audit(&store);
}

#[test]
fn what_replaces_counts_in_place_of_what_it_replaces() {
    let store = store(100_000, 100);
    for length in [10, 5000, 0, 5000] {
        put(&store, 1, length);
        assert_eq!(
            (store.len(), store.bytes()),
            (1, empty_bytes() + length as u64)
        );
    }
    assert_eq!(store.overhead(), empty_bytes());
    let old = Arc::clone(&store.get(&key(1), NOW).unwrap().heads()[0]);
    let mut new = Stored::clone(&old);
    new.labels = vec![1, 2, 3];
    store.refresh(&key(1), &old, Arc::new(new), NOW);
    assert_eq!(
        (store.bytes(), store.overhead()),
        (empty_bytes() + 5024, empty_bytes() + 24)
    );
    store.refresh(&key(1), &old, old.clone(), NOW);
    assert_eq!(
        store.bytes(),
        empty_bytes() + 5024,
        "what was there then is gone"
    );
    store.remove(&key(1));
    store.refresh(&key(1), &old, old.clone(), NOW);
    assert_eq!((store.len(), store.bytes(), store.overhead()), (0, 0, 0));
    audit(&store);
}

#[test]
fn a_further_variant_evicts_others_and_not_its_siblings() {
    let store = store(60_000, 100);
    let put = |number, variant_number| {
        store.put(
            &key(number),
            variant(variant_number, NOW.plus(60_000)),
            body(5000),
            u64::MAX,
            NOW,
        );
    };
    put(0, 0);
    (1..20).for_each(|number| put(number, 0));
    (0..8).for_each(|number| put(0, number));
    assert_eq!(store.get(&key(0), NOW).unwrap().heads().len(), 8);
    assert!(store.bytes() <= 60_000);
    audit(&store);
}

#[test]
fn bounds_that_change_lose_only_what_is_beyond_them() {
    let store = store(256 << 20, 10_000);
    (0..5000).for_each(|number| put(&store, number, 1000));
    let bytes = store.bytes();
    let resize = |bytes_max, entries_max| {
        store.resize(StoreBounds {
            bytes_max,
            entries_max,
        });
    };
    for (bytes_max, entries_max) in [(256 << 20, 10_000), (bytes, 5000), (1 << 40, 1 << 40)] {
        resize(bytes_max, entries_max);
        assert_eq!((store.len(), store.bytes()), (5000, bytes));
    }
    resize(1 << 40, 3000);
    assert_eq!(store.len(), 3000);
    resize(bytes / 5, 3000);
    assert_eq!(store.len(), 1000);
    audit(&store);
    resize(bytes / 50, 10);
    assert_eq!(store.len(), 10);
    (0..200).for_each(|number| put(&store, number, 1000));
    assert_eq!(store.len(), 10);
    resize(0, 0);
    assert_eq!((store.len(), store.bytes()), (0, 0));
    audit(&store);
}

#[test]
fn nothing_is_left_of_what_has_been_removed() {
    let store = store(256 << 20, 10_000);
    (0..3000).for_each(|number| put(&store, number, 100));
    (0..3000).for_each(|number| store.remove(&key(number)));
    assert_eq!((store.len(), store.bytes(), store.overhead()), (0, 0, 0));
    audit(&store);
}

/// Puts, gets and removes what a generator says.
fn hammer(store: &Store, keys: &[CacheKey], bodies: &Bytes, mut random: Random) {
    let head = head(NOW.plus(60_000));
    for _ in 0..20_000 {
        let key = &keys[random.index(keys.len())];
        match random.below(10) {
            0..6 => {
                store.put(
                    key,
                    Arc::clone(&head),
                    bodies.slice(..random.index(bodies.len())),
                    u64::MAX,
                    NOW,
                );
            }
            6..9 => drop(store.get(key, NOW)),
            _ => store.remove(key),
        }
    }
}

#[test]
fn both_bounds_hold_at_every_moment_while_four_threads_put() {
    let keys: Vec<_> = (0..4000).map(key).collect();
    // By turns one bound is in the way and the other.
    for (bytes_max, entries_max) in [(32 << 20, 4000), (1 << 30, 2048), (40 << 20, 2048)] {
        let (store, bodies, over) = (
            store(bytes_max, entries_max),
            body(60_000),
            AtomicBool::new(false),
        );
        assert!(store.shards.len() > 1);
        thread::scope(|scope| {
            let (store, keys, bodies) = (&store, &keys, &bodies);
            let threads: Vec<_> = (0..4)
                .map(|seed| scope.spawn(move || hammer(store, keys, bodies, Random(seed))))
                .collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                over.fetch_or(
                    store.bytes() > bytes_max || store.len() > entries_max,
                    Ordering::Relaxed,
                );
            }
        });
        assert!(!over.into_inner());
        assert!(store.len() > 100);
        audit(&store);
        for key in &keys {
            store.remove(key);
        }
        assert_eq!((store.len(), store.bytes(), store.overhead()), (0, 0, 0));
    }
}

#[test]
fn bounds_that_change_while_four_threads_put_hold_afterwards() {
    let keys: Vec<_> = (0..4000).map(key).collect();
    let (store, bodies) = (store(64 << 20, 4096), body(60_000));
    let low = StoreBounds {
        bytes_max: 4 << 20,
        entries_max: 50,
    };
    thread::scope(|scope| {
        let (store, keys, bodies) = (&store, &keys, &bodies);
        let threads: Vec<_> = (0..4)
            .map(|seed| scope.spawn(move || hammer(store, keys, bodies, Random(seed))))
            .collect();
        for round in 0.. {
            store.resize(if round % 2 == 0 {
                low
            } else {
                StoreBounds {
                    bytes_max: 64 << 20,
                    entries_max: 4096,
                }
            });
            if round % 2 == 0 && threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                break;
            }
            thread::yield_now();
        }
    });
    assert!(store.bytes() <= low.bytes_max && store.len() <= low.entries_max);
    audit(&store);
}
