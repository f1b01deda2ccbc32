//! Attempts of one exchange that are under way at once.

use http::{HeaderValue, StatusCode};
use tidegate_core::purge::{Purge, Target};
use tidegate_core::{Answer, Engine, Failure, FailureKind, Policy, Step};

use super::{NOW, answer, begin, engine, fetch, look_up, stored};

#[test]
fn the_answer_of_an_attempt_that_is_not_under_way_changes_nothing() {
    let engine = engine("mode = \"respect\"", 1);
    let failure = Failure {
        kind: FailureKind::Closed,
        sent: true,
        body_intact: true,
    };
    let next = fetch(&engine, "/", &[]);
    let Step::Await(next) = next.resume(2, Err(failure), NOW) else {
        panic!("the first attempt is under way")
    };
    assert_eq!(next.hedge_at(), None);
    assert_eq!(answer(next, 200, &[]).head.status, StatusCode::OK);
}

/// Two origins, of which the second is asked beside the first when that is late.
fn hedging_engine(attempts: u8) -> Engine {
    let text = format!(
        "[origins.a]\nurl = \"http://a.test\"\n[origins.b]\nurl = \"http://b.test\"\n\
         [pools.main]\norigins = [\"a\", \"b\"]\n[cache.all]\nmode = \"respect\"\n\
         [retry.some]\nattempts = {attempts}\nhedge_after = \"200ms\"\n\
         [[routes]]\npool = \"main\"\ncache = \"all\"\nretry = \"some\"\n"
    );
    Engine::new(
        Policy::parse("policy", &text).unwrap_or_else(|error| panic!("{error}")),
        7,
    )
}

#[test]
fn a_304_of_what_was_purged_beside_another_attempt_is_asked_for_again() {
    let engine = hedging_engine(3);
    let old = stored(
        &engine,
        &[("etag", "\"a\""), ("cache-control", "max-age=0")],
    );
    let Step::Fetch(first, next) = look_up(begin(&engine, "/"), &[old]) else {
        panic!("it must be validated")
    };
    assert!(first.head.headers.contains_key("if-none-match"));
    engine.purge(&Purge {
        target: Target::All,
        soft: false,
    });
    let late = NOW.plus(200);
    assert_eq!(next.hedge_at(), Some(late));
    let Step::Fetch(second, next) = next.hedge(late) else {
        panic!("the other origin is asked")
    };
    assert!(!second.head.headers.contains_key("if-none-match"));
    assert_eq!(next.hedge_at(), None);
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    head.headers
        .insert("etag", HeaderValue::from_static("\"a\""));
    let answer = Answer {
        head,
        body_intact: true,
    };
    let Step::Fetch(third, next) = next.resume(first.number, Ok(answer), late) else {
        panic!("nobody has what the 304 speaks of")
    };
    assert_eq!((&*third.origin.name, third.number), ("a", 3));
    assert!(!third.head.headers.contains_key("if-none-match"));
    // Three have been sent, as many as the rule allows.
    assert_eq!(next.hedge_at(), None);
}
