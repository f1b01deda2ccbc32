//! What is valid in a policy but surely not meant.

use std::collections::BTreeSet;

use super::compile;
use super::compiled::Policy;
use super::error::{KeyPath, Problem, Source};
use super::raw::{RawMode, RawPolicy, RawSteering};
use crate::route::Matcher;

pub(super) fn lint(file: &str, text: &str) -> Vec<Problem> {
    let (Ok(policy), Ok(raw)) = (
        compile::compile(file, text),
        toml::from_str::<RawPolicy>(text),
    ) else {
        return Vec::new();
    };
    let source = Source::new(file, text);
    let mut problems: Vec<Problem> = unreachable(&policy, &source);
    problems.extend(unused(&raw, &source));
    problems.extend(doubtful(&policy, &raw, &source));
    problems.sort_by_key(|p| (p.line, p.column));
    problems
}

/// What a profile promises and origins may forbid.
pub(super) fn notes(file: &str, text: &str) -> Vec<Problem> {
    let (Ok(_), Ok(raw)) = (
        compile::compile(file, text),
        toml::from_str::<RawPolicy>(text),
    ) else {
        return Vec::new();
    };
    let source = Source::new(file, text);
    let mut notes = Vec::new();
    for (name, profile) in raw
        .cache
        .iter()
        .filter(|(_, profile)| profile.mode == RawMode::Respect)
    {
        let windows = [
            ("grace", &profile.grace, "stale-while-revalidate"),
            ("keep", &profile.keep, "stale-if-error"),
        ];
        for (key, _, directive) in windows
            .into_iter()
            .filter(|(_, window, _)| window.is_some())
        {
            let message = format!(
                "not for what the origin sends with s-maxage (RFC 9111, section 5.2.2.10), must-revalidate or proxy-revalidate: shared caches may not \
                 serve that stale; beside s-maxage the origin may add {directive}, with or without a number of seconds"
            );
            notes.push(source.problem(&KeyPath::of(&["cache", name, key]), message));
        }
    }
    notes.sort_by_key(|note| (note.line, note.column));
    notes
}

/// Routes behind one that takes all their requests.
fn unreachable(policy: &Policy, source: &Source<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, route) in policy.routes.iter().enumerate() {
        let earlier = policy
            .routes
            .iter()
            .take(i)
            .find(|e| e.matcher.covers(&route.matcher));
        if let Some(earlier) = earlier {
            let message = format!(
                "no request reaches this route: `{}` above matches them all; move this one up or remove it",
                earlier.name
            );
            problems.push(source.problem(&KeyPath::of(&["routes"]).index(i), message));
        }
    }
    if policy
        .routes
        .iter()
        .all(|route| route.matcher != Matcher::default())
    {
        let last = policy.routes.len().saturating_sub(1);
        let message = "there is no default route: requests that match none get 404; add a last [[routes]] with a pool and without conditions if they should not";
        problems.push(source.problem(&KeyPath::of(&["routes"]).index(last), message.to_owned()));
    }
    problems
}

/// Parts that no route uses.
fn unused(raw: &RawPolicy, source: &Source<'_>) -> Vec<Problem> {
    fn used<'a>(names: impl Iterator<Item = &'a String>) -> BTreeSet<&'a String> {
        names.collect()
    }
    let routes = &raw.routes;
    let pools = used(routes.iter().map(|r| &r.pool));
    let origins = used(raw.pools.values().flat_map(|p| &p.origins));
    let caches = used(routes.iter().filter_map(|r| r.cache.as_ref()));
    let limits = used(routes.iter().flat_map(|r| &r.limits));
    let breakers = used(routes.iter().filter_map(|r| r.breaker.as_ref()));
    let retries = used(routes.iter().filter_map(|r| r.retry.as_ref()));
    let defined = [
        ("pools", raw.pools.keys().collect::<Vec<_>>(), pools),
        ("origins", raw.origins.keys().collect(), origins),
        ("cache", raw.cache.keys().collect(), caches),
        ("limits", raw.limits.keys().collect(), limits),
        ("breakers", raw.breakers.keys().collect(), breakers),
        ("retry", raw.retry.keys().collect(), retries),
    ];
    let mut problems = Vec::new();
    for (table, names, used) in defined {
        let user = if table == "origins" { "pool" } else { "route" };
        for name in names.into_iter().filter(|name| !used.contains(name)) {
            let message = format!("nothing uses this; name it in a {user} or remove it");
            problems.push(source.problem(&KeyPath::of(&[table, name]), message));
        }
    }
    problems
}

fn doubtful(policy: &Policy, raw: &RawPolicy, source: &Source<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut doubt =
        |path: KeyPath, message: &str| problems.push(source.problem(&path, message.to_owned()));
    for (name, pool) in &raw.pools {
        let placed = |o: &String| raw.origins.get(o).is_some_and(|o| o.latitude.is_some());
        if pool.steering == RawSteering::Nearest
            && pool.countries.is_empty()
            && pool.continents.is_empty()
            && !pool.origins.iter().all(placed)
        {
            doubt(
                KeyPath::of(&["pools", name]),
                "steering by distance needs latitude and longitude of every origin; those without come last",
            );
        }
    }
    for (i, route) in policy.routes.iter().enumerate() {
        let body = route.cache.as_ref().map_or(0, |p| p.body_bytes_max);
        if body > policy.store.bytes_max {
            doubt(
                KeyPath::of(&["routes"]).index(i).key("cache"),
                "this profile's body_bytes_max is larger than the whole store; make it smaller, or [store] bytes_max larger",
            );
        }
        let unprotected = route.retry.attempts > 1 && route.breaker.is_none();
        if unprotected {
            let message = "retries without a breaker multiply the load on a failing origin; name a breaker too, such as breaker = \"NAME\" with a table [breakers.NAME]";
            doubt(KeyPath::of(&["routes"]).index(i).key("retry"), message);
        }
    }
    problems
}
