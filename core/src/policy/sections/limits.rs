//! `[limits]`: what is written there, and rates, budgets and concurrency.

mod cost;

use std::sync::Arc;

use http::{HeaderValue, Method};
use serde::Deserialize;

pub use cost::{RawCost, RawMeasured};

use super::conditions::{RawConditions, matcher};
use crate::limit::calendar::{Calendar, Unit, Zone};
use crate::limit::{
    Absent, Budget, Limit, Mode, OnStoreError, Page, Quota, Rule, Slots, ToldBy, Windows,
};
use crate::message::matching::Matcher;
use crate::policy::Policy;
use crate::policy::burst::RawBurst;
use crate::policy::compiler::Compiler;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::{units, zones};
use crate::time::Millis;

/// A limit.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawLimit {
    /// Amount and period: "10/sec", "1000/min", "5000/hour", "100000/day", "500000/week",
    /// "2000000/month". Of concurrency an amount alone: "20". Of bandwidth a size and "sec" or
    /// "min": "1MiB/sec".
    pub quota: String,
    /// "rate": what is used comes back bit by bit, at the quota's pace. "budget": what is used is
    /// gone until the window ends, however fast it was used. "concurrency": how many requests may be
    /// under way at once; what is used comes back when the reply's body has ended. "bandwidth": bytes
    /// in one direction; bodies go at this pace, and nobody is refused. Default: "rate".
    #[serde(default)]
    pub kind: RawKind,
    /// Of a rate: most that may be used at once. Default: the quota's amount. Of bandwidth: a size,
    /// such as "4MiB"; so much goes as fast as it can. Default: what the quota allows in a second.
    #[serde(default)]
    pub burst: Option<RawBurst>,
    /// Of bandwidth: which bodies are paced. "response": those of replies, wherever they come from.
    /// "request": those of requests, on their way to an origin. Default: "response".
    #[serde(default)]
    pub direction: Option<RawDirection>,
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
    /// What counts: "every" request of the route, what is served from the store too, or only what is
    /// sent to an "origin". Default: "every".
    #[serde(default)]
    pub count: Option<RawCount>,
    /// Requests that do not count, such as `[{ path = "/health" }]`. Default: none.
    #[serde(default)]
    pub except: Vec<RawConditions>,
    /// What one request uses: a number, or a table of what says it. Default: 1.
    #[serde(default)]
    pub cost: Option<RawCost>,
    /// Counts and reports, but refuses nothing. Default: false.
    #[serde(default)]
    pub dry_run: bool,
    /// How exactly it counts where several nodes count it, in Redis or in Durable Objects. "exact":
    /// all of them ask one counter for each request. "leased": each takes some of it in advance,
    /// sized by demand, and gives back what it has not used after a second; so a busy key costs few
    /// questions, and at most `lease_max` for each node passes too much at once. "local": each node
    /// counts for itself. Default: "exact".
    #[serde(default)]
    pub mode: Option<RawMode>,
    /// Of a leased limit: most that a node takes in advance. Default: a twentieth of the burst, or
    /// of a budget's amount.
    #[serde(default)]
    pub lease_max: Option<u64>,
    /// What happens when the counter cannot be asked: "allow", "deny", or "local": each node counts
    /// for itself then. Default: "allow".
    #[serde(default)]
    pub on_store_error: Option<RawOnStoreError>,
    /// With `on_store_error = "local"`: how much of the quota one node lets pass then, in percent: 25
    /// with four nodes. Default: 100.
    #[serde(default)]
    pub local_share: Option<u8>,
    /// By which header fields clients are told of the limit, where it is the one that refuses or
    /// leaves least. "ietf": `RateLimit-Policy` and `RateLimit`. "draft03": `RateLimit-Limit`,
    /// `RateLimit-Remaining` and `RateLimit-Reset`. "legacy": the same with `X-` before them; seconds
    /// until the reset, too. "none": by none but Retry-After. Default: "ietf".
    #[serde(default)]
    pub headers: Option<RawHeaders>,
    /// Status of what it refuses: 429, or 503 where that is not the client's doing, because callers
    /// share what is used up. Default: 429.
    #[serde(default)]
    pub status: Option<u16>,
    /// What whoever is refused gets to read instead of a problem document.
    #[serde(default)]
    pub page: Option<RawPage>,
    /// Of a dry run: the limit of the same routes with whose answers its own are compared. Where they
    /// differ, the log and `tidegate_limit_differences_total` say so.
    #[serde(default)]
    pub compare_with: Option<String>,
}

/// What whoever is refused gets to read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawPage {
    /// Its media type. Default: "text/html; charset=utf-8".
    #[serde(default)]
    pub content_type: Option<String>,
    /// Its text, at most 16 KiB.
    pub body: String,
}

/// By which header fields clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawHeaders {
    /// Those of draft-ietf-httpapi-ratelimit-headers-11.
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
    /// Bytes are paced.
    Bandwidth,
}

/// Which way the bytes of a bandwidth limit go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawDirection {
    /// From the client to an origin.
    Request,
    /// To the client.
    Response,
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
    /// Each node counts for itself.
    Local,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawCount {
    /// Every request.
    Every,
    /// What is sent to an origin.
    Origin,
}

/// How exactly a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RawMode {
    /// One counter is asked for each request.
    Exact,
    /// Nodes take some of it in advance.
    Leased,
    /// Each node counts for itself.
    Local,
}

