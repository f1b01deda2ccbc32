//! Raw TOML becomes a valid policy, or a list of everything wrong with it.

use std::sync::Arc;

use http::HeaderName;

use super::compiled::Policy;
use super::compiler::{Compiler, Identity};
use crate::limit::KeyPart;
use crate::message::client::ClientPolicy;
use crate::message::unkeyed;
use crate::policy::error::{PolicyError, Source};
use crate::policy::reading;
use crate::policy::sections::routes::Sections;
use crate::policy::sections::{
    breakers, cache, client, counters, origins, pools, retry, route_limits, routes, server, store,
    token,
};
use crate::policy::settings::OnFailure;
use crate::route::{Route, Steering};

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
        has_token: raw.client.token.is_some(),
    };
    c.ipv6_prefix = client::ipv6_prefix(&mut c, &raw.client);
    c.identity = client::identity(&mut c, &raw.client);
    let server = server::compile(&mut c, &raw.server);
    let client = client::compile(&mut c, &raw.client);
    let mut token = raw
        .client
        .token
        .as_ref()
        .map(|raw| token::compile(&mut c, raw));
    let store = store::compile(&mut c, &raw.store);
    let counters = counters::compile(&mut c, &raw.counters);
    let origins = origins::compile(&mut c, &raw.origins);
    let sections = Sections {
        pools: pools::compile(&mut c, &raw.pools, &origins),
        profiles: cache::compile(&mut c, &raw.cache),
        limits: route_limits::compile(&mut c, &raw.limits),
        breakers: breakers::compile(&mut c, &raw.breakers),
        retries: retry::compile(&mut c, &raw.retry),
    };
    let routes = routes::compile(&mut c, &raw.routes, &sections);
    let underscored = server::underscored(&mut c, &raw.server);
    if !c.problems.is_empty() {
        return Err(PolicyError::of(c.problems));
    }
    if let Some(rule) = &mut token {
        rule.claims = token::claims(&routes);
    }
    let passed = passed(underscored, &routes, &client);
    Ok(Policy {
        server,
        client,
        token: token.map(Arc::new),
        store,
        counters,
        on_failure: raw.edge.on_failure.unwrap_or(OnFailure::Closed),
        origins: origins.all(),
        breakers: sections.breakers.all(),
        passed,
        routes,
    })
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
    names.extend(client.asn_header.clone());
    names.extend(client.tls_subject_header.clone());
    let mut keyed: Vec<HeaderName> = Vec::new();
    for route in routes {
        names.extend(route.matcher.headers.iter().map(|(name, _)| name.clone()));
        for limit in &route.limits {
            names.extend(limit.parts().filter_map(named_field));
            names.extend(limit.read_fields().cloned());
        }
        for limit in &route.bandwidths {
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
        | KeyPart::Country
        | KeyPart::Claim(_)
        | KeyPart::Asn
        | KeyPart::TlsSubject => None,
    }
}
