//! How long a response is fresh, and how old it was when it came (RFC 9111, section 4.2).

use http::{HeaderMap, StatusCode, header};

use crate::cache::control::{Control, Window, seconds};
use crate::cache::date;
use crate::cache::profile::{Mode, Profile};
use crate::message::syntax::split_list;
use crate::packed::packed_struct;
use crate::time::{Millis, Timestamp};

/// How long a stale response may stand in for origins that cannot be reached, if neither it nor the
/// policy says so.
const KEPT_FOR_THE_DISCONNECTED: Millis = 3_600_000;

/// How long a response may be used, as told by the origin or the policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Freshness lifetime; 0 when nothing gives one.
    pub lifetime: Millis,
    /// Whether the origin or the policy gave the lifetime, rather than a heuristic.
    pub explicit: bool,
    /// How long after it a response may be served while it is revalidated.
    pub grace: Millis,
    /// How long after it a response may be served in place of an origin's error (RFC 5861, section
    /// 4).
    pub stale_if_error: Millis,
    /// How long after it a response may be served when no origin answers at all (RFC 9111, section
    /// 4.2.4).
    pub stale_if_disconnected: Millis,
    /// Whether every use needs validation.
    pub always_validate: bool,
}

packed_struct!(Freshness {
    lifetime,
    explicit,
    grace,
    stale_if_error,
    stale_if_disconnected,
    always_validate,
});

/// Computes the lifetimes of a response received at `received`.
pub fn of(
    status: StatusCode,
    headers: &HeaderMap,
    control: &Control,
    profile: &Profile,
    received: Timestamp,
) -> Freshness {
    let (lifetime, explicit) = match profile.mode {
        Mode::Override { ttl } => (profile.lifetimes.of(status, ttl), true),
        Mode::Respect | Mode::Never => match explicit_lifetime(headers, control, received) {
            Some(lifetime) => (lifetime, true),
            // [9111-4.2.2-1]
            None => (
                heuristic_lifetime(status, headers, control, received),
                false,
            ),
        },
    };
    // RFC 9111, section 5.2.2.10: s-maxage includes proxy-revalidate for shared caches.
    // [9111-5.2.2.10-1]
    let must_validate_when_stale =
        control.must_revalidate || control.proxy_revalidate || control.s_maxage.is_some();
    let respected = profile.mode == Mode::Respect;
    // [9111-5.2.2.2-2] [9111-5.2.2.8-1]
    let forbidden = respected && (control.must_revalidate || control.proxy_revalidate);
    let sets_cookie =
        headers.contains_key(header::SET_COOKIE) && !control.withheld.contains(&header::SET_COOKIE);
    let window = |told: Option<Window>, configured: Millis| match told {
        Some(_) | None if forbidden => 0,
        Some(Window::Seconds(told)) if respected => told.saturating_mul(1000),
        // RFC 9111, section 4.2.4: a prohibition by the origin wins, unless the policy overrides
        // lifetimes anyway. [9111-4.2.4-1]
        None if respected && must_validate_when_stale => 0,
        // What was fresh for nobody else is stale for nobody else: it may be one client's page. And
        // a cookie lives no longer than its response.
        Some(_) | None if respected && (lifetime == 0 || sets_cookie) => 0,
        // An origin that allows it without saying for how long leaves that to the policy.
        Some(_) | None => configured,
    };
    // An error or a redirect of a moment must not outlive it by far.
    let bounded = |grace: Millis| {
        if respected || status.is_success() {
            grace
        } else {
            grace.min(lifetime)
        }
    };
    Freshness {
        lifetime,
        explicit,
        grace: bounded(window(control.stale_while_revalidate, profile.grace)),
        stale_if_error: window(control.stale_if_error, profile.stale_if_error.unwrap_or(0)),
        stale_if_disconnected: window(
            control.stale_if_error,
            profile.stale_if_error.unwrap_or(KEPT_FOR_THE_DISCONNECTED),
        ),
        always_validate: control.no_cache && respected,
    }
}

