//! What the core makes of an exchange.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, request};
use tidegate_core::report::CacheOutcome;
use tidegate_core::{Attempt, Policy, Timestamp};
use tidegate_tests::fixture::{CLIENT, START};
use tidegate_tests::simulator::{Answer, Origins, Simulator};

use crate::{Exchange, Fields, Verdict, header_map};

const POLICY: &str = r#"
[origins.a]
url = "http://a.test"
[pools.main]
origins = ["a"]
[cache.all]
mode = "respect"
client_directives = true
[[routes]]
pool = "main"
cache = "all"
"#;

/// Answers always the same, and keeps the last request.
struct Same<'a> {
    exchange: &'a Exchange,
    asked: HeaderMap,
}

impl Origins for Same<'_> {
    fn answer(&mut self, attempt: &Attempt, _: &mut Timestamp) -> Answer {
        self.asked.clone_from(&attempt.head.headers);
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = self.exchange.status.try_into().expect("a status");
        head.headers = header_map(&self.exchange.response);
        Ok((head, Bytes::new()))
    }
}

pub(crate) fn verdict(exchange: &Exchange) -> Verdict {
    static PARSED: OnceLock<Policy> = OnceLock::new();
    let policy = PARSED
        .get_or_init(|| Policy::parse("policy", POLICY).unwrap_or_else(|error| panic!("{error}")));
    let mut simulator = Simulator::new(policy.clone());
    let mut origin = Same {
        exchange,
        asked: HeaderMap::new(),
    };
    let start = Timestamp::from_millis(START);
    let first = simulator.exchange(head("GET", &exchange.first), CLIENT, start, &mut origin);
    if !first.report.cache.is_some_and(|cache| cache.stored) {
        return Verdict::NotStored;
    }
    let later = start.plus(exchange.elapsed * 1000);
    let second = simulator.exchange(
        head(exchange.method, &exchange.second),
        CLIENT,
        later,
        &mut origin,
    );
    let conditional = ["if-none-match", "if-modified-since"]
        .iter()
        .any(|name| origin.asked.contains_key(*name));
    match second.report.cache.map(|cache| cache.outcome) {
        Some(CacheOutcome::Hit) => Verdict::Fresh,
        Some(CacheOutcome::VaryMiss) => Verdict::Other,
        _ if conditional => Verdict::Validated,
        _ => Verdict::Replaced,
    }
}

fn head(method: &str, fields: &Fields) -> request::Parts {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = method.parse().expect("a method");
    head.uri = "/a".parse().expect("a path");
    head.headers = header_map(fields);
    head.headers
        .insert("host", HeaderValue::from_static("a.example"));
    head
}
