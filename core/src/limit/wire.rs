//! What counters elsewhere are asked and answer, as text: words between spaces. JavaScript's numbers
//! are too small for some of them.

use super::act::{Act, Answer, act};
use super::charge::Charge;
use super::quota::{Quota, Verdict};
use super::rule::Terms;
use super::state::State;
use super::window::Window;
use crate::time::Timestamp;

/// What a counter is asked. Its text is words between spaces: the act, the kind of limit, and
/// numbers.
pub struct Question {
    /// What it is to do.
    pub act: Act,
    /// The terms of its limit at that moment.
    pub terms: Terms,
    /// What the request uses.
    pub cost: u64,
    /// The moment.
    pub now: Timestamp,
}

impl Question {
    /// Asks for a charge.
    pub fn new(act: Act, charge: &Charge, now: Timestamp) -> Self {
        Self {
            act,
            terms: charge.limit.rule.terms(now),
            cost: charge.cost,
            now,
        }
    }

    /// Writes it as text.
    pub fn write(&self) -> String {
        let (act, number) = match self.act {
            Act::Peek => ("peek", 0),
            Act::Charge { owed } => ("charge", owed),
            Act::Refund(period_end) => ("refund", period_end.as_millis()),
            Act::Lease { most } => ("lease", most),
        };
        let (kind, terms) = match self.terms {
            Terms::Rate(Quota {
                amount,
                period,
                burst,
            }) => ("rate", [amount, period, burst, 0, 0]),
            Terms::Window(window) => ("window", of_window(window)),
            Terms::Slots(window) => ("slots", of_window(window)),
        };
        let mut text = [act, " ", kind].concat();
        push_numbers(&mut text, &[number, self.cost, self.now.as_millis()]);
        push_numbers(&mut text, &terms);
        text
    }

    /// Reads what [`Question::write`] has written; nothing if it is something else.
    pub fn read(text: &str) -> Option<Self> {
        let (act, rest) = text.split_once(' ')?;
        let (kind, numbers) = rest.split_once(' ')?;
        let [number, cost, now, terms @ ..] = read_numbers::<8>(numbers)?;
        let act = match act {
            "peek" => Act::Peek,
            "charge" => Act::Charge { owed: number },
            "refund" => Act::Refund(Timestamp::from_millis(number)),
            "lease" => Act::Lease { most: number },
            _ => return None,
        };
        let terms = match kind {
            "rate" => Terms::Rate(quota(terms)),
            "window" => Terms::Window(window(terms)),
            "slots" => Terms::Slots(window(terms)),
            _ => return None,
        };
        Some(Self {
            act,
            terms,
            cost,
            now: Timestamp::from_millis(now),
        })
    }

    /// Does what is asked, on the state.
    pub fn act(&self, state: Option<State>) -> (Option<State>, Answer) {
        act(self.act, &self.terms, self.cost, state, self.now)
    }
}

fn quota([amount, period, burst, ..]: [u64; 5]) -> Quota {
    Quota {
        amount,
        period,
        burst,
    }
}

fn of_window(window: Window) -> [u64; 5] {
    let Window {
        amount,
        begin,
        end,
        next_end,
        slides,
    } = window;
    [amount, begin, end, next_end, u64::from(slides)]
}

fn window([amount, begin, end, next_end, slides]: [u64; 5]) -> Window {
    Window {
        amount,
        begin,
        end,
        next_end,
        slides: slides == 1,
    }
}

/// Writes an answer as text: the numbers of both verdicts, and how much was taken.
pub fn write_answer(answer: &Answer) -> String {
    let mut text = String::new();
    push_numbers(&mut text, &of_verdict(&answer.checked));
    push_numbers(&mut text, &of_verdict(&answer.charged));
    push_numbers(&mut text, &[answer.taken]);
    text
}

fn of_verdict(verdict: &Verdict) -> [u64; 5] {
    let Verdict {
        allowed,
        remaining,
        reset,
        retry_after,
        period_end,
    } = verdict;
    let period_end = period_end.as_millis();
    [
        u64::from(*allowed),
        *remaining,
        *reset,
        *retry_after,
        period_end,
    ]
}

/// Reads what a counter has answered.
pub fn read_answer(text: &str) -> Option<Answer> {
    let numbers: [u64; 11] = read_numbers(text)?;
    let (checked, rest) = numbers.split_first_chunk()?;
    let (charged, rest) = rest.split_first_chunk()?;
    Some(Answer {
        checked: verdict(*checked),
        charged: verdict(*charged),
        taken: *rest.first()?,
    })
}

fn verdict([allowed, remaining, reset, retry_after, period_end]: [u64; 5]) -> Verdict {
    Verdict {
        allowed: allowed == 1,
        remaining,
        reset,
        retry_after,
        period_end: Timestamp::from_millis(period_end),
    }
}

/// Writes a state as text.
pub fn write_state(state: &State) -> String {
    let mut text = String::new();
    push_numbers(&mut text, &[state.until, state.used, state.before]);
    text
}

/// Reads what [`write_state`] has written.
pub fn read_state(text: &str) -> Option<State> {
    let [until, used, before] = read_numbers(text)?;
    Some(State {
        until,
        used,
        before,
    })
}

/// Appends numbers, each behind a space.
fn push_numbers(text: &mut String, numbers: &[u64]) {
    for number in numbers {
        text.push(' ');
        text.push_str(&number.to_string());
    }
}

/// Reads exactly so many numbers, with spaces around them.
fn read_numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    read_into(&mut numbers, text)?;
    Some(numbers)
}

fn read_into(numbers: &mut [u64], text: &str) -> Option<()> {
    let mut words = text.split_ascii_whitespace();
    for number in numbers {
        *number = words.next()?.parse().ok()?;
    }
    words.next().is_none().then_some(())
}
