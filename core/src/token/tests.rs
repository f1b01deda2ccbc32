#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod keys;

use std::sync::Arc;

use http::{HeaderName, header};

use super::*;
use crate::cache::tests_support::headers;
use crate::time::Timestamp;

/// Examples of RFC 7515 (appendices A.1 to A.3) and RFC 8037 (A.4).
mod examples {
    pub(super) const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    pub(super) const HS256: [&str; 3] = [
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
    ];
    pub(super) const RS256: [&str; 3] = [
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
    ];
    pub(super) const ES256: [&str; 3] = [
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    ];
    pub(super) const EDDSA: [&str; 3] = [
        "eyJhbGciOiJFZERTQSJ9",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    ];
}

const ALL: [Algorithm; 4] = [
    Algorithm::Hs256,
    Algorithm::Rs256,
    Algorithm::Es256,
    Algorithm::EdDsa,
];

fn rule(algorithms: &[Algorithm]) -> TokenRule {
    TokenRule {
        place: Place::Header(header::AUTHORIZATION),
        algorithms: algorithms.to_vec(),
        issuer: None,
        audience: None,
        leeway: 30_000,
        keys: KeySource::Url("https://issuer.test/jwks".into()),
        claims: vec!["sub".into()],
    }
}

fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut bits = 0_u32;
        for position in 0..3 {
            bits = bits << 8 | u32::from(*three.get(position).unwrap_or(&0));
        }
        for position in 0..=three.len() {
            let letter = bits >> (18 - 6 * position) & 63;
            text.push(char::from(LETTERS[letter as usize]));
        }
    }
    text
}

fn token(header: &str, payload: &str) -> String {
    format!(
        "{}.{}.c2ln",
        encode(header.as_bytes()),
        encode(payload.as_bytes())
    )
}

fn read(text: &str) -> Result<Compact, TokenOutcome> {
    Compact::read(text, &rule(&ALL))
}

#[test]
fn examples_of_the_standards_are_read() {
    let cases = [
        (examples::HS256, Algorithm::Hs256, 32),
        (examples::RS256, Algorithm::Rs256, 256),
        (examples::ES256, Algorithm::Es256, 64),
    ];
    for ([header, signature, key], algorithm, length) in cases {
        let text = format!("{header}.{}.{signature}", examples::PAYLOAD);
        let compact = read(&text).unwrap();
        assert_eq!(compact.algorithm, algorithm);
        assert_eq!(compact.key, None);
        assert_eq!(compact.input, format!("{header}.{}", examples::PAYLOAD));
        assert_eq!(compact.signature.len(), length);
        let keys = match algorithm {
            Algorithm::Hs256 => KeySet::read_secret(key),
            Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => KeySet::read(key),
        };
        let keys = keys.unwrap();
        let (position, found) = keys.candidate(0, algorithm, None).unwrap();
        assert_eq!((position, found.algorithm()), (0, algorithm));
        let mut rule = rule(&ALL);
        rule.issuer = Some("joe".into());
        rule.claims = vec![
            "iss".into(),
            "http://example.com/is_root".into(),
            "sub".into(),
        ];
        let expires = Timestamp::from_millis(1_300_819_380_000);
        let claims = compact.claims(&rule, expires).unwrap();
        let told: Vec<_> = claims
            .iter()
            .map(|claim| (&*claim.name, &*claim.value))
            .collect();
        assert_eq!(
            told,
            [("iss", "joe"), ("http://example.com/is_root", "true")]
        );
        let over = compact.claims(&rule, expires.plus(30_000));
        assert_eq!(over, Err(TokenOutcome::Expired));
    }
    // What RFC 8037 signs is no token, as its payload is no JSON.
    let [header, signature, key] = examples::EDDSA;
    let text = format!("{header}.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{signature}");
    let compact = read(&text).unwrap();
    assert_eq!(compact.algorithm, Algorithm::EdDsa);
    assert_eq!(compact.signature.len(), 64);
    assert!(
        KeySet::read(key)
            .unwrap()
            .candidate(0, Algorithm::EdDsa, None)
            .is_some()
    );
    let claims = compact.claims(&rule(&ALL), Timestamp::default());
    assert_eq!(claims, Err(TokenOutcome::Malformed));
}

