//! What a client's JSON Web Token says of it (RFC 7519), once its signature has been verified.
//!
//! Why: whoever has a token of its own is counted by what the issuer wrote into it, and can choose
//! neither another's count nor a new one. So a claim is used only after all of this: the token is
//! one that is read in one way only, its algorithm is one that the policy allows, the key is one of
//! the issuer's and made for that very algorithm, the signature is right, and the token is valid
//! now, by this issuer and for this audience. A token of which one of these does not hold says
//! nothing: the request is treated as one without.
//!
//! The signature itself is verified by the shell ([`Signed`]): at the edge the platform does it,
//! which answers later, and in a pod a library that is no part of the core.

mod algorithm;
mod base64url;
mod claims;
mod compact;
mod json;
mod keys;
mod outcome;
#[cfg(feature = "source")]
mod pem;
mod rule;

pub use algorithm::Algorithm;
pub use keys::{Key, KeySet, Material, Unusable};
pub use outcome::{ClaimReport, TokenOutcome, TokenReport};
pub use rule::{KeySource, Place, TokenRule};

pub(crate) use compact::{Compact, find};

/// What a shell verifies: whether somebody who has the key's secret part has signed the input.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// By which algorithm. The key is made for it.
    pub algorithm: Algorithm,
    /// By which key.
    pub key: &'a Key,
    /// What was signed: the token without its last part.
    pub input: &'a [u8],
    /// The signature, as RFC 7518 writes it: of ES256 both numbers, 32 bytes each.
    pub signature: &'a [u8],
}

#[cfg(test)]
mod tests;
