//! Exchanges that meet: what one does while another one waits for its store, its origin, or
//! somebody else's fetch. Driven step by step.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod attempts;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode, request};
use tidegate_core::cache::Stored;
use tidegate_core::exchange::AwaitEvent;
use tidegate_core::problem::Refusal;
use tidegate_core::purge::{Purge, Target};
use tidegate_core::report::CacheOutcome;
use tidegate_core::{
    Answer, AwaitResponse, Engine, Failure, FailureKind, Policy, Reply, Source, Step, Timestamp,
};
use tidegate_tests::fixture::{CLIENT, START};

const NOW: Timestamp = Timestamp::from_millis(START);

fn engine(profile: &str, attempts: u8) -> Engine {
    let text = format!(
        "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n[cache.all]\n{profile}\n\
         [retry.some]\nattempts = {attempts}\n[[routes]]\npool = \"main\"\ncache = \"all\"\nretry = \"some\"\n"
    );
    Engine::new(
        Policy::parse("policy", &text).unwrap_or_else(|error| panic!("{error}")),
        7,
    )
}

fn begin(engine: &Engine, path: &str) -> Step {
    begin_with(engine, Method::GET, path)
}

fn begin_with(engine: &Engine, method: Method, path: &str) -> Step {
    begin_as(engine, method, path, &[])
}

fn begin_asking(engine: &Engine, path: &str, fields: &[(&'static str, &'static str)]) -> Step {
    begin_as(engine, Method::GET, path, fields)
}

fn begin_as(
    engine: &Engine,
    method: Method,
    path: &str,
    fields: &[(&'static str, &'static str)],
) -> Step {
    let (mut head, ()): (request::Parts, ()) = http::Request::new(()).into_parts();
    head.method = method;
    head.uri = path.parse().expect("a path");
    head.headers
        .insert("host", HeaderValue::from_static("a.example"));
    for (name, value) in fields {
        head.headers.insert(*name, HeaderValue::from_static(value));
    }
    engine.begin(head, CLIENT, NOW)
}

/// Gives the store's answer to a step that asks for it.
fn look_up(step: Step, stored: &[Arc<Stored>]) -> Step {
    look_up_at(step, stored, NOW)
}

fn look_up_at(step: Step, stored: &[Arc<Stored>], now: Timestamp) -> Step {
    let Step::Lookup(next) = step else {
        panic!("not a lookup: {step:?}")
    };
    next.resume(stored, now)
}

/// Asks an origin, with nothing or something stored.
fn fetch(engine: &Engine, path: &str, stored: &[Arc<Stored>]) -> Box<AwaitResponse> {
    match look_up(begin(engine, path), stored) {
        Step::Fetch(_, next) => next,
        step => panic!("no fetch: {step:?}"),
    }
}

fn answer(
    next: Box<AwaitResponse>,
    status: u16,
    fields: &[(&'static str, &'static str)],
) -> Box<Reply> {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::from_u16(status).expect("a status");
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    head.headers.extend(fields.iter().map(field));
    finished(next.resume(
        1,
        Ok(Answer {
            head,
            body_intact: true,
        }),
        NOW,
    ))
}

fn fail(next: Box<AwaitResponse>) -> Box<Reply> {
    finished(next.resume(
        1,
        Err(Failure {
            kind: FailureKind::Closed,
            sent: true,
            body_intact: true,
        }),
        NOW,
    ))
}

fn finished(step: Step) -> Box<Reply> {
    match step {
        Step::Finish(reply) => reply,
        step => panic!("not at its end: {step:?}"),
    }
}

fn stored(engine: &Engine, fields: &[(&'static str, &'static str)]) -> Arc<Stored> {
    answer(fetch(engine, "/", &[]), 200, fields)
        .fill
        .expect("it is stored")
        .head
}

fn outcome(reply: &Reply) -> Option<CacheOutcome> {
    reply.report().cache.as_ref().map(|cache| cache.outcome)
}

#[test]
fn what_was_found_before_the_wait_is_not_served_after_it() {
    let engine = engine("mode = \"override\"\nttl = \"60s\"", 1);
    let old = stored(&engine, &[("etag", "\"a\"")]);
    engine.purge(&Purge {
        target: Target::All,
        soft: true,
    });
    let leader = fetch(&engine, "/", &[Arc::clone(&old)]);
    let Step::Wait(wait) = look_up(begin(&engine, "/"), &[old]) else {
        panic!("the other one fetches")
    };
    // The fetch has failed, and what was stored has left the store meanwhile.
    drop(leader);
    let Step::Fetch(_, next) = look_up(wait.resume(NOW), &[]) else {
        panic!("nothing is stored any more")
    };
    let reply = fail(next);
    assert_eq!(
        (reply.head.status.as_u16(), reply.source.stored()),
        (502, None)
    );
    assert!(matches!(reply.source, Source::Bytes(_)));
    assert_eq!(outcome(&reply), Some(CacheOutcome::Miss));
}

