#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::cache::profile::Mode;
use crate::cache::tests_support::{headers, profile, stored};

fn evaluated(request: &[(&str, &str)], response: &[(&str, &str)]) -> Condition {
    evaluate(
        &Method::GET,
        &headers(request),
        StatusCode::OK,
        &headers(response),
        NOW,
    )
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

/// [9111-4.3.2-3]
#[test]
fn entity_tags_win_over_dates() {
    let response = [("etag", "W/\"a\""), ("last-modified", DAY)];
    let answered_304 =
        |request: &[(&str, &str)]| evaluated(request, &response) == Condition::NotModified;
    assert!(answered_304(&[("if-none-match", "\"x\", \"a\"")]));
    assert!(answered_304(&[("if-none-match", "*")]));
    assert!(!answered_304(&[
        ("if-none-match", "\"x\""),
        ("if-modified-since", DAY)
    ]));
    assert!(answered_304(&[("if-modified-since", DAY)]));
    assert!(!answered_304(&[("if-modified-since", BEFORE)]));
    assert!(!answered_304(&[("if-modified-since", "nonsense")]));
    assert!(!answered_304(&[]));
    let undated = |since| evaluated(&[("if-modified-since", since)], &[("date", DAY)]);
    assert_eq!(
        (undated(DAY), undated(BEFORE)),
        (Condition::NotModified, Condition::Holds)
    );
}

#[test]
fn what_a_client_requires_comes_first() {
    let response = [("etag", "\"a\""), ("last-modified", DAY)];
    let fails = |request: &[(&str, &str)]| evaluated(request, &response) == Condition::Failed;
    assert!(!fails(&[("if-match", "\"x\", \"a\"")]) && !fails(&[("if-match", "*")]));
    assert!(fails(&[("if-match", "\"x\"")]) && fails(&[("if-match", "W/\"a\"")]));
    assert!(fails(&[("if-match", "\"x\""), ("if-none-match", "\"a\"")]));
    assert!(fails(&[("if-unmodified-since", BEFORE)]) && !fails(&[("if-unmodified-since", DAY)]));
    assert!(!fails(&[
        ("if-match", "*"),
        ("if-unmodified-since", BEFORE)
    ]));
    assert_eq!(
        evaluated(&[("if-match", "W/\"a\"")], &[("etag", "W/\"a\"")]),
        Condition::Failed
    );
    assert_eq!(
        evaluated(&[("if-unmodified-since", BEFORE)], &[]),
        Condition::Holds
    );
    let other = evaluate(
        &Method::GET,
        &headers(&[("if-match", "\"x\"")]),
        StatusCode::NOT_FOUND,
        &headers(&[]),
        NOW,
    );
    assert_eq!(other, Condition::Holds);
}

/// [9111-3.2-1] [9111-3.2-2]
#[test]
fn a_304_updates_fields_but_not_those_of_the_body() {
    let old = stored(&[
        ("cache-control", "max-age=1"),
        ("content-length", "5"),
        ("x", "old"),
        ("etag", "\"a\""),
    ]);
    let fresh = headers(&[
        ("cache-control", "max-age=9"),
        ("content-length", "0"),
        ("x", "new"),
        ("x", "newer"),
        ("etag", "\"a\""),
    ]);
    let old = Stored {
        labels: vec![9],
        ..old
    };
    let now = Timestamp::from_millis(1_700_000_100_000);
    let updated = update(
        &old,
        &fresh,
        &profile(Mode::Respect),
        SentAt { at: now, epoch: 3 },
        "",
        now,
    );
    assert_eq!(updated.headers.get("content-length").unwrap(), "5");
    assert_eq!(updated.headers.get_all("x").iter().count(), 2);
    assert_eq!(
        (updated.epoch, updated.labels.as_slice()),
        (3, &[9][..]),
        "a purge of its URL reaches it still"
    );
    assert_eq!(
        (
            updated.freshness.lifetime,
            updated.received,
            updated.initial_age
        ),
        (9000, now, 0)
    );
}

/// [9111-4.3.4-1]
#[test]
fn a_304_speaks_of_the_response_with_its_tag() {
    let tagged = |tag: &str| Arc::new(stored(&[("etag", tag)]));
    let (own, other) = (tagged("\"a\""), tagged("W/\"b\""));
    let others = [Arc::clone(&other)];
    let found = |lines: &[(&str, &str)], others: &[Arc<Stored>]| {
        confirmed(&headers(lines), Some(&own), others)
    };
    assert_eq!(
        found(&[("etag", "W/\"a\"")], &others),
        Some(Arc::clone(&own))
    );
    assert_eq!(
        found(&[("etag", "W/\"b\"")], &others),
        Some(Arc::clone(&other))
    );
    assert_eq!(
        found(&[("etag", "\"b\"")], &others),
        None,
        "a strong tag does not speak of a weak one"
    );
    let dated = Arc::new(stored(&[("last-modified", DAY)]));
    let by_date =
        |date: &str| confirmed(&headers(&[("last-modified", date)]), Some(&dated), &[]).is_some();
    assert!(by_date(DAY) && !by_date(BEFORE));
    assert_eq!(found(&[("etag", "\"c\"")], &others), None);
    assert_eq!(found(&[], &others), None);
    assert_eq!(found(&[], &[]), Some(Arc::clone(&own)));
}

/// [9111-4.3.1-1] [9111-4.3.1-2]
#[test]
fn validation_replaces_the_clients_conditions() {
    let mut request = headers(&[
        ("if-none-match", "\"client\""),
        ("if-match", "*"),
        ("accept", "a"),
    ]);
    let (ours, other) = (
        stored(&[("etag", "\"ours\"")]),
        stored(&[("etag", "W/\"x\""), ("last-modified", DAY)]),
    );
    let (ours, other) = (Arc::new(ours), Arc::new(other));
    make_conditional(
        &mut request,
        Some(&ours),
        &[Arc::clone(&other), Arc::clone(&ours)],
    );
    assert_eq!(
        request,
        headers(&[("accept", "a"), ("if-none-match", "\"ours\", W/\"x\"")])
    );
    make_conditional(&mut request, Some(&other), &[]);
    let both = [
        ("accept", "a"),
        ("if-none-match", "W/\"x\""),
        ("if-modified-since", DAY),
    ];
    assert_eq!(request, headers(&both));
}

/// [9111-4.3.5-2]
#[test]
fn only_a_date_is_a_validator() {
    for (modified, expected) in [
        (DAY, true),
        ("Friday, 15-Jan-27 08:00:00 GMT", true),
        ("yesterday", false),
    ] {
        let stored = stored(&[("last-modified", modified)]);
        assert_eq!(has_validator(&stored.headers), expected, "{modified}");
        let mut request = headers(&[]);
        make_conditional(&mut request, Some(&Arc::new(stored)), &[]);
        assert_eq!(
            request.contains_key("if-modified-since"),
            expected,
            "{modified}"
        );
    }
}

#[test]
fn a_head_describes_what_has_its_validators_and_length() {
    let own = stored(&[("etag", "\"a\""), ("content-length", "5")]);
    assert!(describes(
        &headers(&[("content-length", "5")]),
        &stored(&[("content-length", "5")])
    ));
    let describes = |lines: &[(&str, &str)]| describes(&headers(lines), &own);
    assert!(describes(&[
        ("etag", "\"a\""),
        ("content-length", "5"),
        ("x", "y")
    ]));
    assert!(
        !describes(&[]) && !describes(&[("content-length", "5")]),
        "it was asked whether it has changed"
    );
    assert!(!describes(&[("etag", "\"b\"")]) && !describes(&[("content-length", "6")]));
    assert!(!describes(&[("last-modified", DAY)]));
}
