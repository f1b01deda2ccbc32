//! `[edge]`: how the Worker behaves.

use serde::Deserialize;

use crate::policy::settings::OnFailure;

/// How the Worker behaves.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawEdge {
    /// What a request gets when the Worker itself fails: "closed" answers 503, "open" sends it to
    /// the last route's first origin unchecked.
    pub on_failure: Option<OnFailure>,
}
