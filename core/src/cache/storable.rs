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
use crate::message::syntax::text;

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
    let kind = text(response, header::CONTENT_TYPE).unwrap_or_default();
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
mod tests;
