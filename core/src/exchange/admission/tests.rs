#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::Step;
use crate::limit::{Charge, Charged, charge_all};
use crate::message::geo::Geo;
use crate::message::request::{Client, RequestBody, Scheme};
use crate::time::Timestamp;
use crate::{Engine, Failure, FailureKind, Policy};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn engine(limits: &str) -> Engine {
    let policy = format!(
        "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n{limits}\n[[routes]]\npool = \"main\"\nlimits = [\"l\"]\n"
    );
    let policy = Policy::parse("tidegate.toml", &policy).unwrap_or_else(|error| panic!("{error}"));
    Engine::new(policy, 7)
}

fn plans_by(part: &str) -> Engine {
    engine(&format!(
        "[limits.l]\nquota = \"1/min\"\nkey = [\"ip\"]\nplan = \"{part}\"\n[limits.l.plans]\ngold = \"100/min\"\nsilver = \"10/min\"\n"
    ))
}

fn begin(engine: &Engine, target: &str, fields: &[(&'static str, &'static str)]) -> Step {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.uri = target.parse().unwrap();
    head.headers
        .insert("host", HeaderValue::from_static("shop.example"));
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        head.headers.append(HeaderName::from_static(name), value);
    }
    let geo = Geo {
        asn: Some(64500),
        ..Geo::default()
    };
    let client = Client {
        peer: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        geo: Some(geo),
        tls_subject: None,
        scheme: Scheme::Http,
        body: RequestBody::Empty,
        fresh_trace: 1,
    };
    engine.begin(head, client, NOW)
}

fn charge_of(step: &Step) -> Charge {
    let Step::Charge(next) = step else {
        panic!("{step:?}")
    };
    let [charge] = next.charges() else {
        panic!("one limit counts once")
    };
    charge.clone()
}

/// Answers for counters that nobody has used, ends the exchange, and returns what the client is told.
fn answered(step: Step) -> HeaderMap {
    let Step::Charge(next) = step else {
        panic!("{step:?}")
    };
    let mut states = vec![None; next.charges().len()];
    let answers: Vec<Charged> = charge_all(next.charges(), &mut states, NOW)
        .into_iter()
        .map(Charged::Verdict)
        .collect();
    let mut step = next.resume(&answers, NOW);
    loop {
        step = match step {
            Step::Fetch(attempt, next) => {
                let failure = Failure {
                    kind: FailureKind::Unreachable,
                    sent: false,
                    body_intact: true,
                };
                next.resume(attempt.number, Err(failure), NOW)
            }
            Step::Finish(reply) => return reply.head.headers,
            other => panic!("{other:?}"),
        };
    }
}

fn plan(engine: &Engine, target: &str, fields: &[(&'static str, &'static str)]) -> Option<String> {
    let charge = charge_of(&begin(engine, target, fields));
    charge.limit.plan.as_deref().map(str::to_owned)
}

#[test]
fn the_plan_is_what_the_request_says_once() {
    let by_header = plans_by("header:x-plan");
    for (fields, expected) in [
        (&[][..], None),
        (&[("x-plan", "gold")], Some("gold")),
        (&[("x-plan", " silver\t")], Some("silver")),
        (&[("x-plan", "Gold")], None),
        (&[("x-plan", "bronze")], None),
        (&[("x-plan", "")], None),
        (&[("x-plan", "gold, silver")], None),
        (&[("x-plan", "gold"), ("x-plan", "gold")], Some("gold")),
        // Neither of the two.
        (&[("x-plan", "silver"), ("x-plan", "gold")], None),
        (&[("x-plan", "silver"), ("x-plan", "")], None),
    ] {
        assert_eq!(
            plan(&by_header, "/", fields).as_deref(),
            expected,
            "{fields:?}"
        );
    }
    let by_query = plans_by("query:plan");
    for (target, expected) in [
        ("/?plan=gold", Some("gold")),
        ("/?plan=%67old", Some("gold")),
        ("/?plan=silver&plan=gold", None),
        ("/", None),
    ] {
        assert_eq!(
            plan(&by_query, target, &[]).as_deref(),
            expected,
            "{target}"
        );
    }
    let by_cookie = plans_by("cookie:plan");
    for (cookie, expected) in [
        ("plan=gold", Some("gold")),
        ("plan=\"gold\"", Some("gold")),
        ("plan=silver; plan=gold", None),
        // Some read it as another one.
        ("plan=gold,silver", None),
    ] {
        let told = plan(&by_cookie, "/", &[("cookie", cookie)]);
        assert_eq!(told.as_deref(), expected, "{cookie}");
    }
    let by_network = engine(
        "[limits.l]\nquota = \"1/min\"\nkey = []\nplan = \"asn\"\n[limits.l.plans]\n64500 = \"9/min\"\n",
    );
    assert_eq!(plan(&by_network, "/", &[]).as_deref(), Some("64500"));
}

#[test]
fn all_plans_share_the_count() {
    let engine = plans_by("header:x-plan");
    let own = charge_of(&begin(&engine, "/", &[]));
    for name in ["gold", "silver"] {
        let planned = charge_of(&begin(&engine, "/", &[("x-plan", name)]));
        assert_eq!((planned.key, planned.home), (own.key, own.home), "{name}");
        assert_ne!(planned.limit.rule, own.limit.rule, "{name}");
    }
}

#[test]
fn clients_are_told_the_quota_of_their_plan() {
    for (headers, fields) in [
        ("ietf", ["ratelimit-policy", "ratelimit"]),
        ("draft03", ["ratelimit-limit", "ratelimit-remaining"]),
        ("legacy", ["x-ratelimit-limit", "x-ratelimit-remaining"]),
    ] {
        let engine = engine(&format!(
            "[limits.l]\nquota = \"2/min\"\nkey = []\nheaders = \"{headers}\"\nplan = \"header:x-plan\"\nplans = {{ gold = {{ quota = \"100/hour\", burst = 50 }} }}\n"
        ));
        let told = |fields_sent: &[(&'static str, &'static str)]| {
            let answer = answered(begin(&engine, "/", fields_sent));
            fields.map(|name| answer.get(name).unwrap().to_str().unwrap().to_owned())
        };
        let (own, gold) = match headers {
            "ietf" => (
                ["\"l\";q=2;w=60", "\"l\";r=1;t=30"],
                ["\"l\";q=100;w=3600", "\"l\";r=49;t=36"],
            ),
            "draft03" => (["2, 2;w=60", "1"], ["100, 100;w=3600", "49"]),
            _ => (["2", "1"], ["100", "49"]),
        };
        assert_eq!(told(&[]), own, "{headers}");
        assert_eq!(told(&[("x-plan", "gold")]), gold, "{headers}");
    }
}
