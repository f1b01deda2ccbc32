//! The fields that tell a client about its limits: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11), those that came before them, and `Retry-After`.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::limit::{Limit, Rule, ToldBy};
use crate::message::names;
use crate::message::syntax::push_decimal;
use crate::report::{LimitKind, LimitOutcome, LimitReport};
use crate::time::Millis;

/// Writes `RateLimit-Policy` for a route's limits; dry runs are left out, and those that clients are
/// told of otherwise. Constant, so it is written once for a policy.
pub fn policy<'a>(limits: impl Iterator<Item = &'a Limit>) -> Option<HeaderValue> {
    let members: Vec<String> = limits
        .filter(|limit| !limit.dry_run && limit.told_by == ToldBy::Ietf)
        .map(member)
        .collect();
    if members.is_empty() {
        None
    } else {
        HeaderValue::try_from(members.join(", ")).ok()
    }
}

/// Writes what a limit allows. Months have no length in common, which is why none is told.
fn member(limit: &Limit) -> String {
    let member = format!("\"{}\";q={}", limit.name, limit.rule.amount());
    match window(&limit.rule) {
        Some(seconds) => format!("{member};w={seconds}"),
        None if limit.rule.is_monthly() => member,
        None => format!("{member};qu=\"concurrent-requests\""),
    }
}

/// Returns for how many seconds an amount is meant, if that can be told.
fn window(rule: &Rule) -> Option<u64> {
    let is_told = !rule.is_monthly() && !matches!(rule, Rule::Slots(_));
    is_told.then(|| rule.period() / 1000)
}

/// Adds what the limits said to a reply. Of several limits the one with least remaining is told,
/// which a refusing one has. `limits` are those of the routes; `is_refusal` says whether the reply
/// refuses the request.
pub fn write<'a>(
    headers: &mut HeaderMap,
    policy: Option<&HeaderValue>,
    limits: &(impl Iterator<Item = &'a Arc<Limit>> + Clone),
    reports: &[LimitReport],
    is_refusal: bool,
) {
    let told = reports.iter().filter_map(|report| {
        let is_told = matches!(
            report.outcome,
            LimitOutcome::Allowed | LimitOutcome::Rejected
        );
        let limit = limits
            .clone()
            .find(|limit| Arc::ptr_eq(&limit.name, &report.name))?;
        let is_told = is_told && !report.dry_run && limit.told_by != ToldBy::Nothing;
        is_told.then_some((limit, report))
    });
    // What is under way says little of what may be asked for next.
    let tightest = told.min_by_key(|(_, report)| {
        (
            report.outcome != LimitOutcome::Rejected,
            report.kind == LimitKind::Concurrency,
            report.remaining,
        )
    });
    if let Some((limit, report)) = tightest {
        write_one(headers, policy, limit, report);
    }
    // What is stored may have been answered with instead.
    if !is_refusal {
        return;
    }
    // With several refusals the longest wait is the true one.
    let wait = reports
        .iter()
        .filter(|r| r.outcome == LimitOutcome::Rejected)
        .map(|r| r.retry_after_ms.saturating_add(r.jitter_ms))
        .max();
    if let Some(wait) = wait {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(wait)));
    }
}

fn write_one(
    headers: &mut HeaderMap,
    policy: Option<&HeaderValue>,
    limit: &Limit,
    report: &LimitReport,
) {
    match limit.told_by {
        ToldBy::Nothing => {}
        ToldBy::Draft03 => write_three(headers, &names::DRAFT_03, limit, report),
        ToldBy::Legacy => write_three(headers, &names::X_RATELIMIT, limit, report),
        ToldBy::Ietf => {
            let Some(policy) = policy else {
                return;
            };
            headers.insert(names::RATELIMIT_POLICY, policy.clone());
            if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(left(report))) {
                headers.insert(names::RATELIMIT, value);
            }
        }
    }
}

/// Writes what is left of a limit.
fn left(report: &LimitReport) -> Vec<u8> {
    let mut member = Vec::with_capacity(48);
    member.push(b'"');
    member.extend_from_slice(report.name.as_bytes());
    member.extend_from_slice(b"\";r=");
    push_decimal(&mut member, report.remaining);
    // When slots will be free, nobody knows.
    if report.kind != LimitKind::Concurrency {
        member.extend_from_slice(b";t=");
        push_decimal(&mut member, seconds_up(report.reset_ms));
    }
    member
}

/// Writes the three fields of before: the amount with its window, what is left, and in how many
/// seconds all of it is available again.
fn write_three(
    headers: &mut HeaderMap,
    [limit_name, remaining, reset]: &[HeaderName; 3],
    limit: &Limit,
    report: &LimitReport,
) {
    let amount = limit.rule.amount();
    let told = match window(&limit.rule) {
        Some(seconds) if limit.told_by == ToldBy::Draft03 => {
            format!("{amount}, {amount};w={seconds}")
        }
        Some(_) | None => amount.to_string(),
    };
    if let Ok(value) = HeaderValue::try_from(told) {
        headers.insert(limit_name, value);
    }
    headers.insert(remaining, HeaderValue::from(report.remaining));
    headers.insert(reset, HeaderValue::from(seconds_up(report.reset_ms)));
}

fn seconds_up(millis: Millis) -> u64 {
    millis.div_ceil(1000)
}
