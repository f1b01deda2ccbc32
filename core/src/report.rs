//! The record of one exchange: every decision and its reason.
//!
//! The access log, `explain`, the fixtures, metrics and the response fields about caching and
//! limits are all written from this object. It is kept cheap to fill: names are shared, and nothing
//! is turned into text before it is serialised. No identity is in it: addresses are cut to their
//! network, queries, cookies and field values stay out, keys appear as fingerprints.

mod attempts;
mod bandwidth;
mod cache;
pub mod fields;
mod limits;
mod text;
mod timeline;

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Uri};
use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::limit::paces::Waits;
use crate::message::geo::Code;
use crate::message::request::Scheme;
use crate::message::trace::TraceId;
use crate::problem::Refusal;
use crate::time::{Millis, Timestamp};

pub use crate::token::{ClaimReport, TokenOutcome, TokenReport};
pub use attempts::{AttemptOutcome, AttemptReport};
pub use bandwidth::BandwidthReport;
pub use cache::{Bypass, CacheOutcome, CacheReport};
pub use limits::{Difference, LimitKind, LimitOutcome, LimitReport};
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
    /// What limits of bandwidth did to the bodies, in the route's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bandwidth: Vec<BandwidthReport>,
    /// What became of the client's token, if limits count by what it claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Box<TokenReport>>,
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
            token: None,
            limits: Vec::new(),
            bandwidth: Vec::new(),
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

    /// Notes for how long bodies have waited, more than before, for the limits in `bandwidth`.
    pub fn note_paced(&mut self, waits: &Waits) {
        for wait in waits.iter() {
            if let Some(limit) = self.bandwidth.get_mut(wait.entry) {
                limit.paced_ms = limit.paced_ms.saturating_add(wait.millis);
            }
        }
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

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::breaker::StateName;
    use crate::cache::storable::NotStored;
    use crate::limit::StoreFault;

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
        is_named_alike::<Difference>();
        is_named_alike::<StoreFault>();
        is_named_alike::<CacheOutcome>();
        is_named_alike::<Bypass>();
        is_named_alike::<AttemptOutcome>();
        is_named_alike::<Happening>();
        is_named_alike::<BodyEnd>();
        is_named_alike::<StateName>();
        is_named_alike::<NotStored>();
        is_named_alike::<Refusal>();
        is_named_alike::<crate::token::TokenOutcome>();
    }
}
