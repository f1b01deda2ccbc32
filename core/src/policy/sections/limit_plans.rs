//! `plan` and `plans` of a limit: the quotas of those who are of a plan.

use std::sync::Arc;

use super::limits::{RawLimit, RawPlan, RawPlanned, cost, mode, most, rate, slots_amount};
use crate::limit::{Budget, KeyPart, Limit, Plan, Quota, Rule, Slots, Windows};
use crate::policy::burst::RawBurst;
use crate::policy::compiler::Compiler;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::units;
use crate::route::Route;

/// Gives a limit the plans that are written for it; `None` if one of them has no quota.
pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: &RawLimit,
    limit: Limit,
) -> Option<Limit> {
    let Some(text) = &raw.plan else {
        if !raw.plans.is_empty() {
            let message = "nothing says which plan a request is of: write plan = \"claim:plan\" too, or another part of a request, or leave this out";
            c.wrong(&at.key("plans"), message);
        }
        return Some(limit);
    };
    let part_at = at.key("plan");
    if raw.plans.is_empty() {
        let message = format!(
            "there are no plans: write [{at}.plans] with a quota for each of them, such as gold = \"10000/min\", or leave this out"
        );
        c.wrong(&part_at, message);
    }
    let part = c.key_part(&part_at, text)?;
    if matches!(part, KeyPart::Ip { .. } | KeyPart::Path) {
        let message = "addresses and paths name no plans; use header:NAME, cookie:NAME, query:NAME, route, country, asn, user, workspace, claim:NAME or tls_subject";
        c.wrong(&part_at, message);
        return None;
    }
    let mut plans = Vec::with_capacity(raw.plans.len());
    for (name, plan) in &raw.plans {
        let at = at.key("plans").key(name);
        check_name(c, &at, &part, name);
        plans.push(self::plan(c, &at, raw, &limit, (name, plan))?);
    }
    Some(limit.with_plans(part, plans))
}

/// Refuses names that no request ever has.
fn check_name(c: &mut Compiler<'_>, at: &KeyPath, part: &KeyPart, name: &str) {
    if name.is_empty() || name.trim() != name {
        let message = "a plan is named as requests name it, without white space around it, and an empty value names none; write its name, or leave this out";
        c.wrong(at, message);
    }
    let is_code = name.len() == 2
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'1');
    if *part == KeyPart::Country && !is_code {
        c.wrong(at, "a country is two capital letters, such as DE");
    }
    let is_number = name
        .parse::<u32>()
        .is_ok_and(|number| number.to_string() == name);
    if *part == KeyPart::Asn && !is_number {
        c.wrong(
            at,
            "a network is a number without AS before it, such as 64500",
        );
    }
}

fn plan(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: &RawLimit,
    limit: &Limit,
    (name, plan): (&str, &RawPlan),
) -> Option<Plan> {
    let short = RawPlanned::default();
    let (quota, quota_at, plan) = match plan {
        RawPlan::Quota(quota) => (quota, at.clone(), &short),
        RawPlan::Table(table) => {
            let Some(quota) = &table.quota else {
                let message = "a plan needs a quota: write quota = \"10000/min\" too";
                c.wrong(at, message);
                return None;
            };
            (quota, at.key("quota"), table)
        }
    };
    let burst = (&at.key("burst"), plan.burst.as_ref());
    let rule = match rule(c, &quota_at, limit, quota, burst) {
        Ok(rule) => rule,
        Err(message) => {
            c.wrong(&quota_at, message);
            return None;
        }
    };
    let (called, amount) = most(&rule);
    let cost = cost::of_plan(
        c,
        &quota_at,
        raw.cost.as_ref(),
        &limit.cost,
        (called, amount),
    );
    let lease_max = (&at.key("lease_max"), plan.lease_max);
    Some(Plan {
        name: name.into(),
        mode: mode(c, raw, lease_max, cost.usual, amount),
        rule,
        cost,
    })
}

/// Reads the quota of a plan: of the limit's own kind, and with its windows, so that a state says the
/// same to both.
pub(in crate::policy) fn rule(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    limit: &Limit,
    quota: &str,
    (burst_at, burst): (&KeyPath, Option<&RawBurst>),
) -> Result<Rule, String> {
    if burst.is_some() && !matches!(limit.rule, Rule::Rate(_)) {
        c.wrong(
            burst_at,
            "all of it may be used at once: only rates have a burst; leave this out",
        );
    }
    match &limit.rule {
        Rule::Slots(slots) => Ok(Rule::Slots(Slots {
            amount: slots_amount(quota)?,
            ..*slots
        })),
        Rule::Rate(_) => {
            let (amount, unit) = units::quota(quota)?;
            Ok(rate(c, at, (burst_at, burst), amount, unit))
        }
        Rule::Budget(budget) => {
            let (amount, unit) = units::quota(quota)?;
            let is_same = match &budget.windows {
                Windows::Fixed(length) | Windows::Sliding(length) => *length == unit.usual_length(),
                Windows::Calendar(calendar) => calendar.unit == unit,
            };
            if !is_same {
                return Err(format!(
                    "`{quota}` has another period than the quota of the limit, and what was used in a window of one says nothing of the other; write the same period"
                ));
            }
            Ok(Rule::Budget(Budget {
                amount,
                windows: budget.windows.clone(),
            }))
        }
    }
}

/// Lists plans that are worth to be changed to and fro: where a burst takes longer to come back than
/// another one, the change to that one forgives the difference.
pub(in crate::policy) fn notes(routes: &[Arc<Route>], source: &Source<'_>) -> Vec<Problem> {
    let mut notes: Vec<Problem> = Vec::new();
    for limit in routes.iter().flat_map(|route| &route.limits) {
        let Rule::Rate(own) = &limit.rule else {
            continue;
        };
        for plan in limit.limits_of_plans() {
            let (Rule::Rate(quota), Some(name)) = (&plan.rule, &plan.plan) else {
                continue;
            };
            let (own, other) = (comes_back_in(own), comes_back_in(quota));
            // What quotas round is not worth a word.
            if own.abs_diff(other) <= own.max(other) / 100 {
                continue;
            }
            let message = format!(
                "this burst comes back in {}, and the limit's own in {}: whoever may change between the two at will gets up to the difference anew each time; let both take equally long, or see to it that nobody can name two plans at a time",
                seconds(other),
                seconds(own)
            );
            let at = KeyPath::of(&["limits", &limit.name, "plans", name]);
            let note = source.problem(&at, message);
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

/// Returns after how many milliseconds all of a burst is available again.
fn comes_back_in(quota: &Quota) -> u64 {
    quota.burst.saturating_mul(quota.period) / quota.amount.max(1)
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}s", millis / 1000, millis % 1000)
}