#[test]
fn a_header_is_read_in_one_way_only() {
    let good = token(r#"{"alg":"ES256","kid":"1","typ":"JWT"}"#, "{}");
    assert_eq!(read(&good).unwrap().key.as_deref(), Some("1"));
    let malformed = [
        ("no header", ".e30.c2ln".to_owned()),
        ("two parts", "eyJhbGciOiJFUzI1NiJ9.e30".to_owned()),
        ("four parts", format!("{good}.c2ln")),
        ("five parts, as if encrypted", format!("{good}.c2ln.c2ln")),
        ("padding", good.replacen(".c2ln", ".c2k=", 1)),
        ("no base64url", good.replacen(".c2ln", ".c2+n", 1)),
        ("bits of no byte", good.replacen(".c2ln", ".c2l", 1)),
        ("no JSON", token("alg", "{}")),
        ("no object", token("[]", "{}")),
        ("no algorithm", token(r#"{"kid":"1"}"#, "{}")),
        (
            "an algorithm that is no text",
            token(r#"{"alg":["ES256"]}"#, "{}"),
        ),
        (
            "two algorithms",
            token(r#"{"alg":"none","alg":"ES256"}"#, "{}"),
        ),
        (
            "two algorithms, one in disguise",
            token(r#"{"alg":"ES256","\u0061lg":"none"}"#, "{}"),
        ),
        (
            "a key that is no text",
            token(r#"{"alg":"ES256","kid":1}"#, "{}"),
        ),
        (
            "what is not understood",
            token(r#"{"alg":"ES256","crit":["exp"],"exp":1}"#, "{}"),
        ),
        (
            "an empty list of it",
            token(r#"{"alg":"ES256","crit":[]}"#, "{}"),
        ),
        (
            "a payload that is not encoded",
            token(r#"{"alg":"ES256","b64":false}"#, "{}"),
        ),
        (
            "something behind the header",
            token(r#"{"alg":"ES256"}x"#, "{}"),
        ),
    ];
    for (why, text) in malformed {
        assert_eq!(read(&text).unwrap_err(), TokenOutcome::Malformed, "{why}");
    }
    for name in [
        "none", "None", "", "es256", "RS512", "PS256", "ES384", "HS512",
    ] {
        let text = token(&format!(r#"{{"alg":"{name}"}}"#), "{}");
        assert_eq!(
            read(&text).unwrap_err(),
            TokenOutcome::AlgorithmNotAllowed,
            "{name}"
        );
    }
    let text = token(r#"{"alg":"HS256"}"#, "{}");
    let refused = Compact::read(&text, &rule(&[Algorithm::Rs256, Algorithm::Es256]));
    assert_eq!(refused.unwrap_err(), TokenOutcome::AlgorithmNotAllowed);
}

#[test]
fn what_is_long_is_not_read() {
    let of = |payload: usize| token(r#"{"alg":"ES256"}"#, &"x".repeat(payload));
    assert!(read(&of(12_000)).is_ok());
    assert_eq!(read(&of(13_000)).unwrap_err(), TokenOutcome::Malformed);
    let header = format!(r#"{{"alg":"ES256","x":"{}"}}"#, "x".repeat(4000));
    assert_eq!(
        read(&token(&header, "{}")).unwrap_err(),
        TokenOutcome::Malformed
    );
}

#[test]
fn a_request_has_one_token() {
    let found = |place: &Place, fields: &[(&'static str, &str)]| {
        find(place, &headers(fields)).map(str::to_owned)
    };
    let authorization = Place::Header(header::AUTHORIZATION);
    for value in ["Bearer a.b.c", "bearer  a.b.c", " BEARER a.b.c "] {
        let fields = [("authorization", value)];
        assert_eq!(
            found(&authorization, &fields).as_deref(),
            Ok("a.b.c"),
            "{value}"
        );
    }
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "a.b.c",
        "Bearera.b.c",
    ] {
        let fields = [("authorization", value)];
        assert_eq!(
            found(&authorization, &fields),
            Err(TokenOutcome::Missing),
            "{value}"
        );
    }
    assert_eq!(found(&authorization, &[]), Err(TokenOutcome::Missing));
    let twice = [
        ("authorization", "Bearer a.b.c"),
        ("authorization", "Bearer a.b.c"),
    ];
    assert_eq!(found(&authorization, &twice), Err(TokenOutcome::Malformed));
    let own = Place::Header(HeaderName::from_static("x-token"));
    assert_eq!(found(&own, &[("x-token", "a.b.c")]).as_deref(), Ok("a.b.c"));
    let cookie = Place::Cookie("session".into());
    assert_eq!(
        found(&cookie, &[("cookie", "a=1; session=a.b.c")]).as_deref(),
        Ok("a.b.c")
    );
    assert_eq!(
        found(&cookie, &[("cookie", "a=1")]),
        Err(TokenOutcome::Missing)
    );
    let same = [("cookie", "session=a.b.c; Session=a.b.c")];
    assert_eq!(found(&cookie, &same).as_deref(), Ok("a.b.c"));
    let two = [("cookie", "session=a.b.c; Session=d.e.f")];
    assert_eq!(found(&cookie, &two), Err(TokenOutcome::Malformed));
}

const NOW: u64 = 1_800_000_000;

fn told(rule: &TokenRule, payload: &str) -> Result<Vec<(String, String)>, TokenOutcome> {
    let compact = read(&token(r#"{"alg":"ES256"}"#, payload)).unwrap();
    let claims = compact.claims(rule, Timestamp::from_millis(NOW * 1000))?;
    let told = claims
        .iter()
        .map(|claim| (claim.name.to_string(), claim.value.to_string()));
    Ok(told.collect())
}

#[test]
fn a_token_is_believed_in_its_time_by_its_issuer_and_for_its_audience() {
    let mut rule = rule(&ALL);
    rule.issuer = Some("joe".into());
    rule.audience = Some("shop".into());
    let valid = r#""iss":"joe","aud":"shop""#;
    let cases = [
        (format!("{{{valid}}}"), None),
        (r#"{"iss":"joe","aud":["other","shop"]}"#.to_owned(), None),
        (
            r#"{"iss":"Joe","aud":"shop"}"#.to_owned(),
            Some(TokenOutcome::WrongIssuer),
        ),
        (
            r#"{"iss":["joe"],"aud":"shop"}"#.to_owned(),
            Some(TokenOutcome::WrongIssuer),
        ),
        (
            r#"{"aud":"shop"}"#.to_owned(),
            Some(TokenOutcome::WrongIssuer),
        ),
        (
            r#"{"iss":"joe"}"#.to_owned(),
            Some(TokenOutcome::WrongAudience),
        ),
        (
            r#"{"iss":"joe","aud":"shop2"}"#.to_owned(),
            Some(TokenOutcome::WrongAudience),
        ),
        (
            r#"{"iss":"joe","aud":[["shop"]]}"#.to_owned(),
            Some(TokenOutcome::WrongAudience),
        ),
        (format!(r#"{{{valid},"exp":{}}}"#, NOW - 29), None),
        (
            format!(r#"{{{valid},"exp":{}.9}}"#, NOW - 30),
            Some(TokenOutcome::Expired),
        ),
        (
            format!(r#"{{{valid},"exp":-1}}"#),
            Some(TokenOutcome::Expired),
        ),
        (format!(r#"{{{valid},"exp":99999999999999999999}}"#), None),
        (
            format!(r#"{{{valid},"exp":"{NOW}"}}"#),
            Some(TokenOutcome::Malformed),
        ),
        (
            format!(r#"{{{valid},"exp":null}}"#),
            Some(TokenOutcome::Malformed),
        ),
        (
            format!(r#"{{{valid},"exp":2e9}}"#),
            Some(TokenOutcome::Malformed),
        ),
        (format!(r#"{{{valid},"nbf":{}}}"#, NOW + 30), None),
        (
            format!(r#"{{{valid},"nbf":{}}}"#, NOW + 31),
            Some(TokenOutcome::NotYetValid),
        ),
        (
            format!(r#"{{{valid},"exp":1,"exp":{}}}"#, NOW + 9),
            Some(TokenOutcome::Malformed),
        ),
        ("[]".to_owned(), Some(TokenOutcome::Malformed)),
        ("\"joe\"".to_owned(), Some(TokenOutcome::Malformed)),
        ("\u{0}".to_owned(), Some(TokenOutcome::Malformed)),
    ];
    for (payload, refused) in cases {
        assert_eq!(told(&rule, &payload).err(), refused, "{payload}");
    }
}

#[test]
fn claims_are_text_and_an_empty_one_is_there() {
    let payload = r#"{"sub":"","n":10,"big":12345678901234567890123,"half":1.50,"yes":true,"no":false,"nothing":null,
        "list":["a"],"a.b":"dots","a":{"b":"inside","c/d":{"~":"escaped"}},"https://shop/org":"Ä","/a":"slash"}"#;
    let mut rule = rule(&ALL);
    for (name, value) in [
        ("sub", Some("")),
        ("n", Some("10")),
        ("big", Some("12345678901234567890123")),
        ("half", Some("1.50")),
        ("yes", Some("true")),
        ("no", Some("false")),
        ("nothing", None),
        ("list", None),
        ("a", None),
        ("missing", None),
        ("a.b", Some("dots")),
        ("/a/b", Some("inside")),
        ("/a/c~1d/~0", Some("escaped")),
        ("/a/missing", None),
        ("/sub/b", None),
        ("/list/0", None),
        ("https://shop/org", Some("Ä")),
        ("/~1a", Some("slash")),
    ] {
        rule.claims = vec![Arc::from(name)];
        let expected = value.map(|value| (name.to_owned(), value.to_owned()));
        assert_eq!(
            told(&rule, payload).unwrap(),
            Vec::from_iter(expected),
            "{name}"
        );
    }
}
