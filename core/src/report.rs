//! The record of one exchange: every decision and its reason.
//!
//! The access log, `explain`, the fixtures, metrics and the response fields about caching and
//! limits are all written from this object. It is kept cheap to fill: names are shared, and nothing
//! is turned into text before it is serialised. No identity is in it: addresses are cut to their
//! network, queries, cookies and field values stay out, keys appear as fingerprints.

pub mod fields;
mod text;
mod timeline;

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Uri};
use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::breaker::StateName;
use crate::cache::storable::NotStored;
use crate::message::geo::Code;
use crate::message::request::Scheme;
use crate::message::trace::TraceId;
use crate::problem::Refusal;
use crate::time::{Millis, Timestamp};

pub use timeline::{Entry, Happening, Timeline};

/// The record of one exchange.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// When the request came, in milliseconds since the Unix epoch.
    pub time: Timestamp,
    /// From the request to the end of the reply's body, as far as the shell sees it; to the reply's
    /// head where it does not.
    pub duration_ms: Millis,
    /// The trace id of the request, 32 hexadecimal digits.
    #[serde(serialize_with = "text::display")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub trace: TraceId,
    /// What started the exchange.
    pub kind: Kind,
    /// Method; `-` if the request could not be read.
    #[serde(serialize_with = "text::display")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub method: Method,
    /// `http` or `https`, as the client used it, as far as this node or a trusted proxy in front of
    /// it knows.
    pub scheme: Scheme,
    /// Host in lower case, without port; empty if the request could not be read, as is the path.
    pub host: String,
    /// Path, without query.
    #[serde(serialize_with = "text::path")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub path: Uri,
    /// The client's network: IPv4 /24, IPv6 /48.
    #[serde(serialize_with = "text::network")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub network: IpAddr,
    /// The client's country.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text::code")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub country: Option<Code>,
    /// The matching route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// What each limit said, in the route's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitReport>,
    /// What the cache did; absent when the route has no profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
    /// The origins in the order in which this request would try them; empty when none was needed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Arc<str>>,
    /// What happened at the origins, in time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptReport>,
    /// Why the client got neither an origin's answer nor a stored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// After how long a request refused because of open circuits is worth repeating.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<Millis>,
    /// What happened, in time.
    pub timeline: Timeline,
    /// Status of the reply.
    pub status: u16,
    /// How the reply's body ended; absent where the shell does not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyEnd>,
    /// Bytes of the reply's body that were handed to the client's connection; absent where the shell
    /// does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
}

/// What a request says of itself, before anything is decided.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) trace: TraceId,
    pub(crate) kind: Kind,
    pub(crate) method: Method,
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) path: Uri,
    pub(crate) network: IpAddr,
    pub(crate) country: Option<Code>,
}

impl Report {
    /// Begins the record of an exchange of which nothing is decided.
    pub(crate) fn begin(subject: Subject, now: Timestamp) -> Box<Self> {
        let Subject {
            trace,
            kind,
            method,
            scheme,
            host,
            path,
            network,
            country,
        } = subject;
        Box::new(Self {
            time: now,
            duration_ms: 0,
            trace,
            kind,
            method,
            scheme,
            host,
            path,
            network,
            country,
            route: None,
            limits: Vec::new(),
            cache: None,
            origins: Vec::new(),
            attempts: Vec::new(),
            refusal: None,
            retry_after_ms: None,
            timeline: Timeline::default(),
            status: 0,
            body: None,
            body_bytes: None,
        })
    }

    /// Returns the time from the request to the head of the reply, or to the end of an exchange
    /// without one.
    pub fn until_reply(&self) -> Millis {
        self.timeline
            .last(Happening::Reply)
            .unwrap_or(self.duration_ms)
    }

    /// Notes that something happened.
    pub(crate) fn note(&mut self, event: Happening, now: Timestamp) {
        self.timeline.push(now.since(self.time), event, None);
    }

    /// Notes that something happened to an attempt.
    pub(crate) fn note_attempt(&mut self, event: Happening, attempt: u8, now: Timestamp) {
        let at = now.since(self.time);
        self.timeline.push(at, event, Some(attempt));
    }

    /// Notes that the reply's head is decided.
    pub(crate) fn note_reply(&mut self, now: Timestamp) {
        self.note(Happening::Reply, now);
        self.duration_ms = now.since(self.time);
    }

    /// Notes how the exchange ended.
    pub(crate) fn note_end(&mut self, body: BodyEnd, bytes: Option<u64>, now: Timestamp) {
        self.note(Happening::End, now);
        self.duration_ms = now.since(self.time);
        self.body = Some(body);
        self.body_bytes = bytes;
    }
}

/// How a body ended, an origin's or a reply's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BodyEnd {
    /// It came to its end.
    Whole,
    /// It broke off.
    Broken,
    /// The origin paused for longer than its timeouts allow.
    Stalled,
    /// Nobody wanted the rest: the client went away, or the body is too large to be stored. This
    /// says nothing about the origin.
    Unwanted,
}

/// What started an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A client.
    Request,
    /// A response that was served and is revalidated in the background.
    Revalidation,
    /// An operator, to fill the store.
    Warming,
}

/// What one limit said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LimitReport {
    /// Name in the policy.
    pub name: Arc<str>,
    /// What it decided.
    pub outcome: LimitOutcome,
    /// Whether the limit only reports.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What may still be used at once.
    pub remaining: u64,
    /// Until the whole burst is available again.
    pub reset_ms: Millis,
    /// Until the request would be allowed; 0 when it was.
    pub retry_after_ms: Millis,
}

