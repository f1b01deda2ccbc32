//! The reply is written, with what the shell does besides.

use http::{HeaderValue, Method, StatusCode, Version, header};

use super::fill::FillKind;
use super::hold::{BodySeen, Ended};
use super::pacing;
use super::reply::{Draft, Refused, RefusedByLimits, Reply, Source};
use super::state::Exchange;
use super::step::Step;
use crate::message::hop_by_hop;
use crate::problem;
use crate::problem::Refusal;
use crate::report::fields::{cache_status, rate_limit};
use crate::report::{BodyEnd, Report};
use crate::time::Timestamp;

/// Answers with a problem document.
pub(super) fn refuse(
    mut exchange: Box<Exchange>,
    refused: impl Into<Refused>,
    now: Timestamp,
) -> Step {
    let Refused {
        refusal,
        retry_after,
    } = refused.into();
    let (mut head, body) = problem::reply(refusal, &[]);
    if let Some(wait) = retry_after {
        head.headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(wait.div_ceil(1000).max(1)),
        );
    }
    exchange.report.refusal = Some(refusal);
    let source = body_for(&exchange.request.head.method, body);
    conclude(exchange, Draft::new(head, source), now)
}

/// Answers with a problem document that names the limits which refuse, or with the page of one of
/// them.
pub(super) fn refuse_naming(
    mut exchange: Box<Exchange>,
    refused: &RefusedByLimits,
    now: Timestamp,
) -> Step {
    let names: Vec<&str> = refused.names.iter().map(|name| &**name).collect();
    let (mut head, mut body) = problem::reply(refused.refusal, &names);
    let page = refused.page.as_ref().and_then(|limit| limit.page.as_ref());
    if let Some(page) = page {
        body = page.body.clone().into_bytes();
        let length = HeaderValue::from(body.len());
        head.headers.insert(header::CONTENT_LENGTH, length);
        let content_type = page.content_type.clone();
        head.headers.insert(header::CONTENT_TYPE, content_type);
    }
    exchange.report.refusal = Some(refused.refusal);
    let source = body_for(&exchange.request.head.method, body);
    conclude(exchange, Draft::new(head, source), now)
}

/// Answers what has no route.
pub(super) fn refuse_unrouted(mut report: Box<Report>, refusal: Refusal, now: Timestamp) -> Reply {
    let (head, body) = problem::reply(refusal, &[]);
    report.refusal = Some(refusal);
    report.note_reply(now);
    let source = body_for(&report.method, body);
    Draft::new(head, source).reply(report, None, Vec::new())
}

/// Ends an exchange that nobody waits for any more.
pub(super) fn abandoned(exchange: Exchange, now: Timestamp) -> Ended {
    let mut report = exchange.report;
    report.refusal = Some(Refusal::Abandoned);
    report.status = Refusal::Abandoned.status().as_u16();
    report.note_end(BodyEnd::Unwanted, Some(0), now);
    Ended::new(report, exchange.taken, None)
}

pub(super) fn body_for(method: &Method, body: Vec<u8>) -> Source {
    if method == Method::HEAD || body.is_empty() {
        Source::Empty
    } else {
        Source::Bytes(body.into())
    }
}

/// Writes what the report says into the reply's fields and ends the exchange.
pub(super) fn conclude(exchange: Box<Exchange>, mut draft: Draft, now: Timestamp) -> Step {
    let Exchange {
        route,
        read_as,
        mut report,
        call,
        taken,
        paces,
        ..
    } = *exchange;
    let headers = &mut draft.head.headers;
    if let Some(cache) = &report.cache {
        headers.append(
            header::CACHE_STATUS,
            cache_status::field(
                cache,
                route.cache.as_ref().is_some_and(|profile| profile.show_key),
            ),
        );
    }
    if !report.limits.is_empty() {
        let routes = || [Some(&route), read_as.as_ref()].into_iter().flatten();
        rate_limit::write(
            headers,
            routes().find_map(|route| route.rate_limit_policy.as_ref()),
            &routes().flat_map(|route| &route.limits),
            &report.limits,
            report.refusal.is_some(),
        );
    }
    if matches!(
        draft.source,
        Source::Origin | Source::Stored(_) | Source::Pieces(..)
    ) {
        hop_by_hop::add_via(headers, Version::HTTP_11);
    }
    report.note_reply(now);
    let reads_body = reads_body(&draft);
    // Nothing is paced where there is no body, or where two connections are joined.
    let has_body =
        draft.source != Source::Empty && draft.head.status != StatusCode::SWITCHING_PROTOCOLS;
    let mut reply = Box::new(draft.reply(report, call, taken));
    if has_body {
        reply.paces = pacing::of_reply(paces);
    }
    if !reads_body {
        reply
            .hold
            .origin_ended(BodySeen::only(BodyEnd::Unwanted), now);
    }
    Step::Finish(reply)
}

/// Returns whether the shell reads the origin's body, for the client or for the store.
fn reads_body(draft: &Draft) -> bool {
    draft.source == Source::Origin
        || draft
            .fill
            .as_ref()
            .is_some_and(|fill| fill.kind == FillKind::Insert)
}
