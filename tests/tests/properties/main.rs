//! What must hold of every sequence of exchanges: a response is used only for whom and for as long
//! as its origin meant it.
//!
//! `plan` generates requests, purges and answers, `world` is an origin whose bodies name what they
//! were made for, and `check` compares what clients get with what that origin has said. The cases
//! are always the same ones.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod bytes;
mod check;
mod plan;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method, request};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use tidegate_core::cache::date;
use tidegate_core::purge::{Exact, Purge, Target};
use tidegate_core::{Client, Policy, RequestBody, Scheme, Timestamp};
use tidegate_tests::fixture::{CLIENT, START};
use tidegate_tests::simulator::Simulator;

use check::{Checker, Seen};
use plan::{Ask, Condition, Event, Url};
use world::World;

const CASES: u32 = 3000;

const POLICY: &str = r#"
[server]
listen = "127.0.0.1:0"
[origins.a]
url = "http://a.test"
[pools.main]
origins = ["a"]
[retry.once]
attempts = 2
statuses = [503]
backoff = "10ms"
[cache.respect]
mode = "respect"
[cache.graced]
mode = "respect"
grace = "10s"
stale_if_error = "60s"
early_refresh = "5s"
[cache.client]
mode = "respect"
grace = "5s"
client_directives = true
[cache.override]
mode = "override"
ttl = "20s"
grace = "5s"
stale_if_error = "30s"
key_headers = ["x-a"]
[[routes]]
path_prefix = "/graced/"
pool = "main"
cache = "graced"
retry = "once"
[[routes]]
path_prefix = "/client/"
pool = "main"
cache = "client"
[[routes]]
path_prefix = "/override/"
pool = "main"
cache = "override"
[[routes]]
pool = "main"
cache = "respect"
"#;

#[test]
fn what_is_served_is_what_its_origin_meant() {
    let seen = RefCell::new(BTreeMap::new());
    let mut runner = TestRunner::new(config());
    let result = runner.run(&plan::events(), |events| {
        run(&events, &mut seen.borrow_mut())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    // Properties of what never happens prove nothing.
    for (what, least) in check::EXPECTED {
        let times = seen.borrow().get(what).copied().unwrap_or(0);
        assert!(
            times >= *least,
            "{what} was seen {times} times only: {seen:?}"
        );
    }
}

/// The same cases at each run, and no files.
fn config() -> Config {
    let rng_seed = RngSeed::Fixed(9111);
    Config {
        cases: CASES,
        rng_seed,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    }
}

fn run(events: &[Event], seen: &mut Seen) -> Result<(), TestCaseError> {
    let policy = Policy::parse("policy", POLICY).unwrap_or_else(|error| panic!("{error}"));
    let mut simulator = Simulator::new(policy);
    let mut world = World::new(simulator.engine().clone());
    let mut checker = Checker::default();
    let mut now = Timestamp::from_millis(START);
    for event in events {
        match event {
            Event::Purge(purge) => world.purge(purge.clone()),
            Event::Ask(ask) => {
                now = now.max(simulator.now()).plus(ask.after);
                exchange(ask, &mut simulator, &mut world, &mut checker, now, seen)?;
            }
        }
    }
    Ok(())
}

fn exchange(
    ask: &Ask,
    simulator: &mut Simulator,
    world: &mut World,
    checker: &mut Checker,
    now: Timestamp,
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    let url = ask.url.text();
    if ask.changed {
        world.change(&url, now);
    }
    let head = head(ask, world, now);
    let body = if ask.method == "POST" {
        RequestBody::Sized(3)
    } else {
        RequestBody::Empty
    };
    let scheme = if ask.url.scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let client = Client {
        scheme,
        body,
        ..CLIENT
    };
    world.plans.clone_from(&ask.plans);
    world.meanwhile.clone_from(&ask.meanwhile);
    let began = (world.moment(), world.made.len());
    let outcome = simulator.exchange(head.clone(), client, now, world);
    world.meanwhile = None;
    checker.check(
        &check::Served {
            ask,
            head: &head,
            outcome: &outcome,
            began,
            now,
        },
        world,
        seen,
    )?;
    check::stored(simulator, world)?;
    let changes = !head.method.is_safe()
        && (outcome.head.status.is_success() || outcome.head.status.is_redirection());
    if changes && world.made.len() > began.1 {
        let target = Target::Exact(Exact {
            scheme: ask.url.scheme,
            authority: ask.url.host.into(),
            host: ask.url.host.into(),
            path: ask.url.path(),
            query: ask.url.query.strip_prefix('?').map(Into::into),
        });
        world.note_end(
            Purge {
                target,
                soft: false,
            },
            Some(world.made.len() - 1),
        );
    }
    Ok(())
}

impl Url {
    fn path(&self) -> String {
        format!("/{}/{}", self.profile, self.page)
    }

    fn text(&self) -> String {
        format!(
            "{}://{}{}{}",
            self.scheme,
            self.host,
            self.path(),
            self.query
        )
    }
}

fn head(ask: &Ask, world: &mut World, now: Timestamp) -> request::Parts {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(ask.method.as_bytes()).expect("a method");
    head.uri = format!("{}{}", ask.url.path(), ask.url.query)
        .parse()
        .expect("a path");
    head.headers
        .insert("host", HeaderValue::from_static(ask.url.host));
    for (name, value) in &ask.fields {
        head.headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if let Some(condition) = ask.condition {
        add_condition(&mut head.headers, condition, &ask.url.text(), world, now);
    }
    head
}

fn add_condition(
    headers: &mut HeaderMap,
    condition: Condition,
    url: &str,
    world: &mut World,
    now: Timestamp,
) {
    let now = world.current(url, headers, now);
    let tag = |current: bool| {
        HeaderValue::from_str(if current { &now.tag } else { "\"other\"" }).expect("a tag")
    };
    let time = |current: bool| {
        date::write(if current {
            now.modified
        } else {
            Timestamp::from_millis(START / 2)
        })
    };
    let (name, value) = match condition {
        Condition::NoneMatch { current } => ("if-none-match", tag(current)),
        Condition::Match { current } => ("if-match", tag(current)),
        Condition::IfRange { current } => ("if-range", tag(current)),
        Condition::ModifiedSince { current } => ("if-modified-since", time(current)),
        Condition::UnmodifiedSince { current } => ("if-unmodified-since", time(current)),
    };
    headers.insert(name, value);
}
