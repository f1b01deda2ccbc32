//! Tokens, whose signature is taken for right: what is believed is what others read too.

use std::sync::OnceLock;

use http::{HeaderValue, header};
use serde_json::Value;
use tidegate_core::report::{TokenOutcome, TokenReport};
use tidegate_core::{Engine, Policy, Timestamp, explain};

use crate::fixture::{CLIENT, START};

const POLICY: &str = r#"
[client.token]
algorithms = ["EdDSA"]
keys = '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
[origins.a]
url = "http://a.test"
[pools.main]
origins = ["a"]
[limits.each]
quota = "1/min"
key = ["claim:sub"]
[[routes]]
pool = "main"
limits = ["each"]
"#;

/// A line with the header of a token and its payload behind it; and all of it as credentials.
pub fn tokens(data: &[u8]) {
    let _whatever_it_is = shown(data);
    let at = data.iter().position(|byte| *byte == b'\n');
    let (header, payload) = data.split_at(at.unwrap_or(data.len()));
    let payload = payload.get(1..).unwrap_or_default();
    let token = [&*encode(header), b".", &*encode(payload), b".c2ln"].concat();
    let Some(report) = shown(&token) else {
        panic!("a token is a field value")
    };
    if report.outcome != TokenOutcome::Verified {
        assert!(
            !report.claims[0].present,
            "nothing is used of what is not believed"
        );
        return;
    }
    let (Some(header), Some(payload)) = (read(header), read(payload)) else {
        return;
    };
    assert!(
        matches!(header["alg"].as_str(), Some("EdDSA" | "Ed25519")),
        "{header}"
    );
    assert!(
        payload.is_object() && header.get("crit").is_none(),
        "{header} {payload}"
    );
    let now = f64::from(u32::try_from(START / 1000).expect("before 2106"));
    if let Some(expires) = payload.get("exp") {
        let expires = expires.as_f64().expect("a number");
        assert!(expires > now - 30.0, "{payload}");
    }
    if let Some(begins) = payload.get("nbf") {
        let begins = begins.as_f64().expect("a number");
        assert!(begins < now + 31.0, "{payload}");
    }
    let subject = &payload["sub"];
    let is_one = subject.is_string() || subject.is_number() || subject.is_boolean();
    assert_eq!(report.claims[0].present, is_one, "{payload}");
}

/// Reads JSON; `None` if a number in it is too large for this reader. Others keep it as a text.
fn read(text: &[u8]) -> Option<Value> {
    match serde_json::from_slice(text) {
        Ok(value) => Some(value),
        Err(error) if error.to_string().contains("out of range") => None,
        Err(error) => panic!("{error}"),
    }
}

/// Shows credentials; `None` if they cannot be in a message.
fn shown(token: &[u8]) -> Option<TokenReport> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let policy = Policy::parse("policy", POLICY).unwrap_or_else(|error| panic!("{error}"));
        Engine::new(policy, 7)
    });
    let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.headers
        .insert(header::HOST, HeaderValue::from_static("a.example"));
    head.headers.insert(header::AUTHORIZATION, value);
    let now = Timestamp::from_millis(START);
    let report = explain::explain(engine, head, CLIENT, now, |_| true);
    report.token.map(|token| *token)
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = Vec::new();
    for three in bytes.chunks(3) {
        let mut bits = 0_u32;
        for position in 0..3 {
            bits = bits << 8 | u32::from(three.get(position).copied().unwrap_or(0));
        }
        for position in 0..=three.len() {
            let letter = bits >> (18 - 6 * position) & 63;
            text.push(LETTERS[letter as usize]);
        }
    }
    text
}
