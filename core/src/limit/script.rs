//! Counters in Redis: the script that charges them, what it is told, and how their states are
//! written.
//!
//! The script does the same arithmetic as this crate and returns the states in which it has found
//! the counters. What that means for the request is then said by this crate's own functions on those
//! states ([`super::act_all`]), so that there is one way to say it.

use super::act::Act;
use super::charge::Charge;
use super::quota::Quota;
use super::rule::Terms;
use super::state::{SKEW_MAX, State};
use super::window::Window;
use super::wire::Question;
use crate::time::{Millis, Timestamp};

/// The script, in Lua 5.1.
pub const CHARGE: &str = include_str!("script/charge.lua");

/// How far the time of a caller may be from the server's: so two callers are never further apart than
/// clocks may be.
pub const SKEW_OF_CALLER: Millis = SKEW_MAX / 2;

/// One counter of those that the script is told of.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    act: Act,
    terms: Terms,
    cost: u64,
    dry_run: bool,
}

impl Told {
    /// Of a charge.
    pub fn of(charge: &Charge, act: Act, now: Timestamp) -> Self {
        Self {
            act,
            terms: charge.limit.rule.terms(now),
            cost: charge.cost,
            dry_run: charge.limit.dry_run,
        }
    }

    /// Of what a counter by itself would be asked.
    pub fn of_question(question: &Question) -> Self {
        Self {
            act: question.act,
            terms: question.terms,
            cost: question.cost,
            dry_run: false,
        }
    }
}

/// Says what the script is told, besides the keys, in its order. `skew` is how far the caller's time
/// may be from the server's, where that counts: tests have times of their own.
///
/// All acts are of one kind.
pub fn arguments(told: &[Told], now: Timestamp, skew: Option<Millis>) -> Vec<String> {
    let errand = match told.first().map(|told| told.act) {
        Some(Act::Charge { .. }) => "charge",
        Some(Act::Refund(_)) => "refund",
        Some(Act::Lease { .. }) => "lease",
        Some(Act::Peek) | None => "peek",
    };
    let mut arguments = Vec::with_capacity(5 + told.len() * 9);
    arguments.push(errand.to_owned());
    arguments.push(now.as_millis().to_string());
    arguments.push(skew.map_or_else(|| "-1".to_owned(), |skew| skew.to_string()));
    // One that is behind must still find what it has to respect.
    arguments.push(SKEW_MAX.to_string());
    arguments.push(SKEW_MAX.to_string());
    for told in told {
        let (kind, terms) = numbers(&told.terms);
        let number = match told.act {
            Act::Peek => 0,
            Act::Charge { owed } => owed,
            Act::Refund(period_end) => period_end.as_millis(),
            Act::Lease { most } => most,
        };
        arguments.push(kind.to_owned());
        for number in terms {
            arguments.push(number.to_string());
        }
        arguments.push(told.cost.to_string());
        arguments.push(number.to_string());
        arguments.push(u8::from(told.dry_run).to_string());
    }
    arguments
}

fn numbers(terms: &Terms) -> (&'static str, [u64; 5]) {
    match terms {
        Terms::Rate(quota) => ("rate", of_rate(quota)),
        Terms::Window(window) => ("window", of_window(window)),
        Terms::Slots(window) => ("slots", of_window(window)),
    }
}

fn of_rate(quota: &Quota) -> [u64; 5] {
    let interval = Terms::interval(quota);
    [
        interval / 1_000_000,
        interval % 1_000_000,
        quota.burst,
        0,
        0,
    ]
}

fn of_window(window: &Window) -> [u64; 5] {
    let Window {
        amount,
        begin,
        end,
        next_end,
        slides,
    } = *window;
    [amount, begin, end, next_end, slides.into()]
}

/// Reads a state as the script has written it.
pub fn read_state(text: &str) -> Option<State> {
    let mut numbers = [0_u64; 4];
    let mut words = text.split(' ');
    for number in &mut numbers {
        *number = words.next()?.parse().ok()?;
    }
    let [millis, nanos, used, before] = numbers;
    Some(State {
        until: millis.checked_mul(1_000_000)?.checked_add(nanos)?,
        used,
        before,
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        let state = State {
            until: 1_700_000_000_000_000_001,
            used: 1_700_000_000_000,
            before: 3,
        };
        let text = "1700000000000 1 1700000000000 3";
        assert_eq!(read_state(text), Some(state));
        for wrong in ["", "1 2 3", "1 2 x 4", "99999999999999999999 0 0 0"] {
            assert_eq!(read_state(wrong), None, "{wrong}");
        }
    }
}
