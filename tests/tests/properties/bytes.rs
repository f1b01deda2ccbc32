//! Whatever bytes header fields have, the core answers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tidegate_core::cache::record;
use tidegate_core::purge::Order;
use tidegate_core::{Attempt, Policy, Timestamp};
use tidegate_tests::fixture::{CLIENT, START};
use tidegate_tests::simulator::{Answer, Origins, Simulator};

const REQUEST: [&str; 21] = [
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "te",
    "traceparent",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
];

const RESPONSE: [&str; 21] = [
    "age",
    "cache-control",
    "cache-group-invalidation",
    "cache-groups",
    "cache-tag",
    "cdn-cache-control",
    "connection",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "set-cookie",
    "surrogate-key",
    "tidegate-cdn-cache-control",
    "vary",
];

/// What is near to meaning something.
const FRAGMENTS: [&str; 44] = [
    "max-age=",
    "s-maxage",
    "no-cache",
    "private=\"",
    "no-store",
    "must-understand",
    "stale-if-error=",
    ",",
    ";",
    "=",
    "\"",
    "\\",
    " ",
    "\t",
    "*",
    "-",
    "/",
    "0",
    "1",
    "9",
    "18446744073709551615",
    "99999999999999999999999",
    "-1",
    "0.5",
    "q=",
    "bytes=",
    "bytes ",
    "bytes 0-9/10",
    "0-0",
    "W/\"a\"",
    "\"a\"",
    "accept-language",
    "x-a",
    "GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Fri, 31 Dec 9999 23:59:60 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "/a/../b",
    "http://",
    "%2f",
    "?1",
    "(\"a\")",
    "only-if-cached",
];

type Fields = Vec<(&'static str, Vec<u8>)>;

fn fields(names: &'static [&'static str]) -> impl Strategy<Value = Fields> {
    let bytes = vec(any::<u8>(), 0..12);
    let near = vec(select(&FRAGMENTS[..]), 0..6).prop_map(|parts| parts.concat().into_bytes());
    vec((select(names), prop_oneof![1 => bytes, 3 => near]), 0..7)
}

struct Replies(Vec<(u16, Fields)>);

impl Origins for Replies {
    fn answer(&mut self, attempt: &Attempt, now: &mut Timestamp) -> Answer {
        *now = now.plus(1);
        let (status, fields) = if self.0.len() > 1 {
            self.0.remove(0)
        } else {
            self.0[0].clone()
        };
        let (mut head, ()): (response::Parts, ()) = http::Response::new(()).into_parts();
        head.status = StatusCode::from_u16(status).expect("a status");
        head.headers = headers(&fields);
        let empty = status == 304 || attempt.head.method == http::Method::HEAD;
        Ok((
            head,
            if empty {
                Bytes::new()
            } else {
                Bytes::from_static(b"0123456789")
            },
        ))
    }
}

fn headers(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        // What cannot be in a message at all is left out.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

#[test]
fn no_field_makes_the_core_panic() {
    let method = prop_oneof![5 => Just("GET"), 1 => Just("HEAD"), 1 => Just("POST")];
    let replies = vec(
        (
            select(&[200_u16, 200, 200, 206, 304, 404, 500, 204, 302][..]),
            fields(&RESPONSE),
        ),
        1..3,
    );
    let exchange = (
        method,
        select(&["respect", "graced", "client", "override"][..]),
        fields(&REQUEST),
        replies,
        0..9000_u64,
    );
    let result = TestRunner::new(crate::config()).run(&vec(exchange, 1..5), |exchanges| {
        let mut simulator =
            Simulator::new(Policy::parse("policy", crate::POLICY).expect("a policy"));
        let mut now = START;
        for (method, profile, asked, replies, after) in exchanges {
            now += after;
            let (mut head, ()) = http::Request::new(()).into_parts();
            head.method = method.parse().expect("a method");
            head.uri = format!("/{profile}/").parse().expect("a path");
            head.headers = headers(&asked);
            head.headers
                .entry("host")
                .or_insert(HeaderValue::from_static("a.example"));
            let outcome = simulator.exchange(
                head,
                CLIENT,
                Timestamp::from_millis(now),
                &mut Replies(replies),
            );
            prop_assert!(outcome.head.status.as_u16() >= 200);
        }
        for (head, _) in simulator.stored() {
            let read = record::read(&record::write(head));
            prop_assert_eq!(read.as_ref(), Some(&**head));
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn no_text_makes_an_order_of_purges_or_a_record_panic() {
    let text = prop_oneof![
        vec(select(&FRAGMENTS[..]), 0..8).prop_map(|parts| parts.concat()),
        ".{0,40}"
    ];
    let result = TestRunner::new(crate::config()).run(&text, |text| {
        let _ = Order::of_pattern(&text).and_then(|order| order.purges());
        let _ = Order::parse(text.as_bytes()).and_then(|order| order.purges());
        let _ = record::read(&text);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
