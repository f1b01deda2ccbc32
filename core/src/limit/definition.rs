//! A limit as the policy defines it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::cost::Cost;
use super::rule::Rule;
use crate::message::matching::Matcher;
use crate::message::request::Request;
use crate::packed::{Packed, Unpacking, packed_enum, packed_struct};

/// One limit of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a line of the policy, or an order"
)]
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
    /// The plan that this limit is for, if it is one of another limit's plans.
    pub plan: Option<Arc<str>>,
    /// What counts for those who are of a plan.
    pub plans: Option<Arc<Plans>>,
    /// Whether it counts for one key alone, as an operator has ordered.
    pub is_override: bool,
}

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
            plan: None,
            plans: None,
            is_override: false,
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
    #[cfg(feature = "source")]
    pub(crate) fn read_fields(&self) -> impl Iterator<Item = &HeaderName> {
        let conditions = self.except.iter().flat_map(|matcher| &matcher.headers);
        let estimate = self.cost.estimate.as_ref();
        let estimated_by = estimate.and_then(|measure| measure.header());
        conditions.map(|(name, _)| name).chain(estimated_by)
    }

    /// Gives a limit its plans, whose names differ. `part` says which of them a request is of.
    #[must_use]
    pub fn with_plans(self, part: KeyPart, mut plans: Vec<Plan>) -> Self {
        plans.sort_by(|a, b| a.name.cmp(&b.name));
        let mut limits = Vec::with_capacity(plans.len());
        for plan in plans {
            limits.push(Arc::new(self.of_plan(plan)));
        }
        Self {
            plans: Some(Arc::new(Plans { part, limits })),
            ..self
        }
    }

    fn of_plan(&self, plan: Plan) -> Self {
        Self {
            rule: plan.rule,
            cost: plan.cost,
            mode: plan.mode,
            plan: Some(plan.name),
            plans: None,
            ..self.clone()
        }
    }

    /// Lists what is read of requests to count them: the parts of the key, and what says the plan.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &KeyPart> {
        let plan = self.plans.as_ref().map(|plans| &plans.part);
        self.key.iter().chain(plan)
    }

    /// Lists the plans with their limits.
    #[cfg(feature = "source")]
    pub(crate) fn limits_of_plans(&self) -> &[Arc<Self>] {
        self.plans.as_ref().map_or(&[], |plans| &plans.limits)
    }

    fn packed_plans(&self) -> Option<(&KeyPart, Vec<Plan>)> {
        let plans = self.plans.as_ref()?;
        let mut packed = Vec::with_capacity(plans.limits.len());
        for limit in &plans.limits {
            packed.extend(limit.plan.as_ref().map(|name| Plan {
                name: Arc::clone(name),
                rule: limit.rule.clone(),
                cost: limit.cost.clone(),
                mode: limit.mode,
            }));
        }
        Some((&plans.part, packed))
    }
}

/// Of plans only what they change is packed.
impl Packed for Limit {
    fn pack(&self, into: &mut Vec<u8>) {
        let Self {
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
            compares_with,
            plan: _,
            plans: _,
            is_override: _,
        } = self;
        name.pack(into);
        rule.pack(into);
        key.pack(into);
        absent.pack(into);
        methods.pack(into);
        cost.pack(into);
        counts_at_origin.pack(into);
        except.pack(into);
        dry_run.pack(into);
        mode.pack(into);
        on_store_error.pack(into);
        told_by.pack(into);
        is_capacity.pack(into);
        page.pack(into);
        compares_with.pack(into);
        let plans = self.packed_plans();
        plans.is_some().pack(into);
        if let Some((part, plans)) = plans {
            part.pack(into);
            plans.pack(into);
        }
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        let limit = Self {
            name: Packed::unpack(from),
            rule: Packed::unpack(from),
            key: Packed::unpack(from),
            absent: Packed::unpack(from),
            methods: Packed::unpack(from),
            cost: Packed::unpack(from),
            counts_at_origin: Packed::unpack(from),
            except: Packed::unpack(from),
            dry_run: Packed::unpack(from),
            mode: Packed::unpack(from),
            on_store_error: Packed::unpack(from),
            told_by: Packed::unpack(from),
            is_capacity: Packed::unpack(from),
            page: Packed::unpack(from),
            compares_with: Packed::unpack(from),
            plan: None,
            plans: None,
            is_override: false,
        };
        if bool::unpack(from) {
            let part = KeyPart::unpack(from);
            return limit.with_plans(part, Packed::unpack(from));
        }
        limit
    }
}

/// What plans change of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plans {
    /// What says which plan a request is of.
    pub(crate) part: KeyPart,
    /// The limit of each plan, in the order of their names.
    pub(crate) limits: Vec<Arc<Limit>>,
}

/// What one plan changes of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the request says; not empty.
    pub name: Arc<str>,
    /// How much is allowed: of the limit's own kind, and with its windows.
    pub rule: Rule,
    /// What one request uses; at most what may be used at once.
    pub cost: Cost,
    /// As the limit's own, with the plan's own amount in advance.
    pub mode: Mode,
}

packed_struct!(Plan {
    name,
    rule,
    cost,
    mode
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
