//! The Durable Object that owns one exact counter.
//!
//! It runs the core's own charge function over a state of three numbers, which is kept in its storage
//! (`SQLite`) and, while the object lives, in memory. When the state says no more than no state at
//! all, an alarm deletes it, and with it the object.

use std::cell::Cell;
use std::rc::Rc;

use serde::Deserialize;
use tidegate_core::Millis;
use tidegate_core::limit::wire::{self, Question};
use tidegate_core::limit::{Answer, State};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::{Env, Result, worker_sys};

use crate::{clock, tasks};

/// How long a spent state is kept: setting an alarm is a write, so it is not moved with every
/// charge.
const KEPT_FOR: Millis = 60_000;

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
        let ask = Question::read(text).ok_or("a counter does not understand what it is asked")?;
        let (answer, next) = self.0.answer(&ask)?;
        let answer = JsValue::from(wire::write_answer(&answer));
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
            .and_then(|row| wire::read_state(&row.state));
        Self {
            object,
            state: Cell::new(state),
            prepared: Cell::new(false),
        }
    }

    /// Returns the answer and the state after it, if there is one: who is only looked at leaves
    /// nothing behind. Nothing is awaited, so no other request comes between.
    fn answer(&self, ask: &Question) -> Result<(Answer, Option<State>)> {
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
        let numbers = wire::write_state(&state);
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
