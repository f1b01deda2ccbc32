//! Whether a response may be stored (RFC 9111, section 3).

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::cache::control::Control;
use crate::cache::freshness::Freshness;
use crate::cache::profile::{Mode, Profile};
use crate::cache::range::Part;
use crate::cache::stored::Stored;
use crate::cache::{freshness, tags, validators, vary};
use crate::message::framing;

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NotStored {
    /// Only answers to GET are stored.
    Method,
    /// The status does not allow it: informational, several parts, an answer to conditions or
    /// ranges; or an error, which the policy's own lifetime is not meant for.
    Status,
    /// The response says `no-store`.
    NoStore,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response says `private`.
    Private,
    /// The request carries Authorization, and the response does not explicitly allow sharing.
    Authorization,
    /// The response sets a cookie, and the origin does not explicitly say how long it may be used.
    SetCookie,
    /// `Vary: *`: no later request can match.
    VaryStar,
    /// Neither a lifetime nor a validator: it could never be used.
    NoLifetime,
    /// The body is larger than the profile allows.
    TooLarge,
    /// The content is of a kind that has no end, such as server-sent events.
    Endless,
    /// Longer tags, or more or longer groups, than can be remembered.
    TooManyTags,
    /// A page under the name of a static file.
    Disguised,
    /// Responses of its path answer for several queries, and this one says nothing of that, or
    /// something else.
    NoVarySearch,
}

impl NotStored {
    /// Returns the name used in JSON and in Cache-Status.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns whether the reason lies in the response, so that it likely holds for the next one
    /// too.
    pub(crate) fn is_about_the_response(self) -> bool {
        match self {
            Self::Method | Self::RequestNoStore | Self::Authorization => false,
            Self::Status
            | Self::NoStore
            | Self::Private
            | Self::SetCookie
            | Self::VaryStar
            | Self::NoLifetime
            | Self::TooLarge
            | Self::Endless
            | Self::TooManyTags
            | Self::Disguised
            | Self::NoVarySearch => true,
        }
    }
}

/// Says whether a response may be stored.
///
/// # Errors
/// Names the first rule that forbids it.
pub fn check(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    control: &Control,
    freshness: &Freshness,
    profile: &Profile,
) -> Result<(), NotStored> {
    let overriding = matches!(profile.mode, Mode::Override { .. });
    deny(method != Method::GET, NotStored::Method)?; // [9111-3-1]
    deny(!may_be_stored(status, response), NotStored::Status)?;
    deny(is_endless(response), NotStored::Endless)?;
    check_directives(status, control)?;
    deny(
        response.contains_key(header::SET_COOKIE)
            && (overriding || !shares_cookies(control, freshness)),
        NotStored::SetCookie,
    )?;
    // [9111-5.2.1.5-1]
    deny(
        Control::read(request, header::CACHE_CONTROL).no_store,
        NotStored::RequestNoStore,
    )?;
    deny(
        request.contains_key(header::AUTHORIZATION) && !shareable(control, profile),
        NotStored::Authorization,
    )?;
    // A 401, 429 or 500 says something about one request; a policy's lifetime would spread it.
    deny(
        overriding && (!understood(status) || status.is_server_error()),
        NotStored::Status,
    )?;
    deny(vary::is_star(response), NotStored::VaryStar)?;
    // RFC 9111, section 3: without a lifetime of its own a response needs a status that has one by
    // default, or `public`. [9111-3-7]
    let by_default = freshness::heuristically_cacheable(status) || control.public;
    deny(!freshness.explicit && !by_default, NotStored::NoLifetime)?;
    deny(
        freshness.lifetime == 0 && !validators::has_validator(response),
        NotStored::NoLifetime,
    )?;
    deny(
        framing::content_length(response).is_some_and(|length| length > profile.body_bytes_max),
        NotStored::TooLarge,
    )
}

/// Says whether a stored response may stay with the fields that the answer to this request has
/// given it.
///
/// # Errors
/// Names the first rule that forbids it.
pub fn check_updated(
    request: &HeaderMap,
    updated: &Stored,
    profile: &Profile,
) -> Result<(), NotStored> {
    let control = Control::of_response(&updated.headers);
    check_directives(updated.status, &control)?;
    let sets_cookie = updated.headers.contains_key(header::SET_COOKIE);
    deny(
        sets_cookie && !shares_cookies(&control, &updated.freshness),
        NotStored::SetCookie,
    )?;
    // What one who is authorized has learned, others may not (RFC 9111, section 3.5).
    deny(
        request.contains_key(header::AUTHORIZATION) && !shareable(&control, profile),
        NotStored::Authorization,
    )?;
    deny(vary::is_star(&updated.headers), NotStored::VaryStar)?;
    // Only how many they are matters here, not whose.
    deny(
        tags::read(&updated.headers, "").is_err(),
        NotStored::TooManyTags,
    )?;
    deny(
        Control::read(request, header::CACHE_CONTROL).no_store,
        NotStored::RequestNoStore,
    )
}

