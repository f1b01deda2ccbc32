//! What has expired.

use super::*;

fn put(store: &Store, number: u64, expires: Timestamp) {
    store.put(&key(number), head(expires), body(100), u64::MAX, NOW);
}

#[test]
fn a_sweep_takes_what_has_expired_and_nothing_else() {
    let store = store(256 << 20, 10_000);
    for number in 0..2000 {
        put(&store, number, NOW.plus(1 + number * 7919 % 2000));
    }
    for (after, left) in [
        (0, 2000),
        (1, 1999),
        (500, 1500),
        (500, 1500),
        (1999, 1),
        (2000, 0),
    ] {
        store.sweep(NOW.plus(after));
        assert_eq!(store.len(), left);
        audit(&store);
    }
    assert_eq!(store.bytes(), 0);
}

#[test]
fn what_has_expired_is_not_returned_and_leaves() {
    let store = store(1 << 20, 10);
    put(&store, 1, NOW.plus(10));
    assert!(store.get(&key(1), NOW.plus(9)).is_some());
    assert!(store.get(&key(1), NOW.plus(10)).is_none());
    assert!(store.is_empty());
    audit(&store);
}

#[test]
fn what_has_expired_leaves_before_what_is_valid() {
    let store = store(1 << 20, 4);
    for (number, lifetime) in [(1, 1000), (2, 1000), (3, 5), (4, 1000)] {
        put(&store, number, NOW.plus(lifetime));
        store.get(&key(number), NOW);
    }
    store.put(
        &key(5),
        head(NOW.plus(1000)),
        body(1),
        u64::MAX,
        NOW.plus(5),
    );
    let kept: Vec<_> = (1..=5)
        .filter(|number| store.get(&key(*number), NOW).is_some())
        .collect();
    assert_eq!(kept, [1, 2, 4, 5]);
}

#[test]
fn a_refreshed_response_stays_for_its_new_lifetime() {
    let store = store(1 << 20, 10);
    put(&store, 1, NOW.plus(10));
    let old = Arc::clone(&store.get(&key(1), NOW).unwrap().heads()[0]);
    store.refresh(&key(1), &old, head(NOW.plus(50)), NOW);
    store.sweep(NOW.plus(49));
    assert_eq!(
        store.get(&key(1), NOW.plus(49)).unwrap().bodies_bytes(),
        100
    );
    store.sweep(NOW.plus(50));
    assert!(store.is_empty());
}

#[test]
fn an_entry_stays_as_long_as_its_last_variant_and_loses_the_others_when_it_changes() {
    let store = store(1 << 20, 10);
    for (number, lifetime) in [(1, 10), (2, 50)] {
        store.put(
            &key(1),
            variant(number, NOW.plus(lifetime)),
            body(100),
            u64::MAX,
            NOW,
        );
    }
    store.sweep(NOW.plus(20));
    assert_eq!(store.get(&key(1), NOW.plus(20)).unwrap().heads().len(), 2);
    store.put(
        &key(1),
        variant(3, NOW.plus(60)),
        body(100),
        u64::MAX,
        NOW.plus(20),
    );
    assert_eq!(store.get(&key(1), NOW.plus(20)).unwrap().heads().len(), 2);
    audit(&store);
}
