//! The published form of a policy: what the Worker reads, and nothing else of a policy's text.
//!
//! It is one line of words, so that it survives whatever keeps text:
//!
//! ```text
//! tidegate-policy FORMAT SOURCE POLICY CHECK
//! ```
//!
//! FORMAT is the number below, SOURCE the SHA-256 of the file that it was made from, POLICY the
//! compiled policy, packed, and CHECK the hash of everything before it. Reading it takes no parser:
//! durations are numbers, names are positions, and whatever can be wrong with a policy was told
//! when it was published.

use std::fmt;

use sha2::{Digest, Sha256};

use super::compiled::Policy;
use crate::hash;
use crate::packed::Unpacking;

/// The number of the form. Whoever changes what is packed raises it.
pub const FORMAT: u32 = 4;

const NAME: &str = "tidegate-policy";

/// A policy as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// One line, with its end: what goes into KV.
    pub text: String,
    /// SHA-256 of the policy file in 64 hexadecimal digits.
    pub source: String,
}

/// Why a text is not taken for a published policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpublished {
    /// It is something else, such as a policy as it is written.
    Unknown,
    /// It was made by another version.
    OtherFormat(String),
    /// It is not what was published.
    Damaged,
}

impl fmt::Display for Unpublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("this is not a compiled policy; write what ")?,
            Self::OtherFormat(format) => write!(
                f,
                "this policy was compiled by another version of tidegate, into format {format} \
                 instead of {FORMAT}; take the version that is deployed, and write what "
            )?,
            Self::Damaged => f.write_str("this compiled policy is damaged; write what ")?,
        }
        f.write_str("`tidegate check --compile FILE` makes of the policy file")
    }
}

impl std::error::Error for Unpublished {}

impl Policy {
    /// Publishes a policy; `source` is the text that it was read from.
    pub fn publish(&self, source: &str) -> Published {
        let source = hexadecimal(&Sha256::digest(source));
        let mut packed = Vec::new();
        self.pack(&mut packed);
        let packed = hexadecimal(&packed);
        let mut text = format!("{NAME} {FORMAT} {source} {packed}");
        let check = hexadecimal(&check(&text));
        text.push(' ');
        text.push_str(&check);
        text.push('\n');
        Published { text, source }
    }

    /// Reads a published policy.
    ///
    /// # Errors
    /// Says why it is none, and what to do.
    pub fn read_published(text: &str) -> Result<Self, Unpublished> {
        let text = text.trim_ascii();
        let after_name = text.strip_prefix(NAME).ok_or(Unpublished::Unknown)?;
        let rest = after_name.strip_prefix(' ').ok_or(Unpublished::Damaged)?;
        let (format, _) = rest.split_once(' ').ok_or(Unpublished::Damaged)?;
        if format.parse() != Ok(FORMAT) {
            return Err(Unpublished::OtherFormat(format.to_owned()));
        }
        read_checked(text).ok_or(Unpublished::Damaged)
    }
}

/// Reads a text of this format.
fn read_checked(text: &str) -> Option<Policy> {
    let (checked, sum) = text.rsplit_once(' ')?;
    if bytes(sum)? != check(checked) {
        return None;
    }
    let (_, packed) = checked.rsplit_once(' ')?;
    let packed = bytes(packed)?;
    let mut from = Unpacking::of(&packed);
    let policy = Policy::unpack(&mut from)?;
    from.ended_well().then_some(policy)
}

fn check(text: &str) -> [u8; 8] {
    hash::stable(text.as_bytes()).to_be_bytes()
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for half in [byte >> 4, byte & 0xf] {
            text.extend(DIGITS.get(usize::from(half)));
        }
    }
    text
}

/// Reads lower-case hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let mut bytes = Vec::with_capacity(pairs.len());
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    rest.is_empty().then_some(bytes)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(all(test, feature = "source"))]
mod tests;
