//! An attempt whose answer has not come: what is remembered of it, and what is recorded at its end.

use std::sync::Arc;

use http::response;
use smallvec::SmallVec;

use super::hold::{Call, Trial};
use super::state::Exchange;
use crate::breaker::{Outcome, Permit, StateName};
use crate::cache::SentAt;
use crate::message::request::RequestBody;
use crate::report::{AttemptOutcome, AttemptReport, Happening};
use crate::route::Origin;
use crate::time::{Millis, Timestamp};

/// Attempts whose answers have not come: two at most.
pub(super) type Attempts = SmallVec<[UnderWay; 2]>;

/// An attempt whose answer has not come.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// The attempt's number in its exchange.
    pub(super) number: u8,
    pub(super) origin: Arc<Origin>,
    pub(super) permit: Option<Permit>,
    pub(super) asked: SentAt,
    /// Which turn in the order of origins it was.
    pub(super) turn: usize,
    /// Whether it was sent with conditions of the store's.
    pub(super) validates: bool,
    /// Whether its answer was so late that another attempt was made beside it.
    pub(super) is_late: bool,
}

impl UnderWay {
    /// Returns for how long the origin has surely been waited for: a client that sends its body
    /// slowly must not make the origin slow.
    fn waited(&self, exchange: &Exchange, now: Timestamp) -> Millis {
        if waits_for_its_client(exchange) {
            0
        } else {
            now.since(self.asked.at)
        }
    }

    /// Records that the head has come: the circuit goes on watching the body.
    pub(super) fn note_head(&mut self, exchange: &mut Exchange, status: u16, now: Timestamp) {
        let took = self.waited(exchange, now);
        let watched = exchange.route.breaker.as_ref().zip(self.permit);
        let circuit = watched.and_then(|(rule, permit)| {
            let node = &exchange.node;
            node.answered(&self.origin, rule, permit, took, now)
        });
        self.push(
            exchange,
            AttemptOutcome::Response,
            Some(status),
            circuit,
            Happening::Response,
            now,
        );
    }

    /// Keeps the attempt, which was noted last, open until its body has ended.
    pub(super) fn hold(&mut self, exchange: &mut Exchange, head: &response::Parts, now: Timestamp) {
        let took = self.waited(exchange, now);
        let last = exchange.report.attempts.len().saturating_sub(1);
        let watched = exchange.route.breaker.clone().zip(self.permit.take());
        let trial = watched.map(|(rule, permit)| Trial {
            node: exchange.node.clone(),
            origin: Arc::clone(&self.origin),
            rule,
            permit,
        });
        let method = &exchange.request.head.method;
        exchange.call = Some(Call::new(last, took, method, head, trial));
    }

    /// Records the attempt, in the report and in the origin's circuit. `failed` is `None` when it
    /// says nothing about the origin.
    pub(super) fn note(
        &mut self,
        exchange: &mut Exchange,
        outcome: AttemptOutcome,
        status: Option<u16>,
        failed: Option<bool>,
        now: Timestamp,
    ) {
        let took = self.waited(exchange, now);
        let watched = exchange.route.breaker.clone().zip(self.permit.take());
        let circuit = watched.and_then(|(rule, permit)| {
            let outcome = failed.map(|failed| Outcome { failed, took });
            let node = &exchange.node;
            node.record(&self.origin, &rule, permit, outcome, now)
        });
        let happening = if status.is_some() {
            Happening::Response
        } else {
            Happening::Failure
        };
        self.push(exchange, outcome, status, circuit, happening, now);
    }

    /// Records that nobody waits for the answer any more. An origin that had as much time as makes a
    /// call slow is slow at least, unless the client itself was what it waited for. So is one that
    /// another was made beside: else the circuit of an origin that hangs would never learn of it.
    pub(super) fn give_up(
        mut self,
        exchange: &mut Exchange,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) {
        let waited = self.waited(exchange, now);
        let watched = exchange.route.breaker.clone().zip(self.permit.take());
        let circuit = watched.and_then(|(rule, permit)| {
            let is_outrun = self.is_late && outcome == AttemptOutcome::Outrun;
            let took = if is_outrun {
                waited.max(rule.slow_call)
            } else {
                waited
            };
            let is_slow = took >= rule.slow_call && !waits_for_its_client(exchange);
            let outcome = is_slow.then_some(Outcome {
                failed: false,
                took,
            });
            let node = &exchange.node;
            node.record(&self.origin, &rule, permit, outcome, now)
        });
        self.push(exchange, outcome, None, circuit, Happening::LetGo, now);
    }

    fn push(
        &self,
        exchange: &mut Exchange,
        outcome: AttemptOutcome,
        status: Option<u16>,
        circuit: Option<StateName>,
        happening: Happening,
        now: Timestamp,
    ) {
        let report = &mut exchange.report;
        report.note_attempt(happening, self.number, now);
        report.attempts.push(AttemptReport {
            number: Some(self.number),
            origin: Arc::clone(&self.origin.name),
            region: self.origin.region.clone(),
            outcome,
            status,
            took_ms: now.since(self.asked.at),
            circuit,
        });
    }
}

/// Returns whether an origin may wait for the client's body. How long it does, nobody says.
fn waits_for_its_client(exchange: &Exchange) -> bool {
    exchange.request.body != RequestBody::Empty
}
