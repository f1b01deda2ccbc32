//! Keys by which tokens are verified, and how they are written (RFC 7517, JSON Web Keys).
//!
//! A key is made for one algorithm, which follows from its kind. So nobody can have a public key
//! taken for the secret of an HMAC, whatever a token says (RFC 8725, section 2.1): a set that is
//! public has no secrets, and a secret is no set of public keys.

use std::fmt;

use super::algorithm::Algorithm;
use super::base64url;
use super::json::Json;
use crate::packed::{packed_enum, packed_struct};

/// Most keys of a set that are used.
const KEYS_MAX: usize = 64;

/// Fewest bytes of a secret (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The name by which tokens may ask for it.
    pub id: Option<String>,
    /// What it consists of.
    pub material: Material,
}

packed_struct!(Key { id, material });

/// What a key consists of.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// A secret of 32 bytes at least.
    Secret {
        /// The secret.
        bytes: Vec<u8>,
    },
    /// A public key of RSA, of 2048 to 8192 bits.
    Rsa {
        /// The modulus, most significant byte first and not 0.
        modulus: Vec<u8>,
        /// The exponent, most significant byte first and not 0.
        exponent: Vec<u8>,
    },
    /// A point on the curve P-256: a 4, then both coordinates, 32 bytes each.
    P256 {
        /// The point.
        point: Vec<u8>,
    },
    /// A public key of Ed25519, 32 bytes.
    Ed25519 {
        /// The key.
        point: Vec<u8>,
    },
}

packed_enum!(Material {
    0 = Secret { bytes },
    1 = Rsa { modulus, exponent },
    2 = P256 { point },
    3 = Ed25519 { point },
});

impl fmt::Debug for Material {
    /// A secret is in no debug output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm().as_str())
    }
}

impl Key {
    /// Returns the one algorithm that the key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.material.algorithm()
    }
}

impl Material {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Secret { .. } => Algorithm::Hs256,
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256 { .. } => Algorithm::Es256,
            Self::Ed25519 { .. } => Algorithm::EdDsa,
        }
    }
}

/// Keys that a token may be signed by; one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    pub(super) keys: Vec<Key>,
}

packed_struct!(KeySet { keys });

/// Why a text is no set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is no JSON, or an object has a member twice.
    NotJson,
    /// It is neither a JSON Web Key nor a set of them.
    NoSet,
    /// A key has a private part, or is a secret, and the text is public.
    Private,
    /// No key is one of RSA with 2048 to 8192 bits, of P-256 or of Ed25519, for signatures.
    NoKey,
    /// The secret has fewer than 32 bytes.
    ShortSecret,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "this is not JSON in which each member is there once",
            Self::NoSet => "this is neither a JSON Web Key nor a set of them ({\"keys\": [...]})",
            Self::Private => "there is a private key or a secret in it, and this is public",
            Self::NoKey => {
                "there is no key in it that is used: RSA of 2048 to 8192 bits, P-256 or Ed25519, for signatures"
            }
            Self::ShortSecret => {
                "the secret has fewer than 32 bytes, and could be guessed: take one from `openssl rand -hex 32`"
            }
        })
    }
}

impl KeySet {
    /// Reads public keys: a JSON Web Key, or a set of them. Keys of other kinds, or for other
    /// purposes, are left out.
    ///
    /// # Errors
    /// If none is left, or one of them is no public key.
    pub fn read(text: &str) -> Result<Self, Unusable> {
        let json = Json::read(text).ok_or(Unusable::NotJson)?;
        let mut keys = Vec::new();
        for jwk in listed(&json)? {
            if jwk.get("d").is_some() || jwk.get("k").is_some() {
                return Err(Unusable::Private);
            }
            keys.extend(public_key(jwk));
        }
        Self::of(keys).ok_or(Unusable::NoKey)
    }

