//! Origins are asked, one after the other, until one answers or no further attempt is allowed.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header, response};

use super::attempt::{Answer, Attempt, Failure, FailureKind};
use super::fetching::{Fetching, Next};
use super::hold::{Call, Trial};
use super::reply::Refused;
use super::state::{Answered, Caching, Exchange};
use super::step::{AwaitEvent, AwaitResponse, Step};
use super::{finish, settle};
use crate::breaker::{BreakerPolicy, Outcome, Permit, StateName};
use crate::cache::{CacheKey, date, validation};
use crate::forward;
use crate::message::framing::Unreadable;
use crate::message::request::RequestBody;
use crate::message::{framing, syntax, unkeyed};
use crate::problem::Refusal;
use crate::report::{AttemptOutcome, AttemptReport, Happening, Report};
use crate::retry::RetryCause;
use crate::route::Origin;
use crate::time::{Millis, Timestamp};

/// Header fields that a response may have whatever the policy allows requests: origins split
/// cookies and tags over many.
const RESPONSE_FIELDS: usize = 256;

/// Asks the origins of the route, for the client or for the store.
pub(super) fn start(exchange: Box<Exchange>, caching: Option<Caching>, now: Timestamp) -> Step {
    next(Fetching::new(exchange, caching, now), None, now)
}

/// Goes on after the pause before an origin is tried again.
pub(super) fn again(mut fetching: Fetching, now: Timestamp) -> Step {
    fetching.end_pause();
    next(fetching, None, now)
}

