//! `[limits]`: rates, budgets and concurrency.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::limit::calendar::{Calendar, Unit, Zone};
use crate::limit::{Absent, Budget, Limit, OnStoreError, Quota, Rule, Slots, ToldBy, Windows};
use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::KeyPath;
use crate::policy::{units, zones};

/// A limit.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawLimit {
    /// Amount and period: "10/sec", "1000/min", "5000/hour", "100000/day", "500000/week",
    /// "2000000/month". Of concurrency an amount alone: "20".
    pub quota: String,
    /// "rate": what is used comes back bit by bit, at the quota's pace. "budget": what is used is
    /// gone until the window ends, however fast it was used. "concurrency": how many requests may be
    /// under way at once; what is used comes back when the reply's body has ended. Default: "rate".
    #[serde(default)]
    pub kind: RawKind,
    /// Of a rate: most that may be used at once. Default: the quota's amount.
    #[serde(default)]
    pub burst: Option<u64>,
    /// Of a budget: when its windows begin. "fixed": one after the other, counted from the Unix
    /// epoch. "sliding": the same, and what was used in the window before counts as far as a window
    /// that ends now would reach back into it. "calendar": days, weeks (from Monday) and months as
    /// clocks in the `zone` show them. Default: "fixed".
    #[serde(default)]
    pub window: Option<RawWindow>,
    /// Of a budget by the calendar: the time zone, such as "Europe/Berlin". Default: "UTC".
    #[serde(default)]
    pub zone: Option<String>,
    /// Of concurrency: how long a request may be under way. What it holds is free again after so
    /// long, or twice that at the latest, if nobody tells that it has ended: a node may have died.
    /// Longer than any request takes. Default: 10m.
    #[serde(default)]
    pub held_max: Option<String>,
    /// What shares one count, in order: "ip" (IPv6 by `client.ipv6_prefix`), "ip/56",
    /// "header:NAME", "cookie:NAME", "query:NAME", "path", "route", "country", "user", "workspace",
    /// "asn" (the number of the client's network), "`tls_subject`" (whom its certificate names),
    /// "claim:NAME" (a claim of its token, once that is verified as `client.token` says; "`claim:/A/B`"
    /// is the member B of the claim A).
    /// An empty list is one count for all. Spellings that applications take for the same are one
    /// value: white space or quotes around it, percent-encoding, the scheme of Authorization in any
    /// case, paths in any case, with `;` parameters or a final slash. A name that occurs several
    /// times with several values is charged for each of them; a request with more than 8 is
    /// refused. A cookie's value with a comma, white space or a quote in it is charged twice:
    /// whole, and up to there, because some applications end it there.
    pub key: Vec<String>,
    /// What counts instead of a part of the key that a request does not have: a header field, cookie
    /// or query parameter that is not there or empty, a network that is not known, a claim that no
    /// verified token has. An empty claim is there: the issuer has written it. "address": the client's address, so that whoever is not named has a
    /// count of its own. "share": one count for all who do not have it; one of them can use it up
    /// for the others. "skip": nothing, the limit does not apply; whoever leaves it out is not
    /// limited. "refuse": such requests get 400. Default: "address".
    #[serde(default)]
    pub absent: RawAbsent,
    /// The methods that it counts. Default: all.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// What one request uses. Default: 1.
    #[serde(default)]
    pub cost: Option<u64>,
    /// Counts and reports, but refuses nothing. Default: false.
    #[serde(default)]
    pub dry_run: bool,
    /// What happens when the counter cannot be reached: "allow" or "deny". Default: "allow".
    #[serde(default)]
    pub on_store_error: Option<RawOnStoreError>,
    /// By which header fields clients are told of the limit, where it is the one that refuses or
    /// leaves least. "ietf": `RateLimit-Policy` and `RateLimit`. "draft03": `RateLimit-Limit`,
    /// `RateLimit-Remaining` and `RateLimit-Reset`. "legacy": the same with `X-` before them; seconds
    /// until the reset, too. "none": by none but Retry-After. Default: "ietf".
    #[serde(default)]
    pub headers: RawHeaders,
}

/// By which header fields clients are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawHeaders {
    /// Those of draft-ietf-httpapi-ratelimit-headers-11.
    #[default]
    Ietf,
    /// Those of its draft 03.
    Draft03,
    /// The same with `X-` before them.
    Legacy,
    /// None.
    None,
}

/// What kind of limit it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawKind {
    /// What is used comes back bit by bit.
    #[default]
    Rate,
    /// What is used is gone until the window ends.
    Budget,
    /// What is used comes back when the request has ended.
    Concurrency,
}

/// When the windows of a budget begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawWindow {
    /// One after the other, counted from the Unix epoch.
    #[default]
    Fixed,
    /// The same, and the window before counts in part.
    Sliding,
    /// By the calendar.
    Calendar,
}

/// What counts instead of a part of a key that a request does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawAbsent {
    /// The client's address.
    #[default]
    Address,
    /// One count for all.
    Share,
    /// The limit does not apply.
    Skip,
    /// The request is refused.
    Refuse,
}

