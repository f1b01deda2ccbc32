//! Origins answer, or fail to: what is done with it. While the answer of one attempt is late,
//! another may be made beside it; the first usable answer counts.

use http::{StatusCode, header, response};

use super::attempt::{Answer, Failure, FailureKind};
use super::fetching::Fetching;
use super::hold::Ended;
use super::state::{Answered, Exchange};
use super::step::{AwaitResponse, Step};
use super::under_way::{Attempts, UnderWay};
use super::{fetch, finish, settle};
use crate::cache::{CacheKey, date};
use crate::message::framing::Unreadable;
use crate::message::{framing, syntax};
use crate::problem::Refusal;
use crate::report::AttemptOutcome;
use crate::retry::RetryCause;
use crate::time::{Millis, Timestamp};

impl AwaitResponse {
    /// Returns the key for which this request fetches on behalf of all others, if it does. They may
    /// be woken when the exchange, or the storing of its response, has ended in any way.
    pub fn leads(&self) -> Option<&CacheKey> {
        let caching = self.fetching.caching.as_ref()?;
        caching.lead.as_ref().map(|_| &caching.key)
    }

    /// Returns when [`AwaitResponse::hedge`] is to be called, if no answer has come until then.
    pub fn hedge_at(&self) -> Option<Timestamp> {
        self.hedge_at
    }

    /// Returns whether the exchange is to be driven to its end although its client has gone: the
    /// origin may be changing what is stored.
    pub fn outlives_its_client(&self) -> bool {
        !self.fetching.exchange.request.head.method.is_safe()
    }

    /// The answer is late: makes another attempt beside the one under way, if an origin may be
    /// asked.
    pub fn hedge(mut self: Box<Self>, now: Timestamp) -> Step {
        self.hedge_at = None;
        let Some((origin, permit)) = self.fetching.look_beside(now) else {
            return Step::Await(self);
        };
        for attempt in &mut self.under_way {
            attempt.is_late = true;
        }
        fetch::attempt(self.fetching, self.under_way, origin, permit, now)
    }

    /// Takes the head of an attempt's response, or why there is none. The shell keeps the body for
    /// [`super::Source::Origin`], and drops it if origins are still asked or waited for: an answer
    /// that would be tried again is lost when another attempt is waited for. When none is any more,
    /// the shell ends the attempts whose answers have not come.
    pub fn resume(
        mut self: Box<Self>,
        number: u8,
        answer: Result<Answer, Failure>,
        now: Timestamp,
    ) -> Step {
        let mut attempts = self.under_way.iter();
        let Some(position) = attempts.position(|attempt| attempt.number == number) else {
            return Step::Await(self);
        };
        let attempt = self.under_way.remove(position);
        self.hedge_at = None;
        let Answer {
            mut head,
            body_intact,
        } = match answer {
            Ok(answer) => answer,
            Err(failure) => return self.failed(attempt, failure, now),
        };
        let is_upgrade = self.fetching.exchange.request.websocket;
        if let Err(Unreadable) = framing::read_response(&mut head, is_upgrade) {
            let failure = Failure {
                kind: FailureKind::Protocol,
                sent: true,
                body_intact,
            };
            return self.failed(attempt, failure, now);
        }
        self.answered(attempt, head, body_intact, now)
    }

    /// Ends the exchange without an answer: its client has gone, or this node stops.
    pub fn abandon(self, now: Timestamp) -> Ended {
        let mut exchange = self.fetching.exchange;
        give_up(
            self.under_way,
            &mut exchange,
            AttemptOutcome::Abandoned,
            now,
        );
        finish::abandoned(*exchange, now)
    }

    fn answered(
        mut self: Box<Self>,
        mut attempt: UnderWay,
        head: response::Parts,
        body_intact: bool,
        now: Timestamp,
    ) -> Step {
        let status = head.status;
        self.fetching.sent = self.fetching.sent.saturating_add(1);
        let Fetching {
            exchange,
            caching,
            sent,
            ..
        } = &mut self.fetching;
        // What was to be validated may have been purged since.
        let unconfirmed = status == StatusCode::NOT_MODIFIED
            && attempt.validates
            && caching
                .as_ref()
                .is_some_and(|caching| caching.confirmed(&head).is_none());
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
            attempt.note(
                exchange,
                AttemptOutcome::Response,
                Some(status.as_u16()),
                Some(failed),
                now,
            );
        } else {
            attempt.note_head(exchange, status.as_u16(), now);
        }
        if again && !self.under_way.is_empty() {
            self.fetching.heed(now.plus(retry_after(&head, now)));
            return Step::Await(self);
        }
        // Also of an answer that is to be tried again: it is passed on if nothing is left to try.
        if !bodiless {
            attempt.hold(exchange, &head, now);
        }
        *sent = sent.saturating_add(give_up(
            self.under_way,
            exchange,
            AttemptOutcome::Outrun,
            now,
        ));
        let mut fetching = self.fetching;
        if unconfirmed {
            fetching.ask_unconditionally(attempt.turn);
            return fetch::next(fetching, None, now);
        }
        let asked = attempt.asked;
        if again {
            fetching.heed(now.plus(retry_after(&head, now)));
            return fetch::next(fetching, Some((Box::new(head), asked)), now);
        }
        let Fetching {
            exchange, caching, ..
        } = fetching;
        let answered = Answered {
            exchange,
            caching,
            head,
            asked,
        };
        settle::from_origin(answered, now)
    }

    fn failed(
        mut self: Box<Self>,
        mut attempt: UnderWay,
        failure: Failure,
        now: Timestamp,
    ) -> Step {
        let (outcome, refusal, blames_origin) = meaning(failure.kind);
        let fetching = &mut self.fetching;
        let blame = blames_origin.then_some(true);
        attempt.note(&mut fetching.exchange, outcome, None, blame, now);
        fetching.refusal = refusal;
        fetching.sent = fetching.sent.saturating_add(u8::from(failure.sent));
        let setback = if failure.sent {
            RetryCause::Lost
        } else {
            RetryCause::NeverSent
        };
        let Exchange { route, request, .. } = &*fetching.exchange;
        let method = &request.head.method;
        let repeats = blames_origin
            && route
                .retry
                .allows(setback, method, fetching.sent, failure.body_intact);
        if blames_origin && !self.under_way.is_empty() {
            return Step::Await(self);
        }
        if repeats {
            return fetch::next(self.fetching, None, now);
        }
        give_up(
            self.under_way,
            &mut self.fetching.exchange,
            AttemptOutcome::Outrun,
            now,
        );
        let Fetching {
            exchange, caching, ..
        } = self.fetching;
        settle::failed(exchange, caching, refusal.into(), now)
    }
}

/// Records attempts for whose answers nobody waits any more. Returns how many there are.
fn give_up(
    attempts: Attempts,
    exchange: &mut Exchange,
    outcome: AttemptOutcome,
    now: Timestamp,
) -> u8 {
    let mut count = 0;
    for attempt in attempts {
        attempt.give_up(exchange, outcome, now);
        count += 1;
    }
    count
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
