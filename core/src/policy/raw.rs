//! The shape of `tidegate.toml` as serde reads it. Everything is checked and compiled in
//! `sections/`; nothing else reads these types.
//!
//! The doc comments become the descriptions of the JSON Schema, so they speak to the author of a
//! policy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::sections::breakers::RawBreaker;
use super::sections::cache::RawProfile;
use super::sections::client::RawClient;
use super::sections::counters::RawCounters;
use super::sections::edge::RawEdge;
use super::sections::limits::RawLimit;
use super::sections::origins::RawOrigin;
use super::sections::pools::RawPool;
use super::sections::retry::RawRetry;
use super::sections::routes::RawRoute;
use super::sections::server::RawServer;
use super::sections::store::RawStore;

/// A Tidegate policy: how traffic to a service is cached, limited, routed and failed over.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawPolicy {
    /// The pod's listener and the bounds on what clients may send.
    pub server: RawServer,
    /// Where the client's address, identity and country come from.
    pub client: RawClient,
    /// The memory store of responses in a pod.
    pub store: RawStore,
    /// Where limits are counted.
    pub counters: RawCounters,
    /// How the Worker behaves.
    pub edge: RawEdge,
    /// Upstream addresses by name.
    pub origins: BTreeMap<String, RawOrigin>,
    /// Sets of origins by name.
    pub pools: BTreeMap<String, RawPool>,
    /// Cache profiles by name.
    pub cache: BTreeMap<String, RawProfile>,
    /// Rate limits by name.
    pub limits: BTreeMap<String, RawLimit>,
    /// Circuit breakers by name.
    pub breakers: BTreeMap<String, RawBreaker>,
    /// Retry rules by name.
    pub retry: BTreeMap<String, RawRetry>,
    /// Routes; the first that matches a request is used. A route without conditions, placed last,
    /// is the default route.
    pub routes: Vec<RawRoute>,
}
