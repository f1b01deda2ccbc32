//! What a decision costs: `cargo bench -p tidegate-core`.
//!
//! `hit` is a whole exchange from begin to Finish with one limit charged and the stored response
//! given; the shell's own work (its map of counters, its store, its sockets) is not in it.

#![allow(clippy::panic, reason = "a benchmark that cannot go on fails")]

use std::net::IpAddr;
use std::sync::Arc;

use divan::{Bencher, black_box};
use http::{HeaderValue, Request, request};
use tidegate_core::cache::Stored;
use tidegate_core::limit::{Charge, Charged, StoreFault, Verdict};
use tidegate_core::{
    Answer, Client, Engine, FillKind, Policy, RequestBody, Scheme, Step, Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

const POLICY: &str = r#"
[origins.a]
url = "http://127.0.0.1:9000"
[pools.main]
origins = ["a"]
[cache.api]
mode = "override"
ttl = "60s"
[limits.per-user]
quota = "1000000000/day"
key = ["user"]
[[routes]]
path_prefix = "/static/"
pool = "main"
[[routes]]
path_prefix = "/api/"
pool = "main"
cache = "api"
limits = ["per-user"]
[[routes]]
pool = "main"
"#;

fn main() {
    divan::main();
}

fn head(path: &str) -> request::Parts {
    let (mut head, ()) = Request::get(path).body(()).unwrap_or_default().into_parts();
    for (name, value) in [
        ("host", "shop.example"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("accept-language", "en"),
        ("x-user-id", "user-4711"),
    ] {
        head.headers.insert(name, HeaderValue::from_static(value));
    }
    head
}

fn client() -> Client {
    let peer = IpAddr::from([203, 0, 113, 9]);
    Client {
        peer,
        geo: None,
        tls_subject: None,
        scheme: Scheme::Http,
        body: RequestBody::Empty,
        fresh_trace: 1,
    }
}

fn verdict(charge: &Charge) -> Verdict {
    charge
        .limit
        .rule
        .terms(NOW)
        .charge(None, charge.cost, NOW)
        .1
}

/// Drives one exchange; what it stores is returned.
fn drive(engine: &Engine, head: request::Parts, stored: &[Arc<Stored>]) -> Option<Arc<Stored>> {
    let mut step = engine.begin(head, client(), NOW);
    loop {
        step = match step {
            Step::Verify(next) => next.resume(false, NOW),
            Step::Charge(next) => {
                let charged = next.charges().first().map(verdict);
                let answer =
                    charged.map_or(Charged::Unavailable(StoreFault::Broken), Charged::Verdict);
                next.resume(&[answer], NOW)
            }
            Step::Lookup(next) => next.resume(stored, NOW),
            Step::Fetch(attempt, next) => {
                let (mut head, ()) = http::Response::new(()).into_parts();
                for (name, value) in [
                    ("content-type", "application/json"),
                    ("content-length", "1024"),
                    ("etag", "\"abc\""),
                    ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
                    ("server", "toy"),
                    ("cache-control", "public, max-age=60"),
                ] {
                    head.headers.insert(name, HeaderValue::from_static(value));
                }
                next.resume(
                    attempt.number,
                    Ok(Answer {
                        head,
                        body_intact: true,
                    }),
                    NOW,
                )
            }
            Step::Await(next) => next.hedge(NOW),
            Step::Wait(next) => next.resume(NOW),
            Step::Finish(reply) => {
                black_box(&reply.head);
                return reply
                    .fill
                    .filter(|f| f.kind == FillKind::Insert)
                    .map(|f| f.head);
            }
        }
    }
}

fn engine() -> Engine {
    Engine::new(
        Policy::parse("bench", POLICY).unwrap_or_else(|error| panic!("{error}")),
        7,
    )
}

#[divan::bench]
fn hit(bencher: Bencher<'_, '_>) {
    let engine = engine();
    let stored: Vec<Arc<Stored>> = drive(&engine, head("/api/x?id=1"), &[])
        .into_iter()
        .collect();
    assert_eq!(stored.len(), 1);
    bencher
        .with_inputs(|| head("/api/x?id=1"))
        .bench_values(|head| drive(&engine, head, &stored));
}

#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let engine = engine();
    bencher
        .with_inputs(|| head("/api/x?id=1"))
        .bench_values(|head| drive(&engine, head, &[]));
}

#[divan::bench]
fn pass(bencher: Bencher<'_, '_>) {
    let engine = engine();
    bencher
        .with_inputs(|| head("/page"))
        .bench_values(|head| drive(&engine, head, &[]));
}

#[divan::bench]
fn charge(bencher: Bencher<'_, '_>) {
    let limit = engine()
        .policy()
        .routes
        .get(1)
        .and_then(|r| r.limits.first().cloned());
    bencher.bench(|| {
        let limit = black_box(limit.as_deref());
        limit.map(|l| l.rule.terms(NOW).charge(None, 1, NOW))
    });
}
