//! What an override means under a policy.

use std::sync::Arc;

use super::burst::RawBurst;
use super::compiled::Policy;
use super::compiler::{Compiler, Identity};
use super::error::{KeyPath, Source};
use super::sections::limit_plans;
use crate::limit::key::named;
use crate::limit::overrides::{Meant, Override};
use crate::limit::{Limit, Mode, Rule};

impl Policy {
    /// Finds the limit that requests are charged by of this name.
    pub(crate) fn limit(&self, name: &str) -> Option<&Arc<Limit>> {
        let mut limits = self.routes.iter().flat_map(|route| &route.limits);
        limits.find(|limit| *limit.name == *name)
    }

    /// Says whose count an override is for, and makes the limit that counts there.
    ///
    /// # Errors
    /// Says what is wrong with it, and what to write.
    pub(crate) fn meaning(&self, order: &Override) -> Result<Meant, String> {
        let Some(limit) = self.limit(&order.limit) else {
            let name = &order.limit;
            return Err(format!(
                "no route has a limit `{name}` that counts requests"
            ));
        };
        let key = named::key_of(limit, &order.key)?;
        let rule = rule(limit, order)?;
        let most = match &rule {
            Rule::Rate(quota) => quota.burst,
            Rule::Budget(budget) => budget.amount,
            Rule::Slots(slots) => slots.amount,
        };
        let mut cost = limit.cost.clone();
        let by_method = cost.by_method.iter().map(|(_, cost)| *cost);
        let usual = by_method.chain([cost.usual]).max().unwrap_or(1);
        if usual > most {
            return Err(format!(
                "a request may cost {usual}, and would never pass; let at least that be used at once"
            ));
        }
        cost.most = cost.most.min(most);
        let mode = match limit.mode {
            Mode::Leased { .. } => Mode::Leased {
                most: (most / 20).max(cost.usual),
            },
            Mode::Exact => Mode::Exact,
            Mode::Local => Mode::Local,
        };
        let overriding = Limit {
            rule,
            cost,
            mode,
            plans: None,
            is_override: true,
            ..Limit::clone(limit)
        };
        Ok((key, Arc::new(overriding)))
    }
}

/// Reads the quota as that of a plan.
fn rule(limit: &Limit, order: &Override) -> Result<Rule, String> {
    let mut c = Compiler {
        source: Source::new("", ""),
        problems: Vec::new(),
        identity: Identity::default(),
        ipv6_prefix: 64,
        has_token: false,
    };
    let burst = order.burst.map(RawBurst::Number);
    let burst = (&KeyPath::of(&["burst"]), burst.as_ref());
    let quota_at = KeyPath::of(&["quota"]);
    let rule = limit_plans::rule(&mut c, &quota_at, limit, &order.quota, burst);
    let rule = rule.map_err(|why| format!("quota: {why}"))?;
    match c.problems.first() {
        Some(problem) => Err(format!("{}: {}", problem.key, problem.message)),
        None => Ok(rule),
    }
}

#[cfg(test)]
mod tests;
