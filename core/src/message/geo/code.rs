//! Codes of countries and continents.

use std::fmt;

use crate::packed::{Packed, Unpacking};

/// A two-letter code of a country (ISO 3166-1) or a continent, in upper case. Two codes of
/// Cloudflare's are none of a country: `T1` is Tor, and `XX` a country that nobody knows. `EU` as a
/// country stands for the European Union.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code([u8; 2]);

/// The European Union, among countries; among continents Europe.
pub(super) const EU: Code = Code(*b"EU");

/// A country that nobody knows.
pub(super) const UNKNOWN: Code = Code(*b"XX");

impl Code {
    /// Reads a code of two ASCII letters in either case, or `T1`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().as_bytes() {
            [b't' | b'T', b'1'] => Some(Self(*b"T1")),
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// Reads the code of a client's country; `XX` is none.
    pub fn of_country(text: &str) -> Option<Self> {
        Self::parse(text).filter(|code| *code != UNKNOWN)
    }

    /// Returns the two characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the two characters.
    pub fn as_str(&self) -> &str {
        // Two ASCII characters by construction.
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl Packed for Code {
    fn pack(&self, into: &mut Vec<u8>) {
        self.0.pack(into);
    }

    fn unpack(from: &mut Unpacking<'_>) -> Self {
        Self(Packed::unpack(from))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
