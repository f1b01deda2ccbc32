//! What a reply keeps until its body has ended.
//!
//! Why: an origin that sends a head and then breaks off, or stalls, has failed, and a reply whose
//! body breaks off is not the reply that was decided. The origin's circuit, the access log and the
//! metrics are told when the bodies have ended, not when the head has come. A hold ends exactly
//! once; one that is lost leaves a circuit as if the head had been all, because the permit inside it
//! expires.

use std::sync::Arc;

use http::{Method, StatusCode, header, response};

use super::taken::{Settlement, Taken};
use crate::breaker::{BreakerPolicy, Permit};
use crate::message::syntax;
use crate::node::Node;
use crate::report::{AttemptOutcome, BodyEnd, Report};
use crate::route::Origin;
use crate::time::{Millis, Timestamp};

/// A call may take another [`BreakerPolicy::slow_call`] for each so many bytes of its body before it counts
/// as slow.
const BYTES_FOR_A_SLOW_CALL: u64 = 1 << 20;

/// What a reply keeps until its body has ended: the report, which is complete then, and the call of
/// an origin whose body is still to come.
#[derive(Debug)]
pub struct Hold {
    report: Box<Report>,
    /// In a box, since most replies have none.
    call: Option<Box<Call>>,
    /// Bytes that the reply announces, if its body is the origin's.
    reply_announces: Option<u64>,
    /// What was taken of limits, and may have been another amount.
    taken: Box<[Taken]>,
}

/// An exchange that has ended, with its bodies.
#[derive(Debug)]
#[must_use = "the report is to be recorded, and limits are to be settled"]
pub struct Ended {
    /// Every decision and its reason. It is complete.
    pub report: Box<Report>,
    /// What the shell has done by whoever counts.
    pub settlements: Vec<Settlement>,
}

impl Ended {
    pub(super) fn new(report: Box<Report>, taken: Vec<Taken>, bytes: Option<u64>) -> Self {
        let mut settlements = Vec::new();
        for taken in taken {
            settlements.extend(taken.settlement(bytes));
        }
        Self {
            report,
            settlements,
        }
    }
}

/// The call of an origin whose body is still to come.
#[derive(Debug)]
pub(crate) struct Call {
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
    pub(super) fn new(report: Box<Report>, call: Option<Call>, taken: Vec<Taken>) -> Self {
        Self {
            report,
            call: call.map(Box::new),
            reply_announces: None,
            taken: taken.into(),
        }
    }

    /// The reply's body is the origin's.
    pub(super) fn replies_with_origin(&mut self) {
        self.reply_announces = self.announced();
    }

    /// Returns the report as far as it is known. What [`Hold::end`] returns is to be recorded.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns how many bytes the origin's body has, as its head announces.
    pub fn announced(&self) -> Option<u64> {
        self.call.as_ref().and_then(|call| call.announced)
    }

    /// Returns whether an origin's body is to be read to its end, here or into the store, and
    /// [`Hold::origin_ended`] to be told how it ended.
    pub fn awaits_origin(&self) -> bool {
        self.call.is_some()
    }

    /// Returns whether a circuit is to learn how the origin's body ended. If not, only the report is.
    pub fn has_circuit(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.trial.is_some())
    }

    /// Tells the circuit and the report how the origin's body ended.
    pub fn origin_ended(&mut self, seen: BodySeen, now: Timestamp) {
        if let Some(call) = self.call.take() {
            call.end(&mut self.report, seen, now);
        }
    }

    /// Completes the report: the reply's body has ended, after so many bytes if the shell knows.
    pub fn end(mut self, end: BodyEnd, bytes: Option<u64>, now: Timestamp) -> Ended {
        let end = unless_short(end, bytes, self.reply_announces);
        self.report.note_end(end, bytes, now);
        self.settle(bytes)
    }

    /// Ends a reply of whose body the shell sees nothing.
    pub fn unseen(self) -> Ended {
        self.settle(None)
    }

    fn settle(self, bytes: Option<u64>) -> Ended {
        Ended::new(self.report, self.taken.into(), bytes)
    }

    /// Returns whether limits are settled at the end, so that it is worth to wait for it.
    pub fn settles(&self) -> bool {
        !self.taken.is_empty()
    }
}

impl Call {
    pub(super) fn new(
        attempt: usize,
        took: Millis,
        method: &Method,
        head: &response::Parts,
        trial: Option<Trial>,
    ) -> Self {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
        let has_body = method != Method::HEAD && !bodiless;
        let announced = if has_body { announced(head) } else { None };
        let events = trial.is_some() && is_events(head);
        Self {
            attempt,
            took,
            announced,
            events,
            trial,
        }
    }

    pub(super) fn end(self, report: &mut Report, seen: BodySeen, now: Timestamp) {
        let outcome = match unless_short(seen.end, seen.bytes, self.announced) {
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

/// A body that ended well with fewer bytes than were announced has broken off.
fn unless_short(end: BodyEnd, bytes: Option<u64>, announced: Option<u64>) -> BodyEnd {
    match (end, bytes, announced) {
        (BodyEnd::Whole, Some(bytes), Some(announced)) if bytes < announced => BodyEnd::Broken,
        _ => end,
    }
}

fn announced(head: &response::Parts) -> Option<u64> {
    let length = syntax::text(&head.headers, header::CONTENT_LENGTH)?;
    length.parse().ok()
}

fn is_events(head: &response::Parts) -> bool {
    let Some(media) = syntax::text(&head.headers, header::CONTENT_TYPE) else {
        return false;
    };
    let kind = media.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/event-stream")
}
