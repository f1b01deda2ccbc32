#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderValue, StatusCode};

use crate::exchange::{AwaitVerdict, Event, Step};
use crate::limit::Charge;
use crate::message::request::{Client, RequestBody, Scheme};
use crate::report::TokenOutcome;
use crate::time::Timestamp;
use crate::{Engine, Policy, Report};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// `{"alg":"EdDSA","kid":"1"}`, `{"alg":"EdDSA","kid":"2"}`, `{"alg":"EdDSA"}`
const ONE: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6IjEifQ";
const TWO: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6IjIifQ";
const ANY: &str = "eyJhbGciOiJFZERTQSJ9";

/// `{"sub":"joe"}`, `{"sub":""}`, `{"exp":1}`
const JOE: &str = "eyJzdWIiOiJqb2UifQ";
const EMPTY: &str = "eyJzdWIiOiIifQ";
const OVER: &str = "eyJleHAiOjF9";

fn key(id: &str) -> String {
    format!(
        r#"{{"kty":"OKP","crv":"Ed25519",{id}"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#
    )
}

fn engine(source: &str, limits: &str) -> Engine {
    let policy = format!(
        r#"
        [client.token]
        algorithms = ["EdDSA"]
        {source}
        [origins.a]
        url = "http://a.test"
        [pools.main]
        origins = ["a"]
        [limits.user]
        quota = "1/min"
        key = ["claim:sub"]
        {limits}
        [[routes]]
        pool = "main"
        limits = ["user"]
        "#
    );
    let policy = Policy::parse("tidegate.toml", &policy).unwrap_or_else(|error| panic!("{error}"));
    Engine::new(policy, 7)
}