#[test]
fn those_who_waited_look_by_the_key_that_the_response_has_made() {
    let engine = engine("mode = \"override\"\nttl = \"60s\"", 1);
    let leader = fetch(&engine, "/?page=1&utm=x", &[]);
    let Step::Wait(wait) = look_up(begin(&engine, "/?page=1&utm=x"), &[]) else {
        panic!("the other one fetches")
    };
    let fill = answer(leader, 200, &[("no-vary-search", "params=(\"utm\")")])
        .fill
        .expect("it is stored");
    let again = wait.resume(NOW);
    let Step::Lookup(next) = &again else {
        panic!("not a lookup: {again:?}")
    };
    assert_eq!(next.key(), &fill.key);
    let reply = finished(look_up(again, &[fill.head]));
    assert_eq!(outcome(&reply), Some(CacheOutcome::Hit));
}

#[test]
fn what_is_purged_while_an_origin_is_asked_is_neither_served_nor_made_young_again() {
    let purge = Purge {
        target: Target::All,
        soft: false,
    };
    let fields = [
        ("etag", "\"a\""),
        ("cache-control", "max-age=0, stale-if-error=60"),
    ];
    let asked = || {
        let engine = engine("mode = \"respect\"", 1);
        let old = stored(&engine, &fields);
        let next = fetch(&engine, "/", &[Arc::clone(&old)]);
        (engine, next)
    };
    // As long as nothing is purged, it stands in for an error.
    for (purged, failed, error) in [(false, 200, 200), (true, 502, 503)] {
        let begun = || {
            let (engine, next) = asked();
            if purged {
                engine.purge(&purge);
            }
            next
        };
        assert_eq!(fail(begun()).head.status, failed);
        assert_eq!(answer(begun(), 503, &[]).head.status, error);
    }
    // A 304 may be older than the purge: it answers this request, and no other one.
    for purged in [false, true] {
        let (engine, next) = asked();
        if purged {
            engine.purge(&purge);
        }
        let reply = answer(
            next,
            304,
            &[("etag", "\"a\""), ("cache-control", "max-age=60")],
        );
        let kept = reply.fill.expect("it is updated").head;
        let later = look_up(begin(&engine, "/"), &[kept]);
        assert_eq!(matches!(later, Step::Fetch(..)), purged, "{later:?}");
    }
}

#[test]
fn what_is_purged_before_the_next_attempt_is_not_validated() {
    let engine = engine("mode = \"respect\"", 2);
    let old = stored(
        &engine,
        &[("etag", "\"a\""), ("cache-control", "max-age=0")],
    );
    let Step::Fetch(attempt, next) = look_up(begin(&engine, "/"), &[old]) else {
        panic!("it must be validated")
    };
    assert!(attempt.head.headers.contains_key("if-none-match"));
    engine.purge(&Purge {
        target: Target::All,
        soft: false,
    });
    let failure = Failure {
        kind: FailureKind::Closed,
        sent: true,
        body_intact: true,
    };
    let Step::Wait(wait) = next.resume(1, Err(failure), NOW) else {
        panic!("it is tried again after a pause")
    };
    let Step::Fetch(attempt, _) = wait.resume(NOW.plus(60_000)) else {
        panic!("it is tried again")
    };
    assert!(!attempt.head.headers.contains_key("if-none-match"));
}

#[test]
fn what_a_change_leaves_is_dropped_if_another_change_came_between() {
    let engine = engine("mode = \"respect\"", 1);
    let post = || {
        let Step::Fetch(_, next) = begin_with(&engine, Method::POST, "/") else {
            panic!("a POST is passed on")
        };
        answer(
            next,
            200,
            &[("content-location", "/"), ("cache-control", "max-age=60")],
        )
    };
    // Elsewhere the same was changed, and numbered first; ours comes last.
    for (others, stored) in [(1, false), (0, true)] {
        let mut reply = post();
        let own = reply
            .purges
            .iter()
            .flat_map(|purge| engine.prepare(purge))
            .collect::<Vec<_>>();
        let before = engine.last_purge();
        let made = std::iter::repeat_n(&own, 1 + others)
            .flatten()
            .zip(before + 1..);
        let made: Vec<_> = made
            .map(|(made, number)| tidegate_core::purge::NumberedPurge { number, ..*made })
            .collect();
        engine.apply_numbered(&mut reply, &made);
        assert_eq!(reply.fill.is_some(), stored);
    }
}

