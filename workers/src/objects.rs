//! Durable Objects are asked by RPC, text for text.

use tidegate_core::Millis;
use worker::Env;
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;

use crate::tasks;

#[wasm_bindgen(module = "/js/objects.mjs")]
extern "C" {
    /// Whether there is such a binding.
    #[wasm_bindgen(js_name = isBound)]
    pub(crate) fn is_bound(env: &Env, binding: &str) -> bool;

    /// A promise of the answer.
    #[wasm_bindgen(js_name = ask, catch)]
    fn ask_object(env: &Env, binding: &str, name: &str, text: &str) -> Result<JsValue, JsValue>;
}

/// Asks the object of this name. Errors are texts for the log.
pub(crate) async fn ask(
    env: &Env,
    binding: &str,
    name: &str,
    text: &str,
    patience: Millis,
) -> Result<String, String> {
    let asked = ask_object(env, binding, name, text).map_err(describe)?;
    let answer = tasks::within(patience, &asked).await;
    let answer = answer.ok_or_else(|| format!("no answer within {patience} ms"))?;
    let answer = answer.map_err(describe)?;
    answer
        .as_string()
        .ok_or_else(|| "its answer is no text".to_owned())
}

fn describe(error: JsValue) -> String {
    worker::Error::from(error).to_string()
}
