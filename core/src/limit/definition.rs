//! A limit as the policy defines it.

use std::sync::Arc;

use http::{HeaderName, Method};

use super::rule::Rule;

use crate::packed::{packed_enum, packed_struct};

/// One limit of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The name in the policy; part of every key, so that limits never share a count.
    pub name: Arc<str>,
    /// How much is allowed.
    pub rule: Rule,
    /// What shares one count, in order; empty is one count for all.
    pub key: Vec<KeyPart>,
    /// What takes the place of a part of the key that a request does not have.
    pub absent: Absent,
    /// The methods that it counts; all if there are none.
    pub methods: Vec<Method>,
    /// What one request uses; at most what may be used at once.
    pub cost: u64,
    /// Whether the limit only reports.
    pub dry_run: bool,
    /// What happens when the counter cannot be reached.
    pub on_store_error: OnStoreError,
    /// By which header fields clients are told of it.
    pub told_by: ToldBy,
}

impl Limit {
    /// Returns whether it counts requests with this method.
    pub(crate) fn counts(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }
}

packed_struct!(Limit {
    name,
    rule,
    key,
    absent,
    methods,
    cost,
    dry_run,
    on_store_error,
    told_by
});

/// By which header fields clients are told of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldBy {
    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11).
    Ietf,
    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, as draft 03 had them.
    Draft03,
    /// The same with `X-` before them.
    Legacy,
    /// None. `Retry-After` is told all the same.
    Nothing,
}

packed_enum!(ToldBy {
    0 = Ietf,
    1 = Draft03,
    2 = Legacy,
    3 = Nothing,
});

/// What a limit does without its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreError {
    /// Requests pass.
    Allow,
    /// Requests are refused.
    Deny,
}

packed_enum!(OnStoreError { 0 = Allow, 1 = Deny });

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address; IPv6 cut to this many leading bits.
    Ip {
        /// 1 to 128.
        ipv6_prefix: u8,
    },
    /// A request header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    Query(String),
    /// The path.
    Path,
    /// The name of the matching route.
    Route,
    /// The client's country.
    Country,
    /// A claim of the client's token, once it is verified.
    Claim(Arc<str>),
    /// The number of the client's network (autonomous system).
    Asn,
    /// Whom the client's certificate names, once it is verified.
    TlsSubject,
}

packed_enum!(KeyPart {
    0 = Ip { ipv6_prefix },
    1 = Header(name),
    2 = Cookie(name),
    3 = Query(name),
    4 = Path,
    5 = Route,
    6 = Country,
    7 = Claim(name),
    8 = Asn,
    9 = TlsSubject,
});

/// What takes the place of a part of a key that a request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The client's address; IPv6 cut to this many leading bits.
    Address {
        /// 1 to 128.
        ipv6_prefix: u8,
    },
    /// One count for all who do not have it.
    Share,
    /// Nothing: the limit does not apply.
    Skip,
    /// The request is refused.
    Refuse,
}

packed_enum!(Absent { 0 = Address { ipv6_prefix }, 1 = Share, 2 = Skip, 3 = Refuse });
