//! Requests that wait for another one's fetch, driven step by step.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use http::{HeaderValue, request};
use tidegate_core::cache::Stored;
use tidegate_core::purge::{Purge, Target};
use tidegate_core::report::CacheOutcome;
use tidegate_core::{Client, Engine, Failure, FailureKind, Policy, RequestBody, Scheme, Source, Step, Timestamp};
use tidegate_tests::fixture::START;

const NOW: Timestamp = Timestamp::from_millis(START);

fn begin(engine: &Engine) -> Step {
    let (mut head, ()): (request::Parts, ()) = http::Request::new(()).into_parts();
    head.headers.insert("host", HeaderValue::from_static("a.example"));
    let (scheme, body) = (Scheme::Http, RequestBody::Empty);
    engine.begin(head, Client { peer: [203, 0, 113, 9].into(), geo: None, scheme, body, fresh_trace: 1 }, NOW)
}

/// Gives the store's answer to a step that asks for it.
fn look_up(step: Step, stored: &[Arc<Stored>]) -> Step {
    let Step::Lookup(next) = step else { panic!("not a lookup: {step:?}") };
    next.resume(stored, NOW)
}

#[test]
fn what_was_found_before_the_wait_is_not_served_after_it() {
    let text = "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n[cache.all]\nmode = \"override\"\n\
                ttl = \"60s\"\n[[routes]]\npool = \"main\"\ncache = \"all\"\n";
    let engine = Engine::new(Policy::parse("policy", text).unwrap_or_else(|error| panic!("{error}")), 7);
    let Step::Fetch(_, next) = look_up(begin(&engine), &[]) else { panic!("nothing is stored") };
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.headers.insert("etag", HeaderValue::from_static("\"a\""));
    let Step::Finish(reply) = next.resume(Ok(head), NOW) else { panic!("the origin has answered") };
    let stored = reply.fill.expect("it is stored").head;
    engine.purge(&Purge { target: Target::All, soft: true });
    let leader = look_up(begin(&engine), &[Arc::clone(&stored)]);
    let Step::Wait(wait) = look_up(begin(&engine), &[stored]) else { panic!("the other one fetches") };
    // The fetch has failed, and what was stored has left the store meanwhile.
    drop(leader);
    let Step::Fetch(_, next) = look_up(wait.resume(NOW), &[]) else { panic!("nothing is stored any more") };
    let failure = Failure { kind: FailureKind::Closed, sent: true, body_intact: true };
    let Step::Finish(reply) = next.resume(Err(failure), NOW) else { panic!("nobody is left to ask") };
    assert_eq!((reply.head.status.as_u16(), reply.source.stored()), (502, None));
    assert!(matches!(reply.source, Source::Bytes(_)));
    assert_eq!(reply.report.cache.map(|cache| cache.outcome), Some(CacheOutcome::Miss));
}
