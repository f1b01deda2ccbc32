//! Profiles, limits, breakers, retry rules and routes of a policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::breaker::Window;
use crate::cache::storable::understood;
use crate::cache::{Lifetimes, Mode, Profile, Query};
use crate::limit::{Absent, Limit, OnStoreError, Quota};
use crate::message::hop_by_hop;
use crate::policy::compiler::{Compiler, how_to_define};
use crate::policy::error::KeyPath;
use crate::policy::list::OneOrMany;
use crate::policy::raw::{
    RawAbsent, RawBreaker, RawLimit, RawMode, RawOnStoreError, RawPolicy, RawProfile, RawQuery,
    RawRetry, RawRoute,
};
use crate::policy::{names, units};
use crate::report::fields::rate_limit;
use crate::route::matching::Glob;
use crate::route::{HostPattern, Matcher, PathPattern, Pool, Route};
use crate::time::Millis;
use crate::{breaker, retry};

/// Everything that a route names besides its pool.
pub(super) struct Rules<'a> {
    profiles: BTreeMap<&'a str, Arc<Profile>>,
    limits: BTreeMap<&'a str, Arc<Limit>>,
    pub(super) breakers: BTreeMap<&'a str, Arc<breaker::Rule>>,
    retries: BTreeMap<&'a str, Arc<retry::Rule>>,
}

pub(super) fn compile<'a>(c: &mut Compiler<'_>, raw: &'a RawPolicy) -> Rules<'a> {
    Rules {
        profiles: raw
            .cache
            .iter()
            .map(|(name, p)| (name.as_str(), Arc::new(profile(c, name, p))))
            .collect(),
        limits: raw
            .limits
            .iter()
            .filter_map(|(name, l)| Some((name.as_str(), Arc::new(limit(c, name, l)?))))
            .collect(),
        breakers: raw
            .breakers
            .iter()
            .enumerate()
            .map(|(i, (name, b))| (name.as_str(), Arc::new(breaker(c, name, i, b))))
            .collect(),
        retries: raw
            .retry
            .iter()
            .map(|(name, r)| (name.as_str(), Arc::new(retry(c, name, r))))
            .collect(),
    }
}

fn profile(c: &mut Compiler<'_>, name: &str, raw: &RawProfile) -> Profile {
    let at = KeyPath::of(&["cache", name]);
    let overriding = raw.mode == RawMode::Override;
    let ttl = c.duration(&at.key("ttl"), raw.ttl.as_ref(), 0);
    if overriding && raw.ttl.is_none() {
        c.wrong(
            &at,
            "mode = \"override\" needs a ttl, such as ttl = \"60s\"",
        );
    }
    if !overriding && raw.ttl.is_some() {
        c.wrong(
            &at.key("ttl"),
            "ttl is for mode = \"override\"; in respect mode the origin gives the lifetime",
        );
    }
    if !overriding && raw.cache_control.is_some() {
        c.wrong(
            &at.key("cache_control"),
            "cache_control is for mode = \"override\"",
        );
    }
    if !overriding && !raw.ttl_by_status.is_empty() {
        c.wrong(
            &at.key("ttl_by_status"),
            "ttl_by_status is for mode = \"override\"; in respect mode the origin gives the lifetime",
        );
    }
    if !overriding && raw.share_authorized {
        c.wrong(
            &at.key("share_authorized"),
            "share_authorized is for mode = \"override\"; in respect mode the origin says what is shared",
        );
    }
    let cache_control = raw.cache_control.as_ref().and_then(|text| {
        let value = HeaderValue::from_str(text).ok();
        if value.is_none() {
            c.wrong(
                &at.key("cache_control"),
                "this is not a field value; use printable ASCII",
            );
        }
        value
    });
    let key_headers = key_headers(c, &at.key("key_headers"), &raw.key_headers);
    let bypass_headers = names::fields(c, &at.key("bypass_headers"), &raw.bypass_headers);
    let key_cookies = names::cookies(c, &at.key("key_cookies"), &raw.key_cookies);
    let bypass_cookies = names::cookies(c, &at.key("bypass_cookies"), &raw.bypass_cookies);
    Profile {
        name: name.into(),
        mode: match raw.mode {
            RawMode::Respect => Mode::Respect,
            RawMode::Override => Mode::Override { ttl },
            RawMode::Never => Mode::Never,
        },
        lifetimes: lifetimes(c, &at.key("ttl_by_status"), &raw.ttl_by_status, ttl),
        share_authorized: raw.share_authorized,
        grace: c.duration(&at.key("grace"), raw.grace.as_ref(), 0),
        keep: raw
            .keep
            .as_ref()
            .map(|keep| c.duration(&at.key("keep"), Some(keep), 0)),
        query: query(c, &at, raw),
        query_sort: raw.query_sort,
        key_headers,
        key_cookies,
        key_country: raw.key_country,
        bypass_cookies,
        bypass_headers,
        body_bytes_max: c.bytes(
            &at.key("body_bytes_max"),
            raw.body_bytes_max.as_ref(),
            8 << 20,
        ),
        cache_control,
        client_directives: raw.client_directives,
        coalesce: c.duration(&at.key("coalesce"), raw.coalesce.as_ref(), 5000),
        strip_tags: raw.strip_tags,
        armour: raw.deception_armour.unwrap_or(true),
        show_key: raw.show_key,
        early_refresh: c.duration(&at.key("early_refresh"), raw.early_refresh.as_ref(), 0),
    }
}

