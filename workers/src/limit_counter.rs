//! The Durable Object that owns one exact counter.
//!
//! It runs the core's own charge function over a state of three numbers, which is kept in its storage
//! (`SQLite`) and, while the object lives, in memory. When the state says no more than no state at
//! all, an alarm deletes it, and with it the object.

use std::cell::Cell;
use std::rc::Rc;

use serde::Deserialize;
use tidegate_core::limit::{self, Act, Answer, Charge, Quota, State, Terms, Verdict, Window};
use tidegate_core::{Millis, Timestamp};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::{Env, Result, worker_sys};

use crate::{clock, tasks};

/// How long a spent state is kept: setting an alarm is a write, so it is not moved with every
/// charge.
const KEPT_FOR: Millis = 60_000;

/// What a counter is asked. Its text is words between spaces: the act, the kind of limit, and
/// numbers.
pub(crate) struct Ask {
    act: Act,
    terms: Terms,
    cost: u64,
    now: Timestamp,
}

impl Ask {
    pub(crate) fn new(act: Act, charge: &Charge, now: Timestamp) -> Self {
        Self {
            act,
            terms: charge.limit.rule.terms(now),
            cost: charge.cost,
            now,
        }
    }

    /// Writes it as text.
    pub(crate) fn write(&self) -> String {
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

    fn read(text: &str) -> Option<Self> {
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
    fn act(&self, state: Option<State>) -> (Option<State>, Answer) {
        limit::act(self.act, &self.terms, self.cost, state, self.now)
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
fn write_answer(answer: &Answer) -> String {
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
pub(crate) fn read_answer(text: &str) -> Option<Answer> {
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

/// One counter, as `workers/js/entry.mjs` calls it.
#[wasm_bindgen]
pub struct LimitCounter(Rc<Counter>);

#[wasm_bindgen]
impl LimitCounter {
    /// Begins with what is stored.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker_sys::DurableObjectState, _env: Env) -> Self {
        Self(Rc::new(Counter::new(state.into())))
    }

    /// Answers what is asked: with text, or with a promise of it if the alarm is to be set first.
    ///
    /// # Errors
    /// If the text is not understood, or the state cannot be stored.
    pub fn ask(&self, text: &str) -> Result<JsValue, JsValue> {
        let ask = Ask::read(text).ok_or("a counter does not understand what it is asked")?;
        let (answer, next) = self.0.answer(&ask)?;
        let answer = JsValue::from(write_answer(&answer));
        let Some(next) = next.filter(|_| !self.0.prepared.get()) else {
            return Ok(answer);
        };
        let counter = Rc::clone(&self.0);
        let prepared = async move {
            counter.prepare_alarm(next).await?;
            Ok(answer)
        };
        tasks::begin(prepared)
    }

    /// Deletes what is spent.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn alarm(&self) -> Result<JsValue, JsValue> {
        let counter = Rc::clone(&self.0);
        tasks::begin(async move {
            counter.alarm().await?;
            Ok(JsValue::UNDEFINED)
        })
    }
}

struct Counter {
    object: worker::State,
    state: Cell<Option<State>>,
    /// Whether this instance has made sure that the table and the alarm exist.
    prepared: Cell<bool>,
}

/// The state as text, its numbers between spaces: JavaScript's numbers are too small for them.
#[derive(Deserialize)]
struct Row {
    state: String,
}

impl Counter {
    fn new(object: worker::State) -> Self {
        // A new object has no table yet.
        let rows = object
            .storage()
            .sql()
            .exec("SELECT state FROM counted", None)
            .and_then(|c| c.to_array::<Row>());
        let state = rows
            .unwrap_or_default()
            .first()
            .and_then(|row| read_state(&row.state));
        Self {
            object,
            state: Cell::new(state),
            prepared: Cell::new(false),
        }
    }

    /// Returns the answer and the state after it, if there is one: who is only looked at leaves
    /// nothing behind. Nothing is awaited, so no other request comes between.
    fn answer(&self, ask: &Ask) -> Result<(Answer, Option<State>)> {
        let before = self.state.get();
        let (next, answer) = ask.act(before);
        if let Some(next) = next.filter(|next| before != Some(*next)) {
            self.save(next)?;
        }
        Ok((answer, next))
    }

    async fn alarm(&self) -> Result<()> {
        match self.state.get() {
            Some(state) if !state.is_spent(clock::now()) => {
                self.prepared.set(false);
                self.prepare_alarm(state).await?;
            }
            Some(_) | None => {
                self.state.set(None);
                self.prepared.set(false);
                self.object.storage().delete_all().await?;
            }
        }
        Ok(())
    }

    /// The answer leaves the object only when this has reached the disk: the platform sees to that.
    fn save(&self, state: State) -> Result<()> {
        let sql = self.object.storage().sql();
        if !self.prepared.get() {
            sql.exec(
                "CREATE TABLE IF NOT EXISTS counted (id INTEGER PRIMARY KEY, state TEXT NOT NULL)",
                None,
            )?;
        }
        let mut numbers = String::new();
        push_numbers(&mut numbers, &[state.until, state.used, state.before]);
        sql.exec(
            "INSERT OR REPLACE INTO counted VALUES (1, ?)",
            vec![numbers.into()],
        )?;
        self.state.set(Some(state));
        Ok(())
    }

    async fn prepare_alarm(&self, state: State) -> Result<()> {
        if self.prepared.replace(true) {
            return Ok(());
        }
        let spent_in = state.spent_in(clock::now());
        let offset = i64::try_from(spent_in.saturating_add(KEPT_FOR)).unwrap_or(i64::MAX);
        self.object.storage().set_alarm(offset).await
    }
}

fn read_state(text: &str) -> Option<State> {
    let [until, used, before] = read_numbers(text)?;
    Some(State {
        until,
        used,
        before,
    })
}
