#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{encode, examples};
use crate::token::{Algorithm, KeySet, Material, Unusable};

#[test]
fn a_key_is_for_one_algorithm_and_may_have_a_name() {
    let [_, _, rsa] = examples::RS256;
    let [_, _, curve] = examples::ES256;
    let named = |jwk: &str, id: &str| jwk.replacen('{', &format!(r#"{{"kid":"{id}","#), 1);
    let set = format!(
        r#"{{"keys":[{},{},{curve}]}}"#,
        named(rsa, "a"),
        named(rsa, "b")
    );
    let set = KeySet::read(&set).unwrap();
    let all = |algorithm, id| {
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some((position, _)) = set.candidate(from, algorithm, id) {
            found.push(position);
            from = position + 1;
        }
        found
    };
    assert_eq!(all(Algorithm::Rs256, None), [0, 1]);
    assert_eq!(all(Algorithm::Rs256, Some("b")), [1]);
    assert_eq!(all(Algorithm::Rs256, Some("c")), [0; 0]);
    // One without a name answers to each.
    assert_eq!(all(Algorithm::Es256, Some("c")), [2]);
    // No public key is a secret, whatever a token says.
    assert_eq!(all(Algorithm::Hs256, Some("a")), [0; 0]);
    assert_eq!(all(Algorithm::EdDsa, None), [0; 0]);
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    let [_, _, curve] = examples::ES256;
    let with = |members: &str| curve.replacen('{', &format!("{{{members},"), 1);
    for used in [
        curve.to_owned(),
        with(r#""use":"sig""#),
        with(r#""key_ops":["verify"]"#),
        with(r#""alg":"ES256","x5c":["MII"]"#),
        format!(r#"{{"keys":[{},{curve}]}}"#, with(r#""use":"enc""#)),
    ] {
        assert_eq!(
            KeySet::read(&used).map(|set| set.keys().len()),
            Ok(1),
            "{used}"
        );
    }
    let [_, _, rsa] = examples::RS256;
    let [_, _, secret] = examples::HS256;
    for (text, why) in [
        (with(r#""use":"enc""#), Unusable::NoKey),
        (with(r#""key_ops":["encrypt"]"#), Unusable::NoKey),
        (with(r#""alg":"RS256""#), Unusable::NoKey),
        (curve.replace("P-256", "P-384"), Unusable::NoKey),
        (curve.replace("x_FE", "x_F"), Unusable::NoKey),
        (rsa.replace("AQAB", "AQ"), Unusable::NoKey),
        (rsa.replace("AQAB", "Ag"), Unusable::NoKey),
        (
            r#"{"kty":"RSA","e":"AQAB","n":"ofgW"}"#.to_owned(),
            Unusable::NoKey,
        ),
        (r#"{"keys":[]}"#.to_owned(), Unusable::NoKey),
        (r#"{"keys":{}}"#.to_owned(), Unusable::NoSet),
        ("[]".to_owned(), Unusable::NoSet),
        (r#"{"issuer":"https://a"}"#.to_owned(), Unusable::NoSet),
        ("<html>".to_owned(), Unusable::NotJson),
        (with(r#""d":"AA""#), Unusable::Private),
        (secret.to_owned(), Unusable::Private),
        (
            format!(r#"{{"keys":[{curve},{secret}]}}"#),
            Unusable::Private,
        ),
    ] {
        assert_eq!(KeySet::read(&text), Err(why), "{text}");
    }
}

#[test]
fn a_secret_is_a_text_or_a_key() {
    let text = "0123456789abcdef0123456789abcdef";
    let material = |text: &str| KeySet::read_secret(text).map(|set| set.keys[0].material.clone());
    let bytes = |text: &str| Material::Secret {
        bytes: text.as_bytes().to_vec(),
    };
    assert_eq!(material(text), Ok(bytes(text)));
    assert_eq!(material(&format!("{text}\r\n")), Ok(bytes(text)));
    assert_eq!(
        material(&format!(" {text}")),
        Ok(bytes(&format!(" {text}")))
    );
    assert_eq!(material(&text[1..]), Err(Unusable::ShortSecret));
    let two = format!(
        r#"{{"keys":[{{"kty":"oct","kid":"old","k":"{0}"}},{{"kty":"oct","kid":"new","k":"{0}"}}]}}"#,
        encode(text.as_bytes())
    );
    let set = KeySet::read_secret(&two).unwrap();
    assert_eq!(
        set.candidate(0, Algorithm::Hs256, Some("new")).unwrap().0,
        1
    );
    let [_, _, curve] = examples::ES256;
    assert_eq!(material(curve), Err(Unusable::NoSet));
    assert_eq!(material("{"), Err(Unusable::NotJson));
    let debug = format!("{set:?}");
    assert!(debug.contains("HS256") && !debug.contains("48"), "{debug}");
}

#[cfg(feature = "source")]
#[test]
fn a_policy_may_have_its_keys_as_files_have_them() {
    // Made by `openssl`.
    for (pem, algorithm) in [
        (include_str!("../pem/rsa.pem"), Algorithm::Rs256),
        (include_str!("../pem/p256.pem"), Algorithm::Es256),
        (include_str!("../pem/ed25519.pem"), Algorithm::EdDsa),
    ] {
        let read = KeySet::read_policy(pem).unwrap();
        assert_eq!(read.keys.len(), 1);
        assert_eq!(read.keys[0].algorithm(), algorithm);
        let twice = KeySet::read_policy(&format!("\n{pem}\n{pem}")).unwrap();
        assert_eq!(twice.keys, [read.keys.clone(), read.keys.clone()].concat());
        let private = pem.replace("PUBLIC", "PRIVATE");
        assert_eq!(KeySet::read_policy(&private), Err(Unusable::Private));
        for length in 0..pem.trim_end().len() {
            assert!(KeySet::read_policy(&pem[..length]).is_err(), "{length}");
        }
    }
    let same = KeySet::read_policy(include_str!("../pem/rsa.json")).unwrap();
    assert_eq!(
        KeySet::read_policy(include_str!("../pem/rsa.pem")),
        Ok(same)
    );
    let other = include_str!("../pem/p384.pem");
    assert_eq!(KeySet::read_policy(other), Err(Unusable::NoKey));
    assert_eq!(KeySet::read_policy("AAAA"), Err(Unusable::NoSet));
}
