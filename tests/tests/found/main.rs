//! What caches have got wrong, this one among them: each test is a short story of a site, told to a
//! node with a store, and what must not happen.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod keys;
mod parts;
mod purges;
mod sharing;
mod stale;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request};
use tidegate_core::purge::Order;
use tidegate_core::{Attempt, Policy, Timestamp};
use tidegate_tests::fixture::{CLIENT, START};
use tidegate_tests::simulator::{Answer, Origins, Outcome, Simulator};

/// What the origin answers next, and what it was asked.
#[derive(Default)]
struct Origin {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: String,
    /// Fields of the last request.
    asked: HeaderMap,
    count: usize,
}

impl Origins for Origin {
    fn answer(&mut self, attempt: &Attempt, _now: &mut Timestamp) -> Answer {
        self.asked = attempt.head.headers.clone();
        self.count += 1;
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = StatusCode::from_u16(self.status).expect("a status");
        for (name, value) in &self.fields {
            head.headers.append(
                HeaderName::from_static(name),
                HeaderValue::try_from(value).expect("a value"),
            );
        }
        Ok((head, Bytes::from(self.body.clone())))
    }
}

struct Site {
    node: Simulator,
    origin: Origin,
    seconds: u64,
}

/// A site with one cache profile.
fn site(profile: &str) -> Site {
    with_routes(&format!(
        "[cache.c]\n{profile}\n[[routes]]\npool = \"main\"\ncache = \"c\"\n"
    ))
}

fn with_routes(routes: &str) -> Site {
    let text =
        format!("[origins.a]\nurl = \"http://a.test\"\n[pools.main]\norigins = [\"a\"]\n{routes}");
    let policy = Policy::parse("policy", &text).unwrap_or_else(|error| panic!("{error}"));
    Site {
        node: Simulator::new(policy),
        origin: Origin::default(),
        seconds: 0,
    }
}

impl Site {
    /// Sets what the origin answers from now on: status, fields (`name: value`), body.
    fn says(&mut self, status: u16, fields: &[&'static str], body: &str) -> &mut Self {
        self.origin.status = status;
        let field = |line: &&'static str| line.split_once(": ").expect("name: value");
        self.origin.fields = fields
            .iter()
            .map(field)
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        self.origin.body = body.into();
        self
    }

    fn ask(&mut self, method: &str, path: &str, fields: &[&str]) -> Outcome {
        let (mut head, ()): (request::Parts, ()) = http::Request::new(()).into_parts();
        head.method = Method::from_bytes(method.as_bytes()).expect("a method");
        head.uri = path.parse().expect("a path");
        for (name, value) in fields.iter().filter_map(|line| line.split_once(": ")) {
            head.headers.append(
                HeaderName::try_from(name).expect("a name"),
                HeaderValue::try_from(value).expect("a value"),
            );
        }
        head.headers
            .entry("host")
            .or_insert(HeaderValue::from_static("shop.example"));
        let now = Timestamp::from_millis(START).plus(1000 * self.seconds);
        self.node.exchange(head, CLIENT, now, &mut self.origin)
    }

    /// A GET; returns the body and what Cache-Status says.
    fn get(&mut self, path: &str) -> (String, String) {
        told(&self.ask("GET", path, &[]))
    }

    fn is_hit(&mut self, path: &str) -> bool {
        self.get(path).1.contains("; hit")
    }

    fn purge(&mut self, pattern: &str) {
        for purge in Order::of_pattern(pattern)
            .and_then(|order| order.purges())
            .expect("a pattern")
        {
            self.node.engine().purge(&purge);
        }
    }

    fn purge_tag(&mut self, tag: &str) {
        let order = Order {
            tags: vec![tag.to_owned()],
            ..Order::default()
        };
        for purge in order.purges().expect("an order") {
            self.node.engine().purge(&purge);
        }
    }

    fn purge_softly(&mut self) {
        let order = Order {
            everything: true,
            soft: true,
            ..Order::default()
        };
        for purge in order.purges().expect("an order") {
            self.node.engine().purge(&purge);
        }
    }

    fn later(&mut self, seconds: u64) -> &mut Self {
        self.seconds += seconds;
        self
    }
}

fn told(outcome: &Outcome) -> (String, String) {
    let status = outcome
        .head
        .headers
        .get("cache-status")
        .map(|value| value.to_str().expect("text").to_owned());
    (
        String::from_utf8_lossy(&outcome.body).into_owned(),
        status.unwrap_or_default(),
    )
}
