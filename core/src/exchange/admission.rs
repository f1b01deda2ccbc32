//! Admission: what counters answer decides whether a request goes on. Limits of bandwidth are found.

use std::sync::Arc;

use super::charging::{self, Charging};
use super::hold::Ended;
use super::reply::{Refused, RefusedByLimits};
use super::state::Exchange;
use super::step::{Admitted, AwaitVerdict, Step};
use super::taken::Taken;
use super::{fetch, finish, lookup, pacing, settle};
use crate::cache::{CacheKey, stale};
use crate::hash;
use crate::limit::{Charge, Charged, Rule, StoreFault};
use crate::problem::Refusal;
use crate::report::{Difference, LimitKind, LimitOutcome, LimitReport};
use crate::time::{Millis, Timestamp};

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
            let report = report(charge, answer, now);
            match reports
                .last_mut()
                .filter(|last| Arc::ptr_eq(&last.name, &report.name))
            {
                Some(last) if last.tightness() < report.tightness() => *last = report,
                Some(_) => {}
                None => reports.push(report),
            }
        }
        compare(&charges, &mut reports);
        let refusal = refusal(&charges, &reports);
        exchange.report.limits.extend(reports);
        let Some(refused) = refusal else {
            exchange.taken.extend(taken);
            return then.go_on(exchange, now);
        };
        // What is stored needs no origin, and is better than a refusal.
        if let Admitted::Fetch(Some(caching)) = then
            && let Some(candidate) = &caching.candidate
            && stale::usable_when_disconnected(candidate, now)
        {
            return settle::failed(exchange, Some(caching), Refused::from(refused.refusal), now);
        }
        finish::refuse_naming(exchange, &refused, now)
    }
}

/// Says why limits refuse a request, if they do.
fn refusal(charges: &[Charge], reports: &[LimitReport]) -> Option<RefusedByLimits> {
    let (mut rejected, mut is_capacity) = (false, true);
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut page = None;
    for report in reports {
        match report.outcome {
            LimitOutcome::Rejected | LimitOutcome::UnavailableDenied => {}
            LimitOutcome::Allowed
            | LimitOutcome::Unasked
            | LimitOutcome::WouldReject
            | LimitOutcome::UnavailableAllowed => continue,
        }
        names.push(Arc::clone(&report.name));
        let mut of_limit = charges.iter().map(|charge| &charge.limit);
        let limit = of_limit.find(|limit| Arc::ptr_eq(&limit.name, &report.name));
        if report.outcome == LimitOutcome::Rejected {
            rejected = true;
            is_capacity &= limit.is_none_or(|limit| limit.is_capacity);
        }
        page = page.or_else(|| limit.filter(|limit| limit.page.is_some()).cloned());
    }
    if names.is_empty() {
        return None;
    }
    let refusal = match (rejected, is_capacity) {
        (true, false) => Refusal::LimitExceeded,
        (true, true) => Refusal::CapacityExceeded,
        (false, _) => Refusal::LimitUnavailable,
    };
    Some(RefusedByLimits {
        refusal,
        names,
        page,
    })
}

/// Notes where the answer of a limit differs from that of the one that it is compared with. Counters
/// that could not be asked, or were not, have no answer.
fn compare(charges: &[Charge], reports: &mut [LimitReport]) {
    for charge in charges {
        let Some(with) = &charge.limit.compares_with else {
            continue;
        };
        let answer = |name: &str| {
            let report = reports.iter().find(|report| *report.name == *name)?;
            match report.outcome {
                LimitOutcome::Allowed => Some(true),
                LimitOutcome::Rejected | LimitOutcome::WouldReject => Some(false),
                LimitOutcome::Unasked
                | LimitOutcome::UnavailableAllowed
                | LimitOutcome::UnavailableDenied => None,
            }
        };
        let differs = match (answer(&charge.limit.name), answer(with)) {
            (Some(false), Some(true)) => Some(Difference::Stricter),
            (Some(true), Some(false)) => Some(Difference::Looser),
            _ => None,
        };
        let mut reports = reports.iter_mut();
        if let Some(report) = reports.find(|report| *report.name == *charge.limit.name) {
            report.differs = differs;
        }
    }
}

/// Most that is added to a wait.
const JITTER_MAX: Millis = 60_000;

/// Returns what is added to a wait: up to an eighth of it, another amount for each caller and moment.
/// It is the same everywhere, since it is drawn from whose count it is and when.
fn jitter(charge: &Charge, wait: Millis, now: Timestamp) -> Millis {
    // When slots are free again, nobody knows.
    if matches!(charge.limit.rule, Rule::Slots(_)) {
        return 0;
    }
    let whose = hash::stable(charge.key.as_bytes());
    let most = (wait / 8).min(JITTER_MAX);
    hash::draw(whose, now.as_millis()) % (most + 1)
}

fn report(charge: &Charge, answer: Charged, now: Timestamp) -> LimitReport {
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
        differs: None,
        jitter_ms: verdict.map_or(0, |verdict| jitter(charge, verdict.retry_after, now)),
    }
}
