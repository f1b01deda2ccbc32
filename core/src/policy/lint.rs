//! What is valid in a policy but surely not meant.

use std::collections::BTreeSet;

use super::compile;
use super::error::{KeyPath, Problem, Source};
use super::raw::RawPolicy;
use super::sections::{bandwidth, cache, client, limit_plans, limits, pools, routes, token};

/// Lists what is surely not meant.
pub(super) fn lint(file: &str, text: &str) -> Vec<Problem> {
    let Ok(policy) = compile::compile(file, text) else {
        return Vec::new();
    };
    let Ok(raw) = toml::from_str::<RawPolicy>(text) else {
        return Vec::new();
    };
    let source = Source::new(file, text);
    let mut problems = unused(&raw, &source);
    problems.extend(routes::lint(&policy.routes, policy.store, &source));
    problems.extend(bandwidth::lint(&raw.limits, &source));
    problems.extend(token::lint(policy.token.as_deref(), &source));
    problems.extend(pools::lint(&raw.pools, &raw.origins, &source));
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// Lists what may be meant, but does not do everything that it seems to promise.
pub(super) fn notes(file: &str, text: &str) -> Vec<Problem> {
    let Ok(policy) = compile::compile(file, text) else {
        return Vec::new();
    };
    let Ok(raw) = toml::from_str::<RawPolicy>(text) else {
        return Vec::new();
    };
    let source = Source::new(file, text);
    let mut notes = cache::notes(&raw.cache, &source);
    notes.extend(client::notes(&raw.client, &raw.limits, &source));
    notes.extend(limits::notes(&policy, &source));
    notes.extend(limit_plans::notes(&policy.routes, &source));
    notes.sort_by_key(|note| (note.line, note.column));
    notes
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
