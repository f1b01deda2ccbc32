//! The core beside another cache, the crate `http-cache-semantics`: of a response and a later
//! request for the same URL both say whether the response is stored, and whether it is fresh, must
//! be validated, or is of no use. Where they are known to differ, `known` rewrites the exchange for
//! the other one, with the reason; any other difference fails.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod known;
mod ours;
mod theirs;

use std::cell::RefCell;
use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tidegate_core::Timestamp;
use tidegate_core::cache::date;
use tidegate_tests::fixture::START;

use known::KNOWN;

const CASES: u32 = 8000;

/// A response, and a later request for the same URL.
#[derive(Debug, Clone)]
struct Exchange {
    first: Fields,
    status: u16,
    response: Fields,
    /// Seconds between the response and the second request.
    elapsed: u64,
    method: &'static str,
    second: Fields,
}

type Fields = Vec<(&'static str, String)>;

/// What a cache makes of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    NotStored,
    Fresh,
    /// Stored, and the second request asks the origin whether it still holds.
    Validated,
    /// Stored, but the second request fetches all anew.
    Replaced,
    /// Stored, but for requests with other values of the fields in Vary.
    Other,
}

#[test]
fn both_caches_agree_but_for_what_is_known() {
    let needed = RefCell::new(BTreeMap::new());
    let rng_seed = RngSeed::Fixed(9111);
    let config = Config {
        cases: CASES,
        rng_seed,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&exchanges(), |exchange| {
        let rewritten = KNOWN.iter().fold(exchange.clone(), |exchange, known| {
            (known.rewrite)(exchange)
        });
        let (ours, theirs) = (ours::verdict(&exchange), theirs::verdict(&rewritten));
        prop_assert_eq!(Some(ours), theirs, "rewritten: {:?}", rewritten);
        for (left_out, known) in KNOWN.iter().enumerate() {
            let others = KNOWN
                .iter()
                .enumerate()
                .filter(|(position, _)| *position != left_out);
            let rewritten = others.fold(exchange.clone(), |exchange, (_, known)| {
                (known.rewrite)(exchange)
            });
            if theirs::verdict(&rewritten) != theirs {
                *needed.borrow_mut().entry(known.reason).or_insert(0) += 1;
            }
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    for known in KNOWN {
        assert!(
            needed.borrow().contains_key(known.reason),
            "both agree without this: {}",
            known.reason
        );
    }
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let first = optional(&[
        (0.15, "authorization", &["Bearer a"]),
        (0.05, "cache-control", &["no-store", "No-Store"]),
    ]);
    let second = optional(&[
        (0.3, "cache-control", &REQUEST_DIRECTIVES),
        (0.05, "pragma", &["no-cache"]),
        (0.3, "x-a", &["1", " 1 , 2", "1,2"]),
    ]);
    let status = prop_oneof![8 => Just(200_u16), 3 => select(&[203_u16, 204, 299, 301, 302, 303, 404, 500, 501, 599][..])];
    let elapsed = prop_oneof![2 => 0..10_u64, 3 => 10..200_u64];
    let method = prop_oneof![12 => Just("GET"), 1 => Just("HEAD")];
    let asked = (first, weighted(0.3, select(&["1", "1,  2", "2"][..])));
    (asked, status, response(), elapsed, method, second).prop_map(
        |((mut first, varied), status, response, elapsed, method, second)| {
            first.extend(varied.map(|value| ("x-a", value.to_owned())));
            Exchange {
                first,
                status,
                response,
                elapsed,
                method,
                second,
            }
        },
    )
}

const REQUEST_DIRECTIVES: [&str; 9] = [
    "no-cache",
    "No-Cache",
    "max-age=0",
    "max-age=20",
    "max-age=x",
    "min-fresh=10",
    "MIN-FRESH=30",
    "max-stale",
    "max-stale=30",
];

const DIRECTIVES: [&str; 27] = [
    "max-age=60",
    "max-age=60",
    "max-age=100",
    "max-age=0",
    "Max-Age=30",
    "max-age=\"20\"",
    "max-age=x",
    "max-age",
    "max-age=99999999999999999999",
    "s-maxage=10",
    "s-maxage=150",
    "s-maxage",
    "S-MaxAge=40",
    "no-store",
    "No-Store",
    "no-cache",
    "no-cache=\"x-b\"",
    "private",
    "PRIVATE",
    "private=\"x-b\"",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "ext=\"a, no-store, b\"",
    "ext=1",
];

fn response() -> impl Strategy<Value = Fields> {
    let control = vec(
        vec(select(&DIRECTIVES[..]), 1..4).prop_map(|members| members.join(", ")),
        0..3,
    );
    let times = (
        weighted(0.7, times(-4, 2)),
        prop_oneof![9 => vec(expires(), 0..2), 1 => vec(expires(), 2)],
        weighted(
            0.4,
            prop_oneof![9 => times(-100, -5), 1 => Just("yesterday".to_owned())],
        ),
    );
    let others = optional(&[
        (
            0.2,
            "age",
            &[
                "0",
                "7",
                "40",
                "40, 90",
                "-1",
                "x",
                "99999999999999999999",
                "18446744073709551615",
            ],
        ),
        (0.4, "etag", &["\"a\"", "W/\"a\""]),
        (0.3, "vary", &["x-a", "X-A, accept", "*", "accept, *"]),
        (0.05, "pragma", &["no-cache"]),
        (0.1, "set-cookie", &["a=b"]),
    ]);
    (control, times, others).prop_map(|(control, (date, expires, modified), others)| {
        let control = control.into_iter().map(|line| ("cache-control", line));
        let date = date.map(|date| ("date", date)).into_iter();
        let expires = expires.into_iter().map(|expires| ("expires", expires));
        let modified = modified.map(|modified| ("last-modified", modified));
        control
            .chain(date)
            .chain(expires)
            .chain(modified)
            .chain(others)
            .collect()
    })
}

fn expires() -> impl Strategy<Value = String> {
    prop_oneof![5 => times(-2, 15), 1 => Just("0".to_owned())]
}

fn optional(
    fields: &[(f64, &'static str, &'static [&'static str])],
) -> impl Strategy<Value = Fields> + use<> {
    let one = |(chance, name, values): &(f64, &'static str, &'static [&'static str])| {
        let name = *name;
        weighted(*chance, select(*values))
            .prop_map(move |value| value.map(|value| (name, value.to_owned())))
    };
    fields
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .prop_map(|fields| fields.into_iter().flatten().collect())
}

/// A date so many times ten seconds from the start, in one of the three formats. A tenth of what
/// lies between two of them has whole seconds: the other cache knows no other lifetimes.
fn times(from: i64, to: i64) -> impl Strategy<Value = String> {
    (
        from..to,
        prop_oneof![8 => Just(0), 1 => Just(1), 1 => Just(2)],
    )
        .prop_map(|(tens, format)| {
            let date = date::write(Timestamp::from_millis(
                START.saturating_add_signed(tens * 10_000),
            ));
            let date = date.to_str().expect("ASCII").to_owned();
            // Fri, 15 Jan 2027 08:00:00 GMT
            let (day, month, year, time) =
                (&date[5..7], &date[8..11], &date[14..16], &date[17..25]);
            match format {
                0 => date,
                1 => format!("Friday, {day}-{month}-{year} {time} GMT"),
                _ => format!("Fri {month} {day} {time} 20{year}"),
            }
        })
}

fn header_map(fields: &Fields) -> HeaderMap {
    let pair = |(name, value): &(&'static str, String)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a field value"),
        )
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}
