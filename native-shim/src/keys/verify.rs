//! Signatures are verified, and what has been verified is remembered.
//!
//! A client shows the same token with each of its requests, and to verify an RSA signature takes as
//! long as the rest of a hit. What is remembered is that this key has signed these bytes, which stays
//! true: whether the key is still the issuer's, and the token still valid, is asked anew each time by
//! the core. Only what is right is remembered, so that nobody fills this with what he makes up.

use std::sync::{Mutex, OnceLock, PoisonError};

use cached::{Cached, LruCache};
use ring::digest;
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use tidegate_core::token::{Material, Signed};

/// How many are remembered: those of the clients that came last. Each takes some hundred bytes.
const REMEMBERED_MAX: usize = 10_000;

/// Says that a key has signed something: a digest of both.
type Fact = [u8; 32];

/// What has been verified.
#[derive(Debug, Default)]
pub(super) struct Verified(OnceLock<Mutex<LruCache<Fact, ()>>>);

impl Verified {
    /// Says whether a signature is right.
    pub(super) fn is_right(&self, signed: &Signed<'_>) -> bool {
        // To verify it is no more work than to remember that.
        if let Material::Secret { .. } = signed.key.material {
            return is_right(signed);
        }
        let fact = fact(signed);
        if self.knows(&fact) {
            return true;
        }
        let right = is_right(signed);
        if right {
            let known = self.0.get_or_init(|| LruCache::new(REMEMBERED_MAX).into());
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.cache_set(fact, ());
        }
        right
    }

    fn knows(&self, fact: &Fact) -> bool {
        let Some(known) = self.0.get() else {
            return false;
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.cache_get(fact).is_some()
    }
}

/// Says whether the signature of a token is right, as pods do, without remembering it.
pub fn is_right(signed: &Signed<'_>) -> bool {
    let Signed {
        input, signature, ..
    } = *signed;
    let verified = match &signed.key.material {
        Material::Secret { bytes } => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
            hmac::verify(&key, input, signature)
        }
        Material::Rsa { modulus, exponent } => RsaPublicKeyComponents {
            n: modulus,
            e: exponent,
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, input, signature),
        Material::P256 { point } => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, signature)
        }
        Material::Ed25519 { point } => {
            UnparsedPublicKey::new(&ED25519, point).verify(input, signature)
        }
    };
    verified.is_ok()
}

/// Makes the digest. Each part has its length before it, so that no two facts have the same bytes.
fn fact(signed: &Signed<'_>) -> Fact {
    let (kind, first, second): (u8, &[u8], &[u8]) = match &signed.key.material {
        Material::Secret { bytes } => (0, bytes, &[]),
        Material::Rsa { modulus, exponent } => (1, modulus, exponent),
        Material::P256 { point } => (2, point, &[]),
        Material::Ed25519 { point } => (3, point, &[]),
    };
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[kind]);
    for part in [first, second, signed.input, signed.signature] {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut fact = [0; 32];
    fact.copy_from_slice(context.finish().as_ref());
    fact
}

#[cfg(test)]
mod tests {
    use tidegate_core::token::{Algorithm, Key, KeySet};

    use super::*;

    const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    /// Examples of RFC 7515 (appendices A.1 to A.3) and RFC 8037 (A.4): algorithm, what is signed,
    /// signature and key.
    fn examples() -> Vec<(Algorithm, String, Vec<u8>, Key)> {
        let key = |set: Result<KeySet, _>| set.unwrap().keys()[0].clone();
        let signed = |header: &str| format!("{header}.{PAYLOAD}");
        let hs256 = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
        let rs256 = r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
        let es256 = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        let eddsa =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        vec![
            (
                Algorithm::Hs256,
                signed("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"),
                decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
                key(KeySet::read_secret(hs256)),
            ),
            (
                Algorithm::Rs256,
                signed("eyJhbGciOiJSUzI1NiJ9"),
                decode(
                    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
                ),
                key(KeySet::read(rs256)),
            ),
            (
                Algorithm::Es256,
                signed("eyJhbGciOiJFUzI1NiJ9"),
                decode(
                    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
                ),
                key(KeySet::read(es256)),
            ),
            (
                Algorithm::EdDsa,
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
                decode(
                    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
                ),
                key(KeySet::read(eddsa)),
            ),
        ]
    }

    fn decode(text: &str) -> Vec<u8> {
        const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
        for letter in text.chars() {
            bits = bits << 6 | u32::try_from(LETTERS.find(letter).unwrap()).unwrap();
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
            }
        }
        bytes
    }

    fn changed(bytes: &[u8], position: usize) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        changed[position] ^= 1;
        changed
    }

    #[test]
    fn examples_of_the_standards_are_right_and_nothing_else_is() {
        let examples = examples();
        let verified = Verified::default();
        // The second time what is known answers.
        for _ in 0..2 {
            for (algorithm, input, signature, key) in &examples {
                let is_right = |key: &Key, input: &[u8], signature: &[u8]| {
                    verified.is_right(&Signed {
                        algorithm: *algorithm,
                        key,
                        input,
                        signature,
                    })
                };
                let (input, name) = (input.as_bytes(), algorithm.as_str());
                assert!(is_right(key, input, signature), "{name}");
                for position in 0..signature.len() {
                    let wrong = changed(signature, position);
                    assert!(!is_right(key, input, &wrong), "{name} {position}");
                }
                for position in 0..input.len() {
                    let wrong = changed(input, position);
                    assert!(!is_right(key, &wrong, signature), "{name} {position}");
                }
                let long = [signature.as_slice(), &[0]].concat();
                for wrong in [&signature[1..], &[], &long, &[0; 64]] {
                    assert!(!is_right(key, input, wrong), "{name}");
                }
                for (_, _, _, other) in examples.iter().filter(|(other, ..)| other != algorithm) {
                    assert!(!is_right(other, input, signature), "{name}");
                }
            }
        }
        let known = verified.0.get().unwrap().lock().unwrap();
        let remembered = known.cache_size();
        assert_eq!(remembered, 3, "nothing wrong is remembered, and no secret");
    }
}