/// RFC 9111, section 4.2.1: s-maxage, then max-age, then Expires minus Date. [9111-5.3-2]
/// [9111-5.3-3]
fn explicit_lifetime(
    headers: &HeaderMap,
    control: &Control,
    received: Timestamp,
) -> Option<Millis> {
    if let Some(told) = control.s_maxage.or(control.max_age) {
        return Some(told.saturating_mul(1000));
    }
    if control.targeted {
        return None;
    }
    headers.get(header::EXPIRES)?;
    // RFC 9111, section 5.3: an invalid date, especially "0", is in the past. Several lines are
    // invalid too. [9111-5.3-1]
    if headers.get_all(header::EXPIRES).iter().count() > 1 {
        return Some(0);
    }
    let date = date::read(headers, header::DATE, received).unwrap_or(received);
    Some(date::read(headers, header::EXPIRES, received).map_or(0, |expires| expires.since(date)))
}

/// RFC 9111, section 4.2.2: a tenth of the time since the last modification, at most a day.
fn heuristic_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    control: &Control,
    received: Timestamp,
) -> Millis {
    if control.malformed || !(heuristically_cacheable(status) || control.public) {
        return 0;
    }
    let date = date::read(headers, header::DATE, received).unwrap_or(received);
    date::read(headers, header::LAST_MODIFIED, received)
        .map_or(0, |modified| (date.since(modified) / 10).min(86_400_000))
}

/// RFC 9110, section 15.1.
pub(super) fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// RFC 9111, section 4.2.3: `corrected_initial_age`. Dates have whole seconds, so the apparent age
/// is counted in them. A lifetime of the policy's own counts from now, an origin's from when it
/// made the response. [9111-4.2.3-1]
pub fn initial_age(
    headers: &HeaderMap,
    profile: &Profile,
    requested: Timestamp,
    received: Timestamp,
) -> Millis {
    if matches!(profile.mode, Mode::Override { .. }) {
        return 0;
    }
    let apparent = date::read(headers, header::DATE, received).map_or(0, |date| {
        received
            .as_secs()
            .saturating_sub(date.as_secs())
            .saturating_mul(1000)
    });
    let corrected = age_value(headers)
        .saturating_mul(1000)
        .saturating_add(received.since(requested));
    apparent.max(corrected)
}