impl LimitReport {
    /// Of the answers for several counts of one limit the tightest is told: what refuses before
    /// what allows, then what leaves least.
    pub(crate) fn tightness(&self) -> (u8, std::cmp::Reverse<u64>, Millis) {
        let outcome = match self.outcome {
            LimitOutcome::Allowed => 0,
            LimitOutcome::UnavailableAllowed => 1,
            LimitOutcome::WouldReject => 2,
            LimitOutcome::UnavailableDenied => 3,
            LimitOutcome::Rejected => 4,
        };
        (
            outcome,
            std::cmp::Reverse(self.remaining),
            self.retry_after_ms,
        )
    }
}

/// What a limit decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LimitOutcome {
    /// The cost was available.
    Allowed,
    /// The cost was not available: the request is refused.
    Rejected,
    /// The cost was not available, but the limit is a dry run.
    WouldReject,
    /// The counter could not be reached; the policy lets the request pass.
    UnavailableAllowed,
    /// The counter could not be reached; the policy refuses the request.
    UnavailableDenied,
}

/// What the cache did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct CacheReport {
    /// The profile.
    pub profile: Arc<str>,
    /// What it did.
    pub outcome: CacheOutcome,
    /// Why the store was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Bypass>,
    /// Fingerprint of the cache key, 16 hexadecimal digits.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "text::fingerprint_option"
    )]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub key: Option<u64>,
    /// Age of the stored response that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<Millis>,
    /// For how much longer the response is fresh; negative when it is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
    /// Status of the origin's response to this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_status: Option<u16>,
    /// Whether the response goes into the store.
    pub stored: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_stored: Option<NotStored>,
    /// Whether it has more tags than are remembered, so that every purge of a tag reaches it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tags_cut: bool,
    /// Whether this request waited for another one's fetch.
    pub collapsed: bool,
    /// Whether this request started a revalidation in the background.
    pub revalidates: bool,
}

impl CacheReport {
    /// Begins the record of a request whose route has this profile. The store was not asked.
    pub(crate) fn new(profile: &Arc<str>) -> Self {
        Self {
            profile: Arc::clone(profile),
            outcome: CacheOutcome::Bypass,
            bypass: None,
            key: None,
            age_ms: None,
            ttl_ms: None,
            fetched_status: None,
            stored: false,
            not_stored: None,
            tags_cut: false,
            collapsed: false,
            revalidates: false,
        }
    }
}

/// What the cache did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CacheOutcome {
    /// Answered with a fresh stored response.
    Hit,
    /// Answered with a stale stored response, within its grace.
    Stale,
    /// Answered with a stale stored response, because every origin failed.
    StaleIfError,
    /// A stored response had to be validated, and the origin confirmed it.
    Revalidated,
    /// A stored response had to be validated, and the origin sent another.
    Expired,
    /// Nothing was stored under the key.
    Miss,
    /// Something was stored under the key, but for other values of the fields in Vary.
    VaryMiss,
    /// Only parts were stored under the key, and not those wanted.
    Partial,
    /// A stored response could have been used, but the client asked for a newer one.
    Request,
    /// The store was not asked.
    Bypass,
    /// The client wanted a stored response only, and none could be used.
    OnlyIfCached,
}

/// Why the store was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Bypass {
    /// The profile's mode is `never`.
    Profile,
    /// The method is neither GET nor HEAD.
    Method,
    /// The request has one of the profile's bypass cookies.
    Cookie,
    /// The request has one of the profile's bypass header fields.
    Header,
    /// The request asks for another protocol.
    Upgrade,
    /// The request has a body.
    Body,
    /// Nobody could say what of the store may be used.
    Store,
}

impl Bypass {
    /// Returns the name used in JSON and in Cache-Status.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What happened at one origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttemptReport {
    /// Its number, from 1; absent when no request was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u8>,
    /// Name in the policy.
    pub origin: Arc<str>,
    /// Its place, if the policy names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Arc<str>>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Status, if there was a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From sending to the response's header fields, or to the failure.
    pub took_ms: Millis,
    /// The circuit's new state, if this attempt moved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit: Option<StateName>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AttemptOutcome {
    /// The origin answered.
    Response,
    /// No attempt was made: the circuit is open.
    CircuitOpen,
    /// The name could not be resolved or the connection was refused.
    Unreachable,
    /// Connecting took too long.
    ConnectTimeout,
    /// TLS failed.
    Tls,
    /// The response's header fields took too long.
    ResponseTimeout,
    /// The origin closed the connection.
    Closed,
    /// The origin sent something that is not HTTP.
    Protocol,
    /// The client stopped sending its request body, or sent too much of it.
    RequestBody,
    /// The origin answered, and its body broke off.
    BodyBroken,
    /// The origin answered, and paused inside its body for too long.
    BodyTimeout,
    /// The exchange ended before the origin had answered: its client went away, or this node
    /// stopped.
    Abandoned,
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn is_named_alike<E>()
    where
        E: VariantArray + Into<&'static str> + Serialize + Copy,
    {
        for variant in E::VARIANTS {
            let name: &str = (*variant).into();
            assert_eq!(serde_json::to_value(variant).unwrap(), name);
        }
    }

    #[test]
    fn names_in_json_are_those_of_metrics_and_fields() {
        is_named_alike::<Kind>();
        is_named_alike::<LimitOutcome>();
        is_named_alike::<CacheOutcome>();
        is_named_alike::<Bypass>();
        is_named_alike::<AttemptOutcome>();
        is_named_alike::<Happening>();
        is_named_alike::<BodyEnd>();
        is_named_alike::<StateName>();
        is_named_alike::<NotStored>();
        is_named_alike::<Refusal>();
    }
}
