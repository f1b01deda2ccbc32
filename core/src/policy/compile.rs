//! Raw TOML becomes a valid policy, or a list of everything wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use super::compiled::Policy;
use super::compiler::{Compiler, Identity};
use crate::limit::KeyPart;
use crate::message::client::ClientPolicy;
use crate::message::unkeyed;
use crate::policy::error::{PolicyError, Source};
use crate::policy::raw::RawOnFailure;
use crate::policy::{reading, rules};
use crate::route::{Origin, Pool, Route, Steering};

pub(super) fn compile(file: &str, text: &str) -> Result<Policy, PolicyError> {
    let mut source = Source::new(file, text);
    let (raw, problems) = reading::read(&mut source);
    let Some(raw) = raw else {
        return Err(PolicyError::of(problems));
    };
    let mut c = Compiler {
        source,
        problems,
        identity: Identity::default(),
        ipv6_prefix: 64,
    };
    c.ipv6_prefix = c.read_ipv6_prefix(&raw.client);
    c.identity = c.identity(&raw.client);
    let server = c.server(&raw.server);
    let client = c.client(&raw.client);
    let store = c.store(&raw.store);
    let origins: BTreeMap<&str, Arc<Origin>> = raw
        .origins
        .iter()
        .enumerate()
        .filter_map(|(i, (name, o))| Some((name.as_str(), Arc::new(c.origin(name, i, o)?))))
        .collect();
    let pools: BTreeMap<&str, Arc<Pool>> = raw
        .pools
        .iter()
        .filter_map(|(name, pool)| {
            Some((name.as_str(), Arc::new(c.pool(name, pool, &raw, &origins)?)))
        })
        .collect();
    let rules = rules::compile(&mut c, &raw);
    let routes = rules::routes(&mut c, &raw, &pools, &rules);
    let underscored = c.underscored(&raw.server);
    if c.problems.is_empty() {
        let origins = sorted_by_index(origins);
        let on_failure = raw.edge.on_failure.unwrap_or(RawOnFailure::Closed);
        let passed = passed(underscored, &routes, &client);
        return Ok(Policy {
            server,
            client,
            store,
            on_failure,
            origins,
            breakers: rules.breakers.into_values().collect(),
            passed,
            routes,
        });
    }
    Err(PolicyError::of(c.problems))
}

/// Lists the request header fields that go to origins because a policy names them: those with `_`,
/// and those of doubtful families that are in a key.
fn passed(
    underscored: Vec<HeaderName>,
    routes: &[Arc<Route>],
    client: &ClientPolicy,
) -> Vec<HeaderName> {
    let mut names = underscored;
    names.push(client.address_header.clone());
    let mut keyed: Vec<HeaderName> = Vec::new();
    for route in routes {
        names.extend(route.matcher.headers.iter().map(|(name, _)| name.clone()));
        for limit in &route.limits {
            names.extend(limit.key.iter().filter_map(named_field));
        }
        if let Steering::Weighted { affinity } = &route.pool.steering {
            names.extend(affinity.iter().filter_map(named_field));
        }
        if let Some(profile) = &route.cache {
            keyed.extend(profile.key_headers.iter().cloned());
            names.extend(
                profile
                    .bypass_headers
                    .iter()
                    .filter_map(|name| HeaderName::try_from(name.as_str()).ok()),
            );
        }
    }
    names.retain(|name| name.as_str().contains('_'));
    names.extend(
        keyed
            .into_iter()
            .filter(|name| name.as_str().contains('_') || unkeyed::is_doubtful(name)),
    );
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

fn named_field(part: &KeyPart) -> Option<HeaderName> {
    match part {
        KeyPart::Header(name) => Some(name.clone()),
        KeyPart::Ip { .. }
        | KeyPart::Cookie(_)
        | KeyPart::Query(_)
        | KeyPart::Path
        | KeyPart::Route
        | KeyPart::Country => None,
    }
}

fn sorted_by_index(origins: BTreeMap<&str, Arc<Origin>>) -> Vec<Arc<Origin>> {
    let mut origins: Vec<Arc<Origin>> = origins.into_values().collect();
    origins.sort_by_key(|o| o.index);
    origins
}
