//! `[breakers]`: circuit breakers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::breaker::{BreakerPolicy, Window};
use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::KeyPath;
use crate::policy::units;

/// A circuit breaker; each origin of the route has its own state.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawBreaker {
    /// What is looked at: the last calls ("100 calls") or a time ("30s"). Default: "100 calls".
    pub window: Option<String>,
    /// Percentage of failed calls that opens the circuit: 1 to 100. Default: 50.
    pub failure_rate: Option<u8>,
    /// A call at least this long is slow: until the response's header fields have come, and in a
    /// pod as long as its body keeps the pod waiting. A body may take as long again for each
    /// further MiB; a stream of events (text/event-stream) may take any time. The header fields of
    /// a response to a request with a body are never late, because the client may be what the
    /// origin waits for. Default: 60s.
    pub slow_call: Option<String>,
    /// Percentage of slow calls that opens the circuit: 1 to 100. Default: 100.
    pub slow_rate: Option<u8>,
    /// Fewer calls than this in the window never open the circuit. Default: 20.
    pub minimum_calls: Option<u32>,
    /// How long the circuit stays open before calls are tried again. Default: 30s.
    pub open: Option<String>,
    /// How many calls are tried before the circuit closes or opens again. Default: 3.
    pub half_open_permits: Option<u32>,
    /// Statuses that count as failures. Default: 500, 502, 503, 504. Connection errors and timeouts
    /// always count, and so does a body that breaks off or pauses for longer than `body_timeout`.
    pub failure_statuses: Option<Vec<u16>>,
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &BTreeMap<String, RawBreaker>,
) -> Defined<BreakerPolicy> {
    Defined::new("breaker", how_to_define, raw, |position, name, raw| {
        Some(breaker(c, name, position, raw))
    })
}

fn how_to_define(name: &str) -> String {
    format!("write [breakers.{name}], or leave this out")
}

fn breaker(c: &mut Compiler<'_>, name: &str, index: usize, raw: &RawBreaker) -> BreakerPolicy {
    let at = KeyPath::of(&["breakers", name]);
    let window = window(c, &at, raw.window.as_deref().unwrap_or("100 calls"));
    let minimum_calls = raw.minimum_calls.unwrap_or(20);
    let rates = [
        ("failure_rate", raw.failure_rate.unwrap_or(50)),
        ("slow_rate", raw.slow_rate.unwrap_or(100)),
    ];
    for (key, _) in rates.iter().filter(|(_, rate)| !(1..=100).contains(rate)) {
        c.wrong(&at.key(key), "a rate is a percentage from 1 to 100");
    }
    let [(_, failure_rate), (_, slow_rate)] = rates;
    if minimum_calls == 0 {
        c.wrong(&at.key("minimum_calls"), "at least 1");
    }
    if let Window::Calls(size) = window
        && minimum_calls > size
    {
        c.wrong(
            &at.key("minimum_calls"),
            format!("{minimum_calls} calls never fit into a window of {size}: the circuit could never open"),
        );
    }
    let half_open_permits = raw.half_open_permits.unwrap_or(3);
    if !(1..=1000).contains(&half_open_permits) {
        c.wrong(&at.key("half_open_permits"), "from 1 to 1000");
    }
    BreakerPolicy {
        name: name.into(),
        index,
        window,
        failure_rate,
        slow_call: c.duration(&at.key("slow_call"), raw.slow_call.as_ref(), 60_000),
        slow_rate,
        minimum_calls,
        open: c.duration(&at.key("open"), raw.open.as_ref(), 30_000),
        half_open_permits,
        failure_statuses: c.statuses(
            &at.key("failure_statuses"),
            raw.failure_statuses.as_ref(),
            &[500, 502, 503, 504],
        ),
    }
}

fn window(c: &mut Compiler<'_>, at: &KeyPath, text: &str) -> Window {
    let calls = text
        .trim()
        .strip_suffix("calls")
        .map(|n| n.trim().parse::<u32>());
    let window = match calls {
        Some(Ok(size @ 1..=100_000)) => Some(Window::Calls(size)),
        Some(Ok(_) | Err(_)) => None,
        None => units::duration(text)
            .ok()
            .filter(|span| (1000..=86_400_000).contains(span))
            .map(Window::Time),
    };
    window.unwrap_or_else(|| {
        c.wrong(
            &at.key("window"),
            "write a number of calls, \"100 calls\" (at most 100000), or a time from 1s to 1d, \"30s\"",
        );
        Window::Calls(100)
    })
}
