//! Public keys as PEM files have them (RFC 7468; `SubjectPublicKeyInfo` of RFC 5280), for policies
//! that are being read.

use super::keys::{Key, KeySet, Material, Unusable, rsa};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// What stands before a key of Ed25519 (RFC 8410).
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// What stands before a point on P-256, not compressed (RFC 5480).
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// What names RSA: its object identifier and no parameters (RFC 3279).
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

impl KeySet {
    /// Reads public keys as a policy has them: PEM, a JSON Web Key, or a set of these.
    ///
    /// # Errors
    /// If there is none that is used, or one is private.
    pub fn read_policy(text: &str) -> Result<Self, Unusable> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::read(text);
        }
        if text.contains("PRIVATE KEY-----") {
            return Err(Unusable::Private);
        }
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some(block) = rest.strip_prefix(BEGIN) {
            let (inside, after) = block.split_once(END).ok_or(Unusable::NoKey)?;
            let material = decode(inside).and_then(|der| read_info(&der));
            let material = material.ok_or(Unusable::NoKey)?;
            keys.push(Key { id: None, material });
            rest = after.trim_start();
        }
        if !rest.is_empty() {
            return Err(Unusable::NoSet);
        }
        Self::of(keys).ok_or(Unusable::NoSet)
    }
}

/// Reads base64 with the ends of lines in it.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut letters: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        letters.push(match byte {
            b'+' => b'-',
            b'/' => b'_',
            b'-' | b'_' => return None,
            other => other,
        });
    }
    if letters.len().is_multiple_of(4) {
        let padding = letters
            .iter()
            .rev()
            .take_while(|letter| **letter == b'=')
            .take(2);
        letters.truncate(letters.len() - padding.count());
    }
    super::base64url::decode(&letters)
}

fn read_info(der: &[u8]) -> Option<Material> {
    if let Some(point) = der.strip_prefix(ED25519) {
        return (point.len() == 32).then(|| Material::Ed25519 {
            point: point.to_vec(),
        });
    }
    if let Some(point) = der.strip_prefix(P256) {
        let is_whole = point.len() == 65 && point.first() == Some(&4);
        return is_whole.then(|| Material::P256 {
            point: point.to_vec(),
        });
    }
    let info = whole(der, SEQUENCE)?;
    let bits = whole(info.strip_prefix(RSA)?, BIT_STRING)?;
    let numbers = whole(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, rest) = element(numbers, INTEGER)?;
    let exponent = whole(rest, INTEGER)?;
    rsa(modulus.to_vec(), exponent.to_vec())
}

/// Returns what is in an element that is all there is.
fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (inside, rest) = element(der, tag)?;
    rest.is_empty().then_some(inside)
}

/// Returns what is in the first element, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_at_checked(2)?;
    let [found, length] = head else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match usize::from(*length) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
            // No key has a length of three bytes.
            if bytes.is_empty() || bytes.len() > 2 {
                return None;
            }
            let length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
    };
    rest.split_at_checked(length)
}