/// Makes the next attempt that a circuit permits. `last` is an origin's answer that is passed on if
/// there is none.
fn next(mut fetching: Fetching, last: Option<Box<response::Parts>>, now: Timestamp) -> Step {
    match fetching.look(now) {
        Next::Ask(origin, permit) => attempt(fetching, origin, permit, now),
        Next::Pause(pause) => AwaitEvent::try_again(fetching, now.plus(pause), now),
        Next::Nothing => {
            let retry_after = fetching.reopens_in(now);
            let Fetching {
                exchange,
                caching,
                refusal,
                asked,
                ..
            } = fetching;
            if let Some(head) = last {
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

fn attempt(
    mut fetching: Fetching,
    origin: Arc<Origin>,
    permit: Option<Permit>,
    now: Timestamp,
) -> Step {
    fetching.begin_attempt(now);
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
    request.trace.write(&mut head.headers, fetching.made);
    if fetching.unconditional {
        validation::remove_conditions(&mut head.headers);
    }
    if let Some(caching) = caching {
        prepare(&mut head.headers, exchange, caching);
    }
    let idempotent = request.head.method.is_idempotent();
    let attempt = Attempt {
        origin: Arc::clone(&origin),
        head,
        body: request.body != RequestBody::Empty,
        body_bytes_max: policy.server.bounds.body_bytes_max,
        upgrade: request.websocket,
        idempotent,
        repeatable: idempotent || exchange.route.retry.methods.contains(&request.head.method),
        header_count_max: policy.server.bounds.header_count_max.max(RESPONSE_FIELDS),
    };
    Step::Fetch(
        Box::new(attempt),
        Box::new(AwaitResponse {
            fetching,
            origin,
            permit,
        }),
    )
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

impl AwaitResponse {
    /// Returns the key for which this request fetches on behalf of all others, if it does. They may
    /// be woken when the exchange, or the storing of its response, has ended in any way.
    pub fn leads(&self) -> Option<&CacheKey> {
        let caching = self.fetching.caching.as_ref()?;
        caching.lead.as_ref().map(|_| &caching.key)
    }

    /// Takes the head of the origin's response, or why there is none. The shell keeps the body for
    /// [`super::Source::Origin`] and drops it if the next step is another attempt.
    pub fn resume(self, answer: Result<Answer, Failure>, now: Timestamp) -> Step {
        match answer {
            Ok(Answer {
                mut head,
                body_intact,
            }) => {
                match framing::read_response(&mut head, self.fetching.exchange.request.websocket) {
                    Ok(()) => self.answered(head, body_intact, now),
                    Err(Unreadable) => self.failed(
                        Failure {
                            kind: FailureKind::Protocol,
                            sent: true,
                            body_intact,
                        },
                        now,
                    ),
                }
            }
            Err(failure) => self.failed(failure, now),
        }
    }

    /// Returns whether the exchange is to be driven to its end although its client has gone: the
    /// origin may be changing what is stored.
    pub fn outlives_its_client(&self) -> bool {
        !self.fetching.exchange.request.head.method.is_safe()
    }

    /// Ends the exchange without an answer: its client has gone, or this node stops.
    pub fn abandon(mut self, now: Timestamp) -> Box<Report> {
        // The origin of which clients despair is slow at least, unless the client itself was what
        // the origin waited for.
        let slow = |rule: &Arc<BreakerPolicy>| {
            !self.waits_for_its_client() && self.waited(now) >= rule.slow_call
        };
        let slow = self
            .fetching
            .exchange
            .route
            .breaker
            .as_ref()
            .is_some_and(slow);
        self.note(AttemptOutcome::Abandoned, None, slow.then_some(false), now);
        finish::abandoned(*self.fetching.exchange, now)
    }

    /// Returns whether the origin may wait for the client's body. How long it does, nobody says.
    fn waits_for_its_client(&self) -> bool {
        self.fetching.exchange.request.body != RequestBody::Empty
    }

    /// Returns for how long the origin has surely been waited for: a client that sends its body
    /// slowly must not make the origin slow.
    fn waited(&self, now: Timestamp) -> Millis {
        if self.waits_for_its_client() {
            0
        } else {
            now.since(self.fetching.asked.at)
        }
    }

    fn answered(mut self, head: response::Parts, body_intact: bool, now: Timestamp) -> Step {
        let status = head.status;
        self.fetching.sent = self.fetching.sent.saturating_add(1);
        let Fetching {
            exchange,
            caching,
            sent,
            ..
        } = &self.fetching;
        let unconfirmed = status == StatusCode::NOT_MODIFIED
            && caching
                .as_ref()
                .is_some_and(|caching| caching.validates() && caching.confirmed(&head).is_none());
        let again = exchange.route.retry.allows(
            RetryCause::Status(status),
            &exchange.request.head.method,
            *sent,
            body_intact,
        );
        let breaker = exchange.route.breaker.as_ref();
        let failed = breaker.is_some_and(|rule| rule.failure_statuses.contains(&status.as_u16()));
        let bodiless = unconfirmed || status == StatusCode::SWITCHING_PROTOCOLS;
        if failed || again || bodiless {
            self.note(
                AttemptOutcome::Response,
                Some(status.as_u16()),
                Some(failed),
                now,
            );
        } else {
            self.note_head(status.as_u16(), now);
        }
        // Also of an answer that is to be tried again: it is passed on if nothing is left to try.
        if !bodiless {
            self.hold(&head, now);
        }
        let mut fetching = self.fetching;
        if unconfirmed {
            fetching.ask_unconditionally();
            return next(fetching, None, now);
        }
        if again {
            fetching.heed(retry_after(&head, now));
            return next(fetching, Some(Box::new(head)), now);
        }
        let Fetching {
            exchange,
            caching,
            asked,
            ..
        } = fetching;
        settle::from_origin(
            Answered {
                exchange,
                caching,
                head,
                asked,
            },
            now,
        )
    }

    fn failed(mut self, failure: Failure, now: Timestamp) -> Step {
        let (outcome, refusal, blames_origin) = meaning(failure.kind);
        self.note(outcome, None, blames_origin.then_some(true), now);
        let mut fetching = self.fetching;
        fetching.refusal = refusal;
        fetching.sent = fetching.sent.saturating_add(u8::from(failure.sent));
        let setback = if failure.sent {
            RetryCause::Lost
        } else {
            RetryCause::NeverSent
        };
        let Exchange { route, request, .. } = &*fetching.exchange;
        if blames_origin
            && route.retry.allows(
                setback,
                &request.head.method,
                fetching.sent,
                failure.body_intact,
            )
        {
            return next(fetching, None, now);
        }
        let Fetching {
            exchange, caching, ..
        } = fetching;
        settle::failed(exchange, caching, refusal.into(), now)
    }

    /// Records that the head has come: the circuit goes on watching the body.
    fn note_head(&mut self, status: u16, now: Timestamp) {
        let took = self.waited(now);
        let watched = self
            .fetching
            .exchange
            .route
            .breaker
            .as_ref()
            .zip(self.permit);
        let circuit = watched.and_then(|(rule, permit)| {
            self.fetching
                .exchange
                .node
                .answered(&self.origin, rule, permit, took, now)
        });
        self.push(AttemptOutcome::Response, Some(status), circuit, now);
    }

    /// Keeps the attempt that was noted last open until its body has ended.
    fn hold(&mut self, head: &response::Parts, now: Timestamp) {
        let took = self.waited(now);
        let exchange = &mut self.fetching.exchange;
        let last = exchange.report.attempts.len().saturating_sub(1);
        let trial = exchange
            .route
            .breaker
            .clone()
            .zip(self.permit.take())
            .map(|(rule, permit)| Trial {
                node: exchange.node.clone(),
                origin: Arc::clone(&self.origin),
                rule,
                permit,
            });
        exchange.call = Some(Call::new(
            last,
            took,
            &exchange.request.head.method,
            head,
            trial,
        ));
    }

    /// Records the attempt, in the report and in the origin's circuit. `failed` is `None` when it
    /// says nothing about the origin.
    fn note(
        &mut self,
        outcome: AttemptOutcome,
        status: Option<u16>,
        failed: Option<bool>,
        now: Timestamp,
    ) {
        let took = self.waited(now);
        let circuit = self
            .fetching
            .exchange
            .route
            .breaker
            .clone()
            .zip(self.permit.take())
            .and_then(|(rule, permit)| {
                let outcome = failed.map(|failed| Outcome { failed, took });
                self.fetching
                    .exchange
                    .node
                    .record(&self.origin, &rule, permit, outcome, now)
            });
        self.push(outcome, status, circuit, now);
    }

    fn push(
        &mut self,
        outcome: AttemptOutcome,
        status: Option<u16>,
        circuit: Option<StateName>,
        now: Timestamp,
    ) {
        let number = self.fetching.made;
        let happening = if status.is_some() {
            Happening::Response
        } else {
            Happening::Failure
        };
        let report = &mut self.fetching.exchange.report;
        report.note_attempt(happening, number, now);
        report.attempts.push(AttemptReport {
            number: Some(number),
            origin: Arc::clone(&self.origin.name),
            region: self.origin.region.clone(),
            outcome,
            status,
            took_ms: now.since(self.fetching.asked.at),
            circuit,
        });
    }
}

/// Says what a failure is in the report, how the client is refused for it, and whether it speaks
/// against the origin.
fn meaning(kind: FailureKind) -> (AttemptOutcome, Refusal, bool) {
    match kind {
        FailureKind::Unreachable => (
            AttemptOutcome::Unreachable,
            Refusal::OriginUnreachable,
            true,
        ),
        FailureKind::ConnectTimeout => {
            (AttemptOutcome::ConnectTimeout, Refusal::OriginTimeout, true)
        }
        FailureKind::Tls => (AttemptOutcome::Tls, Refusal::OriginUnreachable, true),
        FailureKind::ResponseTimeout => (
            AttemptOutcome::ResponseTimeout,
            Refusal::OriginTimeout,
            true,
        ),
        FailureKind::Closed => (AttemptOutcome::Closed, Refusal::OriginFailed, true),
        FailureKind::Protocol => (AttemptOutcome::Protocol, Refusal::OriginFailed, true),
        FailureKind::BodyAborted => (AttemptOutcome::RequestBody, Refusal::Abandoned, false),
        FailureKind::BodyTooSlow => (AttemptOutcome::RequestBody, Refusal::BodyTooSlow, false),
        FailureKind::BodyTooLarge => (AttemptOutcome::RequestBody, Refusal::BodyTooLarge, false),
    }
}

/// Returns how long a response asks to wait before the next request: a number of seconds, or a
/// date.
fn retry_after(head: &response::Parts, now: Timestamp) -> Millis {
    let text = syntax::text(&head.headers, header::RETRY_AFTER).unwrap_or_default();
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.saturating_mul(1000);
    }
    date::parse(text, now).map_or(0, |at| at.since(now))
}
