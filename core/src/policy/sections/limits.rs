//! `[limits]`: what requests are charged by.

mod answers;
pub(super) mod cost;
mod mode;
mod plans;
mod raw;
mod rule;

use http::Method;

pub use cost::{RawCost, RawMeasured};
pub use plans::{RawPlan, RawPlanned};
pub use raw::*;

pub(super) use mode::mode;
pub(in crate::policy) use mode::notes;
pub(super) use rule::{most, rate, slots_amount};

use super::conditions::matcher;
use crate::limit::{Absent, Limit, Rule, ToldBy};
use crate::message::matching::Matcher;
use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;

pub(super) fn charged(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    name: &str,
    raw: &RawLimit,
) -> Option<Limit> {
    let key = c.key_parts(&at.key("key"), &raw.key);
    let rule = match rule::rule(c, at, raw) {
        Ok(rule) => rule,
        Err(message) => {
            c.wrong(&at.key("quota"), message);
            return None;
        }
    };
    let most = most(&rule);
    let cost = cost::compile(c, &at.key("cost"), raw.cost.as_ref(), most);
    if matches!(rule, Rule::Slots(_)) && cost.settles() {
        let message = "a slot comes back when the request has ended, whatever it was: leave out what settles a cost";
        c.wrong(&at.key("cost"), message);
    }
    mode::check_lease(c, at, raw);
    let lease_max = (&at.key("lease_max"), raw.lease_max);
    let mode = mode(c, raw, lease_max, cost.usual, most.1);
    let on_store_error = mode::on_store_error(c, at, raw);
    Some(Limit {
        name: name.into(),
        rule,
        key,
        absent: absent(c, raw.absent),
        methods: methods(c, at, raw),
        cost,
        counts_at_origin: raw.count == Some(RawCount::Origin),
        except: except(c, at, raw),
        dry_run: raw.dry_run,
        mode,
        on_store_error,
        told_by: match raw.headers {
            None | Some(RawHeaders::Ietf) => ToldBy::Ietf,
            Some(RawHeaders::Draft03) => ToldBy::Draft03,
            Some(RawHeaders::Legacy) => ToldBy::Legacy,
            Some(RawHeaders::None) => ToldBy::Nothing,
        },
        is_capacity: answers::is_capacity(c, at, raw),
        page: raw.page.as_ref().and_then(|raw| answers::page(c, at, raw)),
        compares_with: answers::compares_with(c, at, raw),
        plan: None,
        plans: None,
        is_override: false,
    })
}

fn except(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Vec<Matcher> {
    let mut except = Vec::new();
    for (index, raw) in raw.except.iter().enumerate() {
        let at = at.key("except").index(index);
        let matcher = matcher(c, &at, &raw.conditions());
        if matcher == Matcher::default() {
            let message = "without conditions this is every request: write some, or leave this out";
            c.wrong(&at, message);
        }
        except.push(matcher);
    }
    except
}

pub(super) fn absent(c: &Compiler<'_>, raw: RawAbsent) -> Absent {
    match raw {
        RawAbsent::Address => Absent::Address {
            ipv6_prefix: c.ipv6_prefix(),
        },
        RawAbsent::Share => Absent::Share,
        RawAbsent::Skip => Absent::Skip,
        RawAbsent::Refuse => Absent::Refuse,
    }
}

/// Reads the methods that a limit counts; none stands for all.
pub(super) fn methods(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Vec<Method> {
    let Some(list) = &raw.methods else {
        return Vec::new();
    };
    if list.is_empty() {
        let message = "a limit of no methods counts nothing: name some, or leave this out";
        c.wrong(&at.key("methods"), message);
    }
    c.methods(&at.key("methods"), list)
}

/// Refuses what says something of another kind only.
pub(super) fn check_kind(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) {
    if raw.kind != RawKind::Budget {
        let message = "only a budget has windows: write kind = \"budget\" too, or leave this out";
        if raw.window.is_some() {
            c.wrong(&at.key("window"), message);
        }
        if raw.zone.is_some() {
            c.wrong(&at.key("zone"), message);
        }
    }
    let has_burst = matches!(raw.kind, RawKind::Rate | RawKind::Bandwidth);
    if !has_burst && raw.burst.is_some() {
        let message =
            "all of it may be used at once: only rates and bandwidth have a burst; leave this out";
        c.wrong(&at.key("burst"), message);
    }
    if raw.kind != RawKind::Concurrency && raw.held_max.is_some() {
        let message =
            "only concurrency is held: write kind = \"concurrency\" too, or leave this out";
        c.wrong(&at.key("held_max"), message);
    }
    if raw.kind != RawKind::Bandwidth && raw.direction.is_some() {
        let message =
            "only bandwidth has a direction: write kind = \"bandwidth\" too, or leave this out";
        c.wrong(&at.key("direction"), message);
    }
}
