//! What eviction keeps: beside a store that evicts what was used longest ago (LRU).

use std::collections::{BTreeMap, HashMap};

use super::*;

/// A store of keys that evicts the least recently used.
struct Lru {
    entries_max: usize,
    used: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            used: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    fn ask(&mut self, key: u64, time: u64) -> bool {
        let before = self.used.insert(key, time);
        if let Some(before) = before {
            self.order.remove(&before);
        }
        self.order.insert(time, key);
        if self.used.len() > self.entries_max {
            let oldest = self.order.pop_first().unwrap().1;
            self.used.remove(&oldest);
        }
        before.is_some()
    }
}

struct Keys(HashMap<u64, CacheKey>);

impl Keys {
    fn get(&mut self, number: u64) -> &CacheKey {
        self.0.entry(number).or_insert_with(|| key(number))
    }
}

/// Asks for a key as the proxy does: what is missing is stored.
fn ask(store: &Store, key: &CacheKey, head: &Arc<Stored>) -> bool {
    let found = store.get(key, NOW).is_some();
    if !found {
        store.put(key, Arc::clone(head), body(16), u64::MAX, NOW);
    }
    found
}

/// Numbers below `end`; the one at place `i` is drawn in proportion to `1 / (i + 1)^skew`.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(end: u32, skew: f64) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=end)
                .map(|rank| {
                    sum += f64::from(rank).powf(-skew);
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let point = f64::from(u32::try_from(random.next() >> 32).unwrap()) / f64::from(u32::MAX);
        let at = self
            .0
            .partition_point(|sum| *sum < point * self.0.last().unwrap());
        at as u64
    }
}

/// Returns the hits of the store and of LRU, in per mille.
fn compare(entries_max: usize, numbers: impl Iterator<Item = u64>) -> (usize, usize) {
    let (store, head, mut keys) = (
        store(1 << 30, entries_max),
        head(NOW.plus(60_000)),
        Keys(HashMap::new()),
    );
    let mut lru = Lru::new(entries_max);
    let (mut asked, mut hits, mut hits_lru) = (0, 0, 0);
    for number in numbers {
        asked += 1;
        hits += usize::from(ask(&store, keys.get(number), &head));
        hits_lru += usize::from(lru.ask(number, asked));
    }
    let asked = usize::try_from(asked).unwrap();
    println!(
        "{entries_max}: {} against {}",
        hits * 1000 / asked,
        hits_lru * 1000 / asked
    );
    (hits * 1000 / asked, hits_lru * 1000 / asked)
}

#[test]
fn skewed_requests_hit_more_often_than_with_lru() {
    for (skew, entries_max) in [(0.8, 1000), (1.0, 1000), (1.0, 100), (1.2, 100)] {
        let (zipf, mut random) = (Zipf::new(20_000, skew), Random(1));
        let (hits, lru) = compare(entries_max, (0..200_000).map(|_| zipf.draw(&mut random)));
        assert!(
            hits > lru,
            "skew {skew}, {entries_max} entries: {hits} against {lru}"
        );
    }
}

#[test]
fn shards_cost_no_hits() {
    let (zipf, mut random) = (Zipf::new(60_000, 0.9), Random(2));
    let (hits, lru) = compare(10_000, (0..300_000).map(|_| zipf.draw(&mut random)));
    assert!(hits > lru, "{hits} against {lru}");
}

#[test]
fn half_of_the_requests_being_a_scan_does_not_matter() {
    let (zipf, mut random) = (Zipf::new(20_000, 1.0), Random(3));
    let numbers = (0..200_000).map(|at| {
        if at % 2 == 0 {
            zipf.draw(&mut random)
        } else {
            1_000_000 + at
        }
    });
    let (hits, lru) = compare(1000, numbers);
    assert!(hits > lru + 20, "{hits} against {lru}");
}

#[test]
fn what_is_hot_survives_a_scan_of_ten_times_the_capacity() {
    let (store, head) = (store(1 << 30, 1000), head(NOW.plus(60_000)));
    let hot: Vec<_> = (0..500).map(key).collect();
    for _ in 0..4 {
        for key in &hot {
            ask(&store, key, &head);
        }
    }
    for number in 0..10_000 {
        ask(&store, &key(1000 + number), &head);
    }
    let kept = hot
        .iter()
        .filter(|key| store.get(key, NOW).is_some())
        .count();
    println!("kept {kept} of 500");
    assert!(kept >= 495, "{kept} of 500");
}