/// Reads lifetimes by status. Those that are not written are no longer than that of successes.
fn lifetimes(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: &BTreeMap<String, String>,
    ttl: Millis,
) -> Lifetimes {
    let default = Lifetimes::default();
    let mut lifetimes = Lifetimes {
        redirects: default.redirects.min(ttl),
        errors: default.errors.min(ttl),
        statuses: Vec::new(),
    };
    for (status, text) in raw {
        let path = at.key(status);
        let lifetime = c.duration(&path, Some(text), 0);
        let single = status.parse::<StatusCode>().ok().filter(|status| {
            !status.is_success() && !status.is_server_error() && understood(*status)
        });
        match (status.as_str(), single) {
            ("3xx", _) => lifetimes.redirects = lifetime,
            ("4xx", _) => lifetimes.errors = lifetime,
            (_, Some(single)) => lifetimes.statuses.push((single, lifetime)),
            (_, None) => c.wrong(
                &path,
                format!(
                    "`{status}` is not stored in override mode, or has `ttl`; write 3xx, 4xx, or one of 300, 301, 302, 307, 308, 404, 405, 410, 414, 451"
                ),
            ),
        }
    }
    lifetimes
}

fn key_headers(c: &mut Compiler<'_>, at: &KeyPath, list: &[String]) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for (i, text) in list.iter().enumerate() {
        match c.header_name(&at.index(i), text) {
            Some(name) if hop_by_hop::is_hop_by_hop(&name) => {
                c.wrong(&at.index(i), names::OF_A_CONNECTION);
            }
            Some(name) => names.push(name),
            None => {}
        }
    }
    names
}

fn query(c: &mut Compiler<'_>, at: &KeyPath, raw: &RawProfile) -> Query {
    let allowed = names::parameters(c, &at.key("query_allow"), &raw.query_allow);
    let denied = names::parameters(c, &at.key("query_deny"), &raw.query_deny);
    match (
        raw.query,
        raw.query_allow.is_empty(),
        raw.query_deny.is_empty(),
    ) {
        (None | Some(RawQuery::All), true, true) => Query::All,
        (Some(RawQuery::None), true, true) => Query::None,
        (None, false, true) => Query::Allow(allowed),
        (None, true, false) => Query::Deny(denied),
        _ => {
            c.wrong(at, "use one of query, query_allow and query_deny");
            Query::All
        }
    }
}

