//! Origins are asked, one after the other, until one answers or no further attempt is allowed.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header, response};

use super::attempt::{Answer, Attempt, Failure, FailureKind, Forward};
use super::hold::{Hold, Trial};
use super::state::{Caching, Exchange};
use super::step::{AwaitResponse, AwaitTime, Step};
use super::{finish, settle};
use crate::breaker::{Outcome, Permit, Rule, StateName};
use crate::cache::{Asked, CacheKey, date, validation};
use crate::forward;
use crate::message::framing::Unreadable;
use crate::message::request::RequestBody;
use crate::message::{framing, unkeyed};
use crate::problem::Refusal;
use crate::report::{AttemptOutcome, AttemptReport, Report, StepName};
use crate::retry::Setback;
use crate::route::{Origin, steering};
use crate::time::{Millis, Timestamp};

/// Header fields that a response may have whatever the policy allows requests: origins split cookies and tags over many.
const RESPONSE_FIELDS: usize = 256;

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
        asked: Asked { at: now, born: exchange.node.purges().last() },
        unconditional: false,
        asked_to_wait: 0,
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
            // An origin that wants more time than the rule allows is not asked again.
            if forward.asked_to_wait > route.retry.backoff_max {
                break;
            }
            let seed =
                exchange.node.seed() ^ u64::try_from(exchange.request.trace.id & u128::from(u64::MAX)).unwrap_or(0);
            let pause = route.retry.pause(forward.made.saturating_add(1), seed).max(forward.asked_to_wait);
            forward.asked_to_wait = 0;
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
    exchange.node.acquire(origin, rule, lease, now).map(Some)
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
    forward.asked = Asked { at: now, born: exchange.node.purges().last() };
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
    unkeyed::strip_always(&mut headers, request, &exchange.node.policy().passed);
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
        body_bytes_max: exchange.node.policy().server.bounds.body_bytes_max,
        upgrade: request.websocket,
        idempotent: request.head.method.is_idempotent(),
        repeatable: request.head.method.is_idempotent() || exchange.route.retry.methods.contains(&request.head.method),
        header_count_max: exchange.node.policy().server.bounds.header_count_max.max(RESPONSE_FIELDS),
    };
    let next = AwaitResponse { exchange, caching, forward, origin, permit };
    Step::Fetch(Box::new(attempt), Box::new(next))
}

