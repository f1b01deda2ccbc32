//! `cost` of a limit.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::limit::{Cost, Measure};
use crate::policy::compiler::Compiler;
use crate::policy::error::KeyPath;

/// What one request uses: a number, or what says it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum RawCost {
    /// Each request uses so much.
    Fixed(u64),
    /// It depends.
    Measured(RawMeasured),
}

/// What says how much a request uses. What is reserved for it when it comes is what a header field
/// says, else its body's length, else its method, else `usual`. What it has used in the end is what
/// the answer says; where nothing does, what was reserved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawMeasured {
    /// What a request uses of which nothing else is said. Default: 1.
    pub usual: Option<u64>,
    /// What requests with a method use, such as `{ POST = 5 }`.
    pub by_method: BTreeMap<String, u64>,
    /// A request header field with a whole number. Clients can write what they like there: have the
    /// answer say what it has been.
    pub header: Option<String>,
    /// One for each so many bytes of the request's body, such as "4KiB".
    pub body: Option<String>,
    /// Most that is reserved for a request. Default: the burst, or the quota of a budget.
    pub most: Option<u64>,
    /// A header field of the origin's answer with a whole number: what the request has used.
    pub settle_header: Option<String>,
    /// One for each so many bytes of the reply's body, as they were sent.
    pub settle_body: Option<String>,
    /// Gives all of it back when no origin has answered, or with a status of 500 or more. Default:
    /// true if the answer settles it.
    pub refund_failures: Option<bool>,
}

/// Reads what a request uses. `most` is what may be used at once, and what that is called; 0 is not
/// known.
pub(super) fn compile(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: Option<&RawCost>,
    most: (&str, u64),
) -> Cost {
    let measured = match raw {
        None => return checked(c, at, Cost::fixed(1), most),
        Some(RawCost::Fixed(cost)) => return checked(c, at, Cost::fixed(*cost), most),
        Some(RawCost::Measured(measured)) => measured,
    };
    let mut by_method = Vec::new();
    for (method, cost) in &measured.by_method {
        let methods = c.methods(&at.key("by_method"), std::slice::from_ref(method));
        by_method.extend(methods.into_iter().map(|method| (method, *cost)));
    }
    let estimate = measure(
        c,
        at,
        ("header", measured.header.as_ref()),
        ("body", measured.body.as_ref()),
    );
    let settle = measure(
        c,
        at,
        ("settle_header", measured.settle_header.as_ref()),
        ("settle_body", measured.settle_body.as_ref()),
    );
    let usual = measured.usual.unwrap_or(1);
    let cost = Cost {
        usual,
        by_method,
        estimate,
        most: measured.most.unwrap_or(most.1.max(1)),
        refunds_failures: measured.refund_failures.unwrap_or(settle.is_some()),
        settle,
    };
    checked(c, at, cost, most)
}

/// Returns what a request uses of a plan. Most that it may use is the plan's own `most`, unless it is
/// written.
pub(in crate::policy::sections) fn of_plan(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: Option<&RawCost>,
    cost: &Cost,
    most: (&str, u64),
) -> Cost {
    let mut cost = cost.clone();
    if let Some(RawCost::Measured(RawMeasured { most: None, .. })) = raw {
        cost.most = most.1;
    }
    checked(c, at, cost, most)
}

fn checked(c: &mut Compiler<'_>, at: &KeyPath, cost: Cost, most: (&str, u64)) -> Cost {
    let (name, limit) = most;
    if limit == 0 {
        return cost;
    }
    let all = std::iter::once(cost.usual).chain(cost.by_method.iter().map(|(_, cost)| *cost));
    let is_possible = all.chain([cost.most]).all(|one| (1..=limit).contains(&one));
    if !is_possible {
        c.wrong(
            at,
            format!("cost goes from 1 to the {name} ({limit}): a request that costs more could never pass"),
        );
    }
    cost
}

/// Reads what says how much a message uses: one of two.
fn measure(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    (header_key, header): (&str, Option<&String>),
    (body_key, body): (&str, Option<&String>),
) -> Option<Measure> {
    if header.is_some() && body.is_some() {
        let message = format!("write {header_key} or {body_key}, not both: one of them counts");
        c.wrong(&at.key(body_key), message);
    }
    if let Some(name) = header {
        let name = c.header_name(&at.key(header_key), name)?;
        return Some(Measure::Header(name));
    }
    let unit = c.bytes(&at.key(body_key), Some(body?), 1);
    if unit == 0 {
        c.wrong(&at.key(body_key), "at least 1B");
    }
    Some(Measure::Body { unit })
}
