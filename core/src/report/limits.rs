//! What limits said of a request.

use std::sync::Arc;

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::limit::StoreFault;
use crate::time::Millis;

/// What one limit said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LimitReport {
    /// Name in the policy.
    pub name: Arc<str>,
    /// What kind of limit it is.
    pub kind: LimitKind,
    /// What it decided.
    pub outcome: LimitOutcome,
    /// Whether the limit only reports.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What may still be used at once.
    pub remaining: u64,
    /// Until all of it is available again; 0 for slots, of which nobody knows.
    pub reset_ms: Millis,
    /// Until the request would be allowed, or is worth to be tried again; 0 when it was.
    pub retry_after_ms: Millis,
    /// Why the counter could not be asked; absent if it was. Where the limit is counted by each node
    /// then, the numbers are those of this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_fault: Option<StoreFault>,
    /// What the limit that it is compared with would have answered otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<Difference>,
    /// What is added to the wait that clients are told, so that not all of them come at once.
    #[serde(skip)]
    pub jitter_ms: Millis,
}

impl LimitReport {
    /// Of the answers for several counts of one limit the tightest is told: what refuses before
    /// what allows, then what leaves least.
    pub(crate) fn tightness(&self) -> (u8, std::cmp::Reverse<u64>, Millis) {
        let outcome = match self.outcome {
            LimitOutcome::Unasked | LimitOutcome::Allowed => 0,
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

/// What kind of limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// What is used comes back bit by bit.
    Rate,
    /// What is used is gone until the window ends.
    Budget,
    /// What is used comes back when the request has ended.
    Concurrency,
}

/// How the answer of a limit differs from that of the one that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Difference {
    /// It would have refused what the other one allowed.
    Stricter,
    /// It would have allowed what the other one refused.
    Looser,
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
    /// It was not asked: another limit had refused the request before.
    Unasked,
}