/// RFC 9111, section 5.1: the first member of the first line [9111-5.1-1]; what is not a number is
/// ignored [9111-5.1-2].
fn age_value(headers: &HeaderMap) -> u64 {
    let Some(line) = headers.get(header::AGE) else {
        return 0;
    };
    split_list(line.as_bytes()).next().map_or(0, seconds)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::cache::profile::Lifetimes;
    use crate::cache::tests_support::{headers, profile};

    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);

    fn lifetime(lines: &[(&str, &str)]) -> (Millis, bool) {
        let headers = headers(lines);
        let control = Control::read(&headers, header::CACHE_CONTROL);
        let freshness = of(
            StatusCode::OK,
            &headers,
            &control,
            &profile(Mode::Respect),
            NOW,
        );
        (freshness.lifetime, freshness.explicit)
    }

    /// [9111-5.2.2-1] [9111-5.3-1] [9111-5.3-2] [9111-5.3-3]
    #[test]
    fn s_maxage_wins_over_max_age_over_expires() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        assert_eq!(
            lifetime(&[("cache-control", "max-age=10, s-maxage=20"), expires]),
            (20_000, true)
        );
        assert_eq!(
            lifetime(&[("cache-control", "max-age=10"), expires]),
            (10_000, true)
        );
        assert_eq!(lifetime(&[expires]), (60_000, true));
        assert_eq!(lifetime(&[("expires", "0")]), (0, true));
        assert_eq!(lifetime(&[]), (0, false));
    }

    /// [9111-4.2.2-1]
    #[test]
    fn a_heuristic_is_a_tenth_of_the_time_since_modification() {
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:48:37 GMT");
        assert_eq!(lifetime(&[modified]), (6000, false));
        assert_eq!(lifetime(&[modified, ("expires", "0")]), (0, true));
        assert_eq!(
            lifetime(&[("last-modified", "Sun, 06 Nov 1983 08:48:37 GMT")]),
            (86_400_000, false)
        );
    }

    /// [9111-4.2.4-1] [9111-5.2.2.2-2] [9111-5.2.2.8-1] [9111-5.2.2.10-1]
    #[test]
    fn a_prohibition_of_the_origin_ends_grace_and_keep() {
        let windows = |value: &str, stale_if_error: Option<Millis>| {
            let headers = headers(&[("cache-control", value)]);
            let control = Control::read(&headers, header::CACHE_CONTROL);
            let mut profile = profile(Mode::Respect);
            (profile.grace, profile.stale_if_error) = (5000, stale_if_error);
            let freshness = of(StatusCode::OK, &headers, &control, &profile, NOW);
            (
                freshness.grace,
                freshness.stale_if_error,
                freshness.stale_if_disconnected,
            )
        };
        let kept = |value: &str| windows(value, Some(7000));
        assert_eq!(kept("max-age=1"), (5000, 7000, 7000));
        assert_eq!(windows("max-age=1", None), (5000, 0, 3_600_000));
        assert_eq!(
            kept("max-age=1, stale-while-revalidate=2, stale-if-error=3"),
            (2000, 3000, 3000)
        );
        for forbidding in [
            "must-revalidate",
            "proxy-revalidate",
            "must-revalidate, stale-while-revalidate=2",
        ] {
            assert_eq!(
                kept(&format!("max-age=1, {forbidding}")),
                (0, 0, 0),
                "{forbidding}"
            );
        }
        assert_eq!(kept("s-maxage=1"), (0, 0, 0));
        assert_eq!(kept("s-maxage=1, stale-while-revalidate=2"), (2000, 0, 0));
        assert_eq!(kept("s-maxage=1, stale-while-revalidate"), (5000, 0, 0));
        assert_eq!(
            kept("max-age=1, stale-if-error, stale-while-revalidate"),
            (5000, 7000, 7000)
        );
        assert_eq!(kept("max-age=1, stale-while-revalidate=x"), (0, 7000, 7000));
        assert_eq!(
            kept("s-maxage=1, must-revalidate, stale-while-revalidate"),
            (0, 0, 0)
        );
    }

    #[test]
    fn what_is_no_success_has_a_lifetime_of_its_own() {
        let mut profile = profile(Mode::Override { ttl: 1_000_000 });
        profile.grace = 500_000;
        let of = |profile: &Profile, status: u16| {
            let (status, headers) = (
                StatusCode::from_u16(status).unwrap(),
                headers(&[("cache-control", "max-age=9999")]),
            );
            let control = Control::read(&headers, header::CACHE_CONTROL);
            let freshness = of(status, &headers, &control, profile, NOW);
            (freshness.lifetime, freshness.grace)
        };
        assert_eq!(
            [of(&profile, 200), of(&profile, 203), of(&profile, 206)],
            [(1_000_000, 500_000); 3]
        );
        assert_eq!(
            [of(&profile, 301), of(&profile, 302), of(&profile, 308)],
            [(60_000, 60_000); 3]
        );
        assert_eq!(
            [of(&profile, 404), of(&profile, 410)],
            [(10_000, 10_000); 2]
        );
        profile.lifetimes = Lifetimes {
            redirects: 1,
            errors: 2,
            statuses: vec![(StatusCode::GONE, 9_000_000)],
        };
        assert_eq!(
            [of(&profile, 302), of(&profile, 404), of(&profile, 410)],
            [(1, 1), (2, 2), (9_000_000, 500_000)]
        );
    }

    /// [9111-4.2.3-1] [9111-5.1-1] [9111-5.1-2]
    #[test]
    fn the_initial_age_is_the_larger_of_apparent_and_told() {
        let age = |lines: &[(&str, &str)]| {
            initial_age(&headers(lines), &profile(Mode::Respect), NOW, NOW.plus(500))
        };
        assert_eq!(age(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT")]), 30_000);
        assert_eq!(
            age(&[("age", "40"), ("date", "Sun, 06 Nov 1994 08:49:07 GMT")]),
            40_500
        );
        assert_eq!(age(&[("age", "40, 90")]), 40_500);
        assert_eq!(
            age(&[
                ("age", "nonsense"),
                ("date", "Sun, 06 Nov 1994 09:49:37 GMT")
            ]),
            500
        );
        assert_eq!(age(&[("age", "99999999999999999999999")]), u64::MAX);
    }
}
