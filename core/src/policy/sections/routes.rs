//! `[[routes]]`: what applies to which requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::conditions::{Conditions, matcher};
use super::pools;
use super::route_limits::RouteLimit;
use crate::breaker::BreakerPolicy;
use crate::cache::Profile;
use crate::limit::{Bandwidth, Limit};
use crate::policy::compiler::Compiler;
use crate::policy::defined::Defined;
use crate::policy::error::{KeyPath, Problem, Source};
use crate::policy::list::OneOrMany;
use crate::policy::settings::StoreBounds;
use crate::report::fields::rate_limit;
use crate::retry::RetryPolicy;
use crate::route::{Matcher, Pool, Route, Timeouts};

/// What applies to the requests that match. Conditions of different kinds must all hold; within a
/// list one is enough.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawRoute {
    /// A name for reports and metrics. Default: route-1, route-2, ...
    pub name: Option<String>,
    /// Host names, without port: "shop.example" or "*.shop.example" (one or more labels more).
    pub host: Option<OneOrMany>,
    /// Exact paths.
    pub path: Option<OneOrMany>,
    /// Beginnings of paths.
    pub path_prefix: Option<OneOrMany>,
    /// Path patterns: `*` is any run of characters without a slash, `**` any run at all.
    pub path_glob: Option<OneOrMany>,
    /// Methods.
    pub method: Option<OneOrMany>,
    /// Header fields and their values, all of which must match; "*" matches any value.
    pub header: BTreeMap<String, String>,
    /// The pool that answers.
    pub pool: String,
    /// The cache profile. Default: none; nothing is stored, whatever the origin says, and replies
    /// have no Cache-Status.
    pub cache: Option<String>,
    /// Limits, all of which must allow a request; those of bandwidth pace its bodies.
    pub limits: Vec<String>,
    /// The circuit breaker of the pool's origins. Default: none.
    pub breaker: Option<String>,
    /// The retry rule. Default: an origin that cannot be reached is skipped, nothing is sent twice.
    pub retry: Option<String>,
}

impl RawRoute {
    fn conditions(&self) -> Conditions<'_> {
        Conditions {
            host: &self.host,
            path: &self.path,
            path_prefix: &self.path_prefix,
            path_glob: &self.path_glob,
            method: &self.method,
            header: &self.header,
        }
    }
}

/// The sections that routes name parts of.
pub(in crate::policy) struct Sections {
    pub(in crate::policy) pools: Defined<Pool>,
    pub(in crate::policy) profiles: Defined<Profile>,
    pub(in crate::policy) limits: Defined<RouteLimit>,
    pub(in crate::policy) breakers: Defined<BreakerPolicy>,
    pub(in crate::policy) retries: Defined<RetryPolicy>,
}

pub(in crate::policy) fn compile(
    c: &mut Compiler<'_>,
    raw: &[RawRoute],
    sections: &Sections,
) -> Vec<Arc<Route>> {
    if raw.is_empty() {
        let further = further_for_a_pool(sections);
        c.wrong(
            &KeyPath::of(&["routes"]),
            format!(
                "a policy needs at least one route: write [[routes]] with pool = \"main\"{further}"
            ),
        );
    }
    let mut names: Vec<String> = Vec::new();
    let mut compiled = Vec::new();
    for (i, raw) in raw.iter().enumerate() {
        let at = KeyPath::of(&["routes"]).index(i);
        let name = raw
            .name
            .clone()
            .unwrap_or_else(|| format!("route-{}", i + 1));
        if names.contains(&name) {
            c.wrong(
                &at.key("name"),
                format!("`{name}` names an earlier route too; names must differ"),
            );
        }
        compiled.extend(route(c, &at, raw, &name, sections).map(Arc::new));
        names.push(name);
    }
    compiled
}

fn route(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    raw: &RawRoute,
    name: &str,
    sections: &Sections,
) -> Option<Route> {
    let matcher = matcher(c, at, &raw.conditions());
    let cache = named_by(c, &at.key("cache"), &sections.profiles, raw.cache.as_ref());
    let breaker = named_by(
        c,
        &at.key("breaker"),
        &sections.breakers,
        raw.breaker.as_ref(),
    );
    let retry = named_by(c, &at.key("retry"), &sections.retries, raw.retry.as_ref());
    let (limits, bandwidths) = limits(c, &at.key("limits"), &raw.limits, &sections.limits);
    if raw.pool.is_empty() {
        let names = sections.pools.names();
        let message = if names.is_empty() {
            let further = further_for_a_pool(sections);
            format!("a route needs a pool: write pool = \"main\"{further}")
        } else {
            let names = names.join(", ");
            format!("a route needs a pool: write pool = \"NAME\" with one of {names}")
        };
        c.wrong(at, message);
        return None;
    }
    let pool = c.find(&at.key("pool"), &sections.pools, &raw.pool)?;
    Some(Route {
        name: name.into(),
        matcher,
        pool,
        cache,
        rate_limit_policy: rate_limit::policy(limits.iter().map(|limit| &**limit)),
        limits,
        bandwidths,
        breaker,
        retry: retry.unwrap_or_else(|| Arc::new(RetryPolicy::none())),
    })
}

