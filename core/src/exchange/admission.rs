//! Admission: the route's limits are charged, all of them or none.

use std::sync::Arc;

use super::hold::Ended;
use super::state::Exchange;
use super::step::{AwaitVerdict, Step};
use super::{finish, lookup};
use crate::limit::key::{CounterKey, Keys};
use crate::limit::{Charge, Charged, Limit, OnStoreError, Rule, Slot, Verdict, key};
use crate::message::request::Request;
use crate::problem::Refusal;
use crate::report::{Happening, LimitKind, LimitOutcome, LimitReport};
use crate::route::Route;
use crate::time::Timestamp;

pub(super) fn start(mut exchange: Box<Exchange>, now: Timestamp) -> Step {
    let charges = match charges(&exchange) {
        Ok(charges) => charges,
        Err(refusal) => return finish::refuse(exchange, refusal, now),
    };
    if charges.is_empty() {
        return lookup::start(exchange, now);
    }
    exchange.report.note(Happening::Charge, now);
    Step::Charge(AwaitVerdict { exchange, charges })
}

/// Lists what a request is charged: by its route, and by the one that it takes when its path is
/// read otherwise.
fn charges(exchange: &Exchange) -> Result<Vec<Charge>, Refusal> {
    let mut charges: Vec<Charge> = Vec::with_capacity(exchange.route.limits.len());
    for route in [Some(&exchange.route), exchange.read_as.as_ref()]
        .into_iter()
        .flatten()
    {
        for limit in &route.limits {
            if charges
                .iter()
                .any(|charge| Arc::ptr_eq(&charge.limit, limit))
            {
                continue;
            }
            let keys = counted(limit, &exchange.request, route)?;
            charges.extend(keys.into_iter().map(|key| Charge {
                limit: Arc::clone(limit),
                key,
            }));
        }
    }
    Ok(charges)
}

/// Says to which counts a limit charges a request, or why it refuses it. A dry run refuses nothing.
fn counted(limit: &Limit, request: &Request, route: &Route) -> Result<Vec<CounterKey>, Refusal> {
    if !limit.counts(&request.head.method) {
        return Ok(Vec::new());
    }
    match key::keys(limit, request, &route.name) {
        Keys::Of(keys) => Ok(keys),
        Keys::TooMany(keys) if limit.dry_run => Ok(keys),
        Keys::TooMany(_) => Err(Refusal::AmbiguousCaller),
        Keys::Absent if !limit.dry_run => Err(Refusal::UnknownCaller),
        Keys::Absent | Keys::Skipped => Ok(Vec::new()),
    }
}

impl AwaitVerdict {
    /// Returns what to charge, in the order in which answers are expected.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// Ends the exchange without an answer: its client has gone, or this node stops.
    pub fn abandon(self, now: Timestamp) -> Ended {
        finish::abandoned(*self.exchange, now)
    }

    /// Takes the answers, one for each charge. A missing answer counts as unavailable.
    pub fn resume(self, answers: &[Charged], now: Timestamp) -> Step {
        let Self {
            mut exchange,
            charges,
        } = self;
        let answers = answers
            .iter()
            .copied()
            .chain(std::iter::repeat(Charged::Unavailable));
        let mut reports: Vec<LimitReport> = Vec::with_capacity(charges.len());
        for (charge, answer) in charges.iter().zip(answers) {
            exchange.slots.extend(slot(charge, answer));
            let report = report(charge, answer);
            match reports
                .last_mut()
                .filter(|last| Arc::ptr_eq(&last.name, &report.name))
            {
                Some(last) if last.tightness() < report.tightness() => *last = report,
                Some(_) => {}
                None => reports.push(report),
            }
        }
        let (mut rejected, mut unavailable) = (false, false);
        let mut refusing: Vec<Arc<str>> = Vec::new();
        for report in &reports {
            match report.outcome {
                LimitOutcome::Rejected => rejected = true,
                LimitOutcome::UnavailableDenied => unavailable = true,
                LimitOutcome::Allowed
                | LimitOutcome::WouldReject
                | LimitOutcome::UnavailableAllowed => continue,
            }
            refusing.push(Arc::clone(&report.name));
        }
        exchange.report.limits = reports;
        if !rejected && !unavailable {
            return lookup::start(exchange, now);
        }
        let refusal = if rejected {
            Refusal::LimitExceeded
        } else {
            Refusal::LimitUnavailable
        };
        let names: Vec<&str> = refusing.iter().map(|name| &**name).collect();
        finish::refuse_naming(exchange, refusal.into(), &names, now)
    }
}

/// Returns the slot that was taken, if one was.
fn slot(charge: &Charge, answer: Charged) -> Option<Slot> {
    match (&charge.limit.rule, answer) {
        (Rule::Slots(_), Charged::Verdict(Verdict { period_end, .. }))
            if period_end != Timestamp::default() =>
        {
            Some(Slot {
                charge: charge.clone(),
                period_end,
            })
        }
        _ => None,
    }
}

fn report(charge: &Charge, answer: Charged) -> LimitReport {
    let limit = &charge.limit;
    let (outcome, verdict) = match answer {
        Charged::Verdict(verdict) if verdict.allowed => (LimitOutcome::Allowed, verdict),
        Charged::Verdict(verdict) if limit.dry_run => (LimitOutcome::WouldReject, verdict),
        Charged::Verdict(verdict) => (LimitOutcome::Rejected, verdict),
        Charged::Unavailable => {
            let nothing = Verdict {
                allowed: false,
                remaining: 0,
                reset: 0,
                retry_after: 0,
                period_end: Timestamp::default(),
            };
            match limit.on_store_error {
                OnStoreError::Deny if !limit.dry_run => (LimitOutcome::UnavailableDenied, nothing),
                OnStoreError::Deny | OnStoreError::Allow => {
                    (LimitOutcome::UnavailableAllowed, nothing)
                }
            }
        }
    };
    LimitReport {
        name: Arc::clone(&limit.name),
        kind: match limit.rule {
            Rule::Rate(_) => LimitKind::Rate,
            Rule::Budget(_) => LimitKind::Budget,
            Rule::Slots(_) => LimitKind::Concurrency,
        },
        outcome,
        dry_run: limit.dry_run,
        remaining: verdict.remaining,
        reset_ms: verdict.reset,
        retry_after_ms: verdict.retry_after,
    }
}