    /// Reads a secret: a JSON Web Key of the kind `oct` or a set of them, or else the text itself,
    /// without the ends of lines after it.
    ///
    /// # Errors
    /// If it is too short, or what looks like JSON is no such key.
    pub fn read_secret(text: &str) -> Result<Self, Unusable> {
        let text = text.trim_end_matches(['\r', '\n']);
        if !text.starts_with('{') {
            let key = secret(None, text.as_bytes().to_vec())?;
            return Ok(Self { keys: vec![key] });
        }
        let json = Json::read(text).ok_or(Unusable::NotJson)?;
        let mut keys = Vec::new();
        for jwk in listed(&json)? {
            let bytes = number(jwk, "k").ok_or(Unusable::NoSet)?;
            keys.push(secret(id(jwk), bytes)?);
        }
        Self::of(keys).ok_or(Unusable::NoSet)
    }

    /// Makes a set; `None` if there is no key.
    pub(super) fn of(mut keys: Vec<Key>) -> Option<Self> {
        keys.truncate(KEYS_MAX);
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Returns the keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the first key at or after `from` that a token of this algorithm may be signed by,
    /// with its position. A token that names a key is tried with keys of that name, and with keys
    /// that have none; one that names none is tried with all.
    pub(crate) fn candidate(
        &self,
        from: usize,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Option<(usize, &Key)> {
        let mut rest = self.keys.iter().enumerate().skip(from);
        rest.find(|(_, key)| {
            let is_named = key.id.is_none() || id.is_none() || key.id.as_deref() == id;
            is_named && key.algorithm() == algorithm
        })
    }
}

/// Lists the keys of a set; a key by itself is one.
fn listed<'a, 'j>(json: &'a Json<'j>) -> Result<&'a [Json<'j>], Unusable> {
    match json.get("keys") {
        Some(keys) => keys.items().ok_or(Unusable::NoSet),
        None if json.get("kty").is_some() => Ok(std::slice::from_ref(json)),
        None => Err(Unusable::NoSet),
    }
}

fn secret(id: Option<String>, bytes: Vec<u8>) -> Result<Key, Unusable> {
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(Unusable::ShortSecret);
    }
    let material = Material::Secret { bytes };
    Ok(Key { id, material })
}

/// Reads a public key; `None` if it is of another kind, or for another purpose.
fn public_key(jwk: &Json<'_>) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Json::text);
    let material = match (text("kty")?, text("crv")) {
        ("RSA", _) => rsa(number(jwk, "n")?, number(jwk, "e")?)?,
        ("EC", Some("P-256")) => p256(&number(jwk, "x")?, &number(jwk, "y")?)?,
        ("OKP", Some("Ed25519")) => ed25519(number(jwk, "x")?)?,
        _ => return None,
    };
    let id = id(jwk);
    let key = Key { id, material };
    let is_for_signatures = match (jwk.get("use"), jwk.get("key_ops")) {
        (Some(usage), _) if usage.text() != Some("sig") => false,
        (_, Some(operations)) => operations
            .items()?
            .iter()
            .any(|operation| operation.text() == Some("verify")),
        _ => true,
    };
    let is_for_algorithm = jwk
        .get("alg")
        .is_none_or(|name| name.text().and_then(Algorithm::named) == Some(key.algorithm()));
    (is_for_signatures && is_for_algorithm).then_some(key)
}

/// An identifier that is no text names nothing.
fn id(jwk: &Json<'_>) -> Option<String> {
    jwk.get("kid").and_then(Json::text).map(str::to_owned)
}

fn number(jwk: &Json<'_>, name: &str) -> Option<Vec<u8>> {
    base64url::decode(jwk.get(name)?.text()?.as_bytes())
}

/// Makes a key of RSA, if it is one that both homes can use: of 2048 to 8192 bits, with an odd
/// exponent from 3 to 2^32.
pub(super) fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Option<Material> {
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    let first = modulus.first()?;
    let bits = modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?;
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let is_one = exponent.len() == 1 && exponent.first() == Some(&1);
    let is_usable = (2048..=8192).contains(&bits)
        && is_odd(&modulus)
        && is_odd(&exponent)
        && !is_one
        && exponent.len() <= 4;
    is_usable.then_some(Material::Rsa { modulus, exponent })
}

fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

fn p256(x: &[u8], y: &[u8]) -> Option<Material> {
    if x.len() != 32 || y.len() != 32 {
        return None;
    }
    let point = [&[4], x, y].concat();
    Some(Material::P256 { point })
}

fn ed25519(point: Vec<u8>) -> Option<Material> {
    (point.len() == 32).then_some(Material::Ed25519 { point })
}
