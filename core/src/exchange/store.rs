//! Responses of origins are stored, where they may be.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, StatusCode, header, response};

use super::fill::{Fill, FillKind};
use super::reply::{Draft, Source};
use super::state::{Cacheable, Caching, Exchange};
use super::step::Step;
use super::{conditions, finish, lead};
use crate::cache::control::Control;
use crate::cache::freshness::Freshness;
use crate::cache::search::Rule;
use crate::cache::storable::NotStored;
use crate::cache::{
    CacheKey, Profile, SentAt, Stored, date, deception, freshness, key, storable, tags, told, vary,
};
use crate::message::names;
use crate::purge::label;
use crate::report::CacheReport;
use crate::route::Route;
use crate::time::Timestamp;

/// Answers with an origin's response, and stores it if it may be.
pub(super) fn answer(answered: Cacheable, now: Timestamp) -> Step {
    let Cacheable {
        mut exchange,
        mut caching,
        mut head,
        asked,
    } = answered;
    let profile = Arc::clone(&caching.profile);
    let lead = caching.lead.take();
    let location = CacheLocation {
        route: &exchange.route,
        profile: &profile,
        key: caching.key.clone(),
    };
    let (stored, forbidden) = match fill(
        &exchange,
        &exchange.request.head.method,
        location,
        &head,
        asked,
        now,
    ) {
        Ok(mut fill) => {
            fill.head = in_place_of(
                caching.candidate.as_deref(),
                fill.head,
                &exchange.request.head.headers,
            );
            if caching.void.iter().any(|void| void.vary == fill.head.vary) {
                fill.joined_max = 0;
            }
            fill.lead = lead::while_useful_to_others(lead, &fill.head, now);
            (Some(fill), None)
        }
        Err(why) => {
            // What only this request asked for says nothing about the next one's response. It is
            // streamed and nothing else. [9111-5.2.1.5-2] [9111-5.2.1.5-3] [9111-5.2.2.5-2]
            // [9111-5.2.2.5-3] [9111-5.2.2.5-4]
            if why.is_about_the_response() && head.status != StatusCode::NOT_MODIFIED {
                lead::end_unshared(lead, now);
            }
            (None, Some(why))
        }
    };
    let is_stored = stored.is_some();
    if let Some(report) = &mut exchange.report.cache {
        match &stored {
            Some(fill) => note(report, &fill.head),
            None => report.not_stored = forbidden,
        }
    }
    let fill = match forbidden {
        Some(why) => outdated(&exchange, caching, &head, why, now),
        None => stored,
    };
    if forbidden == Some(NotStored::Disguised) {
        // The profile's word is for what the name promises, not for this.
        tags::strip(&mut head.headers);
    } else {
        told::write(&mut head, &profile, is_stored);
    }
    let answered = if is_stored {
        conditions::answer(&mut exchange, &mut head, now)
    } else {
        None
    };
    let source = answered.unwrap_or(Source::Origin);
    finish::conclude(
        exchange,
        Draft {
            fill,
            ..Draft::new(head, source)
        },
        now,
    )
}

/// Takes what a response says about the queries of its path (No-Vary-Search). Returns the key to
/// store it under, and whether other URLs have it too: only a response that says so itself answers
/// for other queries.
fn key_to_store(
    exchange: &Exchange,
    location: CacheLocation<'_>,
    head: &response::Parts,
) -> Result<(CacheKey, bool), NotStored> {
    let CacheLocation {
        route,
        profile,
        key: own,
    } = location;
    if !key::has_whole_query(profile) {
        return Ok((own, false));
    }
    let (rule, rules) = (Rule::of(&head.headers), exchange.node.rules());
    if rule.is_none() && rules.is_empty() {
        return Ok((own, false));
    }
    let path = key::path_part(&exchange.request, &route.pool.name, profile);
    if head.status.is_success() {
        rules.learn(&path, rule.as_ref());
    }
    match rules.find(&path) {
        Some(known) if rule.as_ref() != Some(&*known) => Err(NotStored::NoVarySearch),
        known => Ok((
            key::by_rule(&exchange.request, profile, path, known.as_deref()),
            known.is_some(),
        )),
    }
}

