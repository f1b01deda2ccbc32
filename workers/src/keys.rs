//! Tokens are verified by the platform; the issuer's keys are fetched, and the secret is a binding.

use http::{HeaderValue, StatusCode, header, response};
use tidegate_core::token::{Material, Signed};
use tidegate_core::{AwaitSignature, Engine, KeyFetch};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::worker_sys::Context;
use worker::{Env, js_sys};

use crate::{clock, tasks};

#[wasm_bindgen(module = "/js/keys.mjs")]
extern "C" {
    /// A promise of whether a signature is right.
    fn verify(
        algorithm: &str,
        first: &[u8],
        second: &[u8],
        input: &[u8],
        signature: &[u8],
    ) -> js_sys::Promise;

    /// A promise of status, Cache-Control and body.
    #[wasm_bindgen(js_name = fetchKeys)]
    fn fetch_keys(url: &str, bytes_max: u32, millis: u32) -> js_sys::Promise;
}

/// Says whether a signature is right. One of which the platform cannot tell is not.
pub(crate) async fn is_right(next: &AwaitSignature) -> bool {
    let Some(signed) = next.signed() else {
        return false;
    };
    match tasks::wait(&verified(&signed)).await {
        Ok(answer) => answer.is_truthy(),
        Err(error) => {
            let error = worker::Error::from(error);
            worker::console_error!("a signature is not verified: {error}");
            false
        }
    }
}

fn verified(signed: &Signed<'_>) -> js_sys::Promise {
    let (first, second): (&[u8], &[u8]) = match &signed.key.material {
        Material::Secret { bytes } => (bytes, &[]),
        Material::Rsa { modulus, exponent } => (modulus, exponent),
        Material::P256 { point } | Material::Ed25519 { point } => (point, &[]),
    };
    let algorithm = signed.algorithm.as_str();
    verify(algorithm, first, second, signed.input, signed.signature)
}

/// Fetches the issuer's keys, if it is time for that, and not in any request's way.
pub(crate) fn fetch(engine: &Engine, ctx: Option<&Context>) {
    let Some(fetch) = ctx.and_then(|_| engine.keys_due(clock::now())) else {
        return;
    };
    let fetched = async move {
        let answer = get(&fetch).await;
        let answer = answer.as_ref().map(|(head, body)| (head, body.as_bytes()));
        if let Some(news) = fetch.done(answer.map_err(Clone::clone), clock::now()) {
            worker::console_warn!("client.token.jwks_url: {news}");
        }
    };
    if let Some(Err(error)) = ctx.map(|ctx| tasks::keep_alive(ctx, fetched)) {
        worker::console_error!("keys are not fetched: {error}");
    }
}

async fn get(fetch: &KeyFetch) -> Result<(response::Parts, String), String> {
    let bytes_max = u32::try_from(KeyFetch::BODY_BYTES_MAX).unwrap_or(u32::MAX);
    let millis = u32::try_from(KeyFetch::PATIENCE).unwrap_or(u32::MAX);
    let answer = tasks::wait(&fetch_keys(fetch.url(), bytes_max, millis)).await;
    let text = answer.map_err(|error| worker::Error::from(error).to_string())?;
    read(&text).ok_or_else(|| "its answer is not understood".to_owned())
}

/// Reads what `fetchKeys` has written.
fn read(text: &JsValue) -> Option<(response::Parts, String)> {
    let text = text.as_string()?;
    let (status, rest) = text.split_once('\n')?;
    let (cache_control, body) = rest.split_once('\n')?;
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    let cache_control = HeaderValue::from_str(cache_control).ok()?;
    head.headers.insert(header::CACHE_CONTROL, cache_control);
    Some((head, body.to_owned()))
}

/// Reads the secret that the policy names, if it names one.
pub(crate) fn know_secret(engine: &Engine, env: &Env) {
    let Some(name) = engine.secret_name() else {
        return;
    };
    let secret = env.secret(name).ok().map(|secret| secret.to_string());
    if let Err(why) = engine.know_secret(secret.as_deref()) {
        worker::console_warn!(
            "client.token.secret_env: the secret {name} of this Worker is none: {why}; put one there by `wrangler secret put {name}`; until then no token is verified"
        );
    }
}
