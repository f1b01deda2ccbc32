//! Durable Objects are asked by RPC, text for text.

use tidegate_core::Millis;
use worker::js_sys::futures::JsFuture;
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::{Env, js_sys};

#[wasm_bindgen(module = "/js/objects.mjs")]
extern "C" {
    /// Whether there is such a binding.
    #[wasm_bindgen(js_name = isBound)]
    pub(crate) fn is_bound(env: &Env, binding: &str) -> bool;

    /// A promise of the answer; of undefined if there is none within `patience` milliseconds.
    #[wasm_bindgen(js_name = ask)]
    fn ask_object(
        env: &Env,
        binding: &str,
        name: &str,
        text: &str,
        patience: f64,
    ) -> js_sys::Promise;
}

/// Asks the object of this name. Errors are texts for the log.
pub(crate) async fn ask(
    env: &Env,
    binding: &str,
    name: &str,
    text: &str,
    patience: Millis,
) -> Result<String, String> {
    #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
    let asked = ask_object(env, binding, name, text, patience as f64);
    let answer: JsValue = JsFuture::from(asked).await.map_err(describe)?;
    answer
        .as_string()
        .ok_or_else(|| format!("no answer within {patience} ms"))
}

fn describe(error: JsValue) -> String {
    worker::Error::from(error).to_string()
}
