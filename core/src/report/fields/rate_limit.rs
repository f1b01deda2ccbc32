//! The fields that tell a client about its limits: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11), `Retry-After`.

use http::{HeaderMap, HeaderValue, header};

use crate::limit::{Limit, Rule};
use crate::message::names;
use crate::message::syntax::push_decimal;
use crate::report::{LimitKind, LimitOutcome, LimitReport};
use crate::time::Millis;

/// Writes `RateLimit-Policy` for a route's limits; dry runs are left out. Constant, so it is
/// written once for a policy.
pub fn policy<'a>(limits: impl Iterator<Item = &'a Limit>) -> Option<HeaderValue> {
    let members: Vec<String> = limits.filter(|limit| !limit.dry_run).map(member).collect();
    if members.is_empty() {
        None
    } else {
        HeaderValue::try_from(members.join(", ")).ok()
    }
}

/// Writes what a limit allows. Months have no length in common, which is why none is told.
fn member(limit: &Limit) -> String {
    let member = format!("\"{}\";q={}", limit.name, limit.rule.amount());
    match limit.rule {
        Rule::Slots(_) => format!("{member};qu=\"concurrent-requests\""),
        Rule::Rate(_) | Rule::Budget(_) if limit.rule.is_monthly() => member,
        Rule::Rate(_) | Rule::Budget(_) => {
            format!("{member};w={}", limit.rule.period() / 1000)
        }
    }
}

/// Adds what the limits said to a reply. Of several limits the one with least remaining is told,
/// which a refusing one has.
pub fn write(headers: &mut HeaderMap, policy: Option<&HeaderValue>, reports: &[LimitReport]) {
    let told = reports.iter().filter(|r| {
        !r.dry_run && matches!(r.outcome, LimitOutcome::Allowed | LimitOutcome::Rejected)
    });
    let tightest = told.min_by_key(|r| (r.outcome != LimitOutcome::Rejected, r.remaining));
    let Some((policy, report)) = policy.zip(tightest) else {
        return;
    };
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
    headers.insert(names::RATELIMIT_POLICY, policy.clone());
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(member)) {
        headers.insert(names::RATELIMIT, value);
    }
    // With several refusals the longest wait is the true one.
    let wait = reports
        .iter()
        .filter(|r| r.outcome == LimitOutcome::Rejected)
        .map(|r| r.retry_after_ms)
        .max();
    if let Some(wait) = wait {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(wait)));
    }
}

fn seconds_up(millis: Millis) -> u64 {
    millis.div_ceil(1000)
}