#[test]
fn a_fetch_that_takes_too_long_is_taken_over_by_one_while_the_others_wait_on() {
    let engine = engine("mode = \"override\"\nttl = \"60s\"\ncoalesce = \"5s\"", 1);
    let _leader = fetch(&engine, "/", &[]);
    let waiting = |step: Step| match step {
        Step::Wait(wait) => wait,
        step => panic!("it does not wait: {step:?}"),
    };
    let mut waits: Vec<AwaitEvent> = (0..10)
        .map(|_| waiting(look_up(begin(&engine, "/"), &[])))
        .collect();
    let mut fetches = Vec::new();
    let mut refused = 0;
    for round in 1..=10 {
        let now = NOW.plus(round * 5000);
        let mut still = Vec::new();
        for wait in waits {
            assert!(
                wait.until() <= now,
                "nobody waits longer than the policy says"
            );
            match look_up_at(wait.resume(now), &[], now) {
                Step::Wait(wait) => still.push(wait),
                Step::Fetch(_, next) => fetches.push(next),
                Step::Finish(reply) => {
                    assert_eq!(reply.report().refusal, Some(Refusal::OriginTimeout));
                    refused += 1;
                }
                step => panic!("not so far: {step:?}"),
            }
        }
        waits = still;
        assert!(
            fetches.len() <= usize::try_from(round).unwrap(),
            "one more fetch in each round"
        );
    }
    // An origin may take 2 s to connect and 30 s to answer.
    assert_eq!((fetches.len() + refused, waits.len()), (10, 0));
    assert!((5..=7).contains(&fetches.len()), "{}", fetches.len());
}

#[test]
fn what_is_one_clients_own_neither_leads_nor_follows() {
    let engine = engine("mode = \"override\"\nttl = \"60s\"", 1);
    for field in [("authorization", "Bearer a"), ("cache-control", "no-store")] {
        let own = || look_up(begin_asking(&engine, "/", &[field]), &[]);
        let Step::Fetch(_, first) = own() else {
            panic!("it asks at once")
        };
        assert!(first.leads().is_none(), "{field:?}");
        let leader = fetch(&engine, "/", &[]);
        assert!(leader.leads().is_some(), "another one leads meanwhile");
        assert!(
            matches!(own(), Step::Fetch(..)),
            "it does not wait for that"
        );
    }
}

#[test]
fn what_has_no_end_is_neither_stored_nor_waited_for() {
    let engine = engine("mode = \"override\"\nttl = \"60s\"", 1);
    for kind in [
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        "multipart/x-mixed-replace;boundary=a",
    ] {
        let path = format!("/{}", kind.len());
        let reply = answer(fetch(&engine, &path, &[]), 200, &[("content-type", kind)]);
        assert!(reply.fill.is_none(), "{kind}");
        let Step::Fetch(_, next) = look_up(begin(&engine, &path), &[]) else {
            panic!("{kind}: it waits")
        };
        assert!(
            next.leads().is_none(),
            "{kind}: nor does the next one make others wait"
        );
    }
    let whole = answer(
        fetch(&engine, "/", &[]),
        200,
        &[
            ("content-type", "text/event-stream"),
            ("content-length", "5"),
        ],
    );
    assert!(whole.fill.is_some(), "a length is an end");
}

#[test]
fn a_fetch_that_ends_while_the_store_is_asked_is_not_made_again() {
    let engine = engine("mode = \"override\"\nttl = \"60s\"", 1);
    let leader = fetch(&engine, "/", &[]);
    let late = begin(&engine, "/");
    let mut fill = answer(leader, 200, &[]).fill.expect("it is stored");
    drop(fill.lead.take());
    // What the late one finds was read before the answer came, so it finds nothing.
    let again = look_up(late, &[]);
    let reply = finished(look_up(again, &[fill.head]));
    assert_eq!(outcome(&reply), Some(CacheOutcome::Hit));
}

#[test]
fn who_has_looked_twice_and_found_nothing_fetches_for_all() {
    let engine = engine("mode = \"override\"\nttl = \"60s\"", 1);
    let late = begin(&engine, "/");
    drop(fetch(&engine, "/", &[]));
    let again = look_up(late, &[]);
    drop(fetch(&engine, "/", &[]));
    let Step::Fetch(_, next) = look_up(again, &[]) else {
        panic!("it looks no third time")
    };
    assert!(next.leads().is_some());
}

#[test]
fn a_refresh_that_ends_while_the_store_is_asked_is_not_made_again() {
    let engine = engine("mode = \"override\"\nttl = \"1s\"\ngrace = \"60s\"", 1);
    let old = stored(&engine, &[]);
    let later = NOW.plus(2_000);
    let first = finished(look_up_at(begin(&engine, "/"), &[Arc::clone(&old)], later));
    let late = begin(&engine, "/");
    assert!(first.background.is_some());
    drop(first);
    let reply = finished(look_up_at(late, &[old], later));
    assert_eq!(
        (outcome(&reply), reply.background.is_some()),
        (Some(CacheOutcome::Stale), false)
    );
}

#[test]
fn what_is_remembered_of_fetches_is_forgotten_in_time() {
    let engine = engine("mode = \"respect\"", 1);
    assert_eq!(engine.poll_timeout(), None);
    // Nothing of it can be shared, so requests for it go alone for a while.
    let reply = answer(
        fetch(&engine, "/", &[]),
        200,
        &[("cache-control", "no-store")],
    );
    assert!(reply.fill.is_none());
    let mut now = NOW;
    while let Some(due) = engine.poll_timeout() {
        now = now.max(due);
        engine.handle_timeout(now);
    }
    let took = now.as_millis() - NOW.as_millis();
    assert!((10_000..=11_000).contains(&took), "{took}");
}
