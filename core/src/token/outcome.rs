//! What became of a token, for the record.

use std::sync::Arc;

use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// What became of the token of a request whose limits count by claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenReport {
    /// Whether its claims were used, or why not.
    pub outcome: TokenOutcome,
    /// The claims that limits count by, and whether they were there. Their values are in no record.
    pub claims: Vec<ClaimReport>,
}

/// A claim that limits count by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClaimReport {
    /// Its name, as the policy writes it.
    pub name: Arc<str>,
    /// Whether a verified token has it.
    pub present: bool,
}

/// Whether the claims of a token were used, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumCount, IntoStaticStr, VariantArray)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TokenOutcome {
    /// The token is right, and its claims were used.
    Verified,
    /// There is no token.
    Missing,
    /// There is more than one, or one that cannot be read, or that asks for what is not understood
    /// (`crit`).
    Malformed,
    /// It is signed by an algorithm that the policy does not list, or not at all.
    AlgorithmNotAllowed,
    /// No key of the issuer fits it.
    UnknownKey,
    /// Somebody else has signed it, or it has been changed since.
    BadSignature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Another issuer made it.
    WrongIssuer,
    /// It is made for others.
    WrongAudience,
    /// The issuer's keys are not known: they could not be fetched, or nobody has said the secret.
    KeysUnavailable,
}
