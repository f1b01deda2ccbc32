//! What a reply keeps until the origin's body has ended.
//!
//! Why: an origin that sends a head and then breaks off, or stalls, has failed. Its circuit, the
//! access log and the metrics are told when the body has ended, not when the head has come. A hold
//! ends exactly once; one that is lost leaves a circuit as if the head had been all, because the
//! permit inside it expires.

use std::sync::Arc;

use http::{Method, StatusCode, header, response};

use crate::breaker::{BreakerPolicy, Permit};
use crate::node::Node;
use crate::report::{AttemptOutcome, Report};
use crate::route::Origin;
use crate::time::{Millis, Timestamp};

/// A call may take another [`BreakerPolicy::slow_call`] for each so many bytes of its body before it counts
/// as slow.
const BYTES_FOR_A_SLOW_CALL: u64 = 1 << 20;

/// What a reply keeps until the origin's body has ended: the permit of the origin's circuit, and
/// the report's last word on the attempt.
#[derive(Debug)]
pub struct Hold {
    /// Position in [`Report::attempts`].
    attempt: usize,
    /// For how long the origin was waited for until the response's head came.
    took: Millis,
    /// Bytes that the head announces.
    announced: Option<u64>,
    /// Whether pauses are what the body is made of, which only a circuit asks.
    events: bool,
    trial: Option<Trial>,
}

/// The call in its origin's circuit.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) node: Node,
    pub(super) origin: Arc<Origin>,
    pub(super) rule: Arc<BreakerPolicy>,
    pub(super) permit: Permit,
}

/// How an origin's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// It came to its end.
    Whole,
    /// It broke off.
    Broken,
    /// The origin paused for longer than its timeouts allow.
    Stalled,
    /// Nobody wanted the rest: the client went away, or the body is too large to be stored. This
    /// says nothing about the origin.
    Unwanted,
}

/// What a shell saw of an origin's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodySeen {
    /// How it ended.
    pub end: BodyEnd,
    /// How many bytes came, as far as the shell knows.
    pub bytes: Option<u64>,
    /// How long the origin was waited for, the client's own pauses not counted; 0 where a shell
    /// cannot tell them apart.
    pub waited: Millis,
}

impl BodySeen {
    /// A body of which the shell knows only how it ended.
    pub const fn only(end: BodyEnd) -> Self {
        Self {
            end,
            bytes: None,
            waited: 0,
        }
    }
}

impl Hold {
    pub(super) fn new(
        attempt: usize,
        took: Millis,
        method: &Method,
        head: &response::Parts,
        trial: Option<Trial>,
    ) -> Self {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
        let has_body = method != Method::HEAD && !bodiless;
        let length = head
            .headers
            .get(header::CONTENT_LENGTH)
            .filter(|_| has_body);
        let announced = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let events = trial.is_some() && is_events(head);
        Self {
            attempt,
            took,
            announced,
            events,
            trial,
        }
    }

    /// Tells the circuit and the report how the body ended. The report is to be recorded then, and
    /// not before.
    pub fn end(self, report: &mut Report, seen: BodySeen, now: Timestamp) {
        let short = matches!((seen.bytes, self.announced), (Some(bytes), Some(announced)) if bytes < announced);
        let end = if seen.end == BodyEnd::Whole && short {
            BodyEnd::Broken
        } else {
            seen.end
        };
        let outcome = match end {
            BodyEnd::Whole | BodyEnd::Unwanted => AttemptOutcome::Response,
            BodyEnd::Broken => AttemptOutcome::BodyBroken,
            BodyEnd::Stalled => AttemptOutcome::BodyTimeout,
        };
        let circuit = self.trial.as_ref().and_then(|trial| {
            let failed = outcome != AttemptOutcome::Response;
            let made_slow = self.made_slow(&trial.rule, seen);
            trial.node.ended(
                &trial.origin,
                &trial.rule,
                trial.permit,
                (failed, made_slow),
                now,
            )
        });
        if let Some(attempt) = report.attempts.get_mut(self.attempt) {
            attempt.outcome = outcome;
            attempt.circuit = circuit.or(attempt.circuit);
        }
    }

    /// Returns whether the origin was slow to send the body after a head that was not slow. A large
    /// body may take longer than a small one, and pauses are what a stream of events is made of.
    fn made_slow(&self, rule: &BreakerPolicy, seen: BodySeen) -> bool {
        let more = seen.bytes.unwrap_or(0) / BYTES_FOR_A_SLOW_CALL;
        let allowed = rule.slow_call.saturating_mul(more.saturating_add(1));
        !self.events
            && self.took < rule.slow_call
            && self.took.saturating_add(seen.waited) >= allowed
    }
}

fn is_events(head: &response::Parts) -> bool {
    let media = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next());
    media.is_some_and(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
}
