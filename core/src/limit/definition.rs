//! A limit as the policy defines it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::cost::{Cost, Measure};
use super::rule::Rule;
use crate::message::matching::Matcher;
use crate::message::request::Request;
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
    pub cost: Cost,
    /// Whether only requests count that are sent to an origin.
    pub counts_at_origin: bool,
    /// Requests that do not count.
    pub except: Vec<Matcher>,
    /// Whether the limit only reports.
    pub dry_run: bool,
    /// How exactly it counts where several nodes count it.
    pub mode: Mode,
    /// What happens when the counter cannot be reached.
    pub on_store_error: OnStoreError,
    /// By which header fields clients are told of it.
    pub told_by: ToldBy,
    /// Whether what it refuses is not the client's doing: others have used what all of them share.
    pub is_capacity: bool,
    /// What whoever is refused gets instead of a problem document.
    pub page: Option<Page>,
    /// The limit with whose answers its own are compared.
    pub compares_with: Option<Arc<str>>,
}

packed_struct!(Limit {
    name,
    rule,
    key,
    absent,
    methods,
    cost,
    counts_at_origin,
    except,
    dry_run,
    mode,
    on_store_error,
    told_by,
    is_capacity,
    page,
    compares_with
});

/// What whoever is refused gets to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `Content-Type`.
    pub content_type: HeaderValue,
    /// The body.
    pub body: String,
}

packed_struct!(Page { content_type, body });

impl Limit {
    /// Makes a limit of one count for all requests, each of which uses one.
    pub fn new(name: &str, rule: Rule) -> Self {
        Self {
            name: name.into(),
            rule,
            key: Vec::new(),
            absent: Absent::Share,
            methods: Vec::new(),
            cost: Cost::fixed(1),
            counts_at_origin: false,
            except: Vec::new(),
            dry_run: false,
            mode: Mode::Exact,
            on_store_error: OnStoreError::Allow,
            told_by: ToldBy::Ietf,
            is_capacity: false,
            page: None,
            compares_with: None,
        }
    }

    /// Returns whether it counts requests like this one.
    pub(crate) fn counts(&self, request: &Request) -> bool {
        let method = &request.head.method;
        if !self.methods.is_empty() && !self.methods.contains(method) {
            return false;
        }
        let (host, path) = (request.host(), request.path());
        let fields = &request.head.headers;
        let mut except = self.except.iter();
        !except.any(|matcher| matcher.matches(method, host, path, fields))
    }

    /// Lists the request header fields that it reads, besides those of its key.
    pub(crate) fn read_fields(&self) -> impl Iterator<Item = &HeaderName> {
        let conditions = self.except.iter().flat_map(|matcher| &matcher.headers);
        let estimate = match &self.cost.estimate {
            Some(Measure::Header(name)) => Some(name),
            Some(Measure::Body { .. }) | None => None,
        };
        conditions.map(|(name, _)| name).chain(estimate)
    }
}

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

/// How exactly a limit counts where several nodes count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of them ask one counter for each request.
    Exact,
    /// Each takes some of it in advance, at most so much at once.
    Leased {
        /// At least what one request uses.
        most: u64,
    },
    /// Each counts for itself.
    Local,
}

packed_enum!(Mode { 0 = Exact, 1 = Leased { most }, 2 = Local });

/// What a limit does without its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreError {
    /// Requests pass.
    Allow,
    /// Requests are refused.
    Deny,
    /// Each node counts for itself.
    Local {
        /// How much of the quota one node may let pass, in percent: 1 to 100.
        share: u8,
    },
}

packed_enum!(OnStoreError { 0 = Allow, 1 = Deny, 2 = Local { share } });

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

impl KeyPart {
    /// Returns the claim that it is, if it is one.
    pub(crate) fn claim(&self) -> Option<&Arc<str>> {
        match self {
            Self::Claim(name) => Some(name),
            Self::Ip { .. }
            | Self::Header(_)
            | Self::Cookie(_)
            | Self::Query(_)
            | Self::Path
            | Self::Route
            | Self::Country
            | Self::Asn
            | Self::TlsSubject => None,
        }
    }
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
