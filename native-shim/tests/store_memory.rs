//! What the memory store believes to hold, beside what is allocated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail"
)]

use std::alloc::System;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidegate::Store;
use tidegate_core::cache::freshness::Freshness;
use tidegate_core::cache::{CacheKey, Stored};
use tidegate_core::policy::StoreBounds;
use tidegate_core::{Client, Engine, Policy, RequestBody, Scheme, Step, Timestamp};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

const POLICY: &str = r#"
[origins.a]
url = "http://a.example"
[pools.main]
origins = ["a"]
[cache.all]
mode = "override"
ttl = "60s"
[[routes]]
pool = "main"
cache = "all"
"#;

const KNOWN: &[&str] = &[
    "content-type",
    "etag",
    "date",
    "server",
    "cache-control",
    "last-modified",
    "vary",
    "link",
];
const OWN: &[&str] = &[
    "x-request-id",
    "x-served-by",
    "x-cache-tag",
    "x-powered-by",
    "x-a",
    "x-b",
    "x-c",
    "x-d",
    "x-e",
];
const REPEATED: &[&str] = &[
    "date",
    "set-cookie",
    "set-cookie",
    "set-cookie",
    "set-cookie",
    "set-cookie",
    "link",
];

/// What is stored in one round.
struct Shape {
    fields: &'static [&'static str],
    variants: usize,
    body: usize,
    /// Whether entries expire in another order than they came.
    shuffled: bool,
}

impl Shape {
    fn put(&self, store: &Store, key: &CacheKey, number: u64) {
        let lifetime = if self.shuffled {
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
        } else {
            number
        };
        for variant in 0..self.variants {
            store.put(
                key,
                self.head(variant, 60_000 + lifetime),
                Bytes::from(vec![b'x'; self.body]),
                u64::MAX,
                NOW,
            );
        }
    }

    fn head(&self, variant: usize, lifetime: u64) -> Arc<Stored> {
        // As from a connection: all values are slices of one buffer that is much larger.
        let buffer = Bytes::from(vec![b'v'; 16_384]);
        let mut headers = HeaderMap::new();
        for (at, name) in self.fields.iter().enumerate() {
            let value =
                HeaderValue::from_maybe_shared(buffer.slice(at * 30..at * 30 + 30)).unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        let nominated = (
            HeaderName::from_static("x-variant"),
            Some(variant.to_string().into_bytes()),
        );
        Arc::new(Stored {
            status: StatusCode::OK,
            headers,
            received: NOW,
            initial_age: 0,
            freshness: Freshness {
                lifetime,
                ..Freshness::default()
            },
            vary: if self.variants > 1 {
                vec![nominated]
            } else {
                vec![]
            },
            epoch: 0,
            labels: vec![1; variant],
        })
    }
}

fn keys(count: u64) -> Vec<CacheKey> {
    let engine = Engine::new(Policy::parse("p", POLICY).unwrap(), 7);
    let peer = IpAddr::from([203, 0, 113, 9]);
    let key = |number| {
        let request = Request::get(format!("/things/{number}"))
            .header("host", "t.example")
            .body(())
            .unwrap();
        let client = Client {
            peer,
            geo: None,
            tls_subject: None,
            scheme: Scheme::Http,
            body: RequestBody::Empty,
            fresh_trace: 1,
        };
        match engine.begin(request.into_parts().0, client, NOW) {
            Step::Lookup(next) => next.key().clone(),
            step => panic!("no lookup: {step:?}"),
        }
    };
    (0..count).map(key).collect()
}

/// Uses everything once: what counts the users of a text is allocated only then.
fn use_all(store: &Store, keys: &[CacheKey]) {
    for entry in keys.iter().filter_map(|key| store.get(key, NOW)) {
        for head in entry.heads() {
            drop((head.headers.clone(), entry.body(head).cloned()));
        }
    }
}

#[test]
fn no_more_is_allocated_than_is_counted_and_not_much_less() {
    let keys = keys(20_000);
    for shape in [
        Shape {
            fields: &[],
            variants: 1,
            body: 0,
            shuffled: false,
        },
        Shape {
            fields: &[],
            variants: 1,
            body: 1,
            shuffled: true,
        },
        Shape {
            fields: KNOWN,
            variants: 1,
            body: 1000,
            shuffled: false,
        },
        Shape {
            fields: OWN,
            variants: 1,
            body: 1000,
            shuffled: true,
        },
        Shape {
            fields: REPEATED,
            variants: 1,
            body: 1000,
            shuffled: true,
        },
        Shape {
            fields: KNOWN,
            variants: 3,
            body: 1000,
            shuffled: true,
        },
    ] {
        for entries_max in [100, 500, 1000, 3000, 4500, 10_000] {
            let region = Region::new(ALLOCATOR);
            let store = Store::new(StoreBounds {
                bytes_max: 256 << 20,
                entries_max,
            });
            for (number, key) in (0..).zip(&keys[..entries_max * 2]) {
                shape.put(&store, key, number);
            }
            use_all(&store, &keys);
            let stats = region.change();
            let (allocated, counted) = (
                stats.bytes_allocated - stats.bytes_deallocated,
                store.bytes(),
            );
            let counted = usize::try_from(counted).unwrap();
            assert_eq!(store.len(), entries_max);
            println!(
                "{entries_max}: {} of {} bytes an entry",
                allocated / entries_max,
                counted / entries_max
            );
            assert!(allocated <= counted, "{allocated} of {counted}");
            assert!(allocated >= counted / 10 * 7, "{allocated} of {counted}");
        }
    }
}
