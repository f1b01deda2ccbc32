//! The store beside a model of what it may hold.

use std::collections::HashMap;

use super::*;

const KEYS: u64 = 300;
const VARIANTS: usize = 3;

/// What was put last, by key and variant: the length of its body and when it expires. The store may
/// have evicted it, but must not have anything else.
#[derive(Default)]
struct Model(HashMap<(u64, usize), (usize, Timestamp)>);

impl Model {
    /// Makes sure that what the store returns is what was put.
    fn check(&self, store: &Store, number: u64, now: Timestamp) {
        let Some(entry) = store.get(&key(number), now) else {
            return;
        };
        assert!(entry.heads().iter().any(|head| now < head.expires()));
        for head in entry.heads() {
            let variant = head.headers["x-variant"].to_str().unwrap().parse().unwrap();
            let (length, expires) = self.0[&(number, variant)];
            assert_eq!(
                (entry.body(head).unwrap().len(), head.expires()),
                (length, expires)
            );
        }
    }

    fn remove(&mut self, number: u64) {
        self.0.retain(|(other, _), _| *other != number);
    }
}

fn step(store: &Store, model: &mut Model, random: &mut Random, now: Timestamp) {
    let (number, variant_number, expires) = (
        random.below(KEYS),
        random.index(VARIANTS),
        now.plus(1 + random.below(3000)),
    );
    match random.below(20) {
        0..8 => {
            let length = random.index(2000);
            store.put(
                &key(number),
                variant(variant_number, expires),
                body(length),
                u64::MAX,
                now,
            );
            model.0.insert((number, variant_number), (length, expires));
            let entry = store
                .get(&key(number), now)
                .expect("there is room for what is put");
            assert!(entry.heads().iter().any(|head| head.expires() == expires));
        }
        8..11 => {
            let Some(entry) = store.get(&key(number), now) else {
                return;
            };
            let old = &entry.heads()[random.index(entry.heads().len())];
            let variant_number = old.headers["x-variant"].to_str().unwrap().parse().unwrap();
            if now < old.expires() {
                model.0.get_mut(&(number, variant_number)).unwrap().1 = expires;
                store.refresh(&key(number), old, variant(variant_number, expires), now);
            }
        }
        11 => {
            store.remove(&key(number));
            model.remove(number);
            assert!(store.get(&key(number), now).is_none());
        }
        12 => store.sweep(now),
        _ => model.check(store, number, now),
    }
}

#[test]
fn random_use_keeps_the_bounds_and_returns_only_what_was_put() {
    for seed in 0..4 {
        let (mut random, mut model, mut now) = (Random(seed), Model::default(), NOW);
        let mut bounds = StoreBounds {
            bytes_max: 200_000,
            entries_max: 120,
        };
        let store = Store::new(bounds);
        for round in 0..5000 {
            now = now.plus(random.below(5));
            step(&store, &mut model, &mut random, now);
            if round % 500 == 499 {
                bounds = StoreBounds {
                    bytes_max: 20_000 + random.below(200_000),
                    entries_max: 5 + random.index(150),
                };
                store.resize(bounds);
            }
            assert!(store.bytes() <= bounds.bytes_max && store.len() <= bounds.entries_max);
            audit(&store);
        }
        let found: Vec<_> = (0..KEYS)
            .filter_map(|number| store.get(&key(number), NOW))
            .collect();
        let sum = found
            .iter()
            .map(|entry| entry.amount())
            .fold(Amount::default(), Amount::plus);
        assert_eq!(sum, store.budget.taken());
        assert_eq!(
            store.bytes(),
            store.overhead() + found.iter().map(|entry| entry.bodies_bytes()).sum::<u64>()
        );
        (0..KEYS).for_each(|number| store.remove(&key(number)));
        assert_eq!((store.len(), store.bytes(), store.overhead()), (0, 0, 0));
    }
}
