//! What a request has changed at its origin is used no more (RFC 9111, section 4.4). [9111-4.4-1]

use std::borrow::Cow;

use http::{HeaderMap, Method, StatusCode, header};

use super::state::Exchange;
use super::store::CacheLocation;
use crate::cache::{Mode, Profile, key, tags};
use crate::message::{location, names, path};
use crate::purge::{Exact, Purge, Target};

/// Returns whether the response speaks of a change: a successful request with an unsafe method, or
/// with one that is not known to be safe.
pub(super) fn changes(exchange: &Exchange, status: StatusCode) -> bool {
    !exchange.request.head.method.is_safe() && (status.is_success() || status.is_redirection())
}

/// Where a GET of the same URL would look, if its route stores anything.
pub(super) fn own_location(exchange: &Exchange) -> Option<CacheLocation<'_>> {
    let request = &exchange.request;
    let route = exchange.node.policy().route(&Method::GET, request)?;
    let profile = route
        .cache
        .as_deref()
        .filter(|profile| profile.mode != Mode::Never)?;
    Some(CacheLocation {
        route,
        profile,
        key: key::of(request, &route.pool.name, profile, exchange.node.rules()),
    })
}

/// What a change reaches: the request's own URL, those of Location and Content-Location at the same
/// origin, where anything is stored of them, and the groups that the response names (RFC 9875,
/// section 3). The first one is that of what the change itself leaves. [9111-4.4-2]
pub(super) fn purges(
    exchange: &Exchange,
    own: Option<&Profile>,
    response: &HeaderMap,
) -> Vec<Purge> {
    let (request, policy) = (&exchange.request, exchange.node.policy());
    let mut targets = Vec::new();
    let mut add = |path: &str, raw: Option<&str>, profile: &Profile| {
        let query = key::query(profile, raw).map(Cow::into_owned);
        let target = Target::Exact(Exact::at_origin_of(request, path.to_owned(), query));
        if !targets.contains(&target) {
            targets.push(target);
        }
    };
    let (path, query) = (request.path(), request.head.uri.query());
    own.into_iter()
        .chain(policy.profiles_at(request.host(), path))
        .for_each(|profile| add(path, query, profile));
    let named = [header::LOCATION, header::CONTENT_LOCATION]
        .into_iter()
        .filter_map(|name| response.get(name));
    for (path, query) in
        named.filter_map(|value| location::at_same_origin(request, value.to_str().ok()?))
    {
        let path = path::normalised(&path).unwrap_or(path);
        policy
            .profiles_at(request.host(), &path)
            .for_each(|profile| add(&path, query.as_deref(), profile));
    }
    if policy.stores_for(request.host()) {
        let groups = tags::groups(response, &names::CACHE_GROUP_INVALIDATION).into_iter();
        targets.extend(groups.map(|group| Target::Group(request.host().to_owned(), group)));
    }
    targets
        .into_iter()
        .map(|target| Purge {
            target,
            soft: false,
        })
        .collect()
}
