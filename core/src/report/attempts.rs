//! What happened at origins.

use std::sync::Arc;

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::breaker::StateName;
use crate::time::Millis;

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
    /// Another attempt, made beside this one, was answered first.
    Outrun,
}
