//! A valid policy: what a request meets.

use std::sync::Arc;

use http::{HeaderName, Method};

use super::settings::{OnFailure, Server, StoreBounds};
use crate::breaker::BreakerPolicy;
use crate::cache::{Mode, Profile};
use crate::limit::Counters;
use crate::message::client::ClientPolicy;
use crate::message::plain;
use crate::message::request::Request;
use crate::route::{Origin, Route};
use crate::token::TokenRule;

/// A valid policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The pod's listener and the bounds on what clients may send.
    pub server: Server,
    /// Where facts about the client come from.
    pub client: ClientPolicy,
    /// How the tokens of clients are verified; `None` if nobody reads them.
    pub token: Option<Arc<TokenRule>>,
    /// Bounds of the memory store.
    pub store: StoreBounds,
    /// Where pods count limits.
    pub counters: Counters,
    /// What a request gets when the Worker itself fails.
    pub on_failure: OnFailure,
    /// All origins; each knows its position.
    pub origins: Vec<Arc<Origin>>,
    /// All breaker rules; each knows its position.
    pub breakers: Vec<Arc<BreakerPolicy>>,
    /// First match wins.
    pub routes: Vec<Arc<Route>>,
    /// Request header fields that the policy names, and which go to origins therefore although
    /// others like them do not.
    pub passed: Vec<HeaderName>,
}

impl Policy {
    /// Returns how many attempts of one request may be under way at once.
    pub fn attempts_at_once(&self) -> u8 {
        let hedges = |route: &Arc<Route>| route.retry.hedge_after.is_some();
        if self.routes.iter().any(hedges) { 2 } else { 1 }
    }

    /// Returns where a request with this method goes unchecked when the Worker itself fails, if the
    /// policy wants that: the last route's first origin. The origin may have seen the request
    /// already, so only what is safe (RFC 9110, section 9.2.1) and has no body is sent again.
    pub fn fail_open_url(&self, method: &Method) -> Option<String> {
        let is_repeatable = *method == Method::GET || *method == Method::HEAD;
        if self.on_failure != OnFailure::Open || !is_repeatable {
            return None;
        }
        let origin = self.routes.last()?.pool.origins.first()?;
        Some(format!("{}://{}", origin.scheme, origin.authority))
    }

    /// Lists the profiles by which responses of a URL may be stored, whatever header fields the
    /// requests have. `host` is in lower case and without port.
    pub(crate) fn profiles_at<'a>(
        &'a self,
        host: &'a str,
        path: &'a str,
    ) -> impl Iterator<Item = &'a Profile> {
        let may_match =
            move |route: &&Arc<Route>| route.matcher.may_match(&Method::GET, host, path);
        // The first route that asks for no field takes all requests that are left.
        let mut taken = false;
        let open = move |route: &&Arc<Route>| {
            !std::mem::replace(&mut taken, route.matcher.headers.is_empty())
        };
        let profiles = self
            .routes
            .iter()
            .filter(may_match)
            .take_while(open)
            .filter_map(|route| route.cache.as_deref());
        profiles.filter(|profile| profile.mode != Mode::Never)
    }

    /// Returns whether responses of a host may be stored.
    pub(crate) fn stores_for(&self, host: &str) -> bool {
        let stores = |route: &Arc<Route>| {
            route
                .cache
                .as_ref()
                .is_some_and(|profile| profile.mode != Mode::Never)
        };
        self.routes
            .iter()
            .any(|route| route.matcher.is_for(host) && stores(route))
    }

    /// Finds the first route that matches, for this method instead of the request's own.
    pub fn route(&self, method: &Method, request: &Request) -> Option<&Arc<Route>> {
        let (host, path) = (request.host(), request.path());
        self.routes.iter().find(|route| {
            route
                .matcher
                .matches(method, host, path, &request.head.headers)
        })
    }

    /// Returns the route that the request takes if its path is read as some origins read it, where
    /// that is another one.
    pub(crate) fn other_reading(
        &self,
        method: &Method,
        request: &Request,
        route: &Arc<Route>,
    ) -> Option<&Arc<Route>> {
        let read = plain::read(request.path())?;
        let (host, fields) = (request.host(), &request.head.headers);
        let other = self
            .routes
            .iter()
            .find(|route| route.matcher.matches_read(method, host, &read, fields));
        other.filter(|other| !Arc::ptr_eq(other, route))
    }
}
