#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::cache::tests_support::headers;

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::new(KeySource::Url(
        "https://issuer.test/jwks".into(),
    )))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

fn answer(status: u16, fields: &[(&'static str, &str)]) -> response::Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::from_u16(status).unwrap();
    head.headers = headers(fields);
    head
}

/// Fetches, and says what operators are told.
fn fetch(keyring: &Arc<Keyring>, head: &response::Parts, body: &str, now: Timestamp) -> String {
    let fetch = keyring.begin(now).expect("it is time");
    assert!(keyring.begin(now).is_none(), "one at a time");
    let news = fetch.done(Ok((head, body.as_bytes())), now);
    news.map_or_else(String::new, |news| news.to_string())
}

#[test]
fn a_set_is_fetched_when_its_time_is_over() {
    for (fields, lifetime) in [
        (&[][..], 600),
        (&[("cache-control", "max-age=300")], 300),
        (&[("cache-control", "max-age=5")], 60),
        (&[("cache-control", "no-store")], 600),
        (&[("cache-control", "public, max-age=9999999")], 86_400),
    ] {
        let keyring = keyring();
        assert!(keyring.keys().is_none());
        assert_eq!(fetch(&keyring, &answer(200, fields), KEYS, at(0)), "");
        assert!(keyring.keys().is_some());
        assert!(keyring.begin(at(lifetime - 1)).is_none(), "{fields:?}");
        assert!(keyring.begin(at(lifetime)).is_some(), "{fields:?}");
    }
}

#[test]
fn a_fetch_that_fails_leaves_what_is_known_and_is_told_once() {
    let keyring = keyring();
    let (good, bad) = (answer(200, &[]), answer(503, &[]));
    let told = fetch(&keyring, &bad, KEYS, at(0));
    assert!(
        told.contains("status 503") && told.contains("no token is verified"),
        "{told}"
    );
    assert!(keyring.keys().is_none());
    assert!(keyring.begin(at(4)).is_none());
    assert_eq!(fetch(&keyring, &good, "<html>", at(5)), "", "told already");
    assert!(fetch(&keyring, &good, KEYS, at(10)).contains("known again"));
    let known = keyring.keys().unwrap();
    for (position, body) in ["", "{}", r#"{"keys":[]}"#, "\u{1}"].iter().enumerate() {
        let now = at(610 + 30 * position as u64);
        let told = fetch(&keyring, &good, body, now);
        assert_eq!(told.contains("are used meanwhile"), position == 0, "{told}");
        assert!(Arc::ptr_eq(&keyring.keys().unwrap(), &known));
        assert!(keyring.begin(now.plus(29_999)).is_none());
    }
}

#[test]
fn a_key_that_is_not_known_causes_a_fetch_in_half_a_minute() {
    let keyring = keyring();
    let good = answer(200, &[]);
    assert!(keyring.want(at(0)), "the first");
    assert!(!keyring.is_settled(at(0)));
    fetch(&keyring, &good, KEYS, at(0));
    assert!(keyring.is_settled(at(0)));
    for second in 0..30 {
        assert!(!keyring.want(at(second)));
        assert!(keyring.begin(at(second)).is_none());
    }
    assert!(keyring.want(at(30)));
    let under_way = keyring.begin(at(30)).unwrap();
    assert!(keyring.want(at(31)), "others wait for the same");
    assert!(!keyring.is_settled(at(31)));
    assert!(
        under_way
            .done(Ok((&good, KEYS.as_bytes())), at(32))
            .is_none()
    );
    assert!(keyring.is_settled(at(32)));
    assert!(
        !keyring.want(at(59)),
        "it is counted from where the last began"
    );
    assert!(keyring.want(at(60)));
}

#[test]
fn a_set_that_is_long_over_is_waited_for_unless_it_cannot_be_fetched() {
    let keyring = keyring();
    assert!(!keyring.is_late(at(0)), "there is none");
    fetch(&keyring, &answer(200, &[]), KEYS, at(0));
    assert!(!keyring.is_late(at(659)) && keyring.is_late(at(660)));
    fetch(&keyring, &answer(500, &[]), "", at(660));
    assert!(!keyring.is_late(at(10_000)));
    fetch(&keyring, &answer(200, &[]), KEYS, at(10_000));
    assert!(!keyring.is_late(at(10_000)) && keyring.is_late(at(10_660)));
    let keys = Arc::new(KeySet::read(KEYS).unwrap());
    assert!(!Keyring::new(KeySource::Given(keys)).is_late(at(0)));
}

#[test]
fn a_fetch_that_is_lost_or_never_ends_is_made_again() {
    let keyring = keyring();
    drop(keyring.begin(at(0)).unwrap());
    assert!(keyring.is_settled(at(1)) && keyring.begin(at(4)).is_none());
    let late = keyring.begin(at(5)).unwrap();
    assert!(keyring.begin(at(10)).is_none());
    let next = keyring.begin(at(11)).expect("nobody ended it");
    let good = answer(200, &[]);
    assert_eq!(late.done(Ok((&good, KEYS.as_bytes())), at(12)), None);
    assert!(
        keyring.keys().is_none(),
        "what comes after its time is not used"
    );
    assert_eq!(next.done(Ok((&good, KEYS.as_bytes())), at(12)), None);
    assert!(keyring.keys().is_some());
}

#[test]
fn a_clock_that_is_set_back_delays_nothing() {
    let keyring = keyring();
    fetch(&keyring, &answer(200, &[]), KEYS, at(1_000_000));
    assert!(keyring.begin(at(0)).is_some());
}

#[test]
fn keys_that_are_given_are_not_fetched() {
    let keys = Arc::new(KeySet::read(KEYS).unwrap());
    let given = Arc::new(Keyring::new(KeySource::Given(keys)));
    let secret = Arc::new(Keyring::new(KeySource::Secret("NAME".into())));
    for keyring in [&given, &secret] {
        assert!(keyring.begin(at(0)).is_none() && !keyring.want(at(0)));
    }
    assert!(given.keys().is_some() && secret.keys().is_none());
    assert_eq!(secret.secret_name(), Some("NAME"));
}
