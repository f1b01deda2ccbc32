//! Stored responses: what is kept, under which key, for how long, and when it may be used. RFC 9111 and RFC 5861.

pub mod armour;
pub mod control;
pub mod date;
pub mod freshness;
pub mod key;
pub mod range;
pub mod record;
pub mod search;
pub mod stale;
pub mod status;
pub mod storable;
pub mod tags;
pub mod validation;
pub mod variants;
pub mod vary;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::purge::{self, Label};
use crate::time::{Millis, Timestamp};
use freshness::{Freshness, Lifetimes};
use vary::Nominated;

pub use key::CacheKey;

/// What is stored, for how long, under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the policy file")]
pub struct Profile {
    /// The name in the policy.
    pub name: Arc<str>,
    /// Who decides about storing.
    pub mode: Mode,
    /// The lifetimes of redirects and errors in override mode.
    pub lifetimes: Lifetimes,
    /// Whether answers to requests with Authorization are for all, in override mode.
    pub share_authorized: bool,
    /// How long after its lifetime a response is served while it is revalidated.
    pub grace: Millis,
    /// How long after its lifetime a response is served when every origin fails, if the policy says so.
    pub keep: Option<Millis>,
    /// The query's part in the key.
    pub query: Query,
    /// Whether the order of query parameters is ignored.
    pub query_sort: bool,
    /// Request header fields in the key.
    pub key_headers: Vec<HeaderName>,
    /// Cookies in the key; a trailing `*` matches any ending.
    pub key_cookies: Vec<String>,
    /// Whether the client's country is in the key.
    pub key_country: bool,
    /// Cookies that bypass the store; a trailing `*` matches any ending.
    pub bypass_cookies: Vec<String>,
    /// Header fields that bypass the store; a trailing `*` matches any ending.
    pub bypass_headers: Vec<String>,
    /// Largest body that is stored.
    pub body_bytes_max: u64,
    /// The Cache-Control that clients get instead of the origin's, with successes that are stored.
    pub cache_control: Option<HeaderValue>,
    /// Whether a client's Cache-Control may cause a fetch.
    pub client_directives: bool,
    /// Longest wait for another request's fetch; 0 turns coalescing off.
    pub coalesce: Millis,
    /// Whether clients do not get to see tags.
    pub strip_tags: bool,
    /// Whether pages under static names are not stored.
    pub armour: bool,
    /// Whether Cache-Status shows the key's fingerprint.
    pub show_key: bool,
    /// How long before the end of its lifetime a response that is in demand is refreshed, at most.
    pub early_refresh: Millis,
}

/// Who decides about storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The origin.
    Respect,
    /// The policy, except where the origin forbids storing.
    Override {
        /// Freshness lifetime.
        ttl: Millis,
    },
    /// Nothing is looked up or stored.
    Never,
}

/// The query's part in a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// All of it.
    All,
    /// Nothing of it.
    None,
    /// Only parameters with these names; a trailing `*` matches any ending.
    Allow(Vec<String>),
    /// All but parameters with these names; a trailing `*` matches any ending.
    Deny(Vec<String>),
}

/// The head of a stored response, with everything about its use computed when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Status.
    pub status: StatusCode,
    /// Header fields, without those of a connection and without `Age`.
    pub headers: HeaderMap,
    /// When the response, or the 304 that last validated it, came.
    pub received: Timestamp,
    /// Its age then (RFC 9111, section 4.2.3).
    pub initial_age: Millis,
    /// How long it may be used.
    pub freshness: Freshness,
    /// The request header fields that chose this response, and their values.
    pub vary: Vec<Nominated>,
    /// The last purge before it was asked for.
    pub born: purge::Number,
    /// The labels of its tags and groups.
    pub labels: Vec<Label>,
}

/// When a request went to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// By the clock.
    pub at: Timestamp,
    /// After which purge.
    pub born: purge::Number,
}

impl Stored {
    /// Returns the length that the head announces for the body.
    pub fn announced_length(&self) -> Option<u64> {
        storable::content_length(&self.headers)
    }

    /// Returns the response's age (RFC 9111, section 4.2.3).
    pub fn age(&self, now: Timestamp) -> Millis {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// Returns when the response is of no more use, not even to be validated. A store may drop it then.
    pub fn expires(&self) -> Timestamp {
        let validation = if validation::has_validator(&self.headers) { KEPT_FOR_VALIDATION } else { 0 };
        let Freshness { lifetime, grace, keep, keep_disconnected, .. } = self.freshness;
        let after = grace.max(keep).max(keep_disconnected).max(validation);
        self.received.plus(lifetime.saturating_sub(self.initial_age).saturating_add(after))
    }

    /// Returns whether it is of no more use. Quick for what is fresh.
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.age(now) >= self.freshness.lifetime && now >= self.expires()
    }

    /// Returns it as stale, of no use until the origin confirms it.
    pub(crate) fn outdated(&self, now: Timestamp) -> Self {
        let lifetime = self.freshness.lifetime.min(self.age(now));
        let Freshness { explicit, always_validate, .. } = self.freshness;
        let freshness = Freshness { lifetime, explicit, grace: 0, keep: 0, keep_disconnected: 0, always_validate };
        Self { freshness, ..self.clone() }
    }

    /// Returns for how long it has been stale; 0 for a fresh one.
    pub fn staleness(&self, now: Timestamp) -> Millis {
        self.age(now).saturating_sub(self.freshness.lifetime)
    }
}

/// A response with a validator stays this long after its lifetime, because a 304 is cheaper than its body.
const KEPT_FOR_VALIDATION: Millis = 3_600_000;

#[cfg(test)]
pub(crate) mod tests_support {
    //! What the tests of the cache modules share.

    use super::*;

    pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    pub(crate) fn profile(mode: Mode) -> Profile {
        Profile {
            name: "p".into(),
            mode,
            lifetimes: Lifetimes::default(),
            share_authorized: false,
            grace: 0,
            keep: None,
            query: Query::All,
            query_sort: false,
            key_headers: vec![],
            key_cookies: vec![],
            key_country: false,
            bypass_cookies: vec![],
            bypass_headers: vec![],
            body_bytes_max: 1 << 20,
            cache_control: None,
            client_directives: false,
            coalesce: 5000,
            strip_tags: false,
            armour: true,
            show_key: false,
            early_refresh: 0,
        }
    }

    pub(crate) fn stored(lines: &[(&str, &str)]) -> Stored {
        Stored {
            status: StatusCode::OK,
            headers: headers(lines),
            received: Timestamp::from_millis(1_700_000_000_000),
            initial_age: 0,
            freshness: Freshness { lifetime: 60_000, ..Freshness::default() },
            vary: vec![],
            born: 0,
            labels: vec![],
        }
    }
}
