//! What the cache did with a request.

use std::sync::Arc;

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::text;
use crate::cache::storable::NotStored;
use crate::time::Millis;

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
