//! Origins are asked, one after the other, until one answers or no further attempt is allowed.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header, request, response};

use super::lookup::AwaitTime;
use super::{Caching, Exchange, RequestBody, Step, finish, settle};
use crate::breaker::{Outcome, Permit, Rule};
use crate::cache::{Asked, CacheKey, validation};
use crate::forward;
use crate::problem::Refusal;
use crate::report::{AttemptOutcome, AttemptReport, Report, StepName};
use crate::retry::Setback;
use crate::route::{Origin, steering};
use crate::time::{Millis, Timestamp};
use crate::unkeyed;

/// One request to send to one origin.
#[derive(Debug)]
pub struct Attempt {
    /// Where to. Its timeouts bound the attempt.
    pub origin: Arc<Origin>,
    /// What to send; the URI has origin form.
    pub head: request::Parts,
    /// Whether the client's body follows.
    pub body: bool,
    /// Most bytes of that body; beyond it the attempt fails with [`FailureKind::BodyTooLarge`].
    pub body_bytes_max: u64,
    /// Whether the client asks for another protocol: a 101 hands both connections over.
    pub upgrade: bool,
}

/// Waits for an origin's answer.
#[derive(Debug)]
pub struct AwaitResponse {
    exchange: Box<Exchange>,
    caching: Option<Caching>,
    forward: Forward,
    origin: Arc<Origin>,
    permit: Option<Permit>,
}

/// Why an origin gave no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// Whether any byte of the request may have reached the origin.
    pub sent: bool,
    /// Whether the client's body can still be sent whole.
    pub body_intact: bool,
}

/// What happened instead of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The name could not be resolved or the connection was refused.
    Unreachable,
    /// Connecting took longer than allowed.
    ConnectTimeout,
    /// TLS failed.
    Tls,
    /// The response's header fields took longer than allowed.
    ResponseTimeout,
    /// The origin closed the connection.
    Closed,
    /// The origin sent something that is not HTTP.
    Protocol,
    /// The client stopped sending its body.
    BodyAborted,
    /// The client's body is larger than allowed.
    BodyTooLarge,
}

/// How far the attempts have come.
#[derive(Debug)]
pub(crate) struct Forward {
    /// Positions in the pool, best first.
    order: Vec<usize>,
    /// Positions looked at so far; beyond the length of `order` it begins again.
    looked_at: usize,
    /// Attempts that may have reached an origin.
    sent: u8,
    /// Attempts made.
    made: u8,
    /// Whether the pause before trying an origin again is over.
    paused: bool,
    /// Why the client is refused when nothing is left to try.
    refusal: Refusal,
    /// When the first open circuit gives permits again.
    reopens: Option<Timestamp>,
    /// When the last attempt was sent.
    asked: Asked,
    /// Whether the client's own conditions are left out: a 304 has spoken of a response that nobody has.
    unconditional: bool,
}

impl Forward {
    /// How many positions are looked at: each origin once, and again for each further attempt.
    fn bound(&self, exchange: &Exchange) -> usize {
        self.order.len() + usize::from(exchange.route.retry.attempts.saturating_sub(1))
    }
}

impl Attempt {
    /// Returns the absolute URL.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.origin.scheme, self.origin.authority, self.head.uri)
    }
}

pub(super) fn start(mut exchange: Box<Exchange>, caching: Option<Caching>, now: Timestamp) -> Step {
    let order = steering::order(&exchange.route.pool, &exchange.request, &exchange.route.name);
    let origins = &exchange.route.pool.origins;
    exchange.report.origins = order.iter().filter_map(|p| origins.get(*p)).map(|o| Arc::clone(&o.name)).collect();
    let forward = Forward {
        order,
        looked_at: 0,
        sent: 0,
        made: 0,
        paused: false,
        refusal: Refusal::CircuitsOpen,
        reopens: None,
        asked: Asked { at: now, born: exchange.engine.purges().last() },
        unconditional: false,
    };
    next(exchange, caching, forward, None, now)
}

/// Goes on after the pause before an origin is tried again.
pub(super) fn again(exchange: Box<Exchange>, caching: Option<Caching>, mut forward: Forward, now: Timestamp) -> Step {
    forward.paused = true;
    next(exchange, caching, forward, None, now)
}