fn with_keys(limits: &str) -> Engine {
    let keys = format!("{{\"keys\":[{},{}]}}", key(r#""kid":"1","#), key(""));
    engine(&format!("keys = '{keys}'"), limits)
}

fn begin(engine: &Engine, method: &str, header: &str, payload: &str) -> Step {
    begin_at(engine, method, header, payload, NOW)
}

fn begin_at(engine: &Engine, method: &str, header: &str, payload: &str, now: Timestamp) -> Step {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = method.parse().unwrap();
    head.headers
        .insert("host", HeaderValue::from_static("shop.example"));
    if !header.is_empty() {
        let token = format!("Bearer {header}.{payload}.c2ln");
        head.headers.insert("authorization", token.parse().unwrap());
    }
    let client = Client {
        peer: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        geo: None,
        tls_subject: None,
        scheme: Scheme::Http,
        body: RequestBody::Empty,
        fresh_trace: 1,
    };
    engine.begin(head, client, now)
}

/// Ends an exchange that charges, and says what became of the token, what is charged, and whether
/// the claim was there.
fn told(step: Step) -> (TokenOutcome, Vec<Charge>, bool) {
    let Step::Charge(next) = step else {
        panic!("{step:?}")
    };
    let charges = next.charges().to_vec();
    let report = abandoned(next);
    let token = report.token.expect("limits count by claims");
    let [claim] = &token.claims[..] else {
        panic!("one claim is counted by")
    };
    assert_eq!(&*claim.name, "sub");
    (token.outcome, charges, claim.present)
}

fn abandoned(next: AwaitVerdict) -> Box<Report> {
    next.abandon(NOW).report
}

/// Answers what the shell is asked for signatures.
fn verified(mut step: Step, answers: &[bool]) -> Step {
    for is_right in answers {
        let Step::Verify(next) = step else {
            panic!("{step:?}")
        };
        assert_eq!(next.signed().unwrap().signature, b"sig");
        step = next.resume(*is_right, NOW);
    }
    step
}

#[test]
fn only_what_is_verified_is_counted_by() {
    let engine = with_keys("");
    let step = |header, payload| begin(&engine, "GET", header, payload);
    let (outcome, nobody, present) = told(step("", ""));
    assert_eq!((outcome, present), (TokenOutcome::Missing, false));
    let (outcome, joe, present) = told(verified(step(ONE, JOE), &[true]));
    assert_eq!((outcome, present), (TokenOutcome::Verified, true));
    assert_ne!(joe, nobody);
    let (outcome, empty, present) = told(verified(step(ONE, EMPTY), &[true]));
    assert_eq!((outcome, present), (TokenOutcome::Verified, true));
    assert!(empty != nobody && empty != joe, "an empty claim is one");
    // Both keys may have signed it.
    let (outcome, second, _) = told(verified(step(ONE, JOE), &[false, true]));
    assert_eq!((outcome, &second), (TokenOutcome::Verified, &joe));
    let refused = [
        (
            verified(step(ONE, JOE), &[false, false]),
            TokenOutcome::BadSignature,
        ),
        // Only the key without a name answers to this one.
        (
            verified(step(TWO, JOE), &[false]),
            TokenOutcome::BadSignature,
        ),
        (
            verified(step(ANY, JOE), &[false, false]),
            TokenOutcome::BadSignature,
        ),
        (verified(step(ONE, OVER), &[true]), TokenOutcome::Expired),
        (
            verified(step(ONE, "e30x"), &[true]),
            TokenOutcome::Malformed,
        ),
        (step("e30", JOE), TokenOutcome::Malformed),
        (
            step("eyJhbGciOiJub25lIn0", JOE),
            TokenOutcome::AlgorithmNotAllowed,
        ),
    ];
    for (step, why) in refused {
        assert_eq!(told(step), (why, nobody.clone(), false));
    }
}

#[test]
fn a_token_without_a_key_is_tried_with_few() {
    let keys: Vec<String> = (0..20).map(|n| key(&format!("\"kid\":\"{n}\","))).collect();
    let engine = engine(&format!("keys = '{{\"keys\":[{}]}}'", keys.join(",")), "");
    let step = verified(begin(&engine, "GET", ANY, JOE), &[false; 8]);
    assert_eq!(told(step).0, TokenOutcome::BadSignature);
    let step = verified(begin(&engine, "GET", ONE, JOE), &[false]);
    assert_eq!(told(step).0, TokenOutcome::BadSignature);
}

#[test]
fn nothing_is_verified_that_nothing_counts_by() {
    let engine = with_keys("methods = [\"POST\"]");
    let step = begin(&engine, "GET", ONE, JOE);
    let Step::Fetch(_, next) = step else {
        panic!("{step:?}")
    };
    assert_eq!(next.abandon(NOW).report.token, None);
    assert!(matches!(begin(&engine, "POST", ONE, JOE), Step::Verify(_)));
}

#[test]
fn keys_are_waited_for_once_and_not_for_long() {
    let engine = engine("jwks_url = \"https://issuer.test/jwks\"", "");
    let step = begin(&engine, "GET", ONE, JOE);
    let Step::Wait(next) = step else {
        panic!("{step:?}")
    };
    assert_eq!(next.event(), Event::KeysCome);
    assert_eq!(next.until(), NOW.plus(1000));
    assert!(!next.is_over(NOW));
    let fetch = engine.keys_due(NOW).expect("it is asked for");
    assert_eq!(fetch.url(), "https://issuer.test/jwks");
    assert!(engine.keys_due(NOW).is_none() && !next.is_over(NOW));
    // Another one waits for the same.
    assert!(matches!(begin(&engine, "GET", ONE, JOE), Step::Wait(_)));
    // The wait ends before the fetch does.
    let (outcome, ..) = told(next.resume(NOW.plus(1000)));
    assert_eq!(outcome, TokenOutcome::KeysUnavailable);

    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::OK;
    let step = begin(&engine, "GET", ONE, JOE);
    let Step::Wait(next) = step else {
        panic!("{step:?}")
    };
    let keys = key(r#""kid":"1","#);
    assert_eq!(fetch.done(Ok((&head, keys.as_bytes())), NOW), None);
    assert!(next.is_over(NOW));
    let (outcome, ..) = told(verified(next.resume(NOW), &[true]));
    assert_eq!(outcome, TokenOutcome::Verified);
    // A key that is not in a set that has just been fetched is not asked for.
    let (outcome, ..) = told(begin(&engine, "GET", TWO, JOE));
    assert_eq!(outcome, TokenOutcome::UnknownKey);
    let (outcome, ..) = told(verified(begin(&engine, "GET", ANY, JOE), &[false]));
    assert_eq!(outcome, TokenOutcome::BadSignature);
    // A set that nobody has looked at for long is waited for, and used if there is no other.
    let late = NOW.plus(660_000);
    let Step::Wait(next) = begin_at(&engine, "GET", ONE, JOE, late) else {
        panic!("it is waited for")
    };
    drop(engine.keys_due(late).expect("it is asked for"));
    assert!(next.is_over(late));
    assert!(matches!(next.resume(late), Step::Verify(_)));
    // Another policy keeps the keys that come from the same place.
    let same = engine.with_policy(engine.policy().clone());
    assert!(matches!(begin(&same, "GET", ONE, JOE), Step::Verify(_)));
}

#[test]
fn a_secret_is_what_the_shell_finds() {
    let hs256 = "eyJhbGciOiJIUzI1NiJ9";
    let mut policy = engine("keys = '{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}'", "")
        .policy()
        .clone();
    let mut rule = (**policy.token.as_ref().unwrap()).clone();
    rule.algorithms = vec![crate::token::Algorithm::Hs256];
    rule.keys = crate::token::KeySource::Secret("NAME".into());
    policy.token = Some(rule.into());
    let engine = Engine::new(policy, 7);
    assert_eq!(engine.secret_name(), Some("NAME"));
    let outcome = || told(begin(&engine, "GET", hs256, JOE)).0;
    assert_eq!(outcome(), TokenOutcome::KeysUnavailable);
    assert!(engine.know_secret(None).unwrap_err().contains("not set"));
    assert!(
        engine
            .know_secret(Some("short"))
            .unwrap_err()
            .contains("32 bytes")
    );
    assert_eq!(outcome(), TokenOutcome::KeysUnavailable);
    assert_eq!(engine.know_secret(Some(&"x".repeat(32))), Ok(()));
    assert!(matches!(begin(&engine, "GET", hs256, JOE), Step::Verify(_)));
    assert!(engine.know_secret(Some("")).is_err());
    assert_eq!(outcome(), TokenOutcome::KeysUnavailable);
}