pub(super) fn charged(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    name: &str,
    raw: &RawLimit,
) -> Option<Limit> {
    let key = c.key_parts(&at.key("key"), &raw.key);
    let rule = match rule(c, at, raw) {
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
    let cost = cost::compile(c, &at.key("cost"), raw.cost.as_ref(), most);
    if matches!(rule, Rule::Slots(_)) && cost.settles() {
        let message = "a slot comes back when the request has ended, whatever it was: leave out what settles a cost";
        c.wrong(&at.key("cost"), message);
    }
    let mode = mode(c, at, raw, cost.usual, most.1);
    let on_store_error = on_store_error(c, at, raw);
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
        is_capacity: is_capacity(c, at, raw),
        page: raw.page.as_ref().and_then(|raw| page(c, at, raw)),
        compares_with: compares_with(c, at, raw),
    })
}

fn is_capacity(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> bool {
    match raw.status {
        None | Some(429) => false,
        Some(503) => true,
        Some(_) => {
            let message =
                "a limit refuses with 429, or with 503 where that is not the client's doing";
            c.wrong(&at.key("status"), message);
            false
        }
    }
}

fn page(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawPage) -> Option<Page> {
    let at = at.key("page");
    if raw.body.is_empty() || raw.body.len() > PAGE_BYTES_MAX {
        c.wrong(&at.key("body"), "from one byte to 16 KiB");
    }
    let text = raw.content_type.as_deref();
    let content_type = text.unwrap_or("text/html; charset=utf-8");
    match HeaderValue::try_from(content_type) {
        Ok(content_type) if content_type.to_str().is_ok_and(|text| text.contains('/')) => {
            Some(Page {
                content_type,
                body: raw.body.clone(),
            })
        }
        Ok(_) | Err(_) => {
            let message =
                format!("`{content_type}` is not a media type; write one such as text/html");
            c.wrong(&at.key("content_type"), message);
            None
        }
    }
}

/// Most bytes of a page: it is part of the policy, and of each reply to a flood.
const PAGE_BYTES_MAX: usize = 16 << 10;

fn compares_with(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Option<Arc<str>> {
    let other = raw.compare_with.as_deref()?;
    if !raw.dry_run {
        let message =
            "only what is tried out is compared: write dry_run = true too, or leave this out";
        c.wrong(&at.key("compare_with"), message);
    }
    Some(other.into())
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

fn mode(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit, cost: u64, most: u64) -> Mode {
    let mode = raw.mode.unwrap_or(RawMode::Exact);
    if mode != RawMode::Leased && raw.lease_max.is_some() {
        let message = "only a leased limit is taken in advance: write mode = \"leased\" too, or leave this out";
        c.wrong(&at.key("lease_max"), message);
    }
    match mode {
        RawMode::Exact => Mode::Exact,
        RawMode::Local => Mode::Local,
        RawMode::Leased => {
            if raw.kind == RawKind::Concurrency {
                let message = "slots are given back one by one, so they cannot be taken in advance: write mode = \"exact\" or \"local\"";
                c.wrong(&at.key("mode"), message);
            }
            let lease_max = raw.lease_max.unwrap_or_else(|| (most / 20).max(cost));
            if most > 0 && !(cost..=most.max(cost)).contains(&lease_max) {
                let message = format!(
                    "lease_max goes from the cost of a request ({cost}) to what may be used at once ({most})"
                );
                c.wrong(&at.key("lease_max"), message);
            }
            Mode::Leased { most: lease_max }
        }
    }
}

fn on_store_error(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> OnStoreError {
    let share = raw.local_share.unwrap_or(100);
    if !(1..=100).contains(&share) {
        c.wrong(
            &at.key("local_share"),
            "a share is a percentage from 1 to 100",
        );
    }
    let is_local = raw.on_store_error == Some(RawOnStoreError::Local);
    if raw.local_share.is_some() && !is_local {
        let message = "a node has a share only where it counts for itself: write on_store_error = \"local\" too, or leave this out";
        c.wrong(&at.key("local_share"), message);
    }
    match raw.on_store_error {
        None | Some(RawOnStoreError::Allow) => OnStoreError::Allow,
        Some(RawOnStoreError::Deny) => OnStoreError::Deny,
        Some(RawOnStoreError::Local) => OnStoreError::Local { share },
    }
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

/// Reads what a limit allows; an error is about its quota.
fn rule(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawLimit) -> Result<Rule, String> {
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
    let burst = match &raw.burst {
        None => amount,
        Some(RawBurst::Number(burst)) => *burst,
        Some(RawBurst::Size(_)) => {
            let message = "the burst of a rate is a number of requests, such as 300; only bandwidth has a size here";
            c.wrong(&at.key("burst"), message);
            amount
        }
    };
    if burst == 0 || burst > 1_000_000_000 {
        c.wrong(&at.key("burst"), "burst goes from 1 to 1000000000");
    }
    let period = unit.usual_length();
    // Counters do with sixty bits for times, and nobody waits so long.
    if burst / amount > CENTURY / period {
        c.wrong(
            &at.key("burst"),
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

/// Says how much may pass too much of leased limits.
pub(in crate::policy) fn notes(policy: &Policy, source: &Source<'_>) -> Vec<Problem> {
    let mut told: Vec<Problem> = Vec::new();
    let nodes = policy.counters.nodes;
    for limit in policy.routes.iter().flat_map(|route| &route.limits) {
        let Mode::Leased { most } = limit.mode else {
            continue;
        };
        let path = KeyPath::of(&["limits", &limit.name, "mode"]);
        let bound = most.saturating_mul(nodes.into());
        let message = format!(
            "in any time as much as {bound} more than the quota may pass: {most} for each node, nodes = {nodes} in [counters]"
        );
        let note = source.problem(&path, message);
        if !told.contains(&note) {
            told.push(note);
        }
    }
    told
}
