//! Circuits that look at whole answers, and at a clock that somebody sets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use http::{HeaderValue, Method, StatusCode, request};
use tidegate_core::report::AttemptOutcome;
use tidegate_core::{
    Answer, AwaitResponse, BodyEnd, BodySeen, Client, Engine, Failure, FailureKind, Hold, Policy,
    RequestBody, Step, Timestamp,
};
use tidegate_tests::fixture::{CLIENT, START};

const SECOND: u64 = 1000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn engine(breaker: &str) -> Engine {
    let text = format!(
        "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n\
         [breakers.b]\nwindow = \"4 calls\"\nminimum_calls = 2\nopen = \"5s\"\nslow_call = \"1s\"\nfailure_rate = 100\n{breaker}\n\
         [[routes]]\npool = \"main\"\nbreaker = \"b\"\n"
    );
    Engine::new(
        Policy::parse("policy", &text).unwrap_or_else(|error| panic!("{error}")),
        7,
    )
}

/// Begins an exchange: the origin is asked, or the circuit refuses and says for how many seconds.
fn ask(engine: &Engine, now: Timestamp) -> Result<Box<AwaitResponse>, String> {
    ask_with(engine, Method::GET, RequestBody::Empty, now)
}

/// Does as [`ask`] with a request that has a body.
fn ask_with(
    engine: &Engine,
    method: Method,
    body: RequestBody,
    now: Timestamp,
) -> Result<Box<AwaitResponse>, String> {
    let (mut head, ()): (request::Parts, ()) = http::Request::new(()).into_parts();
    head.headers
        .insert("host", HeaderValue::from_static("a.example"));
    head.method = method;
    match engine.begin(head, Client { body, ..CLIENT }, now) {
        Step::Fetch(_, next) => Ok(next),
        Step::Finish(reply) => {
            let wait = reply
                .head
                .headers
                .get("retry-after")
                .expect("it says when to come again");
            Err(wait.to_str().expect("a number").to_owned())
        }
        step => panic!("neither asked nor refused: {step:?}"),
    }
}

fn head(next: Box<AwaitResponse>, media: &'static str, now: Timestamp) -> Hold {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::OK;
    head.headers
        .insert("content-length", HeaderValue::from_static("10"));
    head.headers
        .insert("content-type", HeaderValue::from_static(media));
    let Step::Finish(reply) = next.resume(
        1,
        Ok(Answer {
            head,
            body_intact: true,
        }),
        now,
    ) else {
        panic!("it is answered")
    };
    assert!(reply.hold.awaits_origin());
    reply.hold
}

fn end(mut hold: Hold, seen: BodySeen, now: Timestamp) -> AttemptOutcome {
    hold.origin_ended(seen, now);
    let report = hold.end(seen.end, seen.bytes, now).report;
    report.attempts.last().expect("an attempt").outcome
}

fn state(engine: &Engine) -> &'static str {
    match engine.circuits().first().expect("one circuit").2 {
        tidegate_core::breaker::StateName::Closed => "closed",
        tidegate_core::breaker::StateName::Open => "open",
        tidegate_core::breaker::StateName::HalfOpen => "half open",
    }
}

/// An engine whose circuit was opened at the start.
fn opened(breaker: &str) -> Engine {
    let engine = engine(breaker);
    for _ in 0..2 {
        let failure = Failure {
            kind: FailureKind::Closed,
            sent: true,
            body_intact: true,
        };
        let Step::Finish(_) = ask(&engine, at(0))
            .expect("closed")
            .resume(1, Err(failure), at(0))
        else {
            panic!("refused")
        };
    }
    assert_eq!(state(&engine), "open");
    engine
}

#[test]
fn how_a_body_ends_opens_a_circuit_or_not() {
    let whole = BodySeen {
        end: BodyEnd::Whole,
        bytes: Some(10),
        waited: 0,
    };
    let cases = [
        ("text/html", whole, "closed", AttemptOutcome::Response),
        (
            "text/html",
            BodySeen {
                end: BodyEnd::Broken,
                ..whole
            },
            "open",
            AttemptOutcome::BodyBroken,
        ),
        (
            "text/html",
            BodySeen {
                end: BodyEnd::Stalled,
                ..whole
            },
            "open",
            AttemptOutcome::BodyTimeout,
        ),
        (
            "text/html",
            BodySeen {
                end: BodyEnd::Unwanted,
                ..whole
            },
            "closed",
            AttemptOutcome::Response,
        ),
        // Fewer bytes than were announced.
        (
            "text/html",
            BodySeen {
                bytes: Some(9),
                ..whole
            },
            "open",
            AttemptOutcome::BodyBroken,
        ),
        // The head was fast and the body slow.
        (
            "text/html",
            BodySeen {
                waited: SECOND,
                ..whole
            },
            "open",
            AttemptOutcome::Response,
        ),
        (
            "text/html",
            BodySeen {
                end: BodyEnd::Unwanted,
                waited: SECOND,
                ..whole
            },
            "open",
            AttemptOutcome::Response,
        ),
        // A megabyte may take twice as long; events may take as long as they like.
        (
            "text/html",
            BodySeen {
                bytes: Some(1 << 20),
                waited: SECOND,
                ..whole
            },
            "closed",
            AttemptOutcome::Response,
        ),
        (
            "text/event-stream",
            BodySeen {
                waited: 60 * SECOND,
                ..whole
            },
            "closed",
            AttemptOutcome::Response,
        ),
    ];
    for (media, seen, expected, outcome) in cases {
        let engine = engine("");
        for _ in 0..2 {
            let held = head(ask(&engine, at(0)).expect("closed"), media, at(10));
            assert_eq!(state(&engine), "closed");
            assert_eq!(end(held, seen, at(20)), outcome, "{seen:?}");
        }
        assert_eq!(state(&engine), expected, "{media}, {seen:?}");
    }
}

