//! Admission: the route's limits are charged, all of them or none.

use std::sync::Arc;

use super::{Exchange, Step, finish, lookup};
use crate::limit::key;
use crate::limit::{Charge, Charged, Limit, OnStoreError, Verdict};
use crate::parts::push_part;
use crate::problem::Refusal;
use crate::report::{LimitOutcome, LimitReport, StepName};
use crate::time::Timestamp;

/// Waits for the limits' answer.
#[derive(Debug)]
pub struct AwaitVerdict {
    exchange: Box<Exchange>,
    charges: Vec<Charge>,
}

pub(super) fn start(mut exchange: Box<Exchange>, now: Timestamp) -> Step {
    if exchange.route.limits.is_empty() {
        return lookup::start(exchange, now);
    }
    exchange.step(StepName::Charge);
    let charges = exchange.route.limits.iter().map(|limit| charge(limit, &exchange)).collect();
    Step::Charge(AwaitVerdict { exchange, charges })
}

fn charge(limit: &Arc<Limit>, exchange: &Exchange) -> Charge {
    let mut bytes = Vec::with_capacity(64);
    push_part(&mut bytes, Some(limit.name.as_bytes()));
    for part in &limit.key {
        key::push(&mut bytes, part, &exchange.request, &exchange.route.name);
    }
    Charge { limit: Arc::clone(limit), key: bytes }
}

impl AwaitVerdict {
    /// Returns what to charge, in the order in which answers are expected.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// Takes the answers, one for each charge. A missing answer counts as unavailable.
    pub fn resume(self, answers: &[Charged], now: Timestamp) -> Step {
        let Self { mut exchange, charges } = self;
        let answers = answers.iter().copied().chain(std::iter::repeat(Charged::Unavailable));
        exchange.report.limits = charges.iter().zip(answers).map(|(charge, answer)| report(charge, answer)).collect();
        let has = |outcome: LimitOutcome| exchange.report.limits.iter().any(|l| l.outcome == outcome);
        if has(LimitOutcome::Rejected) {
            return finish::refuse(exchange, Refusal::LimitExceeded, now);
        }
        if has(LimitOutcome::UnavailableDenied) {
            return finish::refuse(exchange, Refusal::LimitUnavailable, now);
        }
        lookup::start(exchange, now)
    }
}

fn report(charge: &Charge, answer: Charged) -> LimitReport {
    let limit = &charge.limit;
    let (outcome, verdict) = match answer {
        Charged::Verdict(verdict) if verdict.allowed => (LimitOutcome::Allowed, verdict),
        Charged::Verdict(verdict) if limit.dry_run => (LimitOutcome::WouldReject, verdict),
        Charged::Verdict(verdict) => (LimitOutcome::Rejected, verdict),
        Charged::Unavailable => {
            let nothing = Verdict { allowed: false, remaining: 0, reset: 0, retry_after: 0 };
            match limit.on_store_error {
                OnStoreError::Deny if !limit.dry_run => (LimitOutcome::UnavailableDenied, nothing),
                OnStoreError::Deny | OnStoreError::Allow => (LimitOutcome::UnavailableAllowed, nothing),
            }
        }
    };
    LimitReport {
        name: Arc::clone(&limit.name),
        outcome,
        dry_run: limit.dry_run,
        remaining: verdict.remaining,
        reset_ms: verdict.reset,
        retry_after_ms: verdict.retry_after,
    }
}