/// Makes the next attempt that a circuit permits. `last` is an origin's answer that is passed on if there is none.
fn next(
    mut exchange: Box<Exchange>,
    caching: Option<Caching>,
    mut forward: Forward,
    last: Option<Box<response::Parts>>,
    now: Timestamp,
) -> Step {
    let route = Arc::clone(&exchange.route);
    let bound = forward.bound(&exchange);
    while forward.looked_at < bound {
        let again = forward.looked_at >= forward.order.len();
        if again && !forward.paused && forward.made > 0 {
            let seed =
                exchange.engine.seed() ^ u64::try_from(exchange.request.trace.id & u128::from(u64::MAX)).unwrap_or(0);
            let pause = route.retry.pause(forward.made.saturating_add(1), seed);
            if pause > 0 {
                return AwaitTime::try_again(exchange, caching, forward, now.plus(pause));
            }
        }
        let position = forward.order.get(forward.looked_at % forward.order.len().max(1)).copied();
        forward.looked_at += 1;
        let Some(origin) = position.and_then(|p| route.pool.origins.get(p)) else {
            break;
        };
        match permit(&exchange, origin, now) {
            Ok(permit) => {
                return attempt(exchange, caching, forward, Arc::clone(origin), permit, now);
            }
            Err(until) => {
                forward.reopens = forward.reopens.into_iter().chain([until]).min();
                if !again {
                    exchange.report.attempts.push(AttemptReport::unasked(origin));
                }
            }
        }
    }
    if let Some(head) = last {
        return settle::from_origin(exchange, caching, *head, forward.asked, now);
    }
    if forward.refusal == Refusal::CircuitsOpen {
        exchange.report.retry_after_ms = forward.reopens.map(|until| until.since(now));
    }
    settle::failed(exchange, caching, forward.refusal, now)
}

/// Returns whether nobody will look at the client's header fields after this attempt, so that it may have them instead of a copy.
fn is_last(exchange: &Exchange, caching: Option<&Caching>, forward: &Forward) -> bool {
    caching.is_none() && exchange.request.head.method.is_safe() && forward.looked_at >= forward.bound(exchange)
}

fn permit(exchange: &Exchange, origin: &Origin, now: Timestamp) -> Result<Option<Permit>, Timestamp> {
    let Some(rule) = &exchange.route.breaker else {
        return Ok(None);
    };
    let lease = origin.timeouts.connect.saturating_add(origin.timeouts.response);
    exchange.engine.acquire(origin, rule, lease, now).map(Some)
}

fn attempt(
    mut exchange: Box<Exchange>,
    mut caching: Option<Caching>,
    mut forward: Forward,
    origin: Arc<Origin>,
    permit: Option<Permit>,
    now: Timestamp,
) -> Step {
    exchange.step(StepName::Fetch);
    forward.made = forward.made.saturating_add(1);
    forward.paused = false;
    forward.asked = Asked { at: now, born: exchange.engine.purges().last() };
    // After the number was read: a 304 must not make younger than a purge what that purge has reached.
    if let Some(caching) = &mut caching {
        caching.forget_void(&exchange);
    }
    let mut headers = if is_last(&exchange, caching.as_ref(), &forward) {
        std::mem::take(&mut exchange.request.head.headers)
    } else {
        exchange.request.head.headers.clone()
    };
    let request = &exchange.request;
    unkeyed::strip_always(&mut headers, request, &exchange.engine.policy().passed);
    let mut head = forward::request_head(request, headers, &origin, caching.is_some());
    request.trace.write(&mut head.headers, forward.made);
    if forward.unconditional {
        validation::remove_conditions(&mut head.headers);
    }
    if let Some(caching) = &caching {
        prepare(&mut head.headers, &exchange, caching);
    }
    let attempt = Attempt {
        origin: Arc::clone(&origin),
        head,
        body: request.body != RequestBody::Empty,
        body_bytes_max: exchange.engine.policy().server.bounds.body_bytes_max,
        upgrade: request.websocket,
    };
    let next = AwaitResponse { exchange, caching, forward, origin, permit };
    Step::Fetch(Box::new(attempt), Box::new(next))
}

/// Turns what the client asks for into what the store needs.
fn prepare(headers: &mut HeaderMap, exchange: &Exchange, caching: &Caching) {
    let written_by_proxies = exchange.request.believed.then(|| &exchange.engine.policy().client.address_header);
    unkeyed::strip(headers, &exchange.request, &caching.profile.key_headers, written_by_proxies);
    if caching.validates() {
        validation::make_conditional(headers, caching.candidate.as_ref(), &caching.others);
    } else if caching.lead.is_some() {
        // Others wait for a whole response. The client's own conditions are applied to it afterwards.
        validation::remove_conditions(headers);
    }
    // What comes back replaces the whole response, which then gives the ranges. A part is validated for those it has. [9111-4.3.2-4]
    if caching.candidate.as_ref().is_some_and(|stored| stored.status != StatusCode::PARTIAL_CONTENT) {
        headers.remove(header::RANGE);
    }
}

impl AwaitResponse {
    /// Returns the key for which this request fetches on behalf of all others, if it does. They may be woken when the exchange, or the storing of
    /// its response, has ended in any way.
    pub fn leads(&self) -> Option<&CacheKey> {
        let caching = self.caching.as_ref()?;
        caching.lead.as_ref().map(|_| &caching.key)
    }

    /// Takes the head of the origin's response, or why there is none. The shell keeps the body for [`super::Source::Origin`] and drops it if the
    /// next step is another attempt.
    pub fn resume(self, answer: Result<response::Parts, Failure>, now: Timestamp) -> Step {
        match answer {
            Ok(head) => self.answered(head, now),
            Err(failure) => self.failed(failure, now),
        }
    }

