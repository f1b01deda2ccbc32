//! What a request has changed at its origin is used no more (RFC 9111, section 4.4). [9111-4.4-1]

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, header};

use super::Exchange;
use crate::cache::{CacheKey, Profile, key, tags};
use crate::location;
use crate::names;
use crate::purge::{Exact, Place, Purge, Target};

/// Returns whether the response speaks of a change: a successful request with an unsafe method, or with one that is not known to be safe.
pub(super) fn changes(exchange: &Exchange, status: StatusCode) -> bool {
    !exchange.request.head.method.is_safe() && (status.is_success() || status.is_redirection())
}

/// The key under which a GET of the same URL would be stored, and its profile.
pub(super) fn own_key(exchange: &Exchange) -> Option<(CacheKey, Arc<Profile>)> {
    let request = &exchange.request;
    let route = exchange.engine.policy().route(&Method::GET, request)?;
    let profile = route.cache.as_ref()?;
    Some((key::of(request, route, profile, exchange.engine.rules()), Arc::clone(profile)))
}

/// What a change reaches: the request's own URL, those of Location and Content-Location at the same origin, and the groups that the response names
/// (RFC 9875, section 3). [9111-4.4-2]
pub(super) fn purges(exchange: &Exchange, response: &HeaderMap) -> Vec<Purge> {
    let (request, own) = (&exchange.request, Place::of(&exchange.request));
    let named = [header::LOCATION, header::CONTENT_LOCATION].into_iter().filter_map(|name| response.get(name));
    let named = named.filter_map(|value| location::at_same_origin(request, value.to_str().ok()?));
    let urls = [(own.path.to_owned(), own.query.map(str::to_owned))].into_iter().chain(named);
    let urls = urls.map(|(path, query)| Target::Exact(Exact::at_origin_of(request, path, query)));
    let groups = tags::groups(response, &names::CACHE_GROUP_INVALIDATION).into_iter();
    let groups = groups.map(|group| Target::Group(own.host.to_owned(), group));
    urls.chain(groups).map(|target| Purge { target, soft: false }).collect()
}
