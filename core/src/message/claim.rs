//! What a client's token claims, once it is verified.

use std::sync::Arc;

/// A claim of a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name, as the policy writes it.
    pub name: Arc<str>,
    /// Its value as text: numbers as the issuer has written them, `true` and `false`. It may be
    /// empty, which is a value as others are.
    pub value: Box<str>,
}
