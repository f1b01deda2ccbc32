//! The Durable Object that owns one exact counter.
//!
//! It runs the core's own charge function over a state of one number, which is kept in its storage
//! (`SQLite`) and, while the object lives, in memory. When the state says no more than no state at
//! all, an alarm deletes it, and with it the object.

use std::cell::Cell;
use std::rc::Rc;

use serde::Deserialize;
use tidegate_core::limit::gcra::Tat;
use tidegate_core::limit::round::{self, Act, Answer};
use tidegate_core::limit::{Charge, Quota, Verdict};
use tidegate_core::{Millis, Timestamp};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::{Env, Result, State, worker_sys};

use crate::{clock, tasks};

/// How long a spent state is kept: setting an alarm is a write, so it is not moved with every
/// charge.
const KEPT_FOR: Millis = 60_000;

/// What a counter is asked. Its text is words between spaces: the act, then the numbers.
pub(crate) struct Ask {
    act: Act,
    quota: Quota,
    cost: u64,
    now: Timestamp,
}

impl Ask {
    pub(crate) fn new(act: Act, charge: &Charge, now: Timestamp) -> Self {
        Self {
            act,
            quota: charge.limit.quota,
            cost: charge.limit.cost,
            now,
        }
    }

    /// Writes it as text.
    pub(crate) fn write(&self) -> String {
        let act = match self.act {
            Act::Peek => "peek",
            Act::Charge => "charge",
            Act::Refund => "refund",
        };
        let Quota {
            amount,
            period,
            burst,
        } = self.quota;
        let (cost, now) = (self.cost, self.now.as_millis());
        format!("{act} {amount} {period} {burst} {cost} {now}")
    }

    fn read(text: &str) -> Option<Self> {
        let (act, numbers) = text.split_once(' ')?;
        let act = match act {
            "peek" => Act::Peek,
            "charge" => Act::Charge,
            "refund" => Act::Refund,
            _ => return None,
        };
        let [amount, period, burst, cost, now] = read_numbers(numbers)?;
        Some(Self {
            act,
            quota: Quota {
                amount,
                period,
                burst,
            },
            cost,
            now: Timestamp::from_millis(now),
        })
    }

    /// Does what is asked, on the state.
    fn act(&self, state: Option<Tat>) -> (Option<Tat>, Answer) {
        round::act(self.act, &self.quota, self.cost, state, self.now)
    }
}

/// Writes an answer as text: the numbers of both verdicts between spaces.
fn write_answer(answer: &Answer) -> String {
    let Answer { checked, charged } = answer;
    format!("{} {}", write_verdict(checked), write_verdict(charged))
}

fn write_verdict(verdict: &Verdict) -> String {
    let Verdict {
        allowed,
        remaining,
        reset,
        retry_after,
    } = verdict;
    format!("{} {remaining} {reset} {retry_after}", u8::from(*allowed))
}

/// Reads what a counter has answered.
pub(crate) fn read_answer(text: &str) -> Option<Answer> {
    let numbers: [u64; 8] = read_numbers(text)?;
    let (checked, charged) = numbers.split_first_chunk()?;
    Some(Answer {
        checked: verdict(*checked),
        charged: verdict(charged.try_into().ok()?),
    })
}

fn verdict([allowed, remaining, reset, retry_after]: [u64; 4]) -> Verdict {
    Verdict {
        allowed: allowed == 1,
        remaining,
        reset,
        retry_after,
    }
}

/// Reads exactly so many numbers between spaces.
fn read_numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let mut words = text.split(' ');
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = words.next()?.parse().ok()?;
    }
    words.next().is_none().then_some(numbers)
}

/// One counter, as `workers/js/entry.mjs` calls it.
#[wasm_bindgen]
pub struct LimitCounter(Rc<Counter>);

#[wasm_bindgen]
impl LimitCounter {
    /// Begins with what is stored.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker_sys::DurableObjectState, _env: Env) -> Self {
        Self(Rc::new(Counter::new(State::from(state))))
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
    storage: State,
    tat: Cell<Option<Tat>>,
    /// Whether this instance has made sure that the table and the alarm exist.
    prepared: Cell<bool>,
}

/// The state as text: JavaScript's numbers are too small for it.
#[derive(Deserialize)]
struct Row {
    tat: String,
}

impl Counter {
    fn new(storage: State) -> Self {
        // A new object has no table yet.
        let rows = storage
            .storage()
            .sql()
            .exec("SELECT tat FROM counter", None)
            .and_then(|c| c.to_array::<Row>());
        let tat = rows
            .unwrap_or_default()
            .first()
            .and_then(|row| row.tat.parse().ok())
            .map(Tat);
        Self {
            storage,
            tat: Cell::new(tat),
            prepared: Cell::new(false),
        }
    }

    /// Returns the answer and the state after it, if there is one: who is only looked at leaves
    /// nothing behind. Nothing is awaited, so no other request comes between.
    fn answer(&self, ask: &Ask) -> Result<(Answer, Option<Tat>)> {
        let before = self.tat.get();
        let (next, answer) = ask.act(before);
        if let Some(next) = next.filter(|next| before != Some(*next)) {
            self.save(next)?;
        }
        Ok((answer, next))
    }

    async fn alarm(&self) -> Result<()> {
        match self.tat.get() {
            Some(tat) if !tat.is_spent(clock::now()) => {
                self.prepared.set(false);
                self.prepare_alarm(tat).await?;
            }
            Some(_) | None => {
                self.tat.set(None);
                self.prepared.set(false);
                self.storage.storage().delete_all().await?;
            }
        }
        Ok(())
    }

    /// The answer leaves the object only when this has reached the disk: the platform sees to that.
    fn save(&self, tat: Tat) -> Result<()> {
        let sql = self.storage.storage().sql();
        if !self.prepared.get() {
            sql.exec(
                "CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, tat TEXT NOT NULL)",
                None,
            )?;
        }
        sql.exec(
            "INSERT OR REPLACE INTO counter VALUES (1, ?)",
            vec![tat.0.to_string().into()],
        )?;
        self.tat.set(Some(tat));
        Ok(())
    }

    async fn prepare_alarm(&self, tat: Tat) -> Result<()> {
        if self.prepared.replace(true) {
            return Ok(());
        }
        let spent_in = Timestamp::from_millis(tat.0.div_ceil(1_000_000)).since(clock::now());
        let offset = i64::try_from(spent_in.saturating_add(KEPT_FOR)).unwrap_or(i64::MAX);
        self.storage.storage().set_alarm(offset).await
    }
}