    /// Returns whether the exchange is to be driven to its end although its client has gone: the origin may be changing what is stored.
    pub fn outlives_its_client(&self) -> bool {
        !self.exchange.request.head.method.is_safe()
    }

    /// Ends the exchange without an answer: its client has gone, or this node stops.
    pub fn abandon(mut self, now: Timestamp) -> Report {
        // The origin of which clients despair is slow at least.
        let slow = |rule: &Arc<Rule>| now.since(self.forward.asked.at) >= rule.slow_call;
        let slow = self.exchange.route.breaker.as_ref().is_some_and(slow);
        self.note(AttemptOutcome::Abandoned, None, slow.then_some(false), now);
        finish::abandoned(*self.exchange, now)
    }

    fn answered(mut self, head: response::Parts, now: Timestamp) -> Step {
        let status = head.status;
        self.forward.sent = self.forward.sent.saturating_add(1);
        let rule = self.exchange.route.breaker.clone();
        let failed = rule.is_some_and(|rule| rule.failure_statuses.contains(&status.as_u16()));
        self.note(AttemptOutcome::Response, Some(status.as_u16()), Some(failed), now);
        let Self { exchange, mut caching, mut forward, .. } = self;
        let unconfirmed = |c: &Caching| c.validates() && c.confirmed(&head).is_none();
        if status == StatusCode::NOT_MODIFIED && caching.as_ref().is_some_and(unconfirmed) {
            // A 304 about another response than ours: ask the same origin again, without conditions.
            if let Some(caching) = &mut caching {
                caching.candidate = None;
                caching.others.clear();
            }
            forward.unconditional = true;
            forward.looked_at = forward.looked_at.saturating_sub(1);
            return next(exchange, caching, forward, None, now);
        }
        // A streamed body is spent once an origin has answered.
        let intact = exchange.request.body == RequestBody::Empty;
        if exchange.route.retry.allows(Setback::Status(status), &exchange.request.head.method, forward.sent, intact) {
            return next(exchange, caching, forward, Some(Box::new(head)), now);
        }
        settle::from_origin(exchange, caching, head, forward.asked, now)
    }

    fn failed(mut self, failure: Failure, now: Timestamp) -> Step {
        let (outcome, refusal, blames_origin) = match failure.kind {
            FailureKind::Unreachable => (AttemptOutcome::Unreachable, Refusal::OriginUnreachable, true),
            FailureKind::ConnectTimeout => (AttemptOutcome::ConnectTimeout, Refusal::OriginTimeout, true),
            FailureKind::Tls => (AttemptOutcome::Tls, Refusal::OriginUnreachable, true),
            FailureKind::ResponseTimeout => (AttemptOutcome::ResponseTimeout, Refusal::OriginTimeout, true),
            FailureKind::Closed => (AttemptOutcome::Closed, Refusal::OriginFailed, true),
            FailureKind::Protocol => (AttemptOutcome::Protocol, Refusal::OriginFailed, true),
            FailureKind::BodyAborted => (AttemptOutcome::RequestBody, Refusal::Malformed, false),
            FailureKind::BodyTooLarge => (AttemptOutcome::RequestBody, Refusal::BodyTooLarge, false),
        };
        self.note(outcome, None, blames_origin.then_some(true), now);
        let Self { exchange, caching, mut forward, .. } = self;
        forward.refusal = refusal;
        forward.sent = forward.sent.saturating_add(u8::from(failure.sent));
        let setback = if failure.sent { Setback::Lost } else { Setback::NeverSent };
        let allowed =
            exchange.route.retry.allows(setback, &exchange.request.head.method, forward.sent, failure.body_intact);
        if blames_origin && allowed {
            return next(exchange, caching, forward, None, now);
        }
        settle::failed(exchange, caching, refusal, now)
    }

    /// Records the attempt, in the report and in the origin's circuit. `failed` is `None` when it says nothing about the origin.
    fn note(&mut self, outcome: AttemptOutcome, status: Option<u16>, failed: Option<bool>, now: Timestamp) {
        let took: Millis = now.since(self.forward.asked.at);
        let circuit = self.exchange.route.breaker.clone().zip(self.permit.take()).and_then(|(rule, permit)| {
            let outcome = failed.map(|failed| Outcome { failed, took });
            self.exchange.engine.record(&self.origin, &rule, permit, outcome, now)
        });
        self.exchange.report.attempts.push(AttemptReport {
            origin: Arc::clone(&self.origin.name),
            region: self.origin.region.clone(),
            outcome,
            status,
            took_ms: took,
            circuit,
        });
    }
}

impl AttemptReport {
    fn unasked(origin: &Origin) -> Self {
        Self {
            origin: Arc::clone(&origin.name),
            region: origin.region.clone(),
            outcome: AttemptOutcome::CircuitOpen,
            status: None,
            took_ms: 0,
            circuit: None,
        }
    }
}
