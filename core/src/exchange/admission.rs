//! Admission: the route's limits are charged, all of them or none; those of bandwidth are found. Those
//! that count what is sent to an origin are charged when that is about to happen, the others when the
//! request comes.

use std::sync::Arc;

use super::hold::Ended;
use super::reply::Refused;
use super::state::{Caching, Exchange};
use super::step::{Admitted, AwaitVerdict, Step};
use super::taken::Taken;
use super::{fetch, finish, lookup, pacing, settle};
use crate::cache::{CacheKey, stale};
use crate::limit::key::{Counter, Keys};
use crate::limit::{Charge, Charged, Limit, Rule, StoreFault, key, plans};
use crate::message::request::Request;
use crate::problem::Refusal;
use crate::report::{Happening, LimitKind, LimitOutcome, LimitReport};
use crate::route::Route;
use crate::time::Timestamp;

/// Charges what counts every request.
pub(super) fn start(mut exchange: Box<Exchange>, now: Timestamp) -> Step {
    pacing::begin(&mut exchange);
    exchange.planned = planned(&exchange);
    charge(exchange, Admitted::LookUp, now)
}

/// Charges what counts requests to origins, if anything does.
pub(super) fn at_origin(
    mut exchange: Box<Exchange>,
    caching: Option<Caching>,
    now: Timestamp,
) -> Step {
    exchange.is_charged_at_origin = true;
    charge(exchange, Admitted::Fetch(caching), now)
}

fn charge(mut exchange: Box<Exchange>, then: Admitted, now: Timestamp) -> Step {
    let at_origin = matches!(then, Admitted::Fetch(_));
    let charges = match charges(&exchange, at_origin) {
        Ok(charges) => charges,
        Err(refusal) => return finish::refuse(exchange, refusal, now),
    };
    #[cfg(feature = "source")]
    let charges = overridden(&mut exchange, charges);
    if charges.is_empty() {
        return then.go_on(exchange, now);
    }
    exchange.report.note(Happening::Charge, now);
    Step::Charge(AwaitVerdict {
        exchange,
        charges,
        then,
    })
}

impl Admitted {
    fn go_on(self, exchange: Box<Exchange>, now: Timestamp) -> Step {
        match self {
            Self::LookUp => lookup::start(exchange, now),
            Self::Fetch(caching) => fetch::start(exchange, caching, now),
        }
    }
}

impl Exchange {
    /// Returns whether limits are still to be charged before an origin is asked.
    pub(super) fn is_to_be_charged_at_origin(&self) -> bool {
        if self.is_charged_at_origin {
            return false;
        }
        let counts = |route: &Arc<Route>| route.limits.iter().any(|limit| limit.counts_at_origin);
        counts(&self.route) || self.read_as.as_ref().is_some_and(counts)
    }
}

/// Finds the limits of the plans that a request is of. That is done before anything is sent on, and once:
/// what the request has said is told in the answer, too.
fn planned(exchange: &Exchange) -> Vec<Arc<Limit>> {
    let mut found: Vec<Arc<Limit>> = Vec::new();
    for route in [Some(&exchange.route), exchange.read_as.as_ref()]
        .into_iter()
        .flatten()
    {
        for limit in &route.limits {
            let Some(plan) = limit.planned(&exchange.request, &route.name) else {
                continue;
            };
            if found
                .iter()
                .all(|known| !Arc::ptr_eq(&known.name, &plan.name))
            {
                found.push(Arc::clone(plan));
            }
        }
    }
    found
}

/// Lists what a request is charged: by its route, and by the one that it takes when its path is
/// read otherwise.
fn charges(exchange: &Exchange, at_origin: bool) -> Result<Vec<Charge>, Refusal> {
    let mut charges: Vec<Charge> = Vec::with_capacity(exchange.route.limits.len());
    for route in [Some(&exchange.route), exchange.read_as.as_ref()]
        .into_iter()
        .flatten()
    {
        for limit in &route.limits {
            let limit = plans::in_force(limit, &exchange.planned);
            let is_known = charges
                .iter()
                .any(|charge| Arc::ptr_eq(&charge.limit, limit));
            if is_known || limit.counts_at_origin != at_origin {
                continue;
            }
            for (key, home) in counted(limit, &exchange.request, route)? {
                charges.push(Charge {
                    limit: Arc::clone(limit),
                    key,
                    home,
                    cost: limit.cost.of(&exchange.request),
                });
            }
        }
    }
    Ok(charges)
}

