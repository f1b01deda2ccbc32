//! The store as a whole.

mod bounds;
mod expiry;
mod hits;
mod model;

use std::net::IpAddr;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use tidegate_core::cache::freshness::Freshness;
use tidegate_core::{Client, Engine, Policy, RequestBody, Scheme, Step};

use super::*;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

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

/// Makes the key of a request for a numbered path, all of one length. Only the core makes keys.
fn key(number: u64) -> CacheKey {
    static ENGINE: LazyLock<Engine> =
        LazyLock::new(|| Engine::new(Policy::parse("p", POLICY).unwrap(), 7));
    let request = Request::get(format!("/{number:08}"))
        .header("host", "t.example")
        .body(())
        .unwrap();
    let peer = IpAddr::from([203, 0, 113, 9]);
    let client = Client {
        peer,
        geo: None,
        tls_subject: None,
        scheme: Scheme::Http,
        body: RequestBody::Empty,
        fresh_trace: 1,
    };
    match ENGINE.begin(request.into_parts().0, client, NOW) {
        Step::Lookup(next) => next.key().clone(),
        step => panic!("no lookup: {step:?}"),
    }
}

/// Makes a head that expires at this time and answers requests for this variant only.
pub(crate) fn variant(number: usize, expires: Timestamp) -> Arc<Stored> {
    let mut headers = HeaderMap::new();
    headers.insert("x-variant", HeaderValue::from(number));
    Arc::new(Stored {
        status: StatusCode::OK,
        headers,
        received: NOW,
        initial_age: 0,
        freshness: Freshness {
            lifetime: expires.since(NOW),
            ..Freshness::default()
        },
        vary: vec![(
            HeaderName::from_static("x-variant"),
            Some(number.to_string().into_bytes()),
        )],
        epoch: 0,
        labels: vec![],
    })
}

fn head(expires: Timestamp) -> Arc<Stored> {
    variant(0, expires)
}

pub(super) fn body(length: usize) -> Bytes {
    Bytes::from(vec![b'x'; length])
}

fn store(bytes_max: u64, entries_max: usize) -> Store {
    Store::new(StoreBounds {
        bytes_max,
        entries_max,
    })
}

/// Makes sure that everything which counts agrees.
fn audit(store: &Store) {
    let all = (0..store.shards.len()).map(|at| store.read(at).audit());
    assert_eq!(
        all.fold(Amount::default(), Amount::plus),
        store.budget.taken()
    );
}

/// A generator of numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }
}
