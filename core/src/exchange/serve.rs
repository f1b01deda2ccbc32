//! Stored responses are served: whole, in parts, or as the 304 or 412 that the client's conditions
//! ask for.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, response};

use super::background::Background;
use super::fill::Fill;
use super::reply::{Draft, Source};
use super::state::{Cacheable, Caching, Exchange};
use super::step::Step;
use super::{conditions, finish, lead};
use crate::cache::range::Given;
use crate::cache::storable::NotStored;
use crate::cache::{
    CacheKey, Profile, SentAt, Stored, key, range, storable, told, validation, vary,
};
use crate::problem;
use crate::problem::Refusal;
use crate::report::CacheOutcome;
use crate::time::Timestamp;

/// Answers with a stored response.
pub(super) fn stored(
    mut exchange: Box<Exchange>,
    caching: &Caching,
    stored: &Arc<Stored>,
    outcome: CacheOutcome,
    background: Option<Background>,
    now: Timestamp,
) -> Step {
    note(&mut exchange, stored, outcome, now);
    if let Some(report) = &mut exchange.report.cache {
        report.revalidates = background.is_some();
    }
    let (head, source) = from_store(&mut exchange, &caching.profile, true, stored, stored, now);
    finish::conclude(
        exchange,
        Draft {
            background,
            ..Draft::new(head, source)
        },
        now,
    )
}

/// Answers with the stored response that the origin has confirmed. [9111-4.3.2-5]
pub(super) fn confirmed(answered: Cacheable, stored: &Arc<Stored>, now: Timestamp) -> Step {
    let Cacheable {
        mut exchange,
        caching,
        head: response::Parts {
            headers: not_modified,
            ..
        },
        asked,
    } = answered;
    let Caching {
        profile, key, lead, ..
    } = caching;
    let updated = updated(&exchange, &profile, stored, &not_modified, asked, now);
    let updated = Arc::new(updated);
    note(&mut exchange, &updated, CacheOutcome::Revalidated, now);
    // A 304 may forbid what the stored response allowed.
    let allowed = storable::check_updated(&exchange.request.head.headers, &updated, &profile);
    let allowed = allowed.and_then(|()| key::check_rule(&profile, stored, &updated));
    let promised = allowed.is_ok() && !not_modified.contains_key(header::SET_COOKIE);
    let (mut head, source) = from_store(&mut exchange, &profile, promised, &updated, stored, now);
    let revoked = allowed.is_err_and(NotStored::is_about_the_response);
    if revoked || not_modified.contains_key(header::SET_COOKIE) {
        // These cookies are this client's; they are not merged into what all get.
        head.headers.remove(header::SET_COOKIE);
        head.headers.extend(
            not_modified
                .get_all(header::SET_COOKIE)
                .iter()
                .map(|c| (header::SET_COOKIE, c.clone())),
        );
    }
    if let Err(why) = allowed {
        let invalidate = note_forbidden(&mut exchange, why, key);
        lead::end_unshared(lead.filter(|_| !invalidate.is_empty()), now);
        return finish::conclude(
            exchange,
            Draft {
                invalidate,
                ..Draft::new(head, source)
            },
            now,
        );
    }
    if let Some(report) = &mut exchange.report.cache {
        report.stored = true;
    }
    let lead = lead::while_useful_to_others(lead, &updated, now);
    let fill = Fill::refresh(key, updated, stored, &profile, lead);
    finish::conclude(
        exchange,
        Draft {
            fill: Some(fill),
            ..Draft::new(head, source)
        },
        now,
    )
}

/// Updates a stored response by the answer to this request, a 304 or that to a HEAD.
pub(super) fn updated(
    exchange: &Exchange,
    profile: &Profile,
    stored: &Stored,
    answer: &HeaderMap,
    asked: SentAt,
    now: Timestamp,
) -> Stored {
    let request = &exchange.request;
    let mut updated = validation::update(stored, answer, profile, asked, request.host(), now);
    let is_another = !vary::matches(&stored.vary, &stored.headers, &request.head.headers);
    // Another variant than those stored, with the same body as one of them; or the origin chooses
    // by other fields now.
    if is_another || answer.contains_key(header::VARY) {
        updated.vary = vary::nominate(&updated.headers, &request.head.headers);
    }
    updated
}

/// Notes why an updated response may not be stored, and returns the key if nobody may use what is
/// stored any more. What only this request may not share stays as it was.
pub(super) fn note_forbidden(
    exchange: &mut Exchange,
    why: NotStored,
    key: CacheKey,
) -> Vec<CacheKey> {
    if let Some(report) = &mut exchange.report.cache {
        report.not_stored = Some(why);
    }
    if why.is_about_the_response() {
        vec![key]
    } else {
        Vec::new()
    }
}

/// Writes a reply from the store: the stored fields and `Age`, as far as the client's conditions
/// and ranges ask for them. The body is the one stored with `bodied`. `promised` says whether the
/// profile's Cache-Control holds for it.
fn from_store(
    exchange: &mut Exchange,
    profile: &Profile,
    promised: bool,
    stored: &Arc<Stored>,
    bodied: &Arc<Stored>,
    now: Timestamp,
) -> (response::Parts, Source) {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = stored.status;
    head.headers = stored.headers.clone();
    // [9111-4-6]
    head.headers
        .insert(header::AGE, HeaderValue::from(stored.age(now) / 1000));
    told::write(&mut head, profile, promised);
    let whole = |method: &Method| {
        if method == Method::HEAD {
            Source::Empty
        } else {
            Source::Stored(Arc::clone(bodied))
        }
    };
    if !exchange.request.selective {
        return (head, whole(&exchange.request.head.method));
    }
    if let Some(source) = conditions::answer(exchange, &mut head, now) {
        return (head, source);
    }
    let request = &exchange.request.head;
    if let Some(part) = range::give_of_part(&request.method, &request.headers, stored, now) {
        let offset = range::Part::of(stored.status, &stored.headers).map_or(0, |whole| whole.first);
        let pieces = range::write(&mut head.headers, &[part], offset, "");
        return (head, Source::Pieces(Arc::clone(bodied), pieces));
    }
    match range::give(&request.method, &request.headers, stored, now) {
        Given::Whole => (head, whole(&request.method)),
        Given::Parts(parts) => {
            head.status = StatusCode::PARTIAL_CONTENT; // [9111-3.3-3]
            let boundary = exchange.request.trace.id.to_string();
            let pieces = range::write(&mut head.headers, &parts, 0, &boundary);
            (head, Source::Pieces(Arc::clone(bodied), pieces))
        }
        Given::Nothing(whole) => {
            let (mut head, body) = problem::reply(Refusal::RangeNotSatisfiable, &[]);
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{whole}")) {
                head.headers.insert(header::CONTENT_RANGE, value);
            }
            exchange.report.refusal = Some(Refusal::RangeNotSatisfiable);
            (head, Source::Bytes(body.into()))
        }
    }
}

fn note(exchange: &mut Exchange, stored: &Stored, outcome: CacheOutcome, now: Timestamp) {
    if let Some(report) = &mut exchange.report.cache {
        report.outcome = outcome;
        report.age_ms = Some(stored.age(now));
        // What a purge has made stale is, however long it would have been fresh.
        let most = if outcome == CacheOutcome::Stale {
            0
        } else {
            i64::MAX
        };
        report.ttl_ms = Some(stored.ttl(now).min(most));
    }
}
