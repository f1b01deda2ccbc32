//! An origin has answered, or none has: what that means for the reply and for what is stored.

use std::sync::Arc;

use http::{Method, StatusCode, header, response};

use super::fill::Fill;
use super::reply::{Draft, Refused, Source};
use super::state::{Answered, Cacheable, Caching, Exchange};
use super::step::Step;
use super::{bypass, finish, invalidate, serve, store};
use crate::cache::{Mode, Profile, SentAt, Stored, key, stale, storable, told, validation};
use crate::message::{hop_by_hop, location, syntax, unkeyed};
use crate::purge::label::Resource;
use crate::report::CacheOutcome;
use crate::time::Timestamp;

/// Answers with an origin's response, or with the stored one that it confirms or cannot replace.
pub(super) fn from_origin(answered: Answered, now: Timestamp) -> Step {
    let Answered {
        mut exchange,
        caching,
        mut head,
        asked,
    } = answered;
    if let Some(report) = &mut exchange.report.cache {
        report.fetched_status = Some(head.status.as_u16());
    }
    for taken in &mut exchange.taken {
        taken.answered(&head.headers, head.status.is_server_error());
    }
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        hop_by_hop::strip_hop_by_hop(&mut head.headers);
    }
    let Some(mut caching) = caching else {
        return uncached(exchange, head, asked, now);
    };
    if let Some(stored) = caching.confirmed(&head) {
        return serve::confirmed(
            Cacheable {
                exchange,
                caching,
                head,
                asked,
            },
            &stored,
            now,
        );
    }
    caching.forget_void(&exchange);
    let candidate = caching.candidate.clone();
    let answered = Cacheable {
        exchange,
        caching,
        head,
        asked,
    };
    let Some(candidate) = candidate else {
        return store::answer(answered, now);
    };
    if is_error(answered.head.status) && stands_in(&candidate, now) {
        let Cacheable {
            exchange, caching, ..
        } = answered;
        return serve::stored(
            exchange,
            &caching,
            &candidate,
            CacheOutcome::StaleIfError,
            None,
            now,
        );
    }
    let is_head = answered.exchange.request.head.method == Method::HEAD;
    if is_head && answered.head.status == StatusCode::OK {
        return head_answered(answered, &candidate, now);
    }
    // [9111-4.3.3-1]
    store::answer(answered, now)
}

/// Answers when no origin did: with a stale stored response if one may be used, else with a
/// refusal. [9111-4.2.4-2] [9111-5.2.2.2-3] [9111-5.2.2.2-4]
pub(super) fn failed(
    mut exchange: Box<Exchange>,
    caching: Option<Caching>,
    refused: Refused,
    now: Timestamp,
) -> Step {
    exchange.report.retry_after_ms = refused.retry_after;
    for taken in &mut exchange.taken {
        taken.failed();
    }
    let Some(mut caching) = caching else {
        return finish::refuse(exchange, refused, now);
    };
    caching.forget_void(&exchange);
    let candidate = caching.candidate.clone();
    match candidate.filter(|candidate| stale::usable_when_disconnected(candidate, now)) {
        Some(candidate) => serve::stored(
            exchange,
            &caching,
            &candidate,
            CacheOutcome::StaleIfError,
            None,
            now,
        ),
        None => finish::refuse(exchange, refused, now),
    }
}

/// RFC 5861, section 4: the errors that a stale response may stand in for.
fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// An error is no better than another one.
fn stands_in(candidate: &Stored, now: Timestamp) -> bool {
    !candidate.status.is_server_error() && stale::usable_on_error(candidate, now)
}

/// Answers what the store had no part in. It may end the use of what is stored, and a POST may
/// leave what a later GET gets (RFC 9110, section 9.3.3).
fn uncached(
    mut exchange: Box<Exchange>,
    head: response::Parts,
    asked: SentAt,
    now: Timestamp,
) -> Step {
    if !invalidate::changes(&exchange, head.status) {
        return finish::conclude(exchange, Draft::new(head, Source::Origin), now);
    }
    let own = invalidate::own_location(&exchange);
    let purges = invalidate::purges(
        &exchange,
        own.as_ref().map(|location| location.profile),
        &head.headers,
    );
    let invalidate = own.iter().map(|location| location.key.clone()).collect();
    let own = own.filter(|location| speaks_for_get(&exchange, location.profile, &head));
    let fill = own.and_then(|location| {
        store::fill(&exchange, &Method::GET, location, &head, asked, now).ok()
    });
    let fill = fill.filter(|fill| fill.head.freshness.explicit);
    if let (Some(report), Some(fill)) = (&mut exchange.report.cache, &fill) {
        store::note(report, &fill.head);
    }
    finish::conclude(
        exchange,
        Draft {
            fill,
            invalidate,
            purges,
            ..Draft::new(head, Source::Origin)
        },
        now,
    )
}

/// Returns whether the response to a POST says that a GET of the same URL would get it, and was
/// asked for as a GET would have been. How long it may be used the origin must say, not the policy.
fn speaks_for_get(exchange: &Exchange, profile: &Profile, head: &response::Parts) -> bool {
    let own = Resource::of(&exchange.request);
    let fields = &exchange.request.head.headers;
    let as_for_get = profile.mode == Mode::Respect
        && bypass::bypass_by_fields(fields, profile).is_none()
        && !unkeyed::has_unverified_fields(&exchange.request, &profile.key_headers);
    let named = syntax::text(&head.headers, header::CONTENT_LOCATION);
    let named = named.and_then(|reference| location::at_same_origin(&exchange.request, reference));
    as_for_get
        && exchange.request.head.method == Method::POST
        && head.status == StatusCode::OK
        && named.is_some_and(|(path, query)| path == own.path && query.as_deref() == own.query)
}

/// RFC 9111, section 4.3.5: the answer to a HEAD updates the stored response that it describes, and
/// makes another one stale. [9111-4.3.5-1] [9111-4.3.5-3] [9111-4.3.5-4]
fn head_answered(answered: Cacheable, candidate: &Arc<Stored>, now: Timestamp) -> Step {
    let Cacheable {
        mut exchange,
        caching,
        mut head,
        asked,
    } = answered;
    let same = validation::describes(&head.headers, candidate);
    let Caching {
        profile, key, lead, ..
    } = caching;
    let stored = if same {
        serve::updated(&exchange, &profile, candidate, &head.headers, asked, now)
    } else {
        candidate.outdated(now)
    };
    let allowed = storable::check_updated(&exchange.request.head.headers, &stored, &profile);
    let allowed = allowed.and_then(|()| key::check_rule(&profile, candidate, &stored));
    told::write(&mut head, &profile, same && allowed.is_ok());
    if let Err(why) = allowed {
        let invalidate = serve::note_forbidden(&mut exchange, why, key);
        return finish::conclude(
            exchange,
            Draft {
                invalidate,
                ..Draft::new(head, Source::Origin)
            },
            now,
        );
    }
    if let Some(report) = exchange.report.cache.as_mut().filter(|_| same) {
        store::note(report, &stored);
    }
    let fill = Fill::refresh(key, Arc::new(stored), candidate, &profile, lead);
    finish::conclude(
        exchange,
        Draft {
            fill: Some(fill),
            ..Draft::new(head, Source::Origin)
        },
        now,
    )
}
