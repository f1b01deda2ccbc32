//! What limits of bandwidth did to the bodies of an exchange.

use std::sync::Arc;

use serde::Serialize;

use crate::limit::Direction;
use crate::time::Millis;

/// What one limit did to a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BandwidthReport {
    /// Name in the policy.
    pub name: Arc<str>,
    /// Which body it paces: that of the request, or that of the reply.
    pub direction: Direction,
    /// For how long the body has waited for this limit in all; 0 if it never had to.
    pub paced_ms: Millis,
}