/// Charges keys by the quotas that operators have ordered for them, if there are any.
#[cfg(feature = "source")]
fn overridden(exchange: &mut Exchange, mut charges: Vec<Charge>) -> Vec<Charge> {
    for charge in &mut charges {
        let overrides = exchange.node.overrides();
        let Some(limit) = overrides.find(&charge.key, &charge.limit.name) else {
            continue;
        };
        charge.cost = limit.cost.of(&exchange.request);
        charge.limit = Arc::clone(&limit);
        // Clients are told this quota then, and not that of their plan.
        exchange
            .planned
            .retain(|plan| !Arc::ptr_eq(&plan.name, &limit.name));
        exchange.planned.push(limit);
    }
    charges
}

/// Says to which counts a limit charges a request, or why it refuses it. A dry run refuses nothing.
fn counted(limit: &Limit, request: &Request, route: &Route) -> Result<Vec<Counter>, Refusal> {
    if !limit.counts(request) {
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

    /// Returns the key for which this request fetches on behalf of all others, if it does. They may
    /// be woken when the exchange has ended in any way.
    pub fn leads(&self) -> Option<&CacheKey> {
        let Admitted::Fetch(Some(caching)) = &self.then else {
            return None;
        };
        caching.lead.as_ref().map(|_| &caching.key)
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
            then,
        } = self;
        let answers = answers
            .iter()
            .copied()
            .chain(std::iter::repeat(Charged::Unavailable(StoreFault::Broken)));
        let mut reports: Vec<LimitReport> = Vec::with_capacity(charges.len());
        let mut taken = Vec::new();
        for (charge, answer) in charges.iter().zip(answers) {
            taken.extend(Taken::of(charge, answer));
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
                | LimitOutcome::Unasked
                | LimitOutcome::WouldReject
                | LimitOutcome::UnavailableAllowed => continue,
            }
            refusing.push(Arc::clone(&report.name));
        }
        exchange.report.limits.extend(reports);
        if !rejected && !unavailable {
            exchange.taken.extend(taken);
            return then.go_on(exchange, now);
        }
        let refusal = if rejected {
            Refusal::LimitExceeded
        } else {
            Refusal::LimitUnavailable
        };
        // What is stored needs no origin, and is better than a refusal.
        if let Admitted::Fetch(Some(caching)) = then
            && let Some(candidate) = &caching.candidate
            && stale::usable_when_disconnected(candidate, now)
        {
            return settle::failed(exchange, Some(caching), Refused::from(refusal), now);
        }
        let names: Vec<&str> = refusing.iter().map(|name| &**name).collect();
        finish::refuse_naming(exchange, refusal.into(), &names, now)
    }
}

fn report(charge: &Charge, answer: Charged) -> LimitReport {
    let limit = &charge.limit;
    let (verdict, store_fault) = match answer {
        Charged::Verdict(verdict) => (Some(verdict), None),
        Charged::Local(verdict, fault) => (Some(verdict), Some(fault)),
        Charged::Unavailable(fault) => (None, Some(fault)),
        Charged::Unasked => (None, None),
    };
    let outcome = match verdict {
        Some(verdict) if verdict.allowed => LimitOutcome::Allowed,
        Some(_) if limit.dry_run => LimitOutcome::WouldReject,
        Some(_) => LimitOutcome::Rejected,
        None if answer == Charged::Unasked => LimitOutcome::Unasked,
        None if charge.refuses(answer) => LimitOutcome::UnavailableDenied,
        None => LimitOutcome::UnavailableAllowed,
    };
    LimitReport {
        name: Arc::clone(&limit.name),
        plan: limit.plan.clone(),
        is_override: limit.is_override,
        kind: match limit.rule {
            Rule::Rate(_) => LimitKind::Rate,
            Rule::Budget(_) => LimitKind::Budget,
            Rule::Slots(_) => LimitKind::Concurrency,
        },
        outcome,
        dry_run: limit.dry_run,
        remaining: verdict.map_or(0, |verdict| verdict.remaining),
        reset_ms: verdict.map_or(0, |verdict| verdict.reset),
        retry_after_ms: verdict.map_or(0, |verdict| verdict.retry_after),
        store_fault,
    }
}

#[cfg(all(test, feature = "source"))]
mod tests;
