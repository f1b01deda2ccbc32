#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::cache::freshness;
use crate::cache::tests_support::{headers, profile};
use crate::time::Timestamp;

fn checked(
    mode: Mode,
    status: u16,
    request: &[(&str, &str)],
    response: &[(&str, &str)],
) -> Result<(), NotStored> {
    let (request, response, profile) = (headers(request), headers(response), profile(mode));
    let status = StatusCode::from_u16(status).unwrap();
    let control = Control::read(&response, header::CACHE_CONTROL);
    let freshness = freshness::of(
        status,
        &response,
        &control,
        &profile,
        Timestamp::from_millis(1_000_000),
    );
    check(
        &Method::GET,
        &request,
        status,
        &response,
        &control,
        &freshness,
        &profile,
    )
}

type Fields<'a> = &'a [(&'a str, &'a str)];

/// [9111-3-3] [9111-3-4] [9111-3-5] [9111-3-6] [9111-5.2.2.3-2]
#[test]
fn respect_stores_what_the_origin_allows() {
    let auth = [("authorization", "Bearer x")];
    let cases: [(Fields<'_>, u16, &str, Result<(), NotStored>); 15] = [
        (&[], 200, "max-age=60", Ok(())),
        (&[], 599, "max-age=60", Ok(())),
        (&[], 206, "max-age=60", Err(NotStored::Status)),
        (&[], 304, "max-age=60", Err(NotStored::Status)),
        (&[], 412, "max-age=60", Err(NotStored::Status)),
        (&[], 416, "max-age=60", Err(NotStored::Status)),
        (&[], 200, "No-Store, max-age=60", Err(NotStored::NoStore)),
        (&[], 200, "no-store, must-understand, max-age=60", Ok(())),
        (
            &[],
            299,
            "must-understand, max-age=60",
            Err(NotStored::Status),
        ),
        (&[], 200, "Private, max-age=60", Err(NotStored::Private)),
        (&[], 200, "", Err(NotStored::NoLifetime)),
        (&auth, 200, "max-age=60", Err(NotStored::Authorization)),
        (&auth, 200, "public, max-age=60", Ok(())),
        (&auth, 200, "s-maxage=60", Ok(())),
        (
            &[("cache-control", "no-store")],
            200,
            "max-age=60",
            Err(NotStored::RequestNoStore),
        ),
    ];
    for (request, status, control, expected) in cases {
        assert_eq!(
            checked(
                Mode::Respect,
                status,
                request,
                &[("cache-control", control)]
            ),
            expected,
            "{status} {control}"
        );
    }
    assert_eq!(
        checked(
            Mode::Respect,
            200,
            &[],
            &[("vary", "a, *"), ("cache-control", "max-age=1")]
        ),
        Err(NotStored::VaryStar)
    );
    assert_eq!(
        checked(Mode::Respect, 200, &[], &[("etag", "\"a\"")]),
        Ok(())
    );
}

#[test]
fn a_cookie_is_shared_only_if_the_origin_says_so() {
    let modified = ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
    for (control, expected) in [
        ("max-age=1", Ok(())),
        ("no-cache=\"set-cookie\"", Ok(())),
        ("", Err(NotStored::SetCookie)),
        ("public", Err(NotStored::SetCookie)),
        ("max-age=0", Err(NotStored::SetCookie)),
        (
            "public, max-age=0, must-revalidate",
            Err(NotStored::SetCookie),
        ),
        ("max-age=1, no-cache", Err(NotStored::SetCookie)),
    ] {
        let response = [
            ("set-cookie", "a=b"),
            ("etag", "\"a\""),
            modified,
            ("cache-control", control),
        ];
        assert_eq!(
            checked(Mode::Respect, 200, &[], &response),
            expected,
            "{control}"
        );
        assert_eq!(
            checked(Mode::Respect, 200, &[], &response[1..]),
            Ok(()),
            "{control}"
        );
    }
}

/// [9111-3-1] [9111-3-2]
#[test]
fn only_final_answers_to_get_are_stored() {
    let (response, profile) = (
        headers(&[("cache-control", "max-age=60")]),
        profile(Mode::Respect),
    );
    let control = Control::read(&response, header::CACHE_CONTROL);
    let of = |method: &Method, status: StatusCode| {
        let freshness = freshness::of(
            status,
            &response,
            &control,
            &profile,
            Timestamp::from_millis(1_000_000),
        );
        check(
            method,
            &HeaderMap::new(),
            status,
            &response,
            &control,
            &freshness,
            &profile,
        )
    };
    assert_eq!(of(&Method::GET, StatusCode::OK), Ok(()));
    assert_eq!(of(&Method::HEAD, StatusCode::OK), Err(NotStored::Method));
    assert_eq!(of(&Method::POST, StatusCode::OK), Err(NotStored::Method));
    assert_eq!(
        of(&Method::GET, StatusCode::EARLY_HINTS),
        Err(NotStored::Status)
    );
    for status in SPEAKS_OF_ONE_REQUEST {
        assert_eq!(
            of(&Method::GET, StatusCode::from_u16(status).unwrap()),
            Err(NotStored::Status),
            "{status}"
        );
    }
    for status in [
        201, 205, 303, 400, 401, 403, 409, 423, 424, 451, 500, 508, 599,
    ] {
        assert_eq!(
            of(&Method::GET, StatusCode::from_u16(status).unwrap()),
            Ok(()),
            "{status}"
        );
    }
}

/// [9111-3-7]
#[test]
fn without_a_lifetime_the_status_must_have_one_by_default() {
    let etag = ("etag", "\"a\"");
    assert_eq!(checked(Mode::Respect, 404, &[], &[etag]), Ok(()));
    assert_eq!(
        checked(Mode::Respect, 302, &[], &[etag]),
        Err(NotStored::NoLifetime)
    );
    assert_eq!(
        checked(
            Mode::Respect,
            302,
            &[],
            &[etag, ("cache-control", "public")]
        ),
        Ok(())
    );
    assert_eq!(
        checked(
            Mode::Respect,
            302,
            &[],
            &[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")]
        ),
        Ok(())
    );
}

#[test]
fn override_shares_with_the_authorized_only_what_is_said_to_be_for_all() {
    let auth = [("authorization", "Bearer x")];
    let mode = Mode::Override { ttl: 60_000 };
    for private in [
        "",
        "no-cache, must-revalidate",
        "max-age=0, must-revalidate",
        "s-maxage=0",
        "must-revalidate",
        "max-age=60",
    ] {
        let response = [("cache-control", private)];
        assert_eq!(
            checked(mode, 200, &auth, &response),
            Err(NotStored::Authorization),
            "{private}"
        );
        assert_eq!(checked(mode, 200, &[], &response), Ok(()), "{private}");
    }
    for shared in ["public", "s-maxage=1", "public, max-age=0, must-revalidate"] {
        assert_eq!(
            checked(mode, 200, &auth, &[("cache-control", shared)]),
            Ok(()),
            "{shared}"
        );
    }
    let sharing = Profile {
        share_authorized: true,
        ..profile(mode)
    };
    assert!(shareable(&Control::default(), &sharing));
    assert!(!shareable(
        &Control::default(),
        &Profile {
            mode: Mode::Respect,
            ..sharing
        }
    ));
}

#[test]
fn override_never_shares_what_is_personal() {
    let mode = Mode::Override { ttl: 60_000 };
    assert_eq!(
        checked(mode, 200, &[], &[("cache-control", "max-age=0")]),
        Ok(())
    );
    assert_eq!(
        checked(mode, 200, &[], &[("set-cookie", "a=b")]),
        Err(NotStored::SetCookie)
    );
    assert_eq!(
        checked(mode, 200, &[], &[("cache-control", "private")]),
        Err(NotStored::Private)
    );
    assert_eq!(checked(mode, 404, &[], &[]), Ok(()));
    for status in [401, 403, 429, 500, 501, 503] {
        assert_eq!(
            checked(mode, status, &[], &[]),
            Err(NotStored::Status),
            "{status}"
        );
    }
    assert_eq!(
        checked(mode, 200, &[], &[("content-length", "99999999999")]),
        Err(NotStored::TooLarge)
    );
}
