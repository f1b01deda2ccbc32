//! What the memory store costs: `cargo bench -p tidegate --bench store`.
//!
//! `hit` and `miss` are on the way of every request; `put` goes into a full store, so something has
//! to leave for it.

#![allow(clippy::panic, reason = "a benchmark that cannot go on fails")]

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use tidegate::Store;
use tidegate_core::cache::freshness::Freshness;
use tidegate_core::cache::{CacheKey, Stored};
use tidegate_core::policy::StoreBounds;
use tidegate_core::{Client, Engine, Policy, RequestBody, Scheme, Step, Timestamp};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const ENTRIES: usize = 10_000;
const BATCH: usize = 1000;
const POLICY: &str = r#"
[origins.a]
url = "http://127.0.0.1:9000"
[pools.main]
origins = ["a"]
[cache.api]
mode = "override"
ttl = "60s"
[[routes]]
pool = "main"
cache = "api"
"#;

fn main() {
    divan::main();
}

fn keys(numbers: std::ops::Range<usize>) -> Vec<CacheKey> {
    let engine = Engine::new(
        Policy::parse("bench", POLICY).unwrap_or_else(|error| panic!("{error}")),
        7,
    );
    let peer = IpAddr::from([203, 0, 113, 9]);
    let key = |number| {
        let request = Request::get(format!("/api/things/{number}")).header("host", "shop.example");
        let (head, ()) = request.body(()).unwrap_or_default().into_parts();
        let client = Client {
            peer,
            geo: None,
            tls_subject: None,
            scheme: Scheme::Http,
            body: RequestBody::Empty,
            fresh_trace: 1,
        };
        match engine.begin(head, client, NOW) {
            Step::Lookup(next) => next.key().clone(),
            step => panic!("no lookup: {step:?}"),
        }
    };
    numbers.map(key).collect()
}

fn head() -> Arc<Stored> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("etag", "\"abc\""),
        ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("server", "toy"),
        ("cache-control", "public, max-age=60"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Arc::new(Stored {
        status: StatusCode::OK,
        headers,
        received: NOW,
        initial_age: 0,
        freshness: Freshness {
            lifetime: 60_000,
            ..Freshness::default()
        },
        vary: Vec::new(),
        epoch: 0,
        labels: Vec::new(),
    })
}

fn full(keys: &[CacheKey]) -> Store {
    let store = Store::new(StoreBounds {
        bytes_max: 256 << 20,
        entries_max: ENTRIES,
    });
    let (head, body) = (head(), Bytes::from(vec![b'x'; 1024]));
    for key in keys {
        store.put(key, Arc::clone(&head), body.clone(), u64::MAX, NOW);
    }
    store
}

#[divan::bench(threads = [1, 2])]
fn hit(bencher: Bencher<'_, '_>) {
    let keys = keys(0..BATCH);
    let store = full(&keys);
    bencher.counter(ItemsCount::new(BATCH)).bench(|| {
        for key in &keys {
            assert!(black_box(store.get(key, NOW)).is_some());
        }
    });
}

#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let store = full(&keys(0..ENTRIES));
    let others = keys(ENTRIES..ENTRIES + BATCH);
    bencher.counter(ItemsCount::new(BATCH)).bench(|| {
        for key in &others {
            assert!(black_box(store.get(key, NOW)).is_none());
        }
    });
}

#[divan::bench]
fn put(bencher: Bencher<'_, '_>) {
    let keys = keys(0..ENTRIES * 2);
    let store = full(&keys);
    let (head, body) = (head(), Bytes::from(vec![b'x'; 1024]));
    let mut next = keys.iter().cycle();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for key in next.by_ref().take(BATCH) {
            store.put(key, Arc::clone(&head), body.clone(), u64::MAX, NOW);
        }
    });
}
