//! Time and randomness of the platform.
//!
//! At the edge the clock stands still between two I/O operations, so it is read afresh after every
//! one of them.

use tidegate_core::exchange::Event;
use tidegate_core::{AwaitEvent, Millis, Timestamp};
use worker::js_sys;
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;

use crate::tasks;

/// How often a request that waits for another one's fetch looks whether that has ended: promises
/// cannot be shared between requests.
const POLL: Millis = 20;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;
}

/// Reads the clock.
pub(crate) fn now() -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole milliseconds after 1970"
    )]
    let millis = js_sys::Date::now() as u64;
    Timestamp::from_millis(millis)
}

/// Draws random bytes; zeros if the platform has none to give.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if get_random_values(&mut bytes).is_err() {
        worker::console_error!("no randomness");
    }
    bytes
}

/// Waits until the wait that the core asks for is over. A clock that is set back meanwhile does not
/// make it longer.
pub(crate) async fn wait(next: &AwaitEvent) {
    let mut budget = next.until().since(now());
    while budget > 0 && !next.is_over(now()) {
        let nap = if matches!(next.event(), Event::FetchEnds(_)) {
            budget.min(POLL)
        } else {
            budget
        };
        tasks::sleep(nap).await;
        budget = budget.saturating_sub(nap);
    }
}
