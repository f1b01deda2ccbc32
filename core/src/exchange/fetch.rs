//! Origins are asked, one after the other, until one answers or no further attempt is allowed.
//! What is done with their answers is in `response`.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header, response};

use super::attempt::Attempt;
use super::charging::{self, Charging};
use super::fetching::{Fetching, Next};
use super::pacing;
use super::reply::Refused;
use super::settle;
use super::state::{Answered, Caching, Exchange};
use super::step::{AwaitEvent, AwaitResponse, Step};
use super::under_way::{Attempts, UnderWay};
use crate::breaker::Permit;
use crate::cache::{SentAt, validation};
use crate::forward;
use crate::message::request::RequestBody;
use crate::message::unkeyed;
use crate::route::Origin;
use crate::time::Timestamp;

/// Header fields that a response may have whatever the policy allows requests: origins split
/// cookies and tags over many.
const RESPONSE_FIELDS: usize = 256;

/// Asks the origins of the route, for the client or for the store.
pub(super) fn start(exchange: Box<Exchange>, caching: Option<Caching>, now: Timestamp) -> Step {
    match charging::at_origin(exchange, caching, now) {
        Charging::Asks(step) => step,
        Charging::Nothing(exchange, then) => {
            next(Fetching::new(exchange, then.caching()), None, now)
        }
    }
}

/// Goes on after the pause before an origin is tried again.
pub(super) fn again(mut fetching: Fetching, now: Timestamp) -> Step {
    fetching.end_pause();
    next(fetching, None, now)
}

/// Makes the next attempt that a circuit permits. `last` is an origin's answer, and when that was
/// asked; it is passed on if there is no attempt.
pub(super) fn next(
    mut fetching: Fetching,
    last: Option<(Box<response::Parts>, SentAt)>,
    now: Timestamp,
) -> Step {
    match fetching.look(now) {
        Next::Ask(origin, permit) => attempt(fetching, Attempts::new(), origin, permit, now),
        Next::Pause(pause) => AwaitEvent::try_again(fetching, now.plus(pause), now),
        Next::Nothing => {
            let retry_after = fetching.reopens_in(now);
            let Fetching {
                exchange,
                caching,
                refusal,
                ..
            } = fetching;
            if let Some((head, asked)) = last {
                return settle::from_origin(
                    Answered {
                        exchange,
                        caching,
                        head: *head,
                        asked,
                    },
                    now,
                );
            }
            settle::failed(
                exchange,
                caching,
                Refused {
                    refusal,
                    retry_after,
                },
                now,
            )
        }
    }
}

/// Makes an attempt, beside those that are under way.
pub(super) fn attempt(
    mut fetching: Fetching,
    mut under_way: Attempts,
    origin: Arc<Origin>,
    permit: Option<Permit>,
    now: Timestamp,
) -> Step {
    let (number, asked) = fetching.begin_attempt(now);
    let mut headers = if fetching.is_last() {
        std::mem::take(&mut fetching.exchange.request.head.headers)
    } else {
        fetching.exchange.request.head.headers.clone()
    };
    let Fetching {
        exchange, caching, ..
    } = &fetching;
    let request = &exchange.request;
    let policy = exchange.node.policy();
    unkeyed::strip_always(&mut headers, request, &policy.passed);
    let mut head = forward::request_head(request, headers, &origin, caching.is_some());
    request.trace.write(&mut head.headers, number);
    if fetching.unconditional {
        validation::remove_conditions(&mut head.headers);
    }
    if let Some(caching) = caching {
        prepare(&mut head.headers, exchange, caching);
    }
    let idempotent = request.head.method.is_idempotent();
    let attempt = Attempt {
        number,
        origin: Arc::clone(&origin),
        head,
        body: request.body != RequestBody::Empty,
        body_bytes_max: policy.server.bounds.body_bytes_max,
        paces: pacing::of_request(exchange),
        upgrade: request.websocket,
        idempotent,
        repeatable: idempotent || exchange.route.retry.methods.contains(&request.head.method),
        header_count_max: policy.server.bounds.header_count_max.max(RESPONSE_FIELDS),
    };
    under_way.push(UnderWay {
        number,
        origin,
        permit,
        asked,
        turn: fetching.turn(),
        validates: is_validation(&fetching),
        is_late: false,
    });
    let hedge_at = hedge_at(&fetching, under_way.len(), now);
    Step::Fetch(
        Box::new(attempt),
        Box::new(AwaitResponse {
            fetching,
            under_way,
            hedge_at,
        }),
    )
}

/// Returns whether an attempt is sent with conditions of the store's.
fn is_validation(fetching: &Fetching) -> bool {
    let validates = fetching.caching.as_ref().is_some_and(Caching::validates);
    validates && !fetching.unconditional
}

/// Returns when an attempt's answer is so late that another one is made beside it. A body that
/// streams cannot go two ways.
fn hedge_at(fetching: &Fetching, under_way: usize, now: Timestamp) -> Option<Timestamp> {
    let Exchange { route, request, .. } = &*fetching.exchange;
    let after = route.retry.hedges(&request.head.method, fetching.sent)?;
    let is_possible = under_way == 1
        && request.body == RequestBody::Empty
        && !request.websocket
        && fetching.has_more();
    is_possible.then(|| now.plus(after))
}

/// Turns what the client asks for into what the store needs.
fn prepare(headers: &mut HeaderMap, exchange: &Exchange, caching: &Caching) {
    let written_by_proxies = exchange
        .request
        .from_trusted_peer
        .then(|| &exchange.node.policy().client.address_header);
    unkeyed::strip(
        headers,
        &exchange.request,
        &caching.profile.key_headers,
        written_by_proxies,
    );
    if caching.validates() {
        validation::make_conditional(headers, caching.candidate.as_ref(), &caching.others);
    } else if caching.lead.is_some() {
        // Others wait for a whole response. The client's own conditions are applied to it
        // afterwards.
        validation::remove_conditions(headers);
    }
    // What comes back replaces the whole response, which then gives the ranges. A part is validated
    // for those it has. [9111-4.3.2-4]
    if caching
        .candidate
        .as_ref()
        .is_some_and(|stored| stored.status != StatusCode::PARTIAL_CONTENT)
    {
        headers.remove(header::RANGE);
    }
}
