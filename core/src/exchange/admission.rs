//! Admission: what counters answer decides whether a request goes on. Limits of bandwidth are found.

use std::sync::Arc;

use super::charging::{self, Charging};
use super::hold::Ended;
use super::reply::Refused;
use super::state::Exchange;
use super::step::{Admitted, AwaitVerdict, Step};
use super::taken::Taken;
use super::{fetch, finish, lookup, pacing, settle};
use crate::cache::{CacheKey, stale};
use crate::limit::{Charge, Charged, Rule, StoreFault};
use crate::problem::Refusal;
use crate::report::{LimitKind, LimitOutcome, LimitReport};
use crate::time::Timestamp;

/// Charges what counts every request.
pub(super) fn start(mut exchange: Box<Exchange>, now: Timestamp) -> Step {
    pacing::begin(&mut exchange);
    match charging::charge(exchange, Admitted::LookUp, now) {
        Charging::Asks(step) => step,
        Charging::Nothing(exchange, then) => then.go_on(exchange, now),
    }
}

impl Admitted {
    fn go_on(self, exchange: Box<Exchange>, now: Timestamp) -> Step {
        match self {
            Self::LookUp => lookup::start(exchange, now),
            Self::Fetch(caching) => fetch::start(exchange, caching, now),
        }
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
