//! What a limit allows: `quota`, `kind`, and what belongs to a kind.

use std::sync::Arc;

use super::raw::{RawKind, RawLimit, RawWindow};
use crate::limit::calendar::{Calendar, Unit, Zone};
use crate::limit::{Budget, Quota, Rule, Slots, Windows};
use crate::policy::burst::RawBurst;
use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;
use crate::policy::{units, zones};
use crate::time::Millis;

/// Says how much of a rule may be used at once, and what that is called.
pub(in crate::policy::sections) fn most(rule: &Rule) -> (&'static str, u64) {
    match rule {
        Rule::Rate(quota) => ("burst", quota.burst),
        Rule::Budget(budget) => ("quota", budget.amount),
        Rule::Slots(slots) => ("quota", slots.amount),
    }
}

/// Reads what a limit allows; an error is about its quota.
pub(super) fn rule(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Result<Rule, String> {
    if raw.kind == RawKind::Concurrency {
        return slots(c, at, raw);
    }
    let (amount, unit) = units::quota(&raw.quota)?;
    Ok(if raw.kind == RawKind::Budget {
        budget(c, at, raw, amount, unit)
    } else {
        let burst = (&at.key("burst"), raw.burst.as_ref());
        rate(c, &at.key("quota"), burst, amount, unit)
    })
}

fn slots(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Result<Rule, String> {
    let held_max = c.duration(&at.key("held_max"), raw.held_max.as_ref(), 600_000);
    if !(1000..=86_400_000).contains(&held_max) {
        c.wrong(&at.key("held_max"), "from a second to a day, such as 10m");
    }
    let amount = slots_amount(&raw.quota)?;
    Ok(Rule::Slots(Slots { amount, held_max }))
}

pub(in crate::policy::sections) fn slots_amount(text: &str) -> Result<u64, String> {
    match text.trim().parse() {
        Ok(amount @ 1..=1_000_000) => Ok(amount),
        Ok(_) | Err(_) => Err(format!(
            "`{text}` is no number of requests that may be under way at once; write one from 1 to 1000000 alone, such as \"20\""
        )),
    }
}

/// Reads a rate whose quota is written `at` a place, and perhaps a burst at another one.
pub(in crate::policy::sections) fn rate(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    (burst_at, burst): (&KeyPath, Option<&RawBurst>),
    amount: u64,
    unit: Unit,
) -> Rule {
    if unit == Unit::Month {
        c.wrong(at, NO_LENGTH);
    }
    let burst = match burst {
        None => amount,
        Some(RawBurst::Number(burst)) => *burst,
        Some(RawBurst::Size(_)) => {
            let message = "the burst of a rate is a number of requests, such as 300; only bandwidth has a size here";
            c.wrong(burst_at, message);
            amount
        }
    };
    if burst == 0 || burst > 1_000_000_000 {
        c.wrong(burst_at, "burst goes from 1 to 1000000000");
    }
    let period = unit.usual_length();
    // Counters do with sixty bits for times, and nobody waits so long.
    if burst / amount > CENTURY / period {
        c.wrong(
            burst_at,
            "a burst like this would take more than a hundred years to come back; write less, or a larger quota",
        );
    }
    Rule::Rate(Quota {
        amount,
        period,
        burst,
    })
}

/// A hundred years.
const CENTURY: Millis = 100 * 365 * 86_400_000;

/// Why nothing but the calendar knows months.
const NO_LENGTH: &str = "months have no length in common: write kind = \"budget\" and window = \"calendar\" too, or an amount for each day or week";

fn budget(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit, amount: u64, unit: Unit) -> Rule {
    let window = raw.window.unwrap_or_default();
    if window != RawWindow::Calendar && raw.zone.is_some() {
        c.wrong(
            &at.key("zone"),
            "only the calendar has time zones: write window = \"calendar\" too, or leave this out",
        );
    }
    if window != RawWindow::Calendar && unit == Unit::Month {
        c.wrong(&at.key("quota"), NO_LENGTH);
    }
    let windows = match window {
        RawWindow::Fixed => Windows::Fixed(unit.usual_length()),
        RawWindow::Sliding => Windows::Sliding(unit.usual_length()),
        RawWindow::Calendar => Windows::Calendar(Calendar {
            unit,
            zone: zone(c, &at.key("zone"), raw.zone.as_deref()),
        }),
    };
    Rule::Budget(Budget { amount, windows })
}

fn zone(c: &mut Compiler<'_>, at: &KeyPath, name: Option<&str>) -> Arc<Zone> {
    match zones::zone(name.unwrap_or("UTC")) {
        Ok(zone) => zone,
        Err(message) => {
            c.wrong(at, message);
            Arc::new(Zone::utc())
        }
    }
}