#[test]
fn a_client_that_is_slow_to_send_its_body_opens_no_circuit() {
    let bodies = [
        (Method::GET, RequestBody::Empty, "open"),
        (Method::GET, RequestBody::Sized(10), "closed"),
        (Method::POST, RequestBody::Sized(10), "closed"),
        (Method::PUT, RequestBody::Streamed, "closed"),
    ];
    for (method, body, expected) in bodies {
        let (left, answered) = (engine(""), engine(""));
        for _ in 0..4 {
            // A closed circuit opens at the second call, and then nobody is asked.
            if let Ok(next) = ask_with(&left, method.clone(), body, at(0)) {
                let _ended = next.abandon(at(30 * SECOND));
            }
            if let Ok(next) = ask_with(&answered, method.clone(), body, at(0)) {
                end(
                    head(next, "text/html", at(30 * SECOND)),
                    BodySeen::only(BodyEnd::Whole),
                    at(30 * SECOND),
                );
            }
        }
        assert_eq!(
            (state(&left), state(&answered)),
            (expected, expected),
            "{method} {body:?}"
        );
    }
    // An origin that is slow to send its own body is slow whatever it was asked.
    let engine = engine("");
    for _ in 0..2 {
        let next = ask_with(&engine, Method::POST, RequestBody::Sized(10), at(0)).expect("closed");
        let seen = BodySeen {
            end: BodyEnd::Whole,
            bytes: Some(10),
            waited: SECOND,
        };
        end(head(next, "text/html", at(10)), seen, at(2000));
    }
    assert_eq!(state(&engine), "open");
    // A trial that says nothing leaves room for the next one.
    let engine = opened("half_open_permits = 1");
    let _ended = ask_with(&engine, Method::POST, RequestBody::Streamed, at(5000))
        .expect("tried")
        .abandon(at(7000));
    assert!(ask(&engine, at(7000)).is_ok());
}

#[test]
fn a_half_open_circuit_waits_for_the_body_and_not_for_ever() {
    let engine = opened("half_open_permits = 1");
    let cut = head(
        ask(&engine, at(5000)).expect("tried"),
        "text/html",
        at(5010),
    );
    assert_eq!(state(&engine), "half open");
    end(cut, BodySeen::only(BodyEnd::Broken), at(5020));
    assert_eq!(state(&engine), "open");
    // A download that takes longer than a call may be tried: its head has said enough.
    let long = head(
        ask(&engine, at(10_020)).expect("tried"),
        "text/html",
        at(10_030),
    );
    assert!(ask(&engine, at(40_000)).is_err());
    let (next, lost) = (ask(&engine, at(42_020)).expect("closed"), long);
    assert_eq!(state(&engine), "closed");
    end(lost, BodySeen::only(BodyEnd::Broken), at(50_000));
    end(
        head(next, "text/html", at(42_030)),
        BodySeen::only(BodyEnd::Whole),
        at(50_000),
    );
    assert_eq!(
        state(&engine),
        "closed",
        "what an older generation says moves nothing"
    );
}

#[test]
fn who_is_refused_beside_a_call_that_is_tried_comes_again_soon() {
    let engine = opened("half_open_permits = 1");
    let tried = ask(&engine, at(5000)).expect("tried");
    for (after, wait) in [(5100, "1"), (9000, "4"), (30_000, "7")] {
        assert_eq!(
            ask(&engine, at(after)).err().as_deref(),
            Some(wait),
            "after {after}"
        );
    }
    drop(tried);
    assert!(ask(&engine, at(37_000)).is_ok(), "its lease is over");
}

#[test]
fn a_clock_that_is_set_back_lengthens_nothing() {
    const HOUR: u64 = 3600 * SECOND;
    let set_back = |millis: u64| Timestamp::from_millis(START - HOUR + millis);
    let engine = opened("half_open_permits = 1");
    assert_eq!(
        ask(&engine, set_back(0)).err().as_deref(),
        Some("5"),
        "no longer than the policy says"
    );
    let lost = ask(&engine, set_back(5000)).expect("tried");
    drop(lost);
    // Back once more, while a call is tried whose answer is lost.
    let again = |millis: u64| Timestamp::from_millis(START - 2 * HOUR + millis);
    assert!(ask(&engine, again(0)).is_err());
    assert!(
        ask(&engine, again(32_000)).is_ok(),
        "a lease lasts no longer than it did"
    );
}

#[test]
fn a_window_of_time_forgets_though_the_clock_was_set_back() {
    let engine = engine("half_open_permits = 1");
    let text = "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n[breakers.b]\nwindow = \"10s\"\n\
                minimum_calls = 2\n[[routes]]\npool = \"main\"\nbreaker = \"b\"\n";
    let engine =
        engine.with_policy(Policy::parse("policy", text).unwrap_or_else(|error| panic!("{error}")));
    let fail = |now: Timestamp| {
        let failure = Failure {
            kind: FailureKind::Closed,
            sent: true,
            body_intact: true,
        };
        let Step::Finish(_) = ask(&engine, now)
            .expect("closed")
            .resume(1, Err(failure), now)
        else {
            panic!("refused")
        };
    };
    fail(at(0));
    fail(Timestamp::from_millis(START - 3_600_000 + 1));
    assert_eq!(
        state(&engine),
        "open",
        "both are within ten seconds, as far as anybody knows"
    );
}
