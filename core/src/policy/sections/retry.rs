//! `[retry]`: when an attempt is repeated.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;

use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::KeyPath;
use crate::retry::RetryPolicy;

/// When a failed request is sent again, and how.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawRetry {
    /// Most attempts that may reach an origin, the first included: 1 to 10. Default: 2.
    pub attempts: Option<u8>,
    /// Methods that may be sent again. Default: the idempotent ones, GET, HEAD, OPTIONS, TRACE,
    /// PUT, DELETE.
    pub methods: Option<Vec<String>>,
    /// Statuses that are tried again. Default: 502, 503, 504.
    pub statuses: Option<Vec<u16>>,
    /// Pause before an origin is tried again; doubles with each attempt. The next origin of a pool
    /// is tried at once. Default: 25ms.
    pub backoff: Option<String>,
    /// Longest pause. Default: 1s.
    pub backoff_max: Option<String>,
    /// After how long without an answer a second attempt is made beside the first, at the next
    /// origin, or at the same one if the pool has no other: the first usable answer counts, the
    /// other attempt is ended (`outrun` in the log and in the metrics). Choose what 95 or 99 of 100
    /// answers need less than: an origin that is slower is asked up to twice as often, and its
    /// circuit takes each attempt that was outrun for a slow call. A pod reckons with a third open
    /// file for each client then. Only requests of these `methods` that change nothing (GET, HEAD,
    /// OPTIONS, TRACE), if they have no body, and it is one of the `attempts`. Default: none is made.
    pub hedge_after: Option<String>,
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &BTreeMap<String, RawRetry>,
) -> Defined<RetryPolicy> {
    Defined::new("retry rule", how_to_define, raw, |_, name, raw| {
        Some(retry(c, name, raw))
    })
}

fn how_to_define(name: &str) -> String {
    format!("write [retry.{name}], or leave this out")
}

fn retry(c: &mut Compiler<'_>, name: &str, raw: &RawRetry) -> RetryPolicy {
    let at = KeyPath::of(&["retry", name]);
    let attempts = raw.attempts.unwrap_or(2);
    if !(1..=10).contains(&attempts) {
        c.wrong(
            &at.key("attempts"),
            "from 1 to 10, the first attempt included",
        );
    }
    let idempotent = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::PUT,
        Method::DELETE,
    ];
    let methods = match &raw.methods {
        None => idempotent.to_vec(),
        Some(list) => c.methods(&at.key("methods"), list),
    };
    let hedge_after = raw.hedge_after.as_ref();
    let hedge_after = hedge_after.map(|text| c.duration(&at.key("hedge_after"), Some(text), 1));
    if hedge_after == Some(0) {
        c.wrong(
            &at.key("hedge_after"),
            "longer than nothing, or every request is sent twice",
        );
    }
    if hedge_after.is_some() && !methods.iter().any(Method::is_safe) {
        c.wrong(
            &at.key("hedge_after"),
            "only methods that change nothing are sent twice at a time, and `methods` names none: add GET, or leave this out",
        );
    }
    if hedge_after.is_some() && attempts == 1 {
        c.wrong(
            &at.key("hedge_after"),
            "only with `attempts` of 2 or more: the attempt beside the first is one of them",
        );
    }
    RetryPolicy {
        name: name.into(),
        attempts,
        methods,
        statuses: c.statuses(&at.key("statuses"), raw.statuses.as_ref(), &[502, 503, 504]),
        backoff: c.duration(&at.key("backoff"), raw.backoff.as_ref(), 25),
        backoff_max: c.duration(&at.key("backoff_max"), raw.backoff_max.as_ref(), 1000),
        hedge_after,
    }
}