fn check_directives(status: StatusCode, control: &Control) -> Result<(), NotStored> {
    // RFC 9111, section 5.2.2.3: must-understand lets a cache that knows the status ignore
    // no-store. [9111-3-4] [9111-5.2.2.3-2] [9111-5.2.2.5-1]
    deny(
        control.no_store && !(control.must_understand && understood(status)),
        NotStored::NoStore,
    )?;
    deny(
        control.must_understand && !understood(status),
        NotStored::Status,
    )?;
    deny(control.private, NotStored::Private) // [9111-3-5] [9111-5.2.2.7-1]
}

fn deny(condition: bool, why: NotStored) -> Result<(), NotStored> {
    if condition { Err(why) } else { Ok(()) }
}

/// [9111-3-2] [9111-3-3] [9111-3.3-1]
fn may_be_stored(status: StatusCode, response: &HeaderMap) -> bool {
    match status {
        StatusCode::PARTIAL_CONTENT => Part::of(status, response).is_some(),
        _ => !status.is_informational() && !SPEAKS_OF_ONE_REQUEST.contains(&status.as_u16()),
    }
}

/// Returns whether a response is of a kind that goes on as long as somebody listens: what has no
/// end is neither stored nor waited for.
fn is_endless(response: &HeaderMap) -> bool {
    const KINDS: [&str; 5] = [
        "text/event-stream",
        "multipart/x-mixed-replace",
        "application/grpc",
        "application/x-ndjson",
        "application/stream+json",
    ];
    let kind = response
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // A length is an end.
    !response.contains_key(header::CONTENT_LENGTH)
        && KINDS.iter().any(|endless| {
            kind.get(..endless.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(endless))
        })
}

/// The statuses that answer one request, connection or client, and say nothing of what others would
/// get: 226 (RFC 3229, section 10.4.1: a delta), 304, 412 and 416 (conditions and ranges), 407 (the
/// credentials of the next hop), 408 (a request that was not sent to its end), 417 and 426 (Expect
/// and Upgrade), 421 (RFC 9110, section 15.5.20: this connection), 425 (RFC 8470, section 5.2),
/// 428, 429, 431 and 511 (RFC 6585, sections 3 to 6: "MUST NOT be stored by a cache").
const SPEAKS_OF_ONE_REQUEST: [u16; 14] = [
    226, 304, 407, 408, 412, 416, 417, 421, 425, 426, 428, 429, 431, 511,
];

/// Returns whether a response header field tells one client what it may still use of the origin.
/// Kept for others it would be wrong.
pub(crate) fn tells_a_quota(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Few names have this, and every field of every response comes here.
    let may_tell = name
        .as_bytes()
        .windows(5)
        .any(|letters| letters == b"limit");
    may_tell && (name.contains("ratelimit") || name.contains("rate-limit"))
}

/// The statuses whose caching requirements this cache implements.
pub(crate) fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 302 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    )
}

/// RFC 9111, section 3.5. Where the policy's lifetime replaces the origin's, a directive that makes
/// the origin check each use is no permission: nobody would ask it. [9111-3-6] [9111-3.5-1]
fn shareable(control: &Control, profile: &Profile) -> bool {
    match profile.mode {
        Mode::Override { .. } => {
            profile.share_authorized
                || control.public
                || control.s_maxage.is_some_and(|seconds| seconds > 0)
        }
        Mode::Respect | Mode::Never => {
            control.public || control.must_revalidate || control.s_maxage.is_some()
        }
    }
}

/// A cookie is one client's, unless the origin says in so many words that the response may be used
/// for others without asking it again: a guess at a lifetime, or a 304 for another client, must not
/// hand it on. RFC 9111, section 7.3, leaves that to the cache.
fn shares_cookies(control: &Control, freshness: &Freshness) -> bool {
    let named = control.withheld.contains(&header::SET_COOKIE);
    named || freshness.explicit && freshness.lifetime > 0 && !freshness.always_validate
}

#[cfg(test)]
mod tests {
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
}