/// An answer that is not stored takes the place of the stored one all the same, if it says what is
/// there now rather than something about the request or the origin: that one is of no use any more,
/// unless the origin confirms it.
fn outdated(
    exchange: &Exchange,
    caching: Caching,
    head: &response::Parts,
    why: NotStored,
    now: Timestamp,
) -> Option<Fill> {
    let Caching {
        profile,
        key,
        candidate,
        ..
    } = caching;
    let status = head.status;
    let says_what_is_there =
        status.is_success() || matches!(status.as_u16(), 301 | 308 | 404 | 410);
    // Under the key of many queries an error for one of them says nothing of the others.
    let rules = exchange.node.rules();
    let rule = || {
        rules.find(&key::path_part(
            &exchange.request,
            &exchange.route.pool.name,
            &profile,
        ))
    };
    let speaks_of_all = status.is_success()
        || rules.is_empty()
        || rule().as_deref() == Rule::of(&head.headers).as_ref();
    let old =
        candidate.filter(|_| why.is_about_the_response() && says_what_is_there && speaks_of_all)?;
    let head = Arc::new(old.outdated(now));
    if head.freshness == old.freshness {
        return None;
    }
    Some(Fill::refresh(key, head, &old, &profile, None))
}

/// One that names no fields answers no more requests than the one in whose place it came, which
/// names some: that one would be preferred to it for ever.
fn in_place_of(before: Option<&Stored>, head: Arc<Stored>, request: &HeaderMap) -> Arc<Stored> {
    match before {
        Some(before) if head.vary.is_empty() && !before.vary.is_empty() => {
            let vary = vary::nominate_again(&before.vary, request);
            Arc::new(Stored {
                vary,
                ..Stored::clone(&head)
            })
        }
        Some(_) | None => head,
    }
}

/// Where a GET of the request's URL looks.
pub(super) struct CacheLocation<'a> {
    pub(super) route: &'a Route,
    /// The route's.
    pub(super) profile: &'a Profile,
    pub(super) key: CacheKey,
}

/// Says what to store of a response, for requests with this method.
pub(super) fn fill(
    exchange: &Exchange,
    method: &Method,
    location: CacheLocation<'_>,
    head: &response::Parts,
    asked: SentAt,
    now: Timestamp,
) -> Result<Fill, NotStored> {
    let profile = location.profile;
    let request = &exchange.request.head.headers;
    let control = Control::of_response(&head.headers);
    let freshness = freshness::of(head.status, &head.headers, &control, profile, now);
    storable::check(
        method,
        request,
        head.status,
        &head.headers,
        &control,
        &freshness,
        profile,
    )?;
    if profile.guards_deception
        && deception::is_disguised(exchange.request.path(), head.status, &head.headers)
    {
        return Err(NotStored::Disguised);
    }
    let mut labels = tags::read(&head.headers, exchange.request.host())
        .map_err(|_| NotStored::TooManyTags)?
        .labels;
    let (key, is_shared) = key_to_store(exchange, location, head)?;
    if is_shared {
        // It can be purged by the URL that it was fetched with, or by the one without query.
        labels.extend(label::labels_of_url(&exchange.request));
    }
    let stored = new_stored(request, head, &control, freshness, profile, asked, now);
    let head = Arc::new(Stored { labels, ..stored });
    let most = profile.body_bytes_max;
    Ok(Fill {
        key,
        head,
        kind: FillKind::Insert,
        body_bytes_max: most,
        joined_max: most,
        lead: None,
    })
}

/// Notes that a response is stored.
pub(super) fn note(report: &mut CacheReport, stored: &Stored) {
    report.stored = true;
    report.tags_cut = stored.labels.contains(&label::any_tag());
    report.ttl_ms = Some(stored.ttl(stored.received));
}

fn new_stored(
    request: &HeaderMap,
    head: &response::Parts,
    control: &Control,
    freshness: Freshness,
    profile: &Profile,
    asked: SentAt,
    now: Timestamp,
) -> Stored {
    let mut headers = head.headers.clone(); // [9111-3.1-1]
    let initial_age = freshness::initial_age(&headers, profile, asked.at, now);
    headers.remove(header::AGE);
    let quotas: Vec<HeaderName> = headers
        .keys()
        .filter(|name| storable::tells_a_quota(name))
        .cloned()
        .collect();
    for name in quotas {
        headers.remove(name);
    }
    // RFC 9111, section 3.1. [9111-3.1-2] [9111-5.2.2.7-2]
    for name in [header::PROXY_AUTHENTICATE, names::PROXY_AUTHENTICATION_INFO]
        .iter()
        .chain(&control.withheld)
    {
        headers.remove(name);
    }
    headers
        .entry(header::DATE)
        .or_insert_with(|| date::write(now));
    Stored {
        status: head.status,
        vary: vary::nominate(&headers, request),
        headers,
        received: now,
        initial_age,
        freshness,
        epoch: asked.epoch,
        labels: Vec::new(),
    }
}
