//! How a policy says that tokens are verified.

use std::sync::Arc;

use http::HeaderName;

use super::algorithm::Algorithm;
use super::keys::KeySet;
use crate::packed::{packed_enum, packed_struct};
use crate::time::Millis;

/// How tokens are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRule {
    /// Where requests have theirs.
    pub place: Place,
    /// By which algorithms they may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Who must have made them, if it matters.
    pub issuer: Option<String>,
    /// For whom they must be made, if it matters.
    pub audience: Option<String>,
    /// By how much the issuer's clock may differ.
    pub leeway: Millis,
    /// Where the issuer's keys come from.
    pub keys: KeySource,
    /// The claims that limits count by, each once.
    pub claims: Vec<Arc<str>>,
}

packed_struct!(TokenRule {
    place,
    algorithms,
    issuer,
    audience,
    leeway,
    keys,
    claims
});

/// Where requests have their token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this header field; in Authorization and Proxy-Authorization after the scheme Bearer.
    Header(HeaderName),
    /// In this cookie.
    Cookie(String),
}

packed_enum!(Place { 0 = Header(name), 1 = Cookie(name) });

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// They stand in the policy.
    Given(Arc<KeySet>),
    /// They are fetched from this URL, again and again.
    Url(Arc<str>),
    /// It is a secret, which the shell finds under this name: an environment variable, or a secret
    /// of the Worker.
    Secret(Arc<str>),
}

packed_enum!(KeySource { 0 = Given(keys), 1 = Url(url), 2 = Secret(name) });
