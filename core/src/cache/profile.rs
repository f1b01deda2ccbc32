//! What the policy says of stored responses.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::packed::{packed_enum, packed_struct};
use crate::time::Millis;

/// What is stored, for how long, under which key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the policy file"
)]
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
    /// How long after its lifetime a response is served when every origin fails, if the policy says
    /// so.
    pub stale_if_error: Option<Millis>,
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
    pub guards_deception: bool,
    /// Whether Cache-Status shows the key's fingerprint.
    pub show_key: bool,
    /// How long before the end of its lifetime a response that is in demand is refreshed, at most.
    pub early_refresh: Millis,
}

packed_struct!(Profile {
    name,
    mode,
    lifetimes,
    share_authorized,
    grace,
    stale_if_error,
    query,
    query_sort,
    key_headers,
    key_cookies,
    key_country,
    bypass_cookies,
    bypass_headers,
    body_bytes_max,
    cache_control,
    client_directives,
    coalesce,
    strip_tags,
    guards_deception,
    show_key,
    early_refresh
});

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

packed_enum!(Mode { 0 = Respect, 1 = Override { ttl }, 2 = Never });

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

packed_enum!(Query { 0 = All, 1 = None, 2 = Allow(names), 3 = Deny(names) });

/// The lifetimes that override mode gives to what is no success. An error or a redirect is often
/// wrong a moment later, and so must not live as long as what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of redirects, in milliseconds.
    pub redirects: Millis,
    /// Of errors, in milliseconds.
    pub errors: Millis,
    /// Of single statuses, which count before their class.
    pub statuses: Vec<(StatusCode, Millis)>,
}

packed_struct!(Lifetimes {
    redirects,
    errors,
    statuses
});

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            redirects: 60_000,
            errors: 10_000,
            statuses: Vec::new(),
        }
    }
}

impl Lifetimes {
    /// Returns the lifetime of a response in override mode, where successes have this one.
    pub(super) fn of(&self, status: StatusCode, ttl: Millis) -> Millis {
        match self.statuses.iter().find(|(single, _)| *single == status) {
            Some((_, lifetime)) => *lifetime,
            None if status.is_redirection() => self.redirects,
            None if status.is_client_error() || status.is_server_error() => self.errors,
            None => ttl,
        }
    }
}
