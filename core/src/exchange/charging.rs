//! What a request is charged: by limits that count every request when it comes, and by those that
//! count what is sent to an origin when that is about to happen.

use std::sync::Arc;

use super::finish;
use super::state::{Caching, Exchange};
use super::step::{Admitted, AwaitVerdict, Step};
use crate::limit::key::{Counter, Keys};
use crate::limit::{Charge, Limit, key, plans};
use crate::message::request::Request;
use crate::problem::Refusal;
use crate::report::Happening;
use crate::route::Route;
use crate::time::Timestamp;

/// What is to be done first.
pub(super) enum Charging {
    /// Counters are asked, or the request is refused.
    Asks(Step),
    /// Nothing: no limit counts the request.
    Nothing(Box<Exchange>, Admitted),
}

/// Charges what counts requests to origins, if anything does.
pub(super) fn at_origin(
    mut exchange: Box<Exchange>,
    caching: Option<Caching>,
    now: Timestamp,
) -> Charging {
    let is_to_be_charged = exchange.is_to_be_charged_at_origin();
    exchange.is_charged_at_origin = true;
    let then = Admitted::Fetch(caching);
    if is_to_be_charged {
        charge(exchange, then, now)
    } else {
        Charging::Nothing(exchange, then)
    }
}

/// Charges what counts the request at this moment.
pub(super) fn charge(mut exchange: Box<Exchange>, then: Admitted, now: Timestamp) -> Charging {
    let at_origin = matches!(then, Admitted::Fetch(_));
    let charges = match charges(&exchange, at_origin) {
        Ok(charges) => charges,
        Err(refusal) => return Charging::Asks(finish::refuse(exchange, refusal, now)),
    };
    #[cfg(feature = "source")]
    let charges = overridden(&mut exchange, charges);
    if charges.is_empty() {
        return Charging::Nothing(exchange, then);
    }
    exchange.report.note(Happening::Charge, now);
    Charging::Asks(Step::Charge(AwaitVerdict {
        exchange,
        charges,
        then,
    }))
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
pub(super) fn planned(exchange: &Exchange) -> Vec<Arc<Limit>> {
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