/// Finds what a route names, if it names anything.
fn named_by<T>(
    c: &mut Compiler<'_>,
    path: &KeyPath,
    defined: &Defined<T>,
    name: Option<&String>,
) -> Option<Arc<T>> {
    c.find(path, defined, name?)
}

/// Finds the limits that a route names: what its requests are charged, and what paces their bodies.
fn limits(
    c: &mut Compiler<'_>,
    at: &KeyPath,
    names: &[String],
    defined: &Defined<RouteLimit>,
) -> (Vec<Arc<Limit>>, Vec<Arc<Bandwidth>>) {
    let mut found: Vec<Arc<RouteLimit>> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let path = at.index(i);
        let Some(limit) = c.find(&path, defined, name) else {
            continue;
        };
        if found.iter().any(|earlier| earlier.name() == limit.name()) {
            c.wrong(
                &path,
                format!("`{name}` is listed twice; a request would be charged twice"),
            );
        }
        found.push(limit);
    }
    let (mut limits, mut bandwidths) = (Vec::new(), Vec::new());
    for limit in found {
        match &*limit {
            RouteLimit::Charged(limit) => limits.push(Arc::clone(limit)),
            RouteLimit::Paced(limit) => bandwidths.push(Arc::clone(limit)),
        }
    }
    check_compared(c, at, &limits);
    (limits, bandwidths)
}

/// Refuses a comparison with a limit that the route does not have.
fn check_compared(c: &mut Compiler<'_>, at: &KeyPath, limits: &[Arc<Limit>]) {
    for limit in limits {
        let Some(with) = &limit.compares_with else {
            continue;
        };
        let is_there = |other: &Arc<Limit>| other.name == *with && other.name != limit.name;
        if !limits.iter().any(is_there) {
            let name = &limit.name;
            let message = format!("`{name}` is compared with `{with}`: name both in this route");
            c.wrong(at, message);
        }
    }
}

/// Says what else is to be written for a pool `main` to be there.
fn further_for_a_pool(sections: &Sections) -> String {
    if sections.pools.entries.contains_key("main") {
        return String::new();
    }
    format!(", then {}", pools::how_to_define("main"))
}

/// Lists routes that no request reaches, or that do not do what they say.
pub(in crate::policy) fn lint(
    routes: &[Arc<Route>],
    store: StoreBounds,
    source: &Source<'_>,
) -> Vec<Problem> {
    let mut problems = unreachable(routes, source);
    for (i, route) in routes.iter().enumerate() {
        let at = KeyPath::of(&["routes"]).index(i);
        let body = route
            .cache
            .as_ref()
            .map_or(0, |profile| profile.body_bytes_max);
        if body > store.bytes_max {
            let message = "this profile's body_bytes_max is larger than the whole store; make it smaller, or [store] bytes_max larger";
            problems.push(source.problem(&at.key("cache"), message.to_owned()));
        }
        if route.retry.attempts > 1 && route.breaker.is_none() {
            let message = "retries without a breaker multiply the load on a failing origin; name a breaker too, such as breaker = \"NAME\" with a table [breakers.NAME]";
            problems.push(source.problem(&at.key("retry"), message.to_owned()));
        }
        if never_hedges(route) {
            let message = "every origin of this route is given up before the retry rule's hedge_after is over; make that shorter";
            problems.push(source.problem(&at.key("retry"), message.to_owned()));
        }
    }
    problems
}

/// Returns whether no attempt is ever made beside another, though the retry rule wants it.
fn never_hedges(route: &Route) -> bool {
    let Some(after) = route.retry.hedge_after else {
        return false;
    };
    let mut origins = route.pool.origins.iter();
    origins.all(|origin| {
        let Timeouts {
            connect, response, ..
        } = origin.timeouts;
        connect.saturating_add(response) <= after
    })
}

/// Routes behind one that takes all their requests.
fn unreachable(routes: &[Arc<Route>], source: &Source<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, route) in routes.iter().enumerate() {
        let covers = |earlier: &&Arc<Route>| earlier.matcher.covers(&route.matcher);
        let earlier = routes.iter().take(i).find(covers);
        if let Some(earlier) = earlier {
            let message = format!(
                "no request reaches this route: `{}` above matches them all; move this one up or remove it",
                earlier.name
            );
            problems.push(source.problem(&KeyPath::of(&["routes"]).index(i), message));
        }
    }
    let is_default = |route: &Arc<Route>| route.matcher == Matcher::default();
    if !routes.iter().any(is_default) {
        let last = routes.len().saturating_sub(1);
        let message = "there is no default route: requests that match none get 404; add a last [[routes]] with a pool and without conditions if they should not";
        problems.push(source.problem(&KeyPath::of(&["routes"]).index(last), message.to_owned()));
    }
    problems
}