/// Turns what the client asks for into what the store needs.
fn prepare(headers: &mut HeaderMap, exchange: &Exchange, caching: &Caching) {
    let written_by_proxies = exchange.request.believed.then(|| &exchange.node.policy().client.address_header);
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
    pub fn resume(self, answer: Result<Answer, Failure>, now: Timestamp) -> Step {
        match answer {
            Ok(Answer { mut head, body_intact }) => {
                match framing::read_response(&mut head, self.exchange.request.websocket) {
                    Ok(()) => self.answered(head, body_intact, now),
                    Err(Unreadable) => {
                        self.failed(Failure { kind: FailureKind::Protocol, sent: true, body_intact }, now)
                    }
                }
            }
            Err(failure) => self.failed(failure, now),
        }
    }

    /// Returns whether the exchange is to be driven to its end although its client has gone: the origin may be changing what is stored.
    pub fn outlives_its_client(&self) -> bool {
        !self.exchange.request.head.method.is_safe()
    }

    /// Ends the exchange without an answer: its client has gone, or this node stops.
    pub fn abandon(mut self, now: Timestamp) -> Report {
        // The origin of which clients despair is slow at least, unless the client itself was what the origin waited for.
        let slow = |rule: &Arc<Rule>| !self.waits_for_its_client() && self.waited(now) >= rule.slow_call;
        let slow = self.exchange.route.breaker.as_ref().is_some_and(slow);
        self.note(AttemptOutcome::Abandoned, None, slow.then_some(false), now);
        finish::abandoned(*self.exchange, now)
    }

    /// Returns whether the origin may wait for the client's body. How long it does, nobody says.
    fn waits_for_its_client(&self) -> bool {
        self.exchange.request.body != RequestBody::Empty
    }

    /// Returns for how long the origin has surely been waited for: a client that sends its body slowly must not make the origin slow.
    fn waited(&self, now: Timestamp) -> Millis {
        if self.waits_for_its_client() { 0 } else { now.since(self.forward.asked.at) }
    }

    fn answered(mut self, head: response::Parts, body_intact: bool, now: Timestamp) -> Step {
        let status = head.status;
        self.forward.sent = self.forward.sent.saturating_add(1);
        let unconfirmed = |c: &Caching| c.validates() && c.confirmed(&head).is_none();
        let unconfirmed = status == StatusCode::NOT_MODIFIED && self.caching.as_ref().is_some_and(unconfirmed);
        let (retry, method) = (&self.exchange.route.retry, &self.exchange.request.head.method);
        let again = retry.allows(Setback::Status(status), method, self.forward.sent, body_intact);
        let failed =
            self.exchange.route.breaker.as_ref().is_some_and(|r| r.failure_statuses.contains(&status.as_u16()));
        let bodiless = unconfirmed || again || status == StatusCode::SWITCHING_PROTOCOLS;
        if failed || bodiless {
            self.note(AttemptOutcome::Response, Some(status.as_u16()), Some(failed), now);
        } else {
            self.note_head(status.as_u16(), now);
        }
        if !bodiless {
            self.hold(&head, now);
        }
        let Self { exchange, mut caching, mut forward, .. } = self;
        if unconfirmed {
            // A 304 about another response than ours: ask the same origin again, without conditions.
            if let Some(caching) = &mut caching {
                caching.candidate = None;
                caching.others.clear();
            }
            forward.unconditional = true;
            forward.looked_at = forward.looked_at.saturating_sub(1);
            return next(exchange, caching, forward, None, now);
        }
        if again {
            forward.asked_to_wait = forward.asked_to_wait.max(retry_after(&head, now));
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
            FailureKind::BodyAborted => (AttemptOutcome::RequestBody, Refusal::Abandoned, false),
            FailureKind::BodyTooSlow => (AttemptOutcome::RequestBody, Refusal::BodyTooSlow, false),
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

    /// Records that the head has come: the circuit goes on watching the body.
    fn note_head(&mut self, status: u16, now: Timestamp) {
        let took = self.waited(now);
        let watched = self.exchange.route.breaker.as_ref().zip(self.permit);
        let circuit =
            watched.and_then(|(rule, permit)| self.exchange.node.answered(&self.origin, rule, permit, took, now));
        self.push(AttemptOutcome::Response, Some(status), circuit, now);
    }

    /// Keeps the attempt that was noted last open until its body has ended.
    fn hold(&mut self, head: &response::Parts, now: Timestamp) {
        let took = self.waited(now);
        let exchange = &mut self.exchange;
        let last = exchange.report.attempts.len().saturating_sub(1);
        let trial = exchange.route.breaker.clone().zip(self.permit.take()).map(|(rule, permit)| Trial {
            node: exchange.node.clone(),
            origin: Arc::clone(&self.origin),
            rule,
            permit,
        });
        exchange.hold = Some(Hold::new(last, took, &exchange.request.head.method, head, trial));
    }

    /// Records the attempt, in the report and in the origin's circuit. `failed` is `None` when it says nothing about the origin.
    fn note(&mut self, outcome: AttemptOutcome, status: Option<u16>, failed: Option<bool>, now: Timestamp) {
        let took = self.waited(now);
        let circuit = self.exchange.route.breaker.clone().zip(self.permit.take()).and_then(|(rule, permit)| {
            let outcome = failed.map(|failed| Outcome { failed, took });
            self.exchange.node.record(&self.origin, &rule, permit, outcome, now)
        });
        self.push(outcome, status, circuit, now);
    }

    fn push(&mut self, outcome: AttemptOutcome, status: Option<u16>, circuit: Option<StateName>, now: Timestamp) {
        self.exchange.report.attempts.push(AttemptReport {
            origin: Arc::clone(&self.origin.name),
            region: self.origin.region.clone(),
            outcome,
            status,
            took_ms: now.since(self.forward.asked.at),
            circuit,
        });
    }
}

/// Returns how long a response asks to wait before the next request: a number of seconds, or a date.
fn retry_after(head: &response::Parts, now: Timestamp) -> Millis {
    let text = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.saturating_mul(1000);
    }
    date::parse(text, now).map_or(0, |at| at.since(now))
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
