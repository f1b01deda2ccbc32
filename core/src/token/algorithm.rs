//! Algorithms of signatures (RFC 7518, section 3; RFC 8037; RFC 9864).

use crate::packed::packed_enum;

/// How a token is signed. There is none for a token that is not: `none` cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can verify can sign too.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on the curve P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

packed_enum!(Algorithm { 0 = Hs256, 1 = Rs256, 2 = Es256, 3 = EdDsa });

impl Algorithm {
    /// Reads the name that stands in a token or a policy. Names are compared letter by letter (RFC
    /// 7515, section 4.1.1); that of RFC 9864 says the same as the older one, as keys of other
    /// curves are not used.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// Returns the name that a policy uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}
