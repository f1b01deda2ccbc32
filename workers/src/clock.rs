//! Time and randomness of the platform.
//!
//! At the edge the clock stands still between two I/O operations, so it is read afresh after every
//! one of them.

use std::cell::RefCell;

use tidegate_core::exchange::Event;
use tidegate_core::{AwaitEvent, Millis, Timestamp};
use worker::js_sys;
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;

use crate::tasks;

/// How often a request that waits for another one's fetch looks whether that has ended: promises
/// cannot be shared between requests.
const POLL: Millis = 20;

/// As many random bytes as are needed at once.
type Draw = [u8; 16];

/// Draws that the platform is asked for at once: the call costs more than the bytes.
const DRAWN_AT_ONCE: usize = 64;

thread_local! {
    static DRAWS: RefCell<Vec<Draw>> = const { RefCell::new(Vec::new()) };
}

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

/// Draws random bytes, 16 at most; zeros if the platform has none to give.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let drawn = DRAWS.with_borrow_mut(|draws| {
        if draws.is_empty() {
            *draws = draw_many();
        }
        draws.pop().unwrap_or_default()
    });
    let mut bytes = [0; N];
    for (byte, drawn) in bytes.iter_mut().zip(drawn) {
        *byte = drawn;
    }
    bytes
}

/// None if the platform has none to give.
fn draw_many() -> Vec<Draw> {
    let mut bytes = [0; DRAWN_AT_ONCE * size_of::<Draw>()];
    if get_random_values(&mut bytes).is_err() {
        worker::console_error!("no randomness");
        return Vec::new();
    }
    let (draws, _) = bytes.as_chunks();
    // The last one is drawn first.
    draws.iter().rev().copied().collect()
}

/// Waits until the wait that the core asks for is over. A clock that is set back meanwhile does not
/// make it longer.
pub(crate) async fn wait(next: &AwaitEvent) {
    let mut budget = next.until().since(now());
    while budget > 0 && !next.is_over(now()) {
        let nap = match next.event() {
            Event::FetchEnds(_) | Event::KeysCome => budget.min(POLL),
            Event::Moment => budget,
        };
        tasks::sleep(nap).await;
        budget = budget.saturating_sub(nap);
    }
}