/// What a limit does without its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawOnStoreError {
    /// Requests pass.
    Allow,
    /// Requests are refused.
    Deny,
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &BTreeMap<String, RawLimit>,
) -> Defined<Limit> {
    Defined::new("limit", how_to_define, raw, |_, name, raw| {
        limit(c, name, raw)
    })
}

fn how_to_define(name: &str) -> String {
    format!("write [limits.{name}] with quota = \"100/min\" and key = [\"ip\"], or leave this out")
}

fn limit(c: &mut Compiler<'_>, name: &str, raw: &RawLimit) -> Option<Limit> {
    let at = KeyPath::of(&["limits", name]);
    if !is_token(name) {
        let message = "a limit's name is sent to clients; use letters, digits, hyphens and underscores, here and in the routes that name it";
        c.wrong(&at, message);
    }
    let key = c.key_parts(&at.key("key"), &raw.key);
    let rule = match rule(c, &at, raw) {
        Ok(rule) => rule,
        Err(message) => {
            c.wrong(&at.key("quota"), message);
            return None;
        }
    };
    let most = match &rule {
        Rule::Rate(quota) => ("burst", quota.burst),
        Rule::Budget(budget) => ("quota", budget.amount),
        Rule::Slots(slots) => ("quota", slots.amount),
    };
    let cost = raw.cost.unwrap_or(1);
    if most.1 > 0 && (cost == 0 || cost > most.1) {
        c.wrong(
            &at.key("cost"),
            format!(
                "cost goes from 1 to the {} ({}): a request that costs more could never pass",
                most.0, most.1
            ),
        );
    }
    Some(Limit {
        name: name.into(),
        rule,
        key,
        absent: match raw.absent {
            RawAbsent::Address => Absent::Address {
                ipv6_prefix: c.ipv6_prefix(),
            },
            RawAbsent::Share => Absent::Share,
            RawAbsent::Skip => Absent::Skip,
            RawAbsent::Refuse => Absent::Refuse,
        },
        methods: match &raw.methods {
            None => Vec::new(),
            Some(list) if list.is_empty() => {
                let message = "a limit of no methods counts nothing: name some, or leave this out";
                c.wrong(&at.key("methods"), message);
                Vec::new()
            }
            Some(list) => c.methods(&at.key("methods"), list),
        },
        cost,
        dry_run: raw.dry_run,
        on_store_error: match raw.on_store_error {
            None | Some(RawOnStoreError::Allow) => OnStoreError::Allow,
            Some(RawOnStoreError::Deny) => OnStoreError::Deny,
        },
        told_by: match raw.headers {
            RawHeaders::Ietf => ToldBy::Ietf,
            RawHeaders::Draft03 => ToldBy::Draft03,
            RawHeaders::Legacy => ToldBy::Legacy,
            RawHeaders::None => ToldBy::Nothing,
        },
    })
}

/// Reads what a limit allows; an error is about its quota.
fn rule(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Result<Rule, String> {
    if raw.kind != RawKind::Budget {
        let message = "only a budget has windows: write kind = \"budget\" too, or leave this out";
        if raw.window.is_some() {
            c.wrong(&at.key("window"), message);
        }
        if raw.zone.is_some() {
            c.wrong(&at.key("zone"), message);
        }
    }
    if raw.kind != RawKind::Rate && raw.burst.is_some() {
        let message = "all of it may be used at once: only a rate has a burst; leave this out";
        c.wrong(&at.key("burst"), message);
    }
    if raw.kind != RawKind::Concurrency && raw.held_max.is_some() {
        let message =
            "only concurrency is held: write kind = \"concurrency\" too, or leave this out";
        c.wrong(&at.key("held_max"), message);
    }
    if raw.kind == RawKind::Concurrency {
        return slots(c, at, raw);
    }
    let (amount, unit) = units::quota(&raw.quota)?;
    Ok(if raw.kind == RawKind::Budget {
        budget(c, at, raw, amount, unit)
    } else {
        rate(c, at, raw, amount, unit)
    })
}

fn slots(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Result<Rule, String> {
    let held_max = c.duration(&at.key("held_max"), raw.held_max.as_ref(), 600_000);
    if !(1000..=86_400_000).contains(&held_max) {
        c.wrong(&at.key("held_max"), "from a second to a day, such as 10m");
    }
    let amount = raw.quota.trim().parse().unwrap_or(0);
    if !(1..=1_000_000).contains(&amount) {
        return Err(format!(
            "`{}` is no number of requests that may be under way at once; write one from 1 to 1000000 alone, such as \"20\"",
            raw.quota
        ));
    }
    Ok(Rule::Slots(Slots { amount, held_max }))
}

fn rate(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit, amount: u64, unit: Unit) -> Rule {
    if unit == Unit::Month {
        c.wrong(&at.key("quota"), NO_LENGTH);
    }
    let burst = raw.burst.unwrap_or(amount);
    if burst == 0 || burst > 1_000_000_000 {
        c.wrong(&at.key("burst"), "burst goes from 1 to 1000000000");
    }
    Rule::Rate(Quota {
        amount,
        period: unit.usual_length(),
        burst,
    })
}

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

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