fn limit(c: &mut Compiler<'_>, name: &str, raw: &RawLimit) -> Option<Limit> {
    let at = KeyPath::of(&["limits", name]);
    if !is_token(name) {
        let message = "a limit's name is sent to clients; use letters, digits, hyphens and underscores, here and in the routes that name it";
        c.wrong(&at, message);
    }
    let key = c.key_parts(&at.key("key"), &raw.key);
    let (amount, period) = match units::quota(&raw.quota) {
        Ok(quota) => quota,
        Err(message) => {
            c.wrong(&at.key("quota"), message);
            return None;
        }
    };
    let burst = raw.burst.unwrap_or(amount);
    let cost = raw.cost.unwrap_or(1);
    if burst == 0 || burst > 1_000_000_000 {
        c.wrong(&at.key("burst"), "burst goes from 1 to 1000000000");
    }
    if burst > 0 && (cost == 0 || cost > burst) {
        c.wrong(
            &at.key("cost"),
            format!("cost goes from 1 to the burst ({burst}): a request that costs more could never pass"),
        );
    }
    Some(Limit {
        name: name.into(),
        quota: Quota {
            amount,
            period,
            burst,
        },
        key,
        absent: match raw.absent {
            RawAbsent::Address => Absent::Address {
                ipv6_prefix: c.ipv6_prefix(),
            },
            RawAbsent::Share => Absent::Share,
            RawAbsent::Skip => Absent::Skip,
            RawAbsent::Refuse => Absent::Refuse,
        },
        cost,
        dry_run: raw.dry_run,
        on_store_error: match raw.on_store_error {
            None | Some(RawOnStoreError::Allow) => OnStoreError::Allow,
            Some(RawOnStoreError::Deny) => OnStoreError::Deny,
        },
    })
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn breaker(c: &mut Compiler<'_>, name: &str, index: usize, raw: &RawBreaker) -> breaker::Rule {
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
    breaker::Rule {
        name: name.into(),
        index,
        window,
        failure_rate,
        slow_call: c.duration(&at.key("slow_call"), raw.slow_call.as_ref(), 60_000),
        slow_rate,
        minimum_calls,
        open: c.duration(&at.key("open"), raw.open.as_ref(), 30_000),
        half_open_permits,
        failure_statuses: statuses(
            c,
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

fn retry(c: &mut Compiler<'_>, name: &str, raw: &RawRetry) -> retry::Rule {
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
        Some(list) => methods(c, &at.key("methods"), list),
    };
    retry::Rule {
        name: name.into(),
        attempts,
        methods,
        statuses: statuses(
            c,
            &at.key("statuses"),
            raw.statuses.as_ref(),
            &[502, 503, 504],
        ),
        backoff: c.duration(&at.key("backoff"), raw.backoff.as_ref(), 25),
        backoff_max: c.duration(&at.key("backoff_max"), raw.backoff_max.as_ref(), 1000),
    }
}

fn methods(c: &mut Compiler<'_>, at: &KeyPath, list: &[String]) -> Vec<Method> {
    let read = |(i, text): (usize, &String)| {
        let method = Method::from_bytes(text.as_bytes())
            .ok()
            .filter(|_| text.bytes().all(|b| !b.is_ascii_lowercase()));
        if method.is_none() {
            c.wrong(
                &at.index(i),
                format!("`{text}` is not a method; they are written in upper case: GET, POST"),
            );
        }
        method
    };
    list.iter().enumerate().filter_map(read).collect()
}

fn statuses(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    list: Option<&Vec<u16>>,
    default: &[u16],
) -> Vec<u16> {
    let list = list.map_or_else(|| default.to_vec(), Clone::clone);
    if list.iter().any(|status| !(400..=599).contains(status)) {
        c.wrong(at, "statuses that mean failure go from 400 to 599");
    }
    list
}

pub(super) fn routes(
    c: &mut Compiler<'_>,
    raw: &RawPolicy,
    pools: &BTreeMap<&str, Arc<Pool>>,
    rules: &Rules<'_>,
) -> Vec<Arc<Route>> {
    if raw.routes.is_empty() {
        c.wrong(
            &KeyPath::of(&["routes"]),
            format!(
                "a policy needs at least one route: write [[routes]] with pool = \"main\"{}",
                pool_for(raw)
            ),
        );
    }
    let mut names: Vec<String> = Vec::new();
    let mut compiled = Vec::new();
    for (i, route) in raw.routes.iter().enumerate() {
        let at = KeyPath::of(&["routes"]).index(i);
        let name = route
            .name
            .clone()
            .unwrap_or_else(|| format!("route-{}", i + 1));
        if names.contains(&name) {
            c.wrong(
                &at.key("name"),
                format!("`{name}` names an earlier route too; names must differ"),
            );
        }
        names.push(name.clone());
        compiled.extend(self::route(c, &at, raw, route, &name, pools, rules).map(Arc::new));
    }
    compiled
}

fn route(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: &RawPolicy,
    route: &RawRoute,
    name: &str,
    pools: &BTreeMap<&str, Arc<Pool>>,
    rules: &Rules<'_>,
) -> Option<Route> {
    let matcher = matcher(c, at, route);
    let cache = route.cache.as_ref().and_then(|n| {
        c.find(
            &at.key("cache"),
            "cache profile",
            n,
            &rules.profiles,
            &keys(&raw.cache),
        )
    });
    let breaker = route.breaker.as_ref().and_then(|n| {
        c.find(
            &at.key("breaker"),
            "breaker",
            n,
            &rules.breakers,
            &keys(&raw.breakers),
        )
    });
    let retry = route.retry.as_ref().and_then(|n| {
        c.find(
            &at.key("retry"),
            "retry rule",
            n,
            &rules.retries,
            &keys(&raw.retry),
        )
    });
    let mut limits: Vec<Arc<Limit>> = Vec::new();
    for (i, limit) in route.limits.iter().enumerate() {
        let path = at.key("limits").index(i);
        if let Some(found) = c.find(&path, "limit", limit, &rules.limits, &keys(&raw.limits)) {
            if limits.iter().any(|l| l.name == found.name) {
                c.wrong(
                    &path,
                    format!("`{limit}` is listed twice; a request would be charged twice"),
                );
            }
            limits.push(Arc::clone(found));
        }
    }
    if route.pool.is_empty() {
        let names = keys(&raw.pools);
        let message = if names.is_empty() {
            format!(
                "a route needs a pool: write pool = \"main\"{}",
                pool_for(raw)
            )
        } else {
            format!(
                "a route needs a pool: write pool = \"NAME\" with one of {}",
                names.join(", ")
            )
        };
        c.wrong(at, message);
        return None;
    }
    let pool = c.find(
        &at.key("pool"),
        "pool",
        &route.pool,
        pools,
        &keys(&raw.pools),
    )?;
    Some(Route {
        name: name.into(),
        matcher,
        pool: Arc::clone(pool),
        cache: cache.map(Arc::clone),
        rate_limit_policy: rate_limit::policy(limits.iter().map(|l| &**l)),
        limits,
        breaker: breaker.map(Arc::clone),
        retry: retry.map_or_else(|| Arc::new(retry::Rule::none()), Arc::clone),
    })
}

/// Says what else is to be written for a pool `main` to be there.
fn pool_for(raw: &RawPolicy) -> String {
    if raw.pools.contains_key("main") {
        String::new()
    } else {
        format!(", then {}", how_to_define("pool", "main"))
    }
}

fn keys<T>(map: &BTreeMap<String, T>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}

type MakePattern = fn(String) -> PathPattern;

fn matcher(c: &mut Compiler<'_>, at: &KeyPath, route: &RawRoute) -> Matcher {
    let list = |many: &Option<OneOrMany>| many.as_ref().map(|m| m.0.clone()).unwrap_or_default();
    let mut hosts = Vec::new();
    for text in list(&route.host) {
        match host(&text) {
            Some(pattern) => hosts.push(pattern),
            None => c.wrong(
                &at.key("host"),
                format!(
                    "`{text}` is not a host; write shop.example or *.shop.example, without port"
                ),
            ),
        }
    }
    let mut paths: Vec<PathPattern> = Vec::new();
    let kinds: [(&str, &Option<OneOrMany>, MakePattern); 3] = [
        ("path", &route.path, PathPattern::Exact),
        ("path_prefix", &route.path_prefix, PathPattern::Prefix),
        ("path_glob", &route.path_glob, |p| {
            PathPattern::Glob(Glob::new(&p))
        }),
    ];
    for (key, texts, make) in kinds {
        for text in list(texts) {
            let begins_well = text.starts_with('/') || text.starts_with('*');
            if !begins_well || text.contains('?') || text.len() > 2000 {
                let message = format!(
                    "`{text}` is not a path; it begins with / and has no query and at most 2000 bytes"
                );
                c.wrong(&at.key(key), message);
            } else if key != "path_glob" && text.contains('*') {
                c.wrong(
                    &at.key(key),
                    format!("`{text}` has a star; patterns go to path_glob"),
                );
            }
            paths.push(make(text));
        }
    }
    let mut headers = Vec::new();
    for (name, value) in &route.header {
        if let Some(name) = c.header_name(&at.key("header").key(name), name) {
            headers.push((name, (value != "*").then(|| value.clone())));
        }
    }
    let methods = methods(c, &at.key("method"), &list(&route.method));
    Matcher {
        hosts,
        paths,
        methods,
        headers,
    }
}

fn host(text: &str) -> Option<HostPattern> {
    let valid = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    };
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("*.") {
        Some(rest) => valid(rest).then(|| HostPattern::Suffix(format!(".{rest}"))),
        None => (valid(&lower) || is_bracketed(&lower)).then_some(HostPattern::Exact(lower)),
    }
}

fn is_bracketed(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}
