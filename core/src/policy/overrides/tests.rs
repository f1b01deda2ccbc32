#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderValue;

use super::*;
use crate::Engine;
use crate::exchange::Step;
use crate::message::geo::Geo;
use crate::message::request::{Client, RequestBody, Scheme};
use crate::time::Timestamp;

fn policy(limit: &str) -> Policy {
    let text = format!(
        "[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n[limits.l]\n{limit}\n[[routes]]\nname = \"r\"\npool = \"main\"\nlimits = [\"l\"]\n"
    );
    Policy::parse("tidegate.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

fn order(key: &[&str], quota: &str, burst: Option<u64>) -> Override {
    Override {
        limit: "l".into(),
        key: key.iter().map(|part| part.as_bytes().to_vec()).collect(),
        quota: quota.into(),
        burst,
    }
}

/// Asks for something, and returns the keys of the counts that it is charged to.
fn charged(policy: &Policy, peer: IpAddr) -> Vec<crate::limit::key::CounterKey> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.uri = "/Shop/;x?q=%41".parse().unwrap();
    for (name, value) in [
        ("host", "shop.example"),
        ("x-key", " k "),
        ("authorization", "BEARER  t"),
        ("cookie", "c=\"v\""),
    ] {
        head.headers.insert(name, HeaderValue::from_static(value));
    }
    let client = Client {
        peer,
        geo: Some(Geo {
            asn: Some(64500),
            ..Geo::default()
        }),
        tls_subject: None,
        scheme: Scheme::Http,
        body: RequestBody::Empty,
        fresh_trace: 1,
    };
    let engine = Engine::new(policy.clone(), 7);
    let Step::Charge(next) = engine.begin(head, client, Timestamp::from_millis(1)) else {
        panic!("a limit counts")
    };
    next.charges().iter().map(|charge| charge.key).collect()
}

#[test]
fn a_caller_has_the_key_by_which_requests_are_counted() {
    let v4 = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6));
    for (kind, quota) in [
        ("quota = \"1/min\"", "9/hour"),
        ("quota = \"1/hour\"\nkind = \"budget\"", "9/hour"),
        ("quota = \"1\"\nkind = \"concurrency\"", "9"),
    ] {
        for (key, peer, values) in [
            ("", v4, &[][..]),
            ("\"ip\"", v4, &["192.0.2.1"]),
            ("\"ip\"", v4, &["::ffff:192.0.2.1"]),
            ("\"ip/48\"", v6, &["2001:db8:1:ffff::"]),
            ("\"header:x-key\", \"route\"", v4, &["k", "r"]),
            ("\"header:authorization\"", v4, &["bearer t"]),
            ("\"cookie:c\", \"query:q\"", v4, &["v", "A"]),
            (
                "\"path\", \"country\", \"asn\"",
                v4,
                &["/shop", "XX", "64500"],
            ),
        ] {
            let policy = policy(&format!("{kind}\nkey = [{key}]"));
            let (counter, limit) = policy.meaning(&order(values, quota, None)).unwrap();
            assert_eq!(charged(&policy, peer), [counter], "{kind} {key}");
            assert_eq!(limit.rule.amount(), 9);
        }
    }
}

#[test]
fn what_makes_no_sense_is_told() {
    let rate = "quota = \"10/min\"\nkey = [\"header:x-key\"]\ncost = 3";
    let budget = "quota = \"10/hour\"\nkey = [\"ip\"]\nkind = \"budget\"";
    for (limit, order, part) in [
        (
            rate,
            order(&["a"], "many", None),
            "quota: `many` is not a quota",
        ),
        (
            rate,
            order(&["a"], "9/month", None),
            "quota: months have no length",
        ),
        (
            rate,
            order(&["a"], "9/min", Some(0)),
            "burst: burst goes from 1",
        ),
        (rate, order(&["a"], "9/min", Some(2)), "may cost 3"),
        (
            rate,
            order(&["a", "b"], "9/min", None),
            "has 1 parts, and not 2",
        ),
        (rate, order(&[], "9/min", None), "has 1 parts, and not 0"),
        (rate, order(&[" "], "9/min", None), "is empty"),
        (
            budget,
            order(&["joe"], "9/hour", None),
            "part 1 of the key is no address",
        ),
        (budget, order(&["::1"], "9/day", None), "another period"),
        (
            budget,
            order(&["::1"], "9/hour", Some(1)),
            "burst: all of it may be used at once",
        ),
    ] {
        let told = policy(limit).meaning(&order).unwrap_err();
        assert!(told.contains(part), "{order:?}: {told}");
    }
    let other = Override {
        limit: "m".into(),
        ..order(&["a"], "9/min", None)
    };
    let told = policy(rate).meaning(&other).unwrap_err();
    assert_eq!(told, "no route has a limit `m` that counts requests");
}
